"""LeakGame: eight rounds in which the learner is the guest, and says what can be read.

A thin widget: what it shows is `frame.frame`, all of it made beforehand from the model; the page (widget.js) keeps
the round, the step and the points. A model, and it says so.
"""

from base64 import b64encode
from html import escape
from typing import Any

import anywidget
import traitlets

from vmenter.emulator.leftovers import ENTRIES
from vmenter.views.leak.frame import START, frame, twin
from vmenter.views.leak.picture import still
from vmenter.views.view import read


class LeakGame(anywidget.AnyWidget):
    """A game about what a host leaves behind: ``LeakGame()``. Its text twin is its `text`.

    Where there are no widgets stands a picture of the first round, and no answer.
    """

    _esm = read("views/common.js", "views/leak/widget.js")
    _css = read("views/common.css", "views/leak/widget.css")

    state = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)

    def __init__(self) -> None:
        super().__init__(state=dict(START), frame=frame())

    @property
    def text(self) -> str:
        """The text twin of what is shown now."""
        return twin(self.frame, self.state)

    @property
    def picture(self) -> str:
        """The first round, as an SVG file that needs nothing else."""
        first = self.frame["rounds"][0]
        last = first["moments"][-1]
        return still(first["deeds"], last["buffers"], last["cache"], ENTRIES)

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add to the widget what viewers without widgets show."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        picture = b64encode(self.picture.encode()).decode()
        html = f'<img style="max-width: 100%" alt="{escape(self.text)}" src="data:image/svg+xml;base64,{picture}">'
        return {**data, "text/html": html}, metadata
