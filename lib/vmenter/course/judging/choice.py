"""Exercises that ask for a reason: one letter to choose, or all that hold; for each wrong one why it is wrong."""

from collections.abc import Callable, Mapping
from typing import Any

from vmenter import LabError
from vmenter.course.judging import told


def choice(right: str, reasons: Mapping[str, str]) -> Callable[[Any], str | None]:
    """Return a judge for letters; `reasons` says of each wrong one why it is wrong."""
    letters = sorted({right, *reasons})

    def judge(answer: Any) -> str | None:
        letter = told.word(answer, letters)
        if letter is None:
            named = ", ".join(f"'{one}'" for one in letters)
            raise LabError(told.should_be(f"one of the letters {named}"))
        return None if letter == right else f"{letter}: " + " ".join(reasons[letter].split())

    return judge


def holding(reasons: Mapping[str, tuple[bool, str]], near: Mapping[str, str]) -> Callable[[Any], str | None]:
    """Return a judge for all letters that hold. `reasons`: letter → whether it holds, and why or why not.

    `near` says of each that holds what to look at again where it is missing.
    """
    last = max(reasons)

    def judge(answer: Any) -> str | None:
        should = told.should_be(f"letters from 'a' to '{last}' in one text, such as 'ac'")
        try:
            letters = told.letters(answer, "".join(reasons), should)
        except LabError:
            letters = set()
        if not letters:
            raise LabError(should)
        wrong = next((letter for letter in sorted(letters) if not reasons[letter][0]), None)
        if wrong:
            return f"{wrong} does not hold: {' '.join(reasons[wrong][1].split())}"
        missing = next((letter for letter, (holds, _) in reasons.items() if holds and letter not in letters), None)
        return f"one more holds. Look again at {near[missing]}." if missing else None

    return judge
