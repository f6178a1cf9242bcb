"""Predictions: what the reader guesses before a reveal, kept in their own file and shown beside the truth.

`predict` asks, `truth` answers. Both are drawn by widget.js. Their text twins say nothing about the reader, so
a notebook's stored output is the same for everybody.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any
from weakref import WeakSet

import anywidget
import traitlets

from vmenter import LabError
from vmenter.course import progress
from vmenter.views.view import read


class Prediction(anywidget.AnyWidget):
    """Questions with room for a guess; with `truths`, the guesses beside what is so."""

    _esm = read("views/common.js", "course/prediction/widget.js")
    _css = read("views/common.css", "course/prediction/widget.css")

    name = traitlets.Unicode().tag(sync=True)
    questions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    truths = traitlets.List(traitlets.Unicode()).tag(sync=True)
    guesses = traitlets.List(traitlets.Unicode()).tag(sync=True)
    said = traitlets.Unicode().tag(sync=True)

    def __init__(self, name: str, questions: tuple[str, ...], truths: tuple[str, ...] = ()) -> None:
        super().__init__(
            name=name, questions=list(questions), truths=list(truths), guesses=list(_kept(name, len(questions)))
        )
        if truths:
            _TRUTHS.add(self)
        else:
            self.observe(self._keep, "guesses")

    def _keep(self, change: Mapping[str, Any]) -> None:
        """Write the guesses to the reader's file, and show them wherever the truth is already on the page.

        The page empties `said` with each guess, so that a word is told even if it is the same as before.
        """
        guesses = [str(guess) for guess in change["new"]]
        words = [progress.predict(f"{self.name}/{n}", guess) for n, guess in enumerate(guesses, 1)]
        kept = "Kept." if progress.path() else "Shown beside the truth; not kept, as progress is off."
        self.said = next((word for word in words if word), kept)
        for other in _TRUTHS:
            if other.name == self.name:
                other.guesses = guesses

    @property
    def text(self) -> str:
        """The text twin: the questions, and the truth where it is told; never the guess."""
        if not self.truths:
            lines = [f"Predict {self.name}: write a guess before you go on"]
            return "\n".join([*lines, *(f"  {question} …" for question in self.questions)])
        lines = [f"Prediction {self.name}: your guess is shown beside the truth"]
        pairs = zip(self.questions, self.truths, strict=True)
        return "\n".join([*lines, *(f"  {question} It is: {told}" for question, told in pairs)])

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add to the widget what viewers without widgets show."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, "text/html": f"<pre>{escape(self.text)}</pre>"}, metadata


_ASKED: dict[str, tuple[str, ...]] = {}
_TRUTHS: WeakSet[Prediction] = WeakSet()


def predict(name: str, *questions: str) -> Prediction:
    """Ask for guesses: ``predict("05-a", "How many of the six?", "Is the default mode among them?")``."""
    if not questions:
        raise LabError(f"prediction {name}: give at least one question")
    _ASKED[name] = questions
    return Prediction(name, questions)


def truth(name: str, *truths: Any) -> Prediction:
    """Show the guesses beside what is so, one truth a question. LabError if `predict` did not ask so many."""
    questions = _ASKED.get(name)
    if questions is None:
        raise LabError(f"prediction {name} was not asked yet: run the cell with predict({name!r}, …) first")
    if len(truths) != len(questions):
        raise LabError(f"prediction {name} asks {len(questions)} questions; {len(truths)} truths were given")
    return Prediction(name, questions, tuple(str(one) for one in truths))


def _kept(name: str, count: int) -> Iterator[str]:
    """Yield the guesses in the reader's file, one for each question."""
    kept = progress.load().predictions
    return (kept.get(f"{name}/{n}", "") for n in range(1, count + 1))
