"""Make an environment of the pinned packages beside the old one, and put it in its place once it is whole.

`environment.py WHERE PINS…`: WHERE is the environment's folder (.venv), PINS are files of pins, the first of them
the one that everything rests on. Nothing is done, and no network needed, where that was done for these very pins
in this very place. More pins are added to an environment that has the first ones; when those change, a new one is
built in WHERE.new and takes the old one's place, so that what is interrupted, or fails, leaves the old one as it
was. An environment that someone made by hand, with the plain pip lines, is used and never replaced.

Standard library alone: this runs before anything is installed.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAMP = "ready"  # in an environment of ours: what it was made of
OFTEN = 10.0  # seconds between two lines of progress where a line cannot be written over
PATIENCE = 0.2  # seconds between two looks at what pip has done

# Run in an environment that is its reader's own, once it is whole: compiles what JupyterLab, a kernel and the
# course begin with. pip would compile all that is installed; most of it is never used.
BEGIN_WITH = """
import importlib, sys
sys.dont_write_bytecode = False
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
"""
BEGINS = (
    *("jupyterlab.labapp", "jupyter_lsp", "jupyter_server_terminals", "notebook_shim", "nbconvert", "nbformat"),
    *("ipykernel_launcher", "ipykernel.kernelapp", "IPython.core.completer", "jedi", "ipywidgets", "vmenter.cli"),
)

# Run in an environment made by hand: says what of the pins it lacks, one a line.
LACKS = """
import importlib.metadata, pathlib, sys
root, *files = sys.argv[1:]
if sys.version_info < (3, 11):
    sys.exit("!its Python is %d.%d, and the course needs 3.11 or newer" % sys.version_info[:2])
try:
    from packaging.requirements import Requirement
except ImportError:
    sys.exit(print("the course's packages"))
for file in files:
    for line in pathlib.Path(root, file).read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#-" and ((pin := Requirement(line)).marker is None or pin.marker.evaluate()):
            try:
                found = importlib.metadata.version(pin.name)
            except importlib.metadata.PackageNotFoundError:
                found = None
            if found is None or found not in pin.specifier:
                print(f"{pin.name}{pin.specifier}" + (f" (there is {found})" if found else ""))
try:
    import vmenter
    mine = pathlib.Path(vmenter.__file__).resolve().is_relative_to(pathlib.Path(root, "lib"))
except ImportError:
    mine = False
if not mine:
    print("vmenter of this checkout")
"""


class TroubleError(Exception):
    """What went wrong, in words for who runs this."""


class Telling:
    """Says what is being done: over one line at a terminal, else in a line now and then."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.live = sys.stdout.isatty()
        self.last, self.when = "", 0.0

    def __call__(self, text: str, *, now: bool = False) -> None:
        """Say `text`; `now`: in any case, and so that it stays."""
        seconds = time.monotonic() - self.began
        if self.live:
            print(f"\r\x1b[K  {text} ({seconds:.0f} s)", end="\n" if now else "", flush=True)
        elif now or (text != self.last and seconds - self.when >= OFTEN):
            print(f"  {text} ({seconds:.0f} s)", flush=True)
            self.last, self.when = text, seconds


