"""The learner's own copies of the course: made and brought up to date. Behind `vmenter lab`, hub, and Binder.

The repository's notebooks are executed and tell everything. A copy has no outputs and no cells that only assert;
pictures and the pages beside the notebooks come along, so that every relative link works. What the learner touched
is never written over: the new one is laid beside it, under a name with the day. What a copy was when it was made
stands as a hash in `.vmenter-copies.json`, in the folder itself.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from vmenter import LabError
from vmenter.course.language import OWN, known, mark, prose
from vmenter.course.place import COURSE

FOLDER = "vmenter-lab"  # under the learner's home
FIRST = "notebooks/00-start-here.ipynb"
STATE = ".vmenter-copies.json"
FOR_LEADERS = {"INSTRUCTOR.md"}
DEEPER = re.compile(r"^#+ (\d+\. )?Deeper: ")  # a section for the curious, which a copy folds
ASSERTION = "assertion"  # the tag of cells that only hold the prose to what the lab computes
PARTS = {"notebooks": (".ipynb", ".md"), "images": (".svg", ".png")}


@dataclass(frozen=True)
class Update:
    """What became of the copies in `folder`, by their path in it: new, replaced, and kept → laid beside.

    What the course has no longer was removed if it was untouched, or is left where it is.
    """

    folder: Path
    made: tuple[str, ...]
    replaced: tuple[str, ...]
    kept: dict[str, str]
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Say it in a few lines."""
        lines = [f"Your copies of the course are in {self.folder}."]
        if self.made:
            lines.append(f"New: {len(self.made)} files.")
        if self.replaced:
            lines.append(f"Brought up to date: {', '.join(map(_name, self.replaced))}.")
        if self.removed:
            lines.append(f"Removed, for the course has it no longer: {', '.join(map(_name, self.removed))}.")
        lines += [f"{_name(own)} is as you left it. The course has it no longer." for own in self.left]
        lines += [
            f"{_name(own)} is as you left it. The course has a new one; it stands beside yours: {_name(beside)}."
            for own, beside in self.kept.items()
        ]
        return "\n".join(lines)


def update(folder: Path, course: Path = COURSE, today: date | None = None, language: str = OWN) -> Update:
    """Make the copies in `folder`, or bring them up to date. `course` has `notebooks` in it, as a checkout.

    Raises `LabError` where there is no course, where the folder is the course itself, or cannot be written.
    """
    folder, files = folder.expanduser().absolute(), dict(derived(course, language))
    if (folder / "notebooks").resolve() == (course / "notebooks").resolve():
        raise LabError(f"{folder} is the course itself; name another folder for your copies (--folder DIR)")
    try:
        return _written(folder, files, today or date.today())  # noqa: DTZ011  (the learner's own day)
    except OSError as error:
        place = error.filename or folder
        raise LabError(
            f"{place}: no copy can be made there ({error.strerror or error}); name another --folder"
        ) from error


def derived(course: Path, language: str = OWN) -> Iterator[tuple[str, bytes]]:
    """Yield what belongs into a learner's folder: (path in it, content). `LabError` if there is no course."""
    if not (course / FIRST).is_file():
        raise LabError(f"{course}: no notebooks of the course are here; name its checkout with --course DIR")
    language = known(language)
    for part, endings in PARTS.items():
        for file in sorted((course / part).glob("*")):
            if file.suffix in endings and file.name not in FOR_LEADERS:
                yield f"{part}/{file.name}", _copy(file, language)


def learners_copy(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return a notebook as a learner first meets it: no outputs, no numbers, no cells that only assert.

    Sections marked *deeper* are folded, as JupyterLab folds: a click opens them, and so does Shift+Enter.
    """
    cells = [
        {**cell, "outputs": [], "execution_count": None} if cell["cell_type"] == "code" else _folded(cell)
        for cell in notebook["cells"]
        if ASSERTION not in cell["metadata"].get("tags", ())
    ]
    return {**notebook, "cells": cells}


def _folded(cell: dict[str, Any]) -> dict[str, Any]:
    """Fold the section that this cell of prose begins, if it is a deeper one."""
    if not DEEPER.match("".join(cell["source"])):
        return cell
    return {**cell, "metadata": {**cell["metadata"], "jp-MarkdownHeadingCollapsed": True}}


# --- one file ----------------------------------------------------------------------------------------------------


def _copy(file: Path, language: str) -> bytes:
    """Return what a learner gets for a file of the course."""
    if file.suffix != ".ipynb":
        return file.read_bytes()
    copy = learners_copy(json.loads(file.read_text(encoding="utf-8")))
    translated = prose(language, file.stem)
    for cell in copy["cells"]:
        if cell["cell_type"] == "markdown" and (text := translated.get(mark("".join(cell["source"])))):
            cell["source"] = text.splitlines(keepends=True)
    return (json.dumps(copy, indent=1, ensure_ascii=False) + "\n").encode()


def _written(folder: Path, files: dict[str, bytes], today: date) -> Update:
    recorded = _read_state(folder / STATE)
    made, replaced, kept = [], [], {}
    for path, content in files.items():
        own, hashed = folder / path, _mark(path, content)
        if not own.exists():
            _write(own, content)
            made.append(path)
        elif (found := _mark(path, own.read_bytes())) == hashed or recorded.get(path) == hashed:
            pass  # it is the same, or the course has nothing newer than what the learner began with
        elif found == recorded.get(path):
            _write(own, content)
            replaced.append(path)
        else:
            kept[path] = _beside(folder, path, content, today)
        recorded[path] = hashed
    removed, left = [], []
    for path in sorted(recorded.keys() - files.keys()):
        own, hashed = folder / path, recorded.pop(path)
        if str(PurePosixPath(path).parent) not in PARTS:
            continue  # no name that the course ever gave
        if own.is_file() and _mark(path, own.read_bytes()) == hashed:
            own.unlink()
            removed.append(path)
        elif own.is_file():
            left.append(path)
    _write(folder / STATE, (json.dumps(recorded, indent=1) + "\n").encode())
    return Update(folder, tuple(made), tuple(replaced), kept, tuple(removed), tuple(left))


def _beside(folder: Path, path: str, content: bytes, today: date) -> str:
    """Lay a new copy beside the learner's own file. Returns its path."""
    whole = PurePosixPath(path)
    for number in count(1):
        more = "" if number == 1 else f"-{number}"
        name = str(whole.with_name(f"{whole.stem}-new-{today.isoformat()}{more}{whole.suffix}"))
        if not (folder / name).exists():
            _write(folder / name, content)
            return name
        if (folder / name).read_bytes() == content:
            return name
    raise AssertionError  # count does not end


def _mark(path: str, content: bytes) -> str:
    """Return a hash of what a learner can change. Opening a notebook changes bytes of it, but no cell."""
    if path.endswith(".ipynb"):
        try:
            cells = json.loads(content)["cells"]
            parts = [(one["cell_type"], "".join(one["source"]), one.get("outputs", [])) for one in cells]
            content = json.dumps(parts, sort_keys=True).encode()
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # no notebook any more: then its bytes count
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def _read_state(file: Path) -> dict[str, str]:
    """Return the hashes that were kept. Without them every copy that differs counts as touched."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(path): str(mark) for path, mark in kept.items()} if isinstance(kept, dict) else {}


def _write(file: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_bytes(content)
    fresh.replace(file)


def _name(path: str) -> str:
    return PurePosixPath(path).name
