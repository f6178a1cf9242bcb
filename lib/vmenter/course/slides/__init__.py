"""Slides and handouts of the notebooks, each one file that needs nothing else (`make slides`).

The rules are plain, so that no cell needs marks of its own. A heading starts a slide; what follows fills it, and
goes on to the next when it is full. Folded cells, starters and their verdicts are left out, long code is folded, a
widget is shown by its text twin, a drawing has room of its own. A handout is one sheet of A4: what the notebook is
for, its key picture, the summary, the review questions, the sources. nbconvert renders the text.
"""

from vmenter.course.slides.files import build

__all__ = ["build"]
