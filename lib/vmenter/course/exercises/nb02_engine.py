"""Exercises of notebook 02 about the engine itself: a record read from its bytes, a site's bytes, relocation.

Each is held against what the engine of `vmenter.patching` does.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from vmenter.code.image import Image, from_bytes
from vmenter.code.lengths import decoder, shapes
from vmenter.course.judging import told
from vmenter.course.judging.limited import given
from vmenter.course.judging.limited_child import BYTES
from vmenter.patching.alternative_table import AltEntry, Engine, Rules, Table, read
from vmenter.patching.alternatives import counted, patch, relocate
from vmenter.patching.lab import assemble, lab_object

HOW = Rules(Engine.ONCE, 14, wide_nops=True)


@cache
def lab_table() -> tuple[Image, Table]:
    """Return the lab's samples, and their table of alternatives."""
    image = from_bytes(lab_object("patching"), "patching.o")
    return image, read(image, HOW)


# --- a record ----------------------------------------------------------------------------------------------------


def a_record() -> tuple[int, bytes]:
    """Return (address, bytes) of the record that exercise 02-4 is about: that of `unless_smap`."""
    image, table = lab_table()
    entry = next(one for one in table.entries if image.label(one.site) == "unless_smap")
    return entry.address, image.read(entry.address, HOW.record_size)


def _fields() -> dict[str, int]:
    _, table = lab_table()
    entry = next(one for one in table.entries if one.address == a_record()[0])
    return {
        "site": entry.site,
        "replacement": entry.replacement,
        "feature": entry.feature,
        "flags": entry.flags,
        "site_length": entry.length,
        "replacement_length": entry.replacement_length,
    }


def _judge_record(answer: Any) -> str | None:
    right = _fields()
    given = told.keyed(answer, tuple(right))
    for name, value in right.items():
        found = told.number(given[name])
        if found is None:
            return f"{name}: a whole number is needed; this is {given[name]!r:.60}"
        if found != value:
            shown = f"{found:#x}" if name in ("site", "replacement") else str(found)
            return f"{name} is not {shown}. {_why_field(name, found, right)}"
    return None


def _why_field(name: str, found: int, right: Mapping[str, int]) -> str:
    """Say what a wrong field looks like."""
    address, record = a_record()
    value = right[name]
    if name in ("site", "replacement"):
        own = address + (4 if name == "replacement" else 0)
        at = own - address
        if found in (value - own, value - own + (1 << 32)):
            return "This is the offset alone: add it to the address of its own field."
        if found == value + (1 << 32):
            return "The offset is signed: with its top bit set it leads backwards."
        if found == value - at:
            return "Each offset counts from its own field, and this field begins four bytes into the record."
        if found == own + int.from_bytes(record[at : at + 4], "big", signed=True):
            return "The lowest byte comes first."
        return "An offset of four bytes, signed, lowest byte first, from the address of its own field."
    if name == "feature":
        if found == int.from_bytes(record[8:12], "little"):
            return "This is feature and flags in one: two bytes belong to each."
        if found == int.from_bytes(record[8:10], "big"):
            return "The lowest byte comes first."
        return "The two bytes behind the offsets, lowest first. (You need not divide it into word and bit.)"
    if name == "flags":
        return "Two bytes, lowest first: bit 0 is NOT, bit 1 is DIRECT_CALL."
    swapped = right["replacement_length" if name == "site_length" else "site_length"]
    return (
        "Are the two lengths swapped? The site's comes first."
        if found == swapped
        else "One byte each, at the end."
    )


# --- a site's bytes ----------------------------------------------------------------------------------------------

FOURTEEN = """
.include "alternative.inc"
.include "features.inc"
here: ALTERNATIVE ".skip 14, 0x90", "stac", X86_FEATURE_SMAP
"""
WITH, WITHOUT = "with", "without"


@cache
def _fourteen() -> dict[str, bytes]:
    image = from_bytes(assemble(FOURTEEN), "fourteen")
    (site,) = read(image, HOW).sites
    feature = site.entries[0].feature
    return {
        name: patch(image, site, on, HOW).code or b"" for name, on in ((WITH, {feature}), (WITHOUT, set[int]()))
    }


def _judge_site(answer: Any) -> str | None:
    both = told.keyed(answer, (WITH, WITHOUT), "a text of bytes")
    for name, right in _fourteen().items():
        found = told.code(both[name])
        if found is None:
            return f"{name}: text is needed, two hexadecimal digits a byte, such as '0f 01 cb'"
        if found != right:
            return f"{name} SMAP: {_why_site(name, found, right)}"
    return None


def _why_site(name: str, found: bytes, right: bytes) -> str:
    if len(found) != len(right):
        return f"the site has {len(right)} bytes, whatever stands there; these are {len(found)}"
    if found == bytes(b"\x90" * 14):
        return "these are the bytes before patching: even where nothing matches, runs of NOPs are merged"
    if name == WITH and found == right[:3] + b"\x90" * 11:
        return "the padding is merged, too: eleven bytes are one instruction"
    at = next(at for at, (one, other) in enumerate(zip(found, right, strict=True)) if one != other)
    if name == WITHOUT and 0x90 not in found and found[0] != right[0]:
        return (
            "no single NOP is so long, so the kernel does not use one: what passes over bytes in one instruction?"
        )
    if name == WITHOUT and at == 1 and found[0] == right[0]:
        return f"the distance of a JMP counts from its own end; this one would go to byte {found[1] + 2} of 14"
    if name == WITHOUT and found[:2] == right[:2]:
        return (
            f"byte {at} is not {found[at]:02x}: nobody comes behind the JMP. What does `long_padding` have there?"
        )
    return f"byte {at} is not {found[at]:02x}"


