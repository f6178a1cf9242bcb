"""What one machine says of itself: vulnerabilities files, CPU flags and bugs, boot options, KVM's parameters.

`read_machine` reads it here; `parse` takes it as text from elsewhere, best from the line `HOW`, which prints
`file:content` and nothing that names a machine or its owner. Both give the same `Report`, which keeps only what
the course uses: of the command line the options of `OPTIONS`, of the flags those of `FLAGS`.

Sources: Documentation/ABI/testing/sysfs-devices-system-cpu for the files; arch/x86/include/asm/cpufeatures.h for
the names in /proc/cpuinfo; lscpu's wording from its output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vmenter import LabError
from vmenter.boot.options import split_cmdline

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES: Final = Path(__file__).with_name("samples")
FLAWS: Final = {
    "mds": "mds",
    "tsx_async_abort": "taa",
    "mmio_stale_data": "mmio",
    "reg_file_data_sampling": "rfds",
    "l1tf": "l1tf",
}
"""Vulnerabilities file → the flaw's name in a `PerFlaw`."""

FILES: Final = (
    *FLAWS,
    *("tsa", "gather_data_sampling", "ghostwrite", "indirect_target_selection", "itlb_multihit", "meltdown"),
    *("old_microcode", "retbleed", "spec_rstack_overflow", "spec_store_bypass", "spectre_v1", "spectre_v2"),
    *("srbds", "vmscape"),
)
"""Vulnerabilities files there have been; the course is about the first six."""

FLAGS: Final = ("rtm", "md_clear", "flush_l1d", "arch_capabilities", "hypervisor", "vmx", "svm")
CPU_FIELDS: Final = ("vendor_id", "cpu family", "model", "model name", "stepping", "microcode")
OPTIONS: Final = (
    *("mitigations", "mds", "tsx_async_abort", "mmio_stale_data", "reg_file_data_sampling", "l1tf", "tsx", "tsa"),
    *("nosmt", "kvm_intel.ept", "kvm_intel.vmentry_l1d_flush"),
)
PARAMETERS: Final = ("ept", "vmentry_l1d_flush")
_VULNERABILITIES = "sys/devices/system/cpu/vulnerabilities"
_SMT = "sys/devices/system/cpu/smt/active"
_KVM = "sys/module/kvm_intel/parameters"
MOST: Final = 1 << 20  # characters of a paste: a large machine's whole /proc/cpuinfo fits

HOW: Final = (
    f"grep -Hs . /proc/sys/kernel/osrelease /{_VULNERABILITIES}/* /{_SMT} "
    + " ".join(f"/{_KVM}/{name}" for name in PARAMETERS)
    + "; grep -EHm8 '^(vendor_id|cpu family|model|model name|stepping|microcode|flags|bugs)[[:space:]]*:' "
    "/proc/cpuinfo; grep -EHo '(^| )(--( |$)|(mitigations|mds|tsx|tsa|mmio.stale|reg.file|l1tf|nosmt|kvm.intel)"
    "[^ ]*)' /proc/cmdline; echo /proc/cmdline:"
)
"""A line for a shell with grep. It needs no privilege and prints no host name, address, serial number or disk.

Its last word tells an empty command line from one that was not asked for."""

ABOUT_HOW: Final = """\
It prints the kernel's version, the CPU's name and flags, the vulnerabilities files, two parameters of KVM and the
boot options that matter here. No host name, address, serial number or disk. A kernel that people build themselves
may carry a name in its version: take that out if you like."""

_RELEASE = re.compile(r"(?:Linux (?:version |\S+ )?)?([2-9]\.\d{1,3}(?:\.\d+)?[\w.+~-]*)(?: .*)?\Z", re.ASCII)
# lscpu: an indent, a name, blanks up to a column, the value; what does not fit goes on below in that column.
_LSCPU = re.compile(r"\s*(?:Vulnerability )?([A-Z][\w ]*):\s+(.*)\Z", re.ASCII)


