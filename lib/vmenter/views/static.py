"""Text in an output, for viewers that know none of the course's style sheets: nbconvert, VS Code, GitHub.

GitHub takes out styles altogether, and there a line of `<pre>` is as wide as it is. So a long line gets breaks
that their own style hides: they show where no style is left.
"""

from html import escape
from itertools import pairwise

WIDTH = 96  # characters: as many as GitHub's column has
TEXT = "font-family:monospace;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere"
HIDDEN = '<span style="display:none">\n{}</span>'
FURTHER = 2  # characters that a line goes on further in, so that a list's next line can be told from it


def pre(text: str, style: str = "") -> str:
    """Return the HTML of a text in fixed width, as it stands: code, say; `style` is added to its own."""
    return f'<pre style="{TEXT}{style}">{escape(text)}</pre>'


def narrow(text: str, style: str = "") -> str:
    """Return a text in fixed width as HTML whose lines, where styles are lost, have at most `WIDTH` characters."""
    lines = "\n".join(map(_broken, text.split("\n")))
    return f'<pre style="{TEXT}{style}">{lines}</pre>'


def breaks(line: str, width: int = WIDTH) -> list[int]:
    """Return the places of the blanks before which a line is to be broken; a word longer than that stays whole."""
    words = line.lstrip()
    indent = len(line) - len(words)
    found, start, room = [], indent, width - indent  # the first line has its indent before it
    while room > 0 and len(line) - start > room:
        cut = line.rfind(" ", start + 1, start + room + 1)
        cut = line.find(" ", start + room) if cut < 0 else cut
        if cut < 0:
            break
        found.append(cut)
        start, room = cut, width - indent - FURTHER + 1
    return found


def _broken(line: str) -> str:
    cuts = [0, *breaks(line), len(line)]
    between = HIDDEN.format(" " * (len(line) - len(line.lstrip()) + FURTHER - 1))
    return between.join(escape(line[a:b]) for a, b in pairwise(cuts))


def rows(html: str) -> str:
    """Return escaped text with its line ends as elements, and with blanks that stay where they stand in rows."""
    return html.replace("\n", "<br>").replace("  ", "&nbsp; ")
