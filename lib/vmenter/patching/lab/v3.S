# October 2025, on the list: version 3 of the series, patch 1/4, a cure in C that was not taken. The flush says
# whether it flushed; if not, the chain goes on to VERW.

.include "alternative.inc"
.include "kvm.inc"

kernel_version "6.17.0-lab"
X86_FEATURE_CLEAR_CPU_BUF = 3*32 + 18
static_key cpu_buf_vm_clear

.text

function vmx_vcpu_enter_exit
    enter_exit_begin

    # if (flush configured && flushed) ; else if (MMIO only && reaches host MMIO) VERW;
    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush
.Lelse:
    STATIC_LONG_JUMP_IF_ON .Lmmio, cpu_buf_vm_clear
.Lcleared:
    enter_exit_end

.Lflush:
    movq %rbx, %rdi
    call vmx_l1d_flush
    testb %al, %al
    jz .Lelse
    jmp .Lcleared

.Lmmio:
    testl $RUN_MMIO, %ebp
    je .Lcleared
    clear_cpu_buffers
    jmp .Lcleared
end_function vmx_vcpu_enter_exit

function vmx_l1d_flush
    l1d_flush l1d_flush_if_either_flag, tells=1
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

.macro flag_mmio
    STATIC_LONG_JUMP_IF_ON .Lmmio_selected, cpu_buf_vm_clear
.Lflags_done:
    ret
.Lmmio_selected:
    cmpb $0, VCPU_host_mmio(%rdi)
    je .Lflags_done
    orl $RUN_MMIO, %eax
.endm

vcpu_run_function
run_flags_function flag_mmio
update_host_rsp_function