@dataclass(frozen=True)
class Report:
    """What a machine said. None, or nothing, where it said nothing.

    `lines` are (vulnerabilities file, its text); `flags`, `bugs` and `cpu` come from /proc/cpuinfo; `options` are
    those of the command line that matter here; `notes` tell what was odd about the reading.
    """

    release: str | None = None
    cpu: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] | None = None
    bugs: tuple[str, ...] | None = None
    lines: tuple[tuple[str, str], ...] = ()
    options: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    smt: bool | None = None
    notes: tuple[str, ...] = ()

    @property
    def vendor(self) -> str | None:
        """The CPU's vendor as CPUID spells it, "GenuineIntel" say."""
        return dict(self.cpu).get("vendor_id")

    def line(self, file: str) -> str | None:
        """Return what one vulnerabilities file says."""
        return dict(self.lines).get(file)

    def has(self, flag: str) -> bool:
        """Tell whether /proc/cpuinfo shows a flag."""
        return flag in (self.flags or ())

    @property
    def title(self) -> str:
        """The CPU and the kernel, in a line."""
        cpu = dict(self.cpu)
        name = cpu.get("model name") or cpu.get("vendor_id") or "a CPU that was not named"
        numbers = [f"{word} {cpu[key]}" for key, word in _CPU_WORDS.items() if key in cpu]
        shown = f" ({', '.join(numbers)})" if numbers else ""
        return f"{name}{shown}; kernel {self.release or 'not named'}"

    @property
    def text(self) -> str:
        """The report as the line `HOW` prints it; `parse` reads it back."""
        rows = [("/proc/sys/kernel/osrelease", self.release)]
        rows += [(f"/{_VULNERABILITIES}/{file}", text) for file, text in self.lines]
        rows += [(f"/{_SMT}", None if self.smt is None else str(int(self.smt)))]
        rows += [(f"/{_KVM}/{name}", value) for name, value in self.parameters]
        rows += [("/proc/cpuinfo", f"{key}\t: {value}") for key, value in self.cpu]
        for key, names in (("flags", self.flags), ("bugs", self.bugs)):
            rows += [("/proc/cpuinfo", None if names is None else f"{key}\t: {' '.join(names)}")]
        rows += [("/proc/cmdline", self.options)]
        return "".join(f"{path}:{content}\n" for path, content in rows if content is not None)


_CPU_WORDS = {"cpu family": "family", "model": "model", "stepping": "stepping", "microcode": "microcode"}


def read_machine(root: Path = Path("/")) -> Report:
    """Read this machine, or one whose /proc and /sys are under `root`. `LabError` where there is nothing."""
    try:
        return parse(gather(root))
    except LabError:
        raise LabError(
            f"{root}: no {_VULNERABILITIES} and no /proc/cpuinfo that tells anything: no Linux on x86, or a "
            "container that hides it; take another machine's by `vmenter host --how` and give it with --from"
        ) from None


def gather(root: Path = Path("/")) -> str:
    """Return what the line `HOW` would print, and perhaps more; what cannot be read is left out."""
    folder = root / _VULNERABILITIES
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    files += [root / "proc/sys/kernel/osrelease", root / _SMT, *(root / _KVM / name for name in PARAMETERS)]
    files += [root / "proc/cmdline", root / "proc/cpuinfo"]
    found = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")[:MOST]
        except OSError:
            continue
        if file.name == "cpuinfo":
            text = text.split("\n\n", 1)[0]  # one CPU stands for all
        path = f"/{file.relative_to(root).as_posix()}"
        found += [f"{path}:{line}" for line in text.splitlines() if line.strip()]
        if file.name == "cmdline" and not text.strip():
            found.append(f"{path}:")
    return "\n".join(found)


