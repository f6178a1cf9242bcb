"""A still picture of HostView: what the kernel says of each flaw, and what a VM-Enter does there."""

from vmenter.views.drawings.diagram import Diagram
from vmenter.views.drawings.still import Sheet
from vmenter.views.view import Frame, twin

KINDS = {"M": "box good", "V": "box bad", "D": "box mark"}


def picture(shown: Frame) -> Diagram:
    """Draw a frame."""
    sheet = Sheet()
    sheet.line(shown["title"], "title")
    sheet.table(
        [
            [
                (row["title"], "title"),
                (f"{row['letter']} {row['status']}", KINDS.get(row["letter"], "box")),
                ("D differs" if row["differs"] else "", KINDS["D"]),
                (row["kernel"], "code"),
            ]
            for row in shown["rows"]
        ]
    )
    kind = {True: "good", False: "bad", None: ""}[shown["kept"]]
    sheet.badge(f"{shown['mark']} {shown['word']}", kind, "What a VM-Enter does here")
    for sentence in shown["sentences"]:
        sheet.lines(sentence)
    sheet.gap()
    sheet.table([[(name, "title"), (value[:110], "code")] for name, value in shown["host"]])
    return sheet.picture("A machine explained", twin(shown))
