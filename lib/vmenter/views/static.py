"""Text in an output, for viewers that know none of the course's style sheets: nbconvert, VS Code, GitHub.

GitHub takes out every style. What must read well there needs lines of its own and a `<pre>` that is not too wide.
"""

from html import escape
from textwrap import wrap

WIDTH = 96  # characters: as many as GitHub's column has
TEXT = "font-family:monospace;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere"


def narrow(text: str, width: int = WIDTH) -> str:
    """Return a text whose lines have at most `width` characters, words longer than that apart.

    What is broken goes on two characters further in, so that a list's next line can be told from it.
    """
    return "\n".join(part for line in text.split("\n") for part in _narrow(line, width))


def _narrow(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    inner = " " * (len(line) - len(line.lstrip()) + 2)
    return wrap(line, width, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False)


def pre(text: str, style: str = "") -> str:
    """Return the HTML of a text in fixed width, as it stands: code, say; `style` is added to its own."""
    return f'<pre style="{TEXT}{style}">{escape(text)}</pre>'


def lines(html: str) -> str:
    """Return escaped text with its line ends as elements, and with blanks that stay where they stand in rows."""
    return html.replace("\n", "<br>").replace("  ", "&nbsp; ")
