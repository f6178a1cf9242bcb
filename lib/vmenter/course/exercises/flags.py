"""Who writes the flags that conditional jumps read, and how far an answer travels from the one to the other."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from vmenter.code.image import from_bytes
from vmenter.code.instructions import Instruction, _capstone, decode
from vmenter.emulator.machine import STEPPED_OVER
from vmenter.emulator.trace import Trace
from vmenter.patching.lab import assemble

FLAGS = ("ZF", "CF")
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
    """Yield every conditional jump on ZF or CF that ran in `function`, in order."""
    writers: dict[str, int] = {}
    for step, instruction in enumerate(trace.instructions):
        jumps = instruction.branch_target is not None and trace.where(step).partition("+")[0] == function
        for flag in FLAGS:
            if jumps and _touches(instruction, flag, "TEST"):
                jump = NAMES.get(instruction.mnemonic, instruction.mnemonic)
                yield FlagUse(step, jump, flag, writers.get(flag))
        writers.update(dict.fromkeys(flags_written(instruction), step))


def travels(trace: Trace, function: str) -> str:
    """Say which flags keep an answer over other instructions, and over how many."""
    found = [use for use in flag_uses(trace, function) if use.between]
    return ", ".join(f"{use.flag} over {use.between} instructions" for use in found)


def flags_written(instruction: Instruction) -> tuple[str, ...]:
    """Return which of ZF and CF an instruction writes, or leaves undefined, as Capstone knows it."""
    if instruction.mnemonic in STEPPED_OVER:  # VMREAD and its kin write all of them
        return FLAGS
    return tuple(flag for flag in FLAGS if _touches(instruction, flag, "MODIFY", "RESET", "SET", "UNDEFINED"))


def leaves(instruction: Instruction, *flags: str) -> bool:
    """Tell whether an instruction leaves these flags ("PF", …) as they are, and not undefined either."""
    return not any(_touches(instruction, flag, "MODIFY", "RESET", "SET", "UNDEFINED") for flag in flags)


def instructions(text: str) -> tuple[Instruction, ...]:
    """Assemble a few instructions and decode them again."""
    image = from_bytes(assemble(f"here: {text}\nend: .byte 0\n"), "text")
    start, end = image.symbols.extent("here")
    return decode(image.read(start, end - start), start)


def _touches(instruction: Instruction, flag: str, *how: str) -> bool:
    from capstone import x86_const  # noqa: PLC0415  (import of the package stays free)

    decoded: Any = next(_capstone(detail=True).disasm(instruction.code, instruction.address), None)
    wanted = (getattr(x86_const, f"X86_EFLAGS_{one}_{flag}", 0) for one in how)
    return decoded is not None and any(decoded.eflags & bits for bits in wanted)
