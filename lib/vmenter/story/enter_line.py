"""A `vmenter enter` line read back: the era, the host and the vCPU that it stands for. The inverse of `replay`.

>>> read_line("vmenter enter --era v4 --bugs mds --microcode md_clear").vcpu.resume
False
"""

import argparse
import re
import shlex
from typing import Any, NamedTuple, NoReturn

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.story import eras, history
from vmenter.story.history import Era
from vmenter.story.promise import Reach, VCpuState

LONGEST = 2_000  # characters
_COMMENT = re.compile(r"\s#")  # a word that begins so, as a shell has it; within a word it is a letter like others


class Line(NamedTuple):
    """What a line asks to be run; `era` is None where it names none."""

    era: Era | None
    host: Host
    vcpu: VCpuState

    def enter(self, era: Era | str | None = None) -> eras.Entry:
        """Run it: in this era, or in the one that it names."""
        era = era or self.era
        if era is None:
            raise LabError("the line names no era: add --era and one of its names")
        return eras.enter(era, self.host, self.vcpu)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise LabError(f"the line: {message}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="vmenter enter", add_help=False, allow_abbrev=False)
    parser.add_argument("--era")
    for name in ("--bugs", "--microcode"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("--cmdline", default="")
    parser.add_argument("--mmio", nargs="?", const="assigned", default="none", choices=[str(one) for one in Reach])
    for flag in ("--guest-fb-clear", "--flush-pending", "--resume", "--same-host-rsp", "--same-cr2", "--json"):
        parser.add_argument(flag, action="store_true")
    return parser


def read_line(text: Any) -> Line:
    """Read a line as it is typed into a terminal, with a prompt or a comment or not, or broken by a backslash.

    Raises `LabError` for what is none.
    """
    if not isinstance(text, str):
        raise LabError(
            f"the line: text is needed that begins with “vmenter enter”; this is a {type(text).__name__}"
        )
    if len(text) > LONGEST:
        raise LabError(f"the line: it has {len(text):,} characters; {LONGEST:,} are enough")
    line = text.replace("\\\r\n", " ").replace("\\\n", " ").strip().lstrip(" $!%")
    if not line.isprintable():
        raise LabError("the line: it should be one line of text that begins with “vmenter enter”")
    try:
        words = shlex.split(line, comments=bool(_COMMENT.search(line)))
    except ValueError as error:
        raise LabError(f"the line: no shell would read it: {error}") from None
    if words[:2] != ["vmenter", "enter"]:
        raise LabError("the line: it should begin with “vmenter enter”")
    told = _parser().parse_args(words[2:])
    vcpu = VCpuState(
        Reach(told.mmio),
        told.flush_pending,
        told.resume,
        told.guest_fb_clear,
        not told.same_host_rsp,
        not told.same_cr2,
    )
    era = None if told.era is None else history.era(told.era)
    return Line(era, Host(_names(told.bugs), _names(told.microcode), told.cmdline), vcpu)


def _names(lists: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for one in lists for name in one.split(",") if name.strip())
