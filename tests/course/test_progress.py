"""Progress: one file of the reader's own, written whole, by two notebooks at once, and never in anyone's way."""

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter.course import progress
from vmenter.course.exercises import check, every, exercise
from vmenter.course.progress import Attempt
from vmenter.course.summary import summary


@pytest.fixture
def file(tmp_path, monkeypatch):
    file = tmp_path / "my notes" / "progress.json"
    monkeypatch.setenv("VMENTER_PROGRESS", str(file))
    monkeypatch.setattr(progress, "_said", set())
    return file


def test_tests_never_touch_a_readers_file():
    assert progress.path() is None
    assert progress.record("05-1", passed=True, answer="x") is None
    assert progress.load() == progress.Progress(None)


# --- what is kept ------------------------------------------------------------------------------------------------


def test_an_answer_is_kept_and_once_passed_it_stays_passed(file):
    for passed, answer in ((False, "a"), (True, "b"), (False, "c")):
        assert progress.record("05-2", passed=passed, answer=answer) is None
    assert progress.load().exercises == {"05-2": Attempt(passed=True, tries=3, answer="c")}
    assert json.loads(file.read_text())["exercises"]["05-2"] == {"passed": True, "tries": 3, "answer": "c"}


def test_check_keeps_what_it_judged_and_says_the_same_with_and_without_a_file(file, monkeypatch):
    kept = [check("05-2", letter) for letter in "ac"]
    monkeypatch.setenv("VMENTER_PROGRESS", "off")
    assert kept == [check("05-2", letter) for letter in "ac"]
    shown = repr(exercise("05-2")), exercise("05-2")._repr_html_()
    monkeypatch.setenv("VMENTER_PROGRESS", str(file))
    assert shown == (repr(exercise("05-2")), exercise("05-2")._repr_html_())
    assert progress.load().exercises == {"05-2": Attempt(passed=True, tries=2, answer="c")}
    check("05-1", {"bugs": ["mds"]})
    assert progress.load().exercises["05-1"].answer == "{'bugs': ['mds']}"


def test_predictions_stand_in_the_same_file(file):
    progress.predict("05-a", "it clears\nalways")
    progress.predict("05-a", "“never” – 二")
    assert progress.load().predictions == {"05-a": "“never” – 二"}
    assert "“never”" in file.read_text(encoding="utf-8")


def test_what_others_wrote_into_the_file_stays(file):
    file.parent.mkdir()
    file.write_text('{"mine": [1], "exercises": {"05-1": {"passed": false, "note": "hard"}}, "predictions": {}}')
    progress.record("05-1", passed=True, answer="x")
    content = json.loads(file.read_text())
    assert content["mine"] == [1]
    assert content["exercises"]["05-1"] == {"passed": True, "note": "hard", "tries": 1, "answer": "x"}


def test_reset_forgets_one_exercise_one_notebook_or_everything(file):
    for id_ in ("05-1", "05-2", "06-1", "07-1"):
        progress.record(id_, passed=True, answer="x")
        progress.predict(id_, "x")
    for ids, left in ((["05-1"], ["05-2", "06-1", "07-1"]), (["05", "07"], ["06-1"]), ([], [])):
        progress.reset(*ids)
        assert list(progress.load().exercises) == list(progress.load().predictions) == left


def test_a_very_long_answer_is_cut(file):
    progress.record("05-2", passed=False, answer="x" * 10**6)
    assert len(progress.load().exercises["05-2"].answer) == progress.LONGEST


@given(st.dictionaries(st.sampled_from(list(every())), st.tuples(st.booleans(), st.text()), max_size=5))
def test_any_text_comes_back_as_it_was(answers):
    with pytest.MonkeyPatch.context() as patch, _folder() as folder:
        patch.setenv("VMENTER_PROGRESS", str(folder / "p.json"))
        for id_, (passed, answer) in answers.items():
            progress.record(id_, passed=passed, answer=answer)
        found = {id_: (a.passed, a.answer) for id_, a in progress.load().exercises.items()}
        assert found == {id_: (passed, answer) for id_, (passed, answer) in answers.items()}


def _folder():
    from contextlib import contextmanager
    from tempfile import TemporaryDirectory

    @contextmanager
    def made():
        with TemporaryDirectory() as name:
            yield Path(name)

    return made()


