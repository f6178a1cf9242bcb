# 2024, v6.8: VERW for MDS moves to the last place before VM-Enter, as an alternative. The MMIO arm stays in C.

.include "alternative.inc"
.include "kvm.inc"

kernel_version "6.12.117-lab"
X86_FEATURE_CLEAR_CPU_BUF = 3*32 + 18
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

# The stub of v6.8 to v6.18. VERW writes ZF, so the choice between VMLAUNCH and VMRESUME has moved to CF, which BT
# sets and VERW leaves alone (706a189dcf74).
function __vmx_vcpu_run
    stub_begin
    btl $0, %ebx                        # CF: RUN_VMRESUME
    load_guest_registers rax, 0
    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF
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
