"""A control-flow graph drawn: blocks, what decides between them, and the way that a run took.

A graph is laid out once; what depends on a configuration (which variants stand at the sites, how the static
branches stand, what ran) are classes and words put on the finished drawing (`marks`). So one drawing serves every
configuration, and nothing jumps. Each kind of block has a letter and a shape of its own beside its colour: V VERW,
F L1D flush, E VM-Enter, S static branch, A alternative site.
"""

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from vmenter.code.image import Image
from vmenter.emulator.trace import Trace
from vmenter.flow.graph import Block, Edge, Flow, Kind, Mark
from vmenter.flow.text import branch_lines, clean, flow_text, lines, nothing, offset, site_lines, title
from vmenter.views.drawings.diagram import Diagram, layout, mark
from vmenter.views.drawings.diagram import Mark as Change

TWIN = "(the text twin)"  # in a drawing, until its words are known
GUTTER = 7  # characters of a line that the block's place takes, at least
SHAPES = {
    Mark.VERW: ("octagon", "verw"),
    Mark.FLUSH: ("octagon", "flush"),
    Mark.FLUSH_LOOP: ("octagon", "flush"),
    Mark.VM_ENTER: ("invhouse", "enter"),
}


class State(NamedTuple):
    """What a drawing is to show of a configuration."""

    image: Image  # how the static branches stand
    standing: tuple[int, ...]  # which variant stands at each site
    ran: frozenset[str] = frozenset()  # keys of blocks
    passed: frozenset[tuple[str, str]] = frozenset()  # (tail, head) of edges


def draw(
    flow: Flow,
    path: Trace | Iterable[int] | None = None,
    *,
    image: Image | None = None,
    features: Collection[int | str] | None = None,
) -> Diagram:
    """Draw a graph, and on it the way that a run took: a trace, or the addresses of what was executed.

    `image` is the image as it ran, where that is not the one that the graph was made from; a trace brings its own.
    `features`, by number or name, say exactly what stands at the alternative sites; without them the bytes tell.
    """
    state = state_of(flow, path, image=image, features=features)
    text = flow_text(flow, state.ran, state.passed, standing=state.standing, image=state.image)
    return Diagram(_drawn(flow, state, text), text)


def state_of(
    flow: Flow,
    path: Trace | Iterable[int] | None = None,
    *,
    image: Image | None = None,
    features: Collection[int | str] | None = None,
) -> State:
    """Return what a configuration and a run come to on this graph."""
    if isinstance(path, Trace):
        image, path = image or path.image, path.steps
    standing = flow.standing(image, features)
    keys = flow.walk(path or (), standing)
    return State(image or flow.image, standing, frozenset(keys), _passed(flow, keys))


def _passed(flow: Flow, keys: Collection[str]) -> frozenset[tuple[str, str]]:
    known = {(edge.tail, edge.head) for edge in flow.edges}
    return frozenset(pair for pair in pairwise(keys) if pair in known)


@lru_cache(maxsize=128)
def _drawn(flow: Flow, state: State, text: str) -> str:
    return mark(skeleton(flow), marks(flow, state)).replace(TWIN, escape(text, quote=False), 1)


# --- what never changes ------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def skeleton(flow: Flow) -> str:
    """Return the drawing of a graph before any configuration is put on it; `TWIN` stands for its description."""
    svg = layout("\n".join(_dot(flow)), clean(f"The ways through {flow.name}"), TWIN)
    return svg.replace("</style>", f" {_style()}</style>", 1)


@lru_cache(maxsize=1)
def _style() -> str:
    return " ".join(Path(__file__).with_name("flowchart.css").read_text(encoding="utf-8").split())


def _dot(flow: Flow) -> Iterator[str]:
    """Yield the graph in DOT."""
    yield "digraph {"
    yield "nodesep=0.26; ranksep=0.32; edge [arrowsize=0.75, fontsize=12]"
    yield 'node [shape=box, style=rounded, margin="0.14,0.09"]'
    several = len(flow.functions) > 1
    for number, function in enumerate(flow.functions):
        if several:
            yield f'subgraph cluster_{number} {{ margin=11; class="function"'
        name = _quoted(_title_key(function))
        yield f'{name} [label={_quoted(function)}, class="title", margin=0.02, height=0.3]'
        yield from _nodes(flow, function)
        yield from dict.fromkeys(
            f"{name} -> {_quoted(_way_in(flow, None, block))} [weight=4]" for block in entries(flow, function)
        )
        if several:
            yield "}"
    yield from dict.fromkeys(_edge(flow, edge) for edge in flow.edges if edge.kind is not Kind.RETURN)
    for call, back in _calls(flow):
        yield f'{_quoted(call)} -> {_quoted(back)} [class="return", label=" then ", weight=4]'
    yield from (_fork(flow, block) for block in flow.blocks if _begins_site(flow, block))
    yield "}"


