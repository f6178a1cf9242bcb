"""A VM-Enter in words: what `vmenter enter` says."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vmenter.boot.selection_text import selection_lines
from vmenter.emulator.memory import kernel_address
from vmenter.emulator.trace import EventKind
from vmenter.patching.text import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmenter.emulator.trace import Event, Trace
    from vmenter.story.eras import Entry

_EVENTS = {
    EventKind.VERW: "VERW",
    EventKind.L1D_FLUSH: "WRMSR to IA32_FLUSH_CMD: the L1D is flushed",
    EventKind.L1D_FLUSH_LOOP: "the last of 64 KiB is read: the L1D is flushed, without microcode",
    EventKind.FB_CLEAR_DIS_SET: "WRMSR to IA32_MCU_OPT_CTRL: FB_CLEAR_DIS set",
    EventKind.FB_CLEAR_DIS_CLEAR: "WRMSR to IA32_MCU_OPT_CTRL: FB_CLEAR_DIS clear",
    EventKind.LFENCE: "LFENCE",
}


def to_json(entry: Entry) -> dict[str, Any]:
    """Return it in the shape of `vmenter enter --json`."""
    verdict = entry.verdict
    return {
        "era": entry.era.id,
        "features": list(entry.selection.features),
        "keys": [*entry.selection.keys, *entry.selection.kvm_keys],
        "l1d_flush": entry.selection.l1d_flush,
        "sysfs": asdict(entry.selection.lines),  # KVM is loaded when a guest is entered, and l1tf says so
        "vm_enter": entry.trace.vm_enter,
        "events": [
            {"kind": str(event.kind), "symbol": symbol, "address": address}
            for event, symbol, address in notable(entry.trace)
        ],
        "verw": verdict.verw,
        "l1d_flushed": verdict.l1d_flushed,
        "instructions_after_clear": verdict.instructions_after_clear,
        "accesses_after_clear": verdict.accesses_after_clear,
        "promise": verdict.promise,
        "kept": verdict.kept,
        "neutralised": verdict.neutralised,
    }


def to_text(entry: Entry) -> str:
    """Return one VM-Enter as plain text, as `vmenter enter` prints it."""
    return "\n".join(_lines(entry))


def _lines(entry: Entry) -> Iterator[str]:
    """Yield one VM-Enter: era, selection, vCPU, events, promise, verdict, distance."""
    era, vcpu, verdict = entry.era, entry.vcpu, entry.verdict
    yield f"{era.id}: {era.title} ({era.release}; selection of kernel {era.kernel})"
    yield from selection_lines(entry.selection)
    yield "vCPU:"
    yield from table(
        (
            ("reaches host MMIO", _REACH[vcpu.mmio]),
            ("flush flag", "set" if vcpu.flush_pending else "clear"),
            ("entered before", "yes" if vcpu.resume else "no"),
            ("guest has FB_CLEAR", "yes" if vcpu.guest_fb_clear else "no"),
            *((("host RSP", "unchanged since the last VM-Enter"),) if not vcpu.host_rsp_changed else ()),
            *((("CR2", "holds the guest's value already"),) if not vcpu.cr2_changed else ()),
        ),
    )
    yield "On the way to VM-Enter:"
    yield from table(
        (where, address, event_text(event, entry.trace)) for event, where, address in notable(entry.trace)
    )
    yield f"Promise: {verdict.promise}"
    yield f"Verdict: {'kept' if verdict.kept else 'BROKEN'}: {verdict.reason}"
    yield from (f"         {note}" for note in notes(entry))
    if verdict.instructions_after_clear is not None:
        yield (
            f"Distance: {_count(verdict.instructions_after_clear, 'instruction')} and "
            f"{_count(verdict.accesses_after_clear or 0, 'memory access', 'es')} between the last clear "
            "and VM-Enter"
        )


_REACH = {
    "none": "no",
    "assigned": "yes, a device is passed through",
    "mapped": "yes, host MMIO is mapped without a device passed through",
}


def notes(entry: Entry) -> Iterator[str]:
    """Yield what the verdict itself does not say."""
    verdict = entry.verdict
    if verdict.assumed:
        yield "assumed: that flushing by reading clears the CPU buffers too is documented nowhere"
    if verdict.neutralised:
        yield (
            "neutralised: a VERW ran while FB_CLEAR_DIS was set, which by its documentation keeps VERW from "
            "clearing the fill buffers; what that means for the host is an open question"
        )
    if not verdict.entered_right:
        yield f"{entry.trace.vm_enter} is the wrong one here: the CPU refuses to enter the guest"
    if verdict.verw:
        for link in entry.selection.why:
            if link.outcome == "no microcode":
                yield f"{link.subject}, {link.outcome}: {link.reason}"


def notable(trace: Trace) -> list[tuple[Event, str, str]]:
    """Return (event, place, address as a kernel would have it) of all events but plain calls."""
    return [
        (event, trace.where(event.step), f"{kernel_address(event.address):#x}")
        for event in trace.events
        if event.kind is not EventKind.CALL
    ]


def event_text(event: Event, trace: Trace) -> str:
    """Return what an event is, in words."""
    if event.kind is EventKind.VM_ENTER:
        return f"VM-Enter by {trace.vm_enter}"
    if event.kind is EventKind.WRMSR:
        return f"WRMSR to {event.value:#x}"
    neutralised = ", while FB_CLEAR_DIS is set" if event.neutralised else ""
    return _EVENTS.get(event.kind, str(event.kind)) + neutralised


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{plural if number != 1 else ''}"
