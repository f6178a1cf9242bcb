"""Run a learner's function where there are no processes: in a browser's tab, in the kernel itself, with limits.

The same code runs it as in a child (`limited_child`). What ends it there is looked at here, at every line and jump
of the function: the clock, and how far the tab's memory has grown. What it prints is counted; what it opens to
write is refused. What holds is less than in a child: one call inside Python itself (``10 ** 10 ** 9``) cannot be
stopped, and the page's *Restart Kernel* must end it. Nothing is lost by that: the answer stands in its cell, and
what was passed before is in the file of progress.
"""

import errno
import json
import os
import struct
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from types import CodeType
from typing import Any

from vmenter.course.judging.limited_child import ENDED, HEAD, LATE, LENGTH, MEMORY, NAME, Printed, refuse, run

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_guards: list[Callable[[str, tuple[Any, ...]], None]] = []  # while a function runs; Python takes back no hook


class Late(BaseException):
    """The time is up. No `except Exception` catches it; what does, meets it again at the next line."""


def run_in_tab(text: str, size: int) -> tuple[int, int, bytes]:
    """Do the job that `text` says: how it ended, 0, and what a child would leave in its file of this size."""
    _hooked()
    job: dict[str, Any] = json.loads(text)
    place = bytearray(size)
    printed: Any = Printed()
    with redirect_stdout(printed), redirect_stderr(printed):
        _guards.append(refuse(job["closed"]))
        try:
            found = run(job, place, lambda note: _followed(note, job["seconds"]))
        finally:
            _guards.clear()
    if found.get("error") == Late.__name__:
        return LATE, 0, bytes(place)
    data = json.dumps(found).encode()
    data = data if len(data) <= size - HEAD.size else b""
    place[HEAD.size : HEAD.size + len(data)] = data
    struct.pack_into("<i", place, LENGTH, len(data))
    return ENDED, 0, bytes(place)


def _followed(note: Callable[[int], None], seconds: float) -> Callable[[], None]:
    """Have `note` told every line, and raise `Late` or `MemoryError` at one; return what ends that.

    What is raised from a trace function ends tracing; what is raised from sys.monitoring (Python 3.12) does not.
    """
    monitoring: Any = vars(sys)["monitoring"]  # from Python 3.12 on, which a tab has
    tool, events = monitoring.DEBUGGER_ID, monitoring.events
    end, most = time.monotonic() + seconds, _memory() + MEMORY

    def look(code: CodeType, *_: object) -> Any:
        if code.co_filename != NAME:
            return monitoring.DISABLE
        if time.monotonic() > end:
            raise Late
        if _memory() > most:
            raise MemoryError
        return None

    def line(code: CodeType, number: int) -> Any:
        if code.co_filename == NAME:
            note(number)
        return look(code)

    monitoring.use_tool_id(tool, "vmenter")
    monitoring.register_callback(tool, events.LINE, line)
    for event in (events.JUMP, events.PY_START, events.PY_RESUME):
        monitoring.register_callback(tool, event, look)
    monitoring.set_events(tool, events.LINE | events.JUMP | events.PY_START | events.PY_RESUME)
    monitoring.restart_events()

    def stop() -> None:
        if monitoring.get_tool(tool):
            monitoring.free_tool_id(tool)

    return stop


def _memory() -> int:
    """Return the size of the tab's memory in bytes: it grows and never shrinks."""
    import pyodide_js  # noqa: PLC0415  (only a tab has it)

    return int(pyodide_js._module.HEAPU8.length)  # noqa: SLF001


@cache
def _hooked() -> None:
    """Set the hook that keeps a learner's function from files and processes, once."""

    def ask(event: str, arguments: tuple[Any, ...]) -> None:
        for guard in _guards:
            guard(event, arguments)
            if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    sys.addaudithook(ask)
