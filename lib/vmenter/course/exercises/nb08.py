"""Exercises of notebook 08: a promise, a repair, a clearing of one's own; one hole alone, a mail, a dimension."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from vmenter import LabError
from vmenter.code.assembler import AssemblyError
from vmenter.code.image import from_bytes
from vmenter.code.x86 import IA32_FLUSH_CMD
from vmenter.course.judging import mail, told
from vmenter.course.judging.audited import (
    Cases,
    Counterexample,
    Run,
    Surroundings,
    audited,
    clears_at_the_edge,
    clears_nothing_needlessly,
    clears_once,
    enters_right,
    keeps_the_promise,
    loads_the_guests_registers,
)
from vmenter.course.judging.entering import ENTER_EXIT, Around
from vmenter.course.judging.limited import results
from vmenter.course.judging.untouched import FAILS_IN_THE_STUB, USUAL
from vmenter.course.judging.variants import AFTER_A_CALL, after_a_call, between, changed, source
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import LAB_BASE
from vmenter.patching.lab import assemble
from vmenter.story.audit import Tally, audit, reached, with_value
from vmenter.story.enter_line import read_line
from vmenter.story.history import era as era_of
from vmenter.story.promise import Promise, Reach, VCpuState, Verdict, Verw, judge
from vmenter.story.space import DEFAULT, Dimension, Part, Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmenter.emulator.trace import Trace
    from vmenter.story.eras import State
    from vmenter.story.history import Era

# --- 08-1: the promise as a function -----------------------------------------------------------------------------

MODES = ("not required", "EPT disabled", "never", "cond", "always")
Input = tuple[str, str, bool, bool, bool, bool]

_RUN = """
.section .rodata
selector: .short 0x18
.text
start: {flush} {verw} vmlaunch
"""
_FLUSH, _VERW = f"movl ${IA32_FLUSH_CMD:#x}, %ecx; movl $1, %eax; xorl %edx, %edx; wrmsr;", "verw selector(%rip);"


@cache
def _trace(*, verw: bool, flushed: bool) -> Trace:
    """Return a VM-Enter on which these two ran or did not: a real one, of four lines of code."""
    text = _RUN.format(flush=_FLUSH if flushed else "", verw=_VERW if verw else "")
    return Machine(from_bytes(assemble(text), "promise", LAB_BASE)).run("start")


def every_input() -> list[Input]:
    """Return all that the function can be asked, quietest first."""
    either = (False, True)
    inputs: Iterable[Input] = product(map(str, Verw), MODES, either, either, either, either)
    return sorted(
        inputs, key=lambda values: sum(value not in (str(Verw.NEVER), MODES[0], False) for value in values)
    )


def verdict(values: Input) -> Verdict:
    """Return what `promise.judge` says to one input."""
    verw, mode, mmio, pending, verw_ran, flushed = values
    vcpu = VCpuState(Reach.MAPPED if mmio else Reach.NONE, pending)
    return judge(Promise(Verw(verw), mode), vcpu, _trace(verw=verw_ran, flushed=flushed))


def _judge_promise(answer: Any) -> str | None:
    inputs = every_input()
    given = results(answer, "kept", inputs)
    differ = [(values, said) for values, said in zip(inputs, given, strict=True) if said != verdict(values).kept]
    if not differ:
        return None
    values, said = differ[0]
    right = verdict(values)
    return (
        f"{len(differ)} of {len(inputs)} answers differ from the library's. The smallest:\n"
        f"  kept{values!r}\n  yours: {said}; the promise: {right.kept}\n"
        f"There: {right.reason}. The promise here: {right.promise}"
    )


# --- 08-2: a repair, proved --------------------------------------------------------------------------------------

CHAIN_ERA = "83ebe7157483"
BEGIN, END = "    enter_exit_begin", "end_function vmx_vcpu_enter_exit"
FLUSH = "    l1d_flush l1d_flush_if_either_flag\n"


def repaired(answer: Any, after_the_flush: str | None = None) -> Era:
    """Return the kernel of v6.17 with the answer in place of its chain.

    `after_the_flush`: how it leaves what a caller may not count on, of `AFTER_A_CALL`; None: as it happens to.
    """
    told.text(answer, "the assembly of the chain")
    if "enter_exit_end" not in answer:
        raise LabError("there is no line enter_exit_end: where does the way to the guest go on?")
    chain = between(source(CHAIN_ERA), BEGIN, END), f"{answer}\n"
    if after_the_flush is None:
        return changed(CHAIN_ERA, chain)
    return changed(CHAIN_ERA, chain, (FLUSH, after_a_call(FLUSH, after_the_flush)))


AROUND = (  # with run flags that the kernel keeps for other things
    Around(),
    *USUAL,
    Around(ENTER_EXIT, stale=True, bits=0x5A5A_5A52),
    Around(ENTER_EXIT, known=True, bits=0xFFFF_FFF2),
    Around(own_flag=True),
)


def _judge_repair(answer: Any) -> Counterexample | None:
    demands = (keeps_the_promise, enters_right, clears_nothing_needlessly, clears_once)
    wrong = audited("08-2", repaired(answer), demands, surroundings=Surroundings(era_of(CHAIN_ERA), AROUND))
    for how in () if wrong else AFTER_A_CALL:
        if wrong := audited("08-2", repaired(answer, how), demands, made=f"after_the_flush={how!r}"):
            return Counterexample(
                f"Where the flush leaves flags and free registers otherwise: {wrong}", wrong.trace
            )
    return wrong


# --- 08-3: the next flaw -----------------------------------------------------------------------------------------

NEXT_ERA = "e6ff1d61de51"
CUCKOO = "21*32+31"  # X86_FEATURE_CLEAR_CPU_BUF_VM_CUCKOO, invented: v7.3 leaves bits 21 to 31 of word 21 free
CUCKOO_SELECTS = "Cuckoo (invented) selects"
NOTHING, FIRST, EVERY = "nothing", "first VM-Enters", "every VM-Enter"
SPACE = DEFAULT.beside(
    "default and Cuckoo",
    Dimension(CUCKOO_SELECTS, Part.INVENTED, (Value(NOTHING, 0), Value(FIRST), Value(EVERY))),
)
PARTS = (".macro more_run_flags", "function vmx_vcpu_enter_exit", ".macro enter_guest")
_DEFINED = f"X86_FEATURE_CLEAR_CPU_BUF_VM_CUCKOO = {CUCKOO}\n"


def next_kernel(answer: Any, after_a_call: str | None = None) -> Era:
    """Return the merged kernel with the answer's macros and its C function in it, and the new feature's number.

    `after_a_call`: how the functions that are called leave what they need not keep, of `AFTER_A_CALL`.
    """
    told.text(answer, "the assembly")
    for part in PARTS:
        if part not in answer:
            raise LabError(f"there is no line {part}: the parts keep their names")
    text = source(NEXT_ERA)
    place = between(text, ".text", "function vmx_l1d_flush")
    parts = [
        (".text\n", f"{_DEFINED}.text\n"),
        (between(text, "    movq (%rsp), %rax", ".Lvmfail:"), "    enter_guest\n"),
        ("run_flags_function flag_mmio", "run_flags_function more_run_flags"),
    ]
    try:
        era = changed(NEXT_ERA, (place, f"{answer}\n"), *parts, after_a_call=after_a_call)
    except AssemblyError as error:
        # Of a macro the assembler names the line that uses it, which is ours. So look at its body in the open.
        changed(NEXT_ERA, (place, "\n"), parts[0], (_LAST, f"{_MACRO.sub(_body, answer)}\n{_LAST}"))
        raise AssemblyError(error.message) from None
    return replace(era, features=(*era.features, CUCKOO))


_LAST = "vcpu_run_function\n"  # behind the macros that an answer may use
_MACRO = re.compile(r"^\.macro (?:more_run_flags|enter_guest)$(.*?)^\.endm$", re.MULTILINE | re.DOTALL)


def _body(macro: re.Match[str]) -> str:
    return macro[1]


@cache
def cases(era: Era) -> Cases:
    """Return the states of a kernel in the space with the new flaw: what its three selections make of each.

    The code itself plays no part, so leave it out of the era: then this is worked out once.
    """
    found: dict[tuple[State, Promise], Tally] = {}
    for (state, promise), tally in reached(era, SPACE).items():
        first = promise if state.resume else replace(promise, verw=Verw.ALWAYS)
        for label, feature, promised in (
            (NOTHING, None, promise),
            (FIRST, CUCKOO, first),
            (EVERY, "CLEAR_CPU_BUF_VM", replace(promise, verw=Verw.ALWAYS)),
        ):
            key = replace(state, features=state.features | ({feature} if feature else set())), promised
            found[key] = with_value(tally, SPACE, CUCKOO_SELECTS, label).either(found.get(key))
    return found


def _clears_what_is_owed(run: Run) -> str | None:
    """Ask for the clears that are owed, whoever asks for them: Cuckoo has no words in the library's promise."""
    return None if run.verdict.kept else run.verdict.reason


