"""KernelBrowser: all alternatives of an image, filtered, sorted and patched; one of them opens in a PatchBench.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it. By
default the lab's own image; a kernel of the reader's is read on request only, and nothing of it is stored with a
notebook.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.code.image import Image, from_bytes
from vmenter.kernels import recorded
from vmenter.kernels.census import KERNEL
from vmenter.patching.alternative_table import Engine
from vmenter.patching.lab import lab_object
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.kernel.frame import Table, frame, table
from vmenter.views.kernel.still import picture
from vmenter.views.patch.widget import PatchBench
from vmenter.views.view import Frame, Opener, View, module, read

LAB = "patching"  # the lab's own image that is shown where none is given
FILTERS = ("feature", "function", "text", "changed")


class KernelBrowser(Opener):
    """The alternatives of an image: ``KernelBrowser()`` shows the lab's, ``KernelBrowser.live()`` a kernel's.

    Give ``KernelBrowser(image)`` any image, `cpu` a name of `cpus.PRESETS`, or `features` that are on; `feature`,
    `function`, `text` and `changed` filter, `sort` names a column. Its text twin is its `repr`, but for a kernel
    read live: of that the repr says nothing. Raises `LabError` for what it cannot show.
    """

    still = "page"
    named = "Alternatives of an image"
    _esm = module("views/kernel/widget.js")
    _css = read("views/common.css", "views/kernel/widget.css")

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
        self._live, self._note = live, note
        super().__init__(state)

    @classmethod
    def live(cls, path: str | Path | None = None, module: str = "kvm-intel.ko", **options: Any) -> "KernelBrowser":
        """Show a module of a kernel on this machine, the running one if it can; `path` as for `kernels.find`.

        A kernel without that module, and a vmlinuz, is shown itself; ``module="vmlinuz"`` asks for it. Where none
        is found it shows the lab's image, and says why; without filters, which would fit nothing there.
        """
        try:
            found = recorded.module(path, module, KERNEL)
            return cls(found.load(), live=True, note=found.name, **options)
        except LabError as error:
            kept = {name: value for name, value in options.items() if name not in FILTERS}
            return cls(live=True, note=f"No kernel of yours, so the lab's own code: {error}", **kept)

    def _picture(self) -> Diagram | None:
        return None if self._live else picture(self.frame)

    def _made(self, state: Mapping[str, Any]) -> Frame:
        return frame(self._table, state, self._note)

    def _opening(self, asked: Mapping[str, Any]) -> View:
        """Put one site on the bench: {"site": its address, …} and what else a PatchBench's state has."""
        state = {name: value for name, value in asked.items() if name != "site"}
        site = self._table.bench(int(str(asked.get("site")), 16))
        if not isinstance(self.inner, PatchBench):
            return PatchBench.on(site, state)
        self.inner.put(site, state)
        return self.inner

    def _about(self, inner: View) -> dict[str, Any]:
        title = inner.frame["title"]
        site = inner.site if isinstance(inner, PatchBench) else None
        address = None if site is None else f"{site.site.address:#x}"
        return {"heading": f"On the bench: {title}", "line": f"Opened: {title}", "site": address}

    def __repr__(self) -> str:
        """Return the twin; of a kernel read live, what stands in for it wherever it is stored."""
        return "[A kernel of your own: shown when you run this cell]" if self._live else self.text


@cache
def lab_table() -> Table:
    """Return the lab's own image, as it is browsed by default."""
    return table(from_bytes(lab_object(LAB), f"{LAB}.o"))