def main() -> int:
    """Do what is asked for. Exit status 1, with the reason, if that could not be."""
    where, pins = ROOT / sys.argv[1], sys.argv[2:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with alone():
            provide(where.resolve() if where.is_symlink() else where, pins)
    except TroubleError as trouble:
        print(f"{trouble}", file=sys.stderr)
        return 1
    except OSError as error:
        place = error.filename or where
        print(f"{place}: {error.strerror or error}. Nothing that was there has been removed.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"\nInterrupted. {name(where)} is as it was; the same command goes on another time.", file=sys.stderr
        )
        return 130
    return 0


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other such program works in this checkout. The lock ends with the process, however it ends."""
    try:
        import fcntl  # noqa: PLC0415  (not everywhere)
    except ImportError:
        yield
        return
    with Path(__file__).open("rb") as own:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another make that sets up in this checkout …", flush=True)
            fcntl.flock(own, fcntl.LOCK_EX)
        yield


def provide(where: Path, pins: Sequence[str]) -> None:
    """Let `where` be an environment with all of `pins`."""
    recover(where)
    found = stamp(where)
    if where.exists() and found is None:
        complete(where, pins)
        return
    made_of = found or {}
    lacking = [file for file in pins if made_of.get(file) != digest(file)]
    other = bool(os.environ.get("PYTHON")) and (made_of.get("python") != version() or not runs_this(where))
    if not python_of(where).exists() or pins[0] in lacking or other:
        build(where, pins)
    elif lacking:
        tell = Telling()
        print(
            f"Adding the packages of {' and '.join(lacking)} to {name(where)} (once; needs the network) …",
            flush=True,
        )
        install(where, lacking, tell, compiled=not own(where))
        write_stamp(where, {**made_of, **{file: digest(file) for file in lacking}})
        tell(f"done: {name(where)}", now=True)


def build(where: Path, pins: Sequence[str]) -> None:
    """Make a new environment beside `where`, and put it there when it is whole."""
    if not all(map(find_spec, ("venv", "ensurepip"))):
        raise TroubleError("This Python lacks venv. On Debian and Ubuntu: sudo apt-get install python3-venv")
    fresh, old = beside(where)
    tell = Telling()
    print(f"Setting up {name(where)} (once; needs the network; README says how large it gets) …", flush=True)
    if fresh.exists():
        shutil.rmtree(fresh)
    try:
        tell("making an empty environment", now=True)
        run([sys.executable, "-m", "venv", f"--prompt={where.name}", fresh], "python -m venv")
        install(fresh, pins, tell, compiled=not own(where))
        if own(where):
            tell("compiling what the course begins with", now=True)
            run([python_of(fresh), "-c", BEGIN_WITH, *BEGINS], "a first start")
        settle(fresh, where)
        write_stamp(fresh, {"python": version(), **{file: digest(file) for file in pins}})
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if old.exists():
        shutil.rmtree(old)
    if where.exists():
        where.rename(old)
    fresh.rename(where)
    if old.exists():
        tell("removing the old one", now=True)
        shutil.rmtree(old, ignore_errors=True)
    tell(f"done: {name(where)}", now=True)


def complete(where: Path, pins: Sequence[str]) -> None:
    """Bring an environment that was made by hand to what the pins say, as its owner would; never replace it."""
    python = python_of(where)
    by_hand = f"{name(where)} was made by hand, so it is left alone"
    if not python.exists():
        raise TroubleError(f"{by_hand}; but it has no Python that runs. Remove it, and try again.")
    line = f"{name(python)} -m pip install {' '.join(f'-r {file}' for file in pins)}"
    done = subprocess.run([python, "-c", LACKS, ROOT, *pins], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no word"]
        raise TroubleError(f"{by_hand}; but {said[0].lstrip('!')}. Remove it, and try again.")
    lacking = done.stdout.splitlines()
    if not lacking:
        return
    if subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode:
        raise TroubleError(f"{by_hand}; it lacks {some(lacking)}, and has no pip to install that with.")
    tell = Telling()
    print(f"{name(where)} was made by hand, and is kept. It lacks {some(lacking)}; running\n  {line}", flush=True)
    install(where, pins, tell)
    tell("done", now=True)


def install(where: Path, pins: Sequence[str], tell: Telling, *, compiled: bool = True) -> None:
    """Let pip install `pins`, and say meanwhile what it does. What is not `compiled` is, at its first import."""
    options = ["--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar=off"]
    options += [] if compiled else ["--no-compile"]
    every = sum(len(pinned(file)) for file in pins)
    said: list[str] = []
    pip = subprocess.Popen(
        [python_of(where), "-m", "pip", "install", *options, *(word for file in pins for word in ("-r", file))],
        cwd=ROOT,
        env={**os.environ, "PIP_USER": "0"},  # where pip.conf says otherwise, pip would refuse
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    reader = threading.Thread(target=lambda: said.extend(pip.stdout or ()), daemon=True)
    try:
        reader.start()
        before, seen, found, doing, unpacking = len(installed(where)), 0, 0, "starting pip", 0
        while reader.is_alive():
            reader.join(PATIENCE)
            for line in said[seen:]:
                seen += 1
                first, _, rest = line.strip().partition(" ")
                if first == "Collecting":
                    found += 1
                    doing = f"fetching {found} of {every}: {rest.split()[0]}"
                elif line.startswith("Installing collected packages:"):
                    unpacking = rest.count(",") + 1
            tell(f"unpacking {len(installed(where)) - before} of {unpacking} packages" if unpacking else doing)
        status = pip.wait()
    except BaseException:
        pip.kill()
        pip.wait()
        raise
    if status:
        errors = [line for line in said if line.startswith("ERROR")] or said[-5:]
        raise TroubleError(
            f"\npip could not install {' and '.join(pins)}:\n{''.join(errors)}\n"
            "Nothing that was there has been removed. pip needs the network, or a folder of wheels: "
            "see “The week before” in notebooks/INSTRUCTOR.md."
        )


def settle(fresh: Path, where: Path) -> None:
    """Write the place where it will stand into an environment: programs and activation name it in full."""
    for file in (fresh / "pyvenv.cfg", *python_of(fresh).parent.iterdir()):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            settled = content.replace(os.fsencode(fresh), os.fsencode(where))
            if settled != content:
                file.write_bytes(settled)


def recover(where: Path) -> None:
    """Bring to an end what was interrupted while the new environment took the place of the old."""
    fresh, old = beside(where)
    if where.exists():
        return
    if stamp(fresh) is not None:
        fresh.rename(where)
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        old.rename(where)


# --- small things ------------------------------------------------------------------------------------------------


def beside(where: Path) -> tuple[Path, Path]:
    """Return where a new environment is built, and where the old one waits."""
    return where.with_name(f"{where.name}.new"), where.with_name(f"{where.name}.old")


def own(where: Path) -> bool:
    """Tell whether an environment is its reader's own; a hub's learners cannot write what they compile."""
    return where.parent == ROOT


def python_of(where: Path) -> Path:
    """Return an environment's Python."""
    return where / "Scripts" / "python.exe" if os.name == "nt" else where / "bin" / "python"


def runs_this(where: Path) -> bool:
    """Tell whether an environment runs on the very Python that runs this; where links are, they tell."""
    there = python_of(where)
    return not there.is_symlink() or there.resolve() == Path(sys.executable).resolve()


def name(path: Path) -> str:
    """Return a path as it is said: from the checkout on."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def some(lacking: Sequence[str]) -> str:
    """Name what is lacking, three at most."""
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return ", ".join(lacking[:3]) + more


def pinned(file: str) -> list[str]:
    """Return the lines of a file of pins that name a package."""
    return [
        line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if line and line[0] not in "#-"
    ]


def installed(where: Path) -> list[Path]:
    """Return what says of each package that it is there whole."""
    folders = (*where.glob("lib/python*/site-packages"), where / "Lib" / "site-packages")
    return [file for folder in folders for file in folder.glob("*.dist-info/RECORD")]


def digest(file: str) -> str:
    """Return a digest of a file of pins, of what the library asks for, and of the place, which programs name."""
    project = tomllib.loads((ROOT / "lib" / "pyproject.toml").read_text(encoding="utf-8"))
    asked = json.dumps([project["build-system"], project["project"]], sort_keys=True)
    whole = "\n".join([(ROOT / file).read_text(encoding="utf-8"), asked, str(ROOT)])
    return hashlib.sha256(whole.encode()).hexdigest()


def version() -> str:
    """Return the Python that runs this, as a stamp has it."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def stamp(where: Path) -> dict[str, str] | None:
    """Return what an environment of ours was made of; None for one that is not ours, or not there."""
    try:
        text = (where / STAMP).read_text(encoding="utf-8")
    except OSError:
        return None
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def write_stamp(where: Path, content: dict[str, str]) -> None:
    """Say what an environment was made of: whole or not at all."""
    fresh = where / f"{STAMP}.new"
    fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    fresh.replace(where / STAMP)


def run(command: Sequence[str | Path], what: str) -> None:
    """Run a program quietly. Raises `TroubleError` with its last words if it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise TroubleError(f"\n{what} failed:\n{said}\nNothing that was there has been removed.")


if __name__ == "__main__":
    sys.exit(main())