def entries(flow: Flow, function: str) -> tuple[Block, ...]:
    """Return the blocks that a function starts with: several where it begins with an alternative site."""
    symbol = flow.image.symbols.get(function)
    start = symbol.address if symbol else 0
    return tuple(block for block in flow.blocks if block.function == function and block.address == start)


def _title_key(function: str) -> str:
    return f"function {function}"


def _calls(flow: Flow) -> tuple[tuple[str, str], ...]:
    """Return (call, what comes after it) for each followed call that returns.

    Drawn as one edge from the call on, in place of one from each return: those would cross the whole drawing.
    """
    backs = {flow.by_key[edge.head] for edge in flow.edges if edge.kind is Kind.RETURN}
    callers = [flow.by_key[edge.tail] for edge in flow.edges if edge.kind is Kind.CALL]
    found = [
        (call.key, _way_in(flow, call, back))
        for call in callers
        for back in backs
        if back.address == call.end and back.function == call.function
    ]
    return tuple(sorted(set(found)))


def _begins_site(flow: Flow, block: Block) -> bool:
    return block.choice is not None and block.address == flow.alternatives[block.choice.site].site.address


def _way_in(flow: Flow, tail: Block | None, head: Block, kind: Kind = Kind.FALL) -> str:
    """Return the node that a way to a block leads to: its own, its function's name, or the site of its variant."""
    if kind in (Kind.CALL, Kind.TAIL):
        return _title_key(head.function)
    if head.choice is None or not _begins_site(flow, head):
        return head.key
    if tail is not None and tail.choice is not None and tail.choice.site == head.choice.site:
        return head.key
    return flow.alternatives[head.choice.site].key


def _nodes(flow: Flow, function: str) -> Iterator[str]:
    """Yield the nodes of a function: its blocks, and a node in front of each alternative site."""
    sites = dict.fromkeys(b.choice.site for b in flow.blocks if b.function == function and b.choice)
    for index in sites:
        found = flow.alternatives[index]
        longest = max(range(len(found.variants)), key=lambda i: len(found.variants[i].condition))
        label = site_lines(found, longest, others=not _forks(flow, index))
        yield f'{found.key} [label={_quoted(*label)}, class="site code", shape=folder, style=""]'
    for block in flow.blocks:
        if block.function == function:
            yield f"{_quoted(block.key)} [label={_quoted(*label_of(flow, block))}, {_shape(flow, block)}]"


def _forks(flow: Flow, site: int) -> bool:
    """Tell whether the graph holds several variants of a site."""
    return len({block.choice for block in flow.blocks if block.choice and block.choice.site == site}) > 1


def label_of(flow: Flow, block: Block) -> tuple[str, ...]:
    """Return the lines of a block's node."""
    if block.branch is not None:
        name, now = branch_lines(flow, block)
        return name, f"{now:<{_widest(block)}}"
    heading = title(block)
    first, *rest = lines(flow, block)
    where = offset(flow, block)
    width = max(GUTTER, len(where) + 1)
    code = [f"{where:<{width}}{first}", *(f"{'':<{width}}{line}" for line in rest)]
    return (heading, *code) if heading else tuple(code)


def _widest(block: Block) -> int:
    """Return the width that a static branch's line takes in its longer state."""
    if block.branch is None:
        return 0
    return len(f"off: jmp {block.branch.target - block.address + 0x10000:+#x}")


def _shape(flow: Flow, block: Block) -> str:
    if block.branch is not None:
        return 'class="block code branch", shape=hexagon, style="", margin="0.02,0.05"'
    if block.mark is not None:
        shape, kind = SHAPES[block.mark]
        return f'class="block code {kind}", shape={shape}, style="", margin="0.02,0.04"'
    kind = " nothing" if nothing(flow, block) else " leaves" if block.leave is not None else ""
    return f'class="block code{kind}"'


