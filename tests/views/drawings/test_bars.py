"""Bars: the drawing and its twin say the same numbers."""

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.views.drawings.bars import bars

ROWS = [("apples & pears", (30, 3)), ("plums", (0, 1200))]


def test_the_twin_has_every_number_with_its_bar():
    text = bars(ROWS, "Fruit", ("old", "new")).text
    lines = text.splitlines()
    assert lines[0] == "Fruit"
    assert [re.sub(r"\s+", " ", line.strip()) for line in lines[1:]] == [
        "apples & pears old 30 █",
        "new 3",
        "plums old 0",
        "new 1,200 " + "░" * 40,
    ]


def test_one_series_needs_no_names():
    text = bars([("a", (1,)), ("b", (2,))], "Two", ("only",)).text
    assert "only" not in text
    assert "only" not in bars([("a", (1,))], "One", ("only",)).svg.replace("aria-label", "")


def test_the_drawing_is_well_formed_named_and_has_a_second_kind_of_bar():
    svg = bars(ROWS, "Fruit <b>", ("old", "new")).svg
    root = ET.fromstring(svg)
    assert root.get("aria-label") == "Fruit <b>"
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"apples & pears", "30", "1,200", "old", "new"} <= set(texts)
    kinds = [element.get("class") for element in root.iter() if element.tag.endswith("rect")]
    assert kinds.count("bar first") == kinds.count("bar second") == 3


@given(st.lists(st.tuples(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
                          st.tuples(st.integers(0, 10**6))), max_size=8))  # fmt: skip
def test_no_bar_leaves_the_drawing_and_all_are_in_proportion(rows):
    root = ET.fromstring(bars(rows, "t", ("n",)).svg)
    width = float(root.get("width"))
    found = [e for e in root.iter() if e.tag.endswith("rect")]
    assert len(found) == len(rows)
    longest = max([1, *(numbers[0] for _, numbers in rows)])
    wide = max([0.6, *(float(e.get("width")) for e in found)])
    for element, (_, (number,)) in zip(found, rows, strict=True):
        assert float(element.get("x")) + float(element.get("width")) <= width
        assert float(element.get("width")) == pytest.approx(max(0.6, wide * number / longest), abs=0.7)


@pytest.mark.parametrize("series", [(), ("a", "b", "c"), ("a", "b")])
def test_a_number_for_each_series_is_needed(series):
    with pytest.raises(LabError, match="one or two series"):
        bars([("x", (1,))], "t", series)
