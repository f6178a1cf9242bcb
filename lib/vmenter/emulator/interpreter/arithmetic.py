"""ADD and its kin, INC, NEG, MUL, DIV, shifts and rotations: what computes and leaves flags."""

from collections.abc import Callable

from vmenter.code.x86 import CF, MASK, OF
from vmenter.emulator.cpu import Fault, Trouble
from vmenter.emulator.interpreter.core import Core
from vmenter.emulator.interpreter.flags import KEPT, Two, adder, logic, sign_bit, signed, subtractor
from vmenter.emulator.interpreter.operands import Get, Operand, edit, reg, register, rm
from vmenter.emulator.interpreter.parts import Op, Parts, Unknown

OR, ADC, SBB, AND, SUB, XOR, CMP = range(1, 8)  # the number in the opcode; ADD is 0
RAX, RCX, RDX = 0, 1, 2


def operation(core: Core, number: int, size: int) -> Two:
    """Return one of the eight; the result of CMP is to be dropped."""
    if number in (OR, AND, XOR):
        note = logic(core, size)
        if number == OR:
            return lambda a, b: note(a | b)
        return (lambda a, b: note(a & b)) if number == AND else (lambda a, b: note(a ^ b))
    if number in (SUB, CMP, SBB):
        return subtractor(core, size, borrow=number == SBB)
    return adder(core, size, carry=number == ADC)


def between(core: Core, parts: Parts, number: int, size: int, place: Operand, other: Get) -> Op:
    """Return one of the eight on a place and something else."""
    compute, after = operation(core, number, size), parts.after
    if number == CMP:
        return compared(compute, place.get, other, after)
    if place.whole is not None:
        regs, here, mask = core.registers, place.whole, MASK[size]

        def on_register() -> int:
            regs[here] = compute(regs[here] & mask, other())
            return after

        return on_register
    return edit(place, core, size, after, lambda value: compute(value, other()))


def compared(compute: Callable[[int, int], object], one: Get, two: Get, after: int) -> Op:
    """Return an instruction that leaves flags and nothing else."""

    def op() -> int:
        compute(one(), two())
        return after

    return op


def eight(core: Core, parts: Parts) -> Op:
    """00 to 3D: the eight between registers and memory, and of RAX and a constant."""
    opcode, size = parts.opcode, parts.width(parts.opcode)
    number = opcode >> 3
    if opcode & 4:
        value = parts.immediate() & MASK[size]
        return between(core, parts, number, size, register(core, RAX, size, rex=1), lambda: value)
    here, there = reg(core, parts, size), rm(core, parts, size)
    place, other = (here, there) if opcode & 2 else (there, here)
    return between(core, parts, number, size, place, other.get)


def eight_constant(core: Core, parts: Parts) -> Op:
    """80, 81, 83: the eight with a constant."""
    size = parts.width(parts.opcode)
    value = parts.immediate() & MASK[size]
    return between(core, parts, parts.digit, size, rm(core, parts, size), lambda: value)


def test(core: Core, parts: Parts) -> Op:
    """84, 85, and A8, A9 of RAX and a constant."""
    size = parts.width(parts.opcode)
    note = logic(core, size)
    if parts.opcode >= 0xA8:
        value, get = parts.immediate() & MASK[size], register(core, RAX, size, rex=1).get
        return compared(lambda a, b: note(a & b), get, lambda: value, parts.after)
    return compared(lambda a, b: note(a & b), rm(core, parts, size).get, reg(core, parts, size).get, parts.after)


def step(core: Core, parts: Parts) -> Op:
    """FE and FF, /0 and /1: INC and DEC leave CF alone."""
    size = parts.width(parts.opcode)
    compute = subtractor(core, size) if parts.digit else adder(core, size)

    def change(value: int) -> int:
        carry = core.flags & CF
        result = compute(value, 1)
        core.flags = core.flags & ~CF | carry
        return result

    return edit(rm(core, parts, size), core, size, parts.after, change)


def unary(core: Core, parts: Parts) -> Op:
    """F6 and F7: TEST, NOT, NEG, MUL, IMUL, DIV, IDIV."""
    size, digit, after = parts.width(parts.opcode), parts.digit, parts.after
    place = rm(core, parts, size)
    if digit == 1:
        raise Unknown
    if digit == 0:
        value, note = parts.immediate() & MASK[size], logic(core, size)
        return compared(lambda a, b: note(a & b), place.get, lambda: value, after)
    if digit == 2:
        mask = MASK[size]
        return edit(place, core, size, after, lambda value: value ^ mask)
    if digit == 3:
        subtract = subtractor(core, size)
        return edit(place, core, size, after, lambda value: subtract(0, value))
    return (product if digit < 6 else quotient)(core, place.get, size, after, with_sign=bool(digit & 1))


