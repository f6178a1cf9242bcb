"""What all tests share: results that a normal run prints, and how hypothesis behaves."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzz import OFTEN
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

os.environ["VMENTER_PROGRESS"] = "off"  # no test, and no notebook that one starts, touches the reader's own file

# The same examples on every run and no time limit on one of them: a busy machine must not fail a test.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50 if OFTEN else 20,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", parent=settings.get_profile("steady"), derandomize=False, max_examples=3000)
settings.load_profile("steady")  # --hypothesis-profile=search looks further, elsewhere each time

REPORTED = "reported"
# Files that share what is made once: a JupyterLab and a browser, the built site. One worker does them all.
TOGETHER = {
    "tests/browser/test_site.py": "site",
    "tests/course/test_site.py": "site",
    "tests/browser/test_slides.py": "slides",
    "tests/browser/test_accessibility.py": "whole pages",
    "tests/browser/test_every_notebook.py": "whole pages",
    "tests/browser/": "browser",
    # What one judges, the other reads.
    "tests/course/exercises/test_exercises.py": "judged",
    "tests/course/exercises/test_exercises_08.py": "judged",
    # The parts of a browser's tab, fetched once.
    "tests/test_in_browser.py": "tab parts",
    "tests/code/test_decoder.py": "tab parts",
    "tests/code/test_gnu_as.py": "tab parts",
    "tests/course/judging/test_limited_in_tab.py": "tab parts",
    "tests/views/drawings/test_graphviz.py": "tab parts",
}
# What takes longest, first, so that no worker is left with it alone at the end.
LONG = (
    "tests/tab/test_notebooks.py",
    "tests/tab/test_visit.py",
    "tests/tab/test_firefox.py",
    "browser",
    "whole pages",
    "site",
    "judged",
    "tests/code/test_damage.py",
    "tests/kernels/test_inspect_damage.py",
    "tests/course/exercises/test_any_answer.py",
    "tests/cli/test_bad_input.py",
    "tests/hosts/test_inference.py",
    "tests/patching/test_alternatives.py",
    "slides",
)


def group(nodeid: str) -> str:
    """Return the group that a test goes with: its file, or what it shares with others."""
    file = nodeid.split("::", maxsplit=1)[0]
    return next((name for start, name in TOGETHER.items() if file.startswith(start)), file)


class Groups(LoadScopeScheduling):
    """Workers take a group at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    """Let workers (`-n`) take the groups in the order in which they are collected."""
    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the groups that take longest first."""
    items.sort(key=lambda item: LONG.index(one) if (one := group(item.nodeid)) in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """Keep the collector of garbage from going through all that was collected, again and again: a twelfth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture
def report(record_property: Callable[[str, Any], None]) -> Callable[[str], None]:
    """Let a test say one line that is printed at the end of every run, with or without workers."""
    return lambda line: record_property(REPORTED, line)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a `vmenter` command in this process: (exit status, standard output, standard error)."""
    from vmenter import cli

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        return stop.value.code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    from site_built import built

    return built(tmp_path_factory.mktemp("site"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the lines that tests reported."""
    lines = sorted(
        line
        for outcome in ("passed", "failed")
        for result in terminalreporter.stats.get(outcome, [])
        for key, line in getattr(result, "user_properties", [])
        if key == REPORTED
    )
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
