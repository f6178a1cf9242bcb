"""The site: whole, small, the same each time, and with nothing that leads or loads from elsewhere."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise

import nbformat
import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from site_built import ALL_VIEWS, CELLS, NOTEBOOKS, notebook

from vmenter import LabError
from vmenter.course.exercises import every
from vmenter.course.site import build
from vmenter.course.site.__main__ import main
from vmenter.course.site.pages import HELP, HIDDEN, notebook_page, text_page
from vmenter.course.site.run import widgets
from vmenter.course.site.search import LEADERS
from vmenter.course.site.store import Store, key, packed
from vmenter.course.site.wording import LEFTOVERS, WHERE, WORDS, reworded

LIMIT = 15e6  # bytes
COURSE = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))


def page_name(path):
    return "index.html" if path.stem == "00-start-here" else f"{path.stem}.html"


@cache
def soup(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def squeezed(text):
    return "".join(text.split())


def test_every_notebook_has_a_page_and_every_page_leads_to_all(site):
    names = {page_name(path) for path in COURSE} | {"with-a-kernel.html", f"{ALL_VIEWS}.html"}
    names |= {f"{path.stem}.html" for path in NOTEBOOKS.glob("*.md")}
    assert {path.name for path in site.glob("*.html")} == names
    for path in site.glob("*.html"):
        contents = soup(path).select_one("nav.contents")
        assert {a["href"] for a in contents.find_all("a") if not a["href"].startswith("#")} == names, path.name


def test_pages_follow_one_another(site):
    pages = [site / page_name(path) for path in COURSE]
    for page, after in pairwise(pages):
        assert soup(page).select_one(".turn a[rel=next]")["href"] == after.name
        assert soup(after).select_one(".turn a[rel=prev]")["href"] == page.name


def test_nothing_is_loaded_from_elsewhere(site):
    for path in site.glob("*.html"):
        for element in soup(path).select("[src], link[href]"):
            source = element.get("src") or element["href"]
            known = (
                source.startswith("data:")
                or (site / source).is_file()
                or element.get("rel") in (["prev"], ["next"])
            )
            assert known, f"{path.name}: {source}"
    for path in (site / "assets").iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert not re.search(r"https?://|@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\b *[({\"']", text), (
            path.name
        )


def test_every_link_and_anchor_resolves(site):
    ids = {path.name: {element["id"] for element in soup(path).select("[id]")} for path in site.glob("*.html")}
    for path in site.glob("*.html"):
        for link in soup(path).select("a[href]"):
            if link["href"].startswith(("https://", "http://", "mailto:")):
                continue
            target, _, anchor = link["href"].partition("#")
            target = target or path.name
            if target.endswith(".txt") and (site / target).is_file():  # a licence
                continue
            assert target in ids, f"{path.name}: {link['href']}"
            assert not anchor or anchor in ids[target], f"{path.name}: {link['href']}"


def test_no_id_stands_twice_on_a_page(site):
    for path in site.glob("*.html"):
        found = [element["id"] for element in soup(path).select("[id]")]
        assert len(found) == len(set(found)), path.name


def test_it_is_small(site, report):
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    report(f"site: {size / 1e6:.1f} MB, built in {(site.parent / 'seconds').read_text()} s")
    assert size <= LIMIT
    assert f"a folder of pages ({size / 1e6:.0f} MB)" in (NOTEBOOKS.parent / "README.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("path", COURSE, ids=[path.stem for path in COURSE])
def test_a_page_shows_the_code_and_hides_what_only_asserts(site, path):
    page = squeezed(soup(site / page_name(path)).select_one("main").get_text())
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and not re.search(r"^exercise\(", source, re.MULTILINE):
            hidden = cell["metadata"].get("jupyter") or HIDDEN.intersection(cell["metadata"].get("tags", ()))
            assert (squeezed(source) in page) is not bool(hidden), f"cell {number}"


@pytest.mark.parametrize("path", COURSE, ids=[path.stem for path in COURSE])
def test_a_view_that_tells_a_truth_is_folded_until_the_guess(path):
    notebook = nbformat.read(path, as_version=4)
    main = BeautifulSoup(notebook_page(path.stem, notebook, {}, lambda target: target).body, "html.parser")
    folded = {
        squeezed(fold.find_previous(class_="code").get_text()): fold for fold in main.select("details.later")
    }
    for cell in notebook.cells:
        if found := re.search(r"^once_told\(\"([^\"]+)\"", cell.source, re.MULTILINE):
            assert folded[squeezed(cell.source)]["data-prediction"] == found[1]


@pytest.mark.parametrize("path", COURSE, ids=[path.stem for path in COURSE])
def test_exercises_bring_task_hints_and_solution_and_say_that_checking_needs_a_kernel(site, path):
    text = path.read_text(encoding="utf-8")
    page = soup(site / page_name(path)).select_one("main")
    for id_, one in every().items():
        if f'exercise(\\"{id_}\\")' not in text:
            continue
        (box,) = [section for section in page.select("section") if f"Exercise {id_}:" in section.get_text()]
        assert [fold.summary.get_text() for fold in box.select("details")] == [
            *("Hint 1", "Hint 2", "Hint 3"),
            "A solution, and why",
        ]
        assert squeezed(one.solution) in squeezed(box.get_text())
    checks = len(re.findall(r'"check\(\\"', text))
    assert len([one for one in page.select(".needs") if "checked you need a kernel" in one.get_text()]) == checks


def test_what_lives_only_with_a_kernel_says_so(site):
    (said,) = [
        one for one in soup(site / f"{ALL_VIEWS}.html").select(".needs") if "itself needs" in one.get_text()
    ]
    assert said.a["href"] == "with-a-kernel.html"
    assert said.find_previous_sibling().get_text() == "a twin"


def said(path):
    """Return a page's text as a reader sees it; scripts are none."""
    page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    for script in page.select("script, style"):
        script.decompose()
    return " ".join(page.get_text(" ").split())


