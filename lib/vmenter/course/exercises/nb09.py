"""Exercises of notebook 09: where real kernels clear, the verdict as a function, a mutant, what a report says."""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

from vmenter import LabError
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select
from vmenter.code.image import Image, from_bytes
from vmenter.course.judging import told
from vmenter.course.judging.limited import results
from vmenter.course.judging.variants import changed
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels import stub
from vmenter.kernels.recorded import Inspected, inspected
from vmenter.patching.alternative_table import rules
from vmenter.patching.features import number
from vmenter.story.history import era

# --- 09-1: where is it cleared? ----------------------------------------------------------------------------------

CPU = "ice-lake-server"
PLACES = ("stub", "C", "nowhere")
VCPUS = ("mapped", "assigned")
SELECTIONS = {  # the kernel whose selection each recorded one has
    "5.10.262": "5.10.262", "6.1.192": "6.1.192", "6.12.117": "6.12.117", "6.18.15": "6.17", "7.3.4": "7.3.4",
}  # fmt: skip


def where(kernel: Inspected, vcpu: str, cpu: str = CPU) -> tuple[str, str]:
    """Return where a recorded kernel clears for a vCPU that reaches host MMIO, and why there, in words."""
    selection = select(PRESETS[cpu].host, SELECTIONS[kernel.release])
    if kernel.run(selection.features, mmio=True).verw:
        on = " and ".join(set(selection.features).intersection(kernel.report["features"]))
        return "stub", f"boot selects {on} there, and the stub clears under it"
    asked = " and ".join(kernel.report["features"])
    why = f"the stub asks for {asked}, and boot does not select it on this machine"
    verw = kernel.report["c_functions"][0]["verw"]
    if verw is None:
        return "nowhere", f"{why}; no VERW in C"
    key = " and ".join(verw["under"])
    if not set(verw["under"]) <= set(selection.keys):
        return "nowhere", f"{why}; nor the key {key}, under which C clears"
    asks = f"{why}. C clears under {key}, which is on, and asks for: {verw['asks']}"
    return ("C" if verw["asks"] == "MMIO run flag" or vcpu == "assigned" else "nowhere"), asks


def _two(given: Any) -> list[Any]:
    """Return the words for `VCPUS`: of a pair, of a text, or of a dict that names them."""
    if isinstance(given, Mapping):
        return [*told.keyed(given, VCPUS, f"two words are asked for, for {' and '.join(VCPUS)}").values()]
    if isinstance(given, str):
        return told.names(given, "")
    return list(given) if isinstance(given, tuple | list) else []


def _judge_where(answer: Any) -> str | None:
    kernels = {one.release: one for one in inspected()}
    by_release = told.keyed(answer, tuple(kernels), f"answer should be a dict with {', '.join(kernels)}")
    for release, given in by_release.items():
        places = [told.word(word, PLACES) for word in _two(given)]
        if len(places) != len(VCPUS) or None in places:
            words = " or ".join(f'"{place}"' for place in PLACES)
            raise LabError(
                f"{release}: give two words, for the vCPU with {' and '.join(VCPUS)} MMIO, each {words}"
            )
        for vcpu, place in zip(VCPUS, places, strict=True):
            right, why = where(kernels[release], vcpu)
            if place != right:
                return f"{release}, {vcpu}: {place!r} is not right. Look: {why}."
    return None


# --- 09-2: the verdict as a function -----------------------------------------------------------------------------

Row = tuple[str, bool, bool]  # features that are on, reaches MMIO, cleared
FEATURES = ("", "VM", "MMIO", "VM MMIO")


def kernels_that_could_be() -> Iterator[tuple[tuple[Row, ...], bool]]:
    """Yield every kernel that the function can be asked about: (rows, VERW in C); the real ones are among them."""
    for features in (FEATURES, FEATURES[:2]):
        questions = [*product(features, (False, True))]
        for cleared in product((False, True), repeat=len(questions)):
            rows = tuple((*question, did) for question, did in zip(questions, cleared, strict=True))
            yield from ((rows, in_c) for in_c in (False, True))


