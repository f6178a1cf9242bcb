"""Instructions on single bits: BT and its kin, the scans and counts, SETcc, and those that set one flag."""

from vmenter.code.x86 import ARITHMETIC_FLAGS, CF, DF, OF, SF, ZF
from vmenter.emulator.interpreter.arithmetic import clear_flags
from vmenter.emulator.interpreter.core import Core
from vmenter.emulator.interpreter.flags import condition, logic, sign_bit, signed
from vmenter.emulator.interpreter.moves import move
from vmenter.emulator.interpreter.operands import Operand, based, edit, offset, reg, register, rm
from vmenter.emulator.interpreter.parts import Op, Parts, Unknown

INTERRUPT, ALIGNMENT = 1 << 9, 1 << 18
BY_REGISTER = {0xA3: 0, 0xAB: 1, 0xB3: 2, 0xBB: 3}  # BT, BTS, BTR, BTC


def bit_test(core: Core, parts: Parts) -> Op:
    """Put a bit in CF, and leave, set, clear or turn it. Of a place in memory, a register may name any bit."""
    size, after = parts.size, parts.after
    bits = 8 * size
    kind = parts.digit - 4 if parts.second == 0xBA else BY_REGISTER[parts.second]
    if kind < 0:
        raise Unknown

    def change(value: int, number: int) -> int:
        core.flags = core.flags & ~CF | value >> number & 1
        bit = 1 << number
        return value | bit if kind == 1 else value & ~bit if kind == 2 else value ^ bit

    if parts.second == 0xBA or parts.mode == 3:
        fixed = parts.immediate() % bits if parts.second == 0xBA else None
        here = reg(core, parts, size).get

        def chosen() -> int:
            return here() % bits if fixed is None else fixed

        place = rm(core, parts, size)
        if kind:
            return edit(place, core, size, after, lambda value: change(value, chosen()))
        get = place.get

        def look() -> int:
            change(get(), chosen())
            return after

        return look

    get, inside, mask = reg(core, parts, size).get, offset(core, parts), parts.address_mask
    where = based(core, parts, lambda: inside() + signed(get(), size) // bits * size & mask)
    load, store = core.loader(size), core.storer(size)

    def far() -> int:
        at = where()
        changed = change(load(at), get() % bits)
        if kind:
            store(at, changed)
        return after

    return far


def scan(core: Core, parts: Parts) -> Op:
    """BSF, BSR, and with F3 TZCNT, LZCNT, POPCNT. Of 0, BSF and BSR leave the register as it was."""
    size, second, after = parts.size, parts.second, parts.after
    get, place, note = rm(core, parts, size).get, reg(core, parts, size), logic(core, size)
    bits, counts = 8 * size, parts.repeat == 0xF3
    if second == 0xB8 and not counts:
        raise Unknown

    def plain() -> int:
        value = note(get())
        found = value.bit_length() - 1 if second == 0xBD else (value & -value).bit_length() - 1
        place.put(found if value else place.get())
        return after

    def counted() -> int:
        value = get()
        clear_flags(core)
        if second == 0xB8:
            core.flags |= 0 if value else ZF
            place.put(value.bit_count())
            return after
        if second == 0xBD:
            found = bits - value.bit_length()
        else:
            found = (value & -value).bit_length() - 1 if value else bits
        sign = SF if found & sign_bit(size) else 0
        core.flags |= (0 if value else CF) | (0 if found else ZF) | sign
        place.put(found)
        return after

    return counted if counts else plain


def set_byte(core: Core, parts: Parts) -> Op:
    """SETcc: a byte becomes 1 or 0."""
    holds = condition(parts.second & 15)
    return move(lambda: 1 if holds(core.flags) else 0, rm(core, parts, 1).put, parts.after)


def set_flag(core: Core, parts: Parts) -> Op:
    """CMC, CLC, STC, CLI, STI, CLD, STD."""
    opcode, after = parts.opcode, parts.after
    if opcode == 0xF5:

        def complement() -> int:
            core.flags ^= CF
            return after

        return complement
    return _flag(core, {0xF8: CF, 0xFA: INTERRUPT, 0xFC: DF}[opcode & 0xFE], after, on=bool(opcode & 1))


def alignment(core: Core, after: int, *, on: bool) -> Op:
    """Return STAC, or CLAC."""
    return _flag(core, ALIGNMENT, after, on=on)


def _flag(core: Core, bit: int, after: int, *, on: bool) -> Op:
    def op() -> int:
        core.flags = core.flags | bit if on else core.flags & ~bit
        return after

    return op


def flags_and_ah(core: Core, parts: Parts) -> Op:
    """9E: SAHF; 9F: LAHF."""
    high = _ah(core)
    low = ARITHMETIC_FLAGS & ~OF
    if parts.opcode == 0x9F:
        return move(lambda: core.flags & low | 2, high.put, parts.after)

    def put(value: int) -> None:
        core.flags = core.flags & ~low | value & low

    return move(high.get, put, parts.after)


def _ah(core: Core) -> Operand:
    return register(core, 4, 1, rex=0)


ONE = {
    **dict.fromkeys((0xF5, *range(0xF8, 0xFE)), set_flag),
    **dict.fromkeys((0x9E, 0x9F), flags_and_ah),
}
TWO = {
    **dict.fromkeys((0xA3, 0xAB, 0xB3, 0xBB, 0xBA), bit_test),
    **dict.fromkeys((0xB8, 0xBC, 0xBD), scan),
    **dict.fromkeys(range(0x90, 0xA0), set_byte),
}
