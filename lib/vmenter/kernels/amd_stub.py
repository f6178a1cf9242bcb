"""The VM-Enter stubs of a real kvm-amd.ko, run with and without VERW, beside the lab's form of them."""

from dataclasses import dataclass
from itertools import product

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import VCPU
from vmenter.kernels.census import record
from vmenter.patching import alternatives, features
from vmenter.patching.alternative_table import Nops, rules
from vmenter.story.svm import BLOCKS, FEATURE, STUBS


@dataclass(frozen=True)
class StubRun:
    """One run of a real stub: under which feature, and what was seen."""

    stub: str
    feature: bool  # CLEAR_CPU_BUF_VM
    vm_enter: str | None
    verw: int
    instructions_after_clear: int | None
    accesses_after_clear: int | None


def stub_runs(module: Image) -> tuple[StubRun, ...]:
    """Run both stubs of a kvm-amd.ko, loaded at `memory.LAB_BASE`, with and without CLEAR_CPU_BUF_VM.

    Raises `LabError` for a module that has no such stub, or whose kernel has no such feature.
    """
    number = features.number(FEATURE, module.kernel)
    found = []
    for stub, feature in product(STUBS, (False, True)):
        if module.symbols.get(stub) is None:
            raise LabError(f"{module.name}: no {stub} in it; a kvm-amd.ko with symbols is needed")
        how = rules(module, nops=Nops.P6)  # which NOPs is all the same to what runs
        patched = alternatives.apply(module, alternatives.patch_all(module, {number} if feature else set(), how))
        # Both stubs take the vCPU first; the third argument is the save area of the SEV-ES one.
        trace = Machine(patched).run(stub, {"rdi": VCPU, "rsi": 0, "rdx": VCPU + BLOCKS["host_save"]})
        far = trace.distance
        found.append(
            StubRun(stub, feature, trace.vm_enter, trace.verw, far and far.instructions, far and far.accesses)
        )
    return tuple(found)


def recorded_runs(version: str) -> tuple[StubRun, ...]:
    """Return what `stub_runs` gave for a real kernel, as recorded. Raises `LabError` for another one."""
    known = record()
    if version not in known:
        raise LabError(f"no runs of {version} were recorded; there are {', '.join(known)}")
    return tuple(StubRun(**one) for one in known[version]["stubs"])
