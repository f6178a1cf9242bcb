"""What else a paste has of a machine: the CPU, the kernel's release, its command line, KVM's parameters.

Each is known by its form, whatever program printed it and in which language: a vendor by CPUID's twelve letters,
flags by flags that every x86 CPU has, a command line by options of the kernel.

Sources: arch/x86/kernel/cpu/proc.c (/proc/cpuinfo), init/main.c and init/version.c ("Kernel command line:",
"Linux version"); lscpu's and inxi's wording from their output; arch/x86/kvm/vmx/vmx.c and x86.c for what KVM says
where it cannot run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from vmenter.boot.options import split_cmdline
from vmenter.hosts.texts import BEGINNINGS, FILES

CPU_FIELDS: Final = ("vendor_id", "cpu family", "model", "model name", "stepping", "microcode")
FLAGS: Final = ("rtm", "md_clear", "flush_l1d", "arch_capabilities", "hypervisor", "vmx", "svm")
OPTIONS: Final = (
    *("mitigations", "mds", "tsx_async_abort", "mmio_stale_data", "reg_file_data_sampling", "l1tf", "tsx", "tsa"),
    *("nosmt", "kvm_intel.ept", "kvm_intel.vmentry_l1d_flush"),
)
PARAMETERS: Final = ("ept", "vmentry_l1d_flush")
BUGS: Final = (
    *("cpu_meltdown", "spectre_v1", "spectre_v2", "spec_store_bypass", "l1tf", "mds", "msbds_only", "swapgs"),
    *("taa", "itlb_multihit", "srbds", "mmio_stale_data", "mmio_unknown", "retbleed", "eibrs_pbrsb", "smt_rsb"),
    *("gds", "srso", "div0", "rfds", "bhi", "ibpb_no_ret", "its", "its_native_only", "spectre_v2_user"),
    *("old_microcode", "tsa", "vmscape", "sysret_ss_attrs", "null_seg", "amd_tlb_mmatch", "amd_e400", "apic_c1e"),
)
"""Names in the bugs line of /proc/cpuinfo."""

VENDORS: Final = ("GenuineIntel", "AuthenticAMD", "HygonGenuine", "CentaurHauls", "Shanghai")
LONGEST: Final = 8192  # characters of a command line: no architecture has more, and beyond it nothing is joined

_LSCPU: Final = {
    "vendor id": "vendor_id",
    "cpu family": "cpu family",
    "model": "model",
    "model name": "model name",
    "stepping": "stepping",
    "flags": "flags",
}
_EVERYWHERE: Final = frozenset(
    ("fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "sep", "mtrr", "pge")
)
_FOLD = re.compile(r"(?=.{30})[a-z0-9_]+(?: +[a-z0-9_]+){4,}")  # a line of flags below another
FOLDED: Final = 60  # lines before a bugs line that are looked at for folds
_USUAL: Final = frozenset(
    ("ro", "rw", "quiet", "splash", "nosmt", "debug", "single", "rhgb", "--", "nomodeset", "nokaslr", "text")
)
_VALUES: Final = frozenset(
    ("off", "on", "auto", "full", "flush", "user", "vm", "never", "cond", "always", "0", "1", "y", "n", "Y", "N")
)
_ARCHITECTURE = re.compile(r"(?:aarch64|armv\d\w*|ppc(?:64(?:le)?)?|s390x?|riscv(?:32|64)|loongarch64|mips\w*)\Z")
_X86 = re.compile(r"(?:x86_64|x86-64|amd64|i[3-6]86)\Z")
_ARCHITECTURE_LABEL = re.compile(  # lscpu's and hostnamectl's, in some languages; inxi's
    r"ar(?:ch|qu|h|k)i|\barch\Z|\u0430\u0440\u0445|mimari|\u30a2\u30fc\u30ad|\u67b6|\uc544\ud0a4", re.IGNORECASE
)
_UNAME = re.compile(r"\s(aarch64|armv\w+|ppc64le|s390x|riscv64|loongarch64)(?:\s+GNU/Linux)?\Z")
_NO_X86_CPUINFO = re.compile(r"CPU implementer\s*:|isa\s*:\s*rv(?:32|64)|cpu\s*:\s*POWER|processor \d+: version")
_BRAND = re.compile(
    r"(?:\d+th Gen )?(?:Intel\(R\)|Intel (?:Core|Xeon|Atom|Pentium|Celeron)|AMD (?!64)|Hygon |ZHAOXIN|VIA )"
    r"[\w(). @/+-]*"
)
_NO_CPU = re.compile(
    r".*\b(?:device|graphics|audio|driver|bios|board|gpu|vga|3d|display|radeon|geforce|controller|bridge|card|arc)",
    re.IGNORECASE,
)
_AFTER_BRAND = re.compile(r"\s+(?:(?:bits|type|arch|socket)\b|\(family)")
_CPUINFO = re.compile(
    r"(vendor_id|cpu family|model name|model|stepping|microcode|flags|bugs)\s*[:=]\s*(.*)\Z", re.DOTALL
)
_PROC = re.compile(r"(?:\S*/)?proc/(?:cpuinfo|version|sys/kernel/osrelease)\s*:?\s*(?:\d{1,3}:(?!\s*\d+\.))?\s*")
_VERSION = r"([2-9]\.\d{1,3}(?:\.\d+)?[\w.+~-]*)"
_NAMED = re.compile(
    rf"""
    (?: .* \b (?: kernel | osrelease ) (?: [ ]version | [ ]release | [ ]is )? \s* [:=]? \s* )?
    Linux \s+ (?: version \s+ | (?!version) \S+ \s+ )? {_VERSION} (?: \s | \Z )
    | (?: .* \s )? (?: kernel | osrelease | kernel[ ]version | kernel[ ]release )
      \s* [:=] \s* (?: Linux \s+ )? {_VERSION} (?: [\s)] | \Z )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ALONE = re.compile(r"([2-9]\.\d{1,3}\.\d{1,4}(?![.\d])[\w.+~-]*|[2-9]\.\d{1,3}-[\w.+~-]+)(?: x86_64)?")
