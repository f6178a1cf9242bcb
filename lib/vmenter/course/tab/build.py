"""The tab's folder: a page that begins, one file with a whole version of the course, what keeps it, and the site.

The one file holds JupyterLite with the learner's copies, Python, and vmenter; `served/service-worker.js` unpacks
it in the browser. So a host needs neither types nor compression, and a version is there whole or not at all.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vmenter.course.tab import lite, python
from vmenter.course.tab.pack import joined
from vmenter.course.tab.parts import COURSE, fetch, run

OUTPUT = COURSE / "build" / "tab"
WORK = COURSE / "build" / ".tab"  # what is fetched, and what lies between
SERVED = Path(__file__).parent / "served"
SITE = "vmenter.course.site"  # a program of its own: it takes what is printed meanwhile for its own
WORKER, PAGES, PACK = "service-worker.js", "pages", "course-{}.bin"
MODULES = re.compile(r"^import .*;\n|^export ", re.MULTILINE)  # the page has all of its scripts as one
HEAD = re.compile(r'<head>(?:\s*<script id="course">.*?</script>)?', re.DOTALL)  # of JupyterLab's page


def build(folder: Path = OUTPUT, tell: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Write all files, in place of what is there, and return them. Needs the network the first time, and a minute.

    Raises `LabError` where a part cannot be had or built.
    """
    parts = fetch(WORK, tell)
    whole, fresh = WORK / "whole", folder.with_name(f".{folder.name}.new")
    for old in (whole, fresh):
        shutil.rmtree(old, ignore_errors=True)
    tell("building the pages of the site, and beside them JupyterLite with the learner's copies")
    with ThreadPoolExecutor(1) as beside:
        pages = beside.submit(run, sys.executable, "-m", SITE, "--tab", "../index.html", fresh / PAGES)
        lite.lay(whole, parts, COURSE, WORK / "lite")
        tell("compiling Python and vmenter")
        python.lay(whole / "static" / "python", parts, WORK / "python")
        tell("packing it")
        assemble(whole, fresh)
        pages.result()
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(fresh, folder)  # noqa: PTH105
    return sorted(path for path in folder.rglob("*") if path.is_file())


def assemble(whole: Path, folder: Path) -> None:
    """Write what is served into `folder`, of JupyterLite and Python in `whole`."""
    theirs = (whole / WORKER).read_text(encoding="utf-8")
    shutil.copyfile(SERVED / "start.mjs", whole / "static" / "python" / "start.mjs")
    page = (SERVED / "index.html").read_text(encoding="utf-8")
    for name in ("front.css", "copies.js", "front.js"):
        page = page.replace(f"/* {name} */", MODULES.sub("", (SERVED / name).read_text(encoding="utf-8")))
    copies = lite.marks(whole / "files")
    (whole / "static" / "copies.json").write_text(json.dumps(copies), encoding="utf-8")
    script = (
        (SERVED / "lab.js")
        .read_text(encoding="utf-8")
        .replace('""; // the build', f'"{copies["version"]}"; // the build')
    )
    lab = (whole / "lab" / "index.html").read_text(encoding="utf-8")
    lab = lab.replace("<title>JupyterLite<", f"<title>{lite.APP}<")
    lab = HEAD.sub(lambda _: f'<head>\n    <script id="course">\n{script}</script>', lab, count=1)
    (folder / "lab").mkdir(parents=True, exist_ok=True)
    for path, text in (("index.html", page), ("lab/index.html", lab)):
        for place in (whole, folder):
            (place / path).write_text(text, encoding="utf-8", newline="\n")
    packed = pack(whole)
    sha256 = hashlib.sha256(packed).hexdigest()
    name = PACK.format(sha256[:12])
    (folder / name).write_bytes(packed)
    about = json.dumps({"file": name, "sha256": sha256, "bytes": len(packed)})
    ours = (SERVED / WORKER).read_text(encoding="utf-8")
    ours = ours.replace('{ file: "", sha256: "", bytes: 0 }; // the build writes it in', f"{about};")
    (folder / WORKER).write_text(f"{ours}\n{theirs}", encoding="utf-8", newline="\n")


def pack(folder: Path) -> bytes:
    """Return all files of a folder as one, gzipped."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path != folder / WORKER
    }
    return gzip.compress(joined(files), 9, mtime=0)


def main() -> None:
    """Build, and say how far it is."""
    start = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - start:4.0f} s  {text} …", flush=True)

    files = build(tell=tell)
    size = sum(path.stat().st_size for path in files) / 1e6
    (packed,) = OUTPUT.glob(PACK.format("*"))
    print(
        f"{time.monotonic() - start:4.0f} s  {OUTPUT}: {len(files)} files, {size:.1f} MB, of which a visitor "
        f"loads {packed.stat().st_size / 1e6:.1f} MB, once. Serve it: make tab-serve"
    )
