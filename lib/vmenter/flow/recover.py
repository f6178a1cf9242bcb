"""The control-flow graph of kernel code, recovered from an image's bytes by following them from a symbol.

Nothing is swept: only what can be reached from the start is decoded. What decides at boot or at run time stays
visible. An alternative site leads to what stands there, or, on request, to everything that might; a static branch
leads both ways, and the way that the code does not take as it stands is kept as an edge that is not live.

Code is followed until it returns, enters a guest, traps, or leaves for a function that was not asked for. What
stands behind VMLAUNCH and VMRESUME runs only when they fail, and what stands at the VM-exit address is reached
through the VMCS: neither is on the way to the guest, and neither is in the graph.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b

from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, ecx_after
from vmenter.code.x86 import IA32_FLUSH_CMD
from vmenter.flow.graph import Block, Choice, Edge, Flow, Kind, Mark
from vmenter.flow.walk import RETURNING, Place, Plan, Walk
from vmenter.patching.alternative_table import Rules
from vmenter.patching.alternatives import Patch

MOST_BLOCKS = 500
CACHED_IMAGE = 8 << 20  # bytes; larger images are not worth hashing
LINE = 64  # bytes of a cache line


def graph(
    image: Image,
    start: str,
    *,
    follow: bool | Collection[str] = False,
    variants: bool = False,
    patches: Iterable[Patch] = (),
    names: Mapping[int, str] | None = None,
    how: Rules | None = None,
    most: int = MOST_BLOCKS,
) -> Flow:
    """Recover the graph of the function `start`.

    `follow` says which called functions belong to it: none, all that the image holds, or those of these names; a
    call that is not followed is a line of its block. `variants`: show all that an alternative site can become, as
    the patcher leaves it, not only what stands there. `patches` are those that made `image`, if it was patched:
    bytes alone do not tell what the original was. `names` name features that the kernel's version alone does not.

    Raises `LabError` for an unknown symbol, for bytes that are no code, and for more than `most` blocks.
    """
    wanted = follow if isinstance(follow, bool) else frozenset(follow)
    plan = Plan(start, wanted, variants, tuple((names or {}).items()), how, most)
    told = tuple(patches)
    if told or sum(len(section.data) for section in image.sections) > CACHED_IMAGE:
        return _flow(Walk(image, plan, told))
    return _cached(_Content(image), plan)


class _Content:
    """An image that equals any other of the same content."""

    def __init__(self, image: Image) -> None:
        digest = blake2b(
            f"{image.name}\0{image.kernel}\0{sorted(image.undefined.items())}".encode(errors="surrogatepass"),
            digest_size=16,
        )
        for section in image.sections:
            digest.update(f"{section.name}\0{section.address}\0{section.size}\0".encode())
            digest.update(section.data)
        self.image, self.digest = image, digest.digest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Content)
            and self.digest == other.digest
            and self.image.symbols == other.image.symbols  # the same object, as a rule
        )


@lru_cache(maxsize=64)
def _cached(content: _Content, plan: Plan) -> Flow:
    return _flow(Walk(content.image, plan, ()))


# --- cutting into blocks -----------------------------------------------------------------------------------


def _flow(walk: Walk) -> Flow:
    """Cut what a walk found into blocks, and say how they hang together."""
    order = {function.start: rank for rank, function in enumerate(walk.functions.values())}
    runs = [*_runs(walk)]
    _mark_flushes(walk, runs)
    runs = [part for run in runs for part in _at_marks(walk, run)]
    runs.sort(key=lambda run: (order[walk.steps[run[0]].function.start], run[0]))
    sites = {site: number for number, site in enumerate(dict.fromkeys(run[0].site for run in runs if run[0].site))}
    keys = {run[0]: _key(walk, run[0]) for run in runs}
    found = tuple(replace(walk.sites[site], key=f"A{number + 1}") for site, number in sites.items())
    blocks = tuple(_block(walk, run, keys[run[0]], sites) for run in runs)
    ends: dict[int, list[str]] = {}  # where each function returns
    for run in runs:
        last = walk.steps[run[-1]]
        if last.leave in RETURNING:
            ends.setdefault(last.function.start, []).append(keys[run[0]])
    edges = tuple(dict.fromkeys(edge for run in runs for edge in _edges(walk, run, keys, ends)))
    names = tuple(function.name for function in walk.functions.values())
    return Flow(walk.image, names, blocks, edges, found)


def _runs(walk: Walk) -> Iterator[tuple[Place, ...]]:
    """Yield the places of each straight run, from one leader to the next."""
    following = {way.to for step in walk.steps.values() for way in step.ways or ()}
    leaders = walk.leaders | following
    for leader in leaders:
        run, place = [], leader
        while True:
            run.append(place)
            step = walk.steps[place]
            if step.ways is not None or step.leave is not None or step.calls:
                break
            place = walk.after(place, step.instruction)[0]
            if place in leaders or place not in walk.steps:
                break
        yield tuple(run)


def _at_marks(walk: Walk, run: tuple[Place, ...]) -> Iterator[tuple[Place, ...]]:
    """Yield the parts of a run: each static branch, and what has a mark, with the NOPs behind it, stands alone."""
    parts: list[list[Place]] = []
    open_part = False
    for place in run:
        step = walk.steps[place]
        alone = step.branch is not None or step.mark not in (None, Mark.FLUSH_LOOP)
        after_mark = bool(parts) and not open_part
        if alone or not parts or (after_mark and not step.instruction.is_nop()):
            parts.append([])
            open_part = not alone
        parts[-1].append(place)
    yield from map(tuple, parts)


def _key(walk: Walk, place: Place) -> str:
    function = walk.steps[place].function
    key = f"{function.name}{place.address - function.start:+#x}"
    if place.site:
        entry = walk.sites[place.site].variants[place.variant].entry
        key += f"/{0 if entry is None else entry + 1}"
    return key


def _block(walk: Walk, run: tuple[Place, ...], key: str, sites: dict[int, int]) -> Block:
    last = walk.steps[run[-1]]
    return Block(
        key=key,
        function=last.function.name,
        instructions=tuple(walk.steps[place].instruction for place in run),
        choice=Choice(sites[run[0].site], run[0].variant) if run[0].site else None,
        branch=last.branch,
        mark=next((step.mark for step in map(walk.steps.__getitem__, run) if step.mark), None),
        leave=last.leave,
        leads_to=last.leads_to,
    )


def _edges(
    walk: Walk,
    run: tuple[Place, ...],
    keys: dict[Place, str],
    ends: dict[int, list[str]],
) -> Iterator[Edge]:
    """Yield where the end of a run leads."""
    place, key = run[-1], keys[run[0]]
    step = walk.steps[place]
    if step.calls:
        yield from _call(walk, place, key, keys, ends)
    elif step.ways is not None:
        for way in step.ways:
            yield Edge(key, keys[way.to], way.kind, way.live and walk.stands(place), way.note)
    elif step.leave is None:
        for after in walk.after(place, step.instruction):
            yield Edge(key, keys[after], Kind.FALL, walk.stands(place) and walk.stands(after))


def _call(
    walk: Walk, place: Place, key: str, keys: dict[Place, str], ends: dict[int, list[str]]
) -> Iterator[Edge]:
    """Yield a followed call's way in, and the ways back from wherever the function returns."""
    step = walk.steps[place]
    for to in walk.enter(step.calls):
        yield Edge(key, keys[to], Kind.CALL, walk.stands(place) and walk.stands(to))
    for to in walk.after(place, step.instruction):
        if to in keys:
            for start in walk.with_tails(step.calls):
                for end in ends.get(start, ()):
                    yield Edge(end, keys[to], Kind.RETURN, walk.stands(to))


