"""Everything that PatchBench shows, as one value: a pure function of a small state.

`frame(state)` returns plain dicts, lists and strings. The page draws them and knows nothing about patching;
so the same page works in JupyterLab and, over frames computed before, without a kernel. A frame carries all
steps of one patch: stepping through them needs no kernel at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any, TypedDict

from vmenter import LabError
from vmenter.code.instructions import Instruction, decode
from vmenter.patching.alternative_table import ALWAYS, Engine, Nops, Rules
from vmenter.patching.alternatives import ORIGINS, Origin, Patch, Step, patch
from vmenter.patching.lab import feature_numbers
from vmenter.patching.text import written_too
from vmenter.views.drawings import decision
from vmenter.views.patch import words
from vmenter.views.patch.bench import SAMPLES, Bench, TypedError, sample, typed
from vmenter.views.view import Frame

NOP = b"\x90"
WIDTH = 100  # of a line of the twin
COLUMNS = 8  # byte cells a row, at least


class State(TypedDict, total=False):
    """What the reader has chosen."""

    sample: str | None  # None: the typed text, or the site that the bench was made for
    typed: dict[str, Any] | None  # original, replacements [[assembly, feature], …], after
    features: list[str]  # the ones that are on
    engine: str
    nops: str | None  # which the CPU gets, p6 or k8; None: those of the site's kernel
    step: int | None  # None: the last


def frame(state: Mapping[str, Any], site: Bench | None = None, last: Frame | None = None) -> Frame:
    """Return what to show. `site` is the one to show where the state names neither sample nor text.

    A mistake in typed code, or a patch that the kernel would refuse, gives the `last` good frame and the
    error beside it. Raises `LabError` only where there is no last frame.
    """
    try:
        return _frame(_bench(state, site), state, own=site)
    except LabError as error:
        if last is None:
            raise
        return mistaken(last, error, state)


def twin(shown: Frame, step: int | None) -> str:
    """Return the text twin of a frame at one step. What the steps lead to is told with the last."""
    steps = shown["steps"]
    index = len(steps) - 1 if step is None else max(0, min(step, len(steps) - 1))
    return "\n".join((*shown.get("wrong", ()), *steps[index]["twin"]))


def mistaken(last: Frame, error: LabError, state: Mapping[str, Any]) -> Frame:
    """Return the last good frame with a mistake in it: where, what, and the line with a caret under it."""
    shown = _error(error, state)
    where = (shown["place"], *(f"{what} {shown[what]}" for what in ("line", "column") if shown.get(what)))
    said = ": ".join(filter(None, (", ".join(filter(None, where)), shown["message"])))
    return {
        **last,
        "error": shown,
        "mistake": f"{said} \u2014 above, the last good state.",
        "wrong": [f"not assembled: {shown['text']}", "Still shown: the last good state.", ""],
    }


def _bench(state: Mapping[str, Any], site: Bench | None) -> Bench:
    name, text = state.get("sample"), state.get("typed")
    if name:
        return sample(name)
    if text:
        replacements = [(str(code), str(feature)) for code, feature in text.get("replacements", ())]
        return typed(str(text.get("original", "")), replacements, str(text.get("after", "")))
    if site is None:
        raise LabError("nothing to show: name a sample, or type some code")
    return site


def _frame(bench: Bench, state: Mapping[str, Any], own: Bench | None) -> Frame:
    try:
        engine = Engine(state.get("engine") or Engine.ONCE)
    except ValueError:
        raise LabError(f"no engine is called {state.get('engine')!r}; there are {', '.join(Engine)}") from None
    features = bench.numbers(state.get("features") or ())
    if state.get("nops"):
        bench = replace(bench, nops=_nops(str(state["nops"])))
    made = _patch(bench, features, engine)
    said = words.verdict(bench, made, features)
    compared = _engines(bench, features, engine)
    after = _after(bench)
    matching = decision.matches(made, features)
    chain = decision.decision_text(made, bench.feature, matching, engine)
    steps = [_step(bench, made, index, features, engine, after) for index in range(len(made.steps))]
    head = _head(bench, features, engine, chain)
    foot = [*wrap(said, WIDTH), *(line for one in compared for line in _told(one))]
    for step in steps:
        step["twin"] = [*head, "", *step.pop("text"), *(("", *foot) if step is steps[-1] else ())]
    text = bench.text
    return {
        "title": bench.title,
        "about": bench.about,
        "where": f"The site has {words.count(bench.site.length, 'byte')}.",
        "samples": [{"id": name, "about": about} for name, (about, _) in SAMPLES.items()],
        "own": own.title if own else None,
        "features": [
            {"name": bench.feature(number), "on": number in features, "fixed": number == ALWAYS}
            for number in bench.features
        ],
        "known": list(feature_numbers()),
        "engine": engine.value,
        "engines": compared,
        "nops": [{"id": one.value, "on": one is bench.nops} for one in (Nops.P6, Nops.K8)]
        if engine is Engine.EARLY else [],
        "also": written_too(bench.site.also) if bench.site.also else "",
        "steps": steps,
        "columns": max([COLUMNS, *(len(row["cells"]) for step in steps for row in step["rows"])]),
        "height": max(len(step["rows"]) for step in steps) + len(after),
        "after": after,
        "legend": [{"letter": letter, "text": meaning} for letter, meaning in ORIGINS.items()],
        "verdict": said,
        "diagram": decision.skeleton(bench.site, bench.feature, engine),
        "marks": {key: {"class": one.classes, "text": one.text} for key, one in
                  decision.marks(made, matching, engine).items()},
        "decision": chain,
        "source": None if text is None else {
            "original": text.original,
            "replacements": [list(pair) for pair in text.replacements],
            "after": text.after,
        },
        "error": None,
    }  # fmt: skip


def _patch(bench: Bench, features: frozenset[int], engine: Engine) -> Patch:
    nops = bench.nops if engine is Engine.EARLY else Nops.P6
    return patch(bench.image, bench.site, features, Rules(engine, 14, engine is Engine.ONCE, nops))


def _nops(text: str) -> Nops:
    if text not in (Nops.P6, Nops.K8):
        raise LabError(f"no NOPs are called {text[:40]!r}; there are p6 and k8")
    return Nops(text)


def _head(bench: Bench, features: frozenset[int], engine: Engine, chain: str) -> list[str]:
    on = [bench.feature(number) for number in bench.features if number in features]
    return [
        f"{bench.title}: {bench.about}",
        f"engine: {engine} ({words.ENGINES[engine][0]})",
        f"features on: {', '.join(on) or 'none of them'}",
        *([f"NOPs: {bench.nops}"] if engine is Engine.EARLY and bench.nops is not Nops.P6 else []),
        *(wrap(f"also {written_too(bench.site.also)}", WIDTH) if bench.site.also else ()),
        *chain.splitlines(),
    ]


def _engines(bench: Bench, features: frozenset[int], engine: Engine) -> list[dict[str, Any]]:
    """Compare what the three generations make of this site."""
    made: dict[Engine, Patch | str] = {}
    for one in Engine:
        try:
            made[one] = _patch(bench, features, one)
        except LabError as error:
            made[one] = str(error)
    mine = made[engine]
    return [
        {
            "id": one.value,
            "versions": words.ENGINES[one][0],
            "rule": words.ENGINES[one][1],
            "on": one is engine,
            "said": _compared(bench, made[one], mine, shown=one is engine),
        }
        for one in Engine
    ]


def _compared(bench: Bench, one: Patch | str, mine: Patch | str, *, shown: bool) -> str:
    if isinstance(one, str) or isinstance(mine, str):
        return one if isinstance(one, str) else ""
    if one.code is None:
        return f"undecided: {one.undecided}"
    writes = words.written(sum(step.name == "copy" for step in one.steps))
    if shown:
        return f"shown here: {writes}"
    if mine.code is None or one.code == mine.code:
        return f"the same bytes, {writes}"
    differing = [at for at, (a, b) in enumerate(zip(one.code, mine.code, strict=True)) if a != b]
    span = f"+{differing[0]}" if len(differing) == 1 else f"+{differing[0]} to +{differing[-1]}"
    wrong = words.broken(bench, one)
    return f"other bytes at {span}, {writes}" + (f". {wrong}" if wrong else "")


def _step(
    bench: Bench, made: Patch, index: int, features: frozenset[int], engine: Engine, after: list[dict[str, Any]]
) -> dict[str, Any]:
    step, before = made.steps[index], made.steps[index - 1] if index else None
    rows = [_row(bench, step, before, part) for part in _parts(bench, step)]
    entry = None if step.entry is None or step.name == "choose" else step.entry + 1
    width = 3 * max(COLUMNS, *(len(row["cells"]) for row in [*rows, *after])) - 1
    said = words.explain(bench, made, index, features, engine)
    if made.undecided and index == len(made.steps) - 1:
        said += f" Here this file cannot tell: {made.undecided}."
    heading = f"step {index + 1} of {len(made.steps)}: {step.name}{f' (entry {entry})' if entry else ''}"
    return {
        "name": step.name,
        "heading": heading,
        "entry": entry,
        "said": said,
        "rows": rows,
        "text": [heading, *wrap(said, WIDTH), *(_line(row, width) for row in [*rows, *after])],
    }


@dataclass(frozen=True)
class _Part:
    """What shares a row: one instruction, a run of equal one-byte ones, or what is left of older code."""

    instructions: tuple[Instruction, ...]
    rest_of: str = ""

    @property
    def code(self) -> bytes:
        return b"".join(one.code for one in self.instructions)


def _parts(bench: Bench, step: Step) -> list[_Part]:
    """Divide the site's bytes into rows."""
    start, code = bench.site.address, step.code
    written = len(code)
    if step.name in ("copy", "direct call", "relocate"):
        written = sum(origin.entry == step.entry for origin in step.origins)
    rows: list[_Part] = []
    tail = code[written:]
    if tail.strip(NOP):
        decoded = decode(code[:written], start, strict=False)
    else:
        decoded, tail = decode(code, start, strict=False), b""
    for one in decoded:
        run = rows[-1].instructions if rows else ()
        if run and len(one.code) == 1 and one.code == run[0].code and len(run) < COLUMNS:
            rows[-1] = _Part((*run, one))
        else:
            rows.append(_Part((one,)))
    for at in range(written, written + len(tail), COLUMNS):
        whose = step.origins[at].entry
        rest = "the original code" if whose is None else f"replacement {whose + 1}"
        rows.append(_Part((Instruction(start + at, code[at : at + COLUMNS], "", ""),), rest))
    return rows


