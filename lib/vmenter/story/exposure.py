"""Where the holes are: an era's configurations sorted into columns, and counted.

A column is a value of a dimension, or a pair of values of two. Dimensions are those of the space (`mds`, `flush
pending`) and the `SITUATIONS`, which selection makes of a machine: for whom VERW is asked, and what this VM-Enter
is to do about the L1D. Each kernel selects by its own rules, so one machine may stand in different columns of two
eras; but in an era every configuration stands in one, and the columns add up to the whole.

Nothing is audited again to zoom: what an era makes of an outcome is known (`audit.fates`), and only how many
configurations have each outcome is counted anew (`audit.parts`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from vmenter import LabError, near
from vmenter.story import audit
from vmenter.story.audit import Fate, Finding, Tally
from vmenter.story.promise import VCpuState, Verw
from vmenter.story.space import DEFAULT, Space

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from vmenter.story.history import Era

Column = tuple[str, ...]
"""A value of each dimension of a split, in its order; () is all of them."""


# --- what selection makes of a machine --------------------------------------------------------------------------


class Situation(NamedTuple):
    """A dimension that selection makes: its values, and which of them a VM-Enter is in."""

    values: tuple[str, ...]
    of: Callable[[Fate], str]


_VERW = {
    Verw.ALWAYS: "for every guest",
    Verw.MMIO: "for guests that reach MMIO",
    Verw.NEVER: "for no guest",
}


def _flush_now(fate: Fate) -> str:
    if fate.promise.l1d_flush == "cond":
        return "cond, pending" if fate.state.flush_pending else "cond, none pending"
    return "always" if fate.promise.l1d_flush == "always" else "not asked"


SITUATIONS: Mapping[str, Situation] = {
    "VERW asked": Situation(tuple(_VERW.values()), lambda fate: _VERW[fate.promise.verw]),
    "L1D flush now": Situation(("not asked", "cond, none pending", "cond, pending", "always"), _flush_now),
}


class Seat(NamedTuple):
    """What all configurations with one outcome have in common, for an era."""

    values: tuple[str, ...]  # of `SITUATIONS`, in their order
    owing: bool  # a clear or a flush is owed
    faults: frozenset[str]  # as in `audit.Fate`

    @property
    def situations(self) -> dict[str, str]:
        """Its value of each situation."""
        return dict(zip(SITUATIONS, self.values, strict=True))


class Seats(NamedTuple):
    """The seat of each outcome, thousands; and of each seat, some dozen, its outcomes and configurations."""

    of: dict[Hashable, Seat]
    taken: dict[Seat, tuple[list[Hashable], Tally]]


@lru_cache(maxsize=64)
def _seats(era: Era, space: Space) -> Seats:
    """Seat all outcomes: the audit itself, done once for an era and a space."""
    found = Seats({}, {})
    for outcome, (fate, tally) in audit.fates(era, space).items():
        state, promise = fate.state, fate.promise
        vcpu = VCpuState(state.mmio, state.flush_pending)
        owing = promise.owes_clear(vcpu) or promise.owes_flush(vcpu)
        seat = Seat(tuple(one.of(fate) for one in SITUATIONS.values()), owing, fate.faults)
        outcomes, before = found.taken.get(seat, ([], None))
        outcomes.append(outcome)
        found.of[outcome] = seat
        found.taken[seat] = outcomes, tally.either(before)
    return found


# --- parts of a space --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """A part of a space: (dimension, its only value) for each dimension narrowed, in the order of narrowing.

    Raises `LabError` for a dimension that neither the space nor `SITUATIONS` has, for a value that it has not, and
    for a dimension narrowed twice.
    """

    space: Space = DEFAULT
    narrowed: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        fixed: dict[str, str] = {}
        for name, label in self.narrowed:
            known = (fixed[name],) if name in fixed else _values(self.space, name)
            if label not in known:
                raise LabError(f"{name}: no such value: {label!r}{near(label, known)}; it has: {'; '.join(known)}")
            fixed[name] = label

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values that a dimension has here."""
        fixed = dict(self.narrowed)
        return (fixed[name],) if name in fixed else _values(self.space, name)

    def to(self, *pairs: tuple[str, str]) -> Cut:
        """Return a part of this part."""
        return replace(self, narrowed=tuple((dict(self.narrowed) | dict(pairs)).items()))

    @property
    def part(self) -> Space:
        """The space with its own dimensions narrowed; situations are not its, but its outcomes'."""
        found = self.space
        for name, label in self.narrowed:
            if name not in SITUATIONS:
                found = found.where(name, label)
        return found

    @cached_property
    def situations(self) -> tuple[tuple[str, str], ...]:
        """What is narrowed and is no dimension of the space, but what its outcomes make of it."""
        return tuple((name, label) for name, label in self.narrowed if name in SITUATIONS)

    def holds(self, seat: Seat) -> bool:
        """Tell whether an outcome is in the situations narrowed to."""
        situations = seat.situations
        return all(situations[name] == label for name, label in self.situations)


