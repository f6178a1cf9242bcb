"""PatchBench: patch one site, step by step and byte by byte, in a notebook.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.patching.alternative_table import Engine, Site, nops_of
from vmenter.patching.lab import feature_names, feature_numbers
from vmenter.patching.other_patchers import marked
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.patch.bench import Bench
from vmenter.views.patch.frame import frame, mistaken, twin
from vmenter.views.patch.still import picture
from vmenter.views.view import Frame, View, module, read


class PatchBench(View):
    """One site on a bench: choose it or type it, toggle features, step, compare the engines.

    ``PatchBench(sample="three_way", features=("CLEAR_CPU_BUF_VM",), engine="once", step=0)`` shows a sample
    of the lab; `typed` and `of` show other code. It opens on its first step; ``step=None`` is the last. `nops`, p6
    or k8, is what the early patcher writes: up to v5.12 the CPU decides. Its text twin is its `repr`.
    """

    named = "Patch bench"
    _esm = module("views/patch/widget.js")
    _css = read("views/common.css", "views/patch/widget.css")

    def __init__(
        self,
        sample: str | None = "three_way",
        features: Iterable[str] = (),
        engine: Engine | str = Engine.ONCE,
        step: int | None = 0,
        *,
        nops: str | None = None,
        typed: Mapping[str, Any] | None = None,
        site: Bench | None = None,
    ) -> None:
        names = [features] if isinstance(features, str) else list(features)
        state = {
            "sample": sample if typed is None and site is None else None,
            "typed": None if typed is None else dict(typed),
            "features": names,
            "engine": str(engine),
            "step": step,
        }
        if nops is not None:
            state["nops"] = str(nops)
        self._site = site
        super().__init__(state)
        known = {*feature_numbers(), *(one["name"] for one in self.frame["features"])}
        for name in names:
            if name not in known:
                raise LabError(f"no feature is called {name!r}; this site knows {', '.join(sorted(known))}")

    @classmethod
    def typed(
        cls, original: str, replacements: Sequence[tuple[str, str]], *, after: str = "", **options: Any
    ) -> "PatchBench":
        """Show code of one's own: ``replacements`` are (assembly, "FEATURE" or "NOT FEATURE"), in table order."""
        text = {"original": original, "replacements": [list(pair) for pair in replacements], "after": after}
        return cls(typed=text, **options)

    @classmethod
    def of(
        cls,
        image: Image,
        site: Site,
        features: Iterable[str] = (),
        names: Mapping[int, str] | None = None,
        **options: Any,
    ) -> "PatchBench":
        """Show a site of any image; `names` names the feature numbers of its kernel."""
        title = image.label(site.address)
        about = f"A site of {Path(image.name).name}" + (f", kernel {image.kernel}." if image.kernel else ".")
        (site,) = marked(image, [site])
        known = feature_names() if names is None else names
        bench = Bench(title, about, image, site, known, nops=nops_of(image.kernel))
        return cls(features=features, site=bench, **options)

    @classmethod
    def on(cls, site: Bench, state: Mapping[str, Any]) -> "PatchBench":
        """Show a site for a state as the page keeps it, whatever features it has on."""
        bench = cls(site=site, engine=state.get("engine") or Engine.ONCE, nops=state.get("nops"))
        bench.state = {**bench.state, **state}
        return bench

    def put(self, site: Bench, state: Mapping[str, Any]) -> None:
        """Put another site on the bench."""
        self._site = site
        if self.state == state:
            self._follow({"new": state})
        self.state = dict(state)

    def _picture(self) -> Diagram:
        return picture(self.frame, self.state.get("step"))

    def _made(self, state: Mapping[str, Any]) -> Frame:
        return frame(state, self._site)

    def _mistaken(self, error: LabError, state: Mapping[str, Any]) -> Frame:
        return mistaken(self.frame, error, state)

    @property
    def site(self) -> Bench | None:
        """The site that the bench was made for, where it is neither sample nor typed text."""
        return self._site

    @property
    def text(self) -> str:
        """The text twin: what the picture shows, in words."""
        return twin(self.frame, self.state.get("step"))
