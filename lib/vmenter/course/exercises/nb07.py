"""Exercises of notebook 07: answers in flags, what a patch mail says and shows, which reasons for it hold."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.boot.l1tf import MODE_KEYS
from vmenter.code.assembler import AssemblyError
from vmenter.code.x86 import vmx_enter
from vmenter.course.judging import told
from vmenter.course.judging.audited import Counterexample, with_way
from vmenter.course.judging.choice import holding
from vmenter.course.judging.edge import late
from vmenter.course.judging.entering import GUEST, STUB, Around, Entered
from vmenter.course.judging.flags import FlagUse, flag_uses
from vmenter.course.judging.untouched import FAILS_IN_THE_STUB, USUAL, wrong_around
from vmenter.course.judging.variants import AFTER_A_CALL, between, changed, source, spoiling
from vmenter.emulator.memory import VCPU
from vmenter.emulator.trace import EventKind, Trace
from vmenter.patching.lab import assemble
from vmenter.story import eras, history
from vmenter.story.eras import State
from vmenter.story.history import Era
from vmenter.story.promise import Promise, Reach, VCpuState, Verdict, Verw, judge

COUNTER = VCPU + 0x30  # of VM-Enters, in 07-1; like all words of the structure it holds VCPU at first
# What turns VERW on: for every VM-Enter, and for vCPUs that reach MMIO only. A feature, or a static key.
SWITCHES = {
    "83ebe7157483": ("CLEAR_CPU_BUF", "cpu_buf_vm_clear"),
    "v4": ("CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"),
    "e6ff1d61de51": ("CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"),
}
SELECTED = ((), ("mmio",), ("all",), ("all", "mmio"))


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
        return state_text(self.switches, self.l1d_flush, self.vcpu)


def state_text(switches: tuple[str, ...], l1d_flush: str, vcpu: VCpuState) -> str:
    """Return a state in words."""
    on = f"{' and '.join(switches)} on" if switches else "no VERW selected"
    flush = f"flush {l1d_flush}"
    if l1d_flush == "cond":
        flush += ", due" if vcpu.flush_pending else ", not due"
    reach = "no MMIO" if vcpu.mmio is Reach.NONE else f"MMIO {vcpu.mmio}"
    entered = "entered before" if vcpu.resume else "first entry"
    return f"{on}; {flush}; {reach}; {entered}"


def every_state(era: Era) -> Iterator[tuple[tuple[str, ...], str, VCpuState, State]]:
    """Yield what 07 tells apart: two switches, three L1D modes, reach, flush flag, first or later entry."""
    vcpus = [VCpuState(*row) for row in product(Reach, (False, True), (False, True))]
    for selected, mode, vcpu in product(SELECTED, MODE_KEYS, vcpus):
        wanted = {"FLUSH_L1D", *MODE_KEYS[mode], *switched(era, selected)}
        state = State(
            features=frozenset(wanted.intersection(era.features)),
            keys=frozenset(wanted.intersection(era.keys)),
            mmio=vcpu.mmio,
            flush_pending=vcpu.flush_pending,
            resume=vcpu.resume,
        )
        yield selected, mode, vcpu, state


def switched(era: Era, selected: tuple[str, ...]) -> tuple[str, ...]:
    """Return a selection by the kernel's names."""
    for_all, for_mmio = SWITCHES[era.id]
    return tuple({"all": for_all, "mmio": for_mmio}[name] for name in selected)


def case_of(era: Era, selected: tuple[str, ...], mode: str, vcpu: VCpuState, state: State, trace: Trace) -> Case:
    """Return a state of 07 with what ran there, judged."""
    verw = Verw.ALWAYS if "all" in selected else Verw.MMIO if selected else Verw.NEVER
    verdict = judge(Promise(verw, mode), vcpu, trace)
    return Case(selected, switched(era, selected), mode, vcpu, state, trace, verdict)


def every_case(era: Era | str) -> Iterator[Case]:
    """Run an era's code in every state of `every_state`."""
    era = history.era(era) if isinstance(era, str) else era
    for selected, mode, vcpu, state in every_state(era):
        yield case_of(era, selected, mode, vcpu, state, eras.run(era, state))


def first_sketch() -> Era:
    """Return version 4 with the entries of both ALTERNATIVE_2 in the order of the first sketch: MMIO's last."""
    mmio, all_ = "X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO", "X86_FEATURE_CLEAR_CPU_BUF_VM"
    pairs = (("stash_mmio", '""'), ("clear_if_nz", "clear_cpu_buffers"))
    turned = [
        (f"{weak}, {mmio}, {strict}, {all_}\n", f"{strict}, {all_}, {weak}, {mmio}\n") for weak, strict in pairs
    ]
    return changed("v4", *turned)


