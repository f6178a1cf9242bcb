"""What every notebook of the course has in one form, as rules. Each rule yields what is wrong, in words.

A rule takes one notebook and the whole course, since a minute, a link or a review question is right only against
the other notebooks. `tests/course/test_furniture.py` applies the rules to the course as it stands, and shows for each of them
that a damaged notebook is found out.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from places import NOTEBOOKS

from vmenter.course.prediction.questions import every

HOSTS = {
    "lore.kernel.org",
    "git.kernel.org",
    "cdn.kernel.org",
    "www.amd.com",
    "aka.ms",
}  # a new one is looked at before it is cited
LORE, COMMIT = "https://lore.kernel.org/all/", "https://git.kernel.org/linus/"
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)]*)\)")
CODE = re.compile(r"^```.*?^```|`[^`]*`", re.MULTILINE | re.DOTALL)
MAIL = re.compile(r"`([A-Za-z0-9.][\w.-]{9,}@[\w.-]+)`")  # a message id; a person's or a list's address is shorter
TIME = re.compile(r"\*Time:\*\s(\d+) minutes")
ROW = r"^\| {} \| (?:\[([^\]]+)\]\(([^)]+)\)|([^|]+?)) \| (\d+) \|"


class Cell(NamedTuple):
    """One cell: "markdown" or "code", and its text."""

    kind: str
    text: str


@dataclass(frozen=True)
class Notebook:
    """One notebook: its file's name and its cells."""

    name: str
    cells: tuple[Cell, ...]

    @property
    def number(self) -> str:
        """The two digits that it is called by."""
        return self.name[:2]

    @cached_property
    def prose(self) -> tuple[str, ...]:
        """All Markdown cells."""
        return tuple(cell.text for cell in self.cells if cell.kind == "markdown")

    @cached_property
    def title(self) -> str:
        """Number and title, as other notebooks call it."""
        return self.prose[0].split("\n")[0].removeprefix("# ")

    @property
    def link(self) -> str:
        """The one way to lead to it."""
        return f"[{self.title}]({self.name})"

    @cached_property
    def minutes(self) -> str | None:
        """What it says of itself."""
        found = TIME.search(self.prose[0])
        return found[1] if found else None


@dataclass(frozen=True)
class Course:
    """All notebooks in order, and the pages beside them by their path from the notebooks' folder."""

    notebooks: tuple[Notebook, ...]
    pages: dict[str, str]

    def before(self, notebook: Notebook) -> Notebook | None:
        """Return the notebook before this one."""
        at = self.notebooks.index(notebook)
        return self.notebooks[at - 1] if at else None

    def behind(self, notebook: Notebook) -> Notebook | None:
        """Return the notebook behind this one."""
        return next(iter(self.notebooks[self.notebooks.index(notebook) + 1 :]), None)

    def anchors(self, name: str) -> set[str] | None:
        """Return what a link may lead to inside a page or a notebook; None if there is no such file."""
        texts = (
            [self.pages[name]]
            if name in self.pages
            else [n for one in self.notebooks if one.name == name for n in one.prose]
        )
        if not texts:
            return set() if not name.endswith((".ipynb", ".md")) and (NOTEBOOKS / name).exists() else None
        text = "\n".join(texts)
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        return {*re.findall(r'<a id="([^"]+)">', text), *(heading.replace(" ", "-") for heading in headings)}


def read() -> Course:
    """Return the course as it stands."""
    notebooks = []
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        notebooks.append(Notebook(path.name, tuple(Cell(c["cell_type"], "".join(c["source"])) for c in cells)))
    pages = {path.name: path.read_text(encoding="utf-8") for path in NOTEBOOKS.glob("*.md")}
    pages["../README.md"] = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    return Course(tuple(notebooks), pages)


Rule = Callable[[Notebook, Course], Iterator[str]]


