"""Everything that LeakGame shows: each round step by step, and each answer with its reason, as the model has it.

`frame()` returns plain dicts and lists, all made beforehand; the page keeps where the learner is. `twin` says in
words what the page shows in a state.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from vmenter.emulator import buffers
from vmenter.emulator.leftovers import ENTRIES, Deed, Fate, Kind, buffered, cached, fate
from vmenter.views.leak.rounds import ROUNDS, TELLS, VALUES, WHY, Round

Frame = dict[str, Any]

MODEL = (
    f"A model, and no CPU: {ENTRIES} entries for all buffers, a cache that is never full, one access at a time. "
    f"It leaves out {'; '.join(buffers.LEAVES_OUT[:4])}; and VERW needs the right microcode to clear anything."
)
START = {"round": 0, "step": 0, "marked": [], "checked": False, "points": 0, "asked": 0}
ENTER = "VM-Enter: the guest runs."


@lru_cache(maxsize=1)
def frame() -> Frame:
    """Return what to show, the same each time."""
    return {
        "model": MODEL,
        "entries": ENTRIES,
        "enter": ENTER,
        "rounds": [_round(one) for one in ROUNDS],
        "total": sum(len(one.asked) for one in ROUNDS),
        "error": None,
    }


def _round(one: Round) -> Frame:
    fates = {name: fate(name, one.deeds, one.flaw) for name in one.asked}
    return {
        "title": one.title,
        "tells": TELLS[one.flaw],
        "covered": one.covered,
        "deeds": [deed_text(deed) for deed in one.deeds],
        "moments": [
            {"buffers": list(buffered(one.deeds[:step])), "cache": list(cached(one.deeds[:step]))}
            for step in range(len(one.deeds) + 1)
        ],
        "values": [
            {
                "name": name,
                "what": VALUES[name],
                "readable": found in (Fate.BUFFERED, Fate.CACHED),
                "why": WHY[found],
            }
            for name, found in fates.items()
        ],
        "lesson": one.lesson,
    }


def deed_text(deed: Deed) -> str:
    """Return a step of the host in words."""
    if deed.kind is Kind.VERW:
        return "runs VERW"
    if deed.kind is Kind.FLUSH:
        return "flushes the L1 data cache"
    verb = "loads" if deed.kind is Kind.LOAD else "stores"
    return f"{verb} {deed.value}, {VALUES[deed.value]}"


def twin(shown: Frame, state: Mapping[str, Any]) -> str:
    """Return the text twin: what the page shows in a state, in words."""
    now, rounds = shown["rounds"][state["round"]], len(shown["rounds"])
    step, deeds = state["step"], now["deeds"]
    lines = [
        f"You are the guest. Round {state['round'] + 1} of {rounds}: {now['title']}. "
        f"Points: {state['points']} of {state['asked']}.",
        now["tells"],
        *(
            f"{'done' if at < step else 'next' if at == step else 'then'}: the host {text}"
            for at, text in enumerate(deeds)
        ),
        f"{'done' if step > len(deeds) else 'next' if step == len(deeds) else 'then'}: {shown['enter']}",
    ]
    if now["covered"] and not state["checked"]:
        lines.append("Buffers and cache are covered until you have answered.")
    else:
        moment = now["moments"][min(step, len(deeds))]
        lines.append(
            f"Buffers: {' '.join(moment['buffers']) or 'empty'}. "
            f"L1 data cache: {' '.join(moment['cache']) or 'empty'}."
        )
    if state["checked"]:
        lines += [answer_text(value, marked=value["name"] in state["marked"]) for value in now["values"]]
        lines.append(now["lesson"])
    else:
        asked = ", ".join(f"{value['name']} ({value['what']})" for value in now["values"])
        lines.append(f"Which of these can you get? {asked}")
    return "\n".join([*lines, shown["model"]])


def answer_text(value: Frame, *, marked: bool) -> str:
    """Return what is said to one value, marked or not."""
    right = value["readable"] == marked
    can = "you can get it" if value["readable"] else "out of reach"
    return f"{'✓ right' if right else '✗ wrong'}: {value['name']}: {can}: {value['why']}"
