"""Every frame that a view can reach on the site, and what it is found by.

One function a view: from the widgets of the course to plain data for site.js, which makes the same keys. What has
no frame here needs a kernel, and the page says so.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, product
from typing import Any

from vmenter import LabError
from vmenter.boot.processors import PRESETS
from vmenter.course.site.store import Row, Store, key
from vmenter.hosts.report import samples
from vmenter.patching.alternative_table import Engine
from vmenter.story.history import Era
from vmenter.story.promise import Reach
from vmenter.story.space import DEFAULT, Space
from vmenter.views.entry import frame as entry_frame
from vmenter.views.entry.panels import drawing, shown_of, side
from vmenter.views.entry.widget import EntryExplorer
from vmenter.views.exposure import frame as exposure_frame
from vmenter.views.exposure.widget import ExposureMap
from vmenter.views.host import frame as host_frame
from vmenter.views.host.widget import HostView
from vmenter.views.patch import frame as patch_frame
from vmenter.views.patch.bench import SAMPLES, Bench
from vmenter.views.patch.widget import PatchBench
from vmenter.views.view import mistaken

State = Mapping[str, Any]
Payload = dict[str, Any]

# Command lines that every processor is shown with; those of the notebooks come beside them.
COMMAND_LINES = (
    "",
    "mds=off",
    "mitigations=off",
    *(f"kvm-intel.vmentry_l1d_flush={mode}" for mode in ("never", "always")),
)
# Where only selection is shown a frame costs little, so there are more.
SELECTION_LINES = (
    *COMMAND_LINES,
    *("mds=no", "mds=full", "tsx=off", "tsx_async_abort=off", "mmio_stale_data=off", "reg_file_data_sampling=off"),
    *("l1tf=off", "l1tf=full", "mitigations=off mds=full", "mds=off tsx_async_abort=off"),
)
VCPUS = tuple(
    {"mmio": str(reach), "flush_pending": flush, "resume": resume, "guest_fb_clear": guest}
    for reach, flush, resume, guest in product(Reach, (False, True), (False, True), (False, True))
)
SHOW: tuple[str, ...] = entry_frame.SHOW
NO_KERNEL = "this page has no kernel, and of that nothing was computed beforehand"
SELECTION: tuple[str, ...] = ("selection",)


# --- PatchBench --------------------------------------------------------------------------------------------------


def patch_frames(benches: Iterable[PatchBench]) -> Payload:
    """Return the frames of the lab's samples and of the benches' own code, with all features, engines and NOPs."""
    store, frames, uses = Store(), {}, {}
    codes: dict[str, tuple[State, Bench | None]] = {name: ({"sample": name}, None) for name in SAMPLES}
    for bench in benches:
        if bench.state["sample"] is None:
            codes[own_code(bench)] = ({"typed": bench.state["typed"]}, bench.site)
    for code, (state, site) in codes.items():
        names = [
            one["name"] for one in patch_frame.frame({**state, "features": [], "engine": "once"}, site)["features"]
        ]
        uses[code] = names
        for on, patcher in product(_subsets(names), (*map(str, Engine), "early k8")):
            engine, _, nops = patcher.partition(" ")
            chosen = {**state, "features": on, "engine": engine, "nops": nops or None}
            frames[key(code, on, patcher)] = store.row(patch_frame.frame(chosen, site, last={}))
    refused = patch_frame.mistaken({}, LabError(NO_KERNEL), {})
    return {"store": store.values, "frames": frames, "uses": uses, "refused": refused}


def own_code(bench: PatchBench) -> str:
    """Return the name of code that is no sample: the code itself, as its text twin begins."""
    return "" if bench.state["sample"] else f"@{key(bench.state['typed'], bench.frame['title'])}"


def _subsets(names: Sequence[str]) -> Iterator[list[str]]:
    return (list(some) for some in chain.from_iterable(combinations(names, n) for n in range(len(names) + 1)))


def book(id_: str, widget: EntryExplorer | ExposureMap) -> str:
    """Return the mark of frames that are a widget's own: it has eras or a space that others have not."""
    own = bool(widget.more) or (isinstance(widget, ExposureMap) and widget.space is not DEFAULT)
    return id_ if own else ""


# --- EntryExplorer -----------------------------------------------------------------------------------------------


