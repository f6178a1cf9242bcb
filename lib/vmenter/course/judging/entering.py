"""A learner's way to VM-Enter in the surroundings that no promise speaks of, and that no answer may lean on.

One state of the code (`eras.State`) stands for many machines: RSP is what the VMCS has already, or not; flags and
free registers hold this or that; another VM-Enter went before; this one fails. Whatever they are, the code has to
do what it is asked to; what it must not touch `untouched` asks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from vmenter.code.decoder import lite
from vmenter.code.x86 import ARITHMETIC_FLAGS, CALLER_SAVED, IA32_MCU_OPT_CTRL, NUMBERED, VM_ENTERS
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import GS_BASE, PAGE, STACK, STACK_SIZE, VCPU
from vmenter.kernels.stub import MMIO, RESUME
from vmenter.story import eras, remembered
from vmenter.story.promise import Reach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmenter.emulator.trace import Trace
    from vmenter.story.eras import State
    from vmenter.story.history import Era

RUN, ENTER_EXIT, STUB = eras.START, "vmx_vcpu_enter_exit", "__vmx_vcpu_run"
HOST_RSP = eras.OFFSETS["host_rsp"]  # what the VMCS has for RSP
GUEST = {name: eras.GUEST + number for number, name in enumerate(NUMBERED) if name != "rsp"}  # the CPU loads RSP
RAISES_MMIO = {"CLEAR_CPU_BUF_VM_MMIO", "cpu_buf_vm_clear"}  # under which an era's C raises the run flag MMIO
# What a caller need not keep, but for three arguments: anything may be in it. Every arithmetic flag is set.
STALE = {
    name: 0xA5A5_0000_5A5A_0000 + number
    for number, name in enumerate(name for name in CALLER_SAVED if name not in ("rdi", "rsi", "rdx"))
}
ALL_SET = 2 | ARITHMETIC_FLAGS
FAILED = b"\xf9\x90\x90"  # STC and two NOPs in place of VMLAUNCH: VMfailInvalid sets CF, and the next code runs


@dataclass(frozen=True)
class Around:
    """Surroundings: where the run begins, and what it finds there that its state says nothing about."""

    start: str = RUN
    known: bool = False  # the VMCS has for RSP what it will need, and CR2 is the guest's
    stale: bool = False  # flags set, free registers full of something
    bits: int = 0  # further run flags; only where the run begins behind the function that collects them
    again: bool = False  # behind a first VM-Enter of the same vCPU, in the memory that it left
    fails: bool = False
    fields: tuple[tuple[int, int], ...] = ()  # of the vCPU: offset, 8 bytes
    own_flag: bool = False  # a flush that is pending is so by the vCPU's flag, not by the CPU's; up to v6.18
    devices: int = 1  # passed through, where any is
    others: frozenset[str] = frozenset()  # features that are on, and that no task speaks of

    @property
    def text(self) -> str:
        """Say what is special here; empty where nothing is."""
        parts = [
            "host RSP and CR2 unchanged" if self.known else "",
            "flags and free registers used before, and by what is called" if self.stale else "",
            f"other run flags ({self.bits:#x}) set" if self.bits else "",
            f"{' and '.join(sorted(self.others))} on as well" if self.others else "",
            "the second VM-Enter in a row" if self.again else "",
            "VM-Enter fails" if self.fails else "",
            "the vCPU's own flush flag in place of the CPU's" if self.own_flag else "",
            f"{self.devices:,} devices" if self.devices != 1 else "",
            *(f"{value:#x} at {offset:#x} of the vCPU" for offset, value in self.fields),
        ]
        return ", ".join(part for part in parts if part)


class Entered(NamedTuple):
    """One run in some surroundings: its trace, all registers at its end, and its state."""

    trace: Trace
    registers: Mapping[str, int]
    state: State

    @property
    def host_rsp(self) -> int:
        """What the VMCS has for RSP at the end."""
        return word(self.trace, VCPU + HOST_RSP)


def changed(trace: Trace) -> dict[int, int]:
    """Return address → byte of what is not as it was when a run began, the stack apart."""
    return {
        at: byte
        for at, byte in trace.written.items()
        if not STACK <= at < STACK + STACK_SIZE and byte != _before(trace, at)
    }


def word(trace: Trace, address: int) -> int:
    """Return the 8 bytes that stand at an address when a run has ended."""
    found = [trace.written.get(at, _before(trace, at)) for at in range(address, address + 8)]
    return int.from_bytes(bytes(found), "little")


def _before(trace: Trace, address: int) -> int:
    """Return a byte as it was when a run began."""
    for at, data in reversed(trace.pokes):
        if at <= address < at + len(data):
            return data[address - at]
    page = trace.first.get(address // PAGE)
    return page[address % PAGE] if page else 0


# --- running ---------------------------------------------------------------------------------------------------


def run_flags(state: State) -> int:
    """Return the run flags that an era's own C collects in a state."""
    reaches = state.mmio is not Reach.NONE and RAISES_MMIO & {*state.features, *state.keys}
    return RESUME * state.resume | (MMIO if reaches else 0)


