"""FirstMinute: one button; each press lets a guest in, and shows what lies in the buffers then.

A thin widget: what it shows is `frame.frame`, all of it made beforehand; the page (widget.js) shows as much of it
as was pressed for.
"""

from base64 import b64encode
from html import escape

import traitlets

from vmenter import LabError
from vmenter.views.first.frame import frame, machine_of, twin
from vmenter.views.first.picture import still
from vmenter.views.view import Twin, module, read


class FirstMinute(Twin):
    """Three VM-Enters, one after the other: ``FirstMinute()`` of an Intel server, ``FirstMinute("amd")`` of AMD's.

    `state` is which machine, and how often the button was pressed. `text` is the twin of what is shown. Where
    there are no widgets stands a picture of all three. Raises `LabError` for a machine that there is not.
    """

    _esm = module("views/first/widget.js")
    _css = read("views/common.css", "views/first/widget.css")

    state = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)

    def __init__(self, machine: str = "intel") -> None:
        shown = frame()
        names = [one["id"] for one in shown["machines"]]
        if machine not in names:
            raise LabError(f"there is no machine {machine!r}; there are {', '.join(names)}")
        super().__init__(state={"machine": machine, "pressed": 0}, frame=shown)

    @property
    def text(self) -> str:
        """The text twin of what is shown now."""
        return twin(self.frame, self.state)

    @property
    def whole(self) -> str:
        """The text twin with everything shown, for pages without widgets."""
        runs = machine_of(self.frame, self.state)["runs"]
        return twin(self.frame, {**self.state, "pressed": len(runs)})

    @property
    def picture(self) -> str:
        """All three, as an SVG file that needs nothing else."""
        runs = machine_of(self.frame, self.state)["runs"]
        return still([run["title"] for run in runs], [run["drawing"] for run in runs], "A model of the buffers.")

    def __repr__(self) -> str:
        return self.whole

    def _html(self) -> str:
        """Return what viewers without widgets show."""
        picture = b64encode(self.picture.encode()).decode()
        alternative = escape(self.whole)
        return f'<img style="max-width: 100%" alt="{alternative}" src="data:image/svg+xml;base64,{picture}">'
