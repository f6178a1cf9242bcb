"""The tab's folder: Python and vmenter, JupyterLite with the learner's copies, the site, and what keeps a version whole."""

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from vmenter.course.tab import lite, python
from vmenter.course.tab.parts import fetch

HERE = Path(__file__).parent
COURSE = HERE.parents[3]
OUTPUT = COURSE / "build" / "tab"
WORK = COURSE / "build" / ".tab"  # what is fetched, and what lies between
SERVED = HERE / "served"
WORKER = "service-worker.js"
FIRST = ("lab/", "static/", "build/", "extensions/", "api/")  # loaded before the rest


def build(folder: Path = OUTPUT, tell: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Write all files, in place of what is there, and return them. Needs the network the first time, and a minute.

    Raises `LabError` where a part cannot be had or built.
    """
    from vmenter.course.site import build as build_site  # noqa: PLC0415  (slow to import)

    parts = fetch(WORK, tell)
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    tell("building JupyterLite with the learner's copies")
    lite.lay(fresh, parts, COURSE, WORK / "lite")
    tell("compiling Python and vmenter")
    python.lay(fresh / "static" / "python", parts, WORK / "python")
    tell("building the pages of the site")
    build_site(fresh / "pages", tab="../index.html")
    _front(fresh)
    tell("writing what keeps a version whole")
    _worker(fresh)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(fresh, folder)  # noqa: PTH105
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _front(folder: Path) -> None:
    """Lay the page that loads the rest, and what starts Python."""
    page = (SERVED / "index.html").read_text(encoding="utf-8")
    for name in ("front.css", "front.js"):
        page = page.replace(f"/* {name} */", (SERVED / name).read_text(encoding="utf-8"))
    (folder / "index.html").write_text(page, encoding="utf-8", newline="\n")
    shutil.copyfile(SERVED / "start.mjs", folder / "static" / "python" / "start.mjs")


def _worker(folder: Path) -> None:
    """Write the service worker: ours, with the list of all files, and JupyterLite's behind it."""
    theirs = (folder / WORKER).read_text(encoding="utf-8")
    (folder / WORKER).unlink()
    files = {}
    for path in sorted((one for one in folder.rglob("*") if one.is_file()), key=lambda one: _turn(folder, one)):
        content = path.read_bytes()
        files[path.relative_to(folder).as_posix()] = [hashlib.sha256(content).hexdigest(), len(content)]
    listed = json.dumps(files, separators=(",", ":"))
    ours = (SERVED / WORKER).read_text(encoding="utf-8")
    version = hashlib.sha256((listed + ours + theirs).encode()).hexdigest()[:12]
    ours = ours.replace("const FILES = {};", f"const FILES = {listed};")
    ours = ours.replace('const VERSION = "";', f'const VERSION = "{version}";')
    (folder / WORKER).write_text(f"{ours}\n{theirs}", encoding="utf-8", newline="\n")


def _turn(folder: Path, file: Path) -> tuple[int, int, str]:
    """Return a file's place among all: those that every start needs first, and of these the large ones."""
    path = file.relative_to(folder).as_posix()
    early = path.startswith(FIRST)
    return not early, -file.stat().st_size if early else 0, path


def main() -> None:
    """Build, and say how far it is."""
    start = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {text} …", flush=True)

    files = build(tell=tell)
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{time.monotonic() - start:5.0f} s  {OUTPUT}: {len(files)} files, {size:.1f} MB. Serve it: make tab-serve")


if __name__ == "__main__":
    sys.exit(main())
