"""From what a machine says to the `Host` that selection looks at: an inverse problem, and partly an open one.

A kernel shows which bugs a CPU has, and of CPU and microcode what CPUID says. IA32_ARCH_CAPABILITIES it does not
show. So its bits are tried, all ways, by the selection model itself: what the kernel's lines need is inferred from
them; what they leave open stays unknown, and the usual is taken. A line that decided a bit cannot confirm the
model as well: `Inference.by_line` tells which did.

Sources: arch/x86/kernel/cpu/common.c (which bits keep a bug from being set), bugs.c and arch/x86/kvm/vmx/vmx.c
(what the files say).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from vmenter.boot.generations import GENERATIONS
from vmenter.boot.host import BUGS, Host
from vmenter.boot.selection import Selection, select
from vmenter.hosts.entering import SVM, VMX, Entering, entering
from vmenter.hosts.nearest import Nearest, nearest_of
from vmenter.hosts.texts import FLAWS, plain
from vmenter.hosts.told import BUG, State, Told, told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmenter.hosts.report import Report

HIDDEN = ("mds_no", "tsx_ctrl_msr", "fb_clear", "rfds_clear")
"""Bits that no file shows and that some line depends on."""

NO_LINE = ("fb_clear_ctrl", "fbsdp_no")
"""Bits that no line depends on: nothing here ever tells."""

_ABOUT = {
    "mds_no": "the CPU says that it has no MDS",
    "tsx_ctrl_msr": "TSX can be switched off",
    "fb_clear": "VERW clears the fill buffers",
    "rfds_clear": "VERW clears the register files",
    "fb_clear_ctrl": "the host may switch VERW's clearing of the fill buffers off",
    "fbsdp_no": "the fill buffers pass no stale data on",
}


@dataclass(frozen=True)
class Inferred:
    """One thing about the host. `source`: from what, in words. `value`: there, not there; None: nothing tells."""

    subject: str
    source: str
    value: bool | None = None


@dataclass(frozen=True)
class Inference:
    """A host, the kernel to select with, and what both rest on. `by_line`: bit → the file that decided it."""

    told: dict[str, Told]
    entering: Entering
    host: Host
    nearest: Nearest
    selection: Selection
    known: tuple[Inferred, ...]
    by_line: tuple[tuple[str, str], ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """What nothing tells."""
        return tuple(one.subject for one in self.known if one.value is None)


def host_of(report: Report) -> Inference:
    """Infer the host, and the kernel to select with, from a report."""
    nearest = nearest_of(report)
    way = entering(report)
    states = told(report)
    known: list[Inferred] = []
    bugs = _bugs(report)
    facts: tuple[str, ...] = ()
    if way.by != SVM:  # none of them is AMD's
        source = "no bugs line; what the files name" if report.bugs is None else "the bugs line of /proc/cpuinfo"
        known.append(Inferred("bugs", f"{source}: {' '.join(bugs) or 'none of ours'}", value=True))
        facts = _flags(report, bugs, known)
    host = Host(
        bugs=bugs,
        facts=facts,
        cmdline=report.options or "",
        smt=_smt(report, known),
        hypervisor=report.has("hypervisor") or any("SMT Host state" in text for _, text in report.lines),
    )
    kernel = nearest.kernel
    by_line: tuple[tuple[str, str], ...] = ()
    if way.by in {VMX, None}:  # of other CPUs' bits selection reads none here
        host = _l1tf(report, replace(host, ept=_ept(report, known)), known)
        host = _off(report, host, kernel, known)
        host, by_line = _hidden(report, host, kernel, known)
        host = _flush(report, host, kernel, known)
        known += [Inferred(name, f"no file depends on it ({_ABOUT[name]})") for name in NO_LINE]
    return Inference(states, way, host, nearest, select(host, kernel), tuple(known), by_line)


# --- what the files show -----------------------------------------------------------------------------------------


def _bugs(report: Report) -> tuple[str, ...]:
    """Return the bugs that are told: by the bugs line, and by the lines of files that it says nothing of."""
    by_line = tuple(bug for bug in BUGS if _bug_by_line(report, bug))
    if report.bugs is None:
        return by_line
    listed = {bug for bug in BUGS if bug in report.bugs}
    mmio = listed & {"mmio_stale_data", "mmio_unknown"}
    more = {bug for bug in by_line if not (mmio and bug.startswith("mmio"))}
    return tuple(bug for bug in BUGS if bug in listed | more)


_FILE_OF = {bug: file for file, bug in BUG.items()}


def _bug_by_line(report: Report, bug: str) -> bool:
    if bug == "msbds_only":
        return "SMT mitigated" in (report.line("mds") or "")
    if _FILE_OF.get(bug) in report.present:
        return True
    mmio = report.line("mmio_stale_data")
    if bug == "mmio_unknown":
        return (mmio or "").startswith("Unknown")
    if bug == "mmio_stale_data":
        return mmio is not None and not mmio.startswith(("Not affected", "Unknown"))
    line = report.line({"taa": "tsx_async_abort", "rfds": "reg_file_data_sampling"}.get(bug, bug))
    return line is not None and not line.startswith("Not affected")


def _flags(report: Report, bugs: tuple[str, ...], known: list[Inferred]) -> tuple[str, ...]:
    names = ("rtm", "md_clear", "flush_l1d")
    if report.flags is not None:
        known += [Inferred(name, "the flags line of /proc/cpuinfo", value=report.has(name)) for name in names]
        return tuple(name for name in names if report.has(name))
    taa = report.line("tsx_async_abort") or ""
    found = []
    if "taa" in bugs and "TSX disabled" not in taa:
        found.append("rtm")
        known.append(Inferred("rtm", "no flags line; tsx_async_abort does not say that TSX is off", value=True))
    else:
        known.append(Inferred("rtm", "no flags line; taken as absent"))
    clears = {"mds": report.line("mds"), "taa": taa}
    if any((line or "").startswith("Mitigation: Clear CPU buffers") for line in clears.values()):
        found.append("md_clear")
        known.append(
            Inferred("md_clear", "no flags line; mds or tsx_async_abort says that the clear works", value=True)
        )
    else:
        known.append(Inferred("md_clear", "no flags line; taken as absent"))
    known.append(Inferred("flush_l1d", "no flags line; taken as absent"))
    return tuple(found)


def _smt(report: Report, known: list[Inferred]) -> bool | None:
    if report.smt is not None:
        known.append(Inferred("SMT", "/sys/devices/system/cpu/smt/active", value=report.smt))
        return report.smt
    lines = " ".join(report.line(file) or "" for file in FLAWS)
    for word, active in (("SMT vulnerable", True), ("SMT mitigated", True), ("SMT disabled", False)):
        if word in lines:
            known.append(Inferred("SMT", f"a line says {word}", value=active))
            return active
    known.append(Inferred("SMT", "no file and no line tells"))
    return None


def _ept(report: Report, known: list[Inferred]) -> bool:
    parameters = dict(report.parameters)
    off = parameters.get("ept") == "N" or "EPT disabled" in (
        parameters.get("vmentry_l1d_flush"),
        _vmx(report),
    )
    if off or "ept" in parameters:
        known.append(Inferred("EPT", "KVM's parameters" if parameters else "the l1tf line", value=not off))
    else:
        known.append(Inferred("EPT", "kvm_intel's parameters are not there; taken as on"))
    return not off


def _vmx(report: Report) -> str | None:
    """Return what the l1tf line says of KVM's flush, by the name of KVM's parameter; None without a word."""
    found = re.search(r"; VMX: ([\w ]+)", plain("l1tf", report.line("l1tf") or ""))
    return _FLUSH_NAMES.get(found[1]) if found else None


_FLUSH_NAMES = {
    "vulnerable": "never",
    "conditional cache flushes": "cond",
    "cache flushes": "always",
    "EPT disabled": "EPT disabled",
    "flush not necessary": "not required",
}


def _l1tf(report: Report, host: Host, known: list[Inferred]) -> Host:
    """Take from the l1tf line what only it tells."""
    if "l1tf" not in host.bugs:
        return host
    if report.line("l1tf") == "Vulnerable":
        source = "the l1tf line says Vulnerable, which with this flaw means RAM where inverted entries would point"
        known.append(Inferred("RAM above half of what the cache addresses", source, value=True))
        host = replace(host, cache_bits=13, ram_mib=1)
    mode = dict(report.parameters).get("vmentry_l1d_flush") or _vmx(report)
    if mode == "not required":
        known.append(
            Inferred("skip_vmentry_l1dflush", "KVM flushes nothing although the CPU has L1TF", value=True)
        )
        return replace(host, facts=(*host.facts, "skip_vmentry_l1dflush"))
    told = mode in {"never", "cond", "always"} or None
    source = "KVM may flush" if told else "KVM's parameter is not there; taken as absent"
    known.append(Inferred("skip_vmentry_l1dflush", source, value=None if told is None else False))
    return host


def _flush(report: Report, host: Host, kernel: str, known: list[Inferred]) -> Host:
    """Take KVM's flush mode from its parameter: a module's options are not on the kernel's command line."""
    mode = dict(report.parameters).get("vmentry_l1d_flush") or _vmx(report)
    if mode not in {"never", "cond", "always"} or select(host, kernel).l1d_flush == mode:
        return host
    source = "KVM's parameter; the command line alone gives another"
    known.append(Inferred(f"vmentry_l1d_flush={mode}", source, value=True))
    return replace(host, cmdline=f"{host.cmdline} kvm-intel.vmentry_l1d_flush={mode}".strip())


