"""Exercises of notebook 03 that are read: real code after patching, and three tables, one of them wrong."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from vmenter.course.judging import told
from vmenter.course.judging.paths import clears
from vmenter.patching.alternative_table import Engine, Rules
from vmenter.patching.alternatives import apply, patch
from vmenter.views.patch.bench import CLEAR, CLEAR_IF_MMIO, Bench, typed

# --- which entry stands there? -----------------------------------------------------------------------------------

BUF, VM, MMIO, NONE = "CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO", "none"
WORDS = (BUF, VM, MMIO, NONE)
# What stands at each site of the task's text; a test holds the text against recordings of booted kernels.
STANDS = MappingProxyType({"A": VM, "B": NONE, "C": MMIO, "D": BUF, "E": MMIO})
WHY_STANDS = {
    "A": "VERW with no question before it, in a site longer than VERW: the rest was merged into one NOP.",
    "B": "Seven bytes in one NOP: as long as VERW, and nothing of it. Which entry would leave no code at all?",
    "C": "A test of bit 2 of the run flags, and a jump over VERW: which of the features asks that?",
    "D": "VERW alone fills the site, and this is 6.12, which knows one feature for it and not two.",
    "E": "VERW did not run, but look at what stands there: was the site left alone?",
}


def _judge_stands(answer: Any) -> str | None:
    given = told.keyed(answer, tuple(STANDS), "a word")
    for letter, right in STANDS.items():
        name = told.one(given[letter])
        word = told.word(name and name.removeprefix("x86_feature_"), WORDS)
        if word is None:
            return f"{letter}: {given[letter]!r:.40} is none of the words {', '.join(WORDS)}"
        if word != right:
            return f"{letter} is not {word}. {WHY_STANDS[letter]}"
    return None


# --- three modules -----------------------------------------------------------------------------------------------

Entries = Sequence[tuple[str, str]]
MODULES: Mapping[str, tuple[str, Entries]] = MappingProxyType({
    "A": ("", ((CLEAR, VM), (CLEAR_IF_MMIO, MMIO), (CLEAR, VM))),
    "B": (CLEAR, (("", f"NOT {VM}"), (CLEAR_IF_MMIO, MMIO))),
    "C": (CLEAR, (("", f"NOT {VM}"), (CLEAR_IF_MMIO, MMIO), (CLEAR, VM))),
})  # fmt: skip
KEYS = ("module", "features")
WISHES = {frozenset[str](): "never", frozenset({MMIO}): "depends", frozenset({VM}): "always"}
HOW = Rules(Engine.ONCE, 14, wide_nops=True)


@cache
def module(letter: str) -> Bench:
    """Return one of the three modules, assembled."""
    original, entries = MODULES[letter]
    return typed(original, entries)


@cache
def behaves(letter: str, features: frozenset[str]) -> str:
    """Return whether VERW runs in a module with these features: never, always, depends."""
    bench = module(letter)
    done = apply(bench.image, [patch(bench.image, bench.site, bench.numbers(features), HOW)])
    return clears(done, bench.site.address)


def wish(features: frozenset[str]) -> str:
    """Return whether VERW should run."""
    return WISHES.get(features, "always")


def _judge_mutant(answer: Any) -> str | None:
    given = told.keyed(answer, KEYS)
    letter = told.word(given["module"], MODULES)
    if letter is None:
        return f"module: {given['module']!r:.40} is none of the letters {', '.join(MODULES)}"
    asked = f"features: a list of {VM} and {MMIO}, or of one of them, or of none; not {given['features']!r:.60}"
    features = told.features(given["features"], asked)
    if not features <= {VM, MMIO}:
        return asked
    got, right = behaves(letter, features), wish(features)
    if got != right:
        return None
    name = " and ".join(sorted(features)) or "no feature"
    return f"module {letter} with {name}: VERW runs “{got}”, as it should. Try another set, entry by entry."


JUDGES = {"stands": _judge_stands, "mutant": _judge_mutant}
