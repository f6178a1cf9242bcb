"""Plausible wrong answers to the exercises of notebooks 05 and 06, and the reason that must be given for each."""

from answers import altered

ALTERNATIVE = '    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF\n'
BT = "    btl $0, %ebx\n"
LOAD = "    load_guest_registers rax, 0\n"
WORDS = {"A": "distant", "B": "skipped", "C": "near", "D": "distant", "E": "skipped", "F": "near"}

WRONG = {
    "05-1": [
        ({"flush_pending": True}, "the flush flag was set"),
        ({}, "the flush flag was set"),
        ({"cmdline": "kvm-intel.vmentry_l1d_flush=always"}, "so no flag is asked"),
        ({"bugs": ["mds"], "flush_pending": False}, "VERW ran"),
        ({"cmdline": "l1tf=off", "flush_pending": False}, "VERW ran: KVM's L1D flush is “never”"),
        ({"ept": False}, "VERW ran"),
        ({"bugs": ["l1tf"], "flush_pending": False}, "nothing had to"),
        ({"cmdline": "mds=off", "flush_pending": False}, "nothing had to"),
        ({"cmdline": "mitigations=off"}, "nothing had to. The promise here: nothing"),
        ({"bugs": ["mds", "l1ft"]}, "did you mean l1tf"),
        ({"options": "mds=full"}, "there is no setting 'options'"),
        ({"flush_pending": "no"}, "flush_pending should be like True"),
        ("cond", "should be a dict"),
    ],
    "05-2": [
        ("a", "is on in all six runs"),
        ("b", "not a copy"),
        ("d", "look at the run with cond and the flag set"),
        ("e", "does not flush the L1D"),
        ("z", "one of the letters"),
        (None, "one of the letters"),
    ],
    "05-3": [
        (
            altered("05-3", ("    jz .Lno_flush\n", "")),
            "VERW selected for MMIO only, L1D flush “cond”, flush flag clear, a device assigned: a clear owed here; "
            "nothing cleared",
        ),
        (altered("05-3", ("jz .Lno_flush", "jnz .Lno_flush")), "nothing cleared"),
        (
            altered("05-3", ("    jz .Lno_flush\n", "    jz .Lverw\n")),
            "no VERW selected, L1D flush “cond”, flush flag clear, no device assigned: VERW ran although",
        ),
        (
            altered("05-3", ("    jz .Lno_flush\n", "    jz .Lmmio\n")),
            "no VERW selected, L1D flush “cond”, flush flag clear, a device assigned: VERW ran although",
        ),
        (altered("05-3", ("    call vmx_l1d_flush\n", "    xorl %eax, %eax\n")), "an L1D flush owed here"),
        (altered("05-3", ("    je .Lcleared\n", "    jne .Lcleared\n")), "VERW selected for MMIO only"),
        (
            altered(
                "05-3", (".Lno_flush:\n", ""), ("    movq %rbx, %rdi\n", ".Lno_flush:\n    movq %rbx, %rdi\n")
            ),
            "the run ended with budget",
        ),
        (
            altered("05-3", ("    STATIC_LONG_JUMP_IF_ON .Lverw, mds_user_clear\n", "")),
            "VERW selected for MDS, L1D flush “never”",
        ),
        (
            altered(
                "05-3",
                ("    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush\n", "    jmp .Lflush\n"),
            ),
            "the L1D was flushed although no flush is owed",
        ),
        ("    clear_cpu_buffers\n.Lcleared:\n", "VERW ran although no clear is owed"),
        ("    popq %rbx\n    popq %rbp\n    ret\n.Lcleared:\n", "no VM-Enter: the run ended with return"),
        ("    clear_cpu_buffers\n", "VERW ran although no clear is owed"),
        (altered("05-3", ("testb", "tsetb")), "line 10, column 5: invalid instruction"),
        (7, "should be text"),
    ],
    "06-1": [
        (
            altered("06-1", (BT, "    testb $RUN_VMRESUME, %bl\n"), ("jnc", "jz")),
            "jz reads ZF, last written by verw",
        ),
        (altered("06-1", ("    jnc .Lvmlaunch\n", "")), "No conditional jump"),
        (altered("06-1", ("jnc", "jz")), "jz reads ZF, last written by"),
        (altered("06-1", ("jnc", "jc")), "jc reads CF, last written by btl $0, %ebx"),
        (altered("06-1", (BT, ""), (LOAD, LOAD + BT)), "By then RBX holds the guest's value"),
        (altered("06-1", (ALTERNATIVE, ""), (BT, ALTERNATIVE + BT)), "VERW is 15 accesses to memory away"),
        (
            altered("06-1", (ALTERNATIVE, "    pushfq\n" + ALTERNATIVE + "    popfq\n")),
            "VERW is 1 access to memory away from it; the first: __vmx_vcpu_run",
        ),
        (
            altered("06-1", (BT, ""), ("    jnc", "    testl $RUN_VMRESUME, 8(%rsp)\n    jz")),
            "VERW is 1 access to memory away",
        ),
        (
            altered(
                "06-1",
                (BT, ""),
                (LOAD, LOAD + "    movq 8(%rsp), %r15\n"),
                ("    jnc", "    btl $0, %r15d\n    jnc"),
            ),
            "R15 does not hold the guest's value",
        ),
        (altered("06-1", (LOAD, "")), "does not hold the guest's value"),
        (altered("06-1", (ALTERNATIVE, "    clear_cpu_buffers\n")), "VERW ran although nothing asks"),
        (altered("06-1", (ALTERNATIVE, "")), "a clear owed here; nothing cleared"),
        (
            altered("06-1", (ALTERNATIVE, ""), ("    vmresume\n", ALTERNATIVE + "    vmresume\n")),
            "with CLEAR_CPU_BUF on, first VM-Enter: a clear owed here; nothing cleared",
        ),
        (altered("06-1", ("btl $0", "btl $1")), "with CLEAR_CPU_BUF off, entered before: VMLAUNCH was chosen"),
        (altered("06-1", ("jnc", "jnv")), "line 5, column 5: invalid instruction"),
        (["btl"], "should be text"),
    ],
    "06-2": [
        ({**WORDS, "A": "skipped"}, "31 memory accesses"),
        ({**WORDS, "B": "distant"}, "no clear whose distance could be measured"),
        ({**WORDS, "C": "skipped"}, "C is not skipped: a clear owed here; VERW ran"),
        ({**WORDS, "D": "near"}, "32 memory accesses"),
        ({**WORDS, "E": "distant"}, "nothing cleared"),
        ({**WORDS, "F": "distant"}, "the L1D was flushed and VERW ran"),
        ({**WORDS, "F": "far"}, "none of the words"),
        ({"A": "distant"}, "a word for each of A, B, C, D, E, F"),
        ("skipped", "should be a dict"),
    ],
    "06-3": [
        ("a", "Case E"),
        ("c", "Since v6.5"),
        ("d", "same operand"),
        ("e", "Case D measures it"),
        ("f", "one of the letters"),
        (2, "one of the letters"),
    ],
}


