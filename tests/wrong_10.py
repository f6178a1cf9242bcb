"""Plausible wrong answers to the exercises of notebook 10, and the reason that must be given for each."""

from answers import altered

from vmenter.course.exercises import exercise

GOOD = {"zen": 3, "facts": ("verw_clear",), "cmdline": "tsa=vm"}
REPORT = {
    "sites": 5808,
    "clears_to_user": 5,
    "intel": ["CLEAR_CPU_BUF"],
    "amd": ["CLEAR_CPU_BUF_VM"],
    "amd_accesses_after_clear": 0,
    "form_of_6_19": False,
    "left_open": "mmio",
}
ALTERNATIVE = '    ALTERNATIVE "jmp by_loop", "", X86_FEATURE_FSRM\n'

WRONG = {
    "10-1": [
        ({**GOOD, "zen": 2}, "6.12.117: this machine does not have TSA"),
        ({**GOOD, "facts": ()}, "Clear CPU buffers attempted, no microcode"),
        ({**GOOD, "facts": ("tsa_sq_no", "tsa_l1_no", "verw_clear")}, "does not have TSA"),
        ({**GOOD, "cmdline": ""}, "the way to user space clears as well"),
        ({**GOOD, "cmdline": "tsa=on"}, "the way to user space clears as well"),
        ({**GOOD, "cmdline": "tsa=user"}, "before VMRUN nothing is cleared"),
        ({**GOOD, "cmdline": "tsa=VM"}, "the way to user space clears as well"),
        ({**GOOD, "cmdline": "tsa=vm mitigations=off"}, "6.12.117: before VMRUN nothing is cleared"),
        (
            {**GOOD, "cmdline": "mitigations=auto,no_user_kernel,no_user_user"},
            "6.12.117: the way to user space clears as well",
        ),
        ({**GOOD, "facts": (), "hypervisor": True}, "6.12.117: the way to user space clears as well"),
        ({**GOOD, "zen": 7}, "give 1 to 5"),
        ({**GOOD, "facts": ("verw",)}, "unknown name 'verw'"),
        ({**GOOD, "cmdline": 7}, "cmdline a text"),
        ({**GOOD, "facts": 7}, "facts should be names"),
        ({**GOOD, "facts": {"verw_clear": True}}, "facts should be names"),
        ({**GOOD, "bugs": ("tsa",)}, "there is no setting 'bugs'"),
        ("tsa=vm", "should be a dict"),
    ],
    "10-2": [
        (altered("10-2", (ALTERNATIVE, "    jmp by_loop\n")), "the same on every CPU"),
        (
            altered("10-2", (ALTERNATIVE, ALTERNATIVE.replace("FSRM", "FSRM + NOT"))),
            "without FSRM, 0 bytes: REP MOVSB ran, on a CPU where it is slow",
        ),
        (
            altered("10-2", (ALTERNATIVE, ALTERNATIVE.replace('"jmp by_loop", ""', '"", "jmp by_loop"'))),
            "without FSRM, 0 bytes: REP MOVSB ran, on a CPU where it is slow",
        ),
        (altered("10-2", ("    jrcxz done\n", "")), "without FSRM, 0 bytes: "),
        (altered("10-2", ("    jrcxz done\n", "    jmp by_loop\n")), "goes on and on, and does not return"),
        (altered("10-2", ("    jmp by_loop\ndone", "done")), "without FSRM, 7 bytes: byte 1 is not copied"),
        (altered("10-2", ("    incq %rsi\n", "")), "without FSRM, 7 bytes: byte 1 is wrong"),
        (altered("10-2", ("    movq %rdx, %rcx\n", "    leaq 1(%rdx), %rcx\n")), "1 beyond the end"),
        (
            altered("10-2", ("    movq %rdx, %rcx\n", "    movq %rdx, %rcx\n    shrq $3, %rcx\n")),
            "byte 0 is not copied",
        ),
        (altered("10-2", ("    jmp by_loop\ndone", "    rep movsb\ndone")), "REP MOVSB ran"),
        (altered("10-2", (".globl entry\nentry:", ".globl copy\ncopy:")), "no label entry"),
        (
            altered("10-2", ("X86_FEATURE_FSRM", "X86_FEATURE_FSRX")),
            "X86_FEATURE_FSRX stands for a number here, and is not defined",
        ),
        (altered("10-2", ("incq %rdi", "inqc %rdi")), "line 14, column 5: invalid instruction"),
        (b"\xf3\xa4", "should be text"),
    ],
    "10-3": [
        ({**REPORT, "sites": 9224}, "sites: 9224"),
        ({**REPORT, "clears_to_user": 0}, "count census.recorded"),
        ({**REPORT, "intel": ["CLEAR_CPU_BUF_VM"]}, 'the clears of "kvm-intel.ko"'),
        ({**REPORT, "intel": "CLEAR_CPU_BUFS"}, 'the clears of "kvm-intel.ko"'),
        ({**REPORT, "amd": ["CLEAR_CPU_BUF_VM"] * 2}, "each once"),
        ({**REPORT, "amd_accesses_after_clear": 1}, "the largest counts"),
        ({**REPORT, "amd_accesses_after_clear": False}, "the largest counts"),
        ({**REPORT, "form_of_6_19": True}, "a feature of its own for guests that reach MMIO"),
        ({**REPORT, "form_of_6_19": 2}, "a feature of its own"),
        ({**REPORT, "left_open": "mds"}, "behind the else (notebook 06)"),
        ({"sites": 5808}, "a dict with the keys 'sites', 'clears_to_user'"),
        (None, "a dict with the keys 'sites'"),
    ],
}

