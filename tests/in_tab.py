"""Run Python where a browser's tab runs it: the same Pyodide, the same parts, but started by Node."""

import importlib.util
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from places import ROOT

sys.path.insert(0, str(ROOT / "tests" / "tools"))

import parts
from js import NODE

PURE = ("elftools", "filelock", "platformdirs")  # what the library imports and is plain Python


@cache
def _parts() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory(prefix="vmenter-parts-")
    parts.make(Path(folder.name))
    return folder


def in_tab(script: str, given: Any = None) -> Any:
    """Return what a script leaves in `result`; `given` is what it is given. Both are what JSON has."""
    folders = {ROOT / "lib": "lib", Path(_parts().name): "parts"}
    for name in PURE:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        folders[Path(spec.origin).parent] = f"site/{name}"
    with TemporaryDirectory() as folder:
        file, result = Path(folder, "script.py"), Path(folder, "result.json")
        file.write_text(script, encoding="utf-8")
        file.with_suffix(".py.json").write_text(json.dumps(given), encoding="utf-8")
        command = [NODE, ROOT / "tests" / "in_tab.mjs", parts.pyodide(), file, result]
        command += [f"{place}=/here/{name}" for place, name in folders.items()]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"[-3000:]
        return json.loads(result.read_text(encoding="utf-8"))
