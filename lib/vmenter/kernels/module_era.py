"""A real kvm-intel.ko in an era's place, so that it can be audited: its stub and its C function, both run.

What is promised is the version's: the selection of the kernel generation that the module was built for
(`generation_of`), whatever its code does. What happens is the module's own: for each state of a machine the C
function's ways (`around`) and the stub's (`stub_ways`) are asked what they come to. A static key and a feature are
known by their names, the question for an assigned device by the function that answers it, the run flag for MMIO by
its bit, the flags of the L1D flush and of FB_CLEAR_DIS by what alone they decide. If what clears still depends on
something else, that is an error, not a guess.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.x86 import FB_CLEAR_DIS, IA32_MCU_OPT_CTRL
from vmenter.emulator.memory import LAB_BASE
from vmenter.emulator.trace import Event, EventKind, Trace
from vmenter.kernels.around import Around, Asks, asks, clears, contrary, disables, flushes
from vmenter.kernels.decisions import Deciding, Decision, Item, Outcome, Question, deciding, entering, outcomes
from vmenter.kernels.find import find
from vmenter.kernels.inspect import Report, inspect_image
from vmenter.kernels.packages import MODULES
from vmenter.kernels.stub import RESUME, Runner
from vmenter.patching import features
from vmenter.story.eras import FLUSH_L1D, State
from vmenter.story.history import Era
from vmenter.story.promise import Reach

FLUSH_KEYS = ("vmx_l1d_should_flush", "vmx_l1d_flush_cond")
CLEAR_KEYS = ("mds_user_clear", "mmio_stale_data_clear", "cpu_buf_vm_clear")
FEATURES = ("CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO")
SELECTORS = frozenset({"x86_verw_sel", "mds_verw_sel"})  # what VERW in assembly looks at, since 6613d82e617d
INTEL = "kvm-intel.ko"
ASSIGNED = "kvm_arch_has_assigned_device"


@dataclass(frozen=True)
class Promised:
    """Whose selection a module goes by, how that is known, and the lab's era of the same time."""

    kernel: str
    like: str
    known_by: str
    without: str | None = None  # a configuration that the code shows to be off


