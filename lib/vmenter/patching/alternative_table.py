"""The kernel's table of alternatives: which replacement goes to which site, under which feature.

`struct alt_instr` in arch/x86/include/asm/alternative.h, one packed record for each alternative: s32 offsets of
site and replacement, each relative to its own field; the feature; u8 lengths of both. Three sizes there were:
13 bytes (to v5.12 and 5.10.132) hold a u16 feature and, last, how much of the site is padding; 12 bytes
(23c1ad538f4f, to v6.2) a u16 feature whose top bit means NOT; 14 bytes a u16 feature and u16 flags (5d1dd961e743).
"""

import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.patching.features import parse_version, word_counts

MAX_PATCH = 254  # bytes: the kernel's buffer, MAX_PATCH_LEN
MAX_ENTRIES = 200_000  # a kernel has some 10,000
MAX_FEATURES = 32 * 32  # of a kernel whose words were not counted: far above what any has (24 in v7.3)
ALWAYS = 3 * 32 + 21  # X86_FEATURE_ALWAYS: set on every CPU, at this place in every kernel
LAYOUTS = {12: struct.Struct("<iiHBB"), 13: struct.Struct("<iiHBBB"), 14: struct.Struct("<iiHHBB")}


class Engine(StrEnum):
    """The three generations of the patcher."""

    EARLY = "early"
    LAYERED = "layered"
    ONCE = "once"


class Nops(StrEnum):
    """Which NOPs a kernel writes: from v5.13 on P6 everywhere, before that by CPU (a89dfde3dc3c)."""

    P6 = "p6"
    K8 = "k8"
    BY_CPU = "by cpu"  # and nobody said which CPU


@dataclass(frozen=True, slots=True)
class AltEntry:
    """One record of the table: under this feature (or without it), this replacement goes to that site."""

    index: int  # in the table
    address: int  # of the record
    site: int
    length: int  # of the site, padding included
    replacement: int
    replacement_length: int
    feature: int  # word * 32 + bit
    flags: int  # 1: NOT, 2: DIRECT_CALL
    padding: int | None = None  # bytes at the site's end, where the record says it (13-byte ones do)

    @property
    def negated(self) -> bool:
        """Whether the entry applies where the feature is absent."""
        return bool(self.flags & 1)

    @property
    def direct_call(self) -> bool:
        """Whether the replacement is a CALL whose target is read through the original indirect call."""
        return bool(self.flags & 2)

    def matches(self, features: Collection[int]) -> bool:
        """Tell whether the entry applies on a CPU with these features; every CPU has ALWAYS."""
        return (self.feature in features or self.feature == ALWAYS) != (self.flags & 1)


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the code, and the entries that may replace it, in table order."""

    address: int
    length: int
    original: bytes
    entries: tuple[AltEntry, ...]
    also: tuple[str, ...] | None = None  # tables of other patchers that name an address in it; None: nobody looked


@dataclass(frozen=True, slots=True)
class Rules:
    """Which patcher this is: its generation, its record's size, which NOPs it knows and which it writes."""

    engine: Engine
    record_size: int
    wide_nops: bool
    nops: Nops = Nops.P6
    decoder: str = ""  # whose tables of opcodes, of `lengths.decoders`; empty: the generation's


class Table(NamedTuple):
    """What an image says of its own patching."""

    rules: Rules
    entries: tuple[AltEntry, ...]
    sites: tuple[Site, ...]


@lru_cache(maxsize=2)
def read(
    image: Image,
    how: Rules | None = None,
    *,
    engine: Engine | None = None,
    record_size: int | None = None,
    nops: Nops | str | None = None,
) -> Table:
    """Read an image's table of alternatives, with the rules by which its kernel applies it.

    The record's size is the one with which the table makes sense; the version decides only where several do.
    What is given overrides: `how` all of it. Raises `LabError` for a table that lies, and where no patcher can be
    told.
    """
    if how is not None:
        found = entries(image, how.record_size)
        return Table(how, found, sites(image, found))
    version = parse_version(image.kernel) if image.kernel else None
    size, found = _fitting(image, version, record_size)
    how = _rules(image, version, engine, size)
    table = Table(how, found, sites(image, found))
    return table if nops is None else table._replace(rules=_with_nops(image, how, version, Nops(nops)))


