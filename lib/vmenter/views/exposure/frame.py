"""Everything that ExposureMap shows, as one value: a pure function of a small state.

`frame(state)` returns plain dicts, lists and strings: a row for each era, a column for each part of the space,
what stands in each cell, and all about the selected one (`cells`). Where a click leads stands in the
frame, too, as a change of state: the page draws frames, sends such changes back, and knows nothing of kernels.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from math import prod
from textwrap import wrap
from typing import Any, NamedTuple, TypedDict

from vmenter import LabError, near
from vmenter.story.exposure import SITUATIONS, Column, Count, Cut, counts
from vmenter.story.history import ERAS, Era
from vmenter.story.space import DEFAULT, Space
from vmenter.views.exposure.cells import FAULTS, MARKS, cell, detail, where
from vmenter.views.view import Frame

WIDTH = 100  # of a line of the twin
MOST = 24  # columns; more than that nobody compares


class Look(NamedTuple):
    """A good place to start: what the columns are, what is narrowed, and which cell tells the most."""

    text: str
    split: tuple[str, ...]
    narrowed: tuple[tuple[str, str], ...] = ()
    cell: tuple[str, Column] | None = None  # None: the first with a fault


_MMIO_ONLY = ("VERW asked", "for guests that reach MMIO")
LOOKS = (
    Look("What selection asks for", ("VERW asked", "L1D flush now")),
    Look("Who reaches MMIO", ("reaches host MMIO", "L1D flush now"), (_MMIO_ONLY,)),
    Look("VERW switched off", ("fb_clear_ctrl", "guest has FB_CLEAR"), (_MMIO_ONLY,), ("v4", ("present", "no"))),
    Look("The CPU's bugs", ("mds", "l1tf")),
)
# What becomes columns when a dimension has been narrowed to one value; then the others, in the space's order.
NEXT = ("VERW asked", "reaches host MMIO", "L1D flush now", "fb_clear_ctrl", "guest has FB_CLEAR")


class State(TypedDict, total=False):
    """What the reader has chosen."""

    split: list[str]  # what the columns are: one dimension, or two
    narrowed: list[list[str]]  # [dimension, value], in the order of narrowing
    cell: list[Any] | None  # [era, [value, …]]; no values: all columns together. None: the first with a fault
    eras: list[str] | None  # the rows; None: those of the story


def frame(state: Mapping[str, Any], more: Iterable[Era] = (), space: Space = DEFAULT) -> Frame:
    """Return what to show. `more` are eras of the reader's own, shown below those of the story.

    Raises `LabError` for names that the space or the eras have not, and for more columns than can be shown.
    """
    return with_cell(grid(state, more, space), state, more, space)


def with_cell(shown: Frame, state: Mapping[str, Any], more: Iterable[Era] = (), space: Space = DEFAULT) -> Frame:
    """Return the frame of a state whose grid has been made: `shown`, with all about the cell selected."""
    cut, split, eras = _asked(state, tuple(more), space)
    columns = [tuple(one["key"]) for one in shown["columns"]]
    row, column = _selected(state.get("cell"), shown["rows"], columns)
    about = detail(eras[row], cut, split, column)
    said = " ".join(about["said"])
    return {
        **shown,
        "cell": [eras[row].id, list(column)],
        "detail": about,
        "said": said + (f" {about['example']}: {about['settings']}." if about["example"] else ""),
        "text": [*shown["text"], *_detail_lines(about)],
    }


def _asked(
    state: Mapping[str, Any], more: tuple[Era, ...], space: Space
) -> tuple[Cut, tuple[str, ...], list[Era]]:
    """Return what a state asks for: the part of the space, what the columns are, the rows."""
    cut = Cut(space, tuple((str(name), str(label)) for name, label in state.get("narrowed") or ()))
    return cut, _split(state.get("split") or LOOKS[0].split, cut), _eras(state.get("eras"), more)


def grid(state: Mapping[str, Any], more: Iterable[Era] = (), space: Space = DEFAULT) -> Frame:
    """Return a frame without its cell: rows, columns, where clicks lead, and the text. Raises as `frame`."""
    cut, split, eras = _asked(state, tuple(more), space)
    return _grid(cut, split, tuple(eras))


@lru_cache(maxsize=32)
def _grid(cut: Cut, split: tuple[str, ...], eras: tuple[Era, ...]) -> Frame:
    found = {era.id: {**counts(era, cut), **counts(era, cut, split)} for era in eras}
    columns = _columns(cut, split, found)
    rows = [
        {
            "era": era.id,
            "title": era.title,
            "release": era.release,
            "cells": [cell(era, where(split, one), found[era.id].get(one, Count())) for one in columns],
        }
        for era in eras
    ]
    shown: Frame = {
        "space": cut.space.name,
        "looks": [_look(look, split, cut, found) for look in LOOKS if _fits(look, cut.space)],
        "axes": _axes(cut, split),
        "split": list(split),
        "narrowed": [_chip(cut, split, name) for name, _ in cut.narrowed],
        "size": _size({one.get((), Count()).configurations for one in found.values()}, cut.space),
        "groups": _groups(columns, split, cut),
        "columns": [_column(one, split, cut) for one in columns],
        "rows": rows,
        "legend": _legend(rows),
        "error": None,
    }
    return {**shown, "text": list(_text(shown))}


# --- what was chosen ---------------------------------------------------------------------------------------------


def _split(names: Sequence[str], cut: Cut) -> tuple[str, ...]:
    split = (names,) if isinstance(names, str) else tuple(str(name) for name in names)
    if len(split) > 2 or len(set(split)) < len(split):
        raise LabError(f"split: one dimension or two different ones, not {', '.join(split)}")
    if (number := _product(cut, split)) > MOST:
        raise LabError(f"split: {' and '.join(split)} make {number} columns; more than {MOST} cannot be compared")
    return split


def _product(cut: Cut, names: Iterable[str]) -> int:
    return prod(len(cut.values(name)) for name in names)


def _eras(ids: Iterable[str] | None, more: tuple[Era, ...]) -> list[Era]:
    """Return the rows: the story's or those named, and the reader's own."""
    known = {**ERAS, **{one.id: one for one in more}}
    wanted = list(ERAS) if ids is None else [str(id_) for id_ in ids]
    for id_ in wanted:
        if id_ not in known:
            raise LabError(f"eras: unknown name {id_!r}{near(id_, known)}; use some of: {' '.join(known)}")
    found = [era for id_, era in known.items() if id_ in wanted or era in more]
    if not found:
        raise LabError(f"eras: none is left to show; use some of: {' '.join(known)}")
    return found


def _selected(chosen: Sequence[Any] | None, rows: list[Frame], columns: list[Column]) -> tuple[int, Column]:
    """Return the row and the column selected: what was asked for, or the first cell with a fault, or the first."""
    if chosen is None:
        places = [(row, at) for row in range(len(rows)) for at in range(1, len(columns))]
        kinds = [rows[row]["cells"][at]["kind"] for row, at in places]
        worst = next((fault for fault in FAULTS if fault in kinds), None)
        row, at = places[kinds.index(worst)] if worst else (0, 0)
        return row, columns[at]
    era, labels = chosen
    ids = [row["era"] for row in rows]
    if era not in ids:
        raise LabError(f"cell: there is no row {era!r}; there are: {' '.join(ids)}")
    if tuple(labels) not in columns:
        raise LabError(f"cell: there is no column {', '.join(labels)!r}")
    return ids.index(era), tuple(labels)


# --- where a click leads -----------------------------------------------------------------------------------------


def _zoom(cut: Cut, split: tuple[str, ...], pairs: Iterable[tuple[str, str]]) -> Frame:
    """Return the change of state that narrows to these values and lets the next dimensions take their place."""
    to = cut.to(*pairs)
    left = [name for name in dict.fromkeys((*NEXT, *to.space.counts)) if len(to.values(name)) > 1]
    kept = [name for name in split if name in left]
    for name in left:
        if len(kept) < len(split) and name not in kept and _product(to, (*kept, name)) <= MOST:
            kept.append(name)
    columns = [name for name in left if name in kept] or [to.narrowed[-1][0]]
    return {"narrowed": [list(pair) for pair in to.narrowed], "split": columns, "cell": None}


def _chip(cut: Cut, split: tuple[str, ...], name: str) -> Frame:
    """Return one narrowed dimension, and the change of state that takes it back: its values are columns again."""
    left = [list(pair) for pair in cut.narrowed if pair[0] != name]
    wide = _widened(cut, name)
    columns = [name]
    for other in split:
        if other != name and len(columns) < 2 and _product(wide, (*columns, other)) <= MOST:
            columns.append(other)
    return {
        "text": f"{name}: {dict(cut.narrowed)[name]}",
        "state": {"narrowed": left, "split": columns, "cell": None},
    }


def _widened(cut: Cut, name: str) -> Cut:
    """Return a part with one dimension wide again."""
    return Cut(cut.space, tuple(pair for pair in cut.narrowed if pair[0] != name))


def _look(look: Look, split: tuple[str, ...], cut: Cut, ids: Iterable[str]) -> Frame:
    narrowed = [list(pair) for pair in look.narrowed]
    cell = [look.cell[0], list(look.cell[1])] if look.cell and look.cell[0] in ids else None
    return {
        "text": look.text,
        "on": split == look.split and cut.narrowed == look.narrowed,
        "state": {"split": list(look.split), "narrowed": narrowed, "cell": cell},
    }


def _fits(look: Look, space: Space) -> bool:
    return all(name in SITUATIONS or name in space.counts for name in look.split)


def _axes(cut: Cut, split: tuple[str, ...]) -> list[Frame]:
    """Return what columns can be made of: dimensions with values left to tell apart, and those chosen."""
    parts = {dimension.name: str(dimension.part) for dimension in cut.space.dimensions}
    groups = {**dict.fromkeys(SITUATIONS, "what selection makes of it"), **parts}
    return [
        {"name": name, "group": group}
        for name, group in groups.items()
        if name in split or 1 < len(cut.values(name)) <= MOST
    ]


# --- the grid ----------------------------------------------------------------------------------------------------


def _columns(cut: Cut, split: tuple[str, ...], found: Mapping[str, Mapping[Column, Count]]) -> list[Column]:
    """Return the columns in which any era has configurations; all of them together come first."""
    places = [cut.values(name) for name in split]
    present = {column for one in found.values() for column in one if column}
    return [(), *sorted(present, key=lambda column: [v.index(one) for v, one in zip(places, column, strict=True)])]


def _groups(columns: list[Column], split: tuple[str, ...], cut: Cut) -> list[Frame]:
    """Return the upper line of the heads, if there are two: the first dimension's values, over their columns."""
    if len(split) < 2:
        return []
    return [
        {"text": label, "span": len(list(group)), "state": _zoom(cut, split, [(split[0], label)])}
        for label, group in groupby(column[0] for column in columns[1:])
    ]