@dataclass(frozen=True, eq=False)
class RealModule:
    """What is run in place of an era's code: the stub in one state, behind what the C function comes to there."""

    promised: Promised
    report: Report
    runner: Runner
    around: tuple[Around, ...]
    raises: bool  # whether C raises the run flag for MMIO
    traces: dict[Any, Trace] = field(default_factory=dict)  # whole ones, remembered
    done: dict[Any, tuple[EventKind, ...]] = field(default_factory=dict)  # by C, remembered

    @property
    def like(self) -> str:
        """The lab's era of the same form, in which findings are replayed."""
        return self.promised.like

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each feature by its name."""
        return {name: number for number, name in self.report.stubs[0].names.items()}

    @cached_property
    def roles(self) -> dict[str, str]:
        """What the unnamed contents that C looks at stand for: the name of the question → "flush" or "fb"."""
        found: dict[str, str] = {}
        for one in self.around:
            if one.ways is None:
                continue
            by = {what: _asked(deciding(one.ways, happens)) for what, happens in _ROLES.items()}
            found |= dict.fromkeys(by["flush"] - by["fb"], "flush")
            found |= dict.fromkeys(by["fb"] - by["flush"], "fb")
        return found

    def run(self, state: State) -> Trace:
        """Run the module in one state. `LabError` where what C clears there is not known."""
        reaches = state.mmio is not Reach.NONE and self.raises
        flags = RESUME * state.resume | self.runner.reach * reaches
        in_c = self._in_c(state)
        key = in_c, state.features, flags, state.host_rsp_changed
        if key not in self.traces:
            chosen = frozenset(self.numbers[name] for name in state.features if name in self.numbers)
            msrs = {IA32_MCU_OPT_CTRL: FB_CLEAR_DIS * (EventKind.FB_CLEAR_DIS_SET in in_c)}
            trace = self.runner.trace(chosen, flags, msrs, host_rsp_changed=state.host_rsp_changed)
            events = tuple(Event(kind, -1, 0) for kind in in_c if kind != EventKind.FB_CLEAR_DIS_SET)
            self.traces[key] = replace(trace, raw_events=events + trace.raw_events)
        return self.traces[key]

    def _in_c(self, state: State) -> tuple[EventKind, ...]:
        """Return what C does before the stub is called, in order."""
        read = state.features, state.keys, state.mmio, state.flush_pending, state.disable_fb_clear
        if read in self.done:
            return self.done[read]
        found: set[tuple[EventKind, ...]] = set()
        for one in self.around:
            if one.ways is not None:
                found |= {
                    _kinds(items) for items, _ in entering(outcomes(one.ways, self._answers(state), _matters))
                }
        if len(found) != 1:
            why = self._open(state)
            raise LabError(
                f"what C clears depends on something that is not known: {why or 'which function is called'}"
            )
        self.done[read] = found.pop()
        return self.done[read]

    def _answers(self, state: State) -> "_Answers":
        return _Answers(self, state)

    def _open(self, state: State) -> str:
        answers = self._answers(state)
        names: dict[str, None] = {}
        for one in self.around:
            for happens in (clears, flushes, disables):
                if one.ways is not None:
                    names |= dict.fromkeys(_unanswered(deciding(one.ways, happens), answers))
        return " and ".join(names)


class _Answers:
    """Answers the questions of C for one state; those that a state does not know stay open."""

    def __init__(self, module: RealModule, state: State) -> None:
        self.module, self.state = module, state

    def __call__(self, question: Question | Deciding) -> bool | None:
        ask, state = question.ask, self.state
        if ask.kind == "key":
            known = ask.name in FLUSH_KEYS + CLEAR_KEYS
            return ask.name in state.keys if known else None
        if ask.kind == "feature":
            if ask.what == FLUSH_L1D:
                return "FLUSH_L1D" in state.features
            names = {number: name for name, number in self.module.numbers.items()}
            return names[ask.what] in state.features if ask.what in names else None
        asked = asks(question)
        if asked is Asks.ASSIGNED:
            return state.mmio is Reach.ASSIGNED
        if asked is Asks.MMIO:
            return state.mmio is not Reach.NONE and self.module.raises
        role = self.module.roles.get(ask.name)
        if role is None or question.values[0] != 0:
            return None
        return {
            "flush": state.flush_pending,
            "fb": state.disable_fb_clear,
            "assigned": state.mmio is Reach.ASSIGNED,
        }[role]


_ROLES = {"flush": flushes, "fb": disables}


def _asked(found: Decision) -> set[str]:
    """Return the names of the contents, a byte each, that something depends on."""
    if not isinstance(found, Deciding):
        return set()
    here = {found.ask.name} if found.ask.inputs and _is_flag(found) else set()
    return here | _asked(found.no) | _asked(found.yes)


def _is_flag(found: Deciding) -> bool:
    return asks(found) is Asks.OTHER and all(one.kind == "memory" and one.size == 1 for one in found.ask.inputs)


def _unanswered(found: Decision, answers: _Answers) -> Iterable[str]:
    """Yield the names of what something depends on and a state does not tell."""
    if isinstance(found, Deciding):
        answer = answers(found)
        if answer is None:
            yield found.ask.name
        for state, behind in ((False, found.no), (True, found.yes)):
            if answer in (None, state):
                yield from _unanswered(behind, answers)


def _matters(item: Item) -> bool:
    return clears(item) or flushes(item) or disables(item)


def _kinds(items: Outcome | tuple[Item, ...]) -> tuple[EventKind, ...]:
    return tuple(dict.fromkeys(EventKind(item.kind) for item in items if isinstance(item, Item)))


# --- a module as an era ------------------------------------------------------------------------------------------


def of_path(path: str) -> tuple[Era, ...]:
    """Put every kvm-intel.ko of a folder, a package or a file in an era's place. `LabError` if there is none."""
    blobs = [blob for kernel in find(path, MODULES) for name, blob in kernel.modules.items() if name == INTEL]
    if not blobs:
        raise LabError(f"{path}: only a kvm-intel.ko can be audited, and there is none in it")
    return tuple(of_module(blob.load(LAB_BASE), blob.name) for blob in blobs)


def of_module(image: Image, file: str) -> Era:
    """Put a kvm-intel.ko, loaded at `memory.LAB_BASE`, in an era's place. `LabError` if it was not understood."""
    return of_report(image, inspect_image(image, file))