def chain(*changes):
    return altered("05-3", *changes)


def at_the_edge(more):
    """The right stub of 06-1 with something between VERW and VM-Enter."""
    return altered(
        "06-1",
        (ALTERNATIVE, ALTERNATIVE.replace('"", clear_cpu_buffers', f'"", "verw verw_selector(%rip); {more}"')),
    )


WRONG["05-3"] += [
    (chain(("    clear_cpu_buffers\n", "    clear_cpu_buffers\n    clear_cpu_buffers\n")), "VERW ran 2 times"),
    (
        chain((".Lcleared:\n", ".Lcleared:\n    movb $0, VCPU_launched(%rbx)\n    xorl %ebp, %ebp\n")),
        "entered before",
    ),
    (chain((".Lcleared:\n", ".Lcleared:\n    xorl %ebp, %ebp\n")), "VMLAUNCH ran, VMRESUME is due"),
    (chain((".Lcleared:\n", ".Lcleared:\n    orl $1, %ebp\n")), "VMRESUME ran, VMLAUNCH is due"),
    (chain((".Lcleared:\n", ".Lcleared:\n    movl $1, VCPU_regs(%rbx)\n")), "hold the guest's value"),
    (chain((".Lcleared:\n", ".Lcleared:\n    incq VCPU_stat_l1d_flush(%rbx)\n")), "byte 0x10 of the vCPU"),
    (chain((".Lcleared:\n", ".Lcleared:\n    movb $1, %gs:cpu_l1tf_flush_l1d(%rip)\n")), "cpu_l1tf_flush_l1d"),
    (chain((".Lcleared:\n", ".Lcleared:\n    movb $1, VCPU_disable_fb_clear(%rbx)\n")), "of the vCPU"),
    (chain((".Lcleared:\n", ".Lcleared:\n    pushq %rbx\n")), "VM-Enter fails"),
    (chain((".Lcleared:\n", ".Lcleared:\n    movq $5, %r12\n")), "VM-Enter fails: R12 is not what the caller had"),
    (chain((".Lcleared:\n", ".Lcleared:\n    std\n")), "DF is set"),
    (chain((".Lcleared:\n", ".Lcleared:\n    sti\n")), "RFLAGS has bits set"),
    (chain(("    testb %al, %al\n", "")), "L1D flush “cond”, flush flag clear"),
    (
        chain(("testb %al, %al\n    jz", "cmpl $0x10b, %ecx\n    jne")),
        "the flush leaves flags and free registers otherwise",
    ),
    (chain(("    cmpl $0, KVM_assigned", "    cmpl $1, KVM_assigned")), "VERW selected for MMIO only"),
    (chain(("    jmp .Lcleared\n.Lmmio", "    jmp .Lverw\n.Lmmio")), "no VERW selected"),
]
WRONG["06-1"] += [
    (altered("06-1", (BT, "    cmpl $1, %ebx\n    cmc\n")), "other run flags"),
    (altered("06-1", (BT, "    cmpq $1, %rbx\n    cmc\n")), "VM"),
    (at_the_edge("movq 24(%rsp), %rax; movq $0x6e57000000000000, %rax"), "1 access to memory away from it"),
    (at_the_edge("prefetcht0 (%rsp)"), "prefetcht0 (%rsp) touches a line of memory"),
    (at_the_edge("clflush verw_selector(%rip)"), "touches a line of memory"),
    (at_the_edge("cmpq $0, 24(%rsp)"), "1 access to memory away"),
    (at_the_edge("testl $1, 8(%rsp)"), "reads 4 bytes of flags"),
    (at_the_edge("vmwrite (%rsp), %rax"), "first VM-Enter"),
    (at_the_edge("movl %eax, -8(%rsp)"), "writes 4 bytes of stack"),
    (at_the_edge("verw verw_selector(%rip)"), "VERW ran 2 times"),
    (at_the_edge("stc"), "VMRESUME was chosen, VMLAUNCH is the right one"),
    (altered("06-1", (BT, BT + "    std\n")), "DF is set"),
    (altered("06-1", (BT, BT + "    pushq %rax\n")), "a VM-Exit would find another stack"),
    (altered("06-1", (BT, "    addq $8, %rsp\n" + BT)), "a VM-Exit would find another stack"),
    (altered("06-1", (BT, "    movq $0, 16(%rsp)\n" + BT)), "keeps on the stack"),
    (altered("06-1", (BT, "    movb $1, VCPU_launched(%rdi)\n" + BT)), "of the vCPU"),
    (
        altered(
            "06-1",
            (".Lvmlaunch:\n    vmlaunch\n", ".Lvmlaunch:\n    vmlaunch\n    movq $0, %rax\n    jmp *%rax\n"),
        ),
        "VM-Enter fails",
    ),
    (altered("06-1", ("    jmp .Lvmfail\n", ""), ("    vmlaunch\n", "    vmlaunch\n    hlt\n")), "VM-Enter fails"),
    (altered("06-1", ("    vmresume\n    jmp .Lvmfail\n", "    vmresume\n    ret\n")), "VM-Enter fails"),
    (altered("06-1", (LOAD, LOAD + "    movl %ebx, %ebx\n")), "RBX does not hold the guest's value"),
]
PROJECTED = {letter.lower(): f" {word.upper()} " for letter, word in WORDS.items()}
TWICE = '    jnc .Lvmlaunch\n    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF\n    vmresume\n'
RIGHT = {
    "05-1": [
        {"flush_pending": False},
        {"bugs": {"mds", "l1tf"}, "flush_pending": 0},
        {"bugs": ("l1tf", "mds"), "cmdline": "mds=full,nosmt", "flush_pending": False},
    ],
    "05-2": ["C", "c)"],
    "05-3": [
        chain(("    testb %al, %al\n    jz .Lno_flush\n    jmp .Lcleared\n", "    jmp .Lno_flush\n")),
        chain(("testb %al, %al\n    jz", "cmpb $1, %al\n    jne")),
        chain(
            (
                "testb %al, %al\n    jz .Lno_flush\n    jmp .Lcleared",
                "testb $1, %al\n    jnz .Lcleared\n    jmp .Lno_flush",
            )
        ),
        chain(
            (
                "    movq VCPU_kvm(%rbx), %rax\n    cmpl $0, KVM_assigned_devices(%rax)\n",
                "    movq VCPU_kvm(%rbx), %rcx\n    movl KVM_assigned_devices(%rcx), %ecx\n    testl %ecx, %ecx\n",
            )
        ),
    ],
    "06-1": [
        altered("06-1", (BT, "    btq $0, %rbx\n")),
        altered("06-1", (BT, "    shrl %ebx\n")),
        altered("06-1", (BT, "    btl $0, 8(%rsp)\n")),
        altered("06-1", ("jnc", "jae")),
        altered(
            "06-1",
            (ALTERNATIVE, ""),
            ("    jnc .Lvmlaunch\n    vmresume\n", TWICE),
            ("    vmlaunch\n", ALTERNATIVE + "    vmlaunch\n"),
        ),
        altered(
            "06-1",
            (
                "    jnc .Lvmlaunch\n    vmresume\n    jmp .Lvmfail\n.Lvmlaunch:\n    vmlaunch\n",
                "    jc .Lmore\n    vmlaunch\n    jmp .Lvmfail\n.Lmore:\n    vmresume\n",
            ),
        ),
    ],
    "06-2": [PROJECTED, dict(reversed(WORDS.items()))],
    "06-3": ["B", " b."],
}
ROWS = {
    "never": "V V V V V V",
    "cond": "F - - F - F",
    "always": "F F F F F F",
    "cond, 2018": "F - - F - F",
}
WRONG["05-4"] = [
    ({**ROWS, "never": "F F F F F F"}, "never: at VM-Enter 1, from user space, not a flush ran but VERW"),
    ({**ROWS, "cond": "F V V F V F"}, "cond: at VM-Enter 2, behind a CPUID, not VERW ran but nothing"),
    ({**ROWS, "cond": "- - - - - -"}, "cond: at VM-Enter 1, from user space"),
    ({**ROWS, "cond": "F F F F F F"}, "cond: at VM-Enter 2, behind a CPUID"),
    ({**ROWS, "cond": "F - - - - F"}, "cond: at VM-Enter 4"),
    ({**ROWS, "always": "F - - F - F"}, "always: at VM-Enter 2"),
    ({**ROWS, "always": "FV FV FV FV FV FV"}, "not a flush and then VERW ran but a flush"),
    (
        {**ROWS, "cond, 2018": "FV V V FV V FV"},
        "2018: at VM-Enter 1, from user space, not a flush and then VERW ran but a flush",
    ),
    ({**ROWS, "cond, 2018": "F V V F V F"}, "2018: at VM-Enter 2, behind a CPUID, not VERW ran but nothing"),
    ({**ROWS, "cond, 2018": "V V V V V V"}, "2018: at VM-Enter 1"),
    ({**ROWS, "cond": "F - - F -"}, "cond: 6 VM-Enters"),
    ({**ROWS, "cond": "F - - F - X"}, "'X' is none of V, F, FV"),
    ({**ROWS, "cond": 6}, "cond: 6 VM-Enters"),
    ({**ROWS, "cond": ["F", "", "", "F", "", "F"]}, "'' is none of V, F, FV"),
    ({"never": ROWS["never"]}, "a dict with the rows"),
    (["F"] * 6, "a dict with the rows"),
    (None, "a dict with the rows"),
]
WRONG["05-5"] = [
    ("a", "servers of section 10"),
    ("bcde", "d does not hold"),
    ("f", "every VM-Enter flushes"),
    ("bc", "what the exits that leave the flag clear"),
    ("be", "what a hypervisor may show"),
    ("ce", "who said that there is no such CPU"),
    ("abcdef", "a does not hold"),
    ("", "letters from 'a' to 'f'"),
    ("xyz", "letters from 'a' to 'f'"),
    (3, "letters from 'a' to 'f'"),
    ([1, 2], "letters from 'a' to 'f'"),
]
MMIO_LINE = "vmenter enter --era 43fb862de8f6 --bugs mmio_stale_data,l1tf --microcode mds_no,fb_clear,flush_l1d"
ELSE = f"{MMIO_LINE} --mmio=assigned"
QUESTION = "vmenter enter --era 43fb862de8f6 --bugs mmio_stale_data --microcode mds_no,fb_clear --mmio=mapped"


