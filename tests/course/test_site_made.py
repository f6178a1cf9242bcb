"""What running the notebooks gave is kept: found again while nothing has changed, and never otherwise."""

import os

import nbformat
import pytest
from site_built import CELLS, notebook

from vmenter.course.site import made as made_
from vmenter.course.site.made import MOST, folder, made, name_of


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A notebook of its own, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "98-every-view.ipynb"
    nbformat.write(notebook([CELLS[0], "3"]), path)
    return path


def quietly(*paths, fresh=False):
    """Return what is made, and the steps that were told: none if it was kept."""
    told = []
    return made(paths, lambda what, _: told.append(what), fresh=fresh), told


def test_what_was_made_is_found_again_and_is_the_same(book):
    first, told = quietly(book)
    assert told[0] == "running 98-every-view"
    assert any(one.startswith("making the frames of") for one in told)
    second, told = quietly(book)
    assert (second, told) == (first, [])
    assert quietly(book, fresh=True)[1]


def test_any_change_is_made_anew(book, monkeypatch):
    before = name_of([book])
    assert name_of([book]) == before
    nbformat.write(notebook([CELLS[0], "4"]), book)
    changed = name_of([book])
    assert changed != before
    monkeypatch.setenv("VMENTER_CPU", "interpreter")
    assert name_of([book]) not in (before, changed)
    monkeypatch.delenv("VMENTER_CPU")
    assert name_of([book]) == changed


def test_a_change_in_the_library_is_noticed(book, tmp_path, monkeypatch):
    library = tmp_path / "library"
    library.mkdir()
    (library / "a.js").write_text("1")
    monkeypatch.setattr(made_, "LIBRARY", library)
    before = name_of([book])
    (library / "a.js").write_text("2")
    assert name_of([book]) != before


@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b", b"no gzip", None])
def test_what_is_damaged_is_made_anew(book, damage):
    first, _ = quietly(book)
    (kept,) = folder().glob("*.json.gz")
    kept.write_bytes(kept.read_bytes()[:-9] if damage is None else damage)
    second, told = quietly(book)
    assert (second, bool(told)) == (first, True)
    assert quietly(book) == (first, [])


def test_only_the_newest_are_kept_and_nothing_is_left_half_done(book):
    folder().mkdir(parents=True)
    for number in range(MOST + 2):
        old = folder() / f"{number}.json.gz"
        old.write_bytes(b"")
        os.utime(old, (number, number))
    quietly(book)
    assert len([*folder().iterdir()]) == MOST
    assert not (folder() / "0.json.gz").exists()
    assert (folder() / f"{name_of([book])}.json.gz").is_file()


def test_where_nothing_can_be_kept_it_is_made_all_the_same(book):
    folder().parent.mkdir(parents=True)
    folder().write_text("a file stands here")
    assert quietly(book)[0].shown
    assert quietly(book)[1]
