"""Every exercise: the reference solution passes, the starter fails, and plausible wrong answers are refused with
the right reason."""

import re
from dataclasses import asdict

import lab_images
import pytest
import wrong_0001
import wrong_0104
import wrong_0203
import wrong_0204
import wrong_0506
import wrong_07
import wrong_08
import wrong_09
import wrong_10
from answers import cell, judged, tried
from both_cpus import compared

from vmenter import LabError
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select
from vmenter.code.image import from_bytes
from vmenter.course.exercises import check, every, exercise, nb00, nb01, nb03
from vmenter.course.judging import paths
from vmenter.emulator.machine import Machine
from vmenter.patching import alternative_table, alternatives
from vmenter.patching.alternative_table import Engine, Rules
from vmenter.patching.lab import lab_object

TASKS = every()
COMPARED = (
    15  # runs for each test, which is mostly one answer; an audit has hundreds of them, of much the same code
)


@pytest.fixture(autouse=True)
def cpus(monkeypatch):
    """What answers run, the first runs of each, is done by the interpreter as well, and comes out the same."""
    with compared(monkeypatch.setattr, COMPARED) as done:
        yield done


TABLES = (wrong_0001, wrong_0104, wrong_0203, wrong_0204, wrong_0506, wrong_07, wrong_08, wrong_09, wrong_10)
WRONG = {id_: answers for table in TABLES for id_, answers in table.WRONG.items()}
for id_ in ("01-2", "03-2", "04-2", "05-2", "06-3"):
    WRONG[id_] = [*WRONG[id_], *((odd, "one of the letters") for odd in ("", "ab", {"a": 1}, b"a", 0.5))]
RIGHT = {id_: answers for table in TABLES for id_, answers in table.RIGHT.items()}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_reference_solution_passes(task):
    assert task.check(cell(task.solution)).passed, task.check(cell(task.solution))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_starter_does_not_pass(task):
    assert not task.check(cell(task.starter)).passed


def test_what_an_answer_runs_is_compared(cpus):
    assert TASKS["07-1"].check(cell(TASKS["07-1"].solution)).passed
    assert len(cpus.runs) == COMPARED


def test_every_exercise_has_wrong_answers_to_refuse_and_right_ones_in_another_form():
    assert set(WRONG) == set(RIGHT) == set(TASKS)
    assert all(len(answers) >= 8 for answers in WRONG.values())
    assert all(len(answers) >= 2 for answers in RIGHT.values())


@pytest.mark.parametrize(
    ("id_", "answer", "reason"),
    [(id_, *pair) for id_, pairs in WRONG.items() for pair in tried(id_, pairs)],
)
def test_a_wrong_answer_is_refused_for_the_right_reason(id_, answer, reason):
    feedback = judged(id_, answer) if type(answer) is str else check(id_, answer)
    assert not feedback.passed
    assert reason in feedback.message


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_dollar_sign_stands_in_code_alone_where_it_makes_no_formula(task):
    for text in (task.title, task.task, *task.hints, task.because):
        assert "$" not in re.sub(r"`[^`]*`", "", text)


def test_code_and_stress_in_a_text_are_shown_and_not_their_marks():
    shown = "".join(task._repr_html_() for task in TASKS.values())
    told = re.sub(r"<(pre|code)[^>]*>.*?</\1>", "", shown, flags=re.DOTALL)
    assert "<em>every</em>" in told
    assert re.findall(r"`|\*[a-z]|[a-z]\*", told) == []


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_has_three_hints_that_grow(task):
    assert len(task.hints) == 3
    assert all(len(hint) > 40 for hint in task.hints)
    assert all(text in task._repr_html_() for text in ("Hint 1", "Hint 3", "A solution, and why"))
    assert task.hints[2] not in repr(task)


@pytest.mark.parametrize(
    ("id_", "answer"), [(id_, one) for id_, answers in RIGHT.items() for one in tried(id_, answers, right=True)]
)
def test_a_right_answer_in_another_form_passes(id_, answer):
    feedback = check(id_, answer)
    assert feedback.passed, feedback


@pytest.mark.parametrize(("letter", "line"), re.findall(r"^([a-d])  `(.+?)`", TASKS["04-2"].task, re.MULTILINE))
def test_a_line_between_cmp_and_je_does_what_the_exercise_says(letter, line):
    image = lab_images.code(f"cmpb $0, %bl\n{line}\nje 1f\nvmresume\n1: vmlaunch")
    entered = [Machine(image).run("start", {"rbx": before}).vm_enter for before in (0, 1)]
    right = check("04-2", letter).passed
    assert entered == ["VMLAUNCH", "VMRESUME" if right else "VMLAUNCH"]


@pytest.mark.parametrize("features", [{"VM"}, {"VM", "MMIO"}, {"MMIO"}, set()], ids=["VM", "both", "MMIO", "none"])
@pytest.mark.parametrize("reaches", [False, True])
def test_a_wrong_verw_runs_under_the_early_engine_where_03_2_says_so(features, reaches):
    image = from_bytes(lab_object("patching"), "patching.o")
    rules = Rules(Engine.EARLY, 14, wide_nops=False)
    start = image.symbols.get("three_way").address
    (site,) = (one for one in alternative_table.read(image).sites if one.address == start)
    present = {{"VM": nb03.VM, "MMIO": nb03.MMIO}[name] for name in features}
    patched = alternatives.apply(image, [alternatives.patch(image, site, present, rules)])
    selector = image.symbols.get("verw_selector").address
    wrong = {
        any(step.is_clear and step.rip_target != selector for step in way)
        for way in paths.ways(patched, start)
        if not any(step.mnemonic in ("je", "jz") for step in way) or any(step.is_clear for step in way) == reaches
    }
    assert wrong == {"VM" in features or ("MMIO" in features and reaches)}
    assert check("03-2", "c").passed


def test_an_inverted_jump_is_shown_with_a_vcpu_that_it_lets_pass():
    said = check("03-1", cell(TASKS["03-1"].solution.replace("jz .L", "jnz .L"))).message
    flags = int(
        re.search(r"lets a vCPU that reaches MMIO pass without VERW.*Run flags (0x[0-9a-f]+)", said)[1], 16
    )
    assert flags & 4
    assert "verw" not in said.partition("Run flags")[2]


class Anything(str):
    """A text that says that it equals everything."""

    __slots__ = ()

    def __eq__(self, _other):
        return True

    def __ne__(self, _other):
        return False

    __hash__ = str.__hash__


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_an_answer_that_equals_everything_is_judged_by_what_it_is(task):
    odd = Anything("?")
    right = cell(task.solution)
    answers = [odd, [odd], {odd: odd}, object(), [object()]]
    answers += [dict.fromkeys(right, odd), {key: [odd, odd] for key in right}] if isinstance(right, dict) else []
    for answer in answers:
        assert not task.check(answer).passed


def test_an_unknown_exercise_is_one_clear_error():
    with pytest.raises(LabError, match="there are 00-1"):
        exercise("99-9")


def test_the_lines_of_exercise_00_1_are_those_that_the_model_writes():
    lines = asdict(select(PRESETS["cascade-lake-no-tsx"].host, "7.3.4").sysfs)
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