def _column(column: Column, split: tuple[str, ...], cut: Cut) -> Frame:
    return {
        "key": list(column),
        "text": column[-1] if column else "all",
        "name": where(split, column),
        "state": _zoom(cut, split, zip(split, column, strict=True)) if column else None,
    }


def _size(numbers: set[int], space: Space) -> str:
    """Say how many configurations are shown: as many for each era, unless selection sorts them."""
    least, most = min(numbers), max(numbers)
    word = "configuration" if most == 1 else "configurations"
    said = f"{most:,} {word}" if least == most else f"{least:,} to {most:,} {word}, by kernel,"
    return said if least == space.configurations else f"{said} of {space.configurations:,}"


def _legend(rows: list[Frame]) -> list[Frame]:
    cells = [one for row in rows for one in row["cells"]]
    kinds, letters = {one["kind"] for one in cells}, "".join(one["also"] for one in cells)
    return [
        {"kind": kind, "letter": letter, "text": text}
        for kind, (letter, text) in MARKS.items()
        if kind in kinds or (letter and letter in letters)
    ]


# --- the twin ----------------------------------------------------------------------------------------------------


def _text(shown: Frame) -> Iterator[str]:
    yield f"Exposure map of the {shown['space']} space: {shown['size']}"
    yield f"Narrowed to  {'; '.join(one['text'] for one in shown['narrowed']) or 'nothing'}"
    yield f"Columns      {', then '.join(shown['split'])}"
    columns = list(enumerate(shown["columns"], 1))
    for first, group in groupby(columns, key=lambda one: one[1]["key"][:-1]):
        named = " · ".join(f"{number} {column['text']}" for number, column in group)
        yield from _wrapped(f"{first[0]}: {named}" if first else named)
    yield "Cells"
    yield from (f"  {one['letter'] or ' '}  {one['text']}" for one in shown["legend"])
    yield from _table(shown["rows"], [str(number) for number, _ in columns])
    faulty = [(row["era"], list(_counts(row["cells"]))) for row in shown["rows"]]
    if any(words for _, words in faulty):
        yield "Counts, by column"
        for era, words in faulty:
            yield from _wrapped(f"{era}  {'; '.join(words)}") if words else ()


def _wrapped(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _table(rows: list[Frame], numbers: list[str]) -> Iterator[str]:
    said = [[f"{one['letter']}{one['also']} {one['share']}".strip() for one in row["cells"]] for row in rows]
    table = [["", *numbers], *([row["era"], *cells] for row, cells in zip(rows, said, strict=True))]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        yield "  " + "  ".join(f"{one:<{width}}" for one, width in zip(line, widths, strict=True)).rstrip()


def _counts(cells: list[Frame]) -> Iterator[str]:
    for number, one in enumerate(cells, 1):
        if one["faults"]:
            yield f"{number} {', '.join(one['faults'])}"


def _detail_lines(about: Frame) -> Iterator[str]:
    yield f"Selected     {about['era']}: {about['title']}"
    yield from _wrapped(f"{about['where']}")
    yield from _wrapped(" ".join(about["said"]))
    if about["shared"]:
        yield from _wrapped(f"All of them have: {'; '.join(f'{name} {value}' for name, value in about['shared'])}")
    if about["example"]:
        yield from _wrapped(f"{about['example']}: {about['settings']}. {about['verdict']}")
    if about["replay"]:
        yield f"  {about['replay']}"
