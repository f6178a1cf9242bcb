"""The boxes of a prediction: one that asks, one that tells, both drawn by widget.js.

A box that tells knows what is so, and gives the page nothing of it before there is a guess, or the reader asks to
be shown. Guesses are kept in the reader's own file. A text twin never says what was guessed.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import traitlets

from vmenter.course import progress
from vmenter.course.prediction.questions import BETWEEN, Question, answer, right
from vmenter.views.view import Twin, module, read

VARIABLE = "VMENTER_REVEAL"
SHOWN = "shown"  # what stands in the reader's file, in the place of a guess, where the truth was asked for
FOLDED = "The truth, folded"


class Prediction(Twin):
    """Questions with room for a guess; with `keys`, what is so and what is said to the guess."""

    _esm = module("course/prediction/widget.js")
    _css = read("views/common.css", "course/prediction/widget.css")

    name = traitlets.Unicode().tag(sync=True)
    questions = traitlets.List(traitlets.Dict()).tag(sync=True)
    tells = traitlets.Bool().tag(sync=True)
    guesses = traitlets.List(traitlets.Unicode()).tag(sync=True)
    rows = traitlets.List(traitlets.Dict()).tag(
        sync=True
    )  # empty: folded; else "told", "verdict", "text", "because"
    shown = traitlets.Dict().tag(sync=True)  # "text" or "html" that comes with the truth
    given_up = traitlets.Bool().tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        name: str,
        questions: Sequence[Question],
        keys: Sequence[Mapping[str, Any]] = (),
        show: Any = None,
    ) -> None:
        self.answers, self._show = tuple(keys), _shown(show)
        kept = list(_kept(name, len(questions)))
        super().__init__(
            name=name,
            questions=[one.asked() for one in questions],
            tells=bool(keys),
            guesses=kept[:-1],
            given_up=bool(keys) and kept[-1] != "",
        )
        if keys:
            self._unfold()
            self.observe(self._give_up, "given_up")
            self.observe(self._unfold, "guesses")
            TRUTHS.append(self)
        else:
            self.observe(self._keep, "guesses")

    def _keep(self, change: Mapping[str, Any]) -> None:
        """Write the guesses to the reader's file, and unfold the truth wherever it is already on the page.

        The page empties `said` with each guess, so that a word is told even if it is the same as before.
        """
        guesses = [str(guess) for guess in change["new"]]
        word = _write({f"{self.name}/{n}": guess for n, guess in enumerate(guesses, 1)})
        kept = "Kept." if progress.path() else "Kept as long as this kernel runs, as progress is off."
        self.said = word or kept
        for other in TRUTHS:
            if (other.name, len(other.answers)) == (self.name, len(guesses)):
                other.guesses = guesses

    def _give_up(self, change: Mapping[str, Any]) -> None:
        """Keep that the truth was asked for, and tell it."""
        if change["new"]:
            _write({f"{self.name}/{SHOWN}": SHOWN})
        self._unfold()

    def _unfold(self, _change: object = None) -> None:
        """Give the page what it may know by now, question by question."""
        everything = self.given_up or revealed()
        pairs = zip(self.answers, self.guesses, strict=True)
        self.rows = [_row(key, guess) if guess or everything else {} for key, guess in pairs]
        self.shown = self._show if all(self.rows) else {}

    def told_later(self) -> dict[str, Any]:
        """Return what a page without a kernel needs to tell the truth by itself, once there is a guess."""
        return {"tells": self.tells, "answers": list(self.answers), "show": self._show}

    @property
    def whole(self) -> str:
        """The text twin with everything told, for a page that folds it itself."""
        return self._twin([_row(key, "") for key in self.answers], self._show)

    @property
    def text(self) -> str:
        """The text twin: the questions, and the truth where it may be told; never the guess."""
        return self._twin(self.rows, self.shown)

    def _twin(self, rows: Sequence[Mapping[str, str]], shown: Mapping[str, str]) -> str:
        if not self.tells:
            asked = (f"  {one['text']}{_choices(one)} …" for one in self.questions)
            return "\n".join((f"Predict {self.name}: choose or write a guess before you go on", *asked))
        lines = [f"Prediction {self.name}: the truth beside your guess"]
        for question, key, row in zip(self.questions, self.answers, rows, strict=True):
            because = " ".join(filter(None, (right(key), key["because"])))
            told = f"It is: {key['told']}. {because}".rstrip() if row else "… guess first"
            lines.append(f"  {question['text']} {told}")
        if not all(rows):
            lines.append(
                f"  Without a box to guess in: guess({self.name!r}, …), or show_me({self.name!r}), both from"
            )
            lines.append(f"  vmenter.course.prediction. {VARIABLE}=1 in the environment folds nothing.")
        return "\n".join([*lines, *([shown["text"]] if shown else [])])

    def _html(self) -> str:
        """Return the text, a truth folded away."""
        html = super()._html()
        return f"<details><summary>{FOLDED}: {self.name}</summary>{html}</details>" if self.tells else html


ASKED: dict[str, tuple[Question, ...]] = {}  # what a cell asked, for the cell that tells
TRUTHS: list[Prediction] = []  # in order; a kernel keeps its widgets anyway
_MEMORY: dict[str, str] = {}  # for as long as the kernel runs, where no file keeps anything


def _choices(asked: Mapping[str, Any]) -> str:
    """Return what may be chosen, in brackets; a choice may have a comma of its own."""
    if not asked["choices"]:
        return ""
    between = BETWEEN if any("," in choice for choice in asked["choices"]) else ", "
    many = "all that hold: " if asked["kind"] == "several" else ""
    return f" ({many}{between.join(asked['choices'])})"


def revealed() -> bool:
    """Tell whether every truth is told at once."""
    return os.environ.get(VARIABLE) == "1"


def _row(key: Mapping[str, Any], guess: str) -> dict[str, str]:
    verdict, text = answer(key, guess) if guess else ("", right(key))
    return {"told": key["told"], "verdict": verdict, "text": text, "because": key["because"]}


def _shown(show: Any) -> dict[str, str]:
    """Return what comes with a truth, as text and as HTML if it can draw itself."""
    if show is None:
        return {}
    html = getattr(show, "_repr_html_", lambda: None)()
    text = show if isinstance(show, str) else repr(show)
    return {"text": text} if html is None else {"text": text, "html": html}


def _write(entries: Mapping[str, str]) -> str | None:
    """Keep entries in the reader's file, or else in memory. Returns a word if the file cannot be written."""
    words = [progress.predict(name, text) for name, text in entries.items()]
    if progress.path() is None or any(words):
        _MEMORY.update(entries)
    return next((word for word in words if word), None)


def _kept(name: str, count: int) -> Iterator[str]:
    """Yield the guesses that were kept, one for each question, and last whether the truth was asked for."""
    kept = {**_MEMORY, **progress.load().predictions}
    return (kept.get(f"{name}/{n}", "") for n in (*range(1, count + 1), SHOWN))
