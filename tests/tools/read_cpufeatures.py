"""Read cpufeatures.h of kernels and compare, or refresh, the table in lib/vmenter/patching/features.json.

    python tests/tools/read_cpufeatures.py TREE…           compare; exit 1 if anything differs or is new
    python tests/tools/read_cpufeatures.py --write TREE…   add these kernels to the table

TREE is an unpacked kernel source or headers package (its Makefile says which kernel it is; a folder called
linux-headers-5.10.0-30-common also gives Debian's ABI number), or VERSION=FILE for a header on its own.
Kernels already in the table stay, so a refresh needs only the new ones. Release candidates are refused.
"""

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).parents[2] / "lib/vmenter/patching/features.json"
HEADER = "arch/x86/include/asm/cpufeatures.h"


class Kernel(NamedTuple):
    version: str
    abis: tuple[int, ...]
    words: int
    bug_words: int
    slots: dict[str, tuple[int, int]]  # name → word, bit; bugs as BUG_name, counted from the first bug word


def read_header(version: str, text: str, abis: Iterable[int] = ()) -> Kernel:
    """Take the definitions out of one header; ValueError if one is written in a way not known here."""
    define = re.compile(r"^#[ \t]*define[ \t]+X86_(?:FEATURE_|(?=BUG_))(\w+)[ \t]+(.*)$", re.MULTILINE)
    place = re.compile(r"(?:X86_BUG)?\(\s*(?:(\d+)\s*\*\s*32\s*\+)?\s*(\d+)\s*\)")
    slots = {}
    for name, value in define.findall(text):
        if not (match := place.match(value)):
            raise ValueError(f"{version}: cannot read the value of {name}: {value}")
        slots[name] = (int(match[1] or 0), int(match[2]))
    counts = [re.search(rf"^#define\s+{count}\s+(\d+)", text, re.MULTILINE) for count in ("NCAPINTS", "NBUGINTS")]
    if not slots or not all(counts):
        raise ValueError(f"{version}: this is no cpufeatures.h")
    words, bug_words = (int(match[1]) for match in counts if match)
    return Kernel(version, tuple(sorted(set(abis))), words, bug_words, slots)


def read_tree(argument: str) -> Kernel:
    """Read a TREE or VERSION=FILE as the module's docstring has them."""
    version, given, file = argument.partition("=")
    if given:
        return read_header(version, Path(file).read_text(encoding="utf-8"))
    root = Path(argument)
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    made = dict(re.findall(r"^((?:EXTRA)?VERSION|PATCHLEVEL|SUBLEVEL) =[ \t]*(.*)$", makefile, re.MULTILINE))
    if made["EXTRAVERSION"]:
        raise ValueError(f"{argument} is {made['EXTRAVERSION']}, not a release")
    abi = re.search(r"linux-headers-\d+\.\d+\.0-(?:0\.[a-z]+\d*\.)?(\d+)-common", root.resolve().name)
    version = f"{made['VERSION']}.{made['PATCHLEVEL']}.{made['SUBLEVEL']}"
    return read_header(version, (root / HEADER).read_text(encoding="utf-8"), [int(abi[1])] if abi else ())


def _order(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def load(table: Path = TABLE) -> dict[str, Kernel]:
    """Return the table as kernels, by version."""
    if not table.exists():
        return {}
    raw = json.loads(table.read_text(encoding="ascii"))
    kernels = {text: Kernel(text, tuple(abis), w, bug_w, {}) for text, abis, w, bug_w in raw["kernels"]}
    order = list(kernels)
    for name, word, bit, first, last in raw["rows"]:
        for version in order[order.index(first) : order.index(last) + 1]:
            kernels[version].slots[name] = (word, bit)
    return kernels


def merge(table: dict[str, Kernel], kernels: Iterable[Kernel]) -> dict[str, Kernel]:
    """Add kernels; one that was read before must read the same. ValueError if it does not."""
    merged = dict(table)
    for kernel in kernels:
        old = merged.get(kernel.version, kernel)
        if old[2:] != kernel[2:]:
            changed = sorted({name for name, _ in old.slots.items() ^ kernel.slots.items()})
            raise ValueError(f"{kernel.version}: read differently before ({', '.join(changed) or 'word counts'})")
        merged[kernel.version] = kernel._replace(abis=tuple(sorted({*old.abis, *kernel.abis})))
    return {version: merged[version] for version in sorted(merged, key=_order)}


def dump(kernels: dict[str, Kernel]) -> str:
    """Write the table, a line a row: name, word, bit, first and last of consecutive kernels that agree."""
    order, rows = list(kernels), []
    for place in {item for kernel in kernels.values() for item in kernel.slots.items()}:
        inside = [place in kernel.slots.items() for kernel in kernels.values()]
        starts = [i for i, here in enumerate(inside) if here and not (i and inside[i - 1])]
        ends = [i for i, here in enumerate(inside) if here and not any(inside[i + 1 : i + 2])]
        rows += [(place[0], *place[1], order[i], order[j]) for i, j in zip(starts, ends, strict=True)]
    rows.sort(key=lambda row: (row[0].startswith("BUG_"), row[1:3], _order(row[3])))
    heads = [(kernel.version, kernel.abis, kernel.words, kernel.bug_words) for kernel in kernels.values()]
    parts = (",\n".join(json.dumps(item) for item in items) for items in (heads, rows))
    return '{{"kernels": [\n{}\n],\n"rows": [\n{}\n]}}\n'.format(*parts)


def main(arguments: list[str]) -> int:
    write = "--write" in arguments
    before = load()
    after = merge(before, (read_tree(argument) for argument in arguments if argument != "--write"))
    new = [version for version in after if after[version] != before.get(version)]
    print(f"{len(before)} kernels in the table; new or changed: {', '.join(new) or 'none'}")
    if write:
        TABLE.write_text(dump(after), encoding="ascii")
    return bool(new) and not write


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
