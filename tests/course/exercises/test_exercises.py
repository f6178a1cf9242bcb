"""Every exercise: the reference solution passes, the starter fails, and plausible wrong answers are refused with
the right reason."""

import re

import lab_images
import pytest
import wrong_0001
import wrong_0104
import wrong_0203
import wrong_0506
import wrong_08
import wrong_09
import wrong_10
from answers import cell
from wrong_07 import WRONG as WRONG_07

from vmenter import LabError
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select
from vmenter.course.exercises import check, every, exercise, nb00, nb01
from vmenter.emulator.machine import Machine

TASKS = every()


WRONG = (
    wrong_0001.WRONG
    | wrong_0104.WRONG
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


@pytest.mark.parametrize(("id_", "answer"), [(id_, one) for id_, some in wrong_0001.RIGHT.items() for one in some])
def test_a_right_answer_in_another_form_passes(id_, answer):
    feedback = check(id_, answer)
    assert feedback.passed, feedback


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
    with pytest.raises(LabError, match="there are 00-1"):
        exercise("99-9")


def test_the_lines_of_exercise_00_1_are_those_that_the_model_writes():
    lines = select(PRESETS["cascade-lake-no-tsx"].host, "7.3.4").sysfs.to_json()
    names = dict(zip(nb00.LINES, ("mds", "taa", "mmio", "rfds", "l1tf"), strict=True))
    assert {name: lines[short] for name, short in names.items()} == nb00.LINES
    assert all(f"    {name}: {line}" in TASKS["00-1"].task for name, line in nb00.LINES.items())


def test_the_scene_of_exercise_01_4_is_the_one_that_its_judge_has():
    words = {"load": "loads", "store": "stores", "verw": "runs VERW", "l1d_flush": "flushes the L1 data cache"}
    told = TASKS["01-4"].task.split("\n")[1].strip().split("; ")
    assert len(told) == len(nb01.SCENE)
    for text, deed in zip(told, nb01.SCENE, strict=True):
        assert text.startswith(words[deed.kind])
        assert f" {deed.value}" in text