# --- what they do not show ---------------------------------------------------------------------------------------


def _hidden(
    report: Report, shown: Host, kernel: str, known: list[Inferred]
) -> tuple[Host, tuple[tuple[str, str], ...]]:
    """Try the hidden bits, all ways, and keep the way that fits most lines; of several the most usual one."""
    usual = dict.fromkeys(HIDDEN, False)
    usual["mds_no"] = told(report)["mds"].state is State.NOT_AFFECTED
    tried: dict[tuple[bool, ...], frozenset[str]] = {}
    for values in product((False, True), repeat=len(HIDDEN)):
        host = _with(shown, values)
        tried[values] = frozenset(_fitting(report, host, kernel))

    def rank(values: tuple[bool, ...]) -> tuple[int, bool, int]:
        bits = dict(zip(HIDDEN, values, strict=True))
        # What a missing bug tells of MDS_NO counts for more than that a bit is rare.
        return (
            len(tried[values]),
            bits["mds_no"] == usual["mds_no"],
            -sum(bits[name] != usual[name] for name in HIDDEN),
        )

    chosen = max(tried, key=rank)
    as_good = [values for values, lines in tried.items() if len(lines) == len(tried[chosen])]
    by_line = []
    for index, (name, there) in enumerate(zip(HIDDEN, chosen, strict=True)):
        flipped = (*chosen[:index], not there, *chosen[index + 1 :])
        lost = sorted(tried[chosen] - tried[flipped])
        if len(tried[flipped]) == len(tried[chosen]):
            taken = "present" if there else "absent"
            known.append(Inferred(name, f"no line here depends on it; taken as {taken} ({_ABOUT[name]})"))
            continue
        sure = all(values[index] == there for values in as_good)
        source = (
            f"{', '.join(lost)}: {'without' if there else 'with'} it the model says something else"
            f"{'' if sure else ', if the other bits are as taken'} ({_ABOUT[name]})"
        )
        known.append(Inferred(name, source, value=there))
        by_line += [(name, file) for file in lost]
    return _with(shown, chosen), tuple(by_line)


