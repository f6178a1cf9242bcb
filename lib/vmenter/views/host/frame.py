"""Everything that HostView shows, as one value: a pure function of a small state.

`frame(state)` returns plain dicts, lists and strings: which report, its lines beside the model's, the host that
was inferred, what a VM-Enter does there, and the state that an EntryExplorer needs to show it.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypedDict

from vmenter.hosts import report as ownmachine
from vmenter.hosts.entering import NONE
from vmenter.hosts.explain import MITIGATED, NOT_AFFECTED, UNKNOWN, VULNERABLE, Explanation, Line, explain
from vmenter.hosts.explain_text import (
    agreement,
    commands,
    entry_sentences,
    host_rows,
    known_rows,
    line_missing,
    shown_lines,
    text_lines,
    unknown_rows,
)
from vmenter.hosts.verdict import FINE
from vmenter.story.promise import VCpuState
from vmenter.views.entry.frame import state_of
from vmenter.views.view import Frame

DEFAULT = "four-flaws"
HERE = "The machine that this notebook's kernel runs on, read now"
PASTED = "What you pasted"

LETTERS = {MITIGATED: "M", VULNERABLE: "V", NOT_AFFECTED: "N", UNKNOWN: "?"}
LEGEND = (
    ("M", "mitigated"),
    ("V", "vulnerable"),
    ("N", "not affected"),
    ("?", "not told, or not known"),
    ("D", "the model differs"),
)


class State(TypedDict, total=False):
    """What the reader has chosen: a recorded sample, a paste, or the machine itself."""

    sample: str | None
    pasted: str | None
    live: bool


def found_of(state: Mapping[str, Any]) -> Explanation:
    """Explain the report that a state names. Raises `LabError` where there is none."""
    if state.get("live"):
        return explain(ownmachine.read_machine())
    if state.get("pasted") is not None:
        return explain(ownmachine.parse(str(state["pasted"])))
    return _sample(str(state.get("sample") or DEFAULT))


@lru_cache(maxsize=64)
def _sample(name: str) -> Explanation:
    """Explain a recorded report, once."""
    return explain(ownmachine.sample(name))


def frame(state: Mapping[str, Any]) -> Frame:
    """Return what to show. Raises `LabError` for a sample that there is not, or a paste without a machine."""
    return frame_of(state, found_of(state))


def frame_of(state: Mapping[str, Any], found: Explanation) -> Frame:
    """Return what to show of an explanation."""
    source = _source(state)
    shown, other = shown_lines(found)
    mark, word = _word(found)
    said = ", ".join(f"{line.title} {line.status}" for line in shown)
    said += f"; {other.rstrip('.')}" if other else ""
    said += f"; the promise: {word}"
    return {
        "samples": [{"id": name, "title": title} for name, title in ownmachine.samples().items()],
        "sample": None if state.get("live") or state.get("pasted") is not None else state.get("sample") or DEFAULT,
        "source": source,
        "title": found.report.title,
        "notes": list(found.report.notes),
        "rows": [*(_row(line) for line in shown), *([_other_row(found, other)] if other else [])],
        "legend": [{"letter": letter, "text": text} for letter, text in LEGEND],
        "host": [list(row) for row in host_rows(found)],
        "known": [list(row) for row in known_rows(found)],
        "unknown": [list(row) for row in unknown_rows(found)],
        "kept": found.outcome.kept,
        "word": word,
        "mark": mark,
        "sentences": list(entry_sentences(found)),
        "commands": [list(pair) for pair in commands(found)],
        "explorer": explorer_state(found),
        "how": ownmachine.HOW,
        "about_how": ownmachine.ABOUT_HOW,
        "said": f"{source}: {said}.",
        "text": [source, *text_lines(found)],
        "error": None,
    }


def explorer_state(found: Explanation) -> dict[str, Any] | None:
    """Return an EntryExplorer's state for the host, with the plainest vCPU that breaks the promise if one does."""
    entries, host = found.entries, found.inference.host
    if entries is None:
        return None
    vcpu = entries.broken[0].vcpu if entries.broken else VCpuState()
    return state_of(found.inference.nearest.era.id, host, vcpu)


def _source(state: Mapping[str, Any]) -> str:
    if state.get("live"):
        return HERE
    if state.get("pasted") is not None:
        return PASTED
    name = str(state.get("sample") or DEFAULT)
    return f"Recorded sample {name}: {ownmachine.samples()[name]}"


def _word(found: Explanation) -> tuple[str, str]:
    """Return a mark and a word for what the promise comes to."""
    if found.inference.entering.by == NONE:
        return "\u2013", "no guest is entered"
    if found.outcome.kept is None and found.outcome.status == FINE:
        return "\u2713", "nothing is owed"
    return {True: ("\u2713", "kept"), False: ("\u2717", "BROKEN"), None: ("?", "cannot tell")}[found.outcome.kept]


def _other_row(found: Explanation, other: str) -> Frame:
    """Return the one row for the flaws that other CPUs have."""
    silent = [line for line in found.lines if line.title in other]
    told = {line.status for line in silent} == {NOT_AFFECTED}
    return {
        "file": "",
        "title": ", ".join(line.title for line in silent),
        "letter": LETTERS[NOT_AFFECTED if told else UNKNOWN],
        "status": NOT_AFFECTED if told else UNKNOWN,
        "kernel": "Not affected" if told else "",
        "words": other,
        "differs": False,
        "agreement": "",
        "cause": "",
        "why": [],
    }


def _row(line: Line) -> Frame:
    return {
        "file": line.file,
        "title": line.title,
        "letter": LETTERS[line.status],
        "status": line.status,
        "kernel": line.kernel or line_missing(line),
        "words": line.words,
        "differs": line.agrees is False,
        "agreement": agreement(line),
        "cause": f"Likely: {line.cause}" if line.cause else "",
        "why": [[one.subject, one.outcome, one.reason] for one in line.why],
    }
