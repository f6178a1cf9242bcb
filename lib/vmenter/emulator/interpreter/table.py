"""All instructions by their opcodes, and how the bytes of one become an `Op`."""

from collections.abc import Callable

from vmenter.emulator.interpreter import arithmetic, bits, jumps, moves, sse, strings, system
from vmenter.emulator.interpreter.core import Core
from vmenter.emulator.interpreter.parts import Op, Parts, Unknown, unknown

Builder = Callable[[Core, Parts], Op]

ONE: dict[int, Builder] = {
    **moves.ONE, **arithmetic.ONE, **bits.ONE, **strings.ONE, **jumps.ONE, **system.ONE,
}  # fmt: skip
TWO: dict[int, Builder] = {
    **moves.TWO, **arithmetic.TWO, **bits.TWO, **jumps.TWO, **system.TWO, **sse.TWO,
}  # fmt: skip

# What LOCK may stand before, where the destination is in memory (Intel SDM, volume 2, LOCK), by opcode and /digit.
EVERY = frozenset(range(8))
LOCKABLE = {
    **{(opcode, -1): EVERY for opcode in (0x86, 0x87, *(8 * n + low for n in range(7) for low in (0, 1)))},
    **{(opcode, -1): EVERY - {7} for opcode in (0x80, 0x81, 0x83)},
    **{(opcode, -1): frozenset((2,)) for opcode in (0xF6, 0xF7)},  # NOT; of LOCK NEG, QEMU gets the flags wrong
    **{(opcode, -1): frozenset((0, 1)) for opcode in (0xFE, 0xFF)},
    **{(0x0F, second): EVERY for second in (0xAB, 0xB3, 0xBB, 0xB0, 0xB1, 0xC0, 0xC1)},
    (0x0F, 0xBA): frozenset((5, 6, 7)),
    (0x0F, 0xC7): frozenset((1,)),
}


def build(core: Core, code: bytes, address: int) -> Op:
    """Return what executes the instruction that these bytes (15, or all there are) begin with."""
    try:
        parts = Parts(code, address)
        if parts.lock and not _lockable(parts):
            return unknown
        builder = ONE.get(parts.opcode) if parts.second < 0 else TWO.get(parts.second)
        return unknown if builder is None else builder(core, parts)
    except Unknown:
        return unknown


def _lockable(parts: Parts) -> bool:
    return bool(
        parts.modrm_at and parts.mode != 3 and parts.digit in LOCKABLE.get((parts.opcode, parts.second), ())
    )
