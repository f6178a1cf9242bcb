"""Instructions that decide where to go on: jumps, calls, returns, loops, and those that go nowhere."""

from vmenter.code.instructions import branch_field
from vmenter.code.x86 import CF, OF, PF, SF, ZF
from vmenter.emulator.cpu import Fault, Trouble
from vmenter.emulator.interpreter.arithmetic import step
from vmenter.emulator.interpreter.core import ALL, Core
from vmenter.emulator.interpreter.flags import condition
from vmenter.emulator.interpreter.moves import popper, push_operand, pusher
from vmenter.emulator.interpreter.operands import rm
from vmenter.emulator.interpreter.parts import Op, Parts, Unknown

RCX, RSP = 1, 4
MASKS = (OF, CF, ZF, CF | ZF, SF, PF)


class Halted(Exception):  # noqa: N818  (what HLT does, no error)
    """The CPU stops behind this instruction."""


def _target(parts: Parts) -> int:
    """Return where a direct branch goes. A 66 prefix means different things to different makers of CPUs."""
    field = branch_field(parts.code)
    if field is None or parts.narrow:
        raise Unknown
    return parts.after + field.value(parts.code) & ALL


def jump(_core: Core, parts: Parts) -> Op:
    """E9 and EB."""
    target = _target(parts)
    return lambda: target


def jump_if(core: Core, parts: Parts) -> Op:
    """70 to 7F, and 0F 80 to 0F 8F."""
    number = (parts.opcode if parts.second < 0 else parts.second) & 15
    target, after = _target(parts), parts.after
    if number < 12:  # the flags are looked at as they are; an odd number is the opposite
        mask = MASKS[number >> 1]
        if number & 1:
            return lambda: after if core.flags & mask else target
        return lambda: target if core.flags & mask else after
    holds = condition(number)
    return lambda: target if holds(core.flags) else after


def call(core: Core, parts: Parts) -> Op:
    """E8."""
    target, after, push = _target(parts), parts.after, pusher(core)

    def op() -> int:
        push(after)
        return target

    return op


def ret(core: Core, parts: Parts) -> Op:
    """C2 and C3."""
    if parts.narrow:
        raise Unknown
    more = int.from_bytes(parts.code[-2:], "little") if parts.opcode == 0xC2 else 0
    pop, regs = popper(core), core.registers

    def op() -> int:
        target = pop()
        regs[RSP] = regs[RSP] + more & ALL
        return target

    return op if more else pop


def loop(core: Core, parts: Parts) -> Op:
    """E0 to E2: LOOPNE, LOOPE, LOOP; E3: JRCXZ. With a 67 prefix, ECX counts."""
    target, after, mask, regs = _target(parts), parts.after, parts.address_mask, core.registers
    if parts.opcode == 0xE3:
        return lambda: after if regs[RCX] & mask else target
    wanted = {0xE0: 0, 0xE1: ZF}.get(parts.opcode)

    def op() -> int:
        regs[RCX] = regs[RCX] - 1 & mask
        return target if regs[RCX] and (wanted is None or core.flags & ZF == wanted) else after

    return op


def indirect(core: Core, parts: Parts) -> Op:
    """FE and FF: INC and DEC; CALL /2, JMP /4, PUSH /6 of an operand."""
    if parts.digit < 2:
        return step(core, parts)
    if parts.opcode == 0xFE or parts.digit not in (2, 4, 6):
        raise Unknown
    if parts.digit == 6:
        return push_operand(core, parts)
    if parts.narrow:
        raise Unknown
    get = rm(core, parts, 8).get
    if parts.digit == 4:
        return get
    after, push = parts.after, pusher(core)

    def op() -> int:
        target = get()
        push(after)
        return target

    return op


def trap(_core: Core, _parts: Parts) -> Op:
    """INT3 and INT: nothing here would handle them."""

    def op() -> int:
        raise Fault(Trouble.EXCEPTION)

    return op


def halt(core: Core, parts: Parts) -> Op:
    """HLT."""
    after = parts.after

    def op() -> int:
        core.rip = after
        raise Halted

    return op


ONE = {
    **dict.fromkeys(range(0x70, 0x80), jump_if),
    0xE8: call,
    **dict.fromkeys((0xE9, 0xEB), jump),
    **dict.fromkeys((0xC2, 0xC3), ret),
    **dict.fromkeys(range(0xE0, 0xE4), loop),
    **dict.fromkeys((0xFE, 0xFF), indirect),
    **dict.fromkeys((0xCC, 0xCD), trap),
    0xF4: halt,
}
TWO = dict.fromkeys(range(0x80, 0x90), jump_if)
