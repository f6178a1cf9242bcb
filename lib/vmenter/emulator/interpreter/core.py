"""What instructions act on: registers, flags, and memory in pages that tells of each access."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmenter.code.x86 import MASK
from vmenter.emulator.cpu import Fault, Trouble
from vmenter.emulator.memory import PAGE

if TYPE_CHECKING:
    from vmenter.emulator.trace import RawAccess

ALL = MASK[8]
INSIDE = PAGE - 1
PHYSICAL = (1 << 52) - 1  # without paging, an address goes to memory as it is, and has no more bits there

# What RDMSR of the model finds that nobody wrote; all others hold 0. EFER: long mode; PAT as after a reset.
MSRS = {
    0x8B: 0x1_0000_0000, 0xFE: 0x508, 0x179: 0x100_010A, 0x17B: ALL, 0x198: 0x400_0000_03E8,
    0x277: 0x7_0406_0007_0406, **dict.fromkeys(range(0x400, 0x428, 4), ALL), 0xC000_0080: 0x500,
}  # fmt: skip
FS_BASE, GS_BASE, KERNEL_GS_BASE = 0xC000_0100, 0xC000_0101, 0xC000_0102


class Pages(dict[int, bytearray]):
    """Pages by number. A mapped one is made when it is first asked for; another is a `KeyError`."""

    def __init__(self) -> None:
        super().__init__()
        self.mapped: list[range] = []

    def __missing__(self, page: int) -> bytearray:
        """Make a page of zeros."""
        if not any(page in pages for pages in self.mapped):
            raise KeyError(page)
        self[page] = bytearray(PAGE)
        return self[page]


class Writable(dict[int, bytearray]):
    """The pages that can be written without a word. One that holds code which ran is none of them."""

    def __init__(self, pages: Pages, changed: Callable[[], None]) -> None:
        super().__init__()
        self.pages, self.changed = pages, changed
        self.code: set[int] = set()

    def __missing__(self, page: int) -> bytearray:
        """Tell that code changes, or let the page be written from now on."""
        data = self.pages[page]
        if page in self.code:
            self.changed()
        self[page] = data
        return data

    def forget(self) -> None:
        """Take note that no code is known any more."""
        self.code.clear()

    def has_code(self, page: int) -> None:
        """Note that code of this page ran."""
        self.pop(page, None)
        self.code.add(page)


@dataclass
class Special:
    """Registers that only special instructions touch. The values are those of Unicorn's model when it begins."""

    control: dict[int, int] = field(default_factory=lambda: {0: 0x11, 2: 0, 3: 0, 4: 0x5_0200, 8: 0})
    debug: list[int] = field(default_factory=lambda: [0, 0, 0, 0, 0xFFFF_0FF0, 0x400, 0xFFFF_0FF0, 0x400])
    segments: list[int] = field(default_factory=lambda: [0] * 6)  # ES, CS, SS, DS, FS, GS: selectors
    msrs: dict[int, int] = field(default_factory=lambda: dict(MSRS))
    tables: dict[str, tuple[int, int]] = field(default_factory=lambda: {"gdt": (0, 0), "idt": (0, 0)})
    xmm: list[int] = field(default_factory=lambda: [0] * 16)
    mxcsr: int = 0

    def copy(self) -> "Special":
        """Return one that can change on its own."""
        return Special(
            dict(self.control), list(self.debug), list(self.segments), dict(self.msrs), dict(self.tables),
            list(self.xmm), self.mxcsr,
        )  # fmt: skip


class Core:
    """Registers, flags and memory. `registers`, `steps` and `accesses` stay the same objects for good."""

    def __init__(self) -> None:
        self.registers = [0] * 16
        self.flags = 2
        self.rip = 0
        self.bases = [0, 0]  # of FS and GS
        self.special = Special()
        self.pages = Pages()
        self.writable = Writable(self.pages, lambda: None)
        self.steps: list[int] = []
        self.accesses: list[RawAccess] = []

    # --- memory, as nobody watches it ---

    def peek(self, address: int, size: int) -> bytes:
        """Return what memory holds; `KeyError` where nothing is mapped."""
        address &= PHYSICAL
        at = address & INSIDE
        if at + size <= PAGE:
            return bytes(self.pages[address >> 12][at : at + size])
        return b"".join(bytes(self.pages[page][start:end]) for page, start, end in _pieces(address, size))

    def poke(self, address: int, data: bytes) -> None:
        """Put bytes into memory, all or none; `KeyError` where nothing is mapped."""
        pieces = [(self.writable[page], start, end) for page, start, end in _pieces(address & PHYSICAL, len(data))]
        done = 0
        for page, start, end in pieces:
            page[start:end] = data[done : done + end - start]
            done += end - start

    # --- memory, as code sees it ---

    def loader(self, size: int) -> Callable[[int], int]:
        """Return a function that reads so many bytes (up to 8) at an address."""
        pages, steps, accesses, last = self.pages, self.steps, self.accesses, PAGE - size
        number = int.from_bytes

        def load(address: int) -> int:
            at = address & INSIDE
            page = pages.get(address >> 12) if at <= last else None
            if page is None:
                return number(self._slow_read(address & PHYSICAL, size), "little")
            accesses.append((len(steps) - 1, address, size, False, 0))
            return number(page[at : at + size], "little")

        return load

    def storer(self, size: int) -> Callable[[int, int], None]:
        """Return a function that writes an unsigned number of so many bytes (up to 8) to an address."""
        writable, steps, accesses, last = self.writable, self.steps, self.accesses, PAGE - size

        def store(address: int, value: int) -> None:
            at = address & INSIDE
            page = writable.get(address >> 12) if at <= last else None
            if page is None:
                address &= PHYSICAL
            accesses.append((len(steps) - 1, address, size, True, value - (1 << 64) if value >> 63 else value))
            if page is None:
                self._slow_write(address, value.to_bytes(size, "little"))
            else:
                page[at : at + size] = value.to_bytes(size, "little")

        return store

    def _slow_read(self, address: int, size: int) -> bytes:
        """Read from a page that nobody asked for yet, from two, or from none: a read that fails is no access.

        Where only the second page is missing, it is one, and the fault is that of an aligned read behind it.
        """
        try:
            self.pages[address >> 12]
        except KeyError:
            raise Fault(Trouble.READ, address, size) from None
        self.accesses.append((len(self.steps) - 1, address, size, False, 0))
        try:
            return self.peek(address, size)
        except KeyError:
            raise Fault(Trouble.READ, (address & -size) + size, size) from None

    def _slow_write(self, address: int, data: bytes) -> None:
        """Write to such pages. Where only the second one is missing, the fault is that of the last byte."""
        try:
            self.pages[address >> 12]
        except KeyError:
            raise Fault(Trouble.WRITE, address, len(data)) from None
        try:
            self.poke(address, data)
        except KeyError:
            raise Fault(Trouble.WRITE, address + len(data) - 1, 1) from None


def _pieces(address: int, size: int) -> list[tuple[int, int, int]]:
    """Return page number, start and end in it, for each page that this range touches."""
    pieces, end = [], address + size
    while address < end:
        start = address & INSIDE
        length = min(end - address, PAGE - start)
        pieces.append((address >> 12, start, start + length))
        address += length
    return pieces
