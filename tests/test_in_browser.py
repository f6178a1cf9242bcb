"""Where a browser has no native library, nothing of the course asks for one."""

import json
import subprocess
import sys

import nbformat
import pytest
from in_tab import in_tab
from places import ROOT

from vmenter.code import decoder

# Native libraries of the desktop, and parts of Python that Pyodide has not, or that do nothing there.
ABSENT = (
    *("capstone", "unicorn", "pygraphviz", "llvmlite", "zstandard", "lz4", "psutil"),
    *("resource", "_posixshmem", "grp", "pwd", "syslog"),
)
CHILD = """
import importlib, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

names, absent = json.loads(sys.argv[1])
sys.meta_path.insert(0, Absent())
for name in absent:
    sys.modules.pop(name, None)
sys.platform = "emscripten"
for name in names:
    importlib.import_module(name)
import vmenter
assert vmenter.in_browser()
print(len(names), *sorted(set(absent) & set(sys.modules)))
"""
DOCTOR = """
import os
os.environ["VMENTER_PROGRESS"] = "/drive/progress.json"
from vmenter.course import doctor, progress

first = progress.record("00-1", passed=True, answer="answer = 1")
second = progress.record("00-1", passed=False, answer="answer = 2")
kept = progress.load()
result = {
    "checks": [[check.name, check.works, check.found] for check in doctor.examine()],
    "report": doctor.report(doctor.examine()),
    "troubles": [first, second, kept.trouble],
    "attempt": list(kept.exercises["00-1"]),
    "files": sorted(os.listdir("/drive")),
}
"""
ZSTD = """
import base64, io
from vmenter import LabError
from vmenter.code import unpack

def tried(text, most):
    try:
        return len(unpack.unpack(base64.b64decode(text), "x", most))
    except LabError as error:
        return str(error)

packed = base64.b64decode(given[0])
stream = unpack.zstd_reader(io.BytesIO(packed + packed))
result = [*(tried(text, 1 << 24) for text in given), tried(given[0], 1000), len(stream.read())]
"""


def used():
    """Return every module of the library that a notebook, or what it imports, may need."""
    left_out = ("vmenter/course/site", "vmenter/course/slides", "vmenter/course/tab")
    found = []
    for file in sorted((ROOT / "lib" / "vmenter").rglob("*.py")):
        path = file.relative_to(ROOT / "lib").as_posix()
        if path.startswith(left_out) or file.name in (
            "__main__.py",
            "_assemble.py",
            "native.py",
            "unicorn_cpu.py",
        ):
            continue
        found.append(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    return found


def imported(names, absent=ABSENT):
    command = [sys.executable, "-c", CHILD, json.dumps([names, absent])]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_module_of_the_course_is_imported_without_native_libraries():
    done = imported(used())
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(used()))]


def test_a_module_that_asks_for_one_would_be_noticed():
    done = imported(["vmenter", "capstone"])
    assert done.returncode != 0
    assert "No module named 'capstone'" in done.stderr


def test_what_notebooks_import_is_among_them():
    names = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            for line in cell.source.splitlines() if cell.cell_type == "code" else ():
                words = line.split()
                if words[:1] == ["from"] and words[1].startswith("vmenter"):
                    names.add(words[1])
    assert len(names) > 20
    assert names <= set(used())


def test_on_a_desktop_the_native_library_decodes():
    assert decoder._provider().__name__ == "vmenter.code.decoder.native"


@pytest.fixture(scope="module")
def found():
    return in_tab(DOCTOR)


def test_doctor_tries_out_what_a_tab_has(found):
    assert [check for check in found["checks"] if not check[1]] == []
    told = {name: what for name, _, what in found["checks"]}
    assert told.keys() == {"Python", "assembler", "decoder", "CPU", "layout", "limits", "storage"}
    assert "browser" in told["Python"]
    assert told["assembler"] == "as"
    assert "WebAssembly" in told["layout"]
    assert "Restart Kernel ends it, and no answer is lost" in told["limits"]
    assert "/drive/progress.json" in told["storage"]
    assert "pip install" not in found["report"]
    assert "apt-get" not in found["report"]


def test_progress_is_kept_without_locks(found):
    assert found["troubles"] == [None, None, None]
    assert found["attempt"] == [True, 2, "answer = 2"]
    assert found["files"] == ["progress.json"]


def test_zstd_is_unpacked_within_bounds_there_too():
    import base64

    import zstandard

    packed = zstandard.ZstdCompressor().compress(bytes(100_000))
    cut, huge = packed[:-3], zstandard.ZstdCompressor().compress(bytes(1 << 25))
    sound, short, large, least, twice = in_tab(
        ZSTD, [base64.b64encode(one).decode() for one in (packed, cut, huge)]
    )
    assert sound == 100_000
    assert "damaged or cut short" in short
    assert "is refused" in large
    assert "is refused" in least
    assert twice == 200_000
