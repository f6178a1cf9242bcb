"""A still picture of PatchBench: the bytes after one step, where each came from, and the instructions."""

from vmenter.views.drawings.diagram import Diagram
from vmenter.views.drawings.still import Sheet
from vmenter.views.patch.frame import twin
from vmenter.views.view import Frame

KINDS = {"R": "box mark", "C": "box mark", "D": "box mark", "N": "box good"}


def picture(shown: Frame, step: int | None) -> Diagram:
    """Draw a frame at one of its steps."""
    steps = shown["steps"]
    index = len(steps) - 1 if step is None else max(0, min(step, len(steps) - 1))
    now, sheet = steps[index], Sheet()
    sheet.line(f"{shown['title']}: {shown['about']}", "title")
    on = ", ".join(one["name"] for one in shown["features"] if one["on"])
    sheet.line(f"patcher: {shown['engine']}; features on: {on or 'none of them'}", "soft")
    sheet.line(f"{now['heading'][0].upper()}{now['heading'][1:]}.", "title")
    sheet.lines(now["said"])
    rows = [_row(row, shown["columns"]) for row in (*now["rows"], *shown["after"])]
    sheet.table(rows)
    used = {cell["letter"] for row in now["rows"] for cell in row["cells"]}
    told = (f"{one['letter']}: {one['text']}" for one in shown["legend"] if one["letter"] in used)
    sheet.lines("; ".join(told), "soft")
    if index == len(steps) - 1:
        sheet.lines(shown["verdict"], "title")
    return sheet.picture(f"Patch bench: {shown['title']}", twin(shown, step))


def _row(row: Frame, columns: int) -> list[tuple[str, str]]:
    cells = [
        (f"{one['hex']} {one['letter']}{one['by']}".strip(), KINDS.get(one["letter"], "box"))
        for one in row["cells"]
    ]
    empty = [("", "")] * (columns - len(cells))
    return [(f"{row['at']:+}", "soft code"), *cells, *empty, (f"{row['text']}  {row['note']}".rstrip(), "code")]
