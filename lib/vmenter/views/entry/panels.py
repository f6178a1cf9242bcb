"""One era's panels: what boot selects and why, the events, the verdict, the way through the code, the buffers.

Each panel is plain data for the page, with its own lines of the text twin under "text". A panel depends on as
little as it can, so that many states share it.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import asdict
from functools import lru_cache
from itertools import groupby
from textwrap import wrap
from typing import Any

from vmenter.boot.host import Host
from vmenter.boot.options import Decision
from vmenter.boot.selection import Selection
from vmenter.emulator import buffers
from vmenter.emulator.machine import HOST_REGISTERS
from vmenter.emulator.memory import Owner
from vmenter.emulator.trace import CLEARS, EventKind, Trace
from vmenter.flow.graph import Block, Flow, Kind
from vmenter.flow.graph import Mark as FlowMark
from vmenter.flow.text import branch_lines
from vmenter.flow.text import lines as instruction_lines
from vmenter.patching.text import table
from vmenter.story.entry_text import event_text, notable, notes
from vmenter.story.eras import GUEST, START, Entry, enter, selected, state_of
from vmenter.story.history import Era
from vmenter.story.promise import VCpuState, Verdict
from vmenter.views.drawings import flowchart
from vmenter.views.drawings.ways import era_flow

Panel = dict[str, Any]
WIDTH = 100  # of a line of the twin
WORD = 8  # bytes of a cell in the picture of the buffers
LINE = 64

LETTERS = {
    EventKind.VERW: ("V", "VERW", "clears the CPU buffers"),
    EventKind.L1D_FLUSH: ("F", "L1D flush", "by MSR"),
    EventKind.L1D_FLUSH_LOOP: ("F", "L1D flush", "by reading 64 KiB"),
    EventKind.LFENCE: ("L", "LFENCE", ""),
    EventKind.FB_CLEAR_DIS_SET: ("D", "FB_CLEAR_DIS", "set"),
    EventKind.FB_CLEAR_DIS_CLEAR: ("D", "FB_CLEAR_DIS", "taken back"),
    EventKind.WRMSR: ("W", "WRMSR", ""),
    EventKind.VM_ENTER: ("E", "VM-Enter", ""),
}
FLOW_LETTERS = {FlowMark.VERW: "V", FlowMark.FLUSH: "F", FlowMark.FLUSH_LOOP: "F", FlowMark.VM_ENTER: "E"}
CLEARED_BY = {
    None: "nothing",
    EventKind.VERW: "VERW",
    EventKind.L1D_FLUSH: "an L1D flush by MSR",
    EventKind.L1D_FLUSH_LOOP: "an L1D flush by reading 64 KiB",
}
# What a value in the buffers is: a letter, words, and whether it is the host's.
VALUES = {
    "R": "a register value of the host",
    "S": "other data of the host's stack",
    "H": "other data of the host",
    "C": "the vCPU's structure",
    "F": "a flag",
    "G": "a register value of the guest's own",
}
_OF_OWNER = {Owner.STACK: "S", Owner.VCPU: "C", Owner.FLAGS: "F"}


def side(era: Era, host: Host, vcpu: VCpuState, show: Collection[str]) -> Panel:
    """Return one era's panels, those of `show`."""
    heading = f"{era.id}: {era.title} ({era.release}; selection of kernel {era.kernel})"
    result: Panel = {
        "era": era.id,
        "title": era.title,
        "release": era.release,
        "kernel": era.kernel,
        "heading": heading,
    }
    if set(show) == {"selection"}:
        selection = selected(host, era.kernel)
        result["selection"] = _selection(selection)
        outcome = selection.features + selection.keys + selection.kvm_keys
        result["said"] = f"{era.id}: {' '.join(outcome) or 'nothing'} on."
        return result
    entry = enter(era, host, vcpu)
    for name in show:
        result[name] = _PANELS[name](entry)
    result["said"] = f"{era.id}: {_word(entry.verdict)}: {entry.verdict.reason}."
    return result


def shown_of(era: Era, host: Host, vcpu: VCpuState) -> tuple[Hashable, ...]:
    """Return all that a side shows of a host and a vCPU: where this is equal, so are all panels."""
    selection = selected(host, era.kernel)
    return era, selection, selection.why, vcpu, state_of(era, host, selection, vcpu)


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number:,} {what}{plural if number != 1 else ''}"


