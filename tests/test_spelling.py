"""codespell finds what is misspelt, in files and in the cells of notebooks. (`make lint` runs it over everything.)"""

import subprocess
import sys

import nbformat
from tools import spell


def test_all_that_people_wrote_is_looked_at():
    texts = spell.texts()
    for path in (
        "README.md",
        "Makefile",
        "lib/vmenter/story/eras.py",
        "lib/vmenter/patching/lab/kvm.inc",
        ".ci/run",
        "lib/vmenter/course/exercises/03.toml",
    ):
        assert path in texts
    assert not any(path.endswith((".ipynb", ".o", ".svg")) or path.startswith("tests/data/") for path in texts)


def test_a_mistake_in_a_cell_is_found_and_its_cell_named(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("All is well."),
        nbformat.v4.new_markdown_cell("Read this\n" + "het"[::-1] + " VERW."),
    ]
    outputs = [nbformat.v4.new_output("stream", text="dreiw"[::-1])]
    cells.append(nbformat.v4.new_code_cell("print('fine')", outputs=outputs))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "42-example.ipynb")
    command = [sys.executable, spell.__file__, str(tmp_path / "42-example.ipynb")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stdout.count("==>") == 1, "outputs are no text of ours"
    assert "42-example/cell-01.md:2:" in found.stdout.replace("\\", "/")


def test_words_of_the_field_are_no_mistakes(tmp_path):
    (tmp_path / "words.md").write_text("Nicolai Stange, SME\n")
    assert not spell.misspelt(tmp_path, ".")
