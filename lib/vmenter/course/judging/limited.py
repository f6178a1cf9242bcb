"""Run a learner's Python function where it can hurt nobody: in a child process, by its text, with limits.

A loop, a crash, an allocation without end, an exception, a wrong type: each becomes one `LabError` that names the
line in the learner's text. The text travels, not the function: so it is the same on every system, and a function
cannot lean on what happens to stand in somebody's notebook. What holds:

- Everywhere: it is stopped after `SECONDS`, and Python refuses to start or end processes for it.
- On Linux, for an ordinary account, the kernel sees to it as well, whatever way is tried: no process or thread is
  started, no byte is written to a file, memory ends at 512 MiB. For root the same but for processes, which the
  kernel does not count for root. A watching process ends all that was started nevertheless, in whatever session.
- On macOS: the same as for an ordinary account, but memory has no bound there, and nobody watches.
- On Windows: nothing more.
- In a browser's tab there are no processes: `limited_in_tab` says what holds.

It is a guard against accidents, not against malice: the function runs under the learner's own account.
"""

from __future__ import annotations

import errno
import inspect
import json
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import TYPE_CHECKING, Any

from vmenter import LabError, in_browser
from vmenter.course.judging import told
from vmenter.course.judging.gathered import entry, text_with_helpers
from vmenter.course.judging.limited_child import BYTES, ENDED, HEAD, LATE, PAIR, TRUTH, words
from vmenter.course.judging.limited_in_tab import run_in_tab
from vmenter.course.judging.plain import plain, type_name

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 5.0  # for all inputs together
WATCHED = 5.0  # seconds more in which a watching process ends what is left
TEXT = 20_000  # characters of a function
RESULT = 8 << 10  # bytes of a result, apart from a few for each input
CLOSED = str(Path(__file__).parents[2])  # the library: neither judge nor solution is part of an answer
_CHILD = Path(__file__).with_name("limited_child.py")

Input = tuple[Any, ...]  # of what JSON has


