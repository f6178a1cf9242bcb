"""What a kernel does right before VM-Enter, from its kvm-intel.ko or kvm-amd.ko, and whether it has the 6.19 form.

The answer rests on the code and on runs of it; the version only tells how the kernel patches itself, and that is
held against the table's records. On Intel the 6.19 form (e6ff1d61de51) is: in the stub, with nothing but the run
flags read behind it, VERW always under one feature and, under another, exactly for vCPUs that can reach host MMIO;
in C, no VERW of its own. That C raises the run flag for such vCPUs is taken for granted. On AMD there is
no such question, and 6.19 clears as v6.16 and its backports do (d8010d4ba43e): under one feature VERW always runs
before VMRUN, in every stub; that is the form there.

What cannot be told is said, with the reason, and counts as a finding. Bytes that are no kernel module at all, or
have no symbols or no stub, raise `LabError`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from vmenter import LabError
from vmenter.code.image import Image, from_bytes, older_first
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels import around as enterexit
from vmenter.kernels import stub as stubs
from vmenter.kernels.around import Around, Asks, Guarded
from vmenter.kernels.find import Kernel
from vmenter.kernels.stub import Run, Runner, Stub
from vmenter.patching import features, static_keys
from vmenter.patching.alternative_table import Engine, Nops, Rules, likely_sizes, rules
from vmenter.patching.features import parse_version

HAS_FORM = "has the 6.19 form"
FLUSH_KEY = "vmx_l1d_should_flush"
MOST_ACCESSES = 1  # behind the 6.19 form's VERW: the run flags, which choose between VMLAUNCH and VMRESUME


@dataclass(frozen=True)
class Cleared:
    """When a stub clears under one feature alone."""

    feature: int
    always: bool
    with_mmio: bool  # exactly when the MMIO flag is set


@dataclass(frozen=True)
class StubReport:
    """One stub: how its VERW is switched, and what its runs showed. `problem`: why that does not tell."""

    stub: Stub
    mechanism: str
    runs: tuple[Run, ...] = field(default=(), repr=False)
    names: dict[int, str] = field(default_factory=dict)  # of the features that decide about clearing
    others: tuple[int, ...] = ()  # features of its other alternatives
    around: tuple[Around, ...] = ()
    elsewhere: tuple[str, ...] = ()  # functions, the stub apart, with a VERW
    problem: str | None = None

    @cached_property
    def cleared(self) -> tuple[Cleared, ...]:
        """For each feature that makes the stub clear, alone: when."""
        found = []
        for number in self.names:
            runs = [run for run in self.runs if run.features == (number,)]
            by_reach = {mmio: {run.verw > 0 for run in runs if run.mmio is mmio} for mmio in (False, True)}
            always = all(run.verw for run in runs)
            with_mmio = by_reach[True] == {True} and by_reach[False] == {False}
            found.append(Cleared(number, always, with_mmio))
        return tuple(found)

    @property
    def always(self) -> tuple[str, ...]:
        """Names of the features under which it always clears."""
        return tuple(self.names[one.feature] for one in self.cleared if one.always)

    @property
    def with_mmio(self) -> tuple[str, ...]:
        """Names of the features under which it clears exactly for vCPUs that reach host MMIO."""
        return tuple(self.names[one.feature] for one in self.cleared if one.with_mmio)

    @property
    def contrary(self) -> bool:
        """Whether a feature does here what its name denies."""
        return bool(
            stubs.CLEARS_WITH_MMIO.intersection(self.always) or stubs.CLEARS_ALWAYS.intersection(self.with_mmio)
        )

    @property
    def accesses(self) -> int:
        """The most accesses to memory between VERW and VM-Enter in any run."""
        return max((run.distance[1] for run in self.runs if run.distance), default=0)


@dataclass(frozen=True)
class Report:
    """What was found in one module."""

    file: str
    version: str | None
    engine: Engine | None
    known_by: str  # how the engine is known
    stubs: tuple[StubReport, ...]
    verdict: str
    reason: str

    @property
    def has_form(self) -> bool:
        """Whether the verdict is that it has the 6.19 form."""
        return self.verdict == HAS_FORM

    @property
    def module(self) -> str:
        """The module's name: kvm-intel or kvm-amd, by its stub."""
        return ("kvm-intel" if self.stubs[0].stub.kind == "VMX" else "kvm-amd") if self.stubs else "?"

    @property
    def c_level_clear(self) -> bool | None:
        """Whether the C function around the (first) stub has a VERW of its own; None where that cannot be told."""
        return _agreed([one.clears for one in self.stubs[0].around]) if self.stubs else None

    @property
    def fb_clear_dis(self) -> bool | None:
        """Whether FB_CLEAR_DIS can be set between the C function's start and the stub."""
        return _agreed([one.fb_clear_dis for one in self.stubs[0].around]) if self.stubs else None


