"""The verdict on a module: has it the 6.19 form, and if not, what has it.

On Intel the 6.19 form (e6ff1d61de51) is: in the stub, VERW always under CLEAR_CPU_BUF_VM and, under
CLEAR_CPU_BUF_VM_MMIO, exactly for vCPUs that can reach host MMIO, by one ALTERNATIVE_2 whose second choice is the
stricter one; nothing touches memory behind it but the read of the run flags; in C, no VERW of its own, and the run
flag is raised. On AMD, where there is no such question, 6.19 clears as v6.16 and its backports do (d8010d4ba43e):
under CLEAR_CPU_BUF_VM, in every stub, VERW always runs right before VMRUN. All of that must hold in every way the
code can take; the features must bear the numbers that the module's version has for them, or, where the version was
not read, a number that others have and that the code does not contradict.
"""

from collections.abc import Sequence

from vmenter.boot.l1tf import FLUSH_KEY
from vmenter.kernels import stub as stubs
from vmenter.kernels.around import Around, Asks, Guarded, Raised
from vmenter.kernels.stub_report import ALWAYS_NAME, MMIO_NAME, StubReport
from vmenter.patching import features

HAS_FORM = "has the 6.19 form"
MOST_ACCESSES = 1  # behind VERW on Intel: the read of the run flags


def verdict(reports: Sequence[StubReport], raised: Raised | None) -> tuple[str, str]:
    """Return the verdict on a module, and the reason. `raised`: who raises the run flag, if it is asked."""
    for report in reports:
        if report.problem:
            return unknown(report.problem, report.why or "")
    for report in reports:
        if any(run.verw for run in report.runs if not run.features):
            return unknown(f"{report.stub.name} clears with no feature set, and no known kernel does")
        if report.contrary:
            return unknown(f"{report.stub.name} clears under conditions that no known kernel has")
    return _of_vmx(reports[0], raised) if reports[0].stub.kind == "VMX" else _of_svm(reports)


def unknown(why: str, more: str = "") -> tuple[str, str]:
    """Return the verdict that it cannot be told, with the reason."""
    return f"cannot tell because {why}", more or why


def _of_vmx(report: StubReport, raised: Raised | None) -> tuple[str, str]:
    c_part = [one for one in report.around if one.clears]
    unsure = [one for one in report.around if one.clears is None]
    in_c = " ".join(map(_in_c, c_part))
    stub = report.stub.name
    always, with_mmio = " or ".join(report.always), " or ".join(report.with_mmio)
    odd = len(report.always) > 1 or len(report.with_mmio) > 1
    if odd or len(report.always) + len(report.with_mmio) < len(report.names):
        return unknown(f"{stub} clears under conditions that no known kernel has")
    if always and with_mmio and not all(run.verw for run in report.runs if set(run.features) == set(report.names)):
        why = f"with both on, {stub} enters a guest without VERW: the wrong one of two alternatives wins"
        return f"clears for {always} and for {with_mmio} but not always for both together", why
    if always and with_mmio:
        return _with_both(report, raised, c_part, unsure)
    if always:
        rest = in_c or "no VERW for MMIO Stale Data was found in C"
        return f"clears for {always} but not for MMIO Stale Data alone", f"VERW in {stub} under {always}; {rest}"
    if with_mmio:
        return (
            f"clears for {with_mmio} but not for MDS and its kin",
            f"VERW in {stub} only for vCPUs that reach MMIO",
        )
    if c_part:
        return "clears in C but not in the stub", f"no VERW in {stub}; {in_c}"
    if unsure or not report.around:
        return unknown(f"{stub} has no VERW and the C function around it was not understood")
    return "clears for nothing", f"no VERW in {stub}, and none in C before it"


