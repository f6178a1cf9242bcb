"""One source of damaged inputs, for every format: give it good ones and a seed.

Damage comes in kinds: cut short, bits flipped, bytes of absurd value, blocks moved, doubled or zeroed, the wrong
file altogether, nothing at all, fields of a header set to what no honest file has, and bombs: little files that
unpack to much. `python tests/mutate.py FILE...` writes a few beside each file, to look at.
"""

import bz2
import gzip
import lzma
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import lz4.block
import zstandard

ABSURD = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)
WRONG = {
    "empty": b"",
    "zeroes": bytes(4096),
    "ones": b"\xff" * 4096,
    "text": b"#!/bin/sh\necho hello\n" * 20,
    "only a magic": b"\x7fELF",
    "a script's map": b"0000000000000000 A zero\n",
    "pe": b"MZ" + bytes(600),
    "elf32": b"\x7fELF\x01\x01\x01" + bytes(200),
    "big endian": b"\x7fELF\x02\x02\x01" + bytes(200),
}


@dataclass(frozen=True)
class Damaged:
    """A damaged input: what it was made from, and how."""

    seed: str
    kind: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.seed}, {self.kind}, {len(self.data):,} bytes"


# --- kinds of damage: each takes good bytes and returns bad ones ----------------------------------------------


