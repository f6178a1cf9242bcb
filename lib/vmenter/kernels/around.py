"""The C function around a VM-Enter stub (vmx_vcpu_enter_exit, as a rule): what it does before the call.

Read from its control-flow graph, with both ways of every static branch and every variant of an alternative in it;
it is not run. A question is answered by reachability: VERW that cannot be reached while a static key is on is
"unless" that key, VERW that cannot be reached while it is off is "under" it. What cannot be told stays None.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, decode, ecx_after
from vmenter.emulator.machine import IA32_MCU_OPT_CTRL
from vmenter.flow import recover
from vmenter.flow.graph import Block, Edge, Flow, Leave, Mark
from vmenter.kernels.stub import MMIO, Stub, callers
from vmenter.patching.alternative_table import Rules, read

MOST_BLOCKS = 4000  # of the function and what it calls; vmx_vcpu_run with all inlined has some hundred
USUAL = ("vmx_vcpu_enter_exit", "svm_vcpu_enter_exit", "vmx_vcpu_run", "svm_vcpu_run")  # up to a suffix
ASSIGNED = "kvm_arch_has_assigned_device"
VERW = re.compile(rb"\x0f\x00[\x28-\x2f\x68-\x6f\xa8-\xaf]")  # with a memory operand; or bytes that look so
FLUSHES = frozenset({Mark.FLUSH, Mark.FLUSH_LOOP})


class Asks(StrEnum):
    """What of a vCPU decides about VERW in C."""

    NOTHING = "nothing"
    ASSIGNED = "assigned device"  # up to v6.16
    MMIO = "MMIO run flag"  # v6.17 and v6.18
    OTHER = "something else"


@dataclass(frozen=True)
class Guarded:
    """Something the function can do before it calls the stub, and what that depends on."""

    under: tuple[str, ...] = ()  # static keys that must all be on
    unless: tuple[str, ...] = ()  # static keys that must be off
    either: tuple[str, ...] = ()  # static keys of which one must be on
    asks: Asks = Asks.NOTHING  # if a question must be answered with yes, whatever the keys


@dataclass(frozen=True)
class Around:
    """What a C function does before it calls the stub. None: cannot be told."""

    function: str
    verw: Guarded | None  # a VERW of its own; None where there is none, see `clears`
    clears: bool | None
    flush: Guarded | None  # the L1D flush; None where there is none
    fb_clear_dis: bool | None  # FB_CLEAR_DIS may be set before the call
    keys: tuple[str, ...] = ()  # static keys that are looked at before the call
    features: tuple[int, ...] = ()  # of the alternatives on the way
    sites: int = 0
    why_not: str | None = None  # why something cannot be told


def around(image: Image, stub: Stub, how: Rules) -> tuple[Around, ...]:
    """Return what each C function that calls the stub does before; nested checks, which run no guest, left out."""
    found = callers(image, stub)
    usual = [name for name in found if name.split(".")[0] in USUAL]
    return tuple(_around(image, name, stub, how) for name in usual or found if not name.startswith("nested_"))


def elsewhere(image: Image, stub: Stub, how: Rules) -> tuple[str, ...]:
    """Return the functions of the image, the stub apart, in which a VERW stands or can be patched in."""
    found = []
    for section in image.sections:
        if section.executable and section.name != ".altinstr_replacement":
            for match in VERW.finditer(section.data):
                address = section.address + match.start()
                name, _ = image.symbols.at(address) or (stub.name, 0)
                if name != stub.name and any(
                    i.address == address and i.is_clear
                    for i in decode(_bytes(image, name), image.symbols.extent(name)[0], strict=False)
                ):
                    found.append(name)
    for site in read(image, how).sites:
        for entry in site.entries:
            code = image.read(entry.replacement, entry.replacement_length) if entry.replacement_length else b""
            if VERW.search(code) and any(i.is_clear for i in decode(code, strict=False)):
                found.append(image.label(site.address).split("+")[0])
    return tuple(name for name in dict.fromkeys(found) if name != stub.name)


def _around(image: Image, name: str, stub: Stub, how: Rules) -> Around:
    try:
        return _read(_graph(image, name, stub, how), name, stub)
    except LabError as error:
        return Around(name, None, None, None, None, why_not=str(error))


def _graph(image: Image, name: str, stub: Stub, how: Rules) -> Flow:
    """Return the graph of the function, and of what it calls before the stub."""
    graph = recover.graph(image, name, variants=True, how=how, most=MOST_BLOCKS)
    called = _called(image, _before(graph, stub), stub)
    return recover.graph(image, name, variants=True, how=how, most=MOST_BLOCKS, follow=called) if called else graph


def _called(image: Image, instructions: Iterable[Instruction], stub: Stub) -> tuple[str, ...]:
    """Return the functions of this image that are called on the way, the stub apart."""
    targets = {i.branch_target for i in instructions if i.mnemonic.startswith("call")}
    names = {target: image.label(target) for target in targets if target is not None and image.section_at(target)}
    return tuple(sorted(name for target, name in names.items() if target != stub.start and "+" not in name))


def _before(graph: Flow, stub: Stub) -> list[Instruction]:
    """Return all instructions that may run before the call of the stub."""
    blocks = _Ways(graph, stub).before()
    return [instruction for _, instructions in blocks for instruction in instructions]


class _Ways:
    """Which blocks lie on a way from the function's start to the call of the stub."""

    def __init__(self, graph: Flow, stub: Stub) -> None:
        self.graph, self.stub = graph, stub
        self.start = graph.blocks[0].key
        self.next: dict[str, list[Edge]] = {}
        for edge in graph.edges:
            self.next.setdefault(edge.tail, []).append(edge)
        self.calls = {block.key for block in graph.blocks if any(map(self.is_call, block.instructions))}

    def is_call(self, instruction: Instruction) -> bool:
        return instruction.branch_target == self.stub.start

    def reach(
        self,
        keys: Mapping[str, bool] | None = None,
        cut: Collection[Edge] = (),
        stop: Collection[str] = (),
    ) -> set[str]:
        """Return what can be reached without passing the call or a stop: known keys, cut edges."""
        seen, waiting = {self.start}, [self.start]
        while waiting:
            key = waiting.pop()
            if key in self.calls or key in stop:
                continue
            branch = self.graph.by_key[key].branch
            for edge in self.next.get(key, ()):
                state = None if branch is None or keys is None else keys.get(branch.key)
                closed = state is not None and edge.note == f"key {'off' if state else 'on'}"
                if edge.head not in seen and not closed and edge not in cut:
                    seen.add(edge.head)
                    waiting.append(edge.head)
        return seen

    def before(self) -> list[tuple[Block, tuple[Instruction, ...]]]:
        """Return the blocks on a way to the call, each with its instructions up to there."""
        backwards: dict[str, list[str]] = {}
        for edge in self.graph.edges:
            backwards.setdefault(edge.head, []).append(edge.tail)
        leads, waiting = set(self.calls), list(self.calls)
        while waiting:
            for tail in backwards.get(waiting.pop(), ()):
                if tail not in leads and tail not in self.calls:
                    leads.add(tail)
                    waiting.append(tail)
        found = []
        for key in sorted(leads & self.reach()):
            block = self.graph.by_key[key]
            stop = next((n for n, i in enumerate(block.instructions) if self.is_call(i)), len(block.instructions))
            found.append((block, block.instructions[:stop]))
        return found


