"""What is touched between the last clear and VM-Enter, and whose it is: by its place, not by who looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmenter.course.judging.asks import touches
from vmenter.emulator.memory import GS_BASE, STACK, STACK_SIZE, VCPU, VCPU_SIZE, Owner

if TYPE_CHECKING:
    from vmenter.course.judging.entering import Entered
    from vmenter.emulator.trace import Trace


def late(entered: Entered, *, run_flags_too: bool = False) -> list[str]:
    """Return the accesses to memory behind the last clear, in words, the true owner with each.

    A read of the run flags, at 8(%rsp) of the stub, is none unless asked for. Instructions that touch a line
    without a load that the emulator shows (PREFETCH, CLFLUSH, VMWRITE from memory) count like any other.
    """
    trace = entered.trace
    if not trace.clears:
        return []
    last, slot = trace.clears[-1].step, range(entered.registers["rsp"] + 8, entered.registers["rsp"] + 16)
    seen: set[int] = set()
    found: list[tuple[int, str]] = []
    for step, address, size, write, _ in trace.raw_accesses:
        seen.add(step)
        if step <= last:
            continue
        if not write and address in slot and address + size - 1 in slot:
            if run_flags_too:
                found.append((step, f"reads {size} bytes of {Owner.FLAGS}"))
            continue
        verb = "writes" if write else "reads"
        plural = "s" * (size != 1)
        found.append(
            (step, f"{verb} {size} byte{plural} of {owner(trace, address, entered)} at {named(entered, address)}")
        )
    unseen = (step for step in range(last + 1, len(trace.steps)) if step not in seen)
    found += [(step, "touches a line of memory") for step in unseen if touches(trace.instructions[step])]
    return [f"{trace.where(step)}, {trace.instructions[step].text} {what}" for step, what in sorted(found)]


def named(entered: Entered, address: int) -> str:
    """Return a name for an address: a label, or how far it is from something that a reader knows.

    What is read through GS, a CPU's own copy, has the variable's name.
    """
    if STACK <= address < STACK + STACK_SIZE:
        return f"{address - entered.registers['rsp']:#x}(%rsp)"
    if VCPU <= address < VCPU + VCPU_SIZE:
        return f"{address - VCPU:#x} of the vCPU"
    image = entered.trace.image
    place = address - GS_BASE if address >= GS_BASE else address
    label, section = image.label(place), image.section_at(place)
    return f"{section.name}+{place - section.address:#x}" if section and label == f"{place:#x}" else label


def owner(trace: Trace, address: int, entered: Entered) -> Owner:
    """Return whose memory this is: by its place, and a saved register's slot is the host's data."""
    rsp = entered.registers["rsp"]
    if rsp + 24 <= address < STACK + STACK_SIZE:
        return Owner.HOST
    return trace.layout.owner(address)
