"""The course's address is set in one place, and every text, page and record tells it, or says how to set it."""

import importlib
import re
import shutil
import tomllib
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from places import ROOT
from site_built import notebook

from vmenter import LabError
from vmenter.cli import main as run
from vmenter.course import address
from vmenter.course.address import COMMAND, PROJECT, Address, configured, of_project
from vmenter.course.address_text import BEGIN, BLOCKS, END, filled, main, written
from vmenter.course.site.build import build

OWN = "https://git.example.org/lab/vm-enter"
HOME = "https://course.example.org/"


@pytest.fixture
def copy(tmp_path):
    """The files of a checkout that tell an address."""
    for name in BLOCKS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def text(folder, name):
    return (folder / name).read_text(encoding="utf-8")


def block(folder, name):
    """Return what stands between the marks."""
    return text(folder, name).partition(BEGIN)[2].partition(END)[0]


def test_what_is_committed_tells_what_is_set():
    set_here = of_project(text(ROOT, PROJECT))
    for name, words in BLOCKS.items():
        assert filled(text(ROOT, name), words(set_here), name) == text(ROOT, name), f"{name}: run make address"


@pytest.mark.parametrize("name", BLOCKS)
def test_unset_every_place_says_what_to_set(copy, name):
    written(Address(), copy)
    assert COMMAND in block(copy, name)
    assert not re.search(r"example\.org/lab/vm-enter|mybinder|codespaces\.new", text(copy, name))


def test_one_command_sets_it_in_every_place_and_takes_it_out_again(copy, capsys):
    assert main(["--address", "none"], copy) == 0
    unset = {name: text(copy, name) for name in BLOCKS}
    assert main(["--address", f"{OWN}.git", "--homepage", HOME.rstrip("/")], copy) == 0
    assert f"Repository  {OWN}\n" in capsys.readouterr().out
    for name in BLOCKS:
        assert OWN in unquote(text(copy, name)), name
        assert COMMAND not in block(copy, name), name
    readme = text(copy, "README.md")
    assert f"git clone {OWN}\ncd vm-enter\n" in readme
    assert f"({HOME})" in readme
    assert "(https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.org%2Flab%2Fvm-enter/HEAD)" in readme
    assert "git-pull?repo=https%3A%2F%2Fgit.example.org%2Flab%2Fvm-enter&urlpath=lab" in text(
        copy, ".hub/README.md"
    )
    cited = yaml.safe_load(text(copy, "CITATION.cff"))
    assert (cited["repository-code"], cited["url"]) == (OWN, HOME)
    assert tomllib.loads(text(copy, PROJECT))["project"]["urls"] == {
        "Repository": OWN,
        "Homepage": HOME,
        "Issues": OWN,
    }
    assert main(["--address", "none"], copy) == 0
    assert {name: text(copy, name) for name in BLOCKS} == unset


def test_a_fork_may_edit_the_one_place_by_hand(copy):
    written(Address(), copy)
    project = copy / PROJECT
    edited = project.read_text(encoding="utf-8").replace(
        "[project.urls]\n", f'[project.urls]\nRepository = "{OWN}"\n'
    )
    inside = edited.replace(f'Repository = "{OWN}"\n# address: written', "# address: written").replace(
        f"# Repository, Homepage and Issues are not set: {COMMAND}", f'Repository = "{OWN}"'
    )
    project.write_text(inside, encoding="utf-8")
    assert main([], copy) == 0
    assert f"git clone {OWN}" in text(copy, "README.md")


def test_a_new_repository_keeps_nothing_of_the_old_one_and_a_homepage_comes_beside_it(copy):
    main(["--address", "https://github.com/a/b", "--homepage", HOME], copy)
    main(["--address", OWN], copy)
    assert of_project(text(copy, PROJECT)) == Address(OWN)
    main(["--homepage", HOME], copy)
    assert of_project(text(copy, PROJECT)) == Address(OWN, HOME)


@pytest.mark.parametrize(
    ("repository", "issues", "launches"),
    [
        (
            "https://github.com/a/b/",
            "https://github.com/a/b/issues",
            {
                "on Binder": "https://mybinder.org/v2/gh/a/b/HEAD",
                "in a Codespace": "https://codespaces.new/a/b",
            },
        ),
        (
            "https://gitlab.com/a/c/b",
            "https://gitlab.com/a/c/b/-/issues",
            {"on Binder": "https://mybinder.org/v2/gl/a%2Fc%2Fb/HEAD"},
        ),
        (
            OWN,
            OWN,
            {"on Binder": "https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.org%2Flab%2Fvm-enter/HEAD"},
        ),
        ("", "", {}),
    ],
)
def test_each_host_has_its_own_places(repository, issues, launches):
    found = Address(repository)
    assert (found.issues, found.launches) == (issues, launches)


