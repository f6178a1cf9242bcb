"""Signs that a paste holds more than one machine, or one machine at two times.

What one of them says is not told of the other, so such a paste never ends with "fine". No name of a machine is
kept: only that there are two.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vmenter.hosts.texts import FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_ASKS = r"(?=.*\b(?:cat|[ef]?grep|lscpu|tail|head|inxi|dmesg|journalctl|for|uname|more|find)\b)(?!.*\bssh\b)"
_NAMES: Final = {
    "prompts": re.compile(r"[\[(]?[\w.-]{1,40}@([\w.-]{1,60})(?:[:\s]\S{0,80})?[\])]?\s?[$#%>\u276f]\s" + _ASKS),
    "hosts in the log": re.compile(
        r"""
        (?: <\d+> )?                                    # a priority
        (?: \w{2,6}\.? \s+ \d{1,2} \s+ \d\d:[\d:.]+     # Nov 28 19:30:01
          | \d{4}-\d\d-\d\d [T ] [\d:.,]+ (?: Z | [+-]\d\d:?\d\d )?
        )
        \s+ (\S{1,60}) \s+ kernel (?: \[\d+\] )? :
        """,
        re.VERBOSE,
    ),
    "names before the lines": re.compile(
        r"([\w.-]{1,60})\s?:\s+/(?:sys/devices/system/cpu/vulnerabilities|proc)/"
    ),
    "first columns": re.compile(rf"([\w.-]{{1,60}})([,;|\t])[\"']?(?:{'|'.join(FILES)})[\"']?\2", re.IGNORECASE),
    "hosts of Ansible": re.compile(
        r"([\w.-]{1,60}) \| (?:CHANGED|SUCCESS)\b|(?:ok|changed|skipping): \[([\w.-]{1,60})\]"
    ),
}
_EARLY: Final = frozenset(("localhost", "(none)", "kernel", "unknown"))  # before a machine knows its name
_PROGRAMS: Final = frozenset(("cat", "grep", "egrep", "fgrep", "head", "tail", "ls", "bash", "sh"))
_ABOVE = re.compile(r"([\w.-]{1,60}):")  # as Salt has a machine's name over its lines
_WITH_PATH = re.compile(r"\s+(?:/sys/devices/system/cpu/vulnerabilities/|vendor_id\s*:)")
_MODEL = re.compile(r"(?<![\w.])(?!\d+th\b)[A-Za-z]*-?\d[\w-]*\b(?!\.\d|\s*(?:GHz|MHz|-Core))")


def of_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Return what shows, in the lines as they came, that several machines speak."""
    found: dict[str, set[str]] = {kind: set() for kind in (*_NAMES, "headings")}
    above: str | None = None
    for line in lines:
        if line and not line[0].isspace():
            match = _ABOVE.fullmatch(line)
            above = match[1].casefold() if match else None
        elif above and _WITH_PATH.match(line):
            found["headings"].add(above)
        text = line[:400].lstrip(" \t>|")
        for kind, sign in _NAMES.items():
            if match := sign.match(text):
                name = next(one for one in match.groups() if one).partition(".")[0].casefold()
                if name not in _EARLY | _PROGRAMS:
                    found[kind].add(name)
    return tuple(f"{kind} of {len(names)} machines" for kind, names in found.items() if len(names) > 1)


def of_values(values: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield what differs among values of which one machine has but one: field → all values that were read."""
    vendors = set(values.get("vendor_id", ()))
    if len(vendors) > 1:
        yield f"{len(vendors)} vendors"
    flags = {flag for one in values.get("flags", ()) for flag in ("vmx", "svm") if flag in one.split()}
    if len(flags) > 1:
        yield "flags of two vendors"
    if len(set(values.get("virtualization", ()))) > 1:
        yield "both VT-x and AMD-V"
    models = [frozenset(_MODEL.findall(name)) for name in values.get("model name", ())]
    models = [one for one in models if one]
    if any(not one & other for one in models[:1] for other in models[1:]):
        yield "two CPUs' names"
    releases = {found[0] for one in values.get("osrelease", ()) if (found := re.match(r"\d+\.\d+(?:\.\d+)?", one))}
    if len(releases) > 1:
        yield f"{len(releases)} kernels"
    if values.get("arch") and values.get("x86"):
        yield "two architectures"
