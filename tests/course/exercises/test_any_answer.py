"""Whatever an answer is, the checker answers in words, and says nothing but words."""

from random import Random

import fuzz

from vmenter.course.exercises import Feedback, check, every
from vmenter.course.exercises.limited import text_of


class Odd:
    """An object whose every method fails."""

    def __repr__(self):
        raise ValueError("no")

    __str__ = __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __repr__


class Text(str):  # noqa: SLOT000
    """A text that is not what it seems."""

    def __repr__(self):
        raise SystemExit(3)

    strip = split = lower = __repr__


class Endless(list):
    def __repr__(self):
        return "x" * 10**6


def nested():
    found = []
    found.append(found)
    return found


DEFAULTS: dict[str, object] = {}  # as settings all at their defaults: right for 05-1, and for no other
BAD = (
    None, True, 0, -1, 10**400, 1.5, float("nan"), float("inf"), 1j, "", " ", "\0", "\x1b[2J", "\udcff", "a" * 30_000,
    b"", b"\x90", bytearray(9), [], [None], [[]], [None, "a"], (), (1, None), DEFAULTS, {None: None}, {"bugs": None}, set(),
    {1, None}, frozenset("ab"), range(10), object(), Odd(), Odd, [Odd()], {"a": Odd()}, Text("a"), [Text("b")], Endless(),
    nested(), iter(()), (n for n in "ab"), len, lambda: 1, lambda x: x, type, NotImplemented, ..., Exception("x"),
    "nop\n" * 200, ".rept 9\nnop", "def f(:", "answer", "jmp .", ["a"] * 5000, {"mds": 1}, {"bugs": ["mds", None]},
)  # fmt: skip


def test_any_answer_gets_words(report):
    random, seen = Random(5), 0
    ids = [*every()]
    pairs = [(id_, number) for id_ in ids for number in range(len(BAD))]
    for id_, number in random.sample(pairs, min(len(pairs), fuzz.count("answers"))):
        feedback = check(id_, BAD[number])
        assert isinstance(feedback, Feedback)
        assert feedback.passed == (id_ == "05-1" and BAD[number] is DEFAULTS), (id_, number)
        assert feedback.message.strip()
        assert "Traceback" not in repr(feedback)
        feedback._repr_html_()
        assert isinstance(text_of(BAD[number]), str)
        seen += 1
    report(f"answers of all kinds: {seen:,}")
