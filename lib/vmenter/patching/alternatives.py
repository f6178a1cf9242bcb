"""How the kernel patches itself: the table of alternatives, and what one site becomes under given features.

The same work as `apply_alternatives` in arch/x86/kernel/alternative.c, in three generations:

early    up to v6.4:  every matching entry is written over the last one; only a replacement that is just one
                      5-byte CALL or JMP is relocated (read in v5.10 and v6.1)
layered  v6.5-v6.19:  as before, but replacements may hold any relocatable code (270a69c4485d; read in v6.12)
once     from v7.0:   all entries of a site are looked at first, the last match is written, once (read in v7.3)

In all of them the last matching entry of a site decides. A `Patch` keeps each step on the way, and for every
byte at every step where it came from.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.instructions import is_nop
from vmenter.code.lengths import LONGEST, Decoder, Field, Shape, decoder, shape, shapes
from vmenter.patching.alternative_table import (
    AltEntry,
    Engine,
    Nops,
    Rules,
    Site,
    lie,
    read,
)

NOPS = tuple(
    bytes.fromhex(code)
    for code in (
        "", "90", "6690", "0f1f00", "0f1f4000", "0f1f440000", "660f1f440000", "0f1f8000000000",
        "0f1f840000000000", "2e0f1f840000000000", "662e0f1f840000000000", "66662e0f1f840000000000",
    )
)  # fmt: skip
K8_NOPS = tuple(
    bytes.fromhex(code)
    for code in (
        "", "90", "6690", "666690", "66666690", "6666906690", "666690666690", "66666690666690", "6666669066666690",
    )
)  # fmt: skip
EARLY_LONGEST_NOP = 8
BY_CPU = "up to v5.12 a kernel chooses its NOPs by CPU (p6 or k8), and here they differ: say which"
DECODERS = {Engine.EARLY: "6.1.192", Engine.LAYERED: "6.12.117", Engine.ONCE: "7.3.4"}  # read of each generation
NEWEST_DECODER = "7.3.4"  # came with the wider idea of a NOP
MAYBE_NOP = re.compile(rb"\x90|\x1f|\x89|\x8d|\xeb\0|\xe9\0")  # cheap: without any of these there is no NOP
INT3 = b"\xcc"
INDIRECT_CALL = b"\xff\x15"  # call *disp(%rip)


class Origin(NamedTuple):
    """Where a byte came from: a letter (see `ORIGINS`) and the index of the entry that wrote it."""

    letter: str
    entry: int | None


ORIGINS = {
    "O": "original code",
    "C": "copied from the replacement",
    "R": "relocated: a displacement recomputed for the new place",
    "D": "direct call: target read through the pointer of the original call",
    "P": "padding, one-byte NOPs",
    "N": "NOPs merged into longer ones, or a jump over them",
}


@dataclass(frozen=True, slots=True)
class Step:
    """The site's bytes after one step: choose, copy, direct call, relocate, pad, merge."""

    name: str
    entry: int | None  # which of the site's entries this step is about
    code: bytes
    origins: tuple[Origin, ...]  # one for each byte


