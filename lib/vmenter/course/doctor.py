"""What works on this machine, or in this browser's tab, and for what is missing the one line that installs it."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from vmenter import LabError, in_browser

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
    desktop = (_python, _assembler, _decoder, _emulator, _layout, _lab, _browser, _objdump)
    tab = (_python, _assembler, _decoder, _interpreter, _layout, _limits, _storage)
    trials = tab if in_browser() else desktop
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
    found = platform.python_version() + (", in this browser's tab" if in_browser() else "")
    return Check("Python", "3.11 or newer", fits, found, remedy="see python.org, then `make setup`")


def _assembler() -> Check:
    from vmenter.code import assembler  # noqa: PLC0415  (the command line starts without it)

    def trial() -> str:
        backend = assembler.available()
        if backend is None:
            raise LabError("none")
        return backend

    works, found = _attempt(trial)
    purpose = "only typing your own assembly needs it; the lab's own objects are there"
    remedy = _reinstall() if in_browser() else _package("clang")
    return Check("assembler", purpose, works, found, needed=False, remedy=remedy)


def _decoder() -> Check:
    def trial() -> str:
        from vmenter.code.instructions import decode  # noqa: PLC0415

        return "Capstone: " + decode(bytes.fromhex("0f002d00000000"))[0].text

    works, found = _attempt(trial)
    return Check("decoder", "Capstone", works, found, remedy=_reinstall())


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
        return "Graphviz, in WebAssembly" if in_browser() else "Graphviz, from its wheel"

    works, found = _attempt(trial)
    return Check("layout", "Graphviz, for the diagrams", works, found, remedy=_reinstall())


def _lab() -> Check:
    works, found = _attempt(lambda: f"JupyterLab {version('jupyterlab')}")
    return Check("JupyterLab", "for the notebooks", works, found, remedy="pip install -r requirements.txt")


def _interpreter() -> Check:
    def trial() -> str:
        from vmenter.code.image import from_bytes  # noqa: PLC0415
        from vmenter.emulator.machine import Machine  # noqa: PLC0415
        from vmenter.emulator.memory import LAB_BASE  # noqa: PLC0415
        from vmenter.patching.lab import lab_object  # noqa: PLC0415

        code = from_bytes(lab_object("patching"), "patching", LAB_BASE)
        if not Machine(code).run("three_way").steps:
            raise LabError("nothing runs")
        return "the course's own interpreter"

    works, found = _attempt(trial)
    return Check("CPU", "runs the lab's code", works, found, remedy=_reinstall())


def _limits() -> Check:
    def trial() -> str:
        from vmenter.course.judging.limited import SECONDS, results  # noqa: PLC0415

        if results("def answer(x):\n    return x > 1\n", "answer", [(1,), (2,)]) != [False, True]:
            raise LabError("a function gives what it should not")
        return (
            f"a function of yours ends after {SECONDS:.0f} s; where none of its lines is reached any more, "
            "Restart Kernel ends it, and no answer is lost"
        )

    works, found = _attempt(trial)
    return Check("limits", "for answers that are functions", works, found, remedy=_reinstall())


def _storage() -> Check:
    def trial() -> str:
        from vmenter.course import progress  # noqa: PLC0415

        file = progress.path()
        if file is None:
            return "nothing is kept, as VMENTER_PROGRESS says"
        file.parent.mkdir(parents=True, exist_ok=True)
        probe = file.with_name(f".{file.name}.probe")
        probe.write_text("kept", encoding="utf-8")
        kept = probe.read_text(encoding="utf-8")
        probe.unlink()
        if kept != "kept":
            raise LabError("what is written is not what is read")
        return f"progress is kept in {file}, in this browser's storage"

    works, found = _attempt(trial)
    remedy = "leave the private window, or let this page store data; until then, export your work before you leave"
    return Check("storage", "keeps your progress", works, found, needed=False, remedy=remedy)


def _reinstall() -> str:
    """Return how to get what comes with the course."""
    return "reload the page" if in_browser() else "pip install -r requirements.txt"


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
