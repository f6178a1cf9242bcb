"""What a reader has done, in one JSON file that is theirs: exercises passed, last answers, predictions.

The file stands where the system keeps a user's data, or where $VMENTER_PROGRESS says; ``off`` there keeps nothing.
It may be read, edited, copied, linked and deleted by hand. Several notebooks may write at once: each waits for its
turn, reads what stands there by then, changes its own entry, replaces the file whole; without a turn nothing is
written, and said. What cannot be read is put aside, never overwritten. Nothing here ever stops an exercise: where
the file cannot be written, a line on stderr says so.
"""

import json
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

from vmenter import in_browser

VARIABLE = "VMENTER_PROGRESS"
OFF = "off"
LONGEST = 20_000  # characters of an answer that are kept
LARGEST = 16 << 20  # bytes of a file that is ours
PATIENCE = 20.0  # seconds to wait for other notebooks that write; one write takes milliseconds

_ABOUT = "Your progress in VM-Enter Lab. It is yours: read it, edit it, copy it, delete it."
_said: set[str] = set()  # troubles: each is told once a kernel


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
        if chosen:
            return Path(chosen).expanduser().absolute()
        return platformdirs.user_data_path("vmenter", appauthor=False) / "progress.json"
    except RuntimeError:  # there is no home
        return None


def load() -> Progress:
    """Return what was kept. A damaged file is put aside first; whatever happens, this returns."""
    file = path()
    if file is None:
        return Progress(None)
    try:
        content, trouble = _found(file), None
        if content is None:  # look again when nobody writes, before anything is put aside
            with _alone(file.resolve()) as own:
                content, trouble = _read(own)
    except OSError as error:
        return Progress(file, trouble=f"{file} cannot be read ({error.strerror or error})")
    predictions = {id_: str(text) for id_, text in content["predictions"].items()}
    return Progress(file, _attempts(content), predictions, trouble)


def attempts(data: bytes) -> dict[str, Attempt] | None:
    """Return what a file of somebody's progress says of exercises, by their ids; None if it is no such file."""
    content = _parsed(data)
    return _attempts(content) if content is not None and "exercises" in content else None


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


def _attempts(content: dict[str, Any]) -> dict[str, Attempt]:
    return {
        id_: Attempt(entry.get("passed") is True, _count(entry.get("tries")), str(entry.get("answer", "")))
        for id_, entry in content["exercises"].items()
        if isinstance(entry, dict)
    }


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _found(file: Path) -> dict[str, Any] | None:
    """Return the file's content, which is empty without a file; None if it is damaged."""
    if not file.exists():
        return _empty()
    _demand_a_file(file)
    content = _content(file)
    return None if content is None else {**_empty(), **content}


def _empty() -> dict[str, Any]:
    return {"about": _ABOUT, "exercises": {}, "predictions": {}}


def _read(file: Path) -> tuple[dict[str, Any], str | None]:
    """Return the file's content, and a word if it was damaged and had to be put aside."""
    content = _found(file)
    if content is not None:
        return content, None
    names = (f"{file.stem}.damaged-{number}.json" for number in count(1))
    aside = next(place for name in names if not (place := file.with_name(name)).exists())
    file.replace(aside)
    return _empty(), f"{file.name} was damaged; it is kept as {aside}, and a new one begins"


def _content(file: Path) -> dict[str, Any] | None:
    """Return what stands in the file, None if it is not what the lab writes."""
    return None if file.stat().st_size > LARGEST else _parsed(file.read_bytes())


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(data.decode("utf-8-sig"))  # some editors begin a file with a mark
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
        file = file.resolve()  # of a link, where it leads: the link stays
        _demand_a_file(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file) as own:
            content, trouble = _read(own)
            change(content)
            _write(own, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError
        why = getattr(error, "strerror", None) or error
        trouble = f"progress is not kept: {file} cannot be written ({why})"
    if trouble and trouble not in _said:
        _said.add(trouble)
        print(trouble, file=sys.stderr)
    return trouble


def _write(file: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, with the mode it had. The caller has the lock."""
    fresh = file.with_name(f".{file.name}.new")  # one name: what a killed writer has left goes away
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else None
    try:
        fresh.unlink(missing_ok=True)
        new = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode)
        with open(new, "w", encoding="utf-8", errors="replace") as out:  # noqa: PTH123  (a descriptor)
            out.write(text)
        if mode is not None:
            fresh.chmod(mode)
        fresh.replace(file)
    finally:
        with suppress(OSError):
            fresh.unlink()


@contextmanager
def _alone(file: Path) -> Iterator[Path]:
    """Wait until no other notebook writes; give the file. `OSError` if that takes too long.

    A browser's tab has no locks that a restart of the kernel would take away: there, nobody waits. One reader
    writes in one notebook at a time, for some milliseconds, and a file is still replaced whole.
    """
    if in_browser():
        yield file
        return
    from filelock import FileLock, Timeout  # noqa: PLC0415  (slow to import, not always needed)

    lock = FileLock(file.with_name(f".{file.name}.lock"), timeout=PATIENCE, poll_interval=0.005)
    try:
        with (
            warnings.catch_warnings()
        ):  # where the system has no such locks, a file stands for one, and that will do
            warnings.simplefilter("ignore")
            lock.acquire()
    except Timeout:
        raise OSError(0, f"another program has held it for {PATIENCE:.0f} s") from None
    try:
        yield file
    finally:
        with suppress(OSError):  # while it is held: who waits sees that the file is another, and takes the new one
            Path(lock.lock_file).unlink()
        lock.release()