@pytest.mark.parametrize(
    "bad",
    [
        *("http://example.org/a/b", "git@example.org:a/b", "example.org/a/b", "https://me:secret@example.org/a/b"),
        *(
            "https://example.org/a b",
            "https://example.org/a?x=1",
            'https://example.org/a"b',
            "https://example.org/",
        ),
        *("https://example.org/a)b", "javascript:alert(1)", "https://", "https://example.org/<b>"),
    ],
)
def test_what_is_no_address_is_refused_and_changes_nothing(copy, bad, capsys):
    before = {name: text(copy, name) for name in BLOCKS}
    assert main(["--address", bad], copy) == 2
    said = capsys.readouterr().err
    assert said.startswith("make address: repository: ")
    assert said.count("\n") == 1
    assert {name: text(copy, name) for name in BLOCKS} == before


def test_a_file_without_its_marks_is_named(copy):
    (copy / "README.md").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(LabError, match=r"README\.md: 0 pairs of lines"):
        written(Address(OWN), copy)


def test_the_environment_takes_its_place_for_one_build(copy):
    written(Address("https://github.com/a/b", HOME), copy)
    assert configured(copy, {}) == Address("https://github.com/a/b", HOME)
    assert configured(copy, {"VMENTER_ADDRESS": OWN}) == Address(OWN)
    assert configured(copy, {"VMENTER_HOMEPAGE": "https://x.example.org/"}).homepage == "https://x.example.org/"


def footer(folder):
    return BeautifulSoup(text(folder, "index.html"), "html.parser").select_one("footer")


def test_the_sites_pages_tell_source_licence_and_version(tmp_path):
    source = tmp_path / "notebooks"
    source.mkdir()
    (tmp_path / "images").symlink_to(ROOT / "images")
    nbformat.write(notebook(["1"], "# 00 · Start here\n\nText."), source / "00-start-here.ipynb")
    set_, unset = tmp_path / "set", tmp_path / "unset"
    build(set_, source, address=Address(OWN, HOME))
    build(unset, source, address=Address())
    for folder in (set_, unset):
        assert f"VM-Enter Lab {address.version()}." in footer(folder).get_text()
        for link in footer(folder).select("a[href$='.txt']"):
            assert text(folder, link["href"]) == text(ROOT, link["href"].removesuffix(".txt"))
        assert len(footer(folder).select("a[href$='.txt']")) == 2
    assert {OWN, HOME} <= {link["href"] for link in footer(set_).select("a")}
    page = BeautifulSoup(text(set_, "index.html"), "html.parser")
    assert page.select_one("header a.run")["href"] == f"{HOME}?notebook=00-start-here"
    assert f"git clone {OWN}" in text(set_, "with-a-kernel.html")
    assert COMMAND not in "".join(text(set_, path.name) for path in set_.glob("*.html"))
    assert COMMAND in footer(unset).get_text()
    assert COMMAND in text(unset, "with-a-kernel.html")
    page = BeautifulSoup(text(unset, "index.html"), "html.parser")
    assert page.select_one("header a.run")["href"] == "with-a-kernel.html"


def test_the_packages_record_has_a_readme_and_the_project_as_its_author():
    project = tomllib.loads(text(ROOT, PROJECT))["project"]
    assert (ROOT / "lib" / project["readme"]).is_file()
    assert project["readme"] in {name.removeprefix("lib/") for name in BLOCKS}
    cited = yaml.safe_load(text(ROOT, "CITATION.cff"))
    assert project["authors"] == cited["authors"]
    assert project["keywords"] == cited["keywords"]
    assert project["version"] == str(cited["version"]) == address.version()


@pytest.mark.parametrize("own", ["", OWN])
def test_a_report_says_where_it_goes(tmp_path, monkeypatch, capsys, own):
    monkeypatch.setattr(importlib.import_module("vmenter.cli.report"), "installed", lambda: Address(own))
    paste = tmp_path / "paste"
    paste.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        run(["report", "paste", str(paste)])
    assert (own or COMMAND) in capsys.readouterr().err
