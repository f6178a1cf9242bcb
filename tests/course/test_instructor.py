"""INSTRUCTOR.md goes with the notebooks: each has its part, and the minutes of every agenda add up."""

import json
import math
import re

import pytest
from places import ROOT

TEXT = (ROOT / "notebooks" / "INSTRUCTOR.md").read_text(encoding="utf-8")
NOTEBOOKS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))}
PARTS = {
    number: (title, int(alone), int(room), body)
    for number, title, alone, room, body in re.findall(
        r"^### (\d\d) · ([^\n]+) \((\d+), (\d+)\)\n\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL
    )
}
AGENDAS = {
    name: [
        (int(minutes), what, how)
        for minutes, what, how in re.findall(r"^\| (\d+) \| (.+?) \| (\w*) ?\|$", body, re.MULTILINE)
    ]
    for name, body in re.findall(r"^### (90 minutes|[^\n]*day)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
}


def opening(number):
    """The first cell of a notebook."""
    return "".join(json.loads(NOTEBOOKS[number].read_text(encoding="utf-8"))["cells"][0]["source"])


def test_every_notebook_has_its_part():
    assert NOTEBOOKS
    assert set(NOTEBOOKS) <= set(PARTS)


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_a_part_has_the_notebooks_title_and_minutes_and_says_what_a_leader_needs(number):
    title, alone, room, body = PARTS[number]
    assert opening(number).splitlines()[0] == f"# {number} · {title}"
    assert int(re.search(r"\*Time:\* (\d+) minutes, estimated", opening(number))[1]) == alone <= room
    assert re.findall(r"^- \*\*(.+?)\*\*:", body, re.MULTILINE) == ["Goes wrong", "Ask", "Show"]


@pytest.mark.parametrize(
    ("name", "minutes"), [("90 minutes", 90), ("Half a day", 240), ("A day", 450), ("Another half day", 240)]
)
def test_an_agenda_fits_its_time_and_fills_it(name, minutes):
    assert minutes * 0.8 <= sum(row[0] for row in AGENDAS[name]) <= minutes


@pytest.mark.parametrize("name", AGENDAS)
def test_what_is_done_by_hand_and_whole_gets_the_minutes_of_a_room(name):
    rows = [(int(minutes), what[:2]) for minutes, what, how in AGENDAS[name] if how == "hands" and len(what) == 2]
    assert rows or name == "90 minutes"
    assert all(minutes >= PARTS[number][2] for minutes, number in rows)


def test_the_exercises_that_are_named_are_there_and_none_is_passed_over():
    from vmenter.course.exercises import every

    for number in NOTEBOOKS:
        mine = {id_ for id_ in every() if id_.startswith(number)}
        named = set(re.findall(r"\b\d\d-\d\b", PARTS[number][3]))
        assert named <= mine
        assert len(mine - named) <= 1, mine - named


def test_sections_that_an_agenda_names_are_there():
    for rows in AGENDAS.values():
        for _, what, _ in rows:
            for last in re.findall(r"sections? (?:\d+ to )?(\d+)", what):
                number = what[:2]
                if number in NOTEBOOKS:
                    cells = json.loads(NOTEBOOKS[number].read_text(encoding="utf-8"))["cells"]
                    assert any("".join(cell["source"]).startswith(f"## {last}. ") for cell in cells), what


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
