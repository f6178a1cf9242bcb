"""The machine: where a run ends, what an emulator gets wrong, and that each run begins anew."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab_images import CLEAR, STUB, VM, VM_MMIO, code, lab, patched
from places import TESTS

import vmenter
from vmenter import LabError
from vmenter.code.image import MODULE_BASE, from_bytes
from vmenter.code.x86 import FB_CLEAR_DIS, IA32_FLUSH_CMD, IA32_MCU_OPT_CTRL
from vmenter.emulator.choice import NAMES, OVERRIDE
from vmenter.emulator.machine import HOST_REGISTERS, TICKS, Budget, Machine
from vmenter.emulator.memory import DATA_SELECTOR, FLUSH_PAGES, GS_BASE, LAB_BASE, VCPU, VCpu, kernel_address
from vmenter.emulator.trace import End, EventKind
from vmenter.patching.lab import assemble

CF, ZF = 1, 1 << 6


@pytest.fixture(autouse=True, params=NAMES)
def cpu(request, monkeypatch):
    """The CPU that every machine in these tests has, in other processes too."""
    monkeypatch.setenv(OVERRIDE, request.param)
    return request.param


def run(text: str, **arguments):
    return Machine(code(text)).run("start", **arguments)


def registers_after(text: str, **arguments) -> dict[str, int]:
    machine = Machine(code(text))
    machine.run("start", **arguments)
    return machine.registers()


# --- where a run ends ---


@pytest.mark.parametrize("instruction", ["vmlaunch", "vmresume", "vmrun %rax"])
def test_a_run_ends_at_vm_enter_and_names_the_instruction(instruction):
    trace = run(f"nop\n{instruction}\nnop")
    assert (trace.end, trace.vm_enter) == (End.VM_ENTER, instruction.split()[0].upper())
    assert trace.instructions[-1].text == instruction
    assert [event.kind for event in trace.events] == [EventKind.VM_ENTER]


def test_a_run_ends_when_the_function_returns():
    trace = run("mov $7, %eax\nret")
    assert (trace.end, trace.vm_enter, len(trace.steps)) == (End.RETURN, None, 2)


def test_a_run_may_begin_at_an_address():
    image = code("nop\nvmlaunch")
    assert len(Machine(image).run(image.symbols.get("start").address + 1).steps) == 1


def test_an_endless_loop_ends_with_the_budget_of_instructions():
    trace = Machine(code("1: jmp 1b"), budget=Budget(instructions=5000)).run("start")
    assert trace.end is End.BUDGET
    assert len(trace.steps) == 5000


@pytest.mark.parametrize(("rounds", "end"), [(49_000, End.VM_ENTER), (51_000, End.BUDGET)])
def test_a_run_may_take_100_000_instructions_and_no_more(rounds, end):
    trace = Machine(code(f"movl ${rounds}, %ecx\n1: decl %ecx\njnz 1b\nvmlaunch")).run("start")
    assert trace.end is end


def test_an_endless_loop_ends_with_the_budget_of_time():
    trace = Machine(code("1: jmp 1b"), budget=Budget(instructions=1 << 40, seconds=0)).run("start")
    assert trace.end is End.BUDGET
    assert len(trace.steps) < 10_000


def test_a_budget_may_be_smaller_than_the_interval_of_looks_at_the_clock():
    assert len(Machine(code("1: jmp 1b"), budget=Budget(instructions=3)).run("start").steps) == 3


def test_a_string_instruction_that_repeats_is_one_step_but_each_round_counts_against_the_budget():
    clear = "mov $0x71000000, %edi\nmov ${}, %ecx\nrep stosb\nret"
    trace = run(clear.format(100))
    assert [i.mnemonic for i in trace.instructions] == ["movl", "movl", "rep stosb", "retq"]
    assert [access.step for access in trace.accesses] == [2] * 100 + [3]
    trace = Machine(code(clear.format("0x8000")), budget=Budget(instructions=2000)).run("start")
    assert (trace.end, len(trace.steps)) == (End.BUDGET, 3)


def test_a_run_with_more_accesses_than_fit_ends_with_the_budget():
    many = "1: " + "fxsave 0x71000000\n" * 20 + "jmp 1b"
    trace = Machine(code(many), budget=Budget(instructions=4096)).run("start")
    assert trace.end is End.BUDGET
    assert len(trace.steps) < 4096


@pytest.mark.parametrize("more", [0, 1])
def test_it_is_four_accesses_an_instruction_of_the_budget_and_no_more(more):
    limit = TICKS + 100
    one = len(Machine(code("fxsave 0x71000000\nvmlaunch")).run("start").raw_accesses)
    saves = 4 * limit // one + more
    trace = Machine(
        code(f".rept {saves}\nfxsave 0x71000000\n.endr\n.rept {TICKS}\nnop\n.endr\nvmlaunch"),
        budget=Budget(instructions=limit),
    ).run("start")
    assert saves + TICKS < limit
    assert trace.end is (End.BUDGET if more else End.VM_ENTER)


# --- what the emulator gets wrong: FACTS on its traps ---


def test_verw_sets_zf_and_leaves_cf_alone():
    for carry in ("stc", "clc"):
        flags = registers_after(
            f"{carry}\nmov $1, %eax\ntest %eax, %eax\n{carry}\nverw x86_verw_sel(%rip)\nvmlaunch"
        )
        assert flags["rflags"] & ZF
        assert bool(flags["rflags"] & CF) == (carry == "stc")


def test_verw_of_the_images_own_selector_sets_zf():
    own = f"verw sel(%rip)\nvmlaunch\nsel: .short {DATA_SELECTOR}"
    assert registers_after(own)["rflags"] & ZF


@pytest.mark.parametrize("selector", ["0", "0x10", "0x40"])
def test_verw_looks_at_the_descriptor_it_is_told_to(selector):
    zf_first = "xor %eax, %eax\n"
    flags = registers_after(f"{zf_first}verw sel(%rip)\nvmlaunch\nsel: .short {selector}")["rflags"]
    assert not flags & ZF  # nothing, code, beyond the table: no writable segment


@pytest.mark.parametrize("name", ["mds_verw_sel", "x86_verw_sel"])
def test_both_names_of_the_kernels_selector_are_known(name):
    assert registers_after(f"verw {name}(%rip)\nvmlaunch")["rflags"] & ZF


STEPPED = ["vmwrite %rax, %rcx", "vmread %rcx, %rax", "vmload %rax", "vmsave %rax", "clgi", "stgi"]


@pytest.mark.parametrize("instruction", STEPPED)
def test_what_the_emulator_does_not_know_but_kernels_use_is_stepped_over(instruction):
    trace = run(f"{instruction}\nnop\n{instruction}\nvmlaunch")
    assert trace.vm_enter == "VMLAUNCH"
    assert len(trace.steps) == 4


@pytest.mark.parametrize("instruction", STEPPED[:2])
def test_vmread_and_vmwrite_leave_the_flags_of_success(instruction):
    """JBE is how KVM looks for a failure."""
    trace = run(f"stc\n{instruction}\njbe 1f\nvmlaunch\n1: ud2")
    assert trace.vm_enter == "VMLAUNCH"


@pytest.mark.parametrize(
    "instruction",
    ["ud2", "vmcall", "vmptrld (%rsp)", "vmxon (%rsp)", "invept (%rsp), %rax", "getsec", ".byte 0x06"],
)
def test_any_other_instruction_the_emulator_rejects_is_an_error_and_no_vm_enter(instruction):
    with pytest.raises(LabError, match=r"start\+0x1, .*does not know"):
        run(f"nop\n{instruction}\nvmlaunch")


def test_vmrun_ends_a_run_even_where_the_emulator_would_execute_it():
    svme = "mov $0xc0000080, %ecx\nrdmsr\nor $0x1000, %eax\nwrmsr\n"
    for instruction in ("vmrun %rax", "vmload %rax\nvmsave %rax\nstgi\nclgi\nvmrun %rax"):
        assert run(svme + instruction).vm_enter == "VMRUN"


def test_no_more_than_an_instruction_is_ever_read_whatever_size_the_emulator_tells(monkeypatch):
    machine = Machine(code("nop\nvmwrite %rax, %rcx\nstac\nclac\nvmlaunch"))
    read, sizes = machine._cpu.read, []
    monkeypatch.setattr(machine._cpu, "read", lambda address, size: sizes.append(size) or read(address, size))
    assert machine.run("start").vm_enter == "VMLAUNCH"
    assert sizes
    assert max(sizes) <= 15


def test_an_instruction_at_the_very_end_of_memory_is_read():
    image = from_bytes(assemble(".skip 4093\n.globl start\nstart: vmlaunch\n"), "a test", LAB_BASE)
    machine = Machine(image)
    assert machine.layout.image_range[1] == image.symbols.get("start").address + 3
    assert machine.run("start").vm_enter == "VMLAUNCH"


@pytest.mark.parametrize(
    ("size", "last"),
    [
        (2, ".byte 0x48, 0xb8"),
        (1, ".byte 0x0f"),
        (1, "nop"),
        (5, ".byte 0x48, 0xc7, 0x05, 0, 0"),
        (2, "nop\n.byte 0xe8"),
    ],
)
def test_code_that_runs_off_the_end_of_memory_is_an_error_that_says_so(size, last):
    """Unicorn says so of the first instruction in a row, the interpreter of the last."""
    text = f".skip {4096 - size}\n.globl start\nstart: {last}\n"
    with pytest.raises(LabError, match=r"^after .*: the code goes on at 0x1000.*, where nothing is mapped$"):
        Machine(from_bytes(assemble(text), "a test", LAB_BASE)).run("start")


def test_code_patched_after_it_ran_runs_as_patched():
    image = lab(STUB)
    machine = Machine(image)
    plain, with_verw = patched(image), patched(image, VM)
    for _ in range(3):
        machine.load(plain)
        assert machine.run("enter", {"rdi": VCPU}).verw == 0
        machine.load(with_verw)
        assert machine.run("enter", {"rdi": VCPU}).verw == 1


def test_a_trace_keeps_the_code_it_ran_when_other_code_is_loaded():
    image = lab(STUB)
    machine = Machine(patched(image, VM))
    trace = machine.run("enter", {"rdi": VCPU})
    machine.load(patched(image))
    machine.run("enter", {"rdi": VCPU})
    assert sum(i.mnemonic == "verw" for i in trace.instructions) == 1


def test_an_image_of_another_shape_can_be_loaded():
    machine = Machine(code("ret"))
    machine.load(lab("start: vmlaunch\n.data\n.skip 20000, 1\n"))
    assert machine.run("start").vm_enter == "VMLAUNCH"


def test_an_image_in_the_upper_half_is_refused_with_the_base_to_use():
    elf = vmenter_object("start: vmlaunch")
    with pytest.raises(LabError, match=f"load it with base={LAB_BASE:#x}"):
        Machine(from_bytes(elf, "a test", MODULE_BASE))


def vmenter_object(text: str) -> bytes:
    from vmenter.patching.lab import assemble

    return assemble(text + "\n")


def test_an_address_has_its_counterpart_in_a_kernel():
    elf = vmenter_object(".globl start\nnop\nstart: vmlaunch")
    there = from_bytes(elf, "there", MODULE_BASE).symbols.get("start").address
    here = from_bytes(elf, "here", LAB_BASE).symbols.get("start").address
    assert kernel_address(here) == there
    assert kernel_address(VCPU) == VCPU


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mov 0, %rax", r"start, .*reads 8 bytes at 0x0, .*null pointer"),
        ("movb $1, 8", r"start, .*writes 1 bytes at 0x8, .*null pointer"),
        ("xor %eax, %eax\njmp *%rax", r"after start\+0x2, .*goes on at 0x0"),
        ("mov $0x5eadbeef, %eax\nmov (%rax), %rcx", "reads 8 bytes at 0x5eadbeef, where nothing is mapped"),
        ("mov $-0x80000000, %rax\njmp *%rax", "goes on at 0xffffffff80000000"),
        (
            "mov $0x7ff0000010000000, %rax\njmp *%rax",
            r"after start\+0xa, jmpq \*%rax: .* goes on at 0x7ff0000010000000",
        ),
        ("xor %ecx, %ecx\ndiv %ecx", r"start\+0x2, divl %ecx: the CPU raises an exception"),
        ("int3", "start, int3: the CPU raises an exception"),
        ("int $0x80", "the CPU raises an exception"),
        ("hlt\nvmlaunch", "start, hlt: the CPU halts"),
        ("movb $0x90, start(%rip)\nret", "start, .*writes to 0x10000000, which is code"),
    ],
)
def test_where_a_cpu_would_fault_the_error_names_the_place(text, words):
    with pytest.raises(LabError, match=words):
        run(text)


def test_a_start_nothing_is_mapped_at_is_an_error():
    with pytest.raises(LabError, match="goes on at 0x1234, where nothing is mapped"):
        Machine(code("ret")).run(0x1234)


def test_a_write_to_nowhere_does_not_spoil_the_next_run():
    machine = Machine(code("mov %rax, (%rdi)\nvmlaunch"))
    with pytest.raises(LabError, match="writes 8 bytes at 0x5eadbee0, where nothing is mapped"):
        machine.run("start", {"rdi": 0x5EADBEE0})
    assert machine.run("start", {"rdi": VCPU}).vm_enter == "VMLAUNCH"


def test_an_unknown_symbol_or_register_is_an_error():
    with pytest.raises(LabError, match="no symbol named 'stert'"):
        Machine(code("ret")).run("stert")
    with pytest.raises(LabError, match="no register named 'eax'"):
        run("ret", registers={"eax": 1})


# --- each run begins anew ---

VANDAL = """
    movq $-1, counter(%rip)
    movq $-1, %gs:counter
    movq $-1, 0x20(%rdi)
    push $-1
    pop %rax
    std
    stc
    mov $-1, %rbx
    mov $0xc0000101, %ecx
    mov $0x12345000, %eax
    xor %edx, %edx
    wrmsr
    mov $0x123, %ecx
    mov $8, %eax
    wrmsr
    lgdt zeros(%rip)
    pcmpeqd %xmm0, %xmm0