def clears_as_6_19(rows: tuple[Row, ...], in_c: bool) -> bool:  # noqa: FBT001  (what the exercise calls it with)
    """Tell whether a stub with these rows clears as that of 6.19 does, and nothing in C does it as well."""
    wanted = {
        (features, mmio): "VM" in features.split() or (features == "MMIO" and mmio)
        for features in FEATURES
        for mmio in (False, True)
    }
    return not in_c and {(features, mmio): cleared for features, mmio, cleared in rows} == wanted


def rows_of(kernel: Inspected) -> tuple[Row, ...]:
    """Return a recorded kernel's runs as rows: first entries only, features by short names."""
    short = {"CLEAR_CPU_BUF": "VM", "CLEAR_CPU_BUF_VM": "VM", "CLEAR_CPU_BUF_VM_MMIO": "MMIO"}
    return tuple(
        (" ".join(short[name] for name in run.features), run.mmio, run.verw > 0)
        for run in kernel.runs
        if not run.resume
    )


def _distance(case: tuple[tuple[Row, ...], bool]) -> int:
    """Return how many answers lie between a kernel and the one of 6.19."""
    rows, in_c = case
    return in_c + sum(clear != ("VM" in on.split() or (on == "MMIO" and mmio)) for on, mmio, clear in rows)


def _judge_verdict(answer: Any) -> str | None:
    cases = sorted(kernels_that_could_be(), key=_distance)
    inputs: list[Any] = cases
    given = results(answer, "clears_as_6_19", inputs)
    differ = [(case, said) for case, said in zip(cases, given, strict=True) if said != clears_as_6_19(*case)]
    if not differ:
        return None
    (rows, in_c), said = differ[0]
    shown = "\n".join(
        f"  {on or 'none'}, {'reaches MMIO' if mmio else 'no MMIO'}: {'VERW' if clear else 'nothing'}"
        for on, mmio, clear in rows
    )
    real = [one.release for one in inspected() if (rows_of(one), one.report["c_level_clear"]) == (rows, in_c)]
    who = f" (such is {real[0]})" if real else ""
    return (
        f"{len(differ)} of {len(cases)} answers are wrong. One of them{who}:\n{shown}\n  VERW in C: "
        f"{'yes' if in_c else 'no'}\n  yours: {said}; right: {not said}. {_why(rows, in_c=in_c)}"
    )


def _why(rows: tuple[Row, ...], *, in_c: bool) -> str:
    """Say what decides about a kernel."""
    asked = {on for on, _, _ in rows}
    if "MMIO" not in asked:
        return "It knows no feature for MMIO, so that it cannot clear for MMIO alone."
    for on, mmio, clear in rows:
        if clear != ("VM" in on.split() or (on == "MMIO" and mmio)):
            guest = "a guest that reaches MMIO" if mmio else "a guest without MMIO"
            return f"With {on or 'no feature'} on, {guest} is entered {'with' if clear else 'without'} a clear."
    return "The stub is right, but C clears as well." if in_c else "That is how 6.19 clears, row by row."


# --- 09-3: the mutant among three modules ------------------------------------------------------------------------

ALWAYS, WITH_MMIO = "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"
WRONG_BIT = ("testl $RUN_MMIO,", "testl $RUN_VMRESUME,")
STATE = ("module", "features", "mmio", "resume")
LOOK = "A module has 16 such states; have you run all of them, in all three?"


@cache
def three_modules() -> dict[str, Image]:
    """Return the stubs of the exercise by letter, loaded at `LAB_BASE`; one of them has a wrong byte."""
    made = {"a": era("e6ff1d61de51"), "b": changed("v4", WRONG_BIT), "c": era("v4")}
    return {letter: from_bytes(one.object, f"module {letter}", LAB_BASE) for letter, one in made.items()}