def parse(text: str) -> Report:
    """Read what a machine printed: the output of `HOW`, parts of it, the files' plain text, or `lscpu`.

    Lines that mean nothing here are passed over, `#` begins a comment. Raises `LabError` if nothing is left, or
    for more than a mebibyte.
    """
    if len(text) > MOST:
        raise LabError(
            f"{len(text):,} characters are no report of one machine; paste the output of that line alone"
        )
    single: dict[str, str] = {}
    lines: dict[str, str] = {}
    cmdline: list[str] = []
    notes: list[str] = []
    for key, value in _pairs(text):
        if key == "cmdline":
            cmdline.append(value)
        elif key in FILES:
            if lines.setdefault(key, value) != value:
                notes.append(f"{key} is there twice, with different texts: the first one counts; two machines?")
        else:
            single.setdefault(key, value)
    if not lines and not single.keys() & {"flags", "bugs", "vendor_id"}:
        raise LabError(
            "no line here is one of a vulnerabilities file or of /proc/cpuinfo; `vmenter host --how` prints the "
            "line to run on that machine, and its whole output is what is needed"
        )
    return Report(
        release=single.get("osrelease"),
        cpu=tuple((key, single[key]) for key in CPU_FIELDS if key in single),
        flags=_known(single.get("flags"), FLAGS),
        bugs=None if "bugs" not in single else tuple(single["bugs"].split()),
        lines=tuple((file, lines[file]) for file in FILES if file in lines),
        options=_options(" ".join(cmdline)) if cmdline else None,
        parameters=tuple((name, single[name]) for name in PARAMETERS if name in single),
        smt={"0": False, "1": True}.get(single.get("active", "")),
        notes=tuple(dict.fromkeys(notes)),
    )


def _known(text: str | None, names: tuple[str, ...]) -> tuple[str, ...] | None:
    return None if text is None else tuple(name for name in names if name in text.split())


def _options(cmdline: str) -> str:
    """Return the options that matter here; the rest (disks, addresses, consoles) is nobody's business."""
    kept = []
    for name, value in split_cmdline(cmdline):
        if name in OPTIONS:
            quoted = value is not None and re.search(r"\s", value)
            kept.append(name if value is None else f'{name}="{value}"' if quoted else f"{name}={value}")
    return " ".join(kept)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield (key, value) for each line that means something; a key is a path's last part, or a field's name."""
    name, value, column = "", "", 0  # of lscpu, as long as it may go on
    for raw in (*text.splitlines(), "."):
        line = raw.rstrip()
        if name and line and not line[:column].strip():
            value += line[column:]
            continue
        if name in FILES:
            yield name, _from_lscpu(value)
        elif name in _LSCPU_FIELDS:
            yield _LSCPU_FIELDS[name], value
        name = ""
        if found := _LSCPU.match(line):
            name, value, column = found[1].lower().replace(" ", "_"), found[2], found.start(2)
        elif not line.lstrip().startswith("#"):
            yield from _pair(line.strip())


_LSCPU_FIELDS = {field.replace(" ", "_"): field for field in ("cpu family", "model", "model name", "stepping")}
_LSCPU_FIELDS |= {"vendor_id": "vendor_id", "flags": "flags"}


def _pair(line: str) -> Iterator[tuple[str, str]]:
    if line.startswith("BOOT_IMAGE="):
        yield "cmdline", line
        return
    path, colon, value = line.partition(":")
    name, value = path.strip().rpartition("/")[2], value.strip()
    if name == "cpuinfo":
        field, _, value = value.partition(":")
        name, value = field.strip(), value.strip()
    if not colon or name == "osrelease":
        if found := _RELEASE.match(value if colon else line):
            yield "osrelease", found[1]
    elif name in _FIELDS or (name in {*PARAMETERS, "active"} and "/" in path):
        yield name, value


_FIELDS = frozenset({*FILES, *CPU_FIELDS, "flags", "bugs", "cmdline"})


def _from_lscpu(text: str) -> str:
    """Return a vulnerability's text as the kernel has it: after "Mitigation" lscpu changes or drops its colons."""
    return re.sub(r"; VMX (?=\w)", "; VMX: ", re.sub(r"\AMitigation;", "Mitigation:", text))


def samples() -> dict[str, str]:
    """Return the recorded reports that come with the course: name → title, the first line of its file."""
    return {
        file.stem: file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        for file in sorted(SAMPLES.glob("*.txt"))
    }


def sample(name: str) -> Report:
    """Return a recorded report. Raises `LabError` for a name that there is not."""
    known = samples()
    if name not in known:
        raise LabError(f"no sample is called {name!r}; there are: {' '.join(known)}")
    return parse((SAMPLES / f"{name}.txt").read_text(encoding="utf-8"))
