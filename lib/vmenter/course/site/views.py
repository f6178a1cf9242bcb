"""The widgets of the course as the site carries them: module, style, frames, and what of them needs a kernel."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anywidget import AnyWidget

from vmenter.course.prediction.widget import Prediction
from vmenter.course.site.frames import (
    Payload,
    State,
    book,
    explorer_frames,
    host_frames,
    map_frames,
    own_code,
    patch_frames,
)
from vmenter.course.site.store import packed
from vmenter.views.entry.widget import EntryExplorer
from vmenter.views.exposure.widget import ExposureMap
from vmenter.views.first.widget import FirstMinute
from vmenter.views.host.widget import HostView
from vmenter.views.leak.widget import LeakGame
from vmenter.views.patch.widget import PatchBench
from vmenter.views.view import read

# What the page says under a view. Controls without frames are switched off there.
WITHOUT = {
    "PatchBench": "Here you can choose any sample, its features and the patcher, and step. "
    "Code of your own needs a kernel.",
    "EntryExplorer": "Here you can choose the processor, the eras, the vCPU, and a command line from the list. "
    "Single bugs and other command lines need a kernel.",
    "ExposureMap": "Here you can start with any of the looks, zoom in on one value, and open every cell. "
    "More, and columns of your own choice, need a kernel.",
    "Prediction": "",
    "FirstMinute": "",
    "LeakGame": "",
    "HostView": "Here you can choose a recorded machine. To read or paste another one needs a kernel.",
}


WHOLE = (Prediction, FirstMinute, LeakGame)  # they bring all that they may show
KINDS: tuple[type[AnyWidget], ...] = (EntryExplorer, PatchBench, HostView, ExposureMap, *WHOLE)


@dataclass(frozen=True)
class Live:
    """One view on a page: which, and what it starts from."""

    id: str
    kind: str
    start: Mapping[str, Any]  # the model's first values, without frames
    text: str  # the text twin, for readers without scripts
    folded: bool = False  # it tells a truth, and so is folded


def live(id_: str, widget: AnyWidget) -> Live | None:
    """Return how the site shows a widget; None for one that lives only with a kernel."""
    kind = type(widget).__name__
    if kind not in WITHOUT:
        return None
    if isinstance(widget, Prediction):
        start: dict[str, Any] = {"name": widget.name, "questions": widget.questions, **widget.told_later()}
    else:
        start = {"state": dict(widget.state)}
    if isinstance(widget, FirstMinute | LeakGame):
        start["frame"] = dict(widget.frame)
    if isinstance(widget, PatchBench):
        start["own"] = own_code(widget)
    elif isinstance(widget, EntryExplorer | ExposureMap):
        start["book"] = book(id_, widget)
    tells = isinstance(widget, Prediction) and widget.tells
    return Live(id_, kind, start, widget.whole if tells else widget.text, tells)


def scripts(
    widgets: Mapping[str, AnyWidget],
    tell: Callable[[str, float], None] = lambda _kind, _done: None,
) -> dict[str, str]:
    """Return the scripts for these widgets, by file name: each view's module, and its frames.

    `tell` hears whose frames are made, and which share of all, of 1, is done.
    """
    files = {}
    for kind, content in _frames(widgets, tell).items():
        files[f"{kind.__name__}.js"] = f"vmSite.views.{kind.__name__} = (() => {{\n{_module(kind)}\n}})();\n"
        files[f"{kind.__name__}-frames.js"] = f'vmSite.packed.{kind.__name__} = "{packed(content)}";\n'
    return files


def _frames(
    widgets: Mapping[str, AnyWidget], tell: Callable[[str, float], None]
) -> dict[type[AnyWidget], Payload]:
    """Return the frames of each kind of view that is there. An explorer may open within others."""
    of = {kind: {id_: one for id_, one in widgets.items() if isinstance(one, kind)} for kind in KINDS}
    made: dict[type[AnyWidget], Payload] = {}
    opened: list[State] = []
    if of[PatchBench]:
        tell("PatchBench", 0)
        made[PatchBench] = patch_frames(of[PatchBench].values())
    for kind, frames, done in ((HostView, host_frames, 0.05), (ExposureMap, map_frames, 0.1)):
        if of[kind]:
            tell(kind.__name__, done)
            made[kind], states = frames(of[kind])
            opened += states
    if of[EntryExplorer] or opened:
        tell("EntryExplorer", 0.6)
        made[EntryExplorer] = explorer_frames(of[EntryExplorer], opened)
    return made | {kind: {} for kind in WHOLE if of[kind]}


def _module(widget: type[AnyWidget]) -> str:
    """Return a view's own module as a function's body: pages from a folder may not import modules."""
    text = str(widget._esm)  # noqa: SLF001
    body, found, given = text.rpartition("export default {")
    if not found or not given.rstrip().endswith("};"):
        raise ValueError(f"{widget.__name__}: its module does not end in `export default {{ render }};`")
    return f"{body}return {{{given.rstrip()}"


def style(widgets: Iterable[AnyWidget]) -> str:
    """Return the style sheets of these widgets. Each is kept to its own view: they share names for their parts."""
    sheets = [read("views/common.css")]
    for kind in KINDS:
        if kind is EntryExplorer or any(isinstance(one, kind) for one in widgets):
            content = read(f"{kind.__module__.removeprefix('vmenter.').replace('.', '/')}.css")
            sheets.append(f'@scope ([data-view="{kind.__name__}"]) to ([data-view]) {{\n{content}}}\n')
    return "\n".join(sheets)
