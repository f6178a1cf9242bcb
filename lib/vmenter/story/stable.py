"""Which kernel has which commit of the story: from what release on, and in the stable series from what number on.

A stable kernel is written like 6.1.81: series 6.1, number 81. A commit comes to a series as a backport, and stays.
Each number here was read in the announcement of that release (its list of commits), kept by kernel.org as
ChangeLog-6.1.81 and its like; what was seen to lack a commit is a kernel of Debian's, 5.10.46 its source. What
neither tells is not told: None, never a guess. The commits are years apart: a number that brought one is older
than the next.

    >>> has("43fb862de8f6", "6.1.80"), has("43fb862de8f6", "6.1.81"), has("43fb862de8f6", "4.19.300")
    (False, True, None)
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from vmenter import LabError

CHAIN, MMIO_ARM, MOVE, MERGED = "650b68a0622f", "8cb861e9e3c9", "43fb862de8f6", "e6ff1d61de51"
_VERSION = re.compile(r"v?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,4}))?")


class Version(NamedTuple):
    """A kernel's version: the series, and the number in it (0 for the release itself)."""

    major: int
    minor: int
    number: int = 0

    @property
    def series(self) -> tuple[int, int]:
        """Major and minor."""
        return self[:2]


@dataclass(frozen=True)
class Arrival:
    """Where a commit first is: the release of Linus's, and series → number. `lacks`: series → seen without it."""

    release: str
    series: dict[str, int] = field(default_factory=dict)
    lacks: dict[str, int] = field(default_factory=dict)


ARRIVALS = {
    CHAIN: Arrival("5.2", {"5.1": 2, "4.14": 119, "4.9": 176}),
    MMIO_ARM: Arrival("5.19", {"5.18": 5, "5.15": 48}, {"5.10": 46}),
    MOVE: Arrival("6.8", {"6.7": 9, "6.6": 21, "6.1": 81, "5.15": 154, "5.10": 215}),
    MERGED: Arrival("6.19", {}, {"6.12": 117, "6.1": 192, "5.10": 262}),
}
"""Commit → where it first is; in the order of the story."""


def version(text: str) -> Version:
    """Read a kernel's version, such as v6.8 or 6.1.81. Raises `LabError` for anything else."""
    found = _VERSION.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise LabError(f"{text!r} is no version of a kernel, such as v6.8 or 6.1.81")
    return Version(*(int(part) for part in found.groups(default="0")))


def has(commit: str, kernel: str) -> bool | None:
    """Tell whether a kernel of kernel.org has a commit of the story; None where what was read does not tell."""
    if commit not in ARRIVALS:
        raise LabError(f"nothing is known of {commit!r}; use one of: {' '.join(ARRIVALS)}")
    arrival, asked = ARRIVALS[commit], version(kernel)
    if asked.series >= version(arrival.release).series:
        return True
    name = f"{asked.major}.{asked.minor}"
    if name in arrival.series:
        return asked.number >= arrival.series[name]
    return False if asked.number <= _without(commit, name) else None


def _without(commit: str, series: str) -> int:
    """Return up to which number a series surely lacks a commit: seen, or released with an older one."""
    story = list(ARRIVALS)
    older = (ARRIVALS[one].series.get(series, 0) for one in story[: story.index(commit)])
    return max(ARRIVALS[commit].lacks.get(series, 0), *older, 0)


def skipped(kernel: str) -> tuple[str, ...] | None:
    """Return for which flaws a kernel can leave out a clear behind the else: "MDS", "MMIO", both or none.

    On a host with that flaw and L1TF, mode cond, flush flag clear; of MMIO, a guest with a device passed through.
    A kernel without the mitigation promises nothing, so it leaves nothing out. None where that is not told.
    """
    known = {commit: has(commit, kernel) for commit in ARRIVALS}
    begins, ends = {"MDS": CHAIN, "MMIO": MMIO_ARM}, {"MDS": MOVE, "MMIO": MERGED}
    found = []
    for flaw, first in begins.items():
        last = ends[flaw]
        if known[first] is False or known[last]:
            continue
        if known[first] is None or known[last] is None:
            return None
        found.append(flaw)
    return tuple(found)


def rows() -> list[tuple[str, str, str, str]]:
    """Return the table for people: commit, first release, first in the series, seen without it."""
    return [
        (commit, f"v{one.release}", _numbers(one.series), _numbers(one.lacks)) for commit, one in ARRIVALS.items()
    ]


def _numbers(series: dict[str, int]) -> str:
    return ", ".join(f"{name}.{number}" for name, number in series.items()) or "\u2013"
