"""An AMD machine's report and TSA: what the kernel's line says, the model's line beside it, and what VMRUN does.

As on Intel, what no file shows is tried, all ways, by the selection model itself (`boot.tsa`): the microcode, the
generation where family and model are not told, the boot options where they are not. Families and models are those
of bsp_init_amd in arch/x86/kernel/cpu/amd.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING, Final

from vmenter.boot import tsa
from vmenter.boot.tsa import AmdHost, TsaSelection
from vmenter.hosts.told import version
from vmenter.story import svm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmenter.boot.options import Decision
    from vmenter.hosts.report import Report

_ZEN: Final = (  # family, models from and to, generation
    (0x17, 0x00, 0x2F, 1), (0x17, 0x50, 0x5F, 1),
    (0x17, 0x30, 0x4F, 2), (0x17, 0x60, 0x7F, 2), (0x17, 0x90, 0xAF, 2),
    (0x19, 0x00, 0x0F, 3), (0x19, 0x20, 0x5F, 3), (0x19, 0x10, 0x1F, 4), (0x19, 0x60, 0xAF, 4),
    (0x1A, 0x00, 0x2F, 5), (0x1A, 0x40, 0x4F, 5), (0x1A, 0x60, 0x7F, 5),
)  # fmt: skip


@dataclass(frozen=True)
class Tsa:
    """What the model makes of an AMD machine. `line`: its line; None where there is nothing to hold it against.

    `agrees`: it is the kernel's. `decided`: facts that follow from the kernel's line. `entries`: the VMRUN of a
    plain guest and of an SEV-ES one, none where the kernel's line is not the model's.
    """

    host: AmdHost
    selection: TsaSelection
    line: str | None
    agrees: bool | None
    decided: tuple[str, ...]
    why: tuple[Decision, ...]
    entries: tuple[svm.Entry, ...]


def generation(report: Report) -> int | None:
    """Return the Zen generation of a report's CPU, None if family and model do not tell."""
    cpu = dict(report.cpu)
    try:
        family, model = int(cpu["cpu family"], 0), int(cpu["model"], 0)
    except (KeyError, ValueError):
        return None
    return next((zen for of, low, high, zen in _ZEN if of == family and low <= model <= high), None)


def tsa_of(report: Report) -> Tsa:
    """Explain TSA on the machine of a report."""
    kernel = tsa.KERNELS[version(report.release) >= (6, 17)]
    told = report.line("tsa")
    tried = [(host, tsa.select(host, name)) for name, host in _hosts(report, kernel)]
    fitting = [(host, selection) for host, selection in tried if selection.sysfs == told]
    host, selection = (fitting or tried)[0]
    if told is None:
        return Tsa(host, selection, None, None, (), (), ())
    sure = [
        fact for fact in tsa.FACTS if len({fact in one.facts for one, _ in fitting}) == 1 and fact in host.facts
    ]
    entries = tuple(svm.enter(host, sev_es=sev_es, kernel=selection.kernel) for sev_es in (False, True))
    return Tsa(
        host=host,
        selection=selection,
        line=selection.sysfs,
        agrees=bool(fitting),
        decided=tuple(sure),
        why=selection.why,
        entries=entries if fitting else (),
    )


def _hosts(report: Report, kernel: str) -> Iterator[tuple[str, AmdHost]]:
    """Yield the hosts and kernels there may be, the likeliest first: new microcode, no options, no rare facts."""
    zen = generation(report)
    zens = (zen,) if zen else (3, 4, 5, 2, 1)
    cmdlines = (report.options,) if report.options is not None else ("", "mitigations=off", "tsa=user", "tsa=vm")
    kernels = (kernel,) if report.release else tsa.KERNELS
    rare = [name for name in tsa.FACTS if name != "verw_clear"]
    facts = [
        (*some, *clear)
        for size in range(4)
        for some in combinations(rare, size)
        for clear in (("verw_clear",), ())
    ]
    for cmdline, fact, one, name in product(cmdlines, facts, zens, kernels):
        yield name, AmdHost(one, fact, cmdline, report.has("hypervisor"), report.smt)