# --- two at once ------------------------------------------------------------------------------------------------

WRITER = """
import sys
from vmenter.course import progress
for n in range(200):
    assert progress.record(f"{sys.argv[1]}-{n}", passed=True, answer=str(n)) is None
"""


def test_three_notebooks_that_write_at_once_lose_nothing(file):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in ("05", "06", "07")]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: progress.predict(f"p-{n}", "x"), range(40)))
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = progress.load()
    assert len(found.exercises) == 600
    assert len(found.predictions) == 40
    assert found.trouble is None
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_who_gets_no_turn_writes_nothing_and_says_so(file, monkeypatch, capsys):
    from filelock import FileLock

    progress.record("05-1", passed=True, answer="x")
    monkeypatch.setattr(progress, "PATIENCE", 0.1)
    with FileLock(file.with_name(f".{file.name}.lock")):
        words = progress.record("05-2", passed=True, answer="x")
    assert words.startswith("progress is not kept: ")
    assert "another program has held it" in words
    assert capsys.readouterr() == ("", words + "\n")
    assert list(progress.load().exercises) == ["05-1"]


def test_what_a_killed_writer_has_left_is_tidied_up(file):
    file.parent.mkdir()
    for name in (f".{file.name}.new", f".{file.name}.lock"):
        file.with_name(name).write_text("half")
    progress.record("05-1", passed=True, answer="x")
    assert [p.name for p in file.parent.iterdir()] == [file.name]


@pytest.mark.skipif(sys.platform == "win32", reason="modes and links of other systems")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_link_stays_a_link_and_the_file_keeps_its_mode(file, tmp_path, mode):
    real = tmp_path / "elsewhere" / "mine.json"
    real.parent.mkdir()
    real.write_text("{}")
    real.chmod(mode)
    file.parent.mkdir()
    (file.parent / "step").symlink_to(real)
    file.symlink_to("step")
    for number in range(3):
        assert progress.record("05-1", passed=True, answer="x") is None
        assert progress.load().exercises["05-1"].tries == number + 1
    assert file.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == mode
    assert json.loads(real.read_text())["exercises"]["05-1"]["tries"] == 3
    assert [p.name for p in real.parent.iterdir()] == [real.name]


@pytest.mark.skipif(sys.platform == "win32", reason="links of other systems")
def test_links_that_lead_nowhere_are_made_or_said(file, tmp_path):
    file.parent.mkdir()
    file.symlink_to(tmp_path / "to come" / "p.json")
    assert progress.record("05-1", passed=True, answer="x") is None
    assert (tmp_path / "to come" / "p.json").is_file()
    file.unlink()
    file.symlink_to(file.name)
    assert "cannot be written" in progress.record("05-1", passed=True, answer="x")
    assert progress.load().exercises == {}


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf"])
def test_a_mark_that_an_editor_put_before_the_text_is_read(file, mark):
    file.parent.mkdir()
    file.write_bytes(mark + b'{"exercises": {"05-1": {"passed": true, "tries": 2}}}')
    assert progress.load().exercises["05-1"].passed
    assert progress.record("05-2", passed=True, answer="x") is None
    assert list(progress.load().exercises) == ["05-1", "05-2"]


def test_a_reader_puts_nothing_aside_that_a_writer_has_just_mended(file, monkeypatch):
    file.parent.mkdir()
    file.write_text("{")
    alone = progress._alone

    @contextmanager
    def mended(own):
        own.write_text('{"exercises": {"05-1": {"passed": true}}}')
        with alone(own) as same:
            yield same

    monkeypatch.setattr(progress, "_alone", mended)
    assert progress.load().exercises["05-1"].passed
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_write_that_fails_half_way_leaves_the_old_file(file, monkeypatch):
    progress.record("05-1", passed=True, answer="x")
    before = file.read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "No space left" in progress.record("05-2", passed=True, answer="y")
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


# --- trouble ----------------------------------------------------------------------------------------------------

