"""A selection in words: what `vmenter select` says."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vmenter.patching.text import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmenter.boot.selection import Selection


def selection_lines(selection: Selection) -> Iterator[str]:
    """Yield what a kernel selects on a host: its reasons, the vulnerabilities files, what is switched on."""
    yield "Why:"
    yield from table((link.subject, link.outcome, link.reason) for link in selection.why)
    yield "Vulnerabilities (sysfs):"
    lines = asdict(selection.lines).items()
    yield from table((flaw, line or "(this kernel has no such file)") for flaw, line in lines)
    yield "Switched on:"
    yield from table(
        (
            ("features", " ".join(selection.features) or "none"),
            ("static keys", " ".join((*selection.keys, *selection.kvm_keys)) or "none"),
            ("L1D flush", selection.l1d_flush),
            ("SMT off", "yes" if selection.nosmt else "no"),
        ),
    )


def decided_json(selection: Selection) -> dict[str, Any]:
    """Return what boot-time selection decides, in the shape of `vmenter select --stdin`."""
    return {
        "features": list(selection.features),
        "keys": list(selection.keys),
        "states": asdict(selection.states),
        "sysfs": asdict(selection.sysfs),
        "nosmt": selection.nosmt,
    }


def selection_json(era: str, selection: Selection) -> dict[str, Any]:
    """Return a selection with its reasons, in the shape of `vmenter select --json`."""
    return {
        "era": era,
        "kernel": selection.kernel,
        **decided_json(selection),
        "kvm_keys": list(selection.kvm_keys),
        "l1d_flush": selection.l1d_flush,
        "lines": asdict(selection.lines),
        "why": [asdict(link) for link in selection.why],
    }
