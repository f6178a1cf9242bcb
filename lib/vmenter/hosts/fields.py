"""What else a paste has of a machine: the CPU, the kernel's release, its command line, KVM's parameters.

Each is known by its form, whatever program printed it and in which language: a vendor by CPUID's twelve letters,
flags by flags that every x86 CPU has, a command line by options of the kernel.

Sources: arch/x86/kernel/cpu/proc.c (/proc/cpuinfo), init/main.c and init/version.c ("Kernel command line:",
"Linux version"); lscpu's and inxi's wording from their output; arch/x86/kvm/{vmx/vmx.c,x86.c} for KVM's complaints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

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
    *(
        "cpu_meltdown",
        "spectre_v1",
        "spectre_v2",
        "spec_store_bypass",
        "l1tf",
        "mds",
        "msbds_only",
        "swapgs",
        "taa",
    ),
    *("itlb_multihit", "srbds", "mmio_stale_data", "mmio_unknown", "retbleed", "eibrs_pbrsb", "smt_rsb", "gds"),
    *("srso", "div0", "rfds", "bhi", "ibpb_no_ret", "its", "its_native_only", "spectre_v2_user", "old_microcode"),
    *("tsa", "vmscape", "sysret_ss_attrs", "null_seg", "amd_tlb_mmatch", "amd_e400", "apic_c1e", "swapgs"),
)
"""Names in the bugs line of /proc/cpuinfo."""

VENDORS: Final = ("GenuineIntel", "AuthenticAMD", "HygonGenuine", "CentaurHauls", "Shanghai")
_ARCHITECTURES = re.compile(r"(?:aarch64|armv\d\w*|ppc(?:64(?:le)?)?|s390x?|riscv(?:32|64)|loongarch64|mips\w*)\Z")
_BRAND = re.compile(
    r"(?:\d+th Gen )?(?:Intel\(R\)|Intel (?:Core|Xeon|Atom|Pentium|Celeron)|AMD (?!64)|Hygon |ZHAOXIN|VIA )[\w(). @/+-]*"
)
_EVERYWHERE = frozenset(
    {"fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "sep", "mtrr", "pge"}
)
_CPU = re.compile(
    r"(vendor_id|cpu family|model name|model|stepping|microcode|flags|bugs)\s*[:=]\s*(.*)\Z", re.DOTALL
)
_LSCPU = {
    "vendor id": "vendor_id", "cpu family": "cpu family", "model": "model", "model name": "model name",
    "stepping": "stepping", "flags": "flags",
}  # fmt: skip
_PATH = re.compile(
    r"(?:\S*/)?proc/(cpuinfo|cmdline|version|sys/kernel/osrelease)\s*:?\s*(?:\d{1,3}:(?!\s*\d+\.))?\s*"
)
_VERSION = r"([2-9]\.\d{1,3}(?:\.\d+)?[\w.+~-]*)"
_NAMED = re.compile(
    rf"(?:.*\b(?:kernel|osrelease)(?: version| release| is)?\s*[:=]?\s*)?Linux\s+(?:version\s+|(?!version)\S+\s+)?{_VERSION}(?:\s|\Z)"
    rf"|(?:.*\s)?(?:kernel|osrelease|kernel version|kernel release)\s*[:=]\s*(?:Linux\s+)?{_VERSION}(?:\s|\Z)",
    re.IGNORECASE,
)
_ALONE = re.compile(r"([2-9]\.\d{1,3}\.\d{1,4}(?![.\d])[\w.+~-]*|[2-9]\.\d{1,3}-[\w.+~-]+)")
_CMDLINE = re.compile(
    r"(?:.*\b(?:kernel )?command line|.*\bcmdline|(?:.*\s)?parameters|.*\bKernel parameters)\s*:\s*(.*)\Z",
    re.IGNORECASE,
)
_USUAL = frozenset(
    {
        "ro",
        "rw",
        "quiet",
        "splash",
        "nosmt",
        "debug",
        "single",
        "rhgb",
        "--",
        "nomodeset",
        "nokaslr",
        "verbose",
        "text",
    }
)
_FIRST = ("BOOT_IMAGE=", "initrd=", "root=", "vmlinuz", "kernel=")
_KVM_OFF = re.compile(
    r"kvm(?:_intel|_amd|-intel|-amd)?: (?!Mitigation).*(?:disabled by bios|no hardware support|(?:VMX|SVM) (?:is )?(?:not (?:supported|enabled)|disabled))",
    re.IGNORECASE,
)
_XEN_PV = re.compile(
    r"XEN PV detected|Hypervisor detected: Xen PV|paravirtualized kernel on Xen(?! HVM| PVH)", re.IGNORECASE
)


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


def below(key: str, raw: list[str], lines: list[str], at: int) -> Found:
    """Return what stands below a heading that announced `key`."""
    line = lines[at]
    if key == "cmdline":
        return _command_line(raw, lines, at, raw[at].strip())
    if key in {"cpuinfo", "osrelease"}:
        return read(raw, lines, at) or Found(())
    return Found(((key, line.strip()),))


def read(raw: list[str], lines: list[str], at: int) -> Found | None:
    """Return what a line has of a machine beside its flaws, None for nothing."""
    line = lines[at]
    if found := re.match(r"(\S*/)(\w+)[:\s]\s*(?:\d:)?\s*(\w+(?: \w+)?)\Z", line):  # a parameter with its path
        name = target(found[1].rstrip("/"), found[2])
        if name in PARAMETERS or name == "active":
            return Found(((name, found[3]),))
    rest = raw[at].strip().strip("\"'`| ")
    if found := re.search(r"(?:^|[\s/])proc/cmdline\s*:\s?(?:\d+:)?(.*)\Z", rest):
        return _command_line(raw, lines, at, found[1])
    if found := _PATH.match(line):
        line = line[found.end() :]
    for one in (_special, _cpu_line):
        if value := one(raw, lines, at, line):
            return value
    if (found := _CMDLINE.match(rest)) and not rest.startswith("#"):
        return _command_line(raw, lines, at, found[1])
    if _is_command_line(rest):
        return _command_line(raw, lines, at, rest)
    return _release(line)


def _special(raw: list[str], lines: list[str], at: int, line: str) -> Found | None:
    """Signs that no guest is entered here, or how."""
    pairs = []
    if _XEN_PV.search(line):
        pairs.append(("xen_pv", line))
    if _KVM_OFF.match(line):
        pairs.append(("kvm_off", line))
    value = line.rpartition(":")[2].strip()
    if _ARCHITECTURES.match(value) and ":" in line:
        pairs.append(("arch", value))
    if re.match(r"CPU implementer\s*:|isa\s*:\s*rv(?:32|64)|cpu\s*:\s*POWER|processor \d+: version", line):
        pairs.append(("arch", "not x86"))
    if found := re.search(r"\s(aarch64|armv\w+|ppc64le|s390x|riscv64|loongarch64)(?:\s+GNU/Linux)?\Z", line):
        pairs.append(("arch", found[1]))
    if value in {"VT-x", "AMD-V"}:
        pairs.append(("virtualization", value))
    if re.match(r"Virtualization type\s*:\s*para\Z", line):
        pairs.append(("para", "para"))
    if re.match(r"Hypervisor vendor\s*:", line):
        pairs.append(("hypervisor", value))
    if not pairs:
        return None
    also = _release(line)
    return Found((*pairs, *(also.pairs if also else ())))


def _cpu_line(raw: list[str], lines: list[str], at: int, line: str) -> Found | None:
    """A line of /proc/cpuinfo or lscpu, by its name or, in other languages, by its value."""
    name, colon, value = line.partition(":")
    value = value.strip().strip("\"',")
    if found := _CPU.match(line):
        name, value = found[1], found[2].strip().strip("\"',")
    elif colon:
        name = _LSCPU.get(name.strip().strip("\"'").lower(), "")
    else:
        name = ""
    if not name and value in VENDORS:
        name = "vendor_id"
    if not name and len(_EVERYWHERE.intersection(value.split())) >= 3:
        name = "flags"
    if name in {"flags", "bugs"}:
        return _word_list(name, value, raw, lines, at)
    if not name and (found := re.match(r"CPU is (.*)", line)):
        name, value = "model name", found[1]
    if (
        not name
        and colon
        and not re.match(r".*\b(?:device|graphics|audio|driver|bios|board)", line, re.IGNORECASE)
    ):
        if found := _BRAND.search(line):
            name, value = (
                "model name",
                re.split(r"\s+(?:(?:bits|type|arch|socket)\b|\(family)", found[0])[0].strip(),
            )
    return Found(((name, value),)) if name and value else None


def _word_list(name: str, value: str, raw: list[str], lines: list[str], at: int) -> Found:
    """Flags or bugs, which may go on below: folded at blanks, or cut within a word."""
    known = frozenset(BUGS if name == "bugs" else (*FLAGS, *_EVERYWHERE))
    taken = 1
    for more in lines[at + 1 : at + 80]:
        if not re.fullmatch(r"[a-z0-9_]+(?: +[a-z0-9_]+)*", more):
            break
        after = lines[at + taken + 1] if at + taken + 1 < len(lines) else ""
        if more in FILES and after.startswith(BEGINNINGS):  # a file's name over its text
            break
        glued, apart = f"{value}{more}", f"{value} {more}"
        gain = [len(known.intersection(text.split())) for text in (glued, apart)]
        full = (
            len(raw[at + taken - 1]) == len(raw[at])
            and at + taken < len(raw)
            and len(raw[at + taken]) <= len(raw[at])
        )
        value = glued if gain[0] > gain[1] or (gain[0] == gain[1] and full and taken > 1) else apart
        taken += 1
    return Found(((name, " ".join(value.split())),), taken)


# --- release and command line --------------------------------------------------------------------------------------


def _release(line: str) -> Found | None:
    if found := _NAMED.match(line):
        return Found((("osrelease", found[1] or found[2]),))
    if found := _ALONE.fullmatch(line.split(" ", 1)[0]) if re.fullmatch(r"\S+(?: x86_64)?", line) else None:
        return Found((("osrelease", found[1]),))
    return None


def _is_command_line(line: str) -> bool:
    """Tell whether all words of a line are a kernel's, and one is an option that matters or one that boots."""
    if line.startswith(("BOOT_IMAGE=", "initrd=")):
        return True
    words = line.split()
    if not words or not all("=" in word[1:] or word in _USUAL for word in words):
        return False
    if re.match(r"\w+=[\"']", words[0]) and words[0].isupper():
        return False
    if any(re.match(r"[A-Z_]{6,}=", word) and not word.startswith("BOOT_IMAGE=") for word in words[:1]):
        return False  # GRUB_CMDLINE_LINUX=…: what the next boot will have
    names = {name for name, _ in split_cmdline(line)}
    return bool(names.intersection((*OPTIONS, "root"))) and not line.startswith(("./", "#"))


