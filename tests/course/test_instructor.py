"""INSTRUCTOR.md goes with the notebooks: each has its part, and the minutes of every agenda add up."""

import json
import math
import re
from itertools import accumulate
from typing import NamedTuple

import pytest
from places import ROOT
from tools import minutes

from vmenter.course.exercises import every

TEXT = (ROOT / "notebooks" / "INSTRUCTOR.md").read_text(encoding="utf-8")
NOTEBOOKS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))}
PARTS = {
    number: (title, int(alone), int(room), body)
    for number, title, alone, room, body in re.findall(
        r"^### (\d\d) · ([^\n]+) \((\d+), (\d+)\)\n\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL
    )
}
TOTAL = {"90 minutes": 90, "Half a day": 240, "A day": 510, "Another half day": 240}
SLACK = 0.15
PASSED_OVER = {"break", "lunch", "slack"}


class Row(NamedTuple):
    """One row of an agenda."""

    at: str
    minutes: int
    what: str
    how: str
    slides: str
    cut: str


AGENDAS = {
    name: [
        Row(at, int(minutes), what.strip(), how.strip(), shown.strip(), cut.strip())
        for at, minutes, what, how, shown, cut in re.findall(
            r"^\| (\d+:\d\d) \| (\d+) \|([^|]+)\|([^|]*)\|([^|]*)\|([^|]*)\|$", body, re.MULTILINE
        )
    ]
    for name, body in re.findall(r"^### (90 minutes|[^\n]*day)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
}


def section(heading):
    """What stands under a heading, up to the next of its rank."""
    return re.search(rf"^(#+) {heading}\n(.*?)(?=^\1 |\Z)", TEXT, re.MULTILINE | re.DOTALL)[2]


def numbers_in(text):
    """The numbers that a text such as "2, 5 to 7" names."""
    spread = re.sub(r"(\d+) to (\d+)", lambda m: ",".join(map(str, range(int(m[1]), int(m[2]) + 1))), text)
    return [int(one) for one in re.findall(r"\d+", spread)]


def sections_of(what):
    """The sections that a row names: numbers."""
    named = re.search(r"sections? ([\d to,and]+)", what)
    return numbers_in(named[1]) if named else []


def alone(number, wanted):
    """Minutes of sections of a notebook, and those of the exercises in them."""
    path = minutes.notebooks()[number]
    front = minutes.of(path, (0, 0))
    parts = [minutes.of(path, (one, one)) for one in wanted]
    assert all(part.exact > front.exact for part in parts), f"{number}: {wanted}"
    return (
        front.exact + sum(part.exact - front.exact for part in parts),
        sum(part.exercises - front.exercises for part in parts),
    )


def opening(number):
    """The first cell of a notebook."""
    return "".join(json.loads(NOTEBOOKS[number].read_text(encoding="utf-8"))["cells"][0]["source"])


def test_every_notebook_has_its_part():
    assert NOTEBOOKS
    assert set(NOTEBOOKS) <= set(PARTS)


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_a_part_has_the_notebooks_title_and_minutes_and_says_what_a_leader_needs(number):
    title, by_oneself, room, body = PARTS[number]
    assert opening(number).splitlines()[0] == f"# {number} \u00b7 {title}"
    assert int(re.search(r"\*Time:\* (\d+) minutes, estimated", opening(number))[1]) == by_oneself <= room
    said = re.findall(r"^- \*\*(.+?)\*\*", body, re.MULTILINE)
    assert said[:3] == ["Goes wrong", "Ask", "Show"]
    assert said[3:] == [f"{task.id} ({task.minutes} min)" for task in every().values() if task.id[:2] == number]
    assert all(len(told.split()) > 2 for told in re.findall(r"^- \*\*\d\d-\d.*?\*\* (.+)", body, re.MULTILINE))


def test_there_are_four_agendas():
    assert set(AGENDAS) == set(TOTAL)
    assert all(len(rows) > 6 for rows in AGENDAS.values())


@pytest.mark.parametrize("name", TOTAL)
def test_an_agenda_adds_up_and_leaves_slack(name):
    *rows, slack = AGENDAS[name]
    assert slack.what == "slack"
    assert sum(row.minutes for row in AGENDAS[name]) == TOTAL[name]
    assert slack.minutes >= SLACK * TOTAL[name]
    starts = accumulate((row.minutes for row in rows), initial=0)
    assert [row.at for row in AGENDAS[name]] == [f"{start // 60}:{start % 60:02}" for start in starts]


@pytest.mark.parametrize("name", TOTAL)
def test_the_cuts_are_marked_in_order_and_never_touch_the_finding(name):
    cuts = {row.cut[:3]: row for row in AGENDAS[name] if row.cut}
    assert set(cuts) == {"1st", "2nd", "3rd"}
    saved = {which: int(re.search(r"; saves (\d+)$", row.cut)[1]) for which, row in cuts.items()}
    assert all(0 < saved[which] <= cuts[which].minutes for which in cuts)
    assert sum(saved.values()) >= 0.08 * TOTAL[name]
    for row in cuts.values():
        assert not (row.what.startswith("05") and re.search(r"05-[12]|section", row.cut))


@pytest.mark.parametrize("name", TOTAL)
def test_every_row_gets_the_minutes_that_its_sections_take(name):
    counted = 0
    for row in AGENDAS[name]:
        number = row.what[:2]
        if number not in PARTS:
            continue
        if row.what == number:
            assert row.minutes >= PARTS[number][2] or row.how != "hands", row
        elif wanted := sections_of(row.what):
            counted += 1
            takes, exercises = alone(number, wanted)
            least = 1.2 * takes if row.how == "hands" else takes - exercises
            assert row.minutes >= least - 0.5, (row, least)
    assert counted


def test_what_is_asked_before_is_asked_afterwards_and_the_bridge_stands_before_05():
    for name, rows in AGENDAS.items():
        told = [row.what for row in rows if row.what not in PASSED_OVER]
        if name == "Another half day":
            continue
        assert told[0].startswith("before: three questions")
        assert told[-1].startswith("after: the same three questions")
        assert told[told.index("bridge to 05") + 1].startswith("05")
        assert next(row.minutes for row in rows if row.what == "bridge to 05") == 3
    assert len(re.findall(r"^\d\. ", section("On the day"), re.MULTILINE)) == 3


def test_the_bridge_is_read_in_three_minutes_and_gives_nothing_away():
    bridge = section("The bridge to 05")
    steps = bridge[bridge.index("1. ") : bridge.index("Do not say")]
    assert len(re.findall(r"One minute", steps)) == 3
    assert len(steps.split()) <= 3 * 110, "words that are said aloud, with a drawing"
    assert "Do not say" in bridge


def test_the_rehearsal_adds_up():
    text = section("Dress rehearsal")
    assert sum(map(int, re.findall(r"^\d\. \*\((\d+)\)\*", text, re.MULTILINE))) == int(
        re.search(r"(\d+) minutes", text)[1]
    )


def test_the_slides_that_a_row_names_are_there_and_whole():
    from vmenter.course.slides.files import made

    decks = {number: made(path)[0] for number, path in NOTEBOOKS.items()}
    named = 0
    for rows in AGENDAS.values():
        for row in rows:
            number, _, wanted = row.slides.rpartition(": ")
            if row.slides in ("", "all"):
                assert row.slides == "all" or row.what[:2] not in PARTS
                continue
            deck = decks[number or row.what[:2]]
            numbers = numbers_in(wanted)
            named += 1
            assert all(1 < one <= len(deck) for one in numbers), row
            kinds = {one: deck[one - 1].kind for one in numbers}
            assert not [one for one, kind in kinds.items() if kind == "question" and one + 1 not in numbers], row
            if guess := re.search(r"guess (\d\d-\w)", row.what):
                assert guess[1] in [deck[one - 1].about for one in numbers]
    assert named > 10


def test_the_truth_of_05_a_is_not_shown_before_the_room_has_looked_for_it():
    from vmenter.course.slides.files import made

    deck, _, _ = made(NOTEBOOKS["05"])
    looked = next(number for number, one in enumerate(deck) if "<strong>05-1</strong>" in one.body)
    assert looked < next(number for number, one in enumerate(deck) if one.about == "05-a")


def test_slide_six_of_05_is_the_way_that_missed_both():
    from vmenter.course.slides.files import made

    deck, _, _ = made(NOTEBOOKS["05"])
    assert "Read slide 6 of 05" in section("Dress rehearsal")
    assert 'class="halves"' in deck[5].body


def test_the_rubric_has_the_ticks_of_the_final_project():
    ticks = sum(
        "".join(cell["source"]).count("- [ ]") for cell in json.loads(NOTEBOOKS["10"].read_text())["cells"]
    )
    text = section("Afterwards")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    assert len(rows) == ticks == 6
    assert f"of {2 * ticks}" in text


def test_what_a_leader_needs_before_during_and_after_is_there():
    for heading in (
        "The bridge to 05", "Who helps", "The mail, with the pre-work", "The week before", "Dress rehearsal",
        "Plan B", "On the day", "Afterwards", "How many learners fit",
    ):  # fmt: skip
        assert section(heading).strip(), heading
    assert "| stumbled on |" in section("Real sittings")
    for word in ("Feedback form", "Rubric", "What follows", "vmenter progress"):
        assert word in section("Afterwards")


def test_plan_b_and_the_tab_opened_as_a_file_name_the_same_server():
    command = "python3 -m http.server --bind 127.0.0.1 8000"
    assert f"`{command}`" in section("Plan B")
    assert command in (ROOT / "lib/vmenter/course/tab/served/front.js").read_text(encoding="utf-8")


def test_links_to_headings_lead_somewhere():
    anchors = {
        re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


def test_the_table_of_machines_follows_from_what_was_measured():
    server, kernel = (
        int(re.search(rf"^\| {what} \| (\d+) MiB", TEXT, re.MULTILINE)[1]) for what in ("Jup.+", "each open.+")
    )
    kept_back = float(re.search(r"memory − ([\d.]+) GiB", TEXT)[1])
    assert f"({server} MiB + {kernel} MiB × open notebooks)" in " ".join(TEXT.split())
    per_login = float(re.search(r"at ([\d.]+) seconds\s+of a core", TEXT)[1])
    last = int(re.search(r"95 of 100 within (\d+) s", TEXT)[1])
    assert per_login == pytest.approx(last * 2 / 20, abs=0.05)
    rows = re.findall(r"^\| (\d+) GiB \| (\d+) \| (\d+) \| (\d+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 4
    for gib, two, four, cores in (map(int, row) for row in rows):
        room = (gib - kept_back) * 1024
        assert (two, four) == tuple(int(room / (server + kernel * count)) for count in (2, 4))
        assert cores == math.ceil(two * per_login / 60)


def test_the_wheels_for_a_room_without_a_network_are_those_that_the_build_asks_for():
    asked = re.search(
        r'requires = \["(hatchling==[\d.]+)"\]', (ROOT / "lib" / "pyproject.toml").read_text(encoding="utf-8")
    )
    assert asked[1] in re.search(r"pip download (.+?) -d", TEXT)[1].split()
