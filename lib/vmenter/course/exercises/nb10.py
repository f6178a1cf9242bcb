"""Exercises of notebook 10: a boot option for two kernels, a copy that knows its CPU, the facts of a report."""

from collections.abc import Mapping
from typing import Any

from vmenter import LabError
from vmenter.boot import tsa
from vmenter.boot.tsa import AmdHost
from vmenter.code.image import Image, from_bytes
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import LAB_BASE, VCPU, VCpu
from vmenter.emulator.trace import End, Trace
from vmenter.kernels import amd_stub, census
from vmenter.patching.alternative_table import Engine, Rules, read
from vmenter.patching.alternatives import apply, patch_all
from vmenter.patching.features import number
from vmenter.patching.lab import assemble
from vmenter.story import eras, svm

# --- 10-1: only before VMRUN ---------------------------------------------------------------------------------

SETTINGS = ("zen", "facts", "cmdline", "hypervisor")


def _judge_only_vm(answer: Any) -> str | None:
    if not isinstance(answer, dict):
        raise LabError(f"answer should be a dict of settings; it is a {type(answer).__name__}")
    if unknown := sorted(map(str, set(answer) - set(SETTINGS))):
        raise LabError(f"there is no setting {unknown[0]!r}; there are {', '.join(SETTINGS)}")
    if isinstance(answer.get("facts"), str):
        raise LabError('facts is a tuple of names; one name alone needs a comma: ("verw_clear",)')
    try:
        host = AmdHost(**answer)
        selected = [tsa.select(host, kernel) for kernel in tsa.KERNELS]
    except (TypeError, AttributeError):
        raise LabError(
            "zen is a number, facts a tuple of names, cmdline a text, hypervisor True or False"
        ) from None
    for kernel, found in zip(tsa.KERNELS, selected, strict=True):
        why = "; ".join(f"{one.outcome}: {one.reason}" for one in found.why)
        if not found.affected:
            return f"{kernel}: this machine does not have TSA, by its generation or by what CPUID says of it"
        if svm.FEATURE not in found.features:
            return f"{kernel}: before VMRUN nothing is cleared; the file tsa says “{found.sysfs}” ({why})"
        if "CLEAR_CPU_BUF" in found.features:
            return f"{kernel}: the way to user space clears as well; the file tsa says “{found.sysfs}” ({why})"
    return None


# --- 10-2: a copy that knows its CPU ----------------------------------------------------------------------------

TO, FROM = VCPU + 0x4000, VCPU + 0x8000
SIZES = (0, 1, 7, 8, 9, 64, 129)
TEXT = bytes((7 * index + 1) % 251 for index in range(256))
FSRM = number("FSRM", "7.3.4")
HOW = Rules(Engine.ONCE, 14, wide_nops=True)


def copier(answer: Any) -> Image:
    """Assemble an answer that must define ``entry``."""
    if not isinstance(answer, str):
        raise LabError(f"answer should be text, the assembly; it is a {type(answer).__name__}")
    image = from_bytes(assemble(f"{answer}\nX86_FEATURE_FSRM = {FSRM}\n"), "answer", LAB_BASE)
    if image.undefined:
        raise LabError(f"nothing here defines {min(image.undefined)}")
    if image.symbols.get("entry") is None:
        raise LabError("there is no label entry: where does the function begin?")
    return image


def written(trace: Trace) -> dict[int, int]:
    """Return address → byte of all that a run wrote, the stack apart."""
    found: dict[int, int] = {}
    for access in trace.accesses:
        if access.write and VCPU <= access.address < VCPU + 0x1_0000:
            data = (access.value & (1 << 8 * access.size) - 1).to_bytes(access.size, "little")
            found |= {access.address + index: byte for index, byte in enumerate(data)}
    return found


def _judge_copy(answer: Any) -> str | None:
    image = copier(answer)
    if not any(entry.feature == FSRM for site in read(image, engine=Engine.ONCE).sites for entry in site.entries):
        return "no alternative here asks for X86_FEATURE_FSRM: the code is the same on every CPU"
    vcpu = VCpu(fields={FROM - VCPU: TEXT})
    for has in (True, False):
        machine = Machine(apply(image, patch_all(image, {FSRM} if has else set(), HOW)))
        for size in SIZES:
            case = f"{'with' if has else 'without'} FSRM, {size} bytes"
            try:
                trace = machine.run("entry", {"rdi": TO, "rsi": FROM, "rdx": size}, vcpu)
            except LabError as error:
                return f"{case}: {error}"
            if wrong := _wrong_copy(trace, size, has=has):
                return f"{case}: {wrong}"
    return None


