"""What some tests need and not every machine has: real kernels, other people's tools.

Without them a test is skipped and says how to get them; in CI (the environment variable CI is set) it fails.
`python tests/needs.py` fetches the kernels, on a Debian-like machine.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

HINT = "set VMENTER_KERNELS to a folder of <version>/vmlinuz and so on, or run: python tests/needs.py"

# What the tests compare with: version -> package, and the suite that has it.
KERNELS = {
    "6.1.192": ("linux-image-6.1.0-56-amd64=6.1.192-2", "bookworm"),
    "6.12.117": ("linux-image-6.12.117+deb13-amd64=6.12.117-1", "trixie"),
    "7.3.4": ("linux-image-7.3.4+deb13-amd64=7.3.4-1~bpo13+1", "trixie-backports"),
    "6.1.192-3": ("linux-image-6.1.0-57-amd64=6.1.192-3", "bookworm"),
    "5.10.262": ("linux-image-5.10.0-46-amd64=5.10.262-1", "bullseye"),
}


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
        cached = (*sorted(folder.glob(f"*_{version}-*")), *folder.glob(f"*_{version}"))  # NAME_VERSION-REVISION
        for place in (folder / version, *cached):
            for path in (place / name, place / name.removesuffix(".xz")):
                if path.is_file():
                    return path
    looked = " or ".join(str(folder) for folder in kernel_folders())
    missing(f"{version}/{name} (looked in {looked})", HINT)


def kernel_files(pattern: str) -> list[Path]:
    """Return all files of real kernels that match, one for each version and name."""
    found = {}
    for folder in reversed(kernel_folders()):
        for path in sorted(folder.glob(f"*/{pattern}")):
            found[kernel_version(path), path.name] = path
    return [found[key] for key in sorted(found)]


def kernel_version(path: Path) -> str:
    """Return the version that the folder of a kernel's file tells: VERSION, or NAME_VERSION-REVISION."""
    return re.sub(r"-[^-]*$", "", path.parent.name.partition("_")[2]) or path.parent.name


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


if __name__ == "__main__":
    for package, suite in KERNELS.values():
        command = [sys.executable, "-m", "vmenter", "fetch", package, "--suite", suite]
        if subprocess.run(command, check=False).returncode:
            sys.exit(f"{package} of {suite} cannot be had; put that kernel into $VMENTER_KERNELS")
