"""EntryExplorer: one VM-Enter, from the CPU's bugs to the verdict, in one era or in two side by side.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it.
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import anywidget
import traitlets

from vmenter import LabError
from vmenter.kernels.booted_record import booted_enter
from vmenter.story.history import Era
from vmenter.views.entry.frame import SHOW, Frame, drawings, frame, state_of, twin
from vmenter.views.view import read


class EntryExplorer(anywidget.AnyWidget):
    """One VM-Enter to explore: choose the host, the vCPU and the era, and see what the code does.

    ``EntryExplorer(era="650b68a0622f", compare="e6ff1d61de51", bugs=("mds", "l1tf"))``. A `preset` (a name of
    `processors.PRESETS`) stands for bugs and facts; `show` names the panels; `more` are eras of one's own to
    choose from. Its text twin is its `repr`. Raises `LabError` for unknown names.

    ``EntryExplorer(recorded="5.10.46, 2019's flaw")`` opens on the situation of a VM-Enter that a booted kernel
    made, and shows that one below: what happened, the way by function, the distance, and what was forced. Era,
    host and vCPU are then taken from it, whatever else is given; `booted_record.booted_enters()` has the names.
    """

    _esm = read("views/common.js", "views/entry/widget.js")
    _css = read("views/common.css", "views/entry/widget.css")

    state = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)
    drawings = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        era: Era | str = "650b68a0622f",
        compare: Era | str | None = None,
        preset: str | None = None,
        bugs: Iterable[str] = ("mds", "l1tf"),
        facts: Iterable[str] = ("md_clear", "flush_l1d"),
        cmdline: str = "",
        *,
        ept: bool = True,
        mmio: str = "none",
        flush_pending: bool = False,
        resume: bool = False,
        guest_fb_clear: bool = False,
        host_rsp_changed: bool = True,
        cr2_changed: bool = True,
        show: Iterable[str] = SHOW,
        more: Iterable[Era] = (),
        recorded: str | None = None,
    ) -> None:
        self._more = (*more, *(one for one in (era, compare) if isinstance(one, Era)))
        state = {
            "era": era.id if isinstance(era, Era) else era,
            "compare": compare.id if isinstance(compare, Era) else compare,
            "preset": preset,
            "bugs": _names(bugs),
            "facts": _names(facts),
            "cmdline": cmdline,
            "ept": ept,
            "mmio": str(mmio),
            "flush_pending": flush_pending,
            "resume": resume,
            "guest_fb_clear": guest_fb_clear,
            "host_rsp_changed": host_rsp_changed,
            "cr2_changed": cr2_changed,
        }
        if recorded is not None:
            booted = booted_enter(recorded)
            same = state_of(booted.era, booted.host, booted.vcpu)
            state |= {**same, "compare": state["compare"], "recorded": recorded}
        state["show"] = _names(show)
        first = frame(state, self._more)
        super().__init__(state=state, frame=first, drawings=drawings(first, self._more))
        self.observe(self._follow, "state")

    def _follow(self, change: Mapping[str, Any]) -> None:
        """Make the frame of a new state; whatever the page sent, the last good frame stays."""
        new = next_frame(change["new"], self._more, self.frame)
        with self.hold_sync():
            self.drawings = drawings(new, self._more)
            self.frame = new

    @property
    def more(self) -> tuple[Era, ...]:
        """Eras of the reader's own, to choose from beside those of the story."""
        return self._more

    @property
    def text(self) -> str:
        """The text twin: what the picture shows, in words."""
        return twin(self.frame)

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add to the widget what viewers without widgets show."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, "text/html": f"<pre>{escape(self.text)}</pre>"}, metadata


def _names(names: Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else [str(name) for name in names]


def next_frame(state: Mapping[str, Any], more: Iterable[Era], last: Frame) -> Frame:
    """Return the frame of a state, or the last one with the mistake in it."""
    try:
        return frame(state, more)
    except LabError as error:
        return {**last, "error": str(error)}
    except (TypeError, AttributeError, KeyError, ValueError) as error:  # no state that our page would send
        return {**last, "error": f"this state makes no sense: {error}"}
