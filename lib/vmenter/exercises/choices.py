"""Exercises that ask for a reason: one of several letters, each wrong one with what speaks against it."""

from collections.abc import Callable, Mapping
from typing import Any

from vmenter.errors import LabError


def reason_judge(reasons: Mapping[str, str]) -> Callable[[Any], str | None]:
    """Return a judge for one letter; `reasons` says for each what is wrong with it, nothing for the right one."""
    letters = ", ".join(repr(letter) for letter in reasons)

    def judge(answer: Any) -> str | None:
        if not isinstance(answer, str) or answer not in reasons:
            raise LabError(f"answer should be one of the letters {letters}")
        return " ".join(reasons[answer].split()) or None

    return judge
