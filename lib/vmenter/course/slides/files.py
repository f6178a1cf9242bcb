"""The files: slides and a handout for each notebook, and an index, with style and script inside."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pygments.formatters import HtmlFormatter

from vmenter import LabError
from vmenter.course.slides.blocks import read, sections
from vmenter.course.slides.handout import handout
from vmenter.course.slides.pack import slides

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
NOTEBOOKS = ROOT / "notebooks"
OUTPUT = ROOT / "build" / "slides"


def build(folder: Path = OUTPUT, notebooks: Path = NOTEBOOKS) -> list[Path]:
    """Write all files and return them, the index first. Raises `LabError` where there is no notebook."""
    found = sorted(notebooks.glob("[0-9][0-9]-*.ipynb"))
    if not found:
        raise LabError(f"{notebooks}: no notebooks here; slides are made in a checkout of the course")
    folder.mkdir(parents=True, exist_ok=True)
    made, listed = [], []
    for path in found:
        title, deck, sheet = pages(path)
        listed.append((title, path.stem))
        for name, text in ((f"{path.stem}.html", deck), (f"{path.stem}-handout.html", sheet)):
            (folder / name).write_text(text, encoding="utf-8")
            made.append(folder / name)
    index = folder / "index.html"
    index.write_text(_page("index.html.j2", listed=listed), encoding="utf-8")
    return [index, *made]


def pages(path: Path) -> tuple[str, str, str]:
    """Return a notebook's title, its slides and its handout, the latter two as HTML pages."""
    notebook = read(path)
    sheet = handout(notebook, path.stem)
    number, _, name = sheet.title.partition(" · ")
    deck = _page(
        "slides.html.j2", title=sheet.title, number=number, name=name, slides=list(slides(sections(notebook)))
    )
    return sheet.title, deck, _page("handout.html.j2", sheet=sheet, number=number, name=name, stem=path.stem)


def _page(template: str, **values: object) -> str:
    """Fill a template. Values that hold HTML come from nbconvert and are marked so in the templates."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (HERE / "slides.css").read_text(encoding="utf-8") + HtmlFormatter(style="default").get_style_defs(
        ".highlight"
    )
    script = (HERE / "slides.js").read_text(encoding="utf-8")
    page = environment.get_template(template).render(style=style, script=script, **values)
    return re.sub(r"\n{3,}", "\n\n", page)
