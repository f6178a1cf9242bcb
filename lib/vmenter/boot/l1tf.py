"""L1TF: the bare-metal side (PTE inversion, SMT) and KVM's L1D-flush mode.

Independent of the VERW family but for `mitigations=` and SMT, which both read. Sources:
l1tf_select_mitigation, l1tf_apply_mitigation and l1tf_show_state in arch/x86/kernel/cpu/bugs.c;
vmx_setup_l1d_flush in arch/x86/kvm/vmx/vmx.c. Up to 5.3 KVM does not even start that set-up on a CPU
without L1TF, and its parameter file goes on reading "auto"; here that, too, is "not required".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmenter.boot.options import Decision, Wishes

if TYPE_CHECKING:
    from vmenter.boot.generations import Generation
    from vmenter.boot.host import Host

FLUSH_KEY, COND_KEY = "vmx_l1d_should_flush", "vmx_l1d_flush_cond"  # KVM's static keys
FLUSH_KEYS = (FLUSH_KEY, COND_KEY)
MODE_KEYS = {"never": (), "cond": (COND_KEY, FLUSH_KEY), "always": (FLUSH_KEY,)}  # by KVM's mode


@dataclass(frozen=True)
class L1tf:
    """What selection and, once loaded, KVM do about L1TF.

    `flush` is KVM's mode by the name its parameter file shows: "never", "cond", "always",
    "EPT disabled", "not required".
    """

    state: str
    pte_inversion: bool
    nosmt: bool
    flush: str


def select_l1tf(host: Host, wishes: Wishes, kernel: Generation) -> tuple[L1tf, list[Decision]]:
    """Decide on L1TF. Returns the outcome and its reasons, in order."""
    said: list[Decision] = []
    affected = "l1tf" in kernel.bugs.intersection(host.bugs)
    word, reason = _choice(wishes, kernel, affected=affected)
    if affected:
        said.append(Decision("L1TF", word, reason))
    nosmt = affected and word in {"flush,nosmt", "full", "full,force"}
    if nosmt:
        said.append(Decision("SMT", "off", f"l1tf={word} includes it"))
    inversion = affected and (word == "off" or not _too_much_memory(host))
    if affected and not inversion:
        reason = "there is RAM above half of what the cache can address, where inverted entries would point"
        said.append(Decision("PTE inversion", "off", reason))
    flush, reason = _flush_mode(host, wishes, word, affected=affected)
    said.append(Decision("KVM's L1D flush", flush, reason))
    state = "L1TF_MITIGATION_" + word.upper().replace(",", "_")
    return L1tf(state, inversion, nosmt, flush), said


def _choice(wishes: Wishes, kernel: Generation, *, affected: bool) -> tuple[str, str]:
    """Return the word of `l1tf=` that describes what is in force."""
    own = wishes.of("l1tf")
    if kernel.word_match == "prefix":
        if not affected:
            return "off", "the CPU does not have L1TF"
        if own is not None:
            return own, "its own option, and here that beats mitigations="
        if not {"user_kernel", "guest_host"}.intersection(wishes.vectors):
            return "off", "neither user-to-kernel nor guest-to-host attacks are to be stopped"
        if wishes.cross_thread == "on":
            return "flush,nosmt", "mitigations=auto,nosmt"
        return "flush", "the default"
    # The older code leaves the default standing on a CPU without the bug, where nobody reads it.
    if not affected:
        return "flush", "the CPU does not have L1TF"
    if wishes.mitigations == "off":
        return "off", "mitigations=off, and here that beats l1tf="
    if wishes.cross_thread == "on":
        return "flush,nosmt", "mitigations=auto,nosmt, and here that beats l1tf="
    return own or "flush", "its own option" if own else "the default"


def _too_much_memory(host: Host) -> bool:
    if host.cache_bits is None:
        return False
    half = 1 << (host.cache_bits - 1)
    # The kernel looks at [half, 2**64 - 1 - half), a range that is empty for half = 2**63.
    return host.ram_mib << 20 > half


def _flush_mode(host: Host, wishes: Wishes, word: str, *, affected: bool) -> tuple[str, str]:
    """Return KVM's mode and why; the order of the questions is KVM's."""
    if not affected:
        return "not required", "the CPU does not have L1TF"
    if not (host.ept and wishes.ept):
        return "EPT disabled", "with shadow page tables no guest chooses what a page table entry holds"
    if host.has("skip_vmentry_l1dflush"):
        return "not required", "the hypervisor below flushes on its own VM-Enter"
    asked = wishes.vmentry_l1d_flush
    if asked == "auto":
        mode = {"off": "never", "full": "always", "full,force": "always"}.get(word, "cond")
        return mode, f"KVM was left to choose and follows l1tf={word}"
    if word == "full,force":
        return "always", f"KVM was asked for '{asked}', but l1tf=full,force does not let go"
    return asked, "KVM's own parameter"


_VMX_TEXT = {
    "never": "vulnerable",
    "cond": "conditional cache flushes",
    "always": "cache flushes",
    "EPT disabled": "EPT disabled",
    "not required": "flush not necessary",
}


def l1tf_sysfs(host: Host, l1tf: L1tf, kernel: Generation, *, smt_active: bool | None) -> tuple[str, str]:
    """Return the short text and, KVM being loaded, the whole line of the l1tf file."""
    if "l1tf" not in kernel.bugs.intersection(host.bugs):
        return ("Not affected",) * 2
    if not l1tf.pte_inversion:
        return ("Vulnerable",) * 2
    short = "Mitigation: PTE Inversion"
    line = f"{short}; VMX: {_VMX_TEXT[l1tf.flush]}"
    if l1tf.flush == "EPT disabled" or smt_active is None or (l1tf.flush == "never" and smt_active):
        return short, line
    return short, line + (", SMT vulnerable" if smt_active else ", SMT disabled")
