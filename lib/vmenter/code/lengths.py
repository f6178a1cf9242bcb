"""How long an instruction is, by the kernel's own decoder: the one that its patcher asks.

The patcher walks code with `insn_decode` (arch/x86/lib/insn.c), whose tables are made from x86-opcode-map.txt.
Where a disassembler stops it often still has a length, and where its tables are older than an instruction it has
another one than the CPU: a patched site can be told only with that kernel's own tables. `opcodes.json` holds what
was read from kernels that Debian ships (tests/tools/read_opcodes.py writes it), a letter for each fact below.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

LONGEST = 15  # bytes: no instruction is longer

# What an opcode's entry may say. Bits of an integer; its group, if any, stands above them.
MODRM, BYTE, WORD, DWORD, QWORD, FAR, BY_OPERAND, FULL, OFFSET, SECOND = (1 << bit for bit in range(10))
LONG, VARIANT, MAY_VEX, MUST_VEX, MUST_EVEX, SCALABLE, NO_REX2, NOT_64 = (1 << bit for bit in range(10, 18))
LETTERS = {letter: 1 << bit for bit, letter in enumerate("mbwdqpzvosl~VXESRn")}  # in this order
GROUP = 18
IMMEDIATES = BYTE | WORD | DWORD | QWORD | FAR | BY_OPERAND | FULL

PREFIXES = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3")
LAST = {0x66: 1, 0xF3: 2, 0xF2: 3}  # the prefixes that choose among instructions
MAPS = {0x0F: "0f", 0x38: "0f38", 0x3A: "0f3a"}
AVX = ("", "0f", "0f38", "0f3a", "4", "5", "6", "7")  # by the number that VEX or EVEX carries
XOP = {8: "xop8", 9: "xop9", 10: "xop10"}
NOTHING = (0,) * 256

Table = tuple[int, ...]


class Field(NamedTuple):
    """Where an instruction keeps a signed displacement: offset and size in bytes."""

    offset: int
    size: int

    def value(self, code: bytes) -> int:
        """Return the displacement that stands in `code`."""
        return int.from_bytes(code[self.offset : self.offset + self.size], "little", signed=True)


class Shape(NamedTuple):
    """What the kernel's decoder finds out about an instruction."""

    length: int
    opcode: int  # first byte of the opcode: 0F before all that stands behind it, but the last byte behind VEX
    second: int  # of the opcode; -1 where it has one byte
    rip: Field | None  # displacement of a RIP-relative operand
    immediate: Field | None
    start: int  # of the opcode: the prefixes are before it, REX and VEX among them
    modrm: int  # where ModRM stands; 0 where there is none
    vex: bool


_CALL, _JUMP = (Shape(5, opcode, -1, None, Field(1, 4), 0, 0, vex=False) for opcode in (0xE8, 0xE9))


@dataclass(frozen=True, eq=False)
class Decoder:
    """One kernel's tables."""

    kernel: str
    maps: Mapping[str, tuple[Table | None, ...]]  # by map and last prefix: none, 66, F3, F2
    groups: Mapping[int, tuple[Table | None, ...]]  # by group and last prefix; each by ModRM's middle field
    evex_maps: int  # the mask under which EVEX keeps its map: two bits at first, later three
    rex2: bool
    xop: bool

    @property
    def primary(self) -> Table:
        """The entries of opcodes of one byte."""
        return self.maps[""][0] or NOTHING

    def escaped(self, name: str, opcode: int, last: int) -> int:
        """Return the entry of an opcode behind 0F, 0F 38 or 0F 3A."""
        tables = self.maps[name]
        found = (tables[0] or NOTHING)[opcode]
        return (tables[last] or NOTHING)[opcode] if found & VARIANT and last else found

    def avx(self, name: str, opcode: int, last: int) -> int:
        """Return the entry of an opcode behind VEX or EVEX; 0 where it has none."""
        tables = self.maps.get(name) if name else None  # the empty name is the map of one byte: VEX has none
        if tables is None or tables[0] is None:
            return 0
        found = tables[0][opcode]
        return found if found >> GROUP or not last else (tables[last] or NOTHING)[opcode]

    def grouped(self, entry: int, modrm: int, last: int) -> int:
        """Return the entry of an opcode whose instruction ModRM chooses."""
        tables, common = self.groups.get(entry >> GROUP), entry & (1 << GROUP) - 1
        if tables is None or tables[0] is None:
            return common
        found = tables[0][modrm >> 3 & 7]
        if found & VARIANT and last:
            found = tables[last][modrm >> 3 & 7] if tables[last] else 0  # type: ignore[index]
        return found | common


