"""Horizontal bars: how many of what, one or two numbers a row, as an SVG and in words.

The bars of a second series are outlined, not filled, so that nothing is told by colour alone; every number is
written beside its bar.
"""

from collections.abc import Sequence
from html import escape

from vmenter import LabError
from vmenter.views.drawings.diagram import SVG, Diagram, style, text_size

WIDTH = 760.0  # of the whole drawing, in pixels
ROW, BAR, GAP = 18.0, 12.0, 8.0  # height of a bar with its air, of the bar alone, between groups
SIZE = 12.5  # of the text
TWIN = 40  # columns that the longest bar of the twin takes
STYLE = (
    ".vm-diagram .bar { fill: var(--d-accent); stroke: var(--d-accent); stroke-width: 1.2; } "
    ".vm-diagram .bar.second { fill: none; } .vm-diagram .axis { stroke: var(--d-line); stroke-width: 1; } "
    ".vm-diagram .name { text-anchor: end; } .vm-diagram .title { font-weight: 600; }"
)
KINDS = ("first", "second")


def bars(rows: Sequence[tuple[str, Sequence[int]]], title: str, series: Sequence[str]) -> Diagram:
    """Draw rows of (name, a number for each series). Raises `LabError` for other than one or two series."""
    if not 1 <= len(series) <= len(KINDS) or any(len(numbers) != len(series) for _, numbers in rows):
        raise LabError(f"bars: one or two series, and in each row a number for each; given: {', '.join(series)}")
    longest = max([1, *(number for _, numbers in rows for number in numbers)])
    left = max([0.0, *(text_size(name, SIZE)[0] for name, _ in rows)]) + 10
    room = WIDTH - left - text_size(f"{longest:,}", SIZE)[0] - 12
    parts = [_text(0, 16, title, "title")]
    y = 30.0
    if len(series) > 1:
        parts += _legend(series, left, y)
        y += ROW + GAP
    top = y
    for name, numbers in rows:
        middle = y + len(numbers) * ROW / 2
        parts.append(_text(left - 8, middle + 4, name, "name"))
        for kind, number in zip(KINDS, numbers, strict=False):
            width = room * number / longest
            parts.append(_bar(left, y + (ROW - BAR) / 2, width, kind))
            parts.append(_text(left + width + 6, y + ROW / 2 + 4, f"{number:,}"))
            y += ROW
        y += GAP
    parts.append(f'<line class="axis" x1="{left:.1f}" y1="{top:.1f}" x2="{left:.1f}" y2="{y - GAP:.1f}" />')
    text = twin(rows, title, series)
    head = (
        f'<svg xmlns="{SVG}" class="vm-diagram" viewBox="0 0 {WIDTH:.0f} {y:.0f}" width="{WIDTH:.0f}" role="img"'
    )
    style_ = f"<style>{style()} {STYLE}</style>"
    svg = f'{head} aria-label="{escape(title)}"><desc>{escape(text)}</desc>{style_}{"".join(parts)}</svg>'
    return Diagram(svg, text)


def twin(rows: Sequence[tuple[str, Sequence[int]]], title: str, series: Sequence[str]) -> str:
    """Return the same in words: a line for each bar."""
    longest = max([1, *(number for _, numbers in rows for number in numbers)])
    wide = max([0, *(len(name) for name, _ in rows)])
    tags = [f"{one}  " for one in series] if len(series) > 1 else [""]
    tag = max(map(len, tags))
    lines = [title]
    for name, numbers in rows:
        for index, number in enumerate(numbers):
            bar = ("█", "░")[index] * round(TWIN * number / longest)
            lines.append(
                f"  {name if index == 0 else '':<{wide}}  {tags[index]:<{tag}}{number:>6,}  {bar}".rstrip()
            )
    return "\n".join(lines)


def _legend(series: Sequence[str], left: float, y: float) -> list[str]:
    parts, x = [], left
    for kind, name in zip(KINDS, series, strict=False):
        parts += [_bar(x, y + (ROW - BAR) / 2, 22, kind), _text(x + 28, y + ROW / 2 + 4, name)]
        x += 28 + text_size(name, SIZE)[0] + 24
    return parts


def _bar(x: float, y: float, width: float, kind: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.6):.1f}" height="{BAR}"'
    return f'<rect class="bar {kind}" {place} rx="2" />'


def _text(x: float, y: float, text: str, kind: str = "number") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" font-size="{SIZE}">{escape(text)}</text>'
