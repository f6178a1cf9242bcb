"""Still pictures of EntryExplorer: each era's verdict, what happened, what boot selects; and the way, drawn."""

from collections.abc import Iterator, Mapping

from vmenter.kernels.booted_record import counted
from vmenter.views.drawings.diagram import Diagram, Mark, mark
from vmenter.views.drawings.still import Sheet
from vmenter.views.view import Frame, twin

WIDE = 104  # characters of fixed width in a line
KINDS = {"V": "good", "F": "good", "E": "here", "D": "mark"}


def picture(shown: Frame) -> Diagram:
    """Draw a frame."""
    sheet = Sheet()
    for line in shown["head"]:
        sheet.lines(line, "soft code", width=WIDE)
    for one in shown["sides"]:
        sheet.gap()
        _side(sheet, one)
    return sheet.picture("One VM-Enter", twin(shown))


def ways(shown: Frame, drawings: Mapping[str, str]) -> Iterator[tuple[str, Diagram]]:
    """Yield (era, its code with the way that ran) for each side of a frame that has the panel `flow`."""
    for one in shown["sides"]:
        if flow := one.get("flow"):
            marks = {key: Mark(each.get("class", ""), each.get("text")) for key, each in flow["marks"].items()}
            yield one["era"], Diagram(mark(drawings[one["era"]], marks), "\n".join(flow["text"]))


def _side(sheet: Sheet, one: Frame) -> None:
    verdict = one.get("verdict")
    where = f"{one['era']}, {one['release']}: {one['title']}"
    if verdict is None:
        sheet.line(where, "title")
    else:
        sign, kind = ("\u2713", "good") if verdict["kept"] else ("\u2717", "bad")
        sheet.badge(f"{sign} {verdict['word']}", kind, where)
        sheet.lines(f"Promise: {verdict['promise']}.")
        sheet.lines(f"{verdict['word']}: {verdict['reason']}. Last cleared by: {verdict['by']}.", "title")
        if verdict["distance"]:
            sheet.lines(f"Distance: {verdict['distance']}.")
    if one.get("events"):
        _events(sheet, one["events"])
    if one.get("selection"):
        why = one["selection"]["why"]
        sheet.table([[(row["subject"], "title"), (row["outcome"], ""), (row["reason"], "soft")] for row in why])


def _events(sheet: Sheet, events: Frame) -> None:
    boxes = [(events["start"], "", "")]
    if events["owed"]:
        boxes.append(("\u2205 no clear", "bad", "no VERW, no L1D flush"))
    for one in events["items"]:
        counts = f"{counted(one['instructions'], one['accesses'])} on"
        away = ", neutralised" if one["neutralised"] else ""
        boxes.append(
            (f"{one['letter']}  {one['name']}: {one['detail']}{away}", KINDS.get(one["letter"], ""), counts)
        )
    sheet.boxes(boxes)
