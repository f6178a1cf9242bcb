"""What a kernel promises for a VM-Enter, and whether it kept it.

The promise, the course's safety property, follows from what boot-time selection asked for:

- VERW selected: every VM-Enter executes VERW, or an L1D flush, which its authors let count;
- VERW selected, for RFDS too: every VM-Enter executes VERW. The kernel's document on RFDS names VERW alone
  (Documentation/admin-guide/hw-vuln/reg-file-data-sampling.rst, 4e42765d1be0), and nothing was found that says a
  flush of the L1D clears register files;
- VERW selected for MMIO only: VERW or a flush, for every VM-Enter of a vCPU that can reach host MMIO;
- L1TF `always`: every VM-Enter flushes the L1D; `cond`: every VM-Enter whose flush flag is set.

`kept` is about clearing only. Distance (what runs between the last clear and VM-Enter) and `neutralised` (a
VERW ran while FB_CLEAR_DIS was set) never change it; they stand beside it. VERW without microcode counts as
executed. That a flush also clears the CPU buffers is documented for the MSR alone:
Documentation/arch/x86/mds.rst; for the software loop it was asked and not answered
(DDO1FFOJKSTK.3LSOUFU5RM6PD@google.com), so what rests on it is `assumed`.
"""

from dataclasses import dataclass
from enum import StrEnum

from vmenter import LabError
from vmenter.boot.generations import GENERATIONS
from vmenter.boot.selection import Selection
from vmenter.emulator.trace import EventKind, Trace


class Reach(StrEnum):
    """How a vCPU can reach the host's MMIO, if it can: what 83ebe7157483 is about."""

    NONE = "none"
    ASSIGNED = "assigned"  # a device is passed through to its VM
    MAPPED = "mapped"  # host MMIO is mapped into it, without such a device


@dataclass(frozen=True)
class VCpuState:
    """One vCPU as it is about to be entered."""

    mmio: Reach = Reach.NONE
    flush_pending: bool = False  # this CPU's flush flag is set
    resume: bool = False  # entered before: VMRESUME
    guest_fb_clear: bool = False  # the guest enumerates FB_CLEAR
    host_rsp_changed: bool = True  # RSP is not what the VMCS holds since the last VM-Enter: VMWRITE
    cr2_changed: bool = True  # CR2 is not the guest's, so it is written


class Verw(StrEnum):
    """For which VM-Enters selection asks VERW."""

    NEVER = "never"
    MMIO = "mmio"  # only those of a vCPU that can reach host MMIO
    ALWAYS = "always"


RFDS_CLEARS = "RFDS_MITIGATION_VERW"  # the state in which VERW, by its microcode, clears register files


@dataclass(frozen=True)
class Promise:
    """What selection asks of the VM-Enter code."""

    verw: Verw
    l1d_flush: str  # KVM's mode; "cond" and "always" ask for something
    verw_alone: bool = False  # RFDS is among what VERW is for: an L1D flush does not stand in for it

    @property
    def text(self) -> str:
        """Return it as a sentence."""
        clears = _VERW_ALONE if self.verw_alone else _VERW[self.verw]
        return "; ".join(text for text in (clears, _FLUSH.get(self.l1d_flush)) if text) or "nothing"

    def owes_clear(self, vcpu: VCpuState) -> bool:
        """Tell whether this VM-Enter must clear the CPU buffers."""
        return self.verw is Verw.ALWAYS or (self.verw is Verw.MMIO and vcpu.mmio is not Reach.NONE)

    def owes_flush(self, vcpu: VCpuState) -> bool:
        """Tell whether this VM-Enter must flush the L1D."""
        return self.l1d_flush == "always" or (self.l1d_flush == "cond" and vcpu.flush_pending)


_VERW = {
    Verw.NEVER: None,
    Verw.MMIO: "every VM-Enter of a vCPU that can reach host MMIO clears CPU buffers, by VERW or an L1D flush",
    Verw.ALWAYS: "every VM-Enter clears CPU buffers, by VERW or an L1D flush",
}
_VERW_ALONE = "every VM-Enter clears CPU buffers, by VERW; for RFDS an L1D flush does not count"
_FLUSH = {
    "cond": "every VM-Enter whose flush flag is set flushes the L1D",
    "always": "every VM-Enter flushes the L1D",
}


