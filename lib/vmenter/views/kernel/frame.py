"""Everything that KernelBrowser shows, as one value: a pure function of an image's sites and a small state.

`table(image)` reads an image's alternatives once; `frame(table, state)` filters, sorts and patches them, and
returns plain dicts, lists and strings: one page of rows and what stands around it. A whole kernel has thousands of
sites, so that page is all that is sent.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from textwrap import shorten, wrap
from typing import Any, TypedDict

from vmenter import LabError
from vmenter.boot.generations import GENERATIONS, closest
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select
from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, decode
from vmenter.patching import features
from vmenter.patching.alternative_table import Engine, Rules, Site, read
from vmenter.patching.alternatives import Patch, patch
from vmenter.patching.lab import feature_names
from vmenter.patching.other_patchers import marked
from vmenter.patching.text import written_too
from vmenter.views.patch.bench import NOT, Bench
from vmenter.views.patch.words import count
from vmenter.views.view import Frame

PAGE = 20  # rows
WIDTH = 110  # of a line of the twin
ALWAYS = "ALWAYS"  # a feature that every CPU has
NO_NAME = "(no name)"  # of a function, where no symbols tell
CHANGED, SAME, OPEN = "changed", "unchanged", "cannot tell"
TAKEN_AT_BOOT = "What else a CPU has, a preset does not tell: it says what boot selects for its flaws."


class State(TypedDict, total=False):
    """What the reader has chosen."""

    feature: str  # a feature's name; "" for all
    function: str  # part of a function's name
    text: str  # part of the disassembly of the original or of a replacement
    changed: bool  # only sites that change under the chosen features
    sort: str  # a key of COLUMNS
    descending: bool
    cpu: str | None  # a preset, which then says what is on
    features: list[str]  # that are on, where no preset is chosen
    top: int  # the first row of the page


@dataclass(frozen=True)
class Row:
    """One site and what is searched of it. `conditions`: for each entry, such as "SMAP" or "NOT SMAP"."""

    site: Site
    label: str
    function: str
    conditions: tuple[str, ...]
    original: str = field(repr=False)
    text: str = field(repr=False)  # the original and all replacements, in small letters, single spaces

    @property
    def names(self) -> tuple[str, ...]:
        """The features of its entries."""
        return tuple(name.removeprefix(NOT) for name in self.conditions)


@dataclass(frozen=True, eq=False)
class Table:
    """An image's sites, as they are browsed. `names`: of its features, by number."""

    image: Image
    how: Rules
    entries: int
    names: Mapping[int, str] = field(repr=False)
    rows: tuple[Row, ...] = field(repr=False)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Name → number of the features, the most common first."""
        found = Counter(name for row in self.rows for name in set(row.names))
        number = {name: number for number, name in self.names.items()}
        return {name: number[name] for name, _ in sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Name → number of sites."""
        return dict(Counter(name for row in self.rows for name in set(row.names)))

    def bench(self, address: int) -> Bench:
        """Return a site for PatchBench. Raises `LabError` where there is none."""
        row = next((row for row in self.rows if row.site.address == address), None)
        if row is None:
            raise LabError(f"{self.image.name}: no alternative site at {address:#x}")
        kernel = f", kernel {self.image.kernel}" if self.image.kernel else ""
        about = f"A site of {Path(self.image.name).name}{kernel}."
        return Bench(row.label, about, self.image, row.site, self.names, nops=self.how.nops)

    @cached_property
    def _patched(self) -> dict[frozenset[int], tuple[Patch, ...]]:
        return {}

    def patches(self, on: frozenset[int]) -> tuple[Patch, ...]:
        """Patch every site for these features; the last few answers are kept."""
        if on not in self._patched:
            while len(self._patched) >= 4:  # readers go back and forth between a few
                del self._patched[next(iter(self._patched))]
            self._patched[on] = tuple(patch(self.image, row.site, on, self.how) for row in self.rows)
        return self._patched[on]


def table(
    image: Image,
    engine: Engine | str | None = None,
    names: Mapping[int, str] | None = None,
    nops: str | None = None,
) -> Table:
    """Read an image's alternatives. Raises `LabError` for a table that lies, and where no engine can be told."""
    how, listed, found = read(image, engine=None if engine is None else Engine(engine), nops=nops)
    known = {entry.feature: _name(entry.feature, image, names) for entry in listed}
    rows = tuple(_row(image, site, known) for site in marked(image, found))
    return Table(image, how, len(listed), known, rows)


def _name(number: int, image: Image, names: Mapping[int, str] | None) -> str:
    if names is None and not image.kernel:
        names = feature_names()
    return features.name(number, image.kernel) if names is None else names.get(number) or features.slot(number)


