"""A notebook as sections of blocks: what slides are packed from.

A block is a piece that no slide breaks apart (a paragraph, a list, a table, some code, an output), as HTML, with
its height. Heights are estimated from the number of characters, in pixels of a slide of 1280 by 720; they only
say where a slide is full. A browser test measures that nothing overflows.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

import nbformat
from bs4 import BeautifulSoup, Tag
from nbconvert.filters import Highlight2HTML, markdown2html

HIDDEN = {"assertion", "assert", "hide-input", "hide-cell", "remove-cell"}
WIDTH, ROOM = 1136, 544  # of a slide's body
FOLD = 6  # longer code is folded: in a room, what it prints counts for more
LONG = 15  # longer outputs are cut
CUT = 12  # … to so many lines,
CUT_TWIN = 9  # those of a widget to fewer: they only recall it
FULL = ROOM  # the height of a block that gets a slide to itself
FRAME = 130  # what a task has around it: its box, its title, the line on hints
FLAT = 330  # … of a drawing that leaves room for some text; it grows where there is more


@dataclass(frozen=True)
class Block:
    """One piece: its HTML, its height in pixels, and whether it leads into the next one."""

    html: str
    height: int
    leads: bool = False


@dataclass
class Section:
    """A heading and what stands under it."""

    title: str  # as HTML
    blocks: list[Block] = field(default_factory=list)


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


def sections(notebook: Any) -> Iterator[Section]:
    """Yield the notebook's sections in order; the first bears its title."""
    current = Section("")
    for cell in notebook.cells:
        for title, block in _markdown(cell.source) if cell.cell_type == "markdown" else _code(cell):
            if title is not None:
                if current.title:
                    yield current
                current = Section(title)
            elif block is not None:
                current.blocks.append(block)
    yield current


# --- text ------------------------------------------------------------------------------------------------------


def _markdown(source: str) -> Iterator[tuple[str | None, Block | None]]:
    """Yield a cell's headings and blocks: (title, None) or (None, block)."""
    for element in rendered(source).find_all(recursive=False):
        if re.fullmatch("h[1-6]", element.name):
            yield element.decode_contents(), None
        else:
            for piece in _parts(element):
                yield None, Block(str(piece), _height(piece), leads=_leads(element))


def _leads(element: Tag) -> bool:
    """Tell whether a paragraph only makes sense with what comes next: a colon, or a list behind it."""
    behind = element.find_next_sibling()
    lists = isinstance(behind, Tag) and behind.name in ("ul", "ol")
    return element.name == "p" and (lists or element.get_text().rstrip().endswith(":"))


def _parts(element: Tag) -> Iterator[Tag]:
    """Break a list or a table that is higher than a slide; yield everything else whole."""
    rows = element.select(":scope > li, :scope > tbody > tr")
    if _height(element) <= ROOM or len(rows) < 2:
        yield element
        return
    half = len(rows) // 2
    for keep in (rows[:half], rows[half:]):
        copy = BeautifulSoup(str(element), "html.parser").find(element.name)
        if isinstance(copy, Tag):
            for row, original in zip(copy.select(":scope > li, :scope > tbody > tr"), rows, strict=True):
                if not any(original is one for one in keep):
                    row.decompose()
            if copy.name == "ol" and keep[0] is not rows[0]:
                copy["start"] = str(half + 1)
            yield from _parts(copy)


def _height(element: Tag) -> int:
    text = " ".join(element.get_text().split())
    if element.name in ("ul", "ol"):
        return sum(10 + 36 * ceil(len(item.get_text()) / 78) for item in element.find_all("li")) + 10
    if element.name == "table":
        return _table(element)
    if element.name == "pre":
        return 40 + 27 * len(element.get_text().rstrip("\n").split("\n"))
    if element.name == "details":
        summary = element.find("summary")
        return 24 + 36 * ceil(len(summary.get_text() if summary else text) / 78)
    return 16 + 36 * ceil(len(text) / 82)