def lines(**changed):
    """Both lines of 06-4 right, but for what is given."""
    return {"else": ELSE, "question": QUESTION} | {name.rstrip("_"): line for name, line in changed.items()}


WRONG["06-4"] = [
    (lines(else_=f"{ELSE} --flush-pending"), "else: kept: a clear and an L1D flush owed here"),
    (lines(else_=QUESTION), "else: BROKEN, but with the L1D flush off it still is"),
    (lines(else_=f"{MMIO_LINE} --mmio=mapped"), "else: BROKEN, but with the L1D flush off it still is"),
    (lines(question=ELSE), "question: BROKEN, but with a device passed through it still is"),
    (
        lines(question=f"{MMIO_LINE} --mmio=mapped"),
        "question: BROKEN, but with a device passed through it still is",
    ),
    (lines(question=QUESTION.replace("=mapped", "")), "question: kept"),
    (lines(question=QUESTION.replace(" --mmio=mapped", "")), "question: kept: nothing owed here"),
    (lines(else_=ELSE.replace("43fb862de8f6", "650b68a0622f")), "it runs 650b68a0622f"),
    (lines(else_=ELSE.replace("mds_no,", "").replace("mmio_stale_data", "mds,mmio_stale_data")), "else: kept"),
    (lines(else_=ELSE.replace("l1tf", "l1ft")), "did you mean l1tf"),
    (lines(else_="vmenter audit --era 43fb862de8f6"), "begin with"),
    (lines(else_=f"{ELSE} --cmdline 'l1tf=off"), "No closing quotation"),
    (lines(else_=None), "this is a NoneType"),
    (lines(else_=f"{ELSE}; rm -rf x"), "else: the line: argument --mmio: invalid choice"),
    ({"else": ELSE}, "a dict with two lines"),
    (ELSE, "a dict with two lines"),
]
KERNELS = {
    "5.10.46": "MDS",
    "5.15.153": "both",
    "5.15.154": "MMIO",
    "6.1.80": "both",
    "v6.7": "both",
    "6.7.9": "MMIO",
    "6.12.117": "MMIO",
    "v6.18": "MMIO",
    "v6.19": "neither",
}
WRONG["06-5"] = [
    ({**KERNELS, "5.10.46": "both"}, "5.10.46: not both. 650b68a0622f is in it; 8cb861e9e3c9 is not in it"),
    ({**KERNELS, "5.10.46": "neither"}, "5.10.46: not neither"),
    ({**KERNELS, "5.15.153": "MMIO"}, "5.15.153: not MMIO"),
    ({**KERNELS, "5.15.154": "both"}, "43fb862de8f6 is in it; e6ff1d61de51 is not"),
    ({**KERNELS, "6.1.80": "MDS"}, "6.1.80: not MDS"),
    ({**KERNELS, "v6.7": "MMIO"}, "v6.7: not MMIO"),
    ({**KERNELS, "6.12.117": "neither"}, "6.12.117: not neither"),
    ({**KERNELS, "v6.18": "neither"}, "v6.18: not neither"),
    ({**KERNELS, "v6.19": "MMIO"}, "v6.19: not MMIO"),
    ({**KERNELS, "v6.19": "none"}, "none of the words"),
    ({"v6.19": "neither"}, "a word for each of"),
    ("MDS", "a word for each of"),
    (dict.fromkeys(KERNELS, 5), "none of the words"),
]
RIGHT |= {
    "05-4": [
        {row: text.lower().replace("-", "∅") for row, text in ROWS.items()},
        {row: text.split() for row, text in reversed(ROWS.items())},
        {row: text.replace(" ", ", ").replace("-", "nothing") for row, text in ROWS.items()},
    ],
    "05-5": ["ebc", "B, C, E", ["b", "c", "e"], "b c e"],
    "06-4": [
        lines(
            else_="$ vmenter enter --era=43fb862de8f6 --bugs l1tf --bugs mmio_stale_data --mmio"
            " --microcode 'fb_clear, mds_no, flush_l1d' --resume"
        ),
        lines(question=f"{MMIO_LINE} --mmio=mapped --cmdline kvm-intel.vmentry_l1d_flush=never"),
        lines(question=f"{QUESTION} --json"),
    ],
    "06-5": [
        {kernel: word.upper() for kernel, word in KERNELS.items()},
        {f" {kernel} ": f" {word} " for kernel, word in reversed(KERNELS.items())},
    ],
}
