"""What a guest could sample of a few things a host did: the model of `buffers`, and one of the L1 data cache.

A scene is a short list of deeds before VM-Enter. Every load and store passes through the buffers, where later ones
push it out, and leaves its line in the L1 data cache, which is far larger and is never full here. VERW empties the
buffers alone; the L1D flush empties both, as the kernel counts on it. MDS reads the buffers and chooses nothing;
L1TF reads the cache at an address it chooses. Sources: the kernel's Documentation/arch/x86/mds.rst,
Documentation/admin-guide/hw-vuln/mds.rst and l1tf.rst. What `buffers.LEAVES_OUT` names is missing here, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vmenter.emulator.buffers import through
from vmenter.emulator.memory import Owner
from vmenter.emulator.trace import LINE, Access

ENTRIES = 4  # so few that a scene can fill them


class Kind(StrEnum):
    """What a host can do in a scene."""

    LOAD = "load"
    STORE = "store"
    VERW = "verw"
    FLUSH = "l1d_flush"


class Flaw(StrEnum):
    """What the guest uses."""

    MDS = "MDS"
    L1TF = "L1TF"


class Fate(StrEnum):
    """Why a value can be read, or cannot."""

    BUFFERED = "buffered"  # it is in an entry
    CACHED = "cached"  # its line is in the L1 data cache
    UNTOUCHED = "untouched"  # the host never touched it
    PUSHED_OUT = "pushed_out"  # later ones took its entry
    VERW = "verw"  # it was cleared by VERW
    FLUSHED = "flushed"  # it was cleared by the flush


@dataclass(frozen=True)
class Deed:
    """One step of the host; `value` names what is loaded or stored, each on a line of its own."""

    kind: Kind
    value: str = ""


def buffered(deeds: Sequence[Deed], size: int = ENTRIES) -> tuple[str, ...]:
    """Return the values in the buffers after these deeds, the one that passed last at the end."""
    names = list(dict.fromkeys(deed.value for deed in deeds if deed.value))
    accesses = [
        Access(step, names.index(deed.value) * LINE, 8, deed.kind is Kind.STORE, 0, Owner.HOST)
        for step, deed in enumerate(deeds)
        if deed.value
    ]
    clears = [step for step, deed in enumerate(deeds) if not deed.value]
    return tuple(names[line] for line in through(accesses, clears, size))


def cached(deeds: Sequence[Deed]) -> tuple[str, ...]:
    """Return the values whose lines are in the L1 data cache after these deeds."""
    found: dict[str, None] = {}
    for deed in deeds:
        if deed.kind is Kind.FLUSH:
            found.clear()
        elif deed.value:
            found[deed.value] = None
    return tuple(found)


def readable(deeds: Sequence[Deed], flaw: Flaw, size: int = ENTRIES) -> tuple[str, ...]:
    """Return the values that a guest with this flaw could get after these deeds."""
    return buffered(deeds, size) if flaw is Flaw.MDS else cached(deeds)


def fate(value: str, deeds: Sequence[Deed], flaw: Flaw, size: int = ENTRIES) -> Fate:
    """Return what became of a value, as far as a guest with this flaw is concerned."""
    touched = [step for step, deed in enumerate(deeds) if deed.value == value]
    if not touched:
        return Fate.UNTOUCHED
    if value in readable(deeds, flaw, size):
        return Fate.BUFFERED if flaw is Flaw.MDS else Fate.CACHED
    if flaw is Flaw.L1TF:
        return Fate.FLUSHED
    clear = next((step for step in range(touched[-1], len(deeds)) if not deeds[step].value), None)
    if clear is None or value not in buffered(deeds[:clear], size):
        return Fate.PUSHED_OUT
    return Fate.FLUSHED if deeds[clear].kind is Kind.FLUSH else Fate.VERW
