"""What concerns the course: `doctor`, `lab`, `progress`."""

import os
from pathlib import Path

import click

from vmenter import LabError
from vmenter.cli.shared import JSON, json_lines, show, standard_input

MAX_PASTED = 16 << 20  # bytes of somebody's progress, or of a chat


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
@click.option("--course", metavar="DIR", help="The checkout of the course; this program's own if not given.")
@click.option("--no-open", is_flag=True, help="Only make or update the copies.")
@click.option("--language", metavar="NAME", help="Texts in another language, as far as there are any: de.")
@click.argument("jupyter", nargs=-1, type=click.UNPROCESSED)
def lab(
    folder: str | None, course: str | None, language: str | None, jupyter: tuple[str, ...], *, no_open: bool
) -> int:
    """Make or update your own copies of the course and open them in JupyterLab; what you changed is kept.

    Other options, such as --no-browser, go to JupyterLab.
    """
    from vmenter.course import copies, opening, place  # noqa: PLC0415
    from vmenter.course import language as languages  # noqa: PLC0415

    if language is not None:
        os.environ[languages.VARIABLE] = languages.known(language)  # which the notebooks' kernels inherit
    own = Path(folder) if folder else _home() / copies.FOLDER
    done = copies.update(own, Path(course) if course else place.COURSE, language=languages.chosen())
    show(done.text.split("\n"))
    if not no_open:
        opening.open_lab(done.folder, jupyter)
    return 0


@click.command()
@click.argument("sources", metavar="[FOLDER|FILE|-]...", nargs=-1)
@click.option("--line", is_flag=True, help="Print your own progress as one line to paste; it holds no answer.")
@click.option("--name", default="", metavar="NAME", help="With --line: put your name before it.")
@JSON
def progress(sources: tuple[str, ...], name: str, *, line: bool, as_json: bool) -> int:
    """Say who has passed, tried, and not begun which exercise: you, or the learners of a room.

    Without an argument yours. A FILE is somebody's progress.json, or a text (a chat, say) with lines that
    `vmenter progress --line` printed; a FOLDER is a learner's home, or one of homes. Answers and guesses are never
    shown, and no file is changed. Exit status 1 if something could not be read, 2 if nothing could.
    """
    from vmenter.course import room, room_text  # noqa: PLC0415

    if line and (sources or as_json):
        raise LabError("--line prints your own progress as a line; leave out files, folders and --json")
    if name and not line:
        raise LabError("--name goes with --line")
    if line:
        show([room.own_line(name)])
        return 0
    if sources:
        pasted = standard_input(MAX_PASTED, "text of pasted lines") if "-" in sources else b""
        found = room.look(sources, pasted)
    else:
        found = room.own()
    show(json_lines(room_text.to_json(found)) if as_json else room_text.table(found))
    return int(bool(found.unread))


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise LabError("no home is known here; name a folder for your copies with --folder DIR") from error
