"""A learner's own way to VM-Enter, audited: the smallest configuration that it gets wrong, and the way it went.

States are run from the default machine outwards, so the first that goes wrong is the smallest counterexample.
Code that is right in all of them is then run in each state's surroundings (`entering`): what it must leave alone.
What a learner's code may use is bounded: each run by the machine's budget, all of them by `INSTRUCTIONS`, counted
and not timed so that an answer is the same everywhere. Code that crashes or does not end is not run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from vmenter import LabError, in_browser
from vmenter.course.judging.edge import late
from vmenter.course.judging.entering import Around, Entered, enter
from vmenter.course.judging.flags import NAMES, flags_written
from vmenter.course.judging.untouched import USUAL, entered_right, guest_loaded, wrong_around
from vmenter.emulator.trace import CLEARS, End, EventKind, Trace
from vmenter.patching.static_keys import branches
from vmenter.story.audit import Tally, reached
from vmenter.story.promise import Promise, Reach, VCpuState, Verdict, judge
from vmenter.story.space import DEFAULT, Part, Space

if TYPE_CHECKING:
    from vmenter.story.eras import State
    from vmenter.story.history import Era

INSTRUCTIONS = 4_000_000  # for all runs of one audit; the solution of 08-3 takes 1,264,200
# Of the CPU: the last resort, for code that is slow in some way not thought of. A tab has no clock but the wall's.
SECONDS = 32.0 if in_browser() else 8.0
OBJECT = 256 << 10  # bytes of a learner's object; the lab's have 5,000
LINES = 12  # of the way to VM-Enter that are shown
FLAGS = ("flush_pending", "resume", "guest_fb_clear")  # of a vCPU

Cases = Mapping[tuple["State", Promise], Tally]


class Run(NamedTuple):
    """One state of the code with what is promised there, and what ran."""

    state: State
    promise: Promise
    entered: Entered
    verdict: Verdict

    @property
    def trace(self) -> Trace:
        """What ran."""
        return self.entered.trace

    @property
    def vcpu(self) -> VCpuState:
        """What of the vCPU the promise looks at."""
        return VCpuState(self.state.mmio, self.state.flush_pending, self.state.resume)


@dataclass(frozen=True)
class Counterexample:
    """Why an answer is wrong, in words, and the run that shows it (None if nothing ran to an end)."""

    text: str
    trace: Trace | None = None

    def __str__(self) -> str:
        """Return the words."""
        return self.text


class Surroundings(NamedTuple):
    """What a state is run in beside itself, the era whose own code shows what to leave alone, a later promise."""

    own: Era
    arounds: tuple[Around, ...] = (Around(), *USUAL)
    later: Callable[[State, Promise], Promise] = lambda _, promise: promise  # of the next VM-Enter, in its state
    spoilt: Era | None = None  # the answer among functions that leave free registers used


Demand = Callable[[Run], "str | None"]
"""What an exercise asks of every run: None, or what is wrong in words."""


# --- what may be asked of a run ----------------------------------------------------------------------------------


def keeps_the_promise(run: Run) -> str | None:
    """Ask for the clears that are owed."""
    return None if run.verdict.kept else f"{run.verdict.reason}. The promise here: {run.promise.text}"


def enters_right(run: Run) -> str | None:
    """Ask for VMLAUNCH the first time and VMRESUME from then on."""
    return entered_right(run.entered)


def clears_nothing_needlessly(run: Run) -> str | None:
    """Ask that hosts and guests which are owed nothing pay nothing."""
    if run.verdict.verw and not run.promise.owes_clear(run.vcpu):
        return "VERW ran although no clear is owed; not everyone should pay for it"
    if run.verdict.l1d_flushed and not run.promise.owes_flush(run.vcpu):
        return "the L1D was flushed although no flush is owed; that is the expensive one"
    return None


def clears_once(run: Run) -> str | None:
    """Ask for one VERW, not several."""
    return None if run.verdict.verw <= 1 else f"VERW ran {run.verdict.verw} times; once is enough"


def clears_at_the_edge(run: Run) -> str | None:
    """Ask that nothing but run flags is read or written behind the last clear, where VERW is asked for."""
    if not run.promise.owes_clear(run.vcpu) or not run.trace.clears:
        return None
    behind = late(run.entered)
    if not behind:
        return None
    what = f"{len(behind)} accesses" if len(behind) > 1 else "1 access"
    return f"{what} to memory behind the last clear can put host data back; the first: {behind[0]}"


def loads_the_guests_registers(run: Run) -> str | None:
    """Ask that every register but RSP holds the guest's value at VM-Enter."""
    return guest_loaded(run.entered)


