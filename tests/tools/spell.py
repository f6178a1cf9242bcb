"""Look for misspelt words: codespell over all that is text or code, and over the cells of the notebooks.

A notebook's cells are laid out as files, NOTEBOOK/cell-07.md and so on, so that a finding names its cell; outputs
are left out, since they are made from code that is looked at anyway.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".S", ".cff", ".css", ".inc", ".j2", ".js", ".md", ".py", ".toml", ".yaml"}
NAMES = {"Makefile", "run", "setup", "fetch-kernels"}
NOT_OURS = {"tests/data", "translations"}  # names and words that others chose; words of other languages


def texts() -> list[str]:
    """Return the files of the repository that people wrote, as paths from its root. Needs git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file()]
    return [
        str(path)
        for path in paths
        if (path.suffix in SUFFIXES or path.name in NAMES) and not any(f"{path}".startswith(n) for n in NOT_OURS)
    ]


def lay_out(notebook: Path, folder: Path) -> None:
    """Write each cell of a notebook to a file of its own."""
    folder.mkdir()
    for number, cell in enumerate(json.loads(notebook.read_text(encoding="utf-8"))["cells"]):
        suffix = "md" if cell["cell_type"] == "markdown" else "py"
        (folder / f"cell-{number:02}.{suffix}").write_text("".join(cell["source"]), encoding="utf-8")


def misspelt(where: Path, *what: str) -> bool:
    """Run codespell in a folder; its findings go to standard output."""
    config = ("--toml", str(ROOT / "lib" / "pyproject.toml"))
    return (
        subprocess.run([sys.executable, "-m", "codespell_lib", *config, *what], cwd=where, check=False).returncode
        > 0
    )


def main(notebooks: list[Path]) -> int:
    """Look at the whole repository, or at some notebooks; return 1 if there is something to mend."""
    with TemporaryDirectory() as name:
        for notebook in notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
            lay_out(notebook, Path(name) / notebook.stem)
        wrong = [misspelt(Path(name), ".")]
    return int(any([*wrong, not notebooks and misspelt(ROOT, *texts())]))


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