def _row(bench: Bench, step: Step, before: Step | None, part: _Part) -> dict[str, Any]:
    start = part.instructions[0].address - bench.site.address
    cells = [
        {
            "at": at,
            "hex": f"{step.code[at]:02x}",
            "letter": step.origins[at].letter,
            "by": _by(step.origins[at]),
            "new": before is not None
            and (step.code[at], step.origins[at]) != (before.code[at], before.origins[at]),
        }
        for at in range(start, start + len(part.code))
    ]
    text, note = _disassembly(bench, part)
    return {"at": start, "cells": cells, "text": text, "note": note}


def _by(origin: Origin) -> str:
    return "" if origin.entry is None else str(origin.entry + 1)


def _disassembly(bench: Bench, part: _Part) -> tuple[str, str]:
    """Return the row's text, and a note: where it goes or what it reads."""
    if part.rest_of:
        return f"(rest of {part.rest_of})", ""
    one = part.instructions[0]
    if len(part.instructions) > 1:
        return f"{one.text} ({len(part.instructions)} times)", ""
    if one.branch_target is not None:
        return f"{one.mnemonic} {words.place(bench, one.branch_target)}", ""
    if one.length > 1 and one.is_nop():
        return one.text, f"one NOP of {one.length} bytes"
    return one.text, "" if one.rip_target is None else f"\u2192 {words.place(bench, one.rip_target)}"