# --- 07-1: repair a stub ----------------------------------------------------------------------------------------


MERGED_MACRO = ".macro clear_if_mmio"


def with_stub(text: Any, after_a_call: str | None = None) -> Era:
    """Return version 4 with another body of its entry stub; `LabError` for what cannot be assembled.

    The merged form's macro is there as well, since the notebook prints that form. `after_a_call`: how functions
    that are called leave what they need not keep, of `AFTER_A_CALL`.
    """
    told.text(text, "the assembly")
    era = history.era("v4")
    head, start, rest = source(era).partition(f"function {STUB}\n")
    if MERGED_MACRO not in text:
        head += f"{MERGED_MACRO}\n{between(source('e6ff1d61de51'), MERGED_MACRO, '.endm')}.endm\n"
    _, end, tail = rest.partition(f"end_function {STUB}\n")
    try:
        whole = f"{head}{start}{text}\n{end}{tail}"
        return replace(era, code=assemble(spoiling(whole, after_a_call) if after_a_call else whole))
    except AssemblyError as error:
        above = (head + start).count("\n")
        inside = error.line is not None and above < error.line <= above + text.count("\n") + 1
        raise AssemblyError(error.message, error.line - above if inside and error.line else None) from None


COUNTS = (-1, 0xFF, 0xFFFF, 0xFFFF_FFFF, 0)  # from which one more is 0, or needs the next byte
OTHERS = (2, 0xFFFF_FFFA, 0x5EC2_E700_0000_0000)  # run flags of other kernels; RDX holds 64 bits, EDX the flags
OF_THE_STUB = (
    FAILS_IN_THE_STUB,
    *(Around(fields=((COUNTER - VCPU, count & (1 << 64) - 1),)) for count in COUNTS),
    *(Around(STUB, bits=bits, stale=stale, known=not stale) for bits in OTHERS for stale in (False, True)),
)


def _judge_stub(answer: Any) -> Counterexample | None:
    return _first_wrong(answer, OF_THE_STUB, _wrong, _counted)


def _first_wrong(
    answer: Any,
    further: tuple[Around, ...],
    judge: Callable[[Case, Entered], str | None],
    also: Callable[[Around], Mapping[int, int]] | None = None,
) -> Counterexample | None:
    """Run a stub in every state, then in further surroundings; return the first that is wrong."""
    era, own = with_stub(answer), history.era("v4")
    spoilt = with_stub(answer, AFTER_A_CALL[1])
    for arounds, (selected, mode, vcpu, state) in product(((Around(),), USUAL, further), every_state(era)):
        if arounds is further and (mode != "never" or state.flush_pending):
            continue  # the stub knows nothing of the flush

        def demand(entered: Entered, _: Around, where: Any = (selected, mode, vcpu)) -> str | None:
            selected, mode, vcpu = where
            now = replace(vcpu, flush_pending=entered.state.flush_pending, resume=entered.state.resume)
            return judge(case_of(era, selected, mode, now, entered.state, entered.trace), entered)

        if wrong := wrong_around(era, own, state, demand, arounds, also, spoilt):
            case = state_text(switched(era, selected), mode, vcpu)
            return with_way(f"{case}{';' if wrong.around else ':'} {wrong.text}", wrong.trace)
    return None


def _counted(around: Around) -> dict[int, int]:
    """Return what the counter should be."""
    at = COUNTER - VCPU
    return {at: dict(around.fields).get(at, VCPU) + 1 + around.again & (1 << 64) - 1}


def _wrong(case: Case, entered: Entered) -> str | None:
    """Say what is wrong with one run, if anything is."""
    if case.wrong_entry:
        due = vmx_enter(before=case.vcpu.resume)
        return f"{case.trace.vm_enter} ran, {due} is due. {_why_entry(case.trace)}"
    if case.missed:
        return f"a clear is owed, and nothing cleared. {_why_verw(case.trace)}"
    if case.needless:
        return f"VERW ran, and nothing asked for it. {_why_verw(case.trace)}"
    if case.verdict.verw > 1:
        return f"VERW ran {case.verdict.verw} times; once is enough"
    for name, value in GUEST.items():
        if entered.registers[name] != value:
            got = entered.registers[name]
            return f"{name.upper()} should hold the guest's value at VM-Enter; it holds {got:#x}"
    behind = late(entered) if case.owed else []
    return f"behind the last clear, {behind[0]}: that is back in the buffers" if behind else None


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