@cache
def decoders() -> tuple[Decoder, ...]:
    """Return the tables of all kernels that were read, oldest first."""
    raw = json.loads(Path(__file__).with_name("opcodes.json").read_text(encoding="ascii"))
    found: list[Decoder] = []
    maps: dict[str, tuple[Table | None, ...]] = {}
    groups: dict[int, tuple[Table | None, ...]] = {}
    for one in raw["kernels"]:  # each says only what changed
        maps |= {name: tuple(_table(text) for text in texts) for name, texts in one["maps"].items()}
        groups |= {int(name): tuple(_table(text) for text in texts) for name, texts in one["groups"].items()}
        found.append(Decoder(one["kernel"], dict(maps), dict(groups), one["evex_maps"], one["rex2"], one["xop"]))
    return tuple(found)


@cache
def decoder(kernel: str) -> Decoder:
    """Return the tables of one of the kernels that were read."""
    return next(one for one in decoders() if one.kernel == kernel)


def _table(text: str | None) -> Table | None:
    return None if text is None else tuple(_entries(text))


def _entries(text: str) -> Iterator[int]:
    """Read ``m*4 b z mzG5``: letters for facts, a group's number, how many opcodes in a row."""
    for item in text.split():
        kind, _, times = item.partition("*")
        letters, _, group = kind.partition("G")
        value = sum(LETTERS[letter] for letter in letters if letter != "-") | int(group or 0) << GROUP
        yield from (value,) * int(times or 1)


def shape(code: bytes, tables: Decoder) -> Shape | None:
    """Return the shape of the instruction that `code` begins with, or None where the kernel's decoder knows none.

    An instruction that is cut off has none.
    """
    try:
        found = _shape(code[:LONGEST], tables)
    except IndexError:
        return None
    return found if found is not None and found.length <= min(len(code), LONGEST) else None


def length(code: bytes, tables: Decoder) -> int | None:
    """Return how long the instruction is that `code` begins with, 1 to 15, or None; see `shape`."""
    found = shape(code, tables)
    return None if found is None else found.length


@lru_cache(maxsize=1 << 15)
def shapes(code: bytes, tables: Decoder) -> tuple[Shape, ...]:
    """Return the shapes of the instructions in `code`, up to the first that has none."""
    if len(code) >= 5 and code[0] in (0xE8, 0xE9):  # no two calls are alike, but what follows them often is
        return (_CALL if code[0] == 0xE8 else _JUMP, *shapes(code[5:], tables))
    found = []
    at = 0
    while at < len(code) and (one := shape(code[at : at + LONGEST], tables)) is not None:
        found.append(one)
        at += one.length
    return tuple(found)


def lengths(code: bytes, tables: Decoder | None = None) -> tuple[int, ...]:
    """Return the instruction lengths of `code`, up to the first that has none; by the newest tables, or these."""
    return tuple(one.length for one in shapes(code, tables or decoders()[-1]))


class _Head(NamedTuple):
    """What stands before the opcode, and what it says."""

    last: int  # which prefix chooses the instruction: none, 66, F3, F2
    operand: int  # bytes
    address: int  # bytes
    start: int  # of the opcode
    vex: bool = False


