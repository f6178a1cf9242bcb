"""Minutes of every notebook, estimated by one stated rule: printed, or written to every place that tells them.

``.venv/bin/python tests/tools/minutes.py`` prints a table; with ``--write`` notebooks, README, the map in 00 and
INSTRUCTOR say what it counts. The rule, for a learner's copy as it is taken alone:

- text is read at 200 words a minute, sources, links and what stands in a section or a fold marked *deeper* apart;
- a code cell takes 2 seconds a line to read and 5 to run; what it prints 1 second a line, up to 30 lines;
- a question of a prediction takes 20 seconds to guess and 10 to compare;
- a view takes a minute and a half, unless `VIEWS` says otherwise; a review question half a minute to answer;
- an exercise takes the minutes that its file gives (``minutes = 6``), else 2 for a letter, 4 for a line, 8 for code.

The sum is rounded to 5 minutes. In a room, with questions and the slowest third, it takes a quarter more.
"""

import json
import math
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from vmenter.course.copies import learners_copy
from vmenter.course.exercises import every
from vmenter.course.prediction import questions

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
README, LEADER = ROOT / "README.md", NOTEBOOKS / "INSTRUCTOR.md"

WORDS = 200  # a minute
LINE, RUN, PRINTED, MOST = 2, 5, 1, 30  # seconds a line of code; a cell; a line printed; lines that are looked at
GUESS, REVIEW = 30, 30  # seconds: a question with its answer; a review question
VIEW = 90  # seconds
VIEWS = {"FirstMinute": 60, "LeakGame": 300}  # where it takes another time
ROOM = 1.25  # as long as that in a room, with questions and the slowest third
STEP = 5
ALL, SHORT = 7 * 60, 150  # what the whole course, and the short way, may take
SHORT_WAY: dict[
    str, tuple[int, ...] | None
] = {  # notebooks, and their sections if not all; what is deeper is left out
    "00": None,
    "01": (1, 2, 3, 4, 5, 6),
    "02": (1, 2, 3),
    "03": (1, 2, 3, 4),
    "05": (1, 2, 3, 4, 5, 6, 7, 8, 9),
    "06": (1, 2, 3, 4),
    "07": (1, 2, 3, 4, 5, 7, 8),
}

CLOSING = "Review", "Summary"  # the parts without a number that stand behind all sections, never in front of them
DEEPER = re.compile(r"\bdeeper\b", re.IGNORECASE)
FOLD = re.compile(r"<details>\s*<summary>(.*?)</summary>.*?</details>", re.DOTALL)


@dataclass(frozen=True)
class Minutes:
    """What a notebook, or some sections of one, asks of a learner; `words` are those that are read."""

    words: int = 0
    cells: float = 0.0  # minutes for code and what it prints
    questions: int = 0
    views: float = 0.0  # minutes
    reviews: int = 0
    exercises: int = 0  # minutes

    @property
    def exact(self) -> float:
        """The sum, not rounded."""
        thought = (self.questions * GUESS + self.reviews * REVIEW) / 60
        return self.words / WORDS + self.cells + thought + self.views + self.exercises

    @property
    def told(self) -> int:
        """The sum as it is told."""
        return max(STEP, round(self.exact / STEP) * STEP)

    def __add__(self, other: "Minutes") -> "Minutes":
        """Return both, one after the other."""
        return Minutes(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def notebooks() -> dict[str, Path]:
    """Return the notebooks by number."""
    return {path.name[:2]: path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))}


def of(path: Path, sections: Collection[int] | None = None) -> Minutes:
    """Return what a notebook takes; `sections` takes only those, and what stands in front of the first."""
    return counted(json.loads(path.read_text(encoding="utf-8")), sections)