def _judge_next(answer: Any) -> Counterexample | None:
    era = next_kernel(answer)
    demands = (
        _clears_what_is_owed,
        enters_right,
        loads_the_guests_registers,
        clears_nothing_needlessly,
        clears_once,
        clears_at_the_edge,
    )
    arounds = (Around(), *USUAL, FAILS_IN_THE_STUB)
    around = Surroundings(era_of(NEXT_ERA), arounds, _later, next_kernel(answer, AFTER_A_CALL[1]))
    return audited("08-3", era, demands, SPACE, cases(replace(era, code=None)), around)


def _later(state: State, promise: Promise) -> Promise:
    """Return what is promised for a vCPU's next VM-Enter, at which Cuckoo asks for nothing of its own."""
    if CUCKOO not in state.features or "CLEAR_CPU_BUF_VM" in state.features:
        return promise
    return replace(promise, verw=Verw.MMIO if "CLEAR_CPU_BUF_VM_MMIO" in state.features else Verw.NEVER)


# --- 08-4: one hole alone ----------------------------------------------------------------------------------------

BROKEN, KEPT = ("8cb861e9e3c9", "43fb862de8f6"), "83ebe7157483"


def _judge_one_hole(answer: Any) -> str | None:
    line = read_line(answer)
    if line.era is not None:
        raise LabError("leave --era out: the line is run in three eras, one after the other")
    if "l1tf" not in line.host.bugs:
        return "this CPU does not have L1TF: where no flush is wanted at all, the else was never in the way"
    for era in BROKEN:
        entry = line.enter(era)
        if entry.verdict.kept:
            return (
                f"{era} keeps its promise there: {entry.verdict.reason}. What was promised: {entry.promise.text}"
            )
    mended = line.enter(KEPT)
    if not mended.verdict.kept:
        mode = mended.selection.l1d_flush
        return (
            f"{KEPT} breaks its promise there, too: {mended.verdict.reason}. KVM's mode is {mode}, and no flush "
            "is pending: that is the other hole, the skipped arm"
        )
    return None


