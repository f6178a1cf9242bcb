"""KernelBrowser: all alternatives of an image, filtered, sorted and patched; one of them opens in a PatchBench.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it. By
default the lab's own image; a kernel of the reader's is read on request only, and nothing of it is stored with a
notebook.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from vmenter import LabError
from vmenter.code.image import Image, from_bytes
from vmenter.kernels import recorded
from vmenter.patching.alternative_table import Engine
from vmenter.patching.lab import lab_object
from vmenter.views.kernel.frame import Frame, Table, frame, table, twin
from vmenter.views.patch.widget import next_frame
from vmenter.views.view import read

if TYPE_CHECKING:
    from vmenter.views.patch.bench import Bench

LAB = "patching"  # the lab's own image that is shown where none is given
FILTERS = ("feature", "function", "text", "changed")


def _module() -> str:
    """Return the page's module. PatchBench's is a function in it, so that their names do not meet."""
    bench, _ = read("views/patch/widget.js").split("export default")
    wrapped = f"const bench = (() => {{\n{bench}\nreturn {{ render }};\n}})();"
    return "\n".join((read("views/common.js"), wrapped, read("views/kernel/widget.js")))


class KernelBrowser(anywidget.AnyWidget):
    """The alternatives of an image: ``KernelBrowser()`` shows the lab's, ``KernelBrowser.live()`` a kernel's.

    Give ``KernelBrowser(image)`` any image, `cpu` a name of `cpus.PRESETS`, or `features` that are on; `feature`,
    `function`, `text` and `changed` filter, `sort` names a column. Its text twin is its `repr`, but for a kernel
    read live: of that the repr says nothing. Raises `LabError` for what it cannot show.
    """

    _esm = _module()
    _css = read("views/common.css", "views/patch/widget.css", "views/kernel/widget.css")

    state = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)
    bench_state = traitlets.Dict().tag(sync=True)  # PatchBench's, and "site"; empty while it is closed
    bench_frame = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        image: Image | None = None,
        features: Iterable[str] | None = None,
        cpu: str | None = None,
        *,
        feature: str = "",
        function: str = "",
        text: str = "",
        changed: bool = False,
        sort: str = "site",
        engine: Engine | str | None = None,
        nops: str | None = None,
        names: Mapping[int, str] | None = None,
        live: bool = False,
        note: str = "",
    ) -> None:
        state = {
            "feature": feature,
            "function": function,
            "text": text,
            "changed": changed,
            "sort": sort,
            "descending": False,
            "cpu": cpu,
            "features": None if features is None else [features] if isinstance(features, str) else [*features],
            "top": 0,
        }
        self._table = lab_table() if image is None else table(image, engine, names, nops)
        self._site: Bench | None = None
        self._live, self._note = live, note
        super().__init__(state=state, frame=frame(self._table, state, note))
        self.observe(self._follow, "state")
        self.observe(self._open, "bench_state")

    @classmethod
    def live(cls, path: str | Path | None = None, module: str = "kvm-intel.ko", **options: Any) -> "KernelBrowser":
        """Show a module of a kernel on this machine, the running one if it can; `path` as for `kernels.find`.

        Where none is found it shows the lab's image, and says why; without filters, which would fit nothing there.
        """
        try:
            found = recorded.module(path, module)
            return cls(found.load(), live=True, note=found.name, **options)
        except LabError as error:
            kept = {name: value for name, value in options.items() if name not in FILTERS}
            return cls(live=True, note=f"No kernel of yours, so the lab's own code: {error}", **kept)

    def _follow(self, change: Mapping[str, Any]) -> None:
        """Make the frame of a new state; whatever the page sent, the last good frame stays."""
        try:
            self.frame = frame(self._table, change["new"], self._note)
        except LabError as error:
            self.frame = {**self.frame, "error": str(error)}
        except (
            TypeError,
            AttributeError,
            KeyError,
            ValueError,
            OverflowError,
        ) as error:  # no state that our page would send
            self.frame = {**self.frame, "error": f"this state makes no sense: {error}"}

    def _open(self, change: Mapping[str, Any]) -> None:
        """Show one site on the bench, or close it; a site that there is not leaves it as it was."""
        state = change["new"]
        if not state:
            self._site, self.bench_frame = None, {}
            return
        try:
            site = self._table.bench(int(str(state.get("site")), 16))
        except (LabError, ValueError) as error:
            self.frame = {**self.frame, "error": f"this site cannot be opened: {error}"}
            return
        if self._site is None or self._site.site != site.site:
            self._site = site
        self.bench_frame = next_frame(state, self._site, self.bench_frame)

    @property
    def text(self) -> str:
        """The text twin: what the picture shows, in words."""
        opened = self.bench_frame.get("title")
        return twin(self.frame) + (f"\nOpened: {opened}" if opened else "")

    def __repr__(self) -> str:
        """Return the twin; of a kernel read live, what stands in for it wherever it is stored."""
        return "[A kernel of your own: shown when you run this cell]" if self._live else self.text

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add to the widget what viewers without widgets show."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, "text/html": f"<pre>{escape(repr(self))}</pre>"}, metadata


@cache
def lab_table() -> Table:
    """Return the lab's own image, as it is browsed by default."""
    return table(from_bytes(lab_object(LAB), f"{LAB}.o"))


def lab_frame(state: Mapping[str, Any]) -> Frame:
    """Return the frame of a state over the lab's own image: for pages without a kernel."""
    return frame(lab_table(), state)