def _pair(core: Core, size: int) -> tuple[Operand, Operand]:
    """Return where the halves of a product stand: RDX and RAX, or AH and AL."""
    high = register(core, 4, 1, rex=0) if size == 1 else register(core, RDX, size, rex=1)
    return high, register(core, RAX, size, rex=1)


def product(core: Core, get: Get, size: int, after: int, *, with_sign: bool) -> Op:
    """Return MUL or IMUL of RAX; CF and OF tell whether the upper half is more than the lower one's sign."""
    (high, low), mask, note = _pair(core, size), MASK[size], logic(core, size)

    def op() -> int:
        a, b = get(), low.get()
        whole = signed(a, size) * signed(b, size) if with_sign else a * b
        small = note(whole & mask)
        low.put(small)
        high.put(whole >> 8 * size & mask)
        if (signed(small, size) if with_sign else small) != whole:
            core.flags |= CF | OF
        return after

    return op


def imul(core: Core, parts: Parts) -> Op:
    """0F AF, and 69 and 6B with a constant: only the lower half is kept."""
    size = parts.size
    get, put = rm(core, parts, size).get, reg(core, parts, size).put
    if parts.second < 0:
        value = parts.immediate()
        factor: Get = lambda: value  # noqa: E731  (as short as its twin)
    else:
        here = reg(core, parts, size).get
        factor = lambda: signed(here(), size)  # noqa: E731
    mask, note, after = MASK[size], logic(core, size), parts.after

    def op() -> int:
        whole = signed(get(), size) * factor()
        small = note(whole & mask)
        if signed(small, size) != whole:
            core.flags |= CF | OF
        put(small)
        return after

    return op


def quotient(core: Core, get: Get, size: int, after: int, *, with_sign: bool) -> Op:
    """Return DIV or IDIV, which rounds towards zero; flags stay. Where the result does not fit: an exception."""
    (high, low), bits, mask = _pair(core, size), 8 * size, MASK[size]
    fits = range(-sign_bit(size), sign_bit(size)) if with_sign else range(1 << bits)

    def op() -> int:
        divisor, dividend = get(), high.get() << bits | low.get()
        if with_sign:
            divisor, dividend = signed(divisor, size), signed(dividend, 2 * size)
        if not divisor:
            raise Fault(Trouble.EXCEPTION)
        result = abs(dividend) // abs(divisor)
        if (dividend < 0) != (divisor < 0):
            result = -result
        if result not in fits:
            raise Fault(Trouble.EXCEPTION)
        low.put(result & mask)
        high.put(dividend - result * divisor & mask)
        return after

    return op


# --- shifts and rotations ---


def shift(core: Core, parts: Parts) -> Op:
    """C0, C1, D0 to D3: /0 ROL, /1 ROR, /2 RCL, /3 RCR, /4 SHL, /5 SHR, /6 SHL, /7 SAR."""
    opcode, size, after = parts.opcode, parts.width(parts.opcode), parts.after
    place = rm(core, parts, size)
    change = _rotation(core, parts.digit, size) if parts.digit < 4 else _shift(core, parts.digit, size)
    counted = 63 if size == 8 else 31
    if opcode >= 0xD2:
        regs = core.registers
        return edit(place, core, size, after, lambda value: change(value, regs[RCX] & counted))
    count = (parts.code[-1] if opcode < 0xD0 else 1) & counted
    return edit(place, core, size, after, lambda value: change(value, count))


def _shift(core: Core, digit: int, size: int) -> Two:
    """Return SHL, SHR or SAR. CF is the bit that went last; OF is defined for a count of 1."""
    mask, sign, note = MASK[size], sign_bit(size), logic(core, size)

    def change(value: int, count: int) -> int:
        if not count:
            return value
        if digit in (5, 7):
            start = signed(value, size) if digit == 7 else value
            before = start >> count - 1
            carry, result = before & 1, before >> 1
        else:
            before = value << count - 1
            carry, result = before & sign, before << 1
        note(result & mask)
        core.flags |= (CF if carry else 0) | (OF if (before ^ result) & sign else 0)
        return result & mask

    return change


