"""Reports on real kernels as plain text and JSON: one at length, several side by side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vmenter.kernels.around import Around, Guarded, Told
from vmenter.kernels.form import conditions
from vmenter.kernels.holes import Holes
from vmenter.kernels.inspect import Report
from vmenter.kernels.stub import Run
from vmenter.kernels.stub_report import Beside, StubReport
from vmenter.patching import features
from vmenter.patching.text import table

YES_NO = {True: "yes", False: "no", None: "cannot tell"}
LONGEST = 40  # characters of a file's name in a table
HoleOf = Mapping[int, Holes]
"""id of a report → its holes."""


def lines(reports: Sequence[Report], found: HoleOf | None = None) -> Iterator[str]:
    """Yield reports: one kernel's at length, several as a table to compare, with each verdict's reason once."""
    found = found or {}
    if len({report.version for report in reports}) > 1:
        yield from comparison(reports, found)
        return
    for number, report in enumerate(reports):
        if number:
            yield ""
        yield from report_lines(report, found.get(id(report)))


def report_lines(report: Report, found: Holes | None = None) -> Iterator[str]:
    """Yield one module at length."""
    yield f"{report.version or 'a kernel without a version'}, {report.file}"
    yield from table(_facts(report))
    for one in report.stubs:
        if one.runs:
            yield f"{one.stub.name} run alone:"
            yield from table(_runs(one))
    yield f"Verdict: {report.verdict}"
    yield f"  {report.reason}"
    if found is not None:
        yield from hole_lines(found)


def hole_lines(found: Holes) -> Iterator[str]:
    """Yield which hosts' VM-Enters get no clear."""
    if found.found is None:
        yield f"Hosts whose VM-Enters get no clear: cannot tell because {found.why}"
        return
    if not found.found:
        yield f"Hosts whose VM-Enters get no clear: none (promise: {found.promise})"
    for one in found.found:
        count = f" ({one.count:,} configurations)" if one.count else ""
        yield f"Hosts whose VM-Enters get no clear{count}: {one.hosts}"
        if one.replay:
            yield f"  {one.replay}"
    if found.without:
        yield f"  built without {found.without}: there is no code for the L1D flush"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    if report.engine:
        yield "engine", f"{report.engine} ({report.known_by})"
    for one in report.stubs:
        yield one.stub.name, f"mechanism: {one.mechanism}"
        for number, name in one.names.items():
            yield (
                "",
                f"feature {name}, number {number}" + ("" if "*32+" in name else f" = {features.slot(number)}"),
            )
        for before, where in ((True, "before VM-Enter"), (False, "behind the VM-Exit")):
            beside = [_beside(each) for each in one.beside if each.before is before]
            if beside:
                yield "", f"also {where}: {', '.join(dict.fromkeys(beside))}"
    for around in report.stubs[0].around if report.stubs else ():
        yield from _around(around)
    if report.raised:
        yield "", f"MMIO run flag raised: {YES_NO[report.raised.rightly]} ({report.raised.told})"


def _beside(one: Beside) -> str:
    return one.what + (f" ({' or '.join(one.features)})" if one.features and one.features != (one.what,) else "")


def _around(one: Around) -> Iterator[tuple[str, str]]:
    """Yield what the C function does before it calls the stub."""
    if one.why_not:
        yield one.function, one.why_not
    if one.clears is not None:
        yield one.function, f"VERW of its own: {conditions(one.verw) if one.verw else 'no'}"
    if len(one.arms) > 1:
        for arm in one.arms:
            yield "", f"  one way to it: {conditions(Guarded(arm.under, arm.unless, (), arm.asks))}"
    if one.flush:
        yield "", f"L1D flush: {conditions(one.flush)}"
    if one.fb_clear_dis is not False:
        yield "", f"FB_CLEAR_DIS can be set before the stub runs: {YES_NO[one.fb_clear_dis]}"


def _runs(one: StubReport) -> Iterator[tuple[str, ...]]:
    """Yield the table of runs. Where launch and resume differ in nothing else, they share a row."""
    yield "features", "reaches MMIO", "VM-Enter", "VERW", "instructions and accesses behind it"
    rows: dict[tuple[str, ...], list[str]] = {}
    for run in one.runs:
        names = " ".join(one.names[number] for number in run.features) or "none"
        behind = "{}, {}".format(*run.distance) if run.distance else "-"
        row = names, YES_NO[run.mmio] if run.vm_enter != "VMRUN" else "-", str(run.verw), behind
        rows.setdefault(row, []).append(run.vm_enter)
    for (names, mmio, verw, behind), enters in rows.items():
        yield names, mmio, " or ".join(enters), verw, behind


