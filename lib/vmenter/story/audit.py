"""Every configuration of a space, audited: how many break the promise of VM-Enter, what they share, the smallest.

A configuration takes one value of each dimension of a space. There are far too many to try them all (`FULL` has
some 10^13), and no need to, for three reasons that follow each other in this file:

1. What selection decides falls into parts that do not look at each other: the VERW family (`verw`), L1TF with
   KVM's options (`l1tf`), the vCPU. Only `mitigations=` is read by two of them. So each part is evaluated over its
   own dimensions alone, and comes out as a table: outcome → how many of its configurations lead there.
2. Tables are joined by arithmetic: where parts meet, counts multiply and distances add. Nothing is iterated.
3. The code of an era sees of all this a `State`. Only the distinct ones are run in the emulator; a verdict then
   counts for every configuration that ends in that state.

That this is right rests on what the parts read. Tests hold it against configurations done in full, one by one.
What there is to try, and what is left out, is in `space`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from vmenter import LabError
from vmenter.boot.generations import GENERATIONS, Generation
from vmenter.boot.host import Host
from vmenter.boot.l1tf import select_l1tf
from vmenter.boot.options import Wishes, read_options
from vmenter.boot.verw import select_verw
from vmenter.story import eras, history
from vmenter.story.promise import RFDS_CLEARS, Promise, VCpuState, entered_right, is_kept, promise_of
from vmenter.story.replay import replay
from vmenter.story.space import DEFAULT, Dimension, Part, Picks, Space, Value, machine_of

if TYPE_CHECKING:
    from vmenter.boot.selection import Selection
    from vmenter.emulator.trace import Trace
    from vmenter.story.history import Era

Progress = Callable[[str, int, int], None]
"""Called as progress("43fb862de8f6: machine states", done, of how many)."""


# --- counting ----------------------------------------------------------------------------------------------------


class Tally(NamedTuple):
    """Many configurations at once: how many, the one with the fewest settings, and which values occur in them."""

    number: int
    settings: int
    smallest: Picks
    seen: frozenset[tuple[int, int]]  # (number of the dimension, number of the value), defaults too

    def either(self, other: Tally | None) -> Tally:
        """Return these configurations and those: counts add."""
        if other is None:
            return self
        _, settings, smallest, _ = min(self, other, key=lambda tally: (tally.settings, tally.smallest))
        return Tally(self.number + other.number, settings, smallest, self.seen | other.seen)


CTRL = "fb_clear_ctrl"  # the one fact of a host that is read with the vCPU
ONE = Tally(1, 0, (), frozenset())
Table = dict[Hashable, Tally]


def _one(number: int, dimension: Dimension, value: Value) -> Tally:
    at = number, dimension.values.index(value)
    return Tally(1, value.settings, (at,) if value.settings else (), frozenset((at,)))


def _all(tallies: Iterable[Tally]) -> Tally:
    first, *rest = tallies
    for tally in rest:
        first = first.either(tally)
    return first


def _joined(tallies: Iterable[Tally]) -> Tally:
    """Return each of these together with each of those, all of other dimensions: counts multiply."""
    counts, settings, smallest, seen = zip(*tallies, strict=True)
    return Tally(prod(counts), sum(settings), tuple(sorted(sum(smallest, ()))), frozenset().union(*seen))


# --- 1. each part over its own dimensions ------------------------------------------------------------------------


def _of_verw(host: Host, wishes: Wishes, kernel: Generation, _: VCpuState) -> Hashable:
    """Return what the VERW family comes to, and whether the bugs alone keep KVM from setting FB_CLEAR_DIS.

    Of the first: for whom VERW is asked, and whether RFDS is among the reasons, for which no flush stands in.
    """
    return _verw(host, wishes, kernel.kernel)


@lru_cache(maxsize=1 << 15)
def _verw(host: Host, wishes: Wishes, kernel: str) -> tuple[bool, bool, bool, bool]:
    """Evaluate it, once: who looks at one part of a space after another asks about the same machines again."""
    verw, _why = select_verw(host, wishes, GENERATIONS[kernel])
    immune = {"mds", "taa"}.isdisjoint(host.bugs)
    return verw.clears_for_all, verw.clears_for_mmio, verw.rfds == RFDS_CLEARS, not immune


def _read_by_verw(host: Host, options: Iterable[tuple[int, Dimension]]) -> Hashable:
    """Return all that `_of_verw`, and the options of the four flaws, read of a machine: its bugs, and some facts.

    RTM counts for TAA alone, and so does TSX_CTRL, by which `tsx=` is obeyed; RFDS_CLEAR for RFDS.
    """
    asked = {"rtm", *(("tsx_ctrl_msr",) if any(d.name == "tsx=" for _, d in options) else ())}
    facts = (asked if "taa" in host.bugs else set()) | ({"rfds_clear"} if "rfds" in host.bugs else set())
    return host.bugs, tuple(fact for fact in host.facts if fact in facts)


def _of_l1tf(host: Host, wishes: Wishes, kernel: Generation, _: VCpuState) -> Hashable:
    l1tf, _why = select_l1tf(host, wishes, kernel)
    return l1tf.flush, host.has("flush_l1d")


def _of_vcpu(host: Host, _: Wishes, _kernel: Generation, vcpu: VCpuState) -> Hashable:
    return vcpu, host.has(CTRL)


_OUTCOME = {Part.VERW: _of_verw, Part.L1TF: _of_l1tf, Part.VCPU: _of_vcpu}


def _shared_view(part: Part, option: str, kernel: Generation) -> Hashable:
    """Return what a part reads of `mitigations=`. VERW: the word, and whether any vector is left."""
    wishes, _ = read_options(Host(cmdline=option), kernel)
    return (wishes.mitigations, bool(wishes.vectors)) if part is Part.VERW else wishes


@lru_cache(maxsize=1024)
def _table(part: Part, dimensions: tuple[tuple[int, Dimension], ...], kernel: str, shared: str) -> Table:
    """Evaluate one part over all values of its dimensions, with `mitigations=` fixed.

    Options are read on each machine first, one by one: values that come to the same wish there (all of `mds=`
    on a CPU without MDS) are one value, with a count.
    """
    generation, outcome = GENERATIONS[kernel], _OUTCOME[part]
    options = [(number, d) for number, d in dimensions if any(value.option for value in d.values)]
    hardware = [pair for pair in dimensions if pair not in options]
    table: Table = {}
    alike: dict[Hashable, tuple[Host, VCpuState, Tally]] = {}  # machines that this part cannot tell apart
    for machine, vcpu, here in _machines(tuple(hardware)):
        read = (_read_by_verw(machine, options), vcpu) if part is Part.VERW else (machine, vcpu)
        known = alike.get(read)
        alike[read] = (*known[:2], here.either(known[2])) if known else (machine, vcpu, here)
    for machine, vcpu, here in alike.values():
        words = [_told_apart(pair, machine.bugs, kernel, tsx_ctrl=machine.has("tsx_ctrl_msr")) for pair in options]
        for chosen in product(*words):
            text = " ".join((shared, *(option for option, _ in chosen))).strip()
            wishes = _wishes(machine.bugs, text, kernel, tsx_ctrl=machine.has("tsx_ctrl_msr"))
            found = outcome(machine, wishes, generation, vcpu)
            tally = _joined((here, *(tally for _, tally in chosen)))
            table[found] = tally.either(table.get(found))
    return table


@lru_cache(maxsize=256)
def _machines(hardware: tuple[tuple[int, Dimension], ...]) -> list[tuple[Host, VCpuState, Tally]]:
    """Return every machine of these dimensions: the same for all kernels and command lines."""
    found = []
    for values in product(*(d.values for _, d in hardware)):
        tally = _joined((ONE, *(_one(*pair, value) for pair, value in zip(hardware, values, strict=True))))
        found.append((*machine_of(values), tally))
    return found


@lru_cache(maxsize=1 << 14)
def _told_apart(
    pair: tuple[int, Dimension], bugs: tuple[str, ...], kernel: str, *, tsx_ctrl: bool
) -> list[tuple[str, Tally]]:
    """Return the values of an option that differ on a machine: (text of one, tally of all that read the same)."""
    found: dict[Wishes, tuple[str, Tally]] = {}
    for value in pair[1].values:
        wishes = _wishes(bugs, value.option, kernel, tsx_ctrl=tsx_ctrl)
        text, tally = found.get(wishes, (value.option, None))
        found[wishes] = text, _one(*pair, value).either(tally)
    return list(found.values())


@lru_cache(maxsize=1 << 15)
def _wishes(bugs: tuple[str, ...], text: str, kernel: str, *, tsx_ctrl: bool) -> Wishes:
    """Read options. They ask a machine only for its bugs and TSX_CTRL: many machines share a reading."""
    wishes, _ = read_options(Host(bugs, ("tsx_ctrl_msr",) * tsx_ctrl, text), GENERATIONS[kernel])
    return wishes


# --- 2. joined by arithmetic ------------------------------------------------------------------------------------


def outcomes(space: Space, kernel: str, progress: Progress | None = None) -> Table:
    """Return what selection makes of a whole space: {((VERW, L1TF), vCPU): tally}. All counts add up to it."""
    selected, vcpus, told = parts(space, kernel, progress)
    return {
        (both, vcpu): _joined((left, right, told))
        for (both, left), (vcpu, right) in product(selected.items(), vcpus.items())
    }


def parts(space: Space, kernel: str, progress: Progress | None = None) -> tuple[Table, Table, Tally]:
    """Return what `outcomes` joins: of (VERW, L1TF), of the vCPU, of what is only told. Their counts multiply."""
    (shared,) = space.of(Part.SHARED)
    generation = GENERATIONS[kernel]
    first: dict[Hashable, str] = {}  # one text of `mitigations=` for all that a part cannot tell apart
    merged: Table = {}
    for done, value in enumerate(shared[1].values):
        if progress:
            progress(f"selection of kernel {kernel}", done, len(shared[1].values))
        tables = []
        for part in (Part.VERW, Part.L1TF):
            text = first.setdefault((part, _shared_view(part, value.option, generation)), value.option)
            tables.append(_table(part, space.of(part), kernel, text))
        for (verw, left), (l1tf, right) in product(*(table.items() for table in tables)):
            tally = _joined((_one(*shared, value), left, right))
            merged[verw, l1tf] = tally.either(merged.get((verw, l1tf)))
    vcpus = _table(Part.VCPU, space.of(Part.VCPU), kernel, "")
    told = _joined((ONE, *(_all(_one(*pair, value) for value in pair[1].values) for pair in space.of(Part.TOLD))))
    return merged, vcpus, told


# --- 3. distinct states, run ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """Configurations that have one fault in common, and the smallest of them."""

    tally: Tally
    space: Space

    @property
    def count(self) -> int:
        """How many."""
        return self.tally.number

    @property
    def machine(self) -> tuple[Host, VCpuState]:
        """The smallest, as a host and a vCPU."""
        return self.space.machine(self.tally.smallest)

    @property
    def settings(self) -> dict[str, str]:
        """What is not the default in the smallest: {dimension: value}."""
        dimensions = self.space.dimensions
        return {dimensions[d].name: dimensions[d].values[v].label for d, v in self.tally.smallest}

    @property
    def shared(self) -> dict[str, tuple[str, ...]]:
        """The dimensions they share: those of which not every value occurs, {dimension: values that do}."""
        found = {}
        for number, dimension in enumerate(self.space.dimensions):
            seen = [v.label for place, v in enumerate(dimension.values) if (number, place) in self.tally.seen]
            if len(seen) < len(dimension.values):
                found[dimension.name] = tuple(seen)
        return found


@dataclass(frozen=True)
class Audit:
    """What an era does in every configuration of a space. A finding is None where there is nothing to find."""

    era: Era
    space: Space
    states: int  # distinct ones, each run
    broken: Finding | None
    neutralised: Finding | None  # a VERW ran while FB_CLEAR_DIS was set; beside `broken`, not among it
    failed: Finding | None  # a crash, no VM-Enter, or VMLAUNCH and VMRESUME mixed up

    @property
    def replay(self) -> str | None:
        """The smallest counterexample as a command that shows it."""
        return replay(self.era, *self.broken.machine) if self.broken else None


def reached(
    era: Era, space: Space = DEFAULT, progress: Progress | None = None
) -> dict[tuple[eras.State, Promise], Tally]:
    """Return every state that an era's code can be in, with what is promised there: what it stands for.

    The counts of all add up to the space. Nothing is run.
    """
    selected, vcpus, told = parts(space, era.kernel, progress)
    alike: dict[tuple[eras.State, Promise], tuple[Selected, Tally]] = {}  # for whatever vCPU
    for left in selected.values():
        one = _selected(era, space, left)
        key = eras.state_of(era, one.hosts[True], one.selection, VCpuState()), one.promise
        alike[key] = one, left.either(alike[key][1] if key in alike else None)
    entries = [(*space.machine(tally.smallest), tally) for tally in vcpus.values()]
    found: dict[tuple[eras.State, Promise], Tally] = {}
    for one, left in alike.values():
        read = eras.seen(era, one.hosts[True], one.selection)
        for entering, vcpu, right in entries:
            state = eras.state_of(era, one.hosts[entering.has(CTRL)], one.selection, vcpu, read)
            tally = _joined((left, right, told))
            found[state, one.promise] = tally.either(found.get((state, one.promise)))
    return found


class Selected(NamedTuple):
    """What selection makes of hosts with one outcome; of the fact that is read with the vCPU, both."""

    hosts: tuple[Host, Host]  # without FB_CLEAR_CTRL, with it
    selection: Selection
    promise: Promise


def _selected(era: Era, space: Space, tally: Tally) -> Selected:
    host, _ = space.machine(tally.smallest)  # one configuration speaks for all with its outcome
    selection = eras.selected(host, era.kernel)
    return Selected((host, replace(host, facts=(*host.facts, CTRL))), selection, promise_of(selection))


def _cases(era: Era, space: Space, progress: Progress | None) -> dict[Hashable, tuple[eras.State, Promise, Tally]]:
    """Return for each outcome what an era's code sees of it, what is promised there, and its configurations."""
    selected, vcpus, told = parts(space, era.kernel, progress)
    entries = [(outcome, *space.machine(tally.smallest), tally) for outcome, tally in vcpus.items()]
    found: dict[Hashable, tuple[eras.State, Promise, Tally]] = {}
    for both, left in selected.items():
        one = _selected(era, space, left)
        read = eras.seen(era, one.hosts[True], one.selection)
        for outcome, entering, vcpu, right in entries:
            state = eras.state_of(era, one.hosts[entering.has(CTRL)], one.selection, vcpu, read)
            found[both, outcome] = state, one.promise, _joined((left, right, told))
    return found


