"""A real kvm-intel.ko in an era's place, so that it can be audited: its stub is run, its C function is modelled.

Run, in the emulator, for each distinct state: the module's own VM-Enter stub, patched for the state's features,
with the state's run flags, and with FB_CLEAR_DIS set where the C function would have set it.

Modelled, from the control-flow graph of the C function around it (`enterexit`), not run: whether it flushes the
L1D (in `cond` mode, exactly where the flush flag is set), whether a VERW of its own runs (by its static keys, and
by the question it asks: is a device assigned, is the MMIO run flag set), and that it may set FB_CLEAR_DIS. When
KVM sets that bit is taken from `eras.state_of`; which features and keys are on, from the selection of the kernel
generation that has the same ones. A flush by MSR and one by loop are not told apart, and behind a VERW in C no
distance is known.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.emulator.machine import FB_CLEAR_DIS, IA32_MCU_OPT_CTRL
from vmenter.emulator.trace import Event, EventKind, Trace
from vmenter.kernels.around import Asks, Does, Model, around
from vmenter.kernels.inspect import Report, inspect_image
from vmenter.kernels.stub import RESUME, Runner
from vmenter.patching.alternative_table import Nops, rules
from vmenter.story.eras import State
from vmenter.story.history import ERAS, Era
from vmenter.story.promise import Reach

FLUSH_KEYS = ("vmx_l1d_should_flush", "vmx_l1d_flush_cond")
CLEAR_KEYS = ("mds_user_clear", "mmio_stale_data_clear", "cpu_buf_vm_clear")
FEATURES = ("CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO")


@dataclass(frozen=True)
class ModuleEra(Era):
    """An era that is a real module. `like`: the lab's era of the same form, in which findings are replayed."""

    like: str = ""
    parts: "_Parts | None" = field(default=None, repr=False, compare=False)

    def run(self, state: State) -> Trace:
        """Run the stub in one state, behind what the C function is modelled to do."""
        if self.parts is None:
            raise LabError(f"{self.id}: no module to run; make it with `of_module`")
        return self.parts.run(self, state)


@dataclass(frozen=True, eq=False)
class _Parts:
    """What is run and what is modelled."""

    image: Image
    report: Report
    runner: Runner
    models: tuple[Model, ...]

    @cached_property
    def numbers(self) -> dict[str, int]:
        return {name: number for number, name in self.report.stubs[0].names.items()}

    def run(self, era: ModuleEra, state: State) -> Trace:
        flags = RESUME * state.resume | self.runner.reach * (state.mmio is not Reach.NONE)
        msrs = {IA32_MCU_OPT_CTRL: FB_CLEAR_DIS * state.disable_fb_clear}
        features = frozenset(self.numbers[name] for name in state.features)
        trace = self.runner.trace(features, flags, msrs, host_rsp_changed=state.host_rsp_changed)
        keys = {key: key in state.keys for key in era.keys}
        kinds = [kind for model in self.models for kind in _in_c(model, keys, state)]
        events = tuple(Event(kind, -1, self.models[0].address) for kind in dict.fromkeys(kinds))
        return replace(trace, raw_events=events + trace.raw_events)


def _in_c(model: Model, keys: dict[str, bool], state: State) -> list[EventKind]:
    """Return what clears before the stub is called."""
    found = []
    flush = model.flush(keys)
    if flush is Does.ALWAYS or (flush is Does.DEPENDS and state.flush_pending):
        found.append(EventKind.L1D_FLUSH)
    assigned = state.mmio is Reach.ASSIGNED
    answers = {Asks.ASSIGNED: assigned, Asks.MMIO: state.mmio is not Reach.NONE}
    if keys.get("mmio_stale_data_clear"):  # no other question was ever asked under it; here it is not a call
        answers[Asks.OTHER] = assigned
    verw = model.verw(keys, answers)
    if verw is Does.DEPENDS:
        raise LabError("the C function's VERW depends on something that the model does not know")
    if verw is Does.ALWAYS:
        found.append(EventKind.VERW)
    return found


def of_module(image: Image, file: str) -> ModuleEra:
    """Put a kvm-intel.ko, loaded at `memory.LAB_BASE`, in an era's place. `LabError` if it was not understood."""
    report = inspect_image(image, file)
    if not report.stubs or report.stubs[0].stub.kind != "VMX":
        raise LabError(
            f"{file}: only a kvm-intel.ko can be audited" if report.stubs else f"{file}: {report.reason}"
        )
    stub, how = report.stubs[0].stub, rules(image, nops=Nops.P6)
    if report.stubs[0].problem or any(one.why_not for one in report.stubs[0].around):
        raise LabError(f"{file}: {report.verdict}: {report.reason}")
    names = tuple(report.stubs[0].names.values())
    if unknown := set(names).difference(FEATURES):
        raise LabError(f"{file}: what selects feature {min(unknown)} is not known, so it cannot be audited")
    models = tuple(Model(image, one.function, stub, how) for one in around(image, stub, how))
    if not models:
        raise LabError(f"{file}: no C function that calls {stub.name} was found, so it cannot be modelled")
    keys = {key for model in models for key in model.keys}
    like = ERAS[_like(set(names), keys, {one.verw.asks for one in report.stubs[0].around if one.verw})]
    kernel = "6.17" if "cpu_buf_vm_clear" in keys else like.kernel  # v6.16: the newer key, the older question
    return ModuleEra(
        id=report.version or file,
        title=f"{file}: its stub run, its C part modelled, selection of kernel {kernel}",
        commit=None,
        author="",
        date="",
        release=report.version or "",
        reason=report.reason,
        sources=(),
        kernel=kernel,
        features=names,
        keys=tuple(key for key in (*FLUSH_KEYS, *CLEAR_KEYS) if key in keys),
        fb_clear_dis=report.fb_clear_dis is not False,
        like=like.id,
        parts=_Parts(image, report, Runner(image, stub, how), models),
    )


def _like(features: set[str], keys: set[str], asks: set[Asks]) -> str:
    """Return the lab's era of the same form."""
    if "CLEAR_CPU_BUF_VM_MMIO" in features:
        return "e6ff1d61de51"
    if features:
        return "83ebe7157483" if Asks.MMIO in asks else "43fb862de8f6"
    if "mds_user_clear" in keys:
        return "8cb861e9e3c9" if "mmio_stale_data_clear" in keys else "650b68a0622f"
    return "before-mds"
