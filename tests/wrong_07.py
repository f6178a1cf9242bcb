"""Notebook 07's exercises: wrong answers, each with words that must be in the reply."""

from answers import altered

TIDY = "    andl $RUN_VMRESUME, %ebx            # the other run flags are used up\n"
LOADS = "    load_guest_registers rax, 0\n"


def stub(*changes):
    """The repaired stub of 07-1 with something wrong; each change must fit just once."""
    return altered("07-1", *changes)


BT, STASH, CHOICE = (
    line + "\n"
    for start in ("    btl", '    ALTERNATIVE_2 "", stash', '    ALTERNATIVE_2 "", clear')
    for line in stub().splitlines()
    if line.startswith(start)
)

WRONG = {
    "07-1": [
        (
            stub((STASH + BT, BT + STASH)),
            "entered before: VMLAUNCH ran, VMRESUME is due. jnc reads CF, last written by testl",
        ),
        (stub((BT, BT + TIDY)), "jnc reads CF, last written by andl"),
        (stub((STASH, STASH + TIDY)), "VERW ran, and nothing asked for it. jz reads ZF, last written by andl"),
        (stub((STASH, TIDY + STASH)), "a clear is owed, and nothing cleared. jz reads ZF, last written by testl"),
        (
            stub((BT, BT + "    incl %ecx\n")),
            "VERW ran, and nothing asked for it. jz reads ZF, last written by incl",
        ),
        (
            stub((BT, ""), (CHOICE, "    movl 8(%rsp), %ebx\n    btl $0, %ebx\n" + CHOICE)),
            "RBX should hold the guest's",
        ),
        (stub((STASH, "")), "jz reads ZF, last written by incq"),
        (stub((LOADS, "    clear_cpu_buffers\n" + LOADS), (CHOICE, "")), "No conditional jump decides about VERW"),
        (stub((CHOICE, "    clear_cpu_buffers\n")), "no VERW selected; "),
        (stub(("jnc", "jc")), "VMRESUME ran, VMLAUNCH is due. jc reads CF, last written by btl"),
        (stub((CHOICE, CHOICE + "    movq %rax, -8(%rsp)\n")), "that is back in the buffers"),
        (  # ZF is 0 behind a VMWRITE, and 1 where the compare found RSP unchanged: most VM-Enters are not counted
            stub(
                ("    movq 16(%rsp), %rdi                 # the vCPU\n", "    movq 16(%rsp), %rdi\n    je 7f\n"),
                ("# one more VM-Enter\n", "# one more VM-Enter\n7:\n"),
            ),
            "host RSP and CR2 unchanged",
        ),
        (stub(("    vmresume\n", "")), "no VM-Enter: the run ended with return"),
        (stub((BT, BT + "1: jmp 1b\n")), "the run ended with budget"),
        (stub((LOADS, "")), "RAX should hold the guest's value"),
        (stub((BT, "    btm $0, %ebx\n")), "line 6"),
        (7, "should be text"),
    ],
    "07-2": [
        ("b", "the order of the two entries"),
        ("d", "what Fixes: is good for"),
        ("abd", "For MDS 43fb862de8f6 had ended it"),
        ("bcd", "Tested-by"),
        ("bde", "about skipping"),
        ("bdf", "TEST that clears CF"),
        ("abcdef", "a does not hold"),
        ("", "letters from 'a' to 'f'"),
    ],
}

FROM_THE_STACK = """    ALTERNATIVE_2 "", "testl $RUN_MMIO, 8(%rsp); jz .Lno; clear_cpu_buffers; .Lno:", \
X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM
    testl $RUN_VMRESUME, 8(%rsp)
    jz"""
BOTH_FROM_THE_STACK = "    testl $RUN_MMIO, 8(%rsp)\n    btl $0, 8(%rsp)\n"
WEAK_LAST = (
    '    ALTERNATIVE_2 "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM, '
    "clear_if_nz, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO\n"
)
COUNT = "    incq 0x30(%rdi)"


