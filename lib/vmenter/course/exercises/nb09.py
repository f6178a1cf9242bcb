"""Exercises of notebook 09: where five real kernels clear for one machine, and the verdict as a function."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from vmenter import LabError
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select
from vmenter.course.exercises.limited import results
from vmenter.kernels.recorded import Inspected, inspected

# --- 09-1: where is it cleared? ----------------------------------------------------------------------------------

CPU = "ice-lake-server"
PLACES = ("stub", "C", "nowhere")
_PLACE = {place.lower(): place for place in PLACES}
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


def _judge_where(answer: Any) -> str | None:
    kernels = {one.release: one for one in inspected()}
    if not isinstance(answer, Mapping) or set(answer) != set(kernels):
        raise LabError(f"answer should be a dict with {', '.join(kernels)}")
    for release, given in answer.items():
        told = [_PLACE.get(str(word).strip().lower()) for word in given] if isinstance(given, tuple | list) else []
        if len(told) != len(VCPUS) or None in told:
            words = " or ".join(f'"{place}"' for place in PLACES)
            raise LabError(
                f"{release}: give two words, for the vCPU with {' and '.join(VCPUS)} MMIO, each {words}"
            )
        for vcpu, place in zip(VCPUS, told, strict=True):
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


JUDGES = {"where": _judge_where, "verdict": _judge_verdict}
