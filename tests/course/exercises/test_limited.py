"""A learner's function in its child process: what it may do, and how everything else becomes one clear message."""

import sys
import time

import pytest
from answers import cell

from vmenter import LabError
from vmenter.course.exercises import check
from vmenter.course.exercises.limited import SECONDS, TEXT, results, source_of, text_of

PAIRS = [(True, "a"), (False, "b")]


def function(*body):
    return "\n".join(["def wish(flag, word):", *(f"    {line}" for line in body)])


def refused(text, inputs=PAIRS):
    with pytest.raises(LabError) as error:
        results(text, "wish", inputs)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_a_function_answers_each_input():
    assert results(function("return flag and word == 'a'"), "wish", PAIRS) == [True, False]
    assert results(cell("def wish(flag, word):\n    return not flag\nanswer = wish"), "wish", PAIRS) == [
        False,
        True,
    ]


def test_a_function_may_have_helpers_imports_and_another_name():
    text = "from functools import cache\n@cache\ndef odd(n):\n    return n % 2 == 1\ndef mine(flag, word):\n    return odd(len(word))"
    assert results(text, "wish", PAIRS) == [True, True]
    inside = cell(
        "def wish(flag, word):\n    def odd(n):\n        return n % 2 == 1\n    return odd(len(word))\nanswer = wish"
    )
    assert results(inside, "wish", PAIRS) == [True, True]


SMALL = [
    (function("return flag ==="), "line 2, 'return flag ===': invalid syntax"),
    (
        function("return None if flag else True"),
        "wish(True, 'a') returns None (NoneType); it should return True or",
    ),
    (function("return 1"), "returns 1 (int)"),
    (function("return 'x' * 10**6"), "(str); it should return True or False"),
    (
        function("x = 1", "return x / 0 > 1"),
        "line 3, 'return x / 0 > 1': ZeroDivisionError: division by zero. It was at",
    ),
    (function("return helper(flag)"), "name 'helper' is not defined. The function is run alone"),
    (function("import os", "os._exit(0)"), "line 3, 'os._exit(0)': the process ends here, with exit status 0"),
    (function("import sys", "sys.exit()"), "line 3, 'sys.exit()': SystemExit"),
    (function("raise KeyboardInterrupt"), "line 2, 'raise KeyboardInterrupt': KeyboardInterrupt"),
    (function("return wish(flag, word)"), "RecursionError: maximum recursion depth exceeded"),
    (
        function("while True:", "    print('x' * 999)"),
        "line 3, \"print('x' * 999)\": OverflowError: more than 100,000",
    ),
    (function("return input() == ''"), "line 2, \"return input() == ''\": "),
    ("def wish(flag):\n    return True", "takes 1 positional argument but 2 were given"),
    ("def wish(flag, word):\n    return True\nreturn 1", "line 3, 'return 1': SyntaxError"),
    ("x = 1", "there is no def wish(…)"),
    ("", "there is no def wish(…)"),
    ("#" * (TEXT + 1), "20,000 are enough"),
    ("\0", "somewhere in the function"),
    (lambda flag, word: flag, "it is a lambda"),
    (print, "it is a builtin_function_or_method"),
    (None, "it is a NoneType"),
    (type, "it is a type"),
]


@pytest.mark.parametrize(("text", "words"), SMALL, ids=range(len(SMALL)))
def test_what_goes_wrong_is_one_message_that_names_the_line(text, words):
    assert words in refused(text)


def test_a_crash_names_the_line_and_the_input():
    message = refused(function("import ctypes", "return flag or ctypes.string_at(0) == b''"))
    assert "line 3, \"return flag or ctypes.string_at(0) == b''\": the process " in message
    assert "It was at wish(False, 'b')" in message


def test_a_loop_is_stopped_and_its_line_named():
    start = time.monotonic()
    message = refused(function("n = 0", "while flag:", "    n += 1", "return True"))
    assert time.monotonic() - start < 2 * SECONDS
    assert "still running after 5 s: a loop without an end? It was at wish(True, 'a')" in message
    assert "line 3" in message or "line 4" in message


def test_a_loop_inside_one_call_is_stopped_too():
    assert "line 2, 'return sum(range(10**14)) > 0': still running" in refused(
        function("return sum(range(10**14)) > 0")
    )


def test_a_process_that_the_function_starts_is_stopped_with_it(tmp_path):
    sign = tmp_path / "alive"
    child = f"import time; time.sleep(9); open({str(sign)!r}, 'w')"
    refused(
        function("import subprocess, sys", f"subprocess.run([sys.executable, '-c', {child!r}])", "return True")
    )
    time.sleep(9 - SECONDS + 1)
    assert not sign.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="no other system limits a process's memory for us")
@pytest.mark.parametrize(
    "line",
    [
        "return bytes(10**10) == b''",
        "return len([0] * 10**9) > 1",
        "return len([[0] * 10**5 for _ in range(10**9)]) > 1",
    ],
)
def test_memory_is_limited(line):
    assert f"line 2, {line[:60]!r}: more memory than an answer may use (512 MiB)." in refused(function(line))


def test_a_lost_text_is_said(monkeypatch):
    names = {}
    exec("def wish(flag, word):\n    return True", names)
    assert "define it with def in a cell" in refused(names["wish"])


def test_the_texts_that_are_kept():
    assert text_of("abc") == "abc"
    assert text_of({"a": 1}) == "{'a': 1}"
    assert text_of(cell("def wish():\n    return True\nanswer = wish")) == "def wish():\n    return True\n"
    assert source_of("  def wish():\n    return True", "wish")[1] == "wish"


def test_the_checker_passes_a_function_as_notebooks_give_it():
    feedback = check("08-1", "def kept(*inputs):\n    while True:\n        pass")
    assert not feedback.passed
    assert "still running after" in feedback.message
