"""The learner's own copies: what they hold, what they must not tell, and what becomes of them on an update."""

import json
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import giveaway
import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT

from vmenter import LabError
from vmenter.course import copies

COURSE = sorted((ROOT / "notebooks").glob("*.ipynb"))
DAY = date(2026, 11, 28)
FIVE = "notebooks/05-2019-else-if.ipynb"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A learner's folder as it is first made."""
    folder = tmp_path_factory.mktemp("own") / "vmenter-lab"
    copies.update(folder, ROOT, DAY)
    return folder


@pytest.fixture
def course(tmp_path):
    """A small checkout of the course, to change; and the learner's folder."""
    for part in ("notebooks", "images"):
        (tmp_path / "course" / part).mkdir(parents=True)
    for name in ("00-start-here.ipynb", "05-2019-else-if.ipynb", "glossary.md", "INSTRUCTOR.md"):
        shutil.copy(ROOT / "notebooks" / name, tmp_path / "course" / "notebooks" / name)
    shutil.copy(ROOT / "images" / "quiet-v4.svg", tmp_path / "course" / "images")
    return tmp_path / "course", tmp_path / "own"


def change(path, cell=0, text="\nNew.", **more):
    """Change a cell's source, as an author or a learner would; `more` sets parts of the cell."""
    notebook = read(path)
    notebook["cells"][cell]["source"] = "".join(notebook["cells"][cell]["source"]) + text
    notebook["cells"][cell].update(more)
    path.write_text(json.dumps(notebook), encoding="utf-8")


