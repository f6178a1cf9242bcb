"""Images made from single instructions, without an assembler: what hypothesis patches.

A piece is one real encoding. One that points somewhere names its target, and is given its displacement when it
is laid at an address; so the tests know where every branch and operand should lead, without asking the engine.
"""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import capstone
from hypothesis import strategies as st

from vmenter.code.image import Image, Section
from vmenter.code.symbols import Symbols
from vmenter.patching.alternative_table import Engine, Rules, entries, sites
from vmenter.patching.alternatives import Patch, patch

TEXT = 0x10_0000  # sites stand here, a page apart, in a sea of INT3
STEP = 0x1000
REPLACEMENTS = 0x40_0000
DATA = 0x80_0000
TABLE = 0xC0_0000
SIZE = 0x1_0000  # of each section

NOT, DIRECT_CALL = 1, 2


@dataclass(frozen=True)
class Piece:
    """One instruction. `field` is where its displacement stands; the target is an address or a piece's number."""

    code: bytes
    field: tuple[int, int] | None = None  # offset and size
    address: int | None = None  # a target outside
    piece: int | None = None  # a target inside: the start of that piece, or the end of all


def plain(text: str) -> Piece:
    return Piece(bytes.fromhex(text))


def lay(pieces: Sequence[Piece], address: int) -> bytes:
    """Return the pieces' bytes as they stand at `address`."""
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + len(piece.code))
    out = bytearray()
    for piece, end in zip(pieces, starts[1:], strict=True):
        code = bytearray(piece.code)
        if piece.field is not None:
            offset, size = piece.field
            if piece.piece is not None:
                value = starts[min(piece.piece, len(pieces))] - end
            else:
                value = (piece.address or 0) - (address + end)
            code[offset : offset + size] = value.to_bytes(size, "little", signed=True)
        out += code
    return bytes(out)


@dataclass(frozen=True)
class Alt:
    """One entry: this replacement (pieces, or bytes as they are) under that feature."""

    feature: int
    code: bytes | tuple[Piece, ...]
    flags: int = 0
    length: int | None = None  # of the site, where it is not the usual one
    padding: int = 0  # of the site, as a record of 13 bytes tells it


@dataclass(frozen=True)
class Place:
    """A site to be: its original code (NOPs are added up to the longest replacement) and its entries."""

    original: bytes
    alts: tuple[Alt, ...]

    @property
    def length(self) -> int:
        longest = max(
            (len(lay(a.code, 0)) if isinstance(a.code, tuple) else len(a.code) for a in self.alts), default=0
        )
        return max(len(self.original), longest, *(a.length or 0 for a in self.alts), 1)


def build(
    *places: Place,
    record_size: int = 14,
    kernel: str | None = None,
    text: int = TEXT,
    replacements: int = REPLACEMENTS,
    pointers: Sequence[int] = (),
    nop_func: int | None = None,
) -> Image:
    """Return an image of these places; `pointers` are the words at DATA."""
    code, new, table = bytearray(b"\xcc" * SIZE), bytearray(), bytearray()
    for number, place in enumerate(places):
        site = number * STEP
        code[site : site + place.length] = place.original.ljust(place.length, b"\x90")
        for alt in place.alts:
            at = replacements + len(new)
            laid = lay(alt.code, at) if isinstance(alt.code, tuple) else alt.code
            record, length = TABLE + len(table), place.length if alt.length is None else alt.length
            offsets = text + site - record, at - (record + 4)
            if record_size == 14:
                table += struct.pack("<iiHHBB", *offsets, alt.feature, alt.flags, length, len(laid))
            elif record_size == 13:
                table += struct.pack("<iiHBBB", *offsets, alt.feature, length, len(laid), alt.padding)
            else:
                table += struct.pack("<iiHBB", *offsets, alt.feature | alt.flags << 15, length, len(laid))
            new += laid + b"\xcc"
    data = struct.pack(f"<{len(pointers)}Q", *pointers).ljust(SIZE, b"\0")
    found = [
        Section(".text", text, SIZE, bytes(code), executable=True, writable=False),
        Section(".altinstr_replacement", replacements, len(new), bytes(new), executable=True, writable=False),
        Section(".data", DATA, SIZE, data, executable=False, writable=True),
        Section(".altinstructions", TABLE, len(table), bytes(table), executable=False, writable=False),
    ]
    found.sort(key=lambda section: section.address)
    names = Symbols.of([(nop_func, "nop_func", 0)] if nop_func is not None else [])
    return Image("made", kernel, tuple(s for s in found if s.size), names)


def patches(image: Image, features: set[int], how: Rules) -> list[Patch]:
    return [patch(image, site, features, how) for site in sites(image, entries(image, how.record_size))]


def one(
    *alts: Alt, original: bytes = b"", engine: Engine, wide: bool = False, features: Sequence[int] = (1,), **image
):
    """Patch a single site and return its Patch."""
    how = Rules(engine, 14, wide)
    return patches(build(Place(original, alts), **image), set(features), how)[0]


# --- an independent reading of patched code ----------------------------------------------------------------

_decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
_decoder.syntax = capstone.CS_OPT_SYNTAX_ATT


def target(code: bytes, address: int) -> int | None:
    """Return where the first instruction points, by the decoder's text; None if it points nowhere."""
    found = next(_decoder.disasm(code, address))
    rip = re.search(r"(-?)(0x[0-9a-f]+|\d+)?\(%rip\)", found.op_str)
    if rip:
        distance = int(rip[2] or "0", 0)
        return found.address + found.size + (-distance if rip[1] else distance)
    if found.mnemonic.startswith(("j", "call", "loop")) and not found.op_str.startswith("*"):
        return int(found.op_str, 0)
    return None


