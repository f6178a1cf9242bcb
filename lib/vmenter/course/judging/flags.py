"""Who writes the flags that conditional jumps read, and how far an answer travels from the one to the other."""

from collections.abc import Iterator
from typing import NamedTuple

from vmenter.code.decoder import detail
from vmenter.code.image import from_bytes
from vmenter.code.instructions import Instruction, decode
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
            if jumps and (known := detail(instruction.code)) and known.tests(flag):
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
    return tuple(flag for flag in FLAGS if not leaves(instruction, flag))


def leaves(instruction: Instruction, *flags: str) -> bool:
    """Tell whether an instruction leaves these flags ("PF", …) as they are, and not undefined either."""
    known = detail(instruction.code)
    return known is None or not any(map(known.changes, flags))


def instructions(text: str) -> tuple[Instruction, ...]:
    """Assemble a few instructions and decode them again."""
    image = from_bytes(assemble(f"here: {text}\nend: .byte 0\n"), "text")
    start, end = image.symbols.extent("here")
    return decode(image.read(start, end - start), start)
