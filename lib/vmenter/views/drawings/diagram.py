"""DOT text to an SVG that follows its page: laid out in this process, light and dark, readable by a screen reader.

Graphviz comes with pygraphviz's wheel, or with a browser's tab; no `dot` is needed. It never sees a label's text,
only a box of the size that `text_size` gives it: so no font is loaded (the bundled fontconfig complains about some
machines' set-up) and a drawing is the same on every machine. The text is put into the boxes afterwards.
"""

import base64
import hashlib
import xml.etree.ElementTree as ET  # of SVG that Graphviz just wrote, never of foreign files
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from html import escape
from math import fsum
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.views.drawings.dot import FONT_SIZE, PLACEHOLDER, Label, boxed
from vmenter.views.drawings.graphviz import draw

SVG = "http://www.w3.org/2000/svg"
LINE_HEIGHT = 1.4  # in font sizes
CODE_WIDTH = 0.61  # of a character, in font sizes
KEPT = "\0"
NARROW, WIDE = frozenset("ijltfrI.,:;|!'()[]/ "), frozenset("mwMW@%→—")


@dataclass(frozen=True)
class Diagram:
    """A drawing and its twin in words. The SVG stands alone or in a page."""

    svg: str = field(repr=False)
    text: str

    def __repr__(self) -> str:
        return self.text

    def file(self, *, dark: bool | None = None) -> str:
        """Return the SVG as a file of its own; where `dark` is None, it follows what its reader prefers."""
        theme = {None: "", False: " light", True: " dark"}[dark]
        return self.svg.replace('class="vm-diagram"', f'class="vm-diagram alone{theme}"', 1) + "\n"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Give Jupyter both.

        The drawing is an <img>: JupyterLab shows it before the notebook is trusted, where it takes an <svg> apart;
        and inside it, prefers-color-scheme follows the page's theme.
        """
        return {"text/plain": self.text, "text/html": self.image(self.text)}

    def image(self, alternative: str) -> str:
        """Return the SVG as an <img> with everything in it."""
        data = base64.b64encode(self.file().encode()).decode()
        return f'<img style="max-width: 100%" alt="{escape(alternative)}" src="data:image/svg+xml;base64,{data}">'


@dataclass(frozen=True)
class Mark:
    """What to change on one node or edge of a finished drawing: its classes, and perhaps its lines of text.

    A line that is `KEPT` stays as it was.
    """

    classes: str = ""
    text: str | None = None


def text_size(text: str, size: float = FONT_SIZE, *, code: bool = False) -> tuple[float, float]:
    """Return the width and height that `text` (lines end in newlines) takes, a little generously."""
    lines = text.split("\n")

    def width(line: str) -> float:
        if code:
            return CODE_WIDTH * len(line)
        return fsum(0.42 if c in NARROW else 1.0 if c in WIDE else 0.78 if c.isupper() else 0.66 for c in line)

    return max(width(line) for line in lines) * size, len(lines) * LINE_HEIGHT * size


def layout(dot: str, title: str = "", description: str = "") -> str:
    r"""Lay out DOT text and return SVG text.

    Nodes and edges keep the classes that DOT gives them (``class="code"``: fixed-width text) and get a
    ``data-key``: the node's name, or ``tail->head``. Labels are plain text; ``\n`` ends a line, ``\l`` a
    line that is set to the left. Colours come from classes (diagram.css). Raises `LabError` for bad DOT.
    """
    return _layout(dot, title, description)


@lru_cache(maxsize=256)
def _layout(dot: str, title: str, description: str) -> str:
    text, labels = boxed(dot, lambda label, size, code: text_size(label, size, code=code))
    raw = draw(text)
    prefix = "d" + hashlib.sha256(repr((dot, title, description)).encode()).hexdigest()[:8]
    return _clean(raw, labels, prefix, title, description)


def mark(svg: str, marks: Mapping[str, Mark]) -> str:
    """Return the drawing with classes added, and texts changed, on the nodes and edges of these keys."""
    ET.register_namespace("", SVG)
    root = ET.fromstring(svg)  # noqa: S314  (our own)
    for group in root.iter(f"{{{SVG}}}g"):
        change = marks.get(group.get("data-key", ""))
        if change is None:
            continue
        group.set("class", f"{group.get('class', '')} {change.classes}".strip())
        if change.text is not None:
            lines = change.text.split("\n")
            for element, line in zip(group.iter(f"{{{SVG}}}text"), lines, strict=False):
                element.text = line if line != KEPT else element.text
    return ET.tostring(root, encoding="unicode")


# --- after the layout: classes for colours, text for boxes -------------------------------------------------


@cache
def style() -> str:
    """Return the style sheet of all drawings, on one line."""
    return " ".join(Path(__file__).with_name("diagram.css").read_text(encoding="utf-8").split())


def _clean(raw: str, labels: Mapping[str, Label], prefix: str, title: str, description: str) -> str:
    """Return the SVG without fixed colours, with text, names for screen readers, and ids of its own."""
    ET.register_namespace("", SVG)
    source = ET.fromstring(raw[raw.index("<svg") :])  # noqa: S314  (Graphviz wrote it)
    _, _, width, height = (source.get("viewBox") or "0 0 0 0").split()
    root = ET.Element(f"{{{SVG}}}svg", {"class": "vm-diagram", "viewBox": f"0 0 {width} {height}", "role": "img"})
    root.set("width", f"{float(width):.0f}")
    names = []
    for tag, text in (("title", title), ("desc", description)):
        if text:
            ET.SubElement(root, f"{{{SVG}}}{tag}", {"id": f"{prefix}-{tag}"}).text = text
            names.append(f"{prefix}-{tag}")
    if names:
        root.set("aria-labelledby", " ".join(names))
    ET.SubElement(root, f"{{{SVG}}}style").text = style()
    drawing = source.find(f"{{{SVG}}}g")
    if drawing is None:
        raise LabError("Graphviz drew nothing")
    canvas = ET.SubElement(root, f"{{{SVG}}}g", {"transform": f"translate(4 {float(height) - 4:g})"})
    for group in drawing.findall(f"{{{SVG}}}g"):
        canvas.append(_group(group, labels[group.get("id", "")], prefix))
    return ET.tostring(root, encoding="unicode")


def _group(group: ET.Element, label: Label, prefix: str) -> ET.Element:
    """Rebuild one node, edge or cluster."""
    classes = group.get("class", "")
    names = {"id": f"{prefix}-{group.get('id')}", "class": classes, "data-key": label.key}
    result = ET.Element(f"{{{SVG}}}g", names)
    edge = "edge" in classes.split()
    for shape in group.iter():
        tag = shape.tag.rpartition("}")[2]
        if shape.get("fill") == PLACEHOLDER:
            result.extend(_text(shape.get("points", ""), label))
        elif tag in ("path", "polygon", "ellipse", "polyline"):
            kept = {k: v for k, v in shape.attrib.items() if k not in ("fill", "stroke", "stroke-width")}
            kept["class"] = ("line" if tag in ("path", "polyline") else "head") if edge else "shape"
            ET.SubElement(result, f"{{{SVG}}}{tag}", kept)
    return result


def _text(points: str, label: Label) -> Iterator[ET.Element]:
    """Yield the lines of a label, set into the box of these points."""
    corners = [tuple(float(number) for number in point.split(",")) for point in points.split()]
    left, right = min(x for x, _ in corners), max(x for x, _ in corners)
    middle = (min(y for _, y in corners) + max(y for _, y in corners)) / 2
    x = left if label.left else (left + right) / 2
    for row, line in enumerate(label.lines):
        y = middle + (row - (len(label.lines) - 1) / 2) * LINE_HEIGHT * label.size + 0.34 * label.size
        place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "font-size": f"{label.size:g}"}
        element = ET.Element(f"{{{SVG}}}text", {**place, "text-anchor": "start" if label.left else "middle"})
        element.text = line
        yield element
