"""Reports on real kernels as plain text: what `vmenter inspect` says of one at length, of several side by side."""

from collections.abc import Iterable, Iterator, Sequence

from vmenter.kernels.around import Around
from vmenter.kernels.inspect import Report, StubReport, conditions
from vmenter.patching import features
from vmenter.patching.text import table

YES_NO = {True: "yes", False: "no", None: "cannot tell"}


def lines(reports: Sequence[Report]) -> Iterator[str]:
    """Yield reports: one kernel's at length, several as a table to compare, with each verdict's reason once."""
    if len({report.version for report in reports}) > 1:
        yield from comparison(reports)
        return
    for number, report in enumerate(reports):
        if number:
            yield ""
        yield from report_lines(report)


def report_lines(report: Report) -> Iterator[str]:
    """Yield one module at length."""
    yield f"{report.version or 'a kernel without a version'}, {report.file}"
    yield from table(_facts(report))
    for one in report.stubs:
        if one.runs:
            yield f"{one.stub.name} run alone:"
            yield from table(_runs(one))
    yield f"Verdict: {report.verdict}"
    yield f"  {report.reason}"


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
    for around in report.stubs[0].around if report.stubs else ():
        yield from _around(around)


def _around(one: Around) -> Iterator[tuple[str, str]]:
    """Yield what the C function does before it calls the stub."""
    if one.why_not:
        yield one.function, one.why_not
    if one.clears is not None:
        yield one.function, f"VERW of its own: {conditions(one.verw) if one.verw else 'no'}"
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


def comparison(reports: Iterable[Report]) -> Iterator[str]:
    """Yield a table, a row a module, and then the reason of each verdict."""
    reports = tuple(reports)
    yield from table([("version", "module", "engine", "mechanism", "VERW in C", "verdict"), *map(_row, reports)])
    for reason in dict.fromkeys(report.reason for report in reports):
        first, *more = [
            f"{report.version or report.file} {report.module}" for report in reports if report.reason == reason
        ]
        yield f"{first}{f' and {len(more)} more' if more else ''}: {reason}"


def _row(report: Report) -> tuple[str, ...]:
    mechanisms = dict.fromkeys(one.mechanism for one in report.stubs)
    return (
        report.version or report.file,
        report.module,
        str(report.engine or "?"),
        ", ".join(mechanisms) or "?",
        YES_NO[report.c_level_clear],
        report.verdict,
    )
