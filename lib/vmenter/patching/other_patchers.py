"""Other patchers: the tables by which a kernel rewrites its code at boot or later, apart from alternatives.

Each names addresses in code. A site of alternatives in which one of them lies, or in whose replacement, may end
up with other bytes than alternatives alone give: thunks and locks are rewritten before or after them, in an order
that the version decides; jump labels, static calls and tracing whenever somebody asks. Sources: vmlinux.lds.h,
alternative.c, paravirt.c, jump_label.c, static_call.c, ftrace.c.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from operator import add
from typing import NamedTuple

from vmenter.code.image import Image
from vmenter.patching.alternative_table import Site


class Source(NamedTuple):
    """One table: its section, the symbols around it where it has no section of its own, and its records."""

    section: str
    start: str
    stop: str
    size: int = 4  # bytes of a record, which begins with the address
    relative: bool = True  # s32, counted from its own place; else u64

    @property
    def name(self) -> str:
        """The section's name without its dot."""
        return self.section.removeprefix(".")


SOURCES = (
    Source(".parainstructions", "__parainstructions", "__parainstructions_end", 16, relative=False),  # to v6.7
    Source(".retpoline_sites", "__retpoline_sites", "__retpoline_sites_end"),
    Source(".return_sites", "__return_sites", "__return_sites_end"),
    Source(".call_sites", "__call_sites", "__call_sites_end"),
    Source(".ibt_endbr_seal", "__ibt_endbr_seal", "__ibt_endbr_seal_end"),
    Source(".smp_locks", "__smp_locks", "__smp_locks_end"),
    Source("__jump_table", "__start___jump_table", "__stop___jump_table", 16),
    Source(".static_call_sites", "__start_static_call_sites", "__stop_static_call_sites", 8),
    Source("__mcount_loc", "__start_mcount_loc", "__stop_mcount_loc", 8, relative=False),
)

REWRITING = ("parainstructions", "retpoline_sites", "smp_locks", "static_call_sites", "__mcount_loc")


def addresses(image: Image, source: Source) -> frozenset[int]:
    """Return what a table names; nothing where the image has no such table, or none that can be found."""
    table = image.table(source.section, source.start, source.stop)
    if table is None:
        return frozenset()
    start, data = table
    whole = memoryview(data[: len(data) // source.size * source.size])
    if not source.relative:
        return frozenset(whole.cast("Q")[:: source.size // 8])
    places = range(start, start + len(whole), source.size)
    return frozenset(map(add, places, whole.cast("i")[:: source.size // 4]))


@lru_cache(maxsize=2)
def _named(image: Image) -> Mapping[str, frozenset[int]]:
    return {source.name: addresses(image, source) for source in SOURCES}


def rewriting(image: Image, places: Collection[int]) -> tuple[str, int] | None:
    """Return a table by which a kernel puts other code at one of these addresses, and which; None if none does.

    Not those that touch but what a stub may hold anyway: returns, the padding of calls, ENDBR. Static branches are
    known by their keys.
    """
    tables = _named(image)
    return next(((name, at) for name in REWRITING for at in sorted(tables[name].intersection(places))), None)


def marked(image: Image, sites: Iterable[Site]) -> tuple[Site, ...]:
    """Return the sites, each with the tables of other patchers that name an address in it or in a replacement."""
    sites = tuple(sites)
    owners: defaultdict[int, list[int]] = defaultdict(list)  # address → which sites
    for index, site in enumerate(sites):
        spans = [(site.address, site.length), *((e.replacement, e.replacement_length) for e in site.entries)]
        for address in (address for start, length in spans for address in range(start, start + length)):
            owners[address].append(index)
    also: defaultdict[int, list[str]] = defaultdict(list)
    for name, there in _named(image).items():
        for index in {index for address in there & owners.keys() for index in owners[address]}:
            also[index].append(name)
    return tuple(replace(site, also=tuple(also[index])) for index, site in enumerate(sites))
