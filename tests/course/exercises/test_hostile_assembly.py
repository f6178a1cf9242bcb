"""Assembly that is out for harm: whatever it is, the judge answers in words, soon, and nothing is left of it."""

import time

import pytest
from fuzz import EVERYTHING, OFTEN

from vmenter.course.exercises import every

TASKS = every()
HEADS = {  # what an answer must have for its text to be assembled and run at all
    "02-2": "entry:\n",
    "05-3": "",
    "06-1": "",
    "07-1": "stub_begin\n",
    "08-2": "enter_exit_end\n",
    "10-2": '.include "alternative.inc"\nentry:\nALTERNATIVE "", "nop", X86_FEATURE_FSRM\n',
}
TEXTS = (  # for the assembler
    ".rept 1000000000\nnop\n.endr", ".macro again\nagain\n.endm\nagain", ".macro more\nmore\nmore\n.endm\nmore", ".fill 0x10000000000, 1, 0", ".org 0x7fffffff",
    ".space 1 << 62", ".balign 1 << 31", ".p2align 63", '.include "/dev/zero"', '.include "/dev/stdin"', '.include "/etc/passwd"', '.incbin "/dev/zero"',
    '.incbin "/proc/self/mem"', '.include "."', ".abort", '.error "x"', ".end", ".if 1", ".macro x", "\0", "\udcff", "é" * 9000, "nop\n" * 60_000, "x: .quad x - y", '.section .text.x, "awx", @nobits\n.skip 1 << 40',
    ".irp a,1,2,3,4,5,6,7,8\n" * 12 + "nop\n" + ".endr\n" * 12, ".set a, a + 1\n.quad a", "(" * 5000, "movq $" + "9" * 5000 + ", %rax", ".pushsection .altinstructions\n.quad -1, -1, -1\n.popsection",
    ".pushsection .altinstructions\n.rept 9999\n.byte 255\n.endr\n.popsection", '.pushsection __jump_table, "aw"\n.quad 1, 2, 3, 4\n.popsection', '.pushsection .modinfo, "a"\n.asciz "vermagic=99.99"\n.popsection', ".globl vmx_l1d_flush\n.set vmx_l1d_flush, 0",
)  # fmt: skip
RUNS = (  # for the machine
    "jmp .", "1: pushq %rax\njmp 1b", "1: call 1b", "movq $-1, %rcx\nmovq %rsp, %rdi\nrep stosb", "movq $-1, %rcx\nxorl %esi, %esi\nrep lodsq", "movq $0, %rsp\nret", "leaq 1f(%rip), %rax\n1: movb $0xeb, (%rax)\nmovb $0xfe, 1(%rax)\njmp *%rax",
    "jmp *%rsp", "int3", "ud2", "hlt", "syscall", "sysretq", "iretq", "lretq", "movq %rax, %cr3", "movq %rax, %cr0", "lidt (%rsp)", "lgdt (%rsp)", "wbinvd", "int $3", "cli", "rdtsc", "cpuid", "rdrand %rax", "xbegin .", "vmcall", "vmxoff", "monitor", "mwait",
    "movl $0xc0000080, %ecx\nxorl %eax, %eax\nwrmsr", "outb %al, $0x64", "swapgs", "pushq $0x100\npopfq\nnop", "divl %ecx", "fldz", "vaddps %ymm0, %ymm0, %ymm0", "lock cmpxchg16b 3(%rsp)", ".byte 0x0f, 0xff", ".byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90",
)  # fmt: skip
SOON = 60  # seconds of the clock, on a busy machine


def hostile(id_):
    """A part of these, another for each exercise: neither the assembler nor the machine knows which one it is."""
    parts = 3 if EVERYTHING else len(HEADS) * (4 if OFTEN else 8)
    return [HEADS[id_] + text for text in (TEXTS + RUNS)[[*HEADS].index(id_) % parts :: parts]]


@pytest.mark.parametrize("id_", HEADS)
def test_whatever_the_assembly_is_the_judge_answers_in_words(id_):
    for text in hostile(id_):
        start = time.monotonic()
        feedback = TASKS[id_].check(text)
        assert not feedback.passed, text
        assert feedback.message.strip()
        assert "Traceback" not in feedback.message
        assert time.monotonic() - start < SOON, text[:80]
