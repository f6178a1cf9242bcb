# 2018, v4.19 to v5.1: L1TF only. The L1D flush is all that may clear anything before VM-Enter.

.include "alternative_early.inc"
.include "kvm.inc"

kernel_version "5.0.0-lab"

.text

# vmx_vcpu_run(vcpu in RDI)
function vmx_vcpu_run
    pushq %rbx
    movq %rdi, %rbx

    # if (flush configured) flush;
    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush
.Lcleared:

    load_guest_cr2
    movq %rbx, %rdi
    leaq VCPU_regs(%rbx), %rsi
    movzbl VCPU_launched(%rbx), %edx
    call __vmx_vcpu_run
    popq %rbx
    ret

.Lflush:
    movq %rbx, %rdi
    call vmx_l1d_flush
    jmp .Lcleared
end_function vmx_vcpu_run

function vmx_l1d_flush
    l1d_flush l1d_flush_if_either_flag
end_function vmx_l1d_flush

# __vmx_vcpu_run(vcpu in RDI, guest registers in RSI, launched in DL), in the form of v5.1 to v5.18: CMP decides
# early between VMLAUNCH and VMRESUME, and ZF carries the decision through the loads and through a call. (Up to
# v5.0 the same steps are inline assembly in C.)
function __vmx_vcpu_run
    push_host_registers
    pushq %rsi                          # the registers' address, for after the VM-Exit
    movb %dl, %bl
    leaq -8(%rsp), %rsi                 # RSP as it will be inside vmx_vmenter
    call vmx_update_host_rsp
    movq (%rsp), %rax
    cmpb $0, %bl                        # ZF: not entered before
    load_guest_registers rax, 0
    call vmx_vmenter
    stub_failed 8
end_function __vmx_vcpu_run

function vmx_vmenter
    je 1f
    vmresume
    ret
1:
    vmlaunch
    ret
end_function vmx_vmenter

update_host_rsp_function
