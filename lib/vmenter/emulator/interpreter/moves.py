"""Instructions that move data and change no flag: MOV and its kin, the stack, XCHG, LEA."""

from collections.abc import Callable

from vmenter.code.x86 import MASK
from vmenter.emulator.interpreter.core import ALL, Core
from vmenter.emulator.interpreter.flags import condition, signed
from vmenter.emulator.interpreter.operands import based, fill, memory, offset, reg, register, rm
from vmenter.emulator.interpreter.parts import Op, Parts, Unknown

RSP, RBP = 4, 5


def move(get: Callable[[], int], put: Callable[[int], None], after: int) -> Op:
    """Return the instruction that gets here and puts there."""

    def op() -> int:
        put(get())
        return after

    return op


def mov(core: Core, parts: Parts) -> Op:
    """88 to 8B: register and register or memory, either way."""
    opcode, after, regs = parts.opcode, parts.after, core.registers
    size = parts.width(opcode)
    here, there = reg(core, parts, size), rm(core, parts, size)
    if there.address and size == 8:  # by far the most frequent one
        number, where = parts.reg, there.address
        if opcode & 2:
            load = core.loader(8)

            def fetch() -> int:
                regs[number] = load(where())
                return after

            return fetch
        store = core.storer(8)

        def put_away() -> int:
            store(where(), regs[number])
            return after

        return put_away
    return fill(core, here, there.get, after) if opcode & 2 else fill(core, there, here.get, after)


def mov_constant(core: Core, parts: Parts) -> Op:
    """B0 to BF: to a register; C6 and C7: to memory, too."""
    size = parts.size if parts.opcode & (1 if parts.opcode >= 0xC0 else 8) else 1
    value = parts.immediate() & MASK[size]
    if parts.opcode >= 0xC0:
        if parts.digit:
            raise Unknown
        place = rm(core, parts, size)
    else:
        place = register(core, parts.in_opcode, size, rex=parts.rex)
    return fill(core, place, lambda: value, parts.after)


def mov_absolute(core: Core, parts: Parts) -> Op:
    """A0 to A3: AL or RAX, and memory at an address of eight bytes."""
    size = parts.width(parts.opcode)
    if parts.address_mask != ALL:
        raise Unknown
    fixed = int.from_bytes(parts.code[-8:], "little")
    there = memory(core, based(core, parts, lambda: fixed), size)
    here = register(core, 0, size, rex=parts.rex)
    return move(*((here.get, there.put) if parts.opcode & 2 else (there.get, here.put)), parts.after)


def extend(core: Core, parts: Parts) -> Op:
    """MOVZX, MOVSX, MOVSXD: a smaller operand, with zeros or its sign in front."""
    narrow = 4 if parts.opcode == 0x63 else 1 + (parts.second & 1)
    get, here, mask = rm(core, parts, narrow).get, reg(core, parts, parts.size), MASK[parts.size]
    if parts.second in (0xB6, 0xB7):
        return fill(core, here, get, parts.after)
    return fill(core, here, lambda: signed(get(), narrow) & mask, parts.after)


