"""Names for addresses: of an ELF's symbol table, or of a list such as a System.map."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

from vmenter import LabError
from vmenter.code.unpack import unpack
from vmenter.code.visible import visible
from vmenter.code.x86 import ADDRESS_MASK

MAX_SYMBOLS = 1_000_000  # a kernel has a quarter of that
MAX_TEXT = 64 << 20  # bytes of a list of symbols; a System.map has some 10 MB


class Symbol(NamedTuple):
    """A name for an address; `size` is 0 where it is not known."""

    address: int
    name: str
    size: int = 0


@dataclass(frozen=True)
class Symbols:
    """Names and addresses, both ways. Several names may share an address, and the other way round.

    Three columns in address order: plain numbers and strings, for a kernel has a quarter of a million.
    """

    addresses: tuple[int, ...] = field(default=(), repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)
    sizes: tuple[int, ...] = field(default=(), repr=False)  # 0: not known

    @classmethod
    def of(cls, entries: Iterable[tuple[int, str, int]]) -> "Symbols":
        """Collect (address, name, size) in any order."""
        ordered = sorted(entries, key=itemgetter(0))
        return cls(*(tuple(map(itemgetter(column), ordered)) for column in range(3)))

    @classmethod
    def from_text(cls, data: bytes, name: str = "symbols") -> "Symbols":
        """Read ``address type name`` lines: a System.map, /proc/kallsyms, `nm`'s output; also packed."""
        entries = []
        text = unpack(data, name, MAX_TEXT)
        if len(text) > MAX_TEXT:
            raise LabError(f"{name}: more than {MAX_TEXT:,} bytes; no list of symbols is that long")
        if max(text.count(b"\n"), text.count(b"\r")) > MAX_SYMBOLS:
            raise LabError(f"{name}: more than {MAX_SYMBOLS:,} lines; no kernel has that many symbols")
        for number, line in enumerate(text.splitlines(), 1):
            try:
                address, _, symbol, *_ = line.split()
                value = int(address, 16)
                value.to_bytes(8, "little")  # negative or too long: OverflowError
                entries.append((value, visible(symbol.decode("ascii")), 0))
            except (ValueError, OverflowError):  # too few words, no address, no text
                raise LabError(
                    f"{name}, line {number}: {line[:40]!r} is not “address type name”; "
                    "give a System.map or a copy of /proc/kallsyms",
                ) from None
        if not any(address for address, _, _ in entries):
            raise LabError(f"{name}: no address but 0; /proc/kallsyms shows addresses only to root")
        return cls.of(entries)

    def __add__(self, other: "Symbols") -> "Symbols":
        """Return both together."""
        mine = zip(self.addresses, self.names, self.sizes, strict=True)
        return Symbols.of([*mine, *zip(other.addresses, other.names, other.sizes, strict=True)])

    @cached_property
    def _by_name(self) -> dict[str, int]:
        return {name: index for index, name in reversed([*enumerate(self.names)])}

    def get(self, name: str) -> Symbol | None:
        """Return the symbol of that name (the lowest, if several), or None."""
        index = self._by_name.get(name)
        return None if index is None else Symbol(self.addresses[index], name, self.sizes[index])

    def at(self, address: int) -> tuple[str, int] | None:
        """Return (name, offset) of the last symbol at or below `address`; None if none reaches that far."""
        index = bisect_right(self.addresses, address) - 1
        if index < 0 or 0 < self.sizes[index] <= address - self.addresses[index]:
            return None
        return self.names[index], address - self.addresses[index]

    def extent(self, name: str) -> tuple[int, int]:
        """Return [start, end) of a function: its size if known, else up to the next other address."""
        symbol = self.get(name)
        if symbol is None:
            raise LabError(f"no symbol named {name!r}; is the spelling right, and are symbols loaded?")
        if symbol.size:
            return symbol.address, symbol.address + symbol.size
        index = bisect_right(self.addresses, symbol.address)
        return symbol.address, self.addresses[index] if index < len(self.addresses) else ADDRESS_MASK
