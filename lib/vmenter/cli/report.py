"""What a report to the authors needs, collected and shown: `report`. Nothing is sent or left out silently."""

import base64
import hashlib
import json
import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from vmenter import LabError
from vmenter.cli.shared import json_lines, show, standard_input
from vmenter.code.files import opened, read
from vmenter.course.address import COMMAND, installed

MOST_TEXT: Final = 16 << 20  # bytes of a paste or an answer
MOST_KERNEL: Final = 2 << 30  # bytes of a kernel, a module or a package
_WHO: Final = (
    ("a mail address, or a user and a host", re.compile(r"[\w.+-]+@[\w-][\w.-]*")),
    (
        "an IP address",
        re.compile(
            r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.-])|\b(?=[0-9a-f:]*[0-9a-f]{3})(?:[0-9a-f]{1,4}:{1,2}){3,7}[0-9a-f]{1,4}\b"
        ),
    ),
    ("a hardware address", re.compile(r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b", re.IGNORECASE)),
    (
        "a disk's or a machine's identity",
        re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE),
    ),
    ("a serial number", re.compile(r"\bserial(?: number|no)?\b\s*[:=#]", re.IGNORECASE)),
    (
        "a host's name",
        re.compile(r"(?:static )?hostname\s*[:=]|\bLinux (?!version)[\w-]+ \d+\.\d+", re.IGNORECASE),
    ),
    ("a home folder", re.compile(r"/home/[\w.-]+|/Users/[\w.-]+")),
)
_KINDS: Final = {
    "paste": "a paste that `vmenter host --from` misread",
    "kernel": "a kernel, module or package that `vmenter inspect` misjudged",
    "judge": "an answer to an exercise that its judge took wrongly",
}


@click.command()
@click.argument("kind", type=click.Choice(list(_KINDS)))
@click.argument("file", metavar="FILE|-")
@click.option("--exercise", "number", metavar="ID", help="The exercise of a fooled judge, 03-6 say.")
@click.option("--should", metavar="TEXT", help="What it should have said, in your words.")
@click.option("--write", "target", metavar="OUT", help="Write what was shown to a new file, after asking.")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
def report(kind: str, file: str, number: str | None, should: str | None, target: str | None, *, yes: bool) -> int:
    """Collect and show what a report needs: a misread paste, a misjudged kernel, a fooled judge.

    Nothing is sent. What FILE holds is taken whole (a kernel's bytes are not: its size and SHA-256 are). Lines
    that may name a machine or a person are listed, not changed: change them in FILE, and run this again.
    """
    if (kind == "judge") != (number is not None):
        raise LabError("--exercise ID says which judge was fooled; it goes with the kind judge, and only with it")
    if yes and target is None:
        raise LabError("--yes answers the question that --write asks; without --write nothing is written")
    collect = {"paste": _paste, "kernel": _kernel, "judge": _answer}[kind]
    found = {
        "about": _KINDS[kind],
        "vmenter": version("vmenter"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "should": should or "",
        **collect(file, number or ""),
    }
    lines = json_lines(found)
    show(lines)
    _say(found, target)
    if target is not None:
        _write(Path(target), lines, yes=yes)
    return 0


def _paste(file: str, _: str) -> dict[str, Any]:
    from vmenter.hosts import explain_text, unwrapping  # noqa: PLC0415
    from vmenter.hosts.explain import explain  # noqa: PLC0415
    from vmenter.hosts.report import parse  # noqa: PLC0415

    data = _bytes(file, "report of a machine")
    try:
        read_as: dict[str, Any] = {"read": explain_text.to_json(explain(parse(unwrapping.decode(data))))}
    except LabError as error:
        read_as = {"refused": str(error)}
    return {**_text("paste", data), **read_as}


def _kernel(file: str, _: str) -> dict[str, Any]:
    from vmenter.kernels import holes, inspect_text  # noqa: PLC0415
    from vmenter.kernels.find import find  # noqa: PLC0415
    from vmenter.kernels.inspect import of_kernels  # noqa: PLC0415
    from vmenter.kernels.packages import MODULES  # noqa: PLC0415

    with opened(file) as stream:
        size, digest = _digest(stream, file)
    errors: list[LabError] = []
    told = []
    try:
        reports = of_kernels(find(file, MODULES, errors))
        told = [inspect_text.to_json(one, holes.of_inspected(one)) for one in reports]
    except LabError as error:
        errors.append(error)
    named = {"file": Path(file).name, "bytes": size, "sha256": digest, "left out": "the bytes of the file"}
    return {**named, "read": {"kernels": told}, "refused": [str(error) for error in errors]}


def _answer(file: str, number: str) -> dict[str, Any]:
    from vmenter.course.exercises import exercise  # noqa: PLC0415

    known = exercise(number)
    return {"exercise": known.id, "title": known.title, **_text("answer", _bytes(file, "answer"))}


def _bytes(file: str, what: str) -> bytes:
    return standard_input(MOST_TEXT, what) if file == "-" else read(file, MOST_TEXT, what)


def _text(name: str, data: bytes) -> dict[str, Any]:
    """Return bytes as lines with their ends, or in base64 where they are no UTF-8; and what may name somebody."""
    try:
        lines = data.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError:
        return {
            f"{name} in base64": base64.b64encode(data).decode("ascii"),
            "may name somebody": ["not looked at"],
        }
    named = [
        f"line {at}: {what}" for at, line in enumerate(lines, 1) for what, sign in _WHO if sign.search(line[:4096])
    ]
    return {name: lines, "may name somebody": named}


def _digest(stream: BinaryIO, file: str) -> tuple[int, str]:
    size, digest = os.fstat(stream.fileno()).st_size, hashlib.sha256()
    read = 0
    while size <= MOST_KERNEL and (piece := stream.read(1 << 20)):
        read += len(piece)
        digest.update(piece)
        size = max(size, read)
    if size > MOST_KERNEL:
        raise LabError(f"{file}: more than {MOST_KERNEL:,} bytes; no kernel and no package is that large")
    return size, digest.hexdigest()


def _say(found: dict[str, Any], target: str | None) -> None:
    named = found.get("may name somebody")
    if named:
        print(
            f"vmenter: {len(named)} line(s) may name a machine or a person, see 'may name somebody' above; "
            "nothing was taken out",
            file=sys.stderr,
        )
    where = installed().issues
    print(
        f"vmenter: reports go to {where}" if where else f"vmenter: no address is set for reports ({COMMAND})",
        file=sys.stderr,
    )
    if target is None:
        print(
            "vmenter: that is all a report has; nothing was sent or written. --write OUT keeps it in a file",
            file=sys.stderr,
        )


def _write(path: Path, lines: list[str], *, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        raise LabError(f"{path}: not written, as nobody can be asked here; look at what is shown, then add --yes")
    if not yes and not click.confirm(f"Write what is shown above to {path}?", err=True):
        raise LabError(f"{path}: not written")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except FileExistsError:
        raise LabError(f"{path}: is there already, and is not overwritten; name another file") from None
    except OSError as error:
        raise LabError(f"{path}: {error.strerror or error}") from None
    print(f"vmenter: {json.dumps(str(path))} written; attach it to your report", file=sys.stderr)
