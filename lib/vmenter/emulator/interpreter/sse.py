"""The few SSE instructions that kernels' stubs and a learner's text come with: moves, logic, equality, the state.

Registers are numbers of 128 bits. What is 16 bytes in memory is two accesses, the lower half first.
"""

from collections.abc import Callable
from functools import partial

from vmenter.emulator.cpu import Fault, Trouble
from vmenter.emulator.interpreter.core import ALL, Core
from vmenter.emulator.interpreter.moves import move, movnti, nothing
from vmenter.emulator.interpreter.operands import Get, Put, address, rm
from vmenter.emulator.interpreter.parts import Op, Parts, Unknown
from vmenter.emulator.interpreter.system import bases

WHOLE = (1 << 128) - 1
NONE, P66, PF3, PF2 = 0, 0x66, 0xF3, 0xF2


def prefix(parts: Parts) -> int:
    """Return the prefix that chooses among instructions. Of two, which one does is not told by the SDM."""
    if parts.repeat and parts.narrow:
        raise Unknown
    return parts.repeat or (P66 if parts.narrow else NONE)


def xmm(core: Core, number: int) -> tuple[Get, Put]:
    """Return an XMM register."""

    def put(value: int) -> None:
        core.special.xmm[number] = value

    return (lambda: core.special.xmm[number]), put


def wide(core: Core, parts: Parts) -> tuple[Get, Put]:
    """Return the XMM register or the 16 bytes of memory that ModRM's end names."""
    if parts.mode == 3:
        return xmm(core, parts.rm)
    where, load, store = address(core, parts), core.loader(8), core.storer(8)

    def get() -> int:
        at = where()
        low = load(at)
        return low | load(at + 8 & ALL) << 64

    def put(value: int) -> None:
        at = where()
        store(at, value & ALL)
        store(at + 8 & ALL, value >> 64)

    return get, put


def whole(core: Core, parts: Parts, *, store: bool) -> Op:
    """MOVUPS, MOVAPS, MOVDQA, MOVDQU and the like: all 16 bytes, aligned or not."""
    (here, put_here), (there, put_there) = xmm(core, parts.reg), wide(core, parts)
    return move(here, put_there, parts.after) if store else move(there, put_here, parts.after)


def part(core: Core, parts: Parts, size: int, *, store: bool) -> Op:
    """MOVSS, MOVSD, MOVQ: the lower part. A load clears the rest; MOVSS and MOVSD between registers do not."""
    mask = (1 << 8 * size) - 1
    here, put_here = xmm(core, parts.reg)
    scalar = parts.second in (0x10, 0x11)
    if parts.mode == 3:
        there, put_there = xmm(core, parts.rm)
        get, put, old = (here, put_there, there) if store else (there, put_here, here)
        if scalar:
            return move(lambda: old() & ~mask | get() & mask, put, parts.after)
        return move(lambda: get() & mask, put, parts.after)
    place = rm(core, parts, size)
    return move(lambda: here() & mask, place.put, parts.after) if store else move(place.get, put_here, parts.after)


def from_general(core: Core, parts: Parts) -> Op:
    """66 0F 6E: MOVD, MOVQ from a general register or memory."""
    return move(rm(core, parts, 8 if parts.rex & 8 else 4).get, xmm(core, parts.reg)[1], parts.after)


def to_general(core: Core, parts: Parts) -> Op:
    """66 0F 7E."""
    size = 8 if parts.rex & 8 else 4
    get, mask = xmm(core, parts.reg)[0], (1 << 8 * size) - 1
    return move(lambda: get() & mask, rm(core, parts, size).put, parts.after)


def combine(core: Core, parts: Parts, compute: Callable[[int, int], int]) -> Op:
    """XORPS, PXOR, PCMPEQD and the like: a register and what ModRM's end names, all bits at once."""
    (here, put), (there, _), after = xmm(core, parts.reg), wide(core, parts), parts.after

    def op() -> int:
        other = there()
        put(compute(here(), other))
        return after

    return op


def equal(a: int, b: int, size: int) -> int:
    """Compare pieces of so many bytes: all ones where they are the same."""
    ones = (1 << 8 * size) - 1
    return sum(ones << shift for shift in range(0, 128, 8 * size) if not (a ^ b) >> shift & ones)