def with_value(tally: Tally, space: Space, name: str, label: str) -> Tally:
    """Return these configurations, each with one value of a dimension that they say nothing about yet."""
    number, dimension = next((n, d) for n, d in enumerate(space.dimensions) if d.name == name)
    value = next(value for value in dimension.values if value.label == label)
    return _joined((tally, _one(number, dimension, value)))


def audit(era: Era | str, space: Space = DEFAULT, progress: Progress | None = None) -> Audit:
    """Audit one era, or any code in its place: `dataclasses.replace(era, code=…)`."""
    era = history.era(era) if isinstance(era, str) else era
    cases = reached(era, space, progress)
    faults: dict[str, Tally] = {}
    for case, found in _judged(era, cases, progress).items():
        for fault in found:
            faults[fault] = cases[case].either(faults.get(fault))
    states = len({state for state, _ in cases})
    findings = {fault: Finding(tally, space) for fault, tally in faults.items()}
    return Audit(era, space, states, findings.get("broken"), findings.get("neutralised"), findings.get("failed"))


class Fate(NamedTuple):
    """What an era makes of all configurations with one outcome."""

    state: eras.State
    promise: Promise
    faults: frozenset[str]  # of "broken", "neutralised", "failed"


def fates(
    era: Era, space: Space = DEFAULT, progress: Progress | None = None
) -> dict[Hashable, tuple[Fate, Tally]]:
    """Return for each outcome of a space its fate, and the configurations that share it. Runs each state once."""
    cases = _cases(era, space, progress)
    faults = _judged(era, ((state, promise) for state, promise, _ in cases.values()), progress)
    return {
        outcome: (Fate(state, promise, faults[state, promise]), tally)
        for outcome, (state, promise, tally) in cases.items()
    }


