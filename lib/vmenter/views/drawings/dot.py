"""DOT text, written anew so that Graphviz sees no label, but a box of each label's size and an id to find it by.

The grammar is that of Graphviz's documentation, "DOT Language". What it leaves to Graphviz (which attributes there
are, what they mean) is handed on as it is.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vmenter import LabError

FONT_SIZE = 13.0
PLACEHOLDER = "#123456"  # the colour of a box that text will take the place of
_TOKEN = re.compile(
    r"(?P<blank>\s+|//[^\n]*|/\*.*?\*/|^\#[^\n]*)"
    r'|(?P<id>"(?:\\.|[^"\\])*"|[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*|-?(?:\.\d+|\d+(?:\.\d*)?))'
    r"|(?P<sign>->|--|[{}\[\];,=:+])|(?P<html><)",
    re.DOTALL | re.MULTILINE,
)
_SIGNS = ("{", "}", "[", "]", ";", ",", "=", ":", "+", "->", "--")
_KEYWORDS = ("node", "edge", "graph", "digraph", "subgraph", "strict")
Attributes = dict[str, str]  # raw, as they stand in the text


@dataclass(frozen=True)
class Label:
    """A label's text, for the box with its id. `key` is the node's name, ``tail->head``, or the cluster's name."""

    key: str
    lines: tuple[str, ...]
    left: bool
    size: float


Measure = Callable[[str, float, bool], tuple[float, float]]  # (text, font size, fixed width) to width and height


def boxed(dot: str, measure: Measure) -> tuple[str, dict[str, Label]]:
    """Return the text with boxes in the labels' places, and id -> label. Raises `LabError` for what is no DOT."""
    reader = _Reader([*_tokens(dot)])
    reader.graph()
    return reader.written(measure)


def _tokens(dot: str) -> Iterator[str]:
    at = 0
    while at < len(dot):
        found = _TOKEN.match(dot, at)
        if found is None:
            raise _refused(f"{dot[at : at + 20]!r} is not understood")
        end = _end_of_html(dot, at) if found["html"] else found.end()
        if not found["blank"]:
            yield dot[at:end]
        at = end


def _end_of_html(dot: str, at: int) -> int:
    depth = 0
    for place in range(at, len(dot)):
        depth += {"<": 1, ">": -1}.get(dot[place], 0)
        if not depth:
            return place + 1
    raise _refused("a text in < > has no end")


def _refused(why: str) -> LabError:
    return LabError(f"Graphviz cannot lay this out: {why}")


def _plain(raw: str) -> str:
    """Return what a raw id or value stands for."""
    return re.sub(r'\\(")|\\\n', r"\1", raw[1:-1]) if raw.startswith('"') else raw


@dataclass
class _Scope:
    """What holds inside a pair of braces for all that comes, or for the graph itself."""

    node: Attributes = field(default_factory=dict)
    edge: Attributes = field(default_factory=dict)
    graph: Attributes = field(default_factory=dict)

    def inner(self) -> "_Scope":
        return _Scope(dict(self.node), dict(self.edge), dict(self.graph))


@dataclass(eq=False)
class _Thing:
    """A node, edge or cluster: what stands in front of its attributes, and these."""

    head: str
    key: str
    attributes: Attributes


