"""VM-Enter Lab's library: patch kernel code, run it up to VM-Enter, and see what was cleared.

Importing the package imports nothing else: each module is loaded by whoever uses it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # type checkers take it for true; typing's own would be an import
if TYPE_CHECKING:
    from collections.abc import Iterable


class LabError(ValueError):
    """Bad input. The message says what is wrong, where, and what to do about it, in one line."""


def near(name: object, known: Iterable[str], *, most: int = 1, alike: float = 0.5) -> str:
    """Return ``, did you mean A or B`` for names that a mistaken one is like, nearest first; "" if there are none.

    `alike` is how much of a name must agree, from 0 to 1, as `difflib` counts it.
    """
    return meant(nearest(name, known, most=most, alike=alike))


def nearest(name: object, known: Iterable[str], *, most: int = 1, alike: float = 0.5) -> list[str]:
    """Return the names that a mistaken one is like, nearest first; see `near`."""
    from difflib import get_close_matches  # noqa: PLC0415  (importing the package imports nothing else)

    return get_close_matches(str(name), list(known), most, alike)


def meant(names: Iterable[str]) -> str:
    """Return ``, did you mean A or B`` for these names; "" for none."""
    told = " or ".join(names)
    return f", did you mean {told}" if told else ""


def in_browser() -> bool:
    """Whether this Python runs inside a browser tab (Pyodide)."""
    return sys.platform == "emscripten"
