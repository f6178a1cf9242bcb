"""The committed pictures: each shows what the code is now.

Compared is a hash of the text twin and the styles, never the drawing: layouts differ between Graphviz versions.
"""

import xml.etree.ElementTree as ET

import pytest

from vmenter.course import pictures

FILES = sorted(pictures.FOLDER.glob("*.svg"))


def test_no_committed_picture_is_stale():
    stale = pictures.stale()
    assert not stale, f"run `make images`: {', '.join(stale)}"


def test_a_changed_picture_is_noticed_and_drawn_anew(tmp_path):
    pictures.write(tmp_path)
    assert pictures.stale(tmp_path) == []
    first = min(tmp_path.glob("*.svg"))
    text = first.read_text()
    first.write_text(text.replace(pictures.recorded(text), "0" * 24))
    (tmp_path / "nobody-made-this.svg").write_text("<svg/>")
    assert pictures.stale(tmp_path) == sorted([first.name, "nobody-made-this.svg"])
    assert sorted(pictures.write(tmp_path)) == sorted([first.name, "nobody-made-this.svg"])
    assert pictures.stale(tmp_path) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_picture_stands_alone_in_light_and_dark(file):
    text = file.read_text(encoding="utf-8")
    root = ET.fromstring(text)
    names = {child.tag.rpartition("}")[2] for child in root}
    assert {"title", "desc", "style"} <= names
    assert text.count("http") == text.count("http://www.w3.org/2000/svg"), "it fetches nothing"
    assert "@media (prefers-color-scheme: dark)" in text
    assert "var(--d-paper)" in text
    assert not any(word in text for word in ("<script", "<image", "@import", "url("))


def test_there_is_a_picture_of_every_era():
    from vmenter.story.history import ERAS

    assert {f"era-{id_}" for id_ in ERAS} <= {file.stem for file in FILES}
