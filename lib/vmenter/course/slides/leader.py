"""What INSTRUCTOR says of a notebook, for the speaker notes: what goes wrong, what to ask, what to show."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vmenter import LabError

NAME = "INSTRUCTOR.md"


@dataclass(frozen=True)
class Part:
    """One notebook's part. `tasks`: exercise → what goes wrong there; `guessing`: how to ask for guesses."""

    minutes: int  # in a room
    wrong: str
    ask: str
    show: str
    tasks: Mapping[str, str]
    guessing: str


def part(notebooks: Path, number: str) -> Part:
    """Read the part of a notebook. `LabError` if INSTRUCTOR has none, or not all of it."""
    path = notebooks / NAME
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(rf"^### {number} \u00b7 [^\n]+ \(\d+, (\d+)\)\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    lead = re.search(r"^## Notebook by notebook\n\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    items = dict(
        re.findall(r"^- \*\*(.+?)\*\*:? (.+?)(?=^- |\Z)", found[2] if found else "", re.MULTILINE | re.DOTALL)
    )
    missing = {"Goes wrong", "Ask", "Show"} - set(items)
    if not found or not lead or missing:
        raise LabError(
            f"{path}: no part \u201c### {number} \u00b7 \u2026\u201d with Goes wrong, Ask and Show is there"
        )
    plain = {name: " ".join(said.split()) for name, said in items.items()}
    tasks = {name[:4]: said for name, said in plain.items() if re.match(r"\d\d-\d ", name)}
    return Part(int(found[1]), plain["Goes wrong"], plain["Ask"], plain["Show"], tasks, " ".join(lead[1].split()))
