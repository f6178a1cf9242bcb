"""What running the notebooks gives the site: views, frames, styles. It takes most of a build, so it is kept.

What is kept is found by all that it is made of: the library's files, the notebooks, the packages and their
versions, what the environment says to vmenter. A change to any of them is another name. It lies in the reader's
cache, and may be deleted.
"""

import contextlib
import gzip
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import platformdirs
from anywidget import AnyWidget  # noqa: TC002  (as everywhere here, types are imported plainly)

from vmenter.course.site.run import widgets
from vmenter.course.site.views import Live, live, scripts, style

HERE = Path(__file__).parent
LIBRARY = HERE.parents[1]
MOST = 4  # that are kept
NOTEBOOKS, FRAMES = 0.4, 1.0  # shares of the work
Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Made:
    """Views by notebook (its stem) and cell, None for one that needs a kernel; scripts by file name; style."""

    shown: dict[str, dict[int, Live | None]]
    scripts: dict[str, str]
    style: str


def made(notebooks: Iterable[Path], tell: Tell, *, fresh: bool = False) -> Made:
    """Return what these notebooks give: what is kept, if all is as it was and nothing `fresh` is asked for."""
    paths = list(notebooks)
    place = folder() / f"{name_of(paths)}.json.gz"
    if not fresh and (found := _read(place)) is not None:
        return found
    result = _run(paths, tell)
    _keep(place, result)
    return result


def folder() -> Path:
    """Return where it is kept."""
    return platformdirs.user_cache_path("vmenter", appauthor=False) / "site"


def name_of(notebooks: Iterable[Path]) -> str:
    """Return the name of all that the result is made of."""
    digest = hashlib.sha256()
    library = (path for path in LIBRARY.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    matter = (path for path in library if path.parent != HERE or path.suffix == ".py")  # not the pages' own style
    for path in (*sorted(matter), *notebooks):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    packages = sorted(f"{one.name} {one.version}" for one in metadata.distributions())
    told = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("VMENTER_"))
    digest.update("\n".join((sys.version, *packages, *told)).encode())
    return digest.hexdigest()[:32]


def _run(paths: Iterable[Path], tell: Tell) -> Made:
    """Run the notebooks, and make the frames of their views."""
    shown: dict[str, dict[int, Live | None]] = {}
    views: dict[str, AnyWidget] = {}
    paths = list(paths)
    for number, path in enumerate(paths):
        tell(f"running {path.stem}", NOTEBOOKS * number / len(paths))
        notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        found = {f"view-{path.stem[:2]}-{cell}": (cell, one) for cell, one in widgets(notebook, path).items()}
        shown[path.stem] = {cell: live(id_, one) for id_, (cell, one) in found.items()}
        views |= {id_: one for id_, (cell, one) in found.items() if shown[path.stem][cell] is not None}

    def tell_frames(kind: str, done: float) -> None:
        tell(f"making the frames of {kind}", NOTEBOOKS + (FRAMES - NOTEBOOKS) * done)

    return Made(shown, scripts(views, tell_frames), style(views.values()))


def _read(place: Path) -> Made | None:
    """Return what is kept; None if nothing is, or not whole."""
    try:
        told = json.loads(gzip.decompress(place.read_bytes()))
        os.utime(place)
        shown = {
            stem: {int(cell): one and Live(**one) for cell, one in cells.items()}
            for stem, cells in told["shown"].items()
        }
        return Made(shown, told["scripts"], told["style"])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def _keep(place: Path, result: Made) -> None:
    """Keep a result, whole or not at all, and let the oldest go. Where nothing can be kept, nothing is."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".new", delete=False) as file:
            file.write(gzip.compress(json.dumps(asdict(result)).encode(), 6))
        os.replace(file.name, place)  # noqa: PTH105
        kept = sorted(place.parent.glob("*.json.gz"), key=lambda path: path.stat().st_mtime)
        for old in kept[:-MOST]:
            old.unlink()
