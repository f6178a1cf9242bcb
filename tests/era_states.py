"""The eras by name, what switches each on, and copies of them with other code."""

from dataclasses import replace

from vmenter.patching.lab import LAB, assemble
from vmenter.story.eras import State
from vmenter.story.history import BACKPORT, ERAS, FORMS, REJECTED_CURE
from vmenter.story.promise import Reach

ALL = [*FORMS.values()]
BEFORE, MDS, MMIO, MOVED, REACH, V4, MERGED = ERAS.values()

# What turns VERW on in each era, for everyone and for MMIO only; None where the era has no such thing.
SWITCHES = {
    BEFORE: (None, None),
    MDS: ("mds_user_clear", None),
    MMIO: ("mds_user_clear", "mmio_stale_data_clear"),
    MOVED: ("CLEAR_CPU_BUF", "mmio_stale_data_clear"),
    BACKPORT: ("CLEAR_CPU_BUF", "mmio_stale_data_clear"),
    REACH: ("CLEAR_CPU_BUF", "cpu_buf_vm_clear"),
    REJECTED_CURE: ("CLEAR_CPU_BUF", "cpu_buf_vm_clear"),
    V4: ("CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"),
    MERGED: ("CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"),
}


def state_for(
    era, *, verw=False, mmio_only=False, mode="never", flag=False, reach="none", resume=False, microcode=True
):
    """Return the machine's state for one row of the table, or None where the era lacks a switch."""
    for_all, for_mmio = SWITCHES[era]
    if (verw and not for_all) or (mmio_only and not for_mmio):
        return None
    wanted = {
        for_all: verw,
        for_mmio: mmio_only,
        "FLUSH_L1D": microcode,
        "vmx_l1d_should_flush": mode != "never",
        "vmx_l1d_flush_cond": mode == "cond",
    }
    on = {name for name, is_on in wanted.items() if is_on}
    return State(
        features=frozenset(on.intersection(era.features)),
        keys=frozenset(on.intersection(era.keys)),
        mmio=Reach(reach),
        flush_pending=flag,
        resume=resume,
    )


def mutated(era, *changes):
    """Return the era with other code; each change must fit its source just once."""
    text = (LAB / f"{era.id}.S").read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return replace(era, code=assemble(text))
