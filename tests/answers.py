"""Answers as the tests get them: from the text of a cell, as a learner would run it."""


def cell(text):
    """Run a cell's text and return what it calls ``answer``."""
    names = {}
    exec(text, names)  # what a learner's cell does
    return names["answer"]
