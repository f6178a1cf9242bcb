"""A recorded VM-Enter held against the lab's: which host, era and machine state it is, what the lab runs there.

What a recording says is taken from it, by one rule for each thing:

- **era**: from the code that ran: what chooses between VMLAUNCH and VMRESUME, where VERW stands, which
  vulnerabilities files there are (`era_of`);
- **bugs, facts**: from the vulnerabilities files, read backwards; `flush_l1d` and `fb_clear_ctrl` from whether the
  MSR was written (`host_of`);
- **options**: the boot's command line, and the parameters that kvm-intel was loaded with;
- **reaches host MMIO**: a guest with a host page mapped does from its third VM-Enter on, when its first touch of
  the page has been handled. Where KVM asks for a device passed through, its own answer counts: a VERW in C that is
  for MMIO alone;
- **entered before**: all VM-Enters of a guest but its first;
- **guest has FB_CLEAR**: from the ARCH_CAPABILITIES that the guest read: that bit, or all five that say it is
  immune;
- **flush flag**: what the run itself shows. In `cond` mode it is an input and no prediction;
- **host RSP, CR2**: whether the run wrote them.

All else is the lab's to say: the selection (which must come to the same lines), the order of what clears, the
instruction of VM-Enter, the distance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from vmenter import LabError
from vmenter.boot import tsa
from vmenter.boot.host import Host
from vmenter.boot.selection import select
from vmenter.emulator.trace import Distance, Event, EventKind
from vmenter.story import eras, history, svm
from vmenter.story.history import BACKPORT, Era
from vmenter.story.promise import Reach, VCpuState, Verw, promise_of

if TYPE_CHECKING:
    from vmenter.code.instructions import Instruction
    from vmenter.kernels.booted import Recorded, Recording

BUG_OF_FILE = {
    "mds": "mds",
    "tsx_async_abort": "taa",
    "mmio_stale_data": "mmio_stale_data",
    "reg_file_data_sampling": "rfds",
    "l1tf": "l1tf",
}
CLEARING, TSX_OFF = "Mitigation: Clear CPU buffers", "Mitigation: TSX disabled"
REACHES_FROM = 2  # the third VM-Enter of a guest that touches a mapped host page
FB_CLEAR = 1 << 17  # of IA32_ARCH_CAPABILITIES (arch/x86/include/asm/msr-index.h)
IMMUNE = 1 << 5 | 1 << 8 | 1 << 13 | 1 << 14 | 1 << 15  # MDS_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO
COMPARED = frozenset(
    {EventKind.VERW, EventKind.L1D_FLUSH, EventKind.L1D_FLUSH_LOOP, EventKind.FB_CLEAR_DIS_SET, EventKind.VM_ENTER}
)
OPTIONS = frozenset({"mitigations", "nosmt", "tsx", *BUG_OF_FILE})  # those of boot that selection reads
ZEN = {"naples": 1, "rome": 2, "milan": 3, "genoa": 4, "turin": 5}  # EPYC's names → generation
_CAPABILITIES = re.compile(r"guest: ARCH_CAPABILITIES \d+ ([0-9a-f]+)")


@dataclass(frozen=True)
class Comparison:
    """One recorded VM-Enter beside the lab's in the same situation."""

    recorded: Recorded
    entry: eras.Entry | svm.Entry

    @property
    def order(self) -> tuple[str, ...]:
        """What happened in the booted kernel: clears, FB_CLEAR_DIS and the VM-Enter by its name, in order."""
        return _order(self.recorded.events, self.recorded.vm_enter)

    @property
    def lab_order(self) -> tuple[str, ...]:
        """The same in the lab."""
        return _order(self.entry.trace.events, self.entry.trace.vm_enter or "")

    @property
    def agree(self) -> bool:
        """Whether both did the same in the same order, and a VERW was neutralised in both or in neither."""
        neutralised = any(event.neutralised for event in self.recorded.events)
        return self.order == self.lab_order and neutralised == self.entry.verdict.neutralised

    @property
    def distances(self) -> tuple[Distance, Distance] | None:
        """What is between the last clear and VM-Enter, recorded and in the lab; None if either has no clear."""
        real, lab = self.recorded.distance, self.entry.trace.distance
        return (real, lab) if real and lab else None


