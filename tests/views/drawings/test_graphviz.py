"""Graphviz native and in a tab: the same nodes, edges and clusters in the same places."""

import re

import pytest
from in_tab import in_tab

from vmenter import LabError
from vmenter.patching.alternative_table import Engine
from vmenter.story.history import ERAS
from vmenter.views.drawings import decision, diagram, flowchart
from vmenter.views.entry.panels import flow_of
from vmenter.views.patch.bench import sample

DOTS = (
    "digraph { a -> b }",
    r'digraph { subgraph cluster_x { label="room"; a -> b [label="goes <on>"] } b [label="two\llines\l", class="code"] }',
    r"digraph G { node [shape=box]; subgraph cluster_a { label=q; subgraph cluster_b { x -> y:s -> z } } x -> {u v} [label=l] }",
)
BAD = ("digraph { a -> }", "graph { a -> b }", "nothing", "digraph { a [label=<<b>x</b>>] }", "")
THERE = """
from vmenter import LabError
from vmenter.views.drawings.diagram import layout

def drawn(dot):
    try:
        return layout(dot)
    except LabError as error:
        return f"LabError: {error}"

result = [drawn(dot) for dot in given]
"""


def refused(dot):
    with pytest.raises(LabError) as caught:
        diagram.layout(dot)
    return f"LabError: {caught.value}"


def dots(monkeypatch):
    """Return what the course lays out: the ways of every era, and decisions of each kind."""
    seen = []
    layout = diagram.layout
    for module in (flowchart, decision):
        monkeypatch.setattr(module, "layout", lambda dot, *rest: seen.append(dot) or layout(dot, *rest))
    for era in ERAS.values():
        flowchart.skeleton.__wrapped__(flow_of(era))
    bench = sample("three_way")
    for engine in Engine:
        decision.skeleton(bench.site, bench.feature, engine)
    return [*DOTS, *seen]


def places(svg):
    """Return key -> classes, and the numbers of all shapes and texts of the node, edge or cluster."""
    groups = re.findall(r'<g id="([^"]+)" class="([^"]*)" data-key="([^"]*)">(.*?)</g>', svg, re.DOTALL)
    return [
        (ident, classes, key, re.findall(r'\b(?:points|d|cx|cy|rx|ry|x|y)="([^"]*)"', body))
        for ident, classes, key, body in groups
    ]


def test_both_lay_out_all_of_the_course_alike(monkeypatch):
    texts = dots(monkeypatch)
    found = in_tab(THERE, [*texts, *BAD])
    for dot, svg in zip(texts, found, strict=False):
        assert places(svg) == places(diagram.layout(dot)), dot[:200]
        assert len(places(svg)) > 2
    ours = [refused(dot) for dot in BAD]
    for dot, one, other in zip(BAD, ours, found[len(texts) :], strict=True):
        assert one.startswith("LabError: "), dot
        assert other.startswith("LabError: "), dot
        assert "\n" not in one + other
