"""A still picture of ExposureMap: eras by columns, a letter in each cell, and what is in the selected one."""

from collections.abc import Sequence
from textwrap import wrap

from vmenter.views.drawings.diagram import Diagram
from vmenter.views.drawings.still import LOOSE, Sheet
from vmenter.views.view import Frame, twin

NARROW = 8  # characters
KINDS = {"broken": "box bad", "failed": "box bad", "neutralised": "box mark", "kept": "box good"}


def picture(shown: Frame) -> Diagram:
    """Draw a frame."""
    sheet = Sheet()
    sheet.line(f"Exposure map of the {shown['space']} space: {shown['size']}", "title")
    sheet.line(f"Columns: {', then '.join(shown['split'])}", "soft")
    keys = [column["key"] for column in shown["columns"]]
    leaves = _leaves([column["text"] for column in shown["columns"]])
    tops = [
        (key[0] if len(key) > 1 and key[:1] != last[:1] else "", LOOSE)
        for key, last in zip(keys, [[], *keys], strict=False)
    ]
    heads = [[("", ""), *tops], *leaves] if shown["groups"] else leaves
    sheet.table([*heads, *(_row(row) for row in shown["rows"])], least=40)
    for one in shown["legend"]:
        sheet.line(f"{one['letter'] or '(empty)'}  {one['text']}", "soft")
    about = shown["detail"]
    sheet.gap()
    sheet.line(f"Selected: {about['era']}: {about['title']}", "title")
    sheet.lines(f"{about['where']} {' '.join(about['said'])}".strip())
    return sheet.picture("Exposure map", twin(shown))


def _leaves(texts: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Return the heads of columns as rows of a table, folded so that a column is hardly wider than its cells."""
    folded = [wrap(text, NARROW, break_long_words=False) or [""] for text in texts]
    high = max(map(len, folded), default=0)
    lines = zip(*([""] * (high - len(one)) + one for one in folded), strict=True)
    return [[("", ""), *((text, "title") for text in line)] for line in lines]


def _row(row: Frame) -> list[tuple[str, str]]:
    cells = [
        (f"{one['letter']}{one['also']} {one['share']}".strip(), KINDS.get(one["kind"], "box"))
        for one in row["cells"]
    ]
    return [(row["era"], "code"), *cells]
