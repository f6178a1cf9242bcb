"""The floors of the house: what `make lint` holds the imports to, and that it notices."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from places import ROOT

LINTER = Path(sys.executable).with_name("lint-imports")


def verdict(lib):
    """Hold a library against the contract: (exit status, what was said)."""
    done = subprocess.run(
        [LINTER, "--no-logo", "--no-cache", ROOT / "lib/pyproject.toml"],
        env={**os.environ, "PYTHONPATH": str(lib), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_nothing_imports_upwards_and_there_is_no_circle():
    status, said = verdict(ROOT / "lib")
    assert status == 0, said


@pytest.mark.parametrize(
    ("room", "line", "told"),
    [
        ("code/image.py", "from vmenter.patching import features", "vmenter.code.image -> vmenter.patching"),
        ("boot/host.py", "from vmenter.flow import graph", "vmenter.boot.host -> vmenter.flow"),
        (
            "patching/features.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from vmenter.emulator.trace import Trace",
            "vmenter.patching.features -> vmenter.emulator",
        ),
        ("boot/verw.py", "from vmenter.boot import selection", "No cycles are allowed in vmenter.boot"),
        (
            "course/judging/told.py",
            "from vmenter.course import exercises",
            "No cycles are allowed in vmenter.course",
        ),
    ],
)
def test_a_planted_import_is_noticed(tmp_path, room, line, told):
    shutil.copytree(ROOT / "lib/vmenter", tmp_path / "vmenter", ignore=shutil.ignore_patterns("__pycache__"))
    planted = tmp_path / "vmenter" / room
    planted.write_text(planted.read_text(encoding="utf-8") + f"\n\n{line}\n", encoding="utf-8")
    status, said = verdict(tmp_path)
    assert status == 1
    assert told in said


def test_every_package_of_the_library_has_a_floor():
    there = {path.name for path in (ROOT / "lib/vmenter").iterdir() if (path / "__init__.py").exists()}
    assert {name for floor in floors() for name in floor} == there


# --- what README says of the house --------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## The house\n")[1].split("\n## ")[0]


def floors():
    """Return the packages of each floor, from the roof down, as `make lint` holds them."""
    contract = tomllib.loads((ROOT / "lib/pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    return [re.findall(r"vmenter\.(\w+)", floor) for floor in contract["contracts"][0]["layers"]]


def test_readme_has_a_row_for_each_floor_and_a_reason_for_each_package():
    rows = re.findall(r"^\| (`.+`) \| (.+) \|$", README, re.MULTILINE)
    assert [re.findall(r"`(\w+)`", names) for names, _ in rows] == floors()
    for names, why in rows:
        assert len(why.split("; ")) >= len(names.split(", ")), names
        assert len(why) > 20, names


def test_the_tree_in_readme_is_the_one_that_is_there():
    tree = re.search(r"```\n(.*?)```", README, re.DOTALL)[1]
    told = {line.split("/")[0]: line.split("/", 1)[1].strip() for line in tree.splitlines()}
    assert all(told.values())
    kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(told) == {path.split("/")[0] for path in kept.splitlines() if "/" in path}


# --- names ---------------------------------------------------------------------------------------------------------

LIBRARY = ROOT / "lib" / "vmenter"


def foreign_private_names(text, package):
    """Yield (line, name) of names with an underscore that code takes from another room; a package's own files apart."""
    tree, modules = ast.parse(text), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vmenter"):
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                is_file = (LIBRARY.parent / (whole.replace(".", "/") + ".py")).exists()
                modules |= {one.asname or one.name: whole} if is_file or whole.count(".") == 1 else {}
                if one.name.startswith("_") and not (is_file and node.module == package):
                    yield node.lineno, whole
            hidden = [part for part in node.module.split(".") if part.startswith("_")]
            if hidden and node.module.rpartition(".")[0] != package:
                yield node.lineno, node.module
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and re.match("_(?!_)", node.attr):
            yield from ((node.lineno, f"{modules[name]}.{node.attr}") for name in {node.value.id} & modules.keys())


