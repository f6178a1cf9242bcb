"""Exercises of notebook 04: a static branch by hand, a bit that must get through, distance measured."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from vmenter import LabError
from vmenter.boot.l1tf import FLUSH_KEY
from vmenter.boot.processors import PRESETS
from vmenter.code.image import Image, from_bytes
from vmenter.code.instructions import decode
from vmenter.course.exercises.nb04_stubs import JUDGES as STUBS
from vmenter.course.judging import told
from vmenter.course.judging.choice import choice
from vmenter.course.judging.limited import given
from vmenter.course.judging.limited_child import PAIR
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import LAB_BASE
from vmenter.emulator.trace import Trace
from vmenter.patching import static_keys
from vmenter.patching.lab import assemble
from vmenter.patching.static_keys import StaticBranch
from vmenter.story.eras import enter
from vmenter.story.promise import Reach, VCpuState

CPU = PRESETS["skylake-server"].host


def flush_branch() -> tuple[Image, StaticBranch]:
    """Return the lab kernel before MDS and its branch on ``vmx_l1d_should_flush``."""
    image = enter("before-mds", CPU).trace.image
    return image, next(b for b in static_keys.branches(image) if b.key == FLUSH_KEY)


def _judge_jump(answer: Any) -> str | None:
    image, branch = flush_branch()
    given = told.code(answer)
    if given is None:
        return told.should_be("five bytes as text, lowest first, such as '90 90 90 90 90'")
    right = branch.code(enabled=True)
    if given == right:
        return None
    if len(given) != branch.length:
        return f"the site has {branch.length} bytes and keeps them; these are {len(given)}"
    if given == branch.code(enabled=False):
        return "this is the NOP: with the key on, the code would still go on to what follows, without a flush"
    step = decode(given, branch.site, strict=False)[0]
    if step.mnemonic != "jmp" or step.length != branch.length:
        return f"{given.hex(' ')} begins with {step.text}; what should stand here is one JMP of five bytes"
    target = step.branch_target or 0
    off = target - branch.target
    wrong = f"this JMP leads to {told.place(image, target)}, {off:+d} bytes from the target"
    if given[1:] == right[:0:-1]:
        return f"{wrong}. Are the bytes in the wrong order? The lowest comes first."
    if off == branch.length:
        return f"{wrong}. The distance counts from the end of the JMP, not from its beginning."
    return wrong


CLEARED = 5  # of the cases: the first, in which something cleared


def _cases() -> Iterator[tuple[str, Trace]]:
    never = replace(CPU, cmdline="kvm-intel.vmentry_l1d_flush=never")
    always = replace(CPU, cmdline="kvm-intel.vmentry_l1d_flush=always")
    soft = replace(CPU, facts=tuple(fact for fact in CPU.facts if fact != "flush_l1d"))
    pending = VCpuState(flush_pending=True)
    yield "today (one VERW)", enter("e6ff1d61de51", CPU).trace
    yield "2018, flush pending (one L1D flush)", enter("before-mds", CPU, pending).trace
    yield "2019, flush mode never (VERW in C)", enter("650b68a0622f", never).trace
    yield "2024, flush pending (an L1D flush, then VERW)", enter("43fb862de8f6", CPU, pending).trace
    yield "2018, flush pending, by reading 64 KiB", enter("before-mds", soft, pending).trace
    yield "2018, no flush pending (nothing clears)", enter("before-mds", CPU).trace
    # and more of these kinds
    mmio, other = PRESETS["ice-lake-server"].host, PRESETS["sapphire-rapids"].host
    reaches = VCpuState(Reach.ASSIGNED, flush_pending=True, resume=True)
    for era in ("8cb861e9e3c9", "43fb862de8f6", "83ebe7157483", "v4", "e6ff1d61de51"):
        yield f"{era}, MMIO alone, a device", enter(era, mmio, VCpuState(Reach.ASSIGNED)).trace
        yield f"{era}, a CPU without these flaws", enter(era, other).trace
        yield f"{era}, flush always, entered before", enter(era, always, VCpuState(resume=True)).trace
        yield f"{era}, a device, flush pending, entered before", enter(era, CPU, reaches).trace
    yield "today, flush by reading 64 KiB, then VERW", enter("e6ff1d61de51", soft, pending).trace
    yield "a few lines that begin with VERW, and then read one byte twice", _made(_AT_ONCE)
    yield "a few lines with two VERWs, and a string instruction between", _made(_STRINGS)


# Ours: what no era has, and a count may stumble over. VERW is the very first step; one instruction accesses memory
# many times, and alike; flags, stack and data are read.
_AT_ONCE = """
start: verw 8(%rsp)
    leaq 8(%rsp), %rsi
    movq %rsi, %rdi
    cmpsb
    testl $1, 8(%rsp)
    pushq (%rsp)
    vmlaunch