# --- relocation --------------------------------------------------------------------------------------------------

# Ours: what may stand in a replacement and count from its own place. (The lab's samples have more.)
SHAPES = """
.include "alternative.inc"
.include "features.inc"
.text
near: ret
data: .quad 0
ALTERNATIVE "", "jz 8f; verw data(%rip); 8:", X86_FEATURE_SMAP
ALTERNATIVE "", "verw data(%rip); verw data+2(%rip)", X86_FEATURE_SMAP
ALTERNATIVE "", "8: decl %eax; jnz 8b; call near; nop", X86_FEATURE_SMAP
ALTERNATIVE "", "leaq 8f(%rip), %rax; movq data(%rip), %rcx; 8:", X86_FEATURE_SMAP
ALTERNATIVE "", "jmp 8f; movb $1, data(%rip); 8: nop", X86_FEATURE_SMAP
ALTERNATIVE "", "testl $4, data(%rip); jne near", X86_FEATURE_SMAP
ALTERNATIVE "", "movq %rax, %rbx; nop; stac", X86_FEATURE_SMAP
ALTERNATIVE "", "verw data-0x1000(%rip); jmp 8f; nop; 8:", X86_FEATURE_SMAP
"""
# A jump out of the replacement by one byte, which an assembler would not write so: forwards and backwards.
SHORT = """
.include "alternative.inc"
.include "features.inc"
.text
ALTERNATIVE "", "testl %eax, %eax; .byte 0x74, 0x18; nop", X86_FEATURE_SMAP
ALTERNATIVE "", "nop; .byte 0x79, -0x12; incl %eax", X86_FEATURE_SMAP
"""


NEAR, FAR = 0x40, 0x1234  # bytes


class Move(NamedTuple):
    """A replacement that is copied: its bytes, what counts in it from its own place, how far, what comes out."""

    name: str
    code: bytes
    fields: tuple[Mapping[str, int], ...]  # at, size, end
    moved: int  # address of the replacement less that of the copy
    right: bytes


@cache
def moves() -> tuple[Move, ...]:
    """Return what 02-5 tries: replacements as the engine relocates them. A JMP that gets shorter is left out."""
    images = [from_bytes(assemble(text), "shapes") for text in (SHAPES, SHORT)] + [lab_table()[0]]
    pairs = [(image, entry) for image in images for entry in read(image, HOW).entries]
    return tuple(move for image, entry in pairs for move in _moves(image, entry))


def _moves(image: Image, entry: AltEntry) -> Iterator[Move]:
    if entry.replacement_length == 0:
        return
    code = image.read(entry.replacement, entry.replacement_length)
    fields, at = [], 0
    for one in shapes(code, decoder("7.3.4")):
        fields += [{"at": at + f.offset, "size": f.size, "end": at + one.length} for f in counted(one)]
        at += one.length
    short = any(field["size"] == 1 and _leads_out(code, field) for field in fields)  # and reaches no further
    far = () if short else (entry.site, entry.replacement - FAR)
    for place in (*far, entry.replacement + NEAR, entry.replacement - NEAR):
        right = bytearray(code)
        changed = [*relocate(code, entry, place, HOW)]
        for start, new in changed:
            right[start : start + len(new)] = new
        if {start for start, _ in changed} <= {field["at"] for field in fields}:
            name = f"{code.hex(' ')}, copied {abs(place - entry.replacement):#x} bytes " + (
                "up" if place > entry.replacement else "down"
            )
            yield Move(name, code, tuple(fields), entry.replacement - place, bytes(right))


def _leads_out(code: bytes, field: Mapping[str, int]) -> bool:
    old = int.from_bytes(code[field["at"] : field["at"] + field["size"]], "little", signed=True)
    return not 0 <= field["end"] + old <= len(code)


def _judge_relocation(answer: Any) -> str | None:
    near = [move for move in moves() if abs(move.moved) <= NEAR]  # where all that may come out fits its bytes
    for some in (near, [move for move in moves() if move not in near]):
        inputs = [(one.code.hex(), [dict(field) for field in one.fields], one.moved) for one in some]
        found = given(answer, "answer", inputs, BYTES, [one.name for one in some])
        for move, text in zip(some, found, strict=True):
            code = told.code(text)
            if code is None:
                return f"{move.name}: your function returns {text!r:.60}, which is no text of bytes"
            if code != move.right:
                return f"{move.name}: {_why_moved(move, code)}"
    return None


def _why_moved(move: Move, found: bytes) -> str:
    if len(found) != len(move.code):
        return f"the code has {len(move.code)} bytes and keeps them; these are {len(found)}"
    for field in move.fields:
        start, size, end = field["at"], field["size"], field["end"]
        part = slice(start, start + size)
        if found[part] == move.right[part]:
            continue
        old, new, got = (
            int.from_bytes(code[part], "little", signed=True) for code in (move.code, move.right, found)
        )
        target = end + old
        which = f"the displacement at +{start}, of {size} byte{'s' * (size > 1)}"
        where = f"{which}, counts from +{end} and leads to {target:+d}"
        if 0 <= target <= len(move.code):
            inside = f"inside the replacement (0 to {len(move.code)}, its end included)"
            return f"{where}, {inside}: it stays {old}, not {got}"
        return f"{where}, outside of it: it should become {new}, not {got}"
    return "bytes changed that count from nowhere"


JUDGES = {"record": _judge_record, "site_bytes": _judge_site, "relocation": _judge_relocation}