@cache
def _runner(letter: str) -> stub.Runner:
    image = three_modules()[letter]
    return stub.Runner(image, stub.find(image)[0], rules(image))


def clears(letter: str, on: frozenset[str], *, mmio: bool, resume: bool) -> int:
    """Return how many VERWs a module of the three executes at one VM-Enter."""
    image = three_modules()[letter]
    numbers = frozenset(number(name, image.kernel) for name in on)
    return _runner(letter).trace(numbers, stub.MMIO * mmio | stub.RESUME * resume).verw


def owed(on: frozenset[str], *, mmio: bool) -> bool:
    """Tell whether a VM-Enter owes a clear under these features."""
    return ALWAYS in on or (WITH_MMIO in on and mmio)


def _judge_mutant(answer: Any) -> str | None:
    given = told.keyed(answer, STATE, f"answer should be a dict with {', '.join(STATE)}")
    letter = told.word(given["module"], three_modules())
    if letter is None:
        raise LabError(f"module should be one of {', '.join(three_modules())}")
    on = told.features(given["features"], "features should be a list of names, empty if none is on")
    if unknown := sorted(on - {ALWAYS, WITH_MMIO}):
        raise LabError(f"no stub here asks for {unknown[0]}; two features decide: {ALWAYS}, {WITH_MMIO}")
    mmio, resume = told.truth(given["mmio"]), told.truth(given["resume"])
    if mmio is None or resume is None:
        raise LabError("mmio and resume should be True or False")
    ran = clears(letter, on, mmio=mmio, resume=resume)
    if (ran > 0) != owed(on, mmio=mmio):
        return None
    did = f"executes VERW {ran} time{'s' * (ran != 1)}" if ran else "executes no VERW"
    is_owed = "a clear is owed" if owed(on, mmio=mmio) else "none is owed"
    return f"at this VM-Enter module {letter} {did}, and {is_owed}: as it should be. {LOOK}"


# --- 09-4: what a report says ------------------------------------------------------------------------------------

REPORT = "6.18.15"
TOLD = ("yes", "no", "not told")
_BECAUSE = {
    "mds": "the table of runs has it: every row with CLEAR_CPU_BUF on",
    "mapped": "read the line about C: under what, and asking for what? A mapped page sets the run flag",
    "cond": "the line about C has an “unless”, and it asks what is configured",
    "selected": "a module is the same on every server; what boot switches on there is not in it",
    "effective": "executed is not effective; where would a module know the microcode from?",
    "ran": "the stub was run alone, and C up to its call: pieces of a file, and no kernel that was booted",
}


def report_says() -> dict[str, str]:
    """Return the right answers, from what was recorded of the kernel."""
    one = next(kernel for kernel in inspected() if kernel.release == REPORT)
    in_c = one.report["c_functions"][0]["verw"]
    always = [run.verw > 0 for run in one.runs if "CLEAR_CPU_BUF" in run.features]
    return {
        "mds": "yes" if always and all(always) else "no",
        "mapped": "yes" if in_c and in_c["asks"] == "MMIO run flag" else "no",
        "cond": "no" if in_c and in_c["unless"] else "yes",
        "selected": "not told",
        "effective": "not told",
        "ran": "no",
    }


def _judge_report(answer: Any) -> str | None:
    right = report_says()
    given = told.keyed(answer, tuple(right), f"answer should be a dict with {', '.join(right)}")
    for name, value in right.items():
        said = told.word(given[name], TOLD)
        if said is None:
            raise LabError(f'{name}: answer "yes", "no" or "not told"')
        if said != value:
            return f"{name}: {said!r} is not right; {_BECAUSE[name]}"
    return None


JUDGES = {"where": _judge_where, "verdict": _judge_verdict, "mutant": _judge_mutant, "report": _judge_report}
