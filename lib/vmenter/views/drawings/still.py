"""A still picture of a view, for where no widget lives: boxes and text on a sheet, drawn in Python alone.

A sheet is filled from top to bottom. Colours are those of the other drawings and follow light and dark; what a
colour says, a letter or a word beside it says too.
"""

from collections.abc import Iterable, Sequence
from html import escape
from textwrap import wrap

from vmenter.views.drawings.diagram import SVG, Diagram, style, text_size

WIDTH = 860.0  # of a sheet at least, in pixels
LOOSE = "title loose"  # a kind of cell
SIZE, LINE = 13.0, 21.0  # of the text; from one line to the next
STYLE = (
    ".vm-diagram .title { font-weight: 600; } .vm-diagram .soft { fill: var(--d-soft); } "
    ".vm-diagram .code { font-family: var(--d-code); } .vm-diagram .middle { text-anchor: middle; } "
    ".vm-diagram rect.box { fill: none; stroke: var(--d-line); stroke-width: 1.2; } "
    ".vm-diagram rect.box.good { stroke: #009e73; stroke-width: 2.4; } "
    ".vm-diagram rect.box.bad { stroke: #d55e00; stroke-width: 2.4; stroke-dasharray: 7 3; } "
    ".vm-diagram rect.box.mark { stroke: #cc79a7; stroke-width: 2.4; } "
    ".vm-diagram rect.box.here { stroke-width: 3.4; } "
    ".vm-diagram .rule { stroke: var(--d-line); stroke-width: .8; }"
)


class Sheet:
    """What is drawn so far: parts of an SVG, and where the next line begins."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._y, self._right = 6.0, WIDTH

    def line(self, text: str, kind: str = "", x: float = 4) -> None:
        """Write one line. `kind`: title, soft, code, or several."""
        self._text(x, text, kind)
        self._y += LINE

    def lines(self, text: str, kind: str = "", x: float = 4, width: int = 118) -> None:
        """Write a text that may take several lines of `width` characters."""
        for one in wrap(text, width):
            self.line(one, kind, x)

    def badge(self, text: str, kind: str, beside: str = "") -> None:
        """Write a word in a box, good or bad, and a title beside it."""
        wide = text_size(text)[0] + 24
        self._box(4, wide, LINE + 5, kind)
        self._text(4 + wide / 2, text, "title middle", down=3)
        self._text(wide + 18, beside, "title", down=3)
        self._y += LINE + 13

    def boxes(self, boxes: Iterable[tuple[str, str, str]], height: int = 1) -> None:
        """Write boxes in a row: (text, kind, text under it); what does not fit goes on below."""
        x = 4.0
        row = height * LINE + 6
        for text, kind, under in boxes:
            wide = max(text_size(text)[0] + 20, _wide(under, "code") + 12)
            if x > 4 and x + wide > WIDTH:
                x = 4.0
                self._y += row + LINE + 4
            self._box(x, wide, row, kind)
            self._text(x + wide / 2, text, "middle", down=3)
            if under:
                self._text(x + wide / 2, under, "soft code middle", down=row + 2)
            x += wide + 10
        self._y += row + LINE + 6

    def table(self, rows: Sequence[Sequence[tuple[str, str]]], *, least: float = 0) -> None:
        """Write rows of cells, each (text, kind).

        A kind with "box" in it gets an outline, a `LOOSE` one may be wider than its column. `least`: of a column.
        """
        columns = max(map(len, rows), default=0)
        widths = [
            max([least, *(_wide(*row[at]) for row in rows if at < len(row) and row[at][1] != LOOSE)]) + 14
            for at in range(columns)
        ]
        for row in rows:
            x = 4.0
            for (text, kind), wide in zip(row, widths, strict=False):
                boxed = "box" in kind.split()
                if boxed and text:
                    self._box(x, wide - 8, LINE, kind.replace("box", "").strip())
                self._text(x + (wide - 8) / 2 if boxed else x, text, f"{kind} middle" if boxed else kind)
                x += wide
            self._right = max(self._right, x)
            self._y += LINE + (3 if any("box" in kind for _, kind in row) else 0)
        self._y += 6

    def gap(self) -> None:
        """Leave some room, and draw a thin rule in it."""
        y = self._y + 5
        self._parts.append(f'<line class="rule" x1="4" x2="{WIDTH - 4:.0f}" y1="{y:.1f}" y2="{y:.1f}" />')
        self._y += 13

    def picture(self, title: str, text: str) -> Diagram:
        """Return the sheet as a drawing with its text twin."""
        width, height = self._right + 4, self._y + 4
        head = f'<svg xmlns="{SVG}" class="vm-diagram" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        inside = f"<style>{style()} {STYLE}</style>{''.join(self._parts)}"
        return Diagram(f'{head} role="img" aria-label="{escape(title)}">{inside}</svg>', text)

    def _text(self, x: float, text: str, kind: str, down: float = 0) -> None:
        if text:
            place = f'x="{x:.1f}" y="{self._y + 15 + down:.1f}" font-size="{SIZE:g}"'
            self._parts.append(f'<text class="{kind}" {place}>{escape(text)}</text>')
            if "middle" not in kind.split():
                self._right = max(self._right, x + _wide(text, kind))

    def _box(self, x: float, width: float, height: float, kind: str) -> None:
        radius = 10 if "good" in kind.split() else 0 if "bad" in kind.split() else 4
        place = f'x="{x:.1f}" y="{self._y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}"'
        self._parts.append(f'<rect class="box {kind}" {place} />')


def _wide(text: str, kind: str) -> float:
    return text_size(text, SIZE, code="code" in kind.split())[0]
