"""Text that belongs to this machine and this moment: shown in the page, never stored in a notebook."""

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

from vmenter import LabError


class LiveText(anywidget.AnyWidget):
    """A title and some text. Its repr names the title only, so a notebook's output is the same everywhere."""

    _esm = Path(__file__).with_name("live.js")
    title = traitlets.Unicode().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)

    def __init__(self, title: str, text: str) -> None:
        super().__init__(title=title, text=text)

    @classmethod
    def of(cls, title: str, told: Callable[[], str]) -> "LiveText":
        """Show what `told` returns, or the reason where there is nothing to tell, such as no kernel here."""
        try:
            return cls(title, told())
        except LabError as error:
            return cls(title, f"Not here: {error}")

    def __repr__(self) -> str:
        """Return what stands in for the text wherever it is stored."""
        return f"[{self.title}: shown when you run this cell]"
