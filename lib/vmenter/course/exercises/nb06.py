"""Exercises of notebook 06: tell skipping from distance, choose VMRESUME across VERW, say why MMIO stayed."""

import re
from itertools import product
from typing import Any

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.course.exercises.choice import choice
from vmenter.course.exercises.flags import flag_uses
from vmenter.course.exercises.variants import between, changed, source
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import VCPU, VCpu
from vmenter.emulator.trace import Trace
from vmenter.story import eras
from vmenter.story.history import Era
from vmenter.story.promise import Promise, Reach, VCpuState, Verw

NEAR = 1  # accesses up to which the course calls a clear near: the merged form has one, of a run flag

MDS = Host(("mds",), ("md_clear",))
MDS_L1TF = Host(("mds", "l1tf"), ("md_clear", "flush_l1d"))
MMIO = Host(("mmio_stale_data",), ("mds_no", "fb_clear"))
MMIO_L1TF = Host(("mmio_stale_data", "l1tf"), ("mds_no", "fb_clear", "flush_l1d"))
DEVICE = VCpuState(Reach.ASSIGNED)

CASES: dict[str, tuple[str, Host, VCpuState]] = {
    "A": ("650b68a0622f", MDS, VCpuState()),
    "B": ("650b68a0622f", MDS_L1TF, VCpuState()),
    "C": ("43fb862de8f6", MDS_L1TF, VCpuState()),
    "D": ("43fb862de8f6", MMIO, DEVICE),
    "E": ("43fb862de8f6", MMIO_L1TF, DEVICE),
    "F": ("43fb862de8f6", MDS_L1TF, VCpuState(flush_pending=True)),
}
"""Letter → era, host and vCPU: the VM-Enters to be told apart."""


def word_for(entry: eras.Entry) -> str:
    """Return the course's word for a VM-Enter: skipped, distant or near."""
    if not entry.verdict.kept:
        return "skipped"
    return "near" if (entry.verdict.accesses_after_clear or 0) <= NEAR else "distant"


def _judge_words(answer: Any) -> str | None:
    words = ("skipped", "distant", "near")
    if not isinstance(answer, dict) or set(answer) != set(CASES):
        raise LabError(f"answer should be a dict with a word for each of {', '.join(CASES)}")
    for letter, case in CASES.items():
        given = answer[letter]
        if given not in words:
            raise LabError(f"{letter}: {given!r} is none of the words {', '.join(words)}")
        entry = eras.enter(*case)
        if given != (right := word_for(entry)):
            return f"{letter} is not {given}: {_facts(entry, right)}"
    return None


def _facts(entry: eras.Entry, right: str) -> str:
    """Return what the run of a case shows."""
    verdict = entry.verdict
    if right == "skipped":
        return f"{verdict.reason}. There is no clear whose distance could be measured"
    return (
        f"{verdict.reason}, and between the last clear and VM-Enter there are "
        f"{verdict.accesses_after_clear} memory accesses"
    )


# --- a stub that chooses across VERW --------------------------------------------------------------------------

STUB_ERA = "43fb862de8f6"
STUB = "__vmx_vcpu_run"
NUMBERED = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
GUEST = {name: eras.GUEST + number for number, name in enumerate(NUMBERED) if name != "rsp"}  # the CPU loads RSP


def stubbed(answer: Any) -> Era:
    """Return the kernel of 2024 with the answer in place of its stub's end."""
    if not isinstance(answer, str):
        raise LabError(f"answer should be text, the assembly of the stub; it is a {type(answer).__name__}")
    end = between(source(STUB_ERA), "    stub_begin", ".Lvmfail:")
    return changed(STUB_ERA, (end, f"{answer}\n"))


def enter_by(era: Era, *, clear: bool, resume: bool) -> tuple[Trace, dict[str, int]]:
    """Run a stub with CLEAR_CPU_BUF on or off, for a first VM-Enter or a later one: the run, and all registers."""
    features = frozenset({"CLEAR_CPU_BUF"} if clear else ())
    machine = Machine(eras.patched(era, features, frozenset()))
    at = eras.OFFSETS["regs"]
    vcpu = VCpu(
        fields={at + 8 * (value - eras.GUEST): value for value in GUEST.values()},
        flags={eras.OFFSETS["launched"]: int(resume), eras.OFFSETS["disable_fb_clear"]: 0},
    )
    return machine.run(eras.START, {"rdi": VCPU}, vcpu), machine.registers()


def _judge_stub(answer: Any) -> str | None:
    era = stubbed(answer)
    for clear, resume in product((False, True), repeat=2):
        case = f"with CLEAR_CPU_BUF {'on' if clear else 'off'}, {'entered before' if resume else 'first VM-Enter'}"
        try:
            trace, registers = enter_by(era, clear=clear, resume=resume)
            verdict = eras.judge(Promise(Verw.ALWAYS if clear else Verw.NEVER, "never"), VCpuState(), trace)
        except LabError as error:
            return f"{case}: {error}"
        right = "VMRESUME" if resume else "VMLAUNCH"
        if trace.vm_enter != right:
            return f"{case}: {trace.vm_enter} was chosen, {right} is the right one. {_last_test(trace)}"
        if not verdict.kept:
            return f"{case}: {verdict.reason}"
        if verdict.verw and not clear:
            return f"{case}: VERW ran although nothing asks for it"
        if verdict.accesses_after_clear:
            late = next(a for a in trace.accesses if a.step > trace.clears[-1].step)
            first = f"{trace.where(late.step)}, {trace.instructions[late.step].text}"
            number = f"{verdict.accesses_after_clear} access{'es' * (verdict.accesses_after_clear > 1)}"
            return f"{case}: the right one, but VERW is {number} to memory away from it; the first: {first}"
        lost = next((name for name, value in GUEST.items() if registers[name] != value), None)
        if lost:
            return f"{case}: at VM-Enter, {lost.upper()} does not hold the guest's value"
    return None


def _last_test(trace: Trace) -> str:
    """Name the last conditional jump of the stub, the flag that it reads, and who wrote it last."""
    uses = list(flag_uses(trace, STUB))
    if not uses:
        return "No conditional jump on ZF or CF chooses"
    use = uses[-1]
    if use.writer is None:
        return f"{use.jump} reads {use.flag}, which nobody has written"
    writer = trace.instructions[use.writer].text
    loaded = any(one.text.endswith("), %rbx") for one in trace.instructions[: use.writer])
    gone = ". By then RBX holds the guest's value" if loaded and re.search(r"%([er]?bx|bl)\b", writer) else ""
    return f"{use.jump} reads {use.flag}, last written by {writer}{gone}"


REASONS = {
    "a": """no. The flush stands in front of MMIO's arm exactly as it did in front of MDS's. Case E shows it
        skip.""",
    "c": """no. Since v6.5 a replacement may hold a jump and a VERW; notebook 03 has such a one, and this fix is
        of v6.8. What was missing was a place where the jump could look at a flag.""",
    "d": """no. It is the same instruction with the same operand; in the lab's source both arms are the macro
        `clear_cpu_buffers`.""",
    "e": """no. Distance is the same for both: what lies between C and VM-Enter puts host data into the fill
        buffers, whichever flaw reads them. Case D measures it.""",
}

JUDGES = {"words": _judge_words, "stub": _judge_stub, "mmio_stayed": choice("b", REASONS)}
OWN = {"06-1": stubbed}
