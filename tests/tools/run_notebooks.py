"""Run notebooks anew and store them as they are committed: executed, without widget state or volatile metadata."""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

os.environ["VMENTER_PROGRESS"] = "off"  # what is committed depends on nobody's progress …
os.environ["VMENTER_REVEAL"] = "1"  # … and tells every truth
KEPT_CELL_METADATA = ("tags", "jupyter")


def run(path: Path) -> None:
    """Execute one notebook in place."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": path.parent}},
    ).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = {key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata}
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = {}
            # A widget's view names a model that lives only in the kernel that made it; its text twin stays.
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name)
        run(Path(name))
