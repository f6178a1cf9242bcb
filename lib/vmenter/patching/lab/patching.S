# Small functions with one patchable site each: the samples of notebooks 02 and 03.

.include "alternative.inc"
.include "features.inc"

.section .rodata
.balign 8
verw_selector:                          # the data segment's selector, which VERW wants to look at
    .short 0x18

# Clear the CPU's buffers. (VERW with a memory operand: the microcode of affected CPUs makes it do so.)
.macro clear
    verw verw_selector(%rip)
.endm

# The same, if the run flags on the stack say that this vCPU can reach MMIO.
.macro clear_if_mmio
    testl $4, 8(%rsp)
    jz .Lno_mmio\@
    verw verw_selector(%rip)
.Lno_mmio\@:
.endm

.text

# The idea of 43fb862de8f6 (v6.8): nothing, or clear the CPU's buffers.
.globl clear_or_not
clear_or_not:
    ALTERNATIVE "", clear, X86_FEATURE_CLEAR_CPU_BUF
    ret

# The same for kernels whose patcher cannot relocate VERW: jump over it, or (patched to nothing) run into it.
.globl jump_over
jump_over:
    ALTERNATIVE "jmp 1f", "", X86_FEATURE_CLEAR_CPU_BUF
    clear
1:
    ret

# The seed's choice of three: nothing / clear if the vCPU can reach MMIO / clear always.
.globl three_way
three_way:
    ALTERNATIVE_2 "", clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear, X86_FEATURE_CLEAR_CPU_BUF_VM
    ret

# The same two replacements the other way round: what "the last match wins" then means is notebook 03's question.
.globl three_way_swapped
three_way_swapped:
    ALTERNATIVE_2 "", clear, X86_FEATURE_CLEAR_CPU_BUF_VM, clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO
    ret

# A call that leaves the replacement: its displacement must change with its place.
.globl call_helper
call_helper:
    ALTERNATIVE "", "call helper", X86_FEATURE_SMAP
    ret

# A jump that gets close enough to become a short one.
.globl jump_out
jump_out:
    ALTERNATIVE "", ".byte 0xe9; .long .Lnear - . - 4", X86_FEATURE_SMAP
    nop
.Lnear:
    ret

# Sixteen bytes of padding: more than the longest NOP.
.globl long_padding
long_padding:
    ALTERNATIVE "", "mov %rax, %rbx; mov %rbx, %rcx; mov %rcx, %rdx; clear", X86_FEATURE_SMAP
    ret

# Applies where the feature is absent.
.globl unless_smap
unless_smap:
    ALTERNATIVE "stac", "", X86_FEATURE_SMAP + NOT
    ret

.globl helper
helper:
    ret
