"""The tab's Python: its library and that of others in one archive, imported from as it is; vmenter beside it.

All of it is byte-compiled beforehand: without that, half of the time until the first answer is spent on compiling.
The sources of vmenter come along, since learners read them; those of others do not.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from zipfile import ZipFile, ZipInfo

from vmenter.course.tab.pack import joined
from vmenter.course.tab.parts import Parts, node

HERE = Path(__file__).parent
VMENTER = HERE.parents[1]
LIBRARY, SITE = "lib/python314.zip/", "lib/python3.14/site-packages/"  # where they are in the tab, below /
CORE = ("pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide.mjs")
# Of vmenter: what only builds, and what only a desktop has.
LEFT_OUT = ("course/site/", "course/slides/", "course/tab/")
# Of Python and of others: what a tab can never use, or nothing here does.
UNUSED = (
    *("ensurepip/", "idlelib/", "lib2to3/", "pydoc_data/", "tkinter/", "turtle.py", "turtledemo/"),
    *("curses/", "dbm/", "ftplib.py", "imaplib.py", "mailbox.py", "poplib.py", "smtplib.py", "sqlite3/", "venv/"),
    *(
        "wsgiref/",
        "xmlrpc/",
        "unittest/",
        "zoneinfo/",
        "multiprocessing/",
        "concurrent/futures/process.py",
        "doctest.py",
    ),
    *("_pyio.py", "xml/dom/", "xml/sax/", "http/server.py", "http/cookiejar.py", "asyncio/windows_", "pydoc.py"),
    *("prompt_toolkit/contrib/", "elftools/dwarf/datatype_cpp.py"),
    *("IPython/external/", "IPython/sphinxext/", "anywidget/labextension/", "anywidget/nbextension/"),
    *("wcwidth/table_grapheme_overrides/",),
)
# Of Pygments' lexers, the files that IPython imports; of its styles, the plain one.
LEXERS = {
    "__init__",
    "_mapping",
    "python",
    "shell",
    "html",
    "javascript",
    "markup",
    "perl",
    "ruby",
    "css",
    "jvm",
    "data",
}
WHEN = (2020, 1, 1, 0, 0, 0)  # every file's date, so that the same parts give the same archive


def lay(folder: Path, parts: Parts, work: Path) -> None:
    """Write into `folder` what the tab's Python is loaded from. `work` is a folder for what lies between."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    pyodide = parts.pyodide
    for name in CORE:
        shutil.copyfile(pyodide / name, folder / name)
    # All packages are in the two archives: nothing is loaded by name.
    lock = json.loads((pyodide / "pyodide-lock.json").read_text(encoding="utf-8"))
    (folder / "pyodide-lock.json").write_text(json.dumps({**lock, "packages": {}}), encoding="utf-8")
    others, own = _kept(_others(parts)), dict(_own(parts.programs))
    compiled = _compiled(pyodide, work, {**_under(LIBRARY, others), **_under(SITE, own)})
    unpacked = {
        _top(path) for path in others if not path.endswith(".py")
    }  # they look for files beside their modules
    library, site = {}, dict(own)
    for path, data in others.items():
        into = site if _top(path) in unpacked and not _is_metadata(path) else library
        into |= {f"{path}c": compiled[f"{LIBRARY}{path}c"]} if path.endswith(".py") else {path: data}
    for path in own:
        if path.endswith(".py"):
            site[_cached(path)] = compiled[f"{SITE}{path}c"]
    _pack(folder / "python_stdlib.zip", library)
    (folder / "site.bin").write_bytes(joined(site))


def _top(path: str) -> str:
    return path.partition("/")[0]


def _is_metadata(path: str) -> bool:
    return _top(path).endswith(".dist-info")


def _others(parts: Parts) -> Iterator[tuple[str, bytes]]:
    """Yield Python's own library, the wheels, JupyterLite's kernel, and ours of `piplite`."""
    kernel = next(
        parts.tools.glob("share/jupyter/labextensions/@jupyterlite/pyodide-kernel-extension/static/pypi")
    )
    names = ("ipykernel", "pyodide_kernel")
    archives = [parts.pyodide / "python_stdlib.zip", *sorted(parts.wheels.glob("*.whl"))]
    archives += [next(kernel.glob(f"{name}-*.whl")) for name in names]
    for archive in archives:
        with ZipFile(archive) as opened:
            for path in opened.namelist():
                if not path.endswith("/") and ".data/" not in path:
                    yield path, opened.read(path)
    for file in sorted((HERE / "python").rglob("*.py")):
        yield file.relative_to(HERE / "python").as_posix(), file.read_bytes()


def _kept(files: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    return {path: data for path, data in files if not _unused(path)}


def _unused(path: str) -> bool:
    whole = PurePosixPath(path)
    if path.startswith("pygments/lexers/"):
        return whole.stem not in LEXERS
    if path.startswith("pygments/styles/"):
        return whole.stem not in ("__init__", "_mapping", "default")
    metadata = _is_metadata(path) and whole.name not in ("METADATA", "entry_points.txt")
    return (
        metadata or path.startswith(UNUSED) or "tests" in whole.parts or whole.suffix in (".pyi", ".typed", ".map")
    )


def _own(programs: Path) -> Iterator[tuple[str, bytes]]:
    """Yield vmenter, and what it reaches in place of native libraries."""
    for file in sorted(programs.rglob("*")):
        if file.is_file():
            yield f"{programs.name}/{file.relative_to(programs).as_posix()}", file.read_bytes()
    for file in sorted(VMENTER.rglob("*")):
        path = file.relative_to(VMENTER).as_posix()
        if file.is_file() and "__pycache__" not in file.parts and not path.startswith(LEFT_OUT):
            yield f"vmenter/{path}", file.read_bytes()


def _under(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {folder + path: data for path, data in files.items() if path.endswith(".py")}


def _compiled(pyodide: Path, work: Path, sources: Mapping[str, bytes]) -> dict[str, bytes]:
    with ZipFile(work / "sources.zip", "w") as archive:
        for path, data in sources.items():
            archive.writestr(path, data)
    node(HERE / "compile.mjs", pyodide, work / "sources.zip", work / "compiled.zip")
    with ZipFile(work / "compiled.zip") as archive:
        return {path: archive.read(path) for path in archive.namelist()}


def _cached(path: str) -> str:
    """Return where Python looks for what was compiled of a source that lies beside it."""
    whole = PurePosixPath(path)
    return str(whole.parent / "__pycache__" / f"{whole.stem}.cpython-314.pyc")


def _pack(file: Path, content: Mapping[str, bytes]) -> None:
    """Write an archive that is not compressed: all of the tab is, later."""
    with ZipFile(file, "w") as archive:
        for path in sorted(content):
            archive.writestr(ZipInfo(path, WHEN), content[path])