def source_of(function: Any, name: str) -> tuple[str, str]:
    """Return (text, name) of a learner's function, which may also be given as its text. `LabError` otherwise.

    `name` is what the exercise calls it; the learner may call it something else.
    """
    if isinstance(function, str):
        text = textwrap.dedent(function)
    elif inspect.isfunction(function) and function.__name__ != "<lambda>":
        try:
            text = text_with_helpers(function)
        except (OSError, TypeError):
            raise LabError(
                f"the text of {function.__name__} cannot be found: define it with def in a cell, or give its text"
            ) from None
    else:
        kind = "a lambda" if inspect.isfunction(function) else f"a {type(function).__name__}"
        raise LabError(f"{told.should_be(f'the function {name}, made with def')}; it is {kind}")
    if len(text) > TEXT:
        raise LabError(f"the function's text has {len(text):,} characters; {TEXT:,} are enough for anyone here")
    try:
        made = entry(text, name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        reason = error.msg if isinstance(error, SyntaxError) else "Python cannot read this text"
        raise LabError(f"{_quoted(text, line)}: {reason}") from None
    if not made:
        raise LabError(f"there is no def {name}(…) in the text")
    return text, function.__name__ if inspect.isfunction(function) else made


def text_of(answer: Any) -> str:
    """Return an answer as text that a reader knows again: itself, a function's own, else as Python writes it."""
    try:
        known = plain(answer)
        if isinstance(known, str):
            return known
        return source_of(known, "answer")[0] if isinstance(known, FunctionType) else words(repr, known)
    except Exception:  # noqa: BLE001  (an answer may be anything)
        return f"a {type_name(answer)}"


def results(function: Any, name: str, inputs: Sequence[Input]) -> list[bool]:
    """Return what a learner's function answers to each input, True or False. `LabError` in all other cases."""
    found: list[bool] = given(function, name, inputs, TRUTH, None)
    return found


def given(function: Any, name: str, inputs: Sequence[Input], wish: str, called: Sequence[str] | None) -> list[Any]:
    """Return what a learner's function answers to each input, each of the kind that is wished for.

    `wish` is `TRUTH`, `PAIR` or `BYTES`, or a `LabError` says what came instead; `called` says each input in
    words. An input goes to the function as JSON has it, but for lists, which arrive as tuples, and mappings: their
    keys are the attributes of a record.
    """
    text, name = source_of(function, name)
    limits = {"seconds": SECONDS, "closed": CLOSED}
    job = json.dumps({"source": text, "name": name, "inputs": inputs, "wish": wish, **limits})
    size = HEAD.size + RESULT + 24 * len(inputs)
    how, status, place = run_in_tab(job, size) if in_browser() else _run_child(job, size)
    line, done, told, worked, length = HEAD.unpack_from(place)
    how, status = (told or how, worked or status) if sys.platform == "linux" else (how, status)
    found = json.loads(place[HEAD.size :][:length]) if length > 0 and how == ENDED and status == 0 else None
    at = max(0, min(found["input"] if found and "input" in found else done, len(inputs) - 1))
    call = called[at] if called else f"{name}{inputs[at]!r}"
    if found is None:
        late = f"still running after {SECONDS:.0f} s: a loop without an end?"
        reason = late if how == LATE else _died(status)
        raise LabError(f"{_quoted(text, line)}: {reason} It was at {call}")
    if "returned" in found:
        missing = " Is a return missing on some way through it?" if found["returned"].startswith("None") else ""
        raise LabError(f"{call} returns {found['returned']}; it should return {_WISHES[wish]}.{missing}")
    if "error" in found:
        raise LabError(f"{_quoted(text, found['line'])}: {_exception(found)} It was at {call}")
    answers: list[Any] = found["results"]
    return answers


_WISHES = {TRUTH: "True or False", PAIR: "a pair of numbers, or None", BYTES: "a text of bytes"}


def _run_child(job: str, size: int) -> tuple[int, int, bytes]:
    """Run a job in a child: how it ended, its exit status, and what it left in its file of this size."""
    with TemporaryDirectory(prefix="vmenter-", ignore_cleanup_errors=True) as folder_name:
        folder = Path(folder_name)
        (folder / "job.json").write_text(job, encoding="utf-8")
        (folder / "place").write_bytes(bytes(size))
        with (folder / "place").open("rb") as file:  # open before the function runs, which may remove its folder
            how, status = _run(folder)
            return how, status, file.read(size)


def _run(folder: Path) -> tuple[int, int]:
    """Run the child: how it ended, and its exit status. What it started is stopped with it."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-B", str(_CHILD), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        start_new_session=True,
    )
    try:
        return ENDED, child.wait(SECONDS + (WATCHED if sys.platform == "linux" else 0))
    except subprocess.TimeoutExpired:
        return LATE, 0
    finally:
        if os.name == "posix":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()


def _quoted(text: str, line: int | None) -> str:
    """Name a line of the learner's text, and say it."""
    lines = text.splitlines()
    if not line or line > len(lines):
        return "somewhere in the function"
    return f"line {line}, {lines[line - 1].strip()[:60]!r}"


def _died(status: int) -> str:
    """Say how a process ended that left no result."""
    if status >= 0:
        return f"the process ends here, with exit status {status}; a function should return."
    try:
        return f"the process crashes here ({signal.Signals(-status).name})."
    except ValueError:
        return f"the process crashes here (signal {-status})."


def _exception(found: dict[str, Any]) -> str:
    """Say what was raised, and what to do about the kinds that need it."""
    kind, text = found["error"], found["text"]
    if kind == "MemoryError":
        return "more memory than an answer may use (512 MiB)."
    if kind == "OSError" and text.startswith(f"[Errno {errno.EFBIG}]"):
        return "nothing may be written to a file here."
    if kind == "NameError":
        return f"{text}. The function is run alone, so all that it needs must stand in it."
    return f"{kind}{f': {text}' if text else ''}."