MOVES = "    movb (%rsi), %al\n    movb %al, (%rdi)\n"
WRONG["10-2"] += [
    (altered("10-2", (MOVES, MOVES.replace("%al", "%bl"))), "RBX is the caller's"),
    (altered("10-2", ("done:\n", "done:\n    std\n")), "DF is left set"),
    (altered("10-2", ("    movq %rdx, %rcx\n", "    movzbl %dl, %ecx\n")), "256 bytes: byte 0 is not copied"),
    (altered("10-2", ("    movq %rdx, %rcx\n", "    movzwl %dx, %ecx\n")), "65539 bytes"),
    (
        altered("10-2", ("    movq %rdx, %rcx\n", "    movl %edx, %ecx\n")),
        "21474836483 bytes: byte 3 is not copied",
    ),
    (altered("10-2", ("    decq %rcx\n", "    decb %cl\n")), "without FSRM, 256 bytes"),
    (altered("10-2", ("    rep movsb\n", "    rep movsq\n")), "beyond the end"),
    (altered("10-2", ("    rep movsb\n", "    verw 8(%rsp)\n    rep movsb\n")), "VERW runs"),
    (altered("10-2", ("    rep movsb\n", "    movsb\n")), "1 beyond the end"),
    (
        altered("10-2", ("    movq %rdx, %rcx\n", "    movq %rdx, %rcx\n    pushq %rcx\n")),
        "is the stack balanced?",
    ),
    (altered("10-2", ("    rep movsb\n", "    pushq %rcx; popq %r15\n    rep movsb\n")), "R15 is the caller's"),
    (altered("10-2", ("    rep movsb\n", "    std\n    rep movsb\n    cld\n")), "byte 1 is"),
    (altered("10-2", ("    incq %rdi\n", "    incl %edi\n    movb $0, (%rdi)\n")), "beyond the end"),
    (altered("10-2", ("    movb (%rsi), %al", "    movw (%rsi), %ax")), "reads beyond"),
    (altered("10-2", ("    movb %al, (%rdi)", "    movb %al, (%rdi)\n    movb $0, (%rsi)")), "writes to"),
]
BY_WORDS = """.include "alternative.inc"
entry: ALTERNATIVE "jmp slow", "", X86_FEATURE_FSRM
 movq %rdx, %rcx
 rep movsb
 ret
slow: movq %rdx, %rcx
 shrq $3, %rcx
 rep movsq
 andl $7, %edx
 jz 2f
1: movb (%rsi), %al
 movb %al, (%rdi)
 incq %rsi
 incq %rdi
 decl %edx
 jnz 1b
2: ret
"""
RIGHT = {
    "10-1": [
        {"zen": 4, "facts": ["verw_clear"], "cmdline": "tsa=vm"},
        {"cmdline": "quiet tsa=vm", "facts": {"verw_clear", "tsa_sq_no"}, "zen": 3, "hypervisor": False},
    ],
    "10-2": [
        BY_WORDS,
        BY_WORDS.replace("entry: ", "entry: testq %rdx, %rdx\n jz 2f\n "),
        altered("10-2", (MOVES, MOVES.replace("%al", "%r8b"))),
        altered("10-2", ("    movq %rdx, %rcx\n", "    cld\n    movq %rdx, %rcx\n")),
    ],
    "10-3": [
        {**REPORT, "intel": ("CLEAR_CPU_BUF",), "amd": {"CLEAR_CPU_BUF_VM"}},
        {**REPORT, "left_open": " MMIO", "intel": ["clear_cpu_buf"]},
    ],
}