"""
LOOK = """
.globl look
look:
    pushf
    pop %rax
    mov counter(%rip), %rsi
    add %gs:counter, %rsi
    add 0x20(%rdi), %rsi
    add -0x10(%rsp), %rsi
    mov $0x123, %ecx
    rdmsr
    movq %xmm0, %r8
    verw x86_verw_sel(%rip)
    setz %r9b
    vmlaunch
.data
.balign 8
counter: .quad 5
zeros: .quad 0, 0
"""


@pytest.mark.parametrize(
    "ending", ["vmlaunch", "ret", "1: jmp 1b", "mov 0, %rax", "xor %eax, %eax\nmov %rax, %cr0\nud2"]
)
def test_a_run_leaves_nothing_behind_however_it_ended(ending):
    image = lab(f".globl vandal\nvandal:{VANDAL}{ending}\n{LOOK}")
    vcpu = VCpu({0x20: 77})
    fresh = Machine(image)
    expected = fresh.run("look", {"rdi": VCPU}, vcpu)
    registers = fresh.registers()
    assert registers["rsi"] == 5 + 5 + 77 + 0
    machine = Machine(image, budget=Budget(instructions=2000))
    for _ in range(2):
        with suppress(LabError):
            machine.run("vandal", {"rdi": VCPU}, vcpu, {"counter": 9}, {IA32_MCU_OPT_CTRL: 1})
        again = machine.run("look", {"rdi": VCPU}, vcpu)
        assert machine.registers() == registers
        assert again.accesses == expected.accesses
        assert again.events == expected.events
        assert again.steps == expected.steps


def test_another_vcpu_takes_the_place_of_the_last():
    machine = Machine(code("mov 0x2008(%rdi), %rax\nret"))
    for value in (1, 2, 1):
        trace = machine.run("start", {"rdi": VCPU}, VCpu({0x2008: value}))
        assert machine.registers()["rax"] == value
        assert trace.accesses[0].value == value
    machine.run("start", {"rdi": VCPU})
    assert machine.registers()["rax"] == VCPU


def test_an_interrupt_from_the_keyboard_comes_through_and_the_machine_lives_on(monkeypatch):
    machine = Machine(code("nop\ncall 1f\n1: vmlaunch"))
    with monkeypatch.context() as patch:
        patch.setattr(machine, "_special", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            machine.run("start")
    assert machine.run("start").vm_enter == "VMLAUNCH"


def test_writes_to_code_that_failed_a_run_are_gone_in_the_next():
    image = lab("start: movb $0x90, victim(%rip)\nvictim: ret\nlook: jmp victim\n")
    machine = Machine(image)
    for _ in range(2):
        with pytest.raises(LabError, match="which is code"):
            machine.run("start")
        assert [i.mnemonic for i in machine.run("look").instructions] == ["jmp", "retq"]


@settings(deadline=None)  # a busy machine must not fail a test
@given(st.lists(st.sampled_from([(), (VM,), (VM_MMIO,), (VM, VM_MMIO), (CLEAR,)]), max_size=4), st.integers(0, 7))
def test_a_reused_machine_and_a_fresh_one_leave_the_same_trace(history, flags):
    image = lab(STUB)
    machine = Machine(image)
    for features in history:
        machine.load(patched(image, *features))
        machine.run("enter", {"rdi": VCPU, "rsi": flags ^ 5})
        reused = machine.run("enter", {"rdi": VCPU, "rsi": flags})
        fresh = Machine(patched(image, *features)).run("enter", {"rdi": VCPU, "rsi": flags})
        assert (reused.steps, reused.accesses, reused.events) == (fresh.steps, fresh.accesses, fresh.events)
        clears = VM in features or (VM_MMIO in features and bool(flags & 4))
        assert reused.verw == clears
        assert reused.vm_enter == ("VMRESUME" if flags & 1 else "VMLAUNCH")


def test_memory_stays_bounded_over_many_runs_and_many_machines():
    script = """