def test_no_room_takes_a_private_name_from_another():
    found = []
    for path in sorted(LIBRARY.rglob("*.py")):
        package = ".".join(path.relative_to(LIBRARY.parent).parent.parts)
        names = foreign_private_names(path.read_text(encoding="utf-8"), package)
        found += [f"{path.relative_to(LIBRARY)}:{line} {name}" for line, name in names]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "from vmenter.boot.host import Host, _names",
        "from vmenter.boot import host as machine\nmachine._names(())",
        "def f():\n    from vmenter.code import instructions\n    return instructions._decoder()",
        "from vmenter.code._assemble import main",
    ],
)
def test_a_private_name_from_elsewhere_is_noticed(text):
    assert [*foreign_private_names(text, "vmenter.boot")]


# --- one door a name ---------------------------------------------------------------------------------------------


def defined(tree):
    """Yield the names that a module defines at its top, under an `if` or a `try` too, and modules of others."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import):
            yield from (one.asname or one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For | ast.With | ast.NamedExpr):
            yield from (
                one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            )
        if isinstance(node, ast.If | ast.Try | ast.ExceptHandler | ast.With):
            yield from defined(node)


@cache
def own_names():
    """Return what each module of the library defines: {"vmenter.boot.host": {"Host", …}}."""
    found = {}
    for path in LIBRARY.rglob("*.py"):
        name = ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts).removesuffix(".__init__")
        found[name] = {*defined(ast.parse(path.read_text(encoding="utf-8")))}
    return found


def handed_on(text):
    """Yield (line, name) of names that code takes from a module which has them from elsewhere itself."""
    there, modules, tree = own_names(), {}, ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in there:
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                modules |= {one.asname or one.name: whole} if whole in there else {}
                if whole not in there and one.name not in there[node.module]:
                    yield node.lineno, whole
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            module = modules[node.value.id]
            ours = node.attr in there[module] or f"{module}.{node.attr}" in there
            if not ours and not node.attr.startswith("__"):
                yield node.lineno, f"{module}.{node.attr}"


def code_of(path):
    """Return a file's code; of a notebook that of all its cells, one behind the other."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(cell["source"]) for cell in cells)


def test_every_name_is_taken_from_the_module_that_defines_it():
    files = [*LIBRARY.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sorted(files)
        for line, name in handed_on(code_of(path))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "from vmenter.boot.selection import Host",
        "def f():\n    from vmenter.story import eras\n    return eras.select",
        "from vmenter.boot import selection as chosen\nchosen.Host()",
    ],
)
def test_a_name_taken_by_another_door_is_noticed(text):
    assert [*handed_on(text)]


# What tests alone use, and has a reason to stand in the library.
FOR_TESTS = {
    "COMMITS": "the table that prose is held against",
    "MAILS": "the table that prose is held against",
    "of_comparison": "tools/record_booted makes recordings with it",
    "build_lab": "make objects calls it",
    "bug_words": "a column of the table of features",
}

# What Python's web server and JupyterLite's kernel look for by name.
FOR_OTHERS = {
    *("request_queue_size", "daemon_threads", "protocol_version", "log_message"),
    *("_PIPLITE_DISABLE_PYPI", "_PIPLITE_URLS"),
}


def unused_names():
    """Yield the names of functions, classes and constants that stand nowhere in library and notebooks but once."""
    files = [path for path in LIBRARY.rglob("*") if path.suffix in (".py", ".js", ".j2", ".toml")]
    course = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "lib/pyproject.toml",
        *ROOT.glob("notebooks/*.ipynb"),
    ]
    texts = (path.read_text(encoding="utf-8") for path in (*files, *course))
    count = Counter(word for text in texts for word in re.findall(r"\w+", text))
    for path in files:
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    names = [node.name]
                else:
                    places = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                    names = [one.id for one in places if isinstance(one, ast.Name)]
                yield from (name for name in names if count[name] == 1 and not name.startswith("__"))


def test_no_name_of_the_library_is_used_by_tests_alone():
    assert set(unused_names()) == set(FOR_TESTS) | FOR_OTHERS
