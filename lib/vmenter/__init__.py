"""VM-Enter Lab's library: patch kernel code, run it up to VM-Enter, and see what was cleared.

Importing the package imports nothing else: each module is loaded by whoever uses it.
"""

import sys

__version__ = "0.1.0"


class LabError(ValueError):
    """Bad input. The message says what is wrong, where, and what to do about it, in one line."""


def in_browser() -> bool:
    """Whether this Python runs inside a browser tab (Pyodide)."""
    return sys.platform == "emscripten"
