"""What all views share: a frame made of a small state, its text, its mistakes, and how one view opens another.

A view is a thin widget. The page (widget.js) draws its `frame`, which Python makes of its `state`, and sends back
new states. A view that opens another inside itself (`Opener`) has that one as a widget of its own, with a model, a
module and a style of its own: the page asks anywidget's host to draw it.
"""

import re
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from vmenter import LabError
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.static import narrow

HERE = Path(__file__).parents[1]
EXPORT = re.compile(r"^export (?=(?:function|const|class) (\w+))", re.MULTILINE)
IMPORT = re.compile(r'^import \{([^}]*)\} from "([./\w-]+)";$', re.MULTILINE)
NONSENSE = (
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    ValueError,
    OverflowError,
)  # of what no page would send; `LabError` is a ValueError

Frame = dict[str, Any]


def read(*names: str) -> str:
    """Return the text of files of this package, named from its folder on, one after another."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def module(name: str) -> str:
    """Return a view's module as anywidget takes it: one text, with all that it imports in front."""
    inside: dict[Path, str] = {}
    own = _resolved(HERE / name, inside)
    return "\n".join((*inside.values(), own))


def _resolved(path: Path, inside: dict[Path, str]) -> str:
    """Return a module whose imports are names of constants, after adding to `inside` what those constants are."""

    def found(line: re.Match[str]) -> str:
        other = (path.parent / line[2]).resolve()
        if other not in inside:
            text = _resolved(other, inside)
            names = ", ".join(EXPORT.findall(text))
            inside[other] = (
                f"const {_name(other)} = (() => {{\n{EXPORT.sub('', text)}\nreturn {{ {names} }};\n}})();"
            )
        return f"const {{{line[1]}}} = {_name(other)};"

    return IMPORT.sub(found, path.read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    return f"in_{path.stem}"


def twin(shown: Mapping[str, Any]) -> str:
    """Return the text twin of a frame: all that the page shows, in words."""
    return "\n".join((*shown.get("wrong", ()), *shown["text"]))


def mistaken(last: Frame, error: str, still: str) -> Frame:
    """Return the last good frame, which is `still` on the page, with a mistake in it."""
    return {
        **last,
        "error": error,
        "mistake": f"{error} \u2014 below, the last good {still}.",
        "wrong": [f"not shown: {error}", f"Still shown: the last good {still}.", ""],
    }


class _Kind(ABCMeta, traitlets.MetaHasTraits):
    """The kind of class that a base of views is: Python makes no widget of one that lacks what a view must say."""


class Twin(anywidget.AnyWidget, metaclass=_Kind):
    """A widget with a text twin: its repr, and what stands for it where there are no widgets."""

    named: ClassVar[str] = "View"  # what a still picture of it is called

    @property
    @abstractmethod
    def text(self) -> str:
        """The text twin: what the picture shows, in words."""

    def __repr__(self) -> str:
        return self.text

    def _picture(self) -> Diagram | None:
        """Return a still picture; None where there is none, or nothing of it may be stored with a notebook."""
        return None

    def _html(self) -> str:
        """Return what viewers without widgets show: a still picture, if there is one, and the text twin."""
        text = narrow(repr(self))
        if (still := self._picture()) is None:
            return text
        return f"{still.image(self.named)}<details><summary>As text</summary>{text}</details>"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add to the widget what viewers without widgets show."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, "text/html": self._html()}, metadata


class View(Twin):
    """A widget that shows frames. What kind, a subclass says: how a frame is made of a state, and its text."""

    still: ClassVar[str] = "state"  # what stays on the page while a new state is wrong

    state = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)
    # Until they are equal the page says that what it shows belongs to an earlier state.
    asked = traitlets.Int(0).tag(sync=True)  # how many states the page has sent
    answered = traitlets.Int(0).tag(sync=True)  # up to which of them the frame is

    def __init__(self, state: Mapping[str, Any], **values: Any) -> None:
        super().__init__(state=dict(state), frame=self._made(state), **values)
        self.observe(self._follow, "state")
        self.observe(self._answer, "asked")

    @abstractmethod
    def _made(self, state: Mapping[str, Any]) -> Frame:
        """Return the frame of a state. Raises `LabError` for what cannot be shown."""

    def _follow(self, change: Mapping[str, Any]) -> None:
        """Make the frame of a new state; whatever the page sent, the last good frame stays."""
        try:
            new = self._made(change["new"])
        except LabError as error:
            new = self._mistaken(error, change["new"])
        except NONSENSE as error:
            new = self._mistaken(LabError(f"this state makes no sense: {error}"), change["new"])
        with self.hold_sync():
            self._show(new)

    def _answer(self, change: Mapping[str, Any]) -> None:
        """Say that a state has its frame: the page sends the state first, so it was made before this is called."""
        self.answered = change["new"]

    def _show(self, new: Frame) -> None:
        """Show a new frame, and what goes with it."""
        self.frame = new

    def _mistaken(self, error: LabError, _state: Mapping[str, Any]) -> Frame:
        """Return the last good frame with a mistake in it."""
        return mistaken(self.frame, str(error), self.still)

    @property
    def text(self) -> str:
        """The text twin: what the picture shows, in words."""
        return twin(self.frame)


class Opener(View):
    """A view that opens another inside itself. The page asks by a message: {"open": …}, or {"shut": true}."""

    inner = anywidget.WidgetTrait().tag(sync=True)  # the view that is open; None: there is none
    opened = traitlets.Dict().tag(
        sync=True
    )  # of it: "heading" for the page, "line" for the twin; empty if there is none

    def __init__(self, state: Mapping[str, Any], **values: Any) -> None:
        super().__init__(state, **values)
        self.on_msg(self._hear)

    @abstractmethod
    def _opening(self, asked: Mapping[str, Any]) -> View:
        """Return the view to show, made or changed for what was asked. Raises `LabError` for what there is not."""

    @abstractmethod
    def _about(self, inner: View) -> dict[str, Any]:
        """Return what is said of an open view: its heading, and its line of the twin."""

    def open_inner(self, asked: Mapping[str, Any]) -> None:
        """Open another view inside this one; what cannot be opened is told, and leaves everything as it was."""
        try:
            inner = self._opening(asked)
        except NONSENSE as error:
            self.frame = mistaken(self.frame, f"this cannot be opened: {error}", self.still)
            return
        if inner is not self.inner:
            self.shut_inner()
            inner.observe(self._tell, "frame")
        with self.hold_sync():
            self.inner, self.opened = inner, self._about(inner)

    def _lead(self, asked: Mapping[str, Any] | None) -> None:
        """Let the view that is open, if one is, show what belongs to a new frame; close it where nothing does."""
        if self.inner is None:
            return
        if asked:
            self.open_inner(asked)
        else:
            self.shut_inner()

    def shut_inner(self) -> None:
        """Close the view that is open, if one is."""
        inner = self.inner
        if inner is None:
            return
        with self.hold_sync():
            self.inner, self.opened = None, {}
        inner.unobserve(self._tell, "frame")
        inner.close()

    def _tell(self, _change: object) -> None:
        self.opened = self._about(self.inner)

    def _hear(self, _widget: object, asked: Any, _buffers: object) -> None:
        """Do what the page asks for."""
        if not isinstance(asked, Mapping):
            return
        if "open" in asked:
            self.open_inner(asked["open"])
        elif "shut" in asked:
            self.shut_inner()

    @property
    def text(self) -> str:
        """The text twin: what the picture shows, in words, and a line for the view that is open."""
        return "\n".join(filter(None, (twin(self.frame), self.opened.get("line"))))
