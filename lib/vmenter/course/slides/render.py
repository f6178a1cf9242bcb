"""Pieces of a slide as HTML: rendered text, drawings, what a cell printed. nbconvert renders the text."""

import base64
import re
from html import escape
from math import ceil
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert.filters import markdown2html

from vmenter.course.slides.wanted import lines_of

HIDDEN = {"assertion", "assert", "hide-input", "hide-cell", "remove-cell"}
SVG = "data:image/svg+xml;base64,"
WIDE, HIGH = 88, 14  # characters and lines that fit in the larger type


def read(path: Path) -> Any:
    """Return a notebook without the cells that its readers do not see."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    notebook.cells = [cell for cell in notebook.cells if not hidden(cell)]
    return notebook


def hidden(cell: Any) -> bool:
    """Tell whether a notebook shows a cell folded, or not at all."""
    return bool(HIDDEN.intersection(cell.metadata.get("tags", ()))) or bool(
        cell.metadata.get("jupyter", {}).get("source_hidden")
    )


def rendered(markdown: str) -> BeautifulSoup:
    """Render Markdown. Notebooks link to each other; slides to slides."""
    page = BeautifulSoup(markdown2html(markdown), "html.parser")
    for anchor in page.select("a.anchor-link"):
        anchor.decompose()
    for heading in page.find_all(re.compile("^h[1-6]$")):
        del heading["id"]
    for link in page.find_all("a", href=True):
        target = str(link["href"])
        if found := re.fullmatch(r"([\w.-]+)\.ipynb(#.*)?", target):
            link["href"] = f"{found[1]}.html"
        elif not target.startswith(("https://", "http://", "mailto:")):
            link.unwrap()
    return page


def inline(text: str) -> str:
    """Escape plain text for HTML, with `code` between backquotes and *stress* between stars."""
    parts = re.split(r"`([^`]+)`", escape(text))
    return "".join(
        f"<code>{part}</code>" if number % 2 else re.sub(r"\*(\w[^*]*)\*", r"<em>\1</em>", part)
        for number, part in enumerate(parts)
    )


def drawing_in(outputs: Any) -> tuple[str, str] | None:
    """Return the first drawing among a cell's outputs, as a data URL, and its words; None if there is none."""
    for output in outputs:
        drawn = BeautifulSoup(output.get("data", {}).get("text/html", ""), "html.parser").find("img")
        if isinstance(drawn, Tag) and str(drawn.get("src", "")).startswith(SVG):
            return str(drawn["src"]), str(drawn.get("alt", ""))
    return None


def text_in(outputs: Any) -> str:
    """Return what a cell printed, or the text of what it showed."""
    texts = [one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs]
    return "\n".join(text.rstrip() for text in texts if text.strip())


def drawing(source: str, alternative: str) -> str:
    """Show a drawing, given as a data URL; one that is much higher than wide in two parts, side by side.

    These share a strip, so that what the cut goes through stands whole in one of them.
    """
    width, height = size(source)
    text = escape(" ".join(alternative.split())[:600], quote=True)
    if height < 1.1 * width:
        return f'<img class="drawing" src="{source}" alt="{text}">'
    halves = "".join(
        f'<span class="{half}"><img src="{source}" alt="{alt}"></span>'
        for half, alt in (("top", text), ("rest", ""))
    )
    return f'<div class="halves" style="--w:{width:.0f};--h:{height:.0f}">{halves}</div>'


def svg_url(svg: str) -> str:
    """Return an SVG as a data URL."""
    return SVG + base64.b64encode(svg.encode()).decode()


def size(source: str) -> tuple[float, float]:
    """Return width and height of an SVG that is given as a data URL, from its viewBox."""
    svg = base64.b64decode(source.partition(",")[2]).decode()
    found = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', svg)
    return (float(found[1]), float(found[2])) if found else (4.0, 3.0)


def printed(text: str, wanted: str = "") -> str:
    """Show lines of what was printed; `wanted` says which, such as "1-6 9", all if it is empty."""
    lines = lines_of(text, wanted)
    small = " small" if max(map(len, lines)) > WIDE or sum(ceil(len(one) / WIDE) for one in lines) > HIGH else ""
    return f'<pre class="out{small}">{escape(chr(10).join(lines))}</pre>'
