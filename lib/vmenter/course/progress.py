"""What a reader has done, in one JSON file that is theirs: exercises passed, last answers, predictions.

The file stands where the system keeps a user's data, or where $VMENTER_PROGRESS says; ``off`` there keeps nothing.
It may be read, edited, copied and deleted by hand. Two notebooks may write at once: a write reads what stands
there by then, changes its own entry, and replaces the file whole. What cannot be read is put aside, never
overwritten. Nothing here ever stops an exercise: where the file cannot be written, a line on stderr says so.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from html import escape
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

VARIABLE = "VMENTER_PROGRESS"
OFF = "off"
LONGEST = 20_000  # characters of an answer that are kept
LARGEST = 16 << 20  # bytes of a file that is ours
PATIENCE = 2.0  # seconds to wait for another notebook that writes

_ABOUT = "Your progress in VM-Enter Lab. It is yours: read it, edit it, copy it, delete it."
_said: set[str] = set()


class Attempt(NamedTuple):
    """What became of an exercise. Once passed, it stays passed; `answer` is the last one, right or wrong."""

    passed: bool
    tries: int
    answer: str


@dataclass(frozen=True)
class Progress:
    """What was kept. `file` is None where nothing is; `trouble` says in a line what is wrong, if anything is."""

    file: Path | None
    exercises: Mapping[str, Attempt] = field(default_factory=dict)
    predictions: Mapping[str, str] = field(default_factory=dict)
    trouble: str | None = None


# --- the file ----------------------------------------------------------------------------------------------------


def path() -> Path | None:
    """Return where the file stands or will stand; None where nothing is kept."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen == OFF:
        return None
    try:
        return Path(chosen).expanduser().absolute() if chosen else _data_folder() / "vmenter" / "progress.json"
    except RuntimeError:  # there is no home
        return None


def _data_folder() -> Path:
    """Return where programs keep a user's data on this system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    folder = Path(os.environ.get("XDG_DATA_HOME", ""))
    return folder if folder.is_absolute() else Path.home() / ".local" / "share"


def load() -> Progress:
    """Return what was kept. A damaged file is put aside first; whatever happens, this returns."""
    file = path()
    if file is None:
        return Progress(None)
    try:
        content, trouble = _read(file)
    except OSError as error:
        return Progress(file, trouble=f"{file} cannot be read ({error.strerror or error})")
    exercises = {
        id_: Attempt(entry.get("passed") is True, _count(entry.get("tries")), str(entry.get("answer", "")))
        for id_, entry in content["exercises"].items()
        if isinstance(entry, dict)
    }
    return Progress(file, exercises, {id_: str(text) for id_, text in content["predictions"].items()}, trouble)


def record(exercise: str, *, passed: bool, answer: str) -> str | None:
    """Keep an answer to an exercise and whether it passed. Returns a word if that was not possible."""

    def change(content: dict[str, Any]) -> None:
        before = content["exercises"].get(exercise)
        before = before if isinstance(before, dict) else {}
        content["exercises"][exercise] = {
            **before,
            "passed": passed or before.get("passed") is True,
            "tries": _count(before.get("tries")) + 1,
            "answer": answer[:LONGEST],
        }

    return _update(change)


def predict(question: str, text: str) -> str | None:
    """Keep what a reader expects, by the question's id. Returns a word if that was not possible."""
    return _update(lambda content: content["predictions"].update({question: text[:LONGEST]}))


def reset(*ids: str) -> str | None:
    """Forget everything, or what these exercises and questions kept: "05-1", or "05" for a whole notebook."""

    def change(content: dict[str, Any]) -> None:
        for part in ("exercises", "predictions"):
            kept = content[part].items()
            content[part] = {id_: entry for id_, entry in kept if ids and not id_.startswith(ids)}

    return _update(change)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _read(file: Path) -> tuple[dict[str, Any], str | None]:
    """Return the file's content, and a word if it was damaged and had to be put aside."""
    empty: dict[str, Any] = {"about": _ABOUT, "exercises": {}, "predictions": {}}
    if not file.exists():
        return empty, None
    _demand_a_file(file)
    content = _content(file)
    if content is None:
        names = (f"{file.stem}.damaged-{number}.json" for number in count(1))
        aside = next(place for name in names if not (place := file.with_name(name)).exists())
        file.replace(aside)
        return empty, f"{file.name} was damaged; it is kept as {aside}, and a new one begins"
    return {**empty, **content}, None


