"""`vmenter audit` as a user meets it."""

import json

from vmenter.cli.shared import progress_bar
from vmenter.story.history import ERAS


def test_audit_as_json_has_the_shape_that_was_agreed(run):
    status, out, err = run("audit", "--json")
    found = json.loads(out)
    assert (status, err) == (1, "")
    assert list(found) == ["space", "configurations", "distinct_states", "eras"]
    assert (found["space"], found["configurations"]) == ("default", 1_358_954_496)
    assert [era["era"] for era in found["eras"]] == list(ERAS)
    assert list(found["eras"][0]) == ["era", "broken", "smallest", "replay", "neutralised", "failed"]
    assert [era["broken"] > 0 for era in found["eras"]] == [False, True, True, True, True, False, False]
    assert [era["neutralised"] > 0 for era in found["eras"]] == [False] * 5 + [True] * 2
    assert found["eras"][0]["smallest"] is None
    assert found["eras"][4]["smallest"]["settings"] == {
        "mmio_stale_data": "yes", "l1tf": "yes", "reaches host MMIO": "assigned",
    }  # fmt: skip
    assert found["eras"][4]["smallest"]["distance"] == 3
    assert found["eras"][4]["replay"].startswith("vmenter enter --era 83ebe7157483 --bugs l1tf,mmio_stale_data ")


def test_audit_ends_with_0_where_every_promise_is_kept_neutralised_or_not(run):
    status, out, err = run("audit", "--era", "before-mds", "--era", "v4")
    assert (status, err) == (0, "")
    assert out.count("The promise is kept in every configuration.") == 2
    assert "neutralised, counted apart: 5,505,024 configurations" in out


def test_audit_says_the_space_what_broke_what_is_shared_and_how_to_see_it(run):
    status, out, _ = run("audit", "--era", "83ebe7157483")
    assert status == 1
    for part in (
        "Space default: 1,358,954,496 configurations of 27 dimensions",
        "360 distinct states run",
        "BROKEN: 688,128 configurations",
        "smallest: mmio_stale_data yes, l1tf yes, reaches host MMIO assigned",
        "replay:   vmenter enter --era 83ebe7157483",
        "flush pending                 no",
    ):
        assert part in out


def test_audit_of_an_unknown_era_is_one_line_and_2(run):
    status, out, err = run("audit", "--era", "v5")
    assert (status, out) == (2, "")
    assert err.startswith("vmenter: era: unknown name 'v5'")
    assert run("audit", "--space", "huge")[0] == 2


def test_audit_shows_a_bar_on_a_terminal_only(run, monkeypatch):
    assert run("audit", "--era", "before-mds")[2] == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress_bar() as bar:
        bar("before-mds: machine states", 1, 2)
    assert "before-mds" in run("audit", "--era", "before-mds")[2]


def test_an_interrupted_audit_ends_with_130_and_still_prints_what_is_done(run, monkeypatch):
    from vmenter.story import audit

    first = audit.audit

    def stops(era, space, progress):
        if era.id == "8cb861e9e3c9":
            raise KeyboardInterrupt
        return first(era, space, progress)

    monkeypatch.setattr(audit, "audit", stops)
    status, out, err = run("audit", "--json")
    assert (status, err.strip()) == (130, "vmenter: interrupted")
    assert [era["era"] for era in json.loads(out)["eras"]] == ["before-mds", "650b68a0622f"]
