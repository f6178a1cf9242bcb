"""Answers as the tests get them: from the text of a cell, as a learner would run it."""

from vmenter.exercises import exercise


def cell(text):
    """Run a cell's text and return what it calls ``answer``."""
    names = {}
    exec(text, names)  # what a learner's cell does
    return names["answer"]


def altered(id_, *changes):
    """Return the reference solution with something wrong; each (old, new) must fit just once."""
    text = cell(exercise(id_).solution)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
