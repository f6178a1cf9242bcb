"""Real modules as they were built, read and inspected once for all tests of a process."""

from functools import cache
from pathlib import Path

from needs import kernel_file

from vmenter.code.image import Image, load
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels.inspect import Report, inspect_image


def module_file(version: str, vendor: str = "intel") -> Path:
    """Return where a kernel's module is."""
    return kernel_file(version, f"kvm-{vendor}.ko.xz")


@cache
def read(path: Path) -> Image:
    """Return a module, loaded where the machine wants it."""
    return load(path, LAB_BASE)


@cache
def inspected(path: Path) -> Report:
    """Return what inspection finds in it."""
    return inspect_image(read(path), str(path))
