"""What Capstone knows of one instruction beyond its text, in words. Numbers are those of Capstone 5's headers."""

from dataclasses import dataclass

REGISTER, CONSTANT, MEMORY = 1, 2, 3  # x86_op_type
READ = 1  # cs_ac_type
SYSTEM = frozenset({4, 5, 6, 128})  # cs_group_type, x86_insn_group: int, iret, privilege, vm
# X86_EFLAGS_… of x86.h, in the order of their bits: what an instruction does to a flag, and to which.
EFLAGS = (
    "MODIFY_AF MODIFY_CF MODIFY_SF MODIFY_ZF MODIFY_PF MODIFY_OF MODIFY_TF MODIFY_IF MODIFY_DF MODIFY_NT "
    "MODIFY_RF PRIOR_OF PRIOR_SF PRIOR_ZF PRIOR_AF PRIOR_PF PRIOR_CF PRIOR_TF PRIOR_IF PRIOR_DF PRIOR_NT "
    "RESET_OF RESET_CF RESET_DF RESET_IF RESET_SF RESET_AF RESET_TF RESET_NT RESET_PF SET_CF SET_DF "
    "SET_IF TEST_OF TEST_SF TEST_ZF TEST_PF TEST_CF TEST_NT TEST_DF UNDEFINED_OF UNDEFINED_SF "
    "UNDEFINED_ZF UNDEFINED_PF UNDEFINED_AF UNDEFINED_CF RESET_RF TEST_RF TEST_IF TEST_TF TEST_AF "
    "RESET_ZF SET_OF SET_SF SET_ZF SET_AF SET_PF RESET_0F RESET_AC"
)
_BITS = {name: 1 << bit for bit, name in enumerate(EFLAGS.split())}


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand. Names of registers are "" where there is none."""

    kind: int  # REGISTER, CONSTANT or MEMORY
    read: bool
    register: str = ""
    segment: str = ""
    base: str = ""
    index: str = ""


@dataclass(frozen=True, slots=True)
class Detail:
    """One instruction. `reads` and `writes` are registers, those that no operand names among them."""

    mnemonic: str
    text: str  # of the operands
    eflags: int  # what it does to flags, a bit each: `EFLAGS`
    system: bool  # it is one of those that ask for privilege, interrupt, or belong to VMX
    operands: tuple[Operand, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]

    def tests(self, flag: str) -> bool:
        """Tell whether it asks for a flag ("ZF", …)."""
        return bool(self.eflags & _BITS.get(f"TEST_{flag}", 0))

    def changes(self, flag: str) -> bool:
        """Tell whether it writes a flag, or leaves it undefined."""
        hows = ("MODIFY", "RESET", "SET", "UNDEFINED")
        return any(self.eflags & _BITS.get(f"{how}_{flag}", 0) for how in hows)
