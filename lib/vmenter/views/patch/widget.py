"""PatchBench: patch one site, step by step and byte by byte, in a notebook.

A thin widget: what it shows is `frame.frame` of a small state; the page (widget.js) draws it.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.patching.alternative_table import Engine, Site, nops_of
from vmenter.patching.lab import feature_names, feature_numbers
from vmenter.patching.other_patchers import marked
from vmenter.views.patch.bench import Bench
from vmenter.views.patch.frame import Frame, frame, twin
from vmenter.views.view import read


class PatchBench(anywidget.AnyWidget):
    """One site on a bench: choose it or type it, toggle features, step, compare the engines.

    ``PatchBench(sample="three_way", features=("CLEAR_CPU_BUF_VM",), engine="once", step=0)`` shows a sample
    of the lab; `typed` and `of` show other code. It opens on its first step; ``step=None`` is the last. `nops`, p6
    or k8, is what the early patcher writes: up to v5.12 the CPU decides. Its text twin is its `repr`.
    """

    _esm = read("views/common.js", "views/patch/widget.js")
    _css = read("views/common.css", "views/patch/widget.css")

    state = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)

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
        first = frame(state, site)
        known = {*feature_numbers(), *(one["name"] for one in first["features"])}
        for name in names:
            if name not in known:
                raise LabError(f"no feature is called {name!r}; this site knows {', '.join(sorted(known))}")
        super().__init__(state=state, frame=first)
        self.observe(self._follow, "state")

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

    def _follow(self, change: Mapping[str, Any]) -> None:
        """Make the frame of a new state; whatever the page sent, the last good frame stays."""
        self.frame = next_frame(change["new"], self._site, self.frame)

    @property
    def site(self) -> Bench | None:
        """The site that the bench was made for, where it is neither sample nor typed text."""
        return self._site

    @property
    def text(self) -> str:
        """The text twin: what the picture shows, in words."""
        return twin(self.frame, self.state.get("step"))

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add to the widget what viewers without widgets show."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, "text/html": f"<pre>{escape(self.text)}</pre>"}, metadata


def next_frame(state: Mapping[str, Any], site: Bench | None, last: Frame) -> Frame:
    """Return the frame of a state, or the last one with the mistake in it.

    Raises `LabError` where there is no last one.
    """
    try:
        return frame(state, site, last)
    except (TypeError, AttributeError, KeyError, IndexError) as error:  # no state that our page would send
        text = f"this state makes no sense: {error}"
        return {**last, "error": {"text": text, "message": text, "place": "", "line": None, "source": ""}}
