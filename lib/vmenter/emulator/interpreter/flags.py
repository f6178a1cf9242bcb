"""The arithmetic flags: what each kind of operation leaves in them (Intel SDM, volume 1, section 3.4.3.1).

A factory returns a function for one operand size, so that masks are looked up once. Values are unsigned. Where the
SDM calls a flag undefined, it is here what it is in QEMU, as far as that is a function of the operands.
"""

from collections.abc import Callable

from vmenter.code.x86 import AF, ARITHMETIC_FLAGS, CF, MASK, OF, PF, SF, ZF
from vmenter.emulator.interpreter.core import Core

KEPT = ~ARITHMETIC_FLAGS
PARITY = tuple(0 if byte.bit_count() & 1 else PF for byte in range(256))

Two = Callable[[int, int], int]


def sign_bit(size: int) -> int:
    """Return the highest bit of an operand of so many bytes."""
    return 1 << 8 * size - 1


def signed(value: int, size: int) -> int:
    """Return an operand as a signed number."""
    return value - (1 << 8 * size) if value & sign_bit(size) else value


def adder(core: Core, size: int, *, carry: bool = False) -> Two:
    """Return ADD, or ADC."""
    mask, sign = MASK[size], sign_bit(size)

    def add(a: int, b: int) -> int:
        full = a + b + (core.flags & CF) if carry else a + b
        result = full & mask
        core.flags = (
            core.flags & KEPT
            | (full > mask)
            | PARITY[result & 0xFF]
            | (a ^ b ^ result) & AF
            | (0 if result else ZF)
            | (SF if result & sign else 0)
            | (OF if (a ^ result) & (b ^ result) & sign else 0)
        )
        return result

    return add


def subtractor(core: Core, size: int, *, borrow: bool = False) -> Two:
    """Return SUB, or SBB; of CMP, the result is dropped."""
    mask, sign = MASK[size], sign_bit(size)

    def subtract(a: int, b: int) -> int:
        full = a - b - (core.flags & CF) if borrow else a - b
        result = full & mask
        core.flags = (
            core.flags & KEPT
            | (full < 0)
            | PARITY[result & 0xFF]
            | (a ^ b ^ result) & AF
            | (0 if result else ZF)
            | (SF if result & sign else 0)
            | (OF if (a ^ b) & (a ^ result) & sign else 0)
        )
        return result

    return subtract


def logic(core: Core, size: int) -> Callable[[int], int]:
    """Return what AND, OR, XOR and TEST do to the flags; the result passes through."""
    sign = sign_bit(size)

    def note(result: int) -> int:
        core.flags = (
            core.flags & KEPT | PARITY[result & 0xFF] | (0 if result else ZF) | (SF if result & sign else 0)
        )
        return result

    return note


def condition(number: int) -> Callable[[int], int]:
    """Return the test of flags that Jcc, SETcc and CMOVcc with this number in their opcode make."""
    mask = (OF, CF, ZF, CF | ZF, SF, PF)
    kind = number >> 1
    if kind < len(mask):
        wanted = mask[kind]
        return (lambda flags: not flags & wanted) if number & 1 else (lambda flags: flags & wanted)
    zero = ZF if kind == 7 else 0  # L, GE; LE, G
    if number & 1:
        return lambda flags: not ((flags >> 7 ^ flags >> 11) & 1 or flags & zero)
    return lambda flags: (flags >> 7 ^ flags >> 11) & 1 or flags & zero
