"""Every notebook in a real JupyterLab, as a learner opens it: all cells run, no error, no truth before the guess."""

import shutil

import pytest
from places import ROOT

from vmenter.course import copies

from .conftest import IDLE, run_all

FILES = sorted(path for path, _ in copies.derived(ROOT) if path.endswith(".ipynb"))
TIMEOUT = 180_000  # ms
# What the cells of the notebook in front have put out, and how many have been run.
OUT = """() => jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.type === "code").map(cell => [
  cell.model.executionCount, ...Array.from({ length: cell.model.outputs.length }, (_, n) => cell.model.outputs.get(n).type)])"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A learner's folder."""
    folder = tmp_path_factory.mktemp("own")
    copies.update(folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def page(open_shared_notebook):
    """A JupyterLab with a notebook open."""
    return open_shared_notebook(["'the first'"])


@pytest.fixture
def book(request, page, jupyterlab, own):
    """A notebook of the learner's, opened and run; closed in the end, with its kernel."""
    name = request.param.replace("/", "-")
    shutil.copy(own / request.param, jupyterlab.notebooks / name)
    page.evaluate("path => jupyterapp.commands.execute('docmanager:open', { path })", name)
    page.wait_for_function(f"jupyterapp.shell.currentWidget?.title.label === '{name}' && {IDLE}", timeout=TIMEOUT)
    run_all(page, TIMEOUT)
    yield page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.evaluate("jupyterapp.shell.currentWidget.dispose()")


@pytest.mark.parametrize("book", FILES, indirect=True)
def test_it_runs_from_top_to_bottom_without_an_error_and_tells_no_truth(page, book):
    cells = page.evaluate(OUT)
    assert len(cells) > 5
    assert all(count for count, *_ in cells)
    assert not [kinds for _, *kinds in cells if "error" in kinds]
    assert book.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    assert book.locator(".vm-prediction table:visible").count() == 0
    assert page.mistakes == []