from lab_images import lab, STUB
from peak import peak
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import VCPU
image = lab(STUB)
machine = Machine(image)
for _ in range(100): machine.run("enter", {"rdi": VCPU})
for _ in range(10): Machine(image).run("enter", {"rdi": VCPU})
before = peak()
for _ in range(10_000): machine.run("enter", {"rdi": VCPU})
for _ in range(100): machine.load(image)
after_runs = peak()
for _ in range(60): Machine(image).run("enter", {"rdi": VCPU})
print(after_runs - before, peak() - after_runs)
"""
    paths = [str(TESTS), str(Path(vmenter.__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    runs, machines = map(int, done.stdout.split())  # bytes
    assert runs < 20 << 20
    assert machines < 60 << 20


# --- what the code under test finds ---


def test_registers_hold_the_arguments_else_the_hosts_own_values_or_zero():
    machine = Machine(code("vmlaunch"))
    machine.run("start", {"rdi": VCPU, "rdx": -1})
    found = machine.registers()
    assert (found["rdi"], found["rdx"], found["rax"]) == (VCPU, (1 << 64) - 1, 0)
    assert {name: found[name] for name in HOST_REGISTERS} == HOST_REGISTERS
    assert found["rsp"] % 16 == 8


def test_words_of_the_vcpu_that_nobody_named_lead_back_into_it():
    assert run("mov 0x1230(%rdi), %rax\nmov 0x68(%rax), %rax\nmov (%rax), %rax\nvmlaunch", registers={"rdi": VCPU})


def test_a_field_outside_the_vcpu_is_an_error():
    with pytest.raises(LabError, match="vCPU field at 0xfffc"):
        run("ret", vcpu=VCpu({0xFFFC: 1}))


def test_variables_can_be_set_by_name_and_by_address():
    text = "mov variable(%rip), %rax\nmov %gs:variable, %rcx\nmov elsewhere(%rip), %rdx\nret\n.data\nvariable: .quad 3"
    machine = Machine(code(text))
    machine.run("start")
    assert machine.registers()["rax"] == machine.registers()["rcx"] == 3
    machine.run("start", memory={"variable": 4, "elsewhere": b"\5" + bytes(7)})
    found = machine.registers()
    assert (found["rax"], found["rcx"], found["rdx"]) == (4, 4, 5)
    variable = machine.layout.address("variable")
    trace = machine.run("start", memory={GS_BASE + variable: 6})
    assert (machine.registers()["rax"], machine.registers()["rcx"]) == (3, 6)
    assert [access.value for access in trace.accesses[:2]] == [3, 6]


def test_code_is_no_variable_and_what_is_not_mapped_cannot_be_set():
    with pytest.raises(LabError, match="start is code; patch the image"):
        run("ret", memory={"start": b"\x90"})
    with pytest.raises(LabError, match="outside the machine's memory"):
        run("ret", memory={0: 1})


def test_this_cpus_copy_of_a_variable_is_found_as_kernels_find_it():
    """Either %gs:variable, or the variable's address and this_cpu_off."""
    text = """
        lea variable(%rip), %rax
        add %gs:this_cpu_off(%rip), %rax
        movq $9, (%rax)
        mov %gs:variable(%rip), %rcx
        mov variable(%rip), %rdx
        mov %gs:0x28, %rsi
        ret
        .section .data..percpu, "aw"
        variable: .quad 3
    """
    found = registers_after(text)
    assert (found["rcx"], found["rdx"], found["rsi"]) == (9, 3, 0)


