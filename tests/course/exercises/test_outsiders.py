"""Answers by one who has not seen the judges: a wrong one is refused in words, a right one passes, in whatever form.

What is dear is sampled, by $VMENTER_FUZZ: `make fuzz` goes through all of it.
"""

import pytest
from fuzz import ALL
from outsiders import RIGHT, WRONG

from vmenter.course.exercises import every

TASKS = every()
FULL = 10_000  # what `make fuzz` asks for
# Seconds of the CPU for one answer, wrong or right; others take less. And what a plain run has for each exercise.
SECONDS = {
    "05-3": {"wrong": 0.15, "right": 1.3}, "07-1": {"wrong": 0.15, "right": 1.0}, "07-3": {"wrong": 0.2, "right": 1.5},
    "08-2": {"wrong": 0.7, "right": 4.0}, "08-3": {"wrong": 2.5, "right": 6.0}, "10-2": {"wrong": 0.05, "right": 1.0},
}  # fmt: skip
AFFORDED = 5


def some(id_, kind, answers):
    """All answers; of a dear exercise some, evenly spread."""
    most = len(answers)
    if id_ in SECONDS and ALL < FULL:
        most = min(most, max(2, int(AFFORDED / SECONDS[id_][kind])))
    return [answers[n * len(answers) // most] for n in range(most)]


def test_there_are_at_least_eight_wrong_and_two_right_ones_for_each_exercise():
    assert set(WRONG) == set(RIGHT) == set(TASKS)
    assert min(map(len, WRONG.values())) >= 8
    assert min(map(len, RIGHT.values())) >= 2


@pytest.mark.parametrize("id_", TASKS)
def test_a_wrong_answer_of_an_outsider_is_refused_in_words(id_):
    for answer in some(id_, "wrong", WRONG[id_]):
        feedback = TASKS[id_].check(answer)
        assert not feedback.passed, answer
        assert feedback.message.strip()
        assert "Traceback" not in feedback.message


@pytest.mark.parametrize("id_", TASKS)
def test_a_right_answer_of_an_outsider_passes(id_):
    for answer in some(id_, "right", RIGHT[id_]):
        feedback = TASKS[id_].check(answer)
        assert feedback.passed, (answer, feedback.message)
