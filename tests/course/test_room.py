"""A room's progress: read from files, folders and pasted lines, on either side of every bound; nothing else is told."""

import json
import os
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from places import ROOT

from vmenter import LabError
from vmenter.code.visible import visible
from vmenter.course import copies, progress, room, room_text
from vmenter.course.exercises import every
from vmenter.course.room import PASSED, TRIED, Learner

SECRET = "an answer that is nobody's business"
STATES = {"00-1": PASSED, "01-2": TRIED, "01-7": PASSED, "10-5": TRIED}


def write(file, states, **more):
    """Write a file of progress, as the lab writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    entries = {id_: {"passed": state == PASSED, "tries": 2, "answer": SECRET} for id_, state in states.items()}
    content = {"about": "x", "exercises": entries, "predictions": {"05-a": SECRET}, **more}
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def names(*sources, **more):
    return [one.name for one in room.look([str(source) for source in sources], **more).learners]


# --- files and folders ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", room.PLACES)
def test_learners_are_named_after_their_homes_wherever_their_files_stand_there(tmp_path, place):
    for name in ("ada", "bob"):
        write(tmp_path / "homes" / name / place, STATES)
    (tmp_path / "homes" / "nobody").mkdir()
    (tmp_path / "homes" / "a file").touch()
    assert names(tmp_path / "homes") == ["ada", "bob"]
    assert names(tmp_path / "homes" / "ada") == ["ada"]
    assert names(tmp_path / "homes" / "ada" / place) == ["ada"]
    assert room.look([str(tmp_path / "homes" / "ada")]).learners[0].states == STATES


def test_who_has_the_copies_and_tried_nothing_yet_is_there_too(tmp_path):
    copies.update(tmp_path / "bob" / copies.FOLDER)
    (tmp_path / "eve" / copies.FOLDER).mkdir(parents=True)  # a folder of that name alone says nothing
    write(tmp_path / "ada" / "progress.json", STATES)
    found = room.look([str(tmp_path)])
    assert [(one.name, dict(one.states)) for one in found.learners] == [("ada", STATES), ("bob", {})]
    assert found.unread == ()


def test_a_file_sent_in_by_its_learner_is_named_after_itself(tmp_path):
    assert names(write(tmp_path / "ada.json", STATES)) == ["ada"]


def test_who_has_two_files_in_one_home_has_done_what_either_says(tmp_path):
    write(tmp_path / "ada" / "vmenter-lab" / "progress.json", {"01-1": PASSED, "01-2": TRIED, "02-1": TRIED})
    write(tmp_path / "ada" / ".local/share/vmenter/progress.json", {"01-1": TRIED, "01-2": PASSED})
    (one,) = room.look([str(tmp_path)]).learners
    assert one.states == {"01-1": PASSED, "01-2": PASSED, "02-1": TRIED}


def test_what_is_named_twice_counts_once_and_two_of_one_name_are_told_apart(tmp_path):
    for place in ("a", "b"):
        write(tmp_path / place / "ada" / "progress.json", STATES)
    first = tmp_path / "a"
    assert names(first, first / "ada", first / "ada" / "progress.json", first) == ["ada"]
    assert names(first, tmp_path / "b") == [
        f"ada ({tmp_path / place / 'ada' / 'progress.json'})" for place in ("a", "b")
    ]


def test_links_in_homes_are_not_followed(tmp_path):
    write(tmp_path / "ada" / "vmenter-lab" / "progress.json", STATES)
    for home in ("eve", "mal"):
        (tmp_path / home).mkdir()
    (tmp_path / "eve" / "progress.json").symlink_to(tmp_path / "ada" / "vmenter-lab" / "progress.json")
    (tmp_path / "mal" / "vmenter-lab").symlink_to(tmp_path / "ada" / "vmenter-lab")
    (tmp_path / "rob").symlink_to(tmp_path / "ada")
    assert names(tmp_path) == ["ada"]
    assert names(tmp_path / "rob") == ["ada"]  # the leader's own word


def test_nothing_is_written_and_a_damaged_file_stays_where_it_is(tmp_path):
    write(tmp_path / "ada" / "progress.json", STATES)
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "progress.json").write_text("{")
    before = sorted(tmp_path.rglob("*"))
    found = room.look([str(tmp_path)])
    assert sorted(tmp_path.rglob("*")) == before
    assert [one.name for one in found.learners] == ["ada"]
    ((where, why),) = [(one.where, one.why) for one in found.unread]
    assert where == str(tmp_path / "bob" / "progress.json")
    assert why.startswith("neither a learner's progress.json")


def test_exercises_that_the_course_does_not_have_are_passed_over(tmp_path):
    file = write(tmp_path / "ada.json", {**STATES, "99-1": PASSED, "01-9": PASSED, "\x1b[2J": PASSED})
    assert room.look([str(file)]).learners[0].states == STATES


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"exercises": []}',
        '{"exercises": {}, "predictions": 1}',
        "[" * 100_000,
        "\x00" * 9,
        "VML",
        "9" * 9999,
    ],
)
def test_what_is_no_progress_is_said_in_one_line(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(LabError, match="neither a learner's"):
        room.look([str(tmp_path / "x.json")])


def test_entries_of_any_kind_are_no_trouble(tmp_path):
    entries = {"01-1": {"passed": "yes"}, "01-2": [], "01-3": None, "01-4": {"passed": True, "tries": "x"}}
    (tmp_path / "x.json").write_text(json.dumps({"exercises": entries}))
    assert room.look([str(tmp_path / "x.json")]).learners[0].states == {"01-1": TRIED, "01-4": PASSED}


def test_pipes_folders_without_anybody_and_what_is_not_there_are_said(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, why in (("pipe", "a pipe"), (".", "nobody's progress.json is in it"), ("no", "No such file")):
        with pytest.raises(LabError, match=why):
            room.look([str(tmp_path / path)])


def test_the_bounds_hold_on_both_sides(tmp_path, monkeypatch):
    homes = tmp_path / "homes"
    for number in range(4):
        write(homes / f"l{number}" / "progress.json", STATES)
    monkeypatch.setattr(room, "MOST_LEARNERS", 4)
    monkeypatch.setattr(room, "MOST_FOLDERS", 4)
    assert len(names(homes)) == 4
    monkeypatch.setattr(room, "MOST_LEARNERS", 3)
    with pytest.raises(LabError, match="more than 3 learners"):
        room.look([str(homes)])
    monkeypatch.setattr(room, "MOST_LEARNERS", 4)
    monkeypatch.setattr(room, "MOST_FOLDERS", 3)
    with pytest.raises(LabError, match="more than 3 folders are in it"):
        room.look([str(homes)])

    text = tmp_path / "chat"
    line = room.line(STATES).encode()
    text.write_bytes(b" " * (room.LONGEST_TEXT - len(line)) + line)
    assert names(text) == ["(line 1)"]
    text.write_bytes(b" " * (room.LONGEST_TEXT + 1 - len(line)) + line)
    with pytest.raises(LabError, match="more than 1,048,576 bytes"):
        room.look([str(text)])
    monkeypatch.setattr(progress, "LARGEST", 10)
    with pytest.raises(LabError, match="more than 10 bytes"):
        room.look([str(homes / "l0" / "progress.json")])


# --- lines -----------------------------------------------------------------------------------------------------------


def test_exercises_have_one_digit_and_none_is_left_out():
    """What a line's letters and the table's columns rest on."""
    for notebook in {id_[:2] for id_ in every()}:
        mine = [id_ for id_ in every() if id_.startswith(notebook)]
        assert mine == [f"{notebook}-{number}" for number in range(1, len(mine) + 1)]
        assert len(mine) < 10


def test_a_line_is_short_and_holds_states_and_nothing_else():
    assert room.line({}) == "VML1-0000"
    line = room.line(STATES)
    assert line.startswith("VML1-00p-01ntnnnnp-10nnnnt-")
    assert len(room.line(dict.fromkeys(every(), PASSED))) < 110
    assert room.line(STATES, "Ada") == f"Ada: {line}"


@given(st.dictionaries(st.sampled_from([*every()]), st.sampled_from([PASSED, TRIED])))
def test_what_a_line_says_is_what_is_read(states):
    (one,) = room.lines(room.line(states, "Ada"), "chat")
    assert one == Learner("Ada", states, "chat")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{}", ""),
        ("Ada: {}", "Ada"),
        ("> Ada: {} thanks", "Ada"),
        ("[12:30] Ada Lovelace: {}", "Ada Lovelace"),
        ("12:30:05 <ada> {}", "ada"),
        ("12:30:05 <ada_l> Ada: {}", "Ada"),
        ("[12:30] ada_l: Ada Lovelace: {}", "Ada Lovelace"),
        ("Ada  12:31 PM\n{}", "Ada"),
        ("Ada – `{}`", "Ada"),
        ("- Ada | {} |", "Ada"),
        ("hello\n\n{}", ""),
        ("阿达: {}", "阿达"),
    ],
)
def test_the_name_is_what_a_chat_puts_before_a_line(text, name):
    (one,) = room.lines(text.format(room.line(STATES)), "chat")
    assert (one.name, one.states) == (name or f"(line {text.count(chr(10)) + 1})", STATES)


def test_ones_own_line_is_had_without_a_terminal_too(tmp_path, monkeypatch):
    monkeypatch.setenv("VMENTER_PROGRESS", str(tmp_path / "progress.json"))
    progress.record("05-1", passed=True, answer="x")
    assert room.own_line("Ada") == f"Ada: {room.line({'05-1': PASSED})}"
    for name in ("A" * (room.LONGEST_NAME + 1), "A\nB"):
        with pytest.raises(LabError, match="a name here is one line of 60 signs at most"):
            room.own_line(name)
    monkeypatch.setenv("VMENTER_PROGRESS", "off")
    with pytest.raises(LabError, match="progress is not kept here"):
        room.own_line()


def test_a_line_that_a_chat_folded_at_a_dash_is_read():
    line = room.line(STATES)
    for fold in ("-\n", "-\r\n", "-\n> "):
        for place in range(1, line.count("-") + 1):
            head = "-".join(line.split("-")[:place])
            (one,) = room.lines("Ada: " + head + fold + line[len(head) + 1 :], "chat")
            assert one == Learner("Ada", STATES, "chat")


def test_a_line_that_was_cut_or_changed_is_told_and_not_believed():
    line = room.line(STATES)
    for place in range(4, len(line)):
        (one,) = room.lines(f"x\nAda: {line[:place]}", "chat")
        assert one == room.Unread("chat, line 2", "a line of progress that was cut or changed; ask for it again")
    for old, new in (("p-10", "n-10"), ("VML1", "VML2"), ("-00p", "")):
        (one,) = room.lines(line.replace(old, new), "chat")
        assert isinstance(one, room.Unread), new


def test_who_pastes_again_has_done_what_either_line_says(tmp_path):
    (tmp_path / "chat").write_text(
        f"Ada: {room.line({'01-1': PASSED, '01-2': TRIED})}\nBob: {room.line({})}\nAda: {room.line({'01-2': PASSED})}"
    )
    ada, bob = room.look([str(tmp_path / "chat")]).learners
    assert (ada.states, bob.states) == ({"01-1": PASSED, "01-2": PASSED}, {})


def test_a_line_of_a_newer_course_is_read_as_far_as_this_one_goes():
    newer = "-00pppp-01p-77tp"
    (one,) = room.lines(f"VML1{newer}-{room._sum(newer)}", "chat")
    assert one.states == {"00-1": PASSED, "01-1": PASSED}


@given(st.text(st.sampled_from("VML1-0pt>\n :Af\x1b")))
@example("VML1" * 2000)
@example("VML1" + "-01p\n> " * 2000)
def test_any_text_has_an_answer(text):
    for one in room.lines(text, "chat"):
        assert isinstance(one, Learner | room.Unread)


def test_a_chat_in_utf_16_is_read(tmp_path):
    (tmp_path / "chat").write_text(room.line(STATES, "Ada"), encoding="utf-16")
    assert names(tmp_path / "chat") == ["Ada"]


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def homes(tmp_path):
    write(tmp_path / "ada" / "progress.json", STATES)
    write(tmp_path / "bob \x1b[31m" / "progress.json", {"01-2": TRIED, "05-1": TRIED})
    return tmp_path


def test_the_table_has_a_sign_for_every_exercise_of_every_learner(run, homes):
    status, out, error = run("progress", str(homes))
    assert (status, error) == (0, "")
    lines = out.splitlines()
    assert "notebook" in lines[0]
    assert "exercise" in lines[1]
    for line, name, passed in ((lines[2], "ada", 2), (lines[3], "bob \\x1b[31m", 0)):
        signs, _, rest = line.rpartition(" of ")
        assert rest == f"{len(every())}  {name}"
        assert sum(signs.count(sign) for sign in "✔…○") == len(every())
        assert signs.count("✔") == passed
    assert "Tried and not passed by most: 01-2 (2 of 2), " in lines[5]
    column = {id_: lines[0].index(id_[:2]) + int(id_[-1]) - 1 for id_ in every()}
    assert {id_: lines[2][place] for id_, place in column.items()} == {
        id_: {PASSED: "✔", TRIED: "…"}.get(STATES.get(id_), "○") for id_ in every()
    }


def test_json_says_the_same_and_neither_tells_an_answer(run, homes):
    status, out, _ = run("progress", str(homes), "--json")
    found = json.loads(out)
    assert status == 0
    assert found["exercises"] == list(every())
    assert [one["name"] for one in found["learners"]] == ["ada", "bob \x1b[31m"]
    assert found["learners"][0]["passed"] == ["00-1", "01-7"]
    assert found["learners"][0]["tried"] == ["01-2", "10-5"]
    assert found["stuck"] == {"01-2": 2, "05-1": 1, "10-5": 1}
    assert found["unread"] == []
    assert SECRET not in out + run("progress", str(homes))[1]


def test_ones_own_progress_needs_no_path_and_a_line_of_it_can_be_pasted(run, tmp_path, monkeypatch):
    monkeypatch.setenv("VMENTER_PROGRESS", str(write(tmp_path / "mine.json", STATES)))
    status, out, _ = run("progress")
    assert (status, out.splitlines()[2].endswith("of 53  you")) == (0, len(every()) == 53)
    status, line, _ = run("progress", "--line")
    assert (status, line) == (0, room.line(STATES) + "\n")
    assert run("progress", "--line", "--name", "Ada")[1] == "Ada: " + line
    (tmp_path / "chat").write_text(line)
    assert json.loads(run("progress", "--json", str(tmp_path / "chat"))[1])["learners"][0]["tried"] == [
        "01-2",
        "10-5",
    ]


def test_who_has_not_begun_has_an_empty_row(run, tmp_path, monkeypatch):
    monkeypatch.setenv("VMENTER_PROGRESS", str(tmp_path / "none.json"))
    assert run("progress", "--line")[1] == "VML1-0000\n"
    assert not (tmp_path / "none.json").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--line", "x"], "leave out files"),
        (["--line", "--json"], "leave out files"),
        (["--name", "x"], "--name goes with --line"),
        (["--line", "--name", "x" * 61], "one line of 60 signs"),
        (["--line", "--name", "x\ny"], "one line of 60 signs"),
        (["nowhere"], "No such file"),
        ([], "progress is not kept here"),
    ],
)
def test_what_does_not_go_is_said_in_one_line(run, arguments, told):
    status, out, error = run("progress", *arguments)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert told in error


def test_the_longest_name_is_taken(run, tmp_path, monkeypatch):
    monkeypatch.setenv("VMENTER_PROGRESS", str(write(tmp_path / "mine.json", {})))
    assert run("progress", "--line", "--name", "x" * 60)[0] == 0


def test_what_could_not_be_read_beside_others_is_a_finding(run, homes):
    (homes / "c\x1b").mkdir()
    (homes / "c\x1b" / "progress.json").write_text("{")
    status, out, error = run("progress", str(homes))
    assert (status, error) == (1, "")
    assert "Not read: " in out
    assert all(visible(line) == line for line in out.split("\n"))
    assert len(json.loads(run("progress", "--json", str(homes))[1])["unread"]) == 1


def test_the_readmes_example_is_what_the_command_prints(run, tmp_path, monkeypatch):
    shown = re.findall(
        r"```\n\$ (vmenter progress --line.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    monkeypatch.setenv(
        "VMENTER_PROGRESS", str(write(tmp_path / "p", {"01-1": TRIED, "05-1": TRIED, "05-2": PASSED}))
    )
    monkeypatch.chdir(tmp_path)
    (first, line), (second, *rows) = (part.splitlines() for part in shown[0].split("$ "))
    assert run(*first.split()[1:])[1] == f"{line}\n"
    (tmp_path / "chat.txt").write_text(line)
    assert run(*second.split()[1:])[1].splitlines() == rows


def test_the_table_of_nobody_else_does_not_speak_of_most():
    alone = room.Room(tuple(every()), (Learner("you", STATES, "x"),), ())
    assert not [line for line in room_text.table(alone) if line.startswith("Tried and")]
