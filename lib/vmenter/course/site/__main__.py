"""`python -m vmenter.course.site [--tab ADDRESS] [FOLDER]`: build the site, in build/site if none is given."""

import argparse
import sys
from pathlib import Path

import click

from vmenter import LabError
from vmenter.course.site.build import NOTEBOOKS, OUTPUT, build

STEPS = 100  # of the bar


def main(arguments: list[str] | None = None, notebooks: Path = NOTEBOOKS) -> None:
    """Build the site, and show how far it is: a bar on a terminal, else a line for each step."""
    parser = argparse.ArgumentParser(prog="make site")
    parser.add_argument("folder", type=Path, nargs="?", default=OUTPUT)
    parser.add_argument("--tab", default="", help="where the tab is (make tab), from the pages' folder: ../tab/")
    parser.add_argument("--fresh", action="store_true", help="run all notebooks, even if nothing has changed")
    chosen = parser.parse_args(arguments)
    with click.progressbar(length=STEPS, width=24, file=sys.stderr, show_eta=False) as bar:

        def tell(what: str, done: float) -> None:
            bar.label = f"{what:<36}"
            bar.update(round(done * STEPS) - bar.pos)
            bar.render_progress()

        made = build(chosen.folder, notebooks, tab=chosen.tab, tell=tell, fresh=chosen.fresh)
        tell("done", 1)
    size = sum(path.stat().st_size for path in made) / 1e6
    print(f"{len(made)} files, {size:.1f} MB; open {made[0]}")


if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(f"make site: {error}")
