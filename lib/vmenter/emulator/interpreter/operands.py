"""Operands as functions: how to get one, and how to put something there."""

from collections.abc import Callable
from typing import NamedTuple

from vmenter.code.x86 import MASK
from vmenter.emulator.interpreter.core import ALL, Core
from vmenter.emulator.interpreter.parts import FS, GS, Op, Parts

Get = Callable[[], int]
Put = Callable[[int], None]


class Operand(NamedTuple):
    """A register or a place in memory, of one size; values are unsigned."""

    get: Get
    put: Put
    address: Get | None = None  # None: a register
    whole: int | None = None  # the register's number, where what is put there is all that it holds


def register(core: Core, number: int, size: int, *, rex: int) -> Operand:
    """Return a general register. Without a REX prefix, bytes 4 to 7 are AH, CH, DH and BH."""
    regs, mask = core.registers, MASK[size]
    if size == 8:

        def put(value: int) -> None:
            regs[number] = value

        return Operand(lambda: regs[number], put, whole=number)
    if size == 4:  # what is put here clears the upper half

        def put_half(value: int) -> None:
            regs[number] = value

        return Operand(lambda: regs[number] & mask, put_half, whole=number)
    if size == 1 and not rex and number >= 4:
        low = number - 4

        def put_high(value: int) -> None:
            regs[low] = regs[low] & ~0xFF00 | value << 8

        return Operand(lambda: regs[low] >> 8 & 0xFF, put_high)

    def put_part(value: int) -> None:
        regs[number] = regs[number] & ~mask | value

    return Operand(lambda: regs[number] & mask, put_part)


def reg(core: Core, parts: Parts, size: int) -> Operand:
    """Return the register that ModRM's middle names."""
    return register(core, parts.reg, size, rex=parts.rex)


def rm(core: Core, parts: Parts, size: int) -> Operand:
    """Return what ModRM's end names: a register or memory."""
    if parts.mode == 3:
        return register(core, parts.rm, size, rex=parts.rex)
    return memory(core, address(core, parts), size)


def memory(core: Core, where: Get, size: int) -> Operand:
    """Return a place in memory."""
    load, store = core.loader(size), core.storer(size)
    return Operand(lambda: load(where()), lambda value: store(where(), value), where)


def address(core: Core, parts: Parts) -> Get:
    """Return how to find the address of the operand in memory, the base of its segment added."""
    return based(core, parts, offset(core, parts))


def offset(core: Core, parts: Parts) -> Get:
    """Return how to find the operand's offset in its segment: what LEA gives."""
    base, index, scale, displacement = parts.memory()
    mask, regs = parts.address_mask, core.registers
    if base is None and index is None:
        fixed = displacement & mask
        return lambda: fixed
    if index is None:
        return lambda: regs[base] + displacement & mask  # type: ignore[index]
    if base is None:
        return lambda: (regs[index] << scale) + displacement & mask
    return lambda: regs[base] + (regs[index] << scale) + displacement & mask


def based(core: Core, parts: Parts, inside: Get) -> Get:
    """Return how to find an address from an offset: only FS and GS have a base in 64-bit code."""
    if parts.segment not in (FS, GS):
        return inside
    bases, number = core.bases, parts.segment - FS
    return lambda: inside() + bases[number] & ALL


def fill(core: Core, place: Operand, get: Get, after: int) -> Op:
    """Return an instruction that gets something and puts it in a place."""
    if place.whole is None:
        put = place.put

        def op() -> int:
            put(get())
            return after

        return op
    regs, number = core.registers, place.whole

    def into_register() -> int:
        regs[number] = get()
        return after

    return into_register


def edit(place: Operand, core: Core, size: int, after: int, change: Callable[[int], int]) -> Op:
    """Return an instruction that puts something else in a place, made of what is there."""
    if place.whole is not None:
        regs, number, mask = core.registers, place.whole, MASK[size]

        def in_whole() -> int:
            regs[number] = change(regs[number] & mask)
            return after

        return in_whole
    if place.address is None:
        get, put = place.get, place.put

        def in_register() -> int:
            put(change(get()))
            return after

        return in_register
    where, load, store = place.address, core.loader(size), core.storer(size)

    def in_memory() -> int:
        at = where()
        store(at, change(load(at)))
        return after

    return in_memory