def _agreed(answers: list[bool | None]) -> bool | None:
    """Return True if any says so, False if all deny it, else None."""
    return True if True in answers else False if answers and None not in answers else None


def inspect(data: bytes, name: str, file: str | None = None) -> Report:
    """Inspect a module, packed or not. `name` is for messages, `file` what the report calls it.

    Raises `LabError` for what is no 64-bit x86 module with symbols and a stub.
    """
    return inspect_image(from_bytes(data, name, LAB_BASE), file or name)


def inspect_image(image: Image, file: str) -> Report:
    """Do what `inspect` does with an image that was loaded at `memory.LAB_BASE`."""
    try:
        found = stubs.find(image)
    except LabError as error:
        raise older_first(image, error) from None
    try:
        how, known_by = _engine(image)
    except LabError as error:
        return Report(file, image.kernel, None, "", (), *_unknown(_plain(older_first(image, error), image)))
    reports = tuple(_stub(image, stub, how) for stub in found)
    return Report(file, image.kernel, how.engine, known_by, reports, *_verdict(reports))


def _plain(error: LabError, image: Image) -> str:
    """Return an error's message without the file's name, which stands beside it."""
    return str(error).removeprefix(f"{image.name}: ")


def _engine(image: Image) -> tuple[Rules, str]:
    """Tell how the kernel patches itself, and how that is known. `LabError` for tables that cannot be right.

    Distributions take newer code into older kernels: records of another size than the version's tell more.
    Which NOPs a kernel writes matters to nothing here.
    """
    how, known_by = rules(image, nops=Nops.P6), f"version {image.kernel}" if image.kernel else "no version"
    static_keys.branches(image)
    if image.kernel and how.record_size not in likely_sizes(parse_version(image.kernel)):
        return how, f"records of {how.record_size} bytes, which is not what {known_by} had at first"
    return how, f"{known_by}; records of {how.record_size} bytes fit"


def _stub(image: Image, stub: Stub, how: Rules) -> StubReport:
    """Look at one stub, run it, and look at the C functions around it."""
    mechanism, around = stubs.OTHER, enterexit.around(image, stub, how)
    try:
        mechanism = stubs.mechanism(image, stub, how)
        runner = Runner(image, stub, how)
        runs = tuple(runner.runs())
        bare = StubReport(stub, mechanism, runs, dict.fromkeys(runner.clearing, ""))
        names = {
            one.feature: stubs.name(one.feature, image.kernel, always=one.always, with_mmio=one.with_mmio)
            for one in bare.cleared
        }
        others = tuple(sorted(set(runner.candidates).difference(names)))
        elsewhere = enterexit.elsewhere(image, stub, how)
        gaps = [names[one.feature] for one in bare.cleared if one.always and runner.goes_around(one.feature)]
        problem = f"{stub.name}: under {gaps[0]}, one of its ways to VM-Enter goes around VERW" if gaps else None
        return StubReport(stub, mechanism, runs, names, others, around, elsewhere, problem)
    except LabError as error:
        return StubReport(stub, mechanism, around=around, problem=_plain(error, image))


def of_kernels(kernels: Iterable[Kernel]) -> tuple[Report, ...]:
    """Inspect the modules of kernels that were found together.

    One that cannot be read is told among the others; if none of them can, that is a `LabError`.
    """
    kernels = tuple(kernels)
    reports, errors = [], []
    for blob in (blob for kernel in kernels for blob in kernel.modules.values()):
        try:
            reports.append(inspect(blob.read(), blob.name))
        except LabError as error:
            errors.append(error)
            why = _unknown(str(error).removeprefix(f"{blob.name}: "))
            reports.append(Report(blob.name, None, None, "", (), *why))
    if not reports:
        source = kernels[0].source if kernels else "nothing"
        raise LabError(f"{source}: neither kvm-intel.ko nor kvm-amd.ko in it, and guests are entered there")
    if len(errors) == len(reports):
        raise errors[0]
    return tuple(reports)


