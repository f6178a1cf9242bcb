"""FirstMinute's frame, drawings and widget, without a browser."""

import json
import xml.etree.ElementTree as ET

import pytest

from vmenter import LabError
from vmenter.boot.processors import PRESETS
from vmenter.boot.tsa import AmdHost
from vmenter.emulator import buffers
from vmenter.story import eras, svm
from vmenter.views.first.frame import LEGEND, QUIET, frame, twin
from vmenter.views.first.widget import FirstMinute

MACHINES = {one["id"]: one for one in frame()["machines"]}


@pytest.mark.parametrize("machine", MACHINES)
def test_six_secrets_lie_there_one_verw_wipes_them_and_the_third_time_they_are_back(machine):
    runs = MACHINES[machine]["runs"]
    assert [run["secrets"] for run in runs] == [6, 0, 6]
    assert [run["verw"] for run in runs] == [0, 1, 0]


def test_the_code_of_2019_breaks_its_promise_on_the_machine_that_the_code_of_today_keeps_it_on():
    host = PRESETS["skylake-server"].host
    assert eras.enter("e6ff1d61de51", host).verdict.kept
    skipped = eras.enter(QUIET, host)
    assert not skipped.verdict.kept
    assert "mds_user_clear" in skipped.selection.keys, "the cure is switched on"
    assert str(len(skipped.trace.steps)) in MACHINES["intel"]["runs"][2]["steps"]


def test_amds_kernel_does_not_run_verw_where_nothing_says_that_it_clears():
    assert svm.enter(AmdHost(zen=3, facts=("verw_clear",))).verdict.kept
    old = svm.enter(AmdHost(zen=3)).selection
    assert (old.affected, old.state, old.features) == (True, "UCODE_NEEDED", ())


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_drawn_is_what_the_model_holds(machine):
    for run in MACHINES[machine]["runs"]:
        root = ET.fromstring(run["drawing"])
        marks = [text.text for group in root.iter("g") for text in group.iter("text")]
        assert marks == [f"S{n}" for n in range(1, 7)] + [mark for entry in run["entries"] for mark in entry]
        slots = [one for one in root.iter("rect") if one.get("class") == "f-slot"]
        assert len(slots) == buffers.ENTRIES
        assert root.get("role") == "img"
        assert all(" ".join(entry) in root.get("aria-label") for entry in run["entries"])
        assert all(float(one.get("x")) + float(one.get("width")) <= 283 for one in root.iter("rect"))


def test_every_mark_has_its_place_in_the_legend():
    marks = {
        mark[0] for one in MACHINES.values() for run in one["runs"] for entry in run["entries"] for mark in entry
    }
    assert marks == {"S", "f", "g", "h"} == {mark[0] for mark, _ in LEGEND}


def test_it_opens_on_its_question_and_tells_more_with_each_press():
    view = FirstMinute()
    runs = MACHINES["intel"]["runs"]
    for pressed in range(4):
        view.state = {"machine": "intel", "pressed": pressed}
        for number, run in enumerate(runs):
            assert (run["sentence"] in view.text) == (run["said"][0] in view.text) == (number < pressed)
        assert (MACHINES["intel"]["asked"] in view.text) == (pressed == 3)
    assert repr(view) == view.whole == twin(view.frame, {"machine": "intel", "pressed": 3})
    assert view.text.startswith(frame()["question"])


def test_a_model_is_called_one():
    assert "are a model, made to think with" in FirstMinute().text
    assert "model" in FirstMinute().picture


@pytest.mark.parametrize("machine", MACHINES)
def test_the_picture_for_pages_without_widgets_stands_alone(machine):
    view = FirstMinute(machine)
    root = ET.fromstring(view.picture)
    assert all(run["title"] in view.picture for run in MACHINES[machine]["runs"])
    assert "prefers-color-scheme: dark" in view.picture
    assert view.picture.count("http") == view.picture.count("http://www.w3.org/2000/svg")
    assert root.tag.endswith("svg")
    html = view._repr_mimebundle_()[0]["text/html"]
    assert html.startswith("<img")
    assert "6 secrets in reach" in html


def test_a_frame_is_plain_data():
    assert json.loads(json.dumps(frame())) == frame()


def test_an_unknown_machine_is_named():
    with pytest.raises(LabError, match="no machine 'arm'; there are intel, amd"):
        FirstMinute("arm")


@pytest.mark.parametrize("pressed", [0, 1, 3])
def test_the_twin_tells_what_the_marks_mean_once_there_are_some(pressed):
    said = twin(frame(), {"machine": "intel", "pressed": pressed})
    assert [f"{mark}: {text}" in said for mark, text in LEGEND] == [pressed > 0] * len(LEGEND)