# --- 08-5: a mail ------------------------------------------------------------------------------------------------

POINTS = {
    "question": "ask one thing that can be answered with yes or no",
    "where": "say which code it is about",
    "shown": "say what was seen to run, and on what",
    "known": "say what was said on the list already",
    "not_claimed": "say what you do not claim",
    "settles": "say what would settle it",
}
NAMED = (
    (r"\be6ff1d61de51|\b0?20251113233746\.1703361", "the commit (or the posted series) that moved this VERW"),
    (r"vmx_update_fb_clear_dis|vmx_vcpu_enter_exit", "the function that decides, or the one that sets the bit"),
    (r"(?<!\w)FB_CLEAR_DIS", "the bit, by its name"),
    (r"[\w.-]{9,}@[\w.-]+", "one message of the list, by its id"),
)


def _judge_mail(answer: Any) -> str | None:
    return mail.unmet(answer, POINTS, NAMED)


# --- 08-6: what a dimension costs --------------------------------------------------------------------------------

COLOURS = Dimension(
    "colour of the case", Part.TOLD, (Value("grey", 0), *map(Value, ("black", "blue", "green", "red")))
)


@cache
def costs() -> dict[str, int]:
    """Return what the audit finds with a dimension that nobody reads, and on CPUs with L1TF alone."""
    coloured = audit(CHAIN_ERA, DEFAULT.beside("default in five colours", COLOURS))
    narrowed = audit(CHAIN_ERA, DEFAULT.where("l1tf", "yes"))
    assert coloured.broken is not None
    assert narrowed.broken is not None
    return {"states": coloured.states, "broken": coloured.broken.count, "with_l1tf": narrowed.broken.count}


_COSTS = {
    "states": "a state is what the code sees, and no code looks at the case",
    "broken": "each configuration that was broken comes in five colours now",
    "with_l1tf": "ask what all broken configurations of this era share: none of them lies outside these CPUs",
}


def _judge_costs(answer: Any) -> str | None:
    right = costs()
    by_name = told.keyed(answer, tuple(right))
    for name, value in right.items():
        given = told.number(by_name[name])
        if given is None:
            raise LabError(f"{told.should_be('a whole number', name)}; it is {by_name[name]!r}")
        if given != value:
            return f"{name}: {given:,} is not what the audit finds; {_COSTS[name]}"
    return None


JUDGES = {
    "promise": _judge_promise,
    "repair": _judge_repair,
    "next_flaw": _judge_next,
    "one_hole": _judge_one_hole,
    "mail": _judge_mail,
    "costs": _judge_costs,
}
OWN = {"08-2": repaired, "08-3": next_kernel}