# --- marks -------------------------------------------------------------------------------------------------


def _mark_flushes(walk: Walk, runs: list[tuple[Place, ...]]) -> None:
    """Mark each WRMSR that flushes the L1D, and each loop that reads memory line by line.

    WRMSR takes the register's number from ECX. What is in ECX at a run's start is known where all ways that
    lead there agree about it; at a function's start, and behind a call, nothing is.
    """
    by_start = {run[0]: run for run in sorted(runs)}
    after = {start: _after(walk, run) for start, run in by_start.items()}
    led_to = {to for ways in after.values() for to in ways}
    arriving: dict[Place, set[int | None]] = {start: set() for start in by_start}
    waiting = [start for start in by_start if start not in led_to or start.address in walk.functions]
    for start in waiting:
        arriving[start].add(None)
    while waiting:
        start = waiting.pop()
        ecx = next(iter(arriving[start])) if len(arriving[start]) == 1 else None
        for place in by_start[start]:
            step = walk.steps[place]
            if step.instruction.mnemonic == "wrmsr":
                step.mark = Mark.FLUSH if ecx == IA32_FLUSH_CMD else None
            ecx = ecx_after(step.instruction, ecx)
        for to in after[start]:
            if ecx not in arriving[to]:
                arriving[to].add(ecx)
                waiting.append(to)
    for start, run in by_start.items():
        if start in after[start] and _reads_lines([walk.steps[place].instruction for place in run]):
            walk.steps[run[-1]].mark = Mark.FLUSH_LOOP


def _after(walk: Walk, run: tuple[Place, ...]) -> list[Place]:
    """Return where a run leads within its function."""
    last = walk.steps[run[-1]]
    if last.ways is not None:
        return [way.to for way in last.ways]
    return [] if last.leave or last.calls else walk.after(run[-1], last.instruction)


def _reads_lines(loop: list[Instruction]) -> bool:
    """Tell whether a loop steps from cache line to cache line and reads."""
    steps = any(i.mnemonic.startswith("add") and i.operands.startswith(f"${LINE:#x},") for i in loop)
    return steps and any(i.mnemonic.startswith("mov") and "(" in i.operands.partition(" %")[0] for i in loop)
