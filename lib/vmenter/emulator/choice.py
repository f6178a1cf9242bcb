"""Which CPU executes code: natively Unicorn; in a browser's tab, where no such library can be loaded, our own.

The interpreter is held equal to Unicorn by tests/emulator/test_interpreter*.py.
"""

import os
from typing import TYPE_CHECKING

from vmenter import LabError, in_browser

if TYPE_CHECKING:
    from vmenter.emulator.cpu import Cpu

NAMES = ("unicorn", "interpreter")
OVERRIDE = "VMENTER_CPU"  # the environment variable that names one of them


def new_cpu(name: str = "") -> "Cpu":
    """Return a CPU: the one named, or the one that $VMENTER_CPU names, or the one that fits the platform."""
    name = name or os.environ.get(OVERRIDE, "") or ("interpreter" if in_browser() else "unicorn")
    if name == "unicorn":
        from vmenter.emulator.unicorn_cpu import UnicornCpu  # noqa: PLC0415  (not to be had everywhere)

        return UnicornCpu()
    if name == "interpreter":
        from vmenter.emulator.interpreter.cpu import Interpreter  # noqa: PLC0415  (not needed everywhere)

        return Interpreter()
    raise LabError(f"no CPU named {name!r}; there are {' and '.join(NAMES)} (${OVERRIDE} chooses)")