_PROC_CMDLINE = re.compile(r"(?:^|[\s/])proc/cmdline\s*:\s?(?:\d+:)?(.*)\Z")
_CMDLINE = re.compile(r"(?:.*\bcommand line|.*\bcmdline|(?:.*\s)?parameters)\s*:\s*(.*)\Z", re.IGNORECASE)
_PARAMETER = re.compile(r"(\S*/)(\w+)[:\s]\s*(?:\d:)?\s*(\w+(?: \w+)?)\Z")
_PIECE = re.compile(r"[\w.,=/:-]+")
_KVM_OFF = re.compile(
    r"kvm(?:[_-](?:intel|amd))?: (?!Mitigation)"
    r".*(?:disabled by bios|no hardware support|(?:VMX|SVM) (?:is )?(?:not (?:supported|enabled)|disabled))",
    re.IGNORECASE,
)
_XEN_PV = re.compile(
    r"XEN PV detected|Hypervisor detected: Xen PV|paravirtualized kernel on Xen(?! HVM| PVH)", re.IGNORECASE
)


class Place(NamedTuple):
    """A line of a paste: all lines as they came, all without what was wrapped around them, and which one."""

    raw: list[str]
    lines: list[str]
    number: int

    @property
    def line(self) -> str:
        """The line, unwrapped."""
        return self.lines[self.number]


@dataclass(frozen=True)
class Found:
    """Pairs of a key and a value, and how many lines they took."""

    pairs: tuple[tuple[str, str], ...]
    lines: int = 1


def target(folder: str, name: str) -> str | None:
    """Return the key of what a file of /proc or /sys holds; None for a file that matters not."""
    if name in {"cmdline", "osrelease", "version", "cpuinfo"} and ("proc" in folder or not folder):
        return {"version": "osrelease"}.get(name, name)
    if name in PARAMETERS and "parameters" in folder:
        return name
    return "active" if name == "active" and folder.endswith("smt") else None


def below(key: str, place: Place) -> Found:
    """Return what stands below a heading that announced `key`."""
    if key == "cmdline":
        return _command_line(place, place.raw[place.number].strip("> \t|"))
    if key in {"cpuinfo", "osrelease"}:
        return read(place) or Found(())
    return Found(((key, place.line.strip()),))