def comparison(reports: Iterable[Report], found: HoleOf | None = None) -> Iterator[str]:
    """Yield a table, a row a module, and then the reason of each verdict."""
    reports, known = tuple(reports), found or {}
    told = ("hosts without a clear",) if known else ()
    head = ("version", "module", "engine", "mechanism", "VERW in C", *told, "verdict")
    yield from table([head, *(_row(report, known) for report in reports)])
    for reason in dict.fromkeys(report.reason for report in reports):
        first, *more = [
            f"{report.version or shortened(report.file)} {report.module}"
            for report in reports
            if report.reason == reason
        ]
        yield f"{first}{f' and {len(more)} more' if more else ''}: {reason}"


def _row(report: Report, found: HoleOf) -> tuple[str, ...]:
    mechanisms = dict.fromkeys(one.mechanism for one in report.stubs)
    return (
        report.version or shortened(report.file),
        report.module,
        str(report.engine or "?"),
        ", ".join(mechanisms) or "?",
        YES_NO[report.c_level_clear],
        *((_some(found[id(report)]),) if found else ()),
        report.verdict,
    )


def _some(found: Holes) -> str:
    return "cannot tell" if found.found is None else "some" if found.found else "none"


def shortened(file: str) -> str:
    """Return a file's name for a table: of a long one its end."""
    return file if len(file) <= LONGEST else f"…{file[1 - LONGEST :]}"


# --- JSON --------------------------------------------------------------------------------------------------------


def to_json(report: Report, found: Holes | None = None) -> dict[str, Any]:
    """Return a report as `vmenter inspect --json` has it. Where only one stub can speak, it is the first."""
    first = report.stubs[0] if report.stubs else None
    names = {number: name for one in report.stubs for number, name in one.names.items()}
    others = sorted({number for one in report.stubs for number in one.others})
    return {
        "file": report.file,
        "version": report.version,
        "engine": report.engine,
        "engine_known_by": report.known_by,
        "stub": first.stub.name if first else None,
        "mechanism": first.mechanism if first else None,
        "features": {name: number for number, name in sorted(names.items())},
        "other_features": {features.name(number, report.version): number for number in others},
        "mmio_alternative": any(one.with_mmio for one in report.stubs),
        "c_level_clear": report.c_level_clear,
        "fb_clear_dis": report.fb_clear_dis,
        "mmio_flag_raised": report.raised.rightly if report.raised else None,
        "mmio_flag": report.raised.told if report.raised else "not asked for",
        "c_functions": [_around_json(one) for one in (first.around if first else ())],
        "runs": [_run_json(run, names) for one in report.stubs for run in one.runs],
        "stubs": [_stub_json(one) for one in report.stubs],
        "verdict": report.verdict,
        "reason": report.reason,
        "form": report.has_form,
        **(_holes_json(found) if found else {}),
    }


def _holes_json(found: Holes) -> dict[str, Any]:
    """Return the keys of holes."""
    holes = found.found
    return {
        "holes": None
        if holes is None
        else [
            {"hosts": one.hosts, "configurations": one.count, "replay": one.replay, "smallest": one.smallest}
            for one in holes
        ],
        "holes_why": found.why,
        "promise": found.promise,
        "built_without": found.without,
    }


def _stub_json(one: StubReport) -> dict[str, Any]:
    return {
        "stub": one.stub.name,
        "mechanism": one.mechanism,
        "problem": one.problem,
        "behind_verw": list(one.behind),
        "beside": [
            {
                "what": each.what,
                "when": "before VM-Enter" if each.before else "behind the VM-Exit",
                "features": list(each.features),
                "place": each.place,
            }
            for each in one.beside
        ],
    }


def _run_json(run: Run, names: dict[int, str]) -> dict[str, Any]:
    return {
        "stub": run.stub,
        "features": [names[number] for number in run.features],
        "mmio": run.mmio,
        "resume": run.resume,
        "vm_enter": run.vm_enter,
        "verw": run.verw,
        "instructions_after_clear": run.distance[0] if run.distance else None,
        "accesses_after_clear": run.distance[1] if run.distance else None,
    }


def _around_json(one: Around) -> dict[str, Any]:
    return {
        "function": one.function,
        "clears": one.clears,
        "verw": _guarded_json(one.verw),
        "arms": [_arm_json(arm) for arm in one.arms],
        "l1d_flush": _guarded_json(one.flush),
        "fb_clear_dis": one.fb_clear_dis,
        "keys": list(one.keys),
        "why_not": one.why_not,
    }


def _guarded_json(found: Guarded | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "under": list(found.under),
        "either": list(found.either),
        "unless": list(found.unless),
        "asks": str(found.asks),
    }


def _arm_json(arm: Told) -> dict[str, Any]:
    return {
        "under": list(arm.under),
        "unless": list(arm.unless),
        "asks": str(arm.asks),
        "questions": [{"question": name, "answer": answer} for name, answer in arm.questions],
    }
