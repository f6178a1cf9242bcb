"""A visit from the first page on: what is loaded and kept, what is said when it cannot be, updates, and other hosts."""

import json
import shutil
from contextlib import ExitStack

import pytest
from browser.axe import findings

from vmenter.course.tab.build import OUTPUT

from .visit import LOADED, Visit, serving

KEPT = "caches.keys().then(names => names.filter(name => name.startsWith('vmenter-lab-')))"
WAITING = "navigator.serviceWorker.getRegistration().then(one => Boolean(one.waiting))"


@pytest.fixture
def fresh(chromium, address):
    """A function: a visit with a storage of its own."""
    with ExitStack() as stack:

        def begin(where=address, **context):
            visit = Visit(chromium, where, **context)
            stack.callback(visit.context.close)
            return visit

        yield begin


def test_it_opens_at_notebook_00_of_the_learners_copies_and_asks_no_other_host(fresh):
    visit = fresh()
    page = visit.open()
    assert page.evaluate("jupyterapp.shell.currentWidget.context.path") == "notebooks/00-start-here.ipynb"
    cells = page.evaluate("jupyterapp.shell.currentWidget.context.model.toJSON().cells")
    assert not any(cell.get("outputs") for cell in cells), "a copy tells nothing beforehand"
    assert not any("assertion" in cell["metadata"].get("tags", ()) for cell in cells)
    visit.run_all()
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert visit.others() == set()
    assert visit.mistakes == []


def test_nothing_is_asked_of_the_host_twice(fresh):
    visit = fresh()
    visit.open()
    asked = visit.from_host()
    assert len([path for path in asked if path.startswith("course-")]) == 1
    assert [path for path in asked if path.endswith((".wasm", ".zip", ".mjs"))] == []
    assert len(asked) <= 8, asked


def test_a_link_opens_the_notebook_and_cell_that_it_names(fresh):
    page = fresh().open("index.html?notebook=05-2019-else-if&cell=cell-08")
    assert page.evaluate("jupyterapp.shell.currentWidget.context.path") == "notebooks/05-2019-else-if.ipynb"
    page.wait_for_function(
        "jupyterapp.shell.currentWidget.content.activeCell?.model.id === 'cell-08'", timeout=30_000
    )


@pytest.mark.parametrize("odd", ["../../etc", "99-nothing-such<script>", "%00"])
def test_a_link_that_names_no_notebook_opens_the_first(fresh, odd):
    visit = fresh()
    visit.page.goto(f"{visit.address}/index.html?notebook={odd}&cell=nonsense", wait_until="commit")
    first = f"{visit.address}/lab/index.html?path=notebooks/00-start-here.ipynb"
    visit.page.wait_for_url(first, wait_until="commit", timeout=LOADED)


def test_a_notebooks_own_address_leads_through_the_first_page(fresh):
    page = fresh().open("lab/index.html?path=notebooks/02-patching-a-running-kernel.ipynb")
    assert (
        page.evaluate("jupyterapp.shell.currentWidget.context.path")
        == "notebooks/02-patching-a-running-kernel.ipynb"
    )


def test_after_the_first_visit_it_works_offline_and_a_reload_keeps_progress(fresh):
    with serving() as address:
        visit = fresh(address)
        page = visit.open()
        visit.start()
        visit.said(
            "from vmenter.course.progress import predict, record; record('02-1', passed=True, answer='x'); predict('01-a', 'my guess')"
        )
        page.wait_for_function(f"{KEPT}.then(names => names.length === 1)", timeout=LOADED)
        page.wait_for_function("caches.match(new URL('../whole', location.href)).then(Boolean)", timeout=LOADED)
    visit.context.set_offline(True)  # and the server is gone
    visit.open()
    visit.start()
    kept = json.loads(visit.said("print(open('/drive/progress.json').read())"))
    assert kept["exercises"]["02-1"]["passed"] is True
    assert kept["predictions"] == {"01-a": "my guess"}
    said = visit.said("from vmenter.course.progress import load; print(load().exercises['02-1'].answer)")
    assert said == "x\n"