@dataclass(frozen=True, slots=True)
class Patch:
    """What became of a site. `code` is None where this image alone cannot tell, and `undecided` says why."""

    site: Site
    chosen: int | None  # the last of the site's entries that matched
    steps: tuple[Step, ...]
    undecided: str | None = None

    @property
    def code(self) -> bytes | None:
        """The site's bytes after patching, as long as before."""
        return None if self.undecided else self.steps[-1].code

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where each byte of `code` came from."""
        return self.steps[-1].origins


# --- one site ----------------------------------------------------------------------------------------------


def patch(image: Image, site: Site, features: Collection[int], how: Rules) -> Patch:
    """Patch one site for a CPU with these features; the image stays as it is.

    Raises `LabError` where the kernel would stop: a displacement that does not fit, a DIRECT_CALL entry
    whose site is no indirect call.
    """
    if how.nops is Nops.BY_CPU:
        return _by_cpu(image, site, features, how)
    matching = [index for index, entry in enumerate(site.entries) if entry.matches(features)]
    chosen = matching[-1] if matching else None
    steps = [Step("choose", chosen, site.original, (Origin("O", None),) * site.length)]
    undecided = None
    # From v7.0 on one entry, or none; before that entry after entry, each on the bytes the last one left.
    for index in (chosen,) if how.engine is Engine.ONCE else range(len(site.entries)):
        written = index if index in matching else None
        if written is not None:
            undecided = _write(image, site, written, how, steps)
        if undecided is None:
            _merge(site, index or 0, how, steps, written=written is not None)
    return Patch(site, chosen, tuple(steps), undecided)


def _by_cpu(image: Image, site: Site, features: Collection[int], how: Rules) -> Patch:
    """Patch with either kind of NOPs; where that makes a difference, the site is undecided."""
    one, other = (patch(image, site, features, replace(how, nops=nops)) for nops in (Nops.P6, Nops.K8))
    return one if one.code == other.code else replace(one, undecided=BY_CPU)


def _write(image: Image, site: Site, index: int, how: Rules, steps: list[Step]) -> str | None:
    """Add the steps that put a replacement in place: copy, direct call, relocate, pad.

    Returns None, or the reason why the bytes cannot be known from this image.
    """
    entry, before = site.entries[index], steps[-1]
    length = entry.length if how.engine is Engine.EARLY else site.length
    code = image.read(entry.replacement, entry.replacement_length) if entry.replacement_length else b""

    def add(name: str, code: bytes, origins: list[Origin]) -> None:
        rest = len(code)
        steps.append(Step(name, index, code + before.code[rest:], (*origins, *before.origins[rest:])))

    origins = [Origin("C", index)] * len(code)
    add("copy", code, origins)
    if entry.direct_call:
        target = _call_target(image, site, entry, before.code)
        if isinstance(target, str):
            return target
        if target is None:  # the no-op function: no call at all
            code, origins = b"", []
        else:
            distance = target - (entry.replacement + 5)
            code = code[:1] + _displacement(distance, 4, entry, entry.replacement)
            origins[1:] = [Origin("D", index)] * 4
        add("direct call", code, origins)
    early = how.engine is Engine.EARLY
    padded = code + NOPS[1] * (length - len(code))  # which the kernel's patcher walks, too
    moved = (
        _relocate_early(code, entry, site.address, how) if early else relocate(padded, entry, site.address, how)
    )
    for start, new in moved:
        code = code[:start] + new + code[start + len(new) :]
        origins[start : start + len(new)] = [Origin("R", index)] * len(new)
    if code != steps[-1].code[: len(code)]:
        add("relocate", code, origins)
    if len(code) < length:
        missing = length - len(code)
        add("pad", code + NOPS[1] * missing, [*origins, *[Origin("P", index)] * missing])
    return None


def _call_target(image: Image, site: Site, entry: AltEntry, code: bytes) -> int | str | None:
    """Return where a DIRECT_CALL goes: an address, None for nowhere (the no-op function), or why unknown."""
    new = image.read(entry.replacement, entry.replacement_length)
    if len(code) != 6 or code[:2] != INDIRECT_CALL or len(new) != 5 or new[0] != 0xE8:
        raise lie(entry, "DIRECT_CALL needs a 6-byte indirect call and a 5-byte CALL")
    pointer = site.address + 6 + int.from_bytes(code[2:], "little", signed=True)
    if not image.holds(pointer, 8):
        return f"the call's target is read from {image.label(pointer)}, which is not in this image"
    target = image.pointer(pointer)
    nothing = image.symbols.get("nop_func")
    if nothing is None:
        return f"the call goes to {image.label(target)}, or nowhere if that is nop_func: symbols would tell"
    if target == nothing.address:
        return None
    return target or entry.replacement + 5 + int.from_bytes(new[1:], "little", signed=True)  # BUG_func


def relocate(code: bytes, entry: AltEntry, place: int, how: Rules) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) for each displacement that must change now that `code` stands at `place`.

    What points inside the replacement, its end included, moves with it and stays as it is. Raises
    `LabError` for code that the kernel's decoder cannot walk, and a displacement that does not fit.
    """
    moved = entry.replacement - place
    at = 0
    for one in shapes(code, _tables(how)):
        for field in counted(one):
            value = field.value(code[at : at + one.length])
            short = value + moved + 3  # the kernel counts five bytes for a JMP, with prefixes or without
            if 0 <= at + one.length + value <= entry.replacement_length:
                continue
            if one.opcode == 0xE9 and one.immediate and -128 <= short <= 127:  # JMP rel32 that fits rel8
                yield at, b"\xeb" + _displacement(short, 1, entry, place) + INT3 * (one.length - 2)
            else:
                yield at + field.offset, _displacement(value + moved, field.size, entry, place)
        at += one.length
    if at < len(code):
        raise lie(entry, f"the kernel's decoder has no length for {_shown(code, at)} of its replacement")


def counted(one: Shape) -> Iterator[Field]:
    """Yield what counts from its own place: the target of CALL, JMP or Jcc, and a RIP-relative operand.

    As the kernel's `__apply_relocation` this looks at the opcode's first bytes: it takes no notice of VEX before
    them, and LOOP and JRCXZ stay as they are, wherever they lead.
    """
    near = one.opcode in (0xE8, 0xE9, 0xEB) or one.opcode & 0xF0 == 0x70
    if one.immediate and (near or (one.opcode == 0x0F and one.second & 0xF0 == 0x80)):
        yield one.immediate
    if one.rip:
        yield one.rip


def _relocate_early(code: bytes, entry: AltEntry, place: int, how: Rules) -> Iterator[tuple[int, bytes]]:
    """Do what `relocate` does, the early way: one 5-byte CALL or JMP, nothing else; a short JMP only forward.

    Five bytes that begin with a short JMP are taken for a long one and garbled, as by the kernel's `is_jmp`.
    """
    if len(code) != 5 or code[0] not in (0xE8, 0xE9, 0xEB):
        return
    value = int.from_bytes(code[1:], "little", signed=True) + entry.replacement - place
    if code[0] != 0xE8 and 0 <= value + 5 <= 129:
        yield 0, b"\xeb" + _displacement(value + 3, 1, entry, place) + _early_nops(how)[3]
        return
    if code[0] == 0xEB:
        yield 0, b"\xe9"
    yield 1, _displacement(value, 4, entry, place)


