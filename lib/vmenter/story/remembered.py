"""Runs of one code that need not be made again: what a run never touched cannot have mattered to it.

A run is told a row of things, each of which stands at a place in memory: a flag of the vCPU, the code at a site
that patching may change. A run that executed, read and wrote none of a place's bytes would have been the same with
anything else there. So a new row has a known run if it agrees with one wherever that one looked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vmenter.patching import static_keys
from vmenter.patching.alternative_table import read

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from vmenter.code.image import Image
    from vmenter.emulator.trace import Trace

Run = TypeVar("Run")
Told = tuple[Any, ...]


class Remembered(Generic[Run]):
    """The runs so far, by what each touched of what it was told, and by what stood there."""

    def __init__(self) -> None:
        self._runs: dict[tuple[int, ...], dict[Told, Run]] = {}

    def __len__(self) -> int:
        """Return how many runs are remembered."""
        return sum(map(len, self._runs.values()))

    def find(self, told: Told) -> Run | None:
        """Return the run that this row would give, if it is known."""
        for touched, runs in self._runs.items():
            if (found := runs.get(tuple([told[number] for number in touched]))) is not None:
                return found
        return None

    def keep(self, told: Told, touched: tuple[int, ...], run: Run) -> None:
        """Remember a run that was told this, and touched of it what has these numbers."""
        self._runs.setdefault(touched, {})[tuple([told[number] for number in touched])] = run


@lru_cache(maxsize=64)
def sites(image: Image) -> tuple[range, ...]:
    """Return where patching and static branches can make an image's code differ."""
    patched = {range(site.address, site.address + site.length) for site in read(image).sites}
    flipped = {range(branch.site, branch.site + branch.length) for branch in static_keys.branches(image)}
    return tuple(sorted(patched | flipped, key=lambda place: (place.start, place.stop)))


@lru_cache(maxsize=512)
def code_at(image: Image, places: tuple[range, ...]) -> tuple[bytes, ...]:
    """Return the code that stands at each place."""
    return tuple(image.read(place.start, len(place)) for place in places)


def touched(trace: Trace, places: Sequence[Collection[int]]) -> tuple[int, ...]:
    """Return the places, by number, of which a run executed, read or wrote a byte; an empty one counts always."""
    seen = {at for start in set(trace.steps) for at in range(start, trace.code[start].end)}
    for _, address, size, *_ in trace.raw_accesses:
        seen.update(range(address, address + size))
    return tuple(number for number, place in enumerate(places) if not place or not seen.isdisjoint(place))
