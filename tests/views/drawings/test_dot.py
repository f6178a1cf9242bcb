"""DOT text, read and written anew: what Graphviz gets, and what is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.views.drawings.dot import PLACEHOLDER, Label, boxed


def measure(text, size, code):
    return (10 * len(text), 20)


def labels(dot):
    return boxed(dot, measure)[1]


def test_every_node_edge_and_cluster_has_an_id_and_a_box_of_its_labels_size():
    text, found = boxed('digraph { subgraph cluster_x { label=room; a -> b [label="goes"] } }', measure)
    assert found == {
        "n1": Label("a", ("a",), left=False, size=13.0),
        "n2": Label("b", ("b",), left=False, size=13.0),
        "e1": Label("a->b", ("goes",), left=False, size=13.0),
        "c1": Label("cluster_x", ("room",), left=False, size=13.0),
    }
    for ident, label in found.items():
        assert re.search(rf'id={ident}, label=<<TABLE .* WIDTH="{10 * len(label.lines[0])}" HEIGHT="20"', text)
    assert text.count(PLACEHOLDER) == 4
    assert "goes" not in text
    assert "room" not in text


def test_what_holds_for_all_that_comes_holds_within_its_braces():
    found = labels("digraph { a node [fontsize=20] b { node [fontsize=30, class=code] c } d; b [fontsize=8] }")
    assert [(label.key, label.size) for label in found.values()] == [("a", 13), ("b", 8), ("c", 30), ("d", 20)]


def test_lines_quotes_and_sides_are_read_as_graphviz_reads_them():
    (label,) = labels(r'digraph { "a \"b\"" [label="one\ltwo \"x\" \\\l" + "three"] }').values()
    assert (label.key, label.lines, label.left) == ('a "b"', ("one", 'two "x" \\', "three"), True)
    (name,) = labels(r'digraph { a [label="<\N>"] }').values()
    assert name.lines == ("<a>",)


def test_chains_ports_groups_and_comments_are_understood():
    found = labels("strict digraph G { // a comment\n /* another */ a:s -> b:n:e -> {c d} [label=x]; c -> c }")
    assert [label.key for label in found.values() if "->" in label.key] == ["a->b", "b->c", "b->d", "c->c"]
    assert [label.key for label in labels('graph { "a" -- 1.5 -- _x }').values()] == [
        "a",
        "1.5",
        "_x",
        "a->1.5",
        "1.5->_x",
    ]


def test_a_point_shows_nothing_and_an_empty_label_has_no_box():
    found = labels('digraph { a [shape=point, label=x] b [label=" "] a -> b }')
    assert [label.lines for label in found.values()] == [(), (), ()]


@pytest.mark.parametrize(
    ("dot", "reason"),
    [
        ("digraph { a -> }", "'}' in"),
        ("digraph { a", "something is missing"),
        ("digraph { a [x] }", "']' in"),
        ("digraph { } x", "'x' in"),
        ("digraph { ! }", "is not understood"),
        ("digraph { a [label=<b] }", "has no end"),
        ("", "something is missing"),
    ],
)
def test_what_is_no_dot_is_refused_with_its_place(dot, reason):
    with pytest.raises(LabError, match="Graphviz cannot lay this out: ") as caught:
        labels(dot)
    assert reason in str(caught.value)


def test_html_is_refused_where_it_is_a_label():
    with pytest.raises(LabError, match="the label of a->b is HTML"):
        labels("digraph { a -> b [label=<<b>x</b>>] }")


@given(st.text(alphabet='digraph{}[]->;,="ab<>: \n\\/*', max_size=60))
def test_any_text_is_read_or_refused(dot):
    try:
        text, _ = boxed(dot, measure)
    except LabError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert text.endswith("}")
