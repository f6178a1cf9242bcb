"""What works on this machine, and for what is missing the one line that installs it."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from vmenter import LabError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@dataclass(frozen=True)
class Check:
    """One thing the course uses: whether it works, what was found, and how to get it if it is missing."""

    name: str
    purpose: str
    works: bool
    found: str
    needed: bool = True  # False: the course works without it
    remedy: str = ""


def examine(tell: Callable[[str], None] = lambda _: None) -> tuple[Check, ...]:
    """Try everything out, for real: assemble, decode, run, lay out. `tell` hears how far it is."""
    trials = (_python, _assembler, _decoder, _emulator, _layout, _lab, _browser, _objdump)
    checks: list[Check] = []
    for number, trial in enumerate(trials, 1):
        tell("\n".join([*([report(tuple(checks))] if checks else []), f"… trying {number} of {len(trials)}"]))
        checks.append(trial())
    return tuple(checks)


def watch() -> None:
    """Examine in a notebook: each check appears as it is made, and the verdict below."""
    from IPython.display import display  # noqa: PLC0415  (the command line needs no notebook)

    from vmenter.views.live import LiveText  # noqa: PLC0415

    shown = LiveText("What works on this machine", "")
    display(shown)  # type: ignore[no-untyped-call]

    def tell(text: str) -> None:
        shown.text = text

    checks = examine(tell)
    shown.text = report(checks)
    print(verdict(checks))


def verdict(checks: tuple[Check, ...]) -> str:
    """Say in one line whether the course works here."""
    missing = [check.name for check in checks if check.needed and not check.works]
    return f"Missing: {', '.join(missing)}. See the list." if missing else "All that the course needs works here."


def report(checks: tuple[Check, ...]) -> str:
    """Return the checks as aligned lines, a missing one with its remedy."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        state = "works" if check.works else "MISSING" if check.needed else "missing, optional"
        lines.append(f"{check.name:<{width}}  {state}: {check.found if check.works else check.purpose}")
        if not check.works:
            lines.append(f"{'':<{width}}  to install it: {check.remedy}")
    return "\n".join(lines)


def _attempt(action: Callable[[], str]) -> tuple[bool, str]:
    """Run a trial; whatever it raises means that the thing does not work here."""
    try:
        return True, action()
    except Exception as error:  # noqa: BLE001  (a broken installation fails in its own way)
        return False, str(error) or type(error).__name__


def _python() -> Check:
    fits = sys.version_info >= (3, 11)
    return Check(
        "Python", "3.11 or newer", fits, platform.python_version(), remedy="see python.org, then `make setup`"
    )


def _assembler() -> Check:
    from vmenter.code import assembler  # noqa: PLC0415  (the command line starts without it)

    def trial() -> str:
        backend = assembler.available()
        if backend is None:
            raise LabError("none")
        return backend

    works, found = _attempt(trial)
    purpose = "only typing your own assembly needs it; the lab's own objects are there"
    return Check("assembler", purpose, works, found, needed=False, remedy=_package("clang"))


def _decoder() -> Check:
    def trial() -> str:
        from vmenter.code.instructions import decode  # noqa: PLC0415

        return "Capstone: " + decode(bytes.fromhex("0f002d00000000"))[0].text

    works, found = _attempt(trial)
    return Check("decoder", "Capstone", works, found, remedy="pip install -r requirements.txt")


def _emulator() -> Check:
    def trial() -> str:
        from vmenter.emulator.choice import new_cpu  # noqa: PLC0415

        cpu = new_cpu()
        cpu.map(0x1000, 0x1000)
        cpu.write(0x1000, b"\x48\xff\xc0")  # inc %rax
        cpu.run(0x1000, 0x1003)
        if cpu.get("rax") != 1:
            raise LabError("the emulator counts wrong")
        return cpu.title

    works, found = _attempt(trial)
    return Check("emulator", "Unicorn", works, found, remedy="pip install -r requirements.txt")


def _layout() -> Check:
    def trial() -> str:
        from vmenter.views.drawings.diagram import layout  # noqa: PLC0415

        layout("digraph { a -> b }")
        return "Graphviz, from its wheel"

    works, found = _attempt(trial)
    return Check("layout", "Graphviz, for the diagrams", works, found, remedy="pip install -r requirements.txt")


def _lab() -> Check:
    works, found = _attempt(lambda: f"JupyterLab {version('jupyterlab')}")
    return Check("JupyterLab", "for the notebooks", works, found, remedy="pip install -r requirements.txt")


def find_browser() -> str | None:
    """Return the path of a browser that the tests can drive, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _browser() -> Check:
    path = find_browser()
    purpose = "only the browser tests need it"
    return Check("Chromium", purpose, path is not None, path or "", needed=False, remedy=_package("chromium"))


def _objdump() -> Check:
    def trial() -> str:
        done = subprocess.run(["objdump", "--version"], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.splitlines()[0]

    works, found = _attempt(trial)
    purpose = "only some tests and the benchmark compare with it"
    return Check("objdump", purpose, works, found, needed=False, remedy=_package("binutils"))


def _package(name: str) -> str:
    """Return the line that installs a system package here."""
    managers = {
        "apt-get": f"sudo apt-get install {name}",
        "dnf": f"sudo dnf install {name}",
        "pacman": f"sudo pacman -S {name}",
        "brew": f"brew install {name}",
    }
    if os.name == "nt":
        return f"winget install {name}"
    return next((line for tool, line in managers.items() if shutil.which(tool)), f"install the package {name}")
