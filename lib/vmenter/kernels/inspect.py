"""What a kernel does right before VM-Enter, from its kvm-intel.ko or kvm-amd.ko, and whether it has the 6.19 form.

The answer rests on the code and on runs of it; the version tells how the kernel patches itself, which is held
against the table's records, and which numbers its features have. What the form is, is told in `form`; the stub is
looked at in `stub_report`, the C function around it in `around`.

What cannot be told is said, with the reason, and counts as a finding. Bytes that are no kernel module at all, or
have no symbols or no stub, raise `LabError`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from vmenter import LabError
from vmenter.code.image import Image, from_bytes, older_first
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels import around as in_c
from vmenter.kernels import stub as stubs
from vmenter.kernels.around import Around, Asks, Raised
from vmenter.kernels.find import Kernel
from vmenter.kernels.form import HAS_FORM, unknown, verdict
from vmenter.kernels.stub import Runner, Stub
from vmenter.kernels.stub_report import StubReport, look
from vmenter.patching import static_keys
from vmenter.patching.alternative_table import Engine, Nops, Rules, likely_sizes, rules
from vmenter.patching.features import parse_version


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
    raised: Raised | None = None  # who raises the run flag for MMIO, where it is asked for
    image: Image | None = field(default=None, repr=False, compare=False)
    runner: Runner | None = field(default=None, repr=False, compare=False)  # of the first stub, with what it ran

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
        return Report(file, image.kernel, None, "", (), *unknown(_plain(older_first(image, error), image)))
    runners = tuple(_runner(image, stub, how) for stub in found)
    first = next((one for one in runners[:1] if isinstance(one, Runner)), None)
    around = in_c.around(image, found, how, first.flags if first else None)
    reports = tuple(look(image, stub, how, around, one) for stub, one in zip(found, runners, strict=True))
    raised = _raised(image, reports, around, how)
    told = verdict(reports, raised)
    return Report(file, image.kernel, how.engine, known_by, reports, *told, raised, image, first)


def _runner(image: Image, stub: Stub, how: Rules) -> Runner | LabError:
    try:
        return Runner(image, stub, how)
    except LabError as error:
        return error


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


def _raised(
    image: Image, reports: tuple[StubReport, ...], around: tuple[Around, ...], how: Rules
) -> Raised | None:
    """Follow the run flag for MMIO to where it is raised, if anything asks for it."""
    first = reports[0]
    number = next((one.feature for one in first.cleared if one.with_mmio), None)
    asked = any(told.asks is Asks.MMIO for one in around for told in one.arms)
    if first.stub.kind != "VMX" or not around or (number is None and not asked):
        return None
    return in_c.raised(image, around[0], how, number)


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
            why = unknown(str(error).removeprefix(f"{blob.name}: "))
            reports.append(Report(blob.name, None, None, "", (), *why))
    if not reports:
        source = kernels[0].source if kernels else "nothing"
        raise LabError(f"{source}: neither kvm-intel.ko nor kvm-amd.ko in it, and guests are entered there")
    if len(errors) == len(reports):
        raise errors[0]
    return tuple(reports)