def behind(more):
    """The right stub with something behind each VERW; RBX is told the truth again."""
    clear = f'"verw verw_selector(%rip); {more}"'
    text = CHOICE.replace("clear_if_nz", f'"jz .Lskip_verw; verw verw_selector(%rip); {more}; .Lskip_verw:"')
    return stub((CHOICE, text.replace(", clear_cpu_buffers,", f", {clear},")))


WRONG["07-1"] += [
    (stub((CHOICE, WEAK_LAST)), "0xffffffffffffffff at 0x30 of the vCPU: a clear is owed, and nothing cleared"),
    (behind("cmpq $7, 24(%rsp)"), "reads 8 bytes of host data"),
    (behind("testb $1, 32(%rsp)"), "reads 1 byte of host data"),
    (behind("prefetcht0 48(%rsp)"), "touches a line of memory: that is back in the buffers"),
    (behind("clflush 24(%rsp)"), "touches a line of memory"),
    (behind("btl $0, vmx_l1d_flush_pages(%rip)"), "reads 4 bytes of host data"),
    (behind("vmwrite 24(%rsp), %rax"), "VM"),
    (stub((COUNT, "    incl 0x30(%rdi)")), "0x30 of the vCPU should hold 0x0"),
    (stub((COUNT, "    incb 0x30(%rdi)")), "0x30 of the vCPU should hold 0x0"),
    (stub((COUNT, "    incq 0x38(%rdi)")), "0x30 of the vCPU should hold"),
    (
        stub((COUNT + "                     # one more VM-Enter", COUNT + "\n    incq 0x30(%rdi)")),
        "0x30 of the vCPU should hold",
    ),
    (stub((COUNT, "    decq 0x30(%rdi)")), "0x30 of the vCPU should hold"),
    (stub((COUNT, "    incq 0x10(%rdi)\n" + COUNT)), "byte 0x10 of the vCPU"),
    (stub(("stub_failed 24", "stub_failed 16")), "VM-Enter fails"),
    (stub(("    stub_failed 24", "    ret")), "VM-Enter fails"),
    (
        stub(("    stub_failed 24", "    stub_failed 24\n    ud2"), ("    vmlaunch\n", "    vmlaunch\n    ud2\n")),
        "VM-Enter fails",
    ),
    (stub((BT, "    cmpl $1, %ebx\n    cmc\n")), "jz reads ZF, last written by cmpl"),
    (stub((BT, BT + "    std\n")), "DF is set"),
    (stub((CHOICE, CHOICE + CHOICE.replace("clear_if_nz", '""'))), "VERW ran 2 times"),
    (stub((BT, "    pushq %rax\n" + BT)), "a VM-Exit would find another stack"),
]
RIGHT = {
    "07-1": [
        stub((STASH, "    testl $RUN_MMIO, %ebx\n")),  # a TEST on every host
        stub((STASH, ""), (BT, ""), (CHOICE + "    jnc", FROM_THE_STACK)),  # the merged form
        stub((STASH, ""), (BT, ""), (CHOICE, BOTH_FROM_THE_STACK + CHOICE)),
        stub((COUNT, "    addq $1, 0x30(%rdi)")),
        stub((COUNT, "    lock incq 0x30(%rdi)")),
        stub((BT, "    btw $0, %bx\n")),
    ],
    "07-2": ["db", "B, D", "b d", "BD", ["b", "d"]],
}


def apart(*changes):
    """The stub of 07-3 with something wrong; each change must fit just once."""
    return altered("07-3", *changes)


