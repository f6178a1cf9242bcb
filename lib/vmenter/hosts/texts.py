"""What a kernel prints in its vulnerabilities files: a closed set, all generations and stable series.

A text is one of the set, or the beginning of one (it was cut off), or nothing that a kernel says. Texts are
compared by their letters and digits alone: lscpu and inxi drop or change colons, pastes change blanks.

Sources: arch/x86/kernel/cpu/bugs.c, its tables of strings and `*_show_state`, of v4.18 to 7.3; for L1TF also the
first stable backports of August 2018, "Page Table Inversion" (3.16.y, renamed there after 72c6d2db64fa) and
"VMX: SMT …, L1D …" (4.4.y, RHEL 6 and 7). `tsx_async_abort_show_state` and `mmio_stale_data_show_state` leave the
word on threads out where nothing is cleared; a Vulnerable with it is taken all the same, since a kernel that says
so must not go unheard. The kernel's log has the texts without that word.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from typing import Final

FLAWS: Final = {
    "mds": "mds",
    "tsx_async_abort": "taa",
    "mmio_stale_data": "mmio",
    "reg_file_data_sampling": "rfds",
    "l1tf": "l1tf",
}
"""Vulnerabilities file → the flaw's name in a `PerFlaw`: Intel's, and of those who build like Intel."""

JUDGED: Final = (*FLAWS, "tsa")
"""The files that the course explains; TSA is AMD's."""

FILES: Final = (
    *JUDGED,
    *("gather_data_sampling", "ghostwrite", "indirect_target_selection", "itlb_multihit", "meltdown"),
    *("old_microcode", "retbleed", "spec_rstack_overflow", "spec_store_bypass", "spectre_v1", "spectre_v2"),
    *("srbds", "vmscape"),
)
"""Vulnerabilities files there have been."""

NOT_AFFECTED: Final = "Not affected"
_CLEAR = "Mitigation: Clear CPU buffers"
_ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode"
_SMT = ("SMT vulnerable", "SMT disabled", "SMT Host state unknown")
_INVERSION = "Mitigation: PTE Inversion"
_FLUSHES = ("vulnerable", "conditional cache flushes", "cache flushes", "EPT disabled", "flush not necessary")


def _with_smt(texts: tuple[str, ...], words: tuple[str, ...] = _SMT) -> tuple[str, ...]:
    return (*texts, *(f"{text}; {word}" for text in texts for word in words))


def _l1tf() -> tuple[str, ...]:
    threads = ("SMT vulnerable", "SMT disabled")
    new = [f"{_INVERSION}; VMX: {flush}" for flush in _FLUSHES]
    new += [f"{_INVERSION}; VMX: {flush}, {smt}" for flush, smt in product(_FLUSHES, threads)]
    old = [f"{_INVERSION}; VMX: {smt}, L1D {flush}" for flush, smt in product(_FLUSHES, threads)]
    return "Vulnerable", _INVERSION, "Mitigation: Page Table Inversion", *new, *old


TEXTS: Final = {
    "mds": _with_smt(("Vulnerable", _ATTEMPTED, _CLEAR), (*_SMT, "SMT mitigated")),
    "tsx_async_abort": ("Mitigation: TSX disabled", *_with_smt(("Vulnerable", _ATTEMPTED, _CLEAR))),
    "mmio_stale_data": ("Unknown: No mitigations", *_with_smt(("Vulnerable", _ATTEMPTED, _CLEAR))),
    "reg_file_data_sampling": ("Vulnerable", "Vulnerable: No microcode", "Mitigation: Clear Register File"),
    "l1tf": _l1tf(),
    "tsa": (
        *("Vulnerable", "Vulnerable: No microcode", _ATTEMPTED, _CLEAR),
        *(f"{_CLEAR}: VM", f"{_CLEAR}: user/kernel boundary"),
    ),
    "itlb_multihit": (
        *("Processor vulnerable", "KVM: Vulnerable", "KVM: Mitigation: Split huge pages"),
        *("KVM: Mitigation: VMX unsupported", "KVM: Mitigation: VMX disabled"),
    ),
}
"""File → the texts it can have beside "Not affected"."""

BEGINNINGS: Final = (NOT_AFFECTED, "Vulnerable", "Mitigation", "Unknown", "KVM:", "Processor vulnerable")
"""How a text of the other files begins: those only help to tell the vendor."""

_SAME_WORDS: Final = {"Mitigation: Page Table Inversion": _INVERSION}
_SHORTER: Final = {"KVM: VMX unsupported", "KVM: VMX disabled", "KVM: Split huge pages"}  # as inxi has them


def key(text: str) -> str:
    """Return a text's letters and digits, lower case. Signs of doubt stay: no kernel prints them."""
    return re.sub(r"[^\w?!]|_", "", text).casefold()


def _suite(text: str) -> str:
    """Return a text as the Phoronix Test Suite shortens it."""
    return text.replace("Mitigation: ", "Mitigation of ").replace("CPU buffers", "buffers")


@cache
def _keys(file: str) -> dict[str, str]:
    known = {key(text): text for text in (NOT_AFFECTED, *TEXTS[file])}
    known |= {key(_suite(text)): text for text in known.values()}
    if file == "itlb_multihit":
        known |= {key(text): text.replace("KVM: ", "KVM: Mitigation: ") for text in _SHORTER}
    return known


def whole(file: str, text: str) -> str | None:
    """Return the kernel's text if `text` is one of the file's, else None.

    Of other files than those of `TEXTS` it is any text that begins as they do.
    """
    if file not in TEXTS:
        text = " ".join(text.split()).rstrip(" +")
        if key(text).startswith(key(NOT_AFFECTED)):  # nothing goes on behind it
            return NOT_AFFECTED if key(text) == key(NOT_AFFECTED) else None
        return text if text.startswith(BEGINNINGS) else None
    return _keys(file).get(key(text))


def beginning(file: str, text: str) -> bool:
    """Tell whether a text of the file begins so; nothing at all begins all of them."""
    begun = key(text)
    if file not in TEXTS:
        return any(key(start).startswith(begun) or begun.startswith(key(start)) for start in BEGINNINGS)
    return any(known.startswith(begun) for known in _keys(file))


def completed(file: str, text: str) -> str | None:
    """Return the one text that begins so, if it is but one and more than half of it is there."""
    begun = key(text)
    found = {value for known, value in _keys(file).items() if known.startswith(begun)} if file in TEXTS else set()
    if len(found) != 1:
        return None
    only = found.pop()
    return only if 2 * len(begun) > len(key(only)) else None


def is_open(text: str) -> bool:
    """Tell whether a text, be it cut off or none of the kernel's, begins as those do that call a flaw open."""
    return key(text).startswith(("vulnerable", "unknown"))


def plain(file: str, text: str) -> str:
    """Return a text in today's words: what the old wordings of L1TF said says the new one."""
    text = _SAME_WORDS.get(text, text) if file == "l1tf" else text
    old = re.fullmatch(r"(.*; VMX: )(SMT \w+), L1D (.*)", text)
    if file != "l1tf" or not old:
        return text
    before, threads, flush = old.groups()
    # The new wording has no word on threads where they do not matter, or where it would say the same twice.
    silent = flush == "EPT disabled" or (flush == "vulnerable" and threads == "SMT vulnerable")
    return f"{before}{flush}" if silent else f"{before}{flush}, {threads}"
