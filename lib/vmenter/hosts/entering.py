"""By which instruction KVM enters a guest on a machine: VMLAUNCH or VMRESUME, VMRUN, or not at all.

What says "not at all" comes first; then the CPU's flags, its vendor, its name, and last what only one side's CPUs
have. Where nothing tells, nothing is guessed.

Sources: arch/x86/kernel/cpu/bugs.c (itlb_multihit_show_state, cpu_show_common on Xen PV), common.c (which vendors
have which bug: TSA and SRSO are AMD's and Hygon's; MDS, L1TF and their kin Intel's, Centaur's and Zhaoxin's, which
build VMX), arch/x86/kvm/vmx and svm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vmenter.hosts.texts import FLAWS, NOT_AFFECTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmenter.hosts.report import Report

VMX: Final = "VMLAUNCH or VMRESUME"
SVM: Final = "VMRUN"
NONE: Final = "none"

_VENDORS = {"GenuineIntel": VMX, "CentaurHauls": VMX, "Shanghai": VMX, "AuthenticAMD": SVM, "HygonGenuine": SVM}
_MODELS = (
    (re.compile(r"\b(?:Intel|ZHAOXIN|VIA|Xeon|Celeron|Pentium)\b", re.IGNORECASE), VMX),
    (re.compile(r"\b(?:AMD|Hygon|EPYC|Ryzen|Opteron)\b", re.IGNORECASE), SVM),
)
_BUGS = {
    VMX: {
        "mds",
        "msbds_only",
        "taa",
        "l1tf",
        "mmio_stale_data",
        "mmio_unknown",
        "rfds",
        "srbds",
        "itlb_multihit",
        "gds",
        "its",
    },
    SVM: {"tsa", "srso", "smt_rsb", "div0", "amd_e400", "amd_tlb_mmatch"},
}
_FILES = {
    VMX: (*FLAWS, "itlb_multihit", "srbds", "gather_data_sampling", "indirect_target_selection", "meltdown"),
    SVM: ("tsa", "spec_rstack_overflow"),
}
_WORDS = (
    ("retbleed", re.compile("IBRS"), VMX),
    ("retbleed", re.compile("on non-AMD"), VMX),
    ("retbleed", re.compile("(?:untrained return thunk|IBPB)(?!.* on non-AMD)"), SVM),
    ("spectre_v2", re.compile(r"\bAMD\b"), SVM),
)
_OTHERS = {"ARM", "Apple", "Ampere", "Cavium", "HiSilicon", "IBM/S390", "Loongson", "NVIDIA", "Qualcomm"}
_NO_X86 = re.compile(r"[.-](?:aarch64|arm64|armv\d\w*|ppc64(?:le|el)?|s390x|riscv64|loongarch64)(?:\b|_)")
_ELSEWHERE = (  # texts that only other architectures' kernels have
    ("spectre_v2", re.compile("CSV2|Branch predictor hardening|execute trampolines|etokens|Software count cache")),
    ("meltdown", re.compile("RFI Flush")),
    ("ghostwrite", re.compile("Mitigation|Vulnerable")),
)
_VMX_OFF = ("KVM: Mitigation: VMX unsupported", "KVM: Mitigation: VMX disabled")


@dataclass(frozen=True)
class Entering:
    """`by`: `VMX`, `SVM`, `NONE`; None if nothing tells. `why`: from what; `against`: what speaks for another."""

    by: str | None
    why: str
    against: str | None = None


def entering(report: Report) -> Entering:
    """Tell by what guests are entered on the machine of a report."""
    none = next(_none(report), None)
    if none is not None:
        return Entering(NONE, none)
    signs, flaws = list(_signs(report)), dict(_by_flaws(report))
    if signs:
        by, why = signs[0]
        others = [other for side, other in (*signs[1:], *flaws.items()) if side != by]
        return Entering(by, why, f"{why}, but {others[0]}" if others else None)
    if len(flaws) == 1:
        return Entering(*flaws.popitem())
    return Entering(
        None, "the lines contradict each other" if flaws else "no vendor, no flags, and no line that only one has"
    )


def _none(report: Report) -> Iterator[str]:
    """Yield what says that KVM enters no guest here."""
    if report.no_kvm:
        yield report.no_kvm
    if report.vendor in _OTHERS:
        yield f"the vendor, {report.vendor}, builds no x86"
    if report.release and _NO_X86.search(report.release):
        yield f"the kernel is one for no x86 ({report.release})"
    for file, texts in _ELSEWHERE:
        if texts.search(report.line(file) or ""):
            yield f"only kernels of other architectures say so in {file}"
    if (report.line("meltdown") or "").startswith("Unknown (XEN PV"):
        yield "the meltdown line says that this runs on Xen without hardware virtualization (PV)"
    if report.line("itlb_multihit") in _VMX_OFF:
        state = str(report.line("itlb_multihit")).rpartition(" ")[2]
        yield f"the itlb_multihit line says that VMX is {state}"


def _signs(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what the CPU says of itself, the surest first."""
    for flag, by in (("vmx", VMX), ("svm", SVM)):
        if report.has(flag):
            yield by, f"the flag {flag}"
    if report.virtualization:
        yield (VMX if report.virtualization == "VT-x" else SVM), f"lscpu says {report.virtualization}"
    if report.vendor in _VENDORS:
        yield _VENDORS[report.vendor], f"the vendor is {report.vendor}"
    name = dict(report.cpu).get("model name", "")
    for words, by in _MODELS:
        if words.search(name):
            yield by, "the CPU's name"
    if report.parameters:
        yield VMX, "kvm_intel is loaded"


def _by_flaws(report: Report) -> Iterator[tuple[str, str]]:
    """Yield which side the flaws speak for."""
    if report.present:
        yield VMX, f"the kernel's log says that {report.present[0]} is there"
    for by, names in _BUGS.items():
        if found := names.intersection(report.bugs or ()):
            yield by, f"the bug {min(found)} in the bugs line"
    for by, files in _FILES.items():
        for file in files:
            text = report.line(file)
            if text is not None and text != NOT_AFFECTED:
                yield by, f"{file}, which the other side's CPUs do not have"
    for file, words, side in _WORDS:
        if words.search(report.line(file) or ""):
            yield side, f"the words of {file}"