# --- strategies --------------------------------------------------------------------------------------------

# Instructions that point nowhere and are no NOPs by anyone's rule.
PLAIN = tuple(
    map(
        plain,
        (
            "fa", "fb", "f4", "cc", "c3", "50", "5b", "9c", "9d", "f390", "0f01d9", "0f01c2", "0f01c3", "0f01ca", "0f01cb",
            "0f30", "0f32", "0faef0", "0faee8", "4889d8", "4801d8", "31c0", "b801000000", "48b8f0debc9a78563412",
            "0f20d8", "0f22d8", "f30f1efa", "c5f877", "f3480fb8c7", "660fae38", "480fc7f0", "f744240804000000", "85c0",
            "480fa3c8", "8b442408", "6548833c250000000000", "f348ab", "4c8b7f78", "89c0", "8d4000", "4989d8",
        ),
    )
)  # fmt: skip
NARROW_NOPS = tuple(
    map(
        plain,
        (
            "90",
            "6690",
            "0f1f00",
            "0f1f4000",
            "0f1f440000",
            "660f1f440000",
            "0f1f8000000000",
            "662e0f1f840000000000",
        ),
    )
)
WIDE_NOPS = tuple(
    map(plain, ("4889c0", "4d89ff", "488d4000", "488d8000000000", "488d642400", "4d8d6d00"))
)  # more, from v6.19

# What points somewhere: the bytes around a displacement.
POINTING = {
    "call": ("e8", 4, ""),
    "jmp": ("e9", 4, ""),
    "je": ("0f84", 4, ""),
    "jg": ("0f8f", 4, ""),
    "cs call": ("2ee8", 4, ""),
    "verw (%rip)": ("0f002d", 4, ""),
    "lea (%rip)": ("488d05", 4, ""),
    "cmpl $1,(%rip)": ("833d", 4, "01"),
    "cmpw $1,(%rip)": ("66833d", 4, "01"),
    "movabs-like $imm32,(%rip)": ("48c705", 4, "78563412"),
    "call *(%rip)": ("ff15", 4, ""),
    "vmovdqa (%rip)": ("c5fd6f05", 4, ""),
    "%gs: (%rip)": ("65488b05", 4, ""),
}
SHORT = {"jmp": "eb", "je": "74", "jg": "7f", "jrcxz": "e3", "loop": "e2"}
LONG = {"jmp": "e9", "je": "0f84", "call": "e8"}


def pointing(form: str, address: int) -> Piece:
    before, size, after = POINTING[form]
    head, tail = bytes.fromhex(before), bytes.fromhex(after)
    return Piece(head + bytes(size) + tail, (len(head), size), address=address)


def inner(code: str, size: int, piece: int) -> Piece:
    head = bytes.fromhex(code)
    return Piece(head + bytes(size), (len(head), size), piece=piece)


def addresses() -> st.SearchStrategy[int]:
    """Return targets: near the first site, and far from everything."""
    near = st.integers(TEXT - 200, TEXT + 400).filter(lambda a: not TEXT <= a <= TEXT + 254)
    return near | st.integers(DATA, DATA + SIZE) | st.integers(0x1000, 0x7000_0000)


@st.composite
def replacement(draw: st.DrawFn, *, points: bool = True, nops: bool = True, most: int = 6) -> tuple[Piece, ...]:
    """Return a replacement's pieces; internal branches lead to the start of any piece, or to the end."""
    choices = [st.sampled_from(PLAIN)]
    count = draw(st.integers(0, most))
    if nops:
        choices.append(st.sampled_from(NARROW_NOPS + WIDE_NOPS))
    if points:
        choices.append(st.builds(pointing, st.sampled_from(sorted(POINTING)), addresses()))
        choices.append(
            st.builds(inner, st.sampled_from(sorted(SHORT.values())), st.just(1), st.integers(0, count))
        )
        choices.append(st.builds(inner, st.sampled_from(sorted(LONG.values())), st.just(4), st.integers(0, count)))
    found = [draw(st.one_of(choices)) for _ in range(count)]
    # A jump to the next instruction is a NOP from v6.19 on: that has a test of its own.
    return tuple(PLAIN[0] if p.piece == i + 1 and p.code[0] in (0xEB, 0xE9) else p for i, p in enumerate(found))


FEATURES = st.integers(0, 5)  # few, so that entries meet


@st.composite
def places(draw: st.DrawFn, *, points: bool = True, nops: bool = True) -> Place:
    """Return a site to be, with up to four entries."""
    original = lay(draw(replacement(points=False, nops=nops, most=4)), TEXT)
    alts = draw(
        st.lists(
            st.builds(Alt, FEATURES, replacement(points=points, nops=nops), st.sampled_from((0, NOT))),
            min_size=1,
            max_size=4,
        )
    )
    return Place(original, tuple(alts))


def rules() -> st.SearchStrategy[Rules]:
    """Return the rules of any kernel there was."""
    return st.sampled_from(
        (
            Rules(Engine.EARLY, 12, wide_nops=False),
            Rules(Engine.LAYERED, 14, wide_nops=False),
            Rules(Engine.LAYERED, 14, wide_nops=True),
            Rules(Engine.ONCE, 14, wide_nops=True),
        )
    )


MODERN = (
    Rules(Engine.LAYERED, 14, wide_nops=False),
    Rules(Engine.LAYERED, 14, wide_nops=True),
    Rules(Engine.ONCE, 14, wide_nops=True),
)