DAMAGED = [
    "",
    "{",
    "[]",
    "7",
    '{"exercises": []}',
    '{"predictions": 1}',
    "\x00" * 9,
    "[" * 10**5,
    '{"exercises": {}',
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_kept_aside_and_said_in_one_line(file, capsys, content):
    file.parent.mkdir()
    for number in (1, 2):
        file.write_text(content)
        words = progress.record("05-1", passed=True, answer="x")
        aside = file.with_name(f"progress.damaged-{number}.json")
        assert words == f"progress.json was damaged; it is kept as {aside}, and a new one begins"
        assert aside.read_text() == content
        assert capsys.readouterr() == ("", words + "\n")
        assert progress.load().exercises == {"05-1": Attempt(passed=True, tries=1, answer="x")}


def test_bytes_that_are_no_text_are_damage_too(file):
    file.parent.mkdir()
    file.write_bytes(b"\xff\xfe\x00")
    assert "was damaged" in progress.load().trouble
    assert not file.exists()


def test_an_entry_that_makes_no_sense_is_passed_over(file):
    file.parent.mkdir()
    file.write_text('{"exercises": {"05-1": 3, "05-2": {"tries": "x", "passed": "yes"}}, "predictions": {"a": 1}}')
    found = progress.load()
    assert found.exercises == {"05-2": Attempt(passed=False, tries=0, answer="")}
    assert found.predictions == {"a": "1"}
    assert progress.record("05-1", passed=False, answer="x") is None


@pytest.mark.parametrize("place", ["/proc/vmenter/progress.json", "folder", "/dev/null"])
def test_a_place_that_cannot_be_written_breaks_nothing(tmp_path, monkeypatch, capsys, place):
    if place == "folder":
        place = str(tmp_path)
    monkeypatch.setenv("VMENTER_PROGRESS", place)
    monkeypatch.setattr(progress, "_said", set())
    kind = stat.S_IFMT(Path(place).stat().st_mode) if Path(place).exists() else None
    assert [check("05-2", "c").passed for _ in range(3)] == [True] * 3
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1  # once, however often
    assert err.startswith("progress is not kept: ")
    assert progress.load().exercises == {}
    assert not kind or stat.S_IFMT(Path(place).stat().st_mode) == kind  # /dev/null is still what it was
    assert not Path(place).with_name(f".{Path(place).name}.lock").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_is_read_only_breaks_nothing(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("VMENTER_PROGRESS", str(tmp_path / "sub" / "p.json"))
    assert "cannot be written" in progress.record("05-2", passed=True, answer="c")


# --- where ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, ".local/share/vmenter/progress.json"),
        ({"XDG_DATA_HOME": "relative"}, ".local/share/vmenter/progress.json"),
        ({"XDG_DATA_HOME": "/data"}, "/data/vmenter/progress.json"),
        ({"VMENTER_PROGRESS": "~/mine.json"}, "mine.json"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="platformdirs knows the other systems")
def test_the_file_stands_where_the_system_keeps_such_things(monkeypatch, tmp_path, variables, place):
    for name in ("VMENTER_PROGRESS", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert progress.path() == tmp_path / place


# --- the summary ------------------------------------------------------------------------------------------------


def test_the_summary_says_what_is_done_where_and_how_to_reset(file):
    progress.record("05-1", passed=True, answer="x")
    progress.record("05-2", passed=False, answer="x")
    text = repr(summary())
    assert text.startswith(f"1 of {len(every())} exercises passed\n")
    assert "\n05   05-1 ✔ passed   05-2 … tried   05-3 ○ open   " in text
    assert str(file) in text
    assert "progress.reset()" in text
    assert set(every()) == set(text.split()) & set(every())


def test_the_summary_as_a_table_says_the_same_and_is_well_formed(file):
    file.parent.mkdir()
    file.write_text('{"exercises": {"05-1": {"passed": true, "answer": "<script>"}}}')
    seen = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)

        def handle_endtag(self, tag):
            while seen and seen.pop() != tag:
                raise AssertionError(tag)

    html = summary()._repr_html_()
    Parser().feed(html)
    assert seen == []
    assert html.count("<tr>") == len({id_[:2] for id_ in every()}) + 1
    assert all(f"{id_} " in html for id_ in every())
    assert "script" not in html
    assert "1 of" in html


def test_without_a_place_the_summary_says_so():
    assert "Progress is not kept here" in repr(summary())
    assert repr(summary()).startswith("0 of ")
