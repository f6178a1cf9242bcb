"""HostView: a machine's own words about its flaws, explained, and handed to the EntryExplorer.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it. By default
a recorded sample; a machine is read on request only, and what it said is never stored with a notebook.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from vmenter.boot.host import Host
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.entry.widget import EntryExplorer
from vmenter.views.host.frame import DEFAULT, found_of, frame_of
from vmenter.views.host.still import picture
from vmenter.views.view import Frame, Opener, View, module, read


class HostView(Opener):
    """A machine explained: ``HostView()`` shows a recorded sample, ``HostView.live()`` the machine it runs on.

    ``HostView("cascade-lake")`` names another sample, ``HostView(pasted=text)`` explains what a machine printed.
    `host` is what was inferred, `explorer()` an EntryExplorer with it. Its text twin is its `repr`, but for a
    machine read live: of that the repr says nothing. Raises `LabError` for unknown samples and unreadable text.
    """

    still = "report"
    about: ClassVar = {"heading": "A VM-Enter of this host", "line": "Opened: "}  # of an explorer that is open
    named = "A machine explained"
    _esm = module("views/host/widget.js")
    _css = read("views/common.css", "views/host/widget.css")

    def __init__(self, sample: str | None = DEFAULT, *, pasted: str | None = None, live: bool = False) -> None:
        state = {"sample": None if live or pasted is not None else sample, "pasted": pasted, "live": live}
        super().__init__(state)

    @classmethod
    def live(cls) -> "HostView":
        """Read the machine it runs on."""
        return cls(live=True)

    def _picture(self) -> Diagram | None:
        return None if self.state.get("live") else picture(self.frame)

    def _made(self, state: Mapping[str, Any]) -> Frame:
        self._found = found_of(state)
        return frame_of(state, self._found)

    def _show(self, new: Frame) -> None:
        """Show a report; an explorer that is open follows it."""
        self.frame = new
        if not new.get("wrong"):
            self._lead(new["explorer"])

    def _opening(self, asked: Mapping[str, Any]) -> View:
        return EntryExplorer.opened_on(asked, self.inner)

    def _about(self, inner: View) -> dict[str, Any]:
        return {**self.about, "line": self.about["line"] + inner.frame["said"]}

    @property
    def host(self) -> Host:
        """The host inferred from the report that is shown."""
        return self._found.inference.host

    def explorer(self, **options: Any) -> EntryExplorer | None:
        """Return an EntryExplorer with this host, and `options` over it; None on CPUs other than Intel's."""
        state = self.frame["explorer"]
        return None if state is None else EntryExplorer(**{**state, **options})

    def __repr__(self) -> str:
        """Return the twin; of a machine read live, what stands in for it wherever it is stored."""
        return "[Your own machine: shown when you run this cell]" if self.state.get("live") else self.text