def _row(image: Image, site: Site, names: Mapping[int, str]) -> Row:
    label = image.label(site.address)
    named = image.symbols.at(site.address)
    original = listing(image, site.original, site.address)
    codes = [
        (image.read(entry.replacement, entry.replacement_length), entry.replacement)
        for entry in site.entries
        if entry.replacement_length
    ]
    texts = [original, *(listing(image, code, address) for code, address in codes)]
    return Row(
        site,
        label,
        named[0] if named and named[0] else "",
        tuple(f"{NOT if entry.negated else ''}{names[entry.feature]}" for entry in site.entries),
        original,
        searchable("\n".join(texts)),
    )


def listing(image: Image, code: bytes, address: int) -> str:
    """Return code as one line: instructions with names for what they point to, a run of equal ones once."""
    parts: list[list[Any]] = []
    for one in decode(code, address, strict=False):
        text = _text(image, one)
        if parts and parts[-1][0] == text and one.length == 1:
            parts[-1][1] += 1
        else:
            parts.append([text, 1])
    return "; ".join(text if times == 1 else f"{text} ×{times}" for text, times in parts)


def _text(image: Image, one: Instruction) -> str:
    return one.naming(image.label, lambda address: f"{image.label(address)}(%rip)")


def searchable(text: str) -> str:
    """Return text as it is compared: small letters, any white space as one space."""
    return " ".join(text.casefold().split())


# --- the state -------------------------------------------------------------------------------------------------


def _on(of: Table, state: Mapping[str, Any]) -> list[str]:
    """Return the names of the features that are on, of those that this table asks for."""
    cpu = state.get("cpu")
    if cpu is None:
        chosen = state.get("features")
        wanted: Collection[str] = {ALWAYS, *(chosen or ())}
        return [name for name in of.numbers if name in wanted]
    return [name for name in of.numbers if name in selected(cpu, of.image.kernel)]


def _selection(kernel: str | None) -> str:
    """Return the kernel whose selection an image's has; the newest where the image does not say whose it is."""
    return closest(kernel) if kernel else [*GENERATIONS][-1]


@cache
def selected(cpu: str, kernel: str | None) -> frozenset[str]:
    """Return what boot selects on a processor of `cpus.PRESETS`, and ALWAYS. `LabError` for an unknown one."""
    if cpu not in PRESETS:
        raise LabError(f"no CPU is called {cpu!r}; there are {', '.join(PRESETS)}")
    return frozenset({ALWAYS, *select(PRESETS[cpu].host, _selection(kernel)).features})


def matching(of: Table, state: Mapping[str, Any]) -> list[int]:
    """Return the indices of the rows that pass the filters on what stands in the image, in table order."""
    feature, function = str(state.get("feature") or ""), str(state.get("function") or "").strip().casefold()
    text = searchable(str(state.get("text") or ""))
    if feature and feature not in of.counts:
        raise LabError(f"no entry asks for {feature!r} here")
    return [
        index
        for index, row in enumerate(of.rows)
        if (not feature or feature in row.names)
        and (not function or function in row.function.casefold())
        and (not text or text in row.text)
    ]


def outcome(made: Patch) -> str:
    """Return what patching does to a site: one of three words."""
    return OPEN if made.code is None else CHANGED if made.code != made.site.original else SAME


_Key = Callable[[Row, Patch], Any]
COLUMNS: Mapping[str, tuple[str, _Key]] = {
    "site": ("Site", lambda _row, _made: 0),
    "function": ("Function", lambda row, _made: (row.function == "", row.function)),
    "features": ("Entries", lambda row, _made: row.conditions),
    "length": ("Bytes", lambda row, _made: row.site.length),
    "outcome": ("Original → patched", lambda _row, made: (CHANGED, OPEN, SAME).index(outcome(made))),
}


def _ordered(of: Table, state: Mapping[str, Any], found: list[int], patches: tuple[Patch, ...]) -> list[int]:
    """Sort by the chosen column, equal rows by address."""
    column = str(state.get("sort") or "site")
    if column not in COLUMNS:
        raise LabError(f"there is no column {column!r}; there are {', '.join(COLUMNS)}")
    key = COLUMNS[column][1]
    down = bool(state.get("descending"))
    by_address = sorted(found, key=lambda i: of.rows[i].site.address, reverse=down and column == "site")
    return sorted(by_address, key=lambda i: key(of.rows[i], patches[i]), reverse=down and column != "site")


# --- the frame -------------------------------------------------------------------------------------------------