"""
_STRINGS = """
start: leaq 8(%rsp), %rsi
    leaq -64(%rsp), %rdi
    verw (%rsi)
    movl $5, %ecx
    rep movsb
    verw 8(%rsp)
    movl $3, %ecx
    rep movsw
    vmresume
"""


def _made(text: str) -> Trace:
    """Run a few lines, as they stand."""
    return Machine(from_bytes(assemble(text), "a few lines", LAB_BASE)).run("start")


def _judge_distance(answer: Any) -> str | None:
    """Judge a function from a trace to (instructions, accesses)."""
    cases = list(_cases())
    for some in (
        cases[:CLEARED],
        cases[CLEARED:],
    ):  # what is wrong with the former is told before the latter are run
        if wrong := _wrong_distance(answer, some):
            return wrong
    return None


def _wrong_distance(answer: Any, cases: list[tuple[str, Trace]]) -> str | None:
    try:
        found = given(answer, "answer", [(_told(trace),) for _, trace in cases], PAIR, [name for name, _ in cases])
    except LabError as error:
        kind = next((kind for kind in _HELP if kind in str(error)), "")
        raise LabError(f"{error}{_HELP.get(kind, '')}") from None
    for (name, trace), got in zip(cases, found, strict=True):
        pair = None if got is None else tuple(got)
        right = trace.distance and tuple(trace.distance)
        if pair != right:
            return f"{name}: your function says {pair}, but it is {right}. {_why(pair, right, trace)}"
    return None


def _told(trace: Trace) -> dict[str, Any]:
    """Return of a trace what a learner's function may count, not the library's count."""
    parts: dict[str, tuple[Any, ...]] = {
        "clears": trace.clears,
        "accesses": trace.accesses,
        "events": trace.events,
    }
    return {"steps": trace.steps, **{name: [one._asdict() for one in rows] for name, rows in parts.items()}}


_HELP = {
    "IndexError": ". Is there always a clear?",
    "AttributeError": ". What it gets has steps, clears, accesses and events; the counting is yours.",
    "a pair of numbers": " It should be (instructions, accesses), or None where nothing cleared.",
}


def _why(got: tuple[Any, ...] | None, right: tuple[int, ...] | None, trace: Trace) -> str:
    """Say what a wrong count looks like."""
    if right is None:
        return "Where nothing cleared there is nothing to count from: return None."
    if got is None:
        return "Here something did clear."
    clear, enter_ = trace.clears[-1].step, len(trace.steps) - 1
    if len(trace.clears) > 1 and got[0] >= enter_ - trace.clears[0].step - 1:
        return "Two clears ran. The distance counts from the last one."
    if got[0] in (right[0] + 1, right[0] + 2):
        return "Too many instructions: neither the clear nor VM-Enter itself lies between them."
    own = sum(access.step == clear for access in trace.accesses)
    if got[0] == right[0] and own and got[1] == right[1] + own:
        return "The clear's own accesses (VERW looks at its selector) come with it, not after it."
    if got[0] == right[0]:
        return "The instructions are right; which accesses lie strictly between the two?"
    return "Count what runs strictly between the last clear and VM-Enter."


JUDGES = {
    "jump": _judge_jump,
    "keeps_zf": choice(
        "b",
        {
            "a": """no. XOR touches more than its register: it writes ZF, by the result. The result is 0, so ZF is
                set, and the stub takes VMLAUNCH even for a vCPU that was entered before. The CPU refuses.""",
            "c": """no. SUB writes ZF anew, whatever it was: the result is 0, so ZF is set, always. JE then takes
                VMLAUNCH even for a vCPU that was entered before.""",
            "d": """no. AND does write ZF, so far so good; but JE looks at ZF, not at CF. The result is 0, ZF is
                set, and every vCPU gets VMLAUNCH.""",
        },
    ),
    "distance": _judge_distance,
    **STUBS,
}