def _judged(
    era: Era, cases: Iterable[tuple[eras.State, Promise]], progress: Progress | None
) -> dict[tuple[eras.State, Promise], frozenset[str]]:
    """Run each state once, and hold it against each promise that was made in it."""
    promises: dict[eras.State, set[Promise]] = {}
    for state, promise in cases:
        promises.setdefault(state, set()).add(promise)
    faults: dict[tuple[eras.State, Promise], frozenset[str]] = {}
    states = sorted(promises, key=lambda state: (sorted(state.features), sorted(state.keys)))
    for done, state in enumerate(states):
        if progress:
            progress(f"{era.id}: machine states", done, len(states))
        traces = [_run(era, one) for one in _variants(era, state)]
        for promise in promises[state]:
            found = (fault for trace in traces for fault in _faults(promise, state, trace))
            faults[state, promise] = frozenset(found)
    return faults


def _variants(era: Era, state: eras.State) -> tuple[eras.State, ...]:
    """Return the states to run for one: of code that is not the lab's, also that with RSP and CR2 unchanged.

    Neither is a dimension: every configuration meets both, from one VM-Enter to the next, so a configuration has a
    fault if it has it in either. The lab's own code does the same in both (a test runs them), and is run once.
    """
    return state.variants if era.module or era.code is not None else (state,)