@lru_cache(maxsize=4096)
def _wrapped(first: str, text: str) -> tuple[str, ...]:
    """Return lines of the twin; what a no-break space holds together stays together, by a plain one."""
    lines = wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)
    return tuple(line.replace("\u00a0", " ") for line in lines)


# --- selection ---------------------------------------------------------------------------------------------


def _selection(selection: Selection) -> Panel:
    return _selected(selection, selection.why)


@lru_cache(maxsize=4096)
def _selected(selection: Selection, because: tuple[Decision, ...]) -> Panel:
    """Show a selection. Equal ones may differ in why."""
    why = [{"subject": one.subject, "outcome": one.outcome, "reason": one.reason} for one in because]
    on: Panel = {
        "features": list(selection.features),
        "keys": [*selection.keys, *selection.kvm_keys],
        "l1d_flush": selection.l1d_flush,
        "smt_off": selection.nosmt,
    }
    files = asdict(selection.lines)
    lines = [(flaw, line) for flaw, line in files.items() if line is not None]
    missing = [flaw for flaw, line in files.items() if line is None]
    text = [
        "Why:",
        *(table(tuple(one.values()) for one in why) if why else ["  there is nothing to decide"]),
        "Switched on:",
        *table(
            (
                ("features", " ".join(on["features"]) or "none"),
                ("static keys", " ".join(on["keys"]) or "none"),
                ("L1D flush", on["l1d_flush"]),
                *((("SMT", "switched off"),) if on["smt_off"] else ()),
            ),
        ),
        "Vulnerabilities (sysfs):",
        *table(lines),
        *([f"  no file yet: {' '.join(missing)}"] if missing else []),
    ]
    return {"why": why, "on": on, "sysfs": [{"flaw": a, "line": b} for a, b in files.items()], "text": text}


# --- events ------------------------------------------------------------------------------------------------


def _events(entry: Entry) -> Panel:
    missing = entry.promise.owes_clear(entry.vcpu) and not entry.verdict.kept
    return _ran(entry.era, entry.trace, entry.state.features, entry.state.keys, missing)


@lru_cache(maxsize=4096)
def _ran(
    era: Era,
    trace: Trace,
    features: frozenset[str],
    _keys: frozenset[str],
    missing: bool,  # noqa: FBT001
) -> Panel:
    """Show what ran; `missing`: a clear is owed and the promise is broken. As for the keys see `_marked`."""
    flow = flow_of(era)
    standing = flow.standing(trace.image, features)
    last_clear = trace.clears[-1].step if trace.clears else None
    items: list[Panel] = []
    before = -1
    for event, where, address in notable(trace):
        letter, name, detail = LETTERS[event.kind]
        if event.kind is EventKind.VM_ENTER:
            detail = trace.vm_enter or ""
        elif event.kind is EventKind.WRMSR:
            detail = f"to {event.value:#x}"
        block = flow.block_at(event.address, standing)
        items.append(
            {
                "kind": str(event.kind),
                "letter": letter,
                "name": name,
                "detail": "neutralised" if event.neutralised else detail,
                "neutralised": event.neutralised,
                "clears": event.kind in CLEARS,
                "where": where,
                "address": address,
                "key": block.key if block else None,
                "instructions": event.step - before - 1,
                "accesses": sum(before < access[0] < event.step for access in trace.raw_accesses),
                "distant": last_clear is not None and before >= last_clear,
            },
        )
        before = event.step
    rows = [(where, address, event_text(event, trace)) for event, where, address in notable(trace)]
    nothing = None if trace.cleared else "Nothing clears on this way: no VERW, no L1D flush."
    text = ["On the way to VM-Enter:", *table(rows), *([f"  {nothing}"] if nothing else [])]
    return {"start": START, "items": items, "nothing": nothing, "owed": missing, "text": text}


# --- verdict -----------------------------------------------------------------------------------------------


def _word(verdict: Verdict) -> str:
    return "kept" if verdict.kept else "BROKEN"


def _verdict(entry: Entry) -> Panel:
    return _judged(entry.verdict, tuple(notes(entry)))


