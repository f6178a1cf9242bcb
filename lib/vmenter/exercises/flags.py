"""Who wrote the flag that a conditional jump reads: what decides, and how far back it was decided."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from vmenter.code import _capstone
from vmenter.machine import STEPPED_OVER
from vmenter.trace import Trace

FLAGS = ("CF", "ZF")
# One condition has several names; these are the ones that the kernel's stubs use.
NAMES = {"je": "jz", "jne": "jnz", "jae": "jnc", "jb": "jc"}


class FlagUse(NamedTuple):
    """A conditional jump of a run, the flag it reads, and the step that wrote it last (None: none in the run)."""

    step: int
    jump: str  # "jz", "jnc", …
    flag: str
    writer: int | None

    @property
    def between(self) -> int | None:
        """How many instructions ran in between, all of which had to leave the flag alone."""
        return None if self.writer is None else self.step - self.writer - 1


def flag_uses(trace: Trace, function: str) -> Iterator[FlagUse]:
    """Yield every conditional jump on CF or ZF that ran in `function`, in order."""
    writers: dict[str, int] = {}
    for step, instruction in enumerate(trace.instructions):
        decoded = next(_capstone(detail=True).disasm(instruction.code, instruction.address), None)
        for flag in FLAGS:
            if decoded is not None and instruction.branch_target is not None and _touches(decoded, "TEST", flag):
                if trace.where(step).partition("+")[0] == function:
                    yield FlagUse(
                        step, NAMES.get(instruction.mnemonic, instruction.mnemonic), flag, writers.get(flag)
                    )
            elif instruction.mnemonic in STEPPED_OVER or (decoded and _writes(decoded, flag)):
                writers[flag] = step


def _writes(decoded: Any, flag: str) -> bool:
    return any(_touches(decoded, how, flag) for how in ("MODIFY", "RESET", "SET", "UNDEFINED"))


def _touches(decoded: Any, how: str, flag: str) -> bool:
    from capstone import x86_const  # noqa: PLC0415  (import of the package stays free)

    return bool(decoded.eflags & getattr(x86_const, f"X86_EFLAGS_{how}_{flag}", 0))
