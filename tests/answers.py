"""Answers as the tests get them: from the text of a cell, as a learner would run it."""

import linecache
from functools import cache

from fuzz import EVERYTHING, OFTEN

from vmenter.course.exercises import Feedback, check, exercise

# An answer to these is run in every configuration, two seconds if it is right.
DEAR = ("08-2", "08-3")
# How many (wrong, right) answers a run tries: of those, and of other code, which is assembled and run.
FEW, SOME = ((4, 1), (8, 1)) if OFTEN else ((2, 1), (4, 1))


@cache
def judged(id_: str, answer: str) -> Feedback:
    """Judge an answer; what one test has judged, others look at."""
    return check(id_, answer)


def tried(id_, answers, *, right=False):
    """Return those of an exercise's answers that this run tries: where they are run, a sample, spread evenly."""
    right_one = cell(exercise(id_).solution)
    code = callable(right_one) or "\n" in str(right_one).strip()
    most = len(answers) if EVERYTHING or not code else min(len(answers), (FEW if id_ in DEAR else SOME)[right])
    return [answers[n * len(answers) // most] for n in range(most)]


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
