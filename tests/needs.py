"""What some tests need and not every machine has: real kernels, other people's tools.

Without them a test is skipped and says how to get them; in CI (the environment variable CI is set) it fails.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

HINT = "set VMENTER_KERNELS to a folder of <version>/vmlinuz and so on, or run: bash .ci/fetch-kernels"


def missing(what: str, how: str) -> NoReturn:
    """Skip the test, or fail it in CI."""
    message = f"{what} is missing; to get it: {how}"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def kernel_folders() -> list[Path]:
    """Return where kernels may be, first choice first."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    given = os.environ.get("VMENTER_KERNELS")
    return [*([Path(given)] if given else []), cache / "vmenter" / "kernels"]


def kernel_file(version: str, name: str) -> Path:
    """Return a file of a real kernel, such as ("7.3.4", "vmlinuz")."""
    for folder in kernel_folders():
        for path in (folder / version / name, folder / version / name.removesuffix(".xz")):
            if path.is_file():
                return path
    looked = " or ".join(str(folder) for folder in kernel_folders())
    missing(f"{version}/{name} (looked in {looked})", HINT)


def kernel_files(pattern: str) -> list[Path]:
    """Return all files of real kernels that match, one for each version and name."""
    found = {}
    for folder in reversed(kernel_folders()):
        for path in folder.glob(f"*/{pattern}"):
            found[path.parent.name, path.name] = path
    return [found[key] for key in sorted(found)]


def tool(name: str, how: str) -> str:
    """Return the path of a program."""
    path = shutil.which(name)
    if path is None:
        missing(name, how)
    return path


def objdump() -> str:
    """Return the path of an objdump that knows x86-64."""
    path = shutil.which("x86_64-linux-gnu-objdump") or shutil.which("objdump")
    if path is None:
        missing("objdump", "apt install binutils-x86-64-linux-gnu")
    return path
