"""The model of what is left in the buffers at VM-Enter."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab_images import STUB, VM, VM_MMIO, code, lab, patched

from vmenter.code.x86 import IA32_MCU_OPT_CTRL
from vmenter.emulator.buffers import LEAVES_OUT, SECRET, Buffers, left
from vmenter.emulator.machine import HOST_REGISTERS, Machine
from vmenter.emulator.memory import FLUSH_PAGES, STACK_START, VCPU, Owner, VCpu
from vmenter.emulator.trace import LINE

VERW = "verw x86_verw_sel(%rip)\n"
FLUSH = "mov $0x10b, %ecx\nmov $1, %eax\nxor %edx, %edx\nwrmsr\n"


def after(text: str, size: int = 8, **arguments) -> Buffers:
    return left(Machine(code(text)).run("start", **arguments), size)


def test_after_a_skipped_clear_whole_register_saves_are_left():
    """The host's RBX and R12, which the stub saves for its return."""
    buffers = left(Machine(patched(lab(STUB))).run("enter", {"rdi": VCPU, "rsi": 1}))
    saved = {r.value for r in buffers.residues if r.written and r.owner is Owner.STACK}
    assert {HOST_REGISTERS["rbx"], HOST_REGISTERS["r12"], HOST_REGISTERS["rbp"]} <= saved


@pytest.mark.parametrize("features", [(VM,), (VM_MMIO,)])
def test_in_the_merged_form_one_run_flag_is_left(features):
    buffers = left(Machine(patched(lab(STUB), *features)).run("enter", {"rdi": VCPU, "rsi": 5}))
    (flag,) = buffers.residues
    assert (flag.value, flag.owner, flag.written, flag.size) == (5, Owner.FLAGS, False, 4)
    assert flag.instruction == "testl $1, (%rsp)"
    assert flag.where.startswith("enter+")


def test_in_the_placement_of_2019_the_pushes_put_back_what_was_cleared():
    """VERW in C, then a call of a stub that pushes."""
    text = f"{VERW}call stub\nret\nstub: push %rbx\npush %r12\nvmlaunch"
    values = [residue.value for residue in after(text).residues]
    assert values[1:] == [HOST_REGISTERS["rbx"], HOST_REGISTERS["r12"]]


@pytest.mark.parametrize("clear", [VERW, FLUSH])
def test_a_clear_right_before_vm_enter_leaves_nothing(clear):
    buffers = after(f"push %rbx\n{clear}vmlaunch")
    assert buffers.residues == ()
    assert "nothing is left" in buffers.text


def test_a_neutralised_verw_empties_nothing():
    text = f"push %rbx\n{VERW}vmlaunch"
    disabled = after(text, msrs={IA32_MCU_OPT_CTRL: 8})
    assert HOST_REGISTERS["rbx"] in {residue.value for residue in disabled.residues}


def test_the_software_flush_fills_the_entries_with_its_own_lines():
    loop = f"mov ${FLUSH_PAGES:#x}, %edi\nxor %eax, %eax\n1: mov (%rdi, %rax), %rcx\nadd $64, %eax\ncmp $0x10000, %eax\njne 1b\n"
    buffers = after(f"push %rbx\n{loop}vmlaunch")
    assert len(buffers.entries) == 8
    assert all(entry.line >= FLUSH_PAGES for entry in buffers.entries)
    assert {residue.value for residue in buffers.residues} == {0}


def test_an_access_across_two_lines_stands_in_both():
    buffers = after("mov 0x3c(%rdi), %rax\nvmlaunch", registers={"rdi": VCPU})
    assert [entry.line for entry in buffers.entries] == [VCPU, VCPU + LINE]


def test_a_newer_value_at_the_same_place_takes_the_older_ones():
    buffers = after("push %rbx\npop %rax\npush %r12\nvmlaunch")
    assert [residue.value for residue in buffers.residues] == [HOST_REGISTERS["r12"]]


def test_the_entry_unused_for_longest_makes_room():
    text = "mov (%rdi), %eax\nmov 64(%rdi), %eax\nmov (%rdi), %eax\nmov 128(%rdi), %eax\nvmlaunch"
    buffers = after(text, size=2, registers={"rdi": VCPU})
    assert [entry.line for entry in buffers.entries] == [VCPU, VCPU + 128]


@settings(max_examples=50)  # each is assembled, by a process of its own
@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 5))
def test_never_more_entries_than_there_are_and_always_the_lines_used_last(lines, size):
    moves = "\n".join(f"mov {64 * line}(%rdi), %eax" for line in lines)
    buffers = after(f"{moves}\nvmlaunch", size, registers={"rdi": VCPU}, vcpu=VCpu({0: 1}))
    latest = list(dict.fromkeys(reversed(lines)))[:size]
    assert [entry.line for entry in buffers.entries] == [VCPU + 64 * line for line in reversed(latest)]


def test_the_text_says_that_it_is_a_model_and_what_it_leaves_out():
    buffers = after("push %rbx\nvmlaunch")
    assert str(buffers) == buffers.text
    first, line, last = buffers.text.splitlines()
    assert first.startswith("A model of 8 ")
    assert "no measurement, no verdict" in first
    assert line == f"- stack {STACK_START - 8:#x}: {HOST_REGISTERS['rbx']:#018x}, stored by start pushq %rbx"
    assert all(words in last for words in LEAVES_OUT)


def test_secrets_are_the_hosts_register_values_and_nothing_else():
    buffers = after("push %rbx\npush %rax\npush %r15\nvmlaunch")
    assert [residue.value for residue in buffers.secrets] == [HOST_REGISTERS["rbx"], HOST_REGISTERS["r15"]]
    assert {value >> 40 for value in HOST_REGISTERS.values()} == {SECRET}
