"""Every way through a function of a real kernel, found by running it, as a graph of `decisions`.

A run takes one way. At each place where another could have been taken (a site of an alternative whose feature is
open, a static branch whose key is open, a jump or a WRMSR that something unknown reached) the run is done again
with what turns it the other way, if there is such a thing, and so on until nothing is left to turn. What turns a
jump is found by trying: contents that the instructions before it suggest, then single bits. So nothing is taken
from what code looks like, only from what it does. Two ways are known to meet where they stand at the same
instruction and all that is read from there on is the same in both; from there on they are one.

What cannot be turned although nothing known forbids it, and what would take too long, is kept in `unsure`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from vmenter import LabError
from vmenter.code.x86 import FB_CLEAR_DIS, IA32_FLUSH_CMD, IA32_MCU_OPT_CTRL
from vmenter.emulator.memory import Owner
from vmenter.emulator.trace import EventKind
from vmenter.kernels.dataflow import CARRY, FLAGS, PLACES, TOUCHES, Input, Place, State, Taint
from vmenter.kernels.decisions import Ask, Item, Question, Way
from vmenter.kernels.runs import Chosen, Run, Runs

MOST_RUNS = 800
MOST_STEPS = 60_000  # of all runs together
IMMEDIATE = re.compile(r"\$(-?(?:0x)?[0-9a-f]+)")
ASKS = re.compile(r"j(?!mp)|loop")  # instructions that go one of two ways
TOO_MANY = "too many questions are asked on the way to VM-Enter to run them all"
KINDS = frozenset(EventKind) - {EventKind.CALL}
Live = frozenset[Any]  # places of a run, and ("feature", n), ("key", name)


@dataclass
class _Known:
    """A question that was worked out, and what it and all behind it read."""

    question: Question
    live: Live
    values: dict[Any, tuple[int, Taint]]
    chosen: dict[Any, int | None]


@dataclass
class Explorer:
    """Explores one function. `fixed`: which bits of which register, at the start, are not to be varied.

    `probe`: a register, and bits of it, that are asked for at the end: an item "raised" where any of them is set.
    """

    runs: Runs
    fixed: dict[str, int] = field(default_factory=dict)
    probe: tuple[str, int] | None = None
    accesses: bool = False  # keep them as items
    unsure: list[str] = field(default_factory=list)
    _known: dict[tuple[int, str], list[_Known]] = field(default_factory=dict)
    _live: dict[int, Live] = field(default_factory=dict)
    _steady: set[Any] = field(
        default_factory=set
    )  # jumps that only registers of the start reach, and that did not turn

    def explore(self, chosen: Chosen | None = None) -> Way:
        """Return all ways from the function's start."""
        begin = dict(chosen or {})
        try:
            return self._way(begin, self.runs.run(begin), 0)
        except RecursionError:
            raise LabError(TOO_MANY) from None

    # --- one way, and the forks on it ---

    def _way(self, chosen: dict[Any, int], run: Run, at: int) -> Way:
        """Return the way of a run from a step on, and remember what it reads."""
        for step in sorted(step for step in run.notes if step >= at):
            question = self._at_site(chosen, run, step) or self._at_branch(chosen, run, step)
            if question is not None:
                way = Way(self._items(run, at, step), question)
                return self._remember(way, self._before(run, at, step, self._live[id(question)]))
        question = self._at_end(chosen, run)
        live: Live = frozenset({self.probe[0]} if self.probe else ())
        before = self._before(run, at, len(run.steps), live)
        items = self._items(run, at, len(run.steps))
        if question is not None:
            return self._remember(Way(items, question), before)
        return self._remember(Way(items + self._raised(run), run.end), before)

    def _remember(self, way: Way, live: Live) -> Way:
        self._live[id(way)] = live
        return way

    def _at_site(self, chosen: dict[Any, int], run: Run, step: int) -> Question | None:
        """Return the question for a feature or key that is open where the run came to it."""
        address = run.steps[step]
        key = self.runs.key_at(address)
        asked: Iterator[tuple[str, Any]] = iter(
            [("key", key)] if key else [("feature", number) for number in self.runs.features_at(address)]
        )
        what = next((one for one in asked if one not in chosen), None)
        if what is None:
            return None
        known = self._met(chosen, run, step, "site")
        if known:
            return known
        ways = []
        for state in (0, 1):
            now = {**chosen, what: state}
            ways.append(self._way(now, self.runs.run(now), step))
        ask = Ask(what[0], what[1], str(what[1]), self.runs.image.label(address))
        return self._keep(Question(ask, ways[0], ways[1]), chosen, run, step, "site", frozenset({what}))

    def _at_branch(self, chosen: dict[Any, int], run: Run, step: int) -> Question | None:
        """Return the question of a jump or WRMSR that can be turned."""
        instruction = run.trace.code[run.steps[step]]
        taint = run.flow.branches.get(step, frozenset())
        turns = instruction.mnemonic.startswith(("j", "loop", "wrmsr", "call", "ret"))
        if not taint or not turns or step + 1 >= len(run.steps):
            return None
        if taint <= PLACES and not ASKS.match(instruction.mnemonic):  # it goes to the same place, wherever that is
            return None
        if instruction.mnemonic.startswith(("call", "jmp")) and "*" not in instruction.operands:
            return None
        if instruction.mnemonic.startswith("wrmsr") and _msr(run, step)[0] not in (
            IA32_FLUSH_CMD,
            IA32_MCU_OPT_CTRL,
        ):
            return None
        known = self._met(chosen, run, step, "branch")
        if known:
            return known
        same = instruction.code, run.steps[step], taint, _direction(run, step)
        if same in self._steady:
            return None
        found = self._turn(chosen, run, step, taint, _direction)
        if not found:
            if all(one.kind == "register" for one in taint):
                self._steady.add(same)
            self._unturned(chosen, run, step, taint)
            return None
        return self._fork(chosen, run, step, found, "branch")

    def _at_end(self, chosen: dict[Any, int], run: Run) -> Question | None:
        """Return the question of what stands in the probed register at the end."""
        if self.probe is None or run.end not in ("return", "call"):
            return None
        taint = run.flow.state(len(run.steps)).taints.get(self.probe[0], frozenset())
        step = len(run.steps) - 1
        found = self._turn(chosen, run, step, taint, lambda one, _: self._raised(one))
        return self._fork(chosen, run, step, found, "end") if found else None

    def _raised(self, run: Run) -> tuple[Item, ...]:
        """Return whether a probed bit is set at the end."""
        if self.probe is None or not run.registers[self.probe[0]] & self.probe[1]:
            return ()
        return (Item("raised", run.steps[-1]),)

    def _fork(
        self, chosen: dict[Any, int], run: Run, step: int, found: dict[Input, tuple[int, Run]], kind: str
    ) -> Question:
        """Return the question that inputs decide: each alone turns the run."""
        one, (value, other) = next(iter(found.items()))
        mine = self.runs.content(run, one) if one not in chosen else chosen[one]
        keep, turn = {**chosen, one: mine}, {**chosen, one: value}
        if kind == "end":
            ways = [self._remember(Way(self._raised(r), r.end), frozenset()) for r in (run, other)]
        else:
            ways = [self._way(keep, run, step + 1), self._way(turn, other, step + 1)]
        pairs = sorted(((mine, ways[0]), (value, ways[1])), key=lambda pair: pair[0])
        name = " or ".join(dict.fromkeys(self.runs.told(each) for each in found))
        if one.kind == "register" and kind == "branch":
            name = f"{self._bits(chosen, run, step, one)} of {name}"
        ask = Ask("input", tuple(found), name, self.runs.image.label(run.steps[step]))
        question = Question(ask, pairs[0][1], pairs[1][1], (pairs[0][0], pairs[1][0]))
        if kind == "end":
            self._live[id(question)] = frozenset()
            return question
        return self._keep(question, chosen, run, step, kind, frozenset())

    def _bits(self, chosen: dict[Any, int], run: Run, step: int, one: Input) -> str:
        """Return which single bits of a register turn a run."""
        now, before, here = self.runs.content(run, one), run.steps[: step + 1], _direction(run, step)
        found = []
        for bit in range(32):
            other = self.runs.run({**chosen, one: now ^ 1 << bit})
            if other.steps[: step + 1] == before and _direction(other, step) not in (here, None):
                found.append(str(bit))
        return f"bit {found[0]}" if len(found) == 1 else f"bits {found[0]} to {found[-1]}" if found else "some"

    # --- what turns a run ---

    def _turn(
        self, chosen: dict[Any, int], run: Run, step: int, taint: Taint, direction: Callable[[Run, int], Any]
    ) -> dict[Input, tuple[int, Run]]:
        """Return the inputs that alone turn the run at a step: a content that does, and the run with it."""
        found: dict[Input, tuple[int, Run]] = {}
        here, before = direction(run, step), run.steps[: step + 1]
        inputs = sorted(
            (one for one in taint if one.kind != "machine"), key=lambda one: (run.flow.read.get(one, 0), str(one))
        )
        for one in inputs:
            for value in self._candidates(run, step, one, inputs):
                if self.runs.count > MOST_RUNS or self.runs.steps > MOST_STEPS:
                    raise LabError(TOO_MANY)
                other = self.runs.run({**chosen, one: value})
                if other.steps[: step + 1] == before and direction(other, step) not in (here, None):
                    found[one] = value, other
                    break
        free = [one for one in inputs if str(one.where) not in self.fixed]
        if not found and len(free) > 1:
            every = dict.fromkeys(free, 1)
            other = self.runs.run({**chosen, **every})
            if other.steps[: step + 1] == before and direction(other, step) not in (here, None):
                self.unsure.append(
                    f"{self.runs.image.label(run.steps[step])} depends on "
                    f"{' and '.join(map(self.runs.told, free))} together"
                )
        return found

    def _candidates(self, run: Run, step: int, one: Input, others: list[Input]) -> Iterator[int]:
        """Yield contents to try, the likely ones first."""
        now = self.runs.content(run, one)
        mask = (1 << 8 * one.size) - 1
        hints: list[int] = []
        for back in range(step, max(-1, step - 4), -1):
            operands = run.trace.code[run.steps[back]].operands
            for text in IMMEDIATE.findall(operands):
                constant = int(text, 0)
                hints += [constant, constant + 1, constant - 1, now ^ constant]
                hints += [now ^ 1 << constant] if 0 <= constant < 64 else []
        held = run.notes.get(step)
        if held:
            hints += [held[name] for name in ("rax", "rcx", "rdx", "rsi", "rdi", "rbx", "r8", "r12", "r13")]
        hints += [self.runs.content(run, other) for other in others if other != one]
        keep = self.fixed.get(str(one.where), 0) if one.kind == "register" else 0
        bits: Iterable[int] = range(
            min(16, 8 * one.size) if one.kind == "memory" else 12 if one.where == FLAGS else 8
        )
        if keep:
            bits, mask = (), 0xFFFF_FFFF
        every = (0, 1, *hints, *(now ^ 1 << bit for bit in bits), now | mask & ~keep, now & ~mask | now & keep)
        if one.size == 1 and step == len(run.steps) - 1:
            every = (0, 1)  # a byte that is passed on is a yes or a no
        tried = {now}
        for value in (one_value & mask for one_value in every):
            if value not in tried and not (value ^ now) & keep:
                tried.add(value)
                yield value

    def _unturned(self, chosen: dict[Any, int], run: Run, step: int, taint: Taint) -> None:
        """Note a jump whose other way was not found, unless what was chosen before explains it."""
        if run.trace.code[run.steps[step]].mnemonic.startswith("wrmsr") and all(
            one.kind == "machine" for one in taint
        ):
            return  # what RDMSR told is written back, with a bit set or not
        fixed = any(one in chosen or (one.kind == "register" and str(one.where) in self.fixed) for one in taint)
        if not fixed:
            told = " and ".join(sorted(map(self.runs.told, taint)))
            self.unsure.append(
                f"{self.runs.image.label(run.steps[step])} depends on {told}, in a way that was not followed"
            )

    # --- ways that meet ---

    def _met(self, chosen: dict[Any, int], run: Run, step: int, kind: str) -> Question | None:
        """Return a question that stands here already, if all that is read from here on is the same."""
        known_here = self._known.get((run.steps[step], kind), ())
        state = run.flow.state(step) if known_here else None
        for known in known_here:
            if (
                state
                and all(chosen.get(what) == value for what, value in known.chosen.items())
                and all(self._value(run, step, place, state) == value for place, value in known.values.items())
            ):
                return known.question
        return None

    def _keep(
        self, question: Question, chosen: dict[Any, int], run: Run, step: int, kind: str, more: Live
    ) -> Question:
        """Remember a question, with the state in which it was asked."""
        behind: Live = self._live[id(question.no)] | self._live[id(question.yes)]
        if kind == "branch":
            behind = self._over(run, step, behind)
        live = behind | more
        self._live[id(question)] = live
        open_ = {
            what: chosen.get(what) for what in live if isinstance(what, tuple) and not isinstance(what, Input)
        }
        state = run.flow.state(step)
        values = {place: self._value(run, step, place, state) for place in live if not isinstance(place, tuple)}
        self._known.setdefault((run.steps[step], kind), []).append(_Known(question, live, values, open_))
        return question

    def _value(self, run: Run, step: int, place: Place, state: State) -> tuple[int, Taint]:
        """Return what a place holds before a step, and what reached it."""
        taint = state.taints.get(place, frozenset())
        if isinstance(place, str):
            held = run.notes[step][FLAGS if place == CARRY else place]
            return held & 1 if place == CARRY else held & ~1 if place == FLAGS else held, taint
        found = state.written.get(place)
        if found is None:  # unwritten: as it was found, and an input of its own wherever it will be read
            return run.initial(place), frozenset()
        return found, taint

    def _before(self, run: Run, first: int, last: int, live: Live) -> Live:
        """Return what steps [first, last) and all behind them read."""
        for step in range(last - 1, first - 1, -1):
            live = self._over(run, step, live)
        return live

    def _over(self, run: Run, step: int, live: Live) -> Live:
        """Return what a step and all behind it read."""
        address = run.steps[step]
        flow = run.flow
        live = (live - flow.writes[step]) | flow.reads[step]
        if address in self.runs.watch:
            key = self.runs.key_at(address)
            live |= {("key", key)} if key else {("feature", number) for number in self.runs.features_at(address)}
        return live

    # --- what happens ---

    def _items(self, run: Run, first: int, last: int) -> tuple[Item, ...]:
        """Return what happens in steps [first, last)."""
        found = [
            (event.step, Item(str(event.kind), event.address, f"{event.value:#x}" if event.value else ""))
            for event in run.trace.events
            if first <= event.step < last and event.kind in KINDS
        ]
        found += self._msr_calls(run, first, last)
        if self.accesses:
            found += self._touched(run, first, last)
        return tuple(item for _, item in sorted(found, key=lambda pair: pair[0]))

    def _touched(self, run: Run, first: int, last: int) -> Iterator[tuple[int, Item]]:
        """Yield accesses to memory, each with its owner; and what the machine counts as none, but touches data."""
        for index, (step, address, size, write, _) in enumerate(run.trace.raw_accesses):
            if first <= step < last:
                instruction = run.trace.code[run.steps[step]]
                if instruction.is_clear or instruction.mnemonic == "verw":
                    continue
                owner = str(run.trace.layout.owner(address))
                taint = run.flow.access.get(index, frozenset())
                flags = {one.where for one in taint if one.kind == "register"} & set(self.fixed)
                if not write and flags and len(taint) == 1 and owner == Owner.STACK and size <= 8:
                    owner = str(Owner.FLAGS)
                yield (
                    step,
                    Item(
                        "access", run.steps[step], f"{'writes' if write else 'reads'} {owner}: {instruction.text}"
                    ),
                )
        for step in range(first, last):
            instruction = run.trace.code[run.steps[step]]
            if instruction.mnemonic.startswith(TOUCHES):
                yield step, Item("access", run.steps[step], f"touches memory: {instruction.text}")

    def _msr_calls(self, run: Run, first: int, last: int) -> Iterator[tuple[int, Item]]:
        """Yield writes of IA32_MCU_OPT_CTRL that a function outside the image is called for."""
        for step, held in run.notes.items():
            if not first <= step < last or step + 1 >= len(run.steps):
                continue
            name = self._outside(run, step)
            if name is None or held["rdi"] & 0xFFFF_FFFF != IA32_MCU_OPT_CTRL:
                continue
            value = run.flow.state(step).taints.get("rsi", frozenset())
            left_over = any(self.runs.told(one).startswith("rsi ") for one in value)
            if held["rsi"] & 8 and not left_over:
                yield step, Item(str(EventKind.FB_CLEAR_DIS_SET), run.steps[step], f"by {name}")
            elif "read" not in name and not name.startswith("*"):
                yield step, Item("perhaps", run.steps[step], f"{name} is called with {IA32_MCU_OPT_CTRL:#x}")

    def _outside(self, run: Run, step: int) -> str | None:
        """Return what is called that is not in the image; None if nothing is."""
        instruction = run.trace.code[run.steps[step]]
        if not instruction.mnemonic.startswith(("call", "jmp")):
            return None
        target = run.steps[step + 1]
        if self.runs.image.section_at(target) is not None:
            return None
        named = next((name for thunk, name in self.runs.pointers.values() if thunk == target), None)
        return named or self.runs.image.label(target)


def _direction(run: Run, step: int) -> Any:
    """Return which way a run takes at a step."""
    if run.trace.code[run.steps[step]].mnemonic.startswith("wrmsr"):
        return _msr(run, step)
    return run.steps[step + 1] if step + 1 < len(run.steps) else None


def _msr(run: Run, step: int) -> tuple[int, int]:
    """Return which MSR is written, and of its value the bit that matters."""
    held = run.notes[step]
    number, low = held["rcx"] & 0xFFFF_FFFF, held["rax"]
    bit = {IA32_FLUSH_CMD: 1, IA32_MCU_OPT_CTRL: FB_CLEAR_DIS}.get(number, 0)
    return number, low & bit
