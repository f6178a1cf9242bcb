"""A learner's function in its child process: what it may do, and how everything else becomes one clear message."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import needs
import pytest
from answers import cell

from vmenter import LabError
from vmenter.course import exercises
from vmenter.course.exercises import check
from vmenter.course.judging import limited_child
from vmenter.course.judging.limited import TEXT, results, source_of, text_of

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


def test_a_loop_is_stopped_and_its_line_named(as_long_as_for_a_learner):
    message = refused(function("n = 0", "while flag:", "    n += 1", "return True"))
    assert "still running after 5 s: a loop without an end? It was at wish(True, 'a')" in message
    assert "line 3" in message or "line 4" in message


def test_a_loop_inside_one_call_is_stopped_too():
    assert "line 2, 'return sum(range(10**14)) > 0': still running" in refused(
        function("return sum(range(10**14)) > 0")
    )


STARTS = [
    "os.fork()",
    "os.system('true')",
    "subprocess.Popen([sys.executable, '-c', ''], start_new_session=True)",
    "subprocess.run([sys.executable, '-c', ''])",
    "os.posix_spawn(sys.executable, [sys.executable, '-c', ''], {})",
    "os.execv(sys.executable, [sys.executable, '-c', ''])",
    "os.kill(os.getppid(), 9)",
    "os.killpg(0, 9)",
]


@pytest.mark.parametrize("line", STARTS)
def test_python_starts_and_ends_no_process_for_it(line):
    message = refused(function("import os, subprocess, sys", line, "return True"))
    assert f"line 3, {line[:60]!r}: PermissionError: no process may be started or ended here. It was at" in message


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process watch all that comes from another")
@pytest.mark.parametrize("after", ["return True", "while True: pass", "os._exit(0)", "ctypes.string_at(0)"])
def test_what_was_started_in_another_way_and_session_is_ended_with_it(tmp_path, after):
    sign = tmp_path / "process"
    sign.touch()
    text = function(
        "import ctypes, mmap, os, time",
        f"if ctypes.CDLL(None).mkdir({str(tmp_path / 'once').encode()!r}, 0o700) == 0:",
        "    if ctypes.CDLL(None).fork() == 0:",
        "        ctypes.CDLL(None).setsid()",
        "        if ctypes.CDLL(None).fork() == 0:",
        f"            os.rename({str(sign)!r}, {str(sign)!r} + str(os.getpid()))",
        "            time.sleep(99)",
        "        os._exit(0)",
        "    time.sleep(0.5)",
        after,
    )
    with suppress(LabError):
        results(text, "wish", PAIRS)
    left = [int(path.name.removeprefix("process") or 0) for path in tmp_path.glob("process*")]
    assert left == [0] if os.geteuid() else left != [0]  # the kernel lets root alone start one
    for pid in filter(None, left):
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_no_byte_is_written_to_a_file(tmp_path):
    place = tmp_path / "x"
    line = f"return os.write(os.open({str(place)!r}, os.O_CREAT | os.O_WRONLY), b'x') == 1"
    assert "nothing may be written to a file here." in refused(function("import os", line))
    assert place.stat().st_size == 0


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root alone can become somebody else")
@pytest.mark.parametrize(
    ("body", "found"),
    [
        (["import ctypes", "while ctypes.CDLL(None).fork() > 0: pass", "return True"], {"results": [True]}),
        (["import threading", "threading.Thread(target=print).start()"], "can't start new thread"),
        (["import os", "os.write(os.open('x', os.O_CREAT | os.O_WRONLY), b'x')"], "File too large"),
        (["import os", "os.setsid()", "while True: pass"], None),
    ],
)
def test_for_an_ordinary_account_the_kernel_itself_refuses(tmp_path, body, found):
    python = shutil.which(
        "python3", path="/usr/bin:/usr/local/bin"
    )  # the tests' own may stand where root alone reads
    if python is None:
        needs.missing("python3 for all accounts", "apt install python3")
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "child.py").write_bytes(Path(limited_child.__file__).read_bytes())
        (folder / "job.json").write_text(
            json.dumps(
                {"source": function(*body), "name": "wish", "inputs": [[True, "a"]], "seconds": 2, "closed": "/no"}
            )
        )
        (folder / "place").write_bytes(bytes(9000))
        for path, mode in ((folder, 0o777), (folder / "place", 0o666)):
            path.chmod(mode)
        command = ["/usr/bin/env", "-i", python, "-I", "-B", folder / "child.py", folder]
        subprocess.run(command, user=65534, group=65534, extra_groups=[], cwd=folder, check=True, timeout=20)
        data = (folder / "place").read_bytes()
    *_, how, status, length = limited_child.HEAD.unpack(data[: limited_child.HEAD.size])
    answer = json.loads(data[limited_child.HEAD.size :][:length]) if length else None
    assert (how, status) == (limited_child.ENDED if found else limited_child.LATE, 0)
    assert answer == found if not isinstance(found, str) else found in answer["text"]


@pytest.mark.parametrize(
    "line",
    [
        "from vmenter.course.exercises import nb08",
        f"open({str(Path(exercises.__file__).with_name('08.toml'))!r})",
        f"open({str(Path(exercises.__file__).with_name('08.toml')).encode()!r}, 'rb')",
        "runpy.run_module('vmenter.course.exercises.nb08')",
    ],
)
def test_the_judge_and_the_solutions_are_closed_to_it(line):
    assert "the course's own files are closed to an answer" in refused(
        function("import runpy", line, "return True")
    )


SIGNALS = [
    ("signal.raise_signal(signal.SIGKILL)", "the process crashes here (SIGKILL)"),
    ("signal.raise_signal(signal.SIGSTOP)", "still running after 5 s"),
    ("signal.pthread_kill(threading.get_ident(), signal.SIGTERM)", "the process crashes here (SIGTERM)"),
    ("signal.alarm(1); time.sleep(3)", "the process crashes here (SIGALRM)"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="there a watching process sees how it ended")
@pytest.mark.parametrize(("line", "words"), SIGNALS)
def test_a_signal_to_itself_is_said(as_long_as_for_a_learner, line, words):
    assert words in refused(function("import signal, threading, time", line, "return True"))


TAMPERS = [
    "builtins.type = lambda _: bool",
    "json.dumps = lambda *_, **__: '{}'",
    "struct.pack_into = sys.exit",
    "sys.settrace(None)",
    "sys._getframe(1).f_locals['found'].clear()",
    "sys._getframe(1).f_locals['job']['inputs'].clear()",
    "builtins.bool = builtins.isinstance = builtins.len = None",
    "atexit.register(os._exit, 5)",
    "sys.stdout = sys.__stdout__",
    "gc.collect(); [o.clear() for o in gc.get_objects() if isinstance(o, (list, dict))]",
]


@pytest.mark.parametrize("line", TAMPERS)
def test_who_tampers_with_the_judges_tools_learns_no_more_than_it_knew(line):
    text = function(
        "import atexit, builtins, gc, json, os, struct, sys",
        "try:",
        f"    {line}",
        "except BaseException:",
        "    pass",
        "return False",
    )
    with suppress(LabError):
        assert results(text, "wish", PAIRS) != [True, True]
    feedback = check("08-1", text.replace("wish(flag, word)", "kept(*_)"))
    assert not feedback.passed
    assert feedback.message.strip()


def test_a_function_may_remove_its_folder():
    body = ["import os, shutil", "if os.path.exists('job.json'):", "    shutil.rmtree(os.getcwd())", "return True"]
    assert results(function(*body), "wish", PAIRS) == [True, True]


@pytest.mark.parametrize("what", ["raise ValueError", "return 5", "raise SystemExit", "return 'x' * 10**6"])
def test_what_cannot_be_written_out_is_said(what):
    odd = ["class A(Exception):", f"    def __repr__(self): {what}", "    __str__ = __repr__"]
    assert "returns " in refused(function(*odd, "return A()"))
    assert "raise A" in refused(function(*odd, "raise A"))


@pytest.mark.skipif(sys.platform != "linux", reason="no other system limits a process's memory for us")
@pytest.mark.parametrize(
    "line",
    [
        "return bytes(10**10) == b''",
        "return len([0] * 10**9) > 1",
        "return len([bytes(10**7) for _ in range(10**9)]) > 1",
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
