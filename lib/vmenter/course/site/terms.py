"""The glossary in the text: a term's first place in a section leads to its entry, and says it beside the text.

A page carries the definitions of its own terms, so that they need no script to be there and none to be loaded.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString

GLOSSARY = "glossary.html"
# Where a term is never marked: what leads elsewhere, heads, what opens a fold, and code in lines of its own.
LEFT_ALONE = {"a", "h1", "h2", "h3", "h4", "h5", "summary", "pre", "button", "script", "style"}
TAUGHT = "Taught in"


@dataclass(frozen=True)
class Term:
    """An entry: its mark on the glossary's page, its name, what it says as HTML without links, who teaches it."""

    anchor: str
    name: str
    html: str
    text: str
    taught: frozenset[str]  # pages

    @property
    def common(self) -> bool:
        """Whether it is a word of the language, too: then it means the entry only where it is taught."""
        return re.fullmatch(r"[a-z]+", self.name) is not None


def terms(body: str) -> tuple[Term, ...]:
    """Return the entries of the glossary's page, in its order."""
    page = BeautifulSoup(body, "html.parser")
    return tuple(_entry(heading) for heading in page.select("h2"))


def _entry(heading: Tag) -> Term:
    mark = heading.find_previous("a", id=True)
    anchor = str(heading.get("id") or (mark["id"] if mark else ""))
    html: list[str] = []
    taught: frozenset[str] = frozenset()
    for part in heading.find_next_siblings():
        if part.name == "h2":
            break
        if part.name != "p" or not part.get_text(strip=True):
            continue
        if part.get_text().startswith(TAUGHT):
            taught = frozenset(str(link["href"]) for link in part.find_all("a"))
            break
        inside = BeautifulSoup(part.decode_contents(), "html.parser")
        for link in inside.find_all("a"):
            link.unwrap()
        html.append(str(inside))
    name = "".join(heading.find_all(string=True, recursive=False)).strip() or heading.get_text().strip("# \n")
    whole = " ".join(html)
    return Term(anchor, name, whole, " ".join(BeautifulSoup(whole, "html.parser").get_text().split()), taught)


@dataclass
class Marker:
    """Marks the terms of one page, section by section, and remembers which it has met."""

    name: str  # of the page's file
    known: Sequence[Term] = ()
    met: dict[str, Term] = field(default_factory=dict)  # by anchor
    here: set[str] = field(default_factory=set)  # anchors met in this section

    def __post_init__(self) -> None:
        found = [one for one in self.known if not one.common or self.name in one.taught]
        self._by_word = {one.name: one for one in found}
        names = sorted(self._by_word, key=len, reverse=True)
        self._found = re.compile(rf"(?<![\w-])({'|'.join(map(_either_case, names))})(?:s|es)?(?![\w-])")

    def mark(self, page: BeautifulSoup) -> None:
        """Mark the terms of a piece of the page, in place."""
        if not self._by_word:
            return
        for node in list(page.descendants):
            if isinstance(node, Tag) and node.name == "h2":
                self.here = set()
            elif type(node) is NavigableString and node.strip() and not self._left_alone(node):
                parent = node.parent
                if parent is not None and parent.name == "code":
                    self._mark_code(page, parent)
                else:
                    pieces = list(self._pieces(page, str(node)))
                    if len(pieces) > 1:
                        node.replace_with(*pieces)

    def _left_alone(self, node: NavigableString) -> bool:
        return any(parent.name in LEFT_ALONE for parent in node.parents)

    def _mark_code(self, page: BeautifulSoup, code: Tag) -> None:
        """Mark code that is a term as a whole, such as `VERW`."""
        one = self._by_word.get(code.get_text())
        if one is not None and self._is_first(one):
            code.wrap(self._link(page, one))

    def _pieces(self, page: BeautifulSoup, text: str) -> Iterator[NavigableString | Tag]:
        at = 0
        for found in self._found.finditer(text):
            one = self._by_word.get(found[1]) or self._by_word[found[1][0].lower() + found[1][1:]]
            if self._is_first(one):
                link = self._link(page, one)
                link.string = found[0]
                yield NavigableString(text[at : found.start()])
                yield link
                at = found.end()
        yield NavigableString(text[at:])

    def _is_first(self, one: Term) -> bool:
        first = one.anchor not in self.here
        self.here.add(one.anchor)
        self.met[one.anchor] = one
        return first

    def _link(self, page: BeautifulSoup, one: Term) -> Tag:
        where = {"class": "term", "href": f"{GLOSSARY}#{one.anchor}", "aria-describedby": f"term-{one.anchor}"}
        return page.new_tag("a", attrs=where)

    @property
    def tips(self) -> str:
        """The definitions of what was marked, to be shown beside the text."""
        if not self.met:
            return ""
        told = (
            f'<div class="tip" role="tooltip" id="term-{one.anchor}" hidden>{one.html}</div>'
            for one in self.met.values()
        )
        return f'<div class="tips">{"".join(told)}</div>'


def _either_case(name: str) -> str:
    """Return a pattern for a name; a word that begins a sentence has a capital."""
    first = name[0]
    return f"[{first}{first.upper()}]{re.escape(name[1:])}" if name.islower() else re.escape(name)
