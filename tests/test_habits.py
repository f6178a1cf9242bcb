"""What a project says about itself holds: licences, citation, changelog, and every path and command it names."""

import datetime as dt
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from itertools import product

import pytest
import yaml
from places import ROOT
from tools import release
from worked import CONTRIBUTING, block, far_view

from vmenter.boot.host import Host
from vmenter.course.prediction.questions import answer, every, question
from vmenter.patching import lab
from vmenter.story import eras, history
from vmenter.story.promise import Reach, VCpuState

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
CHANGELOG = release.entries((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
VERSION = tomllib.loads((ROOT / "lib" / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

# What the worked examples make: not there before, and free for who follows them.
MADE = {
    "lib/vmenter/course/exercises/11.toml",
    "lib/vmenter/course/prediction/11.toml",
    "lib/vmenter/course/exercises/nb11.py",
    "lib/vmenter/course/slides/decks/11.md",
    "lib/vmenter/patching/lab/ours.S",
    "lib/vmenter/views/far/frame.py",
    "lib/vmenter/views/far/widget.css",
    "lib/vmenter/views/far/widget.js",
    "lib/vmenter/views/far/widget.py",
    "notebooks/11-one-more-site.ipynb",
    "tests/views/far/test_widget.py",
    "tests/wrong_11.py",
}


def targets():
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def words():
    """Return the words of all code in CONTRIBUTING, in lines and blocks."""
    code = re.findall(r"```\w*\n(.*?)```", CONTRIBUTING, re.DOTALL) + re.findall(r"`([^`\n]+)`", CONTRIBUTING)
    return " ".join(code).split()


# --- CONTRIBUTING --------------------------------------------------------------------------------------------------


def test_every_path_that_contributing_names_is_there():
    named = {word for word in words() if re.match(r"(lib|tests|notebooks|images)/\w", word)}
    links = {target for target in re.findall(r"\]\(([^)#]+)\)", CONTRIBUTING) if "://" not in target}
    assert len(named) > 15
    missing = {path for path in (named | links) - MADE if not (ROOT / path).exists()}
    assert not missing


def test_what_the_worked_examples_make_is_not_there_yet():
    assert {path for path in MADE if (ROOT / path).exists()} == set()
    for name in ("[03-6]", "OWN_FORM"):
        assert not any(name in path.read_text(encoding="utf-8") for path in ROOT.glob("lib/vmenter/**/*.toml"))


def test_every_make_target_that_is_named_is_one_and_help_lists_them_all():
    assert set(re.findall(r"`make ([\w-]+)", CONTRIBUTING)) <= targets()
    phony = set(re.search(r"^\.PHONY: ((?:.+\\\n)*.+)$", MAKEFILE, re.MULTILINE)[1].replace("\\\n", "").split())
    assert phony == targets()
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"make ([\w-]+)", helped)) == targets()


def test_every_vmenter_command_that_is_named_is_understood(run):
    commands = re.findall(r"`\.venv/bin/vmenter ([^`]+)`", CONTRIBUTING)
    assert commands
    for command in commands:
        status, _, error = run(*shlex.split(command.replace("ours", "v4")))
        assert status in (0, 1), error


def test_every_python_name_that_is_named_is_there():
    for name in ("_IN_ORDER", "REJECTED_CURE", "JUDGES", "WRONG", "SWITCHES", "verw_runs", "FORMS"):
        assert name in CONTRIBUTING
        files = [*ROOT.glob("lib/vmenter/**/*.py"), *ROOT.glob("tests/**/*.py")]
        assert any(
            re.search(rf"^(def )?{name}\b", path.read_text(encoding="utf-8"), re.MULTILINE) for path in files
        ), name


def test_the_example_of_an_exercise_is_a_whole_one():
    example = tomllib.loads(re.search(r"```toml\n(.*?)```", CONTRIBUTING, re.DOTALL)[1])["03-6"]
    like = tomllib.loads((ROOT / "lib/vmenter/course/exercises/03.toml").read_text(encoding="utf-8"))["03-2"]
    assert set(example) - {"minutes"} == set(like) - {"minutes"}
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.DOTALL) if "def _judge" in block
    )
    names = {}
    exec("from typing import Any\n" + re.sub(r"^   ", "", code.split("   JUDGES")[0], flags=re.MULTILINE), names)
    judge = names["_judge_length"]
    assert judge(17) is None
    wrong = re.search(r'"03-6": \[(.*?)\n   \]', CONTRIBUTING, re.DOTALL)[1]
    for given, reason in re.findall(r'\((\S+), "(.+?)"\)', wrong):
        assert reason in judge(eval(given))


def test_the_example_of_a_prediction_answers_each_guess():
    asked = tomllib.loads(
        next(one for one in re.findall(r"```toml\n(.*?)```", CONTRIBUTING, re.DOTALL) if "03-c" in one)
    )
    size, both = (question("03-c", texts) for texts in asked["03-c"])
    assert [answer(size.key(17), guess).verdict for guess in ("17", "15", "7", "20")] == [
        "right",
        "near",
        "wrong",
        "wrong",
    ]
    assert [answer(both.key("the same"), guess).verdict for guess in both.choices] == ["near", "right", "wrong"]
    assert "03-c" not in every()