def _displacement(value: int, size: int, entry: AltEntry, place: int) -> bytes:
    """Return a displacement's bytes; one that does not fit is an error."""
    try:
        return value.to_bytes(size, "little", signed=True)
    except OverflowError:
        raise lie(entry, f"a target {value:+#x} away from {place:#x} does not fit {size * 8} bits") from None


# --- NOPs --------------------------------------------------------------------------------------------------


def _merge(site: Site, index: int, how: Rules, steps: list[Step], *, written: bool) -> None:
    """Add the step that turns runs of NOPs into fewer, longer ones, if it does; `written`: entry `index` was."""
    entry, before = site.entries[index], steps[-1]
    code, origins = before.code, list(before.origins)
    if entry.padding is None:
        runs = _nop_runs(site, code[: entry.length if how.engine is Engine.EARLY else site.length], how)
    else:
        runs = _padding(entry, code, written=written)
    for start, stop in runs:
        new = _fill_early(stop - start, how) if how.engine is Engine.EARLY else _fill(stop - start)
        if new != code[start:stop]:
            code = code[:start] + new + code[stop:]
            origins[start:stop] = [Origin("N", origins[start].entry)] * (stop - start)
    if code != before.code:
        steps.append(Step("merge", before.entry, code, tuple(origins)))


def _nop_runs(site: Site, code: bytes, how: Rules) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of each run of NOPs to be merged.

    Early: one-byte NOPs only. Later: NOPs of any kind, but a site that ends in one single NOP is left.
    """
    if not MAYBE_NOP.search(code):
        return
    early, tables = how.engine is Engine.EARLY, _tables(how)
    start, at = None, 0
    for found in (*shapes(code, tables), None):
        size = found.length if found else 0
        one = code[at : at + size]
        nop = one == NOPS[1] if early else found is not None and is_nop(one, wide=how.wide_nops, one=found)
        if nop and start is None:
            if at + size == len(code):
                return
            start = at
        elif not nop and start is not None:
            yield start, at
            start = None
        at += size
    if MAYBE_NOP.search(code, at) and shape(code[at:] + bytes(LONGEST), tables) is None:
        raise LabError(
            f"alternative site at {site.address:#x}: the kernel's decoder has no length for {_shown(code, at)}, "
            "so whether the NOPs behind it are merged cannot be told",
        )


def _padding(entry: AltEntry, code: bytes, *, written: bool) -> Iterator[tuple[int, int]]:
    """Yield the run of NOPs that an entry with a pad length leaves to be merged: its padding, unseen.

    As `optimize_nops` did in v5.10: behind a replacement all that is left; where none is chosen the padding, if
    the site's *first* bytes, as many, are NOPs (it looks at the wrong end).
    """
    padding = entry.padding or 0
    if written and entry.length > entry.replacement_length:
        yield entry.replacement_length, entry.length
    elif not written and padding > 1 and code[:padding] == NOPS[1] * padding:
        yield entry.length - padding, entry.length


def _tables(how: Rules) -> Decoder:
    """Return the opcodes that this patcher knows."""
    newest = how.wide_nops and how.engine is Engine.LAYERED
    return decoder(how.decoder or (NEWEST_DECODER if newest else DECODERS[how.engine]))


def _shown(code: bytes, at: int) -> str:
    return f"{code[at : at + LONGEST].hex(' ')} (at +{at})"


def _fill(size: int) -> bytes:
    """Return one instruction's worth of nothing: the longest NOP, or a jump over INT3s."""
    if size < len(NOPS):
        return NOPS[size]
    jump = b"\xeb" + bytes([size - 2]) if size < 128 else b"\xe9" + (size - 5).to_bytes(4, "little")
    return jump + INT3 * (size - len(jump))


def _fill_early(size: int, how: Rules) -> bytes:
    """Return NOPs of at most eight bytes each."""
    whole, rest = divmod(size, EARLY_LONGEST_NOP)
    return _early_nops(how)[EARLY_LONGEST_NOP] * whole + _early_nops(how)[rest]


def _early_nops(how: Rules) -> tuple[bytes, ...]:
    return K8_NOPS if how.nops is Nops.K8 else NOPS


# --- a whole image -----------------------------------------------------------------------------------------


def patch_all(image: Image, features: Collection[int], how: Rules | None = None) -> tuple[Patch, ...]:
    """Patch every site of an image, in table order, by these rules or those that table and version tell."""
    table = read(image, how)
    return tuple(patch(image, site, features, table.rules) for site in table.sites)


def apply(image: Image, patches: Iterable[Patch]) -> Image:
    """Return the image with the decided patches in place."""
    return image.with_bytes({p.site.address: p.code for p in patches if p.code is not None})