def counted(notebook: dict[str, Any], sections: Collection[int] | None = None) -> Minutes:
    """Return what a notebook takes, by the rule above. What is printed is taken from the committed outputs."""
    shown = {"".join(cell["source"]): cell.get("outputs", []) for cell in notebook["cells"]}
    found, views, deeper, number = Minutes(), set[str](), False, 0
    for kind, text in _pieces(learners_copy(notebook)):
        if heading := re.match(r"## (?:(\d+)\. )?(.+)", text):
            deeper = bool(DEEPER.search(heading[2]))
            number = int(heading[1] or (99 if number or heading[2] in CLOSING else 0))
        if kind == "code":
            views |= set(re.findall(r"from vmenter\.views\.\S+\.widget import (\w+)", text))
        if deeper or (sections is not None and number and number not in sections):
            continue
        found += _text(text) if kind == "markdown" else _code(text, shown[text], views)
    return found


def _pieces(notebook: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of each cell; a text with a heading in its middle as two."""
    for cell in notebook["cells"]:
        kind, text = cell["cell_type"], "".join(cell["source"])
        for piece in re.split(r"^(?=## )", text, flags=re.MULTILINE) if kind == "markdown" else (text,):
            if piece:
                yield kind, piece


def _text(text: str) -> Minutes:
    text = text.partition("**Primary sources**")[0]
    text = FOLD.sub(lambda fold: "" if DEEPER.search(fold[1]) else fold[0], text)
    reviews = text.count("<summary>") if text.startswith("## Review") else 0
    plain = re.sub(r"\]\([^)]*\)|<[^>]+>|^\s*\|[-| :]+\|\s*$", " ", text, flags=re.MULTILINE)
    return Minutes(words=sum(bool(re.search(r"\w", word)) for word in plain.split()), reviews=reviews)


def _code(text: str, outputs: Iterable[dict[str, Any]], views: Iterable[str]) -> Minutes:
    printed = sum("".join(one["text"]).count("\n") for one in outputs if one["output_type"] == "stream")
    seconds = LINE * len(text.splitlines()) + RUN + PRINTED * min(printed, MOST)
    asked = re.findall(r'^predict\("(.+?)"\)', text, re.MULTILINE)
    tasks = [every()[id_] for id_ in re.findall(r'^exercise\("(.+?)"\)', text, re.MULTILINE)]
    return Minutes(
        words=sum(len(task.task.split()) for task in tasks),
        cells=seconds / 60,
        questions=sum(len(questions.every()[id_]) for id_ in asked),
        views=sum(VIEWS.get(name, VIEW) for name in views if f"{name}(" in text) / 60,
        exercises=sum(task.minutes for task in tasks),
    )


def short_way() -> dict[str, int]:
    """Return the minutes of the short way, by notebook."""
    return {number: of(notebooks()[number], sections).told for number, sections in SHORT_WAY.items()}


def runs(sections: Collection[int]) -> list[tuple[int, int]]:
    """Return the first and the last number of each run of sections."""
    ends = [[one for one in sorted(sections) if one + step not in sections] for step in (-1, 1)]
    return list(zip(*ends, strict=True))


def sections_text(number: str) -> str:
    """Return which sections of a notebook are on the short way, such as "sections 1 to 3 and 5"; "" if it is not on it."""
    sections = SHORT_WAY.get(number)
    if not sections:
        return "all" if number in SHORT_WAY else ""
    parts = [str(a) if a == b else f"{a} and {b}" if b == a + 1 else f"{a} to {b}" for a, b in runs(sections)]
    *most, last = parts
    return (
        f"sections {', '.join(most)} and {last}" if most and "and" not in last else f"sections {', '.join(parts)}"
    )


def room(alone: int) -> int:
    """Return the minutes in a room."""
    return math.ceil(alone * ROOM / STEP) * STEP


# --- every place that tells them -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where minutes stand, or sections: a file, a pattern whose group `m` is what to compare, and what it should say."""

    file: Path
    what: str
    pattern: str
    minutes: int | str
    unit: str = ""  # what is written behind the number

    @property
    def told(self) -> list[str]:
        """What stands there now."""
        return [match["m"] for match in self._matches(self.file.read_text(encoding="utf-8"))]

    @property
    def due(self) -> str:
        """What should stand there."""
        return f"{self.minutes}{self.unit}"

    def mend(self) -> None:
        """Write what should stand there."""
        text = self.file.read_text(encoding="utf-8")
        for match in reversed(self._matches(text)):
            text = text[: match.start("m")] + self.due + text[match.end("m") :]
        self.file.write_text(text, encoding="utf-8", newline="\n")

    def _matches(self, text: str) -> list[re.Match[str]]:
        return list(re.finditer(self.pattern, text, re.MULTILINE))


def places() -> Iterator[Place]:
    """Yield every place that tells minutes, with what the rule counts."""
    files = notebooks()
    whole = {number: of(path).told for number, path in files.items()}
    for number, minutes in whole.items():
        row = rf"\| {number} \| [^|\n]+ \| (?P<m>\d+) \|"
        first = r"\*Time:\* (?P<m>\d+ minutes(?:, estimated)?)"
        yield Place(files[number], "its first cell", first, minutes, " minutes, estimated")
        yield Place(files["00"], f"the map, {number}", row, minutes)
        yield Place(README, f"the table, {number}", row, minutes)
        head = rf"^### {number} · [^\n]+ \("
        yield Place(LEADER, f"{number}, alone", rf"{head}(?P<m>\d+), \d+\)", minutes)
        yield Place(LEADER, f"{number}, in a room", rf"{head}\d+, (?P<m>\d+)\)", room(minutes))
        mark = rf"\| {number} \|(?:[^|\n]+\|){{3}} (?P<m>★?[^|\n]*)\|"
        yield Place(files["00"], f"the map's mark, {number}", mark, _mark(number))
        head = r"\*Short way:\* (?P<m>[^.]+)\."
        yield Place(files[number], "its first cell, short way", head, sections_text(number) or "not on it")
        row = rf"^\| \d+:\d\d \| (?P<m>\d+) \| {number} \| hands \|"
        yield Place(LEADER, f"{number} in an agenda", row, room(minutes))
    for task in every().values():
        yield Place(LEADER, task.id, rf"^- \*\*{task.id} \((?P<m>\d+) min\)\*\*", task.minutes)
    way = "; ".join(f"{number}, {sections_text(number)}" for number in SHORT_WAY)
    way = way.replace("; 02", ";\n02")  # where the line ends
    yield Place(LEADER, "the sections of the short way", r"It is (?P<m>00, [^.]+)\.", way)
    sums = {"whole course": sum(whole.values()), "short way": sum(short_way().values())}
    for (what, minutes), file in product(sums.items(), (files["00"], LEADER, README)):
        yield Place(file, f"the {what}", rf"[Tt]he {what}: (?P<m>\d+) minutes, estimated", minutes)


def _mark(number: str) -> str:
    """Return what stands in the last column of the map, with the blank behind it."""
    return f"★ {sections_text(number).removeprefix('sections ')} " if number in SHORT_WAY else ""


def table() -> str:
    """Return what the rule counts, a line a notebook."""
    lines = ["      words  cells  guesses  views  review  exercises     sum   told"]
    total = Minutes()
    for number, path in notebooks().items():
        found = of(path)
        total += found
        lines.append(f"{number}  {_row(found)}  {found.told:>5}")
    lines.append(f"all {_row(total)}  {sum(of(path).told for path in notebooks().values()):>5} (at most {ALL})")
    parts = ", ".join(f"{number} {minutes}" for number, minutes in short_way().items())
    lines.append(f"The short way: {parts}: {sum(short_way().values())} (at most {SHORT})")
    return "\n".join(lines)


def _row(found: Minutes) -> str:
    return (
        f"{found.words:>7}  {found.cells:>5.1f}  {found.questions:>7}  {found.views:>5.1f}  {found.reviews:>6}"
        f"  {found.exercises:>9}  {found.exact:>6.1f}"
    )


if __name__ == "__main__":
    if "--write" in sys.argv:
        for place in places():
            place.mend()
    print(table())
