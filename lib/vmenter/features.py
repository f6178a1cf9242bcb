"""Feature numbers and kernel versions."""

import re

from vmenter.errors import LabError


def parse_version(text: str) -> tuple[int, ...]:
    """Return ``(6, 12, 117)`` for "6.12.117+deb13-amd64"; a missing third number is 0."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        raise LabError(f"{text!r} is no kernel version such as 6.12.117")
    return tuple(int(number) for number in found.groups("0"))
