"""Exercises of notebook 07: two answers in two flags, and which reasons for a patch hold."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from vmenter import LabError
from vmenter.code.assembler import AssemblyError
from vmenter.course.exercises.flags import FlagUse, flag_uses
from vmenter.emulator.memory import VCPU, Owner
from vmenter.emulator.trace import EventKind, Trace
from vmenter.patching.lab import LAB, assemble
from vmenter.story import eras
from vmenter.story.eras import State
from vmenter.story.history import Era
from vmenter.story.promise import Promise, Reach, VCpuState, Verdict, Verw

STUB = "__vmx_vcpu_run"
COUNTER = VCPU + 0x30  # of VM-Enters, in 07-1; like all words of the structure it holds VCPU at first
# What turns VERW on: for every VM-Enter, and for vCPUs that reach MMIO only. A feature, or a static key.
SWITCHES = {
    "83ebe7157483": ("CLEAR_CPU_BUF", "cpu_buf_vm_clear"),
    "v4": ("CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"),
    "e6ff1d61de51": ("CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"),
}
SELECTED = ((), ("mmio",), ("all",), ("all", "mmio"))
MODES = {
    "never": (),
    "cond": ("vmx_l1d_flush_cond", "vmx_l1d_should_flush"),
    "always": ("vmx_l1d_should_flush",),
}


class Case(NamedTuple):
    """One state of the machine, and what became of it."""

    selected: tuple[str, ...]  # of "all" and "mmio"
    switches: tuple[str, ...]  # the same by the kernel's names
    l1d_flush: str
    vcpu: VCpuState
    state: State
    trace: Trace
    verdict: Verdict

    @property
    def owed(self) -> bool:
        """Whether VERW should run here: for everyone, or because this vCPU reaches MMIO."""
        return "all" in self.selected or ("mmio" in self.selected and self.vcpu.mmio is not Reach.NONE)

    @property
    def wrong_entry(self) -> bool:
        """Whether VMLAUNCH ran where VMRESUME was due, or the other way round."""
        return not self.verdict.entered_right

    @property
    def missed(self) -> bool:
        """Whether the promise was broken."""
        return not self.verdict.kept

    @property
    def needless(self) -> bool:
        """Whether VERW ran though nothing asked for it."""
        return bool(self.verdict.verw) and not self.owed

    @property
    def text(self) -> str:
        """Return the state in words."""
        on = f"{' and '.join(self.switches)} on" if self.switches else "no VERW selected"
        flush = f"flush {self.l1d_flush}"
        if self.l1d_flush == "cond":
            flush += ", due" if self.vcpu.flush_pending else ", not due"
        reach = "no MMIO" if self.vcpu.mmio is Reach.NONE else f"MMIO {self.vcpu.mmio}"
        entered = "entered before" if self.vcpu.resume else "first entry"
        also = "" if self.state.host_rsp_changed else "; host RSP unchanged"
        also += "" if self.state.cr2_changed else "; CR2 unchanged"
        return f"{on}; {flush}; {reach}; {entered}{also}"


def every_case(era: Era | str, *, variants: bool = False) -> Iterator[Case]:
    """Run an era's code in every state: two switches, three L1D modes, reach, flush flag, first or later entry.

    With `variants` each state also with the host's RSP and CR2 as they were at the last VM-Enter.
    """
    era = eras.era(era) if isinstance(era, str) else era
    for_all, for_mmio = SWITCHES[era.id]
    vcpus = [VCpuState(*row) for row in product(Reach, (False, True), (False, True))]
    for selected, mode, vcpu in product(SELECTED, MODES, vcpus):
        switches = tuple({"all": for_all, "mmio": for_mmio}[name] for name in selected)
        wanted = {"FLUSH_L1D", *MODES[mode], *switches}
        state = State(
            features=frozenset(wanted.intersection(era.features)),
            keys=frozenset(wanted.intersection(era.keys)),
            mmio=vcpu.mmio,
            flush_pending=vcpu.flush_pending,
            resume=vcpu.resume,
        )
        verw = Verw.ALWAYS if "all" in selected else Verw.MMIO if selected else Verw.NEVER
        for one in state.variants if variants else (state,):
            trace = eras.run(era, one)
            yield Case(selected, switches, mode, vcpu, one, trace, eras.judge(Promise(verw, mode), vcpu, trace))


# --- 07-1: repair a stub ----------------------------------------------------------------------------------------


def with_stub(text: Any) -> Era:
    """Return version 4 with another body of its entry stub; `LabError` for what cannot be assembled."""
    if not isinstance(text, str):
        raise LabError(f"answer should be text, the assembly; it is a {type(text).__name__}")
    era = eras.era("v4")
    head, start, rest = (LAB / "v4.S").read_text().partition(f"function {STUB}\n")
    _, end, tail = rest.partition(f"end_function {STUB}\n")
    try:
        return replace(era, code=assemble(f"{head}{start}{text}\n{end}{tail}"))
    except AssemblyError as error:
        above = (head + start).count("\n")
        inside = error.line is not None and above < error.line <= above + text.count("\n") + 1
        raise AssemblyError(error.message, error.line - above if inside and error.line else None) from None


def _judge_stub(answer: Any) -> str | None:
    era = with_stub(answer)
    cases = every_case(era, variants=True)
    try:
        return next((f"{case.text}: {wrong}" for case in cases if (wrong := _wrong(era, case))), None)
    except LabError as error:
        raise LabError(f"the code does not get to the guest. {error}") from None


def _wrong(era: Era, case: Case) -> str | None:
    """Say what is wrong with one run, if anything is."""
    if case.wrong_entry:
        due = "VMRESUME" if case.vcpu.resume else "VMLAUNCH"
        return f"{case.trace.vm_enter} ran, {due} is due. {_why_entry(case.trace)}"
    if case.missed:
        return f"a clear is owed, and nothing cleared. {_why_verw(case.trace)}"
    if case.needless:
        return f"VERW ran, and nothing asked for it. {_why_verw(case.trace)}"
    written = [access.value for access in case.trace.accesses if access.write and access.address == COUNTER]
    if written != [VCPU + 1]:
        return f"0x30 of the vCPU should go up by one; it is written {len(written)} times" + (
            f", last with {written[-1] - VCPU:+d}" if written else ""
        )
    registers = eras.registers(era, case.state)
    names = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
    for number, name in enumerate(names):
        if name != "rsp" and registers[name] != eras.GUEST + number:
            return f"{name.upper()} should hold the guest's value at VM-Enter; it holds {registers[name]:#x}"
    if case.trace.clears:
        late = [
            a for a in case.trace.accesses if a.step > case.trace.clears[-1].step and a.owner is not Owner.FLAGS
        ]
        if case.owed and late:
            step = late[0].step
            what = f"{case.trace.instructions[step].text} {late[0].text}"
            return f"behind the last clear, {what}: that is back in the buffers"
    return None


def _why_entry(trace: Trace) -> str:
    """Name the jump before VMLAUNCH or VMRESUME, and who wrote the flag that it reads."""
    uses = list(flag_uses(trace, STUB))
    return _said(trace, uses[-1]) if uses else "No conditional jump chooses."


def _why_verw(trace: Trace) -> str:
    """Name the jump that let VERW run or jumped over it; of two jumps, the first."""
    verws = [event.step for event in trace.events if event.kind is EventKind.VERW]
    uses = list(flag_uses(trace, STUB))
    before = [use for use in uses if use.step < verws[0]] if verws else uses[:-1]
    return _said(trace, before[-1]) if before else "No conditional jump decides about VERW here."


def _said(trace: Trace, use: FlagUse) -> str:
    who = (
        "which nobody has written"
        if use.writer is None
        else f"last written by {trace.instructions[use.writer].text}"
    )
    return f"{use.jump} reads {use.flag}, {who}."


# --- 07-2: which reasons hold? ----------------------------------------------------------------------------------

REASONS = {
    "a": (False, "Fixes: does not say that all of the flaw was still there. For MDS 43fb862de8f6 had ended it."),
    "b": (True, "it is what the tag is for: to find where a flaw came from, and so which kernels may have it."),
    "c": (False, "Reviewed-by: speaks of reading and judging. Who has run a patch gives Tested-by:."),
    "d": (True, "the last match wins. With both features on, the weaker one would decide: see 03, section 4."),
    "e": (False, "the first note is about skipping: no clear ran at all. Distance is another weakness."),
    "f": (False, "BT leaves ZF alone. It is TEST that clears CF, and so would spoil what BT had put there."),
}


def _judge_reasons(answer: Any) -> str | None:
    if not isinstance(answer, str) or not answer.strip() or set(answer) - set("abcdef ,"):
        raise LabError("answer should be letters from 'a' to 'f' in one text, such as 'ac'")
    given = set(answer) & set(REASONS)
    wrong = next((letter for letter in sorted(given) if not REASONS[letter][0]), None)
    if wrong:
        return f"{wrong} does not hold: {REASONS[wrong][1]}"
    missing = next((letter for letter, (holds, _) in REASONS.items() if holds and letter not in given), None)
    return f"one more holds. Look again at {_NEAR[missing]}." if missing else None


_NEAR = {"b": "what Fixes: is good for", "d": "the order of the two entries"}

JUDGES = {"stub": _judge_stub, "reasons": _judge_reasons}
OWN = {"07-1": with_stub}
