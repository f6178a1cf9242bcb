"""Every run of every machine on both CPUs: Unicorn's is believed, the interpreter's must be the same."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from vmenter import LabError
from vmenter.course.judging.flags import flags_written
from vmenter.emulator.machine import EMPTY_VCPU, Machine
from vmenter.emulator.memory import VCpu
from vmenter.emulator.trace import Trace

run = Machine.run
ZF = 0x40


class Outcome(NamedTuple):
    """All that a run leaves behind. After an error nobody reads the registers, but steps and accesses."""

    trace: Trace | None
    error: str
    steps: tuple[int, ...]
    accesses: tuple[Any, ...]
    events: tuple[Any, ...]
    registers: dict[str, int]

    @property
    def last(self) -> str:
        """What ran last, as text."""
        if self.trace is None:
            return self.error
        return "; ".join(instruction.text for instruction in self.trace.instructions[-8:])


@dataclass
class Compared:
    """What was run on both CPUs so far, where they differed, and how many more runs are wanted."""

    wanted: int
    runs: dict[Any, Outcome] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """How many instructions."""
        return sum(len(one.steps) for one in self.runs.values())

    @property
    def errors(self) -> int:
        """How many runs ended in an error."""
        return sum(bool(one.error) for one in self.runs.values())


def outcome(machine: Machine, *arguments: Any, **more: Any) -> Outcome:
    """Run, and return what came of it."""
    trace, error = None, ""
    try:
        trace = run(machine, *arguments, **more)
    except LabError as problem:
        error = str(problem)
    left = (tuple(machine.steps), tuple(machine.accesses), tuple(machine._events))
    return Outcome(trace, error, *left, settled(trace, machine.registers()) if trace else {})


def settled(trace: Trace, registers: dict[str, int]) -> dict[str, int]:
    """Take ZF out where VERW wrote it last: Unicorn jumps by it, but tells the ZF from before."""
    for instruction in reversed(trace.instructions):
        if flags_written(instruction):
            if instruction.mnemonic in ("verw", "verr"):
                registers["rflags"] &= ~ZF
            break
    return registers


def same(native: Machine, twin: Machine, *arguments: Any, **more: Any) -> None:
    """Run on both, and compare steps, accesses, events, how it ended, errors, registers."""
    one, two = outcome(native, *arguments, **more), outcome(twin, *arguments, **more)
    assert one == two, difference(one, two)


def difference(one: Outcome, two: Outcome) -> str:
    """Say where two outcomes differ first."""
    for what in ("error", "steps", "accesses", "events", "registers", "trace"):
        a, b = getattr(one, what), getattr(two, what)
        if a == b:
            continue
        if isinstance(a, tuple):
            at = next(
                (n for n, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b))
            )
            a, b = (at, a[at : at + 3]), (at, b[at : at + 3])
        elif isinstance(a, dict):
            a, b = ({name: hex(value) for name, value in x.items() if a[name] != b[name]} for x in (a, b))
        return f"{what}: Unicorn {a}, interpreter {b}, after {one.last}"
    return ""


def key(
    machine: Machine,
    start: str | int,
    registers: Mapping[str, int] | None = None,
    vcpu: VCpu | None = None,
    memory: Mapping[str | int, int | bytes] | None = None,
    msrs: Mapping[int, int] | None = None,
) -> tuple[Any, ...]:
    """Return all that a run depends on."""
    code = tuple((section.address, section.data) for section in machine.image.sections)
    budget, stubs = machine.budget, tuple(sorted(machine.stubs.items()))
    given = (tuple(sorted((one or {}).items(), key=str)) for one in (registers, memory, msrs))
    seen = vcpu or EMPTY_VCPU
    return (code, machine.image.name, budget, stubs, start, *given, seen.data, tuple(seen.flags))


@contextmanager
def compared(patch: Callable[[Any, str, Any], None], wanted: int = 1 << 60) -> Iterator[Compared]:
    """Have every `Machine.run` that is not the same as an earlier one done on both CPUs, up to so many."""
    done = Compared(wanted)
    twins: WeakKeyDictionary[Machine, Machine] = WeakKeyDictionary()

    def both(machine: Machine, *arguments: Any, **more: Any) -> Trace:
        if not done.wanted or (what := key(machine, *arguments, **more)) in done.runs:
            return run(machine, *arguments, **more)
        done.wanted -= 1
        if machine not in twins or twins[machine].stubs != machine.stubs:
            twins[machine] = Machine(machine.image, stubs=machine.stubs, budget=machine.budget, cpu="interpreter")
        elif twins[machine].image is not machine.image:
            twins[machine].load(machine.image)
        one, two = (outcome(which, *arguments, **more) for which in (machine, twins[machine]))
        if one != two:
            done.differences.append(difference(one, two))  # told at the end: no judge may take it for an error
        done.runs[what] = one
        if one.trace is None:
            raise LabError(one.error)
        return one.trace

    patch(Machine, "run", both)
    yield done
    if done.differences:
        raise AssertionError("\n".join(done.differences))
