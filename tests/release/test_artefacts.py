"""Each file of a release is what it says, and does what it is for."""

import hashlib
import subprocess
import urllib.request
from pathlib import Path

from bs4 import BeautifulSoup
from places import ROOT
from tab.visit import LOADED, Visit, serving
from tools import artefacts, as_wasm, release

from vmenter.course import copies
from vmenter.course.address import version

ANSWERS = "answers.html"
MODULE = (
    "import json, vmenter, importlib.metadata as m; print(vmenter.__file__, *m.requires('vmenter'), sep='\\n')"
)


def test_the_sums_are_those_of_all_files(files):
    told = dict(reversed(line.split("  ")) for line in files["sums"].read_text().splitlines())
    there = {path.name for path in artefacts.OUTPUT.iterdir()} - {artefacts.SUMS}
    assert set(told) == there == {path.name for path in files.values()} - {artefacts.SUMS}
    for name, digest in told.items():
        assert hashlib.sha256((artefacts.OUTPUT / name).read_bytes()).hexdigest() == digest, name


# --- the wheel -------------------------------------------------------------------------------------------------------


def test_the_wheel_is_installed_alone_and_tells_its_version(installed):
    status, said = installed("vmenter", "--version")
    assert (status, said) == (0, f"vmenter {version()}\n")
    _, said = installed("python", "-c", MODULE)
    assert not Path(said.splitlines()[0]).is_relative_to(ROOT), "it is not the checkout's"


def test_the_wheel_reads_code_and_runs_it(installed):
    lab = ROOT / "lib" / "vmenter" / "patching" / "lab"
    source = next(path for path in sorted(lab.rglob("*.o")) if path.stem == "e6ff1d61de51")
    status, said = installed("vmenter", "sites", str(source), "--feature", "CLEAR_CPU_BUF_VM")
    assert status == 0, said
    assert "verw" in said
    status, said = installed("vmenter", "enter", "--era", "650b68a0622f", "--bugs", "mds,l1tf")
    assert "VM-Enter" in said, said


def test_the_wheel_makes_a_learners_copies_without_a_checkout(installed, tmp_path):
    for language in ("en", "de"):
        own = tmp_path / language
        status, said = installed("vmenter", "lab", "--no-open", "--folder", str(own), "--language", language)
        assert status == 0, said
        wanted = dict(copies.derived(ROOT, language))
        there = {path.relative_to(own).as_posix(): path.read_bytes() for path in own.glob("*/*")}
        assert there == wanted, "the same as the checkout's"


def test_the_wheel_says_what_works(installed):
    status, said = installed("vmenter", "doctor")
    assert status == 0, said


# --- the course ------------------------------------------------------------------------------------------------------


def test_the_course_is_what_is_committed_and_nothing_else(unpacked):
    folder = unpacked("course")
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()
    }
    assert there == set(release.git("ls-files", "-z").rstrip("\0").split("\0"))
    assert version(folder) == version()
    said = subprocess.run(["make", "help"], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert "make lab" in said


# --- site, tab, slides -----------------------------------------------------------------------------------------------


def test_every_page_of_the_site_is_served_and_every_link_leads_somewhere(unpacked):
    folder = unpacked("site")
    with serving(folder) as address:

        def got(name):
            with urllib.request.urlopen(f"{address}/{name}") as answer:
                return answer.read().decode()

        pages = {path.name: BeautifulSoup(got(path.name), "html.parser") for path in folder.glob("*.html")}
        assert len(pages) > len(list((ROOT / "notebooks").glob("*.ipynb")))
        ids = {name: {one["id"] for one in page.select("[id]")} for name, page in pages.items()}
        for name, page in pages.items():
            for link in page.select("a[href]"):
                target, _, anchor = link["href"].partition("#")
                if not target.startswith(("https:", "mailto:")):
                    target = target or name
                    assert target in pages or got(target), f"{name}: {link['href']}"  # a licence is plain text
                    assert not anchor or anchor in ids[target], f"{name}: {link['href']}"
            for part in page.select("[src], link[href]"):
                source = part.get("src") or part["href"]
                assert source.startswith("data:") or got(source) is not None, f"{name}: {source}"
    assert ANSWERS not in pages, "the answer key is for who leads"


def test_a_view_of_the_site_answers(unpacked, chromium):
    page = chromium.new_page(offline=True)
    mistakes = []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.goto((unpacked("site") / "index.html").as_uri())
    page.wait_for_function("[...document.querySelectorAll('.live')].every(room => 'ready' in room.dataset)")
    before = page.inner_text(".live")
    page.locator(".live button").first.click()
    page.wait_for_function("before => document.querySelector('.live').innerText !== before", arg=before)
    assert mistakes == []
    page.close()


def test_the_tab_starts_and_gives_its_first_answer(unpacked, chromium):
    with serving(unpacked("tab")) as address:
        visit = Visit(chromium, address)
        page = visit.open()
        page.evaluate("jupyterapp.commands.execute('notebook:run-cell')")
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_selector(".jp-NotebookPanel .jp-OutputArea-output button", timeout=LOADED)
        assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
        assert visit.others() == set()
        assert visit.mistakes == []
        visit.context.close()


def test_slides_open_and_move_on(unpacked, chromium):
    folder = unpacked("room")
    page = chromium.new_page(offline=True)
    mistakes = []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.goto((folder / "index.html").as_uri())
    listed = page.eval_on_selector_all("a[href]", "links => links.map(link => link.getAttribute('href'))")
    assert {name.partition("#")[0] for name in listed} <= {path.name for path in folder.iterdir()}
    assert {ANSWERS, "sheets.html"} <= {path.name for path in folder.iterdir()}
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb")):
        page.goto((folder / f"{path.stem}.html").as_uri())
        page.keyboard.press("ArrowRight")
        page.wait_for_function("location.hash !== ''")
    assert mistakes == []
    page.close()


# --- the assembler's source ------------------------------------------------------------------------------------------


def test_the_assemblers_source_is_the_one_it_was_built_from(files, unpacked, tmp_path):
    subprocess.run(["dpkg-deb", "-x", files["source"], tmp_path], check=True)
    (source,) = tmp_path.rglob(as_wasm.MADE["source"])
    assert as_wasm.sha256(source) == as_wasm.MADE["sha256"]
    recipe = unpacked("course") / ".tab" / "as"
    for name, digest in as_wasm.MADE["made"].items():
        assert as_wasm.sha256(recipe / name) == digest, name
    assert (recipe / "build.sh").is_file()
    assert (recipe / "COPYING3").is_file()