SITE = exercise("10-4").solution.partition("\n\n\nanswer")[0]


def site(old, new):
    """The right function with something wrong, as text."""
    assert SITE.count(old) == 1, old
    return SITE.replace(old, new)


WRONG |= {
    "10-4": [
        (site(", signed=True", ""), "The offset has a sign"),
        (site("at + offset", "at + 4 + offset"), "The first field counts from its own place."),
        (site("at + offset", "offset"), "The first field counts from its own place."),
        (site("record[0:4]", "record[4:8]"), "That is where the replacement leads."),
        (site("record[10] + record[12]", "record[10]"), "longer than its original code"),
        (site("record[10] + record[12]", "record[11]"), "Which of the three lengths make the site?"),
        (site("record[10] + record[12]", "record[10] or record[12]"), "longer than its original code"),
        (site("record[10] + record[12]", "record[12]"), "Which of the three lengths make the site?"),
        (site("record[10] + record[12]", "record[12] + record[13]"), "Which of the three lengths make the site?"),
        (site("record[10] + record[12]", "max(record[10], record[11])"), "its site is at"),
        (site('"little"', '"big"'), "The first field counts from its own place."),
        (site("return at + offset, record[10] + record[12]", "return None"), "Every record has a site."),
        (
            site("return at + offset, record[10] + record[12]", "return at + offset"),
            "it should return a pair of numbers",
        ),
        (site("return at + offset, record[10] + record[12]", "while True: pass"), "a loop without an end?"),
        (site("record[12]", "record[14]"), "index out of range"),
        ("def site_of(at):\n    return at, 3", "TypeError"),
        ((1, 2), "made with def"),
    ],
    "10-5": [
        ("", "at least one of the eight"),
        ("abcdefgh", "c, addq $8, %rsp: no. ADD writes every arithmetic flag"),
        ("abdefh", "e, btl $0, %eax: no. of PF and SF the manual says"),
        ("abdfgh", "g, incl %eax: no. INC leaves CF alone"),
        ("abdh", "one more may stand there: think of notl"),
        ("abfh", "think of leaq"),
        ("adfh", "think of verw"),
        ("ah", "think of verw"),
        ("abdfz", "'z' is none of the letters"),
        ({"abdfh": True}, "answer should be letters"),
        (5, "should be letters"),
        ({"a": 1}, "should be letters"),
    ],
}

RIGHT |= {
    "10-4": [
        "import struct\n\ndef answer(at, record):\n    site, _, _, old, _, pad, _ = struct.unpack('<iiHBBBB', bytes(record))\n    return [at + site, old + pad]",
        site("record[10] + record[12]", "sum(record[10:13]) - record[11]"),
    ],
    "10-5": ["HFDBA", ["a", "b", "d", "f", "h"], "a, b, d, f and h".replace("and ", "")],
}
