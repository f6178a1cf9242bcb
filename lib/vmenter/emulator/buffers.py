"""What could be left in a CPU's buffers at VM-Enter: a model, deliberately simple, to draw and to think with.

A few entries of a line each; every memory access of a trace passes through them, the entry unused for longest
makes room. VERW empties them, unless FB_CLEAR_DIS is set; so does an L1D flush by MSR. It is no picture of any
processor (`LEAVES_OUT` says what is missing), and no verdict of the course rests on it. Sources for what is
modelled: the kernel's Documentation/arch/x86/mds.rst and Documentation/admin-guide/hw-vuln/
processor_mmio_stale_data.rst.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vmenter.emulator.memory import Owner
from vmenter.emulator.trace import LINE, Access, End, EventKind, Trace

ENTRIES = 8
SECRET = 0x5EC2E7  # how the machine's host registers begin, so that they are easy to spot
LEAVES_OUT = (
    "which buffer it is (fill buffers, store buffer, load ports), how many entries, how they are replaced",
    "that most accesses hit the L1 cache and pass through no fill buffer at all",
    "instruction fetches, page walks, prefetches, and what ran only speculatively",
    "the other hyperthread, which shares or divides these buffers",
    "whether the microcode makes VERW clear anything, and what the software L1D flush does to the buffers",
)


class Residue(NamedTuple):
    """A value that is still there, and the instruction that brought it."""

    value: int
    address: int
    size: int  # bytes
    written: bool  # stored, not loaded
    owner: Owner
    step: int
    where: str  # symbol+0x1f of the instruction
    instruction: str

    @property
    def text(self) -> str:
        """For example ``stack 0x70007ef0: 0x5ec2e70000000001, stored by enter+0x1 pushq %rbx``."""
        verb = "stored" if self.written else "loaded"
        value = f"{self.value:#0{2 + 2 * self.size}x}"
        return f"{self.owner} {self.address:#x}: {value}, {verb} by {self.where} {self.instruction}"


class Entry(NamedTuple):
    """One entry: a line's address, and what passed through it since it was taken for that line."""

    line: int
    residues: tuple[Residue, ...]


@dataclass(frozen=True)
class Buffers:
    """What the model says is left when the run ended; the entry used last comes last."""

    entries: tuple[Entry, ...]
    size: int  # how many entries there are
    end: End

    @property
    def residues(self) -> tuple[Residue, ...]:
        """All that is left, in the order it came."""
        return tuple(sorted((r for entry in self.entries for r in entry.residues), key=lambda r: r.step))

    @property
    def secrets(self) -> tuple[Residue, ...]:
        """Those of `residues` that are the host's own register values."""
        return tuple(residue for residue in self.residues if residue.value >> 40 == SECRET)

    @property
    def text(self) -> str:
        """The picture as plain text, labelled as the model it is."""
        lines = [f"A model of {self.size} line-sized buffer entries at {self.end}; no measurement, no verdict."]
        lines += [f"- {residue.text}" for residue in self.residues] or ["- nothing is left"]
        lines += [f"Left out: {'; '.join(LEAVES_OUT)}."]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text


def left(trace: Trace, size: int = ENTRIES) -> Buffers:
    """Return what is left in `size` entries when the run of `trace` ends."""
    entries = through(trace.accesses, _emptied(trace), size)
    found = tuple(
        Entry(line * LINE, tuple(_residue(trace, access) for access in held)) for line, held in entries.items()
    )
    return Buffers(found, size, trace.end)


def through(accesses: Iterable[Access], clears: Iterable[int], size: int = ENTRIES) -> dict[int, list[Access]]:
    """Return what `size` entries hold once all accesses have passed, by line; the one used last stands last.

    `clears` are the steps that empty them, in order. This is the whole model.
    """
    entries: dict[int, list[Access]] = {}
    steps = iter(clears)
    next_clear = next(steps, None)
    for access in accesses:
        while next_clear is not None and next_clear < access.step:
            entries.clear()
            next_clear = next(steps, None)
        for line in range(access.address // LINE, (access.address + access.size - 1) // LINE + 1):
            held = entries.pop(line, [])
            if line not in entries and len(entries) >= size:
                del entries[next(iter(entries))]
            entries[line] = [*(old for old in held if not _covers(access, old)), access]
    if next_clear is not None:
        entries.clear()
    return entries


def _emptied(trace: Trace) -> Iterator[int]:
    """Yield the steps that empty the buffers."""
    for event in trace.events:
        if event.kind is EventKind.L1D_FLUSH or (event.kind is EventKind.VERW and not event.neutralised):
            yield event.step


def _covers(new: Access, old: Access) -> bool:
    """Tell whether all bytes of an access are the newer one's as well."""
    return new.address <= old.address and old.address + old.size <= new.address + new.size


def _residue(trace: Trace, access: Access) -> Residue:
    return Residue(
        value=access.value,
        address=access.address,
        size=access.size,
        written=access.write,
        owner=access.owner,
        step=access.step,
        where=trace.where(access.step),
        instruction=trace.instructions[access.step].text,
    )