def test_no_page_for_learners_speaks_of_a_desktop(site):
    for path in site.glob("*.html"):
        if path.name not in (HELP, *LEADERS):
            found = [words for words in LEFTOVERS if words in said(path)]
            assert not found, f"{path.name}: {found}; the pages' own words stand in course/site/wording.py"


def texts_of(notebook):
    """Yield the texts of a notebook as the site takes them: sources, and what cells gave."""
    for cell in notebook["cells"]:
        yield "".join(cell["source"])
        for output in cell.get("outputs", ()):
            yield "".join(output.get("text", ""))
            yield from ("".join(text) for text in output.get("data", {}).values() if not isinstance(text, dict))


def test_every_wording_of_the_pages_is_needed():
    texts = [text for path in COURSE for text in texts_of(json.loads(path.read_text(encoding="utf-8")))]
    texts += [path.read_text(encoding="utf-8") for path in NOTEBOOKS.glob("*.md")]
    whole = " ".join(" ".join(texts).split())
    assert [words for words in WORDS if words not in whole] == []


def test_a_line_that_is_broken_is_reworded_too():
    assert reworded("Look, in a\nterminal, or\n  in a terminal.") == f"Look, {WHERE}, or\n  {WHERE}."
    assert reworded("terminal fault") == "terminal fault"


def test_no_volatile_text(site):
    for path in site.rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r" object at 0x[0-9a-f]+", text), path.name
        for folder in (site.parent, NOTEBOOKS.parent):
            assert str(folder) not in text, path.name


SAME = """
import sys
from pathlib import Path
from vmenter.course.site import build
from vmenter.course.site.frames import Explorer
from vmenter.course.site.store import packed
build(Path(sys.argv[1]), Path(sys.argv[2]), fresh=True)
made = Explorer()
made.add({"bugs": ["mds", "l1tf"], "facts": ["md_clear"], "cmdline": "", "ept": True, "show": ["flow"]})
Path(sys.argv[1], "frames").write_text(packed(made.payload()))
"""


def test_two_builds_are_equal(tmp_path):
    source = tmp_path / "notebooks"
    source.mkdir()
    (tmp_path / "images").symlink_to(NOTEBOOKS.parent / "images")
    nbformat.write(notebook(CELLS[:2]), source / f"{ALL_VIEWS}.ipynb")
    (source / "glossary.md").write_bytes((NOTEBOOKS / "glossary.md").read_bytes())
    files = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", SAME, folder, source], env=environment, check=True)
        files.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert len(files[0]) > 6
    assert files[0] == files[1]


def test_make_site_says_what_it_does_and_how_far_it_is(tmp_path, capsys):
    source = tmp_path / "notebooks"
    source.mkdir()
    (tmp_path / "images").symlink_to(NOTEBOOKS.parent / "images")
    nbformat.write(notebook(CELLS[:1], "# 98 · A title"), source / f"{ALL_VIEWS}.ipynb")
    nbformat.write(notebook(["1"], "# 00 · Start here"), source / "00-start-here.ipynb")
    main([str(tmp_path / "out"), "--fresh"], source)
    out, err = capsys.readouterr()
    steps = [
        "running 00-start-here",
        f"running {ALL_VIEWS}",
        "making the frames of PatchBench",
        "writing the pages",
    ]
    assert [line.strip() for line in err.splitlines() if line.strip()] == [*steps, "done"]
    assert re.fullmatch(r"\d+ files, [\d.]+ MB; open \S+index\.html\n", out)


def test_a_folder_without_notebooks_is_refused(tmp_path):
    with pytest.raises(LabError, match="no notebooks here"):
        build(tmp_path / "out", tmp_path)


def test_a_cell_that_fails_is_named(tmp_path):
    with pytest.raises(LabError, match=r"97-x\.ipynb, cell 2: ZeroDivisionError: division by zero"):
        widgets(notebook(["x = 1", "x / 0"]), tmp_path / "97-x.ipynb")


def test_widgets_are_found_by_their_cells_and_progress_is_left_alone(tmp_path, monkeypatch):
    progress = tmp_path / "progress.json"
    monkeypatch.setenv("VMENTER_PROGRESS", str(progress))
    cells = [
        "from vmenter.course.exercises import check\ncheck('03-2', 'A')",
        "from vmenter.views.patch.widget import PatchBench\nb = PatchBench()\nb",
        "b;3",
    ]
    assert list(widgets(notebook(cells), tmp_path / "97-x.ipynb")) == [2]
    assert os.environ["VMENTER_PROGRESS"] == str(progress)
    assert not progress.exists()


def test_links_into_the_repository_become_text():
    known = {"a.ipynb": "a.html"}
    page = text_page(
        "x.html", "# X\n[in](a.ipynb#There) [out](../lib/x.py) [far](https://example.org/)", known.get
    )
    links = [a["href"] for a in BeautifulSoup(page.body, "html.parser").select("a:not(.anchor-link)")]
    assert links == ["a.html#There", "https://example.org/"]
    assert "out" in page.body
    assert page.title == "X"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.text(), JSON), max_size=6))
def test_a_stored_frame_is_the_frame(frames):
    store = Store()
    rows = [store.row(frame) for frame in frames]
    for frame, (names, *values) in zip(frames, rows, strict=True):
        back = {name: store.values[at] for name, at in zip(store.values[names], values, strict=True)}
        assert key(back) == key(frame)
    assert len({key(value) for value in store.values}) == len(store.values)


def test_packing_depends_on_the_content_alone():
    assert packed({"a": 1}) == packed({"a": 1}) != packed({"a": 2})
