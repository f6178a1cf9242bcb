"""The site, built once for all tests: from the course's notebooks, and one more that has every kind of view."""

import shutil
import time

import nbformat
from places import ROOT

from vmenter.course.address import Address
from vmenter.course.site import build

NOTEBOOKS = ROOT / "notebooks"
ALL_VIEWS = "98-every-view"  # a page of the tests' own
CELLS = (
    "from vmenter.views.patch.widget import PatchBench\nPatchBench()",
    "PatchBench.typed('', [('verw verw_selector(%rip)', 'SMAP')], features=('SMAP',))",
    "from vmenter.views.entry.widget import EntryExplorer\nEntryExplorer(compare='v4')",
    "EntryExplorer(preset='skylake-server', show=('selection',))",
    "from dataclasses import replace\nfrom vmenter.course.judging.variants import changed\n"
    "mine = replace(changed('e6ff1d61de51', ('jz .Lskip_verw', 'jnz .Lskip_verw')), id='mine')\n"
    "EntryExplorer('mine', more=(mine,))",
    "from vmenter.views.host.widget import HostView\nHostView()",
    "from vmenter.views.exposure.widget import ExposureMap\nExposureMap()",
    "from vmenter.course.prediction import ask, truth\nfrom vmenter.course.prediction.questions import question\n"
    "many = question('98-a', {'question': 'How many?', 'number': '', 'near': 1, 'right': 'Just so.',"
    " 'misconceptions': [{'at': 12, 'answer': 'Twice counted.'}]})\n"
    "which = question('98-a', {'question': 'Which?', 'choices': {'a': 'A it is.', 'b': 'B it is not.'}})\n"
    "all_of = question('98-a', {'question': 'All?', 'several': True, 'right': 'Both.',"
    " 'choices': {'x': 'X holds.', 'y': 'Y holds.', 'z': 'Z does not.'}})\n"
    'ask("98-a", many, which, all_of)',
    'truth("98-a", 7, "a", ["x", "y"], show="the table")',
    "from vmenter.views.live import LiveText\nLiveText('What is here', 'this machine')",
)


def notebook(cells, first="# 98 · Every view\n\n## Views\n\nText."):
    """Return a notebook of these code cells, as if it had been run."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(first)])
    for cell in cells:
        output = nbformat.v4.new_output("execute_result", {"text/plain": "a twin"}, execution_count=1)
        book.cells.append(nbformat.v4.new_code_cell(cell, outputs=[output]))
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number}"  # not by chance: what is the same notebook has the same pages
    return book


def built(folder):
    """Build the site in this folder and return where it is; how many seconds it took stands beside it."""
    source = folder / "notebooks"
    shutil.copytree(NOTEBOOKS, source)
    (folder / "images").symlink_to(ROOT / "images")
    nbformat.write(notebook(CELLS), source / f"{ALL_VIEWS}.ipynb")
    start = time.monotonic()
    build(folder / "site", source, address=Address())  # a fork's own must not change what is tested
    (folder / "seconds").write_text(f"{time.monotonic() - start:.1f}")
    return folder / "site"
