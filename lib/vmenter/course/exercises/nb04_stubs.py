"""Exercises of notebook 04 about the end of a stub: which of three chooses wrong, and one to be written.

Both run: the end of a stub is a function `entry`, called with guest registers in memory, that ends in VMLAUNCH or
VMRESUME.
"""

from functools import cache
from types import MappingProxyType
from typing import Any

from vmenter import LabError
from vmenter.code.image import from_bytes
from vmenter.code.x86 import ARITHMETIC_FLAGS, CALLEE_SAVED, vmx_enter
from vmenter.course.judging import told
from vmenter.course.judging.asks import privileged, touches, vector
from vmenter.course.judging.calls import BUDGET, Call, Called, built, run, states, verw_reads, way
from vmenter.emulator.machine import HOST_REGISTERS, Machine
from vmenter.emulator.memory import DATA_SELECTOR, LAB_BASE, STACK_START, VCPU
from vmenter.emulator.trace import End, Trace
from vmenter.kernels.stub import MMIO, RESUME
from vmenter.patching.lab import assemble

# --- one of three ------------------------------------------------------------------------------------------------

STUBS = MappingProxyType({
    "A": ("cmpb $0, %bl", "movq (%rax), %rcx", "leaq 8(%rax), %rax", "movq (%rax), %rdx"),
    "B": ("cmpb $0, %bl", "movq (%rax), %rcx", "addq $8, %rax", "movq (%rax), %rdx"),
    "C": ("movq (%rax), %rcx", "addq $8, %rax", "cmpb $0, %bl", "movq (%rax), %rdx"),
})  # fmt: skip
END = ("je 1f", "vmresume", "1: vmlaunch")


@cache
def enters(letter: str, before: bool) -> str | None:  # noqa: FBT001  (a key of the cache)
    """Return by which instruction a stub enters a guest that was entered before, or was not."""
    code = from_bytes(assemble("entry:\n" + "\n".join((*STUBS[letter], *END))), letter, LAB_BASE)
    return Machine(code, budget=BUDGET).run("entry", {"rax": VCPU, "rbx": int(before)}).vm_enter


def _judge_stub(answer: Any) -> str | None:
    given = told.keyed(answer, ("stub", "entered_before"))
    letter, before = told.word(given["stub"], STUBS), told.truth(given["entered_before"])
    if letter is None:
        return f"stub: {given['stub']!r:.40} is none of the letters {', '.join(STUBS)}"
    if before is None:
        return f"entered_before: True or False is needed, not {given['entered_before']!r:.40}"
    took, right = enters(letter, before), vmx_enter(before=before)
    if took != right:
        return None
    was = "was" if before else "was not"
    guest = f"a guest that {was} entered before"
    return f"{letter}, for {guest}: it takes {took}, and that is right. Who writes ZF, and when?"


# --- the selector on the stack -----------------------------------------------------------------------------------

GUEST = {"rax": 0x1111_0000_0000_0001, "rcx": 0x2222_0000_0000_0002, "rdi": 0x3333_0000_0000_0003}
OTHERS = ("rdx", "rsi", *(f"r{number}" for number in range(8, 12)))
OTHER_BITS = 0xFFFF_FFFA
REGISTERS = b"".join(value.to_bytes(8, "little") for value in GUEST.values())


def _stack(flags: int) -> bytes:
    """Return the stack from 8(%rsp) on: run flags, selector, and what is somebody else's."""
    return flags.to_bytes(8, "little") + DATA_SELECTOR.to_bytes(8, "little") + b"\xff" * 64


def _judge_tail(answer: Any) -> str | None:
    machine = Machine(built(answer), budget=BUDGET)
    for flags in (0, RESUME, MMIO, RESUME | MMIO, OTHER_BITS, OTHER_BITS | 5, OTHER_BITS | 1, OTHER_BITS ^ 2):
        for call in states({"rdi": VCPU}, _stack(flags)):
            here = f"run flags {flags:#x}, {call.state}"
            try:
                called = run(machine, call, {VCPU: REGISTERS})
            except LabError as error:
                return f"{here}: {error}"
            if wrong := _wrong_tail(called, call, flags):
                return f"{here}: {wrong}. What ran: {way(called.trace)}"
    return None


def _wrong_tail(called: Called, call: Call, flags: int) -> str | None:
    trace, registers = called.trace, called.registers
    if trace.end is not End.VM_ENTER:
        return f"the run ended with {trace.end}, not with a VM-Enter"
    if trace.vm_enter == "VMRUN":
        return f"{trace.vm_enter} is AMD's way into a guest"
    for name, value in GUEST.items():
        if registers[name] != value:
            return f"{name.upper()} does not hold the guest's value at VM-Enter"
    for name in (*CALLEE_SAVED, *OTHERS):
        if registers[name] != call.registers.get(name, HOST_REGISTERS.get(name, 0)):
            return f"{name.upper()} held the guest's value already, and is not what it was"
    if registers["rsp"] != STACK_START:
        return (
            f"RSP is {registers['rsp'] - STACK_START:+d} bytes off at VM-Enter, where the VMCS has it for the host"
        )
    if registers["rflags"] & ~(ARITHMETIC_FLAGS | 2):
        return "a flag that is the system's is not what it was"
    return _asked(trace) or _cleared(trace, flags) or _entered(trace, flags)


def _asked(trace: Trace) -> str | None:
    if write := next((one for one in trace.raw_accesses if one[3]), None):
        return f"{trace.instructions[write[0]].text} writes to memory, which nothing here asks for"
    asked = ((step, privileged(one.code) or vector(one.code)) for step, one in enumerate(trace.instructions))
    where, name = next(((step, name) for step, name in asked if name), (0, None))
    return f"at {trace.where(where)} {name} runs, which nothing here asks for" if name else None


def _cleared(trace: Trace, flags: int) -> str | None:
    wanted = bool(flags & MMIO)
    if trace.verw != wanted:
        ran = f"{trace.verw} times" if trace.verw else "“never”"
        return f"VERW should {'run, once' if wanted else 'not run: bit 2 is clear'}, but it runs {ran}"
    for step, address in verw_reads(trace):
        if address != STACK_START + 16:
            return f"{trace.instructions[step].text} reads {address:#x}, not the selector at 16(%rsp)"
        slot = range(STACK_START + 8, STACK_START + 16)
        behind = [one for one in trace.raw_accesses if one[0] > step]
        stray = next((one for one in behind if one[1] not in slot or one[1] + one[2] - 1 not in slot), None)
        if stray:
            return f"behind VERW {trace.instructions[stray[0]].text} reads memory that is not the run flags"
        seen = {one[0] for one in behind}
        unseen = (at for at in range(step + 1, len(trace.steps)) if at not in seen)
        if touch := next((at for at in unseen if touches(trace.instructions[at])), None):
            return f"behind VERW {trace.instructions[touch].text} touches a line of memory"
    return None


def _entered(trace: Trace, flags: int) -> str | None:
    right = vmx_enter(before=bool(flags & RESUME))
    if trace.vm_enter == right:
        return None
    why = "did anything write the flag between question and jump?"
    return f"it enters by {trace.vm_enter}, and should by {right}: {why}"


JUDGES = {"one_of_three": _judge_stub, "selector_on_stack": _judge_tail}
