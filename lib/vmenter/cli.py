"""The command line, `vmenter`: for people who have a kernel and a question.

Exit status: 0 fine, 1 a finding, 2 bad input (one line on standard error, never a traceback).
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from vmenter.errors import LabError

FILE = click.argument("file", metavar="FILE")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        status = commands.main(args=arguments, prog_name="vmenter", standalone_mode=False)
    except (LabError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print("vmenter:", " ".join(message.split()), file=sys.stderr)
        status = 2
    except (KeyboardInterrupt, click.Abort):
        print("vmenter: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(package_name="vmenter", message="vmenter %(version)s")
def commands() -> None:
    """See what Linux does right before it enters a guest."""


@commands.command()
@JSON
def doctor(*, as_json: bool) -> int:
    """Say what works on this machine, and how to install what is missing."""
    from dataclasses import asdict  # noqa: PLC0415

    from vmenter.doctor import examine, report  # noqa: PLC0415

    checks = examine()
    _print(_json([asdict(check) for check in checks]) if as_json else [report(checks)])
    return int(any(check.needed and not check.works for check in checks))


@commands.command()
@FILE
@click.option(
    "--feature", "names", multiple=True, metavar="NAME", help="A feature the CPU has (or 3*32+18); repeat."
)
@click.option(
    "--feature-words", metavar="HEX,…", help="All of the CPU's features, as 32-bit words from word 0 on."
)
@click.option("--symbols", metavar="FILE", help="A System.map or a copy of /proc/kallsyms.")
@click.option("--engine", type=click.Choice(["early", "layered", "once"]), help="How this kernel patches itself.")
@click.option("--function", metavar="NAME", help="Only the sites in this function.")
@JSON
def sites(
    file: str,
    names: tuple[str, ...],
    feature_words: str | None,
    symbols: str | None,
    engine: str | None,
    function: str | None,
    *,
    as_json: bool,
) -> int:
    """Show every alternative site of FILE, and its bytes under the given features (none given: no feature).

    FILE is a .o, .ko, vmlinux or vmlinuz, also packed as .xz, .gz or .zst.
    """
    from vmenter import alternatives, features, sitelist  # noqa: PLC0415
    from vmenter.image import Symbols, load  # noqa: PLC0415

    if names and feature_words is not None:
        raise LabError("give --feature or --feature-words, not both")
    image = load(file)
    if symbols:
        image = image.with_symbols(image.symbols + Symbols.from_text(_read(symbols), symbols))
    how = alternatives.rules(image, alternatives.Engine(engine) if engine else None)
    if feature_words is None:
        present = frozenset(features.number(name, image.kernel) for name in names)
    else:
        present = features.from_words(features.parse_words(feature_words))
    entries = alternatives.entries(image, how.record_size)
    found = alternatives.sites(image, entries)
    if function is not None:
        start, end = image.symbols.extent(function)
        found = tuple(site for site in found if start <= site.address < end)
    patches = (alternatives.patch(image, site, present, how) for site in _progress(found, "patching"))
    write = sitelist.to_json if as_json else sitelist.to_text
    result = write(image, how, len(entries), patches)
    _print(_json(result) if as_json else result)
    return 0


def _json(data: Any) -> list[str]:
    return [json.dumps(data, indent=1)]


def _print(lines: Iterable[Any]) -> None:
    """Print lines; a reader that has had enough (head, say) is no error."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise LabError(f"{path}: {error.strerror or error}") from None


def _progress(items: Sequence[Any], what: str) -> Iterable[Any]:
    """Pass items on; at a terminal, with a bar on standard error while that takes long."""
    if not sys.stderr.isatty() or sys.stdout.isatty() or len(items) < 1000:  # text scrolling by is progress enough
        return items
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import track  # noqa: PLC0415

    return track(items, what, console=Console(stderr=True), transient=True)
