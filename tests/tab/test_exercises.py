"""Exercises judged in the tab as on the desktop: solutions pass, starters do not, wrong answers get the right reason."""

import json

import pytest
from places import ROOT

from vmenter.course.exercises import every

TASKS = every()
AT_MOST = 4  # wrong answers to an exercise that are tried here; the desktop's tests try all
FILES = [
    *(ROOT / "tests" / name for name in ("answers.py", "fuzz.py")),
    *sorted((ROOT / "tests").glob("wrong_*.py")),
]
LAY = """\
import os, sys
from importlib import import_module
os.environ["VMENTER_PROGRESS"] = "off"
os.makedirs("/tmp/answers", exist_ok=True)
sys.path.insert(0, "/tmp/answers")
for name, text in {files}.items():
    with open("/tmp/answers/" + name, "w") as out:
        out.write(text)
import answers
from vmenter.course.exercises import every
TABLES = [import_module(name[:-3]) for name in sorted(os.listdir("/tmp/answers")) if name.startswith("wrong_")]
WRONG = {{id_: pairs for table in TABLES for id_, pairs in table.WRONG.items()}}

def judged(id_, at_most):
    task, said = every()[id_], []
    right = task.check(answers.cell(task.solution))
    if not right.passed:
        said.append("the solution is refused: " + right.message)
    if task.check(answers.cell(task.starter)).passed:
        said.append("the starter passes")
    for answer, reason in WRONG[id_][:at_most]:
        feedback = task.check(answer)
        if feedback.passed or reason not in feedback.message:
            said.append(f"{{answer!r:.120}} should be refused with {{reason!r}}: {{feedback!r}}")
    return said
"""


@pytest.fixture(scope="module")
def judging(visit):
    files = {path.name: path.read_text(encoding="utf-8") for path in FILES}
    visit.said(LAY.format(files=repr(files)), seconds=240)
    assert json.loads(visit.said("import json; print(json.dumps(sorted(WRONG)))")) == sorted(TASKS)
    return visit


@pytest.mark.parametrize("id_", TASKS)
def test_it_is_judged_as_on_the_desktop(judging, id_):
    said = json.loads(judging.said(f"print(json.dumps(judged({id_!r}, {AT_MOST})))", seconds=240))
    assert said == []