def _command_line(raw: list[str], lines: list[str], at: int, text: str) -> Found:
    """A command line and what of it was wrapped to the lines below."""
    taken = 1
    for number in range(at + 1, min(at + 40, len(raw))):
        more = raw[number].strip("> \t|")
        if not _goes_on(more):
            break
        glued, apart = f"{text}{more}", f"{text} {more}"
        text = (
            glued
            if _known(glued) > _known(apart) or (_known(glued) == _known(apart) and _split_word(text, more))
            else apart
        )
        taken += 1
    return Found((("cmdline", text.strip().strip("`\"'")),), taken)


def _goes_on(line: str) -> bool:
    """Tell whether a line can be the rest of a command line: words with = or of the usual ones, or a piece of one."""
    words = line.split()
    if not words or ":" in words[0] or line.startswith(("$", "#", "/", "==", "[", "Linux ")):
        return False
    rest = words[1:]
    first = re.fullmatch(r"[\w.,=/:-]+", words[0]) is not None and not _ALONE.fullmatch(words[0])
    return (
        first
        and all("=" in word or word in _USUAL for word in rest)
        and (bool(rest) or "=" in line or line in _USUAL or len(line) < 12)
    )


def _known(cmdline: str) -> int:
    """Count the options with a value that a kernel knows."""
    return sum(
        name in OPTIONS and (value is None or value.split(",")[0] in _VALUES)
        for name, value in split_cmdline(cmdline)
    )


_VALUES = frozenset(
    ["off", "on", "auto", "full", "flush", "user", "vm", "never", "cond", "always", "0", "1", "y", "n", "Y", "N"]
)


def _split_word(text: str, more: str) -> bool:
    """Tell whether a cut seems to go through a word: neither side is whole."""
    last, first = text.rsplit(maxsplit=1)[-1] if text.split() else "", more.split(maxsplit=1)[0]
    return "=" not in first and first not in _USUAL and last not in _USUAL
