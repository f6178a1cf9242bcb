"""Predictions: asked, kept in the reader's file, and shown beside the truth."""

import json

import pytest

from vmenter import LabError
from vmenter.course import progress
from vmenter.course.prediction.widget import predict, truth

QUESTIONS = ("How many of the six?", "Is the default among them?")


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("VMENTER_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


def test_a_guess_is_kept_in_the_readers_file(own_file):
    predict("t-1", *QUESTIONS).guesses = ["two", "yes"]
    assert json.loads(own_file.read_text())["predictions"] == {"t-1/1": "two", "t-1/2": "yes"}


def test_a_kept_guess_comes_back_when_the_cell_runs_again():
    predict("t-1", *QUESTIONS).guesses = ["two", ""]
    assert predict("t-1", *QUESTIONS).guesses == ["two", ""]
    assert truth("t-1", 2, "yes").guesses == ["two", ""]


def test_a_truth_that_is_on_the_page_already_shows_a_later_guess():
    asked, told, other = (
        predict("t-1", *QUESTIONS),
        truth("t-1", 2, "yes"),
        predict("t-2", "?") and truth("t-2", 1),
    )
    asked.guesses = ["three", "no"]
    assert told.guesses == ["three", "no"]
    assert other.guesses == [""]


def test_the_text_twins_say_the_same_whatever_was_guessed():
    empty = repr(predict("t-1", *QUESTIONS)), repr(truth("t-1", 2, "yes"))
    predict("t-1", *QUESTIONS).guesses = ["secret", "secret"]
    assert (repr(predict("t-1", *QUESTIONS)), repr(truth("t-1", 2, "yes"))) == empty
    assert all(question in twin for question in QUESTIONS for twin in empty)
    assert "It is: 2" in empty[1]
    assert "secret" not in str(truth("t-1", 2, "yes")._repr_mimebundle_())


def test_a_truth_needs_its_questions_and_one_truth_for_each():
    with pytest.raises(LabError, match="t-9 was not asked yet: run the cell with predict"):
        truth("t-9", 1)
    predict("t-1", *QUESTIONS)
    with pytest.raises(LabError, match="t-1 asks 2 questions; 1 truths were given"):
        truth("t-1", 1)
    with pytest.raises(LabError, match="at least one question"):
        predict("t-1")


def test_where_nothing_can_be_kept_a_guess_still_shows_and_a_word_says_so(monkeypatch, tmp_path):
    folder = tmp_path / "a file"
    folder.write_text("")
    monkeypatch.setenv("VMENTER_PROGRESS", str(folder / "progress.json"))
    asked = predict("t-1", "?")
    told = truth("t-1", 1)
    asked.guesses = ["one"]
    assert told.guesses == ["one"]
    assert asked.said not in ("", "Kept.")


def test_forgetting_a_notebook_forgets_its_guesses():
    predict("05-a", "?").guesses = ["one"]
    progress.reset("05")
    assert predict("05-a", "?").guesses == [""]
