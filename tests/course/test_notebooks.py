"""The notebooks as they are committed: executed, clean, furnished, and none of their cells passed over by nbval."""

import json
import re

import furniture
import pytest
from markdown_it import MarkdownIt
from places import NOTEBOOKS

from vmenter.course.exercises import every

NOTEBOOKS = sorted(NOTEBOOKS.glob("*.ipynb"))
COURSE = furniture.read()
TAUGHT = [path for path in NOTEBOOKS if not path.name.startswith("00")]


def cells(path, kind):
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


def each(paths=NOTEBOOKS):
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


def test_the_course_goes_from_00_on_without_a_gap():
    assert len(NOTEBOOKS) >= 11
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02}" for number in range(len(NOTEBOOKS))]


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
def test_no_mark_of_markdown_is_left_in_what_a_reader_sees(path):
    for cell in cells(path, "markdown"):
        for block in MarkdownIt().enable("table").parse("".join(cell["source"])):
            seen = " ".join(part.content for part in block.children or () if part.type == "text")
            assert not re.search(r"[*`]", seen), seen


@each()
def test_nothing_volatile_is_stored(path):
    text = path.read_text(encoding="utf-8")
    assert "widget-view+json" not in text
    assert "widget-state" not in text
    assert not re.search(r" object at 0x[0-9a-f]+", text)


VIEW = re.compile(
    r"""^(?:once_told\("[^"]+",\s)?"""
    r"(?:FirstMinute|LeakGame|HostView|EntryExplorer|PatchBench|ExposureMap|KernelBrowser)(?:\.(?!live)\w+)?\(",
    re.MULTILINE,
)


def html_of(cell):
    return "".join("".join(one.get("data", {}).get("text/html", "")) for one in cell["outputs"])


@each()
def test_where_no_widget_lives_each_view_is_a_picture_with_its_text_in_fixed_width(path):
    shown = [cell for cell in cells(path, "code") if VIEW.search("".join(cell["source"]))]
    assert shown
    for cell in shown:
        html = html_of(cell)
        assert 'src="data:image/svg+xml;base64,' in html, "".join(cell["source"])
        assert re.search(r'<img [^>]*alt="[^"]+"', html)
        if 'show=("flow"' in "".join(cell["source"]):
            assert "The way through the code, " in html
    ours = [html_of(cell) for cell in cells(path, "code")]
    for pre in re.findall(r"<pre[^>]*>(?!<span></span>)", "".join(ours)):
        assert "monospace" in pre, "VS Code and nbconvert would set it as prose"


@each()
def test_cells_are_small(path):
    for number, cell in enumerate(cells(path, "code")):
        lines = len("".join(cell["source"]).splitlines())
        assert lines <= 20, f"code cell {number} has {lines} lines"


@each(TAUGHT)
def test_a_notebook_has_a_widget_and_exercises(path):
    code = "\n".join("".join(c["source"]) for c in cells(path, "code"))
    assert re.search(r"check\(\"" + path.name[:2], code)
    assert re.search(r"PatchBench|EntryExplorer|ExposureMap|KernelBrowser", code)


@pytest.mark.parametrize("rule", furniture.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("notebook", COURSE.notebooks, ids=lambda notebook: notebook.name)
def test_the_furniture_is_in_its_form(rule, notebook):
    assert list(rule(notebook, COURSE)) == []


@each(TAUGHT)
def test_exercise_cells_start_where_the_exercise_says(path):
    code = ["".join(c["source"]) for c in cells(path, "code")]
    for task in (task for id_, task in every().items() if id_.startswith(path.name[:2])):
        assert any(f'exercise("{task.id}")' in cell for cell in code), task.id
        assert any(cell == f'{task.starter}\ncheck("{task.id}", answer)' for cell in code), task.id