class _Reader:
    """Reads tokens; keeps the text in pieces, since what an edge or a cluster is called is known at the end."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.at = tokens, 0
        self.pieces: list[str | _Thing] = []
        self.nodes: dict[str, _Thing] = {}
        self.edges: list[tuple[str, str, _Thing]] = []  # with tail and head
        self.clusters: dict[str, _Thing] = {}

    # --- reading ------------------------------------------------------------------------------------------------

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        token = self.peek()
        if not token or (wanted and token not in wanted):
            place = " ".join(self.tokens[max(0, self.at - 4) : self.at + 1])
            raise _refused(f"after {place!r} something is missing" if not token else f"{token!r} in {place!r}")
        self.at += 1
        return token

    def id(self) -> str:
        token = self.take()
        if token in _SIGNS:
            self.at -= 1
            self.take("a name")
        while token.startswith('"') and self.peek() == "+":
            self.take("+")
            token = token[:-1] + self.take()[1:]
        return token

    def graph(self) -> None:
        while self.peek().lower() in _KEYWORDS:
            self.pieces.append(self.take())
        if self.peek() != "{":
            self.pieces.append(self.id())
        self.pieces.append(self.take("{"))
        self.statements(_Scope(), [])
        if self.peek():
            self.take("the end")

    def statements(self, scope: _Scope, members: list[str]) -> None:
        """Read up to the closing brace; `members` gets the names of the nodes."""
        while self.peek() != "}":
            if self.peek() in (";", ","):
                self.take()
            elif self.peek().lower() in ("node", "edge", "graph"):
                kind = self.take().lower()
                attributes = self.attributes()
                getattr(scope, kind).update(attributes)
                self.pieces.append(f"{kind} [{_listed(attributes)}]")
            else:
                self.statement(scope, members)
        self.take("}")

    def statement(self, scope: _Scope, members: list[str]) -> None:
        if self.tokens[self.at + 1 : self.at + 2] == ["="]:
            name = self.id()
            self.take("=")
            scope.graph[_plain(name)] = value = self.id()
            if _plain(name) != "label":
                self.pieces.append(f"{name} = {value}")
            return
        ends, arrows = [self.operand(scope, members)], []
        while self.peek() in ("->", "--"):
            arrows.append(self.take())
            ends.append(self.operand(scope, members))
        attributes = self.attributes()
        if not arrows:
            for raw, _ in ends[0]:
                self.nodes[_plain(raw)].attributes.update(attributes)
                self.pieces.append(f"{raw} [{_listed(attributes)}]")
            return
        for arrow, tails, heads in zip(arrows, ends, ends[1:], strict=False):
            for (tail, from_), (head, to) in ((t, h) for t in tails for h in heads):
                key = f"{_plain(tail)}->{_plain(head)}"
                edge = _Thing(f"{tail}{from_} {arrow} {head}{to}", key, {**scope.edge, **attributes})
                self.edges.append((_plain(tail), _plain(head), edge))
                self.pieces.append(edge)

    def operand(self, scope: _Scope, members: list[str]) -> list[tuple[str, str]]:
        """Read a node or a subgraph: (raw name, port) of its nodes."""
        if self.peek() == "{" or self.peek().lower() == "subgraph":
            return [(raw, "") for raw in self.subgraph(scope, members)]
        raw, port = self.id(), ""
        while self.peek() == ":":
            port += self.take() + self.id()
        members.append(raw)
        if _plain(raw) not in self.nodes:
            self.nodes[_plain(raw)] = _Thing(raw, _plain(raw), dict(scope.node))
            self.pieces.append(f"{raw};")
        return [(raw, port)]

    def subgraph(self, scope: _Scope, members: list[str]) -> list[str]:
        name = ""
        if self.peek().lower() == "subgraph":
            self.take()
            name = self.id() if self.peek() != "{" else ""
        self.pieces.append(f"subgraph {name} {self.take('{')}")
        inner, own = scope.inner(), list[str]()
        cluster = _plain(name).startswith("cluster")
        if cluster:
            inner.graph = self.clusters.setdefault(
                _plain(name), _Thing("graph", _plain(name), inner.graph)
            ).attributes
        self.statements(inner, own)
        if cluster:
            self.pieces.append(self.clusters[_plain(name)])
        self.pieces.append("}")
        members.extend(own)
        return own

    def attributes(self) -> Attributes:
        found: Attributes = {}
        while self.peek() == "[":
            self.take("[")
            while self.peek() != "]":
                name = _plain(self.id())
                self.take("=")
                found[name] = self.id()
                if self.peek() in (";", ","):
                    self.take()
            self.take("]")
        return found

    # --- writing ------------------------------------------------------------------------------------------------

    def written(self, measure: Measure) -> tuple[str, dict[str, Label]]:
        """Return the text with boxes, and the labels by id: nodes, edges by their ends, clusters."""
        labels: dict[str, Label] = {}
        heads: dict[_Thing, str] = {}
        order = {name: number for number, name in enumerate(self.nodes)}
        edges = [edge for *_, edge in sorted(self.edges, key=lambda one: (order[one[0]], order[one[1]]))]
        for kind, things in (("n", self.nodes.values()), ("e", edges), ("c", self.clusters.values())):
            for number, thing in enumerate(things, 1):
                label, box = _box(thing, kind, measure)
                labels[f"{kind}{number}"] = label
                kept = _listed(thing.attributes) if kind == "e" else ""
                heads[thing] = f"{thing.head} [{kept} id={kind}{number}, label={box}]"
        lines = [one if isinstance(one, str) else heads[one] for one in self.pieces]
        return "\n".join([*lines, *(heads[node] for node in self.nodes.values()), "}"]), labels


def _listed(attributes: Attributes) -> str:
    return "".join(f'"{name}"={value}, ' for name, value in attributes.items() if name not in ("label", "id"))


def _box(thing: _Thing, kind: str, measure: Measure) -> tuple[Label, str]:
    """Return a label, and the box that takes its place."""
    known = {name: _plain(value) for name, value in thing.attributes.items()}
    text = known.get("label", "")
    if thing.attributes.get("label", "").startswith("<"):
        raise LabError(f"the label of {thing.key} is HTML; only plain labels are drawn")
    if kind == "n":
        text = "" if known.get("shape") == "point" else (text or "\\N").replace("\\N", thing.key)
    plain = re.sub(r"\\[nlr]", "\n", text).removesuffix("\n").replace('\\"', '"').replace("\\\\", "\\")
    size = float(known.get("fontsize") or FONT_SIZE)
    if not plain.strip():
        return Label(thing.key, (), left=False, size=size), '""'
    width, height = measure(plain, size, "code" in known.get("class", "").split())
    box = (
        f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0" BGCOLOR="{PLACEHOLDER}" '
        f'FIXEDSIZE="TRUE" WIDTH="{width:.0f}" HEIGHT="{height:.0f}"><TR><TD></TD></TR></TABLE>>'
    )
    return Label(thing.key, tuple(plain.split("\n")), left="\\l" in text, size=size), box
