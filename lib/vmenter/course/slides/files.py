"""The files: slides, notes and a handout for each notebook, the answer key, an index; each whole in itself."""

import re
from pathlib import Path

from vmenter import LabError
from vmenter.course.slides.answers import Key, key
from vmenter.course.slides.deck import Slide, Source, slides
from vmenter.course.slides.handout import Handout, handout
from vmenter.course.slides.leader import part, sheets
from vmenter.course.slides.render import inline, read
from vmenter.course.templates import templates

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
    texts, keys = {}, []
    for path in found:
        deck, sheet, answers = made(path)
        number, _, name = sheet.title.partition(" · ")
        about = {"title": sheet.title, "number": number, "name": name, "stem": path.stem}
        texts[f"{path.stem}.html"] = _page("slides.html.j2", slides=deck, **about)
        texts[f"{path.stem}-notes.html"] = _page("notes.html.j2", slides=deck, **about)
        texts[f"{path.stem}-handout.html"] = _page("handout.html.j2", sheet=sheet, **about)
        keys.append(answers)
    listed = [(one.title, path.stem) for one, path in zip(keys, found, strict=True)]
    texts = {"index.html": _page("index.html.j2", listed=listed), **texts}
    texts["sheets.html"] = _page("sheets.html.j2", sheets=sheets(notebooks))
    texts["answers.html"] = _page("answers.html.j2", keys=keys)
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in texts]


def made(path: Path) -> tuple[list[Slide], Handout, Key]:
    """Return a notebook's slides, its handout and its answers."""
    notebook, number = read(path), path.name[:2]
    sheet = handout(notebook, path.stem)
    source = Source(notebook, part(path.parent, number), path.parent.parent / "images")
    return slides(number, source), sheet, key(notebook, number, sheet.title)


def _page(template: str, **values: object) -> str:
    """Fill a template. Values that hold HTML come from nbconvert and are marked so in the templates."""
    environment = templates(HERE)
    environment.filters["inline"] = inline
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("slides.css", "slides.js"))
    page = environment.get_template(template).render(style=style, script=script, **values)
    return re.sub(r"\n{3,}", "\n\n", page)
