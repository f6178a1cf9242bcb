"""Exercises of notebook 03: the order of alternatives, and why the last should be the strictest."""

from itertools import pairwise
from typing import Any

from vmenter.code.image import Image
from vmenter.course.exercises.choice import choice
from vmenter.course.exercises.nb02 import built, entry_of, patched, selector_kept
from vmenter.course.exercises.paths import clears, ways
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


def _judge_order(answer: Any) -> str | None:
    image = built(answer)
    if not read(image, engine=Engine.ONCE).sites:
        return "the table of alternatives is empty: the code is the same on every CPU"
    for features, name, wish in CASES:
        after = patched(image, set(features), Engine.ONCE)
        got = clears(after, entry_of(after))
        if got != wish:
            code = "; ".join(step.text for step in next(ways(after, entry_of(after))))
            want = {
                "never": "not run",
                "always": "always run",
                "depends": "run only for a vCPU that reaches MMIO",
            }[wish]
            return f"with {name}, VERW should {want}, but it runs “{got}”. One way through: {code}"
        stray = selector_kept(after) or _polarity(after)
        if stray:
            return f"with {name}, {stray}"
    return None


# A test of bit 2 (value 4), and the jump behind it that passes over VERW where the bit is clear. (AT&T names.)
TESTS = {"test": ("$4, 8(%rsp)", "je"), "bt": ("$2, 8(%rsp)", "jae")}
JUMPS = {"je": "jz", "jne": "jnz", "jae": "jnc", "jb": "jc"}


def _polarity(image: Image) -> str | None:
    """Check that where VERW depends on a test, it is of the right flag, and that a clear flag jumps over VERW."""
    for way in ways(image, entry_of(image)):
        test = next((step for step in way if step.mnemonic.startswith(("test", "bt"))), None)
        if test is None:
            continue
        operands, over = TESTS["bt" if test.mnemonic.startswith("bt") else "test"]
        if not test.operands.startswith(operands):
            return f"{test.text} looks at something else than bit 2 (value 4) of 8(%rsp)"
        for step, following in pairwise(way):
            if step.mnemonic not in JUMPS:
                continue
            skips = following.address == step.branch_target
            runs = any(s.is_clear for s in way)
            if (step.mnemonic == over) != (skips != runs):
                jump = f"{JUMPS[step.mnemonic]} {image.label(step.branch_target or 0)}"
                return f"{jump} lets a vCPU that reaches MMIO pass without VERW: is it inverted?"
    return None


REASONS = {
    "a": """no. The early engine has the same rule, the last match wins: it writes each match over the one
        before. Try it in the widget with both features on.""",
    "b": """no. A site may hold up to 254 bytes in every generation, and the padding is made by the macro, not
        by the engine. Seventeen bytes are no trouble.""",
    "d": """no. The JZ stays inside the replacement, so its displacement is right wherever the replacement is
        copied to; the early engine leaves it alone, and that is right. Look at the other operand.""",
}

JUDGES = {"strictest_wins": _judge_order, "reason": choice("c", REASONS)}
