"""LeakGame's rounds, frame and widget, without a browser."""

import json
import xml.etree.ElementTree as ET

import pytest

from vmenter.emulator.leftovers import ENTRIES, Fate, Flaw, fate
from vmenter.views.leak.frame import START, frame, twin
from vmenter.views.leak.rounds import ROUNDS, VALUES, WHY
from vmenter.views.leak.widget import LeakGame

# By hand, from the kernel's documents: what can be read in each round.
READABLE = ["KM", "NP", "KP", "", "KM", "", "R", "N"]
SHOWN = frame()["rounds"]


def at(number, **state):
    """The twin of a round in a state."""
    return twin(frame(), {**START, "round": number, **state})


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_what_can_be_read_is_what_the_documents_say(number):
    found = [value["name"] for value in SHOWN[number]["values"] if value["readable"]]
    assert "".join(found) == READABLE[number]


def test_the_rounds_show_every_fate_both_flaws_and_both_cures():
    fates = {fate(name, one.deeds, one.flaw) for one in ROUNDS for name in one.asked}
    assert fates == set(Fate) == set(WHY)
    assert {one.flaw for one in ROUNDS} == set(Flaw)
    assert {str(deed.kind) for one in ROUNDS for deed in one.deeds} == {"load", "store", "verw", "l1d_flush"}


def test_that_the_flush_empties_the_buffers_is_told_by_the_last_round_alone():
    told = [
        [text for text in (one["lesson"], *(value["why"] for value in one["values"])) if "flush" in text.lower()]
        for one in SHOWN
    ]
    assert [number for number, texts in enumerate(told) if any("buffers" in text for text in texts)] == [7]
    assert told[5], "the round with the flush and the other flaw speaks of it"


def test_marking_everything_or_nothing_does_not_win():
    values = [value for one in SHOWN for value in one["values"]]
    readable = sum(value["readable"] for value in values)
    assert frame()["total"] == len(values) == 24
    assert 8 <= readable <= 16


def test_no_round_has_more_than_its_picture_has_room_for():
    for one in SHOWN:
        for moment in one["moments"]:
            assert len(moment["buffers"]) <= ENTRIES
            assert len(moment["cache"]) <= 8
        assert len(one["moments"]) == len(one["deeds"]) + 1
    assert {name for one in ROUNDS for name in one.asked} <= set(VALUES)


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_nothing_is_told_before_the_answer(number):
    one = SHOWN[number]
    for step in range(len(one["deeds"]) + 2):
        text = at(number, step=step)
        assert one["lesson"] not in text
        assert not any(value["why"] in text for value in one["values"])
        assert ("covered until" in text) == one["covered"]
    told = at(number, step=9, checked=True, marked=[one["values"][0]["name"]])
    assert one["lesson"] in told
    assert all(value["why"] in told for value in one["values"])
    assert "covered until" not in told


def test_an_answer_is_called_right_or_wrong_value_by_value():
    told = at(0, step=9, checked=True, marked=["K", "P"])
    assert "✓ right: K: you can get it" in told
    assert "✗ wrong: M: you can get it" in told
    assert "✗ wrong: P: out of reach" in told


def test_it_opens_on_its_first_round_and_its_repr_has_no_answer():
    view = LeakGame()
    assert repr(view) == view.text == at(0)
    assert not any(value["why"] in repr(view) for one in SHOWN for value in one["values"])
    view.state = {**START, "round": 3, "step": 1}
    assert "Round 4 of 8" in view.text
    assert "done: the host loads K" in view.text
    assert "next: the host stores M" in view.text


def test_a_model_is_called_one_and_says_what_it_leaves_out():
    assert "A model, and no CPU" in LeakGame().text
    assert "the other hyperthread" in LeakGame().text


def test_the_picture_stands_alone_and_tells_no_later_round():
    view = LeakGame()
    texts = [one.text for one in ET.fromstring(view.picture).iter() if one.tag.endswith("text")]
    assert {"Host", "Guest: you", "K", "M"} <= set(texts)
    assert "VERW" not in view.picture
    assert "prefers-color-scheme: dark" in view.picture
    assert view._repr_mimebundle_()[0]["text/html"].startswith("<img")


def test_a_frame_is_plain_data():
    assert json.loads(json.dumps(frame())) == frame()
