"""One VM-Enter of any era: from a host and a vCPU to what ran, and whether the promise was kept.

The one flow of the course, for the lab's code: boot-time selection, alternatives patched for its features, static
branches flipped for its keys, the code run up to VM-Enter, and the trace judged. `history` has the eras, `promise`
the property. The code depends on nothing but a `State`; many hosts share one, and `run` remembers what it ran.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from vmenter import LabError
from vmenter.boot.l1tf import COND_KEY, FLUSH_KEY
from vmenter.boot.selection import Selection, select
from vmenter.code import image
from vmenter.code.x86 import IA32_MCU_OPT_CTRL
from vmenter.emulator.machine import Budget, Machine
from vmenter.emulator.memory import LAB_BASE, VCPU, Layout, VCpu
from vmenter.patching import alternatives, features, static_keys
from vmenter.story import remembered
from vmenter.story.history import Era, era
from vmenter.story.promise import Promise, Reach, VCpuState, Verdict, judge, promise_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from vmenter.boot.host import Host
    from vmenter.emulator.trace import Trace

START = "vmx_vcpu_run"
FLUSH_FLAG = "cpu_l1tf_flush_l1d"  # the per-CPU flag; up to v6.18 the vCPU has another, which the lab leaves clear
# Where lab/kvm.inc has the vCPU's fields; a test holds the two against each other.
OFFSETS = {
    "launched": 0,
    "flush_l1d": 1,
    "disable_fb_clear": 2,
    "host_mmio": 3,
    "kvm": 8,
    "host_rsp": 0x18,
    "cr2": 0x20,
    "regs": 0x80,
}
VM = 0x1000  # the VM's structure, in the same room
ASSIGNED_DEVICES = 0x40
PLACES = tuple(  # of the vCPU's structure: where states differ, what `told` tells
    range(VCPU + offset, VCPU + offset + size)
    for offset, size in (
        (OFFSETS["launched"], 1),
        (OFFSETS["disable_fb_clear"], 1),
        (OFFSETS["host_mmio"], 1),
        (VM + ASSIGNED_DEVICES, 8),
    )
)
_CR2 = range(VCPU + OFFSETS["cr2"], VCPU + OFFSETS["cr2"] + 8)
GUEST = 0x6E57_0000_0000_0000  # guest registers: this and their number
FOREIGN = Budget(
    instructions=20_000, seconds=2.0
)  # code of a reader's own, which may loop; 64 KiB read take 5,000
FLUSH_L1D = 18 * 32 + 28  # in a word that mirrors CPUID, the same in every kernel


@dataclass(frozen=True)
class State:
    """All that the code of an era depends on: what it is patched for, and what it reads."""

    features: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    mmio: Reach = Reach.NONE
    flush_pending: bool = False
    resume: bool = False
    disable_fb_clear: bool = False
    host_rsp_changed: bool = True
    cr2_changed: bool = True

    @property
    def flush_due(self) -> bool:
        """Whether KVM is told, by its keys and the flag, to flush the L1 data cache."""
        return FLUSH_KEY in self.keys and (COND_KEY not in self.keys or self.flush_pending)

    @property
    def variants(self) -> tuple[State, ...]:
        """The state itself, and the same with the host's RSP and CR2 the other way: changed, or as they were.

        Selection and the promise know nothing of either. Changed, they add instructions, a VMWRITE among them,
        which writes all arithmetic flags; so code that keeps an answer in a flag may be right in one and wrong in
        the other.
        """
        other = replace(self, host_rsp_changed=not self.host_rsp_changed, cr2_changed=not self.cr2_changed)
        return self, other


@dataclass(frozen=True)
class Entry:
    """One VM-Enter: what was given, what selection made of it, what ran, and the verdict."""

    era: Era
    host: Host
    vcpu: VCpuState
    selection: Selection
    state: State
    promise: Promise
    verdict: Verdict
    trace: Trace = field(repr=False)


def enter(era_: Era | str, host: Host, vcpu: VCpuState | None = None) -> Entry:
    """Run one VM-Enter of an era on a host. Raises `LabError` for an unknown era, or code that enters no guest."""
    era_ = era(era_) if isinstance(era_, str) else era_
    vcpu = vcpu or VCpuState()
    selection = selected(host, era_.kernel)
    state = state_of(era_, host, selection, vcpu)
    promise = promise_of(selection)
    trace = run(era_, state)
    return Entry(era_, host, vcpu, selection, state, promise, judge(promise, vcpu, trace), trace)


selected = lru_cache(maxsize=4096)(select)
"""What boot selects, remembered: the audit and the views ask for the same machines."""


def seen(era_: Era, host: Host, selection: Selection) -> tuple[frozenset[str], frozenset[str]]:
    """Return the features and the static keys that are on for the code of an era."""
    chosen = {*selection.features, *(("FLUSH_L1D",) if host.has("flush_l1d") else ())}
    keys = {*selection.keys, *selection.kvm_keys}
    return frozenset(chosen.intersection(era_.features)), frozenset(keys.intersection(era_.keys))


def state_of(
    era_: Era,
    host: Host,
    selection: Selection,
    vcpu: VCpuState,
    known: tuple[frozenset[str], frozenset[str]] | None = None,
) -> State:
    """Return what of a host, its selection and a vCPU the code of an era can see; `known`: what `seen` says."""
    features_, keys = known or seen(era_, host, selection)
    return State(
        features=features_,
        keys=keys,
        mmio=vcpu.mmio,
        flush_pending=vcpu.flush_pending,
        resume=vcpu.resume,
        disable_fb_clear=era_.fb_clear_dis and _disable_fb_clear(host, selection, vcpu),
        host_rsp_changed=vcpu.host_rsp_changed,
        cr2_changed=vcpu.cr2_changed,
    )


def _disable_fb_clear(host: Host, selection: Selection, vcpu: VCpuState) -> bool:
    """Tell whether KVM sets FB_CLEAR_DIS for this guest: `vmx_update_fb_clear_dis`.

    The question about CLEAR_CPU_BUF came with 43fb862de8f6; where it is not asked, the feature does not exist.
    The other way for a guest to be left alone, five bits that say it is immune, is left out: a Host has no such
    guests.
    """
    immune = not {"mds", "taa"}.intersection(host.bugs)
    wanted = host.has("fb_clear_ctrl") and immune and "CLEAR_CPU_BUF" not in selection.features
    return wanted and not vcpu.guest_fb_clear


@lru_cache(maxsize=512)
def run(era_: Era, state: State) -> Trace:
    """Run an era's code in one state, up to VM-Enter or wherever else it ends."""
    known, code = _known(era_, state), patched(era_, state.features, state.keys)
    if code not in known.traces:
        known.traces[code] = replace(known.trace, layout=Layout(code))
    return known.traces[code]


