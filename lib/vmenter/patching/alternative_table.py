"""The kernel's table of alternatives: which replacement goes to which site, under which feature.

`struct alt_instr` in arch/x86/include/asm/alternative.h, one packed record for each alternative: s32 offsets of
site and replacement, each relative to its own field; the feature; u8 lengths of both. Records of 12 bytes (to
v6.2) hold a u16 feature whose top bit means NOT; records of 14 bytes a u16 feature and u16 flags (5d1dd961e743).
"""

import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.patching.features import parse_version, word_counts

MAX_PATCH = 254  # bytes: the kernel's buffer, MAX_PATCH_LEN
MAX_FEATURES = 32 * 32  # of a kernel whose words were not counted: far above what any has (24 in v7.3)


class Engine(StrEnum):
    """The three generations of the patcher."""

    EARLY = "early"
    LAYERED = "layered"
    ONCE = "once"


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

    @property
    def negated(self) -> bool:
        """Whether the entry applies where the feature is absent."""
        return bool(self.flags & 1)

    @property
    def direct_call(self) -> bool:
        """Whether the replacement is a CALL whose target is read through the original indirect call."""
        return bool(self.flags & 2)

    def matches(self, features: Collection[int]) -> bool:
        """Tell whether the entry applies on a CPU with these features."""
        return (self.feature in features) != (self.flags & 1)


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the code, and the entries that may replace it, in table order."""

    address: int
    length: int
    original: bytes
    entries: tuple[AltEntry, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """Which patcher this is: its generation, its record's size, and which NOPs it knows."""

    engine: Engine
    record_size: int
    wide_nops: bool


def rules(image: Image, engine: Engine | None = None, record_size: int | None = None) -> Rules:
    """Tell by version and record size how this image's kernel patches; what is given overrides.

    Raises `LabError` where neither tells: records of 14 bytes and no version fit two generations.
    """
    version = parse_version(image.kernel) if image.kernel else None
    size = record_size or (_guess_record_size(image) if version is None else 12 if version < (6, 3) else 14)
    if engine is None and version is not None:
        engine = Engine.EARLY if version < (6, 5) else Engine.LAYERED if version < (7, 0) else Engine.ONCE
    if engine is None and size == 12:  # these records ended before the next generation began
        engine = Engine.EARLY
    if engine is None:
        raise LabError(
            f"{image.name}: 14-byte records and no kernel version: "
            "say which engine patches it (layered: v6.5 to v6.19, once: from v7.0)",
        )
    wide = engine is Engine.ONCE if version is None else version >= (6, 19)
    return Rules(engine, size, wide)


def _guess_record_size(image: Image) -> int:
    """Return the record size with which the table makes sense."""
    fitting, reasons = [], []
    for size in (14, 12):
        try:
            tuple(_checked(image, _records(image, size)))
            fitting.append(size)
        except LabError as error:
            reasons.append(f"as {size}-byte records: {error}")
    if not fitting:
        raise LabError(f"{image.name}: the table of alternatives makes no sense ({'; '.join(reasons)})")
    if len(fitting) > 1 and image.alternatives and image.alternatives[1]:
        raise LabError(f"{image.name}: the table reads as 14-byte and as 12-byte records: say which")
    return fitting[0]


def entries(image: Image, record_size: int) -> tuple[AltEntry, ...]:
    """Read the table; an image without one has no entries. Raises `LabError` for a table that lies."""
    return tuple(_checked(image, _records(image, record_size)))


def _records(image: Image, size: int) -> Iterator[AltEntry]:
    if size not in (12, 14):
        raise LabError(f"{image.name}: records of {size} bytes are not supported (12 and 14 are)")
    start, table = image.alternatives or (0, b"")
    if len(table) % size:
        raise LabError(f"{image.name}: a table of {len(table)} bytes holds no whole number of {size}-byte records")
    layout = struct.Struct("<iiHBB" if size == 12 else "<iiHHBB")
    for index, (site, replacement, feature, *flags, length, new_length) in enumerate(layout.iter_unpack(table)):
        address = start + index * size
        yield AltEntry(
            index=index,
            address=address,
            site=address + site,
            length=length,
            replacement=address + 4 + replacement,
            replacement_length=new_length,
            feature=feature if flags else feature & 0x7FFF,
            flags=flags[0] if flags else feature >> 15,
        )


def _checked(image: Image, table: Iterable[AltEntry]) -> Iterator[AltEntry]:
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

    Raises `LabError` where an address comes back later: the order of its entries would not be theirs alone.
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
    return tuple(result)
