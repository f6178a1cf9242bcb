"""The questions of a prediction, and what is said to each guess: right, near, or which misconception it is.

The texts stand beside this file, in 05.toml and its like, one file a notebook: they are in no cell, so no page
shows them before the guess. What is so comes from the notebook, which computes it. `Question.key` joins the two to
plain data, by which this module and the pages without a kernel answer alike.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from vmenter import LabError
from vmenter.course import language

HERE = Path(__file__).parent
RIGHT, NEAR, WRONG, OPEN = "right", "near", "wrong", "open"
BETWEEN = "; "  # between the choices of one guess
PARTS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "question": (str, "text"),
    "choices": (dict, "a table of texts"),
    "several": (bool, "true or false"),
    "number": (str, "text, the unit"),
    "near": ((str, list, int, float), "a number, a choice, or some"),
    "misconceptions": (list, "a list"),
    **dict.fromkeys(("right", "wrong", "because"), (str, "text")),
}


class Answer(NamedTuple):
    """What is said to a guess: "right", "near", "wrong", or "open" where no machine can tell; and the words."""

    verdict: str
    text: str


class Misconception(NamedTuple):
    """Numbers from `low` to `high`, both included, that come from one mistake, and what is said to them."""

    low: float
    high: float
    answer: str


@dataclass(frozen=True)
class Question:
    """One question. It has choices, or asks for a number (`number` is its unit), or takes free text.

    `choices`: what may be chosen → what is said to it. `several`: any number of them may hold. `near`: a choice or
    choices that are nearly right; for a number, how far off is near. `right` and `wrong`: words where nothing more
    fitting is there. `because`: told with the truth, whatever was guessed.
    """

    text: str
    choices: Mapping[str, str] = field(default_factory=dict)
    several: bool = False
    number: str | None = None
    near: tuple[str, ...] | float = ()
    misconceptions: tuple[Misconception, ...] = ()
    right: str = ""
    wrong: str = ""
    because: str = ""

    @property
    def kind(self) -> str:
        """What the page asks with: "several", "choice", "number" or "text"."""
        if self.choices:
            return "several" if self.several else "choice"
        return "text" if self.number is None else "number"

    def asked(self) -> dict[str, Any]:
        """Return what the page needs to ask; nothing in it tells what is so."""
        return {"text": self.text, "kind": self.kind, "choices": list(self.choices), "unit": self.number or ""}

    def refuses(self, guess: str) -> str | None:
        """Return what is wrong with a guess that the page's own box would not take; None for one that counts."""
        if self.kind == "number" and number(guess) is None:
            return f"{guess!r} is no number"
        chosen = guess.split(BETWEEN) if self.kind == "several" else [guess]
        unknown = [one for one in chosen if self.choices and one not in self.choices]
        if unknown:
            how = "; for more than one give a list" if self.kind == "several" else ""
            return f"{unknown[0]!r} is none of the choices: {', '.join(self.choices)}{how}"
        return None if guess else "an empty guess is none"

    def key(self, fact: Any) -> dict[str, Any]:
        """Return all that is said once the truth may be told. LabError for a fact that answers no such question.

        "told": the truth in words; "because"; and by kind "said" (a choice → verdict and words), "parts" (a choice
        → whether it holds, and words), or "ranges" (from, to, verdict, words; None: no end; the first that fits).
        """
        common = {"kind": self.kind, "because": self.because, "right": self.right, "wrong": self.wrong}
        if self.kind == "text":
            return {**common, "told": _words(fact)}
        if self.kind == "number":
            return {
                **common,
                "told": f"{_number(fact):,} {self.number}".strip(),
                "ranges": self._ranges(_number(fact)),
            }
        if self.kind == "several":
            holds = self._all(fact)
            return {
                **common,
                "told": BETWEEN.join(one for one in self.choices if one in holds),
                "parts": {one: [one in holds, text] for one, text in self.choices.items()},
            }
        told = self._one(fact)
        nearly = self.near if isinstance(self.near, tuple) else ()
        verdicts = {one: RIGHT if one == told else NEAR if one in nearly else WRONG for one in self.choices}
        return {
            **common,
            "told": told,
            "said": {one: [verdicts[one], text] for one, text in self.choices.items()},
        }

    def _one(self, fact: Any) -> str:
        """Return the choice that a fact is; True and False are "yes" and "no"."""
        told = ("yes" if fact else "no") if isinstance(fact, bool) else str(fact)
        if told not in self.choices:
            raise LabError(
                f"{self.text!r} has the choices {', '.join(self.choices)}; the truth {told!r} is none of them"
            )
        return told

    def _all(self, fact: Any) -> set[str]:
        """Return the choices that hold. None of them: the choice "none", which such a question then must have."""
        facts = [fact] if isinstance(fact, str | bool) or not isinstance(fact, Iterable) else list(fact)
        return {self._one(one) for one in facts or ["none"]}

    def _ranges(self, fact: float) -> list[list[Any]]:
        near = float(self.near) if not isinstance(self.near, tuple) else 0.0
        ranges: list[list[Any]] = [[fact, fact, RIGHT, self.right]]
        ranges += [[one.low, one.high, WRONG, one.answer] for one in self.misconceptions]
        if near:
            ranges.append([fact - near, fact + near, NEAR, self.right])
        return [
            *ranges,
            [None, fact, WRONG, self.wrong or "It is more."],
            [fact, None, WRONG, self.wrong or "It is less."],
        ]