def _edge(flow: Flow, edge: Edge) -> str:
    tail, head = flow.by_key[edge.tail], flow.by_key[edge.head]
    label = edge.note.removeprefix("key ") if edge.note else "yes" if _conditional(tail, edge) else ""
    kind = edge.kind.name.lower()
    attributes = [f'class="{kind}"', *([f"label={_quoted(f' {label} ')}"] if label else [])]
    if edge.kind is Kind.FALL:
        attributes.append("weight=4")
    return f"{_quoted(edge.tail)} -> {_quoted(_way_in(flow, tail, head, edge.kind))} [{', '.join(attributes)}]"


def _conditional(tail: Block, edge: Edge) -> bool:
    return edge.kind is Kind.JUMP and not tail.instructions[-1].mnemonic.startswith("jmp")


def _fork(flow: Flow, block: Block) -> str:
    """Return the edge from a site's node to one of its variants."""
    if block.choice is None:
        raise ValueError(block.key)
    found = flow.alternatives[block.choice.site]
    condition = found.variants[block.choice.variant].condition
    label = f", label={_quoted(f' {condition} ')}" if _forks(flow, block.choice.site) else ""
    return f'{found.key} -> {_quoted(block.key)} [class="variant"{label}]'


def _quoted(*lines: str) -> str:
    """Return a DOT string; several lines are set to the left."""
    plain = [clean(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    return f'"{plain[0]}"' if len(plain) == 1 else '"' + "".join(f"{line}\\l" for line in plain) + '"'


# --- what a configuration changes --------------------------------------------------------------------------


def marks(flow: Flow, state: State) -> dict[str, Change]:
    """Return what a configuration and a run change on the drawing, by the keys of nodes and edges."""
    changes: dict[str, Change] = {}
    for block in flow.blocks:
        choice = block.choice
        there = choice is None or state.standing[choice.site] == choice.variant
        classes = "ran" if block.key in state.ran else "" if there else "absent"
        words = None
        if block.branch is not None:
            name, now = branch_lines(flow, block, state.image)
            words = clean(f"{name}\n{now}")
        changes[block.key] = Change(classes, words)
        if _begins_site(flow, block) and choice is not None:
            found = flow.alternatives[choice.site]
            arrow = "ran" if block.key in state.ran else "" if there else "absent"
            changes[f"{found.key}->{block.key}"] = Change(arrow)
            if there:
                label = site_lines(found, choice.variant, others=not _forks(flow, choice.site))
                changes[found.key] = Change("ran" if block.key in state.ran else "", clean("\n".join(label)))
    changes.update(_edge_marks(flow, state))
    for function in flow.functions:
        name = _title_key(function)
        for block in entries(flow, function):
            if block.key in state.ran:
                changes[name] = changes[f"{name}->{_way_in(flow, None, block)}"] = Change("ran")
    return changes


def _edge_marks(flow: Flow, state: State) -> dict[str, Change]:
    """Return what is to be seen on the edges: taken in the run, possible as the code stands, or not."""
    rank = {"": 1, "absent": 0, "ran": 2}
    found: dict[str, str] = {}
    for edge in flow.edges:
        tail, head = flow.by_key[edge.tail], flow.by_key[edge.head]
        key = f"{edge.tail}->{_way_in(flow, tail, head, edge.kind)}"
        shown = (
            "ran" if (edge.tail, edge.head) in state.passed else "" if possible(state, tail, edge) else "absent"
        )
        if edge.kind is Kind.RETURN:
            back = _way_in(flow, None, head)
            key = next((f"{call}->{to}" for call, to in _calls(flow) if to == back), key)
        if key not in found or rank[shown] > rank[found[key]]:
            found[key] = shown
    return {key: Change(shown) for key, shown in found.items()}


def possible(state: State, tail: Block, edge: Edge) -> bool:
    """Tell whether the code as it stands can go this way."""
    if tail.choice is not None and state.standing[tail.choice.site] != tail.choice.variant:
        return False
    if tail.branch is None:
        return True
    jumps = tail.branch.enabled(state.image) != tail.branch.likely
    return jumps == (edge.kind is Kind.JUMP)
