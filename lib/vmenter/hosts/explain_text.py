"""An explained machine as plain text and as JSON: what `vmenter host` says."""

from __future__ import annotations

from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from vmenter.story.entry_text import table
from vmenter.story.promise import Reach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmenter.hosts.explain import Entries, Explanation, Line
    from vmenter.story.promise import VCpuState

WIDTH = 100


def _wrapped(first: str, text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)


def text_lines(found: Explanation) -> Iterator[str]:
    """Yield the whole explanation."""
    yield found.report.title
    yield from (f"note: {note}" for note in found.report.notes)
    yield "Lines, the kernel's and the model's:"
    for line in found.lines:
        yield from line_lines(line)
    yield "The host, as far as it can be inferred:"
    yield from host_lines(found)
    yield "What a VM-Enter does here:"
    yield from (f"  {line}" for sentence in entry_sentences(found) for line in wrap(sentence, WIDTH - 2))
    yield from (f"  {name}: {command}" for name, command in commands(found))


def line_lines(line: Line) -> Iterator[str]:
    """Yield one line explained."""
    yield f"  {line.title}: {line.kernel or '(no such file)'}"
    yield from _wrapped("    ", line.words)
    yield from _wrapped("    ", agreement(line))
    if line.cause:
        yield from _wrapped("    ", f"Likely: {line.cause}")
    yield from (f"  {row}" for row in table((one.subject, one.outcome, one.reason) for one in line.why))


def agreement(line: Line) -> str:
    """Say whether the model agrees."""
    if line.agrees is None:
        if line.kernel is None:
            return f"The model says: {line.model}." if line.model else "The model has no such file either."
        return (
            "Selection for it is not modelled here; notebook 10 is about it."
            if line.file == "tsa"
            else ("The nearest kernel that was read does not have this file.")
        )
    if not line.agrees:
        return f"The model DISAGREES. It says: {line.model}"
    if line.decided:
        return f"The model agrees, with {' and '.join(line.decided)} inferred from this line."
    return "The model agrees."


def host_lines(found: Explanation) -> Iterator[str]:
    """Yield the host and what it rests on."""
    host, nearest = found.inference.host, found.inference.nearest
    yield from table(
        (
            ("bugs", " ".join(host.bugs) or "none of ours"),
            ("facts", " ".join(host.facts) or "none"),
            (
                "command line",
                host.cmdline or ("not in the report" if found.report.options is None else "(nothing)"),
            ),
            ("selection of", f"{nearest.kernel}: {nearest.why}"),
        )
    )
    known, unknown = known_rows(found), unknown_rows(found)
    yield "From what:"
    yield from table(known)
    yield "Not known:"
    yield from table(unknown)


def known_rows(found: Explanation) -> tuple[tuple[str, str, str], ...]:
    """Return what was inferred: subject, "yes" or "no", from what."""
    told = {True: "yes", False: "no"}
    return tuple(
        (one.subject, told[one.value], one.source) for one in found.inference.known if one.value is not None
    )


def unknown_rows(found: Explanation) -> tuple[tuple[str, str], ...]:
    """Return what nothing tells: subject, and what was taken instead."""
    return tuple((one.subject, one.source) for one in found.inference.known if one.value is None)


def entry_sentences(found: Explanation) -> Iterator[str]:
    """Yield what a VM-Enter does here, in sentences."""
    entries, nearest = found.entries, found.inference.nearest
    if entries is None:
        yield (
            "This is no Intel CPU: its guests are entered by VMRUN, and of the flaws here only TSA is AMD's. "
            "Notebook 10 is about that side; the eras of this course are Intel's."
        )
        return
    if found.disagreements:
        titles = ", ".join(line.title for line in found.disagreements)
        yield f"Kernel and model do not agree about {titles}: what follows is about the model's host."
    if found.inference.host.hypervisor:
        yield "This is a guest itself. When it enters guests of its own, the host below does its part as well."
    if not found.report.parameters:
        yield "kvm_intel is not loaded, or its parameters were not given: what follows is what it would do."
    near = (
        ""
        if nearest.exact
        else "Nearest, by version and files; distributions backport, so do not take it for yours. "
    )
    yield f"{near}{nearest.era.id}: {nearest.era.title} ({nearest.era.release})."
    yield f"Promise: {entries.entry.verdict.promise}."
    yield kept(entries)
    if entries.neutralised:
        yield f"In {entries.neutralised} of them VERW runs while FB_CLEAR_DIS keeps it from clearing fill buffers."
    elif entries.neutralised_with_ctrl:
        yield (
            f"If the CPU has FB_CLEAR_CTRL, which no file tells, in {entries.neutralised_with_ctrl} of them VERW "
            "runs while FB_CLEAR_DIS keeps it from clearing fill buffers."
        )
    if entries.assumed:
        yield f"In {entries.assumed} it rests on the software flush, of which nobody documents that it clears."


def kept(entries: Entries) -> str:
    """Say whether the promise is kept."""
    if not entries.broken:
        return f"Kept by all {entries.runs} kinds of vCPU."
    first = entries.broken[0]
    return (
        f"BROKEN for {len(entries.broken)} of {entries.runs} kinds of vCPU; the plainest "
        f"({vcpu_words(first.vcpu)}): {first.verdict.reason}."
    )


def vcpu_words(vcpu: VCpuState) -> str:
    """Describe a vCPU by what sets it apart from the plainest."""
    said = [_REACH[vcpu.mmio]] if vcpu.mmio in _REACH else []
    for is_set, words in (
        (vcpu.flush_pending, "a flush is pending"),
        (vcpu.resume, "entered before"),
        (vcpu.guest_fb_clear, "its guest has FB_CLEAR"),
    ):
        said += [words] if is_set else []
    return ", ".join(said) or "first entry, no host MMIO, no flush pending"


_REACH = {
    Reach.ASSIGNED: "reaches host MMIO by a device passed through",
    Reach.MAPPED: "reaches host MMIO, mapped without a device passed through",
}


def commands(found: Explanation) -> Iterator[tuple[str, str]]:
    """Yield what to run next."""
    if found.entries and found.entries.replay:
        yield "replay", found.entries.replay
    yield "your kernel's real code", "vmenter inspect /lib/modules/$(uname -r)"


def to_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation in the shape of `vmenter host --json`."""
    host, nearest, entries = found.inference.host, found.inference.nearest, found.entries
    return {
        "cpu": dict(found.report.cpu),
        "kernel": found.report.release,
        "lines": [
            {
                "file": line.file,
                "kernel": line.kernel,
                "model": line.model,
                "status": line.status,
                "agrees": line.agrees,
                "words": line.words,
                "inferred_from_it": list(line.decided),
                "why": [asdict(one) for one in line.why],
                "cause": line.cause,
            }
            for line in found.lines
        ],
        "host": {
            "bugs": list(host.bugs),
            "facts": list(host.facts),
            "cmdline": host.cmdline,
            "smt": host.smt,
            "ept": host.ept,
            "hypervisor": host.hypervisor,
        },
        "inferred": [asdict(one) for one in found.inference.known],
        "unknown": list(found.inference.unknown),
        "nearest": {"kernel": nearest.kernel, "era": nearest.era.id, "exact": nearest.exact, "why": nearest.why},
        "vm_enter": None
        if entries is None
        else {
            "promise": entries.entry.verdict.promise,
            "kept": not entries.broken,
            "vcpus": entries.runs,
            "broken": len(entries.broken),
            "neutralised": entries.neutralised,
            "neutralised_with_fb_clear_ctrl": entries.neutralised_with_ctrl,
            "replay": entries.replay,
        },
        "finding": found.finding,
    }