NEAR = {"b": "what Fixes: is good for", "d": "the order of the two entries"}


# --- 07-3: no answer travels, and nothing is read behind VERW ---------------------------------------------------


def _judge_apart(answer: Any) -> Counterexample | None:
    def judge(case: Case, entered: Entered) -> str | None:
        return _wrong(case, entered) or _travels(entered.trace) or _late(entered)

    return _first_wrong(answer, (FAILS_IN_THE_STUB,), judge)


def _travels(trace: Trace) -> str | None:
    """Name a jump whose flag was written before the last of the guest's registers was loaded."""
    regs = range(VCPU + eras.OFFSETS["regs"], VCPU + eras.OFFSETS["regs"] + 16 * 8)
    loads = [step for step, address, _, write, _ in trace.raw_accesses if not write and address in regs]
    for use in flag_uses(trace, STUB):
        if use.writer is not None and loads and use.writer < loads[-1] < use.step:
            return f"an answer travels: {_said(trace, use)} The guest's registers are loaded in between"
    return None


def _late(entered: Entered) -> str | None:
    clears = entered.trace.clears
    accesses = late(entered, run_flags_too=True) if clears and clears[-1].kind is EventKind.VERW else []
    return f"behind VERW, {accesses[0]}; nothing at all should be" if accesses else None


# --- 07-4: which sentence does a run show? ----------------------------------------------------------------------

_MDS = Host(("mds", "l1tf"), ("md_clear", "flush_l1d"))
_MMIO = Host(("mmio_stale_data", "l1tf"), ("mds_no", "fb_clear", "flush_l1d"))
_NO_L1TF = Host(("mmio_stale_data",), ("mds_no", "fb_clear"))
RUNS: dict[str, tuple[str, Host, VCpuState]] = {
    "A": ("83ebe7157483", _MMIO, VCpuState(Reach.ASSIGNED)),
    "B": ("650b68a0622f", _MDS, VCpuState()),
    "C": ("43fb862de8f6", _MDS, VCpuState()),
    "E": ("83ebe7157483", _NO_L1TF, VCpuState()),
    "F": ("v4", _NO_L1TF, VCpuState(Reach.ASSIGNED)),
}
"""Letter → era, host and vCPU of a run. D is not here: boot never sets both features, so they are set by hand."""
BOTH = State(frozenset({"CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"}))
SHOWN = {"A": {5, 6}, "B": {7, 8}, "C": {8}, "D": {3, 4}, "E": {6}, "F": {1}}
SAYS = {
    1: "it says where the clear goes. Only a clear and its distance can show that",
    2: "it is about how many places there are to look at. No run shows that",
    3: "it is about several features at once, and which wins",
    4: "it is about two features at once, and which wins",
    5: "it is about MMIO Stale Data beside L1TF's cond mode, with no clear at all",
    6: "it is about what was asked for MMIO Stale Data: a clear on every VM-Enter",
    7: "it is about the commit that the flaw began with",
    8: "it is about what ended the flaw for MDS, and the kernels before that",
}


def shown(letter: str) -> str:
    """Return what a run of 07-4 came to, in words."""
    if letter == "D":
        trace = eras.run(history.era("v4"), BOTH)
        return "VERW ran" if any(event.kind is EventKind.VERW for event in trace.events) else "nothing cleared"
    verdict = eras.enter(*RUNS[letter]).verdict
    if verdict.accesses_after_clear is None:
        return verdict.reason
    return f"{verdict.reason}, accesses behind it: {verdict.accesses_after_clear}"


def _judge_sentences(answer: Any) -> str | None:
    given = told.keyed(answer, tuple(SHOWN), "a number")
    for letter, right in SHOWN.items():
        number = told.number(given[letter])
        if number not in SAYS:
            raise LabError(f"{letter}: {given[letter]!r} is no number from 1 to {len(SAYS)}")
        if number not in right:
            return f"{letter} is not for sentence {number}: {SAYS[number]}. What ran in {letter}: {shown(letter)}"
    return None


JUDGES = {
    "stub": _judge_stub,
    "reasons": holding(REASONS, NEAR),
    "apart": _judge_apart,
    "sentences": _judge_sentences,
}
OWN = {"07-1": with_stub, "07-3": with_stub}