def _rotation(core: Core, digit: int, size: int) -> Two:
    """Return ROL, ROR, RCL or RCR; the latter two turn CF along. They leave all flags but CF and OF."""
    bits, mask, sign = 8 * size, MASK[size], sign_bit(size)

    def rotate(value: int, count: int) -> int:
        if not count:
            return value
        left = count % bits if digit == 0 else -count % bits
        result = (value << left | value >> bits - left) & mask
        carry = result & 1 if digit == 0 else result & sign
        over = bool(result & sign) != bool(result & 1 if digit == 0 else result & sign >> 1)
        core.flags = core.flags & ~(CF | OF) | (CF if carry else 0) | (OF if over else 0)
        return result

    def through_carry(value: int, count: int) -> int:
        count %= bits + 1
        if not count:
            return value
        whole = value | (core.flags & CF) << bits
        left = count if digit == 2 else bits + 1 - count
        turned = whole << left | whole >> bits + 1 - left
        result = turned & mask
        over = OF if (value ^ result) & sign else 0
        core.flags = core.flags & ~(CF | OF) | turned >> bits & CF | over
        return result

    return rotate if digit < 2 else through_carry


def double_shift(core: Core, parts: Parts) -> Op:
    """SHLD and SHRD: what is shifted in comes from another register."""
    size, left = parts.size, parts.second < 0xA8
    if size == 2:
        raise Unknown  # a count beyond 16 is undefined
    bits, mask, sign = 8 * size, MASK[size], sign_bit(size)
    other, note, regs = reg(core, parts, size).get, logic(core, size), core.registers
    fixed = None if parts.second & 1 else parts.code[-1] & bits - 1

    def change(value: int) -> int:
        count = regs[RCX] & bits - 1 if fixed is None else fixed
        if not count:
            return value
        if left:
            whole = value << bits | other()
            before, result = whole << count - 1 >> bits & mask, whole << count >> bits & mask
            carry = before & sign
        else:
            whole = other() << bits | value
            before, result = whole >> count - 1 & mask, whole >> count & mask
            carry = before & 1
        note(result)
        core.flags |= (CF if carry else 0) | (OF if (before ^ result) & sign else 0)
        return result

    return edit(rm(core, parts, size), core, size, parts.after, change)


# --- read and write at once ---


def xadd(core: Core, parts: Parts) -> Op:
    """Add a register to a place, and put what was there in the register."""
    size, after = parts.width(parts.second), parts.after
    add, here = adder(core, size), reg(core, parts, size)

    if parts.mode == 3:
        there = rm(core, parts, size)

        def swap() -> int:
            before = there.get()
            total = add(before, here.get())
            here.put(before)
            there.put(total)
            return after

        return swap

    def change(value: int) -> int:
        total = add(value, here.get())
        here.put(value)
        return total

    return edit(rm(core, parts, size), core, size, after, change)


def cmpxchg(core: Core, parts: Parts) -> Op:
    """Put a register in a place that holds what RAX does, else the place in RAX. A write comes either way."""
    size = parts.width(parts.second)
    new, accumulator, compare = (
        reg(core, parts, size).get,
        register(core, RAX, size, rex=1),
        subtractor(core, size),
    )
    place, after = rm(core, parts, size), parts.after
    load, store = core.loader(size), core.storer(size)

    def op() -> int:
        at = place.address() if place.address else 0
        value = load(at) if place.address else place.get()
        expected = accumulator.get()
        before = core.flags
        compare(expected, value)
        result = new() if expected == value else value
        if place.address:
            try:
                store(at, result)
            except Fault:
                core.flags = before
                raise
        else:
            place.put(result)
        if expected != value:
            accumulator.put(value)
        return after

    return op


def clear_flags(core: Core) -> None:
    """Clear the six arithmetic flags."""
    core.flags &= KEPT


ONE = {
    **dict.fromkeys((opcode for opcode in range(0x40) if opcode & 7 < 6), eight),
    **dict.fromkeys((0x80, 0x81, 0x83), eight_constant),
    **dict.fromkeys((0x84, 0x85, 0xA8, 0xA9), test),
    **dict.fromkeys((0x69, 0x6B), imul),
    **dict.fromkeys((0xC0, 0xC1, *range(0xD0, 0xD4)), shift),
    **dict.fromkeys((0xF6, 0xF7), unary),
}
TWO = {
    0xAF: imul,
    **dict.fromkeys((0xA4, 0xA5, 0xAC, 0xAD), double_shift),
    **dict.fromkeys((0xB0, 0xB1), cmpxchg),
    **dict.fromkeys((0xC0, 0xC1), xadd),
}
