"""Names and numbers of x86 CPU features and bugs, as Linux counts them, and the words they live in.

A feature's number is word*32+bit. Words that mirror a CPUID register never move; those that Linux fills
itself do, between releases and by backports within one series. `features.json` holds what was read in
arch/x86/include/asm/cpufeatures.h of the kernels that Debian ships, and no guess is made between them:

**A name is given only where the table was checked.** A kernel that was read answers for itself. Any other
needs the nearest read kernels on both sides to agree about the slot: within its own series the two
neighbours, elsewhere all that were read of the neighbouring series. Past the oldest or the newest, and where
neighbours disagree, only words defined by hardware are named. Everything else stays "word*32+bit".
"""

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vmenter import LabError, meant, nearest

# Words that copy one CPUID register. Not 11 and 17, which Linux took over for itself, nor 19 and up, which
# held bugs in the oldest kernels read.
HARDWARE_WORDS = frozenset({0, 1, 2, 4, 5, 6, 9, 10, 12, 13, 14, 15, 16, 18})
_WORDS_OF_OLD = 10  # before the oldest kernel read, only words that long preceded it
_NUMBERS = 1 << 15  # a 12-byte alternatives record keeps the 16th bit for NOT

_Point = tuple[int, int, int]
_END_OF_SERIES = 1 << 20  # above any point release

_RELEASE = re.compile(r"(?:Linux version )?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,4}))?(?=[-+~ ]|\.\d|$)", re.ASCII)
_BANNER = re.compile(r"\bDebian (\d+)\.(\d+)\.(\d+)", re.ASCII)
_ABI = re.compile(r"-(?:0\.[a-z]+\d*\.)?(\d+)(?:-(?:\w+-)*amd64)?(?: |$)", re.ASCII)
_SLOT = re.compile(r"(\d{1,4})\*32\+(\d{1,2})|(\d{1,5})", re.ASCII)


class _Kernel(NamedTuple):
    point: _Point
    abis: tuple[int, ...]
    words: int
    bug_words: int


class _Row(NamedTuple):
    """One name at one place, in the kernels first..last of the table; bug words count from the first one."""

    name: str
    word: int
    bit: int
    first: int
    last: int

    def number(self, kernel: _Kernel) -> int:
        return (self.word + (kernel.words if self.name.startswith("BUG_") else 0)) * 32 + self.bit


@cache
def _table() -> tuple[tuple[_Kernel, ...], tuple[_Row, ...]]:
    raw = json.loads(Path(__file__).with_name("features.json").read_text(encoding="ascii"))
    kernels = tuple(_Kernel(parse_version(text), tuple(abis), *words) for text, abis, *words in raw["kernels"])
    place = {text: index for index, (text, *_) in enumerate(raw["kernels"])}
    return kernels, tuple(_Row(name, w, b, place[first], place[last]) for name, w, b, first, last in raw["rows"])


@cache
def _names(index: int) -> dict[int, str]:
    """Return number → name for one kernel of the table."""
    kernels, rows = _table()
    return {row.number(kernels[index]): row.name for row in rows if row.first <= index <= row.last}


def checked_versions() -> tuple[str, ...]:
    """Return the kernels that were read, oldest first, as "6.12.117"."""
    return tuple(_text(kernel.point) for kernel in _table()[0])


def parse_version(text: str) -> _Point:
    """Return (major, minor, point) of a release ("6.12.117+deb13-amd64"), a vermagic or a whole banner.

    A release that carries no point release gives 0 for it: "5.10.0-30-amd64" is (5, 10, 0), unless a Debian
    banner tells it ("… Debian 5.10.218-1 …"). LabError if the text does not begin with a version.
    """
    match = _RELEASE.match(text.strip())
    if not match:
        raise LabError(f"{text[:60]!r} is no kernel version: one begins like 6.12.117 or 5.10.0-30-amd64")
    major, minor, point = (int(part or 0) for part in match.groups())
    banner = _BANNER.search(text)
    if banner and (int(banner[1]), int(banner[2])) == (major, minor):
        point = int(banner[3])
    return major, minor, point


def version_range(version: str) -> tuple[_Point, _Point]:
    """Return the first and last point release that a version may stand for.

    Debian's older names end in an ABI number ("5.10.0-30-amd64"), which only grows within a series and is
    the same for kernels that share their headers: it lies between the ABIs of the packages that were read.
    """
    point = parse_version(version)
    tail = version.strip()[_RELEASE.match(version.strip()).end() :]  # type: ignore[union-attr]
    if point[2] or not re.match(r"-\d", tail):
        return point, point
    low, high = point, (point[0], point[1], _END_OF_SERIES)
    if abi := _ABI.match(tail):
        number = int(abi[1])
        for kernel in _table()[0]:
            if kernel.point[:2] == point[:2] and kernel.abis:
                low = kernel.point if min(kernel.abis) <= number else low
                high = min(high, kernel.point) if max(kernel.abis) >= number else high
    return low, high


@cache
def _witnesses(version: str | None) -> tuple[int, ...]:
    """Return the kernels of the table that must agree before anything is said about `version`."""
    kernels, _ = _table()
    if version is None:
        return tuple(range(len(kernels)))
    low, high = version_range(version)
    below = max((kernel.point for kernel in kernels if kernel.point <= low), default=None)
    above = min((kernel.point for kernel in kernels if kernel.point >= high), default=None)
    if below is None or above is None:
        return ()
    # A stable series starts before its older sister ends, so another series speaks with all its kernels.
    others = {below[:2], above[:2]} - {low[:2]}
    points = (kernel.point for kernel in kernels)
    return tuple(i for i, point in enumerate(points) if below <= point <= above or point[:2] in others)


