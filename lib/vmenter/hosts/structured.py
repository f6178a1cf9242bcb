"""What a program wrote for another program, as lines "name: text": JSON, a log of JSON objects, metrics.

Only the form is undone here. Whether a name is a file's and a text a kernel's, `layouts` and `texts` tell.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vmenter.hosts.texts import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST: Final = 3  # times that a string of JSON may be JSON itself: a log of a container's output, say
_CARRIERS: Final = frozenset(("log", "message", "msg", "stdout", "output", "line", "text", "content", "stderr"))
"""Keys of what somebody printed: their strings are lines of a paste, not the text of a name."""
_STATES: Final = ("status", "state", "value", "text", "data", "mitigation")
_METRIC = re.compile(
    r"""
    \w* cpu_vuln \w* \{
    (?= [^}]*? codename="(?P<name>\w+)" )               # in whatever order
    (?= [^}]*? state="(?P<state>[\w ]*)" )
    (?: [^}]*? mitigation="(?P<more>[^"}]*)" )?
    [^}]* \} .*
    """,
    re.VERBOSE,
)


class Undone(NamedTuple):
    """JSON as lines "name: text", and how many of its objects have vulnerabilities files: machines, or moments."""

    text: str
    tellers: int


def from_json(text: str, deep: int = 0) -> Undone | None:
    """Undo JSON, lscpu's or any other; None for a text that has none in it.

    One object a line, as logs have them, is undone line by line.
    """
    start, end = min((text.find(sign) for sign in "{[" if sign in text), default=-1), max(map(text.rfind, "}]"))
    if start < 0 or end < start or '"' not in text[start:end]:
        return None
    whole = text[start : end + 1]
    lines = _lines(whole, deep)
    if lines is not None:
        return Undone("\n".join((text[:start], *lines, text[end + 1 :])), _tellers(whole)) if lines else None
    rows = text.split("\n")
    undone = [_lines(row.strip(), deep) if row.strip().startswith("{") else None for row in rows]
    if not any(undone):
        return None
    joined = "\n".join("\n".join(more) if more else row for row, more in zip(rows, undone, strict=True))
    return Undone(joined, sum(_tellers(row.strip()) for row, more in zip(rows, undone, strict=True) if more))


def _tellers(text: str) -> int:
    return sum(bool({*FILES} & {key.replace("-", "_") for key in one}) for one in _objects(json.loads(text)))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(one)


def from_metric(line: str) -> str:
    """Return a metric of a machine's flaws, as Prometheus has it, as "name: text"; other lines as they are."""
    found = _METRIC.fullmatch(line)
    if not found:
        return line
    state, more = found["state"].capitalize(), found["more"] or ""
    return f"{found['name']}: {state}{': ' * bool(more)}{more}"


def _lines(text: str, deep: int) -> list[str] | None:
    """Return what JSON says, None for what is none."""
    try:
        return list(_flat(json.loads(text), "", deep))
    except (ValueError, RecursionError):
        return None


def _flat(value: Any, name: str, deep: int) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _object(value, deep)
    elif isinstance(value, list):
        if name in {"flags", "bugs"} and all(isinstance(one, str) for one in value):
            value = [" ".join(value)]
        for one in value:  # lines of a log, say, stand for themselves
            yield from _flat(one, name if len(value) == 1 else "", deep)
    elif isinstance(value, str):
        lines = value.splitlines()
        if name.lower() in _CARRIERS:
            inner = from_json(value, deep + 1) if deep < DEEPEST else None
            yield from lines if inner is None else inner.text.split("\n")
        else:
            yield from (f"{name}: {value}",) if name and len(lines) == 1 else lines


def _object(value: dict[str, Any], deep: int) -> Iterator[str]:
    if isinstance(value.get("field"), str):  # lscpu -J
        name = value["field"].rstrip(": ")
        yield from _flat(value.get("data"), name, deep)
        yield from _flat(value.get("children"), name, deep)
        return
    named = next((one for one in value.values() if isinstance(one, str) and one.rpartition("/")[2] in FILES), None)
    said = next((value[key] for key in _STATES if isinstance(value.get(key), str)), None)
    if named is not None and said is not None:  # {"name": …, "status": …}
        yield f"{named}: {said}"
        return
    for inner, one in value.items():
        yield from _flat(one, str(inner), deep)
