"""A learner's function as text that can run alone: with the helpers that stand beside it, by their own texts."""

from __future__ import annotations

import ast
import inspect
import textwrap
from types import CodeType, FunctionType, ModuleType
from typing import Any

from vmenter import LabError
from vmenter.course.judging.plain import plain

CONSTANT = 2_000  # characters that a constant may take
PLAIN = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset, type(None))


def text_with_helpers(function: FunctionType) -> str:
    """Return a function's text, and behind it that of the functions, constants and imports it uses beside it.

    Raises OSError where Python does not know the text.
    """
    found: dict[str, str] = {function.__name__: textwrap.dedent(inspect.getsource(function))}
    todo = [function]
    while todo:
        one = todo.pop()
        for name in _names(one.__code__):
            if name in found or name not in one.__globals__:
                continue
            value = one.__globals__[name]
            if isinstance(value, FunctionType) and value.__globals__ is function.__globals__:
                found[name] = _named(name, textwrap.dedent(inspect.getsource(value)), value)
                todo.append(value)
            elif text := _constant(name, value):
                found[name] = text
    return "\n".join(found.values())


def entry(text: str, name: str) -> str | None:
    """Return the name of the function to call: `name`, else the last one that no other calls; None without any."""
    made = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    if not made or name in {node.name for node in made}:
        return name if made else None
    used = {
        inner.id
        for node in made
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and inner.id != node.name
    }
    return next((node.name for node in reversed(made) if node.name not in used), made[-1].name)


def _names(code: CodeType) -> set[str]:
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _named(name: str, text: str, value: FunctionType) -> str:
    return text if value.__name__ in (name, "<lambda>") else f"{text}\n{name} = {value.__name__}\n"


def _constant(name: str, value: Any) -> str | None:
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}\n"
    if type(value) not in PLAIN:
        return None
    try:
        known = plain(value)
        text = repr(known)
        same = len(text) <= CONSTANT and ast.literal_eval(text) == known
    except (LabError, ValueError, SyntaxError):
        return None
    return f"{name} = {text}\n" if same else None
