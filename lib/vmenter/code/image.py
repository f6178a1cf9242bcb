"""One immutable view of an x86-64 ELF as addresses, whatever it came packed in.

Takes .o and .ko (laid out and relocated to a base), vmlinux and vmlinuz, each also as .xz, .gz or .zst.
Packing is `unpack`'s business. A file is read within bounds, and names are made fit to print.
Sources: the System V ABI for x86-64 (sections, relocations), the kernel's
Documentation/arch/x86/boot.rst (vmlinuz), kernel/module and arch/x86/kernel/module.c (what a module needs).
"""

import io
import re
import struct
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.code.elf import (
    HEAD,
    MAX_NAMES,
    SHT_RELA,
    SHT_SYMTAB,
    ElfFile,
    foreign,
    string,
)
from vmenter.code.files import opened, read_open
from vmenter.code.symbols import MAX_SYMBOLS, Symbol, Symbols
from vmenter.code.unpack import MAX_PACKED, is_wrapped, unpack
from vmenter.code.visible import visible
from vmenter.code.x86 import ADDRESS_MASK, MASK

MODULE_BASE = 0xFFFF_FFFF_C000_0000  # where x86-64 kernels begin to place modules
STUB_SIZE = 4096  # room that each undefined symbol gets: for a stub, or for a structure such as pv_ops
MAX_IMAGE = 1 << 30  # bytes that a section, or all of a relocatable file, may take
MAX_RELOCATIONS = 2_000_000  # of the largest module, a tenth
OLDEST = (5, 10)  # the kernel from which on the tables of patching are understood

SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
STT_SECTION, STT_FILE = 3, 4
SHN_UNDEF, SHN_LORESERVE, SHN_ABS = 0, 0xFF00, 0xFFF1

SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")

# Relocation number -> (width in bytes, relative to the place it stands). psABI, table 4.9.
RELOCATIONS = {
    1: (8, False),  # 64
    2: (4, True),  # PC32
    4: (4, True),  # PLT32
    10: (4, False),  # 32
    11: (4, False),  # 32S
    12: (2, False),  # 16
    13: (2, True),  # PC16
    14: (1, False),  # 8
    15: (1, True),  # PC8
    24: (8, True),  # PC64
}


@dataclass(frozen=True)
class Section:
    """A run of addresses with one name. `data` may be shorter than `size`: the rest is zero (.bss)."""

    name: str
    address: int
    size: int
    data: bytes = field(repr=False)
    executable: bool
    writable: bool

    @property
    def end(self) -> int:
        """First address behind the section."""
        return self.address + self.size


