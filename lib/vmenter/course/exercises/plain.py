"""An answer as plain data: texts, numbers, lists and dicts of exactly these types, whatever it was built of.

A judge compares answers; a class that says it equals everything must not pass for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any

from vmenter import LabError

DEEPEST, MOST = 8, 10_000
LONGEST = 1_000_000  # characters; the longest solution has 2,000
AS_THEY_ARE = (bool, float, bytes, type(None))


def plain(answer: Any) -> Any:
    """Return an answer as plain data; what is none at all (a function, say) comes back as it is.

    Raises `LabError` for what is too deep, too large, or holds something that is no data.
    """
    if _kind(answer) is None:
        return answer
    left = [MOST]
    return _plain(answer, DEEPEST, left)


def _kind(value: Any) -> Any:
    """Return which plain type a value is of, by its class and not by what it says; None for others."""
    for kind in (*AS_THEY_ARE, str, int, dict, list, tuple, set, frozenset):
        if type(value) is kind or (kind not in AS_THEY_ARE and issubclass(type(value), kind)):
            return kind
    if issubclass(type(value), Mapping):
        return Mapping
    return int if hasattr(type(value), "__index__") else None


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if depth < 0 or left[0] < 0:
        raise LabError("the answer is a list or a dict far larger than any that is asked for here")
    kind = _kind(value)
    if kind is None:
        what = type(value).__name__
        raise LabError(f"the answer holds a {what}, where a text, a number, a list or a dict should be")
    if kind in AS_THEY_ARE:
        return value
    if kind is str:
        if len(value) > LONGEST:
            raise LabError(f"the answer has {len(value):,} characters; {LONGEST:,} are enough for anyone here")
        return str.__str__(value)
    if kind is int:
        return int(index(value))
    if kind in (dict, Mapping):
        pairs = dict.items(value) if kind is dict else value.items()
        return {_plain(key, depth - 1, left): _plain(one, depth - 1, left) for key, one in pairs}
    return kind([_plain(one, depth - 1, left) for one in kind.__iter__(value)])