def rules(
    image: Image, engine: Engine | None = None, record_size: int | None = None, nops: Nops | str | None = None
) -> Rules:
    """Tell by table and version how this image's kernel patches; see `read`."""
    return read(image, engine=engine, record_size=record_size, nops=nops).rules


def _fitting(
    image: Image, version: tuple[int, int, int] | None, size: int | None
) -> tuple[int, tuple[AltEntry, ...]]:
    """Return the record size with which the table makes sense, and its entries."""
    if size is not None:
        return size, entries(image, size)
    likely = likely_sizes(version)
    fitting: dict[int, tuple[AltEntry, ...]] = {}
    reasons = {}
    for one in sorted(LAYOUTS, key=lambda one: (one not in likely, -one)):
        try:
            fitting[one] = entries(image, one)
        except LabError as error:
            reasons[one] = str(error)
            continue
        if likely == (one,):  # the version's own size fits: nothing else need be tried
            break
    if not fitting:
        if len(likely) == 1:  # what the version asks for is what should be mended
            raise LabError(f"{image.name}: {reasons[likely[0]].removeprefix(f'{image.name}: ')}")
        why = "; ".join(f"as {one}-byte records: {reason}" for one, reason in reasons.items())
        raise LabError(f"{image.name}: the table of alternatives makes no sense ({why})")
    best = [one for one in fitting if one in likely] or [*fitting]
    if len(best) > 1 and fitting[best[0]]:
        sizes = " and as ".join(f"{one}-byte" for one in best)
        raise LabError(f"{image.name}: the table reads as {sizes} records: say which")
    return best[0], fitting[best[0]]


def likely_sizes(version: tuple[int, int, int] | None) -> tuple[int, ...]:
    """Return the record sizes that a version may have had, by mainline and the one stable series known."""
    if version is None:
        return ()
    if version >= (6, 3):
        return (14,)
    if version >= (5, 13) or (version[:2] == (5, 10) and version[2] >= 133):
        return (12,)
    return (12, 13) if version[:2] == (5, 10) and not version[2] else (13,)  # Debian's "5.10.0-46" names no point


def nops_of(kernel: str | None) -> Nops:
    """Return which NOPs a kernel of this version writes; P6 where no version is told."""
    return Nops.BY_CPU if kernel and parse_version(kernel) < (5, 13) else Nops.P6


def _rules(image: Image, version: tuple[int, int, int] | None, engine: Engine | None, size: int) -> Rules:
    """Return the rules that go with a record size. `LabError` where 14 bytes and no version fit two of them."""
    likely = likely_sizes(version)
    own = version is not None and size in likely
    if engine is None:
        if version is not None and own:
            engine = Engine.EARLY if version < (6, 5) else Engine.LAYERED if version < (7, 0) else Engine.ONCE
        elif (
            version is not None or size != 14
        ):  # distributions take newer code into older kernels, with its records
            engine = Engine.LAYERED if size == 14 else Engine.EARLY
        else:
            raise LabError(
                f"{image.name}: 14-byte records and no kernel version: "
                "say which engine patches it (layered: v6.5 to v6.19, once: from v7.0)",
            )
    wide = engine is Engine.ONCE if version is None else version >= (6, 19) and engine is not Engine.EARLY
    old = size == 13 or (size == 12 and (version is None or nops_of(image.kernel) is Nops.BY_CPU))
    before = engine is Engine.EARLY and version is not None and version < (5, 18)
    return Rules(engine, size, wide, Nops.BY_CPU if old else Nops.P6, "5.10.262" if before else "")


def _with_nops(image: Image, how: Rules, version: tuple[int, int, int] | None, nops: Nops) -> Rules:
    """Return the rules with these NOPs. `LabError` for a kernel that writes others on every CPU."""
    newer = how.engine is not Engine.EARLY or (version is not None and (5, 13) <= version < (6, 5))
    if nops is Nops.K8 and how.nops is Nops.P6 and newer:
        kernel = f"kernel {image.kernel}" if image.kernel else f"the engine “{how.engine}”"
        raise LabError(f"{image.name}: {kernel} writes P6 NOPs on every CPU; only up to v5.12 the CPU decides")
    return Rules(how.engine, how.record_size, how.wide_nops, nops, how.decoder)


