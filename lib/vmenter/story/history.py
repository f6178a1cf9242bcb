"""The commits of the story, each with the lab kernel that goes its way to VM-Enter.

Every statement about a commit has its source beside it: the commit itself, a mail (its id opens in the public list
archive), or a file of the kernel. The lab kernels are our own code; see lab/kvm.inc for what they leave out.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from vmenter import LabError, near
from vmenter.boot.l1tf import FLUSH_KEYS
from vmenter.emulator.trace import Trace
from vmenter.patching.lab import lab_object


class Source(NamedTuple):
    """Where something was read: a commit's hash, a mail's id, or a file in the kernel's tree."""

    kind: str  # "commit", "mail" or "file"
    ref: str
    what: str


class Module(Protocol):
    """A real kernel module in an era's place."""

    @property
    def like(self) -> str:
        """The id of the lab's era of the same form, in which findings are replayed."""
        ...

    def run(self, state: Any) -> Trace:
        """Run it in one `eras.State`, up to VM-Enter."""
        ...


@dataclass(frozen=True)
class Era:
    """One form of the way to VM-Enter.

    `date` is the day it became public: `dated` says if it was posted to a list then, or "public" at once, prepared
    in secret. `later` are further days: committed, applied. `features` and
    `keys` are what its code is patched by, under the kernel's names. `fb_clear_dis`: KVM may set FB_CLEAR_DIS.
    `code` replaces the lab object, for a reader's own version of it; `module` is what runs in place of any object.
    """

    id: str
    title: str
    commit: str | None
    author: str
    date: str
    release: str
    reason: str
    sources: tuple[Source, ...]
    kernel: str  # whose selection and feature numbers it uses
    features: tuple[str, ...]
    keys: tuple[str, ...]
    fb_clear_dis: bool = True
    dated: str = "posted"
    later: tuple[tuple[str, str], ...] = ()
    code: bytes | None = field(default=None, repr=False)
    module: Module | None = field(default=None, repr=False)

    @property
    def object(self) -> bytes:
        """The ELF object that runs: the lab's own, or what was put in its place."""
        return lab_object(self.id) if self.code is None else self.code


_VMX = Source("file", "arch/x86/kvm/vmx/vmx.c", "vmx_vcpu_enter_exit, vmx_l1d_flush, vmx_update_fb_clear_dis")
_STUB = Source("file", "arch/x86/kvm/vmx/vmenter.S", "__vmx_vcpu_run")

