"""Capstone's own library, by its Python package."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from vmenter.code.decoder.detail import MEMORY, READ, REGISTER, SYSTEM, Detail, Operand


def lite(code: bytes, address: int) -> Iterable[tuple[int, int, str, str]]:
    """Yield (address, length, mnemonic, operands) up to the first bytes that are no instruction."""
    found: Iterable[tuple[int, int, str, str]] = _capstone().disasm_lite(code, address)
    return found


def encoding(code: bytes) -> tuple[int, int] | None:
    """Return the first instruction's ModRM byte and where its displacement starts."""
    one = _first(code)
    return None if one is None else (one.modrm, one.disp_offset)


def detail(code: bytes) -> Detail | None:
    """Return all that is known of the first instruction."""
    one = _first(code)
    if one is None:
        return None
    reads, writes = one.regs_access()
    return Detail(
        one.mnemonic,
        one.op_str,
        one.eflags,
        not SYSTEM.isdisjoint(one.groups),
        tuple(_operand(one, operand) for operand in one.operands),
        tuple(map(one.reg_name, reads)),
        tuple(map(one.reg_name, writes)),
    )


def _operand(one: Any, operand: Any) -> Operand:
    read = bool(operand.access & READ)
    if operand.type == REGISTER:
        return Operand(REGISTER, read, one.reg_name(operand.reg))
    if operand.type == MEMORY:
        memory = operand.mem
        parts = (memory.segment, memory.base, memory.index)
        return Operand(MEMORY, read, "", *(one.reg_name(number) if number else "" for number in parts))
    return Operand(operand.type, read)


def _first(code: bytes) -> Any:
    return next(_capstone(detail=True).disasm(code, 0, 1), None)


@cache
def _capstone(*, detail: bool = False) -> Any:
    """Return the decoder, made at first use."""
    import capstone  # noqa: PLC0415  (import of the package stays free)

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    decoder.syntax = capstone.CS_OPT_SYNTAX_ATT
    decoder.detail = detail
    return decoder