def of_report(image: Image, report: Report) -> Era:
    """Do what `of_module` does with a module that was inspected."""
    file = report.file
    if not report.stubs or report.stubs[0].stub.kind != "VMX":
        raise LabError(
            f"{file}: only a kvm-intel.ko can be audited" if report.stubs else f"{file}: {report.reason}"
        )
    first, runner = report.stubs[0], report.runner
    if runner is None or first.problem or any(one.why_not for one in first.around):
        raise LabError(f"{file}: {report.verdict}: {report.reason}")
    names = tuple(first.names.values())
    if unknown := set(names).difference(FEATURES):
        raise LabError(f"{file}: what selects feature {min(unknown)} is not known, so it cannot be audited")
    if not first.around:
        raise LabError(f"{file}: no C function that calls {first.stub.name} was found, so it cannot be run")
    if report.raised is not None and report.raised.rightly is None:
        raise LabError(f"{file}: whether C raises the run flag for MMIO was not followed: {report.raised.told}")
    if any(one.fb_clear_dis is None for one in first.around):
        raise LabError(f"{file}: whether FB_CLEAR_DIS is set before the stub runs cannot be told")
    if wrong := next(filter(None, map(contrary, first.around)), None):
        raise LabError(f"{file}: C clears where {wrong} says no, and not where it says yes: it cannot be meant so")
    keys = {key for one in first.around for key in one.keys}
    promised = generation_of(image, report)
    module = RealModule(promised, report, runner, first.around, _raises(report))
    if "mmio_stale_data_clear" in keys:
        _lab_question(image, module)
    return Era(
        id=report.version or file,
        title=f"{file}: its stub and its C part run, selection of kernel {promised.kernel} ({promised.known_by})"
        + (f"; built without {promised.without}" if promised.without else ""),
        commit=None,
        author="",
        date="",
        release=report.version or "",
        reason=report.reason,
        sources=(),
        kernel=promised.kernel,
        features=("FLUSH_L1D", *names),
        keys=tuple(key for key in (*FLUSH_KEYS, *CLEAR_KEYS) if key in keys),
        fb_clear_dis=report.fb_clear_dis is not False,
        module=module,
    )


def _raises(report: Report) -> bool:
    """Tell whether C raises the run flag for MMIO: where it does so wrongly, it cannot be audited."""
    found = report.raised
    if found is None or found.rightly:
        return True
    if "never" in found.told:
        return False
    raise LabError(f"{report.file}: {found.told}")


def _lab_question(image: Image, module: RealModule) -> None:
    """Let the lab's own way to ask for an assigned device count: in it the VM is asked without a call."""
    if ASSIGNED in image.undefined:
        return
    for one in module.around:
        for told in one.arms:
            if "mmio_stale_data_clear" in told.under and told.asks is Asks.OTHER and len(told.questions) == 1:
                module.roles[told.questions[0][0]] = "assigned"


def generation_of(image: Image, report: Report) -> Promised:
    """Tell whose selection a module goes by: its version's.

    Where a version does not tell (a distribution's may have taken in anything), the names do that the module
    knows: static keys and VERW's selector in its symbol table, which stay there whatever the code does with them.
    """
    version = features.parse_version(image.kernel) if image.kernel else None
    known = {*image.undefined, *image.symbols.names}
    sure, by = False, f"version {image.kernel}"
    if version is not None:
        low, high = features.version_range(image.kernel or "")
        sure = low == high or low[:2] >= (6, 19)
    without = None if "vmx_l1d_should_flush" in known else "CONFIG_CPU_MITIGATIONS"
    if version is not None and sure:
        for since, kernel, like in _BY_VERSION:
            if version[:2] >= since:
                return Promised(kernel, like, by, without)
    read = "CLEAR_CPU_BUF" in report.stubs[0].expected
    by = f"{by}, and the names it knows" if version else "the names it knows"
    names = set(report.stubs[0].names.values())
    if {"CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"} <= names:
        return Promised("7.3.4", "e6ff1d61de51", by, without)
    if "cpu_buf_vm_clear" in known:
        asked = any(told.asks is Asks.MMIO for one in report.stubs[0].around for told in one.arms)
        return Promised("6.17", "83ebe7157483" if asked else "43fb862de8f6", by, without)
    if read or SELECTORS & known or "CLEAR_CPU_BUF" in names:
        return Promised("6.12.117", "43fb862de8f6", by, without)
    if "mmio_stale_data_clear" in known:
        return Promised("5.19", "8cb861e9e3c9", by, without)
    if "mds_user_clear" in known:
        return Promised("5.2", "650b68a0622f", by, without)
    return Promised("5.0", "before-mds", by, without)


_BY_VERSION = (
    ((6, 19), "7.3.4", "e6ff1d61de51"),
    ((6, 17), "6.17", "83ebe7157483"),
    ((6, 16), "6.17", "43fb862de8f6"),  # the newer key, the older question
    ((6, 8), "6.12.117", "43fb862de8f6"),
)
