"""An explained machine as plain text and as JSON: what `vmenter host` says."""

from __future__ import annotations

from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from vmenter.hosts.entering import NONE, SVM
from vmenter.hosts.texts import NOT_AFFECTED
from vmenter.hosts.verdict import CANNOT_TELL, TITLES
from vmenter.patching.text import table
from vmenter.story.promise import Reach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmenter.hosts.amd import Tsa
    from vmenter.hosts.explain import Entries, Explanation, Line
    from vmenter.story.promise import VCpuState

WIDTH = 100


def _wrapped(first: str, text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)


def text_lines(found: Explanation) -> Iterator[str]:
    """Yield the whole explanation."""
    yield found.report.title
    yield from (f"note: {note}" for note in found.report.notes)
    yield "Lines, the kernel's and the model's:" if found.report.lines else "The flaws:"
    shown, other = shown_lines(found)
    for line in shown:
        yield from line_lines(line)
    if other:
        yield from _wrapped("  ", other)
    yield "The host, as far as it can be inferred:"
    yield from host_lines(found)
    yield "What a VM-Enter does here:"
    yield from (f"  {line}" for sentence in entry_sentences(found) for line in wrap(sentence, WIDTH - 2))
    yield from (f"  {name}: {command}" for name, command in commands(found))


def shown_lines(found: Explanation) -> tuple[tuple[Line, ...], str]:
    """Return the lines to explain one by one, and a sentence for Intel's where they say nothing: on AMD."""
    if found.inference.entering.by != SVM:
        return found.lines, ""
    silent = [line for line in found.lines if line.file != "tsa" and line.kernel in {None, NOT_AFFECTED}]
    shown = tuple(line for line in reversed(found.lines) if line not in silent)
    titles = ", ".join(line.title for line in silent)
    told = [line for line in silent if line.kernel is not None]
    how = "Not affected" if len(told) == len(silent) else "Not affected, or not told" if told else "not told"
    return shown, f"{titles}: {how}. These are flaws of other CPUs." if silent else ""


def line_lines(line: Line) -> Iterator[str]:
    """Yield one line explained."""
    yield f"  {line.title}: {line.kernel or line_missing(line)}"
    yield from _wrapped("    ", line.words)
    if said := agreement(line):
        yield from _wrapped("    ", said)
    if line.cause:
        yield from _wrapped("    ", f"Likely: {line.cause}")
    yield from (f"  {row}" for row in table((one.subject, one.outcome, one.reason) for one in line.why))


def line_missing(line: Line) -> str:
    """Return what stands in for a line that the report does not have."""
    return "(not told)" if line.status == "unknown" and line.words.startswith("Not told") else "(no line)"


def agreement(line: Line) -> str:
    """Say whether the model agrees, if both say something."""
    if line.agrees is None:
        if line.model is not None:
            return f"The model says: {line.model}."
        if line.kernel is None:
            return ""
        return (
            "This is AMD's flaw; the model has it for CPUs that enter guests by VMRUN."
            if line.file == "tsa"
            else "The model has no line to hold against it here."
        )
    if not line.agrees:
        return f"The model DISAGREES. It says: {line.model}"
    if line.decided:
        return f"The model agrees, with {' and '.join(line.decided)} inferred from this line."
    return "The model agrees."


def host_lines(found: Explanation) -> Iterator[str]:
    """Yield the host and what it rests on."""
    yield from table(host_rows(found))
    yield "From what:"
    yield from table(known_rows(found))
    yield "Not known:"
    yield from table(unknown_rows(found))


def host_rows(found: Explanation) -> tuple[tuple[str, str], ...]:
    """Return the host as it was inferred: a name and its value in words."""
    host, nearest, tsa = found.inference.host, found.inference.nearest, found.tsa
    facts, selected = host.facts, f"{nearest.kernel}: {nearest.why}"
    if tsa is not None:
        facts, selected = tsa.host.facts, f"{tsa.selection.kernel}, of those in which TSA was read"
    if found.outcome.status == CANNOT_TELL:
        selected = "none: there is nothing to select for"
    return (
        ("bugs", bugs_words(found)),
        ("not told", not_told_words(found)),
        ("facts", " ".join(facts) or "none"),
        ("command line", host.cmdline or ("not in the report" if found.report.options is None else "(nothing)")),
        ("selection of", selected),
    )