_IN_ORDER = (
    Era(
        id="before-mds",
        title="L1TF: flush the L1 data cache, or nothing",
        commit="45b575c00d8e",
        author="Paolo Bonzini, Nicolai Stange",
        date="2018-08-14",
        dated="public",
        release="v4.19",
        reason=(
            "A guest can read what the host left in the L1 data cache (L1TF), so KVM flushes it before "
            "VM-Enter. That is slow, so by default it does so only after an exit that handled something worth "
            "reading: such exits set a flag, per vCPU or, from interrupts, per CPU."
        ),
        sources=(
            Source(
                "commit",
                "45b575c00d8e",
                "the flag per CPU; the flush itself is Paolo Bonzini's",
            ),
            Source("file", "Documentation/admin-guide/hw-vuln/l1tf.rst", "the modes never, cond, always"),
        ),
        kernel="5.0",
        features=("FLUSH_L1D",),
        keys=FLUSH_KEYS,
        fb_clear_dis=False,
    ),
    Era(
        id="650b68a0622f",
        title="MDS: flush the L1D, else VERW",
        commit="650b68a0622f",
        author="Thomas Gleixner",
        date="2019-05-14",
        dated="public",
        release="v5.2",
        reason=(
            "MDS needs the CPU buffers cleared before VM-Enter. With microcode the L1D flush clears them too, "
            "so VERW is left out where the flush is configured: else if. But configured does not mean done: "
            "in cond mode the flush may return without flushing."
        ),
        sources=(
            Source("commit", "650b68a0622f", "authored in February 2019, public with MDS"),
            Source("file", "Documentation/arch/x86/mds.rst", "Mitigation strategy: why the extra VERW is saved"),
        ),
        kernel="5.2",
        features=("FLUSH_L1D",),
        keys=(*FLUSH_KEYS, "mds_user_clear"),
        fb_clear_dis=False,
    ),
    Era(
        id="8cb861e9e3c9",
        title="MMIO Stale Data: a third arm on the chain",
        commit="8cb861e9e3c9",
        author="Pawan Gupta",
        date="2022-06-14",
        dated="public",
        release="v5.19",
        reason=(
            "Stale data in the fill buffers can reach a guest through MMIO. Where nothing else asks for VERW "
            "it is needed only for guests that reach MMIO, and KVM takes a device passed through for the sign "
            "of that. The arm stands behind the others, as else if."
        ),
        sources=(
            Source("commit", "8cb861e9e3c9", "authored in May 2022, public with MMIO Stale Data"),
            Source("commit", "027bbb884be0", "FB_CLEAR_DIS while a guest runs that has no use for the clearing"),
            Source("commit", "8bd200d23ec4", "v5.19's stub: VM-Enter in line, no call before it"),
            Source("file", "Documentation/admin-guide/hw-vuln/processor_mmio_stale_data.rst", "FB_CLEAR_DIS"),
        ),
        kernel="5.19",
        features=("FLUSH_L1D",),
        keys=(*FLUSH_KEYS, "mds_user_clear", "mmio_stale_data_clear"),
    ),
    Era(
        id="43fb862de8f6",
        title="VERW moves closer to the edge",
        commit="43fb862de8f6",
        author="Pawan Gupta",
        date="2024-02-13",
        later=(("committed", "2024-02-19"),),
        release="v6.8",
        reason=(
            "Between VERW in C and VM-Enter there are memory accesses, register pushes for one, that may put "
            "host data back into the buffers. So VERW moves behind them, into the entry stub. It leaves the "
            "else-if chain by the way, which nobody had asked for, and so always runs; VERW for MMIO stays in "
            "C, on the chain."
        ),
        sources=(
            Source("commit", "43fb862de8f6", "the move"),
            Source("commit", "706a189dcf74", "Sean Christopherson: CF chooses VMRESUME, because VERW writes ZF"),
            Source("commit", "6613d82e617d", "an alternative on CLEAR_CPU_BUF in place of the static key"),
            Source(
                "mail", "20240304-delay-verw-backport-6-1-y-v2-0-bf4bce517d60@linux.intel.com", "the older form"
            ),
            _VMX,
            _STUB,
        ),
        kernel="6.12.117",
        features=("FLUSH_L1D", "CLEAR_CPU_BUF"),
        keys=(*FLUSH_KEYS, "mmio_stale_data_clear"),
    ),
    Era(
        id="83ebe7157483",
        title="Who can reach MMIO is asked properly",
        commit="83ebe7157483",
        author="Sean Christopherson",
        date="2025-05-22",
        later=(("committed", "2025-06-25"),),
        release="v6.17",
        reason=(
            "A guest can have host MMIO mapped without a device passed through, and the other way round. So "
            "KVM notes when it maps host MMIO into a guest and tells the entry code by a run flag. The arm "
            "itself stays where it was: in C, as else if."
        ),
        sources=(Source("commit", "83ebe7157483", "posted on that day, committed on 2025-06-25"), _VMX),
        kernel="6.17",
        features=("FLUSH_L1D", "CLEAR_CPU_BUF"),
        keys=(*FLUSH_KEYS, "cpu_buf_vm_clear"),
    ),
    Era(
        id="v4",
        title="Version 4, patch 4/8: all of it in assembly, the answer kept in ZF",
        commit=None,
        author="Sean Christopherson",
        date="2025-10-30",
        release="list only",
        reason=(
            "VERW for MMIO joins the other one right before VM-Enter, as the weaker choice of one "
            "ALTERNATIVE_2, and the L1D flush no longer decides about it. The run flags live in a register "
            "that the guest's values overwrite, so the answer is taken before that and kept in ZF, beside CF "
            "with the choice of VMRESUME."
        ),
        sources=(
            Source("mail", "20251031003040.3491385-5-seanjc@google.com", "the patch"),
            Source("mail", "20251029-verw-vm-v1-3-babf9b961519@linux.intel.com", "Pawan Gupta: the idea"),
            Source("mail", "DDWIDCO0UKMD.2C46H6XQO1NXK@google.com", "Brendan Jackman: two flags, needs comments"),
            Source("mail", "20251112183836.GBaRTULLaMWA5hkfT9@fat_crate.local", "Borislav Petkov: fragile"),
        ),
        kernel="7.3.4",
        features=("FLUSH_L1D", "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"),
        keys=FLUSH_KEYS,
    ),
    Era(
        id="e6ff1d61de51",
        title="As merged: one ALTERNATIVE_2, the flags read from the stack",
        commit="e6ff1d61de51",
        author="Sean Christopherson",
        date="2025-11-13",
        later=(("applied", "2025-11-21"),),
        release="v6.19",
        reason=(
            "The run flags are on the stack anyway, and RSP is still the host's up to VM-Enter: so they can "
            "be tested in the last place, in one ALTERNATIVE_2, and nothing has to survive the loads. It "
            "costs one load of the flags behind VERW."
        ),
        sources=(
            Source(
                "commit",
                "e6ff1d61de51",
                "version 5, 5/9, as applied on 2025-11-21",
            ),
            Source("commit", "844afc1af3a9", "the run flags on the stack"),
            Source("commit", "38ee66cb1845", "one flush flag, per CPU"),
            Source("mail", "20251113233746.1703361-1-seanjc@google.com", "version 5 of the series"),
            Source("mail", "aRTubGCENf2oypeL@google.com", "Sean Christopherson: only RSP and RFLAGS are switched"),
            _VMX,
            _STUB,
        ),
        kernel="7.3.4",
        features=("FLUSH_L1D", "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"),
        keys=FLUSH_KEYS,
    ),
)

