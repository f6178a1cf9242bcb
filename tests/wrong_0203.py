"""Wrong answers to the exercises of notebooks 02 and 03, each with the words that must be in the reply."""

from answers import altered, cell

from vmenter.course.exercises import every
from vmenter.course.exercises.nb02 import VERW_AT, moved_verw

HEAD = '.include "alternative.inc"\n.include "features.inc"\nselector: .short 0x18\n'
TASKS = every()


def three(body, order=("clear_if_mmio", "MMIO", "clear", "")):
    first, one, second, two = order
    features = {"MMIO": "X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO", "": "X86_FEATURE_CLEAR_CPU_BUF_VM"}
    return (
        HEAD
        + ".macro clear\n verw selector(%rip)\n.endm\n.macro clear_if_mmio\n"
        + body
        + f'\n.endm\nentry:\n ALTERNATIVE_2 "", {first}, {features[one]}, {second}, {features[two]}\n ret\n'
    )


_IMAGE, _ENTRY, MOVED = moved_verw()
UNMOVED = _IMAGE.read(_ENTRY.replacement + VERW_AT + 3, 4)
GOOD = " testl $4, 8(%rsp)\n jz .Lno\\@\n verw selector(%rip)\n.Lno\\@:"

WRONG = {
    "02-2": [
        (
            altered("02-2", ('"", "verw selector(%rip)"', '"verw selector(%rip)", ""')),
            "without features VERW should not run",
        ),
        (altered("02-2", ("X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_CLEAR_CPU_BUF + NOT")), "without features"),
        (altered("02-2", ("X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_SMAP")), "with CLEAR_CPU_BUF VERW should run"),
        (altered("02-2", ("selector(%rip)", "entry(%rip)")), "reads entry"),
        (altered("02-2", ('"verw selector(%rip)"', '"jmp 1f; verw selector(%rip); 1:"')), "it runs “never”"),
        (altered("02-2", ("    ret\n", "")), "is a ret or a jump missing"),
        (altered("02-2", ("verw", "werv")), "invalid instruction"),
        (HEAD + "entry: ret\n", "table of alternatives is empty"),
        (HEAD + 'start: ALTERNATIVE "", "nop", 1\n', "no label entry"),
        (
            altered("02-2", ("X86_FEATURE_CLEAR_CPU_BUF", "CLEAR_CPU_BUF")),
            "did you mean X86_FEATURE_CLEAR_CPU_BUF",
        ),
        (altered("02-2", ('"verw selector(%rip)"', "verw selector(%rip)")), "blanks in it needs quotes"),
        (7, "should be text"),
    ],
    "02-1": [
        ("53 00 00 00", "byte 0"),
        (
            MOVED[::-1].hex(),
            "would read 0xffffffffdd000053. Are the bytes in the wrong order? The lowest comes first",
        ),
        (UNMOVED.hex(), "unchanged"),
        (MOVED[:1].hex(), "four bytes; these are 1"),
        (MOVED.hex() + "00", "these are 5"),
        ("0x59", "these are 1"),
        (0x59, "four bytes as text"),
        ([*MOVED], "four bytes as text"),
        (MOVED.hex() * 2, "these are 8"),
    ],
    "02-3": [
        (cell(TASKS["02-2"].solution), "reads"),
        (altered("02-3", ('"jmp 1f", ""', '"", "jmp 1f"')), "without features VERW should not run"),
        (altered("02-3", ('"jmp 1f"', '"jz 1f"')), "without features"),
        (altered("02-3", ("    verw selector(%rip)\n", "")), "with CLEAR_CPU_BUF VERW should run"),
        (altered("02-3", ("X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_CLEAR_CPU_BUF_VM")), "with CLEAR_CPU_BUF"),
        (altered("02-3", ("X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_CLEAR_CPU_BUF + NOT")), "without features"),
    ],
    "03-1": [
        (three(GOOD, ("clear", "", "clear_if_mmio", "MMIO")), "with both features, VERW should always run"),
        (three(GOOD.replace("jz", "jnz")), "is it inverted? Run flags 0x4"),
        (three(" verw selector(%rip)"), "CLEAR_CPU_BUF_VM_MMIO alone"),
        (three(GOOD.replace("$4", "$2")), "something else than bit 2"),
        (three(GOOD.replace("8(%rsp)", "(%rsp)")), "something else than bit 2"),
        (three(GOOD.replace("testl $4", "btl $4").replace("jz", "jnc")), "something else than bit 2"),
        (three(GOOD.replace("testl $4", "btl $2").replace("jz", "jc")), "is it inverted?"),
        (three(GOOD, ("clear", "MMIO", "clear_if_mmio", "")), "CLEAR_CPU_BUF_VM_MMIO alone"),
        (altered("03-1", ('ALTERNATIVE_2 ""', 'ALTERNATIVE_2 "clear"')), "no feature"),
    ],
    "03-2": [
        ("a", "same rule"),
        ("b", "254 bytes"),
        ("d", "stays inside"),
        ("e", "one of the letters"),
        ("z", "one of the letters"),
    ],
}