def _shape(code: bytes, tables: Decoder) -> Shape | None:
    """Do what `shape` does, without a look at the end."""
    at, head = _legacy(code)
    byte = code[at]
    rex = byte & 0xF0 == 0x40
    if rex:
        head = head._replace(operand=8) if byte & 8 else head
        at += 1
        byte = code[at]
    elif byte == 0xD5 and tables.rex2:
        payload, opcode = code[at + 1], code[at + 2]
        head = head._replace(operand=8) if payload & 8 else head
        entry = tables.escaped("0f", opcode, head.last) if payload & 0x80 else tables.primary[opcode]
        return _rest(code, at + 3, entry & ~NOT_64, (opcode, -1), head._replace(start=at + 2), tables)
    vex = byte in (0xC4, 0xC5, 0x62) or (byte == 0x8F and tables.xop and code[at + 1] & 0x38)
    if vex and not (rex and tables.xop):  # decoders that know XOP look for VEX only where no REX stands
        return _vex(code, at, head, tables)
    head = head._replace(start=at)
    if byte != 0x0F:
        entry, whole, at = tables.primary[byte], (byte, -1), at + 1
    else:
        second = code[at + 1]
        whole, at = (byte, second), at + 2
        if second in (0x38, 0x3A):
            entry, at = tables.escaped(MAPS[second], code[at], head.last), at + 1
        else:
            entry = tables.escaped("0f", second, head.last)
    return None if entry & (MUST_VEX | MUST_EVEX) else _rest(code, at, entry, whole, head, tables)


def _legacy(code: bytes) -> tuple[int, _Head]:
    """Return where the legacy prefixes end, and what they say.

    A fifth different prefix is taken for an opcode. One that stands there twice counts once.
    """
    at, last, kinds = 0, 0, b""
    while (byte := code[at]) in PREFIXES:
        if byte not in kinds:
            if len(kinds) == 4:
                break
            kinds += code[at : at + 1]
        last = byte
        at += 1
    return at, _Head(LAST.get(last, 0), 2 if 0x66 in kinds else 4, 4 if 0x67 in kinds else 8, at)


def _vex(code: bytes, at: int, head: _Head, tables: Decoder) -> Shape | None:
    """Return the shape of what begins with VEX, EVEX or XOP at `at`."""
    kind, first = code[at], code[at + 1]
    size = {0xC5: 2, 0x62: 4}.get(kind, 3)
    if kind == 0xC5:
        number, third = 1, first & 0x7F
    else:
        number, third = first & (tables.evex_maps if kind == 0x62 else 0x1F), code[at + 2]
    wide, last = bool(third & 0x80), third & 3
    name = AVX[number] if number < len(AVX) else ""
    if kind == 0x8F:
        name, last = XOP.get(number, ""), 0
    opcode = code[at + size]
    entry = tables.avx(name, opcode, last)
    if (entry & MUST_EVEX and kind != 0x62) or not (entry & MAY_VEX or entry >> GROUP):
        return None
    operand = 8 if wide else 2 if entry & SCALABLE and last == 1 else head.operand
    head = _Head(last, operand, head.address, at + size, vex=True)
    return _rest(code, at + size + 1, entry, (opcode, -1), head, tables)


def _rest(code: bytes, at: int, entry: int, opcode: tuple[int, int], head: _Head, tables: Decoder) -> Shape | None:
    """Return the shape of the instruction whose opcode ends at `at`: ModRM, SIB, displacement, immediates."""
    rip, place = None, 0
    if entry & NOT_64:
        return Shape(at, *opcode, None, None, head.start, 0, head.vex)
    if entry & MODRM:
        place, modrm = at, code[at]
        at += 1
        if entry >> GROUP:
            entry = tables.grouped(entry, modrm, head.last)
            if head.vex and not entry & MAY_VEX:
                return None
        mode, base = modrm >> 6, modrm & 7
        if mode != 3:
            if base == 4:
                base = code[at] & 7
                at += 1
            elif mode == 0 and base == 5:
                rip = Field(at, 4)
            if mode == 2 or (mode == 0 and base == 5):
                at += 4
            elif mode == 1:
                at += 1
    if entry & OFFSET:
        return Shape(at + head.address, *opcode, None, None, head.start, place, head.vex)
    operand = 8 if entry & LONG else head.operand
    if entry & FAR and operand == 8:  # 64-bit code has no far pointer
        return None
    size = _immediate(entry, operand)
    immediate = Field(at, size) if size else None
    return Shape(at + size + bool(entry & SECOND), *opcode, rip, immediate, head.start, place, head.vex)


def _immediate(entry: int, operand: int) -> int:
    """Return how many bytes the first immediate operand has."""
    if not entry & IMMEDIATES:
        return 0
    if entry & FAR:
        return operand + 2
    if entry & BY_OPERAND:
        return min(operand, 4)
    if entry & FULL:
        return operand
    return 1 if entry & BYTE else 2 if entry & WORD else 4 if entry & DWORD else 8
