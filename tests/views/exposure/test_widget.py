import json
import shlex

import pytest
from era_states import mutated
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError, cli
from vmenter.story.audit import audit
from vmenter.story.exposure import SITUATIONS
from vmenter.story.history import BACKPORT, ERAS
from vmenter.story.space import DEFAULT
from vmenter.views.entry import frame as entry_frame
from vmenter.views.exposure.cells import FAULTS, share
from vmenter.views.exposure.frame import LOOKS, MOST, frame
from vmenter.views.exposure.widget import ExposureMap
from vmenter.views.view import twin

NAMES = (*SITUATIONS, *DEFAULT.counts)

TWIN = """\
Exposure map of the default space: 1,358,954,496 configurations
Narrowed to  nothing
Columns      VERW asked, then L1D flush now
  1 all
  for every guest: 2 not asked · 3 cond, none pending · 4 cond, pending · 5 always
  for guests that reach MMIO: 6 not asked · 7 cond, none pending · 8 cond, pending · 9 always
  for no guest: 10 not asked · 11 cond, none pending · 12 cond, pending · 13 always
Cells
  B  broken: what was promised was not done
  N  neutralised: VERW ran while FB_CLEAR_DIS was set; no broken promise
  K  kept
  ·  nothing is owed
     no such configuration
                1       2  3      4  5  6       7       8       9       10  11  12  13
  before-mds    K                                                       ·   ·   K   K
  650b68a0622f  B <1 %  K  B all  K  K                                  ·   ·   K   K
  8cb861e9e3c9  B 2 %   K  B all  K  K  B 33 %  B 67 %  K       K       ·   ·   K   K
  43fb862de8f6  B 1 %   K  K      K  K  B 33 %  B 67 %  K       K       ·   ·   K   K
  83ebe7157483  B <1 %  K  K      K  K  K       B 67 %  K       K       ·   ·   K   K
  v4            N <1 %  K  K      K  K  N 11 %  N 11 %  N 11 %  N 11 %  ·   ·   K   K
  e6ff1d61de51  N <1 %  K  K      K  K  N 11 %  N 11 %  N 11 %  N 11 %  ·   ·   K   K
"""


def clicks(shown):
    """Return every change of state that a click on this frame can make."""
    heads = [one["state"] for one in (*shown["groups"], *shown["columns"]) if one["state"]]
    return heads + [one["state"] for one in (*shown["narrowed"], *shown["looks"])]


def cells(shown):
    for row in shown["rows"]:
        for head, cell in zip(shown["columns"], row["cells"], strict=True):
            yield row["era"], head["key"], cell


def test_twin_says_what_the_first_look_shows():
    text = twin(frame({}))
    assert text.startswith(TWIN)
    assert "650b68a0622f  1 broken in 7,864,320 of 1,358,954,496; 3 broken in 7,864,320 of 7,864,320" in text
    assert "Selected     650b68a0622f: MDS: flush the L1D, else VERW" in text
    assert "The smallest: mds yes, l1tf yes. BROKEN: a clear owed here; nothing cleared" in text


def test_numbers_are_those_of_the_audit():
    for row in frame({})["rows"]:
        found = audit(row["era"])
        said = [
            f"{fault} in {one.count:,} of {DEFAULT.configurations:,}"
            for fault in FAULTS
            if (one := getattr(found, fault))
        ]
        assert row["cells"][0]["faults"] == said


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.text)
def test_every_faulty_cell_opens_a_counterexample_that_fails_when_entered(look):
    state = {"split": look.split, "narrowed": look.narrowed}
    faulty = 0
    for era, key, cell in cells(frame(state)):
        if cell["kind"] not in ("broken", "neutralised"):
            continue
        faulty += 1
        about = frame({**state, "cell": [era, key]})["detail"]
        side = entry_frame.frame(about["explorer"])["sides"][0]
        assert side["era"] == era
        assert side["verdict"]["kept"] == (cell["kind"] == "neutralised")
        assert side["verdict"]["neutralised"] == (cell["kind"] == "neutralised")
        assert about["verdict"].startswith("BROKEN" if cell["kind"] == "broken" else "kept")
    assert faulty > 5


def test_a_replay_is_a_command_that_shows_the_same(capsys):
    for cell, status in (
        (["650b68a0622f", []], 1),
        (["83ebe7157483", []], 1),
        (["v4", []], 0),
        (["before-mds", []], 0),
    ):
        about = frame({"cell": cell})["detail"]
        with pytest.raises(SystemExit) as stop:
            cli.main(shlex.split(about["replay"])[1:])
        assert stop.value.code == status
        assert f"Verdict: {about['verdict']}" in capsys.readouterr().out


