"""What a test lacks is said, and in CI it fails: nothing is passed over there."""

import os
import re
import subprocess
import sys

import pytest
from places import ROOT


@pytest.mark.parametrize(("ci", "outcome", "status"), [("true", "error|failed", 1), ("", "skipped", 0)])
@pytest.mark.parametrize(
    ("test", "lacking"),
    [
        (
            "browser/test_slides.py::test_slides_print_one_on_a_page",
            "Chromium is missing; to get it: sudo apt-get",
        ),
        (
            "patching/test_golden.py::test_the_tables_of_real_kernels_have_the_known_sizes",
            "is missing; to get it: set VMENTER_KERNELS",
        ),
    ],
)
def test_what_is_missing_fails_in_ci_and_is_skipped_elsewhere(tmp_path, ci, outcome, status, test, lacking):
    nothing = {"PATH": str(tmp_path), "VMENTER_KERNELS": "", "XDG_CACHE_HOME": str(tmp_path)}
    pytest_ = [sys.executable, "-m", "pytest", "-c", "tests/pytest.ini", "--rootdir", ".", "-p", "no:nbval"]
    command = [*pytest_, "-q", "-rsfE", f"tests/{test}"]
    environment = {**os.environ, **nothing, "CI": ci}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert lacking in ran.stdout
    assert re.search(rf"[1-9]\d* ({outcome})", ran.stdout)
    assert ran.returncode == status