def _off(report: Report, host: Host, kernel: str, known: list[Inferred]) -> Host:
    """Where the boot options are not in the report, take them for mitigations=off if only that fits the lines."""
    if report.options is not None:
        return host

    def fitting(one: Host) -> int:
        return len(list(_fitting(report, one, kernel)))

    off = replace(host, cmdline="mitigations=off")
    if fitting(off) <= max(fitting(_with(host, values)) for values in product((False, True), repeat=len(HIDDEN))):
        known.append(Inferred("boot options", "not in the report; taken as none"))
        return host
    source = "not in the report, and the lines need it; or the kernel was built without mitigations"
    known.append(Inferred("mitigations=off", source, value=True))
    return off


def _with(host: Host, bits: tuple[bool, ...]) -> Host:
    there = (name for name, value in zip(HIDDEN, bits, strict=True) if value)
    return replace(host, facts=(*host.facts, *there))


def _fitting(report: Report, host: Host, kernel: str) -> Iterator[str]:
    """Yield the files of which the model says what the kernel says, threads left out: those change after boot."""
    selection = select(host, kernel)
    for file in FLAWS:
        line, model = report.line(file), model_line(report, selection, file)
        if line is not None and model is not None and without_smt(plain(file, line)) == without_smt(model):
            yield file


def without_smt(text: str) -> str:
    """Return a line in today's words, without what it says of sibling threads."""
    return re.split("[;,] SMT ", text, maxsplit=1)[0]


def fits(report: Report, selection: Selection, file: str) -> bool:
    """Tell whether the model's line of a file is the kernel's, as far as both say anything."""
    line, model = report.line(file), model_line(report, selection, file)
    if line is None or model is None:
        return False
    return plain(file, line) in {model, without_smt(model)}


def model_line(report: Report, selection: Selection, file: str) -> str | None:
    """Return what the model says in a file; of L1TF without the part on KVM where the kernel has none."""
    line: str | None = getattr(selection.lines, FLAWS[file])
    if line is not None and file == "l1tf" and "; VMX" not in (report.line(file) or "; VMX"):
        return line.partition("; VMX")[0]
    return line


def other_kernels(report: Report, host: Host, file: str) -> tuple[str, ...]:
    """Return the kernels whose selection would say of this host what this kernel says."""
    return tuple(name for name in GENERATIONS if fits(report, select(host, name), file))
