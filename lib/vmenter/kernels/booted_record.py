"""A few VM-Enters of booted kernels, recorded, to be shown beside the lab's.

Each was seen once, when a kernel was booted in an emulator that knows virtualisation and a tiny guest was run
through /dev/kvm: which functions ran, with how many instructions and accesses to memory, what cleared, where. What
was forced stands with it. tests/tools/record_booted.py made booted.json from whole recordings (`booted`); a test
makes it again.

    >>> print(booted_enter("5.10.46, 2019's flaw").text)
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.emulator.trace import CLEARS, EventKind, Trace
from vmenter.kernels.booted import Recording, Stretch
from vmenter.kernels.booted_match import COMPARED, Comparison
from vmenter.patching.text import table
from vmenter.story import eras
from vmenter.story.promise import Reach, VCpuState

RECORD = Path(__file__).with_name("booted.json")
LETTERS = {
    EventKind.VERW: "V",
    EventKind.L1D_FLUSH: "F",
    EventKind.L1D_FLUSH_LOOP: "F",
    EventKind.FB_CLEAR_DIS_SET: "D",
}
NOTHING = "\u2205"
ABOUT_LETTERS = f"V is VERW, F a flush of the L1D, D FB_CLEAR_DIS; {NOTHING} is none of them"


@dataclass(frozen=True)
class Happened:
    """One thing that happened on a way: what, where, and what ran since the one before."""

    kind: EventKind
    where: str
    instructions: int
    accesses: int
    neutralised: bool = False


@dataclass(frozen=True)
class Way:
    """One way to VM-Enter, recorded or the lab's: what happened, and what ran in which function, in order."""

    vm_enter: str
    happened: tuple[Happened, ...]
    path: tuple[Stretch, ...]

    @property
    def cleared(self) -> bool:
        """Whether a VERW or an L1D flush ran."""
        return any(one.kind in CLEARS for one in self.happened)

    @property
    def distance(self) -> tuple[int, int] | None:
        """Instructions and accesses strictly between the last clear and VM-Enter; None without a clear."""
        last = next((at for at, one in reversed(list(enumerate(self.happened))) if one.kind in CLEARS), None)
        if last is None:
            return None
        after = self.happened[last + 1 :]
        return sum(one.instructions for one in after) + len(after) - 1, sum(one.accesses for one in after)


@dataclass(frozen=True)
class BootedEnter:
    """One VM-Enter that a booted kernel made, and where the lab is to be asked for the same."""

    name: str
    kernel: str  # its version, and how it came to be
    cpu: str  # the CPU as the emulator showed it
    emulator: str
    forced: str  # what was not left to the kernel; "" for nothing
    lines: tuple[
        tuple[str, str], ...
    ]  # vulnerabilities file, its text, of those that say more than "Not affected"
    option: str  # what kvm-intel was loaded with
    number: int  # of this VM-Enter among its guest's, from 1
    guest: tuple[str, ...]  # all VM-Enters of the guest, in the letters of ABOUT_LETTERS
    era: str
    host: Host
    vcpu: VCpuState
    way: Way

    @property
    def entry(self) -> eras.Entry:
        """The lab's VM-Enter in the same situation."""
        return eras.enter(self.era, self.host, self.vcpu)

    @property
    def lab(self) -> Way:
        """The lab's way."""
        return way_of_trace(self.entry.trace)

    @property
    def promise_kept(self) -> bool:
        """Whether the booted kernel did what was owed here."""
        promise = self.entry.promise
        kinds = {one.kind for one in self.way.happened}
        flushed = not kinds.isdisjoint((EventKind.L1D_FLUSH, EventKind.L1D_FLUSH_LOOP))
        cleared = EventKind.VERW in kinds or (flushed and not promise.verw_alone)
        return (cleared or not promise.owes_clear(self.vcpu)) and (flushed or not promise.owes_flush(self.vcpu))

    @property
    def text(self) -> str:
        """It as plain text, the lab's beside it."""
        return "\n".join(lines_of(self))


# --- from recordings, and to JSON --------------------------------------------------------------------------------


def of_comparison(
    name: str, recording: Recording, one: Comparison, every: tuple[Comparison, ...], **about: str
) -> BootedEnter:
    """Make one of a recording's VM-Enters, `every`. `about`: kernel, cpu, emulator, forced, in words."""
    entry, recorded = one.entry, one.recorded
    if not isinstance(entry, eras.Entry):
        raise LabError(f"{name}: only VM-Enters of Intel machines are kept")
    return BootedEnter(
        name=name,
        **about,
        lines=tuple((file, text) for file, text in recording.lines if text != "Not affected"),
        option=recorded.option,
        number=recorded.number + 1,
        guest=tuple(_letters(other.order) for other in every if other.recorded.run == recorded.run),
        era=entry.era.id,
        host=entry.host,
        vcpu=entry.vcpu,
        way=Way(recorded.vm_enter, _happened(recorded, recorded.accesses or ()), recorded.path),
    )


def _letters(order: tuple[str, ...]) -> str:
    return "".join(LETTERS.get(EventKind(kind), "") for kind in order[:-1]) or NOTHING


def way_of_trace(trace: Trace) -> Way:
    """Return the lab's way in the same form."""
    places = [trace.image.label(address).split("+")[0] for address in trace.steps]
    accesses = [0] * len(places)
    for step, *_ in trace.raw_accesses:
        accesses[step] += 1
    steps = groupby(range(len(places)), key=places.__getitem__)
    runs = [(name, list(run)) for name, run in steps]
    path = tuple((name, len(run), sum(accesses[step] for step in run)) for name, run in runs)
    return Way(trace.vm_enter or "", _happened(trace, trace.raw_accesses), path)