def run_like(era_: Era, state: State) -> Trace:
    """Return a run that goes as `run`'s goes; its image may differ where it did not run, read or write."""
    return _known(era_, state).trace


def registers(era_: Era, state: State) -> dict[str, int]:
    """Return all registers as an era's code leaves them in one state: at VM-Enter, the guest's."""
    return _known(era_, state).registers


class _Known(NamedTuple):
    """A run, the registers behind it, and its traces by the code that it is shown with."""

    trace: Trace
    registers: dict[str, int]
    traces: dict[image.Image, Trace]


def _known(era_: Era, state: State) -> _Known:
    """Return the run of one state."""
    sites, runs = remembered.sites(_image(era_)), _runs(era_)
    kept: dict[str | int, int | bytes] = {}
    if not state.host_rsp_changed:  # then the structure holds what the last VM-Enter wrote there: make that one
        kept = run_like(era_, replace(state, host_rsp_changed=True)).kept_stack_pointers
    code = remembered.code_at(patched(era_, state.features, state.keys), sites)
    row = (*told(state), state.cr2_changed, state.flush_pending, tuple(kept.items()), *code)
    found = runs.find(row)
    if found is None:
        trace, registers_ = _run(era_, state, kept)
        found = _Known(trace, registers_, {trace.image: trace})
        runs.keep(row, _touched(trace, sites), found)
    return found


