"""Every cell of every notebook gives in the tab what is committed; only `doctor`'s answer is the browser's own."""

import difflib
import json

import nbformat
import pytest
from places import ROOT

from .outputs import OWN, same, shown

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))
FRESH = """\
import os
os.environ["VMENTER_PROGRESS"], os.environ["VMENTER_REVEAL"] = "off", "1"
get_ipython().reset(new_session=True)
"""


def test_the_one_cell_that_may_differ_is_doctors():
    name, id_ = OWN
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    (own,) = (cell.source for cell in cells if cell.id == id_)
    assert own == "from vmenter.course import doctor\n\ndoctor.watch()"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_gives_what_is_committed(visit, path):
    visit.said(FRESH)
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) > 3
    wrong = []
    for cell in cells:
        given = visit.run(cell.source)
        if (path.stem, cell.id) != OWN and not same(given, cell.outputs):
            sides = [
                json.dumps(shown(one), indent=1, ensure_ascii=False, sort_keys=True)
                .replace("\\n", "\n")
                .splitlines()
                for one in (cell.outputs, given)
            ]
            lines = list(difflib.unified_diff(*sides, "committed", "in the tab", n=0, lineterm=""))
            wrong.append("\n".join([f"{cell.id}: {cell.source[:200]}", *lines[:30]]))
    assert not wrong, "\n\n".join(wrong)