def entries(image: Image, record_size: int) -> tuple[AltEntry, ...]:
    """Read the table; an image without one has no entries. Raises `LabError` for a table that lies."""
    return tuple(checked(image, _records(image, record_size)))


def _records(image: Image, size: int) -> Iterator[AltEntry]:
    if size not in LAYOUTS:
        raise LabError(f"{image.name}: there are no records of {size} bytes, only of 12, 13 and 14")
    start, table = image.alternatives or (0, b"")
    if len(table) % size:
        raise LabError(f"{image.name}: a table of {len(table)} bytes holds no whole number of {size}-byte records")
    if len(table) // size > MAX_ENTRIES:
        raise LabError(f"{image.name}: {len(table) // size:,} alternative entries; no kernel has that many")
    for index, fields in enumerate(LAYOUTS[size].iter_unpack(table)):
        address = start + index * size
        site, replacement, feature, *rest = fields
        flags, length, new_length, padding = 0, *rest[:2], None
        if size == 12:
            feature, flags = feature & 0x7FFF, feature >> 15
        elif size == 13:
            padding = rest[2]
        else:
            flags, length, new_length = rest
        yield AltEntry(
            index=index,
            address=address,
            site=address + site,
            length=length,
            replacement=address + 4 + replacement,
            replacement_length=new_length,
            feature=feature,
            flags=flags,
            padding=padding,
        )


def checked(image: Image, table: Iterable[AltEntry]) -> Iterator[AltEntry]:
    """Pass entries on that a kernel could apply; the first other one is an error that names the rule."""
    beyond = _feature_limit(image)
    for entry in table:
        if entry.length == 0:
            raise lie(entry, f"the site at {entry.site:#x} has length 0")
        if entry.length > MAX_PATCH:
            raise lie(
                entry, f"the site at {entry.site:#x} has {entry.length} bytes; kernels patch {MAX_PATCH} at most"
            )
        if not image.holds(entry.site, entry.length):
            raise lie(entry, f"the site at {entry.site:#x} lies outside the image")
        if entry.replacement_length > entry.length:
            long = f"a replacement of {entry.replacement_length} bytes"
            raise lie(entry, f"{long} is longer than its site of {entry.length}")
        if entry.replacement_length and not image.holds(entry.replacement, entry.replacement_length):
            raise lie(entry, f"the replacement at {entry.replacement:#x} lies outside the image")
        if entry.padding is not None and entry.padding > entry.length:
            raise lie(entry, f"{entry.padding} bytes of padding are more than its site of {entry.length}")
        if entry.feature >= beyond:
            raise lie(entry, f"feature {entry.feature} lies beyond the last of {beyond // 32} feature words")
        if entry.flags > 3:
            raise lie(entry, f"flags {entry.flags:#x} are none that are known (1: NOT, 2: DIRECT_CALL)")
        yield entry


def _feature_limit(image: Image) -> int:
    """Return the first number that is no feature: behind this kernel's last word, if its words were counted."""
    counts = word_counts(image.kernel) if image.kernel else None
    return 32 * sum(counts) if counts else MAX_FEATURES


def lie(entry: AltEntry, rule: str) -> LabError:
    """Return the error for an entry that cannot be true: which one, where, and the rule it breaks."""
    return LabError(f"alternative entry {entry.index} at {entry.address:#x}: {rule}")


def sites(image: Image, table: Iterable[AltEntry]) -> tuple[Site, ...]:
    """Gather consecutive entries of one address into sites, as long as their longest entry.

    Raises `LabError` where an address comes back later: the order of its entries would not be theirs alone; and
    where two sites lie over each other: what one becomes would not be its own entries' alone.
    """
    seen: set[int] = set()
    result = []
    for address, group in groupby(table, key=lambda entry: entry.site):
        members = tuple(group)
        if address in seen:
            raise lie(members[0], f"the site at {address:#x} has entries elsewhere in the table, not just before")
        seen.add(address)
        length = max(entry.length for entry in members)
        result.append(Site(address, length, image.read(address, length), members))
    for one, other in pairwise(sorted(result, key=lambda site: site.address)):
        if one.address + one.length > other.address:
            over = (
                f"the site at {other.address:#x} begins within another, of {one.length} bytes at {one.address:#x}"
            )
            raise lie(other.entries[0], over)
    return tuple(result)
