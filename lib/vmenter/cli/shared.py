"""What all commands share: options, how they print, how far they are."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from vmenter import LabError
from vmenter.code.visible import visible

FILE = click.argument("file", metavar="FILE")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def json_lines(data: Any) -> list[str]:
    """Return JSON's lines; what is not printable in them is written as JSON writes it."""
    return json.dumps(data, indent=1).replace("\x7f", "\\u007f").split("\n")


def show(lines: Iterable[Any]) -> None:
    """Print lines, fit for a terminal; a reader that has had enough (head, say) is no error."""
    try:
        for line in lines:
            print(visible(str(line)))
        sys.stdout.flush()
    except OSError as error:
        drop_output()
        if not isinstance(error, BrokenPipeError):
            raise LabError(f"standard output cannot be written: {error.strerror or error}") from None


def standard_input(most: int, what: str) -> bytes:
    """Return what stands on standard input. Raises `LabError` above `most` bytes."""
    data = sys.stdin.buffer.read(most + 1)
    if len(data) > most:
        raise LabError(f"standard input: more than {most:,} bytes; no {what} is that long")
    return data


def drop_output() -> None:
    """Let what is still to be printed go nowhere, so that Python does not stumble over it at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def progress(items: Sequence[Any], what: str) -> Iterator[Any]:
    """Pass items on; at a terminal, say on standard error how far that is while it takes long."""
    if sys.stdout.isatty() or len(items) < 1000:  # text scrolling by is progress enough
        yield from items
        return
    with progress_bar() as bar:
        for number, item in enumerate(items):
            if bar:
                bar(what, number, len(items))
            yield item


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """Give a function that says in one line how far something is, or None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    last = ""

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        line = f"{visible(what)} {100 * done // max(1, total)} %"
        if line != last:
            print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
            last = line

    try:
        yield tell
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