# --- the verdict -------------------------------------------------------------------------------------------------


def _verdict(reports: tuple[StubReport, ...]) -> tuple[str, str]:
    """Return the verdict on a module, and the reason."""
    problems = [report.problem for report in reports if report.problem]
    if problems:
        return _unknown(problems[0])
    for report in reports:
        if any(run.verw for run in report.runs if not run.features):
            return _unknown(f"{report.stub.name} clears with no feature set, and no known kernel does")
        if report.contrary:
            return _unknown(f"{report.stub.name} clears under conditions that no known kernel has")
    return _of_vmx(reports[0]) if reports[0].stub.kind == "VMX" else _of_svm(reports)


def _unknown(why: str, more: str = "") -> tuple[str, str]:
    return f"cannot tell because {why}", more or why


def _of_vmx(report: StubReport) -> tuple[str, str]:
    c_part = [one for one in report.around if one.clears]
    unsure = [one for one in report.around if one.clears is None]
    in_c = " ".join(map(_in_c, c_part))
    stub = report.stub.name
    always, with_mmio = " or ".join(report.always), " or ".join(report.with_mmio)
    odd = len(report.always) > 1 or len(report.with_mmio) > 1
    if odd or len(report.always) + len(report.with_mmio) < len(report.names):
        return _unknown(f"{stub} clears under conditions that no known kernel has")
    if always and with_mmio and not all(run.verw for run in report.runs if set(run.features) == set(report.names)):
        why = f"with both on, {stub} enters a guest without VERW: the wrong one of two alternatives wins"
        return f"clears for {always} and for {with_mmio} but not always for both together", why
    if always and with_mmio:
        far = report.accesses > MOST_ACCESSES
        place = f"{report.accesses} accesses to memory" if far else "right"
        did = (
            f"VERW {place} before VM-Enter: always under {always}, "
            f"for vCPUs that reach host MMIO under {with_mmio}"
        )
        if c_part:
            return f"clears for {always} and {with_mmio} but not in the stub alone", f"{did}; yet {in_c}"
        if unsure or not report.around:
            why = (unsure[0].why_not or "") if unsure else f"no function that calls {stub} was found"
            return _unknown(why, f"there may be a VERW in C beside the stub's: {did}")
        if report.elsewhere:
            why = f"{report.elsewhere[0]} has a VERW, and whether it runs before {stub} was not understood"
            return _unknown(why, f"{why}; {did}")
        if far:
            return "clears as 6.19 does, but not right before VM-Enter", f"{did}; none in C"
        if report.mechanism != stubs.TWO_MMIO:
            return "clears as 6.19 does, but not in its form", f"{did}; none in C; not by one ALTERNATIVE_2"
        return HAS_FORM, f"{did}; none in C"
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
        return _unknown(f"{stub} has no VERW and the C function around it was not understood")
    return "clears for nothing", f"no VERW in {stub}, and none in C before it"


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


def _of_svm(reports: tuple[StubReport, ...]) -> tuple[str, str]:
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
    far = next((report for report in reports if report.accesses > MOST_ACCESSES), None)
    if far:
        why = f"{far.accesses} accesses to memory between VERW and VMRUN in {far.stub.name}"
        return f"clears for {under} but not right before VMRUN", why
    return HAS_FORM, f"VERW right before VMRUN under {under}, in {' and '.join(cleared)}; AMD has no other"


# --- JSON --------------------------------------------------------------------------------------------------------


def to_json(report: Report) -> dict[str, Any]:
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
        "c_functions": [_around_json(one) for one in (first.around if first else ())],
        "runs": [_run_json(run, names) for one in report.stubs for run in one.runs],
        "stubs": [
            {"stub": one.stub.name, "mechanism": one.mechanism, "problem": one.problem} for one in report.stubs
        ],
        "verdict": report.verdict,
        "reason": report.reason,
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
    def guarded(found: Guarded | None) -> dict[str, Any] | None:
        if found is None:
            return None
        return {
            "under": list(found.under),
            "either": list(found.either),
            "unless": list(found.unless),
            "asks": str(found.asks),
        }

    return {
        "function": one.function,
        "clears": one.clears,
        "verw": guarded(one.verw),
        "l1d_flush": guarded(one.flush),
        "fb_clear_dis": one.fb_clear_dis,
        "keys": list(one.keys),
        "why_not": one.why_not,
    }
