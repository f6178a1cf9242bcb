"""What a browser's tab has in place of native libraries: programs in WebAssembly, compiled and started at once.

They lie in a package of their own, vmenter_parts, which only a tab has; `tests/tools/parts.py` makes it. Nothing
is fetched and nothing is waited for: a worker may compile WebAssembly while it stands still, in any browser.
"""

from functools import cache
from importlib import resources
from typing import Any

from vmenter import LabError

PACKAGE = "vmenter_parts"


@cache
def part(name: str) -> bytes:
    """Return a file of the parts. Raises `LabError` if the tab was built without it."""
    try:
        return resources.files(PACKAGE).joinpath(name).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise LabError(f"{name} is not in this page: it was not built whole; `make tab` builds it anew") from None


@cache
def module(name: str) -> Any:
    """Return a part as a compiled WebAssembly module."""
    return function("(bytes) => new WebAssembly.Module(bytes)")(javascript(part(name)))


@cache
def function(text: str) -> Any:
    """Return the JavaScript function that `text` is an expression for."""
    from pyodide.code import run_js  # noqa: PLC0415  (only a tab has it)

    return run_js(f"({text.strip().removesuffix(';')})")


def javascript(value: Any) -> Any:
    """Return bytes as a Uint8Array, and a mapping as an object."""
    from js import Object  # noqa: PLC0415  (only a tab has it)
    from pyodide.ffi import to_js  # noqa: PLC0415

    return to_js(value, dict_converter=Object.fromEntries)
