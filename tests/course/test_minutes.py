"""The minutes are estimated by one stated rule, and every place that tells them tells those."""

import json
import re
from itertools import pairwise

import pytest
from tools import minutes
from tools.minutes import Minutes, counted

from vmenter.course.exercises import every
from vmenter.course.prediction import questions


def notebook(*cells):
    """A notebook of (text, kind, printed lines)."""
    made = []
    for text, kind, printed in cells:
        outputs = [{"output_type": "stream", "name": "stdout", "text": "x\n" * printed}] if printed else []
        made.append({"cell_type": kind, "metadata": {}, "source": text, "outputs": outputs})
    return {"cells": made}


def prose(text):
    return counted(notebook((text, "markdown", 0)))


def code(text, printed=0):
    return counted(notebook((text, "code", printed)))


@pytest.mark.parametrize("place", list(minutes.places()), ids=lambda place: f"{place.file.name} {place.what}")
def test_every_place_tells_what_the_rule_counts(place):
    told = place.told
    assert set(told) <= {place.due}, "run `.venv/bin/python tests/tools/minutes.py --write`"
    assert told or place.what.endswith("agenda") or (place.file == minutes.README and "whole" not in place.what)


def test_a_heading_in_the_middle_of_a_text_begins_a_section():
    whole = notebook(("# t", "markdown", 0), ("## 1. b c\n\nd\n\n## 2. e f g", "markdown", 0))
    assert counted(whole, (1, 1)).words == 1 + len(["1", "b", "c", "d"])
    assert counted(whole, (2, 2)).words == 1 + len(["2", "e", "f", "g"])


def test_the_course_takes_at_most_seven_hours_and_the_short_way_two_and_a_half():
    assert sum(minutes.of(path).told for path in minutes.notebooks().values()) <= minutes.ALL == 420
    assert sum(minutes.short_way().values()) <= minutes.SHORT == 150


def test_they_are_called_estimated_wherever_they_stand():
    for file in (minutes.README, minutes.notebooks()["00"]):
        assert "minutes, estimated | you will" in file.read_text(encoding="utf-8")
    assert "estimated" in minutes.LEADER.read_text(encoding="utf-8").partition("## Agendas")[0]


def test_the_sections_of_the_short_way_are_there():
    for number, sections in minutes.SHORT_WAY.items():
        text = minutes.notebooks()[number].read_text(encoding="utf-8")
        for section in sections or ():
            assert f'"## {section}. ' in text, number


def test_an_opening_without_a_number_is_on_the_way_and_a_part_behind_a_section_is_not():
    front = ("## What came back\n\na b", "markdown", 0)
    one, other = ("## 1. c", "markdown", 0), ("## Another part\n\nd", "markdown", 0)
    whole = notebook(front, one, other, ("## Summary\n\ne", "markdown", 0))
    assert counted(whole, (1,)) == counted(notebook(front, one))
    assert counted(notebook(("## Review\n\ne", "markdown", 0)), (1,)) == Minutes()


def test_the_sections_are_named_in_words():
    assert {number: minutes.sections_text(number) for number in ("00", "03", "04", "07")} == {
        "00": "all",
        "03": "sections 1 to 4",
        "04": "",
        "07": "sections 1 to 5, 7 and 8",
    }
    assert minutes.runs((1, 2, 3, 4, 5, 7, 8, 10)) == [(1, 5), (7, 8), (10, 10)]


ON = "*On the short way? Then go on with {} here.*"


def ways_on():
    """(notebook, last section of a run of the short way, where the way goes on), in order."""
    files = minutes.notebooks()
    titles = {number: json.loads(path.read_text(encoding="utf-8")) for number, path in files.items()}
    links = {
        number: f"[{''.join(book['cells'][0]['source']).splitlines()[0][2:]}]({files[number].name})"
        for number, book in titles.items()
    }
    numbers = list(minutes.SHORT_WAY)
    for number, following in zip(numbers[1:], [*numbers[2:], None], strict=True):
        parts = minutes.runs(minutes.SHORT_WAY[number])
        for (_, last), (first, _) in pairwise(parts):
            yield number, last, f"section {first}"
        yield number, parts[-1][1], links[following] if following else None