def bugs_words(found: Explanation) -> str:
    """Return the bugs that the report names; that it names none says little where it tells of none."""
    if bugs := " ".join(found.inference.host.bugs):
        return bugs
    if found.tsa is not None and found.inference.told["tsa"].state == "affected":
        return "tsa"
    return "not told" if found.outcome.status == CANNOT_TELL else "none of ours"


def not_told_words(found: Explanation) -> str:
    """Return the flaws that the verdict rests on and that nothing tells of."""
    return ", ".join(TITLES[file] for file in found.outcome.not_told) or "nothing that matters here"


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
    entries, nearest, way = found.entries, found.inference.nearest, found.inference.entering
    if found.outcome.status == CANNOT_TELL:
        yield f"Cannot tell: {found.outcome.reasons[0]}."
    if way.by == NONE:
        yield f"KVM enters no guest here: {way.why}. So nothing is owed, and nothing is run."
    elif way.by is not None:
        yield f"Guests are entered by {way.by}: {way.why}."
    else:
        yield f"By what a guest is entered was not told: {way.why}."
    yield from found.outcome.reasons if found.outcome.status != CANNOT_TELL else ()
    if found.tsa is not None:
        yield from amd_sentences(found.tsa)
    if entries is None:
        return
    if found.disagreements:
        titles = ", ".join(line.title for line in found.disagreements)
        yield f"Kernel and model do not agree about {titles}: what follows is about the model's host."
    if any(found.inference.told[file].state == "not told" for file in found.outcome.not_told):
        yield "What follows takes the flaws that were not told for absent, which nobody said."
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


def amd_sentences(tsa: Tsa) -> Iterator[str]:
    """Yield what VMRUN does on an AMD machine."""
    if not tsa.entries:
        yield "What VMRUN does here rests on TSA, and that line was not told, or is not the model's."
        return
    plain = tsa.entries[0]
    yield f"Selection as in kernel {tsa.selection.kernel}. Promise: {plain.verdict.promise}."
    for entry, guest in zip(tsa.entries, ("A plain guest", "An SEV-ES guest"), strict=True):
        far = entry.verdict.instructions_after_clear
        if entry.verdict.verw and far is not None:
            end = f"VERW runs, then {far} instructions, then VMRUN"
        else:
            end = "no VERW runs before VMRUN"
        yield f"{guest}: {end}; {'kept' if entry.verdict.kept else 'BROKEN'}."
    if "Vulnerable" in tsa.selection.sysfs and plain.verdict.verw:
        yield "No microcode says that this VERW clears anything."


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
    host, nearest = found.inference.host, found.inference.nearest
    return {
        "cpu": dict(found.report.cpu),
        "kernel": found.report.release,
        "vm_enter_by": found.inference.entering.by,
        "vm_enter_by_why": found.inference.entering.why,
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
        "flaws": {
            file: {"state": str(one.state), "source": one.source} for file, one in found.inference.told.items()
        },
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
        "vm_enter": _vm_enter(found),
        "notes": list(found.report.notes),
        "not_told": list(found.outcome.not_told),
        "reasons": list(found.outcome.reasons),
        "status": found.outcome.status,
        "finding": found.finding,
    }


def _vm_enter(found: Explanation) -> dict[str, Any] | None:
    entries = found.entries
    if entries is not None:
        return {
            "promise": entries.entry.verdict.promise,
            "kept": not entries.broken,
            "vcpus": entries.runs,
            "broken": len(entries.broken),
            "neutralised": entries.neutralised,
            "neutralised_with_fb_clear_ctrl": entries.neutralised_with_ctrl,
            "replay": entries.replay,
        }
    if found.tsa is None or not found.tsa.entries:
        return None
    verdicts = [entry.verdict for entry in found.tsa.entries]
    return {
        "promise": verdicts[0].promise,
        "kept": all(one.kept for one in verdicts),
        "vcpus": len(verdicts),
        "broken": sum(not one.kept for one in verdicts),
        "neutralised": 0,
        "neutralised_with_fb_clear_ctrl": 0,
        "replay": None,
        "selection_of": found.tsa.selection.kernel,
        "verw": [one.verw for one in verdicts],
        "instructions_after_clear": [one.instructions_after_clear for one in verdicts],
    }
