"""Bytes to instructions: what the other rooms need to know about x86-64 machine code.

Decoding is Capstone's (`decoder`); the few facts it does not give (is it a NOP by the kernel's rule, where does a
branch keep its displacement) are read off the bytes as the Intel SDM, volume 2, chapter 2 lays them out.
Text is AT&T syntax, as in the kernel's sources and in objdump.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from vmenter import LabError
from vmenter.code.decoder import encoding, lite
from vmenter.code.lengths import PREFIXES, Field, Shape, decoder, decoders, shape
from vmenter.code.x86 import ADDRESS_MASK

UNDECODED = ".byte"  # the mnemonic of bytes that the disassembler does not know

# Instructions that kernels use and Capstone 5 does not know, or takes for CLAC (Intel SDM, volume 2: WRMSRNS;
# FRED's returns; SERIALIZE).
TOO_NEW = {
    b"\x0f\x01\xc6": "wrmsrns",
    b"\x0f\x01\xe8": "serialize",
    b"\xf3\x0f\x01\xca": "eretu",
    b"\xf2\x0f\x01\xca": "erets",
}
REGISTER = re.compile(r"%\w+")
RIP_OPERAND = re.compile(r"(?:-?(?:0x)?[0-9a-f]+)?\(%rip\)")
TO_ECX = re.compile(r"\$((?:0x)?[0-9a-f]+), %[er]cx")


@dataclass(frozen=True)
class Instruction:
    """One decoded instruction at its address."""

    address: int
    code: bytes
    mnemonic: str
    operands: str

    @property
    def length(self) -> int:
        """Length in bytes, 1 to 15."""
        return len(self.code)

    @property
    def end(self) -> int:
        """Address of the next instruction."""
        return self.address + len(self.code)

    @property
    def text(self) -> str:
        """AT&T text, for example ``verw 0x1fc3(%rip)``; branch targets are absolute."""
        return f"{self.mnemonic} {self.operands}".rstrip()

    @cached_property
    def branch_target(self) -> int | None:
        """Absolute target of a direct CALL, JMP, Jcc, LOOP or JRCXZ; None for all else."""
        field = None if self.mnemonic == UNDECODED else branch_field(self.code)
        return None if field is None else (self.end + field.value(self.code)) & ADDRESS_MASK

    @cached_property
    def rip_target(self) -> int | None:
        """Absolute address of a RIP-relative operand; None where there is none."""
        if "(%rip)" not in self.operands:
            return None
        field = rip_field(self.code)
        return None if field is None else (self.end + field.value(self.code)) & ADDRESS_MASK

    @property
    def points_to(self) -> int | None:
        """Absolute address of what a branch goes to, or a RIP-relative operand stands for; None for neither."""
        return self.branch_target if self.rip_target is None else self.rip_target

    def naming(self, place: Callable[[int], str], data: Callable[[int], str] | None = None) -> str:
        """Return the text with a name for the address it points to: `place` of a branch's target.

        `data` names what a RIP-relative operand stands for; without it, such an operand stays as it is.
        """
        if self.branch_target is not None:
            return f"{self.mnemonic} {place(self.branch_target)}"
        if self.rip_target is not None and data is not None:
            named = data(self.rip_target)
            return RIP_OPERAND.sub(lambda _: named, self.text)
        return self.text

    @property
    def is_clear(self) -> bool:
        """Tell whether this is VERW with a memory operand: VERW of a register does not clear (nospec-branch.h)."""
        return self.mnemonic == "verw" and not REGISTER.fullmatch(self.operands)

    def is_nop(self, *, wide: bool = True) -> bool:
        """Tell whether the kernel's patcher would take this for a NOP; see `is_nop`."""
        return self.mnemonic != UNDECODED and is_nop(self.code, wide=wide)


def decode(code: bytes, address: int = 0, *, strict: bool = True) -> tuple[Instruction, ...]:
    """Decode all of `code` as if it stood at `address`.

    Where the bytes are no instruction: a `LabError` that names the address, or, with ``strict=False``,
    a ``.byte`` line for as many bytes as the kernel's own decoder takes for one instruction, or for one.
    """
    result: list[Instruction] = []
    offset = 0
    while offset < len(code):
        for start, length, mnemonic, operands in lite(code[offset:], address + offset):
            one = code[offset : offset + length]
            result.append(Instruction(start, one, TOO_NEW.get(one, mnemonic), operands))
            offset += length
        if offset < len(code):
            result.append(_undecoded(code, offset, address, strict=strict))
            offset += result[-1].length
    return tuple(result)


def _undecoded(code: bytes, offset: int, address: int, *, strict: bool) -> Instruction:
    """Return what stands where Capstone gave up: an instruction newer than it, or a byte."""
    place = (address + offset) & ADDRESS_MASK
    for known, mnemonic in TOO_NEW.items():
        if code.startswith(known, offset):
            return Instruction(place, known, mnemonic, "")
    if strict:
        raise LabError(
            f"{place:#x}: {code[offset : offset + 15].hex(' ')} is no x86-64 instruction; "
            "is this data, or does the code start in the middle of an instruction?",
        )
    known_by_kernel = shape(code[offset : offset + 15], decoders()[-1])
    one = code[offset : offset + (known_by_kernel.length if known_by_kernel else 1)]
    return Instruction(place, one, UNDECODED, ", ".join(f"{byte:#04x}" for byte in one))