def opening(notebook: Notebook, course: Course) -> Iterator[str]:
    """Title, what the reader will be able to do, what to have done before, minutes."""
    first = notebook.prose[0]
    if not re.match(rf"# {notebook.number} · \S", first):
        yield "the title is not “# NN · Title”"
    aims = re.search(r"^\*You will be able to\*\n\n((?:[-  ].+\n)+)", first, re.MULTILINE)
    if not aims or not 2 <= len(re.findall(r"^- ", aims[1], re.MULTILINE)) <= 4:
        yield "there are not two to four things that the reader will be able to do"
    before = re.search(r"^\*Before:\*\s(.*?)\s\*Time:\*", first, re.MULTILINE | re.DOTALL)
    if not before:
        yield "what to have done before, and minutes, do not stand in their form"
        return
    earlier = {one.link for one in course.notebooks if one.number < notebook.number}
    named = {f"[{text}]({target})" for text, target in LINK.findall(before[1]) if target.endswith(".ipynb")}
    if named - earlier or (not named and notebook.number != "00"):
        yield f"what to have done before is no earlier notebook, by number and title: {before[1]}"


def navigation(notebook: Notebook, course: Course) -> Iterator[str]:
    """Previous and next, on top and at the end."""
    before, behind = course.before(notebook), course.behind(notebook)
    parts = [f"**Previous:** {before.link}"] if before else []
    parts += [f"**Next:** {behind.link}"] if behind else []
    line = " ·\n".join([*parts, "[Glossary](glossary.md)"])
    if not notebook.prose[0].endswith(f"\n\n{line}"):
        yield f"the first cell does not end with: {line}"
    if notebook.cells[-1].kind != "markdown" or not notebook.prose[-1].endswith(f"\n\n{line}"):
        yield f"the last cell does not end with: {line}"


def minutes(notebook: Notebook, course: Course) -> Iterator[str]:
    """The notebook, the map in 00, the README and the instructor's page say the same minutes and the same title."""
    if notebook.minutes is None:
        yield "it does not say how many minutes it takes"
    places = {"the map in 00": "\n".join(course.notebooks[0].prose)}
    places |= {name: course.pages[name] for name in ("../README.md", "INSTRUCTOR.md") if name in course.pages}
    for place, text in places.items():
        row = re.search(ROW.format(notebook.number), text, re.MULTILINE)
        if not row:
            if place == "the map in 00":
                yield "the map in 00 does not list it"
            continue
        linked, target, plain, told = row.groups()
        if told != notebook.minutes:
            yield f"{place} says {told} minutes, the notebook {notebook.minutes}"
        if (
            f"{notebook.number} · {linked or plain}" != notebook.title
            or Path(target or notebook.name).name != notebook.name
        ):
            yield f"{place} calls it {linked or plain!r} in {target}"


def predictions(notebook: Notebook, _course: Course) -> Iterator[str]:
    """Each prediction is in its file, asked once and answered once, behind it, as often as it asks, by computing."""
    asked: list[str] = []
    told: list[str] = []
    for call in _calls(notebook):
        name = ast.literal_eval(call.args[0]) if call.args and isinstance(call.args[0], ast.Constant) else None
        if call.func.id == "predict":  # type: ignore[attr-defined]
            if name != f"{notebook.number}-{chr(ord('a') + len(asked))}":
                yield f"prediction {name} does not have the next letter"
            asked.append(str(name))
            if name not in every() or len(call.args) != 1:
                yield f"prediction {name} has no questions in its file, or more than its name in the cell"
        elif name not in asked or name in told:
            yield f"truth {name} has no question in front of it, or is told twice"
        else:
            told.append(name)
            yield from _answers(name, call)
    if missing := [name for name in asked if name not in told]:
        yield f"no truth is told for {', '.join(missing)}"
    if unused := [name for name in every() if name.startswith(notebook.number) and name not in asked]:
        yield f"the file has questions that nobody asks: {', '.join(unused)}"
    if not asked and notebook.number != "00":
        yield "nothing is to be predicted"
    if any(cell.kind == "code" and re.search(r"your guess|guess\w* = None", cell.text) for cell in notebook.cells):
        yield "a guess is asked for without a box"


def _calls(notebook: Notebook) -> Iterator[ast.Call]:
    """Yield the calls of predict and truth in order."""
    for cell in notebook.cells:
        if cell.kind == "code":
            for node in ast.walk(ast.parse(cell.text)):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in ("predict", "truth")
                ):
                    yield node