LOGIC: dict[int, Callable[[int, int], int]] = {
    0x54: lambda a, b: a & b,
    0x55: lambda a, b: ~a & b & WHOLE,
    0x56: lambda a, b: a | b,
    0x57: lambda a, b: a ^ b,
    0xDB: lambda a, b: a & b,
    0xDF: lambda a, b: ~a & b & WHOLE,
    0xEB: lambda a, b: a | b,
    0xEF: lambda a, b: a ^ b,
    0x74: partial(equal, size=1),
    0x75: partial(equal, size=2),
    0x76: partial(equal, size=4),
}
_load, _store = partial(whole, store=False), partial(whole, store=True)
# By prefix and the opcode behind 0F.
MOVES: dict[tuple[int, int], Callable[[Core, Parts], Op]] = {
    **{(kind, opcode): _load for kind in (NONE, P66) for opcode in (0x10, 0x28)},
    **{(kind, opcode): _store for kind in (NONE, P66) for opcode in (0x11, 0x29)},
    **{(kind, 0x6F): _load for kind in (P66, PF3)},
    **{(kind, 0x7F): _store for kind in (P66, PF3)},
    (PF3, 0x10): partial(part, size=4, store=False),
    (PF3, 0x11): partial(part, size=4, store=True),
    (PF2, 0x10): partial(part, size=8, store=False),
    (PF2, 0x11): partial(part, size=8, store=True),
    (PF3, 0x7E): partial(part, size=8, store=False),
    (P66, 0xD6): partial(part, size=8, store=True),
    (P66, 0x6E): from_general,
    (P66, 0x7E): to_general,
    (NONE, 0xC3): movnti,
}
PAST_CACHES = {(NONE, 0x2B), (P66, 0x2B), (P66, 0xE7)}  # MOVNTPS, MOVNTPD, MOVNTDQ: to memory alone


def sse(core: Core, parts: Parts) -> Op:
    """Look an instruction up by its prefix and its opcode."""
    kind = prefix(parts)
    if (kind, parts.second) in PAST_CACHES and parts.mode != 3:
        return whole(core, parts, store=True)
    if found := MOVES.get((kind, parts.second)):
        return found(core, parts)
    logic = LOGIC.get(parts.second)
    if logic is None or kind not in ((NONE, P66) if parts.second < 0x60 else (P66,)):
        raise Unknown
    return combine(core, parts, logic)


# --- 0F AE: the state, fences, flushes ---


def group_ae(core: Core, parts: Parts) -> Op:
    """LFENCE, MFENCE, SFENCE, CLFLUSH, CLFLUSHOPT, CLWB; LDMXCSR, STMXCSR; FXSAVE; RDFSBASE and its kin."""
    digit, kind = parts.digit, prefix(parts)
    if parts.mode == 3:
        if kind == PF3 and digit < 4:
            return bases(core, parts)
        if kind == NONE and digit > 4:
            return nothing(core, parts)
        raise Unknown
    if kind == NONE and digit in (2, 3):
        return _control(core, parts)
    if kind == NONE and digit == 0:
        return fxsave(core, parts)
    if (kind, digit) in ((NONE, 7), (P66, 7), (P66, 6)):
        return nothing(core, parts)
    raise Unknown


def _control(core: Core, parts: Parts) -> Op:
    """Return LDMXCSR or STMXCSR."""

    def put(value: int) -> None:
        core.special.mxcsr = value & 0xFFFF

    place = rm(core, parts, 4)
    if parts.digit == 2:
        return move(place.get, put, parts.after)
    return move(lambda: core.special.mxcsr, place.put, parts.after)


def fxsave(core: Core, parts: Parts) -> Op:
    """Store the x87's state, which nothing here touches, and the XMM registers (Intel SDM, volume 1, 10.5.1)."""
    where, after = address(core, parts), parts.after
    store2, store4, store8 = core.storer(2), core.storer(4), core.storer(8)

    def op() -> int:
        at = where()
        if at & 15:
            raise Fault(Trouble.EXCEPTION)
        store2(at, 0)
        store2(at + 2, 0)
        store2(at + 4, 0xFF)
        store8(at + 8, 0)
        store8(at + 16, 0)
        for number in range(8):
            store8(at + 32 + 16 * number, 0)
            store2(at + 40 + 16 * number, 0)
        store4(at + 24, core.special.mxcsr)
        store4(at + 28, 0xFFFF)
        for number, value in enumerate(core.special.xmm):
            store8(at + 160 + 16 * number, value & ALL)
            store8(at + 168 + 16 * number, value >> 64)
        return after

    return op


TWO = {
    **dict.fromkeys(
        (
            *range(0x10, 0x12),
            0x28,
            0x29,
            0x2B,
            *range(0x54, 0x58),
            0x6E,
            0x6F,
            *range(0x74, 0x77),
            0x7E,
            0x7F,
            0xC3,
        ),
        sse,
    ),
    **dict.fromkeys((0xD6, 0xDB, 0xDF, 0xE7, 0xEB, 0xEF), sse),
    0xAE: group_ae,
}
