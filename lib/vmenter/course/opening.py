"""JupyterLab as the course opens it, alone and in a hub: what surrounds it, and its options.

Its terminals and kernels find `vmenter` (and the right `python`, `jupyter`), and it does not ask at the first
start whether it may fetch news.
"""

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmenter import LabError
from vmenter.course.copies import FIRST

SETTINGS = Path(__file__).parent / "jupyter"  # what JupyterLab reads of ours: no news


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set before JupyterLab starts: programs beside this Python come first."""
    return {
        "PATH": _joined(sysconfig.get_path("scripts"), environment.get("PATH", os.defpath)),
        "JUPYTER_CONFIG_PATH": _joined(environment.get("JUPYTER_CONFIG_PATH", ""), str(SETTINGS)),
    }


def terminals(environment: Mapping[str, str]) -> list[str]:
    """Return the option that keeps these variables in terminals.

    Where it has no terminal itself, as in a hub, JupyterLab starts login shells, and /etc/profile sets PATH anew.
    """
    if sys.platform == "win32":
        return []
    shell = environment.get("SHELL") or shutil.which("sh") or "sh"
    return [f"--ServerApp.terminado_settings={ {'shell_command': [shell]} }"]


def open_lab(folder: Path, arguments: Sequence[str] = ()) -> None:
    """Become a JupyterLab over `folder` that opens at notebook 00; `arguments` are JupyterLab's own.

    Raises `LabError` if JupyterLab is not installed.
    """
    from importlib.util import find_spec  # noqa: PLC0415

    if find_spec("jupyterlab") is None:
        raise LabError("JupyterLab is not installed here; install it with: python -m pip install jupyterlab")
    command = [sys.executable, "-m", "jupyterlab", *_defaults(folder, arguments)]
    os.environ.update(surroundings(os.environ))
    os.chdir(folder)
    sys.stdout.flush()
    if sys.platform == "win32":  # there, exec returns to the shell at once
        import subprocess  # noqa: PLC0415

        sys.exit(subprocess.call([*command, *arguments]))
    os.execv(sys.executable, [*command, *arguments])  # noqa: S606


def _defaults(folder: Path, arguments: Sequence[str]) -> list[str]:
    """Return our options, but for those that the learner gives: JupyterLab takes no option twice."""
    ours = {
        "--ServerApp.ip=127.0.0.1": ("--ip",),
        f"--ServerApp.root_dir={folder}": ("--notebook-dir",),
        f"--LabApp.default_url=/lab/tree/{FIRST}": (),  # so that the address it prints leads there, too
        **dict.fromkeys(terminals(os.environ), ()),
    }
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        ours["--allow-root"] = ()
    given = {argument.partition("=")[0] for argument in arguments}
    return [option for option, aliases in ours.items() if not given & {option.partition("=")[0], *aliases}]


def _joined(*parts: str) -> str:
    """Return a list of folders, as such variables have it; each stands in it once."""
    folders = [folder for part in parts for folder in part.split(os.pathsep) if folder]
    return os.pathsep.join(dict.fromkeys(folders))
