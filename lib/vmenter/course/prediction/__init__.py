"""Predictions: the reader guesses before a reveal, and the truth comes only then, with an answer to the guess.

``predict("05-a")`` asks the questions that stand in 05.toml; ``truth("05-a", value, …)`` tells, one value a
question, each computed. Until there is a guess, or the reader asks to be shown, a truth stays folded. With
VMENTER_REVEAL=1 in the environment all is told at once: so the repository's notebooks are run and compared.
"""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

from vmenter import LabError
from vmenter.course.prediction.questions import BETWEEN, Question, every
from vmenter.course.prediction.widget import ASKED, TRUTHS, Prediction


def predict(name: str) -> Prediction:
    """Ask for guesses: ``predict("05-a")``. LabError if no file has such questions."""
    found = every().get(name)
    if found is None:
        raise LabError(f"there is no prediction {name!r}; there are {', '.join(every())}")
    return ask(name, *found)


def ask(name: str, *questions: Question) -> Prediction:
    """Ask questions of one's own, that no file has."""
    if not questions:
        raise LabError(f"prediction {name}: give at least one question")
    ASKED[name] = questions
    return Prediction(name, questions)


@contextmanager
def later(name: str) -> Iterator[None]:
    """Hold back what a block prints until the truth is told: a table, say."""
    text = StringIO()
    with redirect_stdout(text):
        yield
    HELD[name] = text.getvalue().rstrip("\n")
    print(f"(What this prints comes with the truth of {name}.)")


def truth(name: str, *facts: Any, show: Any = None) -> Prediction:
    """Tell what is so, one fact a question, once the reader has guessed or asks to be shown.

    A fact is a choice (True and False are "yes" and "no"), a number, some choices, or text. `show` comes with it:
    text, or anything a notebook draws as HTML; if it is not given, what `later` held back. LabError if it was not
    asked, or if a fact answers no question.
    """
    questions = ASKED.get(name)
    if questions is None:
        raise LabError(f"prediction {name} was not asked yet: run the cell with predict({name!r}) first")
    if len(facts) != len(questions):
        raise LabError(f"prediction {name} asks {len(questions)} questions; {len(facts)} truths were given")
    keys = [question.key(fact) for question, fact in zip(questions, facts, strict=True)]
    return Prediction(name, questions, keys, HELD.get(name) if show is None else show)


@dataclass(frozen=True)
class Waiting:
    """What stands in the place of a view that would tell a truth before the guess."""

    name: str

    def __repr__(self) -> str:
        return f"(This comes with the truth of {self.name}: keep a guess there, then run this cell again.)"


def once_told(name: str, view: Any) -> Any:
    """Show a view in which one sees what a truth tells: the view once that truth may be told, till then a line."""
    told = _told(name)
    return view if told is not None and all(told.rows) else Waiting(name)


def guess(name: str, *guesses: Any) -> Prediction:
    """Keep guesses, one a question, for a front end without widgets. Returns the truth if it is there.

    Where several choices may be taken, a guess is a list of them. LabError for a guess that cannot be one.
    """
    questions = ASKED.get(name) or every().get(name)
    if questions is None or len(guesses) != len(questions):
        raise LabError(f"prediction {name}: one guess a question is needed, after predict({name!r})")
    words = [BETWEEN.join(map(str, one)) if isinstance(one, list | tuple | set) else str(one) for one in guesses]
    for question, word in zip(questions, words, strict=True):
        if wrong := question.refuses(word):
            raise LabError(f"prediction {name}: {wrong}")
    asked = Prediction(name, questions)
    asked.guesses = words
    return _told(name) or asked


def show_me(name: str) -> Prediction:
    """Tell the truth without a guess, for a front end without widgets."""
    told = _told(name)
    if told is None:
        raise LabError(f"prediction {name}: run the cell with truth({name!r}, …) first")
    told.given_up = True
    return told


HELD: dict[str, str] = {}  # name of a prediction → what a cell printed, until its truth is told in a later cell


def _told(name: str) -> Prediction | None:
    return next((one for one in reversed(TRUTHS) if one.name == name), None)
