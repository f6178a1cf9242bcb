"""A mail as an answer. Whether it is a good one a reader judges, by a rubric; here only what a program can tell.

For each point of the rubric the learner names the words of the mail that meet it. The checker asks that these
words stand in the mail, that no two points lean on the same ones, and that the mail has a subject and is short.
Whether they do meet the point, the learner judges, and says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vmenter.course.judging import told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FEWEST, MOST = 60, 300  # words of a mail
SHORTEST = 4  # words that meet a point


def unmet(answer: Any, points: Mapping[str, str], facts: Sequence[tuple[str, str]]) -> str | None:
    """Say what a program finds missing; None if nothing. `facts`: (pattern, what it stands for) in the mail."""
    both = told.keyed(answer, ("mail", "rubric"))
    mail = told.text(both["mail"], name="mail")
    rubric = told.keyed(both["rubric"], tuple(points), name="rubric")
    head, body = _parts(mail)
    if not re.search(r"^Subject: *\S+ +\S+", head, re.MULTILINE | re.IGNORECASE):
        return "the mail should begin with a line “Subject: …” that says in a few words what it is about"
    long = len(body.split())
    if not FEWEST <= long <= MOST:
        return (
            f"the mail has {long} words below its subject; {FEWEST} to {MOST} are asked for: short, and all of it"
        )
    for pattern, what in facts:
        if not re.search(pattern, mail, re.IGNORECASE):
            return f"a reader who wants to look it up needs {what}; the mail does not name it"
    return _quoted(rubric, points, _plain(mail))


def _parts(mail: str) -> tuple[str, str]:
    """Return the lines in front (“Subject: …”, maybe “To: …” as well), a folded one as one, and what is below."""
    lines = mail.strip().splitlines()
    below = next(
        (n for n, line in enumerate(lines) if not re.match(r"[A-Za-z][\w-]*:( |$)|\s+\S", line)), len(lines)
    )
    return re.sub(r"\n\s+", " ", "\n".join(lines[:below])), "\n".join(lines[below:])


def _quoted(rubric: Mapping[str, Any], points: Mapping[str, str], mail: str) -> str | None:
    """Say what is wrong with the words that are named for the points."""
    seen: dict[str, str] = {}
    for name, asks in points.items():
        words = rubric[name]
        if not isinstance(words, str) or not words.strip():
            return (
                f"{name}: which words of the mail {asks}? Copy them here; if there are none, the mail lacks them"
            )
        plain = _plain(words)
        if plain not in mail:
            return f"{name}: these words do not stand in the mail: {words.strip()[:60]!r}"
        if len(plain.split()) < SHORTEST:
            return (
                f"{name}: {words.strip()!r} is too little to tell that it meets the point; name the whole clause"
            )
        for other, others in seen.items():
            if plain in others or others in plain:
                return f"{name}: the same words are named for {other}; each point needs its own"
        seen[name] = plain
    return None


def _plain(text: str) -> str:
    """Return a text with every stretch of blanks as one."""
    return " ".join(text.split())
