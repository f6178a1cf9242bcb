"""A line `vmenter enter …` as an answer: read by the options that the command has, and run in any era.

The command line stands above the course, so its options are named here again; a test holds the two together.
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.story import eras
from vmenter.story.promise import Reach, VCpuState

if TYPE_CHECKING:
    from vmenter.story.eras import Entry

LONGEST = 2_000  # characters of a line


class _Options(argparse.ArgumentParser):
    """Argparse, but what is wrong with a line is a `LabError`."""

    def error(self, message: str) -> NoReturn:
        raise LabError(f"vmenter enter: {message}")


def _options() -> _Options:
    options = _Options(prog="vmenter enter", add_help=False, allow_abbrev=False)
    options.add_argument("--era")
    for name in ("--bugs", "--microcode"):
        options.add_argument(name, action="append", default=[])
    options.add_argument("--cmdline", default="")
    options.add_argument("--mmio", choices=[str(reach) for reach in Reach], default=str(Reach.NONE))
    for name in ("--guest-fb-clear", "--flush-pending", "--resume", "--same-host-rsp", "--same-cr2", "--json"):
        options.add_argument(name, action="store_true")
    return options


class Line(NamedTuple):
    """What a line asks for; `era` is None where it names none."""

    era: str | None
    host: Host
    vcpu: VCpuState

    def enter(self, era: str) -> Entry:
        """Run it, in this era."""
        return eras.enter(era, self.host, self.vcpu)


def read(answer: Any) -> Line:
    """Read a line. Raises `LabError` for what is none, or names what does not exist."""
    if not isinstance(answer, str):
        raise LabError(
            f"answer should be text, a line that begins with vmenter enter; it is a {type(answer).__name__}"
        )
    if len(answer) > LONGEST:
        raise LabError(f"the line has {len(answer):,} characters; {LONGEST:,} are enough")
    try:
        words = shlex.split(answer.replace("\\\n", " "))
    except ValueError as error:
        raise LabError(f"no shell would read this line: {error}") from None
    if words[:2] != ["vmenter", "enter"]:
        raise LabError("the line should begin with vmenter enter")
    given = _options().parse_args(words[2:])
    host = Host(_names(given.bugs), _names(given.microcode), given.cmdline)
    vcpu = VCpuState(
        mmio=Reach(given.mmio),
        flush_pending=given.flush_pending,
        resume=given.resume,
        guest_fb_clear=given.guest_fb_clear,
        host_rsp_changed=not given.same_host_rsp,
        cr2_changed=not given.same_cr2,
    )
    return Line(given.era, host, vcpu)


def _names(lists: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for names in lists for name in names.split(",") if name.strip())
