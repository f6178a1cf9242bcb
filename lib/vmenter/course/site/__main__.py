"""`python -m vmenter.course.site [FOLDER]`: build the site, in build/site if no folder is given."""

import sys
from pathlib import Path

from vmenter.course.site.build import OUTPUT, build

if __name__ == "__main__":
    made = build(Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT)
    size = sum(path.stat().st_size for path in made) / 1e6
    print(f"{len(made)} files, {size:.1f} MB; open {made[0]}")
