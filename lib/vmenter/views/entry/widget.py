"""EntryExplorer: one VM-Enter, from the CPU's bugs to the verdict, in one era or in two side by side.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import traitlets

from vmenter.kernels.booted_record import booted_enter
from vmenter.story.history import Era
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.entry.frame import SHOW, drawings, frame, sent, state_of
from vmenter.views.entry.still import picture, ways
from vmenter.views.view import Frame, View, module, read


class EntryExplorer(View):
    """One VM-Enter to explore: choose the host, the vCPU and the era, and see what the code does.

    ``EntryExplorer(era="650b68a0622f", compare="e6ff1d61de51", bugs=("mds", "l1tf"))``. A `preset` (a name of
    `processors.PRESETS`) stands for bugs and facts; `show` names the panels, and
    `controls` what the page lets the reader change (some of `frame.CONTROLS`, as many as the question needs);
    `more` are eras of one's own to choose from. Its text twin is its `repr`. Raises `LabError` for unknown names.

    ``EntryExplorer(recorded="5.10.46, 2019's flaw")`` opens on the situation of a VM-Enter that a booted kernel
    made, and shows that one below: what happened, the way by function, the distance, and what was forced. Era,
    host and vCPU are then taken from it, whatever else is given; `booted_record.booted_enters()` has the names.
    """

    named = "One VM-Enter explored"
    _esm = module("views/entry/widget.js")
    _css = read("views/common.css", "views/entry/widget.css")

    frame = traitlets.Dict().tag(sync=True, to_json=lambda shown, _widget: sent(shown))
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
        controls: Iterable[str] | None = None,
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
        if controls is not None:
            state["controls"] = _names(controls)
        super().__init__(state)
        self.drawings = drawings(self.frame, self._more)

    def _picture(self) -> Diagram:
        return picture(self.frame)

    def _html(self) -> str:
        drawn = "".join(
            f"<details open><summary>The way through the code, {era}</summary>{way.image(way.text)}</details>"
            for era, way in ways(self.frame, self.drawings)
        )
        return super()._html() + drawn

    def _made(self, state: Mapping[str, Any]) -> Frame:
        return frame(state, self._more)

    def _show(self, new: Frame) -> None:
        self.drawings = drawings(new, self._more)
        self.frame = new

    @classmethod
    def opened_on(cls, state: Mapping[str, Any], last: View | None, more: Iterable[Era] = ()) -> "EntryExplorer":
        """Return an explorer of a state, for a view that opens one: the `last` one, changed, or a new one.

        Raises `LabError` for names that nothing has.
        """
        if not isinstance(last, cls):
            return cls(**state, more=more)
        frame(state, more)  # may raise, and then the last one stays as it is
        last.state = dict(state)
        return last

    @property
    def more(self) -> tuple[Era, ...]:
        """Eras of the reader's own, to choose from beside those of the story."""
        return self._more


def _names(names: Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else [str(name) for name in names]
