"""AMD's VM-Enter: one run of it, the promise, every configuration, and the stubs of a real kvm-amd.ko.

The promise: where selection (`tsa`) sets CLEAR_CPU_BUF_VM, every VMRUN is preceded by VERW. There is no L1D flush
and no MMIO arm to share it with, no first and later VM-Enter, and only two ways in, so the whole space is small
enough to be walked: each configuration is selected for, and each distinct state run.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, product

from vmenter.boot import tsa
from vmenter.boot.tsa import AmdHost, TsaSelection
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import VCPU, VCpu
from vmenter.emulator.trace import Trace
from vmenter.story import eras
from vmenter.story.history import SVM, Era
from vmenter.story.promise import Promise, VCpuState, Verdict, Verw, judge

FEATURE = "CLEAR_CPU_BUF_VM"
START = "svm_vcpu_run"
STUBS = ("__svm_vcpu_run", "__svm_sev_es_vcpu_run")
# Where lab/d8010d4ba43e.S has the vCPU's fields, and where the blocks they point to stand; a test compares them.
OFFSETS = {"sev_es": 0x04, "vmcb01_pa": 0x30, "vmcb_pa": 0x38, "host_save": 0x40, "regs": 0x80}
BLOCKS = {"vmcb01_pa": 0x1000, "vmcb_pa": 0x2000, "host_save": 0x3000}


@dataclass(frozen=True)
class Entry:
    """One VM-Enter on AMD: what was given, what was selected, what ran, and the verdict."""

    host: AmdHost
    sev_es: bool
    selection: TsaSelection
    promise: Promise
    verdict: Verdict
    trace: Trace = field(repr=False)


def enter(host: AmdHost, *, sev_es: bool = False, kernel: str = tsa.KERNELS[0], era: Era = SVM) -> Entry:
    """Run one VM-Enter of a guest, SEV-ES or not. `kernel` is the one whose selection is used."""
    selection = tsa.select(host, kernel)
    promise = promise_of(selection)
    trace = run(feature=FEATURE in selection.features, sev_es=sev_es, era=era)
    return Entry(host, sev_es, selection, promise, judge(promise, VCpuState(), trace), trace)


def promise_of(selection: TsaSelection) -> Promise:
    """Return what selection asks of VMRUN."""
    return Promise(Verw.ALWAYS if FEATURE in selection.features else Verw.NEVER, "not required")


@lru_cache(maxsize=64)
def run(*, feature: bool, sev_es: bool = False, era: Era = SVM) -> Trace:
    """Run the lab's code with or without CLEAR_CPU_BUF_VM, up to VMRUN or wherever else it ends."""
    return machine(feature=feature, era=era).run(START, {"rdi": VCPU}, vcpu(sev_es=sev_es))


def machine(*, feature: bool, era: Era = SVM) -> Machine:
    """Return a machine with the lab's code patched for a CPU with or without CLEAR_CPU_BUF_VM."""
    return Machine(eras.patched(era, frozenset({FEATURE} if feature else ()), frozenset()))


@lru_cache(maxsize=2)
def vcpu(*, sev_es: bool) -> VCpu:
    """Return the vCPU's structure, with guest registers that are easy to tell."""
    pointers = {OFFSETS[name]: VCPU + block for name, block in BLOCKS.items()}
    registers = {OFFSETS["regs"] + 8 * number: eras.GUEST + number for number in range(16)}
    return VCpu(fields={**pointers, **registers}, flags={OFFSETS["sev_es"]: int(sev_es)})


# --- every configuration ----------------------------------------------------------------------------------------

OWN = ("", "tsa=off", "tsa=on", "tsa=user", "tsa=vm")
_VECTORS = ("no_user_kernel", "no_user_user", "no_guest_host", "no_guest_guest")
COMMON = (
    "",
    "mitigations=off",
    *(f"mitigations=auto,{','.join(some)}" for size in range(1, 5) for some in combinations(_VECTORS, size)),
)


@dataclass(frozen=True)
class Configuration:
    """All that can influence one VM-Enter."""

    kernel: str
    host: AmdHost
    sev_es: bool


@dataclass(frozen=True)
class Audit:
    """What came of walking every configuration.

    `uncleared`: of the VM-Enters of affected hosts, those that clear nothing, by what sysfs says; none of them is
    promised a clear. `broken`: how many break the promise, and `smallest` is the first of them.
    """

    configurations: int
    states: int
    promised: int
    broken: int
    smallest: Configuration | None
    uncleared: Mapping[str, int]

    def __repr__(self) -> str:
        lines = [
            f"{self.configurations:,} configurations, {self.states} distinct states run",
            f"a clear promised: {self.promised:,}; broken: {self.broken:,}",
            "affected, and nothing cleared:",
            *(f"  {count:>6,}  {text}" for text, count in self.uncleared.items()),
        ]
        return "\n".join(lines)


def space() -> Iterator[Configuration]:
    """Yield every configuration: kernels, Zen generations, facts, options, guest or bare metal, SEV-ES or not."""
    some = [facts for size in range(len(tsa.FACTS) + 1) for facts in combinations(tsa.FACTS, size)]
    options = [" ".join(filter(None, pair)) for pair in product(COMMON, OWN)]
    for kernel, zen, facts, cmdline, hypervisor in product(
        tsa.KERNELS, tsa.FAMILIES, some, options, (False, True)
    ):
        host = AmdHost(zen, facts, cmdline, hypervisor)
        for sev_es in (False, True):
            yield Configuration(kernel, host, sev_es)


def audit(era: Era = SVM) -> Audit:
    """Select for every configuration, run each distinct state once, and count. About a second."""
    total = promised = broken = 0
    smallest = None
    states: dict[tuple[bool, bool], Trace] = {}
    uncleared: Counter[str] = Counter()
    for one in space():
        total += 1
        selection = tsa.select(one.host, one.kernel)
        feature = FEATURE in selection.features
        state = (feature, one.sev_es)
        if state not in states:
            states[state] = run(feature=feature, sev_es=one.sev_es, era=era)
        cleared = judge(promise_of(selection), VCpuState(), states[state]).verw > 0
        promised += feature
        if feature and not cleared:
            broken += 1
            smallest = smallest or one
        elif selection.affected and not cleared:
            uncleared[selection.sysfs] += 1
    return Audit(total, len(states), promised, broken, smallest, dict(uncleared.most_common()))
