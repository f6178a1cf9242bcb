"""A notebook, or a text beside it, as the inside of a page: Markdown, code, outputs, room for the live views."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from bs4 import BeautifulSoup, Tag
from nbconvert.filters import Highlight2HTML, markdown2html

from vmenter.course.site import search
from vmenter.course.site.terms import Marker, Term
from vmenter.course.site.views import WITHOUT, Live
from vmenter.course.site.wording import reworded

HIDDEN = {"assertion", "assert", "hide-input", "hide-cell", "remove-cell"}
HELP = "with-a-kernel.html"
HOW = f'<a href="{HELP}">With a kernel</a>'
Rename = Callable[[str], str | None]  # a link's target in the notebooks → on the site; None: it is not there


@dataclass(frozen=True)
class Page:
    """The inside of a page, its title, and its sections to link to: (anchor, title)."""

    name: str  # of the file
    title: str
    body: str
    sections: tuple[tuple[str, str], ...]
    run: str = HELP  # where it runs, or where it says how to run it
    told: tuple[search.Section, ...] = ()  # what its search may find


def notebook_page(
    name: str,
    notebook: Any,
    views: Mapping[int, Live | None],
    rename: Rename,
    picture: str = "",
    run: str = "",
    terms: Sequence[Term] = (),
) -> Page:
    """Return a notebook's page. `views` are its widgets by cell; None stands for one that needs a kernel.

    `picture` is HTML to stand under the first cell's text; `run` the address at which the notebook runs, with a
    query, if it has one; `terms` are the glossary's.
    """
    marker = Marker(name, terms)
    parts, guessing, told = [], "", ""  # the predictions that are asked and not told yet, and told right before
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.append(f'<div class="text">{_markdown(reworded(cell.source), rename, told, marker)}</div>')
            parts += [picture] if number == 0 and picture else []
            told = ""
        elif cell.cell_type == "code" and not _hidden(cell):
            if found := _named("truth", cell):
                guessing, told = "", found
            parts += _code(cell, number in views, views.get(number), guessing or _named("once_told", cell), run)
            guessing = _named("predict", cell) or guessing
    return _page(name, "\n".join((*parts, marker.tips)), run or HELP)


def _named(function: str, cell: Any) -> str:
    """Return the prediction that a cell asks, tells or waits for, "" if it does not."""
    found = re.search(rf"^{function}\(\"([^\"]+)\"", cell.source, re.MULTILINE)
    return found[1] if found else ""


def text_page(name: str, markdown: str, rename: Rename, terms: Sequence[Term] = ()) -> Page:
    """Return a page of a Markdown text."""
    marker = Marker(name, terms)
    markdown = markdown if name in (HELP, *search.LEADERS) else reworded(markdown)  # those speak of desktops
    return _page(name, f'<div class="text">{_markdown(markdown, rename, marker=marker)}</div>{marker.tips}')


def _page(name: str, body: str, run: str = HELP) -> Page:
    found = BeautifulSoup(body, "html.parser")
    heading = found.find("h1")
    sections = tuple((str(one["id"]), one.find(string=True) or "") for one in found.select(".text h2[id]"))
    title = heading.get_text().removesuffix("#").strip() if heading else name
    contents = tuple((anchor, " ".join(str(text).split())) for anchor, text in sections)
    return Page(name, title, body, contents, run, search.sections(found))


def _hidden(cell: Any) -> bool:
    folded = cell.metadata.get("jupyter", {}).get("source_hidden")
    return bool(folded or HIDDEN.intersection(cell.metadata.get("tags", ())))


# --- text --------------------------------------------------------------------------------------------------------


def _markdown(source: str, rename: Rename, told: str = "", marker: Marker | None = None) -> str:
    """Return text as HTML. `told`: the prediction whose truth stands right before; its prose opens with it."""
    page = BeautifulSoup(markdown2html(source), "html.parser")
    first = next((one for one in page.children if isinstance(one, Tag)), None)
    if told and first is not None and first.name == "details":
        first["data-prediction"] = told
    for anchor in page.select("a.anchor-link"):
        anchor.string = "#"
        anchor["aria-label"] = "Link to this section"
    for heading in page.select("h1[id], h2[id], h3[id], h4[id]"):
        if len(page.find_all(id=heading["id"])) > 1:  # the text has set the same mark beside it
            del heading["id"]
    named = {re.sub(r"[^\w-]", "", str(one["id"])).lower(): str(one["id"]) for one in page.select("[id]")}
    for link in page.find_all("a", href=True):
        if str(link["href"]).startswith("#"):  # to a heading, as GitHub writes its mark
            link["href"] = "#" + named.get(str(link["href"])[1:], str(link["href"])[1:])
        elif not str(link["href"]).startswith(("https://", "http://", "mailto:")):
            _relink(link, "href", rename)
    for box in page.find_all("input"):  # of a task list
        box["aria-label"] = " ".join(box.parent.get_text().split()) if box.parent else "to do"
    for image in page.find_all("img", src=True):
        _relink(image, "src", rename)
    for table in page.find_all("table"):
        table.wrap(page.new_tag("div", attrs={"class": "wide-table"}))
    for block in page.find_all("pre"):
        block["tabindex"] = "0"  # what can be scrolled must be in reach of the keyboard
    if marker is not None:
        marker.mark(page)
    return str(page)


def _relink(element: Tag, attribute: str, rename: Rename) -> None:
    """Let a link lead to the site's own file; one that leads elsewhere in the repository becomes plain text."""
    target, mark, anchor = str(element[attribute]).partition("#")
    found = rename(target)
    if found is None:
        element.unwrap()
    else:
        element[attribute] = f"{found}{mark}{anchor}"


