"""What an instruction asks for beyond registers and flags: the state of the system, a line of memory."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from vmenter.code.decoder import detail
from vmenter.code.decoder.detail import MEMORY
from vmenter.emulator.machine import VM_ENTERS

if TYPE_CHECKING:
    from vmenter.code.instructions import Instruction

SEGMENTS = ("%ds", "%es", "%fs", "%gs", "%ss")
# What Capstone's groups leave out: interrupts on and off, ports, caches, segments, SMAP.
SYSTEM = re.compile(
    "cli|sti|(in|out|ins|outs)[bwl]?|swapgs|wbinvd|invd|invlpg|clts|l[gil]dt|ltr|xsetbv|wr[fg]sbaseq?|stac|clac"
)


@lru_cache(maxsize=4096)
def privileged(code: bytes) -> str | None:
    """Return the name of an instruction that touches the system's state; None for others, VERW and VM-Enter."""
    one = detail(code)
    if one is None or one.mnemonic in VM_ENTERS or one.mnemonic in ("verw", "rdmsr", "vmread"):
        return None
    to_segment = one.text.rpartition(", ")[2] in SEGMENTS
    if not (SYSTEM.fullmatch(one.mnemonic) or to_segment or one.system):
        return None
    control = next((name for name in (f"cr{number}" for number in range(9)) if f"%{name}" in one.text), "")
    return f"{one.mnemonic} {control}".rstrip().upper()


@lru_cache(maxsize=4096)
def touches(instruction: Instruction) -> bool:
    """Tell whether an instruction has an operand in memory; LEA's and a NOP's are none."""
    one = detail(instruction.code)
    if one is None or one.mnemonic.startswith(("lea", "nop")):
        return False
    return any(operand.kind == MEMORY for operand in one.operands)