def _read(graph: Flow, name: str, stub: Stub) -> Around:
    """Answer the questions from the graph."""
    ways = _Ways(graph, stub)
    before = ways.before()
    if not before:
        return Around(name, None, None, None, None, why_not=f"{name}: no way from its start to the call was found")
    blocks = [block for block, _ in before]
    verw = {block.key for block in blocks if block.mark is Mark.VERW}
    flush = {block.key for block in blocks if block.mark in FLUSHES}
    # A jump through a table may lead anywhere: then a VERW off the known ways says nothing.
    open_ends = any(block.leave is Leave.INDIRECT for block in graph.blocks if block.key in ways.reach())
    elsewhere = any(i.is_clear for i in decode(_bytes(graph.image, name), strict=False))
    chosen = sorted({block.choice.site for block in blocks if block.choice})
    entries = [entry for number in chosen for entry in graph.alternatives[number].site.entries]
    keys = tuple(sorted({block.branch.key for block in blocks if block.branch}))
    clears = True if verw else None if open_ends and elsewhere else False
    return Around(
        function=name,
        verw=_guarded(ways, verw, keys) if verw else None,
        clears=clears,
        flush=_guarded(ways, flush, keys) if flush else None,
        fb_clear_dis=_writes_mcu_opt_ctrl(before),
        keys=keys,
        features=tuple(sorted({entry.feature for entry in entries})),
        sites=len(chosen),
        why_not="an indirect jump hides which ways lead to VERW" if clears is None else None,
    )


def _bytes(image: Image, name: str) -> bytes:
    start, end = image.symbols.extent(name)
    return image.read(start, end - start)


def _guarded(ways: _Ways, wanted: set[str], keys: Sequence[str]) -> Guarded:
    """Tell what must be true for any of the wanted blocks to be reached."""
    under, unless = [], []
    for key in keys:
        if wanted.isdisjoint(ways.reach({key: False})):
            under.append(key)
        elif wanted.isdisjoint(ways.reach({key: True})):
            unless.append(key)
    off = dict.fromkeys(keys, False)
    either = (
        () if under or wanted & ways.reach(off) else (k for k in keys if wanted & ways.reach({**off, k: True}))
    )
    return Guarded(tuple(under), tuple(unless), tuple(either), _asks(ways, wanted))


