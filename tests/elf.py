"""Small ELF files and the wrappings around them, made by hand: nothing here knows the library."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lz4.block
import zstandard

PROGBITS, SYMTAB, STRTAB, RELA, NOBITS = 1, 2, 3, 4, 8
WRITE, ALLOC, EXEC = 1, 2, 4
REL, EXECUTABLE = 1, 2
UNDEF, ABS = 0, 0xFFF1
PC32, S32, R64 = 2, 11, 1

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
SHDR = struct.Struct("<IIQQQQIIQQ")
SYM = struct.Struct("<IBBHQQ")
RELA_ENTRY = struct.Struct("<QQq")


@dataclass(frozen=True)
class Sec:
    """A section; `size` is for one that has no bytes in the file."""

    name: str
    data: bytes = b""
    kind: int = PROGBITS
    flags: int = ALLOC
    address: int = 0
    size: int | None = None
    link: int = 0
    info: int = 0
    align: int = 1
    entry: int = 0


@dataclass(frozen=True)
class Sym:
    """A symbol; `section` is a section's name, or a number such as UNDEF."""

    name: str
    section: str | int
    value: int = 0
    size: int = 0
    kind: int = 0


def elf(
    sections: Sequence[Sec],
    symbols: Sequence[Sym] = (),
    relocations: Sequence[tuple[str, int, int, str, int]] = (),  # section, offset, type, symbol, addend
    kind: int = EXECUTABLE,
    machine: int = 62,
) -> bytes:
    """Return the bytes of an ELF file with these sections in this order, behind the null section."""
    found = [Sec("", kind=0, flags=0), *sections]
    numbers = {section.name: index for index, section in enumerate(found)}
    if symbols:
        strings, table = bytearray(b"\0"), bytearray(SYM.size)
        for symbol in symbols:
            index = numbers[symbol.section] if isinstance(symbol.section, str) else symbol.section
            at = len(strings) if symbol.name else 0
            table += SYM.pack(at, symbol.kind, 0, index, symbol.value, symbol.size)
            strings += symbol.name.encode() + b"\0" if symbol.name else b""
        order = {symbol.name: index for index, symbol in enumerate(symbols, 1)}
        found.append(Sec(".symtab", bytes(table), SYMTAB, 0, link=len(found) + 1, entry=SYM.size))
        found.append(Sec(".strtab", bytes(strings), STRTAB, 0))
        for name in sorted({name for name, *_ in relocations}):
            entries = b"".join(
                RELA_ENTRY.pack(offset, order[symbol] << 32 | number, addend)
                for target, offset, number, symbol, addend in relocations
                if target == name
            )
            link = next(i for i, s in enumerate(found) if s.kind == SYMTAB)
            found.append(
                Sec(f".rela{name}", entries, RELA, 0, link=link, info=numbers[name], entry=RELA_ENTRY.size)
            )
    names = bytearray(b"\0")
    offsets = []
    for section in [*found, Sec(".shstrtab")]:
        offsets.append(len(names) if section.name else 0)
        names += section.name.encode() + b"\0" if section.name else b""
    found.append(Sec(".shstrtab", bytes(names), STRTAB, 0))
    body, headers = bytearray(EHDR.size), bytearray()
    for section, name in zip(found, offsets, strict=True):
        body += b"\0" * (-len(body) % 16)
        size = len(section.data) if section.size is None else section.size
        headers += SHDR.pack(
            name, section.kind, section.flags, section.address, len(body) if section.kind else 0, size,
            section.link, section.info, section.align, section.entry,
        )  # fmt: skip
        body += section.data
    body += b"\0" * (-len(body) % 16)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = EHDR.pack(
        ident, kind, machine, 1, 0, 0, len(body), 0, 64, 56, 0, SHDR.size, len(found), len(found) - 1
    )
    return header + bytes(body[EHDR.size :]) + bytes(headers)


TEXT, NEW, TABLE, RODATA, DATA = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000
BANNER = b"Linux version 6.12.117+lab (someone@somewhere) #1 SMP\n\0"


