"""Every exercise: the reference solution passes, the starter fails, and plausible wrong answers are refused with
the right reason."""

import re

import lab_images
import pytest
import wrong_0104
import wrong_0203
import wrong_0506
import wrong_08
import wrong_09
import wrong_10
from answers import cell
from wrong_07 import WRONG as WRONG_07

from vmenter import LabError
from vmenter.course.exercises import check, every, exercise
from vmenter.emulator.machine import Machine

TASKS = every()


WRONG = (
    wrong_0104.WRONG
    | wrong_0203.WRONG
    | wrong_0506.WRONG
    | WRONG_07
    | wrong_08.WRONG
    | wrong_09.WRONG
    | wrong_10.WRONG
)


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
    other = (
        wrong_0203.HEAD
        + 'entry:\n ALTERNATIVE "nop; nop", "verw selector(%rip); nop", X86_FEATURE_CLEAR_CPU_BUF\n ret\n'
    )
    assert check("02-2", other).passed
    assert check("03-2", " C").passed
    assert check(
        "03-1", wrong_0203.three(wrong_0203.GOOD.replace("testl $4", "btl $2").replace("jz", "jnc"))
    ).passed


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
