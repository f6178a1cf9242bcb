"""The site's files: a page for each notebook and text, the pictures, and the scripts that its views share."""

import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
from anywidget import AnyWidget  # noqa: TC002  (as everywhere here, types are imported plainly)
from pygments.formatters import HtmlFormatter

from vmenter import LabError
from vmenter.course.site.pages import Page, notebook_page, text_page
from vmenter.course.site.run import widgets
from vmenter.course.site.views import Live, live, scripts, style
from vmenter.course.templates import templates

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
NOTEBOOKS = ROOT / "notebooks"
OUTPUT = ROOT / "build" / "site"
FIRST = "00-start-here"  # its page is the site's entrance
HERO = """<figure class="hero">
<img src="images/quiet-650b68a0622f.svg"
 alt="The way of one VM-Enter of 2019 through the code: it passes neither VERW nor the L1D flush">
<figcaption>One VM-Enter of 2019, drawn from the code that ran: the thick way reaches VM-Enter and passes neither
VERW nor the L1D flush.</figcaption></figure>"""
LIGHT, DARK = "xcode", "github-dark"  # of Pygments' styles, both with enough contrast


def build(folder: Path = OUTPUT, notebooks: Path = NOTEBOOKS, tab: str = "") -> list[Path]:
    """Write all files and return them, the entrance first. Raises `LabError` where there is no notebook.

    `tab` is the address, from the pages' folder, of the tab in which the course runs (`make tab`); without one
    "run this live" says how to get a kernel.
    """
    found = sorted(notebooks.glob("[0-9][0-9]-*.ipynb"))
    if not found:
        raise LabError(f"{notebooks}: no notebooks here; the site is made in a checkout of the course")
    pages, used = [], {}
    views: dict[str, AnyWidget] = {}
    rename = partial(_rename, notebooks)
    for path in found:
        notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        there = {
            f"view-{path.stem[:2]}-{cell}": (cell, widget) for cell, widget in widgets(notebook, path).items()
        }
        shown = {cell: live(id_, widget) for id_, (cell, widget) in there.items()}
        picture = HERO if path.stem == FIRST else ""
        run = f"{tab}?notebook={path.stem}" if tab else ""
        pages.append(notebook_page(_name(path.stem), notebook, shown, rename, picture, run))
        used[pages[-1].name] = [view for view in shown.values() if view is not None]
        views |= {id_: widget for id_, (cell, widget) in there.items() if shown[cell] is not None}
    texts = [
        text_page(f"{path.stem}.html", path.read_text(encoding="utf-8"), rename)
        for path in sorted(notebooks.glob("*.md"))
    ]
    texts.append(text_page("with-a-kernel.html", (HERE / "with-a-kernel.md").read_text(encoding="utf-8"), rename))
    files = {f"assets/{name}": text for name, text in scripts(views).items()}
    files["assets/site.js"] = (HERE / "site.js").read_text(encoding="utf-8")
    files["assets/site.css"] = _style() + style(views.values())
    files |= {page.name: _filled(page, pages, texts, used.get(page.name, ())) for page in (*pages, *texts)}
    return _written(folder, files, notebooks.parent / "images")


def _name(stem: str) -> str:
    return "index.html" if stem == FIRST else f"{stem}.html"


def _rename(notebooks: Path, target: str) -> str | None:
    """Return where a file of the repository is on the site; None for one that is not there."""
    path = (notebooks / target).resolve()
    if path.parent == notebooks.resolve() and path.suffix in (".ipynb", ".md") and path.is_file():
        return _name(path.stem)
    if path.parent.name == "images" and path.is_file():
        return f"images/{path.name}"
    return target if target in ("index.html", "with-a-kernel.html") else None


def _filled(page: Page, pages: list[Page], texts: list[Page], views: Any) -> str:
    """Return a whole page: the template with its inside, the contents, and its neighbours."""
    environment = templates(HERE)
    at = pages.index(page) if page in pages else None
    kinds = sorted({script for view in views for script in _needed(view)})
    html = environment.get_template("page.html.j2").render(
        page=page,
        pages=pages,
        texts=texts,
        before=pages[at - 1] if at else None,
        after=pages[at + 1] if at is not None and at + 1 < len(pages) else None,
        scripts=kinds,
    )
    return str(html)


def _needed(view: Live) -> list[str]:
    """Return the scripts of a view; some open explorers, which are views of their own."""
    also = ["EntryExplorer", "EntryExplorer-frames"] if view.kind in ("HostView", "ExposureMap") else []
    return [view.kind, f"{view.kind}-frames", *also]


def _style() -> str:
    """Return the site's style, with colours for code in light and dark."""
    light, dark = (
        "\n".join(
            line
            for line in HtmlFormatter(style=name).get_style_defs(".highlight").splitlines()
            if line.startswith(".highlight .")
        )
        for name in (LIGHT, DARK)
    )
    chosen = f':root[data-theme="dark"] {{\n{dark}\n}}'
    scheme = f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{\n{dark}\n}} }}'
    return "\n".join(((HERE / "site.css").read_text(encoding="utf-8"), light, chosen, scheme, ""))


def _written(folder: Path, files: dict[str, str], images: Path) -> list[Path]:
    """Write the files, and the pictures that they show, in place of what an earlier build left."""
    for part in ("assets", "images"):
        shutil.rmtree(folder / part, ignore_errors=True)
    for old in folder.glob("*.html"):
        old.unlink()
    for part in ("assets", "images"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    used = {name for text in files.values() for name in re.findall(r'src="images/([\w.-]+)"', text)}
    for name in sorted(used):
        shutil.copyfile(images / name, folder / "images" / name)
    first, *rest = sorted(files, key=lambda name: (name != "index.html", name))
    return [
        folder / first,
        *(folder / name for name in rest),
        *(folder / "images" / name for name in sorted(used)),
    ]