def test_an_undefined_function_returns_what_the_caller_says_or_just_returns():
    image = code("mov $1, %eax\ncall helper\nret")
    for stub, expected in (("ret", 1), (0, 0), (-1, (1 << 64) - 1)):
        machine = Machine(image, stubs={"helper": stub})
        trace = machine.run("start")
        assert machine.registers()["rax"] == expected
        assert "helper" in {trace.where(step) for step in range(len(trace.steps))}


def test_an_undefined_variable_holds_what_the_caller_says_for_all_cpus():
    machine = Machine(code("mov word(%rip), %eax\nadd %gs:word(%rip), %eax\nret"), stubs={"word": b"\x15\0\0\0"})
    machine.run("start")
    assert machine.registers()["rax"] == 42


@pytest.mark.parametrize(
    ("stubs", "words"),
    [
        ({"helpr": "ret"}, "'helpr', which is no undefined symbol"),
        ({"helper": "return"}, "'return' is neither"),
        ({"helper": bytes(4097)}, "4097 bytes; there is room for 4096"),
    ],
)
def test_a_stub_that_cannot_be_is_an_error(stubs, words):
    with pytest.raises(LabError, match=words):
        Machine(code("call helper\nret"), stubs=stubs)


def test_rdmsr_finds_what_the_caller_gave_and_what_the_code_wrote():
    text = """
        mov $0x123, %ecx
        rdmsr
        mov %eax, %esi
        mov %edx, %edi
        or $8, %eax
        wrmsr
        rdmsr
        ret
    """
    machine = Machine(code(text))
    trace = machine.run("start", msrs={IA32_MCU_OPT_CTRL: 0x5_0000_0001})
    found = machine.registers()
    assert (found["rsi"], found["rdi"], found["rax"], found["rdx"]) == (1, 5, 9, 5)
    assert [event.kind for event in trace.events] == [EventKind.FB_CLEAR_DIS_SET]


