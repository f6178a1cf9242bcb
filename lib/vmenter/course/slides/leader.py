"""What INSTRUCTOR says of a notebook, for the speaker notes: what goes wrong, what to ask, what to show."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vmenter import LabError

NAME = "INSTRUCTOR.md"


@dataclass(frozen=True)
class Sheets:
    """What goes on paper: the questions before and after, the lines of the feedback form; Markdown."""

    questions: tuple[str, ...]
    feedback: tuple[str, ...]


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


def sheets(notebooks: Path) -> Sheets:
    """Read what goes on paper. `LabError` if INSTRUCTOR has it not."""
    path = notebooks / NAME
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    lists = []
    for lead in ("Before, and after", "Feedback form"):
        listed = r"((?:\d\. [^\n]*\n(?:   [^\n]*\n)*)+)"
        found = re.search(rf"^\*\*{lead}\.\*\*.*?\n\n{listed}", text, re.MULTILINE | re.DOTALL)
        if not found:
            raise LabError(f"{path}: no list under \u201c{lead}.\u201d is there")
        lists.append(tuple(" ".join(one.split()) for one in re.split(r"^\d\. ", found[1], flags=re.MULTILINE)[1:]))
    return Sheets(*lists)