def _fixed_name(number: int, version: str | None) -> str | None:
    """Name a slot by hardware alone, where Linux never gave it another name."""
    word, bit = divmod(number, 32)
    kernels, rows = _table()
    old = version is not None and version_range(version)[0] < kernels[0].point
    if word not in HARDWARE_WORDS or (old and word >= _WORDS_OF_OLD):
        return None
    names = {row.name for row in rows if (row.word, row.bit) == (word, bit) and not row.name.startswith("BUG_")}
    return names.pop() if len(names) == 1 else None


def slot(number: int) -> str:
    """Return the number as "word*32+bit"."""
    return f"{number // 32}*32+{number % 32}"


def name(number: int, version: str | None = None) -> str:
    """Return the name of a feature without X86_FEATURE_, of a bug as "BUG_L1TF"; else "word*32+bit".

    The module's docstring says where a name may be given; without a version it must hold for all kernels
    read. LabError if the version is none, or the number negative.
    """
    if number < 0:
        raise LabError(f"feature number {number} is negative")
    witnesses = _witnesses(version)
    names = {_names(index).get(number) for index in witnesses}
    found = names.pop() if len(names) == 1 else None
    if found is None and len(witnesses) != 1:
        found = _fixed_name(number, version)
    return found or slot(number)


def number(name: str, version: str | None = None) -> int:
    """Return the number of a feature or bug: "CLEAR_CPU_BUF", "x86_bug_l1tf", "BUG_L1TF", "3*32+18", "114".

    A bare name is a feature, or else a bug ("SRSO" is both, and so the feature). Without a version the name
    must have one number in all kernels that have it. LabError, saying what is known, if there is no such
    name (with close ones), if this kernel was read and lacks it, or if the kernels around it disagree.
    """
    text = re.sub(r"\s", "", name).upper()
    if match := _SLOT.fullmatch(text):
        word, bit = (int(match[1]), int(match[2])) if match[1] else divmod(int(match[3]), 32)
        if bit >= 32 or word * 32 + bit >= _NUMBERS:
            raise LabError(f"feature {name[:60]!r}: bits end at 31, numbers at {_NUMBERS - 1}")
        return word * 32 + bit
    kernels, rows = _table()
    known = {row.name for row in rows}
    bare = re.sub(r"^X86_(FEATURE_|(?=BUG_))", "", text)
    found = bare if bare in known else f"BUG_{bare}"
    if found not in known or (text.startswith("X86_FEATURE_") and found != bare):
        similar = nearest(bare, known | {row.removeprefix("BUG_") for row in known}, most=3, alike=0.7)
        close = similar or sorted(row for row in known if len(bare) > 2 and bare in row)[:5]
        raise LabError(f"no feature or bug {name[:60]!r}{meant(close)}")
    places = [row for row in rows if row.name == found]
    everywhere = {i: row.number(kernels[i]) for row in places for i in range(row.first, row.last + 1)}
    witnesses = _witnesses(version)
    told = set(everywhere.values()) if version is None else {everywhere.get(i) for i in witnesses}
    answer = told.pop() if len(told) == 1 else None
    if answer is None and len(witnesses) != 1 and len(fixed := set(everywhere.values())) == 1:
        answer = fixed.pop() if _fixed_name(min(everywhere.values()), version) == found else None
    if answer is not None:
        return answer
    held = [i for i in witnesses if i in everywhere] or sorted(everywhere)
    spans = ", ".join(f"{slot(everywhere[i])} in {_text(kernels[i].point)}" for i in _turns(held, everywhere))
    if version is None:
        raise LabError(f"{found} has moved between kernels: name a version ({spans})")
    why = "has no" if len(witnesses) == 1 else "was not checked for"
    release = version.removeprefix("Linux version ").split()[0][:60]
    raise LabError(f"kernel {release} {why} {found}; give its word*32+bit instead (known: {spans})")


def _turns(indices: list[int], numbers: dict[int, int]) -> list[int]:
    """Keep the first kernel of each stretch with one number, so that a message stays one line."""
    befores = [None, *(numbers[index] for index in indices)]
    return [index for before, index in zip(befores, indices, strict=False) if numbers[index] != before]


def _text(point: _Point) -> str:
    return ".".join(map(str, point))


def word_counts(version: str) -> tuple[int, int] | None:
    """Return how many feature words and how many bug words after them the kernel has; None if unchecked."""
    counts = {_table()[0][index][2:] for index in _witnesses(version)}
    return counts.pop() if len(counts) == 1 else None


def from_words(words: Iterable[int]) -> frozenset[int]:
    """Return the numbers of the bits set in a list of 32-bit words. LabError if a word is wider."""
    words = tuple(words)
    for index, word in enumerate(words):
        if not 0 <= word < 1 << 32:
            raise LabError(f"feature word {index} is {word:#x}: a word holds 32 bits")
    return frozenset(i * 32 + bit for i, word in enumerate(words) for bit in range(32) if word >> bit & 1)


def parse_words(text: str) -> tuple[int, ...]:
    """Read "HEX,HEX,…" (0x is allowed), word 0 first. LabError names the first bad word and why."""
    for index, part in enumerate(parts := [part.strip() for part in text.split(",")]):
        if not re.fullmatch(r"(0[xX])?[0-9a-fA-F]{1,8}", part):
            why = "is empty" if not part else f"is {part[:20]!r}, not up to 8 hexadecimal digits"
            raise LabError(f"feature word {index} {why}")
    return tuple(int(part, 16) for part in parts)
