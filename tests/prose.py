"""What the course says to readers, cut into clauses, with the commits, mails, people and days each names."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

from places import NOTEBOOKS, ROOT

HASH = re.compile(r"(?<![\w@.-])[0-9a-f]{12}(?![\w@-])")
MAIL = re.compile(
    r"(?<![\w.-])(?=[\w.-]*\d)\w[\w.-]*@(?:[\w-]+\.)*[a-z]\w+\b"
)  # an id has a digit, a list's address none
PERSON = re.compile(r"\b([A-Z])\. ([A-Z][a-z]+)\b|\b([A-Z])[a-z]+ ([A-Z][a-z]+)\b")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NAMED = r"(?:uary|ruary|ch|il|e|y|ust|tember|ober|ember)?"
DAY = re.compile(rf"(?:\b(\d{{1,2}}) )?\b({'|'.join(MONTHS)}){NAMED}\b(?: (20\d\d))?")
LINK = re.compile(r"\[`?([^\]`]+)`?\]\(https://(?:git\.kernel\.org/linus|lore\.kernel\.org/all)/([^)]+?)/?\)")
# Where one statement ends: at a bullet or a row of a table, which is one; a semicolon; a dot, but not an initial's.
BLOCK = re.compile(r"\n\s*(?:[-|]|\d{1,2}\.) |\n\s*\n")
SENTENCE = re.compile(r";|(?<![ (][A-Z])[.:] (?=[A-Z*\[`(])")


class Clause(NamedTuple):
    """One statement, and where it stands."""

    place: str
    text: str

    @property
    def refs(self) -> list[str]:
        """The commits and mails it names."""
        return HASH.findall(MAIL.sub("", self.text)) + MAIL.findall(self.text)


def texts() -> Iterator[tuple[str, str]]:
    """Yield (place, text): all cells of prose, pages, exercises."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
            if cell["cell_type"] == "markdown":
                yield f"{path.stem}, cell {number}", "".join(cell["source"])
    for path in (*sorted(NOTEBOOKS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        yield path.name, path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "lib/vmenter/course/exercises").glob("*.toml")):
        for id_, task in tomllib.loads(path.read_text(encoding="utf-8")).items():
            yield f"exercise {id_}", json.dumps(task, ensure_ascii=False).replace("\\n", "\n")


def clauses() -> Iterator[Clause]:
    """Yield every statement; of a link only what is shown."""
    for place, text in texts():
        shown = LINK.sub(r"\1", text)
        for block in BLOCK.split(shown):
            for part in [block] if " | " in block else SENTENCE.split(block):
                yield Clause(place, " ".join(part.split()))