def told(state: State) -> tuple[bool, ...]:
    """Return what a state puts into the vCPU's structure, in the order of `PLACES`."""
    return state.resume, state.disable_fb_clear, state.mmio is not Reach.NONE, state.mmio is Reach.ASSIGNED


def pending(state: State) -> dict[str | int, int | bytes]:
    """Return what a state puts into memory beside the vCPU's structure: the flush flag."""
    return {FLUSH_FLAG: b"\1"} if state.flush_pending else {}


def flag_places(trace: Trace) -> Collection[int]:
    """Return where a run's code has the flush flag; it may have none."""
    return trace.layout.places(FLUSH_FLAG) if trace.image.symbols.get(FLUSH_FLAG) else ()


def _touched(trace: Trace, sites: tuple[range, ...]) -> tuple[int, ...]:
    """Return which of what is told a run touched; always what is kept of RSP, which has no fixed place."""
    return remembered.touched(trace, (*PLACES, _CR2, flag_places(trace), (), *sites))


@lru_cache(maxsize=12)
def _runs(_era: Era) -> remembered.Remembered[_Known]:
    """Return the runs of one era so far."""
    return remembered.Remembered()


def _run(era_: Era, state: State, kept: Mapping[str | int, int | bytes]) -> tuple[Trace, dict[str, int]]:
    machine = _machine(era_, state.features, state.keys)
    trace = machine.run(
        START,
        {"rdi": VCPU},
        structure(
            state.mmio,
            resume=state.resume,
            disable_fb_clear=state.disable_fb_clear,
            fields=() if state.cr2_changed else ((OFFSETS["cr2"], 0),),
        ),
        memory={**pending(state), **kept},
        msrs={IA32_MCU_OPT_CTRL: 0},
    )
    return trace, machine.registers()


@lru_cache(maxsize=256)
def patched(era_: Era, features_: frozenset[str], keys: frozenset[str]) -> image.Image:
    """Return an era's code as it stands after boot with these features and keys. `LabError` for unknown names."""
    for what, names, known in (("feature", features_, era_.features), ("key", keys, era_.keys)):
        if unknown := names.difference(known):
            raise LabError(f"era {era_.id} reads no {what} {min(unknown)!r}; it reads {' '.join(known)}")
    code = _image(era_)
    numbers = {FLUSH_L1D if name == "FLUSH_L1D" else features.number(name, code.kernel) for name in features_}
    code = alternatives.apply(code, alternatives.patch_all(code, numbers))
    read = {branch.key for branch in static_keys.branches(code)}  # a reader's own version may leave one out
    return static_keys.flip(code, {key: key in keys for key in era_.keys if key in read})


@lru_cache(maxsize=32)
def _image(era_: Era) -> image.Image:
    return image.from_bytes(era_.object, era_.id, LAB_BASE)


def _machine(era_: Era, features_: frozenset[str], keys: frozenset[str]) -> Machine:
    """Return the era's machine with its code patched so. One for each era: a machine has megabytes to it."""
    machine, code = _first_machine(era_), patched(era_, features_, keys)
    if machine.image is not code:
        machine.load(code)
    return machine


@lru_cache(maxsize=12)
def _first_machine(era_: Era) -> Machine:
    return Machine(patched(era_, frozenset(), frozenset()), budget=None if era_.code is None else FOREIGN)


@lru_cache(maxsize=64)
def structure(
    mmio: Reach, *, resume: bool, disable_fb_clear: bool, fields: tuple[tuple[int, int], ...] = ()
) -> VCpu:
    """Return the vCPU's structure, with other `fields` in it: offset, 8 bytes.

    CR2 is 0 when a run begins; what is left out here holds another value.
    """
    registers = {OFFSETS["regs"] + 8 * number: GUEST + number for number in range(16)}
    return VCpu(
        fields={
            OFFSETS["kvm"]: VCPU + VM,
            VM + ASSIGNED_DEVICES: int(mmio is Reach.ASSIGNED),
            **registers,
            **dict(fields),
        },
        flags={
            OFFSETS["launched"]: int(resume),
            OFFSETS["flush_l1d"]: 0,
            OFFSETS["disable_fb_clear"]: int(disable_fb_clear),
            OFFSETS["host_mmio"]: int(mmio is not Reach.NONE),
        },
    )
