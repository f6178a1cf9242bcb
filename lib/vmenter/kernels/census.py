"""A census of a kernel's alternatives: how many, for which features, of which form, and what they are there for.

`take` counts any image; `recorded` has what was counted in two of Debian's kernels, for readers without one
(tests/tools/record_beyond.py made recorded.json; a test counts again wherever the kernels are at hand).
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.instructions import decode
from vmenter.patching import features
from vmenter.patching.alternative_table import Rules, Site, read

RECORD = Path(__file__).with_name("recorded.json")
KERNEL = "vmlinuz"

PARAVIRT = frozenset({"XENPV", "VCPUPREEMPT", "PVUNLOCK"})
USER_ACCESS = frozenset({"SMAP", "LASS"})
COPYING = frozenset({"ERMS", "FSRM", "FSRS", "REP_GOOD"})
FLAWS = frozenset({
    "BUG_IBPB_NO_RET", "BUG_SWAPGS_FENCE", "CALL_DEPTH", "CLEAR_BHB_HW", "CLEAR_BHB_LOOP",
    "CLEAR_BHB_VMEXIT", "CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO", "ENTRY_IBPB",
    "FENCE_SWAPGS_KERNEL", "FENCE_SWAPGS_USER", "FLUSH_L1D", "IBPB", "IBPB_EXIT_TO_USER", "IBPB_ON_VMEXIT",
    "INDIRECT_THUNK_ITS", "KERNEL_IBRS", "L1TF_PTEINV", "MSR_SPEC_CTRL", "PTI", "RETHUNK", "RETPOLINE",
    "RETPOLINE_LFENCE", "RSB_CTXSW", "RSB_VMEXIT", "RSB_VMEXIT_LITE", "SRSO", "SRSO_ALIAS", "UNRET",
    "USE_IBPB", "USE_IBPB_FW", "USE_IBRS_FW", "V_SPEC_CTRL",
})  # fmt: skip
PURPOSES = {
    "paravirt": "calls that a guest kernel makes in another way",
    "question": "questions about the CPU, answered at boot",
    "user": "opening and closing user memory (SMAP)",
    "copy": "copying and clearing memory",
    "flaw": "mitigations of CPU flaws",
    "other": "other instructions that not every CPU has",
}
PLACES = {
    "entry": "entry code (.entry.text)",
    "noinstr": "code that must not be traced (.noinstr.text)",
    "init": "code for boot alone (.init.text)",
    "other": "the rest",
}
_BOUNDS = {  # where a linked kernel's code of one kind begins and ends
    "entry": ("__entry_text_start", "__entry_text_end"),
    "noinstr": ("__noinstr_text_start", "__noinstr_text_end"),
    "init": ("_sinittext", "_einittext"),
}


@dataclass(frozen=True)
class Count:
    """How often a feature stands in the table, and at how many sites."""

    name: str
    entries: int
    sites: int


@dataclass(frozen=True)
class Clear:
    """A site that may become VERW: the symbol (or address) it stands behind, and the feature that decides."""

    function: str
    feature: str


@dataclass(frozen=True)
class Census:
    """What was counted. Tuples of (what, how many) are in falling order of the number, lengths in their own."""

    file: str
    kernel: str
    entries: int
    sites: int
    features: tuple[Count, ...]
    flags: tuple[tuple[str, int], ...]  # of entries: none, NOT, DIRECT_CALL
    per_site: tuple[tuple[int, int], ...]  # entries of a site → sites
    lengths: tuple[tuple[int, int], ...]  # bytes of a site → sites
    purposes: tuple[tuple[str, int], ...]  # each site once; keys of PURPOSES
    places: tuple[tuple[str, int], ...]  # keys of PLACES; empty where nothing tells
    clears: tuple[Clear, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Census":
        """Read what `to_json` wrote."""
        pairs: dict[str, Any] = {
            name: tuple((what, number) for what, number in data[name])
            for name in ("flags", "per_site", "lengths", "purposes", "places")
        }
        counts = tuple(Count(**one) for one in data["features"])
        clears = tuple(Clear(**one) for one in data["clears"])
        plain: dict[str, Any] = {name: data[name] for name in ("file", "kernel", "entries", "sites")}
        return cls(**plain, **pairs, features=counts, clears=clears)


def take(image: Image, how: Rules | None = None) -> Census:
    """Count the alternatives of an image. Raises `LabError` for a table that lies or cannot be read."""
    _, table, found = read(image, how)
    names = {entry.feature: features.name(entry.feature, image.kernel) for entry in table}
    of_entries = Counter(names[entry.feature] for entry in table)
    of_sites = Counter(name for site in found for name in {names[entry.feature] for entry in site.entries})
    flags = Counter("DIRECT_CALL" if e.direct_call else "NOT" if e.negated else "none" for e in table)
    places = Counter(filter(None, (_place(image, site.address) for site in found)))
    return Census(
        file=Path(image.name).name,
        kernel=(image.kernel or "unknown").split()[0],
        entries=len(table),
        sites=len(found),
        features=tuple(
            Count(name, number, of_sites[name])
            for name, number in sorted(of_entries.items(), key=lambda pair: (-pair[1], pair[0]))
        ),
        flags=_falling(flags),
        per_site=tuple(sorted(Counter(len(site.entries) for site in found).items())),
        lengths=tuple(sorted(Counter(site.length for site in found).items())),
        purposes=_falling(Counter(purpose(site, names) for site in found)),
        places=_falling(places),
        clears=tuple(_clears(image, found, names)),
    )


def _falling(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def purpose(site: Site, names: dict[int, str]) -> str:
    """Return what a site is there for, a key of `PURPOSES`; the first that fits, read from its entries alone.

    A question is the form of `static_cpu_has()`: a jump that becomes another jump always, and nothing at all
    where the feature is there.
    """
    first, last = site.entries[0], site.entries[-1]
    its = {names[entry.feature] for entry in site.entries}
    if first.direct_call or its & PARAVIRT:
        return "paravirt"
    if len(site.entries) == 2 and names[first.feature] == "ALWAYS" and not last.replacement_length:
        return "question"
    for key, known in (("user", USER_ACCESS), ("copy", COPYING), ("flaw", FLAWS)):
        if its & known:
            return key
    return "other"


def _place(image: Image, address: int) -> str | None:
    """Return in which part of the kernel an address lies, a key of `PLACES`; None where nothing tells."""
    symbols = image.symbols
    told = False
    for key, (start, end) in _BOUNDS.items():
        first, last = symbols.get(start), symbols.get(end)
        if first and last:
            told = True
            if first.address <= address < last.address:
                return key
    return "other" if told else None


def _clears(image: Image, found: Iterable[Site], names: dict[int, str]) -> Iterable[Clear]:
    """Yield the sites that may become VERW; a VERW that is jumped over, as before v6.5, is not found."""
    for site in found:
        for entry in site.entries:
            code = image.read(entry.replacement, entry.replacement_length) if entry.replacement_length else b""
            if any(one.is_clear for one in decode(code, entry.replacement, strict=False)):
                yield Clear(image.label(site.address).partition("+")[0], names[entry.feature])


# --- what was recorded -------------------------------------------------------------------------------------------


@cache
def all_records() -> dict[str, Any]:
    """Return all that was recorded, by version: what `record` has, and "kvm-intel", which `ownkernel` reads."""
    return json.loads(RECORD.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


@cache
def record() -> dict[str, Any]:
    """Return what was recorded of whole kernels: version → {"census": {file → …}, "stubs": […]}."""
    return {version: one for version, one in all_records().items() if "census" in one}


def recorded(version: str, file: str = KERNEL) -> Census:
    """Return a recorded census, of the kernel itself or of one of its modules. `LabError` for another one."""
    known = record()
    if version not in known or file not in known[version]["census"]:
        files = ", ".join(known.get(version, next(iter(known.values())))["census"])
        raise LabError(f"no census of {version} {file} was recorded; there are {', '.join(known)}, each {files}")
    return Census.from_json(known[version]["census"][file])
