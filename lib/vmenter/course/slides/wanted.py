"""Which lines of a text a slide wants: "2-5 8", counted from 1."""

import re

from vmenter import LabError


def lines_of(text: str, wanted: str = "") -> list[str]:
    """Return the lines that are wanted, all if nothing is said. An ellipsis tells of those left out between."""
    lines = text.rstrip("\n").split("\n")
    if not wanted:
        return lines
    found: list[str] = []
    last = 0
    for part in wanted.split():
        span = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        first, end = (int(span[1]), int(span[2] or span[1])) if span else (0, 0)
        if not last < first <= end <= len(lines):
            raise LabError(
                f"lines {wanted!r}: {part!r} is none of the {len(lines)} lines in their order, such as 2-5 8"
            )
        if found and first > last + 1:
            found.append("\u2026")
        found += lines[first - 1 : end]
        last = end
    return found