def _asks(ways: _Ways, wanted: set[str]) -> Asks:
    """Tell which question to the vCPU stands between the start and all the wanted blocks."""
    asked = {asks for asks, _, _ in _questions(ways, wanted)}
    return next((asks for asks in (Asks.ASSIGNED, Asks.MMIO, Asks.OTHER) if asks in asked), Asks.NOTHING)


def _questions(
    ways: _Ways, wanted: set[str], keys: Mapping[str, bool] | None = None
) -> Iterator[tuple[Asks, Edge, Edge]]:
    """Yield the questions that decide whether wanted blocks are reached: what, and the edges for yes and no."""
    for key in sorted(ways.reach(keys) - wanted):
        block, edges = ways.graph.by_key[key], ways.next.get(key, [])
        if block.branch or len(edges) != 2 or edges[0].head == edges[1].head:
            continue
        for yes, no in (edges, edges[::-1]):
            if wanted.isdisjoint(ways.reach(keys, (yes,))):
                yield _question(ways.graph, block), yes, no


def _question(graph: Flow, block: Block) -> Asks:
    """Tell what a block asks that ends in a conditional jump."""
    if ASSIGNED in {graph.image.label(i.branch_target) for i in block.instructions if i.branch_target}:
        return Asks.ASSIGNED
    return Asks.MMIO if any(_tested(i) in _MMIO_TESTS for i in block.instructions[-2:]) else Asks.OTHER


_MMIO_TESTS = {("test", MMIO), ("bt", MMIO.bit_length() - 1)}


def _tested(instruction: Instruction) -> tuple[str, int] | None:
    """Return ("test", 4) for ``testb $4, %bpl``; None for what compares with no constant."""
    number, _, _ = instruction.operands.removeprefix("$").partition(",")
    try:
        return instruction.mnemonic.rstrip("bwlq"), int(number, 0)
    except ValueError:
        return None


def _writes_mcu_opt_ctrl(before: list[tuple[Block, tuple[Instruction, ...]]]) -> bool | None:
    """Tell whether IA32_MCU_OPT_CTRL is written before the call: there FB_CLEAR_DIS is set."""
    loaded = unknown = False
    for _, instructions in before:
        ecx: int | None = None
        for instruction in instructions:
            if instruction.mnemonic.startswith("wrmsr"):
                if ecx == IA32_MCU_OPT_CTRL:
                    return True
                unknown |= ecx is None
            ecx = ecx_after(instruction, ecx)
            loaded |= ecx == IA32_MCU_OPT_CTRL
    return None if loaded and unknown else False


# --- what it does in one state -----------------------------------------------------------------------------------


class Does(StrEnum):
    """Whether something happens before the call of the stub."""

    ALWAYS = "always"
    NEVER = "never"
    DEPENDS = "depends"  # on what is not known


class Model:
    """What one C function does before the stub, under static keys and for a vCPU; see `audit`'s use of it.

    `keys` are those it looks at. Raises `LabError` where no way leads from its start to the stub.
    """

    def __init__(self, image: Image, name: str, stub: Stub, how: Rules) -> None:
        self.ways = _Ways(_graph(image, name, stub, how), stub)
        blocks = [block for block, _ in self.ways.before()]
        if not blocks:
            raise LabError(f"{name}: no way from its start to {stub.name} was found")
        self.keys = tuple(sorted({block.branch.key for block in blocks if block.branch}))
        self.address = next((block.address for block in blocks if block.mark is Mark.VERW), 0)
        self._verw = {block.key for block in blocks if block.mark is Mark.VERW}
        self._flush = {block.key for block in blocks if block.mark in FLUSHES}

    def verw(self, keys: Mapping[str, bool], answers: Mapping[Asks, bool]) -> Does:
        """Tell whether a VERW runs: `keys` that are known, and what the questions to the vCPU are answered."""
        if self._does(self._verw, keys, []) is Does.NEVER:
            return Does.NEVER
        asked = [*_questions(self.ways, self._verw, keys)]
        alone = len({asks for asks, _, _ in asked}) == 1  # what a second, unknown question asks cannot be guessed
        cut = [
            no if answers[asks] else yes
            for asks, yes, no in asked
            if asks in answers and (alone or asks is not Asks.OTHER)
        ]
        return self._does(self._verw, keys, cut)

    def flush(self, keys: Mapping[str, bool]) -> Does:
        """Tell whether an L1D flush runs. In `cond` mode that depends on the flush flag."""
        return self._does(self._flush, keys, [])

    def _does(self, wanted: set[str], keys: Mapping[str, bool], cut: Collection[Edge]) -> Does:
        if wanted.isdisjoint(self.ways.reach(keys, cut)):
            return Does.NEVER
        around = self.ways.reach(keys, cut, stop=wanted)
        return Does.ALWAYS if self.ways.calls.isdisjoint(around) else Does.DEPENDS