ERAS: dict[str, Era] = {era.id: era for era in _IN_ORDER}
"""Id → era, in the order of the story."""

BACKPORT = Era(
    id="43fb862de8f6-backport",
    title="The same in old stable kernels: a jump over VERW",
    commit="43fb862de8f6",
    author="Pawan Gupta",
    date="2024-03-04",
    release="v6.1.y",
    reason=(
        "Before v6.5 the patcher cannot put code with a RIP-relative operand into a site, and VERW has one. "
        "So VERW stands there always, behind a jump that the alternative removes."
    ),
    sources=(
        Source("mail", "20240304-delay-verw-backport-6-1-y-v2-0-bf4bce517d60@linux.intel.com", "says why"),
        Source("commit", "270a69c4485d", "v6.5: what would have been needed"),
        _STUB,
    ),
    kernel="6.1.192",
    features=("FLUSH_L1D", "CLEAR_CPU_BUF"),
    keys=(*FLUSH_KEYS, "mmio_stale_data_clear"),
)
"""43fb862de8f6 in v5.10.y to v6.1.y; no era of its own, the same way to VM-Enter in another form."""


REJECTED_CURE = Era(
    id="v3",
    title="Version 3, patch 1/4: the flush says whether it flushed",
    commit=None,
    author="Sean Christopherson",
    date="2025-10-16",
    release="list only",
    reason=(
        "The smallest cure for the skipped clear: the flush routine returns whether it flushed, and only then "
        "is VERW left out. All stays in C, and so does the distance; what came instead is version 4."
    ),
    sources=(Source("mail", "20251016200417.97003-2-seanjc@google.com", "the patch"), _VMX),
    kernel="6.17",
    features=("FLUSH_L1D", "CLEAR_CPU_BUF"),
    keys=(*FLUSH_KEYS, "cpu_buf_vm_clear"),
)
"""A cure in C that was posted and not taken, on the code of v6.17."""

FORMS: dict[str, Era] = {**ERAS, **{one.id: one for one in (BACKPORT, REJECTED_CURE)}}
"""The eras, and the forms that stand beside the story, by id: all that enters a guest by VMX."""

SVM = Era(
    id="d8010d4ba43e",
    title="TSA, on AMD: VERW right before VMRUN",
    commit="d8010d4ba43e",
    author="Borislav Petkov, Kim Phillips",
    date="2025-07-08",
    dated="public",
    release="v6.16",
    reason=(
        "Some of AMD's CPUs let data through to instructions that must not have it (TSA). New microcode teaches "
        "their VERW to clear, too. One feature asks for it on the way to user space, a new one before VMRUN, "
        "so that either can be had alone."
    ),
    sources=(
        Source("commit", "d8010d4ba43e", "the mitigation; Kim Phillips is its co-author"),
        Source("mail", "20250708162240.993483371@linuxfoundation.org", "the same for v6.15.y, on the day"),
        Source("file", "arch/x86/kvm/svm/vmenter.S", "__svm_vcpu_run, __svm_sev_es_vcpu_run"),
        Source("file", "arch/x86/kernel/cpu/bugs.c", "tsa_select_mitigation"),
    ),
    kernel="6.12.117",
    features=("CLEAR_CPU_BUF_VM",),
    keys=(),
    fb_clear_dis=False,
)
"""AMD's way to VM-Enter; it has a promise, a selection and an audit of its own (`svm`, `tsa`)."""


def era(id_: str) -> Era:
    """Find an era or a form beside the story by its id; `LabError` with the nearest for another name."""
    found = FORMS.get(id_)
    if found is None:
        raise LabError(f"era: unknown name {id_!r}{near(id_, FORMS)}; use one of: {' '.join(FORMS)}")
    return found