def _with_both(
    report: StubReport, raised: Raised | None, c_part: list[Around], unsure: list[Around]
) -> tuple[str, str]:
    """Return the verdict on a VMX stub that clears under both features as 6.19 does."""
    stub, (always,), (with_mmio,) = report.stub.name, report.always, report.with_mmio
    far = report.accesses > MOST_ACCESSES or bool(report.behind)
    place = f"{report.accesses} access{'es' * (report.accesses != 1)} to memory" if far else "right"
    did = f"VERW {place} before VM-Enter: always under {always}, for vCPUs that reach host MMIO under {with_mmio}"
    if c_part:
        return (
            f"clears for {always} and {with_mmio} but not in the stub alone",
            f"{did}; yet {' '.join(map(_in_c, c_part))}",
        )
    if unsure or not report.around:
        why = (unsure[0].why_not or "") if unsure else f"no function that calls {stub} was found"
        return unknown(why, f"there may be a VERW in C beside the stub's: {did}")
    if report.elsewhere:
        why = f"{report.elsewhere[0]} has a VERW, and whether it runs before {stub} was not understood"
        return unknown(why, f"{why}; {did}")
    wrong = _wrong_names(report, {ALWAYS_NAME: always, MMIO_NAME: with_mmio})
    if wrong:
        return wrong
    if raised is None or raised.rightly is None:
        why = f"whether C raises the run flag for MMIO was not followed: {raised.told if raised else 'no caller'}"
        return unknown(why, f"{did}; {why}")
    if not raised.rightly:
        return f"clears for {always} but not for MMIO Stale Data alone", f"{did}; but {raised.told}"
    wrongly = next((one for one in report.around if one.flushes_rightly is False), None)
    if wrongly:
        return (
            "clears as 6.19 does, but does not flush the L1D as it does",
            f"{did}; none in C; but {wrongly.function} does not flush the L1D exactly where its keys ask for it",
        )
    if far:
        more = f"; behind it: {report.behind[0]}" if report.behind else ""
        return "clears as 6.19 does, but not right before VM-Enter", f"{did}; none in C{more}"
    if report.mechanism != stubs.TWO_MMIO:
        return "clears as 6.19 does, but not in its form", f"{did}; none in C; not by one ALTERNATIVE_2"
    return HAS_FORM, f"{did}; none in C"


def _wrong_names(report: StubReport, wanted: dict[str, str]) -> tuple[str, str] | None:
    """Return the verdict for a stub whose features are not those that the form asks for; None if they are."""
    for name, found in wanted.items():
        if found == name:
            continue
        told = (
            f"{found}, where {name} is {features.slot(report.expected[name])}"
            if name in report.expected
            else found
        )
        if name in report.expected or found in stubs.CLEARS_ALWAYS | stubs.CLEARS_WITH_MMIO:
            return (
                f"clears under {found}, which is not the form's {name}",
                f"{report.stub.name}: VERW under {told}",
            )
        return unknown(f"{report.stub.name} clears under {found}, and what selects that is not known")
    return None


def _in_c(one: Around) -> str:
    """Say in words what the C function's own VERW depends on."""
    if one.verw is None:
        return ""
    return f"{one.function} has a VERW in C {conditions(one.verw)}" + (
        ": else if, so that it is skipped where a flush is configured and does not run"
        if FLUSH_KEY in one.verw.unless
        else ""
    )


def conditions(guarded: Guarded) -> str:
    """Return what something in C depends on, in words."""
    parts = [f"under {key}" for key in guarded.under]
    parts += [f"under {' or '.join(guarded.either)}"] if guarded.either else []
    parts += [f"unless {key}" for key in guarded.unless]
    if guarded.asks is not Asks.NOTHING:
        parts.append(f"asking for: {guarded.asks}")
    return ", ".join(parts) or "always"


def _of_svm(reports: Sequence[StubReport]) -> tuple[str, str]:
    cleared = {report.stub.name: report.always for report in reports if report.always}
    missing = [report.stub.name for report in reports if not report.always]
    under = " or ".join(dict.fromkeys(name for names in cleared.values() for name in names))
    if not cleared:
        return "clears for nothing", f"no VERW before VMRUN in {' or '.join(missing)}"
    if missing:
        return (
            f"clears for {under} but not in {' and '.join(missing)}",
            f"VERW before VMRUN only in {', '.join(cleared)}",
        )
    for report in reports:
        if len(report.always) > 1 or len(report.names) > 1:
            return unknown(f"{report.stub.name} clears under conditions that no known kernel has")
        wrong = _wrong_names(report, {ALWAYS_NAME: report.always[0]})
        if wrong:
            return wrong
    far = next((report for report in reports if report.accesses or report.behind), None)
    if far:
        more = f": {far.behind[0]}" if far.behind else ""
        why = f"{far.accesses} accesses to memory between VERW and VMRUN in {far.stub.name}{more}"
        return f"clears for {under} but not right before VMRUN", why
    return HAS_FORM, f"VERW right before VMRUN under {under}, in {' and '.join(cleared)}; AMD has no other"
