"""Text in outputs, as viewers show it that take out every style: no line is too wide, and no line end is lost."""

import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from vmenter.course.exercises import Feedback, every
from vmenter.views.drawings.timeline import timeline
from vmenter.views.static import WIDTH, breaks, narrow, pre, rows

NOTEBOOKS = sorted(Path(__file__).parents[2].glob("notebooks/[0-9][0-9]-*.ipynb"))


def bare(html):
    """The lines that a viewer shows which takes out every style."""
    return BeautifulSoup(html, "html.parser").get_text().split("\n")


def styled(html):
    """The text that a viewer shows which knows the style of an element."""
    soup = BeautifulSoup(html, "html.parser")
    for hidden in soup.find_all(style="display:none"):
        hidden.decompose()
    return soup.get_text()


LINES = [
    "  one two three " * 20,
    "a  b " * 30,
    "x" * 200 + " y",
    "no " + "x" * 200,
    "",
    "short",
    "<&> " * 40,
    " " * 200,
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_the_same_with_its_style_and_narrow_without(line):
    html = narrow(f"{line}\nnext")
    assert styled(html) == f"{line}\nnext"
    assert "".join(bare(html)).split() == f"{line}next".split()
    assert all(
        len(one) <= WIDTH or len(max(one.split(), key=len, default="")) > WIDTH / 2 for one in bare(html)
    ) or (not line.strip())


def test_it_goes_on_further_in_than_it_began():
    first, second, *_ = bare(narrow("  " + "word " * 40))
    assert (first[:6], second[:8]) == ("  word", "    word")


def test_a_line_as_wide_as_may_be_stays_and_one_wider_does_not():
    assert not breaks("x " * (WIDTH // 2 - 1) + "yy")
    assert breaks("x " * (WIDTH // 2 - 1) + "yyy") == [WIDTH - 3]


def test_code_to_copy_keeps_its_lines():
    code = "x = 1" + " + 1" * 40
    assert BeautifulSoup(pre(code), "html.parser").get_text() == code


def test_rows_of_a_task_stay_rows_without_a_style():
    assert rows("A  old\nB  new") == "A&nbsp; old<br>B&nbsp; new"
    html = every()["01-2"]._repr_html_()
    task = BeautifulSoup(html, "html.parser").p
    assert len(task.find_all("br")) == every()["01-2"].task.count("\n")
    assert "\n" not in task.get_text()


def test_a_checkers_answer_says_the_same_in_narrow_lines():
    said = Feedback(passed=False, message="with a flag, " * 30 + "\n  0x10  jz")
    html = said._repr_html_()
    assert styled(html) == repr(said)
    assert max(map(len, bare(html))) <= WIDTH < max(map(len, repr(said).splitlines()))


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
