"""JupyterLite, built with the learner's copies in it, set up for the course, without what it never loads."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.course.copies import PARTS as COPIES
from vmenter.course.copies import derived
from vmenter.course.tab.parts import Parts, run

APP = "VM-Enter Lab"
STORAGE = "vmenter-lab"  # the same for all versions, so that an update finds a learner's work
KERNEL = "@jupyterlite/pyodide-kernel-extension"
WIDGETS = ("anywidget", "@jupyter-widgets/jupyterlab-manager")
THERE = (
    "micropip",
    "piplite",
    "ipykernel",
    "comm",
    "pyodide-kernel",
    "jedi",
    "ipython",
)  # asked for; never fetched
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": 5},  # seconds; it costs no network
    "@jupyterlab/notebook-extension:tracker": {"kernelShutdown": True},  # a closed notebook gives its memory back
}
# Of JupyterLite: other apps, what describes it, and each font but in the form that all browsers of today read.
UNUSED = (
    *("consoles", "doc", "edit", "notebooks", "repl", "tree", "lab/tree", "lab/workspaces"),
    *(
        "package.json",
        "rspack.config*",
        "jupyter-lite.ipynb",
        "lab/jupyter-lite.ipynb",
        "jupyterlite.schema.v0.json",
    ),
    *("manifest.webmanifest", "icon-*.png", "build/*.eot", "build/*.ttf", "build/fa-*.svg", "build/fa-*.woff"),
    *("lab/package.json", "extensions/**/pypi", "extensions/**/*.map", "extensions/**/coincident.worker.*"),
)

# Drawing languages that JupyterLab can show in a text and the course has none of: a fifth of all its scripts.
UNUSED_EXTENSIONS = ("@jupyterlab/mermaid-extension", "@jupyterlab/vega5-extension")
UNUSED_SCRIPTS = ("org.eclipse.elk", "cytoscape", "sequenceDiagram", "katex-", "architecture-beta", "vega-lite")


def config() -> dict[str, Any]:
    """Return JupyterLite's settings."""
    kernel = {
        "pyodideUrl": "./static/python/start.mjs",
        "disablePyPIFallback": True,
        "loadPyodideOptions": {"convertNullToNone": True, "packages": list(THERE)},
    }
    storage = {f"{kind}StorageName": STORAGE for kind in ("contents", "settings", "workspaces")}
    whole = {
        "appName": APP,
        "appVersion": "1",  # its own way of updating rests on this; ours is in service-worker.js
        "exposeAppInBrowser": True,
        "disabledExtensions": list(UNUSED_EXTENSIONS),
        **storage,
        "litePluginSettings": {f"{KERNEL}:kernel": kernel},
    }
    return {"jupyter-lite-schema-version": 0, "jupyter-config-data": whole}


def lay(folder: Path, parts: Parts, course: Path, work: Path) -> None:
    """Write JupyterLite with the learner's copies of `course` into `folder`, which must not be there."""
    shutil.rmtree(work, ignore_errors=True)
    for path, content in derived(course):
        file = work / "content" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    extensions = [parts.tools / "share/jupyter/labextensions" / KERNEL, *map(_installed, WIDGETS)]
    building = {
        "apps": ["lab"],
        "contents": ["content"],
        "federated_extensions": list(map(str, extensions)),
        "ignore_sys_prefix": True,
        "no_sourcemaps": True,
        "output_dir": str(folder),
    }
    for name, value in (
        ("jupyter_lite_config", {"LiteBuildConfig": building}),
        ("jupyter-lite", config()),
        ("overrides", SETTINGS),
    ):
        (work / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(parts.tools), "PYTHONWARNINGS": "ignore"}
    run(sys.executable, "-m", "jupyterlite_core", "build", cwd=work, env=environment)
    for pattern in UNUSED:
        for unused in folder.glob(pattern):
            shutil.rmtree(unused) if unused.is_dir() else unused.unlink()
    for script in folder.glob("build/[0-9]*.js"):
        if any(mark in script.read_text(encoding="utf-8") for mark in UNUSED_SCRIPTS):
            script.unlink()


def marks(files: Path) -> dict[str, Any]:
    """Return what the learner's copies are, by path, as `served/copies.js` tells whether one was touched."""
    found = {
        file.relative_to(files).as_posix(): _mark(file)
        for file in sorted(files.rglob("*"))
        if file.is_file() and file.parent.name in COPIES
    }
    return {"version": hashlib.sha256(json.dumps(found).encode()).hexdigest(), "marks": found}


def _mark(file: Path) -> str:
    content = file.read_bytes()
    if file.suffix == ".ipynb":
        cells = json.loads(content)["cells"]
        parts = [[one["cell_type"], "".join(one["source"]), len(one.get("outputs", ()))] for one in cells]
        content = json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(content).hexdigest()


def _installed(extension: str) -> Path:
    """Return where an extension of JupyterLab's stands that came with a package of ours."""
    found = Path(sys.prefix) / "share" / "jupyter" / "labextensions" / extension
    if not found.is_dir():
        raise LabError(f"{extension}, which JupyterLab shows the views with, is not installed here: make setup")
    return found