def _content(file: Path) -> dict[str, Any] | None:
    """Return what stands in the file, None if it is not what the lab writes."""
    if file.stat().st_size > LARGEST:
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    known = ("exercises", "predictions")
    sound = isinstance(content, dict) and all(isinstance(content.get(part, {}), dict) for part in known)
    return content if sound else None


def _demand_a_file(file: Path) -> None:
    """Raise `OSError` for a folder or a device: nothing must ever be put in its place."""
    if file.exists() and not file.is_file():
        raise OSError(0, "it is no file")


def _update(change: Callable[[dict[str, Any]], object]) -> str | None:
    """Read, change, and replace the file whole. Says a word, once, where that cannot be."""
    file = path()
    if file is None:
        return None
    try:
        _demand_a_file(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file):
            content, trouble = _read(file)
            change(content)
            _write(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        trouble = f"progress is not kept: {file} cannot be written ({error.strerror or error})"
    if trouble and trouble not in _said:
        _said.add(trouble)
        print(trouble, file=sys.stderr)
    return trouble


def _write(file: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        fresh.write_text(text, encoding="utf-8", errors="replace")
        fresh.replace(file)
    finally:
        with suppress(OSError):
            fresh.unlink()


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Keep other notebooks from writing meanwhile. A lock that cannot be had is done without, after a while."""
    with file.with_name(f"{file.name}.lock").open("a+b") as lock:
        end = time.monotonic() + PATIENCE
        while not _locked(lock.fileno()) and time.monotonic() < end:
            time.sleep(0.01)
        yield  # closing the file gives the lock back


def _locked(descriptor: int) -> bool:
    """Try to lock a file that is open; it is given back when the file is closed or the process ends."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# --- what notebook 00 shows --------------------------------------------------------------------------------------

PASSED, TRIED, OPEN = ("passed", "✔"), ("tried", "…"), ("open", "○")


@dataclass(frozen=True)
class Summary:
    """What of the course's exercises is done, as text and as a table."""

    progress: Progress
    rows: tuple[tuple[str, str, tuple[str, str]], ...]  # (id, title, state) of every exercise

    @property
    def place(self) -> str:
        """Say where it is kept and how it is reset."""
        if self.progress.trouble:
            return self.progress.trouble
        if self.progress.file is None:
            return "Progress is not kept here: there is no place for it, or VMENTER_PROGRESS=off says so."
        forget = 'progress.reset() forgets everything, progress.reset("05") one notebook'
        return f"Kept in {self.progress.file}, a text file of yours. {forget}."

    @property
    def _lines(self) -> Iterator[tuple[str, str]]:
        """Yield each notebook and its exercises."""
        for notebook in dict.fromkeys(id_[:2] for id_, _, _ in self.rows):
            mine = [(id_, state) for id_, _, state in self.rows if id_.startswith(notebook)]
            yield notebook, "   ".join(f"{id_} {sign} {word}" for id_, (word, sign) in mine)

    def __repr__(self) -> str:
        """Return it as text."""
        done = sum(state == PASSED for _, _, state in self.rows)
        table = [f"{notebook}   {line}" for notebook, line in self._lines]
        return "\n".join([f"{done} of {len(self.rows)} exercises passed", *table, self.place])

    def _repr_html_(self) -> str:
        done = sum(state == PASSED for _, _, state in self.rows)
        left = ' style="text-align:left"'
        body = "".join(
            f'<tr><th scope="row">{notebook}</th><td{left}>{escape(line)}</td></tr>'
            for notebook, line in self._lines
        )
        head = "".join(f'<th scope="col"{left}>{name}</th>' for name in ("Notebook", "Exercises"))
        caption = f"<caption{left}>{done} of {len(self.rows)} exercises passed</caption>"
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"{table}<p>{escape(self.place)}</p>"


def summary() -> Summary:
    """Return what is done, for display: exercises passed, tried and open, notebook by notebook."""
    from vmenter.course.exercises import every  # noqa: PLC0415  (exercises keep their answers here)

    kept = load()
    states = {id_: PASSED if attempt.passed else TRIED for id_, attempt in kept.exercises.items()}
    return Summary(kept, tuple((id_, task.title, states.get(id_, OPEN)) for id_, task in every().items()))