def compare(
    recording: Recording, *, era: Era | None = None, assigned: bool | None = None
) -> tuple[Comparison, ...]:
    """Hold every VM-Enter of a recording against the lab.

    `era` and `assigned` (a device is passed through) say what the recording does not. Raises `LabError` for what
    cannot be told and was not said.
    """
    found = []
    for recorded in recording.enters:
        if recorded.vm_enter == "VMRUN":
            kernel = tsa.KERNELS[_version(recording.kernel) >= (6, 17)]
            found.append(Comparison(recorded, svm.enter(amd_host_of(recording), kernel=kernel)))
        else:
            found.append(
                Comparison(recorded, eras.enter(*situation(recording, recorded, era=era, assigned=assigned)))
            )
    return tuple(found)


def situation(
    recording: Recording, recorded: Recorded, *, era: Era | None = None, assigned: bool | None = None
) -> tuple[Era, Host, VCpuState]:
    """Return what `eras.enter` wants, for one VM-Enter of an Intel machine: era, host, vCPU."""
    era = era or era_of(recording, recorded)
    host = host_of(recording, recorded)
    return era, host, _vcpu(recording, recorded, era, host, assigned)


# --- the era ---------------------------------------------------------------------------------------------------


def era_of(recording: Recording, recorded: Recorded) -> Era:
    """Return the era whose code this is, from what ran. Raises `LabError` where it is none that the lab has.

    One thing code does not show: since v6.17 the arm in C asks for MMIO where it asked for a device. That is taken
    from the kernel's version, if the recording names it.
    """
    chooser = _chooser(recorded.instructions)
    if chooser.mnemonic.startswith("test") and "(%rsp)" in chooser.operands:
        return history.era("e6ff1d61de51")
    if chooser.mnemonic.startswith("bt"):
        if _jumps_over_verw(recorded):
            return BACKPORT
        return history.era("83ebe7157483" if _version(recording.kernel) >= (6, 17) else "43fb862de8f6")
    if recording.line("mmio_stale_data") is not None:
        return history.era("8cb861e9e3c9")
    return history.era("650b68a0622f" if recording.line("mds") is not None else "before-mds")


def _version(kernel: str | None) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", kernel or "")[:2])


def _chooser(instructions: tuple[Instruction, ...]) -> Instruction:
    """Return what sets the flag by which VMLAUNCH or VMRESUME is chosen."""
    jump = None
    for one in reversed(instructions[:-1]):
        if jump is None and one.branch_target is not None and one.mnemonic not in ("jmp", "call", "callq"):
            jump = one
        elif jump is not None and one.mnemonic.startswith(("test", "cmp", "bt")):
            return one
    raise LabError("nothing chooses between VMLAUNCH and VMRESUME here: no VM-Enter stub that the lab knows")


def _jumps_over_verw(recorded: Recorded) -> bool:
    """Tell whether VERW stands in the stub behind a jump, or behind NOPs in its place (early engine)."""
    loads = [step for step, one in enumerate(recorded.instructions) if one.mnemonic.startswith("mov")]
    behind = recorded.instructions[loads[-1] + 1 :] if loads else ()
    for one, following in pairwise(behind):
        if one.mnemonic.startswith("jmp") or (one.is_nop() and following.is_clear):
            return True
        if one.is_clear:
            return False
    return False


# --- the host ----------------------------------------------------------------------------------------------------


def host_of(recording: Recording, recorded: Recorded | None = None) -> Host:
    """Return the host that selection saw: bugs and facts from the boot's lines, options of boot and module."""
    said = {file: text for file, text in recording.lines if file in BUG_OF_FILE}
    bugs = {BUG_OF_FILE[file] for file, text in said.items() if text != "Not affected"}
    if said.get("mmio_stale_data", "").startswith("Unknown"):
        bugs.add("mmio_unknown")
    starts = {file: text.partition(";")[0] for file, text in said.items()}
    facts = {
        "md_clear": CLEARING in (starts.get("mds"), starts.get("tsx_async_abort")),
        "tsx_ctrl_msr": True,  # the usual; with MD_CLEAR alone an MDS_NO CPU would be short of microcode
        "rtm": "taa" in bugs and starts["tsx_async_abort"] != TSX_OFF,
        "fb_clear": starts.get("mmio_stale_data") == CLEARING,
        "rfds_clear": starts.get("reg_file_data_sampling") == "Mitigation: Clear Register File",
        "skip_vmentry_l1dflush": "flush not necessary" in said.get("l1tf", ""),
        "flush_l1d": not any(event.kind is EventKind.L1D_FLUSH_LOOP for event in _events(recording)),
        "fb_clear_ctrl": any(event.kind is EventKind.FB_CLEAR_DIS_SET for event in _events(recording)),
    }
    text = " ".join(said.values())
    smt = (
        False if "SMT disabled" in text else True if "SMT vulnerable" in text or "SMT mitigated" in text else None
    )
    return Host(
        bugs=tuple(bugs),
        facts=tuple(name for name, is_set in facts.items() if is_set),
        cmdline=_options(recording, recorded),
        smt=smt,
        ept="EPT disabled" not in text,
        hypervisor="SMT Host state unknown" in text,
    )


