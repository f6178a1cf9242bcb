"""Facts of the architecture that several rooms need: registers, MSRs, flags, what enters a guest.

Registers by number and the flags: Intel SDM, volume 2, table 3-1, and volume 1, 3.4.3. MSRs: volume 4. What a call
leaves alone: the psABI, 3.2.1.
"""

NUMBERED = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
CALLEE_SAVED = ("rbx", "rbp", "r12", "r13", "r14", "r15")
CALLER_SAVED = ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")  # any call may change them
ARITHMETIC_FLAGS = 0x8D5  # CF, PF, AF, ZF, SF, OF

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

VM_ENTERS = frozenset({"vmlaunch", "vmresume", "vmrun"})  # mnemonics
