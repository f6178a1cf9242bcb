"""The answer key of a notebook, for whoever leads: solutions with reasons, and the predictions' truths."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vmenter.course import exercises
from vmenter.course.exercises import Exercise
from vmenter.course.slides.render import text_in


@dataclass(frozen=True)
class Key:
    """One notebook's answers. `truths`: a prediction → a line for each question, as the notebook computed it."""

    title: str
    tasks: tuple[Exercise, ...]
    truths: Mapping[str, tuple[str, ...]]


def key(notebook: Any, number: str, title: str) -> Key:
    """Return the key of a notebook, as it was run with VMENTER_REVEAL=1."""
    truths = {}
    for cell in notebook.cells:
        for name in re.findall(r'^truth\("(.+?)"', cell.source, re.MULTILINE) if cell.cell_type == "code" else ():
            lines = text_in(cell.outputs).split("\n")[1:]
            truths[name] = tuple(line.strip() for line in lines if line.startswith("  ") and " It is: " in line)
    mine = tuple(task for id_, task in exercises.every().items() if id_.startswith(f"{number}-"))
    return Key(title, mine, truths)
