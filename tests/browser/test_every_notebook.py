"""Every notebook in a real JupyterLab: all cells run, no error, and each widget is drawn."""

import pytest
from places import NOTEBOOKS

FILES = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_it_runs_from_top_to_bottom_without_an_error(open_notebook, path):
    page = open_notebook(path=path, timeout=180_000)
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    assert page.mistakes == []