def vmlinux(banner: bytes = BANNER) -> bytes:
    """Return a kernel with two sites: nothing or VERW at 0x1000, CALL through a pointer at 0x1010."""
    verw = bytes.fromhex("0f002d") + struct.pack("<i", RODATA - (NEW + 7))
    call = b"\xe8" + struct.pack("<i", TEXT + 0x20 - (NEW + 12))
    indirect = b"\xff\x15" + struct.pack("<i", DATA - (TEXT + 0x16))
    text = (
        (b"\x90" * 7 + b"\xc3").ljust(16, b"\xcc")
        + (indirect + b"\xc3").ljust(16, b"\xcc")
        + b"\xc3".ljust(16, b"\xcc")
    )
    table = struct.pack("<iiHHBB", TEXT - TABLE, NEW - (TABLE + 4), 3 * 32 + 18, 0, 7, 7)
    table += struct.pack("<iiHHBB", TEXT + 16 - (TABLE + 14), NEW + 7 - (TABLE + 18), 3 * 32 + 21, 2, 6, 5)
    return elf(
        [
            Sec(".text", text, flags=ALLOC | EXEC, address=TEXT, align=16),
            Sec(".altinstr_replacement", verw + call, flags=ALLOC | EXEC, address=NEW),
            Sec(".altinstructions", table, address=TABLE),
            Sec(".rodata", b"\x18\0" + banner, address=RODATA),
            Sec(".data", struct.pack("<Q", TEXT + 0x20), flags=ALLOC | WRITE, address=DATA),
            Sec(".bss", kind=NOBITS, flags=ALLOC | WRITE, address=0x6000, size=0x1000),
        ],
        [Sym("start", ".text", TEXT, 8), Sym("nop_func", ".text", TEXT + 0x20, 1), Sym("end", ".bss", 0x7000)],
    )


def module() -> bytes:
    """Return a relocatable object with one site, its record relocated, and a call to what it does not define."""
    return elf(
        [
            Sec(".text", b"\x90" * 7 + b"\xe8" + bytes(4) + b"\xc3", flags=ALLOC | EXEC, align=16),
            Sec(".altinstr_replacement", bytes.fromhex("0f002d00000000"), flags=ALLOC | EXEC),
            Sec(".altinstructions", struct.pack("<iiHHBB", 0, 0, 3 * 32 + 18, 0, 7, 7), align=1),
            Sec(".rodata", b"\x18\0", align=8),
            Sec(".modinfo", b"name=lab\0vermagic=6.12.117+lab SMP preempt mod_unload \0"),
            Sec(".comment", b"no part of memory\0", flags=0),
        ],
        [
            Sym("entry", ".text", 0, 13),
            Sym("new", ".altinstr_replacement"),
            Sym("selector", ".rodata", 0, 2),
            Sym("helper", UNDEF),
            Sym("absolute", ABS, 0x1234),
        ],
        [
            (".text", 8, PC32, "helper", -4),
            (".altinstr_replacement", 3, PC32, "selector", -4),
            (".altinstructions", 0, PC32, "entry", 0),
            (".altinstructions", 4, PC32, "new", 0),
        ],
        kind=REL,
    )


def lz4_legacy(data: bytes) -> bytes:
    """Return the frame that the kernel build makes: a magic number, then blocks of at most 8 MiB."""
    out = bytearray(b"\x02\x21\x4c\x18")
    for at in range(0, len(data), 8 << 20):
        block = lz4.block.compress(data[at : at + (8 << 20)], store_size=False)
        out += struct.pack("<I", len(block)) + block
    return bytes(out)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "bz2": bz2.compress,
    "zst": lambda data: zstandard.ZstdCompressor().compress(data),
    "lz4": lz4_legacy,
}


def vmlinuz(payload: bytes, protocol: int = 0x20F, setup_sects: int = 3) -> bytes:
    """Return a boot image around a packed kernel: header fields at 0x1f1, 0x202, 0x206, 0x248."""
    sectors = setup_sects or 4
    head = bytearray((sectors + 1) * 512 + 0x40)
    head[0x1F1] = setup_sects
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, protocol)
    struct.pack_into("<II", head, 0x248, 0x40, len(payload))
    return bytes(head) + payload + b"behind the kernel"
