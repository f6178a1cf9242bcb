"""Capstone in WebAssembly: npm's @alexaltea/capstone-js 5.0.9, without its JavaScript, which must be waited for.

In JavaScript stands what walks over instructions, so that a run of code costs one call and comes back as one text.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from vmenter.code.browser import function, javascript, module
from vmenter.code.decoder.detail import MEMORY, REGISTER, SYSTEM, Detail, Operand
from vmenter.code.x86 import ADDRESS_MASK


def lite(code: bytes, address: int) -> Iterator[tuple[int, int, str, str]]:
    """Yield (address, length, mnemonic, operands) up to the first bytes that are no instruction."""
    text = _capstone().lite(javascript(code), address) if code else ""
    for line in text.splitlines():
        length, mnemonic, operands = line.split("\t")
        yield address, int(length), mnemonic, operands
        address = address + int(length) & ADDRESS_MASK


def encoding(code: bytes) -> tuple[int, int] | None:
    """Return the first instruction's ModRM byte and where its displacement starts."""
    found = _capstone().encoding(javascript(code))
    return None if found is None else (found[0], found[1])


def detail(code: bytes) -> Detail | None:
    """Return all that is known of the first instruction."""
    found = _capstone().detail(javascript(code))
    if found is None:
        return None
    mnemonic, text, eflags, groups, operands, reads, writes = found.to_py()
    return Detail(
        mnemonic,
        text,
        int(eflags),
        not SYSTEM.isdisjoint(groups),
        tuple(_operand(*one) for one in operands),
        tuple(reads),
        tuple(writes),
    )


def _operand(kind: int, read: bool, register: str, segment: str, base: str, index: str) -> Operand:  # noqa: FBT001
    if kind == REGISTER:
        return Operand(kind, read, register)
    return Operand(kind, read, "", segment, base, index) if kind == MEMORY else Operand(kind, read)


@cache
def _capstone() -> Any:
    """Return the decoder, made at first use."""
    return function(Path(__file__).with_name("capstone.js").read_text(encoding="utf-8"))(module("capstone.wasm"))