# --- the audit ---------------------------------------------------------------------------------------------------


class _Failure(NamedTuple):
    """A state that went wrong, and what it stands for. `final`: nothing was run behind it."""

    text: str
    tally: Tally
    trace: Trace | None
    final: bool = False
    around: str = ""  # what is special about the surroundings


def audited(
    id_: str,
    era: Era,
    demands: Iterable[Demand],
    space: Space = DEFAULT,
    cases: Cases | None = None,
    surroundings: Surroundings | None = None,
    made: str = "",
) -> Counterexample | None:
    """Hold an answer's code against demands in every configuration of a space; None if it meets them all.

    `id_` is the exercise, for the line that shows the counterexample, and `made` what else `own_era` has to be
    told there to make this era of the answer (such as `after_the_flush='…'`); `cases` are the states of the code
    and what they stand for, if not those of `audit.reached`; `surroundings`, if given, are gone through once all
    configurations are right. Raises `LabError` for code that is too large or takes
    too long.
    """
    if len(era.object) > OBJECT:
        raise LabError(f"the object has {len(era.object):,} bytes; the audit takes {OBJECT:,}")
    cases = cases or _reached(replace(era, code=None), space)
    asked = tuple(demands)
    failures = list(_failures(era, asked, cases))
    if not failures and surroundings:
        failures = list(_around(era, asked, cases, surroundings))
    if not failures:
        return None
    first = failures[0]
    if failures[-1].final and not failures[-1].around:
        head = "An audit stops where code crashes or does not end. The smallest configuration that goes wrong is"
    elif failures[-1].around:
        head = "Every configuration is right as it is, but not whatever it meets. The smallest that goes wrong is"
    else:
        count = sum(failure.tally.number for failure in failures)
        head = f"{count:,} of {space.configurations:,} configurations go wrong. The smallest is"
    lines = [f"{head} {_settings(first.tally, space)}", f"What is wrong: {first.text}"]
    if first.trace:
        lines += [
            WAY,
            *way(first.trace),
            f'All of it: print(check("{id_}", answer).trace.text)',
            *(() if first.around else _in_colour(id_, first.tally, space, made)),
        ]
    return Counterexample("\n".join(lines), first.trace)


_reached = lru_cache(maxsize=16)(reached)  # of eras without their code, which plays no part in it


def _failures(era: Era, demands: tuple[Demand, ...], cases: Cases) -> Iterator[_Failure]:
    """Run the states outwards from the default machine, and yield those that go wrong."""
    spent, deadline = 0, time.process_time() + SECONDS
    outwards = _outwards(cases)
    for done, ((state, promise), tally) in enumerate(outwards):
        if spent > INSTRUCTIONS or time.process_time() > deadline:
            raise LabError(
                f"the audit was stopped after {done} of {len(outwards)} states of the machine: the code runs "
                f"{spent // done:,} instructions on its way to VM-Enter, where the lab's run about 100"
            )
        try:
            entered = enter(era, state)
        except LabError as error:
            yield _Failure(f"the code crashes. {error}", tally, None, final=True)
            return
        spent += len(entered.trace.steps)
        if entered.trace.vm_enter is None:
            yield _Failure(_no_entry(entered.trace), tally, entered.trace, final=True)
            return
        if wrong := _asked(demands, state, promise, entered):
            yield _Failure(wrong, tally, entered.trace)


def _outwards(cases: Cases) -> list[tuple[tuple[State, Promise], Tally]]:
    return sorted(cases.items(), key=lambda case: (case[1].settings, case[1].smallest))


def _asked(demands: tuple[Demand, ...], state: State, promise: Promise, entered: Entered) -> str | None:
    """Return what is wrong with a run, if anything is."""
    vcpu = VCpuState(state.mmio, state.flush_pending, state.resume)
    run = Run(state, promise, entered, judge(promise, vcpu, entered.trace))
    return next((text for demand in demands if (text := demand(run))), None)


def _around(era: Era, demands: tuple[Demand, ...], cases: Cases, surroundings: Surroundings) -> Iterator[_Failure]:
    """Run the states in their surroundings, and yield the first that goes wrong there.

    A flush by reading takes thousands of instructions that know nothing of what is entered: with it, one state
    stands for those that differ in no more. All of them were run in the plain surroundings.
    """
    done: set[State] = set()
    deadline = time.process_time() + 4 * SECONDS
    for (state, promise), tally in _outwards(cases):
        like = _plainest(state) if state.flush_due and "FLUSH_L1D" not in state.features else state
        if like in done:
            continue
        done.add(like)
        if time.process_time() > deadline:
            raise LabError(
                f"the audit was stopped after {len(done)} states of the machine: the code takes too long"
            )

        def demand(entered: Entered, around: Around, promise: Promise = promise) -> str | None:
            later = surroundings.later(entered.state, promise) if around.again else promise
            return _asked(demands, entered.state, later, entered)

        if wrong := wrong_around(
            era, surroundings.own, state, demand, surroundings.arounds, spoilt=surroundings.spoilt
        ):
            yield _Failure(wrong.text, tally, wrong.trace, final=True, around=wrong.around)
            return