CALLED = (
    HEAD + 'entry:\n ALTERNATIVE "", "call clear", X86_FEATURE_CLEAR_CPU_BUF\n ret\n'
    "clear:\n verw selector(%rip)\n ret\n"
)


def clearing(code, more=""):
    """An entry of one site and what stands behind it."""
    return f"{HEAD}entry:\n {code}\n ret\n{more}"


def instead(text):
    """An alternative that puts a text where nothing was."""
    return f'ALTERNATIVE "", "{text}", X86_FEATURE_CLEAR_CPU_BUF'


JUMP = 'ALTERNATIVE "jmp 1f", "", X86_FEATURE_CLEAR_CPU_BUF'
ABSOLUTE = [clearing(instead("verw selector")), clearing(instead("movabsq $selector, %rax; verw (%rax)"))]
for id_ in ("02-2", "02-3"):
    right = altered(id_)
    WRONG[id_] += [
        (right.replace("    ret\n", f"    {line}\n    ret\n"), reason)
        for line, reason in (
            ("movl $0, 0", "a null pointer?"),
            ("hlt", "the CPU halts"),
            ("verw selector(%rip)", "without features VERW should not run"),
            ("pushq %rax", "is the stack balanced?"),
            ("std", "DF is left set"),
            ("movq $1, %rbx", "RBX is the caller's"),
            ("movl $1, %ecx", "nothing should happen here, and RCX"),
            ("movq $0, 8(%rsp)", "writes to the caller's stack"),
            ("movq $0, (%rsp)", "the code goes on at 0x0"),
            ("movl $1, more(%rip); .data; more: .long 0; .text", "writes to more"),
            ("cli", "CLI runs"),
            ("wbinvd", "WBINVD runs"),
            ("vmlaunch", "ended with VM-Enter"),
            ("1: jmp 1b", "goes on and on"),
            ("1: jnz 1b", "goes on and on"),
            ("jz 1f; verw selector(%rip); 1:", "without features VERW should not run"),
        )
    ]
    WRONG[id_] += [
        (right.replace("verw selector(%rip)", text), reason)
        for text, reason in (
            ("verw selector(%rip); verw selector(%rip)", "it runs 2 times"),
            ("verw %ax", "VERW of a register (verw %ax) runs"),
            ("verw 8(%rsp)", "not selector"),
            ("movw $0x18, %ax; verw %ax", "VERW of a register (verw %ax) runs"),
            ("verr selector(%rip)", "it runs “never”"),
            ("jz 9f; verw selector(%rip); 9:", "flags set: VERW should run, once, but it runs “never”"),
            ("jc 9f; verw selector(%rip); 9:", "flags set: VERW should run, once, but it runs “never”"),
            ("testq %rax, %rax; jnz 9f; verw selector(%rip); 9:", "flags set: VERW should run"),
        )
    ]
