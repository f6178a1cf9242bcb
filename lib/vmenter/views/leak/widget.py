"""LeakGame: eight rounds in which the learner is the guest, and says what can be read.

A thin widget: what it shows is `frame.frame`, all of it made beforehand from the model; the page (widget.js) keeps
the round, the step and the points. A model, and it says so.
"""

from base64 import b64encode
from html import escape

import traitlets

from vmenter.emulator.leftovers import ENTRIES
from vmenter.views.leak.frame import START, frame, twin
from vmenter.views.leak.picture import still
from vmenter.views.view import Twin, module, read


class LeakGame(Twin):
    """A game about what a host leaves behind: ``LeakGame()``. Its text twin is its `text`.

    Where there are no widgets stands a picture of the first round, and no answer.
    """

    _esm = module("views/leak/widget.js")
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

    def _html(self) -> str:
        """Return what viewers without widgets show."""
        picture = b64encode(self.picture.encode()).decode()
        alternative = escape(self.text)
        return f'<img style="max-width: 100%" alt="{alternative}" src="data:image/svg+xml;base64,{picture}">'
