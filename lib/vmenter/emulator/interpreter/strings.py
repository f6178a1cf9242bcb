"""String instructions. With REP each round is a call: the instruction leads to itself until nothing is left."""

from collections.abc import Callable

from vmenter.code.x86 import DF, ZF
from vmenter.emulator.interpreter.core import ALL, Core
from vmenter.emulator.interpreter.flags import subtractor
from vmenter.emulator.interpreter.operands import based, register
from vmenter.emulator.interpreter.parts import Op, Parts, Unknown

RAX, RCX, RSI, RDI = 0, 1, 6, 7
MOVS, CMPS, STOS, LODS, SCAS = 0xA4, 0xA6, 0xAA, 0xAC, 0xAE  # and the opcodes one above, of more than a byte
WHILE_EQUAL = 0xF3


def string(core: Core, parts: Parts) -> Op:
    """MOVS, CMPS, STOS, LODS, SCAS, once or repeated."""
    if parts.address_mask != ALL:
        raise Unknown
    size, after, here = parts.width(parts.opcode), parts.after, parts.address
    regs, kind, compares = core.registers, parts.opcode & 0xFE, parts.opcode & 0xFE in (CMPS, SCAS)
    one = _once(core, parts, kind, size)
    if not parts.repeat:

        def once() -> int:
            one(-size if core.flags & DF else size)
            return after

        return once
    wanted = ZF if parts.repeat == WHILE_EQUAL else 0

    def again() -> int:
        if not regs[RCX]:
            return after
        one(-size if core.flags & DF else size)
        regs[RCX] -= 1
        return after if compares and core.flags & ZF != wanted else here

    return again


def _once(core: Core, parts: Parts, kind: int, size: int) -> Callable[[int], None]:
    """Return one round; it is told how far the pointers go."""
    regs, load, store = core.registers, core.loader(size), core.storer(size)
    source, compare = based(core, parts, lambda: regs[RSI]), subtractor(core, size)
    accumulator = register(core, RAX, size, rex=1)

    def movs(step: int) -> None:
        store(regs[RDI], load(source()))
        regs[RSI] = regs[RSI] + step & ALL
        regs[RDI] = regs[RDI] + step & ALL

    def cmps(step: int) -> None:
        second = load(regs[RDI])
        compare(load(source()), second)
        regs[RSI] = regs[RSI] + step & ALL
        regs[RDI] = regs[RDI] + step & ALL

    def stos(step: int) -> None:
        store(regs[RDI], accumulator.get())
        regs[RDI] = regs[RDI] + step & ALL

    def lods(step: int) -> None:
        accumulator.put(load(source()))
        regs[RSI] = regs[RSI] + step & ALL

    def scas(step: int) -> None:
        compare(accumulator.get(), load(regs[RDI]))
        regs[RDI] = regs[RDI] + step & ALL

    return {MOVS: movs, CMPS: cmps, STOS: stos, LODS: lods, SCAS: scas}[kind]


ONE = dict.fromkeys((0xA4, 0xA5, 0xA6, 0xA7, *range(0xAA, 0xB0)), string)
