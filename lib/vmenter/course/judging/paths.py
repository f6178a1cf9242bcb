"""What a small piece of code may do: every way through it is followed, and what happens on the way compared.

For code without loops, as an answer to an exercise is. No registers, no memory: both sides of a conditional jump
are taken to be possible.
"""

from collections.abc import Iterator

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, decode

LONGEST = 200  # instructions on one way through; an answer has a dozen
WAYS = 64


def ways(image: Image, address: int) -> Iterator[tuple[Instruction, ...]]:
    """Yield every way from `address` to a RET, as its instructions. Raises `LabError` where there is none."""
    pending: list[tuple[int, tuple[Instruction, ...]]] = [(address, ())]
    found = 0
    while pending:
        at, way = pending.pop()
        section = image.section_at(at)
        if section is None:
            raise LabError(f"the code runs to {image.label(at)}, where there is none: is a ret missing?")
        here = decode(image.read(at, min(15, section.end - at)), at, strict=False)[0]
        way = (*way, here)
        if len(way) > LONGEST or found > WAYS:
            raise LabError("the code has a loop, or more ways through it than this exercise needs")
        if here.mnemonic.startswith("ret"):
            found += 1
            yield way
            continue
        if here.mnemonic in (".byte", "int3", "ud2"):
            raise LabError(f"the code runs into {here.text} at {image.label(at)}: is a ret or a jump missing?")
        if here.mnemonic.startswith("call"):
            raise LabError(f"{here.text}: calls are not followed here; write what the function does in its place")
        jumps = here.mnemonic.startswith("j") and here.branch_target is not None
        if jumps:
            pending.append((here.branch_target or 0, way))
        if not jumps or here.mnemonic != "jmp":
            pending.append((here.end, way))


def clears(image: Image, address: int) -> str:
    """Return whether VERW runs from `address` on: “always”, “never” or “depends” (on a conditional jump)."""
    seen = {any(step.is_clear for step in way) for way in ways(image, address)}
    return "depends" if len(seen) == 2 else "always" if True in seen else "never"
