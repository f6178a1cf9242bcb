# 43fb862de8f6 in v5.10.y to v6.1.y. Their patcher cannot relocate VERW, which reads its selector RIP-relative. So
# VERW stands in the code, always, behind a jump over it; the alternative is empty and turns the jump into NOPs.

.include "alternative_early.inc"
.include "kvm.inc"

kernel_version "6.1.192-lab"
X86_FEATURE_CLEAR_CPU_BUF = 11*32 + 18
static_key mmio_stale_data_clear

.text

function vmx_vcpu_enter_exit
    enter_exit_begin

    # if (flush configured) flush; else if (MMIO only && device passed through) VERW;
    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush
    STATIC_LONG_JUMP_IF_ON .Lmmio, mmio_stale_data_clear
.Lcleared:
    enter_exit_end

.Lflush:
    movq %rbx, %rdi
    call vmx_l1d_flush
    jmp .Lcleared

.Lmmio:
    movq VCPU_kvm(%rbx), %rax
    cmpl $0, KVM_assigned_devices(%rax)
    je .Lcleared
    clear_cpu_buffers
    jmp .Lcleared
end_function vmx_vcpu_enter_exit

function vmx_l1d_flush
    l1d_flush l1d_flush_if_either_flag
end_function vmx_l1d_flush

# VERW writes ZF, so the choice between VMLAUNCH and VMRESUME has moved to CF, which BT sets
# and VERW leaves alone (706a189dcf74).
function __vmx_vcpu_run
    stub_begin
    btl $0, %ebx                        # CF: RUN_VMRESUME
    load_guest_registers rax, 0
    ALTERNATIVE "jmp .Lskip_verw", "", X86_FEATURE_CLEAR_CPU_BUF
    clear_cpu_buffers
.Lskip_verw:
    jnc .Lvmlaunch
    vmresume
    jmp .Lvmfail
.Lvmlaunch:
    vmlaunch
.Lvmfail:
    stub_failed 24
end_function __vmx_vcpu_run

vcpu_run_function
run_flags_function
update_host_rsp_function
