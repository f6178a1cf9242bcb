"""A list of alternative sites as JSON and as text: what `vmenter sites` prints."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, decode
from vmenter.patching import features
from vmenter.patching.alternative_table import AltEntry, Rules
from vmenter.patching.alternatives import Patch


def table(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows with their columns aligned, indented by two."""
    rows = tuple(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        yield "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def to_json(image: Image, how: Rules, entries: int, patches: Iterable[Patch]) -> dict[str, Any]:
    """Return the list as data; see the README for its shape."""
    return {
        "file": image.name,
        "kernel": image.kernel,
        "engine": how.engine.value,
        "record_size": how.record_size,
        "nops": how.nops.value,
        "entries": entries,
        "sites": [_site(image, patch) for patch in patches],
    }


def _site(image: Image, patch: Patch) -> dict[str, Any]:
    site = patch.site
    found: dict[str, Any] = {
        "address": f"{site.address:#x}",
        "symbol": _symbol(image, site.address),
        "length": site.length,
        "original": site.original.hex(),
        "entries": [
            {
                "feature": features.name(entry.feature, image.kernel),
                "number": entry.feature,
                "not": entry.negated,
                "direct_call": entry.direct_call,
                "replacement": f"{entry.replacement:#x}",
                "length": entry.replacement_length,
            }
            for entry in site.entries
        ],
        "chosen": patch.chosen,
        "patched": None if patch.code is None else patch.code.hex(),
    }
    if site.also:
        found["also"] = list(site.also)
    return found | ({"undecided": patch.undecided} if patch.undecided else {})


def _symbol(image: Image, address: int) -> str | None:
    label = image.label(address)
    return None if label == f"{address:#x}" else label


def to_text(image: Image, how: Rules, entries: int, patches: Iterable[Patch]) -> Iterator[str]:
    """Yield lines: a heading, then for each site its entries and its code before and after, side by side."""
    changed = undecided = others = total = 0
    yield f"{image.name}: kernel {image.kernel or 'unknown'}, engine “{how.engine.value}”, {entries:,} entries"
    for patch in patches:
        total += 1
        changed += patch.code not in (None, patch.site.original)
        undecided += patch.code is None
        others += bool(patch.site.also)
        yield ""
        yield from _block(image, patch)
    yield ""
    last = f", {undecided:,} undecided" if undecided else ""
    last += f"; at {others:,} another patcher writes, too" if others else ""
    yield f"{total:,} sites, {changed:,} of them changed{last}"


def _block(image: Image, patch: Patch) -> Iterator[str]:
    site = patch.site
    yield f"{image.label(site.address)}  ({site.length} bytes at {site.address:#x})"
    for index, entry in enumerate(site.entries):
        mark = "→" if index == patch.chosen else " "
        yield f"  {mark} {_condition(image, entry)}: {entry.replacement_length} bytes at {entry.replacement:#x}"
    if site.also:
        yield f"    also {written_too(site.also)}"
    before = listing(image, site.original, site.address)
    after = [f"undecided: {patch.undecided}"] if patch.code is None else listing(image, patch.code, site.address)
    if patch.code == site.original:
        after = ["(unchanged)"]
    width = max(len(line) for line in before)
    for row in range(max(len(before), len(after))):
        left = before[row] if row < len(before) else ""
        right = after[row] if row < len(after) else ""
        yield f"      {left:<{width}} │ {right}".rstrip()


def written_too(tables: Iterable[str]) -> str:
    """Say that other patchers write here, too, by the names of their tables."""
    return f"in {', '.join(tables)}: another patcher may change these bytes, before or after alternatives"


def _condition(image: Image, entry: AltEntry) -> str:
    name = features.name(entry.feature, image.kernel)
    return f"{'not ' if entry.negated else ''}{name}{', direct call' if entry.direct_call else ''}"


def listing(image: Image, code: bytes, address: int) -> list[str]:
    """Return code as aligned lines of bytes and text; a run of equal instructions is one line."""
    rows = []
    for (one, text), run in groupby(decode(code, address, strict=False), key=lambda i: (i.code, _text(image, i))):
        times = len([*run])
        rows.append((f"{one.hex(' ')} ×{times}" if times > 1 else one.hex(" "), text))
    width = max(len(code) for code, _ in rows)
    return [f"{code:<{width}}  {text}" for code, text in rows]


def _text(image: Image, instruction: Instruction) -> str:
    """Return an instruction's text, with the name of what it points to where there is one."""
    target = instruction.points_to
    name = _symbol(image, target) if target else None
    return f"{instruction.text}  # {name}" if name else instruction.text