@pytest.mark.parametrize(("number", "last", "onward"), list(ways_on()))
def test_where_sections_of_the_short_way_end_its_reader_is_told_where_to_go_on(number, last, onward):
    cells = json.loads(minutes.notebooks()[number].read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    section = re.search(rf"^## {last}\. .*?(?=^## )", text, re.MULTILINE | re.DOTALL)[0].strip()
    if onward is None:
        assert "**The short way ends here.**" in section
    else:
        assert section.endswith(ON.format(onward))


def test_words_that_are_read_count_and_sources_links_and_what_is_deeper_do_not():
    assert prose("One two [three](four-five.ipynb) `six`\n\n| a | b |\n|---|---|\n").words == 6
    assert prose("One two.\n\n**Primary sources**\n\n- three four").words == 2
    assert prose("One. <details><summary>Why</summary>\n\ntwo three</details>").words == 4
    assert prose("One. <details><summary>Deeper: why</summary>\n\ntwo three</details> four").words == 2
    cells = [("## 1. Deeper: a", "markdown", 0), ("x = 1", "code", 9), ("## 2. b", "markdown", 0)]
    assert counted(notebook(*cells)) == prose("## 2. b")


def test_code_takes_time_to_read_to_run_and_to_look_at():
    assert code("a\nb", printed=3).cells == pytest.approx((2 * 2 + 5 + 3) / 60)
    assert code("a", printed=500).cells == code("a", printed=30).cells
    assert code("a", printed=29).cells < code("a", printed=30).cells


def test_each_question_and_each_review_question_counts():
    asked = code('predict("01-a")')
    assert asked.questions == len(questions.every()["01-a"]) == 2
    assert asked.exact == pytest.approx(asked.cells + 1)
    assert (
        prose(
            "## Review\n\n<details><summary>1?</summary></details><details><summary>2?</summary></details>"
        ).reviews
        == 2
    )
    assert prose("<details><summary>1?</summary></details>").reviews == 0


def test_an_exercise_takes_what_its_file_says_or_its_kind():
    assert code('exercise("01-2")').exercises == every()["01-2"].minutes == 2  # a letter
    assert every()["01-1"].minutes == 4  # one line
    assert every()["10-2"].minutes == 8  # code
    assert every()["04-3"].minutes == 6  # what its file says
    assert code('check("01-2", answer)').exercises == 0


def test_a_view_counts_where_it_is_shown_and_not_where_it_is_imported():
    known = "from vmenter.views.entry.widget import EntryExplorer\n"
    assert code(known).views == 0
    assert code(f"{known}EntryExplorer()").views == minutes.VIEW / 60
    assert code("EntryExplorer()").views == 0
    game = code("from vmenter.views.leak.widget import LeakGame\nLeakGame()")
    assert game.views == minutes.VIEWS["LeakGame"] / 60


@pytest.mark.parametrize("name", minutes.VIEWS)
def test_a_view_with_minutes_of_its_own_is_one_that_is_shown(name):
    assert any(f"{name}(" in path.read_text(encoding="utf-8") for path in minutes.notebooks().values())


def test_sections_take_what_stands_in_front_of_the_first_and_nothing_behind_the_last():
    cells = [
        ("a", "markdown", 0),
        *((f"## {n}. b c", "markdown", 0) for n in (1, 2, 3)),
        ("## Review", "markdown", 0),
    ]
    whole = notebook(*cells)
    assert counted(whole, (1, 2)) == counted(notebook(*cells[:3]))
    assert counted(whole, (2, 3)) == counted(notebook(cells[0], *cells[2:4]))
    assert counted(whole).words == counted(whole, (1, 2, 3)).words + 1


def test_assertions_are_in_no_copy_and_take_no_time():
    cell = {"cell_type": "code", "metadata": {"tags": ["assertion"]}, "source": "assert 1", "outputs": []}
    assert counted({"cells": [cell]}) == Minutes()


@pytest.mark.parametrize(("exact", "told"), [(0, 5), (7.4, 5), (7.6, 10), (12.6, 15), (32.4, 30)])
def test_the_sum_is_rounded_to_five(exact, told):
    assert Minutes(cells=exact).told == told


def test_what_is_stale_is_written(tmp_path):
    file = tmp_path / "page.md"
    file.write_text("| 04 | [x](y) | 3 | z |\n*Time:* 3 minutes. | 04 | x | 3 | z |\n", encoding="utf-8")
    place = minutes.Place(file, "04", r"\| 04 \| [^|\n]+ \| (?P<m>\d+) \|", 25)
    assert (place.told, place.due) == (["3", "3"], "25")
    place.mend()
    minutes.Place(file, "first", r"\*Time:\* (?P<m>\d+ minutes(?:, estimated)?)", 40, " minutes, estimated").mend()
    text = "| 04 | [x](y) | 25 | z |\n*Time:* 40 minutes, estimated. | 04 | x | 25 | z |\n"
    assert file.read_text(encoding="utf-8") == text


def test_the_notebooks_are_written_as_they_are_stored():
    """--write changes text of a notebook's file, so a number must not stand across two lines of it."""
    for path in minutes.notebooks().values():
        first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        assert "minutes, estimated" in first
