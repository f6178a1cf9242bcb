"""Static branches: places in the code that are a NOP or a jump, by the state of a key.

A table of 16-byte records names them (`struct jump_entry` in include/linux/jump_label.h): s32 site, s32 target and
s64 key, each relative to its own field. The key's two lowest bits are no address: bit 0 says that the branch
counts as likely, bit 1 belongs to whoever handles the table (objtool, then the kernel's init code). The site is
a JMP exactly where the key's state differs from bit 0, else a NOP; both forms have 2 or 5 bytes
(arch/x86/kernel/jump_label.c).
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from vmenter import LabError, near
from vmenter.code.image import STUB_SIZE, Image
from vmenter.code.instructions import is_nop
from vmenter.code.lengths import lengths

RECORD = struct.Struct("<iiq")
MAX_RECORDS = 200_000  # a kernel has some 10,000
NOPS = {2: bytes.fromhex("6690"), 5: bytes.fromhex("0f1f440000")}
OPCODES = {2: b"\xeb", 5: b"\xe9"}  # JMP rel8, JMP rel32
LIKELY = 1
KEY_BITS = 3  # of a key's address that say something else


@dataclass(frozen=True, slots=True)
class StaticBranch:
    """One record of the table: this site jumps to that target, or falls through, by that key."""

    index: int  # in the table
    address: int  # of the record
    site: int
    length: int  # of the site's instruction, 2 or 5 bytes
    target: int
    key: str  # the key's name, or ``name+0x28`` inside something larger, or its bare address
    likely: bool

    def code(self, *, enabled: bool) -> bytes:
        """Return the site's bytes for a key that is on or off."""
        if enabled == self.likely:
            return NOPS[self.length]
        distance = self.target - (self.site + self.length)
        return OPCODES[self.length] + distance.to_bytes(self.length - 1, "little", signed=True)

    def enabled(self, image: Image) -> bool:
        """Tell for which state of the key the site stands in `image`."""
        return (image.read(self.site, 1) == OPCODES[self.length]) != self.likely


@lru_cache(maxsize=2)
def branches(image: Image) -> tuple[StaticBranch, ...]:
    """Read the table; an image without one has no static branches.

    Raises `LabError` for a record that the kernel could not apply: which one, and why.
    """
    start, table = image.jump_table or (0, b"")
    if len(table) % RECORD.size:
        raise LabError(
            f"{image.name}: a jump-label table of {len(table)} bytes holds no whole number of 16-byte records",
        )
    if len(table) // RECORD.size > MAX_RECORDS:
        raise LabError(f"{image.name}: {len(table) // RECORD.size:,} static branches; no kernel has that many")
    names = _KeyNames(image)
    result = []
    for index, (site, target, key) in enumerate(RECORD.iter_unpack(table)):
        address = start + index * RECORD.size
        where = address + 8 + key
        branch = StaticBranch(
            index=index,
            address=address,
            site=address + site,
            length=_length(image, address + site),
            target=address + 4 + target,
            key=names.of(where & ~KEY_BITS),
            likely=bool(where & LIKELY),
        )
        _check(image, branch)
        result.append(branch)
    return tuple(result)


def states(image: Image) -> dict[str, bool | None]:
    """Return each key's state as the code shows it: on, off, or None where its sites disagree."""
    seen: dict[str, set[bool]] = {}
    for branch in branches(image):
        seen.setdefault(branch.key, set()).add(branch.enabled(image))
    return {key: found.pop() if len(found) == 1 else None for key, found in seen.items()}


def flips(table: Iterable[StaticBranch], keys: Mapping[str, bool]) -> dict[int, bytes]:
    """Return the bytes, by site, that every branch of the named keys gets.

    Raises `LabError` for a key that has no branch in the table.
    """
    table = tuple(table)
    known = {branch.key for branch in table}
    for key in keys:
        if key not in known:
            raise LabError(f"no static branch depends on a key named {key!r}{near(key, known, most=3, alike=0.6)}")
    return {branch.site: branch.code(enabled=keys[branch.key]) for branch in table if branch.key in keys}


def flip(image: Image, keys: Mapping[str, bool]) -> Image:
    """Return the image with the static branches of the named keys as they are when the keys are on or off."""
    return image.with_bytes(flips(branches(image), keys))


class _KeyNames:
    """Names for the addresses of keys: the image's own symbols, or those it leaves undefined."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.undefined = sorted((address, name) for name, address in image.undefined.items())

    def of(self, address: int) -> str:
        """Return ``name`` or ``name+0x8``. A key deeper inside an undefined thing than its room has none."""
        index = bisect_right(self.undefined, (address, "\U0010ffff")) - 1
        if index >= 0 and address < self.undefined[index][0] + STUB_SIZE:
            start, name = self.undefined[index]
            return name if address == start else f"{name}+{address - start:#x}"
        return self.image.label(address)


def _length(image: Image, site: int) -> int:
    """Return the length of the instruction at a site; 0 where there is none."""
    size = next((n for n in (5, 2) if image.holds(site, n)), 0)
    return next(iter(lengths(image.read(site, size))), 0) if size else 0


def _check(image: Image, branch: StaticBranch) -> None:
    """Raise `LabError` for a record that cannot be true."""
    if not image.holds(branch.site, 1):
        raise _lie(branch, f"the site at {branch.site:#x} lies outside the image")
    if not image.holds(branch.target, 1):
        raise _lie(branch, f"the target at {branch.target:#x} lies outside the image")
    if branch.length not in NOPS:
        raise _lie(branch, f"the instruction at {branch.site:#x} has {branch.length} bytes; only 2 or 5 can be")
    code = image.read(branch.site, branch.length)
    try:
        jump = branch.code(enabled=not branch.likely)
    except OverflowError:
        raise _lie(branch, f"the target at {branch.target:#x} is too far for {branch.length} bytes") from None
    if code != jump and not is_nop(code, wide=False):
        raise _lie(branch, f"{code.hex(' ')} at {branch.site:#x} is neither a NOP nor a JMP to {branch.target:#x}")


def _lie(branch: StaticBranch, rule: str) -> LabError:
    return LabError(f"static branch {branch.index} at {branch.address:#x} (key {branch.key}): {rule}")
