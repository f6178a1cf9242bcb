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
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from vmenter import LabError
from vmenter.boot.options import split_cmdline
from vmenter.hosts import layouts, machines
from vmenter.hosts.fields import CPU_FIELDS, FLAGS, OPTIONS, PARAMETERS, VENDORS
from vmenter.hosts.texts import BEGINNINGS, FILES, JUDGED, is_open, key

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLES: Final = Path(__file__).with_name("samples")
_VULNERABILITIES = "sys/devices/system/cpu/vulnerabilities"
_SMT = "sys/devices/system/cpu/smt/active"
_KVM = "sys/module/kvm_intel/parameters"
SHOWN: Final = 60  # characters of a text that was not read
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


@dataclass(frozen=True)
class Report:
    """What a machine said. None, or nothing, where it said nothing.

    `lines` are (vulnerabilities file, its text); `flags`, `bugs` and `cpu` come from /proc/cpuinfo; `options` are
    those of the command line that matter here; `notes` tell what was odd about the reading. `unread`: file → why
    nothing was taken from what stands there. `present`: files whose bug the kernel's log says is there. `no_kvm`:
    what says that KVM enters no guest here. `virtualization`: "VT-x" or "AMD-V", as lscpu has it. `mixed`: what
    shows that more than one machine, or one at two times, is in it. `bugs_cut`: more names may follow in `bugs`.
    `open`: files of which any text, understood or not, says Vulnerable or Unknown.
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
    unread: tuple[tuple[str, str], ...] = ()
    present: tuple[str, ...] = ()
    no_kvm: str | None = None
    virtualization: str | None = None
    mixed: tuple[str, ...] = ()
    bugs_cut: bool = False
    open: tuple[str, ...] = ()

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
        rows += [("/proc/cpuinfo", f"{name}\t: {value}") for name, value in self.cpu]
        for name, words in (("flags", self.flags), ("bugs", self.bugs)):
            rows += [("/proc/cpuinfo", None if words is None else f"{name}\t: {' '.join(words)}")]
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
    return "".join(f"{line}\n" for line in found)


def parse(text: str) -> Report:
    """Read what a machine printed: the output of `HOW`, parts of it, or any of the layouts of `layouts`.

    Lines that mean nothing here are passed over, `#` begins a comment. Raises `LabError` if nothing is left, or
    for more than a mebibyte.
    """
    if len(text) > MOST:
        raise LabError(
            f"{len(text):,} characters are no report of one machine; paste the output of that line alone"
        )
    reading = layouts.read(text)
    values: dict[str, list[str]] = {}
    lines: dict[str, str] = {}
    cmdline: list[str] = []
    present: list[str] = []
    twice: dict[str, str] = {}
    for name, value in reading.pairs:
        if name == "cmdline":
            cmdline.append(value)
        elif name == "present":
            present.append(value)
        elif name in FILES:
            lines[name] = _longer(lines.setdefault(name, value), value) or twice.setdefault(name, lines[name])
        else:
            values.setdefault(name, []).append(value)
    single = {name: first for name, (first, *_) in values.items()}
    cut = {file: text for file, text in reading.cut.items() if file not in lines}
    strange = {file: text for file, text in reading.strange.items() if file not in lines}
    other = {file: text for file, text in (reading.cut | reading.strange).items() if _other(lines.get(file), text)}
    if not (lines or cut or strange or present) and not single.keys() & _TELLING:
        raise LabError(_unreadable(reading))
    mixed = (*machines.of_values(values), *reading.machines)
    return Report(
        release=single.get("osrelease"),
        cpu=tuple((name, single[name]) for name in CPU_FIELDS if name in single),
        flags=_known(single.get("flags"), FLAGS),
        bugs=None if "bugs" not in single else tuple(re.findall(r"\w+", single["bugs"])),
        lines=tuple((file, lines[file]) for file in FILES if file in lines),
        options=_options(" ".join(cmdline)) if cmdline else None,
        parameters=tuple((name, single[name]) for name in PARAMETERS if name in single),
        smt={"0": False, "1": True}.get(single.get("active", "")),
        notes=(
            *(f"{file} is there twice, with different texts: two machines, or two moments?" for file in twice),
            *(
                f"{file} is there twice, once with what no kernel prints ({_shown(text)})"
                for file, text in other.items()
            ),
            *(f"more than one machine or moment seems to be in it: {sign}" for sign in mixed),
            *(f"{file} was cut off, and taken for the one text that begins so" for file in reading.completed),
            *(f"{file} is cut off ({_shown(text)}) and counts as not told" for file, text in cut.items()),
            *(f"{file}: no kernel prints {_shown(text)}; it counts as not told" for file, text in strange.items()),
        ),
        unread=(
            *((file, "two different texts") for file in (*twice, *other)),
            *((file, "its text is cut off") for file in cut),
            *((file, "its text is none that a kernel prints") for file in strange),
        ),
        present=tuple(dict.fromkeys(present)),
        no_kvm=_no_kvm(single),
        virtualization=single.get("virtualization"),
        mixed=mixed,
        bugs_cut="bugs_cut" in single,
        open=tuple(
            file
            for file in JUDGED
            if any(name == file and is_open(text) for name, text in reading.pairs)
            or any(is_open(texts.get(file, "")) for texts in (reading.cut, reading.strange))
        ),
    )


_TELLING = {"flags", "bugs", "vendor_id", "model name", "arch", "xen_pv", "kvm_off"}


def _longer(first: str, second: str) -> str | None:
    """Return the text that says all the other does and perhaps more, None for two that differ."""
    longer, shorter = (first, second) if len(first) >= len(second) else (second, first)
    return longer if key(longer).startswith(key(shorter)) else None


def _other(line: str | None, text: str) -> bool:
    """Tell whether a text that was not understood says something else than the line that was."""
    if line is None or not key(text).startswith(tuple(key(start) for start in BEGINNINGS)):
        return False
    return not (key(text).startswith(key(line)) or key(line).startswith(key(text)))


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return ascii(text if len(text) <= SHOWN else text[:SHOWN] + "...")


def _no_kvm(single: dict[str, str]) -> str | None:
    """Return what says that KVM enters no guest, besides the lines."""
    x86 = (
        "x86" in single
        or single.get("vendor_id") in VENDORS
        or {"vmx", "svm"} & {*single.get("flags", "").split()}
    )
    if "arch" in single and not x86:
        return f"this is no x86 ({single['arch']})"
    if "xen_pv" in single or ("Xen" in single.get("hypervisor", "") and "para" in single):
        return "this runs on Xen without hardware virtualization (PV)"
    return "KVM says in the log that it cannot run" if "kvm_off" in single else None


def _unreadable(reading: layouts.Reading) -> str:
    """Say what was recognised, if anything was, and what to do."""
    if reading.nameless:
        seen = "texts of vulnerabilities files without the files' names, as cat of several files prints them: "
    elif reading.layouts:
        seen = f"this looks like {reading.seen}, but "
    else:
        seen = ""
    return (
        f"{seen}no line here is one of a vulnerabilities file or of /proc/cpuinfo; `vmenter host --how` prints "
        "the line to run on that machine, and its whole output is what is needed"
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


@cache
def samples() -> Mapping[str, str]:
    """Return the recorded reports that come with the course: name → title, the first line of its file."""
    return MappingProxyType(
        {
            file.stem: file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
            for file in sorted(SAMPLES.glob("*.txt"))
        }
    )


def sample(name: str) -> Report:
    """Return a recorded report. Raises `LabError` for a name that there is not."""
    known = samples()
    if name not in known:
        raise LabError(f"no sample is called {name!r}; there are: {' '.join(known)}")
    return parse((SAMPLES / f"{name}.txt").read_text(encoding="utf-8"))
