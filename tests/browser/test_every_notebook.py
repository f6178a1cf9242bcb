"""Every notebook in a real JupyterLab, as a learner opens it: all cells run, no error, no truth before the guess."""

import pytest
from places import ROOT

from vmenter.course import copies

FILES = sorted(path for path, _ in copies.derived(ROOT) if path.endswith(".ipynb"))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A learner's folder."""
    folder = tmp_path_factory.mktemp("own")
    copies.update(folder, ROOT)
    return folder


@pytest.mark.parametrize("path", FILES)
def test_it_runs_from_top_to_bottom_without_an_error_and_tells_no_truth(open_notebook, own, path):
    page = open_notebook(path=own / path, timeout=180_000)
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    assert page.locator(".vm-prediction table:visible").count() == 0
    assert page.mistakes == []