def _events(recording: Recording) -> tuple[Event, ...]:
    return tuple(event for recorded in recording.enters for event in recorded.events)


def _options(recording: Recording, recorded: Recorded | None) -> str:
    """Return the options that matter, of the kernel and of the module as it was loaded for this guest."""
    words = [
        word
        for word in recording.cmdline.split()
        if (name := word.partition("=")[0].replace("-", "_")) in OPTIONS or name.startswith("kvm_intel.")
    ]
    words += [f"kvm-intel.{word}" for word in re.split(r"[ ,]+", recorded.option if recorded else "") if word]
    return " ".join(words)


def amd_host_of(recording: Recording) -> tsa.AmdHost:
    """Return an AMD machine, from its name as the emulator was told it and from the line on TSA."""
    name = next((zen for zen in ZEN if zen in recording.cpu.lower()), None)
    if name is None:
        raise LabError(f"cpu: {recording.cpu!r} is no EPYC that is known here: {', '.join(ZEN)}")
    line = recording.line("tsa")
    facts: tuple[str, ...] = ("tsa_sq_no", "tsa_l1_no", "tsa_fill_no") if line == "Not affected" else ()
    facts += ("verw_clear",) * (line is not None and line.startswith("Mitigation"))
    words = [word for word in recording.cmdline.split() if word.partition("=")[0] in ("tsa", "mitigations")]
    return tsa.AmdHost(ZEN[name], facts, " ".join(words), hypervisor="-hypervisor" not in recording.cpu)


# --- the vCPU ----------------------------------------------------------------------------------------------------


def _vcpu(recording: Recording, recorded: Recorded, era: Era, host: Host, assigned: bool | None) -> VCpuState:  # noqa: FBT001
    selection = select(host, era.kernel)
    return VCpuState(
        mmio=_reach(recording, recorded, era, assigned) if promise_of(selection).verw is Verw.MMIO else Reach.NONE,
        flush_pending=selection.l1d_flush == "cond" and recorded.l1d_flushed,
        resume=recorded.number > 0,
        guest_fb_clear=_guest_fb_clear(recorded, needed=host.has("fb_clear_ctrl")),
        host_rsp_changed=recorded.ran("vmwrite", function="vmx_update_host_rsp"),
        cr2_changed=recorded.ran("mov", "%cr2"),
    )


def _reach(recording: Recording, recorded: Recorded, era: Era, assigned: bool | None) -> Reach:  # noqa: FBT001
    """Tell how this guest reaches host MMIO, where that decides about VERW."""
    mapped = "mmio" in recorded.guest.split() and recorded.number >= REACHES_FROM
    if assigned is None and era.kernel not in ("6.17", "7.3.4"):  # since 83ebe7157483 KVM asks for MMIO itself
        assigned = _answered(recording)
    return Reach.ASSIGNED if assigned else Reach.MAPPED if mapped else Reach.NONE


def _answered(recording: Recording) -> bool:
    """Tell whether KVM found a device passed through: its VERW in C ran. It asks if no flush is configured."""
    if any(one.verw and not one.cleared_in_stub for one in recording.enters):
        return True
    if any(one.l1d in ("never", "not required", "EPT disabled") for one in recording.enters):
        return False
    raise LabError(
        "the recording does not tell whether a device is passed through: with the L1D flush configured KVM never "
        "asked; say it with assigned=True or assigned=False"
    )


def _guest_fb_clear(recorded: Recorded, *, needed: bool) -> bool:
    """Tell whether the guest enumerates FB_CLEAR, or is immune, which spares it FB_CLEAR_DIS just as well."""
    found = [match for line in recorded.said if (match := _CAPABILITIES.match(line))]
    if not found:
        if needed:
            raise LabError("the recording does not tell what ARCH_CAPABILITIES this guest read")
        return False
    value = int(found[-1][1], 16)
    return bool(value & FB_CLEAR) or value & IMMUNE == IMMUNE


# --- comparing ---------------------------------------------------------------------------------------------------


def _order(events: tuple[Event, ...], vm_enter: str) -> tuple[str, ...]:
    return tuple(vm_enter if e.kind is EventKind.VM_ENTER else str(e.kind) for e in events if e.kind in COMPARED)
