"""Runs of a function of a real kernel with chosen contents of memory, registers, features and static keys.

The machine's runs (`recorder`), with what it takes for code out of its place: functions that the image does not
have become stubs (`outside`); sites of alternatives and static branches are patched when a run comes to them; a
pointer that was read from memory nobody wrote is steered to where there is room; and a run that cannot go on, or
comes to the call it was to come to, is an end like any other.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from vmenter.code.image import STUB_SIZE, Image
from vmenter.emulator.cpu import Fault, Saved
from vmenter.emulator.machine import REGISTERS, Budget
from vmenter.emulator.memory import (
    FLUSH_PAGES,
    FLUSH_SIZE,
    GS_BASE,
    PAGE,
    STACK,
    STACK_SIZE,
    STACK_START,
    VCPU,
    Owner,
)
from vmenter.emulator.trace import End, Trace
from vmenter.kernels import outside
from vmenter.kernels.dataflow import (
    FLAGS,
    PLACES,
    STACK_PLACE,
    VCPU_PLACE,
    Flow,
    Input,
    Taint,
    family,
    follow,
)
from vmenter.kernels.recorder import Recorder
from vmenter.patching import alternatives, static_keys
from vmenter.patching.alternative_table import Rules, Site, read
from vmenter.patching.static_keys import StaticBranch

CALL_CUT = b"\x0f\x01\xc3"  # put where a run is to stop
MOST_STEERED = 16
MOST_TRIES = 64
MOST_COUNTED = 1000  # instructions of one run: loops cost less than their length
ALWAYS = 3 * 32 + 21  # X86_FEATURE_ALWAYS, in every kernel since 3.x

Chosen = Mapping[Any, int]
"""("feature", number) or ("key", name) → 0 or 1; `Input` → its content."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run, wherever it ended."""

    trace: Trace
    end: str  # "VMLAUNCH" and so on, "call", "return", "budget" or "fault: why"
    notes: Mapping[int, Saved]  # step → registers right before it
    registers: Saved  # at the end
    start: Mapping[str, Taint] = field(default_factory=dict)
    fault: Fault | None = None  # where nothing was mapped
    constant: Any = None
    watched: frozenset[int] = frozenset()

    @property
    def steps(self) -> tuple[int, ...]:
        """Addresses, in order."""
        return self.trace.steps

    @cached_property
    def flow(self) -> Flow:
        """What reached each step."""
        trace = self.trace
        return follow(trace.steps, trace.code, trace.raw_accesses, self.start, self.constant, self.watched)

    @cached_property
    def _poked(self) -> dict[int, int]:
        return {at: byte for address, data in self.trace.pokes for at, byte in enumerate(data, address)}

    def initial(self, address: int) -> int:
        """Return a byte of memory as the run found it."""
        if address in self._poked:
            return self._poked[address]
        page = self.trace.first.get(address // PAGE)
        return page[address % PAGE] if page else 0


class Runs:
    """Runs from an address on. `until`: addresses of what is called, where they end. `arguments`: registers."""

    def __init__(
        self,
        image: Image,
        start: int,
        how: Rules,
        arguments: Mapping[str, int],
        until: Collection[int] = (),
        budget: Budget | None = None,
    ) -> None:
        self.image = image.with_bytes(dict.fromkeys(until, CALL_CUT))
        self.start, self.how, self.until, self.budget = start, how, frozenset(until), budget
        self.arguments = dict(arguments)
        self.sites, self.branches = _tables(image, how)
        self.reached: set[int] = set()  # sites and branches that a run came to
        self.functions: dict[str, bytes] = {}  # what is undefined and was called
        self.pointers: dict[int, tuple[int, str]] = {}  # place of a pointer → its thunk, and a name
        self.base: dict[Input, int] = {}  # contents that keep runs inside what is mapped
        self.count = self.steps = 0  # runs, and instructions in them
        self.names: dict[int, str] = {}  # addresses of what stubs return → in words
        self._patches: dict[Any, bytes | None] = {}
        self._images: dict[Any, Image] = {}
        self._done: dict[Any, Run] = {}  # runs as they would be again: see `run`
        self._undefined = sorted((address, name) for name, address in image.undefined.items())
        self._named = dict(self._undefined)
        self._constant: dict[int, bool] = {}  # by sixteen bytes
        self._machine: Recorder | None = None
        self.patched_at = {
            site.address + n: site.address for site in self.sites.values() for n in range(site.length)
        }
        self.patched_at |= {address: address for address in self.branches}
        self.watch = frozenset(self.patched_at)

    # --- one run ---

    def run(self, chosen: Chosen) -> Run:
        """Run with these contents; all else is as it is at first: features and keys off, memory zero or itself.

        A run that was made is not made again: not with the same contents, and off is what all is at first.
        """
        known = self._known(chosen)
        if (found := self._done.get(known)) is not None:
            return found
        run = self._tried(chosen)
        self._done[self._known(chosen)] = run
        return run

    def _known(self, chosen: Chosen) -> Any:
        """Return all that a run depends on, whatever was learned since the last one among it."""
        contents = frozenset((what, value) for what, value in chosen.items() if value or isinstance(what, Input))
        learned = len(self.reached), len(self.functions), len(self.pointers), tuple(self.base.items())
        return contents, learned, tuple(self.arguments.items())

    def _tried(self, chosen: Chosen) -> Run:
        run = self._once(chosen)
        for _ in range(MOST_TRIES):
            if not (
                self._new_sites(run)
                or self._new_functions(run)
                or self._new_pointer(run)
                or self._steer(run, chosen)
            ):
                break
            run = self._once(chosen)
        return run

    def _once(self, chosen: Chosen) -> Run:
        machine, image = self._prepared(chosen), self._image(chosen)
        if machine.image is not image:
            machine.load(image)
        found = machine.attempt(self.start, self._registers(chosen), self._memory(chosen))
        self.count += 1
        self.steps += min(len(found[0].steps), MOST_COUNTED)
        trace, why, notes, registers, fault = found
        return self._ended(trace, why, notes, registers, fault, chosen)

    def _prepared(self, chosen: Chosen) -> Recorder:
        if self._machine is None:
            more = {"budget": self.budget} if self.budget else {}
            self._machine = Recorder(self._image(chosen), self.watch, stubs=self.functions, **more)
        return self._machine

    def _registers(self, chosen: Chosen) -> dict[str, int]:
        found = dict(self.arguments)
        for contents in (self.base, chosen):
            found |= {
                str(one.where): v
                for one, v in contents.items()
                if isinstance(one, Input) and one.kind == "register"
            }
        return found

    def _memory(self, chosen: Chosen) -> dict[str | int, int | bytes]:
        found: dict[str | int, int | bytes] = {}
        for place, (thunk, _) in self.pointers.items():
            found[place] = thunk.to_bytes(8, "little")
            found[thunk] = outside.clobbering(thunk, thunk + outside.THUNK_DATA)
        for contents in (self.base, chosen):
            for one, value in contents.items():
                if isinstance(one, Input) and one.kind == "memory" and isinstance(one.where, int):
                    found[one.where] = (value & (1 << 8 * one.size) - 1).to_bytes(one.size, "little")
        return found

    def _ended(self, trace: Trace, why: str | None, notes: Any, registers: Any, fault: Any, chosen: Chosen) -> Run:
        if why is not None:
            end = f"fault: {why}"
        elif trace.end is End.VM_ENTER:
            end = "call" if trace.steps[-1] in self.until else trace.vm_enter or ""
        else:
            end = str(trace.end)
        started = self._registers(chosen)
        pointers = {name for name, value in self.arguments.items() if value >= STACK}
        start = {
            name: frozenset({Input("register", name, 8)})
            for name in (*REGISTERS[:-1], FLAGS)
            if name not in pointers | {"rsp", "rip"} and (name in started or name not in self.arguments)
        }
        start |= dict.fromkeys(pointers, frozenset({VCPU_PLACE})) | {"rsp": frozenset({STACK_PLACE})}
        return Run(
            trace,
            end,
            dict(notes),
            registers,
            start,
            fault,
            self.constant,
            frozenset(self._machine.noted | self.watch),  # type: ignore[union-attr]
        )

    def constant(self, address: int) -> bool:
        """Tell whether memory never changes: what of the image cannot be written, and the return address."""
        if address >> 3 == STACK_START >> 3 or address in self.pointers:
            return True
        place = address >> 4
        if place not in self._constant:
            here = [one.writable for one in self.image.sections if one.address >> 4 <= place <= one.end >> 4]
            self._constant[place] = bool(here) and True not in here
        return self._constant[place]

    # --- code as features and keys make it ---

    def _image(self, chosen: Chosen) -> Image:
        on = frozenset({ALWAYS, *(what[1] for what, v in chosen.items() if what[0] == "feature" and v)})
        keys = frozenset(what[1] for what, v in chosen.items() if what[0] == "key" and v)
        key = on, keys, len(self.reached)
        if key not in self._images:
            changes = {}
            for address in self.reached:
                code = self._code_at(address, on, keys)
                if code is not None:
                    changes[address] = code
            self._images[key] = self.image.with_bytes(changes)
        return self._images[key]

    def _code_at(self, address: int, on: frozenset[int], keys: frozenset[str]) -> bytes | None:
        branch = self.branches.get(address)
        if branch is not None:
            return branch.code(enabled=branch.key in keys)
        site = self.sites[address]
        asked = address, on.intersection(entry.feature for entry in site.entries)
        if asked not in self._patches:
            self._patches[asked] = alternatives.patch(self.image, site, on, self.how).code
        return self._patches[asked]

    def features_at(self, address: int) -> tuple[int, ...]:
        """Return the features that a site at or around an address asks for, in order."""
        site = self.sites.get(self.patched_at.get(address, address))
        asked = dict.fromkeys(entry.feature for entry in site.entries) if site else {}
        return tuple(number for number in asked if number != ALWAYS)

    def key_at(self, address: int) -> str | None:
        """Return the static key that an address asks for."""
        branch = self.branches.get(address)
        return branch.key if branch else None

    def _new_sites(self, run: Run) -> bool:
        new = {self.patched_at[address] for address in self.watch.intersection(run.steps)} - self.reached
        self.reached |= new
        return bool(new)

    # --- what is not in the image ---

    def _new_functions(self, run: Run) -> bool:
        """Make stubs of undefined functions that were called for the first time."""
        called = self._named
        new = [
            address
            for address in dict.fromkeys(run.steps)
            if address in called and called[address] not in self.functions
        ]
        for address in new:
            name = called[address]
            self.functions[name] = outside.function(name, address)
            self.names |= outside.names(address + outside.ROOM, name)
        if new and self._machine is not None:
            self._machine.take(self.functions)
        return bool(new)

    def _new_pointer(self, run: Run) -> bool:
        """Give a pointer that leads nowhere a stub to lead to, where a call or jump went through it."""
        if not run.end.startswith("fault") or not run.steps or len(self.pointers) >= outside.MOST_THUNKS:
            return False
        last = run.trace.code[run.steps[-1]]
        if not last.mnemonic.startswith(("call", "jmp")) or not last.operands.startswith("*"):
            return False
        reads = [a for a in run.trace.raw_accesses if a[0] == len(run.steps) - 1 and not a[3] and a[2] == 8]
        if not reads or reads[-1][1] in self.pointers or not self._outside(reads[-1][1]):
            return False
        place = reads[-1][1]
        thunk = outside.THUNKS + outside.THUNK_SIZE * len(self.pointers)
        name = f"*{self.label(place)}"
        self.pointers[place] = thunk, name
        self.names |= outside.names(thunk + outside.THUNK_DATA, name)
        return True

    def _outside(self, address: int) -> bool:
        return (
            bool(self._undefined)
            and self._undefined[0][0] <= address % GS_BASE < self._undefined[-1][0] + STUB_SIZE
        )

    def _steer(self, run: Run, chosen: Chosen) -> bool:
        """Let a pointer that was found in memory and leads nowhere lead to where there is room; an index be 0."""
        if run.fault is None or len(self.base) >= MOST_STEERED:
            return False
        step = len(run.steps) - 1
        state = run.flow.state(len(run.steps))
        instruction = run.trace.code[run.steps[step]]
        address = run.fault.address
        wanted = re.findall(r"%(\w+)", instruction.operands.partition("(")[2])
        for name in map(family, wanted):
            for one in sorted(state.taints.get(name, frozenset()), key=str):
                if one in self.base or one in chosen or one.kind == "machine":
                    continue
                old = self.content(run, one)
                places = (FLUSH_PAGES, (old + FLUSH_PAGES - address) & (1 << 64) - 1)
                for value in (0,) if one.size < 8 else (VCPU,) if one.kind == "register" else places:
                    self.base[one] = value
                    further = self._once(chosen)
                    if len(further.steps) > len(run.steps) and further.steps[: step + 1] == run.steps:
                        return True
                    del self.base[one]
        return False

    def content(self, run: Run, one: Input) -> int:
        """Return what an input held in a run."""
        if isinstance(one.where, int):
            return int.from_bytes(bytes(run.initial(at) for at in one.places if isinstance(at, int)), "little")
        held = run.notes[min(run.notes)][one.where] if run.notes and one.where != FLAGS else 0
        return self._given(one.where, held)

    def _given(self, register: str, held: int) -> int:
        return self.arguments.get(register, self.base.get(Input("register", register, 8), held))

    # --- names ---

    def label(self, address: int) -> str:
        """Name a place in memory: a function's answer, a variable, a field of the vCPU."""
        if address in self.names:
            return self.names[address]
        owner = self._prepared({}).layout.owner(address)
        if owner is Owner.VCPU:
            return f"byte {address & 0xFFFF:#x} of the vCPU, or of what it points to"
        if FLUSH_PAGES <= address < FLUSH_PAGES + FLUSH_SIZE:
            return f"byte {address - FLUSH_PAGES:#x} of what a pointer leads to"
        if STACK <= address < STACK + STACK_SIZE:
            return "what the caller left on the stack"
        plain, mine = (address - GS_BASE, "this CPU's ") if address >= GS_BASE else (address, "")
        return mine + self.image.label(plain)

    def told(self, one: Input) -> str:
        """Name an input."""
        if isinstance(one.where, int):
            return self.label(one.where)
        if one in PLACES:
            return str(one.where)
        return f"register {one.where} at the start" if one.kind == "register" else f"{one.where.upper()}"


@lru_cache(maxsize=4)
def _tables(image: Image, how: Rules) -> tuple[dict[int, Site], dict[int, StaticBranch]]:
    """Return an image's alternative sites and static branches, by address."""
    found = read(image, how).sites
    return {site.address: site for site in found}, {one.site: one for one in static_keys.branches(image)}
