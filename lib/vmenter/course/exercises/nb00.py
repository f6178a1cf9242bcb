"""The exercise of notebook 00: read what a kernel says of its flaws."""

from typing import Any

from vmenter import LabError
from vmenter.course.judging import told

LINES = {
    "mds": "Not affected",
    "tsx_async_abort": "Mitigation: TSX disabled",
    "mmio_stale_data": "Mitigation: Clear CPU buffers",
    "reg_file_data_sampling": "Not affected",
    "l1tf": "Not affected",
}
"""What the exercise shows: a Cascade Lake without TSX under kernel 7.3.4. A test holds it to the model."""

OTHERS = {"taa": "tsx_async_abort", "mmio": "mmio_stale_data", "rfds": "reg_file_data_sampling"}
VERW = "Clear CPU buffers"


def _judge(answer: Any) -> str | None:
    """Judge which flaws VERW is used against."""
    given = {
        OTHERS.get(name, name) for name in told.names(answer, told.should_be("text, names with blanks between"))
    }
    if unknown := sorted(given - set(LINES)):
        raise LabError(f"{unknown[0]!r} is none of the files; there are {', '.join(LINES)}")
    for name, line in LINES.items():
        uses = VERW in line
        if name in given and not uses:
            return f"{name} says “{line}”. {_what(line)}"
        if uses and name not in given:
            return "one of the five lines names the VERW of this course, and its file is not in your answer"
    return None


def _what(line: str) -> str:
    if line == "Not affected":
        return "A flaw that is not there needs no cure."
    return "That is a mitigation, but no VERW: what is switched off cannot leak."


JUDGES = {"verw_against": _judge}
