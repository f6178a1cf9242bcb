"""Every run of every machine on both CPUs: Unicorn's is believed, the interpreter's must be the same."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from vmenter import LabError
from vmenter.emulator.machine import EMPTY_VCPU, Machine
from vmenter.emulator.memory import VCpu
from vmenter.emulator.trace import Trace

run, registers = Machine.run, Machine.registers


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


class Enough(BaseException):
    """As many runs were compared as were asked for; no judge may take it for an error."""


@dataclass
class Compared:
    """What was run so far, and how many more runs are wanted."""

    runs: dict[Any, Outcome] = field(default_factory=dict)
    wanted: int = 1 << 60

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
    return Outcome(trace, error, *left, registers(machine) if trace else {})


def same(native: Machine, twin: Machine, *arguments: Any, **more: Any) -> Outcome:
    """Run on both, and compare steps, accesses, events, how it ended, errors, registers; return the native one."""
    one, two = outcome(native, *arguments, **more), outcome(twin, *arguments, **more)
    if one != two:
        raise AssertionError(difference(one, two))
    return one


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
def compared(patch: Callable[[Any, str, Any], None]) -> Iterator[Compared]:
    """Let every `Machine.run` be done on both CPUs; what ran before in the same way is remembered."""
    done = Compared()
    twins: WeakKeyDictionary[Machine, Machine] = WeakKeyDictionary()
    last: WeakKeyDictionary[Machine, dict[str, int]] = WeakKeyDictionary()

    def both(machine: Machine, *arguments: Any, **more: Any) -> Trace:
        what = key(machine, *arguments, **more)
        if what not in done.runs or type(machine) is not Machine:  # who watches more must see it run
            if machine not in twins:
                twins[machine] = Machine(
                    machine.image, stubs=machine.stubs, budget=machine.budget, cpu="interpreter"
                )
            elif twins[machine].image is not machine.image:
                twins[machine].load(machine.image)
            if not done.wanted:
                raise Enough
            done.wanted -= 1
            done.runs[what] = same(machine, twins[machine], *arguments, **more)
        found = done.runs[what]
        last[machine] = found.registers
        if found.trace is None:
            raise LabError(found.error)
        return found.trace

    patch(Machine, "run", both)
    patch(Machine, "registers", lambda machine: dict(last[machine]))
    yield done
