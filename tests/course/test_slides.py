"""Slides, notes, handouts, answer key: about twelve slides a notebook, each truth behind its question, nothing lost.

That each slide holds what it was given, and each handout is one page, is measured in tests/browser/test_slides.py.
"""

import json
import re
from html import escape
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from vmenter import LabError
from vmenter.course import copies
from vmenter.course.exercises import every
from vmenter.course.prediction import questions
from vmenter.course.slides import deck, files, leader, render
from vmenter.course.slides.deck import Slide, Source, slides
from vmenter.course.slides.files import build, made
from vmenter.course.slides.handout import PICTURES
from vmenter.course.slides.wanted import lines_of

NOTEBOOKS = sorted(files.NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
KINDS = ("", "-notes", "-handout")
LEAST, MOST = 8, 16  # slides


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("slides"))


@pytest.fixture(scope="module")
def decks():
    return {path.stem: made(path) for path in NOTEBOOKS}


def each():
    return pytest.mark.parametrize("stem", [path.stem for path in NOTEBOOKS])


def text_of(html):
    text = " ".join(BeautifulSoup(html, "html.parser").get_text(" ").split())
    return re.sub(r" ([,.;:?!)])", r"\1", text)


# --- the files -----------------------------------------------------------------------------------------------------


def test_every_notebook_gives_slides_notes_and_a_handout_and_the_index_leads_to_all(folder):
    names = {path.name for path in folder}
    assert names == {"index.html", "answers.html", "sheets.html"} | {
        f"{path.stem}{kind}.html" for path in NOTEBOOKS for kind in KINDS
    }
    index = BeautifulSoup(folder[0].read_text(encoding="utf-8"), "html.parser")
    assert {link["href"] for link in index.find_all("a")} == names - {"index.html"}


def test_a_file_needs_nothing_else(folder):
    for path in folder:
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for element in page.find_all(src=True):
            assert element["src"].startswith("data:"), path
        assert not page.find_all(["link", "iframe", "object", "base"]), path
        styles = " ".join(style.get_text() for style in page.find_all("style"))
        assert "@import" not in styles
        assert "url(" not in styles
        assert len(page.find_all("script")) <= 1


def test_links_lead_to_what_is_made_beside_or_to_a_cited_page(folder):
    names = {path.name for path in folder}
    for path in folder:
        for link in BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").find_all("a", href=True):
            assert link["href"] in names or link["href"].startswith("https://"), (path.name, link["href"])


def test_the_sheets_have_the_questions_and_not_their_answers(folder):
    page = next(path for path in folder if path.name == "sheets.html").read_text(encoding="utf-8")
    sheets = leader.sheets(files.NOTEBOOKS)
    assert (len(sheets.questions), len(sheets.feedback)) == (3, 5)
    assert text_of(page).count(text_of(render.inline(sheets.questions[1]))) == 2
    assert text_of(page).count(text_of(render.inline(sheets.feedback[0]))) == 1
    assert "What to look for" not in page
    with pytest.raises(LabError, match="no list under"):
        leader.sheets(files.ROOT)


def test_without_notebooks_there_is_one_clear_error(tmp_path):
    with pytest.raises(LabError, match="no notebooks here"):
        build(tmp_path / "out", Path(tmp_path))


# --- a deck --------------------------------------------------------------------------------------------------------


@each()
def test_a_notebook_has_about_twelve_slides_with_drawings(decks, stem):
    found = decks[stem][0]
    assert LEAST <= len(found) <= MOST
    assert found[0].kind == "cover"
    assert found[-1].title == "To remember"
    pictures = [
        image
        for one in found
        for image in BeautifulSoup(one.body, "html.parser").find_all("img", class_="drawing")
    ]
    halves = [one for one in found if 'class="halves"' in one.body]
    assert len(pictures) + len(halves) >= 2
    assert all(image["alt"].strip() for image in pictures)


@each()
def test_each_truth_stands_on_its_own_slide_right_behind_its_question(decks, stem):
    found = decks[stem][0]
    asked = [number for number, one in enumerate(found) if one.kind == "question"]
    told = [number for number, one in enumerate(found) if one.kind == "truth"]
    assert asked
    assert told == [number + 1 for number in asked]
    for number in asked:
        assert found[number].about == found[number + 1].about != ""


@each()
def test_a_truth_is_the_notebooks_and_no_question_tells_it(decks, stem):
    notebook = render.read(files.NOTEBOOKS / f"{stem}.ipynb")
    for question, truth in zip(decks[stem][0], decks[stem][0][1:], strict=False):
        if question.kind != "question" or question.about not in questions.every():
            continue
        twin = render.text_in(next(c for c in notebook.cells if f'truth("{question.about}"' in c.source).outputs)
        for one in questions.every()[question.about]:
            line = next(line for line in twin.split("\n") if line.startswith(f"  {one.text} It is: "))
            fact = line.partition(" It is: ")[2].partition(". ")[0].rstrip(".")
            strong = [
                " ".join(each.get_text().split())
                for each in BeautifulSoup(truth.body, "html.parser").find_all("strong")
            ]
            assert re.sub(r"[`*]", "", fact) in strong
            assert all(choice.replace("`", "") in text_of(question.body) for choice in one.choices)
        assert "<strong>" not in render.inline("".join(one.text for one in questions.every()[question.about]))
        assert "It is" not in text_of(question.body)