def truncate(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def flip(data: bytes, random: Random) -> bytes:
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        if out:
            out[random.randrange(len(out))] ^= 1 << random.randrange(8)
    return bytes(out)


def absurd(data: bytes, random: Random) -> bytes:
    """Overwrite an aligned word with a value that breaks sizes, offsets and counts."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 3))):
        width = random.choice((1, 2, 4, 8))
        if len(out) >= width:
            at = random.randrange(len(out) - width + 1) // width * width
            value = random.choice(ABSURD) + random.choice((-1, 0, 0, 1))
            out[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(out)


def move(data: bytes, random: Random) -> bytes:
    """Cut a block out, double it, zero it, or put it elsewhere."""
    if not data:
        return data
    start = random.randrange(len(data))
    stop = min(len(data), start + random.choice((1, 4, 14, 64, 500)))
    block, rest = data[start:stop], data[:start] + data[stop:]
    at = random.randrange(len(rest) + 1)
    return random.choice(
        (
            rest,
            data[:stop] + block * random.choice((1, 3)) + data[stop:],
            data[:start] + bytes(len(block)) + data[stop:],
            rest[:at] + block + rest[at:],
        )
    )


def grow(data: bytes, random: Random) -> bytes:
    """Put something behind the end."""
    return data + random.choice((b"\0" * 1000, b"\xff" * 14, random.randbytes(100), data))


# ELF: (offset, size) of each field of the file's header and of a section's header.
EHDR_FIELDS = (
    (4, 1),
    (5, 1),
    (16, 2),
    (18, 2),
    (32, 8),
    (40, 8),
    (52, 2),
    (54, 2),
    (56, 2),
    (58, 2),
    (60, 2),
    (62, 2),
)
SHDR_FIELDS = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))
SECTION_TYPES = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    11,
    14,
    17,
    18,
    0x6FFF_FFF5,
    0x6FFF_FFF6,
    0x6FFF_FFFD,
    0x6FFF_FFFE,
    0x6FFF_FFFF,
)


def elf_header(data: bytes, random: Random) -> bytes:
    """Damage fields of an ELF's headers, knowing where they are."""
    out = bytearray(data)
    if not data.startswith(b"\x7fELF") or len(data) < 64:
        return absurd(data, random)
    table, count = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
    for _ in range(random.choice((1, 1, 2, 4))):
        if random.random() < 0.25:
            offset, size = random.choice(EHDR_FIELDS)
        else:
            offset, size = random.choice(SHDR_FIELDS)
            number = random.randrange(max(1, count))
            if offset == 4 and table + number * 64 + 8 <= len(out):
                struct.pack_into("<I", out, table + number * 64 + 4, random.choice(SECTION_TYPES))
                continue
            offset += table + number * 64
        if offset + size <= len(out):
            old = int.from_bytes(out[offset : offset + size], "little")
            value = random.choice(
                (*ABSURD, old + 1, old - 1, old * 2, old ^ 0xFF, len(data), random.randrange(count + 2))
            )
            out[offset : offset + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(out)


def elf_hollow(data: bytes, random: Random) -> bytes:
    """Turn a section into one without bytes in the file (SHT_NOBITS), of any size: absurd, and costs nothing."""
    out = bytearray(data)
    table, count = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
    at = table + random.randrange(max(1, count)) * 64
    if at + 64 <= len(out):
        struct.pack_into("<I", out, at + 4, 8)
        struct.pack_into("<Q", out, at + 32, random.choice(ABSURD))
    return bytes(out)


def boot_header(data: bytes, random: Random) -> bytes:
    """Damage the fields of a vmlinuz that say where its kernel is."""
    out = bytearray(data)
    for offset, size in random.sample(
        ((0x1F1, 1), (0x202, 4), (0x206, 2), (0x248, 4), (0x24C, 4)), k=random.choice((1, 2))
    ):
        if offset + size <= len(out):
            out[offset : offset + size] = (random.choice(ABSURD) % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(out)


def text_lines(data: bytes, random: Random) -> bytes:
    """Damage one line of a text: words missing, numbers absurd, no text."""
    lines = data.split(b"\n")
    line = random.choice(
        (
            b"",
            b" ",
            b"x y z",
            b"1",
            b"1 2",
            b"-1 T a",
            b"f" * 5000 + b" T a",
            b"1 T \xff",
            b"\0" * 50,
            b"1_0 T a",
            b"0x T a",
            b"1 T a " * 1000,
        )
    )
    lines[random.randrange(len(lines))] = line
    return b"\n".join(lines)


def table_records(data: bytes, random: Random) -> bytes:
    """Damage fields of alternative records (14 or 12 bytes), wherever they start."""
    out = bytearray(data)
    size = random.choice((14, 12))
    fields = (
        ((0, 4), (4, 4), (8, 2), (10, 2), (12, 1), (13, 1))
        if size == 14
        else ((0, 4), (4, 4), (8, 2), (10, 1), (11, 1))
    )
    for _ in range(random.choice((1, 2, 5))):
        offset, width = random.choice(fields)
        at = random.randrange(max(1, len(out) // size)) * size + offset
        if at + width <= len(out):
            value = random.choice((*ABSURD, random.randrange(1 << 16), -random.randrange(1 << 16)))
            out[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(out)


Kind = Callable[[bytes, Random], bytes]
GENERAL: tuple[Kind, ...] = (truncate, flip, absurd, move, grow)
BY_FORMAT: dict[str, tuple[Kind, ...]] = {
    "elf": (*GENERAL, elf_header, elf_header, elf_header, elf_hollow),
    "vmlinuz": (*GENERAL, boot_header),
    "text": (*GENERAL, text_lines),
    "table": (*GENERAL, table_records, table_records),
    "packed": (truncate, flip, absurd, grow),
}


# --- bombs -----------------------------------------------------------------------------------------------------


def bombs(size: int = 256 << 20) -> dict[str, bytes]:
    """Return little files that would unpack to `size` bytes and more."""
    zeroes = bytes(size)
    zstd = zstandard.ZstdCompressor(write_content_size=False).compress(b"")[:4] + b"\x00\x88"
    rle = struct.pack("<I", (128 << 10) << 3 | 2)[:3] + b"\0"  # one block of four bytes: 128 KiB of zeroes
    block = lz4.block.compress(bytes(8 << 20), store_size=False)
    found = {
        "gz": gzip.compress(zeroes, 9, mtime=0),
        "xz": lzma.compress(zeroes, preset=1),
        "bz2": bz2.compress(zeroes),
        "zst": zstandard.ZstdCompressor().compress(zeroes),
        "zst of blocks": zstd + rle * (size >> 17),
        "zst that asks for a large window": zstd[:5] + b"\xf8" + rle,
        "lz4": b"\x02\x21\x4c\x18" + (struct.pack("<I", len(block)) + block) * (size >> 23),
    }
    found["gz of gz"] = gzip.compress(found["gz"], 9, mtime=0)
    found["xz of zst"] = lzma.compress(found["zst of blocks"], preset=1)
    found["gz behind an ELF"] = b"\x7fELF" + found["gz"]
    return found


# --- all together ----------------------------------------------------------------------------------------------


def damaged(seeds: Mapping[str, tuple[str, bytes]], count: int, seed: int) -> Iterator[Damaged]:
    """Yield `count` damaged inputs, the same for the same seed.

    `seeds` is name -> (format, good bytes); formats are the keys of `BY_FORMAT`.
    """
    random = Random(seed)
    names = sorted(seeds)
    for number in range(count):
        name = names[number % len(names)]
        form, data = seeds[name]
        kind = random.choice(BY_FORMAT[form])
        bad = kind(data, random)
        how = kind.__name__
        if random.random() < 0.2:  # and once more
            more = random.choice(BY_FORMAT[form])
            bad, how = more(bad, random), f"{how} and {more.__name__}"
        yield Damaged(name, f"{how} (#{number} of seed {seed})", bad)


def main() -> None:
    """Write eight damaged copies beside each file named."""
    for path in map(Path, sys.argv[1:]):
        data = path.read_bytes()
        form = "elf" if data.startswith(b"\x7fELF") else "vmlinuz" if data[0x202:0x206] == b"HdrS" else "packed"
        for number, bad in enumerate(damaged({path.name: (form, data)}, 8, 0)):
            path.with_name(f"{path.name}.damaged{number}").write_bytes(bad.data)


if __name__ == "__main__":
    main()