def _table(table: Tag) -> int:
    """Estimate a table: a browser gives columns room by the length of what they hold."""
    rows = [[len(cell.get_text()) for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
    widest = [max(column) for column in zip(*rows, strict=True)] if rows else []
    room = (WIDTH - 24 * len(widest)) / 12  # characters beside one another
    share = [max(8.0, room * most / max(sum(widest), room)) for most in widest]
    lines: list[int] = [max(ceil(n / each) for n, each in zip(row, share, strict=True)) for row in rows]
    return 18 + sum(16 + 29 * high for high in lines)


# --- code and outputs ------------------------------------------------------------------------------------------


def _code(cell: Any) -> Iterator[tuple[None, Block]]:
    """Yield a code cell's blocks. An exercise shows its task; starter, verdict, what only draws are left out."""
    source = cell.source.strip()
    if re.search(r"^check\(", source, re.MULTILINE):
        return
    shown = [block for output in cell.get("outputs", []) for block in _output(output, source)]
    drawn = any("svg+xml" in block.html for block in shown)
    if not drawn and not re.search(r"^exercise\(", source, re.MULTILINE):
        yield None, _source(source, leads=bool(shown))
    for block in shown:
        yield None, block


def _source(source: str, *, leads: bool) -> Block:
    lines = source.count("\n") + 1
    code = Highlight2HTML(pygments_lexer="python3")(source)  # type: ignore[no-untyped-call]
    if lines > FOLD:
        html = f'<details class="code"><summary>The code, {lines} lines</summary>{code}</details>'
        return Block(html, 62, leads=leads)
    wide = max(map(len, source.splitlines())) > 92
    return Block(
        f'<div class="code{" wide" if wide else ""}">{code}</div>', 42 + (24 if wide else 27) * lines, leads=leads
    )


def _output(output: Any, source: str) -> list[Block]:
    """Return what an output shows: a drawing, a task, a widget's twin, or text; nothing if it is empty."""
    data = output.get("data", {})
    drawn = BeautifulSoup(data.get("text/html", ""), "html.parser").find("img")
    if isinstance(drawn, Tag) and str(drawn.get("src", "")).startswith("data:image/svg+xml;base64,"):
        return [drawing(str(drawn["src"]), str(drawn.get("alt", "")))]
    text = (output.get("text") or data.get("text/plain") or "").rstrip()
    if not text:
        return []
    if re.search(r"^exercise\(", source, re.MULTILINE):
        return _task(text)
    html = data.get("text/html", "")
    if html and "highlight" not in html:
        return [_text(text, "twin", "As text, from the widget or picture in the notebook:")]
    return [_text(text, "out", "")]


def _text(text: str, kind: str, label: str) -> Block:
    lines = text.split("\n")
    cut = CUT_TWIN if kind == "twin" else CUT
    left = len(lines) - cut if len(lines) > LONG else 0
    if left:
        lines = lines[:cut]
    more = f'<p class="more">{left} more lines in the notebook</p>' if left else ""
    above = f'<p class="label">{label}</p>' if label else ""
    longest = max(map(len, lines))
    size, line, room = ("small", 22, 128) if longest > 92 else ("", 27, 92)
    rows = sum(max(1, ceil(len(one) / room)) for one in lines)
    html = f'<div class="{kind}">{above}<pre class="{size}">{escape(chr(10).join(lines))}</pre>{more}</div>'
    return Block(html, 42 + rows * line + 30 * bool(left) + 30 * bool(label))


def _task(text: str) -> list[Block]:
    """Show an exercise: title and task, and where hints and solution are.

    A task that is higher than a slide is set smaller; one that is still higher goes on, on slides of its own.
    """
    title, *task = text.split("\n")[:-1]  # the last line tells of hints
    small = 150 + sum(8 + 32 * ceil(len(line) / 84) for line in task) > FULL
    parts: list[list[tuple[str, int]]] = [[]]
    for piece in _pieces(task, small=small):
        if parts[-1] and FRAME + sum(height for _, height in (*parts[-1], piece)) > FULL:
            parts.append([])
        parts[-1].append(piece)
    kind = "task long" if small else "task"
    shown = []
    for number, part in enumerate(parts, 1):
        again = f" · {number}" if number > 1 else ""
        more = '<p class="more">Hints, a check and a solution: in the notebook</p>' if number == len(parts) else ""
        body = "".join(html for html, _ in part)
        html = f'<div class="{kind}"><h3>{escape(title)}{again}</h3>{body}{more}</div>'
        shown.append(Block(html, min(FRAME + sum(height for _, height in part), FULL)))
    return shown


def _pieces(task: list[str], *, small: bool) -> Iterator[tuple[str, int]]:
    """Yield what a task is made of, with heights: a paragraph, or indented code with the line that leads to it."""
    line, room = (25, 108) if small else (32, 84)
    lead, high = "", 0
    for coded, lines in groupby((one for one in task if one.strip()), key=_is_code):
        if coded:
            code = [one.strip().strip("`") for one in lines]
            yield f"{lead}<pre>{escape(chr(10).join(code))}</pre>", high + 34 + (22 if small else 27) * len(code)
            lead, high = "", 0
            continue
        for one in lines:
            if lead:
                yield lead, high
            lead, high = f"<p>{_rich(one)}</p>", 8 + line * ceil(len(one) / room)
    if lead:
        yield lead, high


def _is_code(line: str) -> bool:
    """Tell whether a line of a task is indented code and nothing else."""
    return bool(re.fullmatch(r"\s+`[^`]+`\s*", line))


def _rich(text: str) -> str:
    """Escape text for HTML, with `code` between backquotes."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def drawing(source: str, alternative: str) -> Block:
    """Show a drawing, given as a data URL; one that is much higher than wide in two halves, side by side."""
    width, height = size(base64.b64decode(source.partition(",")[2]).decode())
    text = escape(" ".join(alternative.split())[:600], quote=True)
    if height < 1.1 * width:
        return Block(f'<img class="drawing" src="{source}" alt="{text}">', FLAT)
    halves = "".join(
        f'<span class="{half}"><img src="{source}" alt="{alt}"></span>'
        for half, alt in (("top", text), ("rest", ""))
    )
    return Block(f'<div class="halves" style="--w:{width:.0f};--h:{height:.0f}">{halves}</div>', FULL)


def size(svg: str) -> tuple[float, float]:
    """Return width and height of an SVG, from its viewBox."""
    found = re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', svg)
    return (float(found[1]), float(found[2])) if found else (4.0, 3.0)
