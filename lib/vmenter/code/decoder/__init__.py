"""Capstone: native, or in a browser's tab as WebAssembly. Text is AT&T syntax; all is 64-bit mode.

What both know of an instruction is in `detail`. Who needs more than the text asks for it: it costs more.
"""

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Protocol

from vmenter import in_browser
from vmenter.code.decoder.detail import Detail


class Provider(Protocol):
    """A module with Capstone behind it."""

    def lite(self, code: bytes, address: int) -> Iterable[tuple[int, int, str, str]]:
        """Yield (address, length, mnemonic, operands) up to the first bytes that are no instruction."""

    def encoding(self, code: bytes) -> tuple[int, int] | None:
        """Return the first instruction's ModRM byte and where its displacement starts; 0 where it has none."""

    def detail(self, code: bytes) -> Detail | None:
        """Return all that is known of the first instruction."""


@cache
def _provider() -> Provider:
    if in_browser():
        from vmenter.code.decoder import in_tab  # noqa: PLC0415  (only one of the two is there)

        return in_tab
    from vmenter.code.decoder import native  # noqa: PLC0415

    return native


def lite(code: bytes, address: int) -> Iterable[tuple[int, int, str, str]]:
    """Yield (address, length, mnemonic, operands) up to the first bytes that are no instruction."""
    return _provider().lite(code, address)


def encoding(code: bytes) -> tuple[int, int] | None:
    """Return the first instruction's ModRM byte and where its displacement starts, each 0 where there is none.

    None for bytes that are no instruction.
    """
    return _provider().encoding(code)


@lru_cache(maxsize=1 << 12)
def detail(code: bytes) -> Detail | None:
    """Return all that is known of the first instruction in `code`; None for bytes that are none."""
    return _provider().detail(code)
