# November 2025, v6.19: the series as merged. The run flags are on the stack anyway and can be tested there, after
# the guest's registers are loaded: one ALTERNATIVE_2, no stash. The L1D flush stands alone.

.include "alternative.inc"
.include "features.inc"
.include "kvm.inc"

.text

function vmx_vcpu_enter_exit
    enter_exit_begin
    call vmx_l1d_flush
    enter_exit_end
end_function vmx_vcpu_enter_exit

function vmx_l1d_flush
    STATIC_LONG_JUMP_IF_ON .Lflush_configured, vmx_l1d_should_flush
    ret
.Lflush_configured:
    l1d_flush l1d_flush_if_cpu_flag
end_function vmx_l1d_flush

.macro clear_if_mmio
    testl $RUN_MMIO, 8(%rsp)
    jz .Lskip_verw
    clear_cpu_buffers
.Lskip_verw:
.endm

# __vmx_vcpu_run(vcpu in RDI, guest registers in RSI, run flags in EDX). Only RSP and the flags register are
# switched by the CPU itself: from the loads on, every other register holds a guest's value.
function __vmx_vcpu_run
    push_host_registers
    pushq %rdi                          # for after the VM-Exit: vCPU,
    pushq %rdx                          # flags,
    pushq %rsi                          # registers
    leaq (%rsp), %rsi                   # RSP as a VM-Exit will find it
    call vmx_update_host_rsp
    movq (%rsp), %rax
    load_guest_registers rax, 0
    ALTERNATIVE_2 "", clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM
    testl $RUN_VMRESUME, 8(%rsp)        # ZF: not entered before
    jz .Lvmlaunch
    vmresume
    jmp .Lvmfail
.Lvmlaunch:
    vmlaunch
.Lvmfail:
    stub_failed 24
end_function __vmx_vcpu_run

# The flag is raised only where it will be asked for: static_cpu_has(), an alternative over a jump.
.macro flag_mmio
    ALTERNATIVE "jmp .Lflags_done", "", X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO
    cmpb $0, VCPU_host_mmio(%rdi)
    je .Lflags_done
    orl $RUN_MMIO, %eax
.Lflags_done:
.endm

vcpu_run_function
run_flags_function flag_mmio
update_host_rsp_function