@dataclass(frozen=True)
class Verdict:
    """Whether one VM-Enter kept the promise, and what stands beside that."""

    promise: str
    kept: bool
    reason: str  # in words: what was owed, and what ran
    cleared_by: EventKind | None  # the last clear before VM-Enter
    verw: int  # how many ran
    l1d_flushed: bool
    assumed: bool  # a clear was owed and only the software loop ran
    neutralised: bool
    entered_right: bool  # VMLAUNCH first, VMRESUME from then on, and the wrong one fails; VMRUN always
    instructions_after_clear: int | None
    accesses_after_clear: int | None


def promise_of(selection: Selection) -> Promise:
    """Return what a selection asks of VM-Enter."""
    kernel = GENERATIONS[selection.kernel]
    chosen = {*selection.features, *selection.keys}
    if chosen.intersection((*kernel.clear_features, *kernel.clear_keys)):
        return Promise(Verw.ALWAYS, selection.l1d_flush, selection.states.rfds == RFDS_CLEARS)
    if chosen.intersection((*kernel.mmio_only_features, *kernel.mmio_only_keys)):
        return Promise(Verw.MMIO, selection.l1d_flush)
    return Promise(Verw.NEVER, selection.l1d_flush)


def is_kept(promise: Promise, vcpu: VCpuState, trace: Trace) -> bool:
    """Tell whether what was owed ran."""
    cleared = not promise.owes_clear(vcpu) or (trace.verw > 0 if promise.verw_alone else trace.cleared)
    return cleared and (trace.l1d_flushed or not promise.owes_flush(vcpu))


def entered_right(vcpu: VCpuState, trace: Trace) -> bool:
    """Tell whether a guest was entered by the instruction that is due."""
    return trace.vm_enter in ("VMRUN", "VMRESUME" if vcpu.resume else "VMLAUNCH")


def judge(promise: Promise, vcpu: VCpuState, trace: Trace) -> Verdict:
    """Hold what ran against what was promised. Raises `LabError` for a run that entered no guest."""
    if trace.vm_enter is None:
        raise LabError(f"{trace.image.name}: no VM-Enter: the run ended with {trace.end}")
    owes_clear, owes_flush = promise.owes_clear(vcpu), promise.owes_flush(vcpu)
    cleared, flushed = trace.verw > 0 if promise.verw_alone else trace.cleared, trace.l1d_flushed
    distance = trace.distance
    return Verdict(
        promise=promise.text,
        kept=is_kept(promise, vcpu, trace),
        reason=_reason(trace, "VERW" if promise.verw_alone else "a clear", owes_clear, owes_flush),
        cleared_by=trace.cleared_by,
        verw=trace.verw,
        l1d_flushed=flushed,
        assumed=owes_clear and cleared and {event.kind for event in trace.clears} == {EventKind.L1D_FLUSH_LOOP},
        neutralised=trace.neutralised,
        entered_right=entered_right(vcpu, trace),
        instructions_after_clear=distance.instructions if distance else None,
        accesses_after_clear=distance.accesses if distance else None,
    )


_RAN = {
    None: "nothing cleared",
    EventKind.VERW: "VERW ran",
    EventKind.L1D_FLUSH: "the L1D was flushed",
    EventKind.L1D_FLUSH_LOOP: "the L1D was flushed by reading 64 KiB",
}


def _reason(trace: Trace, clear: str, owes_clear: bool, owes_flush: bool) -> str:  # noqa: FBT001
    """Say what was owed and what ran."""
    kinds = list(dict.fromkeys(event.kind for event in trace.clears))
    ran = " and ".join(_RAN[kind] for kind in kinds) or _RAN[None]
    owed = [word for word, is_owed in ((clear, owes_clear), ("an L1D flush", owes_flush)) if is_owed]
    return f"{' and '.join(owed) or 'nothing'} owed here; {ran}"