def read(place: Place) -> Found | None:
    """Return what a line has of a machine beside its flaws, None for nothing."""
    line = place.line
    if found := _PARAMETER.match(line):  # with its path
        name = target(found[1].rstrip("/"), found[2])
        if name in PARAMETERS or name == "active":
            return Found(((str(name), found[3]),))
    rest = place.raw[place.number].strip("> \t\"'`|")
    if found := _PROC_CMDLINE.search(rest):
        return _command_line(place, found[1])
    if found := _PROC.match(line):
        line = line[found.end() :]
    if pairs := _signs(line):
        also = _release(line)
        return Found((*pairs, *(also.pairs if also else ())))
    if value := _cpu_line(place, line):
        return value
    if found := _CMDLINE.match(rest):
        return _command_line(place, found[1])
    if _is_command_line(rest):
        return _command_line(place, rest)
    return _release(line)


# --- the CPU -----------------------------------------------------------------------------------------------------


def _signs(line: str) -> tuple[tuple[str, str], ...]:
    """Return signs of how guests are entered here, or that they are not."""
    pairs = []
    name, colon, value = line.rpartition(":")
    name, value = name.strip(), value.strip()
    if _XEN_PV.search(line):
        pairs.append(("xen_pv", line))
    if _KVM_OFF.match(line):
        pairs.append(("kvm_off", line))
    if colon and _ARCHITECTURE_LABEL.search(name):
        if _ARCHITECTURE.match(value):
            pairs.append(("arch", value))
        elif _X86.match(value):
            pairs.append(("x86", value))
    if _NO_X86_CPUINFO.match(line):
        pairs.append(("arch", line))
    if found := _UNAME.search(line):
        pairs.append(("arch", found[1]))
    if colon and value in {"VT-x", "AMD-V"}:
        pairs.append(("virtualization", value))
    if (name, value) == ("Virtualization type", "para"):
        pairs.append(("para", value))
    if name == "Hypervisor vendor":
        pairs.append(("hypervisor", value))
    return tuple(pairs)


def _cpu_line(place: Place, line: str) -> Found | None:
    """Read a line of /proc/cpuinfo or lscpu, by its name or, in other languages, by its value."""
    name, value = _named(line)
    if name in {"flags", "bugs"}:
        return _word_list(place, name, value)
    return Found(((name, value),)) if name and value else None


def _named(line: str) -> tuple[str, str]:
    """Return the field of a line and its value; "" for none."""
    if found := _CPUINFO.match(line):
        return found[1], found[2].strip(" \t\"',")
    before, colon, value = line.partition(":")
    value = value.strip(" \t\"',")
    if not colon:
        found = re.match(r"CPU is (.*)", line)
        return ("model name", found[1]) if found else ("", "")
    if name := _LSCPU.get(before.strip(" \t\"'").lower(), ""):
        return name, value
    if value in VENDORS:
        return "vendor_id", value
    if len(_EVERYWHERE.intersection(value.split())) >= 3:
        return "flags", value
    if (found := _BRAND.search(line)) and not _NO_CPU.match(line):
        return "model name", _AFTER_BRAND.split(found[0])[0].strip()
    return "", ""


def _word_list(place: Place, name: str, value: str) -> Found:
    """Read flags or bugs, which may go on below: folded at blanks, or cut within a word."""
    raw, lines, number = place
    known = frozenset(BUGS if name == "bugs" else (*FLAGS, *_EVERYWHERE))
    taken = 1
    for at in range(number + 1, min(number + 80, len(lines))):
        more = lines[at]
        if not re.fullmatch(r"[a-z0-9_]+(?: +[a-z0-9_]+)*", more):
            break
        if more in FILES and at + 1 < len(lines) and lines[at + 1].startswith(BEGINNINGS):
            break  # a file's name over its text
        glued, apart = f"{value}{more}", f"{value} {more}"
        if name == "bugs" and max(_count(glued, known), _count(apart, known)) <= _count(value, known):
            break  # no bug's name is in it
        gained = _count(glued, known) - _count(apart, known)
        full = taken > 1 and len(raw[at - 1]) == len(raw[number])  # a hard wrap leaves lines of one length
        value = glued if gained > 0 or (gained == 0 and full) else apart
        taken += 1
    pairs = [(name, " ".join(value.split()))]
    if name == "bugs" and _may_be_cut(place, value, taken):
        pairs.append(("bugs_cut", "it may be cut off"))
    return Found(tuple(pairs), taken)


