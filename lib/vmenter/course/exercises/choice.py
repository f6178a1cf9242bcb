"""Exercises that ask for a reason: some letters to choose from, and for each wrong one why it is wrong."""

from collections.abc import Callable, Mapping
from typing import Any

from vmenter import LabError


def choice(right: str, reasons: Mapping[str, str]) -> Callable[[Any], str | None]:
    """Return a judge for letters; `reasons` says of each wrong one why it is wrong."""
    letters = sorted({right, *reasons})

    def judge(answer: Any) -> str | None:
        letter = answer.strip(" \n\t.,;:()'\"`").lower() if isinstance(answer, str) else None
        if letter not in letters:
            named = ", ".join(f"'{letter}'" for letter in letters)
            raise LabError(f"answer should be one of the letters {named}")
        return None if letter == right else f"{letter}: " + " ".join(reasons[letter].split())

    return judge
