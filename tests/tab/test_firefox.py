"""The tab in Firefox: the notebooks' cells, progress after a reload, no other host. Driven by WebDriver BiDi."""

import json
import shutil
import subprocess
from urllib.parse import urlsplit

import nbformat
import pytest
from places import ROOT
from tools import js

from .outputs import same
from .test_notebooks import FRESH, OWN
from .visit import EXECUTE, START

HERE = ROOT / "tests" / "tab"
BOOKS = ("01-what-leaks", "02-patching-a-running-kernel", "05-2019-else-if")
KEEP = (
    "import os; os.environ['VMENTER_PROGRESS'] = '/drive/progress.json'\n"
    "from vmenter.course.progress import record; record('02-1', passed=True, answer='mine')"
)
READ = "from vmenter.course.progress import load; print(load().exercises['02-1'].answer)"


def cells():
    """Yield (id, code, committed outputs) of some notebooks."""
    for name in BOOKS:
        book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        yield f"{name} fresh", FRESH, None
        for cell in book.cells:
            if cell.cell_type == "code":
                yield f"{name} {cell.id}", cell.source, cell.outputs


@pytest.fixture(scope="module")
def firefox(address):
    """What a visit in Firefox found."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    assert program, "no Firefox here: sudo apt-get install firefox-esr"
    js.fetch()
    asked = [[id_, code] for id_, code, _ in cells()] + [["keep", KEEP]]
    work = {"path": "", "start": START, "execute": EXECUTE, "cells": asked, "kept": READ}
    command = [js.NODE, HERE / "firefox.mjs", program, address, js.MODULES]
    done = subprocess.run(
        command, input=json.dumps(work), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.stdout, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_it_opens_and_runs_the_cells_as_they_are_committed(firefox):
    assert "wrong" not in firefox, firefox["wrong"]
    wrong = [
        f"{id_}: {code[:100]}"
        for id_, code, committed in cells()
        if committed is not None
        and not same(*id_.split(), firefox["cells"][id_], committed)
        and not any(word in code for word in OWN)
    ]
    assert wrong == []


def test_progress_is_kept_over_a_reload_and_no_other_host_is_asked(firefox, address):
    assert "".join(one["text"] for one in firefox["kept"] if one["output_type"] == "stream") == "mine\n"
    assert set(firefox["hosts"]) == {urlsplit(address).netloc}
    assert firefox["mistakes"] == []
