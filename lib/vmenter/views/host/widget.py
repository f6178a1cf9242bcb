"""HostView: a machine's own words about its flaws, explained, and handed to the EntryExplorer.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it. By default
a recorded sample; a machine is read on request only, and what it said is never stored with a notebook.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

import anywidget
import traitlets

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.views.entry.frame import drawings
from vmenter.views.entry.widget import EntryExplorer, next_frame
from vmenter.views.host.frame import DEFAULT, found_of, frame_of, twin
from vmenter.views.view import read


def _module() -> str:
    """Return the page's module. EntryExplorer's is a function in it, so that their names do not meet."""
    explorer, _ = read("views/entry/widget.js").split("export default")
    wrapped = f"const explorer = (() => {{\n{explorer}\nreturn {{ render }};\n}})();"
    return "\n".join((read("views/common.js"), wrapped, read("views/host/widget.js")))


class HostView(anywidget.AnyWidget):
    """A machine explained: ``HostView()`` shows a recorded sample, ``HostView.live()`` the machine it runs on.

    ``HostView("cascade-lake")`` names another sample, ``HostView(pasted=text)`` explains what a machine printed.
    `host` is what was inferred, `explorer()` an EntryExplorer with it. Its text twin is its `repr`, but for a
    machine read live: of that the repr says nothing. Raises `LabError` for unknown samples and unreadable text.
    """

    _esm = _module()
    _css = read("views/common.css", "views/entry/widget.css", "views/host/widget.css")

    state = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)
    explorer_state = traitlets.Dict().tag(sync=True)  # empty while it is closed
    explorer_frame = traitlets.Dict().tag(sync=True)
    explorer_drawings = traitlets.Dict().tag(sync=True)

    def __init__(self, sample: str | None = DEFAULT, *, pasted: str | None = None, live: bool = False) -> None:
        state = {"sample": None if live or pasted is not None else sample, "pasted": pasted, "live": live}
        self._found = found_of(state)
        super().__init__(state=state, frame=frame_of(state, self._found))
        self.observe(self._follow, "state")
        self.observe(self._open, "explorer_state")

    @classmethod
    def live(cls) -> "HostView":
        """Read the machine it runs on."""
        return cls(live=True)

    def _follow(self, change: Mapping[str, Any]) -> None:
        """Make the frame of a new state; whatever the page sent, the last good frame stays."""
        state = change["new"]
        try:
            self._found = found_of(state)
            new = frame_of(state, self._found)
        except LabError as error:
            new = {**self.frame, "error": str(error)}
        except (TypeError, AttributeError, KeyError, ValueError) as error:  # no state that our page would send
            new = {**self.frame, "error": f"this state makes no sense: {error}"}
        with self.hold_sync():
            self.frame = new
            if self.explorer_state:
                self.explorer_state = new["explorer"] or {}

    def _open(self, change: Mapping[str, Any]) -> None:
        """Show one VM-Enter in the explorer, or close it."""
        new = next_frame(change["new"], (), self.explorer_frame) if change["new"] else {}
        with self.hold_sync():
            self.explorer_drawings = drawings(new) if new.get("sides") else {}
            self.explorer_frame = new

    @property
    def host(self) -> Host:
        """The host inferred from the report that is shown."""
        return self._found.inference.host

    def explorer(self, **options: Any) -> EntryExplorer | None:
        """Return an EntryExplorer with this host, and `options` over it; None on CPUs other than Intel's."""
        state = self.frame["explorer"]
        return None if state is None else EntryExplorer(**{**state, **options})

    @property
    def text(self) -> str:
        """The text twin: what the picture shows, in words."""
        opened = self.explorer_frame.get("said")
        return twin(self.frame) + (f"\nOpened: {opened}" if opened else "")

    def __repr__(self) -> str:
        """Return the twin; of a machine read live, what stands in for it wherever it is stored."""
        return "[Your own machine: shown when you run this cell]" if self.state.get("live") else self.text

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add to the widget what viewers without widgets show."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, "text/html": f"<pre>{escape(repr(self))}</pre>"}, metadata