# --- what a copy holds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_a_copy_has_the_code_of_the_original_and_nothing_that_came_out(fresh, path):
    original, copy = read(path), read(fresh / "notebooks" / path.name)
    kept = [one for one in original["cells"] if "assertion" not in one["metadata"].get("tags", [])]
    assert [(one["cell_type"], one["source"]) for one in copy["cells"]] == [
        (one["cell_type"], one["source"]) for one in kept
    ]
    for cell in copy["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
        assert (
            "assert " not in "".join(cell["source"])
            or cell["cell_type"] == "markdown"
            or "def " in "".join(cell["source"])
        )
    nbformat.validate(nbformat.from_dict(copy))


def test_what_is_marked_deeper_is_folded_and_nothing_else(fresh):
    folded = set()
    for path in (fresh / "notebooks").glob("*.ipynb"):
        for cell in read(path)["cells"]:
            title = "".join(cell["source"]).partition("\n")[0]
            deeper = cell["cell_type"] == "markdown" and "# " in title and "Deeper:" in title
            assert cell["metadata"].get("jp-MarkdownHeadingCollapsed", False) == deeper, title
            folded |= {path.stem[:2]} if deeper else set()
    assert folded >= {"01", "02", "03", "04", "05", "06", "07", "08", "09", "10"}


def test_every_relative_link_of_a_copy_works_and_the_leaders_page_stays_behind(fresh):
    links = set()
    for path in (fresh / "notebooks").iterdir():
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join(
                "".join(one["source"]) for one in read(path)["cells"] if one["cell_type"] == "markdown"
            )
        links |= {(path, target) for target in re.findall(r"\]\(([^)#\s]+)|src=\"([^\"]+)\"", text)}
    targets = {(path, one or other) for path, (one, other) in links}
    local = {
        (path, target) for path, target in targets if "://" not in target and not target.startswith("mailto:")
    }
    assert len(local) > 20
    assert {target for path, target in local if not (path.parent / target).exists()} == set()
    assert not list(fresh.rglob("INSTRUCTOR*"))
    assert list((fresh / "images").glob("*.svg"))


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_no_learners_cell_needs_a_name_that_only_an_assertion_brings(path):
    assert list(giveaway.borrowed(read(path))) == []


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_nothing_later_needs_a_section_that_is_marked_deeper(path):
    assert list(giveaway.borrowed_from_deeper(read(path))) == []


def test_a_name_that_only_a_deeper_section_brings_is_found_out():
    deeper = nbformat.v4.new_markdown_cell("## 2. Deeper: why")
    later = nbformat.v4.new_markdown_cell("## 3. Then")
    bind, use = nbformat.v4.new_code_cell("a = 1"), nbformat.v4.new_code_cell("print(a)")
    assert list(giveaway.borrowed_from_deeper({"cells": [deeper, bind, use, later, use]})) == ["a"]
    assert list(giveaway.borrowed_from_deeper({"cells": [later, bind, deeper, bind, later, use]})) == []


# --- what a copy must not tell -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", giveaway.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_a_copy_gives_nothing_away(path, rule):
    notebook = read(path)
    assert list(rule(giveaway.cells(notebook), giveaway.told(notebook))) == []


@pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
def test_no_cell_between_a_question_and_its_truth_prints(path):
    assert list(giveaway.printed_early(read(path))) == []


def test_a_cell_that_prints_before_the_truth_is_found_out():
    def code(source, *texts):
        outputs = [{"output_type": "stream", "text": text} for text in texts]
        return {"cell_type": "code", "metadata": {}, "source": source, "outputs": outputs}

    ask, held = code('predict("05-a")'), code("x", "(What this prints comes with the truth of 05-a.)\n")
    early, tell = code("print(1)", "1\n"), code('truth("05-a", x)')
    assert list(giveaway.printed_early({"cells": [ask, early, tell]})) == [("05-a", "cell 1 prints '1'")]
    assert list(giveaway.printed_early({"cells": [early, ask, held, tell, early]})) == []


def test_every_truth_that_is_asked_for_is_told_in_the_committed_outputs():
    for path in COURSE:
        notebook = read(path)
        asked = {call.args[0].value for call in giveaway.calls(giveaway.cells(notebook), "truth")}
        assert set(giveaway.told(notebook)) == asked, path.name


VIEW = "from vmenter.views.exposure.widget import ExposureMap as Map\n\nMap()"
TOLD = {"05-a": ["31 accesses", "yes"]}
DAMAGES = [
    (giveaway.literal_truths, [("code", 'truth("05-a", 1, found)')], "typed: 1"),
    (giveaway.literal_truths, [("code", 'truth("05-a", "always")')], "typed: 'always'"),
    (giveaway.literal_truths, [("code", 'it = "always"\ntruth("05-a", it)')], "typed: it"),
    (giveaway.literal_truths, [("code", 'truth("05-a", ["a", "b"])')], "typed: ['a', 'b']"),
    (giveaway.told_numbers, [("markdown", "From 31 accesses to none.")], "31 in cell 0"),
    (giveaway.open_prose, [("code", 'truth("05-a", x)'), ("markdown", "One of six.")], "unfolded: 'One of six.'"),
    (giveaway.views_behind, [("code", VIEW), ("code", 'truth("05-a", x)'), ("code", "Map(1)")], "cell 2 shows"),
    (giveaway.views_behind, [("code", 'truth("05-a", x)'), ("markdown", "Then:"), ("code", VIEW)], "cell 2 shows"),
    (
        giveaway.views_behind,
        [("code", VIEW.replace("Map()", "one = Map()")), ("code", 'truth("05-a", x)'), ("code", "one")],
        "cell 2",
    ),
    (giveaway.solutions_above, [("markdown", "`cmpb $5, 4(%rsp)`"), ("code", 'exercise("03-1")')], None),
]


@pytest.mark.parametrize(("rule", "cells", "words"), DAMAGES)
def test_what_tells_too_early_is_found_out(rule, cells, words):
    if words is None:  # a line of the solution itself
        task = giveaway.every()["03-1"]
        lines = {line.strip() for line in task.solution.splitlines()} - {
            line.strip() for line in task.starter.splitlines()
        }
        words = max(lines, key=len)
        cells = [("markdown", f"Look: {words}"), cells[1]]
    found = list(rule([giveaway.Cell(*one) for one in cells], TOLD))
    assert any(words in where for _, where in found)


@pytest.mark.parametrize(
    ("rule", "cells"),
    [
        (giveaway.literal_truths, [("code", 'truth("05-a", len(broken), "yes" if x else "no")')]),
        (giveaway.told_numbers, [("markdown", "<details>31</details> 131, 31.5, v31"), ("code", "31")]),
        (giveaway.open_prose, [("code", 'truth("05-a", x)'), ("markdown", "<details>One")]),
        (giveaway.open_prose, [("code", 'truth("05-a", x)'), ("markdown", "## 3. Next")]),
        (
            giveaway.views_behind,
            [("code", VIEW), ("code", 'truth("05-a", x)'), ("code", 'once_told("05-a", Map())')],
        ),
        (giveaway.views_behind, [("code", 'truth("05-a", x)'), ("markdown", "## 3. Next"), ("code", VIEW)]),
        (
            giveaway.views_behind,
            [("code", VIEW), ("code", 'truth("05-a", x, show=Map())'), ("code", "print(Map)\nx = 1")],
        ),
        (giveaway.solutions_above, [("code", 'exercise("05-3")'), ("markdown", "anything")]),
    ],
)
def test_what_tells_nothing_is_let_through(rule, cells):
    assert list(rule([giveaway.Cell(*one) for one in cells], TOLD)) == []


def test_a_name_that_only_an_assertion_brings_is_found_out():
    cell = {"cell_type": "code", "metadata": {"tags": ["assertion"]}, "source": "import os\nx = 1"}
    plain = {"cell_type": "code", "metadata": {}, "source": "print(x, os, len)"}
    assert list(giveaway.borrowed({"cells": [cell, plain]})) == ["os", "x"]
    assert list(giveaway.borrowed({"cells": [{**plain, "source": "x = os = 1"}, cell, plain]})) == []


# --- updates -------------------------------------------------------------------------------------------------------


def test_the_first_time_everything_is_made(course):
    source, own = course
    done = copies.update(own, source, DAY)
    assert set(done.made) == {FIVE, copies.FIRST, "notebooks/glossary.md", "images/quiet-v4.svg"}
    assert (done.replaced, done.kept) == ((), {})
    assert "New: 4 files." in done.text
    assert {str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()} == {*done.made, copies.STATE}


def test_a_second_time_nothing_happens(course):
    source, own = course
    copies.update(own, source, DAY)
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    done = copies.update(own, source, DAY)
    assert (done.made, done.replaced, done.kept) == ((), (), {})
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before


def test_an_untouched_copy_is_replaced_and_said(course):
    source, own = course
    copies.update(own, source, DAY)
    change(source / FIVE)
    (source / "notebooks" / "glossary.md").write_text("# New\n", encoding="utf-8")
    done = copies.update(own, source, DAY)
    assert set(done.replaced) == {FIVE, "notebooks/glossary.md"}
    assert "Brought up to date: 05-2019-else-if.ipynb" in done.text
    assert "".join(read(own / FIVE)["cells"][0]["source"]).endswith("\nNew.")


def test_an_untouched_copy_that_was_only_opened_is_replaced(course):
    """JupyterLab writes metadata of its own into a notebook that is opened and saved."""
    source, own = course
    copies.update(own, source, DAY)
    notebook = read(own / FIVE)
    notebook["metadata"]["language_info"] = {"name": "python", "version": "3.11.2"}
    (own / FIVE).write_text(json.dumps(notebook, indent=2), encoding="utf-8")
    change(source / FIVE)
    assert copies.update(own, source, DAY).replaced == (FIVE,)


@pytest.mark.parametrize(
    "touch",
    [
        lambda path: change(path, 0, "mine"),
        lambda path: change(path, 4, "", outputs=[{"output_type": "stream", "name": "stdout", "text": "ran"}]),
        lambda path: path.write_text("no notebook any more", encoding="utf-8"),
        lambda path: path.write_bytes(b"\xff\x00"),
        lambda path: path.write_text("[]", encoding="utf-8"),
        lambda path: path.write_text("", encoding="utf-8"),
    ],
    ids=["text", "run", "broken", "bytes", "list", "empty"],
)
def test_a_touched_copy_is_kept_and_the_new_one_laid_beside_it_once(course, touch):
    source, own = course
    copies.update(own, source, DAY)
    touch(own / FIVE)
    mine = (own / FIVE).read_bytes()
    assert copies.update(own, source, DAY).kept == {}  # the course has nothing new
    change(source / FIVE)
    done = copies.update(own, source, DAY)
    beside = "notebooks/05-2019-else-if-new-2026-11-28.ipynb"
    assert done.kept == {FIVE: beside}
    assert "05-2019-else-if.ipynb is as you left it" in done.text
    assert Path(beside).name in done.text
    assert (own / FIVE).read_bytes() == mine
    assert "".join(read(own / beside)["cells"][0]["source"]).endswith("\nNew.")
    assert copies.update(own, source, DAY).kept == {}
    change(source / FIVE)
    assert copies.update(own, source, DAY).kept == {FIVE: beside.replace("28.ipynb", "28-2.ipynb")}
    assert (own / FIVE).read_bytes() == mine


def test_a_deleted_copy_comes_anew_and_files_of_the_learners_own_stay(course):
    source, own = course
    copies.update(own, source, DAY)
    (own / FIVE).unlink()
    (own / "notebooks" / "mine.ipynb").write_text("{}", encoding="utf-8")
    assert copies.update(own, source, DAY).made == (FIVE,)
    assert (own / "notebooks" / "mine.ipynb").read_text(encoding="utf-8") == "{}"


def test_what_the_course_has_no_longer_goes_unless_it_was_touched(course):
    source, own = course
    copies.update(own, source, DAY)
    (source / FIVE).rename(source / "notebooks/05-renamed.ipynb")
    (source / "notebooks" / "glossary.md").unlink()
    change(own / FIVE, 0, "mine")
    done = copies.update(own, source, DAY)
    assert (done.made, done.removed, done.left) == (
        ("notebooks/05-renamed.ipynb",),
        ("notebooks/glossary.md",),
        (FIVE,),
    )
    assert "glossary.md" in done.text
    assert "05-2019-else-if.ipynb is as you left it. The course has it no longer." in done.text
    assert "".join(read(own / FIVE)["cells"][0]["source"]).endswith("mine")
    assert not (own / "notebooks" / "glossary.md").exists()
    assert copies.update(own, source, DAY).left == ()


@pytest.mark.parametrize("path", ["../mine", "/mine", "mine", "notebooks/deep/mine", "notebooks/../../mine"])
def test_a_memory_that_names_what_was_never_a_copy_removes_nothing(course, path):
    source, own = course
    copies.update(own, source, DAY)
    mine = (own / path) if path != "/mine" else own / "mine"
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine", encoding="utf-8")
    state = {path: copies._mark(path, b"mine")}
    (own / copies.STATE).write_text(json.dumps(state), encoding="utf-8")
    assert copies.update(own, source, DAY).removed == ()
    assert mine.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("state", ["", "[]", "{", '{"notebooks/05-2019-else-if.ipynb": 3}', None])
def test_without_its_memory_it_takes_every_difference_for_the_learners(course, state):
    source, own = course
    copies.update(own, source, DAY)
    change(own / FIVE, 0, "mine")
    mine = (own / FIVE).read_bytes()
    (own / copies.STATE).unlink() if state is None else (own / copies.STATE).write_text(state, encoding="utf-8")
    done = copies.update(own, source, DAY)
    assert list(done.kept) == [FIVE]
    assert (done.made, done.replaced) == ((), ())
    assert (own / FIVE).read_bytes() == mine


@given(st.lists(st.sampled_from(["author", "learner", "update"]), max_size=8))
def test_whatever_happens_in_whatever_order_the_learners_words_survive(tmp_path_factory, deeds):
    base = tmp_path_factory.mktemp("any")
    source, own = base / "course", base / "own"
    (source / "notebooks").mkdir(parents=True)
    path = source / copies.FIRST
    path.write_text(json.dumps(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("a = 1")])))
    copies.update(own, source, DAY)
    words = []
    for number, deed in enumerate(deeds):
        if deed == "author":
            change(path, 0, f"\nauthor{number}")
        elif deed == "learner":
            words.append(f"learner{number}")
            change(own / copies.FIRST, 0, f"\n{words[-1]}")
        else:
            copies.update(own, source, DAY)
    copies.update(own, source, DAY)
    text = "".join(read(own / copies.FIRST)["cells"][0]["source"])
    assert all(word in text for word in words)
    newest = "".join(read(path)["cells"][0]["source"])
    found = ["".join(read(one)["cells"][0]["source"]) for one in (own / "notebooks").glob("*.ipynb")]
    assert any(one.startswith(newest) for one in found)