@each()
def test_every_slide_has_notes_and_all_that_instructor_says_of_the_notebook_is_among_them(decks, stem):
    found = decks[stem][0]
    assert all(text.strip() for one in found for _, text in one.notes)
    assert all(one.notes for one in found), [one.title for one in found if not one.notes]
    said = [text for one in found for _, text in one.notes]
    part = leader.part(files.NOTEBOOKS, stem[:2])
    for text in (part.wrong, part.ask, part.show, part.guessing):
        assert said.count(text) == 1, text
    shown = re.findall(r'<p class="task"><strong>(\d\d-\d)', "".join(one.body for one in found))
    assert shown
    for id_ in shown:
        assert part.tasks[id_] in said
        assert f"{every()[id_].minutes} min" in "".join(one.body for one in found if f"<strong>{id_}" in one.body)


@each()
def test_no_solution_stands_on_a_slide_or_a_handout(folder, stem):
    pages = {path.stem: path for path in folder}
    shown = BeautifulSoup(pages[stem].read_text(encoding="utf-8"), "html.parser")
    for notes in shown.select(".notes"):
        notes.decompose()
    text = shown.get_text() + pages[f"{stem}-handout"].read_text(encoding="utf-8")
    for task in every().values():
        if task.id[:2] == stem[:2] and task.minutes > 2:
            given = {line.strip() for line in task.starter.splitlines()}
            long = [
                line.strip()
                for line in task.solution.splitlines()
                if line.strip() not in given and len(line.strip()) > 25
            ]
            assert not [line for line in long if line in text], task.id


def source(*cells):
    part = leader.Part(10, "wrong", "ask", "show", {"05-1": "they flush"}, "guess")
    return Source(nbformat.v4.new_notebook(cells=list(cells)), part, files.ROOT / "images")


def written(tmp_path, text, *cells):
    (tmp_path / "42.md").write_text(text, encoding="utf-8")
    first = nbformat.v4.new_markdown_cell("# 42 · Example\n\nHello.")
    return slides("42", source(first, *cells), tmp_path)[1:-1]


def code(text, *outputs):
    return nbformat.v4.new_code_cell(text, outputs=list(outputs))


def stream(text):
    return nbformat.v4.new_output("stream", text=text)


def test_a_slide_says_what_its_deck_says_and_takes_the_rest_from_the_notebook(tmp_path):
    text = "## One\nWith `code`.\n:prints x = 1 | 1 3\n:task 05-1\nSay: Slowly, and\naloud.\n:ask\n\n## Two\nText."
    one, two = written(tmp_path, text, code("x = 1", stream("a\nb\nc\n")))
    assert (one.title, two.title) == ("One", "Two")
    assert text_of(one.body) == "With code. a … c 05-1 The VM-Enter that clears nothing 4 min"
    assert one.notes[0] == ("05-1, 4 min", "they flush")
    assert one.notes[2:] == (("Say", "Slowly, and aloud."), ("Ask", "ask"))


def test_a_question_of_the_decks_own_has_its_truth_behind_it(tmp_path):
    asked, told = written(tmp_path, "## Q\n:question\nHow many?\n:tells\nThree.")
    assert (asked.kind, told.kind, asked.about, told.about) == ("question", "truth", "own", "own")
    assert ("Three" in asked.body, "Three" in told.body) == (False, True)


def test_a_truth_comes_as_the_notebook_told_it_with_words_for_other_guesses(tmp_path):
    name = "04-a"
    first, second = questions.every()[name]
    twin = f"Prediction\n  {first.text} It is: vmx_vmenter. So.\n  {second.text} It is: loads. Same.\none\ntwo"
    cell = code(f'truth("{name}", 1)', nbformat.v4.new_output("execute_result", {"text/plain": twin}))
    asked, told = written(tmp_path, f"## Q\n:asks {name}\n:tells 2", cell)
    assert "vmx_l1d_flush" in asked.body
    assert text_of(told.body).endswith("loads Same. two")
    others = ["vmx_vcpu_run", "vmx_l1d_flush", "__vmx_vcpu_run", "stores"]
    assert [label for label, _ in told.notes] == [f"To “{other}”" for other in others]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("## A\n:asks 05-b\n", "needs :tells"),
        ("## A\n:tells\n", "without :asks"),
        ("## A\n:prints nowhere\n", "no cell of the notebook has 'nowhere'"),
        ("## A\n:shows x = 1\n", "shows a drawing"),
        ("## A\n:prints x = 1 | 3-9\n", "'3-9' is none of the 3 lines"),
        ("## A\n:prints x = 1 | 2 1\n", "'1' is none of the 3 lines in their order"),
        ("## A\n:picture nothing | words\n", "name a file of images/"),
        ("## A\n:picture finding\n", "what it shows in words"),
        ("## A\n:asks 05-x\n:tells", "no prediction '05-x'"),
        ("## A\n:part 2019 | vmx_vcpu_run\n", "unknown name '2019'"),
        ("## A\n:part v4 | main\n", "main"),
        ("## A\n:bench nothing | SMAP\n", "nothing"),
        ("## A\n:task 05-9\n", "no exercise '05-9'"),
        ("## A\n:sings\n", ":sings is nothing"),
        ("## A\n:asks 05-b\n:tells\n", "truth"),
    ],
)
def test_a_deck_that_asks_for_what_is_not_there_gets_one_clear_error(tmp_path, text, wrong):
    with pytest.raises(LabError, match=re.escape(wrong)) as error:
        written(tmp_path, text, code("x = 1", stream("a\nb\nc\n")))
    assert str(tmp_path / "42.md") in str(error.value)


