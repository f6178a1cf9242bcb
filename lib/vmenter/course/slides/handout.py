"""What a handout tells of a notebook, found by its furniture."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

from bs4 import BeautifulSoup, Tag

from vmenter.code import image
from vmenter.course.pictures import standalone
from vmenter.course.slides.blocks import rendered, size
from vmenter.emulator.memory import LAB_BASE
from vmenter.flow import recover
from vmenter.story.history import era
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.drawings.flowchart import draw
from vmenter.views.drawings.ways import sample


def part(id_: str, function: str) -> Diagram:
    """Draw one function of an era, with all that can stand at its sites."""
    return draw(recover.graph(image.from_bytes(era(id_).object, id_, LAB_BASE), function, variants=True))


# What says most of a notebook. For one that is not named here: its first drawing, or else its first table.
PICTURES: dict[str, Callable[[], Diagram]] = {
    "00": partial(part, "e6ff1d61de51", "__vmx_vcpu_run"),
    "02": partial(sample, "clear_or_not"),
    "03": partial(sample, "three_way"),
    "05": partial(part, "650b68a0622f", "vmx_vcpu_run"),
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
        svg = base64.b64encode(standalone(diagram).encode()).decode()
        return _image(f"data:image/svg+xml;base64,{svg}", diagram.text)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            drawn = BeautifulSoup(output.get("data", {}).get("text/html", ""), "html.parser").find("img")
            if isinstance(drawn, Tag) and str(drawn.get("src", "")).startswith("data:image/svg"):
                return _image(str(drawn["src"]), str(drawn.get("alt", "")))
    table = next((table for text in texts if (table := text.find("table"))), None)
    return str(table or ""), False


def _image(source: str, alternative: str) -> tuple[str, bool]:
    width, height = size(base64.b64decode(source.partition(",")[2]).decode())
    return f'<img src="{source}" alt="{escape(" ".join(alternative.split()), quote=True)}">', height > 1.1 * width
