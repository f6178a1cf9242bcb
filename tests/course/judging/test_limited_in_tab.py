"""A learner's function in a tab: every way to go wrong is one sentence, as on a desktop, and the kernel lives on."""

import pytest
from in_tab import in_tab

from vmenter import LabError
from vmenter.course.judging import limited

SAME = {
    "right": "def f(x):\n    return x > 1\n",
    "a helper": "import re\n\ndef f(x):\n    return bool(re.match('a', 'a'))\n",
    "no return": "def f(x):\n    if x > 1:\n        return True\n",
    "exit": "def f(x):\n    raise SystemExit(3)\n",
    "an error": "def f(x):\n    return x.y\n",
    "a name": "def f(x):\n    return undefined(x)\n",
    "printing": "def f(x):\n    while True:\n        print('x' * 1000)\n",
    "writing": "def f(x):\n    with open('/tmp/vmenter-test', 'w') as file:\n        file.write('a')\n    return True\n",
    "a long text": "def f(x):\n    return 'x' * 200\n",
}
LATE = {
    "a loop": "def f(x):\n    while True:\n        pass\n",
    "one line": "def f(x):\n    while True: pass\n",
    "catching": "def f(x):\n    while True:\n        try:\n            x = 1\n        except BaseException:\n            pass\n",
    "a generator": "def f(x):\n    return sum(1 for _ in iter(int, 1)) > 1\n",
    "a list": "def f(x):\n    return [y for y in iter(int, 1) if y]\n",
}
MEMORY = {
    "more and more": "def f(x):\n    kept = []\n    while True:\n        kept.append(b'x' * 100_000_000)\n",
}
THERE = """
from vmenter import LabError
from vmenter.course.judging import limited

def tried(text, seconds):
    limited.SECONDS = seconds
    try:
        return limited.results(text, "f", [(1,), (2,)])
    except LabError as error:
        return str(error)

result = {
    "same": [tried(text, 5.0) for text in given["same"]],
    "late": [tried(text, 0.5) for text in given["late"]],
    "memory": [tried(text, 20.0) for text in given["memory"]],
    "after": tried("def f(x):\\n    return True\\n", 5.0),
    "written": open("/tmp/after", "w").write("still"),
}
import sys
result["free"] = sys.monitoring.get_tool(sys.monitoring.DEBUGGER_ID) is None
"""


@pytest.fixture(scope="module")
def found():
    return in_tab(THERE, {"same": [*SAME.values()], "late": [*LATE.values()], "memory": [*MEMORY.values()]})


def desktop(text):
    try:
        return limited.results(text, "f", [(1,), (2,)])
    except LabError as error:
        return str(error)


@pytest.mark.parametrize("name", SAME)
def test_what_is_said_is_what_a_desktop_says(found, name):
    assert found["same"][[*SAME].index(name)] == desktop(SAME[name])


@pytest.mark.parametrize("name", LATE)
def test_what_does_not_end_is_ended(found, name):
    said = found["late"][[*LATE].index(name)]
    assert "a loop without an end?" in said
    assert "It was at f(1,)" in said


@pytest.mark.parametrize("name", MEMORY)
def test_memory_has_an_end(found, name):
    assert "more memory than an answer may use" in found["memory"][[*MEMORY].index(name)]


def test_afterwards_all_is_as_before(found):
    assert found["after"] == [True, True]
    assert found["written"] == 5
    assert found["free"]