def test_a_cell_without_fault_opens_an_example_that_keeps_the_promise():
    about = frame({"cell": ["650b68a0622f", ["for every guest", "cond, pending"]]})["detail"]
    assert about["said"] == ["The promise is kept in all 7,864,320 configurations."]
    assert about["verdict"] == "kept: a clear and an L1D flush owed here; the L1D was flushed"
    assert about["shared"] == []
    empty = frame({"cell": ["before-mds", ["for every guest", "always"]]})["detail"]
    assert (empty["said"], empty["explorer"]) == (["No configuration of this kernel is here."], None)


def test_what_broken_configurations_share_is_what_the_audit_finds():
    about = frame({"cell": ["83ebe7157483", []]})["detail"]
    assert {name for name, _ in about["shared"]} == set(audit("83ebe7157483").broken.shared)
    assert ["reaches host MMIO", "assigned or mapped"] in about["shared"]


# --- zooming ------------------------------------------------------------------------------------------------------


def test_a_click_on_a_head_narrows_to_it_and_asks_the_next_question():
    first = frame({})
    change = first["groups"][1]["state"]
    assert change["narrowed"] == [["VERW asked", "for guests that reach MMIO"]]
    assert change["split"] == ["reaches host MMIO", "L1D flush now"]
    second = frame(change)
    assert [one["text"] for one in second["looks"] if one["on"]] == ["Who reaches MMIO"]
    assert second["narrowed"][0]["state"] == {
        "narrowed": [],
        "split": ["VERW asked", "reaches host MMIO"],
        "cell": None,
    }
    narrow = frame(second["columns"][1]["state"])
    assert [one["text"] for one in narrow["narrowed"]][1:] == [
        "reaches host MMIO: none",
        "L1D flush now: not asked",
    ]


def test_clicking_on_and_on_ends_at_a_single_configuration_and_widening_leads_back():
    shown, steps = frame({}), 0
    while shown["size"] != "1 configuration of 1,358,954,496":
        heads = [one for one in shown["columns"] if one["state"]]
        row = next(row for row in shown["rows"] if row["era"] == "650b68a0622f")
        at = next(at for at, cell in enumerate(row["cells"]) if at and cell["kind"] != "none")
        change = heads[at - 1]["state"]
        assert len(change["narrowed"]) > len(shown["narrowed"])
        shown, steps = frame({**change, "eras": ["650b68a0622f"]}), steps + 1
    assert steps < 20
    assert "the one configuration" in shown["said"]
    while shown["narrowed"]:
        shown = frame(shown["narrowed"][-1]["state"])
    assert shown["size"] == "1,358,954,496 configurations"


@given(st.data())
def test_wherever_the_reader_clicks_there_is_a_frame_and_its_twin_is_short(data):
    shown = frame({})
    for _ in range(data.draw(st.integers(1, 6))):
        change = data.draw(st.sampled_from(clicks(shown)))
        era, key, _ = data.draw(st.sampled_from(list(cells(shown))))
        here = frame(
            {
                "narrowed": [one["text"].split(": ", 1) for one in shown["narrowed"]],
                "split": shown["split"],
                "cell": [era, key],
            }
        )
        assert here["cell"] == [era, key]
        assert here["rows"] == shown["rows"]
        shown = frame(change)
        assert len(shown["columns"]) <= MOST + 1
        text = twin(shown)
        assert len(text.splitlines()) <= 60
        for row in shown["rows"]:
            assert row["era"] in text
        json.dumps(shown)


STRANGE = st.one_of(
    st.none(), st.text(max_size=5), st.integers(), st.lists(st.sampled_from((*NAMES, "yes", "", 3)), max_size=3)
)


@pytest.fixture(scope="module")
def shown():
    """A map that takes one state after another."""
    return ExposureMap()


@given(
    state=st.fixed_dictionaries(
        {},
        optional={
            "split": STRANGE,
            "narrowed": st.one_of(
                STRANGE, st.lists(st.lists(st.sampled_from((*NAMES, "yes", "no")), max_size=3), max_size=2)
            ),
            "cell": st.one_of(STRANGE, st.tuples(st.sampled_from((*ERAS, "x")), STRANGE)),
            "eras": st.one_of(STRANGE, st.lists(st.sampled_from((*ERAS, "x", 3)), max_size=2)),
            "more": STRANGE,
        },
    )
)
def test_no_state_breaks_the_widget(shown, state):
    last = shown.frame
    shown.state = state
    if shown.frame["error"]:
        assert shown.frame["rows"] == last["rows"]
        assert "the last good state" in repr(shown)
        assert "\n" not in shown.frame["error"]
    else:
        assert shown.frame == frame(state)


def test_a_share_never_says_nothing_of_something_nor_all_of_less():
    assert [share(1, 10**9), share(1, 100), share(999, 1000), share(5, 5)] == ["<1 %", "1 %", "99 %", "all"]


# --- a reader's own code ----------------------------------------------------------------------------------------


def own():
    """The merged form with VERW for MMIO alone taken out."""
    from dataclasses import replace

    changed = mutated(
        ERAS["e6ff1d61de51"], ("    jz .Lskip_verw\n    clear_cpu_buffers\n", "    jz .Lskip_verw\n    nop\n")
    )
    return replace(changed, id="mine", title="Mine")


