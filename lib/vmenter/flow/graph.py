"""What a control-flow graph is made of: blocks, edges, and the alternative sites on the way.

`flow.graph` recovers it from an image's bytes. What decides at boot or at run time is kept in it: the variants of
an alternative site, and both ways of a static branch.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from vmenter.code.image import Image
from vmenter.code.instructions import Instruction
from vmenter.patching.alternative_table import Site
from vmenter.patching.static_keys import StaticBranch


class Kind(StrEnum):
    """How control gets from one block to another."""

    FALL = "falls through"
    JUMP = "jumps"
    CALL = "calls"
    RETURN = "returns"
    TAIL = "tail call"


class Leave(StrEnum):
    """How control leaves the graph at the end of a block."""

    RETURN = "return"
    VM_ENTER = "VM-Enter"
    TRAP = "trap"
    TAIL = "tail call"
    INDIRECT = "indirect jump"
    OPEN = "the function's end"  # behind a call that does not return


class Mark(StrEnum):
    """What the course is about. An instruction with a mark is a block of its own."""

    VERW = "VERW"
    FLUSH = "L1D flush"
    FLUSH_LOOP = "L1D flush, software loop"
    VM_ENTER = "VM-Enter"


class Variant(NamedTuple):
    """One of the things that can stand at an alternative site."""

    entry: int | None  # index among the site's entries; None: the original code
    condition: str  # "CLEAR_CPU_BUF", "not SMAP", or "original"
    code: bytes  # as the patcher leaves it; in a graph without variants, as it stands in the image
    merged: bytes  # as the patcher leaves it: with its NOPs merged


@dataclass(frozen=True)
class Alternative:
    """An alternative site of the graph: all that can stand there as far as it is known, and what does."""

    key: str
    site: Site
    variants: tuple[Variant, ...]
    in_place: int  # index into variants

    def standing(self, code: bytes) -> int | None:
        """Return which variant these bytes are. Of variants that are equal the first; None for none of them."""
        return next((index for index, variant in enumerate(self.variants) if code in variant[2:]), None)

    def chosen(self, features: Collection[int | str]) -> int | None:
        """Return which variant the patcher puts there on a CPU with these features: the last that matches."""
        matching = [
            index
            for index, variant in enumerate(self.variants)
            if variant.entry is not None and self._matches(variant, features)
        ]
        return (
            matching[-1] if matching else next((i for i, v in enumerate(self.variants) if v.entry is None), None)
        )

    def _matches(self, variant: Variant, features: Collection[int | str]) -> bool:
        entry = self.site.entries[variant.entry or 0]
        has = entry.feature in features or variant.condition.removeprefix("not ") in features
        return has != entry.negated


class Choice(NamedTuple):
    """Where in the graph a block of a site belongs."""

    site: int  # index into Flow.alternatives
    variant: int  # index into its variants


@dataclass(frozen=True)
class Block:
    """Instructions that run one after another."""

    key: str  # function and offset, and the variant in an alternative site: stable whatever the state
    function: str
    instructions: tuple[Instruction, ...]
    choice: Choice | None = None
    branch: StaticBranch | None = None  # the block is this static branch
    mark: Mark | None = None
    leave: Leave | None = None
    leads_to: str = ""  # the name of what a tail call goes to

    @property
    def address(self) -> int:
        """Address of the first instruction."""
        return self.instructions[0].address

    @property
    def end(self) -> int:
        """First address behind the block."""
        return self.instructions[-1].end


class Edge(NamedTuple):
    """A way from the end of one block to the start of another."""

    tail: str
    head: str
    kind: Kind
    live: bool = True  # False: a static branch's other way, or a variant that is not in place
    note: str = ""  # which state of a static key leads this way


@dataclass(frozen=True, eq=False)
class Flow:
    """The graph: functions in the order they were met, blocks by function and address, edges by their tail."""

    image: Image = field(repr=False)
    functions: tuple[str, ...]
    blocks: tuple[Block, ...] = field(repr=False)
    edges: tuple[Edge, ...] = field(repr=False)
    alternatives: tuple[Alternative, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """The name of the function that the graph starts with."""
        return self.functions[0]

    @cached_property
    def by_key(self) -> Mapping[str, Block]:
        """Blocks by key."""
        return {block.key: block for block in self.blocks}

    @cached_property
    def starts(self) -> frozenset[tuple[str, int]]:
        """Functions and addresses where blocks begin."""
        return frozenset((block.function, block.address) for block in self.blocks)

    @cached_property
    def _by_address(self) -> Mapping[int, tuple[Block, ...]]:
        found: dict[int, tuple[Block, ...]] = {}
        for block in self.blocks:
            for instruction in block.instructions:
                found[instruction.address] = (*found.get(instruction.address, ()), block)
        return found

    def standing(
        self,
        image: Image | None = None,
        features: Collection[int | str] | None = None,
    ) -> tuple[int, ...]:
        """Return for each site which variant stands there: in `image`, or on a CPU with these features.

        Features, by number or name, tell exactly; bytes cannot tell apart two variants that are equal.
        """
        result = []
        for alternative in self.alternatives:
            site, found = alternative.site, None
            if features is not None:
                found = alternative.chosen(features)
            elif image is not None and image is not self.image and image.holds(site.address, site.length):
                found = alternative.standing(image.read(site.address, site.length))
            result.append(alternative.in_place if found is None else found)
        return tuple(result)

    def block_at(self, address: int, standing: tuple[int, ...] | None = None) -> Block | None:
        """Return the block with an instruction at `address`; of a site, the variant that stands there."""
        stands = self.standing() if standing is None else standing
        for block in self._by_address.get(address, ()):
            if block.choice is None or stands[block.choice.site] == block.choice.variant:
                return block
        return None

    def walk(self, path: Iterable[int], standing: tuple[int, ...] | None = None) -> tuple[str, ...]:
        """Return the keys of the blocks that executed addresses go through, in order.

        Each entry of a block counts, so a loop's block comes once a round. Addresses outside the graph, such as
        those of a function that was called but not followed, are left out.
        """
        stands = self.standing() if standing is None else standing
        result = []
        last: Block | None = None
        for address in path:
            block = self.block_at(address, stands)
            if block is not None and (block is not last or address == block.address):
                result.append(block.key)
            last = block or last
        return tuple(result)
