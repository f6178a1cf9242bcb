"""Facts of the architecture that several rooms need: registers, MSRs, flags, what enters a guest.

Registers by number and the flags: Intel SDM, volume 2, table 3-1, and volume 1, 3.4.3. MSRs: volume 4. What a call
leaves alone: the psABI, 3.2.1. VM-Enter: volume 3, VMLAUNCH/VMRESUME; AMD's APM, volume 3,
VMRUN.
"""

NUMBERED = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
CALLEE_SAVED = ("rbx", "rbp", "r12", "r13", "r14", "r15")
CALLER_SAVED = ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")  # any call may change them
CF, PF, AF, ZF, SF, TF, DF, OF = 1, 1 << 2, 1 << 4, 1 << 6, 1 << 7, 1 << 8, 1 << 10, 1 << 11
ARITHMETIC_FLAGS = CF | PF | AF | ZF | SF | OF
MASK = {1: 0xFF, 2: 0xFFFF, 4: 0xFFFF_FFFF, 8: 0xFFFF_FFFF_FFFF_FFFF}  # by an operand's size in bytes
ADDRESS_MASK = MASK[8]

IA32_SPEC_CTRL = 0x48
IA32_PRED_CMD = 0x49
IA32_FLUSH_CMD = 0x10B  # bit 0: write back and invalidate the L1 data cache
IA32_MCU_OPT_CTRL = 0x123
FB_CLEAR_DIS = 1 << 3  # of IA32_MCU_OPT_CTRL: VERW does not clear the fill buffers
MSRS = {
    IA32_SPEC_CTRL: "IA32_SPEC_CTRL",
    IA32_PRED_CMD: "IA32_PRED_CMD",
    IA32_FLUSH_CMD: "IA32_FLUSH_CMD",
    IA32_MCU_OPT_CTRL: "IA32_MCU_OPT_CTRL",
}

VM_ENTER_CODE = {"VMLAUNCH": b"\x0f\x01\xc2", "VMRESUME": b"\x0f\x01\xc3", "VMRUN": b"\x0f\x01\xd8"}
VM_ENTERS = frozenset(name.lower() for name in VM_ENTER_CODE)  # mnemonics


def vmx_enter(*, before: bool) -> str:
    """Return by which instruction VMX enters a guest: VMRESUME one that was entered before, else VMLAUNCH."""
    return "VMRESUME" if before else "VMLAUNCH"