def test_a_notebook_without_a_deck_or_a_part_says_so(tmp_path):
    with pytest.raises(LabError, match="notebook 42 has no deck"):
        slides("42", source(), tmp_path)
    with pytest.raises(LabError, match="Goes wrong, Ask and Show"):
        leader.part(tmp_path, "42")


def test_lines_are_taken_in_order_and_a_gap_is_told():
    assert lines_of("a\nb\nc\nd\n") == ["a", "b", "c", "d"]
    assert lines_of("a\nb\nc\nd", "1 2-3") == ["a", "b", "c"]
    assert lines_of("a\nb\nc\nd", "1 4") == ["a", "…", "d"]


def test_little_text_is_set_larger():
    assert Slide("t", "<p>short</p>").roomy
    assert not Slide("t", f"<p>{'long ' * 200}</p>").roomy
    assert not Slide("t", "<p>short</p><pre>code</pre>").roomy


def test_the_decks_are_those_of_the_notebooks():
    assert {path.stem for path in deck.DECKS.glob("*.md")} == {path.name[:2] for path in NOTEBOOKS}


# --- handouts ------------------------------------------------------------------------------------------------------


@each()
def test_a_handout_has_all_its_parts(folder, stem):
    page = next(path for path in folder if path.name == f"{stem}-handout.html").read_text(encoding="utf-8")
    sheet = BeautifulSoup(page, "html.parser")
    for part in (".intro p", ".aims li", ".time", ".summary li", ".sources"):
        assert sheet.select(part), part
    assert stem.startswith("00") or len(sheet.select(".questions li")) == 2
    assert sheet.select("figure img, figure table")
    assert all(image.get("alt") for image in sheet.select("figure img"))
    assert not sheet.select(".sources strong"), "its heading says that"


def test_the_pictures_are_of_notebooks_that_are_there():
    assert {path.name[:2] for path in NOTEBOOKS} >= set(PICTURES)


def test_the_handout_of_05_shows_the_way_that_missed_both():
    words = PICTURES["05"]().text
    ran = [line for line in words.split("\n") if line.startswith("→")]
    assert any("vmx_l1d_should_flush" in line for line in ran), "its key is on, and asked"
    assert any("clears the CPU buffers" in line or "verw" in line for line in words.split("\n"))
    assert not any("verw" in line for line in ran)


# --- the answer key ------------------------------------------------------------------------------------------------


def test_the_key_has_every_solution_and_every_truth(folder):
    text = text_of(next(path for path in folder if path.name == "answers.html").read_text(encoding="utf-8"))
    for task in every().values():
        assert text_of(escape(task.solution)) in text, task.id
        assert f"{task.id} · {task.title} {task.minutes} min" in text
    for name, asked in questions.every().items():
        at = text.index(f"Prediction {name}")
        for one in asked:
            assert f"{text_of(render.inline(one.text))} It is: " in text[at:], name


def test_the_key_is_in_no_learners_copy_and_nowhere_on_the_course_s_pages(tmp_path):
    names = [name for name, _ in copies.derived(files.ROOT)]
    assert not [name for name in names if re.search(r"answer|notes|INSTRUCTOR|slides|decks", name)]
    for name, content in copies.derived(files.ROOT):
        if name.endswith(".ipynb"):
            told = json.loads(content)
            assert not [cell for cell in told["cells"] if cell.get("outputs")], name
            text = "".join("".join(cell["source"]) for cell in told["cells"])
            assert not [task.id for task in every().values() if task.minutes > 4 and task.solution.strip() in text]
    site = Path(copies.__file__).parent / "site"
    for file in (*site.glob("*.py"), *site.glob("*.j2"), *site.glob("*.js")):
        assert not re.search(r"course\.slides|answers\.html|INSTRUCTOR", file.read_text(encoding="utf-8")), (
            file.name
        )
