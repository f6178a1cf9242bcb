"""What a handout tells of a notebook, found by its furniture."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

from bs4 import BeautifulSoup, Tag

from vmenter.course.pictures import finding, standalone
from vmenter.course.slides.drawn import part
from vmenter.course.slides.render import drawing_in, rendered, size, svg_url
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.drawings.ways import sample

# What says most of a notebook. For one that is not named here: its first drawing, or else its first table.
PICTURES: dict[str, Callable[[], Diagram]] = {
    "02": partial(sample, "clear_or_not"),
    "03": partial(sample, "three_way"),
    "05": finding,
    "06": partial(part, "43fb862de8f6", "__vmx_vcpu_run"),
    "07": partial(part, "e6ff1d61de51", "__vmx_vcpu_run"),
}


@dataclass(frozen=True)
class Handout:
    """One sheet; all but the title are HTML."""

    title: str
    intro: str
    objectives: str
    time: str
    picture: str
    tall: bool  # the picture stands beside the text, not above it
    summary: str
    questions: str
    sources: str


def handout(notebook: Any, name: str) -> Handout:
    """Read one off a notebook; `name` is that of its file."""
    texts = [rendered(cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    first = texts[0]
    title = first.find("h1")
    aims = first.find("ul")
    intro = first.find("p")
    time = next((p for p in first.find_all("p") if "Time:" in p.get_text()), None)
    summary, sources = _last(texts)
    picture, tall = _picture(notebook, name, texts)
    return Handout(
        title=title.get_text() if title else name,
        intro=str(intro or ""),
        objectives=str(aims or ""),
        time=time.decode_contents() if time else "",
        picture=picture,
        tall=tall,
        summary=summary,
        questions="".join(
            f"<li>{_question(one)}</li>"
            for text in texts
            for one in text.select("details > summary")
            if _is_review(one)
        ),
        sources=sources,
    )


def _is_review(summary: Tag) -> bool:
    return bool(re.match(r"\d\. ", summary.get_text()))


def _question(summary: Tag) -> str:
    return re.sub(
        r"^\s*\d\. (\(From (\d\d)\.\) )?",
        lambda found: f"<small>From {found[2]}.</small> " if found[2] else "",
        summary.decode_contents(),
    )


def _last(texts: list[BeautifulSoup]) -> tuple[str, str]:
    """Return summary and sources, from the cell with the heading Summary."""
    page = next((text for text in texts if (head := text.find("h2")) and head.get_text() == "Summary"), None)
    if page is None:
        return "", ""
    told: dict[str, list[str]] = {"summary": [], "sources": []}
    place = "summary"
    for element in page.children:
        if not isinstance(element, Tag) or element.name == "h2":
            continue
        bold = element.find("strong").get_text() if element.find("strong") else ""  # type: ignore[union-attr]
        if bold.startswith(("Previous", "Next")):
            break
        if bold.startswith("Primary sources"):
            place = "sources"
            if element.get_text().strip() == bold:
                continue
            if isinstance(lead := element.find("strong"), Tag):
                lead.decompose()
        told[place].append(str(element))
    return "".join(told["summary"]), "".join(told["sources"])


def _picture(notebook: Any, name: str, texts: list[BeautifulSoup]) -> tuple[str, bool]:
    if chosen := PICTURES.get(name[:2]):
        diagram = chosen()
        return _image(svg_url(standalone(diagram)), diagram.text)
    for cell in notebook.cells:
        if found := drawing_in(cell.get("outputs", [])):
            return _image(*found)
    table = next((table for text in texts if (table := text.find("table"))), None)
    return str(table or ""), False


def _image(source: str, alternative: str) -> tuple[str, bool]:
    width, height = size(source)
    return f'<img src="{source}" alt="{escape(" ".join(alternative.split()), quote=True)}">', height > 1.1 * width