def opcode_offset(code: bytes) -> int:
    """Return where the opcode starts, after legacy prefixes and a REX prefix."""
    at = 0
    while at < len(code) - 1 and code[at] in PREFIXES:
        at += 1
    return at + 1 if at < len(code) - 1 and code[at] & 0xF0 == 0x40 else at


def branch_field(code: bytes) -> Field | None:
    """Return where a direct branch keeps its displacement, or None if `code` is no direct branch."""
    at = opcode_offset(code)
    opcode = code[at]
    if opcode in (0xE8, 0xE9):  # CALL rel32, JMP rel32
        return Field(at + 1, 4)
    if opcode & 0xF0 == 0x70 or opcode == 0xEB or 0xE0 <= opcode <= 0xE3:  # Jcc, JMP rel8, LOOPs, JRCXZ
        return Field(at + 1, 1)
    if opcode == 0x0F and len(code) > at + 1 and code[at + 1] & 0xF0 == 0x80:  # Jcc rel32
        return Field(at + 2, 4)
    return None


@lru_cache(maxsize=1 << 14)
def rip_field(code: bytes) -> Field | None:
    """Return where a RIP-relative operand keeps its displacement, or None if there is none."""
    if len(code) < 6:  # opcode, ModRM, 32-bit displacement: no shorter one has it
        return None
    modrm, displacement = encoding(code) or (0, 0)
    # Capstone's `disp_size` is no help: it follows the operand's size, 2 under a 66 prefix.
    return Field(displacement, 4) if modrm & 0xC7 == 0x05 and displacement else None


def is_nop(code: bytes, *, wide: bool = True, one: Shape | None = None) -> bool:
    """Tell whether one whole instruction is a NOP by the kernel's own rule; `one` is its shape, if that is known.

    Narrow (up to v6.18, `insn_is_nop` in arch/x86/kernel/alternative.c): any 0x90 whose first prefix is
    not F3, and any 0F 1F; no notice is taken of VEX. Wide (newer, arch/x86/lib/insn-eval.c): 0F 1F /0, 0x90
    without F3 and without REX.B, and also 64-bit ``mov %r,%r``, ``lea 0(%r),%r`` and a jump to the next
    instruction.
    """
    one = one or shape(code, decoder("7.3.4" if wide else "6.12.117"))
    if one is None:
        return False
    if not wide:
        return (one.opcode == 0x90 and not (one.start and code[0] == 0xF3)) or (
            one.opcode == 0x0F and one.second == 0x1F
        )
    return not one.vex and _is_wide_nop(code, one)


def _is_wide_nop(code: bytes, one: Shape) -> bool:
    """Do what the newer rule does for what has no VEX prefix."""
    rex, extended, prefixes = 0, 0, code[: one.start]
    if one.start >= 2 and code[one.start - 2] == 0xD5:  # REX2: two bits for each register, and the map
        rex, extended, prefixes = code[one.start - 1] & 15, code[one.start - 1] >> 4, code[: one.start - 2]
    elif one.start and code[one.start - 1] & 0xF0 == 0x40:
        rex, prefixes = code[one.start - 1] & 15, code[: one.start - 1]
    second = one.opcode if extended & 8 else one.second if one.opcode == 0x0F else None
    if second is not None:
        return second == 0x1F and _register(code[one.modrm] >> 3, rex >> 2, extended >> 2) == 0
    if one.opcode == 0x90:
        return 0xF3 not in prefixes and not rex & 1 and not extended & 1
    if one.opcode in (0xE9, 0xEB):
        return one.immediate is not None and not one.immediate.value(code)
    if one.opcode in (0x89, 0x8D) and rex & 8:  # REX.W: 64 bits, whatever a 66 says
        return _keeps_register(code[one.modrm :], rex, extended, prefixes, load=one.opcode == 0x8D)
    return False


def _register(low: int, middle: int, high: int) -> int:
    """Return a register's number from its three bits and the ones that REX and REX2 add."""
    return low & 7 | (middle & 1) << 3 | (high & 1) << 4


def _keeps_register(code: bytes, rex: int, extended: int, prefixes: bytes, *, load: bool) -> bool:
    """Tell whether a 64-bit MOV or LEA (`code` starts at ModRM) writes a register to itself."""
    mode, reg = code[0] >> 6, _register(code[0] >> 3, rex >> 2, extended >> 2)
    rm, displacement = _register(code[0], rex, extended), code[1:]
    if not load:
        return mode == 3 and reg == rm
    if code[0] & 7 == 4 and mode != 3:  # a SIB byte; its base takes the place of rm
        if _register(code[1] >> 3, rex >> 1, extended >> 1) != 4 or code[1] >> 6:
            return False
        rm, displacement = _register(code[1], rex, extended), code[2:]
    plain = all(prefix == 0x3E for prefix in prefixes)  # 3E: DS
    return mode in (1, 2) and reg == rm and plain and not any(displacement)


def ecx_after(instruction: Instruction, before: int | None) -> int | None:
    """Return what is in ECX after an instruction if it is a constant: RDMSR and WRMSR find their number there."""
    found = TO_ECX.fullmatch(instruction.operands)
    if found and instruction.mnemonic.startswith("mov"):
        return int(found[1], 0)
    if instruction.mnemonic.startswith(("call", "cpuid", "rep", "loop")):
        return None
    if instruction.mnemonic.startswith(("cmp", "test", "push")):
        return before
    written = instruction.operands.rsplit(" ", 1)[-1]
    return None if written in ("%ecx", "%rcx", "%cx", "%cl", "%ch") else before
