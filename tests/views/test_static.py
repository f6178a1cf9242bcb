"""Text in outputs, as viewers show it that take out every style: no line is too wide, and no line end is lost."""

import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from vmenter.course.exercises import Feedback, every
from vmenter.views.drawings.timeline import timeline
from vmenter.views.static import WIDTH, lines, narrow, pre

NOTEBOOKS = sorted(Path(__file__).parents[2].glob("notebooks/[0-9][0-9]-*.ipynb"))


def test_a_line_is_broken_between_words_and_goes_on_further_in():
    assert narrow("  one two three", 11) == "  one two\n    three"
    assert narrow("one two\nthree", 11) == "one two\nthree"
    assert narrow("a  b", 11) == "a  b"  # a row of a table
    assert narrow("", 11) == ""


def test_a_line_as_wide_as_may_be_stays_and_one_wider_does_not():
    assert "\n" not in narrow("x " * (WIDTH // 2 - 1) + "yy")
    assert "\n" in narrow("x " * (WIDTH // 2 - 1) + "yyy")


def test_a_word_that_is_too_long_stays_whole():
    assert narrow("see 20251031003040.3491385-5-seanjc@google.com", 20).splitlines()[-1].strip().endswith(".com")


def test_code_to_copy_keeps_its_lines():
    code = "x = 1" + " + 1" * 40
    assert BeautifulSoup(pre(code), "html.parser").get_text() == code


def test_rows_of_a_task_stay_rows_without_a_style():
    assert lines("A  old\nB  new") == "A&nbsp; old<br>B&nbsp; new"
    html = every()["01-2"]._repr_html_()
    task = BeautifulSoup(html, "html.parser").p
    assert len(task.find_all("br")) == every()["01-2"].task.count("\n")
    assert "\n" not in task.get_text()


def test_a_checkers_answer_says_the_same_in_narrow_lines():
    said = Feedback(passed=False, message="with a flag, " * 30 + "\n  0x10  jz")
    shown = BeautifulSoup(said._repr_html_(), "html.parser").pre.get_text()
    assert shown.split() == repr(said).split()
    assert max(map(len, shown.splitlines())) <= WIDTH < max(map(len, repr(said).splitlines()))


def test_a_timeline_without_its_style_has_blanks_between_its_words():
    first = BeautifulSoup(timeline().html, "html.parser").find("summary").get_text()
    assert first.split()[:2] == ["M", "2018-08-14"]
    assert first.split()[-2:] == ["merged", "before-mds"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_no_text_of_a_notebooks_outputs_is_too_wide_for_a_page_without_styles(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            soup = BeautifulSoup("".join(output.get("data", {}).get("text/html", "")), "html.parser")
            for fold in soup.find_all("details"):
                if fold.summary.get_text() == "A solution, and why":
                    fold.decompose()  # code, to be copied
            texts = [text for text in soup.find_all("pre") if not text.find("span")]  # nor code in colours
            wide = [line for text in texts for line in text.get_text().splitlines() if len(line) > WIDTH]
            assert not wide
