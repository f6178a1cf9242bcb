"""The panel that shows a recorded VM-Enter of a booted kernel beside the lab's: HTML made here, and its text twin.

It uses the shapes, letters and colours of the explorer's strip (widget.css), so light, dark and letters are those
of the rest.
"""

from functools import lru_cache
from html import escape
from typing import Any

from vmenter.emulator.trace import EventKind
from vmenter.kernels.booted_record import LETTERS as LETTER_OF
from vmenter.kernels.booted_record import (
    BootedEnter,
    Way,
    about_lines,
    booted_enter,
    counted,
    distance_line,
    lines_of,
    verdict_line,
    word,
)

SHAPES = {  # as widget.js draws them
    "V": "9,2 23,2 30,9 30,23 23,30 9,30 2,23 2,9",
    "F": "9,2 23,2 30,9 30,23 23,30 9,30 2,23 2,9",
    "E": "2,3 30,3 30,20 16,30 2,20",
    "D": "16,2 31,29 1,29",
    "\u2205": "16,1 31,16 16,31 1,16",
}


@lru_cache(maxsize=16)
def panel(name: str) -> dict[str, Any]:
    """Return the panel of one of `bootedrecord.booted_enters`: its HTML and its lines of the twin."""
    one = booted_enter(name)
    return {"name": name, "html": _html(one), "text": lines_of(one)}


def _html(one: BootedEnter) -> str:
    good = "vm-good" if one.promise_kept else "vm-bad"
    mark = "\u2713" if one.promise_kept else "\u2717"
    verdict = verdict_line(one)
    head, _, rest = verdict.partition(": ")
    rows = "".join(f"<div><dt>{escape(what)}</dt><dd>{escape(text)}</dd></div>" for what, text in about_lines(one))
    return (
        f'<header class="vm-sidehead"><span class="vm-badge {good}">{mark} {head}</span>'
        f"<div><h3>Recorded: {escape(one.name)}</h3>"
        f"<p>As a booted kernel ran it: {escape(rest)}</p></div></header>"
        f'<dl class="vm-pairs">{rows}</dl>'
        f'<div class="vm-halves">{_way("Recorded", one.way)}{_way(f"In the lab: {one.era}", one.lab)}</div>'
    )


def _way(title: str, way: Way) -> str:
    items = []
    for happened in way.happened:
        count = counted(happened.instructions, happened.accesses)
        items.append(f'<li class="vm-gap"><span>{count}</span></li>')
        items.append(
            _event(word(happened, way.vm_enter), happened.where, _letter(happened.kind), happened.neutralised)
        )
    if not way.cleared:
        items.insert(0, _event("no clear", "no VERW, no L1D flush", "\u2205"))
    rows = "".join(
        f"<tr><td><code>{escape(_function(name))}</code></td><td>{ran}</td><td>{accesses}</td></tr>"
        for name, ran, accesses in way.path
    )
    return (
        f"<div><h4>{escape(title)}</h4>"
        f'<ol class="vm-strip vm-many">{"".join(items)}</ol>'
        f"<p>Distance: {escape(distance_line(way))}</p>"
        '<table class="vm-path"><thead><tr><th scope="col">function, in order</th>'
        '<th scope="col">instructions</th><th scope="col">accesses</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _function(name: str) -> str:
    return f"{name} (elsewhere in the kernel)" if name.startswith("0x") else name


def _letter(kind: EventKind) -> str:
    return LETTER_OF.get(kind, "E")


def _event(what: str, where: str, letter: str, neutralised: bool = False) -> str:  # noqa: FBT001, FBT002
    names = "vm-missing" if letter == "\u2205" else f"vm-kind-{letter}" + " vm-neutralised" * neutralised
    shape = (
        f'<svg viewBox="0 0 32 32" class="vm-shape" aria-hidden="true"><polygon points="{SHAPES[letter]}"/>'
        f'<text x="16" y="{25 if letter == "D" else 21}" text-anchor="middle">{letter}</text></svg>'
    )
    if letter == "\u2205":
        return f'<li class="vm-event {names}">{shape}<b>{escape(what)}</b><span>{escape(where)}</span></li>'
    said = f"{shape}<b>{escape(what)}</b><code>{escape(where)}</code>"
    return f'<li class="vm-event {names}"><div class="vm-seek">{said}</div></li>'
