"""Whatever an answer is, the checker answers in words, and says nothing but words."""

from collections.abc import Mapping
from itertools import islice
from random import Random

import fuzz
import pytest

from vmenter.course.exercises import Feedback, check, every
from vmenter.course.judging.limited import text_of


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


BAD = (
    None, True, 0, -1, 10**400, 1.5, float("nan"), float("inf"), 1j, "", " ", "\0", "\x1b[2J", "\udcff", "a" * 30_000,
    b"", b"\x90", bytearray(9), [], [None], [[]], [None, "a"], (), (1, None), {}, {None: None}, {"bugs": None}, set(),
    {1, None}, frozenset("ab"), range(10), object(), Odd(), Odd, [Odd()], {"a": Odd()}, Text("a"), [Text("b")], Endless(),
    nested(), iter(()), (n for n in "ab"), len, lambda: 1, lambda x: x, type, NotImplemented, ..., Exception("x"),
    "nop\n" * 200, ".rept 9\nnop", "def f(:", "answer", "jmp .", ["a"] * 5000, {"mds": 1}, {"bugs": ["mds", None]},
)  # fmt: skip


class Called(BaseException):
    """What an answer's own method raises here; it might as well have ended the notebook's kernel."""


def called(*_anything):
    raise Called


def own_methods():
    """Objects whose methods must not be called, each of another kind; one says that it is a text."""
    names = ("getattribute", "repr", "str", "eq", "hash", "len", "iter", "getitem", "contains", "index", "bool")
    methods = {f"__{name}__": called for name in (*names, "format", "lt", "call", "int", "fspath", "buffer")}
    methods |= dict.fromkeys(("items", "keys", "strip", "lower", "split", "values"), called)
    meta = type("Meta", (type,), {"__getattribute__": called, "__name__": property(called)})
    yield from (type("Own", (base,), methods)() for base in (object, str, int, list, dict, tuple, set, Mapping))
    yield type("Liar", (), {"__class__": property(called)})()
    yield type("Liar", (), {"__class__": str})()
    yield meta("Own", (), {})
    yield meta("Own", (), {})()


KINDS = 12


def test_there_are_so_many_kinds_of_them():
    assert sum(1 for _ in own_methods()) == KINDS


@pytest.mark.parametrize("number", range(KINDS))  # pytest would call their methods itself
def test_no_method_of_an_answers_own_is_called(number):
    own = next(islice(own_methods(), number, None))
    for id_ in every():
        for answer in (own, [own], {"a": own}, (own, own)):
            feedback = check(id_, answer)
            assert feedback.message.strip()
            assert not feedback.passed
        text_of([own])


def test_any_answer_gets_words(report):
    random, seen = Random(5), 0
    ids = [*every()]
    pairs = [(id_, number) for id_ in ids for number in range(len(BAD))]
    for id_, number in random.sample(pairs, min(len(pairs), fuzz.count("answers"))):
        feedback = check(id_, BAD[number])
        assert isinstance(feedback, Feedback)
        assert not feedback.passed, (id_, number)
        assert feedback.message.strip()
        assert "Traceback" not in repr(feedback)
        feedback._repr_html_()
        assert isinstance(text_of(BAD[number]), str)
        seen += 1
    report(f"answers of all kinds: {seen:,}")