def test_progress_taken_along_is_read_by_the_desktop_and_back(fresh, tmp_path, monkeypatch):
    visit = fresh()
    visit.open()
    visit.start()
    visit.said("from vmenter.course.progress import record; record('05-1', passed=True, answer='an answer')")
    taken = visit.page.evaluate(
        "jupyterapp.serviceManager.contents.get('progress.json', {content: true, format: 'text', type: 'file'}).then(one => one.content)"
    )
    taken = taken if isinstance(taken, str) else json.dumps(taken)
    (tmp_path / "progress.json").write_text(taken)
    monkeypatch.setenv("VMENTER_PROGRESS", str(tmp_path / "progress.json"))
    from vmenter.course import progress

    assert progress.load().exercises["05-1"] == progress.Attempt(passed=True, tries=1, answer="an answer")
    progress.record("05-2", passed=True, answer="from the desktop")
    back = (tmp_path / "progress.json").read_text()
    visit.page.evaluate(
        "text => jupyterapp.serviceManager.contents.save('progress.json', {type: 'file', format: 'text', content: text})",
        back,
    )
    said = visit.said("from vmenter.course.progress import load; print(sorted(load().exercises))")
    assert said == "['05-1', '05-2']\n"


def test_a_file_that_a_reader_uploads_is_read_and_never_sent(fresh):
    visit = fresh()
    page = visit.open()
    upload = page.locator('[data-command="filebrowser:upload"], [title="Upload Files"]').first
    with page.expect_file_chooser() as chosen:
        upload.click()
    chosen.value.set_files({"name": "report.txt", "mimeType": "text/plain", "buffer": b"mds: Not affected"})
    page.get_by_role("listitem", name="report.txt").wait_for(timeout=30_000)
    visit.start()
    assert visit.said("print(open('report.txt').read())").strip() == "mds: Not affected"
    assert visit.others() == set()
    assert [one for one in visit.sent if "/api/drive" not in one] == []


# --- updates -----------------------------------------------------------------------------------------------------


@pytest.fixture
def host(tmp_path):
    """A host whose folder may be changed; a function puts another version there."""
    folder = tmp_path / "host"
    shutil.copytree(OUTPUT, folder, ignore=shutil.ignore_patterns("pages"))

    def update(mark):
        """Lay another version: its first page says so, and so does its JupyterLite."""
        import hashlib

        from vmenter.course.tab.build import PACK, WORK, WORKER, pack

        whole = tmp_path / "whole"
        if not whole.exists():
            shutil.copytree(WORK / "whole", whole)
        page = (folder / "index.html").read_text(encoding="utf-8")
        (whole / "index.html").write_text(page.replace("<h1>VM-Enter Lab", f"<h1>{mark}"), encoding="utf-8")
        text = (whole / "jupyter-lite.json").read_text(encoding="utf-8")
        (whole / "jupyter-lite.json").write_text(text.replace('"VM-Enter Lab"', f'"{mark}"'), encoding="utf-8")
        packed = pack(whole)
        (old,) = folder.glob(PACK.format("*"))
        worker = (folder / WORKER).read_text(encoding="utf-8")
        new = hashlib.sha256(packed).hexdigest()
        about = json.loads(
            worker[worker.index("const PACK = ") + 13 : worker.index(";", worker.index("const PACK = "))]
        )
        worker = worker.replace(about["sha256"], new).replace(about["file"], PACK.format(new[:12]))
        worker = worker.replace(f'"bytes": {about["bytes"]}', f'"bytes": {len(packed)}')
        old.unlink()
        (folder / PACK.format(new[:12])).write_bytes(packed)
        (folder / WORKER).write_text(worker, encoding="utf-8")

    with serving(folder) as address:
        yield address, update


NAMED = "JSON.parse(document.getElementById('jupyter-config-data').textContent).appName"


def test_an_update_comes_whole_when_the_old_one_is_closed_and_work_is_kept(fresh, host):
    address, update = host
    visit = fresh(address)
    page = visit.open()
    visit.start()
    visit.said("from vmenter.course.progress import record; record('02-1', passed=True, answer='mine')")
    page.wait_for_function("caches.match(new URL('../whole', location.href)).then(Boolean)", timeout=LOADED)
    update("Newer")
    page.evaluate("navigator.serviceWorker.getRegistration().then(one => one.update())")
    page.wait_for_function(WAITING, timeout=LOADED)
    assert len(page.evaluate(KEPT)) == 2
    # While a page of the old version is open, a second one is of the old version, too.
    page.reload()
    page.wait_for_function("window.jupyterapp", timeout=LOADED)
    assert page.evaluate(NAMED) == "VM-Enter Lab"
    second = visit.context.new_page()
    second.goto(f"{address}/index.html", wait_until="commit")
    second.wait_for_url("**/lab/index.html**", timeout=LOADED)
    second.wait_for_function("window.jupyterapp", timeout=LOADED)
    assert second.evaluate(NAMED) == "VM-Enter Lab"
    second.close()
    # The first page alone: the newer version takes over, as a whole.
    page.goto("about:blank")
    visit.open()
    assert page.evaluate(NAMED) == "Newer"
    page.wait_for_function(f"{KEPT}.then(names => names.length === 1)")
    visit.start()
    assert (
        visit.said("from vmenter.course.progress import load; print(load().exercises['02-1'].answer)") == "mine\n"
    )


