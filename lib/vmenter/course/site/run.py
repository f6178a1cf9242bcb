"""The widgets of a notebook, found by running its code in this process: what a cell's last line gives."""

import ast
import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from anywidget import AnyWidget

from vmenter import LabError


def widgets(notebook: Any, path: Path) -> dict[int, AnyWidget]:
    """Run a notebook's code cells in order; return the widgets that they end in, by the cell's number.

    Nobody's progress is touched. Raises `LabError` for a cell that fails.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    found = {}
    with chdir(path.parent), redirect_stdout(StringIO()), _without_progress():
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            try:
                value = run_cell(cell.source, f"{path.name}, cell {number}", names)
            except Exception as error:  # whatever a cell raises: the notebook is not as it was tested
                raise LabError(f"{path.name}, cell {number}: {type(error).__name__}: {error}") from error
            if isinstance(value, AnyWidget):
                found[number] = value
    return found


def run_cell(source: str, name: str, names: dict[str, Any]) -> Any:
    """Run a cell and return the value of its last line, as a notebook does."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)  # noqa: S102  (the course's own code, as nbval runs it)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), names)  # noqa: S307


@contextmanager
def _without_progress() -> Iterator[None]:
    """Keep what the reader has done as it is: exercises are checked here, too."""
    before = os.environ.get("VMENTER_PROGRESS")
    os.environ["VMENTER_PROGRESS"] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ["VMENTER_PROGRESS"]
        else:
            os.environ["VMENTER_PROGRESS"] = before