@lru_cache(maxsize=4096)
def _judged(verdict: Verdict, said: tuple[str, ...]) -> Panel:
    """Show a verdict, with what is said beside it."""
    distance = None
    if verdict.instructions_after_clear is not None:
        distance = (
            f"{_count(verdict.instructions_after_clear, 'instruction')} and "
            f"{_count(verdict.accesses_after_clear or 0, 'memory access', 'es')} "
            "between the last clear and VM-Enter"
        )
    by = CLEARED_BY[verdict.cleared_by]
    text = [
        *_wrapped("Promise: ", verdict.promise),
        *_wrapped("Verdict: ", f"{_word(verdict)}: {verdict.reason}"),
        *(line for note in said for line in _wrapped("         ", note)),
        *([f"Cleared:  last by {by}"] if verdict.cleared_by else []),
        *([f"Distance: {distance}"] if distance else []),
    ]
    return {
        "kept": verdict.kept,
        "word": _word(verdict),
        "promise": verdict.promise,
        "reason": verdict.reason,
        "by": by,
        "notes": list(said),
        "assumed": verdict.assumed,
        "neutralised": verdict.neutralised,
        "distance": distance,
        "text": text,
    }


# --- the way through the code ------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def flow_of(era: Era) -> Flow:
    """Return the graph of an era's way to VM-Enter."""
    return era_flow(era)


def drawing(era: Era) -> str:
    """Return the drawing of an era's code, as an SVG that every state shares."""
    return flowchart.skeleton(flow_of(era))


@lru_cache(maxsize=1024)
def _marked(era: Era, trace: Trace, features: frozenset[str], _keys: frozenset[str]) -> Panel:
    """Mark what ran. Equal traces do not tell the keys of branches that they never came to."""
    flow = flow_of(era)
    state = flowchart.state_of(flow, trace, features=features)
    changes = flowchart.marks(flow, state)
    way = flow.walk(trace.steps, state.standing)
    order = {key: number for number, key in enumerate(dict.fromkeys(way), 1)}
    marks = {
        key: {"class": one.classes, **({} if one.text is None else {"text": one.text})}
        for key, one in changes.items()
        if one.classes or one.text is not None
    }
    said = list(_way_text(flow, state, order))
    code = list(_code_text(flow, state, order))
    return {"era": era.id, "marks": marks, "order": order, "way": said, "text": [*said, *code]}


def _flow(entry: Entry) -> Panel:
    return _marked(entry.era, entry.trace, entry.state.features, entry.state.keys)


def _way_text(flow: Flow, state: flowchart.State, order: dict[str, int]) -> Iterator[str]:
    """Yield the way that the run took: each block in order of its first run, and what was not on the way."""
    yield "Way through the code, numbers as in the drawing:"
    runs = [(function, list(keys)) for function, keys in groupby(order, key=lambda key: flow.by_key[key].function)]
    width = max((len(function) for function, _ in runs), default=0)
    for function, keys in runs:
        said = ", ".join(
            f"{order[key]} {_block_text(flow, state, flow.by_key[key])}".replace(" ", "\u00a0") for key in keys
        )
        yield from _wrapped(f"  {function:<{width}}  ", said)
    missed = [
        f"{FLOW_LETTERS[block.mark]}\u00a0{block.function}{_place(flow, block)}"
        for block in flow.blocks
        if block.mark is not None and block.key not in order
    ]
    if missed:
        yield from _wrapped("  not on it: ", ", ".join(missed))


def _code_text(flow: Flow, state: flowchart.State, order: dict[str, int]) -> Iterator[str]:
    """Yield each block of the way: its instructions, and of each edge from it whether the run took it."""
    yield "Block by block, and where each leads:"
    width = max((len(key) for key in order), default=0)
    for key, number in order.items():
        block = flow.by_key[key]
        code = _held(branch_lines(flow, block, state.image)) if block.branch else _code(flow, key)
        yield from _wrapped(f"  {number:>2} {key:<{width}}  ", code)
        for edge in flow.edges:
            if edge.tail == key:
                taken = "taken" if (edge.tail, edge.head) in state.passed else "not taken"
                to = f"{order[edge.head]} {edge.head}" if edge.head in order else edge.head
                note = f", {edge.note}" if edge.note else ""
                yield f"{'':{width + 7}}{taken}: {edge.kind} {'' if edge.kind is Kind.CALL else 'to '}{to}{note}"


