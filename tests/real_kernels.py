"""Where the tests of real VM-Enter code find their kernels."""

import os
from pathlib import Path

import pytest


def kernel_file(version: str, name: str) -> Path:
    """Return a file of a real kernel, such as ("7.3.4", "kvm-intel.ko.xz"); skip without it, in CI fail."""
    given = os.environ.get("VMENTER_KERNELS")
    folders = [*([Path(given)] if given else []), Path.home() / ".cache" / "vmenter" / "kernels"]
    for folder in folders:
        path = folder / version / name
        if path.is_file():
            return path
    looked = " or ".join(map(str, folders))
    message = f"{version}/{name} is missing (looked in {looked}); set VMENTER_KERNELS to a folder that has it"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
