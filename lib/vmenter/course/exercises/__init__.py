"""Exercises: a task, a starter, a checker that answers in words, three hints, and a solution to open on demand.

In a notebook, ``exercise("02-1")`` shows the task and ``check("02-1", answer)`` judges an answer and keeps it in
the reader's `progress`; ``own_era("05-3", answer)`` makes an era of an answer that is code. The texts stand in
02.toml and its like, one file a notebook; the judges in nb02.py and its like. Starters and solutions are the
text of a cell that sets ``answer``; the tests run every one of them.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmenter import LabError
from vmenter.course import language, progress
from vmenter.course.judging.limited import text_of
from vmenter.course.judging.plain import plain, type_name
from vmenter.course.judging.variants import AFTER_A_CALL
from vmenter.views.static import narrow, pre, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmenter.course.judging.audited import Counterexample
    from vmenter.emulator.trace import Trace
    from vmenter.story.history import Era


@dataclass(frozen=True)
class Feedback:
    """What a checker says: passed or not, and why, in words. `trace`: the run that shows it, if there is one."""

    passed: bool
    message: str
    trace: Trace | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        """Return the verdict and the reason as text."""
        return f"{'✔ Passed' if self.passed else '✘ Not yet'}: {self.message}"

    def _repr_html_(self) -> str:
        colour = "success" if self.passed else "warn"
        return (  # in <pre>, dollar signs stay what they are: elsewhere two of them make a formula
            f'<div role="status" style="border-left:4px solid var(--jp-{colour}-color1, #555);padding:.3em .8em">'
            f"{narrow(repr(self), ';background:none')}</div>"
        )


@dataclass(frozen=True)
class Exercise:
    """A task. The three hints go from a nudge to the way itself, each with its reason."""

    id: str
    title: str
    task: str
    starter: str
    hints: tuple[str, str, str]
    solution: str
    because: str  # why the solution is right
    praise: str  # what a right answer shows
    minutes: int  # estimated
    judge: (
        Callable[[Any], str | Counterexample | None]  # None if the answer is right, else what is wrong with it
    )

    def check(self, answer: Any) -> Feedback:
        """Judge an answer; whatever it is, this returns words."""
        try:
            wrong = self.judge(plain(answer))
        except LabError as error:
            wrong = str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001  (an answer may be anything)
            wrong = f"{_what(answer)} cannot be judged here ({type(error).__name__}); look at the starter's form"
        if wrong is None:
            return Feedback(passed=True, message=self.praise)
        return Feedback(passed=False, message=str(wrong), trace=getattr(wrong, "trace", None))

    def __repr__(self) -> str:
        """Return the task as text; hints and solution stay closed."""
        head = f"Exercise {self.id}: {self.title} ({self.minutes} minutes)"
        return f"{head}\n{self.task}\n(three hints and a solution open on demand)"

    def _repr_html_(self) -> str:
        fold = '<details style="margin:.3em 0"><summary>{}</summary><div style="{}">{}</div></details>'
        text, code = "white-space:pre-wrap;padding:.2em 1.2em", "padding:.2em 1.2em"
        folds = [fold.format(f"Hint {n}", text, _rich(hint)) for n, hint in enumerate(self.hints, 1)]
        solution = f"{pre(self.solution)}<p>{_rich(self.because)}</p>"
        return (
            f'<section style="border:1px solid var(--jp-border-color1,#bbb);padding:.2em 1em">'
            f'<h3 style="font-size:1.2em">Exercise {self.id}: {escape(self.title)}'
            f" <small>({self.minutes} minutes)</small></h3>"
            f'<p style="white-space:pre-wrap">{_rich(self.task)}</p>{"".join(folds)}'
            f"{fold.format('A solution, and why', code, solution)}</section>"
        )


def _what(answer: Any) -> str:
    """Name a kind of answer that no judge has thought of, and what it holds."""
    if type(answer) in (list, tuple, set, dict) and answer:
        kinds = dict.fromkeys(map(type_name, answer))
        return f"a {type_name(answer)} of {', '.join([*kinds][:4])}"
    return f"a {type_name(answer)}"


def _rich(text: str) -> str:
    """Escape text for HTML, with `code` between backquotes and *stress* between stars, line by line."""
    parts = escape(text).split("`")
    stressed = (re.sub(r"\*(\w[^*\n]*)\*", r"<em>\1</em>", part) for part in parts)
    return rows("".join(f"<code>{parts[n]}</code>" if n % 2 else part for n, part in enumerate(stressed)))


def _minutes(solution: str) -> int:
    """Estimate what an exercise takes whose file does not say: a letter, a line, or code to write."""
    if re.fullmatch(r'answer = "\w"', solution.strip()):
        return 2
    return 4 if len(solution.strip().splitlines()) == 1 else 8


@cache
def every() -> dict[str, Exercise]:
    """Return all exercises by their id, in the order of the notebooks."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.toml")):
        judges = import_module(f"vmenter.course.exercises.nb{file.stem}").JUDGES
        for id_, own in tomllib.loads(file.read_text(encoding="utf-8")).items():
            texts = language.exercise(file.stem, id_, own)
            minutes = texts.get("minutes") or _minutes(texts["solution"])
            plain = {key: text.strip() for key, text in texts.items() if key not in ("hints", "judge", "minutes")}
            first, second, third = (" ".join(hint.split()) for hint in texts["hints"])
            judge = judges[texts["judge"]]
            found[id_] = Exercise(id=id_, hints=(first, second, third), judge=judge, minutes=minutes, **plain)
    return found


def exercise(id: str) -> Exercise:  # noqa: A002  (what the notebooks call it)
    """Return an exercise for display."""
    found = every().get(id)
    if found is None:
        raise LabError(f"there is no exercise {id!r}; there are {', '.join(every())}")
    return found


def check(id: str, answer: Any) -> Feedback:  # noqa: A002
    """Judge an answer to an exercise, and keep it in the reader's progress."""
    feedback = exercise(id).check(answer)
    progress.record(id, passed=feedback.passed, answer=text_of(answer))
    return feedback


def own_era(id: str, answer: Any, after_the_flush: str | None = None) -> Era:  # noqa: A002
    """Return the lab kernel that an answer makes: to audit it, or to enter a guest and look.

    `after_the_flush`, for an answer that calls the L1D flush: how that leaves flags and free registers, one of
    `variants.AFTER_A_CALL`; None: as it happens to. Raises `LabError` for what cannot be assembled, and for
    exercises whose answer is no code of a kernel, or calls no flush.
    """
    exercise(id)
    module = import_module(f"vmenter.course.exercises.nb{id[:2]}")
    build: Callable[..., Era] | None = getattr(module, "OWN", {}).get(id)
    if build is None:
        raise LabError(f"the answer to {id} is no code that could stand in an era's place")
    if after_the_flush is None:
        return build(answer)
    if "after_the_flush" not in signature(build).parameters:
        raise LabError(f"the answer to {id} calls no flush that could leave registers this way or that")
    if after_the_flush not in AFTER_A_CALL:
        raise LabError(f"after_the_flush should be one of {AFTER_A_CALL}; it is {after_the_flush!r}")
    return build(answer, after_the_flush)