def _plainest(state: State) -> State:
    return replace(state, mmio=Reach.NONE, disable_fb_clear=False, resume=False)


def _no_entry(trace: Trace) -> str:
    """Say how a run ended that entered no guest."""
    if trace.end is End.BUDGET:
        last = trace.instructions[-1]
        what = last.naming(trace.image.label)
        return f"the code does not end: after {len(trace.steps):,} instructions it is at {trace.where(-1)}, {what}"
    return f"no guest is entered: the run ended with {trace.end}"


# --- the counterexample in words ---------------------------------------------------------------------------------


def _settings(tally: Tally, space: Space) -> str:
    """Say how a configuration differs from the default machine."""
    picked = [(space.dimensions[d], value) for d, value in tally.smallest]
    if not picked:
        return "the default machine itself: no bugs, an empty command line, a first VM-Enter."
    away = f"{tally.settings} setting{'s' * (tally.settings != 1)} away from the default machine"
    return f"{away}: {', '.join(f'{dimension.name} {dimension.values[v].label}' for dimension, v in picked)}."


WAY = "The way to VM-Enter, its jumps and clears:"


def with_way(text: str, trace: Trace | None) -> Counterexample:
    """Return what is wrong with one run, and below it the way that it went, if it came to an end."""
    return Counterexample("\n".join([text, WAY, *way(trace)]) if trace else text, trace)


def way(trace: Trace) -> Iterator[str]:
    """Yield a run's jumps, clears and end, one a line: where, what, and for a jump whether and why it jumped."""
    lines = list(_decisions(trace))
    left_out = len(lines) - LINES
    if left_out > 1:
        lines[LINES // 2 : LINES // 2 + left_out] = [("…", f"{left_out} more")]
    yield from (f"  {where:<28} {what}" for where, what in lines)


def _decisions(trace: Trace) -> Iterator[tuple[str, str]]:
    image, static = trace.image, {branch.site: branch for branch in branches(trace.image)}
    events = {event.step: event for event in trace.events}
    writer = ""  # of the flags
    for step, instruction in enumerate(trace.instructions):
        where, target, event = trace.where(step), instruction.branch_target, events.get(step)
        if branch := static.get(instruction.address):
            on = "on" if branch.enabled(image) else "off"
            goes = "goes on" if instruction.mnemonic != "jmp" else f"jumps to {image.label(branch.target)}"
            yield where, f"static branch, {branch.key} is {on}: {goes}"
        elif event and (event.kind in CLEARS or event.kind is EventKind.VM_ENTER):
            yield where, f"{instruction.text}  <- {event.kind}"
        elif target is not None and instruction.mnemonic.startswith("j") and step + 1 < len(trace.steps):
            name = instruction.mnemonic if writer.startswith("cmp") else NAMES.get(*[instruction.mnemonic] * 2)
            why = "" if name == "jmp" else f" after {writer or 'nothing that writes flags'}"
            goes = f"jumps to {image.label(target)}" if trace.steps[step + 1] == target else "goes on"
            yield where, f"{name}{why}: {goes}"
        if flags_written(instruction):
            writer = instruction.text


def _in_colour(id_: str, tally: Tally, space: Space, made: str) -> Iterator[str]:
    """Yield how to look at the configuration more closely, if a host and a vCPU can show it."""
    if any(space.dimensions[d].part is Part.INVENTED for d, _ in tally.smallest):
        return
    host, vcpu = space.machine(tally.smallest)
    given: dict[str, object] = {
        "bugs": host.bugs,
        "facts": host.facts,
        "cmdline": host.cmdline,
        "ept": host.ept,
        **vcpu.settings,
    }
    usual = {"cmdline": "", "ept": True, "mmio": "none", **dict.fromkeys(FLAGS, False)}
    words = [f"{name}={value!r}" for name, value in given.items() if name not in usual or value != usual[name]]
    era = f'own_era("{id_}", answer{made and ", "}{made})'
    yield f"In colour: EntryExplorer({era}, {', '.join(words)})"
