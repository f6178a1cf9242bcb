"""What the tests of the course share: what does not end is ended sooner than in a learner's notebook."""

import pytest

from vmenter.code import assembler
from vmenter.course.judging import limited


@pytest.fixture(autouse=True)
def sooner(monkeypatch):
    """Let loops, in a function or for the assembler, cost the tests less time than a learner is given."""
    monkeypatch.setattr(limited, "SECONDS", limited.SECONDS * 0.4)
    monkeypatch.setattr(assembler, "TIME_LIMIT", assembler.TIME_LIMIT * 0.4)


@pytest.fixture
def as_long_as_for_a_learner(sooner, monkeypatch):
    """Give them the learner's time all the same, where a test says how long that is."""
    monkeypatch.undo()
