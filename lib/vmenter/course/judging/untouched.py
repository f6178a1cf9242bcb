"""What a way to VM-Enter leaves alone; the era's own code, run in the same surroundings, shows what that is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from vmenter import LabError
from vmenter.code.image import from_bytes
from vmenter.code.x86 import ARITHMETIC_FLAGS, CALLEE_SAVED, MASK, VM_ENTER_CODE, vmx_enter
from vmenter.course.judging.asks import privileged, vector
from vmenter.course.judging.calls import verw_reads
from vmenter.course.judging.entering import GUEST, HOST_RSP, STUB, Around, Entered, changed, enter, word
from vmenter.emulator.machine import HOST_REGISTERS
from vmenter.emulator.memory import DATA_SELECTOR, GS_BASE, STACK, STACK_SIZE, STACK_START, VCPU, VCPU_SIZE
from vmenter.emulator.trace import End, Trace
from vmenter.patching.alternative_table import ALWAYS, entries, rules
from vmenter.patching.features import name as feature_name
from vmenter.story import eras

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vmenter.story.eras import State
    from vmenter.story.history import Era

    Also = Mapping[int, int]


@lru_cache(maxsize=2048)
def _own(own: Era, state: State, around: Around) -> tuple[dict[str, int], Counter[str], tuple[int, int, int]]:
    """Return what an era's own code writes in some surroundings, what it asks of the CPU, and its frame."""
    entered = enter(own, state, around)
    return _effects(entered), _asks(entered.trace), _frame(entered)


def left_alone(own: Era, state: State, around: Around, entered: Entered, also: Also | None = None) -> str | None:
    """Ask that a run up to VM-Enter touched nothing but what the era's `own` code touches; None if so.

    `also` are 8-byte words of the vCPU that the exercise wants changed: offset → what should stand there.
    """
    if wrong := _rsp(entered) or _system_flags(entered.registers["rflags"], "at VM-Enter, "):
        return wrong
    state = replace(state, features=state.features.intersection(own.features))  # an answer may have one more
    effects, asks, frame = _own(own, state, around)
    if wrong := _memory(entered, effects, also or {}):
        return wrong
    if wrong := _selector(entered.trace):
        return wrong
    here = _asks(entered.trace)
    if here != asks:
        more, less = here - asks, asks - here
        return (
            f"{min(more)} runs, which nothing here asks for"
            if more
            else f"{min(less)} is due on the way, and does not run"
        )
    pointer, flags, vcpu = _frame(entered)
    if (pointer, vcpu) != (frame[0], frame[2]) or flags & frame[1] != frame[1]:
        return "what the stub keeps on the stack for after the VM-Exit (registers, run flags, vCPU) is spoilt"
    return _stack_above(entered.trace)


def _rsp(entered: Entered) -> str | None:
    off = entered.registers["rsp"] - entered.host_rsp
    if not off:
        return None
    by = f"{off:+d} bytes away from it" if abs(off) < STACK_SIZE else "elsewhere"
    return (
        f"a VM-Exit would find another stack: at VM-Enter, RSP is not what vmx_update_host_rsp was told, but {by}"
    )


def _memory(entered: Entered, effects: Mapping[str, int], also: Also) -> str | None:
    for offset, value in also.items():
        if (got := word(entered.trace, VCPU + offset)) != value:
            return f"{offset:#x} of the vCPU should hold {value:#x} at VM-Enter; it holds {got:#x}"
    words = {_BYTE.format(offset + n) for offset in also for n in range(8)}
    found = {name: byte for name, byte in _effects(entered).items() if name not in words}
    for name in sorted(effects.keys() | found.keys()):
        if name not in found:
            return f"{name} should change on the way, and does not"
        if name not in effects:
            return f"{found[name]:#x} is written to {name}, which should stay as it is"
        if found[name] != effects[name]:
            return f"{found[name]:#x} is written to {name}; it should be {effects[name]:#x}"
    return None


def came_back(era: Era, entered: Entered) -> str | None:
    """Ask that a VM-Enter that failed was reported to the caller, with all that is the caller's as it was."""
    trace, registers = entered.trace, entered.registers
    if trace.end is not End.RETURN:
        return f"the code should return to its caller, and ended with {trace.end}"
    tried = attempts(era, entered)
    if tried not in ([VMLAUNCH], [VMRESUME]):  # the second would take the place of what the VMCS says of the first
        return "behind a VM-Enter that failed another one is tried, in place of the way to .Lvmfail"
    for name in CALLEE_SAVED:
        if registers[name] != HOST_REGISTERS[name]:
            return f"{name.upper()} is not what the caller had in it"
    if registers["rsp"] != STACK_START + 8:
        return f"RSP is {registers['rsp'] - STACK_START - 8:+d} bytes off when the code returns"
    if registers["rax"] & MASK[4] != 1:
        return f"EAX should be 1, for a VM-Enter that failed; it is {registers['rax'] & MASK[4]:#x}"
    return _system_flags(registers["rflags"]) or _stack_above(trace)


VMLAUNCH, VMRESUME = VM_ENTER_CODE["VMLAUNCH"], VM_ENTER_CODE["VMRESUME"]


