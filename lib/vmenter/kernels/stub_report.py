"""What was found in one VM-Enter stub: how its VERW is switched, what its runs showed, what else stands in it."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.instructions import decode, ecx_after
from vmenter.code.x86 import IA32_PRED_CMD, IA32_SPEC_CTRL
from vmenter.kernels import stub as stubs
from vmenter.kernels import stub_ways
from vmenter.kernels.around import Around, elsewhere
from vmenter.kernels.stub import Run, Runner, Stub
from vmenter.kernels.stub_ways import StubWays
from vmenter.patching import features
from vmenter.patching.alternative_table import Rules
from vmenter.patching.other_patchers import rewriting

ALWAYS_NAME, MMIO_NAME = "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"
MEANS = (  # what the feature of another alternative in a stub is there for, by how its name begins
    ("MSR_SPEC_CTRL", "SPEC_CTRL"),
    ("V_SPEC_CTRL", "SPEC_CTRL"),
    ("KERNEL_IBRS", "SPEC_CTRL"),
    ("RSB_", "RSB"),
    ("RETPOLINE", "RSB"),
    ("CLEAR_BHB", "BHB"),
    ("IBPB", "IBPB"),
    ("ENTRY_IBPB", "IBPB"),
    ("UNRET", "return predictor"),
    ("SRSO", "return predictor"),
    ("CALL_DEPTH", "return predictor"),
)


@dataclass(frozen=True)
class Cleared:
    """When a stub clears under one feature alone."""

    feature: int
    always: bool
    with_mmio: bool  # exactly when the MMIO flag is set


@dataclass(frozen=True)
class Beside:
    """Something else that stands in a stub: "SPEC_CTRL", "RSB", "BHB", "IBPB", or the name of what asks for it."""

    what: str
    before: bool  # VM-Enter; else behind the VM-Exit
    features: tuple[str, ...] = ()  # that ask for it; none: it stands there always
    place: str = ""


@dataclass(frozen=True)
class StubReport:
    """One stub. `problem`: why its runs do not tell."""

    stub: Stub
    mechanism: str
    runs: tuple[Run, ...] = field(default=(), repr=False)
    names: dict[int, str] = field(default_factory=dict)  # of the features that decide about clearing
    others: tuple[int, ...] = ()  # features of its other alternatives
    around: tuple[Around, ...] = ()
    elsewhere: tuple[str, ...] = ()  # functions, the stub apart, with a VERW
    problem: str | None = None
    why: str | None = None  # more of it
    ways: StubWays | None = field(default=None, repr=False, compare=False)
    beside: tuple[Beside, ...] = ()
    expected: dict[str, int] = field(default_factory=dict)  # numbers that this version has for those features

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
        """The most accesses to memory between VERW and VM-Enter in any plain run."""
        return max((run.distance[1] for run in self.runs if run.distance), default=0)

    @property
    def behind(self) -> tuple[str, ...]:
        """What stands between VERW and VM-Enter, in any way, and touches memory other than the run flags."""
        return self.ways.behind() if self.ways else ()


def look(
    image: Image, stub: Stub, how: Rules, around: tuple[Around, ...], runner: Runner | LabError
) -> StubReport:
    """Look at one stub, run it on a plain day and then in every way."""
    mechanism = stubs.OTHER
    expected = _expected(image.kernel)
    try:
        mechanism = stubs.mechanism(image, stub, how)
        if isinstance(runner, LabError):
            raise runner
        runs = tuple(runner.runs())
        bare = StubReport(stub, mechanism, runs, dict.fromkeys(runner.clearing, ""))
        names = {one.feature: _name(one, image.kernel, expected) for one in bare.cleared}
        ways = stub_ways.of_runner(runner)
        others = tuple(sorted(set(runner.candidates).difference(names)))
        others_with_verw = elsewhere(image, stub, how)
        beside = _beside(image, runner, names, ways)
        found = StubReport(
            stub, mechanism, runs, names, others, around, others_with_verw, None, None, ways, beside, expected
        )
        return _judged(found, _foreign(image, runner))
    except LabError as error:
        said = str(error).removeprefix(f"{image.name}: ")
        return StubReport(stub, mechanism, around=around, problem=said, expected=expected)


def _name(one: Cleared, kernel: str | None, expected: dict[str, int]) -> str:
    """Name a feature by its version or its code; what the version gives another number has not that name."""
    name = stubs.name(one.feature, kernel, always=one.always, with_mmio=one.with_mmio)
    return name if expected.get(name, one.feature) == one.feature else features.slot(one.feature)


def _expected(kernel: str | None) -> dict[str, int]:
    """Return the numbers that a kernel is known to have for the features that clear."""
    found = {}
    for name in sorted(stubs.CLEARS_ALWAYS | stubs.CLEARS_WITH_MMIO):
        try:
            found[name] = features.number(name, kernel) if kernel else -1
        except LabError:  # the version was not read, or has none
            continue
    return {name: number for name, number in found.items() if number >= 0}


def _foreign(image: Image, runner: Runner) -> str | None:
    """Say who else leads into a stub, or writes to it, than those whose code is run here."""
    stub = runner.stub
    if leading := stubs.intruders(image, stub, runner.how):
        return f"{leading[0]} leads into the middle of {stub.name}, and what runs then was not followed"
    entries = [entry for site in runner.sites for entry in site.entries]
    spans = [range(entry.replacement, entry.replacement + entry.replacement_length) for entry in entries]
    written = rewriting(image, {*range(stub.start, stub.end), *(at for span in spans for at in span)})
    return f"by {written[0]} the kernel writes at {image.label(written[1])}" if written else None


def _judged(found: StubReport, foreign: str | None) -> StubReport:
    """Return the report with what its ways show that the plain runs do not; `foreign`: what they cannot show."""
    ways, stub = found.ways, found.stub.name
    if ways is None:
        return found
    problem, why = None, None
    names, every = found.names, tuple(found.names)
    always = [one.feature for one in found.cleared if one.always]
    with_mmio = [one.feature for one in found.cleared if one.with_mmio]
    wrong = ways.wrong_entry()
    if foreign:
        problem = foreign
    elif ways.unsure:
        problem = f"{stub}: {ways.unsure[0]}"
    elif wrong:
        problem = f"{stub} enters by {wrong}"
    elif ways.disables:
        problem = f"{stub} sets FB_CLEAR_DIS, which no known stub does: VERW clears no fill buffers then"
    elif True in ways.clears((), every) and not any(run.verw for run in found.runs if not run.features):
        problem, why = f"{stub} clears under conditions that no known kernel has", ways.why((), every)
    for number in always:
        if not problem and False in ways.clears((number,), _rest(with_mmio, found)):
            problem = f"{stub}: under {names[number]}, one of its ways to VM-Enter goes around VERW"
            why = ways.why((number,), _rest(with_mmio, found))
    for number in with_mmio:
        if not problem and False in ways.clears((number,), always, mmio=True):
            problem = f"{stub}: under {names[number]}, one of its ways to VM-Enter goes around VERW"
            why = ways.why((number,), always, mmio=True)
        if not problem and True in ways.clears((number,), always, mmio=False):
            problem = f"{stub} clears under conditions that no known kernel has"
            why = ways.why((number,), always, mmio=False)
    if not problem:
        return found
    told = f"{problem}: that depends on {why}" if why else None
    return replace(found, problem=problem, why=told)


def _rest(with_mmio: list[int], found: StubReport) -> tuple[int, ...]:
    """Return the features that are taken as off: that both together go wrong is a verdict of its own."""
    both = [run for run in found.runs if set(run.features) == set(found.names) and len(run.features) > 1]
    return tuple(with_mmio) if not all(run.verw for run in both) else ()


# --- what else stands there --------------------------------------------------------------------------------------


def _beside(image: Image, runner: Runner, names: dict[int, str], ways: StubWays) -> tuple[Beside, ...]:
    """Return what else stands in a stub, in the order of the code: by its features' names, and by its MSRs."""
    stub, written = runner.stub, ways.written
    found: list[tuple[int, Beside]] = []
    for site in runner.sites:
        asked = [entry.feature for entry in site.entries if entry.feature not in names]
        told = [features.name(number, image.kernel) for number in asked]
        told = [name for name in told if name != "ALWAYS"]
        if told:
            what = next((means for name in told for begins, means in MEANS if name.startswith(begins)), told[0])
            before = site.address in ways.reached
            found.append(
                (site.address, Beside(what, before, tuple(dict.fromkeys(told)), image.label(site.address)))
            )
    ecx: int | None = None
    inside = [(site.address, site.address + site.length) for site in runner.sites]
    for one in decode(image.read(stub.start, stub.end - stub.start), stub.start, strict=False):
        plain = not any(start <= one.address < end for start, end in inside)
        if plain and one.mnemonic.startswith("wrmsr") and ecx in (IA32_SPEC_CTRL, IA32_PRED_CMD):
            what = "SPEC_CTRL" if ecx == IA32_SPEC_CTRL else "IBPB"
            found.append((one.address, Beside(what, one.address in written, (), image.label(one.address))))
        ecx = ecx_after(one, ecx)
    switched = {(one.what, one.before) for _, one in found if one.features}
    ordered = [one for _, one in sorted(found, key=lambda pair: pair[0])]
    return tuple(one for one in ordered if one.features or (one.what, one.before) not in switched)