def _values(space: Space, name: str) -> tuple[str, ...]:
    if name in SITUATIONS:
        return SITUATIONS[name].values
    for dimension in space.dimensions:
        if dimension.name == name:
            return tuple(value.label for value in dimension.values)
    known = (*SITUATIONS, *space.counts)
    raise LabError(f"no dimension {name!r}{near(name, known)}; there are: {', '.join(known)}")


# --- counting ----------------------------------------------------------------------------------------------------


class Count(NamedTuple):
    """How many configurations, and how many of them owe something or have a fault. Faults may meet in one."""

    configurations: int = 0
    owing: int = 0
    broken: int = 0
    neutralised: int = 0
    failed: int = 0

    def plus(self, number: int, seat: Seat) -> Count:
        """Return this with so many configurations more."""
        faults = (number * (fault in seat.faults) for fault in self._fields[2:])
        more = Count(number, number * seat.owing, *faults)
        return Count(*(mine + theirs for mine, theirs in zip(self, more, strict=True)))


@lru_cache(maxsize=4096)
def counts(era: Era, cut: Cut, split: tuple[str, ...] = ()) -> dict[Column, Count]:
    """Count an era's configurations by column; a column that none stands in is left out."""
    own = [name for name in split if name not in SITUATIONS]
    found: dict[Column, Count] = {}
    for picked in product(*(cut.values(name) for name in own)):
        given = dict(zip(own, picked, strict=True))
        inner = cut.to(*given.items())
        known, (selected, vcpus, told) = _seats(era, cut.space).of, _parts(inner.part, era.kernel)
        here: dict[Seat, int] = {}
        for (both, left), (vcpu, right) in product(selected.items(), vcpus.items()):
            seat = known[both, vcpu]
            here[seat] = here.get(seat, 0) + left.number * right.number * told.number
        for seat, number in here.items():
            if inner.holds(seat):
                situations = seat.situations
                column = tuple(given.get(name) or situations[name] for name in split)
                found[column] = found.get(column, Count()).plus(number, seat)
    return found


def finding(era: Era, cut: Cut, fault: str | None) -> Finding | None:
    """Return those of a part that have a fault: what they share, the smallest.

    Without a fault named: those that have none, and of these those that owe something, if there are any.
    """
    kinds: dict[bool, Tally] = {}
    part = cut.part
    for seat, (outcomes, whole) in _seats(era, cut.space).taken.items():
        if cut.holds(seat) and (fault in seat.faults if fault else not seat.faults):
            tally = whole if part == cut.space else _together(outcomes, part, era.kernel)
            kind = seat.owing or bool(fault)
            if tally:
                kinds[kind] = tally.either(kinds.get(kind))
    found = kinds.get(True) or kinds.get(False)
    return Finding(found, part) if found else None


def _together(outcomes: list[Hashable], part: Space, kernel: str) -> Tally | None:
    """Return a part's configurations with any of these outcomes."""
    here, found = _outcomes(part, kernel), None
    for outcome in outcomes:
        if tally := here.get(outcome):
            found = tally.either(found)
    return found


_parts = lru_cache(maxsize=1024)(audit.parts)
_outcomes = lru_cache(maxsize=64)(audit.outcomes)
