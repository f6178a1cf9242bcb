"""Slides and handouts: both for every notebook, whole in one file, and nothing shown that a notebook folds away.

That each slide holds what it was given, and each handout is one page, is measured in tests/browser/test_slides.py.
"""

import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.course.slides import blocks, files
from vmenter.course.slides.blocks import ROOM, Block
from vmenter.course.slides.files import build
from vmenter.course.slides.handout import PICTURES
from vmenter.course.slides.pack import pack

NOTEBOOKS = sorted(files.NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return build(tmp_path_factory.mktemp("slides"))


def each():
    return pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell


def test_every_notebook_gives_slides_and_a_handout_and_the_index_leads_to_all(made):
    names = {path.name for path in made}
    assert names == {"index.html"} | {f"{path.stem}{kind}.html" for path in NOTEBOOKS for kind in ("", "-handout")}
    index = BeautifulSoup(made[0].read_text(encoding="utf-8"), "html.parser")
    assert {link["href"] for link in index.find_all("a")} == names - {"index.html"}


def test_a_file_needs_nothing_else(made):
    for path in made:
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for element in page.find_all(src=True):
            assert element["src"].startswith("data:"), path
        assert not page.find_all(["link", "iframe", "object", "base"]), path
        styles = " ".join(style.get_text() for style in page.find_all("style"))
        assert "@import" not in styles
        assert "url(" not in styles
        assert len(page.find_all("script")) <= 1


def test_links_lead_to_the_slides_made_beside_or_to_a_cited_page(made):
    names = {path.name for path in made}
    for path in made:
        for link in BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").find_all("a", href=True):
            assert link["href"] in names or link["href"].startswith("https://"), (path.name, link["href"])


@each()
def test_no_folded_cell_is_shown(path):
    _, deck, sheet = files.pages(path)
    shown = re.sub(r"\s+", "", BeautifulSoup(deck + sheet, "html.parser").get_text())
    folded = [cell for cell in nbformat.read(path, as_version=4).cells if blocks.hidden(cell)]
    assert folded or path.name.startswith("00")
    for cell in folded:
        assert re.sub(r"\s+", "", cell.source) not in shown


@each()
def test_all_text_of_a_notebook_is_on_its_slides_and_in_order(path):
    deck = BeautifulSoup(files.pages(path)[1], "html.parser")
    shown = re.sub(r"\s+", "", " ".join(body.get_text() for body in deck.select(".body")))
    at = 0
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for paragraph in blocks.rendered(cell.source).find_all("p", recursive=False):
                at = shown.index(re.sub(r"\s+", "", paragraph.get_text()), at)


@each()
def test_neither_starters_nor_answers_stand_open_on_a_slide(path):
    deck = BeautifulSoup(files.pages(path)[1], "html.parser")
    assert not [
        code for code in deck.select(".highlight") if re.search(r"^check\(", code.get_text(), re.MULTILINE)
    ]
    assert not deck.select("details[open]")
    assert "Not yet:" not in deck.get_text()


@each()
def test_a_handout_has_all_its_parts(path):
    sheet = BeautifulSoup(files.pages(path)[2], "html.parser")
    for part in (".intro p", ".aims li", ".time", ".summary li", ".sources"):
        assert sheet.select(part), part
    assert path.name.startswith("00") or len(sheet.select(".questions li")) == 2
    assert sheet.select("figure img, figure table")
    assert all(image.get("alt") for image in sheet.select("figure img"))
    assert not sheet.select(".sources strong"), "its heading says that"


def test_the_pictures_are_of_notebooks_that_are_there():
    assert {path.name[:2] for path in NOTEBOOKS} >= set(PICTURES)


def test_a_heading_starts_a_section_and_long_things_are_folded_or_cut():
    outputs = [nbformat.v4.new_output("stream", text="\n".join(f"line {n}" for n in range(40)))]
    book = notebook(
        text("# 42 · Example\n\nHello."),
        text("## One\n\nText with `code`:"),
        code("\n".join(f"x = {n}" for n in range(12)), outputs=outputs),
        code("assert x == 11", metadata={"tags": ["assertion"]}),
        code("assert x", metadata={"jupyter": {"source_hidden": True}}),
    )
    book.cells = [cell for cell in book.cells if not blocks.hidden(cell)]
    first, one = blocks.sections(book)
    assert (first.title, one.title) == ("42 · Example", "One")
    lead, source, output = one.blocks
    assert lead.leads
    assert "<details" in source.html
    assert "The code, 12 lines" in source.html
    assert "line 11\n" not in output.html.replace("line 11</pre>", "")
    assert "28 more lines in the notebook" in output.html


def test_an_exercise_shows_its_task_and_a_check_is_left_out():
    outputs = [
        nbformat.v4.new_output(
            "execute_result", {"text/plain": "Exercise 1-1: Do\nUse `verw` & go.\n(three hints)"}
        )
    ]
    cells = [code('exercise("1-1")', outputs=outputs), code('answer = 1\ncheck("1-1", answer)', outputs=outputs)]
    (section,) = blocks.sections(notebook(*cells))
    (task,) = section.blocks
    assert "<code>verw</code> &amp; go." in task.html
    assert "three hints" not in task.html


def task(*lines):
    text = "\n".join(["Exercise 1-1: Do", *lines, "(three hints)"])
    output = nbformat.v4.new_output("execute_result", {"text/plain": text})
    (section,) = blocks.sections(notebook(code('exercise("1-1")', outputs=[output])))
    return [BeautifulSoup(block.html, "html.parser") for block in section.blocks]


def test_indented_code_in_a_task_keeps_its_columns():
    (page,) = task("Which is it?", "   `0f 00   verw (%rax)`", "   `c3      retq`", "Say `why`.")
    assert page.find("pre").get_text() == "0f 00   verw (%rax)\nc3      retq"
    assert [p.get_text() for p in page.find_all("p")][:2] == ["Which is it?", "Say why."]


@pytest.mark.parametrize(("count", "slides"), [(3, 1), (4, 2), (12, 4)])
def test_a_task_higher_than_a_slide_goes_on_whole_and_in_order(count, slides):
    parts = task(*(line for n in range(count) for line in (f"Way {n}", *(f"   `{n} {m}`" for m in range(3)))))
    assert len(parts) == slides
    said = [p.get_text() for page in parts for p in page.select("p:not(.more)")]
    assert said == [f"Way {n}" for n in range(count)]
    coded = [pre.get_text() for page in parts for pre in page.find_all("pre")]
    assert coded == ["\n".join(f"{n} {m}" for m in range(3)) for n in range(count)]
    assert all(page.find("div").find_all(["p", "pre"], recursive=False)[0].name == "p" for page in parts)
    assert [bool(page.select(".more")) for page in parts] == [False] * (slides - 1) + [True]


@given(st.lists(st.builds(Block, st.uuids().map(str), st.integers(10, ROOM + 100), leads=st.booleans())))
def test_packing_loses_nothing_keeps_the_order_and_no_slide_is_too_full(found):
    packed = pack(found)
    assert [block for slide in packed for block in slide] == found
    for slide in packed:
        assert slide
        assert len(slide) == 1 or sum(block.height for block in slide) <= ROOM
    for one, following in pairwise(packed):
        assert (
            sum(block.height for block in (*one, *following)) > ROOM
            or one[-1].leads
            or any(b.leads for b in following)
        )


def test_a_line_that_leads_stays_with_what_it_leads_to():
    tall, lead, figure = Block("a", 300), Block("b:", 50, leads=True), Block("c", 220)
    assert pack([tall, lead, figure]) == [[tall], [lead, figure]]


def test_without_notebooks_there_is_one_clear_error(tmp_path):
    with pytest.raises(LabError, match="no notebooks here"):
        build(tmp_path / "out", Path(tmp_path))
