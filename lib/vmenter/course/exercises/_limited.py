"""The child process of `limited`: run a learner's function on many inputs, and note at every line where it is.

It imports the standard library alone. What it finds out goes into a file; the line it is at goes into a mapped
file, which outlives whatever may end this process.
"""

import json
import mmap
import struct
import sys
from pathlib import Path
from types import FrameType
from typing import Any

MEMORY = 512 << 20  # bytes of address space
FILE = 16 << 20  # bytes of a file it may write
SECONDS = 10  # of the CPU; the parent's clock is shorter, this is for a child that has lost its parent
PRINTED = 100_000  # characters
NAME = "<answer>"


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
    """Set what limits there are; where one cannot be set, the parent's clock remains."""
    try:
        import resource  # noqa: PLC0415  (not on Windows)
    except ImportError:
        return
    for what, value in (("AS", MEMORY), ("FSIZE", FILE), ("CPU", SECONDS), ("CORE", 0)):
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (value, value))
        except (AttributeError, ValueError, OSError):
            continue


def run(job: dict[str, Any], place: mmap.mmap) -> dict[str, Any]:
    """Run the function on each input; what it returned, or the first thing that went wrong."""
    found: list[bool] = []

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != NAME:
            return None
        struct.pack_into("<ii", place, 0, frame.f_lineno, len(found))
        return trace

    sys.settrace(trace)
    try:
        names: dict[str, Any] = {"__name__": "answer"}
        exec(compile(job["source"], NAME, "exec"), names)  # noqa: S102  (what this process is for)
        function = names[job["name"]]
        for values in job["inputs"]:
            result = function(*values)
            if type(result) is not bool:
                return {"returned": f"{repr(result)[:60]} ({type(result).__name__})", "input": len(found)}
            found.append(result)
    except BaseException as error:  # noqa: BLE001  (whatever it is: SystemExit, MemoryError, …)
        sys.settrace(None)
        line = error.lineno if isinstance(error, SyntaxError) else None
        step = error.__traceback__
        while step is not None:
            if step.tb_frame.f_code.co_filename == NAME:
                line = step.tb_lineno
            step = step.tb_next
        return {"error": type(error).__name__, "text": str(error)[:300], "line": line, "input": len(found)}
    finally:
        sys.settrace(None)
    return {"results": found}


def main(folder: Path) -> None:
    """Read the job, run it, write the result."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with (folder / "place").open("r+b") as file, mmap.mmap(file.fileno(), 8) as place:
        sys.stdout = sys.stderr = Printed()
        limit()
        found = run(job, place)
    (folder / "result.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
