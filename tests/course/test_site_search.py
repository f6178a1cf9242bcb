"""The site's search finds what a reader sees at once, and never what answers a question."""

import base64
import gzip
import json
import re
from functools import cache

from bs4 import BeautifulSoup
from places import NOTEBOOKS

from vmenter.course.exercises import every
from vmenter.course.site.search import LEADERS, Section, index, sections
from vmenter.course.site.terms import terms

FOLDS = "details, .later, .live, .out, .needs, .code"
LONG = 25  # characters; shorter texts stand anywhere
SMALL = 150_000  # bytes that the index may take


@cache
def found(site):
    packed = re.search(r'"(.*)"', (site / "assets" / "search-index.js").read_text(encoding="utf-8"))[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def plain(text):
    return "".join(text.split())


def page(site, name):
    return BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser").select_one("main")


def open_text(site, name):
    """Return what stands on a page outside all folds, without blanks."""
    whole = page(site, name)
    for one in whole.select(f"{FOLDS}, script, .tips, .anchor-link, .hero, .output > :not(section)"):
        if not one.decomposed:
            one.decompose()
    return plain(whole.get_text())


def test_every_page_for_learners_is_in_it_and_none_for_who_leads(site):
    names = {path.name for path in site.glob("*.html")} - LEADERS - {"glossary.html"}
    assert {name for name, _ in found(site)["pages"]} == names
    assert len(found(site)["terms"]) == len(
        re.findall("^## ", (NOTEBOOKS / "glossary.md").read_text(), re.MULTILINE)
    )
    assert (site / "assets" / "search-index.js").stat().st_size < SMALL


def test_what_is_found_stands_open_on_its_page(site):
    pages = found(site)["pages"]
    seen = {name: open_text(site, name) for name, _ in pages}
    assert len(found(site)["sections"]) > 100
    for at, _, title, text in found(site)["sections"]:
        assert plain(title.removesuffix("#")) in seen[pages[at][0]], title
        assert plain(text) in seen[pages[at][0]], text


def test_nothing_folded_is_found(site):
    everything = " ".join(f"{title} {text}" for _, _, title, text in found(site)["sections"])
    everything = plain(everything + " ".join(text for _, _, text in found(site)["terms"]))
    seen = "".join(open_text(site, name) for name, _ in found(site)["pages"])
    looked = 0
    for name, _ in found(site)["pages"]:
        for fold in page(site, name).select(FOLDS):
            for text in map(plain, fold.find_all(string=True)):
                if len(text) >= LONG and text not in seen:
                    looked += 1
                    assert text not in everything, f"{name}: {text}"
    assert looked > 500
    for one in every().values():
        lines = {plain(line) for line in one.solution.splitlines()} - {
            plain(line) for line in one.starter.splitlines()
        }
        for line in lines:
            assert len(line) < LONG or line in seen or line not in everything, f"{one.id}: {line}"


def test_every_place_found_is_there(site):
    ids = {name: {one["id"] for one in page(site, name).select("[id]")} for name, _ in found(site)["pages"]}
    for at, anchor, _, _ in found(site)["sections"]:
        assert not anchor or anchor in ids[found(site)["pages"][at][0]], anchor
    marks = {one["id"] for one in page(site, "glossary.html").select("[id]")}
    assert {anchor for anchor, _, _ in found(site)["terms"]} <= marks


PAGE = """<div class="text"><h1 id="top">Top</h1><p>Open <b>wor</b>ds.</p><details><summary>S</summary>truth</details>
<a id="mark"></a><h2>Named by the text</h2><p>seen</p></div><div class="code"><pre>code</pre></div>
<pre class="out">printed</pre><details class="later">later</details><div class="live"><pre>twin</pre></div>
<div class="output"><section><h4>Exercise</h4><p>the task</p><details>solution</details></section></div>
<div class="output"><table><tr><td>table</td></tr></table></div><div class="needs">checker</div>"""


def test_a_page_is_taken_apart_by_its_headings_and_only_what_is_open_is_kept():
    assert sections(BeautifulSoup(PAGE, "html.parser")) == (
        ("top", "Top", "Open words."),
        ("mark", "Named by the text", "seen"),
        ("mark", "Exercise", "the task"),
    )


def test_pages_for_who_leads_are_left_out_and_places_stay_right():
    one, two = (Section("", "t", "one"),), (Section("a", "t", "two"),)
    made = index([("INSTRUCTOR.html", "I", one), ("b.html", "B", two)], ())
    assert made == {"pages": [["b.html", "B"]], "terms": [], "sections": [[0, "a", "t", "two"]]}


GLOSSARY = """<h1>Glossary</h1><a id="VERW"></a><h2>VERW<a class="anchor-link" href="#VERW">#</a></h2>
<p>Clears <a href="#b">buffers</a>.</p><p><em>Taught in</em> <a href="x.html">X</a>.</p>
<a id="state"></a><h2>state</h2><p>What is.</p><p><em>Taught in</em> <a href="y.html">Y</a>.</p>"""


def test_terms_come_with_what_they_say_and_who_teaches_them():
    first, second = terms(GLOSSARY)
    assert (first.anchor, first.name, first.html, first.taught) == ("VERW", "VERW", "Clears buffers.", {"x.html"})
    assert (first.common, second.common) == (False, True)
