"""The tab's folder: a page that begins, one file with a whole version of the course, what keeps it, and the site.

The one file holds JupyterLite with the learner's copies, Python, and vmenter; `served/service-worker.js` unpacks
it in the browser. So a host needs neither types nor compression, and a version is there whole or not at all.
"""

import gzip
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from vmenter.course.tab import lite, python
from vmenter.course.tab.parts import COURSE, fetch

OUTPUT = COURSE / "build" / "tab"
WORK = COURSE / "build" / ".tab"  # what is fetched, and what lies between
SERVED = Path(__file__).parent / "served"
WORKER, PAGES, PACK = "service-worker.js", "pages", "course-{}.bin"


def build(folder: Path = OUTPUT, tell: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Write all files, in place of what is there, and return them. Needs the network the first time, and a minute.

    Raises `LabError` where a part cannot be had or built.
    """
    from vmenter.course.site.build import build as build_site  # noqa: PLC0415  (slow to import)

    parts = fetch(WORK, tell)
    whole, fresh = WORK / "whole", folder.with_name(f".{folder.name}.new")
    for old in (whole, fresh):
        shutil.rmtree(old, ignore_errors=True)
    tell("building JupyterLite with the learner's copies")
    lite.lay(whole, parts, COURSE, WORK / "lite")
    tell("compiling Python and vmenter")
    python.lay(whole / "static" / "python", parts, WORK / "python")
    tell("building the pages of the site")
    build_site(fresh / PAGES, tab="../index.html")
    tell("packing it")
    assemble(whole, fresh)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(fresh, folder)  # noqa: PTH105
    return sorted(path for path in folder.rglob("*") if path.is_file())


def assemble(whole: Path, folder: Path) -> None:
    """Write what is served into `folder`, of JupyterLite and Python in `whole`."""
    theirs = (whole / WORKER).read_text(encoding="utf-8")
    shutil.copyfile(SERVED / "start.mjs", whole / "static" / "python" / "start.mjs")
    page = (SERVED / "index.html").read_text(encoding="utf-8")
    for name in ("front.css", "front.js"):
        page = page.replace(f"/* {name} */", (SERVED / name).read_text(encoding="utf-8"))
    script = f"<head>\n    <script>\n{(SERVED / 'lab.js').read_text(encoding='utf-8')}</script>"
    lab = (whole / "lab" / "index.html").read_text(encoding="utf-8")
    lab = lab.replace("<title>JupyterLite<", f"<title>{lite.APP}<").replace("<head>", script, 1)
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
    """Return all files of a folder as one, gzipped: the length of a list of paths and sizes, the list, content."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / WORKER
    }
    listed = json.dumps([[path, len(content)] for path, content in files.items()]).encode()
    return gzip.compress(b"".join([len(listed).to_bytes(4, "little"), listed, *files.values()]), 9, mtime=0)


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
