"""Every run of every machine on both CPUs: Unicorn's is believed, the interpreter's must be the same."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from vmenter import LabError
from vmenter.emulator.machine import EMPTY_VCPU, Machine
from vmenter.emulator.memory import VCpu
from vmenter.emulator.trace import Trace

run, registers = Machine.run, Machine.registers
STEPS = 40  # how much of two lists that differ is shown


@dataclass
class Compared:
    """What was run so far."""

    runs: dict[Any, Any] = field(default_factory=dict)
    steps: int = 0
    asked: int = 0
    errors: int = 0


def outcome(machine: Machine, *arguments: Any, **more: Any) -> tuple[Trace | str, dict[str, int]]:
    """Run; return the trace or the error's text, and all registers."""
    try:
        found = run(machine, *arguments, **more)
    except LabError as error:
        return str(error), {}  # where a CPU stopped within an instruction that failed, nobody promises
    return found, registers(machine)


def same(native: Machine, twin: Machine, *arguments: Any, **more: Any) -> tuple[Trace | str, dict[str, int]]:
    """Run on both, and compare steps, accesses, events, how it ended, errors, registers; return the native one."""
    one, two = outcome(native, *arguments, **more), outcome(twin, *arguments, **more)
    if one != two:
        raise AssertionError(difference(one, two))
    return one


def difference(one: tuple[Any, dict[str, int]], two: tuple[Any, dict[str, int]]) -> str:
    """Say where two outcomes differ first."""
    if isinstance(one[0], str) or isinstance(two[0], str):
        return f"unicorn: {one[0]}\ninterpreter: {two[0]}"
    for what in ("steps", "raw_accesses", "raw_events", "end"):
        a, b = getattr(one[0], what), getattr(two[0], what)
        if a != b:
            at = next(
                (n for n, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b))
            )
            step = (
                at
                if what == "steps"
                else a[at][0]
                if what == "raw_accesses" and at < len(a)
                else len(one[0].steps) - 1
            )
            ran = [i.text for i in one[0].instructions[max(0, step - 5) : step + 1]]
            return f"{what} {at}: {a[at : at + 3]} and {b[at : at + 3]}, after {ran}"
    differ = {name: (hex(value), hex(two[1][name])) for name, value in one[1].items() if value != two[1][name]}
    return f"registers {differ} after {[i.text for i in one[0].instructions[-STEPS:]]}"


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
        done.asked += 1
        what = key(machine, *arguments, **more)
        if what not in done.runs:
            if machine not in twins:
                twins[machine] = Machine(
                    machine.image, stubs=machine.stubs, budget=machine.budget, cpu="interpreter"
                )
            elif twins[machine].image is not machine.image:
                twins[machine].load(machine.image)
            done.runs[what] = found = same(machine, twins[machine], *arguments, **more)
            done.errors += isinstance(found[0], str)
            done.steps += 0 if isinstance(found[0], str) else len(found[0].steps)
        found = done.runs[what]
        last[machine] = found[1]
        if isinstance(found[0], str):
            raise LabError(found[0])
        return found[0]

    patch(Machine, "run", both)
    patch(Machine, "registers", lambda machine: dict(last[machine]))
    yield done