def test_a_fault_in_ones_own_code_lights_up_in_a_row_of_its_own():
    mine = ExposureMap(more=[own(), BACKPORT])
    rows = {row["era"]: row["cells"] for row in mine.frame["rows"]}
    assert list(rows) == [*ERAS, "mine", BACKPORT.id]
    faulty = [key for era, key, cell in cells(mine.frame) if era == "mine" and key and cell["kind"] == "broken"]
    mmio = "for guests that reach MMIO"  # an L1D flush clears for these, too
    assert faulty == [[mmio, "not asked"], [mmio, "cond, none pending"]]
    mine.state = {**mine.state, "cell": ["mine", [mmio, "not asked"]]}
    about = mine.frame["detail"]
    assert about["settings"] == "mmio_stale_data yes, reaches host MMIO assigned"
    assert about["replay"] is None
    mine.open_inner(about["explorer"])
    assert "mine: BROKEN: a clear owed here; nothing cleared" in mine.inner.frame["said"]
    assert "Opened       mine: BROKEN" in repr(mine)


def test_code_that_enters_no_guest_is_shown_as_failed():
    dead = mutated(ERAS["before-mds"], ("\nfunction vmx_vcpu_run\n", "\nfunction vmx_vcpu_run\n    ud2\n"))
    shown = frame({"eras": [dead.id]}, more=[dead])
    assert {cell["kind"] for cell in shown["rows"][0]["cells"]} == {"failed"}
    assert shown["detail"]["verdict"].startswith("FAILED: ")
    assert shown["detail"]["explorer"] is None


# --- the widget -------------------------------------------------------------------------------------------------


def test_representation_is_the_twin():
    data, _ = ExposureMap()._repr_mimebundle_()
    assert data["text/plain"] == twin(frame({}))
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "Exposure map of the default space" in data["text/html"]


def test_the_explorer_opens_follows_and_closes():
    view = ExposureMap()
    assert view.inner is None
    asked = view.frame["detail"]["explorer"]
    view.open_inner(asked)
    explorer = view.inner
    assert explorer.frame["sides"][0]["verdict"]["word"] == "BROKEN"
    assert list(explorer.drawings) == ["650b68a0622f"]
    assert view.text.endswith(f"\nOpened       {explorer.frame['said']}")
    view.open_inner({**asked, "era": "nonsense"})
    assert "cannot be opened" in view.frame["error"]
    assert "unknown name" in view.frame["error"]
    assert (view.inner, explorer.frame["error"], explorer.state) == (explorer, None, asked)
    explorer.state = {**asked, "mmio": "assigned"}
    assert view.text.endswith(explorer.frame["said"])
    view.shut_inner()
    assert (view.inner, view.opened) == (None, {})
    view.open_inner({"era": "nonsense"})
    assert (view.inner, view.opened) == (None, {})


@pytest.mark.parametrize(
    "message", [None, 5, {}, {"open": None}, {"open": []}, {"open": {"nothing": 1}}, {"shut": True}]
)
def test_a_message_that_makes_no_sense_opens_nothing(message):
    view = ExposureMap()
    view._handle_custom_msg(message, [])
    assert view.inner is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "mdss"}, "did you mean mds"),
        ({"split": ("mds", "mds")}, "one dimension or two different ones"),
        ({"split": ("mds", "taa", "rfds")}, "one dimension or two"),
        ({"narrowed": [("mds", "maybe")]}, "mds: no such value"),
        ({"eras": ["650b68a"]}, "did you mean 650b68a0622f"),
        ({"cell": ("v5", ())}, "there is no row 'v5'"),
        ({"cell": ("v4", ("never",))}, "there is no column 'never'"),
    ],
)
def test_an_unknown_name_is_refused_at_once(options, message):
    with pytest.raises(LabError, match=message):
        ExposureMap(**options)


def test_too_many_columns_are_refused_with_their_number():
    from vmenter.story.space import FULL

    with pytest.raises(LabError, match=f"make 80 columns; more than {MOST}"):
        frame({"split": ["mitigations=", "tsx="], "eras": ["before-mds"]}, space=FULL)


def test_an_explorer_that_is_open_follows_to_the_cell_that_is_selected_and_goes_where_nothing_runs():
    view = ExposureMap()
    view.open_inner(view.frame["detail"]["explorer"])
    first = view.inner
    for row in view.frame["rows"][:3]:
        view.state = {**view.state, "cell": [row["era"], []]}
        wanted = view.frame["detail"]["explorer"]
        assert (view.inner is None) is (wanted is None)
        if wanted:
            assert view.inner is first
            assert {name: first.state[name] for name in wanted} == wanted
            assert first.frame["said"] in view.opened["line"]
    view.state = {**view.state, "cell": ["nonsense", []]}
    assert view.inner is first
