"""What an instruction asks for beyond general registers and flags: the system, the FPU, a line of memory."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from vmenter.code.decoder import detail
from vmenter.code.decoder.detail import MEMORY, REGISTER
from vmenter.code.x86 import VM_ENTERS

if TYPE_CHECKING:
    from vmenter.code.instructions import Instruction

SEGMENTS = ("%ds", "%es", "%fs", "%gs", "%ss")
# What Capstone's groups leave out: interrupts on and off, ports, caches, segments, SMAP.
SYSTEM = re.compile(
    "cli|sti|(in|out|ins|outs)[bwl]?|swapgs|wbinvd|invd|invlpg|clts|l[gil]dt|ltr|xsetbv|wr[fg]sbaseq?|stac|clac"
)


@lru_cache(maxsize=4096)
def privileged(code: bytes) -> str | None:
    """Return the name of an instruction that touches the system's state; None for others, VERW and VM-Enter.

    VERW of a register has a name here, too: only VERW of memory is sure to clear, so there is no use for the other
    (the comment in mds_clear_cpu_buffers(), arch/x86/include/asm/nospec-branch.h).
    """
    one = detail(code)
    if one is None or one.mnemonic in VM_ENTERS or one.mnemonic in ("rdmsr", "vmread"):
        return None
    if one.mnemonic == "verw":
        of_register = one.operands[0].kind == REGISTER
        return f"VERW of a register ({one.mnemonic} {one.text})" if of_register else None
    to_segment = one.text.rpartition(", ")[2] in SEGMENTS
    if not (SYSTEM.fullmatch(one.mnemonic) or to_segment or one.system):
        return None
    control = next((name for name in (f"cr{number}" for number in range(9)) if f"%{name}" in one.text), "")
    return f"{one.mnemonic} {control}".rstrip().upper()


@lru_cache(maxsize=4096)
def vector(code: bytes) -> str | None:
    """Return the text of an instruction that works on the FPU's or the vector registers; None for others.

    Up to VM-Enter they hold the guest's values already, and a kernel may not use them just so.
    """
    one = detail(code)
    if one is None:
        return None
    named = any(register.startswith(VECTORS) for register in (*one.reads, *one.writes))
    return f"{one.mnemonic} {one.text}".strip() if named or FPU.match(one.mnemonic) else None


VECTORS = ("xmm", "ymm", "zmm", "mm", "st(", "k")
FPU = re.compile("f|emms|vzero|x(save|rstor)|v?(ld|st)mxcsr")


@lru_cache(maxsize=4096)
def touches(instruction: Instruction) -> bool:
    """Tell whether an instruction has an operand in memory; LEA's and a NOP's are none."""
    one = detail(instruction.code)
    if one is None or one.mnemonic.startswith(("lea", "nop")):
        return False
    return any(operand.kind == MEMORY for operand in one.operands)