# --- code and outputs --------------------------------------------------------------------------------------------


def _code(
    cell: Any,
    is_view: bool,  # noqa: FBT001
    view: Live | None,
    guessing: str = "",
    run: str = "",
) -> Iterator[str]:
    """Yield a code cell. What tells the truth of the prediction `guessing` is folded until there is a guess."""
    here = f'<a class="run" href="{escape(run)}&amp;cell={cell.id}">' if run else ""
    source = cell.source.strip()
    task = re.search(r"^exercise\(", source, re.MULTILINE)
    answer = re.search(r"^check\(", source, re.MULTILINE)
    if not task:  # a task's own text says all that its code does
        yield f'<div class="code">{_highlighted(source)}</div>'
    shown = [html for output in cell.outputs if (html := _output(output, drawn=view is not None))]
    if answer:
        where = f"{here}Answer it live</a>" if run else f"To have it checked you need a kernel: {HOW}"
        yield (
            f'<div class="needs"><p>Your answer goes here. {where}. '
            f"To this beginning the checker says:</p>{''.join(shown)}</div>"
        )
        return
    if view is not None:
        shown.append(_mount(view, f"{here}Run it live</a>" if run else HOW))
    elif is_view:
        where = f"{here}run it live</a>" if run else HOW
        shown.append(
            f'<div class="needs"><p>The view itself needs a kernel; here are its words: {where}.</p></div>'
        )
    if guessing and shown and not task:
        summary = f"<summary>What this cell gives, folded until your guess ({guessing})</summary>"
        yield f'<details class="later" data-prediction="{guessing}">{summary}{"".join(shown)}</details>'
    else:
        yield from shown


def _highlighted(source: str) -> str:
    html = Highlight2HTML(pygments_lexer="python3")(source)  # type: ignore[no-untyped-call]
    return str(html).replace("<pre>", '<pre tabindex="0">', 1)


def _mount(view: Live, how: str) -> str:
    """Return the room for a view: the text twin, until a script puts the view there. `how`: a link to the rest."""
    start = json.dumps(view.start, ensure_ascii=False, sort_keys=True).replace("<", "\\u003c")
    twin = f'<pre tabindex="0">{escape(view.text)}</pre>'
    if view.folded:
        twin = f"<details><summary>The truth, folded</summary>{twin}</details>"
    room = (
        f'<div class="live" id="{view.id}" data-view="{view.kind}">'
        f'<script type="application/json">{start}</script>{twin}</div>'
    )
    said = WITHOUT[view.kind]
    return f'{room}<div class="needs after"><p>{escape(said)} {how}.</p></div>' if said else room


def _output(output: Any, *, drawn: bool) -> str | None:
    """Return an output as HTML; where a view is drawn only what was printed, since the view says the rest."""
    if output.output_type == "stream":
        return f'<pre class="out" tabindex="0">{escape(reworded(output.text.rstrip()))}</pre>'
    data = output.get("data", {})
    if drawn:
        return None
    if html := data.get("text/html"):
        # IPython brings colours for light pages with each piece of code; the site has its own for both.
        plain = re.sub(r"<style>(?:(?!</style>).)*output_html.*?</style>", "", html, flags=re.DOTALL)
        return f'<div class="output">{reworded(plain)}</div>'
    return f'<pre class="out" tabindex="0">{escape(reworded(data.get("text/plain", "")))}</pre>'
