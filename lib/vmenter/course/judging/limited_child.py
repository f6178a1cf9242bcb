"""The child process of `limited`: run a learner's function on many inputs, and note at every line where it is.

It imports the standard library alone. The line it is at and what it finds out go into a mapped file: that outlives
whatever may end this process, and whatever the function does to files.
"""

import json
import mmap
import os
import signal
import struct
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import Any

MEMORY = 512 << 20  # bytes of address space
SECONDS = 10  # of the CPU; the clock is shorter, this is for a child that has lost all who watch it
# Python's audit events (sys.addaudithook) of what starts a process or ends one, by the beginning of their names.
PROCESSES = (
    *("os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.", "subprocess."),
    "os.kill",
)
# The mapped file: line and input; how it ended, the child's status; the length of the result, and the result.
HEAD = struct.Struct("<iiiii")
AT = struct.Struct("<ii")
HOW, LENGTH = 8, 16
ENDED, LATE = range(2)
PRINTED = 100_000  # characters
LONGEST = 100  # characters of a text that a function returns
NAME = "<answer>"
TRUTH, PAIR, BYTES = "truth", "pair", "bytes"  # what may be wished for: True or False; two numbers, or None; text


class Printed:
    """What `print` writes to: counts, keeps nothing, and ends what does not end."""

    def __init__(self) -> None:
        self.left = PRINTED

    def write(self, text: str) -> int:
        """Count."""
        self.left -= len(text)
        if self.left < 0:
            raise OverflowError(f"more than {PRINTED:,} characters were printed")
        return len(text)

    def flush(self) -> None:
        """Do nothing."""


def limit() -> None:
    """Set what limits there are; where one cannot be set, the clock remains."""
    try:
        import resource  # noqa: PLC0415  (not on Windows)
    except ImportError:
        return
    limits = {"AS": MEMORY, "FSIZE": 0, "NPROC": 0, "CPU": SECONDS, "CORE": 0}
    for what, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (value, value))
        except (AttributeError, ValueError, OSError):
            continue


def frozen(value: Any) -> Any:
    """Return what came as JSON as a function gets it: nothing in it can be changed."""
    if isinstance(value, dict):
        return record(tuple(value))(*map(frozen, value.values()))
    return tuple(map(frozen, value)) if isinstance(value, list) else value


@cache
def record(names: tuple[str, ...]) -> Any:
    """Return the class of a record with these attributes."""
    return namedtuple("Record", names)  # noqa: PYI024  (made from names that are not known here)


def fits(result: Any, wish: str) -> bool:
    """Tell whether a function returned what is wished for."""
    if wish == TRUTH:
        return type(result) is bool
    if wish == BYTES:
        return type(result) is str and len(result) <= LONGEST
    pair = type(result) in (tuple, list) and len(result) == 2 and all(type(one) is int for one in result)
    return result is None or pair


def refuse(closed: str) -> Callable[[str, tuple[Any, ...]], None]:
    """Return a hook that lets no process be started or ended, whoever's account this is, nor `closed` be read.

    `closed` is the course's own folder: an answer that asks the judge is none.
    """

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(PROCESSES):
            raise PermissionError("no process may be started or ended here")
        if event == "open" and isinstance(arguments[0], str | bytes) and closed in os.fsdecode(arguments[0]):
            raise PermissionError("the course's own files are closed to an answer: it stands on its own")

    return hook


def words(write: Callable[[object], str], value: object) -> str:
    """Return what `str` or `repr` makes of a value, whose own method may do anything."""
    try:
        return write(value)
    except BaseException as error:  # noqa: BLE001
        return f"what cannot be written out: {type(error).__name__}"


def traced(note: Callable[[int], None]) -> Callable[[], None]:
    """Have `note` told every line of the function, before it runs; return what ends that."""

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != NAME:
            return None
        note(frame.f_lineno)
        return trace

    sys.settrace(trace)
    return partial(sys.settrace, None)


def run(
    job: dict[str, Any],
    place: mmap.mmap | bytearray,
    follow: Callable[[Callable[[int], None]], Callable[[], None]] = traced,
) -> dict[str, Any]:
    """Run the function on each input; what it returned, or the first thing that went wrong."""
    found: list[Any] = []

    def note(line: int) -> None:
        # Copied whole: `pack_into` clears the place first, and the process may be ended there.
        place[: AT.size] = AT.pack(line, len(found))

    stop = follow(note)
    try:
        names: dict[str, Any] = {"__name__": "answer"}
        exec(compile(job["source"], NAME, "exec"), names)  # noqa: S102  (what this process is for)
        function = names[job["name"]]
        for values in job["inputs"]:
            result = function(*map(frozen, values))
            if not fits(result, job.get("wish", TRUTH)):
                stop()
                return {"returned": f"{words(repr, result)[:60]} ({type(result).__name__})", "input": len(found)}
            found.append(result)
    except BaseException as error:  # noqa: BLE001  (whatever it is: SystemExit, MemoryError, …)
        stop()
        line = error.lineno if isinstance(error, SyntaxError) else None
        step = error.__traceback__
        while step is not None:
            if step.tb_frame.f_code.co_filename == NAME:
                line = step.tb_lineno
            step = step.tb_next
        return {"error": type(error).__name__, "text": words(str, error)[:300], "line": line, "input": len(found)}
    finally:
        stop()
    return {"results": found}


def work(job: dict[str, Any], place: mmap.mmap) -> None:
    """Run the job within the limits, and leave what was found behind the head."""
    sys.stdout = sys.stderr = Printed()
    limit()
    sys.addaudithook(refuse(job["closed"]))
    found = json.dumps(run(job, place)).encode()
    found = found if len(found) <= len(place) - HEAD.size else b""
    place[HEAD.size : HEAD.size + len(found)] = found
    struct.pack_into("<i", place, LENGTH, len(found))


# --- on Linux, a process that watches --------------------------------------------------------------------------


def watch(job: dict[str, Any], place: mmap.mmap) -> None:
    """Do the work in a child; end it, and all that it may have started, when it ends or is late.

    What a process leaves behind comes to this one (PR_SET_CHILD_SUBREAPER, prctl(2)), in whatever session it is:
    when this process has no child any more, nothing of the learner's is left.
    """
    import ctypes  # noqa: PLC0415  (only here)

    prctl = ctypes.CDLL(None).prctl
    prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    reader = os.getppid()
    child = os.fork()
    if child == 0:
        prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: no watcher, no work
        work(job, place)
        os._exit(0)
    how, status, end = ENDED, 0, time.monotonic() + job["seconds"]
    while True:
        pid, waited = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            status = os.waitstatus_to_exitcode(waited)
            break
        if time.monotonic() > end:
            how = LATE
            break
        if os.getppid() != reader:
            break
        time.sleep(0.005)
    struct.pack_into("<ii", place, HOW, how, status)
    end_all()


def descendants() -> list[int]:
    """Return the processes that come from this one; proc(5), the fourth field of stat."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[1-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
    found, new = [], [os.getpid()]
    while new:
        new = [pid for pid, parent in parents.items() if parent in new]
        found += new
    return found


def end_all() -> None:
    """Stop and end all that is left, and wait until it is gone."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            for how in (signal.SIGSTOP, signal.SIGKILL):  # one that is stopped starts no other
                for pid in descendants():
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, how)
            time.sleep(0.002)
            continue
        return


def main(folder: Path) -> None:
    """Read the job, and have it done."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with (folder / "place").open("r+b") as file, mmap.mmap(file.fileno(), 0) as place:
        (watch if sys.platform == "linux" else work)(job, place)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