@dataclass(frozen=True, eq=False)
class Image:
    """An ELF as the CPU would see it: sections at addresses, symbols, and the kernel's tables."""

    name: str
    kernel: str | None  # version string, such as "6.12.117+deb13-amd64"
    sections: tuple[Section, ...] = field(repr=False)  # allocated ones, in address order
    symbols: Symbols = field(repr=False)
    undefined: Mapping[str, int] = field(default_factory=dict, repr=False)  # name -> reserved address
    beside: "Image | None" = field(default=None, repr=False)  # the kernel that a module's addresses lead into

    @cached_property
    def _starts(self) -> list[int]:
        return [section.address for section in self.sections]

    @cached_property
    def _ends(self) -> list[int]:
        return [section.end for section in self.sections]

    def section_at(self, address: int) -> Section | None:
        """Return the section that holds `address`, of this image or of the one beside it, or None."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self._ends[index]:
            return self.sections[index]
        return self.beside.section_at(address) if self.beside else None

    def holds(self, address: int, size: int) -> bool:
        """Tell whether `size` bytes at `address` lie in one section."""
        section = self.section_at(address)
        return section is not None and address + size <= section.end

    def section(self, name: str) -> Section | None:
        """Return the first section of that name, or None."""
        return next((section for section in self.sections if section.name == name), None)

    def read(self, address: int, size: int) -> bytes:
        """Return `size` bytes at `address`; they must lie in one section, else `LabError`."""
        section = self.section_at(address)
        if section is None or address + size > section.end:
            raise LabError(f"{self.name}: {size} bytes at {address:#x} lie outside the image")
        start = address - section.address
        return section.data[start : start + size].ljust(size, b"\0")

    def pointer(self, address: int) -> int:
        """Return the 64-bit word at `address`."""
        return int.from_bytes(self.read(address, 8), "little")

    def label(self, address: int) -> str:
        """Return ``name+0x1f`` for an address, or the bare number where no symbol covers it."""
        found = self.symbols.at(address) if self.section_at(address) else None
        if found is None:
            there = ((n, address - a) for n, a in self.undefined.items() if 0 <= address - a < STUB_SIZE)
            found = next(there, (f"{address:#x}", 0))
        name, offset = found
        return f"{name}+{offset:#x}" if offset else name

    def table(self, section: str, start: str, stop: str) -> tuple[int, bytes] | None:
        """Return (address, bytes) of a kernel table: by its section, else by its two boundary symbols."""
        found = self.section(section)
        if found is not None:
            if len(found.data) < found.size:
                raise LabError(f"{self.name}: damaged ELF file: {section} has no bytes in the file")
            return found.address, found.data
        first, last = self.symbols.get(start), self.symbols.get(stop)
        if first is None or last is None:
            return None
        return first.address, self.read(first.address, max(0, last.address - first.address))

    @property
    def alternatives(self) -> tuple[int, bytes] | None:
        """Address and bytes of the table of alternatives, or None where the image has none."""
        return self.table(".altinstructions", "__alt_instructions", "__alt_instructions_end")

    @property
    def jump_table(self) -> tuple[int, bytes] | None:
        """Address and bytes of the jump-label table; in a vmlinuz only symbols can tell where it is."""
        return self.table("__jump_table", "__start___jump_table", "__stop___jump_table")

    def with_symbols(self, symbols: Symbols) -> "Image":
        """Return this image under other names."""
        return replace(self, symbols=symbols)

    def with_bytes(self, changes: Mapping[int, bytes]) -> "Image":
        """Return this image with other bytes at some addresses; each change must lie in one section."""
        buffers: dict[int, bytearray] = {}
        for address, code in changes.items():
            index = bisect_right(self._starts, address) - 1
            if index < 0 or address + len(code) > self.sections[index].end:
                raise LabError(f"{self.name}: {len(code)} bytes at {address:#x} lie outside the image")
            section = self.sections[index]
            buffer = buffers.setdefault(index, bytearray(section.data))
            start = address - section.address
            if start + len(code) > len(buffer):
                buffer.extend(bytes(start + len(code) - len(buffer)))
            buffer[start : start + len(code)] = code
        sections = tuple(
            replace(section, data=bytes(buffers[index])) if index in buffers else section
            for index, section in enumerate(self.sections)
        )
        return replace(self, sections=sections)


def load(path: str | Path, base: int = MODULE_BASE, **options: Any) -> Image:
    """Load an ELF or a vmlinuz, packed or not; `base` is where a relocatable file is placed.

    Options are those of `from_bytes`. Of an ELF only what is needed is read, so debugging data costs nothing.
    Raises `LabError` for anything that is not such a file.
    """
    name = str(path)
    with opened(path) as file:
        start = file.read(0x206)
        file.seek(0)
        if start.startswith(b"\x7fELF"):
            return _image(_Elf(file, name), base, **options)
        if not is_wrapped(start):
            raise LabError(f"{name}: {foreign(file.read(HEAD))}")
        plain = unpack(read_open(file, MAX_PACKED, name, "packed kernel"), name)
    return _plain(plain, name, base, **options)


def from_bytes(data: bytes, name: str, base: int = MODULE_BASE, **options: Any) -> Image:
    """Do what `load` does, from memory; `name` is for messages.

    Options place a module as a kernel loaded it: `places` has the addresses of its sections, by name, `undefined`
    those of the symbols it leaves to others, `beside` the kernel's Image, which then lends its symbols and what
    they point to.
    """
    return _plain(unpack(data, name), name, base, **options)


def _plain(data: bytes, name: str, base: int, **options: Any) -> Image:
    if not data.startswith(b"\x7fELF"):
        raise LabError(f"{name}: {foreign(data[:HEAD])}")
    return _image(_Elf(io.BytesIO(data), name, len(data)), base, **options)


def _image(
    elf: "_Elf",
    base: int,
    *,
    places: Mapping[str, int] | None = None,
    undefined: Mapping[str, int] | None = None,
    beside: Image | None = None,
) -> Image:
    if not elf.relocatable and (places or undefined or beside):
        raise LabError(f"{elf.name}: only a module or another relocatable file can be placed beside a kernel")
    image = elf.image(base, places or {}, undefined or {}, beside)
    if beside and beside.kernel and image.kernel and beside.kernel != image.kernel:
        raise LabError(f"{elf.name} is for kernel {image.kernel}, but {beside.name} is kernel {beside.kernel}")
    return image


def older_first(image: Image, error: LabError) -> LabError:
    """Return what to say of an image that was not understood: of one older than any that is, its age first."""
    told = re.match(r"(\d+)\.(\d+)", image.kernel or "")
    if told is None or (int(told[1]), int(told[2])) >= OLDEST:
        return error
    why = str(error).removeprefix(f"{image.name}: ")
    return LabError(
        f"{image.name}: kernel {image.kernel} is older than {OLDEST[0]}.{OLDEST[1]}, the oldest known: {why}"
    )


class _Elf(ElfFile):
    """What is read from one ELF file on the way to an Image."""

    def image(
        self, base: int, given: Mapping[str, int], elsewhere: Mapping[str, int], beside: Image | None
    ) -> Image:
        """Lay out, relocate, and name."""
        places = self.places(base, given)
        symbols, undefined = self.symbols(places, elsewhere, beside)
        contents: dict[int, bytes | bytearray] = {i: self.content(self.headers[i][1]) for i in places}
        if self.relocatable:
            self.relocate(contents, places, symbols)
        sections = [
            Section(
                name=name,
                address=places[i],
                size=header.size,
                data=bytes(contents.pop(i)),
                executable=bool(header.flags & SHF_EXECINSTR),
                writable=bool(header.flags & SHF_WRITE),
            )
            for i, (name, header) in enumerate(self.headers)
            if i in places and header.size
        ]
        sections.sort(key=lambda section: section.address)
        named = Symbols.of(symbol for symbol in symbols if symbol and symbol.name)
        named = named + beside.symbols if beside else named
        return Image(self.name, _kernel_version(sections), tuple(sections), named, undefined, beside)

    def places(self, base: int, given: Mapping[str, int]) -> dict[int, int]:
        """Return the address of each allocated section, by its index: as given by name, else in a row."""
        kept = {i: h for i, (_, h) in enumerate(self.headers) if h.flags & SHF_ALLOC}
        if any(h.size > MAX_IMAGE for h in kept.values()):
            raise self.damaged(f"a section of more than {MAX_IMAGE:,} bytes")
        if not self.relocatable:
            return {i: h.address for i, h in kept.items()}
        places = {i: given[self.headers[i][0]] for i in kept if self.headers[i][0] in given}
        start = address = max([base, *(places[i] + kept[i].size for i in places)])
        for index, header in kept.items():
            if index in places:
                continue
            align = header.align or 1
            address += -address % align
            places[index] = address
            address += header.size
            if address - start > MAX_IMAGE or align > MAX_IMAGE:
                raise self.damaged(f"its sections would take {address - start:,} bytes")
        return places

    def symbols(
        self, places: dict[int, int], elsewhere: Mapping[str, int], beside: Image | None
    ) -> tuple[list[Symbol | None], dict[str, int]]:
        """Return the symbol table by index, and addresses reserved for undefined names.

        A symbol of a section that is not loaded is None; it must not be asked for. A name that is for relocations
        alone is empty.
        """
        table = next((h for _, h in self.headers if h.kind == SHT_SYMTAB), None)
        if table is None:
            return [], {}
        if table.link >= len(self.headers):
            raise self.damaged("the symbol table has no string table")
        if table.size // SYMBOL.size > MAX_SYMBOLS:
            raise LabError(f"{self.name}: {table.size // SYMBOL.size:,} symbols; no kernel has that many")
        strings = self.content(self.headers[table.link][1])
        end = max((places[i] + self.headers[i][1].size for i in places), default=0)
        reserved = end + -end % 4096 + 4096
        undefined: dict[str, int] = {}
        result: list[Symbol | None] = []
        raw, left = self.content(table), MAX_NAMES
        for at, info, _, index, value, size in SYMBOL.iter_unpack(raw[: len(raw) // SYMBOL.size * SYMBOL.size]):
            name = string(strings, at)
            if name is None:
                raise self.damaged("a symbol's name has no end")
            left -= len(name)
            if left < 0:  # names may overlap, so the table's size does not bound them
                raise self.damaged(f"more than {MAX_NAMES:,} bytes of names")
            kind = info & 15
            if index == SHN_UNDEF:
                if name and name not in undefined:
                    there = beside.symbols.get(name) if beside else None
                    told = elsewhere.get(name, there.address if there else None)
                    undefined[name] = reserved + STUB_SIZE * len(undefined) if told is None else told
                result.append(Symbol(undefined.get(name, 0), ""))
            elif kind == STT_SECTION:  # no name of its own, but relocations use it
                result.append(Symbol(places[index], "") if index in places else None)
            elif index == SHN_ABS or (index < SHN_LORESERVE and index not in places) or kind == STT_FILE:
                result.append(Symbol(value, "") if index == SHN_ABS else None)
            else:
                start = places.get(index, 0) if self.relocatable else 0
                result.append(Symbol((start + value) & ADDRESS_MASK, name, size))
        return result, undefined

    def relocate(
        self, contents: "dict[int, bytes | bytearray]", places: dict[int, int], symbols: list[Symbol | None]
    ) -> None:
        """Apply all relocations to the sections' bytes."""
        tables = [h for _, h in self.headers if h.kind == SHT_RELA and h.info in places]
        count = sum(h.size // RELOCATION.size for h in tables)
        if count > MAX_RELOCATIONS:
            raise LabError(f"{self.name}: {count:,} relocations; no module has more than {MAX_RELOCATIONS:,}")
        for header in tables:
            index, raw = header.info, self.content(header)
            code = contents[index]
            if not isinstance(code, bytearray):
                code = contents[index] = bytearray(code)
            self.relocated(code, places[index], raw[: len(raw) // RELOCATION.size * RELOCATION.size], symbols)

    def relocated(self, out: bytearray, place: int, raw: bytes, symbols: list[Symbol | None]) -> None:
        """Apply one table of relocations to a section's bytes."""
        known, room, low = len(symbols), len(out), MASK[4]
        for offset, info, addend in RELOCATION.iter_unpack(raw):
            kind, index = info & low, info >> 32
            if kind == 0:  # R_X86_64_NONE
                continue
            if kind not in RELOCATIONS:
                raise LabError(f"{self.name}: relocation type {kind} at {place + offset:#x} is not supported")
            width, relative = RELOCATIONS[kind]
            symbol = symbols[index] if index < known else None
            if symbol is None or offset + width > room:
                raise self.damaged(f"relocation at {place + offset:#x} leads nowhere")
            value = symbol.address + addend - (place + offset if relative else 0)
            bits = width * 8
            signed = (value + (1 << 63) & ADDRESS_MASK) - (1 << 63)
            if width < 8 and not -(1 << bits - 1) <= signed < 1 << (bits - 1 if relative or kind == 11 else bits):
                raise LabError(f"{self.name}: relocation at {place + offset:#x} does not fit {width} bytes")
            out[offset : offset + width] = (value & (1 << bits) - 1).to_bytes(width, "little")


def _kernel_version(sections: list[Section]) -> str | None:
    """Return the version a module was built for, or the one in a kernel's banner; None without either."""
    for section in sections:
        if section.name == ".modinfo":
            found = re.search(rb"(?:\A|\0)vermagic=([^ \0]{1,64})[ \0]", section.data)
        elif section.name in (".rodata", ".init.data", ".data"):
            found = re.search(rb"Linux version (\d{1,9}\.\d{1,9}[^ \0]{0,64}) ", section.data)
        else:
            continue
        if found:
            return visible(found[1].decode("ascii", "replace"))
    return None