@lru_cache(maxsize=4096)
def _code(flow: Flow, key: str) -> str:
    """Return the instructions of a block that is no static branch: no state changes them."""
    return _held(instruction_lines(flow, flow.by_key[key]))


def _held(lines: Iterable[str]) -> str:
    return "; ".join("\u00a0".join(one.split()) for one in lines)


def _place(flow: Flow, block: Block) -> str:
    symbol = flow.image.symbols.get(block.function)
    return f"{block.address - (symbol.address if symbol else 0):+#x}"


def _block_text(flow: Flow, state: flowchart.State, block: Block) -> str:
    said = [_place(flow, block)]
    if block.branch is not None:
        name, now = branch_lines(flow, block, state.image)
        said.append(f"{' '.join(name.split())} {now.partition(':')[0]}")
    elif block.mark is not None:
        enters = block.mark is FlowMark.VM_ENTER
        said.append(f"{FLOW_LETTERS[block.mark]} {block.instructions[0].mnemonic if enters else block.mark}")
    if block.choice is not None:
        found = flow.alternatives[block.choice.site]
        said.append(f"{found.key} {found.variants[block.choice.variant].condition}")
    return " ".join(said)


# --- buffers -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _left(trace: Trace) -> Panel:
    left = buffers.left(trace)
    lines = []
    for entry in left.entries:
        cells: list[Panel | None] = [None] * (LINE // WORD)
        for one in entry.residues:
            letter = _letter(one)
            index = one.address % LINE // WORD
            said = f"{VALUES[letter]}: {_told(trace, one)}"
            cells[index] = {"letter": letter, "written": one.written, "text": said}
        owner = "vCPU" if any(one.owner is Owner.VCPU for one in entry.residues) else str(entry.residues[0].owner)
        lines.append({"line": f"{entry.line:#x}", "owner": owner, "cells": cells})
    lines += [{"line": "", "owner": "empty", "cells": [None] * (LINE // WORD)}] * (left.size - len(lines))
    letters = [_letter(one) for one in left.residues]
    counted = [{"letter": letter, "text": text, "count": letters.count(letter)} for letter, text in VALUES.items()]
    summary = _said(letters)
    text = [f"Left in the buffers at VM-Enter (a model of {left.size} entries; no measurement, no verdict):"]
    text += _wrapped("  ", summary)
    text += [f"  {letter}  {_told(trace, one)}" for letter, one in _worth_telling(left.residues)]
    return {
        "lines": lines,
        "said": summary,
        "legend": [one for one in counted if one["count"]],
        "values": [{"letter": _letter(one), "text": _told(trace, one)} for one in left.residues],
        "leaves_out": list(buffers.LEAVES_OUT),
        "text": text,
    }


def _buffers(entry: Entry) -> Panel:
    return _left(entry.trace)


def _said(letters: list[str]) -> str:
    """Return in a sentence what is left."""
    parts = [f"{letters.count(letter)} × {text}" for letter, text in VALUES.items() if letter in letters]
    return f"{', '.join(parts)}." if parts else "Nothing is left."


def _worth_telling(residues: tuple[buffers.Residue, ...]) -> list[tuple[str, buffers.Residue]]:
    """Return the values that the twin names one by one: all of few, of many those of the host's registers."""
    told = [(_letter(one), one) for one in residues]
    return told if len(told) <= 4 else [pair for pair in told if pair[0] == "R"]


def _letter(one: buffers.Residue) -> str:
    if one.value in _HOST_VALUES:
        return "R"
    if one.owner is Owner.VCPU and one.size == WORD and one.value & _GUEST_MASK == GUEST:
        return "G"
    return _OF_OWNER.get(one.owner, "H")


_HOST_VALUES = frozenset(HOST_REGISTERS.values())
_GUEST_MASK = 0xFFFF_FFFF_0000_0000


def _told(trace: Trace, one: buffers.Residue) -> str:
    """Return what a value is and who brought it."""
    instruction = trace.instructions[one.step]
    text = instruction.naming(trace.image.label)
    verb = "stored" if one.written else "loaded"
    return f"{one.value:#0{2 + 2 * one.size}x} {verb} by {one.where} {text}"


_PANELS: dict[str, Callable[[Entry], Panel]] = {
    "selection": lambda entry: _selection(entry.selection),
    "events": _events,
    "verdict": _verdict,
    "flow": _flow,
    "buffers": _buffers,
}
