# The rest of the kernel, in small: one function for each of the common forms of alternatives outside KVM.
#
# The code is the lab's own, in the forms that the census (census.py) finds most of.

.include "alternative.inc"
.include "features.inc"

X86_FEATURE_XENPV = 8*32 + 16
X86_FEATURE_LA57  = 16*32 + 16
X86_FEATURE_FSRM  = 18*32 + 4

.section .rodata
.balign 2
verw_selector:
    .short 0x18

# A table of functions, as paravirt has one: where each points is known by the time alternatives are applied.
.section .data..read_mostly, "aw", @progbits
.balign 8
.globl ops
ops:
    .quad interrupts_off                # ops[0]: set to what this machine wants
    .quad nop_func                      # ops[1]: nothing to do on this machine
cpu_has_la57:                           # what CPUID said early in boot
    .byte 0

.text

# Entry code: the last steps of a system call. The same clear as before VM-Enter, on the other edge of the kernel.
.globl back_to_user
back_to_user:
    swapgs
    ALTERNATIVE "", "verw verw_selector(%rip)", X86_FEATURE_CLEAR_CPU_BUF
    sysretq

# copy(to in RDI, from in RSI, bytes in RDX): REP MOVSB where the CPU is good at short ones (FSRM), else a loop.
.globl copy
copy:
    ALTERNATIVE "jmp copy_by_words", "", X86_FEATURE_FSRM
    movq %rdi, %rax
    movq %rdx, %rcx
    rep movsb
    ret

copy_by_words:
    movq %rdi, %rax
    movq %rdx, %rcx
    shrq $3, %rcx
    rep movsq
    movl %edx, %ecx
    andl $7, %ecx
1:
    jrcxz 2f
    movb (%rsi), %r8b
    movb %r8b, (%rdi)
    incq %rsi
    incq %rdi
    decq %rcx
    jmp 1b
2:
    ret

# read_user(to in RDI, from in RSI, bytes in RCX): open user memory, copy, close it. SMAP has a lock, others have none.
.globl read_user
read_user:
    ALTERNATIVE "", "stac", X86_FEATURE_SMAP
    ALTERNATIVE "rep movsb", "call copy_slowly", X86_FEATURE_FSRM + NOT
    ALTERNATIVE "", "clac", X86_FEATURE_SMAP
    ret

copy_slowly:
    movq %rcx, %rdx
    jmp copy_by_words

# A paravirtual operation: call through the table; or straight; or, unless under Xen, just the instruction.
.globl turn_interrupts_off
turn_interrupts_off:
    ALTERNATIVE_2 "call *ops(%rip)", "call no_such_call", X86_FEATURE_ALWAYS + DIRECT_CALL, "cli", X86_FEATURE_XENPV + NOT
    ret

# The same where the table says: nothing.
.globl do_nothing
do_nothing:
    ALTERNATIVE "call *ops + 8(%rip)", "call no_such_call", X86_FEATURE_ALWAYS + DIRECT_CALL
    ret

# A question that is asked often and answered once: five levels of page tables? Until boot has patched it, look it up.
.globl five_levels
five_levels:
    ALTERNATIVE_2 "jmp look_it_up", "jmp answer_no", X86_FEATURE_ALWAYS, "", X86_FEATURE_LA57
    movl $1, %eax
    ret

answer_no:
    xorl %eax, %eax
    ret

look_it_up:
    movzbl cpu_has_la57(%rip), %eax
    ret

.globl interrupts_off
interrupts_off:
    cli
    ret

.globl nop_func
nop_func:
    ret

.globl no_such_call                     # never stays in place: patching puts the true target in
no_such_call:
    ud2