ASK, ASK_ENTRY = "    testl $RUN_MMIO, 8(%rsp)\n", "    btl $0, 8(%rsp)\n"
THE_MERGED = (  # what was merged: one load behind VERW
    (ASK, ""),
    (ASK_ENTRY, ""),
    (
        CHOICE + "    jnc",
        FROM_THE_STACK,
    ),
)
WRONG["07-3"] = [
    (apart(*THE_MERGED), "behind VERW, __vmx_vcpu_run"),
    (apart((LOADS, STASH + LOADS), (ASK, "")), "an answer travels: jz reads ZF, last written by testl $4, %ebx"),
    (apart((LOADS, BT + LOADS), (ASK_ENTRY, "")), "jnc reads CF, last written by testl"),
    (
        apart((ASK + ASK_ENTRY, ASK_ENTRY + ASK)),
        "VMLAUNCH ran, VMRESUME is due. jnc reads CF, last written by testl",
    ),
    (apart((ASK, "")), "jz reads ZF"),
    (apart((ASK_ENTRY, "")), "VMRESUME is due"),
    (apart((ASK_ENTRY, ""), ("    jnc", ASK_ENTRY + "    jnc")), "behind VERW"),
    (apart((CHOICE, CHOICE + "    movq (%rsp), %rax\n")), "RAX should hold the guest's value"),
    (apart((CHOICE, CHOICE + "    cmpq $0, 24(%rsp)\n    btl $0, 8(%rsp)\n")), "that is back in the buffers"),
    (apart((CHOICE, CHOICE + "    prefetcht0 (%rsp)\n")), "touches a line of memory"),
    (apart((CHOICE, "    clear_cpu_buffers\n")), "nothing asked for it"),
    (apart((CHOICE, "")), "a clear is owed, and nothing cleared"),
    (apart((CHOICE, WEAK_LAST)), "a clear is owed, and nothing cleared"),
    (apart(("jnc", "jc")), "VMRESUME ran, VMLAUNCH is due"),
    (apart((LOADS, "")), "RAX should hold the guest's value"),
    (apart((LOADS, LOADS + "    movl 8(%rsp), %ebx\n")), "RBX should hold the guest's value"),
    (apart((ASK_ENTRY, "    btm $0, 8(%rsp)\n")), "line"),
    ("    xorl %ebx, %ebx\n" + apart(), "RBX is not what the caller had"),
    (None, "should be text"),
]
ANSWERS = {"A": 5, "B": 7, "C": 8, "D": 4, "E": 6, "F": 1}
WRONG["07-4"] = [
    ({**ANSWERS, "A": 7}, "A is not for sentence 7"),
    ({**ANSWERS, "B": 5}, "What ran in B: a clear owed here; nothing cleared"),
    ({**ANSWERS, "C": 5}, "What ran in C: a clear owed here; VERW ran"),
    ({**ANSWERS, "D": 8}, "What ran in D: VERW ran"),
    ({**ANSWERS, "E": 5}, "nothing owed here; nothing cleared"),
    ({**ANSWERS, "F": 2}, "No run shows that"),
    ({**ANSWERS, "F": 5}, "accesses behind it: 0"),
    ({**ANSWERS, "A": 9}, "no number from 1 to 8"),
    ({**ANSWERS, "A": "five"}, "no number from 1 to 8"),
    ({**ANSWERS, "A": True}, "no number from 1 to 8"),
    ({**ANSWERS, "A": [5]}, "no number from 1 to 8"),
    ({"A": 5}, "a number for each of A, B"),
    ("578461", "a number for each of A, B"),
]
RIGHT |= {
    "07-3": [
        apart((ASK, "    testb $RUN_MMIO, 8(%rsp)\n")),
        apart((ASK_ENTRY, "    btw $0, 8(%rsp)\n")),
        apart((LOADS, STASH + LOADS)),  # a TEST too many, that nobody reads
        apart(("    jnc .Lvmlaunch\n    vmresume\n", "    jae .Lvmlaunch\n    vmresume\n")),
        apart(  # the choice first, and MMIO's question in either arm: `clear_if_nz` twice
            (ASK + ASK_ENTRY + CHOICE + "    jnc", "    testl $RUN_VMRESUME, 8(%rsp)\n    jz"),
            ("    vmresume\n", ASK + CHOICE + "    vmresume\n"),
            ("    vmlaunch\n", ASK + CHOICE + "    vmlaunch\n"),
        ),
    ],
    "07-4": [
        {**ANSWERS, "A": 6, "B": 8, "D": 3},
        {letter.lower(): str(number) for letter, number in reversed(ANSWERS.items())},
    ],
}
