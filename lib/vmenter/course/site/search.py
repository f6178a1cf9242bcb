"""The index of the site's search: what a reader may see at once, by sections, and the glossary's terms.

Nothing that is folded is in it, no output, no view's words, no solution and nothing for who leads: who searches
finds where a question is asked, never what answers it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString

from vmenter.course.copies import FOR_LEADERS
from vmenter.course.site.terms import Term

# What tells a truth, or may: never found. `section` in an output is an exercise, of which the task is found.
UNTOLD = "details, script, .live, .later, .code, .out, .needs, .tips, .hero, .anchor-link, .output > :not(section)"
BLOCKS = {"p", "li", "td", "th", "div", "pre", "blockquote", "section", "tr", "dd", "dt", "br"}
HEADS = {"h1", "h2", "h3", "h4"}
LEADERS = {Path(name).with_suffix(".html").name for name in FOR_LEADERS}


class Section(NamedTuple):
    """A part of a page: the mark to link to ("" is its top), its heading, its text."""

    anchor: str
    title: str
    text: str


def sections(page: BeautifulSoup) -> tuple[Section, ...]:
    """Return the parts of a page that may be found. The page is used up."""
    for one in page.select(UNTOLD):
        if not one.decomposed:
            one.decompose()
    found: list[tuple[str, str, list[str]]] = [("", "", [])]
    mark = ""  # set by the text, right above the heading that it belongs to
    for node in page.descendants:
        if isinstance(node, Tag):
            if node.name in HEADS:
                anchor = str(node.get("id") or mark or found[-1][0])
                found.append((anchor, _plain(node.get_text()), []))
                mark = ""
            elif node.name == "a" and node.get("id"):
                mark = str(node["id"])
            elif node.name in BLOCKS:
                found[-1][2].append(" ")
        elif type(node) is NavigableString and not any(parent.name in HEADS for parent in node.parents):
            found[-1][2].append(str(node))
    made = (Section(anchor, title, _plain("".join(parts))) for anchor, title, parts in found)
    return tuple(one for one in made if one.text or one.title)


def _plain(text: str) -> str:
    return " ".join(text.split())


def index(pages: Iterable[tuple[str, str, tuple[Section, ...]]], terms: Iterable[Term]) -> dict[str, Any]:
    """Return the index as plain data: pages as (file, title), terms, and sections with their page's place."""
    told = [one for one in pages if one[0] not in LEADERS]
    return {
        "pages": [[name, title] for name, title, _ in told],
        "terms": [[one.anchor, one.name, one.text] for one in terms],
        "sections": [
            [at, part.anchor, part.title, part.text] for at, (_, _, parts) in enumerate(told) for part in parts
        ],
    }
