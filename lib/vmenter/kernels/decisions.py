"""What code comes to, whatever it finds: every way through it, as a graph of questions.

A `Way` is what happens from one point on, up to the next `Question` or to the end. A question is a fork that was
seen to be taken both ways: under a CPU's feature, a static key, or some of what the code found in memory and
registers. Ways that meet again share what follows. `explore` makes such graphs by running the code; here they are
asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vmenter.kernels.dataflow import Input  # noqa: TC001  (a NamedTuple's field)


class Item(NamedTuple):
    """Something that happens on a way: the kind (of `trace.EventKind`, or "access"), its place, and what it is."""

    kind: str
    address: int
    what: str = ""


class Ask(NamedTuple):
    """What a question is about: a feature's number, a static key's name, or inputs that each alone decide it."""

    kind: str  # "feature", "key" or "input"
    what: int | str | tuple[Input, ...]
    name: str  # in words
    place: str = ""  # where it is asked

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs that decide it; none for a feature or a key."""
        return self.what if isinstance(self.what, tuple) else ()


@dataclass(frozen=True, eq=False)
class Way:
    """What happens up to the next question, or to the end."""

    items: tuple[Item, ...]
    then: Question | str = field(repr=False)  # or how it ends: as `recorder.Run.end`


@dataclass(frozen=True, eq=False)
class Question:
    """A fork. `no` and `yes`: for a feature or key that is off or on; of two contents, the lower one is "no"."""

    ask: Ask
    no: Way
    yes: Way
    values: tuple[int, int] = (0, 1)  # of the (first) input


Outcome = tuple[tuple[Item, ...], str]
"""The items that were kept, in order, and the end."""
Choose = Callable[[Question], "bool | None"]
"""Answers a question, or leaves it open: then both ways count."""

ENTERS = frozenset({"VMLAUNCH", "VMRESUME", "VMRUN", "call"})


def outcomes(way: Way, choose: Choose, keep: Callable[[Item], bool]) -> frozenset[Outcome]:
    """Return all that a way can come to, as far as the questions are answered: what is kept, and the ends."""
    known: dict[int, frozenset[Outcome]] = {}

    def of(way: Way) -> frozenset[Outcome]:
        kept = tuple(item for item in way.items if keep(item))
        if isinstance(way.then, str):
            return frozenset({(kept, way.then)})
        behind = of_question(way.then)
        return frozenset((kept + items, end) for items, end in behind) if kept else behind

    def of_question(question: Question) -> frozenset[Outcome]:
        found = known.get(id(question))
        if found is None:
            answer = choose(question)
            found = frozenset()
            if answer is not True:
                found |= of(question.no)
            if answer is not False:
                found |= of(question.yes)
            known[id(question)] = found
        return found

    return of(way)


def entering(found: frozenset[Outcome]) -> frozenset[Outcome]:
    """Return those outcomes that enter a guest, or come to the call of what does."""
    return frozenset(one for one in found if one[1] in ENTERS)


def open_to(_question: Question) -> None:
    """Leave every question open."""


def questions(way: Way) -> Iterator[Question]:
    """Yield every question once, in the order in which they are met."""
    seen: set[int] = set()
    waiting = [way]
    while waiting:
        question = waiting.pop().then
        if isinstance(question, str) or id(question) in seen:
            continue
        seen.add(id(question))
        yield question
        waiting += [question.yes, question.no]


# --- what it depends on ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deciding:
    """A question that makes a difference to whether something happens; True and False are answers."""

    ask: Ask
    no: Deciding | bool
    yes: Deciding | bool
    values: tuple[int, int]


def deciding(way: Way, happens: Callable[[Item], bool], ends: Collection[str] = ENTERS) -> Deciding | bool | None:
    """Return what decides whether something happens before a guest is entered; None if none is entered at all.

    Questions that make no difference are left out, and ways that enter no guest (errors, early returns) with them.
    """
    known: dict[tuple[int, bool], Deciding | bool | None] = {}

    def of(way: Way, done: bool) -> Deciding | bool | None:  # noqa: FBT001
        done = done or any(map(happens, way.items))
        if isinstance(way.then, str):
            return done if way.then in ends else None
        key = id(way.then), done
        if key not in known:
            no, yes = of(way.then.no, done), of(way.then.yes, done)
            if no is None or yes is None or no == yes:
                known[key] = yes if no is None else no
            else:
                known[key] = Deciding(way.then.ask, no, yes, way.then.values)
        return known[key]

    return of(way, False)  # noqa: FBT003


Decision = Deciding | bool | None
"""What something comes to: True, False, or what decides it; None where nothing is come to at all."""


def nodes(found: Decision) -> Iterator[Deciding]:
    """Yield every question that makes a difference."""
    if isinstance(found, Deciding):
        yield found
        yield from nodes(found.no)
        yield from nodes(found.yes)


class Arm(NamedTuple):
    """One way to something: what must hold, in the order in which it is asked: (question, answer)."""

    conditions: tuple[tuple[Deciding, bool], ...]


def arms(found: Decision) -> Iterator[Arm]:
    """Yield every way to the answer True."""
    if found is True:
        yield Arm(())
    elif isinstance(found, Deciding):
        for answer, behind in ((False, found.no), (True, found.yes)):
            for arm in arms(behind):
                yield Arm(((found, answer), *arm.conditions))


def answered(found: Decision, answers: Mapping[str, bool]) -> frozenset[bool]:
    """Return what it can come to where questions, by their names, are answered so; others stay open."""
    if not isinstance(found, Deciding):
        return frozenset() if found is None else frozenset({found})
    answer = answers.get(found.ask.name)
    either = (found.no, found.yes) if answer is None else (found.yes if answer else found.no,)
    return frozenset().union(*(answered(one, answers) for one in either))
