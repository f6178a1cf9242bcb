"""The kernel that was read, and the form of VM-Enter, that come nearest to a report's kernel.

What a kernel knows counts for more than its number: a file or a bug's name comes with its mitigation, backports
included. Where several forms fit, the oldest is taken: none of them clears more than a later one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmenter.boot.generations import later
from vmenter.hosts.told import knows, version
from vmenter.story.history import BACKPORT, Era, era

if TYPE_CHECKING:
    from vmenter.hosts.report import Report


@dataclass(frozen=True)
class Nearest:
    """The kernel that was read, and the form of VM-Enter, that come nearest. `exact`: the very kernel."""

    kernel: str
    era: Era
    exact: bool
    why: str


def nearest_of(report: Report) -> Nearest:
    """Choose the nearest kernel that was read and the nearest form of VM-Enter."""
    number = version(report.release)
    at_least = (*number, 0, 0)[:2]
    kernel, form, why = _newer(at_least) or _older(report, at_least)
    exact = bool(number) and number == version(kernel)
    if exact:
        why = "the very kernel whose selection was read"
    elif not number:
        why = f"the kernel was not named; {why}"
    return Nearest(kernel, form, exact, why)


def _newer(at_least: tuple[int, ...]) -> tuple[str, Era, str] | None:
    """Return what the number alone decides."""
    kernel = later(at_least)
    if kernel is None:
        return None
    if kernel == "6.17":
        return kernel, era("83ebe7157483"), "v6.17 and v6.18 select with attack vectors"
    return kernel, era("e6ff1d61de51"), "v6.19 and newer enter guests by the merged form"


def _older(report: Report, at_least: tuple[int, ...]) -> tuple[str, Era, str]:
    """Return what number, files and names decide together."""
    unknown = (report.line("mmio_stale_data") or "").startswith("Unknown") or "mmio_unknown" in (report.bugs or ())
    if knows(report, "rfds"):
        kernel = {(5, 10): "5.10.262", (6, 1): "6.1.192"}.get((at_least[0], at_least[1]), "6.12.117")
        old = at_least != (0, 0) and at_least < (6, 5)
        form = BACKPORT if old else era("43fb862de8f6")
        return kernel, form, "it knows RFDS, which came after VERW had moved into the entry stub"
    if at_least >= (6, 8):
        return "6.8", era("43fb862de8f6"), "v6.8 has VERW in the entry stub, and does not know RFDS"
    if unknown or at_least >= (6, 0):
        return (
            "6.0",
            era("8cb861e9e3c9"),
            "it may say Unknown of MMIO Stale Data, and nothing shows that it knows RFDS",
        )
    if knows(report, "taa"):
        return "5.19", era("8cb861e9e3c9"), "it knows TAA or MMIO Stale Data, and nothing shows that it knows RFDS"
    if knows(report, "mds"):
        return "5.2", era("650b68a0622f"), "it knows MDS, and nothing shows that it knows a later flaw"
    return "5.0", era("before-mds"), "nothing shows that it knows MDS"
