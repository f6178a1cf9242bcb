"""Plausible wrong answers to the exercises of notebook 08, and the reason that must be given for each."""

from answers import cell

from vmenter.course.exercises import exercise

KEPT = exercise("08-1").solution.partition("\n\n\nanswer")[0]


def kept(old, new, text=KEPT):
    """The right function with something wrong, as text; the change must fit just once."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def altered(id_, *changes):
    """The reference solution with something wrong; each (old, new) must fit just once."""
    text = cell(exercise(id_).solution)
    for old, new in changes:
        text = kept(old, new, text)
    return text


MASK = "    testl $(RUN_MMIO | RUN_CUCKOO), 8(%rsp)\n"
CLEAR = "    ALTERNATIVE clear_if_flagged, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n"
CUCKOO = "X86_FEATURE_CLEAR_CPU_BUF_VM_CUCKOO"
MMIO, VM = "X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO", "X86_FEATURE_CLEAR_CPU_BUF_VM"
LOADS = "    load_guest_registers rax, 0\n"
TEST = "    testl $RUN_VMRESUME, 8(%rsp)\n"
CHOICE = TEST + "    jz .Lvmlaunch\n"
FLAGGED = "    orl $RUN_CUCKOO, %eax\n"
NEWCOMER = """.macro clear_if_new
    testl $RUN_VMRESUME, 8(%rsp)
    jnz .Lno_verw
    clear_cpu_buffers
.Lno_verw:
.endm