def enter(era: Era, state: State, around: Around | None = None) -> Entered:
    """Run an era's code once. Raises `LabError` where the machine cannot go on.

    What a run never touched cannot have mattered to it: what differs in nothing else is not run again.
    """
    around = around or Around()
    if around.others:
        era = replace(era, features=(*era.features, *sorted(around.others.difference(era.features))))
        state = replace(state, features=state.features | around.others)
    fields, memory = dict(around.fields), eras.pending(state)
    if around.own_flag and state.flush_pending:
        memory = {VCPU + eras.OFFSETS["flush_l1d"]: b"\1"}
    if around.devices != 1 and state.mmio is Reach.ASSIGNED:
        fields[eras.VM + eras.ASSIGNED_DEVICES] = around.devices
    if around.known:
        fields[eras.OFFSETS["cr2"]] = 0  # what the machine's has
        fields[HOST_RSP] = enter(era, state, Around(around.start, bits=around.bits)).host_rsp
    if around.again:
        before = enter(era, replace(state, resume=False), Around(around.start, bits=around.bits)).trace
        left = changed(before)
        memory.update({address: bytes([byte]) for address, byte in left.items()})
        memory[VCPU + eras.OFFSETS["launched"]] = b"\1"
        taken_back = left.get(GS_BASE + before.layout.address(eras.FLUSH_FLAG)) == 0
        state = replace(state, resume=True, flush_pending=state.flush_pending and not taken_back)
    image = eras.patched(era, state.features, state.keys)
    image = _failing(image) if around.fails else image
    registers = {**({"rflags": ALL_SET, **STALE} if around.stale else {}), **_arguments(state, around)}
    # What is the same in all runs of one kind, and what differs: that need only agree where a run looked.
    pending = eras.FLUSH_FLAG in memory
    poked = frozenset((where, value) for where, value in memory.items() if where != eras.FLUSH_FLAG)
    kind = (around, frozenset(registers.items()), frozenset(fields.items()), poked)
    sites = remembered.sites(eras.patched(era, frozenset(), frozenset()))
    row = (*eras.told(state), pending, *remembered.code_at(image, sites))
    runs = _runs(era).setdefault(kind, remembered.Remembered())
    if known := runs.find(row):
        return Entered(*known, state)
    machine = _machine(era)
    if machine.image is not image:
        machine.load(image)
    trace = machine.run(
        around.start,
        registers,
        eras.structure(
            state.mmio,
            resume=state.resume,
            disable_fb_clear=state.disable_fb_clear,
            fields=tuple(fields.items()),
        ),
        memory=memory,
        msrs={IA32_MCU_OPT_CTRL: 0},
    )
    entered = Entered(trace, machine.registers(), state)
    places = (*eras.PLACES, eras.flag_places(trace), *sites)
    runs.keep(row, remembered.touched(trace, places), entered[:2])
    return entered


# --- what was run already -------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _runs(_era: Era) -> dict[tuple[Any, ...], remembered.Remembered[tuple[Trace, Mapping[str, int]]]]:
    """Return the runs of one era so far, by kind."""
    return {}


def _arguments(state: State, around: Around) -> dict[str, int]:
    flags = run_flags(state) | around.bits
    further = {
        RUN: {},
        ENTER_EXIT: {"rsi": flags},
        STUB: {"rsi": VCPU + eras.OFFSETS["regs"], "rdx": flags},
    }
    return {"rdi": VCPU, **further[around.start]}


@lru_cache(maxsize=8)
def _machine(era: Era) -> Machine:
    return Machine(eras.patched(era, frozenset(), frozenset()), budget=eras.FOREIGN)


@lru_cache(maxsize=128)
def _failing(image: Any) -> Any:
    """Return an image in which every VM-Enter fails."""
    places: dict[int, bytes] = {}
    for section in image.sections:
        if section.executable and not section.name.startswith(".altinstr"):
            for address, length, mnemonic, _ in lite(section.data, section.address):
                if mnemonic in VM_ENTERS and length == len(FAILED):
                    places[address] = FAILED
    return image.with_bytes(places)
