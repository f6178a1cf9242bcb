"""The course in another language: texts that stand apart from code, in translations/LANGUAGE of the course.

A translation names the text that it is of by a mark, the beginning of a hash. Where the course's own text has
changed since, the course's own is shown: a translation may be missing, and is never out of date. VMENTER_LANGUAGE,
which `vmenter lab --language de` sets, chooses. See TRANSLATING.md.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.course.place import COURSE

VARIABLE = "VMENTER_LANGUAGE"
FOLDER = COURSE / "translations"
OWN = "en"
MARK = 8  # hexadecimal digits
EXERCISE = ("title", "task", "hints", "because", "praise")
QUESTION = ("question", "choices", "number", "misconceptions", "right", "wrong", "because")
CELL = re.compile(r"^<!-- of ([0-9a-f]{8}) -->\n(.*?)(?=^<!-- of |\Z)", re.MULTILINE | re.DOTALL)


def chosen() -> str:
    """Return the language that was chosen. `LabError` for one that the course is not in."""
    return known(os.environ.get(VARIABLE, OWN) or OWN)


def known(language: str) -> str:
    """Return a language's name if the course has texts in it."""
    there = [OWN, *sorted(path.name for path in FOLDER.glob("[a-z]*") if path.is_dir())]
    if language not in there:
        raise LabError(f"language {language!r}: the course has texts in {', '.join(there)}")
    return language


def mark(text: object) -> str:
    """Return the mark of a text, or of several as a table or list of texts."""
    plain = text.strip() if isinstance(text, str) else json.dumps(text, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(plain.encode()).hexdigest()[:MARK]


def prose(language: str, stem: str) -> dict[str, str]:
    """Return a notebook's translated cells of text, by the mark of the cell that each is of."""
    path = FOLDER / language / f"{stem}.md"
    if not path.is_file():
        return {}
    return {found[1]: found[2].strip() for found in CELL.finditer(path.read_text(encoding="utf-8"))}


def exercise(number: str, id_: str, texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return an exercise's texts in the language chosen, or as they are."""
    own = {part: texts[part] for part in EXERCISE if part in texts}
    return {**texts, **_current(_file("exercises", number).get(id_, {}), own)}


def question(number: str, id_: str, place: int, texts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a question's texts in the language chosen, or as they are. Its choices keep their names."""
    own = {part: texts[part] for part in QUESTION if part in texts}
    found = _file("predictions", number).get(id_, [])
    return {**texts, **_current(found[place] if place < len(found) else {}, own)}


def _current(translated: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is translated, unless its original has changed."""
    if translated.get("of") != mark(own):
        return {}
    found = {part: text for part, text in translated.items() if part in own}
    if "choices" in found and list(found["choices"]) != list(own["choices"]):
        raise LabError(f"{own['question']!r}: a translation keeps the names of choices; code compares them")
    return found


def _file(kind: str, number: str) -> dict[str, Any]:
    language = chosen()
    return {} if language == OWN else _read(FOLDER / language / kind / f"{number}.toml")


@cache
def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
