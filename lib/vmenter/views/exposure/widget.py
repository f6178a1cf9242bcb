"""ExposureMap: eras × configurations as a map of where promises break, to be zoomed by dimension.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it. A
cell opens its counterexample in an EntryExplorer below the map: the same view, over a state and frames of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import anywidget
import traitlets

from vmenter import LabError
from vmenter.story.history import Era
from vmenter.story.space import DEFAULT, Space
from vmenter.views.entry.frame import drawings
from vmenter.views.entry.widget import next_frame
from vmenter.views.exposure.frame import LOOKS, Frame, frame, twin
from vmenter.views.view import read


def _module() -> str:
    """Return the page's module. EntryExplorer's is a function in it, so that their names do not meet."""
    explorer, _ = read("views/entry/widget.js").split("export default")
    wrapped = f"const explorer = (() => {{\n{explorer}\nreturn {{ render }};\n}})();"
    return "\n".join((read("views/common.js"), wrapped, read("views/exposure/widget.js")))


class ExposureMap(anywidget.AnyWidget):
    """A map of an audit: rows are eras, columns the values of one dimension of the space, or of two.

    ``ExposureMap(("mds", "l1tf"), narrowed=[("EPT", "on")], cell=("650b68a0622f", ("yes", "yes")))``. Beside the
    space's dimensions there are those of `exposure.SITUATIONS`. `eras` names the rows, by default those of the
    story; `more` are eras of one's own, below them. Its text twin is its `repr`. Raises `LabError` for unknown
    names.
    """

    _esm = _module()
    _css = read("views/common.css", "views/entry/widget.css", "views/exposure/widget.css")

    state = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)
    explorer_state = traitlets.Dict().tag(sync=True)  # empty while it is closed
    explorer_frame = traitlets.Dict().tag(sync=True)
    explorer_drawings = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        split: str | Iterable[str] = LOOKS[0].split,
        narrowed: Iterable[tuple[str, str]] = (),
        cell: tuple[str, Sequence[str]] | None = None,
        *,
        eras: Iterable[str] | None = None,
        more: Iterable[Era] = (),
        space: Space = DEFAULT,
    ) -> None:
        self._more, self._space = tuple(more), space
        state = {
            "split": [split] if isinstance(split, str) else list(split),
            "narrowed": [list(pair) for pair in narrowed],
            "cell": None if cell is None else [cell[0], list(cell[1])],
            "eras": None if eras is None else list(eras),
        }
        super().__init__(state=state, frame=frame(state, self._more, space))
        self.observe(self._follow, "state")
        self.observe(self._open, "explorer_state")

    def _follow(self, change: Mapping[str, Any]) -> None:
        """Make the frame of a new state; whatever the page sent, the last good frame stays."""
        self.frame = _next(change["new"], self._more, self._space, self.frame)

    def _open(self, change: Mapping[str, Any]) -> None:
        """Show one VM-Enter in the explorer, or close it."""
        new = next_frame(change["new"], self._more, self.explorer_frame) if change["new"] else {}
        with self.hold_sync():
            self.explorer_drawings = drawings(new, self._more) if new.get("sides") else {}
            self.explorer_frame = new

    @property
    def more(self) -> tuple[Era, ...]:
        """Eras of the reader's own, below those of the story."""
        return self._more

    @property
    def space(self) -> Space:
        """The configurations that are mapped."""
        return self._space

    @property
    def text(self) -> str:
        """The text twin: what the picture shows, in words."""
        opened = self.explorer_frame.get("said")
        return twin(self.frame) + (f"\nOpened       {opened}" if opened else "")

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add to the widget what viewers without widgets show."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, "text/html": f"<pre>{escape(self.text)}</pre>"}, metadata


def _next(state: Mapping[str, Any], more: Iterable[Era], space: Space, last: Frame) -> Frame:
    """Return the frame of a state, or the last one with the mistake in it."""
    try:
        return frame(state, more, space)
    except LabError as error:
        return {**last, "error": str(error)}
    except (TypeError, AttributeError, KeyError, ValueError) as error:  # no state that our page would send
        return {**last, "error": f"this state makes no sense: {error}"}
