"""`python -m vmenter.course.slides [FOLDER]`: make them all, in build/slides if no folder is given."""

import sys
from pathlib import Path

from vmenter.course.slides.files import OUTPUT, build

if __name__ == "__main__":
    made = build(Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT)
    print(f"{len(made)} files in {made[0].parent}; begin with index.html")