def _may_be_cut(place: Place, value: str, taken: int) -> bool:
    """Tell whether more names may have followed a bugs line: what is missing in one that is cut says nothing."""
    raw, lines, number = place
    last = number + taken - 1
    ends = (raw[at].rstrip(" |\"'`") for at in range(number, last + 1))
    if last == len(raw) - 1 or any(end.endswith(("\u2026", "...", ">", "[")) for end in ends):
        return True
    words = re.findall(r"\w+", value)
    if words and words[-1] not in BUGS and any(bug.startswith(words[-1]) for bug in BUGS):
        return True
    # No x86-64 CPU has so few flags that they fill a line of a terminal and no more.
    near = range(max(0, number - FOLDED), number)
    folded = [len(raw[at]) for at in near if _FOLD.fullmatch(lines[at]) or _fills_a_line(raw[at])]
    folded += [len(raw[at]) for at in range(number, last)]
    return len(raw[last]) > max(folded, default=LONGEST) - len("spec_store_bypass")


def _fills_a_line(line: str) -> bool:
    return 60 <= len(line) <= 132 and len(_EVERYWHERE.intersection(line.split())) >= 3


def _count(text: str, known: frozenset[str]) -> int:
    return len(known.intersection(text.split()))


# --- release and command line ------------------------------------------------------------------------------------


def _release(line: str) -> Found | None:
    if found := _NAMED.match(line):
        return Found((("osrelease", found[1] or found[2]),))
    found = _ALONE.fullmatch(line)
    return Found((("osrelease", found[1]),)) if found else None


def _is_command_line(line: str) -> bool:
    """Tell whether all words of a line are a kernel's, and one of them matters or boots."""
    if line.startswith(("BOOT_IMAGE=", "initrd=")):
        return True
    words = line.split()
    if not words or not all("=" in word[1:] or word in _USUAL for word in words):
        return False
    if re.match(r"[A-Z_]+=", words[0]):  # GRUB_CMDLINE_LINUX=…: what the next boot will have
        return False
    names = {name for name, _ in split_cmdline(line)}
    return bool(names.intersection((*OPTIONS, "root")))


def _command_line(place: Place, text: str) -> Found:
    """Read a command line, and what of it was wrapped to the lines below."""
    taken = 1
    for raw in place.raw[place.number + 1 : place.number + 40]:
        more = raw.strip("> \t|")
        if len(text) > LONGEST or not _goes_on(more):
            break
        glued, apart = f"{text}{more}", f"{text} {more}"
        gained = _known(glued) - _known(apart)
        text = glued if gained > 0 or (gained == 0 and _split_word(text, more)) else apart
        taken += 1
    return Found((("cmdline", text.strip(" \t`\"'")),), taken)


def _goes_on(line: str) -> bool:
    """Tell whether a line can be the rest of a command line: words with =, or usual ones, or a piece of one."""
    words = line.split()
    if not words or ":" in words[0] or line.startswith(("$", "#", "/", "==", "[", "Linux ")):
        return False
    if not _PIECE.fullmatch(words[0]) or _ALONE.fullmatch(words[0]):
        return False
    if not all("=" in word or word in _USUAL for word in words[1:]):
        return False
    return len(words) > 1 or "=" in line or line in _USUAL or len(line) < 12


def _known(cmdline: str) -> int:
    """Count the options with a value that a kernel knows."""
    return sum(
        name in OPTIONS and (value is None or value.split(",")[0] in _VALUES)
        for name, value in split_cmdline(cmdline)
    )


def _split_word(text: str, more: str) -> bool:
    """Tell whether a cut seems to go through a word: neither side is whole."""
    last, first = text.rpartition(" ")[2], more.split(maxsplit=1)[0]
    return "=" not in first and first not in _USUAL and last not in _USUAL
