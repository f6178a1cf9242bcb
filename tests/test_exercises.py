"""Every exercise: the reference solution passes, the starter fails, and plausible wrong answers are refused with
the right reason."""

import re

import lab_images
import pytest
import wrong_0506
import wrong_answers_01_04
from test_exercises_07 import WRONG as WRONG_07

from vmenter.errors import LabError
from vmenter.exercises import check, every, exercise
from vmenter.machine import Machine

HEAD = '.include "alternative.inc"\n.include "features.inc"\nselector: .short 0x18\n'
TASKS = every()


def cell(text):
    names = {}
    exec(text, names)  # what a learner's cell does
    return names["answer"]


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
    **wrong_0506.WRONG,
}
WRONG |= wrong_answers_01_04.WRONG

WRONG |= WRONG_07


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_reference_solution_passes(task):
    assert task.check(cell(task.solution)).passed, task.check(cell(task.solution))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_starter_does_not_pass(task):
    assert not task.check(cell(task.starter)).passed


def test_every_exercise_has_wrong_answers_to_refuse():
    assert set(WRONG) == set(TASKS)
    assert all(len(answers) >= 5 for answers in WRONG.values())


@pytest.mark.parametrize(
    ("id_", "answer", "reason"),
    [(id_, *pair) for id_, pairs in WRONG.items() for pair in pairs],
)
def test_a_wrong_answer_is_refused_for_the_right_reason(id_, answer, reason):
    feedback = check(id_, answer)
    assert not feedback.passed
    assert reason in feedback.message


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_has_three_hints_that_grow(task):
    assert len(task.hints) == 3
    assert all(len(hint) > 40 for hint in task.hints)
    assert all(text in task._repr_html_() for text in ("Hint 1", "Hint 3", "A solution, and why"))
    assert task.hints[2] not in repr(task)


def test_another_solution_than_the_reference_passes_too():
    other = HEAD + 'entry:\n ALTERNATIVE "nop; nop", "verw selector(%rip); nop", X86_FEATURE_CLEAR_CPU_BUF\n ret\n'
    assert check("02-1", other).passed


def test_the_host_of_the_story_may_tell_its_microcode_in_either_way():
    for facts in (["fb_clear"], ["md_clear", "flush_l1d"]):
        assert check("01-3", {"bugs": ["l1tf", "mmio_stale_data"], "facts": facts}).passed
    assert check("01-1", "mitigations=off l1tf=flush").passed


@pytest.mark.parametrize(("letter", "line"), re.findall(r"^([a-d])  `(.+?)`", TASKS["04-2"].task, re.MULTILINE))
def test_a_line_between_cmp_and_je_does_what_the_exercise_says(letter, line):
    image = lab_images.code(f"cmpb $0, %bl\n{line}\nje 1f\nvmresume\n1: vmlaunch")
    entered = [Machine(image).run("start", {"rbx": before}).vm_enter for before in (0, 1)]
    right = check("04-2", letter).passed
    assert entered == ["VMLAUNCH", "VMRESUME" if right else "VMLAUNCH"]


def test_an_unknown_exercise_is_one_clear_error():
    with pytest.raises(LabError, match="there are 01-1"):
        exercise("99-9")
