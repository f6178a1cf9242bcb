"""What all tests share: results that a normal run prints, and how hypothesis behaves."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from places import ROOT

os.environ["VMENTER_PROGRESS"] = "off"  # no test, and no notebook that one starts, touches the reader's own file

# The same examples on every run and no time limit on one of them: a busy machine must not fail a test.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", parent=settings.get_profile("steady"), derandomize=False, max_examples=3000)
settings.load_profile("steady")  # --hypothesis-profile=search looks further, elsewhere each time

REPORTED = "reported"
TOGETHER = ("jupyterlab", "site")  # what is made once, for all tests that ask for it: one worker does them all
# What takes longest, first, so that no worker is left with it alone at the end.
LONG = (
    "jupyterlab",
    "site",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests for workers (`--dist loadgroup`): by what they share, else by file; the long groups come first."""
    groups = {}
    for item in items:
        asked = [name for name in TOGETHER if name in getattr(item, "fixturenames", ())]
        groups[item] = asked[0] if asked else item.path.relative_to(ROOT).as_posix()
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    items.sort(key=lambda item: LONG.index(groups[item]) if groups[item] in LONG else len(LONG))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let notebooks that nbval runs tell every truth, as those that are committed do; nothing else does."""
    if item.path.suffix == ".ipynb":
        os.environ["VMENTER_REVEAL"] = "1"
    else:
        os.environ.pop("VMENTER_REVEAL", None)


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