ORDER = altered("03-1")
WRONG["03-1"] += [
    (ORDER.replace(old, new), reason)
    for old, new, reason in (
        ("    testl $4, 8(%rsp)\n", "", "something else than bit 2"),
        (
            "    testl $4, 8(%rsp)\n",
            "    testl $4, 8(%rsp)\n    cmpl %eax, %eax\n",
            "cmpl %eax, %eax looks at something else",
        ),
        ("    testl $4, 8(%rsp)\n", "    testl $4, 8(%rsp)\n    testq %rsp, %rsp\n", "something else than bit 2"),
        ("    jz .Lno_mmio", "    jnz .Lno_mmio", "is it inverted?"),
        ("    jz .Lno_mmio", "    jmp .Lno_mmio", "with CLEAR_CPU_BUF_VM_MMIO alone"),
        ("    jz .Lno_mmio", "    js .Lno_mmio", "something else than bit 2"),
        ("    testl $4, 8(%rsp)", "    pushq %rax\n    testl $4, 16(%rsp)", "is the stack balanced?"),
        ("    testl $4, 8(%rsp)", "    cmpl $4, 8(%rsp)", "something else than bit 2"),
        ("    testl $4, 8(%rsp)", "    testl $4, 16(%rsp)", "is it inverted?"),
        ("    testl $4, 8(%rsp)", "    testl $6, 8(%rsp)", "something else than bit 2"),
        ("    testl $4, 8(%rsp)", "    testl $4, 12(%rsp)", "is it inverted?"),
        ("    testl $4, 8(%rsp)", "    testl $4, %edi", "something else than bit 2"),
        ("    testl $4, 8(%rsp)", "    andl $4, 8(%rsp)", "writes to the caller's stack"),
        ("    testl $4, 8(%rsp)", "    btrl $2, 8(%rsp)", "writes to the caller's stack"),
        ("    testl $4, 8(%rsp)", "    movl 8(%rsp), %ebx\n    testl $4, %ebx", "RBX is the caller's"),
        ("    ret\n", "    verw selector(%rip)\n    ret\n", "with no feature"),
        (
            "clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear,",
            "clear, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear,",
            "runs “always”",
        ),
    )
]
BIT = " movl 8(%rsp), %eax\n testl $4, %eax\n jz .Lno\\@\n verw selector(%rip)\n.Lno\\@:"
RIGHT = {
    "02-1": [MOVED.hex().upper(), MOVED.hex(" ") + " "],
    "02-2": [
        CALLED,
        clearing(JUMP, "").replace(" ret\n", " verw selector(%rip)\n1: ret\n"),
        clearing('ALTERNATIVE "nop; nop", "verw selector(%rip); nop", X86_FEATURE_CLEAR_CPU_BUF'),
        clearing('ALTERNATIVE "verw selector(%rip)", "", X86_FEATURE_CLEAR_CPU_BUF + NOT'),
        *ABSOLUTE,
    ],
    "02-3": [
        CALLED,
        *ABSOLUTE,
        clearing(JUMP.replace("jmp 1f", "jmp 1f; nop")).replace(" ret\n", " verw selector(%rip)\n1: ret\n"),
        clearing(instead("jmp more"), "more: verw selector(%rip)\n ret\n"),
    ],
    "03-1": [
        three(GOOD.replace("testl $4", "btl $2").replace("jz", "jnc")),
        three(GOOD.replace("testl", "testb")),
        three(BIT),
        three(BIT.replace("testl $4, %eax\n jz", "shrl $3, %eax\n jnc")),
        three(GOOD).replace('"",', '"nop",'),
        three(GOOD.replace("verw selector(%rip)", "verw selector")),
    ],
    "03-2": ["C", " c.", "(C)"],
}
