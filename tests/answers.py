"""Answers as the tests get them: from the text of a cell, as a learner would run it."""

import linecache

from vmenter.course.exercises import exercise


def cell(text):
    """Run a cell's text, as a notebook does, and return what it calls ``answer``."""
    names, file = {}, f"<cell {hash(text):x}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    exec(compile(text, file, "exec"), names)  # what a learner's cell does
    return names["answer"]


def altered(id_, *changes):
    """Return the reference solution with something wrong; each (old, new) must fit just once."""
    text = cell(exercise(id_).solution)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
