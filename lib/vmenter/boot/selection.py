"""Boot-time selection: from a machine and its command line to features, static keys and their reasons.

`select(host, kernel)` is the whole of it: read the options (`boot_options`), decide for the VERW family
(`verw`) and for L1TF with KVM's flush mode (`l1tf`), then spell the outcome in the kernel's own terms.
The last two never look at each other, so whoever must try every configuration may count them apart;
they share the options and, for what depends on SMT, each other's wish to switch it off.

Left out: late microcode, other flaws that also switch SMT off (retbleed), AMD's side (TSA uses the same
features), kernels built without some mitigation, CPUs where TSX always aborts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmenter.boot.generations import Generation, generation
from vmenter.boot.l1tf import MODE_KEYS, l1tf_sysfs, select_l1tf
from vmenter.boot.options import Decision, read_options
from vmenter.boot.verw import clear_before_idle, select_verw, verw_sysfs

if TYPE_CHECKING:
    from vmenter.boot.host import Host


@dataclass(frozen=True)
class PerFlaw:
    """One text for each flaw; None where the kernel does not know it yet."""

    mds: str | None
    taa: str | None
    mmio: str | None
    rfds: str | None
    l1tf: str | None


@dataclass(frozen=True)
class Selection:
    """What one kernel selects on one machine. Equal when the kernel would behave the same.

    `features` and `keys` are set when boot-time selection returns, `kvm_keys` once kvm-intel is loaded;
    names are the kernel's (X86_FEATURE_ left off), sorted. `sysfs` is each vulnerabilities file up to the
    first "; ", `lines` the whole of it as far as the host tells. `nosmt`: selection switched SMT off.
    """

    kernel: str
    features: tuple[str, ...]
    keys: tuple[str, ...]
    kvm_keys: tuple[str, ...]
    l1d_flush: str
    states: PerFlaw
    sysfs: PerFlaw
    lines: PerFlaw
    nosmt: bool
    why: tuple[Decision, ...] = field(compare=False)


def select(host: Host, kernel: Generation | str) -> Selection:
    """Select as `kernel` does, a `Generation` or the name of a kernel version or an era."""
    if isinstance(kernel, str):
        kernel = generation(kernel)
    wishes, why = read_options(host, kernel)
    l1tf, l1tf_why = select_l1tf(host, wishes, kernel)
    verw, verw_why = select_verw(host, wishes, kernel)
    nosmt = l1tf.nosmt or verw.nosmt
    smt_active = None if host.smt is None else host.smt and not nosmt and not wishes.smt_off
    idle = clear_before_idle(host, verw, kernel, smt_active=smt_active)

    features: set[str] = {"L1TF_PTEINV"} if l1tf.pte_inversion else set()
    keys: set[str] = {kernel.idle_key} if idle else set()
    if verw.clears_for_all:
        features.update(kernel.clear_features)
        keys.update(kernel.clear_keys)
    if verw.clears_for_mmio:
        features.update(kernel.mmio_only_features)
        keys.update(kernel.mmio_only_keys)
    kvm_keys: tuple[str, ...] = MODE_KEYS.get(l1tf.flush, ())

    files = verw_sysfs(host, verw, kernel, smt_active=smt_active)
    files["l1tf"] = l1tf_sysfs(host, l1tf, kernel, smt_active=smt_active)
    return Selection(
        kernel=kernel.kernel,
        features=tuple(sorted(features)),
        keys=tuple(sorted(keys)),
        kvm_keys=kvm_keys,
        l1d_flush=l1tf.flush,
        states=PerFlaw(verw.mds, verw.taa, verw.mmio, verw.rfds, l1tf.state),
        sysfs=PerFlaw(**{flaw: texts and texts[0] for flaw, texts in files.items()}),
        lines=PerFlaw(**{flaw: texts and texts[1] for flaw, texts in files.items()}),
        nosmt=nosmt,
        why=(*why, *verw_why, *((idle,) if idle else ()), *l1tf_why),
    )
