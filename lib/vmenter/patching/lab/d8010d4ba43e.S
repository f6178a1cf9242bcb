# 2025, v6.16, AMD: VERW right before VMRUN, for TSA. X86_FEATURE_CLEAR_CPU_BUF_VM is born here.
#
# Two ways to VM-Enter. Guests whose registers the host may not see (SEV-ES) have a stub of their own; both clear.
# Left out, beside what kvm.inc leaves out: SPEC_CTRL. (What kvm.inc brings along for VMX is not used.)

.include "alternative.inc"
.include "kvm.inc"

kernel_version "6.12.117-lab"
X86_FEATURE_CLEAR_CPU_BUF_VM = 21*32 + 13

VCPU_sev_es       = 0x04                # byte: the guest's registers are encrypted, hardware loads them
VCPU_vmcb01_pa    = 0x30                # address of the block that VMLOAD and VMSAVE use,
VCPU_vmcb_pa      = 0x38                # of the block that VMRUN reads: the guest's state, what the VMCS is to Intel
VCPU_host_save    = 0x40                # of the host's save area: VMSAVE put there what VMRUN does not switch
HOST_SAVE_regs    = 0x300               # in it: room for general registers

.text

# svm_vcpu_run(vcpu in RDI), with what KVM has in a function of its own, svm_vcpu_enter_exit
function svm_vcpu_run
    pushq %rbx
    movq %rdi, %rbx
    cmpb $0, VCPU_sev_es(%rdi)
    jne .Lsev_es
    call __svm_vcpu_run
.Lentered:
    popq %rbx
    ret
.Lsev_es:
    call __svm_sev_es_vcpu_run
    jmp .Lentered
end_function svm_vcpu_run

# RAX and RSP are in the block and switched by VMRUN itself; RDI points to the others and so comes last.
.macro load_guest_registers_but_rax
    load_guest_register rcx, 1, rdi, VCPU_regs
    load_guest_register rdx, 2, rdi, VCPU_regs
    load_guest_register rbx, 3, rdi, VCPU_regs
    load_guest_register rbp, 5, rdi, VCPU_regs
    load_guest_register rsi, 6, rdi, VCPU_regs
    load_guest_register r8, 8, rdi, VCPU_regs
    load_guest_register r9, 9, rdi, VCPU_regs
    load_guest_register r10, 10, rdi, VCPU_regs
    load_guest_register r11, 11, rdi, VCPU_regs
    load_guest_register r12, 12, rdi, VCPU_regs
    load_guest_register r13, 13, rdi, VCPU_regs
    load_guest_register r14, 14, rdi, VCPU_regs
    load_guest_register r15, 15, rdi, VCPU_regs
    movq VCPU_regs + 8 * 7(%rdi), %rdi
.endm

# __svm_vcpu_run(vcpu in RDI). One instruction enters, the first time and every other time: there is nothing to
# choose behind the loads, and no flag that must survive VERW.
function __svm_vcpu_run
    push_host_registers
    pushq VCPU_host_save(%rdi)       # for after the VM-Exit
    pushq %rdi
    movq VCPU_vmcb01_pa(%rdi), %rax
    vmload %rax                         # segments and system call registers, which VMRUN does not switch
    movq VCPU_vmcb_pa(%rdi), %rax
    load_guest_registers_but_rax
    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM
    vmrun %rax
    popq %rax                           # a VM-Exit arrives here
    popq %rax
    vmload %rax
    popq %rbx
    popq %r12
    popq %r13
    popq %r14
    popq %r15
    popq %rbp
    ret
end_function __svm_vcpu_run

# __svm_sev_es_vcpu_run(vcpu in RDI). The guest's registers are none of the host's business. A VM-Exit restores the
# host's from the save area, where VMRUN puts RAX and RSP alone: so the ones to be kept are stored there by hand.
function __svm_sev_es_vcpu_run
    pushq %rbp
    movq %rsp, %rbp
    movq VCPU_host_save(%rdi), %rdx
    movq %rbp, HOST_SAVE_regs + 8 * 5(%rdx)
    movq %r15, HOST_SAVE_regs + 8 * 15(%rdx)
    movq %r14, HOST_SAVE_regs + 8 * 14(%rdx)
    movq %r13, HOST_SAVE_regs + 8 * 13(%rdx)
    movq %r12, HOST_SAVE_regs + 8 * 12(%rdx)
    movq %rbx, HOST_SAVE_regs + 8 * 3(%rdx)
    movq VCPU_vmcb_pa(%rdi), %rax
    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM
    vmrun %rax
    popq %rbp
    ret
end_function __svm_sev_es_vcpu_run
