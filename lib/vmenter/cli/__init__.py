"""The command line, `vmenter`: for people who have a kernel and a question.

Exit status: 0 fine, 1 a finding, 2 bad input (one line on standard error, never a traceback).
"""

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import click

from vmenter import LabError
from vmenter.cli.shared import drop_output
from vmenter.code.visible import visible

COMMANDS = {  # the module that has each, which is loaded when it is asked for
    "audit": "models",
    "doctor": "course",
    "enter": "models",
    "fetch": "kernels",
    "host": "host",
    "inspect": "kernels",
    "lab": "course",
    "progress": "course",
    "report": "report",
    "select": "models",
    "sites": "kernels",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit status."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # it was closed before we were started
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  (as long as we run)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    gc.freeze()  # what was imported stays, and a command is short: circles need not be looked for so often
    gc.set_threshold(50_000, 10, 10)
    try:
        status = commands.main(args=arguments, prog_name="vmenter", standalone_mode=False)
    except (LabError, click.ClickException) as error:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        print("vmenter:", visible(" ".join(message.split())), file=sys.stderr)
        status = 2
    except OSError as error:  # where click prints; all that is read or written elsewhere has its LabError
        drop_output()
        print("vmenter: standard output cannot be written:", error.strerror or error, file=sys.stderr)
        status = 2
    except MemoryError:
        print("vmenter: this input asks for more memory than there is", file=sys.stderr)
        status = 2
    except (KeyboardInterrupt, click.Abort):
        print("vmenter: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


class _Commands(Mapping[str, click.Command]):
    """Commands by name; who asks for one loads no other."""

    def __getitem__(self, name: str) -> click.Command:
        """Return a command. `KeyError` for a name that there is not."""
        found: click.Command = getattr(import_module(f"vmenter.cli.{COMMANDS[name]}"), name)
        return found

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(COMMANDS)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(COMMANDS)


@click.group(
    commands=_Commands(),
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.version_option(package_name="vmenter", message="vmenter %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """See what Linux does right before it enters a guest."""
    if context.invoked_subcommand is None:
        print(context.get_help())
