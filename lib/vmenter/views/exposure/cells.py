"""What stands in the cells of ExposureMap, and all about the selected one: numbers made into letters and words."""

from collections.abc import Iterator
from typing import Any

from vmenter import LabError
from vmenter.story.audit import Finding
from vmenter.story.audit_text import shared_words
from vmenter.story.eras import enter
from vmenter.story.exposure import Column, Count, Cut, counts, finding
from vmenter.story.history import Era
from vmenter.story.replay import replay
from vmenter.views.entry.frame import state_of

Panel = dict[str, Any]

# What a cell can say: kind → (letter, words). Of several the first counts; in the page each letter has a shape.
MARKS = {
    "failed": ("X", "failed: a crash, no VM-Enter, or the wrong instruction for it"),
    "broken": ("B", "broken: what was promised was not done"),
    "neutralised": ("N", "neutralised: VERW ran while FB_CLEAR_DIS was set; no broken promise"),
    "kept": ("K", "kept"),
    "nothing": ("·", "nothing is owed"),
    "none": ("", "no such configuration"),
}
FAULTS = ("failed", "broken", "neutralised")


def cell(era: Era, where: str, count: Count) -> Panel:
    """Return what stands in one cell."""
    kind = kind_of(count)
    part = getattr(count, kind) if kind in FAULTS else 0
    return {
        "kind": kind,
        "letter": MARKS[kind][0],
        "share": share(part, count.configurations) if part else "",
        "part": round(part / count.configurations, 4) if part else 0,
        "also": "".join(MARKS[fault][0] for fault in FAULTS if fault != kind and getattr(count, fault)),
        "faults": [
            f"{fault} in {number:,} of {count.configurations:,}"
            for fault in FAULTS
            if (number := getattr(count, fault))
        ],
        "name": f"{era.id}; {where}: {' '.join(_said(count))}",
    }


def kind_of(count: Count) -> str:
    """Return what a cell with these numbers says: the worst that happens in it."""
    for fault in FAULTS:
        if getattr(count, fault):
            return fault
    if not count.configurations:
        return "none"
    return "kept" if count.owing else "nothing"


def share(number: int, of: int) -> str:
    """Return a share as people say it; never 0 % where there are some, nor 100 % where it is not all."""
    percent = 100 * number / of
    if number == of:
        return "all"
    return "<1 %" if percent < 1 else f"{min(percent, 99):.0f} %"


def _said(count: Count) -> Iterator[str]:
    """Say in sentences what happens, and how often."""
    number = count.configurations
    if not number:
        yield "No configuration of this kernel is here."
    for fault in FAULTS:
        if getattr(count, fault):
            yield f"{fault.capitalize()} in {_of(getattr(count, fault), number)}."
    if number and not count.broken and not count.failed:
        yield f"{'The promise is kept' if count.owing else 'Nothing is owed'} in {_of(number, number)}."


def _of(number: int, of: int) -> str:
    if of == 1:
        return "the one configuration"
    if number == of:
        return f"all {of:,} configurations"
    return f"{number:,} of {of:,} configurations ({share(number, of)})"


def where(split: tuple[str, ...], column: Column) -> str:
    """Name a column."""
    return "; ".join(f"{name}: {label}" for name, label in zip(split, column, strict=False)) or "all columns"


def detail(era: Era, cut: Cut, split: tuple[str, ...], column: Column) -> Panel:
    """Return all about one cell: counts, what the faulty ones share, the smallest, and how to see it happen."""
    inner = cut.to(*zip(split, column, strict=False))
    count = counts(era, cut, split if column else ()).get(column, Count())  # as the grid has counted
    kind = kind_of(count)
    fault = kind if kind in FAULTS else None
    one = finding(era, inner, fault)
    return {
        "era": era.id,
        "title": era.title,
        "release": era.release,
        "where": where(split, column),
        "kind": kind,
        "letter": MARKS[kind][0],
        "said": list(_said(count)),
        "shared": [list(pair) for pair in shared_words(one)] if one and fault else [],
        **_example(era, one, fault),
    }


def _example(era: Era, one: Finding | None, fault: str | None) -> Panel:
    """Return the smallest of what was found: in words, as a command, and as a state of EntryExplorer."""
    if one is None:
        return dict.fromkeys(("example", "settings", "verdict", "replay", "explorer"))
    host, vcpu = one.machine
    state: Panel | None = state_of(era.id, host, vcpu)
    try:
        verdict = enter(era, host, vcpu).verdict
        words = f"{'kept' if verdict.kept else 'BROKEN'}: {verdict.reason}"
    except LabError as error:  # it enters no guest: there is no more to see of it than this
        words, state = f"FAILED: {error}", None
    return {
        "example": "The smallest" if fault else "An example",
        "settings": ", ".join(f"{name} {value}" for name, value in one.settings.items()) or "the default machine",
        "verdict": words,
        "replay": replay(era, host, vcpu) if era.code is None else None,  # the command knows no code but the lab's
        "explorer": state,
    }