def test_the_example_of_an_era_is_a_form_that_keeps_its_promise():
    text = (lab.LAB / "v4.S").read_text(encoding="utf-8")
    text = re.sub(r"\.macro stash_mmio.*?\.endm\n", "", text, flags=re.DOTALL)
    kept = [line for line in text.splitlines(keepends=True) if "stash_mmio" not in line and "btl" not in line]
    at = max(n for n, line in enumerate(kept) if "ALTERNATIVE_2" in line)
    code = lab.assemble("".join((*kept[:at], block("    testl $RUN_MMIO"), *kept[at:])))
    names = dict(vars(history))
    exec(block("OWN_FORM"), names)
    ours = replace(names["OWN_FORM"], code=code)
    for features in ((), ("CLEAR_CPU_BUF_VM",), ("CLEAR_CPU_BUF_VM_MMIO",)):
        for mmio, resume in product(Reach, (False, True)):
            state = eras.State(features=frozenset(features), mmio=mmio, resume=resume)
            assert eras.run(ours, state).verw == eras.run(history.era("v4"), state).verw
    far = [
        eras.enter(ours, Host(bugs), VCpuState(Reach.ASSIGNED)).verdict
        for bugs in (("mds",), ("mmio_stale_data",))
    ]
    assert [(one.instructions_after_clear, one.accesses_after_clear) for one in far] == [(2, 0), (1, 0)]


def test_the_example_of_a_view_shows_an_era_and_keeps_the_last_good_frame(tmp_path, monkeypatch):
    far = far_view(tmp_path, monkeypatch)()
    assert repr(far) == "650b68a0622f: 46 instructions between the last clear and VM-Enter"
    far.state = {"era": "before-mds"}
    assert repr(far) == "before-mds: nothing clears"
    far.state = {"era": "v44"}
    assert "unknown name 'v44', did you mean v4" in far.text
    assert far.text.endswith("before-mds: nothing clears")


# --- licences, citation, changelog, releases ------------------------------------------------------------------------


def test_both_licences_are_there_whole():
    mit = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert mit.startswith("MIT License\n\nCopyright (c) 2026 The VM-Enter Lab authors\n")
    by = (ROOT / "LICENSE-CC-BY-4.0").read_text(encoding="utf-8")
    assert by.startswith("Attribution 4.0 International\n")
    assert re.findall(r"^Section (\d)", by, re.MULTILINE) == [str(n) for n in range(1, 9)]
    assert by.rstrip().endswith("Creative Commons may be contacted at creativecommons.org.")
    assert {"LICENSE", "LICENSE-CC-BY-4.0"} <= set(
        re.findall(r"\]\(([^)]+)\)", (ROOT / "LICENSES.md").read_text())
    )


def test_the_citation_has_what_the_format_asks_for():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "date-released", "license"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert [set(author) for author in cited["authors"]] == [{"name"}]
    assert cited["license"] == ["MIT", "CC-BY-4.0"]
    assert isinstance(cited["date-released"], dt.date)


def test_the_changelog_has_an_unreleased_part_and_then_falling_versions():
    unreleased, *versions = CHANGELOG
    assert unreleased == "Unreleased"
    assert versions[0] == VERSION
    assert versions == sorted(versions, key=lambda v: [int(n) for n in v.split(".")], reverse=True)
    dates = [CHANGELOG[version][0] for version in versions]
    assert all(release.is_date(date) for date in dates)
    assert dates == sorted(dates, reverse=True)
    for version, (_, text) in CHANGELOG.items():
        headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
        assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}, version


def test_all_places_tell_the_version_that_may_be_released():
    assert release.mistakes(VERSION) == []


@pytest.fixture
def copy(tmp_path):
    """A copy of what a release looks at, to spoil; returns a function (path, old, new) → what is said of it."""
    for path in ("CHANGELOG.md", "CITATION.cff", "lib/pyproject.toml"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")

    def spoil(path, old, new):
        text = (tmp_path / path).read_text(encoding="utf-8")
        assert old in text
        (tmp_path / path).write_text(text.replace(old, new), encoding="utf-8")
        return release.mistakes(VERSION, tmp_path)

    return spoil


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        ("lib/pyproject.toml", f'version = "{VERSION}"', 'version = "9.9.9"', "pyproject.toml says version 9.9.9"),
        ("CITATION.cff", f"version: {VERSION}", "version: 9.9.9", "CITATION.cff says version 9.9.9"),
        ("CHANGELOG.md", f"[{VERSION}]", "[9.9.9]", f"no entry [{VERSION}]"),
        ("CHANGELOG.md", f"[{VERSION}] - ", f"[{VERSION}] - 23.", "has the date 23."),
        ("CITATION.cff", "date-released: 20", "date-released: 19", "make them one"),
    ],
)
def test_a_release_is_refused_where_two_places_differ(copy, path, old, new, message):
    found = copy(path, old, new)
    assert any(message in line for line in found), found


def test_a_version_that_is_none_is_refused():
    assert "no version" in release.mistakes("v1")[0]
    done = subprocess.run(
        [sys.executable, release.__file__, "check", "v1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is no version; write it as 1.2.3" in done.stderr
    assert "Traceback" not in done.stderr


# --- hooks -----------------------------------------------------------------------------------------------------------


def test_the_hooks_fetch_nothing_and_run_what_is_there():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        program, *arguments = shlex.split(hook["entry"])
        assert program == ".venv/bin/python"
        for path in (word for word in arguments if re.match(r"(lib|tests)/", word)):
            assert (ROOT / path).exists(), path