def test_where_it_cannot_be_there_is_one_clear_error(course, tmp_path):
    source, own = course
    with pytest.raises(LabError, match="no notebooks of the course are here; name its checkout with --course DIR"):
        copies.update(own, tmp_path)
    with pytest.raises(LabError, match="is the course itself"):
        copies.update(source, source)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(LabError, match="is the course itself"):
        copies.update(tmp_path / "link", source)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="no copy can be made there"):
        copies.update(tmp_path / "file" / "own", source)
    copies.update(own, source)
    (own / FIVE).unlink()
    (own / FIVE).mkdir()
    with pytest.raises(LabError, match="no copy can be made there"):
        copies.update(own, source)


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_makes_the_copies_and_says_where(run, tmp_path):
    own = tmp_path / "own"
    status, out, error = run("lab", "--no-open", "--folder", str(own))
    assert (status, error) == (0, "")
    assert out.startswith(f"Your copies of the course are in {own}.\n")
    assert (own / copies.FIRST).is_file()


def test_the_command_says_in_one_line_what_is_wrong(run, tmp_path):
    status, out, error = run("lab", "--no-open", "--course", str(tmp_path), "--folder", str(tmp_path / "own"))
    assert (status, out) == (2, "")
    assert error.count("\n") == 1
    assert not (tmp_path / "own").exists()
    status, _, error = run("lab", "--no-open", "--folder", str(ROOT))
    assert status == 2
    assert "is the course itself" in error


def test_the_command_opens_jupyterlab_at_notebook_00_and_hands_it_its_own_options(tmp_path):
    """JupyterLab itself is replaced by a module that tells what it was started with."""
    (tmp_path / "jupyterlab.py").write_text("import json, os, sys; print(json.dumps([os.getcwd(), sys.argv[1:]]))")
    done = subprocess.run(
        [sys.executable, "-m", "vmenter", "lab", "--folder", str(tmp_path / "own"), "--no-browser", "--port=1"],
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    folder, arguments = json.loads(done.stdout.splitlines()[-1])
    assert folder == str(tmp_path / "own")
    assert f"--LabApp.default_url=/lab/tree/{copies.FIRST}" in arguments
    assert "--no-browser" in arguments
    assert "--port=1" in arguments
    assert f"--ServerApp.root_dir={folder}" in arguments


def test_the_home_is_where_copies_are_if_no_folder_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    run("lab", "--no-open")
    assert (tmp_path / "vmenter-lab" / copies.FIRST).is_file()