def attempts(era: Era, entered: Entered) -> list[bytes]:
    """Return the VM-Enters that ran, and failed, as they stand in the era's own code."""
    image, trace = eras.patched(era, entered.state.features, entered.state.keys), entered.trace
    stands = (image.read(at, 3) for at in trace.steps if trace.code[at].mnemonic == "stc" and image.holds(at, 3))
    return [code for code in stands if code in (VMLAUNCH, VMRESUME)]


def _stack_above(trace: Trace) -> str | None:
    above = range(STACK_START, STACK + STACK_SIZE)
    stray = any(write and address + size - 1 in above for _, address, size, write, _ in trace.raw_accesses)
    return "the caller's part of the stack is written to" if stray else None


def _system_flags(rflags: int, where: str = "") -> str | None:
    if rflags & 1 << 10:
        return f"{where}DF is set: string instructions would go backwards"
    others = rflags & ~(ARITHMETIC_FLAGS | 2)
    return f"{where}RFLAGS has bits set that are the host's: {others:#x}" if others else None


def _selector(trace: Trace) -> str | None:
    """Ask that each VERW reads the selector of the kernel's data segment, wherever that stands."""
    for step, address in verw_reads(trace):
        value = word(trace, address) & 0xFFFF
        if value != DATA_SELECTOR:
            text, place = trace.instructions[step].text, trace.image.label(address)
            return f"{text} reads {value:#x} at {place}, not the kernel's data segment, {DATA_SELECTOR:#x}"
    return None


_BYTE = "byte {:#x} of the vCPU"


def _effects(entered: Entered) -> dict[str, int]:
    """Return name of a byte → what stands there anew; the stack and the VMCS's RSP apart."""
    image, found = entered.trace.image, {}
    for address, byte in changed(entered.trace).items():
        offset = address - VCPU
        if 0 <= offset < VCPU_SIZE:
            if not HOST_RSP <= offset < HOST_RSP + 8:
                found[_BYTE.format(offset)] = byte
        else:
            found[image.label(address - GS_BASE if address >= GS_BASE else address)] = byte
    return found


def _frame(entered: Entered) -> tuple[int, int, int]:
    rsp = entered.registers["rsp"]
    if not STACK <= rsp <= STACK + STACK_SIZE - 24:
        return 0, 0, 0
    first, second, third = (word(entered.trace, rsp + 8 * n) for n in range(3))
    return first, second & MASK[4], third


def _asks(trace: Trace) -> Counter[str]:
    """Count what a run asked of the CPU beyond its general registers: WRMSR, VMWRITE, moves to CR2, vectors."""
    return Counter(name for one in trace.instructions if (name := privileged(one.code) or vector(one.code)))


def entered_right(entered: Entered) -> str | None:
    """Ask for VMLAUNCH the first time and VMRESUME from then on."""
    due = vmx_enter(before=entered.state.resume)
    return None if entered.trace.vm_enter == due else f"{entered.trace.vm_enter} ran, {due} is due"


def guest_loaded(entered: Entered) -> str | None:
    """Ask that every register but RSP holds the guest's value at VM-Enter."""
    for name, value in GUEST.items():
        if entered.registers[name] != value:
            return f"at VM-Enter, {name.upper()} does not hold the guest's value"
    return None


# --- all of it ---------------------------------------------------------------------------------------------------

FAILS_IN_THE_STUB = Around(STUB, fails=True)  # whose caller must have its registers back from the stack
USUAL = (Around(known=True, stale=True), Around(again=True), Around(fails=True))  # beside the plain one


class Wrong(NamedTuple):
    """What is wrong in which surroundings, and the run that shows it."""

    text: str  # the surroundings in front, where they are special
    around: str  # what is special about them
    trace: Trace | None


def wrong_around(
    era: Era,
    own: Era,
    state: State,
    demand: Callable[[Entered, Around], str | None],
    arounds: Sequence[Around],
    also: Callable[[Around], Also] | None = None,
    spoilt: Era | None = None,
) -> Wrong | None:
    """Run an answer in one state and several surroundings; the first thing that is wrong, or None.

    `demand` says what is wrong with a run that came to VM-Enter; what must be left alone is asked here. `spoilt`
    is the answer among functions that leave free registers used: it runs where those were used before, too.
    """
    plain = era
    for around in (*arounds, *strangers(era, own)):
        era = spoilt if spoilt and around.stale else plain
        if around.again and state.resume:
            continue
        trace = None
        try:
            entered = enter(era, state, around)
            trace = entered.trace
            text = came_back(era, entered) if around.fails else _no_entry(trace) or demand(entered, around)
            if not text and not around.fails:
                text = left_alone(own, state, around, entered, also and also(around))
        except LabError as error:
            text = str(error)
        if text:
            return Wrong(f"{around.text}: {text}" if around.text else text, around.text, trace)
    return None


@lru_cache(maxsize=64)
def strangers(era: Era, own: Era) -> tuple[Around, ...]:
    """Return surroundings with all features on that an answer's table asks for, and its task says nothing of."""
    image = from_bytes(era.object, era.id)
    asked = {entry.feature for entry in entries(image, rules(image).record_size)} - {ALWAYS}
    names = {feature_name(number, image.kernel) for number in asked}.difference(era.features, own.features)
    return (Around(others=frozenset(names)),) if names else ()


def _no_entry(trace: Trace) -> str | None:
    return None if trace.vm_enter else f"no VM-Enter: the run ended with {trace.end}"
