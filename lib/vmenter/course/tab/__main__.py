"""`python -m vmenter.course.tab`: build the tab, in build/tab."""

import sys

from vmenter import LabError
from vmenter.course.tab.build import main

if __name__ == "__main__":
    try:
        main()
    except LabError as error:
        sys.exit(f"make tab: {error}")
