# 2022, v5.19: MMIO Stale Data. A third arm on the same chain, for VMs with a device passed through.

.include "alternative_early.inc"
.include "kvm.inc"

kernel_version "5.19.0-lab"
static_key mds_user_clear
static_key mmio_stale_data_clear

.text

function vmx_vcpu_enter_exit
    enter_exit_begin

    # if (flush configured) flush; else if (MDS, TAA) VERW; else if (MMIO && device passed through) VERW;
    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush
    STATIC_LONG_JUMP_IF_ON .Lverw, mds_user_clear
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
.Lverw:
    clear_cpu_buffers
    jmp .Lcleared
end_function vmx_vcpu_enter_exit

function vmx_l1d_flush
    l1d_flush l1d_flush_if_either_flag
end_function vmx_l1d_flush

# The stub of v5.19 to v6.7: TEST decides between VMLAUNCH and VMRESUME, and ZF carries the decision through the
# loads.
function __vmx_vcpu_run
    stub_begin
    testb $RUN_VMRESUME, %bl            # ZF: not entered before
    load_guest_registers rax, 0
    jz .Lvmlaunch
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