def _after(bench: Bench) -> list[dict[str, Any]]:
    """Return up to three instructions behind the site, which patching leaves alone."""
    start = bench.site.address + bench.site.length
    section = bench.image.section_at(start)
    if section is None:
        return []
    code = bench.image.read(start, min(24, section.end - start))
    rows = []
    for one in decode(code, start, strict=False)[:3]:
        if one.mnemonic == ".byte":
            break
        text, note = _disassembly(bench, _Part((one,)))
        at = one.address - bench.site.address
        cells = [{"at": at + i, "hex": f"{byte:02x}", "letter": "", "by": "", "new": False}
                 for i, byte in enumerate(one.code)]  # fmt: skip
        rows.append({"at": at, "cells": cells, "text": text, "note": note})
        if one.mnemonic.startswith(("ret", "jmp")):
            break
    return rows


def _line(row: dict[str, Any], width: int) -> str:
    """Return a row of the twin: offset, bytes, letters with writers, instruction."""
    code = " ".join(cell["hex"] for cell in row["cells"])
    letters = " ".join(f"{cell['letter']}{cell['by']}" for cell in row["cells"]).strip() or "-"
    note = f"  {row['note']}" if row["note"] else ""
    return f"{row['at']:>+4}  {code:<{width}}  {letters:<{width}}  {row['text']}{note}".rstrip()


def _told(engine: dict[str, Any]) -> list[str]:
    """Return an engine's outcome as lines of the twin."""
    return wrap(f"{engine['id']:<8} {engine['said']}", WIDTH, subsequent_indent=" " * 9)


def _error(error: LabError, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return an error as the page shows it: where, what, and the line with a caret under it."""
    shown: dict[str, Any] = {"text": str(error), "message": str(error), "place": "", "line": None, "source": ""}
    if isinstance(error, TypedError):
        shown.update(message=error.message, place=error.place, line=error.line, column=error.column)
        code = _field(state, error.place).split("\n")
        if error.line and error.line <= len(code):
            shown["source"] = code[error.line - 1]
            if error.column:
                shown["source"] += "\n" + " " * min(error.column - 1, len(code[error.line - 1])) + "^"
    return shown


def _field(state: Mapping[str, Any], place: str) -> str:
    text = state.get("typed") or {}
    if place.startswith("replacement "):
        return str(text["replacements"][int(place.split()[1]) - 1][0])
    return str(text.get(place, ""))