def answer(key: Mapping[str, Any], guess: str) -> Answer:
    """Answer a guess by a `Question.key`. The site's script does the same: site.js, `answered`."""
    kind = key["kind"]
    if kind == "text":
        return Answer(OPEN, key["wrong"])
    if kind == "number":
        value = number(guess)
        if value is None:
            return Answer(OPEN, "Your guess is no number.")
        found = next(one for one in key["ranges"] if _within(value, one[0], one[1]))
        return Answer(found[2], found[3])
    if kind == "choice":
        verdict, text = key["said"].get(guess, (OPEN, "That is none of the choices any more."))
        return Answer(verdict, text)
    chosen = set(guess.split(BETWEEN))
    differ = [text for one, (holds, text) in key["parts"].items() if (one in chosen) != holds]
    if not differ:
        return Answer(RIGHT, key["right"])
    some = any(holds and one in chosen for one, (holds, _) in key["parts"].items())
    return Answer(NEAR if len(differ) == 1 and some else WRONG, " ".join(filter(None, [*differ, key["wrong"]])))


def right(key: Mapping[str, Any]) -> str:
    """Return what a right guess would be told: where nobody guessed, the truth still has its reason."""
    if key["kind"] == "choice":
        return str(key["said"][key["told"]][1])
    return "" if key["kind"] == "text" else str(key["right"])


def number(text: str) -> float | None:
    """Return what a guess says as a number; None if it is none, or none that could be meant."""
    try:
        value = float(text.replace(",", "").replace("%", "").strip())
    except ValueError:
        return None
    return value if abs(value) < 1e15 else None  # and neither infinity nor "nan"


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)


def _words(fact: Any) -> str:
    return str(fact) if isinstance(fact, str) or not isinstance(fact, Iterable) else BETWEEN.join(map(str, fact))


def _number(fact: Any) -> float:
    if isinstance(fact, bool) or not isinstance(fact, int | float):
        raise LabError(f"a question for a number needs a number as its truth; {fact!r} is none")
    return fact


# --- the files ---------------------------------------------------------------------------------------------------


@cache
def every() -> dict[str, tuple[Question, ...]]:
    """Return the questions of all predictions, by the prediction's id. `LabError` for a file that is not right."""
    return {
        id_: tuple(
            question(f"{file.name}, {id_}", language.question(file.stem, id_, place, one))
            for place, one in enumerate(asked)
        )
        for file in sorted(HERE.glob("[0-9][0-9].toml"))
        for id_, asked in tomllib.loads(file.read_text(encoding="utf-8")).items()
    }


def question(place: str, texts: Mapping[str, Any]) -> Question:
    """Make a question of what its file says. `place` is named in a `LabError`."""
    if unknown := set(texts) - set(PARTS):
        raise LabError(
            f"{place}: {', '.join(sorted(unknown))} is nothing a question has; it has {', '.join(PARTS)}"
        )
    for part, value in texts.items():
        kind, what = PARTS[part]
        if not isinstance(value, kind):
            raise LabError(f"{place}: {part} is {what}, not {value!r}")
    if not texts.get("question"):
        raise LabError(f"{place}: a question is needed")
    choices, near = texts.get("choices", {}), texts.get("near", ())
    if choices and (len(choices) < 2 or "number" in texts or any(BETWEEN in one for one in choices)):
        raise LabError(f"{place}: two choices at least, no number beside them, and no {BETWEEN!r} in a choice")
    if texts.get("misconceptions") and "number" not in texts:
        raise LabError(f"{place}: misconceptions are of numbers; a choice has its own answer")
    if "number" in texts and isinstance(near, str | list):
        raise LabError(f"{place}: near is a number, where a number is asked for")
    if choices:
        near = (near,) if isinstance(near, str) else tuple(near) if isinstance(near, list | tuple) else ()
        if stray := set(near) - set(choices):
            raise LabError(f"{place}: near names {', '.join(sorted(stray))}, which is no choice")
    return Question(
        text=_line(texts["question"]),
        choices={one: _line(said) for one, said in choices.items()},
        several=bool(texts.get("several")),
        number=texts.get("number"),
        near=near,
        misconceptions=tuple(_misconception(place, one) for one in texts.get("misconceptions", ())),
        **{part: _line(texts.get(part, "")) for part in ("right", "wrong", "because")},
    )


def _misconception(place: str, texts: Mapping[str, Any]) -> Misconception:
    ends = texts.get("at", [texts.get("from"), texts.get("to")])
    low, high = ends if isinstance(ends, list) else (ends, ends)
    if low is None or high is None or "answer" not in texts:
        raise LabError(f"{place}: a misconception has `at`, or `from` and `to`, and an `answer`")
    return Misconception(low, high, _line(texts["answer"]))


def _line(text: str) -> str:
    return " ".join(text.split())
