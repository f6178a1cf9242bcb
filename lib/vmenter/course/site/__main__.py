"""`python -m vmenter.course.site [--tab ADDRESS] [FOLDER]`: build the site, in build/site if none is given."""

import argparse
from pathlib import Path

from vmenter.course.site.build import OUTPUT, build

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make site")
    parser.add_argument("folder", type=Path, nargs="?", default=OUTPUT)
    parser.add_argument("--tab", default="", help="where the tab is (make tab), from the pages' folder: ../tab/")
    chosen = parser.parse_args()
    made = build(chosen.folder, tab=chosen.tab)
    size = sum(path.stat().st_size for path in made) / 1e6
    print(f"{len(made)} files, {size:.1f} MB; open {made[0]}")