def extend_rax(core: Core, parts: Parts) -> Op:
    """98: CBW, CWDE, CDQE: RAX from its half; 99: CWD, CDQ, CQO: RDX from RAX's sign."""
    size = parts.size
    if parts.opcode == 0x98:
        get, narrow = register(core, 0, size // 2, rex=1).get, size // 2
        return move(
            lambda: signed(get(), narrow) & MASK[size],
            register(core, 0, size, rex=1).put,
            parts.after,
        )
    get = register(core, 0, size, rex=1).get
    put = register(core, 2, size, rex=1).put
    return move(lambda: MASK[size] if signed(get(), size) < 0 else 0, put, parts.after)


def lea(core: Core, parts: Parts) -> Op:
    """Put an address, or what looks like one, in a register."""
    if parts.mode == 3:
        raise Unknown
    where, mask = offset(core, parts), MASK[parts.size]
    return fill(core, reg(core, parts, parts.size), lambda: where() & mask, parts.after)


def xchg(core: Core, parts: Parts) -> Op:
    """86 and 87; 90 to 97 with RAX. 90 itself is NOP, or PAUSE, unless REX makes it R8."""
    opcode, after = parts.opcode, parts.after
    if opcode >= 0x90:
        if parts.in_opcode == 0:
            return lambda: after
        size = parts.size
        one, two = register(core, 0, size, rex=1), register(core, parts.in_opcode, size, rex=1)
    else:
        size = parts.width(opcode)
        one, two = reg(core, parts, size), rm(core, parts, size)

    def op() -> int:
        a, b = one.get(), two.get()
        two.put(a)
        one.put(b)
        return after

    return op


def conditional(core: Core, parts: Parts) -> Op:
    """CMOVcc: a load happens either way; without REX.W the upper half is cleared either way."""
    get, here = rm(core, parts, parts.size).get, reg(core, parts, parts.size)
    holds, after = condition(parts.second & 15), parts.after

    def op() -> int:
        value = get()
        here.put(value if holds(core.flags) else here.get())
        return after

    return op


def bswap(core: Core, parts: Parts) -> Op:
    """Turn a register's bytes around."""
    size = parts.size
    if size == 2:
        raise Unknown
    place = register(core, parts.in_opcode, size, rex=1)
    return move(lambda: int.from_bytes(place.get().to_bytes(size, "little"), "big"), place.put, parts.after)


def movnti(core: Core, parts: Parts) -> Op:
    """Store a register past the caches."""
    if parts.mode == 3 or parts.narrow or parts.repeat:
        raise Unknown
    return move(reg(core, parts, parts.size).get, rm(core, parts, parts.size).put, parts.after)


def nothing(_core: Core, parts: Parts) -> Op:
    """Do nothing: what is about caches, order or devices alone."""
    after = parts.after
    return lambda: after


def nop(core: Core, parts: Parts) -> Op:
    """0F 0D and 0F 18 to 0F 1F: prefetches, NOPs of all lengths, ENDBR. ModRM names memory that is not touched."""
    if parts.mode == 3 and parts.second in (0x0D, 0x18):
        raise Unknown
    return nothing(core, parts)


# --- the stack ---


def pusher(core: Core, size: int = 8) -> Callable[[int], None]:
    """Return what puts something on the stack."""
    regs, store = core.registers, core.storer(size)

    def push(value: int) -> None:
        top = regs[RSP] - size & ALL
        store(top, value)
        regs[RSP] = top

    return push


def popper(core: Core, size: int = 8) -> Callable[[], int]:
    """Return what takes something off the stack."""
    regs, load = core.registers, core.loader(size)

    def pop() -> int:
        value = load(regs[RSP])
        regs[RSP] = regs[RSP] + size & ALL
        return value

    return pop


def stack_size(parts: Parts) -> int:
    """Return how many bytes go to the stack: two with a 66 prefix, else eight."""
    return 2 if parts.narrow and not parts.rex & 8 else 8


def push_register(core: Core, parts: Parts) -> Op:
    """50 to 57."""
    size = stack_size(parts)
    return move(register(core, parts.in_opcode, size, rex=1).get, pusher(core, size), parts.after)


def pop_register(core: Core, parts: Parts) -> Op:
    """58 to 5F."""
    size = stack_size(parts)
    return move(popper(core, size), register(core, parts.in_opcode, size, rex=1).put, parts.after)


def push_constant(core: Core, parts: Parts) -> Op:
    """68 and 6A."""
    size = stack_size(parts)
    value = parts.immediate() & MASK[size]
    return move(lambda: value, pusher(core, size), parts.after)


def push_operand(core: Core, parts: Parts) -> Op:
    """FF /6."""
    size = stack_size(parts)
    return move(rm(core, parts, size).get, pusher(core, size), parts.after)


def pop_operand(core: Core, parts: Parts) -> Op:
    """8F /0: an address that is reckoned from RSP sees it as it is behind the POP."""
    if parts.digit:
        raise Unknown
    size, regs = stack_size(parts), core.registers
    place, load, after = rm(core, parts, size), core.loader(size), parts.after

    def op() -> int:
        before = regs[RSP]
        value = load(before)
        regs[RSP] = before + size & ALL
        try:
            place.put(value)
        except BaseException:
            regs[RSP] = before
            raise
        return after

    return op


def enter(core: Core, parts: Parts) -> Op:
    """C8 with no nesting: a new frame."""
    room, level = int.from_bytes(parts.code[-3:-1], "little"), parts.code[-1]
    if level or parts.narrow:
        raise Unknown
    regs, push, after = core.registers, pusher(core), parts.after

    def op() -> int:
        push(regs[RBP])
        regs[RBP] = regs[RSP]
        regs[RSP] = regs[RSP] - room & ALL
        return after

    return op


def leave(core: Core, parts: Parts) -> Op:
    """C9: the frame is done."""
    if parts.narrow:
        raise Unknown
    regs, load, after = core.registers, core.loader(8), parts.after

    def op() -> int:
        value = load(regs[RBP])
        regs[RSP] = regs[RBP] + 8 & ALL
        regs[RBP] = value
        return after

    return op


def xlat(core: Core, parts: Parts) -> Op:
    """D7: AL becomes the byte at RBX + AL."""
    regs = core.registers
    mask = parts.address_mask
    where = based(core, parts, lambda: regs[3] + (regs[0] & 0xFF) & mask)
    return move(memory(core, where, 1).get, register(core, 0, 1, rex=1).put, parts.after)


ONE = {
    **dict.fromkeys(range(0x88, 0x8C), mov),
    **dict.fromkeys((*range(0xB0, 0xC0), 0xC6, 0xC7), mov_constant),
    **dict.fromkeys(range(0xA0, 0xA4), mov_absolute),
    0x63: extend,
    **dict.fromkeys((0x98, 0x99), extend_rax),
    0x8D: lea,
    **dict.fromkeys((0x86, 0x87, *range(0x90, 0x98)), xchg),
    **dict.fromkeys(range(0x50, 0x58), push_register),
    **dict.fromkeys(range(0x58, 0x60), pop_register),
    **dict.fromkeys((0x68, 0x6A), push_constant),
    0x8F: pop_operand,
    0xC8: enter,
    0xC9: leave,
    0xD7: xlat,
}
TWO = {
    **dict.fromkeys(range(0x40, 0x50), conditional),
    **dict.fromkeys((0xB6, 0xB7, 0xBE, 0xBF), extend),
    **dict.fromkeys(range(0xC8, 0xD0), bswap),
    0xC3: movnti,
    **dict.fromkeys((0x0D, *range(0x18, 0x20)), nop),
}
