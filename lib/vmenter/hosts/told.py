"""What a report says of each flaw: affected, not affected, or nothing. What nobody said is not "not affected".

Only a line of the kernel, or a bugs line of a kernel that knows the flaw, says "not affected". A kernel knows a
flaw if its version has it, or if it knows one that came later: names and files came in one order, in stable series
too.

Source: arch/x86/include/asm/cpufeatures.h (X86_BUG_*), and the days the flaws became public, the order in which
they were merged and backported: l1tf August 2018, mds May 2019, taa November 2019, srbds June 2020,
mmio_stale_data June 2022, retbleed July, mmio_unknown and eibrs_pbrsb August 2022, gds and srso August 2023, rfds
March 2024, bhi April 2024, its May 2025, tsa July 2025, vmscape September 2025.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from vmenter.boot.generations import GENERATIONS
from vmenter.hosts.texts import JUDGED, NOT_AFFECTED

if TYPE_CHECKING:
    from vmenter.hosts.report import Report


class State(StrEnum):
    """What is known of one flaw of a machine."""

    AFFECTED = "affected"
    NOT_AFFECTED = "not affected"
    NOT_TOLD = "not told"


@dataclass(frozen=True)
class Told:
    """One flaw: its state, from what, and whether the kernel's line says what is done about it."""

    file: str
    state: State
    source: str
    line: bool


BUG: Final = {
    "mds": "mds",
    "tsx_async_abort": "taa",
    "mmio_stale_data": "mmio_stale_data",
    "reg_file_data_sampling": "rfds",
    "l1tf": "l1tf",
    "tsa": "tsa",
}
"""File → the name in the bugs line."""

_AGES: Final = (
    ("l1tf",), ("mds", "msbds_only"), ("swapgs",), ("taa", "itlb_multihit"), ("srbds",), ("mmio_stale_data",),
    ("retbleed",), ("mmio_unknown", "eibrs_pbrsb"), ("smt_rsb",), ("gds", "srso", "div0"), ("rfds",), ("bhi",),
    ("ibpb_no_ret",), ("its", "its_native_only"), ("tsa",), ("vmscape",),
)  # fmt: skip
_AGE: Final = {name: age for age, names in enumerate(_AGES) for name in names}
_OF_FILE: Final = {
    **BUG,
    "itlb_multihit": "itlb_multihit", "srbds": "srbds", "retbleed": "retbleed", "gather_data_sampling": "gds",
    "spec_rstack_overflow": "srso", "indirect_target_selection": "its", "vmscape": "vmscape",
}  # fmt: skip
_SINCE: Final = {
    "l1tf": (4, 19),
    "mds": (5, 2),
    "taa": (5, 4),
    "mmio_stale_data": (5, 19),
    "rfds": (6, 9),
    "tsa": (6, 16),
}
"""Bug → the release of Linus's that has it first; stable series have it from some later release of theirs."""


def version(release: str | None) -> tuple[int, ...]:
    """Return the numbers that a release begins with; () without any."""
    found = re.match(r"\d{1,6}(?:\.\d{1,6})*", release or "")
    return tuple(int(number) for number in found[0].split(".")[:3]) if found else ()


def knows(report: Report, bug: str) -> bool:
    """Tell whether the report's kernel is sure to know a flaw, by its bug's name."""
    files = [_OF_FILE[file] for file, _ in report.lines if file in _OF_FILE]
    ages = [_AGE[name] for name in (*(report.bugs or ()), *files) if name in _AGE]
    if ages and max(ages) >= _AGE[bug]:
        return True
    exact = next((one for name, one in GENERATIONS.items() if version(name) == version(report.release)), None)
    if exact is not None and report.release:
        return bug in exact.bugs or version(report.release) >= _SINCE[bug]
    return version(report.release) >= _SINCE[bug]


def told(report: Report) -> dict[str, Told]:
    """Return what the report says of each flaw that the course explains, by file."""
    return {file: _told(report, file) for file in JUDGED}


def _told(report: Report, file: str) -> Told:
    line, bug = report.line(file), BUG[file]
    if file in dict(report.unread):
        return Told(file, State.NOT_TOLD, dict(report.unread)[file], line=line is not None)
    if line is not None:
        if line.startswith("Unknown"):
            return Told(file, State.NOT_TOLD, "the kernel itself says that it does not know", line=True)
        state = State.NOT_AFFECTED if line == NOT_AFFECTED else State.AFFECTED
        return Told(file, state, "the kernel's line", line=True)
    if file in report.present:
        return Told(file, State.AFFECTED, "the kernel's log", line=False)
    if report.bugs is None:
        return Told(file, State.NOT_TOLD, "no line of the kernel and no bugs line", line=False)
    if bug in report.bugs:
        return Told(file, State.AFFECTED, "the bugs line", line=False)
    if bug == "mmio_stale_data" and "mmio_unknown" in report.bugs:
        return Told(file, State.NOT_TOLD, "the bugs line says that the kernel does not know", line=False)
    if report.bugs_cut:
        return Told(file, State.NOT_TOLD, "not in the bugs line, which may be cut off", line=False)
    if knows(report, bug):
        return Told(file, State.NOT_AFFECTED, "not in the bugs line of a kernel that knows the flaw", line=False)
    return Told(
        file, State.NOT_TOLD, "not in the bugs line, but nothing shows that this kernel knows it", line=False
    )
