"""A VM-Enter stub run in every way it can take: under every feature, and whatever memory holds.

`Runner` runs a stub as it is on a plain day: other features off, the vCPU's structure full of itself. Here each
question on its way is answered both ways (`explore`): the guest's SPEC_CTRL equal to the host's or not, the host's
RSP changed or not, every feature of every alternative that is come to, off and on. The run flags are given, one
set after the other.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from vmenter.emulator.memory import Owner
from vmenter.emulator.trace import EventKind
from vmenter.kernels.decisions import (
    Deciding,
    Decision,
    Item,
    Question,
    Way,
    deciding,
    entering,
    outcomes,
    questions,
)
from vmenter.kernels.explore import Explorer
from vmenter.kernels.runs import Runs
from vmenter.kernels.stub import BUDGET, RESUME, Runner

READS_FLAGS = f"reads {Owner.FLAGS}"


@dataclass(frozen=True)
class StubWays:
    """All ways of one stub, by run flags."""

    ways: Mapping[int, Way] = field(repr=False)
    reach: int  # the run flag for MMIO, 0 if it takes none
    unsure: tuple[str, ...]  # what could not be followed
    reached: frozenset[int] = frozenset()  # sites of alternatives and static branches that are come to

    @property
    def features(self) -> tuple[int, ...]:
        """The features that are asked for before a guest is entered."""
        found = (q.ask.what for way in self.ways.values() for q in questions(way) if q.ask.kind == "feature")
        return tuple(sorted({number for number in found if isinstance(number, int)}))

    @property
    def written(self) -> frozenset[int]:
        """Where WRMSR was executed before a guest was entered."""
        found = (
            item
            for way in self.ways.values()
            for items, _ in outcomes(way, lambda _: None, lambda item: item.kind == EventKind.WRMSR)
            for item in items
        )
        return frozenset(item.address for item in found)

    @property
    def disables(self) -> bool:
        """Whether it sets FB_CLEAR_DIS itself before a guest is entered, in some way."""
        return any(
            items
            for way in self.ways.values()
            for items, _ in entering(
                outcomes(way, lambda _: None, lambda item: item.kind == EventKind.FB_CLEAR_DIS_SET)
            )
        )

    def _flags(self, *, mmio: bool | None) -> list[int]:
        return [flags for flags in self.ways if mmio is None or bool(flags & self.reach) is mmio]

    def clears(
        self, on: Collection[int], off: Collection[int] = (), *, mmio: bool | None = None
    ) -> frozenset[bool]:
        """Return what can be, whether it clears: with these features on and those off, all else open."""
        return frozenset(
            bool(items)
            for flags in self._flags(mmio=mmio)
            for items, _ in entering(outcomes(self.ways[flags], _states(on, off), _is_verw))
        )

    def why(self, on: Collection[int], off: Collection[int] = (), *, mmio: bool | None = None) -> str:
        """Name what decides whether it clears there; "" if nothing does."""
        names: dict[str, None] = {}
        choose = _states(on, off)
        for flags in self._flags(mmio=mmio):
            for node in _open(deciding(self.ways[flags], _is_verw), choose):
                feature = f"feature {node.ask.name}" if node.ask.kind == "feature" else node.ask.name
                names[feature] = None
        return " and ".join(names)

    def behind(self) -> tuple[str, ...]:
        """Return the accesses to memory behind the last VERW, in any way, other than a read of the run flags."""
        found: dict[str, None] = {}
        for way in self.ways.values():
            for items, _ in entering(
                outcomes(way, lambda _: None, lambda item: _is_verw(item) or item.kind == "access")
            ):
                last = max((n for n, item in enumerate(items) if _is_verw(item)), default=len(items))
                found |= dict.fromkeys(i.what for i in items[last + 1 :] if not i.what.startswith(READS_FLAGS))
        return tuple(found)

    def wrong_entry(self) -> str | None:
        """Return what is wrong with the choice between VMLAUNCH and VMRESUME in some way; None if nothing is."""
        for flags, way in self.ways.items():
            due = "VMRESUME" if flags & RESUME else "VMLAUNCH"
            for _, end in entering(outcomes(way, lambda _: None, lambda _: False)):
                if end not in (due, "VMRUN"):
                    return f"{end} where {due} is due"
        return None


def of_runner(runner: Runner) -> StubWays:
    """Run a stub in every way. Raises `LabError` where there are too many."""
    register, reach = runner.flags, runner.reach
    ways: dict[int, Way] = {}
    unsure: dict[str, None] = {}
    runs = Runs(runner.image, runner.stub.start, runner.how, runner.arguments, (), BUDGET)
    for flags in _sets_of_flags(register, reach):
        runs.arguments = {**runner.arguments, **({register: flags} if register else {})}
        # Before v5.18 the argument is no set of flags but "was it launched": all of its bits are one.
        fixed = {register: RESUME | reach if reach else 0xFFFF_FFFF} if register else {}
        explorer = Explorer(runs, fixed=fixed, accesses=True)
        ways[flags] = explorer.explore()
        unsure |= dict.fromkeys(explorer.unsure)
    return StubWays(ways, reach, tuple(unsure), frozenset(runs.reached))


def _sets_of_flags(register: str | None, reach: int) -> Iterator[int]:
    """Yield the run flags to try: every set of RESUME and the one for MMIO."""
    for flags in (0, RESUME) if register else (0,):
        yield flags
        if reach and register:
            yield flags | reach


def _is_verw(item: Item) -> bool:
    return item.kind == EventKind.VERW


class _states:  # noqa: N801  (called like a function)
    """Answers questions for features that are on or off; all others stay open."""

    def __init__(self, on: Collection[int], off: Collection[int]) -> None:
        self.on, self.off = frozenset(on), frozenset(off)

    def __call__(self, question: Question | Deciding) -> bool | None:
        if question.ask.kind != "feature":
            return None
        return True if question.ask.what in self.on else False if question.ask.what in self.off else None


def _open(found: Decision, choose: _states) -> Iterator[Deciding]:
    """Yield the questions that are left open and make a difference."""
    left = _restricted(found, choose)
    if isinstance(left, Deciding):
        yield left
        yield from _open(left.no, choose)
        yield from _open(left.yes, choose)


def _restricted(found: Decision, choose: _states) -> Decision:
    """Return what is left to be asked where some features are given."""
    if not isinstance(found, Deciding):
        return found
    answer = choose(found)
    if answer is not None:
        return _restricted(found.yes if answer else found.no, choose)
    no, yes = _restricted(found.no, choose), _restricted(found.yes, choose)
    return no if no == yes else found
