"""Predictions: asked, kept in the reader's file; the truth comes only after a guess, and answers it."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.course import exercises, progress
from vmenter.course.prediction import ask, guess, later, once_told, predict, show_me, truth, widget
from vmenter.course.prediction.questions import answer, every, number, question

COUNT = question(
    "t",
    {
        "question": "How many of the six?",
        "number": "of six",
        "near": 1,
        "right": "Just so.",
        "misconceptions": [{"at": 3, "answer": "You counted both flags."}, {"from": 5, "to": 6, "answer": "All?"}],
    },
)
MODE = question(
    "t", {"question": "Is `cond` among them?", "choices": {"yes": "It is.", "no": "Look again."}, "because": "So."}
)
ROWS = question(
    "t",
    {
        "question": "Which?",
        "several": True,
        "right": "Both of them.",
        "choices": {"a": "A holds.", "b": "B holds.", "c": "C does not.", "none": "Some do."},
    },
)
FREE = question("t", {"question": "Why?", "wrong": "Hold it against yours."})
SECRETS = ("Just so", "It is.", "So.", "You counted", "Look again")


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("VMENTER_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("VMENTER_REVEAL", raising=False)
    widget._MEMORY.clear()
    return tmp_path / "progress.json"


# --- what is said to a guess ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guessed", "verdict", "words"),
    [
        ("1", "right", "Just so."),
        ("1.0", "right", "Just so."),
        ("0", "near", "Just so."),
        ("2", "near", "Just so."),
        ("2.01", "wrong", "It is less."),
        ("-0.01", "wrong", "It is more."),
        ("3", "wrong", "You counted both flags."),
        ("4.99", "wrong", "It is less."),
        ("5", "wrong", "All?"),
        ("6", "wrong", "All?"),
        ("6.01", "wrong", "It is less."),
        ("1,000", "wrong", "It is less."),
        ("many", "open", "Your guess is no number."),
        ("nan", "open", "Your guess is no number."),
    ],
)
def test_a_number_is_right_near_or_a_misconception_with_a_name(guessed, verdict, words):
    assert answer(COUNT.key(1), guessed) == (verdict, words)


@given(st.floats(-100, 100), st.integers(-50, 50))
def test_every_number_gets_exactly_one_verdict_and_only_the_truth_is_right(guessed, fact):
    found = answer(COUNT.key(fact), str(guessed))
    assert found.text
    assert (found.verdict == "right") is (guessed == fact)
    assert found.verdict != "near" or abs(guessed - fact) <= 1


def test_each_choice_has_its_own_answer():
    assert answer(MODE.key(fact=True), "yes") == ("right", "It is.")
    assert answer(MODE.key(fact=True), "no") == ("wrong", "Look again.")
    assert answer(MODE.key("no"), "no") == ("right", "Look again.")
    assert answer(MODE.key("no"), "perhaps").verdict == "open"


def test_a_choice_may_be_nearly_right():
    three = question("t", {"question": "?", "choices": {"a": "A", "b": "B", "c": "C"}, "near": "b"})
    assert [answer(three.key("a"), one).verdict for one in "abc"] == ["right", "near", "wrong"]
    assert answer(three.key("b"), "b").verdict == "right"


@pytest.mark.parametrize(
    ("guessed", "verdict", "words"),
    [
        ("a; b", "right", "Both of them."),
        ("b; a", "right", "Both of them."),
        ("a", "near", "B holds."),
        ("a; b; c", "near", "C does not."),
        ("a; c", "wrong", "B holds. C does not."),
        ("c", "wrong", "A holds. B holds. C does not."),
        ("none", "wrong", "A holds. B holds. Some do."),
    ],
)
def test_of_several_choices_each_that_differs_is_answered(guessed, verdict, words):
    assert answer(ROWS.key(["b", "a"]), guessed) == (verdict, words)


def test_no_choice_at_all_is_a_choice_of_its_own():
    assert ROWS.key([])["told"] == "none"
    with pytest.raises(LabError, match="'none' is none of them"):
        question("t", {"question": "?", "several": True, "choices": {"a": "", "b": ""}}).key(())


def test_free_text_is_held_against_the_truth_by_the_reader():
    assert answer(FREE.key("because"), "so") == ("open", "Hold it against yours.")
    assert FREE.key(["x", "y"])["told"] == "x; y"


def test_a_fact_that_answers_no_such_question_is_an_error():
    with pytest.raises(LabError, match="has the choices yes, no; the truth 'maybe' is none of them"):
        MODE.key("maybe")
    for fact in ("1", True, None):
        with pytest.raises(LabError, match="needs a number"):
            COUNT.key(fact)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"question": "?", "chosen": {}}, "chosen is nothing a question has"),
        ({"choices": {"a": "", "b": ""}}, "a question is needed"),
        ({"question": "?", "choices": {"a": ""}}, "two choices at least"),
        ({"question": "?", "choices": {"a": "", "b; c": ""}}, "no '; ' in a choice"),
        ({"question": "?", "choices": {"a": "", "b": ""}, "number": ""}, "no number beside them"),
        ({"question": "?", "choices": {"a": "", "b": ""}, "near": "c"}, "near names c"),
        ({"question": "?", "misconceptions": [{"at": 1, "answer": "x"}]}, "misconceptions are of numbers"),
        ({"question": "?", "number": "", "misconceptions": [{"from": 1, "answer": "x"}]}, "`from` and `to`"),
        ({"question": "?", "number": "", "misconceptions": [{"at": 1}]}, "an `answer`"),
        ({"question": "?", "number": 3}, "number is text"),
        ({"question": "?", "choices": ["a", "b"]}, "choices is a table"),
        ({"question": "?", "number": "", "near": "b"}, "near is a number"),
    ],
)
def test_a_damaged_file_ends_in_one_clear_error(texts, words):
    with pytest.raises(LabError, match=r"^05\.toml, 05-a: ") as error:
        question("05.toml, 05-a", texts)
    assert words in str(error.value)


def test_a_number_is_read_as_it_is_written():
    assert [number(text) for text in ("31", " 1,234.5 ", "-2", "10 %")] == [31, 1234.5, -2, 10]
    assert [number(text) for text in ("", "x", "inf", "nan", "1e400")] == [None] * 5


def test_every_prediction_of_the_course_answers_each_of_its_choices():
    assert len(every()) > 20
    for id_, questions in every().items():
        for one in questions:
            assert all(one.choices.values()), f"{id_}: a choice without an answer"
            assert one.kind != "text", f"{id_}: choices or a number can be answered"


# --- the truth comes after the guess -------------------------------------------------------------------------------


def test_a_guess_is_kept_in_the_readers_file(own_file):
    ask("t-1", COUNT, MODE).guesses = ["2", "yes"]
    assert json.loads(own_file.read_text())["predictions"] == {"t-1/1": "2", "t-1/2": "yes"}


def test_before_a_guess_the_page_is_given_nothing_of_the_truth():
    asked, told = ask("t-1", COUNT, MODE), truth("t-1", 1, True, show="the whole table")  # noqa: FBT003
    for box in (asked, told):
        sent = json.dumps([box.get_state(), box._repr_mimebundle_()], default=str)
        page = sent.replace(json.dumps(str(box._esm))[1:-1], "").replace(json.dumps(str(box._css))[1:-1], "")
        assert not any(secret in page for secret in (*SECRETS, "the whole table")), box
    assert told.rows == [{}, {}]
    assert "guess first" in told.text
    assert "show_me('t-1')" in told.text
    assert "VMENTER_REVEAL=1" in told.text


def test_a_guess_unfolds_a_truth_that_is_on_the_page_already_and_is_answered():
    asked, told = ask("t-1", COUNT, MODE), truth("t-1", 1, True, show="the table")  # noqa: FBT003
    ask("t-2", MODE)
    other = truth("t-2", True)  # noqa: FBT003
    asked.guesses = ["3", ""]
    assert told.rows[0] == {
        "told": "1 of six",
        "verdict": "wrong",
        "text": "You counted both flags.",
        "because": "",
    }
    assert (told.rows[1], told.shown) == ({}, {})
    asked.guesses = ["3", "yes"]
    assert told.rows[1] == {"told": "yes", "verdict": "right", "text": "It is.", "because": "So."}
    assert told.shown == {"text": "the table"}
    assert told.text.endswith("the table")
    assert other.rows == [{}]


def test_a_kept_guess_unfolds_the_truth_when_the_cells_run_again():
    ask("t-1", MODE).guesses = ["no"]
    assert ask("t-1", MODE).guesses == ["no"]
    assert truth("t-1", True).rows[0]["verdict"] == "wrong"  # noqa: FBT003


def test_who_asks_to_be_shown_is_shown_now_and_later(own_file):
    ask("t-1", COUNT)
    told = truth("t-1", 1)
    told.given_up = True
    assert told.rows[0] == {"told": "1 of six", "verdict": "", "text": "Just so.", "because": ""}
    assert json.loads(own_file.read_text())["predictions"] == {"t-1/shown": "shown"}
    assert truth("t-1", 1).rows == told.rows


def test_without_a_front_end_there_are_functions_for_both():
    ask("t-1", COUNT, MODE)
    told = truth("t-1", 1, True)  # noqa: FBT003
    with pytest.raises(LabError, match="'lots' is no number"):
        guess("t-1", "lots", "yes")
    with pytest.raises(LabError, match="'maybe' is none of the choices: yes, no"):
        guess("t-1", 1, "maybe")
    with pytest.raises(LabError, match="one guess a question"):
        guess("t-1", 1)
    assert guess("t-1", 1, "yes") is told
    assert all(told.rows)
    ask("t-3", MODE)
    with pytest.raises(LabError, match="run the cell with truth"):
        show_me("t-3")
    truth("t-3", True)  # noqa: FBT003
    assert "It is: yes" in show_me("t-3").text


def test_without_a_front_end_several_choices_are_given_as_a_list():
    ask("t-4", ROWS)
    told = truth("t-4", ["a", "b"])
    with pytest.raises(LabError, match="'z' is none of the choices: a, b, c, none; for more than one give a list"):
        guess("t-4", ["a", "z"])
    assert guess("t-4", ["b", "a"]) is told
    assert told.rows[0]["verdict"] == "right"
    assert guess("t-4", "a").rows[0]["verdict"] == "near"


def test_with_everything_revealed_the_text_is_whole_and_the_same_for_everybody(monkeypatch):
    monkeypatch.setenv("VMENTER_REVEAL", "1")
    ask("t-1", COUNT, MODE)
    before = repr(truth("t-1", 1, True))  # noqa: FBT003
    assert "It is: 1 of six. Just so." in before
    assert "It is: yes. It is. So." in before
    guess("t-1", 3, "no")
    assert repr(truth("t-1", 1, True)) == before  # noqa: FBT003
    bundle, _ = truth("t-1", 1, True)._repr_mimebundle_()  # noqa: FBT003
    assert bundle["text/html"].startswith("<details><summary>")
    assert "You counted" not in str(bundle)


def test_what_comes_with_a_truth_may_draw_itself():
    class Drawing:
        def __repr__(self):
            return "in words"

        def _repr_html_(self):
            return "<b>drawn</b>"

    ask("t-1", MODE)
    told = truth("t-1", True, show=Drawing())  # noqa: FBT003
    assert told.shown == {}
    told.given_up = True
    assert told.shown == {"text": "in words", "html": "<b>drawn</b>"}


def test_what_a_block_prints_comes_with_the_truth(capsys):
    ask("t-4", MODE)
    with later("t-4"):
        print("the whole\ntable")
    assert capsys.readouterr().out == "(What this prints comes with the truth of t-4.)\n"
    for _ in range(2):  # the cell may be run again
        told = truth("t-4", True)  # noqa: FBT003
        assert told.shown == {}
    told.given_up = True
    assert told.shown == {"text": "the whole\ntable"}
    assert truth("t-4", True, show="other").shown == {"text": "other"}  # noqa: FBT003


def test_a_view_that_tells_a_truth_comes_behind_it():
    ask("t-5", MODE)
    wait = "(This comes with the truth of t-5: keep a guess there, then run this cell again.)"
    assert repr(once_told("t-5", "a view")) == wait  # the truth's own cell has not run
    told = truth("t-5", True)  # noqa: FBT003
    assert repr(once_told("t-5", "a view")) == wait
    told.given_up = True
    assert once_told("t-5", "a view") == "a view"


def test_a_view_waits_for_all_the_guesses_of_its_prediction():
    ask("t-6", COUNT, MODE)
    truth("t-6", 1, True)  # noqa: FBT003
    asked = widget.Prediction("t-6", (COUNT, MODE))
    asked.guesses = ["2", ""]
    assert repr(once_told("t-6", "a view")).startswith("(This comes")
    asked.guesses = ["2", "no"]
    assert once_told("t-6", "a view") == "a view"


def test_with_everything_revealed_no_view_waits(monkeypatch):
    monkeypatch.setenv("VMENTER_REVEAL", "1")
    ask("t-7", MODE)
    truth("t-7", True)  # noqa: FBT003
    assert once_told("t-7", "a view") == "a view"


def test_a_truth_needs_its_questions_and_one_fact_for_each():
    with pytest.raises(LabError, match="t-9 was not asked yet: run the cell with predict"):
        truth("t-9", 1)
    ask("t-1", COUNT, MODE)
    with pytest.raises(LabError, match="t-1 asks 2 questions; 1 truths were given"):
        truth("t-1", 1)
    with pytest.raises(LabError, match="at least one question"):
        ask("t-1")
    with pytest.raises(LabError, match="there is no prediction '05-z'; there are 01-a"):
        predict("05-z")


@pytest.mark.parametrize("place", ["off", "a file in the way"])
def test_where_nothing_can_be_kept_a_guess_still_unfolds_the_truth(monkeypatch, tmp_path, place):
    if place != "off":
        (tmp_path / "a file").write_text("")
        place = str(tmp_path / "a file" / "progress.json")
    monkeypatch.setenv("VMENTER_PROGRESS", place)
    asked = ask("t-1", MODE)
    asked.guesses = ["yes"]
    assert truth("t-1", True).rows[0]["verdict"] == "right"  # noqa: FBT003
    assert asked.said not in ("", "Kept.")


def test_forgetting_a_notebook_forgets_its_guesses():
    predict("05-a").guesses = ["1", "yes"]
    progress.reset("05")
    assert predict("05-a").guesses == ["", ""]


def test_what_is_said_of_mds_off_leaves_its_reason_to_the_exercise_behind_it():
    right = exercises.every()["01-2"].praise + exercises.every()["01-2"].because
    said = " ".join(" ".join([one.because, *one.choices.values()]) for one in every()["01-a"])
    for flaw in ("TAA", "MMIO Stale Data"):
        assert flaw in right
        assert flaw not in said
    assert not re.search(r"asks? for|one VERW|[Aa]nother flaw", said)


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({"choices": {"a": "", "b": ""}}, "? (a, b) …"),
        ({"choices": {"a, b": "", "c": ""}}, "? (a, b; c) …"),
        ({"choices": {"a": "", "b": ""}, "several": True}, "? (all that hold: a, b) …"),
        ({"number": "bytes"}, "? …"),
    ],
)
def test_the_twin_tells_choices_apart_and_that_several_may_hold(more, shown):
    asked = question("t", {"question": "?", **more})
    assert repr(widget.Prediction("99-t", [asked])).splitlines()[1].strip() == shown
