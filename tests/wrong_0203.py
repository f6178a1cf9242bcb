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
CALLED = (
    HEAD + 'entry:\n ALTERNATIVE "", "call clear", X86_FEATURE_CLEAR_CPU_BUF\n ret\n'
    "clear:\n verw selector(%rip)\n ret\n"
)
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
        (MOVED[::-1].hex(), "lowest comes first"),
        (UNMOVED.hex(), "unchanged"),
        (MOVED[:1].hex(), "four bytes; these are 1"),
        (MOVED.hex() + "00", "these are 5"),
        ("0x59", "four bytes as text"),
        (0x59, "four bytes as text"),
    ],
    "02-3": [
        (cell(TASKS["02-2"].solution), "reads"),
        (altered("02-3", ('"jmp 1f", ""', '"", "jmp 1f"')), "without features VERW should not run"),
        (altered("02-3", ('"jmp 1f"', '"jz 1f"')), "without features"),
        (
            CALLED,
            "calls are not followed",
        ),
        (altered("02-3", ("    verw selector(%rip)\n", "")), "with CLEAR_CPU_BUF VERW should run"),
        (altered("02-3", ("X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_CLEAR_CPU_BUF_VM")), "with CLEAR_CPU_BUF"),
        (altered("02-3", ("X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_CLEAR_CPU_BUF + NOT")), "without features"),
    ],
    "03-1": [
        (three(GOOD, ("clear", "", "clear_if_mmio", "MMIO")), "with both features, VERW should always run"),
        (three(GOOD.replace("jz", "jnz")), "is it inverted?"),
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
        (["c"], "one of the letters"),
        ("z", "one of the letters"),
    ],
}