def _run(era: Era, state: eras.State) -> Trace | None:
    """Run one state; None for a crash. `eras.enter` with the failing machine raises the error that says why."""
    if era.module:
        return era.module.run(state)
    eras.patched(era, state.features, state.keys)  # what cannot even be patched is no finding but an error
    try:
        return eras.run_like(era, state)
    except LabError:
        return None


def _faults(promise: Promise, state: eras.State, trace: Trace | None) -> Iterator[str]:
    """Yield what is wrong with a run. Of the vCPU a verdict reads what the state holds."""
    if trace is None or trace.vm_enter is None:
        yield "failed"
        return
    vcpu = VCpuState(state.mmio, state.flush_pending, state.resume)
    if not is_kept(promise, vcpu, trace):
        yield "broken"
    if trace.neutralised:
        yield "neutralised"
    if not entered_right(vcpu, trace):
        yield "failed"


def audits(
    which: Iterable[Era | str] | None = None, space: Space = DEFAULT, progress: Progress | None = None
) -> Iterator[Audit]:
    """Yield the audit of one era after the other, by default of all.

    Stopped at any point, it has lost nothing: what was yielded stands, and the tables that were evaluated are
    remembered for the next call.
    """
    for era in history.ERAS.values() if which is None else which:
        yield audit(era, space, progress)
