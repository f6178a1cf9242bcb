"""The pictures of README and notebooks: each era's way to VM-Enter, drawn from its code (`make images`).

Each is one SVG file that needs nothing else and follows the reader's light or dark scheme even as an <img>. It
says what it was made from: a hash of the graph's text twin, of the DOT text that was laid out, and of the styles.
Whether a picture is stale is told by that hash alone; layouts differ between Graphviz versions, so the drawings
are never compared byte by byte.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vmenter import LabError
from vmenter.story.history import ERAS, FORMS
from vmenter.views.drawings.diagram import Diagram
from vmenter.views.drawings.ways import QUIET, SAMPLES, road, sample

FOLDER = Path(__file__).parents[3] / "images"
STYLE_VERSION = 1  # counts changes of how files are made that neither DOT nor style sheets show
MARGIN = 12  # around a drawing


@dataclass(frozen=True)
class Picture:
    """One file: its name without folder, and how it is drawn."""

    name: str
    draw: Callable[[], Diagram]


def pictures() -> Iterator[Picture]:
    """Yield every picture that the course shows."""
    for name in SAMPLES:
        yield Picture(f"sample-{name.replace('_', '-')}.svg", partial(sample, name))
    for era in FORMS.values():
        yield Picture(f"era-{era.id}.svg", partial(road, era))
        yield Picture(f"quiet-{era.id}.svg", partial(road, era, QUIET))
    yield Picture("finding.svg", finding)


def finding() -> Diagram:
    """Draw what the course is about: the function of 2019 with its keys on, on the way that passes VERW."""
    return road(ERAS["650b68a0622f"], QUIET, follow=())


# --- files -------------------------------------------------------------------------------------------------


def content(diagram: Diagram) -> str:
    """Return the hash of what a picture shows, whatever machine laid it out."""
    style = re.search(r"<style>(.*?)</style>", diagram.svg, re.DOTALL)
    dot = re.search(r'id="(d[0-9a-f]{8})-', diagram.svg)  # ids begin with a hash of what was laid out
    told = "\0".join([str(STYLE_VERSION), *(found[1] if found else "" for found in (style, dot)), diagram.text])
    return hashlib.sha256(told.encode()).hexdigest()[:24]


def recorded(svg: str) -> str | None:
    """Return the hash that a file was made with."""
    found = re.search(r'data-content="([0-9a-f]+)"', svg)
    return found[1] if found else None


def standalone(diagram: Diagram) -> str:
    """Return an SVG file that follows the reader's scheme by itself, on a ground of its own."""
    svg = diagram.file()
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    if box is None:
        raise LabError("a drawing without a viewBox: has diagram.py changed?")
    width, height = (f"{float(side) + 2 * MARGIN:.0f}" for side in box.groups())
    corner = f'x="{-MARGIN}" y="{-MARGIN}"'
    ground = f'<rect {corner} width="{width}" height="{height}" rx="8" style="fill: var(--d-paper)" />'
    marks = f'data-content="{content(diagram)}" viewBox="{-MARGIN} {-MARGIN} {width} {height}"'
    return svg.replace(box[0], marks, 1).replace("</style>", f"</style>{ground}", 1)


def stale(folder: Path = FOLDER) -> list[str]:
    """Return the names of files that are missing, out of date, or made by nothing any more."""
    found = {path.name: recorded(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.svg"))}
    wanted = {picture.name: content(picture.draw()) for picture in pictures()}
    return sorted(name for name in {*found, *wanted} if name not in wanted or found.get(name) != wanted[name])


def write(folder: Path = FOLDER) -> list[str]:
    """Bring the files up to date; return the names of those that changed."""
    folder.mkdir(exist_ok=True)
    drawn = {picture.name: picture.draw() for picture in pictures()}
    changed = []
    for name, diagram in drawn.items():
        path = folder / name
        if not path.exists() or recorded(path.read_text(encoding="utf-8")) != content(diagram):
            path.write_text(standalone(diagram), encoding="utf-8")
            changed.append(name)
    for path in folder.glob("*.svg"):
        if path.name not in drawn:
            path.unlink()
            changed.append(path.name)
    return changed


if __name__ == "__main__":
    for changed_name in write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER):
        print(changed_name)
