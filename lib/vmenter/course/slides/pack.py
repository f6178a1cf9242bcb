"""Sections of blocks onto slides: each heading starts one, each is filled as far as its room goes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vmenter.course.slides.blocks import ROOM, Block, Section

COVER = 490  # the room of the first slide, whose heading is larger
STEP = 8  # pixels


@dataclass(frozen=True)
class Slide:
    """One slide. `part` counts the slides of a section from 1."""

    title: str
    part: int
    body: str


def slides(found: Iterable[Section]) -> Iterator[Slide]:
    """Yield the slides of a notebook."""
    for number, section in enumerate(found):
        for part, blocks in enumerate(pack(section.blocks, ROOM if number else COVER), 1):
            yield Slide(section.title, part, "\n".join(block.html for block in blocks))


def pack(blocks: Sequence[Block], room: int = ROOM) -> list[list[Block]]:
    """Put blocks on as few slides as hold them, in order, and fill these evenly: no slide for one last line."""
    filled = _fill(blocks, room)
    while len(evenly := _fill(blocks, room := room - STEP)) <= len(filled) and room > STEP:
        filled = evenly
    return filled


def _fill(blocks: Sequence[Block], room: int) -> list[list[Block]]:
    """Fill slides one after another. A block that leads into the next stays with it, if both fit together."""
    filled: list[list[Block]] = []
    for group in _groups(blocks, room):
        height = sum(block.height for block in group)
        if filled and sum(block.height for block in filled[-1]) + height <= room:
            filled[-1].extend(group)
        else:
            filled.append(group)
    return filled


def _groups(blocks: Iterable[Block], room: int) -> Iterator[list[Block]]:
    group: list[Block] = []
    for block in blocks:
        if group and sum(one.height for one in group) + block.height > room:
            yield group
            group = []
        group.append(block)
        if not block.leads:
            yield group
            group = []
    if group:
        yield group
