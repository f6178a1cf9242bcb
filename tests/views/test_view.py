"""The base of the views: the module that a page gets, and what every view says of a state that makes no sense."""

import re

import pytest

from vmenter.course.prediction.widget import Prediction
from vmenter.views.entry.widget import EntryExplorer
from vmenter.views.exposure.widget import ExposureMap
from vmenter.views.host.widget import HostView
from vmenter.views.kernel.widget import KernelBrowser
from vmenter.views.patch.widget import PatchBench
from vmenter.views.view import HERE, Opener, Twin, View, mistaken, module, twin

VIEWS = (EntryExplorer, ExposureMap, HostView, KernelBrowser, PatchBench)
MODULES = sorted(HERE.glob("**/widget.js"))


@pytest.mark.parametrize("path", MODULES, ids=[path.parent.name for path in MODULES])
def test_a_module_is_one_text_that_imports_nothing_and_has_what_it_asks_other_files_for(path):
    text = module(path.relative_to(HERE).as_posix())
    assert not re.search(r"^import ", text, re.MULTILINE)
    assert re.findall(r"^export .*", text, re.MULTILINE) in (
        ["export default { render };"],
        ["export default { render: waits(render) };"],
    )
    asked = dict(re.findall(r"^const \{([^}]*)\} = (in_\w+);$", text, re.MULTILINE))
    assert "in_common" in asked.values()
    for names, where in asked.items():
        given = re.search(
            rf"^const {where} = .*?^return \{{ (.*?) \}};\n\}}\)\(\);$", text, re.MULTILINE | re.DOTALL
        )[1]
        assert set(re.findall(r"\w+", names)) <= set(given.split(", "))


@pytest.mark.parametrize(
    ("base", "lacks"), [(Twin, {"text"}), (View, {"_made"}), (Opener, {"_made", "_opening", "_about"})]
)
def test_no_view_is_made_that_lacks_what_a_view_must_say(base, lacks):
    assert set(base.__abstractmethods__) == lacks
    with pytest.raises(TypeError, match="abstract"):
        type("Half", (base,), {})({})


@pytest.mark.parametrize("path", sorted(HERE.glob("**/*.js")), ids=lambda path: path.relative_to(HERE).as_posix())
def test_no_file_of_javascript_is_longer_than_450_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "state", [{"features": 5, "era": [1], "sample": {"a": 1}, "narrowed": 7, "sort": "nothing"}]
)
def test_a_state_that_makes_no_sense_leaves_the_last_good_frame_and_is_told(view, state):
    widget = view()
    good = widget.frame
    widget.state = state
    assert widget.frame["error"]
    assert {**widget.frame, **good} == {**widget.frame, "error": None}
    assert widget.text.startswith("not ")
    assert "Still shown: the last good" in widget.text
    assert widget.frame["mistake"].endswith(f"the last good {view.still}.")
    assert repr(widget) == widget.text


def test_a_good_state_takes_the_mistake_away():
    last = mistaken({"text": ["all well"], "error": None}, "no such thing", "page")
    assert twin(last) == "not shown: no such thing\nStill shown: the last good page.\n\nall well"
    widget = ExposureMap()
    widget.state = {**widget.state, "split": ["nothing"]}
    assert "not shown" in widget.text
    widget.state = {**widget.state, "split": ["mds"]}
    assert "not shown" not in widget.text
    assert "mistake" not in widget.frame


def test_every_view_without_a_widget_manager_is_its_text():
    for view in VIEWS:
        data, _ = view()._repr_mimebundle_()
        assert data["text/plain"] == repr(view())
    assert issubclass(Prediction, VIEWS[0].__mro__[2])


@pytest.mark.parametrize(
    ("view", "change"),
    [
        (PatchBench(), {"sample": "jump_over"}),
        (EntryExplorer(), {"mmio": "assigned"}),
        (HostView(), {"sample": "mmio-only"}),
    ],
)
def test_a_view_says_up_to_which_state_its_frame_is(view, change):
    before = view.frame
    seen = []
    view.observe(lambda _: seen.append(view.frame != before), "answered")
    view.set_state({"state": {**view.state, **change}, "asked": 1})
    assert (view.answered, seen) == (1, [True])
    view.set_state({"state": {**view.state, "sample": "nonsense", "mmio": "nonsense"}, "asked": 2})
    assert view.answered == 2
    assert view.frame["error"]
    view.set_state({"state": view.state, "asked": 3})  # the same once more has its answer, too
    assert view.answered == 3
