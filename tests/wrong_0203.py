"""Wrong answers to the exercises of notebooks 02 and 03, each with the words that must be in the reply."""

from answers import cell

from vmenter.exercises import every

HEAD = '.include "alternative.inc"\n.include "features.inc"\nselector: .short 0x18\n'
TASKS = every()


def swap(id_, old, new):
    """The reference solution with one thing wrong."""
    text = TASKS[id_].solution
    assert old in text
    return cell(text.replace(old, new))


def three(body, order=("clear_if_mmio", "MMIO", "clear", "")):
    first, one, second, two = order
    features = {"MMIO": "X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO", "": "X86_FEATURE_CLEAR_CPU_BUF_VM"}
    return (
        HEAD
        + ".macro clear\n verw selector(%rip)\n.endm\n.macro clear_if_mmio\n"
        + body
        + f'\n.endm\nentry:\n ALTERNATIVE_2 "", {first}, {features[one]}, {second}, {features[two]}\n ret\n'
    )


GOOD = " testl $4, 8(%rsp)\n jz .Lno\\@\n verw selector(%rip)\n.Lno\\@:"

WRONG = {
    "02-1": [
        (
            swap("02-1", '"", "verw selector(%rip)"', '"verw selector(%rip)", ""'),
            "without features VERW should not run",
        ),
        (swap("02-1", "X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_CLEAR_CPU_BUF + NOT"), "without features"),
        (swap("02-1", "X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_SMAP"), "with CLEAR_CPU_BUF VERW should run"),
        (swap("02-1", "selector(%rip)", "entry(%rip)"), "reads entry"),
        (swap("02-1", '"verw selector(%rip)"', '"jmp 1f; verw selector(%rip); 1:"'), "it runs “never”"),
        (swap("02-1", "    ret\n", ""), "is a ret or a jump missing"),
        (swap("02-1", "verw", "werv"), "invalid instruction"),
        (HEAD + "entry: ret\n", "table of alternatives is empty"),
        (HEAD + 'start: ALTERNATIVE "", "nop", 1\n', "no label entry"),
        (7, "should be text"),
    ],
    "02-2": [
        ("53 00 00 00", "byte 0"),
        ("00 00 00 59", "byte 0"),
        ("59", "four bytes; these are 1"),
        ("59 00 00 00 00", "these are 5"),
        ("0x59", "four bytes as text"),
        (0x59, "four bytes as text"),
    ],
    "02-3": [
        (cell(TASKS["02-1"].solution), "reads"),
        (swap("02-3", '"jmp 1f", ""', '"", "jmp 1f"'), "without features VERW should not run"),
        (swap("02-3", '"jmp 1f"', '"jz 1f"'), "without features"),
        (swap("02-3", "    verw selector(%rip)\n", ""), "with CLEAR_CPU_BUF VERW should run"),
        (swap("02-3", "X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_CLEAR_CPU_BUF_VM"), "with CLEAR_CPU_BUF"),
        (swap("02-3", "X86_FEATURE_CLEAR_CPU_BUF", "X86_FEATURE_CLEAR_CPU_BUF + NOT"), "without features"),
    ],
    "03-1": [
        (three(GOOD, ("clear", "", "clear_if_mmio", "MMIO")), "with both features, VERW should always run"),
        (three(GOOD.replace("jz", "jnz")), "is it inverted?"),
        (three(" verw selector(%rip)"), "CLEAR_CPU_BUF_VM_MMIO alone"),
        (three(GOOD.replace("$4", "$2")), "something else than bit 2"),
        (three(GOOD.replace("8(%rsp)", "(%rsp)")), "something else than bit 2"),
        (three(GOOD, ("clear", "MMIO", "clear_if_mmio", "")), "CLEAR_CPU_BUF_VM_MMIO alone"),
        (swap("03-1", 'ALTERNATIVE_2 ""', 'ALTERNATIVE_2 "clear"'), "no feature"),
    ],
    "03-2": [
        ("a", "same rule"),
        ("b", "255 bytes"),
        ("d", "stays inside"),
        ("e", "one of the letters"),
        (["c"], "one of the letters"),
        ("C", "one of the letters"),
    ],
}