def test_rdmsr_of_an_msr_nobody_spoke_of_is_the_emulators():
    assert registers_after("mov $0xc0000101, %ecx\nrdmsr\nret")["rdx"] == GS_BASE >> 32


def test_wrmsrns_counts_as_wrmsr():
    text = f"mov ${IA32_FLUSH_CMD}, %ecx\nmov $1, %eax\n.byte 0x0f, 0x01, 0xc6\nvmlaunch"
    assert run(text).cleared_by is EventKind.L1D_FLUSH


def test_the_pages_for_the_software_flush_are_there():
    found = registers_after("mov pages(%rip), %rdi\nmov 0xfff8(%rdi), %rax\nret", memory={"pages": FLUSH_PAGES})
    assert found["rax"] == 0


def test_only_verw_with_a_memory_operand_clears():
    """nospec-branch.h and the microcode's documentation: the form with a register clears nothing."""
    assert run("verw %ax\nvmlaunch").verw == 0
    assert run("verw (%rdi)\nvmlaunch", registers={"rdi": VCPU}).verw == 1
    assert run("verw %gs:0\nvmlaunch").verw == 1


def test_a_verw_that_runs_while_fb_clear_dis_is_set_from_the_start_is_neutralised():
    assert run("verw x86_verw_sel(%rip)\nvmlaunch", msrs={IA32_MCU_OPT_CTRL: FB_CLEAR_DIS}).neutralised
    assert not run("verw x86_verw_sel(%rip)\nvmlaunch").neutralised


def test_importing_the_machine_imports_no_emulator_and_no_decoder():
    words = "import sys, vmenter.emulator.machine, vmenter.emulator.buffers, vmenter.patching.static_keys\n"
    check = words + "assert not {'unicorn', 'capstone', 'elftools'} & set(sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(vmenter.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", check], env=environment, check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_machine_reserves_little_and_runs_where_a_learner_may_have_little():
    words = """if True:
        import resource
        from lab_images import STUB, VM, lab, patched
        from vmenter.emulator.machine import Machine
        from vmenter.emulator.memory import VCPU
        image = patched(lab(STUB), VM)
        arguments = {"rdi": VCPU, "rsi": 5}
        Machine(image).run("enter", arguments)
        def reserved():
            return int(next(line for line in open("/proc/self/status") if line.startswith("VmData:")).split()[1]) >> 10
        before = reserved()
        machines = [Machine(image) for _ in range(4)]
        assert reserved() - before < 4 * 64, (before, reserved())
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
        Machine(image).run("enter", arguments)
    """
    done = subprocess.run([sys.executable, "-c", words], cwd=TESTS, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
