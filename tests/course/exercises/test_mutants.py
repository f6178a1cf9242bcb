"""Mutants of solutions: what passes is right, and it is known why. (All exercises: ``python tests/mutants.py ID …``.)"""

import pytest
from fuzz import EVERYTHING
from mutants import explained, mutants, survivors

from vmenter.course.exercises import exercise


@pytest.mark.parametrize("id_", ["02-2", "02-3"] if EVERYTHING else ["02-2"])
def test_a_mutant_that_passes_is_right_for_a_known_reason(id_):
    assert [done for done in survivors(id_) if not explained(done)] == []


@pytest.mark.parametrize(
    ("id_", "at_least"), [("03-1", 100), ("05-3", 200), ("06-1", 100), ("07-1", 200), ("09-2", 50)]
)
def test_there_are_mutants_of_every_kind_of_answer(id_, at_least):
    assert len(mutants(id_)) >= at_least


@pytest.mark.parametrize("id_", ["06-1", "07-1", "07-3", "04-5"])
def test_a_stub_that_lacks_any_of_its_lines_is_refused(id_):
    for done, mutant in mutants(id_).items():
        if done.startswith("drop "):
            assert not exercise(id_).check(mutant).passed, done