def _answers(name: str, answer: ast.Call) -> Iterator[str]:
    questions, facts = every().get(name, ()), answer.args[1:]
    if not any(isinstance(one, ast.Starred) for one in facts) and len(questions) != len(facts):
        yield f"prediction {name} asks {len(questions)} questions, truth tells {len(facts)}"
    for one in facts:
        if not any(isinstance(part, ast.Name) for part in ast.walk(one)):
            yield f"a truth of {name} is typed, not computed: {ast.unparse(one)}"


def review(notebook: Notebook, _course: Course) -> Iterator[str]:
    """Two questions from earlier notebooks, with answers to open."""
    if notebook.number == "00":
        return
    cells = [text for text in notebook.prose if text.startswith("## Review\n\nAnswer before you open.")]
    if len(cells) != 1:
        yield "there is not one cell “Review” that begins with “Answer before you open.”"
        return
    questions = re.findall(r"<details><summary>(.*?)</summary>\n\n(.+?)\n</details>", cells[0], re.DOTALL)
    if len(questions) != 2:
        yield f"{len(questions)} review questions with an answer, not two"
    for number, (question, _answer) in enumerate(questions, 1):
        found = re.match(rf"{number}\. \(From (\d\d)\.\) .+", question)
        if not found or not question.endswith("?") or found[1] >= notebook.number:
            yield f"no question from an earlier notebook, in its form: {question}"


def closing(notebook: Notebook, _course: Course) -> Iterator[str]:
    """A summary of some points, then the primary sources, as lists, at the end."""
    if not re.match(r"## Summary\n\n(- .+\n(  .+\n)*){2,}", notebook.prose[-1]):
        yield "the last cell is no summary of two points or more"
    if not re.search(r"\n\n\*\*Primary sources\*\*\n\n- ", notebook.prose[-1]):
        yield "the primary sources are no list"


def inner_links(notebook: Notebook, course: Course) -> Iterator[str]:
    """Links lead to files and anchors that are there; every notebook leads to terms of the glossary."""
    targets = [target for text in notebook.prose for _, target in LINK.findall(_without_code(text))]
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        anchors = course.anchors(name or notebook.name)
        if anchors is None or (anchor and anchor not in anchors):
            yield f"nothing is at {target}"
    if notebook.number != "00" and not any(target.startswith("glossary.md#") for target in targets):
        yield "no term leads to the glossary"


def cited_links(notebook: Notebook, _course: Course) -> Iterator[str]:
    """Links to other hosts are whole, and say what they lead to; no address and no mail stands in the text bare."""
    for text in notebook.prose:
        for label, target in LINK.findall(text):
            if re.match(r"[a-z]+:", target):
                yield from _cited(label, target)
        rest = LINK.sub("", text)
        yield from (f"a bare address: {url}" for url in re.findall(r"https?://\S+", CODE.sub("", rest)))
        yield from (f"a message id that leads nowhere: {mail}" for mail in MAIL.findall(rest))


def _cited(label: str, target: str) -> Iterator[str]:
    found = re.fullmatch(r"https://([\w.-]+)(/[\w./@%+=~-]*[\w/])", target)
    if not found:
        yield f"no whole https address: {target}"
        return
    if found[1] not in HOSTS:
        yield f"a host that nobody has looked at: {target}"
    if target.startswith(LORE) and label not in (
        f"`{target.removeprefix(LORE).rstrip('/')}`",
        target.removeprefix(LORE),
    ):
        yield f"the text {label} is not the mail it leads to: {target}"
    if found[1] == "git.kernel.org" and not re.fullmatch(rf"{re.escape(COMMIT)}{label}", target):
        yield f"the text {label} is not the commit it leads to: {target}"


def _without_code(text: str) -> str:
    """Return the text without its fenced code, in which brackets are no links."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


RULES: tuple[Rule, ...] = (
    opening, navigation, minutes, predictions, review, closing, inner_links, cited_links,
)  # fmt: skip