.macro clear_if_flagged"""


def edge(code, macros=""):
    """The reference solution with other code at the edge, and perhaps more macros."""
    changes = [(CLEAR, code)]
    return altered("08-3", *changes, *([(".macro clear_if_flagged", macros)] if macros else []))


WRONG = {
    "08-1": [
        (kept("verw_ran or flushed", "verw_ran"), "kept('always', 'not required', False, False, False, True)"),
        (kept("(flushed or not", "(cleared or not"), "kept('never', 'always', False, False, True, False)"),
        (kept('l1d_flush == "cond" and flush_pending', 'l1d_flush == "cond"'), "('never', 'cond', False, False"),
        (kept('verw == "mmio" and reaches_mmio', 'verw == "mmio"'), "kept('mmio', 'not required', False, False"),
        (
            kept(' or (verw == "mmio" and reaches_mmio)', ""),
            "kept('mmio', 'not required', True, False, False, False)",
        ),
        (kept("owes_clear) and (", "owes_clear) or ("), "of 240 answers differ"),
        (kept('l1d_flush == "always" or', 'l1d_flush != "never" or'), "kept('never', 'not required'"),
        (
            kept("    return (cleared or not owes_clear) and", "    if owes_clear:\n        return cleared and"),
            "kept('never', 'not required', False, False, False, False) returns None (NoneType); it should return "
            "True or False. Is a return missing",
        ),
        (kept("return (cleared", "return 1 and 'yes' if verw == 'never' else (cleared"), "returns 'yes' (str)"),
        (kept("verw, l1d_flush,", "verw,"), "TypeError: kept() takes 5 positional arguments but 6 were given"),
        (
            kept("verw_ran or flushed", "VERW_RAN or flushed"),
            "line 4, 'cleared = VERW_RAN or flushed': name 'VERW_RAN'",
        ),
        (kept("verw_ran or flushed", "verw_ran or"), "line 4, 'cleared = verw_ran or': invalid syntax"),
        (lambda *_: True, "it is a lambda"),
        (True, "it is a bool"),
    ],
    "08-2": [
        (altered("08-2", ("jmp .Lflushed", "jmp .Lcleared")), "688,128 of 1,358,954,496 configurations go wrong"),
        (
            altered("08-2", ("    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush\n", "")),
            "l1tf yes, l1tf= full.\nWhat is wrong: an L1D flush owed here; nothing cleared",
        ),
        (
            altered(
                "08-2",
                ("    STATIC_LONG_JUMP_IF_ON .Lmmio, cpu_buf_vm_clear\n", ""),
                (".Lflushed:\n", ""),
                (
                    "    STATIC_LONG_JUMP_IF_ON .Lflush,",
                    "    STATIC_LONG_JUMP_IF_ON .Lmmio, cpu_buf_vm_clear\n"
                    ".Lflushed:\n    STATIC_LONG_JUMP_IF_ON .Lflush,",
                ),
                ("jmp .Lflushed", "jmp .Lcleared"),
            ),
            "an L1D flush owed here; ",
        ),
        (
            altered("08-2", ("    testl $RUN_MMIO, %ebp\n    je .Lcleared\n", "")),
            "mmio_stale_data yes.\nWhat is wrong: VERW ran although no clear is owed",
        ),
        (altered("08-2", ("je .Lcleared", "jne .Lcleared")), "VERW ran although no clear is owed"),
        (
            altered("08-2", ("    STATIC_LONG_JUMP_IF_ON .Lmmio, cpu_buf_vm_clear\n", "    clear_cpu_buffers\n")),
            "the default machine itself: no bugs, an empty command line, a first VM-Enter.\nWhat is wrong: VERW ran",
        ),
        (
            altered(
                "08-2", ("    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush\n", "    call vmx_l1d_flush\n")
            ),
            "the L1D was flushed although no flush is owed",
        ),
        (
            altered(
                "08-2",
                (".Lflushed:\n", ""),
                ("    STATIC_LONG_JUMP_IF_ON .Lflush", ".Lflushed:\n    STATIC_LONG_JUMP_IF_ON .Lflush"),
            ),
            "An audit stops where code crashes or does not end. The smallest configuration that goes wrong is 1 setting "
            "away from the default machine: l1tf yes.\nWhat is wrong: the code does not end: after 20,000",
        ),
        (altered("08-2", ("    clear_cpu_buffers\n", "    clear_cpu_buffers\n" * 2)), "VERW ran 2 times"),
        (altered("08-2", ("movq %rbx, %rdi", "movq 0, %rdi")), "the code crashes. vmx_vcpu_enter_exit"),
        (
            altered(
                "08-2",
                ("    enter_exit_end\n", "    enter_exit_end\n    ret\n"),
                (".Lcleared:", "    ret\n.Lcleared:"),
            ),
            "the code crashes",
        ),
        (altered("08-2", (".Lcleared:", "    vmlaunch\n.Lcleared:")), "mds yes.\nWhat is wrong: a clear owed"),
        (altered("08-2", ("    enter_exit_end\n", "")), "no line enter_exit_end"),
        (altered("08-2", ("testl", "tesl")), "line 14, column 5: invalid instruction"),
        (altered("08-2", ("jmp .Lflushed", "jmp .Lfinished")), "there is no label .Lfinished to go to"),
        (altered("08-2", ("cpu_buf_vm_clear", "mds_user_clear")), "mds_user_clear"),
        (8, "should be text"),
    ],
    "08-3": [
        (
            altered("08-3", (MASK, "    testl $RUN_MMIO, 8(%rsp)\n")),
            "1 setting away from the default machine: Cuckoo (invented) selects first VM-Enters.\nWhat is wrong: a clear "
            "owed here; nothing cleared",
        ),
        (altered("08-3", (MASK, "    testl $RUN_CUCKOO, 8(%rsp)\n")), "a clear owed here; nothing cleared"),
        (
            edge(f'    ALTERNATIVE_2 "", clear_if_mmio, {MMIO}, clear_cpu_buffers, {VM}\n'),
            "Cuckoo (invented) selects first VM-Enters.\nWhat is wrong: a clear owed here; nothing cleared",
        ),
        (
            edge(
                f'    ALTERNATIVE_2 "", clear_if_mmio, {MMIO}, clear_cpu_buffers, {VM}\n'
                f'    ALTERNATIVE_2 "", clear_if_new, {CUCKOO}, "", {VM}\n',
                NEWCOMER,
            ),
            "VERW ran 2 times; once is enough",
        ),
        (
            edge(
                f"    ALTERNATIVE_2 clear_if_mmio, clear_if_new, {CUCKOO}, clear_cpu_buffers, {VM}\n",
                NEWCOMER,
            ),
            "16,515,072 of 4,076,863,488 configurations go wrong. The smallest is 4 settings away from the default "
            "machine: mmio_stale_data yes, reaches host MMIO assigned, entered before yes, Cuckoo (invented) selects "
            "first VM-Enters.\nWhat is wrong: a clear owed here; nothing cleared",
        ),
        (edge(CLEAR.replace("clear_if_flagged", '""')), "a clear owed here; nothing cleared"),
        (edge("    clear_cpu_buffers\n"), "the default machine itself: no bugs, an empty command line"),
        (edge("    clear_if_flagged\n"), "default machine: mds yes.\nWhat is wrong: a clear owed here; nothing"),
        (altered("08-3", ("jnz .Lno_cuckoo", "jz .Lno_cuckoo")), "a clear owed here; nothing cleared"),
        (
            altered("08-3", (f'    ALTERNATIVE "jmp .Lno_cuckoo", "", {CUCKOO}\n', "")),
            "the default machine itself: no bugs, an empty command line, a first VM-Enter.\nWhat is wrong: VERW ran",
        ),
        (altered("08-3", ("    flag_mmio\n", "")), "mmio_stale_data yes, reaches host MMIO assigned"),
        (
            altered("08-3", ("    call vmx_l1d_flush\n", "")),
            "l1tf yes, l1tf= full.\nWhat is wrong: an L1D flush owed here; nothing cleared",
        ),
        (
            altered("08-3", ("RUN_CUCKOO = 1 << 3", "RUN_CUCKOO = 1 << 0")),
            "entered before yes.\nWhat is wrong: VERW ran although",
        ),
        (
            altered("08-3", (CLEAR, ""), (CHOICE, TEST + CLEAR + "    jz .Lvmlaunch\n")),
            "VMLAUNCH ran, VMRESUME is due",
        ),
        (altered("08-3", (LOADS + CLEAR, CLEAR + LOADS)), "accesses to memory behind the last clear"),
        (
            altered("08-3", (MASK, "    movl 8(%rsp), %eax\n    testl $(RUN_MMIO | RUN_CUCKOO), %eax\n")),
            "RAX does not hold",
        ),
        (altered("08-3", (LOADS, "")), "RAX does not hold the guest's value"),
        (altered("08-3", ("    jz .Lvmlaunch\n", "    jnz .Lvmlaunch\n")), "VMRESUME ran, VMLAUNCH is due"),
        (altered("08-3", (LOADS, LOADS + "1: jmp 1b\n")), "the code does not end"),
        (altered("08-3", ("    vmlaunch\n", "    movq 0, %rax\n")), "the code crashes. __vmx_vcpu_run"),
        (altered("08-3", ("    vmlaunch\n", "")), "no guest is entered: the run ended with return"),
        (altered("08-3", (FLAGGED, "    orll $RUN_CUCKOO, %eax\n")), "line 9, column 5: invalid instruction"),
        (altered("08-3", ("    clear_cpu_buffers\n", "    clear_cpu_buffer\n")), "(in a macro)"),
        (altered("08-3", ("    vmresume\n", "    vmresumes\n")), "line 31, column 5: invalid instruction"),
        (altered("08-3", (".macro enter_guest", ".macro enter")), "there is no line .macro enter_guest"),
        (None, "should be text"),
    ],
}

CLEARED = "\n.Lcleared:\n"


def repair(more):
    """The right repair of 08-2 with something where the ways meet again."""
    return altered("08-2", (CLEARED, f"{CLEARED}    {more}\n"))


def behind(more):
    """The right clearing of 08-3 with something behind VERW."""
    clear = f'"verw verw_selector(%rip); {more}"'
    flagged = (
        f'"testl $(RUN_MMIO | RUN_CUCKOO), 8(%rsp); jz .Lno_verw; verw verw_selector(%rip); {more}; .Lno_verw:"'
    )
    return altered(
        "08-3",
        (CLEAR, f"    ALTERNATIVE {flagged}, {clear}, {VM}\n"),
        (
            ".macro clear_if_flagged\n    testl $(RUN_MMIO | RUN_CUCKOO), 8(%rsp)\n    jz .Lno_verw\n"
            "    clear_cpu_buffers\n.Lno_verw:\n.endm\n",
            "",
        ),
    )


WRONG["08-2"] += [
    (repair("movb $0, VCPU_launched(%rbx)"), "of the vCPU"),
    (repair("movb $1, %gs:cpu_l1tf_flush_l1d(%rip)"), "cpu_l1tf_flush_l1d"),
    (repair("movq $0, VCPU_host_rsp(%rbx)"), "host RSP and CR2 unchanged"),
    (repair("movq $0, VCPU_cr2(%rbx)"), "of the vCPU"),
    (repair("incq VCPU_stat_l1d_flush(%rbx)"), "byte 0x10 of the vCPU"),
    (repair("movq $1, %r12"), "VM-Enter fails: R12 is not what the caller had"),
    (repair("std"), "DF is set"),
    (repair("pushq %rbx"), "VM-Enter fails"),
    (repair("xorl %ebp, %ebp"), "entered before yes"),
    (repair("movl $1, %ebp"), "VMRESUME ran, VMLAUNCH is due"),
    (repair("andl $1, %ebp"), "spoilt"),
    (repair("sti"), "RFLAGS has bits set"),
    (repair("wbinvd"), "WBINVD runs"),
    (repair("vmwrite %rbx, %rax"), "VMWRITE"),
    (altered("08-2", ("testl $RUN_MMIO, %ebp\n    je", "cmpl $4, %ebp\n    jne")), "entered before yes"),
    (altered("08-2", ("testl $RUN_MMIO, %ebp\n    je", "cmpl $4, %ebp\n    jb")), "other run flags"),
    (altered("08-2", ("testl $RUN_MMIO, %ebp", "testl $6, %ebp")), "other run flags"),
    (
        altered(
            "08-2", ("    jmp .Lflushed", "    cmpl $MSR_FLUSH_CMD, %ecx\n    je .Lcleared\n    jmp .Lflushed")
        ),
        "Where the flush leaves flags and free registers otherwise",
    ),
]
WRONG["08-3"] += [
    (behind("cmpq $7, 24(%rsp)"), "reads 8 bytes of host data"),
    (behind("testb $1, 40(%rsp)"), "reads 1 byte of host data"),
    (behind("prefetcht0 (%rsp)"), "touches a line of memory"),
    (behind("clflush verw_selector(%rip)"), "touches a line of memory"),
    (behind("btl $1, vmx_l1d_flush_pages(%rip)"), "reads 4 bytes of host data"),
    (behind("vmwrite 16(%rsp), %rax"), "touches a line of memory"),
    (behind("testl $1, 16(%rsp)"), "reads 4 bytes of stack"),
    (behind("orl $8, 8(%rsp)"), "writes 4 bytes of stack"),
    (altered("08-3", (LOADS, "    movb $1, VCPU_launched - VCPU_regs(%rax)\n" + LOADS)), "of the vCPU"),
    (altered("08-3", (LOADS, "    std\n" + LOADS)), "DF is set"),
    (altered("08-3", (LOADS, "    pushq %rax\n" + LOADS)), "VMLAUNCH ran, VMRESUME is due"),
    (altered("08-3", ("    jmp .Lvmfail\n", "    ret\n")), "VM-Enter fails"),
    (altered("08-3", ("    vmlaunch\n", "    vmlaunch\n    ud2\n")), "VM-Enter fails"),
    (
        altered("08-3", ("    enter_exit_begin\n", "    enter_exit_begin\n    movq $3, %r13\n")),
        "VM-Enter fails: R13",
    ),
    (altered("08-3", (FLAGGED, FLAGGED + "    movq $0, %rbx\n")), "crashes"),
]
UNDECIDED = """.macro clear_if_either
    testl $RUN_MMIO, 8(%rsp)
    jnz .Lverw
    testl $RUN_CUCKOO, 8(%rsp)
    jz .Lno_verw
