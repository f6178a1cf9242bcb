"""ExposureMap: eras × configurations as a map of where promises break, to be zoomed by dimension.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it. A
cell opens its counterexample in an EntryExplorer below the map: the same view, over a state and frames of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from vmenter.story.history import Era
from vmenter.story.space import DEFAULT, Space
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.entry.widget import EntryExplorer
from vmenter.views.exposure.frame import LOOKS, frame
from vmenter.views.exposure.still import picture
from vmenter.views.view import Frame, Opener, View, module, read


class ExposureMap(Opener):
    """A map of an audit: rows are eras, columns the values of one dimension of the space, or of two.

    ``ExposureMap(("mds", "l1tf"), narrowed=[("EPT", "on")], cell=("650b68a0622f", ("yes", "yes")))``. Beside the
    space's dimensions there are those of `exposure.SITUATIONS`. `eras` names the rows, by default those of the
    story; `more` are eras of one's own, below them. Its text twin is its `repr`. Raises `LabError` for unknown
    names.
    """

    about: ClassVar = {
        "heading": "One of these configurations, run",
        "line": "Opened       ",
    }  # of an explorer that is open
    named = "Exposure map"
    _esm = module("views/exposure/widget.js")
    _css = read("views/common.css", "views/exposure/widget.css")

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
        super().__init__(state)

    def _picture(self) -> Diagram:
        return picture(self.frame)

    def _made(self, state: Mapping[str, Any]) -> Frame:
        return frame(state, self._more, self._space)

    def _show(self, new: Frame) -> None:
        """Show a map; an explorer that is open follows to the cell that is selected."""
        self.frame = new
        if not new.get("wrong"):
            self._lead(new["detail"]["explorer"])

    def _opening(self, asked: Mapping[str, Any]) -> View:
        return EntryExplorer.opened_on(asked, self.inner, self._more)

    def _about(self, inner: View) -> dict[str, Any]:
        return {**self.about, "line": self.about["line"] + inner.frame["said"]}

    @property
    def more(self) -> tuple[Era, ...]:
        """Eras of the reader's own, below those of the story."""
        return self._more

    @property
    def space(self) -> Space:
        """The configurations that are mapped."""
        return self._space
