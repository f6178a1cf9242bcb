"""The notebooks as they are committed: executed, clean, furnished, and none of their cells passed over by nbval."""

import json
import re
from pathlib import Path

import pytest

from vmenter.exercises import every

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TAUGHT = [path for path in NOTEBOOKS if not path.name.startswith("00")]


def cells(path, kind):
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


def prose(path):
    return "\n".join("".join(c["source"]) for c in cells(path, "markdown"))


def each(paths=NOTEBOOKS):
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def test_there_are_notebooks():
    assert {path.name[:2] for path in NOTEBOOKS} >= {"00", "02", "03"}


@each()
def test_every_code_cell_is_compared_by_nbval(path):
    for number, cell in enumerate(cells(path, "code")):
        assert cell["execution_count"] == number + 1, f"code cell {number} was not run, or not in order"
        tags = set(cell["metadata"].get("tags", []))
        assert not tags & {"nbval-skip", "nbval-ignore-output", "raises-exception"}, f"code cell {number}: {tags}"
        assert "NBVAL" not in "".join(cell["source"]), f"code cell {number} talks nbval out of comparing"


@each()
def test_no_cell_failed_or_complained(path):
    for number, cell in enumerate(cells(path, "code")):
        for output in cell["outputs"]:
            assert output["output_type"] != "error", f"code cell {number}"
            assert output.get("name") != "stderr", f"code cell {number}"


@each()
def test_nothing_volatile_is_stored(path):
    text = path.read_text(encoding="utf-8")
    assert "widget-view+json" not in text
    assert "widget-state" not in text
    assert not re.search(r" object at 0x[0-9a-f]+", text)


@each()
def test_cells_are_small(path):
    for number, cell in enumerate(cells(path, "code")):
        lines = len("".join(cell["source"]).splitlines())
        assert lines <= 20, f"code cell {number} has {lines} lines"


@each()
def test_links_between_notebooks_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+\.ipynb)", prose(path)):
        assert (path.parent / target).is_file(), target


@each()
def test_a_notebook_says_what_when_and_what_next(path):
    text = prose(path)
    for part in ("You will be able to", "*Before:*", "*Time:*", "## Summary", "**Primary sources", "**Next:**"):
        assert part in text, part


@each(TAUGHT)
def test_a_notebook_predicts_practises_and_reviews(path):
    text = prose(path)
    code = "\n".join("".join(c["source"]) for c in cells(path, "code"))
    assert "Predict" in text
    assert text.split("## Review")[1].count("<details>") == 2
    assert re.search(r"check\(\"" + path.name[:2], code)
    assert re.search(r"PatchBench|EntryExplorer|KernelBrowser", code)


@each(TAUGHT)
def test_exercise_cells_start_where_the_exercise_says(path):
    code = ["".join(c["source"]) for c in cells(path, "code")]
    for task in (task for id_, task in every().items() if id_.startswith(path.name[:2])):
        assert any(f'exercise("{task.id}")' in cell for cell in code), task.id
        assert any(cell == f'{task.starter}\ncheck("{task.id}", answer)' for cell in code), task.id