.Lverw:
    clear_cpu_buffers
.Lno_verw:
.endm

.macro clear_if_flagged"""
LATE_FLAG = ("    jmp .Lflushed", "    testl $RUN_MMIO, %ebp\n    jnz .Lverw\n    jmp .Lcleared")
BACKWARDS = "    btl $0, 8(%rsp)\n    jc .Lmore\n    vmlaunch\n    jmp .Lvmfail\n.Lmore:\n    vmresume\n"
RIGHT = {
    "08-1": [
        kept(
            "(cleared or not owes_clear) and (flushed or not owes_flush)",
            "owes_clear <= cleared and owes_flush <= flushed",
        ),
        "def mine(v, l, m, p, w, f):\n    if l == 'always' or l == 'cond' and p:\n        return f\n"
        "    return w or f or v == 'never' or v == 'mmio' and not m",
        cell(f"{KEPT}\nanswer = kept"),
        cell(
            "ALWAYS = {'always'}\n\ndef owed(verw, mmio):\n    return verw in ALWAYS or verw == 'mmio' and mmio\n\n"
            "def kept(verw, mode, mmio, pending, ran, flushed):\n    if mode in ALWAYS or mode == 'cond' and pending:\n"
            "        return flushed\n    return ran or flushed or not owed(verw, mmio)\n\nanswer = kept"
        ),
    ],
    "08-2": [
        # the run flag says it all
        altered("08-2", LATE_FLAG, ("    clear_cpu_buffers", ".Lverw:\n    clear_cpu_buffers")),
        # no static branch for MMIO
        altered(
            "08-2",
            ("    STATIC_LONG_JUMP_IF_ON .Lmmio, cpu_buf_vm_clear", "    testl $RUN_MMIO, %ebp\n    jnz .Lmmio"),
        ),
        altered("08-2", ("testl $RUN_MMIO, %ebp\n    je", "btl $2, %ebp\n    jnc")),
        altered("08-2", ("    jmp .Lflushed", "    jmp .Lmmio")),
    ],
    "08-3": [
        edge(CLEAR.replace("clear_if_flagged,", "clear_if_either,"), UNDECIDED),  # two questions
        altered("08-3", ("RUN_CUCKOO = 1 << 3", "RUN_CUCKOO = RUN_MMIO")),  # one flag for both
        altered("08-3", (MASK, "    testb $(RUN_MMIO | RUN_CUCKOO), 8(%rsp)\n")),
        altered("08-3", (CHOICE, "    btl $0, 8(%rsp)\n    jnc .Lvmlaunch\n")),
        altered("08-3", (CHOICE + "    vmresume\n", BACKWARDS)),
    ],
}

LINE = "vmenter enter --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d --mmio mapped --cmdline l1tf=off"


def line(*changes):
    """The right line with something wrong."""
    text = LINE
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


MAIL = cell(exercise("08-5").solution)
COSTS = {"states": 360, "broken": 3_440_640, "with_l1tf": 688_128}


def mail(**changes):
    """The right mail with something wrong: `cut` or `put` in the mail, or other words for a point."""
    text = MAIL["mail"].replace(changes.pop("cut", "\0"), changes.pop("put", ""))
    return {"mail": text, "rubric": {**MAIL["rubric"], **changes}}


WRONG |= {
    "08-4": [
        (line((" --cmdline l1tf=off", "")), "83ebe7157483 breaks its promise there, too: a clear owed here; nothing cleared. KVM's mode is cond"),
        (line(("mapped", "assigned")), "8cb861e9e3c9 keeps its promise there: a clear owed here; VERW ran"),
        (line(("mapped", "none")), "8cb861e9e3c9 keeps its promise there: nothing owed here"),
        (line(("mmio_stale_data,l1tf", "mmio_stale_data")), "this CPU does not have L1TF"),
        (line(("mmio_stale_data,l1tf", "mds,mmio_stale_data,l1tf")), "keeps its promise there: a clear owed here; VERW ran"),
        (line(("mmio_stale_data,l1tf", "mds,l1tf")), "8cb861e9e3c9 keeps its promise there"),
        (line(("l1tf=off", "l1tf=full")), "8cb861e9e3c9 keeps its promise there"),
        (line(("l1tf=off", "mitigations=off")), "8cb861e9e3c9 keeps its promise there: nothing owed here"),
        (line((" --cmdline l1tf=off", " --flush-pending")), "the L1D was flushed"),
        (line(("vmenter enter ", "vmenter enter --era 43fb862de8f6 ")), "leave --era out"),
        (line(("mapped", "yes")), "argument --mmio: invalid choice: 'yes'"),
        (line(("--mmio", "--mmmio")), "unrecognized arguments: --mmmio"),
        (line(("l1tf=off", "'l1tf=off")), "no shell would read it"),
        (line(("mmio_stale_data", "mmio")), "unknown name 'mmio'"),
        ("vmenter audit --era 43fb862de8f6", "should begin with “vmenter enter”"),
        ("", "should begin with “vmenter enter”"),
        ("vmenter enter " + "--resume " * 400, "2,000 are enough"),
        (7, "this is a int"),
    ],
    "08-5": [
        (mail(cut="Subject: KVM: VMX: VERW", put="VERW"), "should begin with a line “Subject: …”"),
        ({**MAIL, "mail": "Subject: A question\n\nPlease look at FB_CLEAR_DIS."}, "60 to 300 are asked for"),
        ({**MAIL, "mail": MAIL["mail"] + "word " * 300}, "60 to 300 are asked for"),
        (mail(cut="e6ff1d61de51", put="that commit"), "the commit (or the posted series)"),
        (mail(cut="vmx_update_fb_clear_dis()", put="The condition"), "the function that decides"),
        (mail(cut="DDWH24WOQG3F.1VS7MT0SKPWIL@google.com", put="last year"), "one message of the list"),
        (mail(cut="FB_CLEAR_DIS", put="that bit"), "the bit, by its name"),
        (mail(question=""), "question: which words of the mail ask one thing"),
        (mail(question=None), "question: which words of the mail"),
        (mail(settles="a measurement would settle everything about it"), "settles: these words do not stand in the mail"),
        (mail(not_claimed="I do not"), "too little to tell"),
        (mail(settles="I do not claim that anything leaks: I know no such CPU"), "the same words are named for not_claimed"),
        ({"mail": MAIL["mail"], "rubric": {}}, "rubric should be a dict with the keys 'question', 'where'"),
        ({"mail": 7, "rubric": MAIL["rubric"]}, "mail should be text"),
        (MAIL["mail"], "a dict with the keys 'mail', 'rubric'"),
        (None, "a dict with the keys 'mail', 'rubric'"),
    ],
    "08-6": [
        ({**COSTS, "states": 1800}, "a state is what the code sees"),
        ({**COSTS, "states": 365}, "no code looks at the case"),
        ({**COSTS, "broken": 688_128}, "comes in five colours now"),
        ({**COSTS, "broken": 137_626}, "comes in five colours now"),
        ({**COSTS, "with_l1tf": 344_064}, "none of them lies outside"),
        ({**COSTS, "with_l1tf": 1_376_256}, "none of them lies outside"),
        ({**COSTS, "states": "360 or so"}, "states should be a whole number"),
        ({**COSTS, "broken": 3_440_640.5}, "broken should be a whole number"),
        ({"states": 360}, "a dict with the keys 'states', 'broken', 'with_l1tf'"),
        (360, "a dict with the keys 'states'"),
    ],
}  # fmt: skip

RIGHT |= {
    "08-4": [
        line(("l1tf=off", "kvm-intel.vmentry_l1d_flush=never")),
        line((",flush_l1d", ",skip_vmentry_l1dflush"), (" --cmdline l1tf=off", "")),
        line(("mmio_stale_data,l1tf", "l1tf --bugs mmio_stale_data"), (" --mmio", " \\\n  --resume --mmio")),
        "vmenter enter --bugs l1tf,mmio_stale_data --mmio=mapped --cmdline 'quiet l1tf=off'",
    ],
    "08-5": [
        mail(
            question="Should the condition\n   look at CLEAR_CPU_BUF_VM_MMIO as well?",
            where="vmx_update_fb_clear_dis() asks about CLEAR_CPU_BUF alone",
        ),
        mail(cut="vmx_update_fb_clear_dis()", put="vmx_vcpu_enter_exit() sets the bit, and its helper"),
    ],
    "08-6": [dict(reversed(COSTS.items())), {**COSTS, "broken": 5 * 688_128}],
}
