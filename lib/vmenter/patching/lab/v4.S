# October 2025, on the list: version 4 of the series, patch 4/8. All of VERW runs right before VM-Enter; whether
# MMIO needs it is decided before the guest's registers are loaded, and waits in ZF.

.include "alternative.inc"
.include "features.inc"
.include "kvm.inc"

.text

function vmx_vcpu_enter_exit
    enter_exit_begin

    # if (flush configured) flush;
    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush
.Lcleared:
    enter_exit_end

.Lflush:
    movq %rbx, %rdi
    call vmx_l1d_flush
    jmp .Lcleared
end_function vmx_vcpu_enter_exit

function vmx_l1d_flush
    l1d_flush l1d_flush_if_either_flag
end_function vmx_l1d_flush

.macro stash_mmio                       # ZF: need not clear for MMIO
    testl $RUN_MMIO, %ebx
.endm

.macro clear_if_nz
    jz .Lskip_verw\@
    clear_cpu_buffers
.Lskip_verw\@:
.endm

# Two flags are carried through the loads: ZF by TEST, CF by BT. TEST clears CF, BT leaves ZF alone: TEST comes
# first.
function __vmx_vcpu_run
    stub_begin
    ALTERNATIVE_2 "", stash_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, "", X86_FEATURE_CLEAR_CPU_BUF_VM
    btl $0, %ebx                        # CF: RUN_VMRESUME
    load_guest_registers rax, 0
    ALTERNATIVE_2 "", clear_if_nz, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM
    jnc .Lvmlaunch
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
