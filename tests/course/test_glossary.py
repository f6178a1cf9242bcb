"""The glossary: in order, every term with an anchor, short, and told where it is taught; and every link leads to a term."""

import json
import re

import pytest
from places import NOTEBOOKS

TEXT = (NOTEBOOKS / "glossary.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r'<a id="([^"]+)"></a>\n\n## (.+)\n\n(.+(?:\n.+)*)\n\n\*Taught in\* (.+)\.\n', TEXT)
TERMS = [term for _, term, _, _ in ENTRIES]
LINK = re.compile(r"\]\((?:\./)?glossary\.md(?:#([^)]*))?\)")


def links(path):
    """Return the anchors that a notebook's text or a Markdown file leads to; None for the glossary as a whole."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = (cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")
        text = "\n".join("".join(cell["source"]) for cell in cells)
    return [found[1] for found in LINK.finditer(text)]


def test_every_heading_is_an_entry_of_the_one_form():
    assert len(ENTRIES) == len(re.findall(r"^## ", TEXT, re.MULTILINE)) >= 80


def test_terms_stand_in_the_order_of_the_alphabet_and_once():
    assert sorted(TERMS, key=str.casefold) == TERMS
    assert len({term.casefold() for term in TERMS}) == len(TERMS)


@pytest.mark.parametrize(("anchor", "term", "text", "taught"), ENTRIES, ids=TERMS)
def test_a_term_has_the_anchor_that_jupyterlab_gives_its_heading_and_says_where_it_is_taught(
    anchor, term, text, taught
):
    assert anchor == term.replace(" ", "-")
    plain = " ".join(text.split())
    assert plain.endswith((".", ")"))
    assert 1 <= len(re.findall(r"[.)](?= [A-Z]|$)", plain)) <= 4, "some short sentences"
    assert len(plain) < 400
    for title, target in re.findall(r"\[([^\]]+)\]\(([^)]+)\)", taught):
        assert (NOTEBOOKS / target).is_file(), target
        assert title.startswith(target[:2])
    assert re.search(r"\d\d", taught)


@pytest.mark.parametrize(
    "path", sorted([*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("*.md")]), ids=lambda path: path.stem
)
def test_every_link_to_the_glossary_leads_to_a_term(path):
    anchors = {anchor for anchor, _, _, _ in ENTRIES}
    assert {link for link in links(path) if link is not None} <= anchors


def test_a_link_that_leads_nowhere_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("See [VERW](glossary.md#VERW), [it all](glossary.md), [nothing](./glossary.md#nothing).")
    assert links(page) == ["VERW", None, "nothing"]


def test_no_term_of_the_code_is_missing():
    from vmenter.boot.host import BUGS
    from vmenter.patching.alternative_table import Engine

    told = TEXT.casefold()
    assert all(f"*{engine.value}*" in told for engine in Engine)
    assert all(
        bug.replace("_", " ") in told for bug in BUGS if bug in ("mds", "taa", "mmio_stale_data", "rfds", "l1tf")
    )
