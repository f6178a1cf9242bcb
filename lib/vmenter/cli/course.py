"""What concerns the course: `doctor`, `lab`."""

import os
from pathlib import Path

import click

from vmenter import LabError
from vmenter.cli.shared import JSON, json_lines, show


@click.command()
@JSON
def doctor(*, as_json: bool) -> int:
    """Say what works on this machine, and how to install what is missing."""
    from dataclasses import asdict  # noqa: PLC0415

    from vmenter.course.doctor import examine, report  # noqa: PLC0415

    checks = examine()
    show(json_lines([asdict(check) for check in checks]) if as_json else report(checks).split("\n"))
    return int(any(check.needed and not check.works for check in checks))


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--folder", metavar="DIR", help="Where your copies are, or shall be; vmenter-lab in your home if not given."
)
@click.option(
    "--course", metavar="DIR", help="The checkout of the course; the one this program stands in if not given."
)
@click.option("--no-open", is_flag=True, help="Only make or update the copies.")
@click.option("--language", metavar="NAME", help="Texts in another language, as far as there are any: de.")
@click.argument("jupyter", nargs=-1, type=click.UNPROCESSED)
def lab(
    folder: str | None, course: str | None, language: str | None, jupyter: tuple[str, ...], *, no_open: bool
) -> int:
    """Make or update your own copies of the course and open them in JupyterLab; what you changed is kept.

    Other options, such as --no-browser, go to JupyterLab.
    """
    from vmenter.course import copies  # noqa: PLC0415
    from vmenter.course import language as languages  # noqa: PLC0415

    if language is not None:
        os.environ[languages.VARIABLE] = languages.known(language)  # which the notebooks' kernels inherit
    own = Path(folder) if folder else _home() / copies.FOLDER
    place = Path(course) if course else copies.CHECKOUT
    done = copies.update(own, place, language=languages.chosen())
    show(done.text.split("\n"))
    if not no_open:
        copies.open_lab(done.folder, jupyter)
    return 0


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise LabError("no home is known here; name a folder for your copies with --folder DIR") from error
