"""An answer as plain data: texts, numbers, lists and dicts of exactly these types, whatever it was built of.

A judge compares answers; a class that says it equals everything must not pass for one. And no method that a
learner wrote is called: it might not come back, or end the notebook's kernel.
"""

from __future__ import annotations

from collections import ChainMap, UserDict
from collections.abc import Mapping
from operator import index
from types import BuiltinFunctionType, FunctionType, MappingProxyType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any

from vmenter import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST, MOST = 8, 10_000
LONGEST = 1_000_000  # characters; the longest solution has 2,000
AS_THEY_ARE = (bool, float, bytes, type(None))
FUNCTIONS = (FunctionType, BuiltinFunctionType, type)
MAPPINGS = (MappingProxyType, ChainMap, UserDict)


def plain(answer: Any) -> Any:
    """Return an answer as plain data; a function comes back as it is, and so does a class.

    Raises `LabError` for what is too deep, too large, or holds something that is no data.
    """
    if type(answer) in FUNCTIONS:
        return answer
    if _kind(answer) is None:
        raise LabError(
            f"answer is a {type_name(answer)}; a text, a number, a list, a dict or a function is needed"
        )
    left = [MOST]
    return _plain(answer, DEEPEST, left)


def _kind(value: Any) -> Any:
    """Return which plain type a value is of, by its class and not by what it says; None for others."""
    for kind in (*AS_THEY_ARE, str, int, dict, list, tuple, set, frozenset):
        if type(value) is kind or (kind not in AS_THEY_ARE and issubclass(type(value), kind)):
            return kind
    if type(value) in MAPPINGS:
        return Mapping
    # a number of another library: its __index__ is no function of Python's
    return int if isinstance(_attribute(type(value), "__index__"), WrapperDescriptorType) else None


def _attribute(kind: type, name: str) -> Any:
    """Return what a class has by this name, without asking the class."""
    spaces: Iterator[Mapping[str, Any]] = map(type.__dict__["__dict__"].__get__, type.mro(kind))
    return next((space[name] for space in spaces if name in space), None)


def type_name(value: Any) -> str:
    """Return the name of a value's type, whatever its class may say."""
    return str(type.__dict__["__name__"].__get__(type(value)))


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if depth < 0 or left[0] < 0:
        raise LabError("the answer is a list or a dict far larger than any that is asked for here")
    kind = _kind(value)
    if kind is None:
        raise LabError(
            f"the answer holds a {type_name(value)}, where a text, a number, a list or a dict should be"
        )
    if kind in AS_THEY_ARE:
        return value
    if kind is str:
        if (length := str.__len__(value)) > LONGEST:
            raise LabError(f"the answer has {length:,} characters; {LONGEST:,} are enough for anyone here")
        return str.__str__(value)
    if kind is int:
        return int.__index__(value) if issubclass(type(value), int) else int(index(value))
    if kind in (dict, Mapping):
        pairs = dict.items(value) if kind is dict else value.items()
        return {_plain(key, depth - 1, left): _plain(one, depth - 1, left) for key, one in pairs}
    return kind([_plain(one, depth - 1, left) for one in kind.__iter__(value)])