def test_a_version_that_goes_away_while_it_is_loaded_is_one_sentence(fresh, host):
    address, _ = host
    visit = fresh(address)
    visit.context.route("**/course-*.bin", lambda route: route.fulfill(status=404, body="gone"))
    visit.page.goto(address)
    alert = visit.page.get_by_role("alert")
    alert.wait_for(timeout=30_000)
    assert "a newer version has just been put in its place; load this page anew" in alert.inner_text()


def test_a_damaged_file_is_not_taken(fresh, host):
    address, _ = host
    visit = fresh(address)
    visit.context.route("**/course-*.bin", lambda route: route.fulfill(status=200, body=b"nonsense"))
    visit.page.goto(address)
    alert = visit.page.get_by_role("alert")
    alert.wait_for(timeout=30_000)
    assert "not all of it arrived, or not unchanged" in alert.inner_text()


# --- what cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lack", "said"),
    [
        ("delete Navigator.prototype.serviceWorker", "open the course in a window that is not private"),
        ("indexedDB.open = () => { throw new Error('no'); }", "open the course in a window that is not private"),
        ("delete window.WebAssembly", "This browser is too old"),
        ("delete window.DecompressionStream", "This browser is too old"),
        ("Object.defineProperty(window, 'isSecureContext', {value: false})", "open the same with https://"),
        (
            "ServiceWorkerContainer.prototype.register = () => Promise.reject(new Error('forbidden'))",
            "does not let the course keep itself here (forbidden)",
        ),
    ],
)
def test_where_it_cannot_run_one_sentence_says_why_and_the_ways_out_are_there(fresh, lack, said):
    visit = fresh()
    visit.context.add_init_script(lack)
    page = visit.page
    page.goto(visit.address)
    alert = page.get_by_role("alert")
    alert.wait_for(timeout=30_000)
    assert said in alert.inner_text()
    assert page.locator("#said").is_hidden()
    for name in ("Read the course", "Run it on your machine"):
        link = page.get_by_role("link", name=name)
        assert page.request.get(link.evaluate("one => one.href")).ok
    assert findings(page.locator("body")) == []
    assert visit.mistakes == []


def test_while_it_is_loaded_the_page_says_how_far_it_is(fresh):
    visit = fresh()
    page = visit.page
    page.goto(f"{visit.address}/index.html", wait_until="commit")
    page.wait_for_function(
        "/of \\d+\\.\\d MB/.test(document.getElementById('amount')?.textContent)", timeout=30_000
    )
    assert page.get_by_role("progressbar", name="Loaded").count() == 1


# --- the readable site -------------------------------------------------------------------------------------------


def test_every_page_of_the_site_leads_here_and_every_exercise_to_its_cell(fresh):
    import re

    pages = sorted((OUTPUT / "pages").glob("[0-9i]*.html"))
    assert len(pages) >= 11
    for file in pages:
        text = file.read_text(encoding="utf-8")
        name = "00-start-here" if file.stem == "index" else file.stem
        assert f'<a class="run" href="../index.html?notebook={name}">Run this live</a>' in text
        answers = re.findall(r'href="\.\./index\.html\?notebook=[\w-]+&amp;cell=(cell-\d+)">Answer it live', text)
        assert len(answers) == text.count("Your answer goes here")
    visit = fresh()
    visit.page.goto(f"{visit.address}/pages/05-2019-else-if.html")
    visit.page.get_by_role("link", name="Answer it live").first.click()
    visit.page.wait_for_url("**/lab/index.html**", timeout=LOADED)
    visit.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=LOADED)
    assert visit.page.evaluate("jupyterapp.shell.currentWidget.context.path") == "notebooks/05-2019-else-if.ipynb"
