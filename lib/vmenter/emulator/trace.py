"""What a run of the machine leaves behind: every instruction, every memory access, and what they mean.

A `Trace` keeps numbers only; text, names and owners are worked out when somebody asks. Steps count from 0, and
the VM-Enter instruction is the last one. A string instruction with a REP prefix is one step, however often it
repeats. Distance is counted as the course defines it: instructions (NOPs included) and data accesses strictly
between the last clear and VM-Enter; the clear's own accesses, such as VERW's look at its selector, do not count.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from vmenter.code.image import Image
from vmenter.code.instructions import Instruction
from vmenter.emulator.memory import PAGE, STACK, STACK_SIZE, VCPU, Layout, Owner

# An access as the machine notes it: step, address, size, whether it writes, and the value if it does.
RawAccess = tuple[int, int, int, bool, int]

LINE = 64  # bytes of a cache line
POINTER = 8  # bytes
LONGEST_LOOP = 256  # instructions of a loop's body that folding looks for
L1D_LINES = 64 * 1024 // LINE  # what the software flush must read: 64 KiB, every line (vmx_l1d_flush, 4.19 on)


class End(StrEnum):
    """How a run ended."""

    VM_ENTER = "VM-Enter"
    RETURN = "return"
    BUDGET = "budget"


class EventKind(StrEnum):
    """What can happen on the way that the course is about."""

    VERW = "verw"
    L1D_FLUSH = "l1d_flush"  # WRMSR to IA32_FLUSH_CMD, bit 0
    L1D_FLUSH_LOOP = "l1d_flush_loop"  # 64 KiB read, line by line
    LFENCE = "lfence"
    FB_CLEAR_DIS_SET = "fb_clear_dis_set"  # WRMSR to IA32_MCU_OPT_CTRL, bit 3 set
    FB_CLEAR_DIS_CLEAR = "fb_clear_dis_clear"
    WRMSR = "wrmsr"  # any other
    CALL = "call"
    VM_ENTER = "vm_enter"


CLEARS = frozenset({EventKind.VERW, EventKind.L1D_FLUSH, EventKind.L1D_FLUSH_LOOP})


class Event(NamedTuple):
    """Something that happened at a step."""

    kind: EventKind
    step: int
    address: int  # of the instruction
    value: int = 0  # WRMSR and its kin: the MSR's number; CALL: where it went
    neutralised: bool = False  # VERW: it ran while FB_CLEAR_DIS was set


class Access(NamedTuple):
    """One access to memory; what is wider than 8 bytes comes as several."""

    step: int
    address: int
    size: int  # bytes
    write: bool
    value: int  # read or written, unsigned
    owner: Owner

    @property
    def text(self) -> str:
        """For example ``reads 8 bytes of vCPU at 0x71000128``."""
        verb = "writes" if self.write else "reads"
        return f"{verb} {self.size} byte{'s' * (self.size != 1)} of {self.owner} at {self.address:#x}"


class Distance(NamedTuple):
    """What ran between the last clear and VM-Enter."""

    instructions: int
    accesses: int


class Stretch(NamedTuple):
    """Steps [first, first + length) ran, and then the same instructions again, `times` times in all."""

    first: int
    length: int
    times: int


@dataclass(frozen=True)
class Trace:
    """One run, from a symbol to VM-Enter, to the function's return, or to the end of a budget."""

    layout: Layout = field(repr=False, compare=False)
    end: End
    steps: tuple[int, ...] = field(repr=False)  # addresses of the instructions, in order
    raw_accesses: tuple[RawAccess, ...] = field(repr=False)
    raw_events: tuple[Event, ...] = field(repr=False)  # all but what only the whole run shows
    code: Mapping[int, Instruction] = field(repr=False, compare=False)  # at least those that ran, by address
    first: Mapping[int, bytes] = field(repr=False, compare=False)  # memory before, by page number; zeros if absent
    pokes: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)  # what was then put over it for this run
    flag_offsets: frozenset[int] = frozenset()  # bytes of the vCPU that are flags

    @property
    def image(self) -> Image:
        """The image that ran, patched as it was."""
        return self.layout.image

    # --- what ran ---

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """Every instruction in the order it ran."""
        return tuple(self.code[address] for address in self.steps)

    def where(self, step: int) -> str:
        """Return ``symbol+0x1f`` for a step."""
        return self.image.label(self.steps[step])

    @property
    def vm_enter(self) -> str | None:
        """VMLAUNCH, VMRESUME or VMRUN; None if the run ended otherwise."""
        return self.code[self.steps[-1]].mnemonic.upper() if self.end is End.VM_ENTER else None

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """What happened, in order: also where each call went, and software flush loops."""
        found = [
            event._replace(value=self.steps[event.step + 1])
            if event.kind is EventKind.CALL and event.step + 1 < len(self.steps)
            else event
            for event in self.raw_events
        ]
        loops = flush_loops(self.raw_accesses)
        found += [Event(EventKind.L1D_FLUSH_LOOP, step, self.steps[step]) for step in loops]
        return tuple(sorted(found, key=lambda event: event.step))

    @cached_property
    def accesses(self) -> tuple[Access, ...]:
        """Every access to memory, in order, with its value and with whose memory it was."""
        flags = self._looked_at()
        memory: dict[int, int] = {}  # bytes that are not what they were before the run
        for address, data in self.pokes:
            memory.update(enumerate(data, address))
        result = []
        for index, (step, address, size, write, value) in enumerate(self.raw_accesses):
            if write:
                data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
                memory.update(enumerate(data, address))
            else:
                data = bytes(memory.get(at, self._before(at)) for at in range(address, address + size))
            owner = Owner.FLAGS if index in flags else self._owner(address)
            result.append(Access(step, address, size, write, int.from_bytes(data, "little"), owner))
        return tuple(result)

    def _before(self, address: int) -> int:
        """Return a byte of memory as it was before the run."""
        page = self.first.get(address // PAGE)
        return page[address % PAGE] if page else 0

    def _owner(self, address: int) -> Owner:
        return Owner.FLAGS if address - VCPU in self.flag_offsets else self.layout.owner(address)

    def _looked_at(self) -> frozenset[int]:
        """Return the accesses, by index, that look at a flag, and the writes that put it where it is looked at.

        Memory of the stack or the vCPU that TEST, BT or CMP holds against a constant is a flag: so the stubs look
        at their run flags. Host data stays host data, whoever looks; and what was put there and could be an
        address (none is smaller than a page) is no flag: a register that was saved, say. A slot of the stack has
        many lives, so only the last write before such a look belongs to it.
        """
        found: set[int] = set()
        last_write: dict[int, int] = {}  # by 8-byte word
        for index, (step, address, _, write, _) in enumerate(self.raw_accesses):
            if write:
                last_write[address >> 3] = index
            elif _looks_at_flag(self.code[self.steps[step]]) and self._may_be_flags(address):
                put = last_write.get(address >> 3, index)
                if self.raw_accesses[put][4] < PAGE:
                    found.update({index, put})
        return frozenset(found)

    def _may_be_flags(self, address: int) -> bool:
        return self.layout.owner(address) in (Owner.STACK, Owner.VCPU)

    @property
    def kept_stack_pointers(self) -> dict[str | int, int | bytes]:
        """Where outside of the stack an address on it was put, and which: {address: value}.

        So KVM keeps the RSP that the VMCS has for the host. Put there before another run, that run finds it
        unchanged, as most VM-Enters of a booted kernel do.
        """
        return {
            address: value
            for _, address, size, write, value in self.raw_accesses
            if write and size == POINTER and _on_stack(value) and not _on_stack(address)
        }

    @cached_property
    def written(self) -> Mapping[int, int]:
        """Address → byte of all that the run wrote, as it was at the end."""
        found: dict[int, int] = {}
        for _, address, size, write, value in self.raw_accesses:
            if write:
                data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
                found.update(enumerate(data, address))
        return found

    # --- what it means ---

    @cached_property
    def clears(self) -> tuple[Event, ...]:
        """Each VERW and L1D flush, by MSR or by loop, in order."""
        return tuple(event for event in self.events if event.kind in CLEARS)

    @property
    def cleared_by(self) -> EventKind | None:
        """The last clear's kind; None if nothing cleared."""
        return self.clears[-1].kind if self.clears else None

    @property
    def cleared(self) -> bool:
        """Whether a VERW or an L1D flush ran. What the microcode makes of it is not the trace's to know."""
        return bool(self.clears)

    @property
    def verw(self) -> int:
        """How many VERWs ran."""
        return verws(self.events)

    @property
    def l1d_flushed(self) -> bool:
        """Whether an L1D flush ran, by MSR or by loop."""
        return l1d_flushed(self.events)

    @property
    def neutralised(self) -> bool:
        """Whether a VERW ran while FB_CLEAR_DIS was set."""
        return any(event.neutralised for event in self.events)

    @cached_property
    def distance(self) -> Distance | None:
        """What ran strictly between the last clear and VM-Enter; None without a clear or a VM-Enter."""
        if self.end is not End.VM_ENTER or not self.clears:
            return None
        clear, enter = self.clears[-1].step, len(self.steps) - 1
        between = sum(clear < access[0] < enter for access in self.raw_accesses)
        return Distance(enter - clear - 1, between)

    # --- to look at ---

    @cached_property
    def folded(self) -> tuple[Stretch, ...]:
        """The steps with loops folded: stretches that follow on one another and cover all of them."""
        return tuple(_fold(self.steps))

    @property
    def text(self) -> str:
        """The whole run as plain text, loops folded, a line an instruction."""
        events = {event.step: event for event in self.events}
        lines = []
        for first, length, times in self.folded:
            if times > 1:
                lines.append(f"the next {length} ran {times:,} times:")
            for step in range(first, first + length):
                note = f"  <- {events[step].kind}" if step in events else ""
                note += " (neutralised)" if step in events and events[step].neutralised else ""
                lines.append(f"{step:>6} {self.where(step):<32} {self.instructions[step].text}{note}")
        lines.append(f"end: {self.vm_enter or self.end}")
        return "\n".join(lines)


def _on_stack(address: int) -> bool:
    return STACK <= address < STACK + STACK_SIZE


def _looks_at_flag(instruction: Instruction) -> bool:
    """Tell whether this is TEST, BT or CMP of memory with a constant."""
    return instruction.operands.startswith("$") and instruction.mnemonic.rstrip("bwlq") in ("test", "bt", "cmp")


def verws(events: Iterable[Event]) -> int:
    """Return how many VERWs are among events."""
    return sum(event.kind is EventKind.VERW for event in events)


def l1d_flushed(events: Iterable[Event]) -> bool:
    """Tell whether a flush of the L1D, by MSR or by loop, is among events."""
    return any(event.kind in (EventKind.L1D_FLUSH, EventKind.L1D_FLUSH_LOOP) for event in events)


def flush_loops(accesses: tuple[RawAccess, ...]) -> list[int]:
    """Return the step of the last load of each loop that reads 64 KiB or more, line after line.

    A loop is known by what it does, whatever it looks like and whatever else it reads on the way.
    """
    found: list[int] = []
    chains: dict[int, tuple[int, int]] = {}  # the line that would go on -> lines so far, place in `found`
    if len(accesses) < L1D_LINES:
        return found
    for step, address, _, write, _ in accesses:
        if write:
            continue
        line = address // LINE
        lines, place = chains.pop(line, (0, -1))
        lines += 1
        if lines == L1D_LINES:
            place = len(found)
            found.append(step)
        elif lines > L1D_LINES:
            found[place] = step
        if lines >= chains.get(line + 1, (0, -1))[0]:
            chains[line + 1] = lines, place
    return found


def _fold(steps: tuple[int, ...]) -> Iterator[Stretch]:
    """Yield stretches: where the same addresses follow on one another, the first round and how many there were."""
    at, plain, total = 0, 0, len(steps)
    later: dict[int, int] = {}  # for each step, the next one at the same address
    seen: dict[int, int] = {}
    for index in range(total - 1, -1, -1):
        later[index] = seen.get(steps[index], total)
        seen[steps[index]] = index
    while at < total:
        period = later[at] - at
        end = at + period
        while (
            period <= LONGEST_LOOP
            and end + period <= total
            and steps[at : at + period] == steps[end : end + period]
        ):
            end += period
        times = (end - at) // period if later[at] < total else 1
        if times > 1:
            if plain < at:
                yield Stretch(plain, at - plain, 1)
            yield Stretch(at, period, times)
            at = plain = end
        else:
            at += 1
    if plain < total:
        yield Stretch(plain, total - plain, 1)