class Explorer:
    """Frames of EntryExplorer, in two parts that the page joins: what is chosen, and a side for each era.

    A side has all panels; which are shown is chosen anew by the page. Eras of a notebook's own belong to the
    `book` that has them.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.frames: dict[str, Row] = {}
        self.around: dict[str, dict[str, int]] = {}  # key of a frame → era → place in sides
        self.sides: list[Row] = []
        self.drawings: dict[str, str] = {}
        self._known: dict[tuple[Hashable, ...], int] = {}  # what a side shows of a host → its place

    def add(self, state: State, vcpus: Iterable[State] = VCPUS, more: Sequence[Era] = (), book: str = "") -> None:
        """Add a host, with every vCPU of these, in every era."""
        show = _panels(state)
        for vcpu in [{}] if show == SELECTION else vcpus:
            chosen = {**_host(state), **vcpu, "show": show}
            name = explorer_key({**chosen, "book": book})
            if name not in self.frames:
                self._add(name, chosen, more)

    def _add(self, name: str, chosen: State, more: Sequence[Era]) -> None:
        shown = entry_frame.around(chosen, more)
        host, vcpu = entry_frame.machine(chosen)
        self.around[name] = {}
        for era in entry_frame.eras_of(more).values():
            same = (*shown_of(era, host, vcpu), *shown["show"])
            if same not in self._known:
                self._known[same] = len(self.sides)
                self.sides.append(self.store.row(side(era, host, vcpu, shown["show"])))
                if "flow" in shown["show"] and era.id not in self.drawings:
                    self.drawings[era.id] = drawing(era)
            self.around[name][era.id] = self._known[same]
        parts = ("era", "compare", "show", "controls")
        self.frames[name] = self.store.row({part: value for part, value in shown.items() if part not in parts})

    def payload(self) -> Payload:
        """Return all of it as plain data."""
        return {
            "store": self.store.values,
            "frames": self.frames,
            "around": self.around,
            "sides": self.sides,
            "drawings": self.drawings,
            "refused": mistaken({}, NO_KERNEL, EntryExplorer.still),
            "controls": list(entry_frame.CONTROLS),
            "lines": {"all": list(COMMAND_LINES), "selection": list(SELECTION_LINES)},
        }


def explorer_frames(explorers: Mapping[str, EntryExplorer], opened: Iterable[State]) -> Payload:
    """Return the frames of all processors and of the explorers' own hosts, by their views' ids.

    `opened` are states that other views hand to an explorer: these hosts come with their own command line alone.
    """
    made = Explorer()
    lines = {SHOW: COMMAND_LINES}
    if any(_panels(one.state) == SELECTION for one in explorers.values()):
        lines[SELECTION] = SELECTION_LINES
    for show, preset in product(lines, PRESETS.values()):
        for line in lines[show]:
            common = {"cmdline": line, "ept": True, "show": show}
            made.add({**common, "preset": preset.name})
            made.add({**common, "bugs": list(preset.host.bugs), "facts": list(preset.host.facts)})
    for id_, one in explorers.items():
        for line in dict.fromkeys((one.state["cmdline"], *lines[_panels(one.state)])):
            made.add({**one.state, "cmdline": line}, more=one.more, book=book(id_, one))
    for state in opened:
        made.add(state)
    return made.payload()


def _host(state: State) -> dict[str, Any]:
    return {name: state[name] for name in ("preset", "bugs", "facts", "cmdline", "ept") if name in state}


def explorer_key(state: State) -> str:
    """Return what a frame of these choices is found by, whatever the eras and panels."""
    preset = state.get("preset")
    host = [preset] if preset else [sorted(state.get("bugs", ())), sorted(state.get("facts", ()))]
    vcpu = [
        state.get("mmio", "none"),
        *(bool(state.get(flag)) for flag in ("flush_pending", "resume", "guest_fb_clear")),
    ]
    only = _panels(state) == SELECTION
    return key(state.get("book", ""), host, state["cmdline"], state["ept"], None if only else vcpu)


def _panels(state: State) -> tuple[str, ...]:
    """Return the panels to make: all of them, or selection, which needs no VM-Enter."""
    return SELECTION if tuple(state["show"]) == SELECTION else SHOW


def _opener(kind: type[HostView | ExposureMap], frames: Payload) -> Payload:
    """Return the frames of a view that opens explorers, with the words for what is open and what cannot be."""
    return {**frames, "about": kind.about, "refused": mistaken({}, NO_KERNEL, kind.still)}


# --- HostView ----------------------------------------------------------------------------------------------------


def host_frames(_: Mapping[str, HostView]) -> tuple[Payload, list[State]]:
    """Return the frames of the recorded samples, and the states that they hand to an explorer."""
    shown = {name: host_frame.frame({"sample": name}) for name in samples()}
    store = Store()
    frames = {key(name): store.row(one) for name, one in shown.items()}
    opened = [one["explorer"] for one in shown.values() if one["explorer"]]
    return _opener(HostView, {"store": store.values, "frames": frames}), opened


# --- ExposureMap -------------------------------------------------------------------------------------------------


def map_frames(maps: Mapping[str, ExposureMap]) -> tuple[Payload, list[State]]:
    """Return the frames of the maps, and the states that their cells hand to an explorer.

    Each grid comes with every cell selected.
    """
    store, frames, opened = Store(), {}, {}
    for id_, one in maps.items():
        more, space = one.more, one.space
        for state, grid in _grids(one.state, more, space):
            cells = [[row["era"], column["key"]] for row in grid["rows"] for column in grid["columns"]]
            for cell in (None, *cells):
                shown = exposure_frame.with_cell(grid, {**state, "cell": cell}, more, space)
                frames[map_key({**state, "cell": cell, "book": book(id_, one)})] = store.row(shown)
                if explorer := shown["detail"]["explorer"]:
                    opened[key(explorer)] = explorer
    return _opener(ExposureMap, {"store": store.values, "frames": frames}), list(opened.values())


def map_key(state: State) -> str:
    """Return what a map's frame is found by."""
    return key(state.get("book", ""), state.get("eras"), state["split"], state["narrowed"], state["cell"])


def _grids(start: State, more: Sequence[Era], space: Space) -> Iterator[tuple[State, Payload]]:
    """Yield the states in which the map is shown with their grids, each once: where it begins, what is near by.

    Near is what a few clicks on looks, heads and chips lead to with at most one value narrowed.
    """
    seen, ahead = set(), [{**start, "cell": None}]
    while ahead:
        state = ahead.pop(0)
        if map_key(state) in seen:
            continue
        seen.add(map_key(state))
        shown = exposure_frame.grid(state, more, space)
        yield state, shown
        ways = [one["state"] for name in ("looks", "groups", "columns", "narrowed") for one in shown[name]]
        ahead += [{**state, **way} for way in ways if way and len(way["narrowed"]) <= 1]
