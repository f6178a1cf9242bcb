"""An instruction's bytes, taken apart: prefixes, opcode, ModRM, SIB, displacement, immediate.

Where each stands is told by the decoder layer (`code.lengths`); what they mean is in the Intel SDM, volume 2,
chapter 2. `Op` is what becomes of it.
"""

from collections.abc import Callable
from functools import cached_property

from vmenter.code.lengths import LONGEST, PREFIXES, Shape, decoders, shape
from vmenter.code.x86 import MASK
from vmenter.emulator.cpu import Fault, Trouble
from vmenter.emulator.interpreter.core import ALL

Op = Callable[[], int]
"""One instruction: executes it, and returns the address of the next one."""

SEGMENTS = frozenset(b"\x26\x2e\x36\x3e\x64\x65")
FS, GS = 0x64, 0x65
MARKS = frozenset(b"\x66\xf2\xf3")


class Unknown(Exception):  # noqa: N818  (no error: the answer of a builder that does not know the instruction)
    """These bytes are no instruction, or none that the interpreter knows."""


class Parts:
    """One instruction at its address."""

    def __init__(self, code: bytes, address: int) -> None:
        found = _shape(code[:LONGEST])
        if found is None or found.vex:
            raise Unknown
        self.address, self.code = address, code[: found.length]
        self.after = address + found.length & ALL
        self.opcode, self.second = found.opcode, found.second
        self.modrm_at = found.modrm
        prefixes = self.code[: found.start]
        rex = prefixes[-1:] if prefixes and prefixes[-1] & 0xF0 == 0x40 else b""
        self.rex = rex[0] if rex else 0
        self.prefixes = prefixes[: len(prefixes) - len(rex)]
        if not PREFIXES.issuperset(self.prefixes) or {0xF2, 0xF3} <= set(self.prefixes):
            raise Unknown
        self.repeat = next((byte for byte in self.prefixes if byte in (0xF2, 0xF3)), 0)
        self.narrow = 0x66 in self.prefixes
        self.lock = 0xF0 in self.prefixes
        self.segment = next((byte for byte in reversed(self.prefixes) if byte in SEGMENTS), 0)
        self.address_mask = MASK[4] if 0x67 in self.prefixes else ALL
        self.size = 8 if self.rex & 8 else 2 if self.narrow else 4  # of operands, where the opcode does not say
        self._immediate = found.immediate

    @cached_property
    def modrm(self) -> int:
        """The ModRM byte."""
        if not self.modrm_at:
            raise Unknown
        return self.code[self.modrm_at]

    @property
    def mode(self) -> int:
        """The two bits of ModRM that tell how to find an operand in memory; 3: it is a register."""
        return self.modrm >> 6

    @property
    def digit(self) -> int:
        """The three bits of ModRM that are part of the opcode in some instructions: /0 to /7."""
        return self.modrm >> 3 & 7

    @property
    def reg(self) -> int:
        """The number of the register that ModRM's middle names."""
        return self.digit | (self.rex & 4) << 1

    @property
    def rm(self) -> int:
        """The number of the register that ModRM's end names, where mode is 3."""
        return self.modrm & 7 | (self.rex & 1) << 3

    @property
    def in_opcode(self) -> int:
        """The number of the register that the opcode's last three bits name."""
        return (self.opcode if self.second < 0 else self.second) & 7 | (self.rex & 1) << 3

    def width(self, opcode: int) -> int:
        """Return the operand's size where the opcode's last bit clear means a byte."""
        return self.size if opcode & 1 else 1

    def immediate(self) -> int:
        """Return the immediate operand, signed."""
        if self._immediate is None:
            raise Unknown
        return self._immediate.value(self.code)

    def memory(self) -> tuple[int | None, int | None, int, int]:
        """Return an operand in memory: base register, index register, shift of the index, displacement.

        With a displacement from RIP, there is no base left.
        """
        at, base, index, scale = self.modrm_at + 1, self.modrm & 7, None, 0
        if base == 4:
            sib = self.code[at]
            at, scale, base = at + 1, sib >> 6, sib & 7
            number = sib >> 3 & 7 | (self.rex & 2) << 2
            index = None if number == 4 else number
        elif base == 5 and self.mode == 0:
            return None, None, 0, self._displacement(at, 4) + self.after
        if base == 5 and self.mode == 0:
            return None, index, scale, self._displacement(at, 4)
        return base | (self.rex & 1) << 3, index, scale, self._displacement(at, (0, 1, 4)[self.mode])

    def _displacement(self, at: int, size: int) -> int:
        return int.from_bytes(self.code[at : at + size], "little", signed=True)


def _shape(code: bytes) -> Shape | None:
    """Return where the parts stand.

    The kernel's tables take 66, F2 and F3 before CMOVcc and SETcc for marks of instructions that need VEX; to the
    CPU they are prefixes like any other there, and have no part in the length.
    """
    at = next((at for at, byte in enumerate(code) if byte not in PREFIXES and byte & 0xF0 != 0x40), 0)
    if code[at : at + 1] != b"\x0f" or code[at + 1 : at + 2] < b"\x40" or code[at + 1] & 0xF0 not in (0x40, 0x90):
        return shape(code, decoders()[-1])
    fewer = bytes(byte for byte in code[:at] if byte not in MARKS)
    gone, found = at - len(fewer), shape(fewer + code[at:], decoders()[-1])
    return found and found._replace(length=found.length + gone, start=found.start + gone, modrm=found.modrm + gone)


def cut_off(code: bytes) -> bool:
    """Tell whether these bytes, all that there are, begin an instruction that would be longer."""
    return _shape(code) is None and _shape(code.ljust(LONGEST, b"\0")) is not None


def unknown() -> int:
    """Be the `Op` of what nobody knows."""
    raise Fault(Trouble.UNKNOWN)
