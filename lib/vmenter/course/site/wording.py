"""What the notebooks say to who runs them, as the pages say it to who reads them: all of it stands here.

A page has no cells to run, no terminal and no variables. A test holds the built pages to `LEFTOVERS`, so that a
new sentence for the desktop is either said otherwise in the notebook, or gets a line here.
"""

import re

WHERE = "where the lab is installed"
WORDS = {
    "The next cell shows why that matters: go there first (click into it, press Shift+Enter), and press": (
        "What comes next shows why that matters: press"
    ),
    "run the cells above again (*Run*, *Run All Above Selected Cell*); they take a few seconds": (
        "all of it still stands above"
    ),
    "Put the last line into a terminal": f"Run the last line {WHERE}",
    "in a terminal": WHERE,
    "In a terminal": WHERE.capitalize(),
    "appears when you run the cell, and is never stored with the notebook": (
        "appears where you run the notebook, and is never stored with it"
    ),
    "shown when you run this cell": "shown where a kernel runs it",
    "Progress is not kept here: there is no place for it, or VMENTER_PROGRESS=off says so.": (
        "Progress is kept where the notebooks run. These pages keep your guesses, in this browser."
    ),
}
# What no page for learners may say. The page on how to get a kernel may: it speaks of desktops.
LEFTOVERS = ("Shift+Enter", "VMENTER_", "JupyterLab", "a terminal", "Run All", "run this cell", "run the cell")
_FOUND = re.compile("|".join(re.escape(words).replace(r"\ ", r"\s+") for words in WORDS))


def reworded(text: str) -> str:
    """Return a text of a notebook, or what a cell gave, as a page says it."""
    return _FOUND.sub(lambda found: WORDS[" ".join(found[0].split())], text)
