"""The glossary in the site's text: which words are marked, where, and what stands beside them."""

import pytest
from bs4 import BeautifulSoup

from vmenter.course.site.terms import Marker, Term

TERMS = (
    Term("VERW", "VERW", "<b>V</b>", "V", frozenset()),
    Term("CLEAR", "CLEAR_CPU_BUF", "C", "C", frozenset()),
    Term("VM", "CLEAR_CPU_BUF_VM", "CV", "CV", frozenset()),
    Term("flag", "flush flag", "f", "f", frozenset()),
    Term("state", "state", "s", "s", frozenset({"taught.html"})),
)


def marked(text, name="a.html", marker=None):
    """Return the words that are marked in a text, with their terms' anchors."""
    page = BeautifulSoup(text, "html.parser")
    (marker or Marker(name, TERMS)).mark(page)
    assert page.get_text() == BeautifulSoup(text, "html.parser").get_text()
    return [(one.get_text(), one["href"].partition("#")[2]) for one in page.select("a.term")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>VERW, then VERW again</p>", [("VERW", "VERW")]),
        ("<p>two VERWs</p>", [("VERWs", "VERW")]),
        ("<p>OVERW, VERWX, my-VERW, VERW-like</p>", []),
        ("<p>verw is an instruction</p>", []),
        ("<p><code>VERW</code></p>", [("VERW", "VERW")]),
        ("<p><code>VERW %ax</code></p>", []),
        ("<p>CLEAR_CPU_BUF_VM and CLEAR_CPU_BUF</p>", [("CLEAR_CPU_BUF_VM", "VM"), ("CLEAR_CPU_BUF", "CLEAR")]),
        ("<p>Flush flags and the flush flag</p>", [("Flush flags", "flag")]),
        ("<h2>VERW</h2><p><a href='x'>VERW</a></p><pre>VERW</pre><details><summary>VERW</summary></details>", []),
        ("<p>VERW</p><h2>Next</h2><p>VERW</p>", [("VERW", "VERW")] * 2),
        ("<p>the state</p>", []),
        ("<!-- VERW -->", []),
    ],
)
def test_a_term_is_marked_once_a_section_where_it_means_it(text, expected):
    assert marked(text) == expected


def test_a_word_of_the_language_is_marked_where_it_is_taught():
    assert marked("<p>State and state</p>", "taught.html") == [("State", "state")]


def test_sections_go_on_over_the_pieces_of_a_page_and_tips_come_once():
    marker = Marker("a.html", TERMS)
    assert marked("<p>VERW</p>", marker=marker)
    assert not marked("<p>VERW</p>", marker=marker)
    assert marked("<h2>x</h2><p>VERW</p>", marker=marker)
    tips = BeautifulSoup(marker.tips, "html.parser").select("[role=tooltip]")
    assert [(one["id"], one.decode_contents(), one.has_attr("hidden")) for one in tips] == [
        ("term-VERW", "<b>V</b>", True)
    ]


def test_without_a_glossary_nothing_is_marked():
    assert not marked("<p>VERW</p>", marker=Marker("a.html"))
    assert Marker("a.html").tips == ""


def test_every_mark_on_the_site_has_its_definition_beside_it(site):
    counted = 0
    for path in site.glob("*.html"):
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        tips = {one["id"] for one in page.select(".tip")}
        marks = {one["aria-describedby"] for one in page.select("a.term")}
        assert marks == tips, path.name
        assert path.name != "glossary.html" or not marks
        counted += len(marks)
    assert counted > 100
