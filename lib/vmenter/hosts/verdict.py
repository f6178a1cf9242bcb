"""What a report comes to: fine, a finding, or nothing that can be told. It is the exit status of `vmenter host`.

Fine needs all that it rests on to be told. The worst case decides: a promise that is broken, a line that says
Vulnerable, a flaw that nobody spoke of, a line that the model cannot follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vmenter.hosts.entering import NONE, SVM, VMX
from vmenter.hosts.texts import FLAWS, JUDGED
from vmenter.hosts.told import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmenter.hosts.told import Told

FINE, FINDING, CANNOT_TELL = 0, 1, 2
TITLES: Final = {
    "mds": "MDS",
    "tsx_async_abort": "TAA",
    "mmio_stale_data": "MMIO Stale Data",
    "reg_file_data_sampling": "RFDS",
    "l1tf": "L1TF",
    "tsa": "TSA",
}


@dataclass(frozen=True)
class Outcome:
    """`status`: exit status; `kept`: whether the promise is, None where that cannot be told or nothing is entered.

    `not_told`: files that the verdict rests on and that say nothing. `reasons`: what made it no 0, in sentences.
    """

    status: int
    kept: bool | None
    not_told: tuple[str, ...]
    reasons: tuple[str, ...]


def relevant(by: str | None) -> tuple[str, ...]:
    """Return the files that VM-Enter rests on, by the instruction: TSA is AMD's, the others are not."""
    return {VMX: tuple(FLAWS), SVM: ("tsa",)}.get(by or "", JUDGED)


def outcome(
    by: str | None,
    told: Mapping[str, Told],
    *,
    kept: bool | None,
    open_lines: tuple[str, ...],
    differing: tuple[str, ...],
    mixed: tuple[str, ...] = (),
) -> Outcome:
    """Put together what was told.

    `kept`: of the VM-Enters that were run; `open_lines`: files that say Vulnerable or Unknown; `differing`: files
    of which the model says something else than the kernel; `mixed`: signs of more than one machine or moment.
    """
    if all(one.state is State.NOT_TOLD and not one.line for one in told.values()):
        reason = "no line and no bugs line tells of any flaw that the course is about"
        return Outcome(CANNOT_TELL, None, relevant(by), (reason,))
    reasons = []
    if open_lines:
        reasons.append(f"The kernel says that {_titles(open_lines)} {_are(open_lines)} open.")
    if mixed:
        kept = None
        reasons.append(f"More than one machine or moment seems to be in it: {', '.join(mixed)}.")
    if by == NONE:  # nothing is entered, so nothing is owed
        return Outcome(FINDING if reasons else FINE, None, (), tuple(reasons))
    if kept is False:
        reasons.append("The promise is broken.")
    missing = tuple(file for file in relevant(by) if told[file].state is State.NOT_TOLD)
    if missing:
        reasons.append(f"It rests on what was not told: {_titles(missing)}.")
    without = tuple(file for file in relevant(by) if told[file].state is State.AFFECTED and not told[file].line)
    if without:
        reasons.append(f"What is done about {_titles(without)} was not told: the lines are missing.")
    if differing:
        reasons.append(f"The model cannot follow the kernel about {_titles(differing)}.")
    kept = None if (missing or without or differing) and kept else kept
    return Outcome(FINDING if reasons else FINE, kept, (*missing, *without), tuple(reasons))


def _titles(files: tuple[str, ...]) -> str:
    return ", ".join(TITLES[file] for file in files)


def _are(files: tuple[str, ...]) -> str:
    return "is" if len(files) == 1 else "are"