def frame(of: Table, state: Mapping[str, Any], note: str = "") -> Frame:
    """Return what to show. Raises `LabError` for a feature, column or CPU that there is not."""
    on = _on(of, state)
    patches = of.patches(frozenset(of.numbers[name] for name in on))
    found = matching(of, state)
    if state.get("changed"):
        found = [index for index in found if outcome(patches[index]) == CHANGED]
    found = _ordered(of, state, found, patches)
    top = max(0, min(int(state.get("top") or 0), len(found) - 1)) // PAGE * PAGE
    page = [_shown(of, of.rows[index], patches[index], set(on)) for index in found[top : top + PAGE]]
    outcomes = Counter(outcome(patches[index]) for index in found)
    shown: Frame = {
        "title": Path(of.image.name).name,
        "about": _about(of),
        "note": note,
        "sites": len(of.rows),
        "found": len(found),
        "outcomes": {word: outcomes[word] for word in (CHANGED, SAME, OPEN)},
        "top": top,
        "page": PAGE,
        "rows": page,
        "columns": [
            {"id": name, "title": title, "sort": _direction(state, name)} for name, (title, _) in COLUMNS.items()
        ],
        "features": [
            {"name": name, "sites": of.counts[name], "on": name in on, "fixed": name == ALWAYS}
            for name in of.numbers
        ],
        "cpus": [{"id": name, "title": one.title} for name, one in PRESETS.items()],
        "cpu": state.get("cpu"),
        "taken": f"As kernel {_selection(of.image.kernel)} selects. {TAKEN_AT_BOOT}",
        "bench": {"sample": None, "typed": None, "features": on, "engine": of.how.engine.value, "step": 0},
        "error": None,
    }  # fmt: skip
    shown["said"] = _said(shown)
    shown["text"] = [*_head(shown, state, on), *_lines(page)]
    return shown


def _direction(state: Mapping[str, Any], column: str) -> str:
    if (state.get("sort") or "site") != column:
        return "none"
    return "descending" if state.get("descending") else "ascending"


def _about(of: Table) -> str:
    kernel = of.image.kernel or "unknown"
    return (
        f"kernel {kernel}, engine “{of.how.engine}”: "
        f"{of.entries:,} {'entry' if of.entries == 1 else 'entries'} at {_sites(len(of.rows))}"
    )


def _sites(number: int) -> str:
    return f"{number:,} site{'' if number == 1 else 's'}"


def _shown(of: Table, row: Row, made: Patch, on: Collection[str]) -> Frame:
    word = outcome(made)
    after = "" if made.code is None else listing(of.image, made.code, row.site.address)
    told = after if word == CHANGED else f"{OPEN}: {made.undecided}" if word == OPEN else SAME
    told += f"; also {written_too(row.site.also)}" if row.site.also else ""
    return {
        "address": f"{row.site.address:#x}",
        "label": row.label,
        "function": row.function or NO_NAME,
        "entries": [
            {"text": text, "on": name in on, "chosen": index == made.chosen}
            for index, (text, name) in enumerate(zip(row.conditions, row.names, strict=True))
        ],
        "length": row.site.length,
        "original": row.original,
        "outcome": word,
        "patched": told,
    }


def _said(shown: Frame) -> str:
    """Return the counts in words."""
    told = ", ".join(f"{number:,} {word}" for word, number in shown["outcomes"].items() if number)
    first, last = shown["top"] + 1, shown["top"] + len(shown["rows"])
    rows = f" Rows {first:,} to {last:,}." if shown["rows"] else ""
    return f"{shown['found']:,} of {_sites(shown['sites'])} fit{f': {told}' if told else ''}.{rows}"


def _filters(state: Mapping[str, Any]) -> str:
    told = [
        f"{word} “{value}”"
        for word, value in (
            ("feature", state.get("feature")),
            ("function has", state.get("function")),
            ("code has", state.get("text")),
        )
        if value
    ]
    told += ["only what changes"] if state.get("changed") else []
    return ", ".join(told) or "none"


def _head(shown: Frame, state: Mapping[str, Any], on: Iterable[str]) -> list[str]:
    cpu = shown["cpu"]
    column = next(one for one in shown["columns"] if one["sort"] != "none")
    return [
        *(wrap(shown["note"], WIDTH) if shown["note"] else ()),
        f"{shown['title']}: {shown['about']}",
        *(wrap(f"CPU: {PRESETS[cpu].title}. {shown['taken']}", WIDTH) if cpu else ()),
        *wrap(f"features on: {', '.join(on) or 'none of them'}", WIDTH, subsequent_indent="    "),
        f"filters: {_filters(state)}; sorted by {column['title']}, {column['sort']}",
        shown["said"],
        "",
    ]


def _lines(page: Iterable[Frame]) -> list[str]:
    """Return two lines a row: where and under which features, and what becomes of it."""
    lines = []
    for row in page:
        told = ", ".join(f"{'→ ' if one['chosen'] else ''}{one['text']}" for one in row["entries"])
        head = f"{row['label']}, {count(row['length'], 'byte')}: {told}"
        lines.append(shorten(head, WIDTH, placeholder=" …"))
        becomes = f"→ {row['patched']}" if row["outcome"] == CHANGED else f"({row['patched']})"
        lines.append("    " + shorten(f"{row['original']} {becomes}", WIDTH - 4, placeholder=" …"))
    return lines
