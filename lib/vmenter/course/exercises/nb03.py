"""Exercises of notebook 03: the order of alternatives, an early kernel's form, what stands in real code."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from vmenter import LabError
from vmenter.code.instructions import Instruction
from vmenter.course.exercises.nb02 import lost_selector, patched
from vmenter.course.exercises.nb03_read import JUDGES as READ
from vmenter.course.judging.calls import BUDGET, breach, built, run, states, strangers, stray_selector, way
from vmenter.course.judging.choice import choice
from vmenter.course.judging.flags import NAMES
from vmenter.emulator.machine import Machine
from vmenter.emulator.trace import Trace
from vmenter.patching.alternative_table import Engine, read
from vmenter.patching.features import number

VM = number("CLEAR_CPU_BUF_VM", "7.3.4")
MMIO = number("CLEAR_CPU_BUF_VM_MMIO", "7.3.4")
CASES = (
    (frozenset[int](), "no feature", "never"),
    (frozenset({MMIO}), "CLEAR_CPU_BUF_VM_MMIO alone", "depends"),
    (frozenset({VM}), "CLEAR_CPU_BUF_VM alone", "always"),
    (frozenset({VM, MMIO}), "both features", "always"),
)
WISHES = {"never": "not run", "always": "always run", "depends": "run only for a vCPU that reaches MMIO"}
BIT = 4  # of the run flags
ONES = [1 << bit for bit in range(32) if 1 << bit != BIT]
RUN_FLAGS = (0, BIT, *(flags for one in ONES for flags in (one, one | BIT)), 0xFFFF_FFFF ^ BIT, 0xFFFF_FFFF)


def stack(flags: int) -> bytes:
    """Return the stack from 8(%rsp) on: run flags, and all around them, bit for bit, their opposite."""
    return flags.to_bytes(4, "little") + 7 * (flags ^ 0xFFFF_FFFF).to_bytes(4, "little")


def _judge_order(answer: Any, engine: Engine = Engine.ONCE) -> str | None:
    image = built(answer)
    if not read(image, engine=Engine.ONCE).sites:
        return "the table of alternatives is empty: the code is the same on every CPU"
    for (others, more), (features, known, wish) in product(strangers(image, VM, MMIO).items(), CASES):
        machine, name = Machine(patched(image, {*features, *others}, engine), budget=BUDGET), f"{known}{more}"
        ran: dict[tuple[int, str], Trace] = {}
        for flags, call in ((one, call) for one in RUN_FLAGS for call in states(stack=stack(one))):
            here = f"run flags {flags:#x}, {call.state}"
            try:
                called = run(machine, call)
            except LabError as error:
                return f"with {name}, {here}{lost_selector(error, engine) or f': {error}'}"
            trace = called.trace
            if wrong := breach(called) or stray_selector(trace):
                why = f" {_COPIED}" if engine is Engine.EARLY and "not selector" in wrong else ""
                return f"with {name}, {here}: {wrong}.{why} What ran: {way(trace)}"
            if trace.verw > 1:
                return f"with {name}, {here}: VERW runs {trace.verw} times. What ran: {way(trace)}"
            ran[flags, call.state] = trace
        if wrong := _wrong_order(ran, wish):
            return f"with {name}, {wrong}"
    return None


_COPIED = "The engine “early” relocates one single CALL or JMP, and nothing else."


def _wrong_order(ran: Mapping[tuple[int, str], Trace], wish: str) -> str | None:
    """Say in which state VERW runs that should not, or does not run that should."""
    differ = [
        (state, trace)
        for state, trace in ran.items()
        if trace.verw != (wish == "always" or (wish == "depends" and bool(state[0] & BIT)))
    ]
    if not differ:
        return None
    (flags, state), trace = min(
        differ, key=lambda one: one[1].verw
    )  # a clear that is missed tells more than one too many
    here = f"Run flags {flags:#x}, {state}: {way(trace)}"
    found = {trace.verw for trace in ran.values()}
    if wish != "depends" or (len(found) == 1 and not _asks(trace)):
        got = "depends" if len(found) == 2 else "always" if 1 in found else "never"
        return f"VERW should {WISHES[wish]}, but it runs “{got}”. {here}"
    inverted = len(differ) == len(ran)
    jump = next((one for one in reversed(trace.instructions) if _is_conditional(one)), None)
    if inverted and jump:
        name = f"{NAMES.get(jump.mnemonic, jump.mnemonic)} {trace.image.label(jump.branch_target or 0)}"
        return f"{name} lets a vCPU that reaches MMIO pass without VERW: is it inverted? {here}"
    what = f"{_asks(trace)} looks at" if _asks(trace) else "VERW runs by"
    return f"{what} something else than bit 2 (value 4) of 8(%rsp). {here}"


def _is_conditional(one: Instruction) -> bool:
    return one.branch_target is not None and one.mnemonic.startswith("j") and one.mnemonic != "jmp"


def _asks(trace: Trace) -> str | None:
    """Return the last instruction that asks something before the last conditional jump."""
    asks = [one.text for one in trace.instructions if one.mnemonic.startswith(("test", "bt", "cmp", "and"))]
    return asks[-1] if asks else None


REASONS = {
    "a": """no. The early engine has the same rule, the last match wins: it writes each match over the one
        before. With CLEAR_CPU_BUF_VM a VERW stands there that nothing asks for. Try it in the widget.""",
    "b": """no. A site may hold up to 254 bytes in every generation, and the padding is made by the macro, not
        by the engine. Seventeen bytes are no trouble. Is there a vCPU that comes to no VERW?""",
    "d": """no. The JZ stays inside the replacement, so its displacement is right wherever the replacement is
        copied to; the early engine leaves it alone, and that is right. Look at the other operand.""",
}

JUDGES = {
    "strictest_wins": _judge_order,
    "reason": choice("c", REASONS),
    "jumps_alone": lambda answer: _judge_order(answer, Engine.EARLY),
    **READ,
}
