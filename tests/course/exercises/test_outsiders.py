"""Answers by one who has not seen the judges: a wrong one is refused in words, a right one passes, in whatever form.

Where answers are code, which is run, a run tries some of them; `make fuzz` goes through all.
"""

import pytest
from answers import tried
from outsiders import RIGHT, WRONG

from vmenter.course.exercises import every

TASKS = every()


def test_there_are_at_least_eight_wrong_and_two_right_ones_for_each_exercise():
    assert set(WRONG) == set(RIGHT) == set(TASKS)
    assert min(map(len, WRONG.values())) >= 8
    assert min(map(len, RIGHT.values())) >= 2


@pytest.mark.parametrize("id_", TASKS)
def test_a_wrong_answer_of_an_outsider_is_refused_in_words(id_):
    for answer in tried(id_, WRONG[id_]):
        feedback = TASKS[id_].check(answer)
        assert not feedback.passed, answer
        assert feedback.message.strip()
        assert "Traceback" not in feedback.message


@pytest.mark.parametrize("id_", TASKS)
def test_a_right_answer_of_an_outsider_passes(id_):
    for answer in tried(id_, RIGHT[id_], right=True):
        feedback = TASKS[id_].check(answer)
        assert feedback.passed, (answer, feedback.message)
