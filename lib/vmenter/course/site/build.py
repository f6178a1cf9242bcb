"""The site's files: a page for each notebook and text, the pictures, and the scripts that its views share."""

import re
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
from pygments.formatters import HtmlFormatter

from vmenter import LabError
from vmenter.course.address import COMMAND, Address, configured, version
from vmenter.course.address_text import filled, readme
from vmenter.course.site import search
from vmenter.course.site.made import Tell, made
from vmenter.course.site.pages import HELP, Page, notebook_page, text_page
from vmenter.course.site.store import packed
from vmenter.course.site.terms import GLOSSARY, terms
from vmenter.course.site.views import Live
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
SCRIPTS = ("site.js", "search.js", "terms.js", "wide.js")
LICENCES = {"LICENSE": "MIT", "LICENSE-CC-BY-4.0": "CC BY 4.0"}  # files beside the pages → what they are called
MADE = 0.9  # of the work, when notebooks have run and frames are made
LIGHT, DARK = "xcode", "github-dark"  # of Pygments' styles, both with enough contrast


def build(
    folder: Path = OUTPUT,
    notebooks: Path = NOTEBOOKS,
    tab: str = "",
    address: Address | None = None,
    tell: Tell = lambda _what, _done: None,
    *,
    fresh: bool = False,
) -> list[Path]:
    """Write all files and return them, the entrance first. Raises `LabError` where there is no notebook.

    `tab` is the address, from the pages' folder, of the tab in which the course runs (`make tab`); without one it
    is where `address`, by default the checkout's, says that the course is served; and without that, "run this
    live" says how to get a kernel. `tell` hears what is done, and which share of the work, of 1, is behind
    it. `fresh`: notebooks run and frames are made even if that has been done and nothing has changed since.
    """
    found = sorted(notebooks.glob("[0-9][0-9]-*.ipynb"))
    if not found:
        raise LabError(f"{notebooks}: no notebooks here; the site is made in a checkout of the course")
    address = configured() if address is None else address
    tab = tab or address.homepage
    rename = partial(_rename, notebooks)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(notebooks.glob("*.md"))}
    known = terms(text_page(GLOSSARY, texts["glossary"], rename).body) if "glossary" in texts else ()
    ran = made(found, lambda what, done: tell(what, MADE * done), fresh=fresh)
    tell("writing the pages", MADE)
    pages, used = [], {}
    for path in found:
        notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        shown = ran.shown[path.stem]
        picture = HERO if path.stem == FIRST else ""
        run = f"{tab}?notebook={path.stem}" if tab else ""
        pages.append(notebook_page(_name(path.stem), notebook, shown, rename, picture, run, known))
        used[pages[-1].name] = [view for view in shown.values() if view is not None]
    kernel = (HERE / "with-a-kernel.md").read_text(encoding="utf-8")
    texts["with-a-kernel"] = filled(kernel, readme(address))
    others = [
        text_page(f"{stem}.html", text, rename, () if f"{stem}.html" == GLOSSARY else known)
        for stem, text in texts.items()
    ]
    files = {f"assets/{name}": text for name, text in ran.scripts.items()}
    told = ((page.name, page.title, page.told) for page in (*pages, *others) if page.name != GLOSSARY)
    files["assets/search-index.js"] = f'vmSite.packed.search = "{packed(search.index(told, known))}";\n'
    files |= {f"assets/{name}": (HERE / name).read_text(encoding="utf-8") for name in SCRIPTS}
    files["assets/site.css"] = _style() + ran.style
    files |= {f"{name}.txt": (ROOT / name).read_text(encoding="utf-8") for name in LICENCES}
    template = templates(HERE).get_template("page.html.j2")
    render = partial(template.render, address=address, version=version(), command=COMMAND, licences=LICENCES)
    fill = partial(_filled, render, pages=pages, texts=others)
    files |= {page.name: fill(page, views=used.get(page.name, ())) for page in (*pages, *others)}
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
    return target if target in ("index.html", HELP) else None


def _filled(
    render: Callable[..., str], page: Page, pages: list[Page], texts: list[Page], views: Iterable[Live]
) -> str:
    """Return a whole page: the template with its inside, the contents, and its neighbours."""
    at = pages.index(page) if page in pages else None
    kinds = sorted({script for view in views for script in _needed(view)})
    html = render(
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
    for old in (*folder.glob("*.html"), *(folder / f"{name}.txt" for name in LICENCES)):
        old.unlink(missing_ok=True)
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