def _wrong_copy(trace: Trace, size: int, *, has: bool) -> str | None:
    """Say what is wrong with one run."""
    if trace.end is End.BUDGET:
        return "the code goes on and on, and does not return"
    if trace.end is not End.RETURN:
        return f"the run ended with {trace.end}, not with a return"
    got = written(trace)
    for index in range(size):
        if got.get(TO + index) != TEXT[index]:
            return f"byte {index} is {'wrong' if TO + index in got else 'not copied'}"
    if stray := sorted(set(got) - set(range(TO, TO + size))):
        return f"a byte was written {stray[0] - TO - size + 1} beyond the end" if stray[0] >= TO else "stray bytes"
    bytewise = any(one.mnemonic.startswith("rep") and "movsb" in one.mnemonic for one in trace.instructions)
    if has and not bytewise:
        return "REP MOVSB should do it, and did not run"
    if not has and bytewise:
        return "REP MOVSB ran, on a CPU where it is slow for short copies"
    return None


# --- 10-3: the facts of a report -----------------------------------------------------------------------------

REPORT = "6.12.117"
OPEN = ("nothing", "mds", "mmio")


def facts(version: str = REPORT) -> dict[str, Any]:
    """Return what the report on a recorded kernel must say."""
    kernel = census.recorded(version)
    intel = [clear.feature for clear in census.recorded(version, "kvm-intel.ko").clears]
    runs = amd_stub.recorded_runs(version)
    return {
        "sites": kernel.sites,
        "clears_to_user": len(kernel.clears),
        "intel": sorted(intel),
        "amd": sorted({clear.feature for clear in census.recorded(version, "kvm-amd.ko").clears}),
        "amd_accesses_after_clear": max(run.accesses_after_clear or 0 for run in runs),
        "form_of_6_19": "CLEAR_CPU_BUF_VM_MMIO" in intel,
        "left_open": _left_open("43fb862de8f6"),
    }


def _left_open(era: str) -> str:
    """Return for which flaw an era's VM-Enter may still clear nothing: one of `OPEN`."""
    skips = []
    for word, bug, known in (("mds", "mds", ("md_clear",)), ("mmio", "mmio_stale_data", ("mds_no", "fb_clear"))):
        host = eras.Host((bug, "l1tf"), (*known, "flush_l1d"))
        if not eras.enter(era, host, eras.VCpuState(eras.Reach.ASSIGNED)).verdict.kept:
            skips.append(word)
    return skips[0] if skips else "nothing"


_WHERE = {
    "sites": f'census.recorded("{REPORT}").sites counts them',
    "clears_to_user": f'count census.recorded("{REPORT}").clears',
    "intel": 'the features of the clears of "kvm-intel.ko", as a list',
    "amd": 'the features of the clears of "kvm-amd.ko", each once, as a list',
    "amd_accesses_after_clear": f'amd_stub.recorded_runs("{REPORT}") has it for each run; the largest counts',
    "form_of_6_19": "that form has a feature of its own for guests that reach MMIO: has Intel's module got it?",
    "left_open": "this stub is that of 43fb862de8f6: which arm stayed in C, behind the else (notebook 06)?",
}


def _judge_report(answer: Any) -> str | None:
    right = facts()
    if not isinstance(answer, Mapping) or set(answer) != set(right):
        raise LabError(f"answer should be a dict with {', '.join(right)}")
    for name, value in right.items():
        given = sorted(answer[name]) if isinstance(answer[name], list | tuple | set) else answer[name]
        if isinstance(value, bool) != isinstance(given, bool) or given != value:
            return f"{name}: {answer[name]!r} is not right; {_WHERE[name]}"
    return None


JUDGES = {"only_vm": _judge_only_vm, "copy": _judge_copy, "report": _judge_report}
