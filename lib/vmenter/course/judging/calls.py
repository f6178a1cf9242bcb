"""A small function of a learner's, called in many states: what ran, and whether a caller gets back what is his.

The function is `entry`. What its task leaves open takes several values: flags, free registers, what stands on the
stack beside an argument. By the calling convention of x86-64 (psABI, 3.2.1 and 3.4.1) it may use RAX, RCX, RDX,
RSI, RDI and R8 to R11, and must keep the other registers, DF and the stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vmenter import LabError
from vmenter.code.image import Image, from_bytes
from vmenter.code.x86 import ARITHMETIC_FLAGS, CALLEE_SAVED, CALLER_SAVED
from vmenter.course.judging import told
from vmenter.course.judging.asks import privileged, vector
from vmenter.emulator.machine import HOST_REGISTERS, Budget, Machine
from vmenter.emulator.memory import LAB_BASE, STACK, STACK_SIZE, STACK_START
from vmenter.emulator.trace import End, EventKind, Trace
from vmenter.patching.alternative_table import ALWAYS, Engine, read
from vmenter.patching.features import name as feature_name
from vmenter.patching.lab import assemble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RFLAGS = {
    "all flags clear": 0x2,
    "all flags set": 0x2 | ARITHMETIC_FLAGS,
    "ZF set": 0x42,
    "CF set": 0x3,
}
USED = {name: 0xA5A5_0000_5A5A_0000 + number for number, name in enumerate(CALLER_SAVED)}
BUDGET = Budget(instructions=20_000, seconds=2.0)
ALLOWED = (EventKind.VERW, EventKind.CALL, EventKind.LFENCE)


def built(answer: Any, more: str = "") -> Image:
    """Assemble an answer that must define ``entry``; what is wrong with it is a `LabError`."""
    told.text(answer, "the assembly")
    image = from_bytes(assemble(answer + more), "answer", LAB_BASE)
    for name in image.undefined:
        raise LabError(f"nothing here defines {name}")
    if image.symbols.get("entry") is None:
        raise LabError("there is no label entry: where does the function begin?")
    return image


def strangers(image: Image, *known: int) -> dict[frozenset[int], str]:
    """Return what else may be on: nothing; and, if the table asks for features that are not `known`, all of those.

    Each with words to stand behind those for the known ones. The task says nothing of such features, so what it
    does ask for must be done with them and without.
    """
    asked = {entry.feature for site in read(image, engine=Engine.ONCE).sites for entry in site.entries}
    others = frozenset(asked.difference(known, (ALWAYS,)))
    words = " and ".join(sorted(feature_name(number, "7.3.4") for number in others))
    return {frozenset(): "", others: f", and {words} on as well" if others else ""}


class Call(NamedTuple):
    """One call: its state in words, registers, and what stands on the stack from 8(%rsp) on."""

    state: str
    registers: Mapping[str, int]
    stack: bytes = b""


class Called(NamedTuple):
    """What a call came to."""

    trace: Trace
    registers: Mapping[str, int]
    given: Mapping[str, int]


def states(arguments: Mapping[str, int] | None = None, stack: bytes = b"") -> Iterator[Call]:
    """Yield a call with each of `RFLAGS`, the free registers empty in one half of them and used in the other."""
    for number, (name, flags) in enumerate(RFLAGS.items()):
        yield Call(name, {**(USED if number % 2 else {}), "rflags": flags, **(arguments or {})}, stack)


def run(machine: Machine, call: Call, memory: Mapping[int, bytes] | None = None) -> Called:
    """Call ``entry``, with this in memory. Raises `LabError` where the machine cannot go on."""
    pokes: dict[str | int, int | bytes] = {STACK_START + 8: call.stack} if call.stack else {}
    pokes.update((memory or {}).items())
    try:
        trace = machine.run("entry", call.registers, memory=pokes)
    except LabError as error:
        raise LabError(f"{error}{_lost(str(error))}") from None
    return Called(trace, machine.registers(), call.registers)


def _lost(error: str) -> str:
    """Return a question for code that went where there is none."""
    if "ret" in error and "the code goes on at" in error:
        return ": is the stack balanced?"
    runs_on = "the code goes on at" in error or "that the machine does not know" in error
    return ": is a ret or a jump missing?" if runs_on else ""


def breach(called: Called, may_write: Sequence[range] = (), *, idle: bool = False) -> str | None:
    """Say what a call did to its caller that it must not; None if all is as it should be.

    `may_write` are the addresses that the task wants written; else a function writes to its own stack alone.
    `idle`: the task wants nothing done at all, so that free registers stay as they are, too.
    """
    trace, registers = called.trace, called.registers
    if trace.end is End.BUDGET:
        return "the code goes on and on, and does not return"
    if trace.end is not End.RETURN:
        return f"the run ended with {trace.end}, not with a return"
    if registers["rsp"] != STACK_START + 8:
        return (
            f"RSP is {registers['rsp'] - STACK_START - 8:+d} bytes off behind the return: is the stack balanced?"
        )
    for name in CALLEE_SAVED:
        if registers[name] != called.given.get(name, HOST_REGISTERS[name]):
            return f"{name.upper()} is the caller's, and is not what it was"
    for name in CALLER_SAVED if idle else ():
        if registers[name] != called.given.get(name, 0):
            return f"nothing should happen here, and {name.upper()} is not what it was"
    if registers["rflags"] & 1 << 10:
        return "DF is left set: the caller's string instructions would go backwards"
    if registers["rflags"] & ~(ARITHMETIC_FLAGS | 2):
        return "a flag that is the system's is not what it was"
    if used := next((text for at in trace.steps if idle and (text := vector(trace.code[at].code))), None):
        return f"nothing should happen here, and {used} runs"
    return _stray(trace, may_write) or _forbidden(trace)


def _stray(trace: Trace, may_write: Sequence[range]) -> str | None:
    own = range(STACK, STACK_START)
    for step, address, size, write, _ in trace.raw_accesses:
        last = address + size - 1
        if write and not any(address in room and last in room for room in (own, *may_write)):
            on_stack = STACK <= address < STACK + STACK_SIZE
            what = "the caller's stack" if on_stack else trace.image.label(address)
            return f"{trace.instructions[step].text} writes to {what}, which it should leave alone"
    return None


def _forbidden(trace: Trace) -> str | None:
    asked = [(step, privileged(trace.code[address].code)) for step, address in enumerate(trace.steps)]
    asked += [(event.step, str(event.kind)) for event in trace.raw_events if event.kind not in ALLOWED]
    where, name = next(((step, name) for step, name in asked if name), (0, None))
    return f"at {trace.where(where)} {name} runs, which nothing here asks for" if name else None


def way(trace: Trace) -> str:
    """Return what ran, in a line."""
    texts = [one.text for one in trace.instructions]
    return "; ".join(texts if len(texts) <= 12 else [*texts[:6], "…", *texts[-5:]])


# --- VERW of the selector ----------------------------------------------------------------------------------------


def verw_reads(trace: Trace) -> list[tuple[int, int]]:
    """Return (step, address that it reads) of each VERW."""
    found = []
    for event in trace.events:
        if event.kind is EventKind.VERW:
            reads = (address for step, address, *_ in trace.raw_accesses if step == event.step)
            found.append((event.step, next(reads, 0)))
    return found


def stray_selector(trace: Trace) -> str | None:
    """Ask that every VERW that ran reads the selector, and not what stands somewhere else."""
    image = trace.image
    selector = image.symbols.get("selector")
    for step, address in verw_reads(trace):
        if selector is None or address != selector.address:
            code, reads = trace.instructions[step].code.hex(" "), image.label(address)
            return f"at {trace.where(step)}, {code} is a VERW that reads {reads}, not selector"
    return None
