"""Refresh the pins: `make pins`. What the course needs goes to requirements.txt, the rest to tests/requirements.txt.

Both are resolved together, so that what the tests add never asks for another version of what the course has.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COURSE, TESTS = ROOT / "requirements.txt", ROOT / "tests" / "requirements.txt"
# Held back: from 4.25 on, jsonschema builds a grammar for IRIs whenever it is imported, which costs each process that
# reads notebooks (JupyterLab, and every worker of the tests) 1.3 s.
HELD = "jsonschema<4.25\n"
OPTIONS = (
    "--universal",
    "--python-version",
    "3.11",
    "--no-annotate",
    "--no-header",
    "--no-emit-index-url",
    "--quiet",
)


def resolved(asked: str, *options: str | Path) -> list[str]:
    """Return the pins of what is asked for, one a line, with all that it asks for in turn."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", *OPTIONS, *options, "-"],
        cwd=ROOT,
        input=asked,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.splitlines()


def name(pin: str) -> str:
    """Return the name in a pin."""
    return re.split(r"[=\s]", pin, maxsplit=1)[0]


def main() -> None:
    """Write both files."""
    everything = resolved("-e ./lib[course,slides,test,pins]\n" + HELD, "--upgrade")
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "all.txt"
        constraints.write_text("\n".join(pin for pin in everything if pin[0] != "-"), encoding="utf-8")
        course = resolved("-e ./lib[course,slides]\n", "--constraints", constraints)
    theirs = {name(pin) for pin in course}
    rest = [pin for pin in everything if pin[0] != "-" and name(pin) not in theirs]
    COURSE.write_text("\n".join(["# What the course needs, pinned: `make pins`", *course, ""]), encoding="utf-8")
    about = "# What tests and developers need beside ../requirements.txt, pinned: `make pins`"
    TESTS.write_text("\n".join([about, *rest, ""]), encoding="utf-8")
    print(f"requirements.txt: {len(course) - 1} pins; tests/requirements.txt: {len(rest)} more")


if __name__ == "__main__":
    main()
