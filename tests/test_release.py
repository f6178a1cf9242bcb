"""The tag of a release: it bears its part of the changelog, comes last, and only over what is committed."""

import subprocess

import pytest
from places import ROOT
from tools import release

WANTED = "9.8.7"


@pytest.fixture
def checkout(tmp_path):
    """A small checkout that is ready for a release."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pyproject.toml").write_text(f'[project]\nversion = "{WANTED}"\n')
    (tmp_path / "CITATION.cff").write_text(f"version: {WANTED}\ndate-released: 2026-11-28\n")
    log = f"# Changelog\n\n## [Unreleased]\n\n## [{WANTED}] - 2026-11-28\n\n### Added\n\n- A thing.\n\n## [0.1.0] - 2026-11-23\n\nOld.\n"
    (tmp_path / "CHANGELOG.md").write_text(log)
    for command in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "All"),
        ("config", "user.name", "a"),
        ("config", "user.email", "a@b"),
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def change(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_checkout_that_is_ready_is_tagged_with_its_part_of_the_changelog(checkout):
    assert release.hindrances(WANTED, checkout) == []
    release.tag(WANTED, checkout)
    assert release.git("cat-file", "-t", f"v{WANTED}", root=checkout) == "tag"
    message = release.git("for-each-ref", "--format=%(contents)", f"refs/tags/v{WANTED}", root=checkout)
    assert message == f"VM-Enter Lab {WANTED}\n\n### Added\n\n- A thing."
    assert release.hindrances(WANTED, checkout) == [
        f"there is a tag v{WANTED} already; a release is never changed, choose the next number"
    ]


def test_what_is_not_committed_and_what_is_empty_is_told(checkout):
    file = checkout / "CHANGELOG.md"
    file.write_text(file.read_text().replace("### Added\n\n- A thing.", ""))
    empty, changed = release.hindrances(WANTED, checkout)
    assert empty == f"the changelog's entry [{WANTED}] is empty; say what changed"
    assert changed == "there are changes that are not committed; commit them first"


def test_a_file_that_git_does_not_know_is_a_change(checkout):
    (checkout / "new.txt").touch()
    assert release.hindrances(WANTED, checkout) == ["there are changes that are not committed; commit them first"]


def test_check_comes_first_and_the_tag_last():
    """What fails in between leaves no tag."""
    said = subprocess.run(
        ["make", "-n", "release", "VERSION=1.2.3"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    order = [said.index(part) for part in ('release.py check "1.2.3"', "artefacts", 'release.py tag "1.2.3"')]
    assert order == sorted(order)
