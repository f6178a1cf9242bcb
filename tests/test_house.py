"""The floors of the house: what `make lint` holds the imports to, and that it notices."""

import os
import shutil
import subprocess
import sys
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
    import tomllib

    contract = tomllib.loads((ROOT / "lib/pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    named = {name for floor in contract["contracts"][0]["layers"] for name in floor.split(" | ")}
    there = {
        f"vmenter.{path.name}" for path in (ROOT / "lib/vmenter").iterdir() if (path / "__init__.py").exists()
    }
    assert named == there
