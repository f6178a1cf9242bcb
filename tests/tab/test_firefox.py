"""The tab in Firefox: cells of notebooks, every view, progress after a reload, no other host. By WebDriver BiDi."""

import json
import shutil
import subprocess
from urllib.parse import urlsplit

import nbformat
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from bench_views import TWIN
from browser.axe import TAGS
from places import ROOT
from tools import js

from .outputs import OWN, same
from .test_notebooks import FRESH
from .test_views import CLICKED, VIEWS
from .visit import DONE, EXECUTE, START, WRITE

HERE = ROOT / "tests" / "tab"
BOOKS = ("01-what-leaks", "02-patching-a-running-kernel", "05-2019-else-if")
KEEP = (
    "import os; os.environ['VMENTER_PROGRESS'] = '/drive/progress.json'\n"
    "from vmenter.course.progress import record; record('02-1', passed=True, answer='mine')"
)
READ = "from vmenter.course.progress import load; print(load().exercises['02-1'].answer)"
CHOSEN = {"HostView": "rfds"}  # of a menu, what is chosen


def cells():
    """Yield (notebook, cell, code, committed outputs) of some notebooks."""
    for name in BOOKS:
        book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        yield name, "fresh", FRESH, None
        for cell in book.cells:
            if cell.cell_type == "code":
                yield name, cell.id, cell.source, cell.outputs


@pytest.fixture(scope="module")
def firefox(address, tmp_path_factory):
    """What a visit in Firefox found."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    assert program, "no Firefox here: sudo apt-get install firefox-esr"
    js.fetch()
    work = {
        "path": "",
        "start": START,
        "execute": EXECUTE,
        "write": WRITE,
        "done": DONE,
        "cells": [[f"{name} {id_}", code] for name, id_, code, _ in cells()] + [["keep", KEEP]],
        "views": [
            [name, cell, control, CLICKED.get(name, 0), keys] for name, (cell, control, keys) in VIEWS.items()
        ],
        "chosen": CHOSEN,
        "twin": TWIN,
        "axe": AXE_SCRIPT,
        "tags": TAGS,
        "kept": READ,
    }
    (file := tmp_path_factory.mktemp("firefox") / "work.json").write_text(json.dumps(work))
    command = [js.NODE, HERE / "firefox.mjs", program, address, js.MODULES, file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.stdout, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert "wrong" not in found, (found["wrong"], found["took"])
    return found


def test_it_opens_and_runs_the_cells_as_they_are_committed(firefox):
    wrong = [
        f"{name} {id_}: {code[:100]}"
        for name, id_, code, committed in cells()
        if committed is not None and (name, id_) != OWN and not same(firefox["cells"][f"{name} {id_}"], committed)
    ]
    assert wrong == []


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_answers_the_mouse_and_the_keyboard_and_axe_finds_nothing(firefox, name):
    assert firefox["views"][name] == {"mouse": True, "keyboard": True, "axe": []}


def test_progress_is_kept_over_a_reload_and_no_other_host_is_asked(firefox, address, report):
    assert "".join(one["text"] for one in firefox["kept"] if one["output_type"] == "stream") == "mine\n"
    assert set(firefox["hosts"]) == {urlsplit(address).netloc}
    assert firefox["mistakes"] == []
    report(f"{firefox['version']}, seconds: {firefox['took']}")
