"""The ways to VM-Enter, drawn: a patchable function with all that can stand at its site, and an era's road."""

from collections.abc import Iterable, Mapping

from vmenter.code import image
from vmenter.emulator.memory import LAB_BASE
from vmenter.flow import recover
from vmenter.flow.graph import Flow
from vmenter.patching.lab import lab_object
from vmenter.story import eras
from vmenter.story.history import Era
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.drawings.flowchart import draw

ROAD = frozenset({"vmx_vcpu_enter_exit", "vmx_l1d_flush", "__vmx_vcpu_run", "vmx_vmenter"})
SAMPLES = ("clear_or_not", "jump_over", "three_way")
FEATURE_NAMES: Mapping[int, str] = {eras.FLUSH_L1D: "FLUSH_L1D"}  # older than the table of names

# The case that tells the eras apart: VERW and conditional flushing are selected, and no flush is pending.
QUIET = eras.State(
    features=frozenset({"FLUSH_L1D", "CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM"}),
    keys=frozenset({"vmx_l1d_should_flush", "vmx_l1d_flush_cond", "mds_user_clear"}),
    resume=True,
)


def sample(name: str) -> Diagram:
    """Draw one of the lab's patchable functions, with all that can stand at its site."""
    lab = image.from_bytes(lab_object("patching"), "patching", LAB_BASE)
    return draw(recover.graph(lab, name, variants=True))


def era_flow(era: Era, follow: Iterable[str] = ROAD) -> Flow:
    """Return the graph of an era's way to VM-Enter, in every configuration at once."""
    code = image.from_bytes(era.object, era.id, LAB_BASE)
    there = frozenset(name for name in follow if code.symbols.get(name))
    return recover.graph(code, eras.START, follow=there, variants=True, names=FEATURE_NAMES)


def road(era: Era, state: eras.State | None = None, follow: Iterable[str] = ROAD) -> Diagram:
    """Draw an era's way to VM-Enter, and with a state, the way that a run takes in it; calls followed if named."""
    if state is None:
        return draw(era_flow(era, follow))
    known = eras.State(
        features=state.features.intersection(era.features),
        keys=state.keys.intersection(era.keys),
        mmio=state.mmio,
        flush_pending=state.flush_pending,
        resume=state.resume,
    )
    return draw(era_flow(era, follow), eras.run(era, known), features=known.features)
