"""A still picture of KernelBrowser: one page of sites, what decides about them, and what becomes of them."""

from textwrap import shorten

from vmenter.views.drawings.diagram import Diagram
from vmenter.views.drawings.still import Sheet
from vmenter.views.view import Frame, twin


def picture(shown: Frame) -> Diagram:
    """Draw a frame."""
    sheet = Sheet()
    sheet.line(shown["title"], "title")
    for text in (shown["about"], shown["note"], shown["said"]):
        sheet.lines(text, "soft")
    sheet.table([[(one["title"], "title") for one in shown["columns"]], *(_row(row) for row in shown["rows"])])
    sheet.line("\u25cf this feature is on   \u25cb it is off   \u2192 this entry decides", "soft")
    return sheet.picture("Alternatives of an image", twin(shown))


def _row(row: Frame) -> list[tuple[str, str]]:
    entries = "  ".join(
        f"{chr(0x2192) if one['chosen'] else ''}{chr(0x25CF) if one['on'] else chr(0x25CB)} {one['text']}"
        for one in row["entries"]
    )
    becomes = f" \u2192 {row['patched']}" if row["outcome"] == "changed" else f" ({row['patched']})"
    return [
        (row["label"], "code"),
        (row["function"], ""),
        (shorten(entries, 70, placeholder=" \u2026"), ""),
        (str(row["length"]), ""),
        (shorten(row["original"] + becomes, 70, placeholder=" \u2026"), "code"),
    ]