def _happened(run: Any, accesses: tuple[Any, ...]) -> tuple[Happened, ...]:
    """Return what happened in a run, recorded or traced: both have events and tell where a step is."""
    found, before = [], -1
    for event in run.events:
        if event.kind in COMPARED:
            between = sum(before < access[0] < event.step for access in accesses)
            found.append(
                Happened(event.kind, run.where(event.step), event.step - before - 1, between, event.neutralised)
            )
            before = event.step
    return tuple(found)


def to_json(one: BootedEnter) -> dict[str, Any]:
    """Return one as booted.json has it."""
    data = asdict(one)
    data["host"] = {name: getattr(one.host, name) for name in ("bugs", "facts", "cmdline", "smt", "ept")}
    data["way"]["happened"] = [list(happened.values()) for happened in data["way"]["happened"]]
    return data


def _from_json(data: dict[str, Any]) -> BootedEnter:
    host = {**data["host"], "bugs": tuple(data["host"]["bugs"]), "facts": tuple(data["host"]["facts"])}
    happened = tuple(Happened(EventKind(kind), *rest) for kind, *rest in data["way"]["happened"])
    path = tuple((name, instructions, accesses) for name, instructions, accesses in data["way"]["path"])
    vcpu = VCpuState(**data["vcpu"])
    return BootedEnter(
        **{
            **data,
            "lines": tuple((file, text) for file, text in data["lines"]),
            "guest": tuple(data["guest"]),
            "host": Host(**host),
            "vcpu": replace(vcpu, mmio=Reach(vcpu.mmio)),
            "way": Way(data["way"]["vm_enter"], happened, path),
        }
    )


@cache
def booted_enters() -> dict[str, BootedEnter]:
    """Return all that are kept, by name."""
    return {one["name"]: _from_json(one) for one in json.loads(RECORD.read_text(encoding="utf-8"))}


def booted_enter(name: str) -> BootedEnter:
    """Return one by its name. Raises `LabError` for another name."""
    known = booted_enters()
    if name not in known:
        raise LabError(f"recorded: unknown name {name!r}; use one of: {'; '.join(known)}")
    return known[name]


# --- in words ----------------------------------------------------------------------------------------------------

_WORDS = {
    EventKind.VERW: "VERW",
    EventKind.L1D_FLUSH: "L1D flush by MSR",
    EventKind.L1D_FLUSH_LOOP: "L1D flush by reading 64 KiB",
    EventKind.FB_CLEAR_DIS_SET: "FB_CLEAR_DIS set",
}


def word(one: Happened, vm_enter: str) -> str:
    """Return what happened, in a few words."""
    if one.kind is EventKind.VM_ENTER:
        return f"VM-Enter by {vm_enter}"
    return _WORDS[one.kind] + (", while FB_CLEAR_DIS is set" if one.neutralised else "")


def about_lines(one: BootedEnter) -> list[tuple[str, str]]:
    """Return what is to be known before it is looked at: (what, text)."""
    return [
        ("kernel", one.kernel),
        ("CPU", one.cpu),
        ("emulator", f"{one.emulator}; it has no caches and no buffers: what ran was seen, not what it did"),
        ("forced", one.forced or "nothing"),
        *((f"sysfs {file}", text) for file, text in one.lines),
        ("kvm-intel", one.option or "no option"),
        ("this VM-Enter", f"number {one.number} of {len(one.guest)} of its guest"),
        ("the guest's", f"{' '.join(one.guest)}   ({ABOUT_LETTERS})"),
    ]


def verdict_line(one: BootedEnter) -> str:
    """Say what was owed and whether it ran."""
    promise = one.entry.promise
    owed = promise.owes_clear(one.vcpu)
    ran = "a clear ran" if one.way.cleared else "nothing cleared"
    word_ = "kept" if one.promise_kept else "BROKEN"
    return f"{word_}: {'a clear' if owed else 'no clear'} owed here; {ran}"


def distance_line(way: Way) -> str:
    """Say how far the last clear is from VM-Enter."""
    return counted(*way.distance) if way.distance else "none: there is no clear to count from"


def counted(instructions: int, accesses: int) -> str:
    """Return so many of each in words."""
    return f"{instructions} instruction{'s' * (instructions != 1)}, {accesses} access{'es' * (accesses != 1)}"


def lines_of(one: BootedEnter) -> list[str]:
    """Return it as lines, recorded and lab side by side."""
    lab = one.lab
    lines = [f"Recorded: {one.name}", *table(about_lines(one)), "On the way to VM-Enter, recorded:"]
    lines += table((happened.where, word(happened, one.way.vm_enter)) for happened in one.way.happened)
    lines += [f"The same in the lab ({one.era}):"]
    lines += table((happened.where, word(happened, lab.vm_enter)) for happened in lab.happened)
    lines += ["Way by function, instructions and accesses, recorded:"]
    lines += table((name, f"{ran:>4}", f"{accesses:>4}") for name, ran, accesses in one.way.path)
    lines += ["The same in the lab:"]
    lines += table((name, f"{ran:>4}", f"{accesses:>4}") for name, ran, accesses in lab.path)
    lines += [
        f"Recorded: {verdict_line(one)}",
        f"Distance: recorded {distance_line(one.way)}; lab {distance_line(lab)}",
    ]
    return lines
