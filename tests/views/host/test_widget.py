"""HostView's frames and its widget, without a browser."""

import json

import pytest

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.hosts.report import HOW, SAMPLES, sample, samples
from vmenter.views.host.frame import LETTERS, PASTED, frame
from vmenter.views.host.widget import HostView
from vmenter.views.view import twin

CASCADE = (SAMPLES / "cascade-lake.txt").read_text()


def shown(name):
    return frame({"sample": name})


@pytest.mark.parametrize("name", samples())
def test_a_frame_is_plain_data_and_its_twin_says_all_that_is_shown(name):
    made = shown(name)
    assert json.loads(json.dumps(made)) == made
    text = " ".join(twin(made).split())
    rows = [[row[key] for key in ("kernel", "words", "agreement", "cause")] for row in made["rows"]]
    why = [one for row in made["rows"] for one in row["why"]]
    for parts in (*rows, *why, made["sentences"], *made["commands"], *made["known"], *made["unknown"]):
        for part in parts:
            assert " ".join(part.split()) in text, part
    assert made["sample"] == name


def test_marks_are_letters_as_well_as_colours():
    assert sorted(LETTERS.values()) == sorted(set(LETTERS.values()))
    assert [row["letter"] for row in shown("cascade-lake")["rows"]] == ["N", "M", "M", "N", "N", "N"]
    assert [row["letter"] for row in shown("skylake-no-microcode")["rows"]] == ["V", "V", "V", "N", "M", "N"]


def test_a_line_on_which_the_model_differs_is_marked_and_has_a_cause():
    text = (
        sample("all-off")
        .text.replace("7.3.4", "6.12.117")
        .replace("/proc/cmdline:mitigations=off", "/proc/cmdline:")
    )
    row = frame({"pasted": text})["rows"][0]
    assert row["differs"]
    assert row["cause"].startswith("Likely: ")


def test_the_default_is_a_recorded_sample_and_its_repr_never_changes():
    view = HostView()
    assert view.state == {"sample": "four-flaws", "pasted": None, "live": False}
    assert repr(view) == repr(HostView()) == twin(view.frame)
    assert "Recorded sample four-flaws" in repr(view)


def test_of_a_machine_read_live_nothing_is_stored_with_a_notebook():
    try:
        view = HostView.live()
    except LabError:
        pytest.skip("no Linux on x86, or one that hides its files")
    assert repr(view) == "[Your own machine: shown when you run this cell]"
    stored = json.dumps([view._repr_mimebundle_()[0].get(kind) for kind in ("text/plain", "text/html")])
    assert "vulnerabilities" not in stored
    assert view.frame["title"] not in stored
    assert view.frame["title"] in view.text


def test_a_paste_is_explained_and_handed_to_the_explorer():
    view = HostView()
    view.state = {"sample": None, "pasted": CASCADE, "live": False}
    assert (view.frame["error"], view.frame["source"], view.frame["sample"]) == (None, PASTED, None)
    assert view.host == Host(("mmio_stale_data", "taa"), ("fb_clear", "flush_l1d", "md_clear", "mds_no"), smt=True)
    explorer = view.explorer(compare="e6ff1d61de51")
    sides = explorer.frame["sides"]
    assert [(one["era"], one["verdict"]["kept"]) for one in sides] == [
        ("43fb862de8f6", False),
        ("e6ff1d61de51", True),
    ]
    assert explorer.state["bugs"] == ["mmio_stale_data", "taa"]


def test_an_unreadable_paste_leaves_the_last_good_report_standing():
    view = HostView("cascade-lake")
    host = view.host
    for bad in ("nothing of a machine", "", "x" * (1 << 21)):
        view.state = {"sample": None, "pasted": bad, "live": False}
        assert view.frame["error"]
        assert "Still shown: the last good report." in view.text
        assert view.host == host
    view.state = {"sample": "moon"}
    assert "no sample is called 'moon'" in view.frame["error"]
    view.state = {"sample": "rfds"}
    assert view.frame["error"] is None


def test_an_open_explorer_follows_the_report():
    view = HostView("cascade-lake")
    view.open_inner(view.frame["explorer"])
    assert view.inner.frame["sides"][0]["era"] == "43fb862de8f6"
    assert view.inner.drawings.keys() == {"43fb862de8f6"}
    view.state = {"sample": "mds-off-in-vain"}
    assert view.inner.frame["sides"][0]["era"] == "e6ff1d61de51"
    view.state = {"sample": "epyc-tsa"}
    assert (view.inner, view.opened) == (None, {})
    assert view.explorer() is None


def test_the_line_for_another_machine_is_in_the_frame():
    assert shown("rfds")["how"] == HOW


@pytest.mark.parametrize("arguments", [{"sample": "moon"}, {"pasted": "nothing"}])
def test_the_constructor_refuses_what_it_cannot_show(arguments):
    with pytest.raises(LabError):
        HostView(**arguments)
