"""A visit from the first page on: what is loaded and kept, what is said when it cannot be, updates, and other hosts."""

import json
import re
import shutil
from contextlib import ExitStack

import needs
import pytest
from browser.axe import findings
from places import ROOT

from vmenter.course.tab.build import OUTPUT, PACK, WORK, assemble

from .visit import LOADED, Visit, serving

KEPT = "caches.keys().then(names => names.filter(name => name.startsWith('vmenter-lab-')))"
PATH = "jupyterapp.shell.currentWidget.context.path"
SIZE = """([path, size]) => jupyterapp.serviceManager.contents.get(path, { content: false }).then(
  one => one.size === size, () => false)"""
WAITING = "navigator.serviceWorker.getRegistration().then(one => Boolean(one.waiting))"


@pytest.fixture(scope="module")
def known(chromium, address):
    """One visit for all tests that need no storage of their own: the version is there, and a kernel runs."""
    visit = Visit(chromium, address)
    page = visit.open()
    page.wait_for_function("caches.match(new URL('../whole', location.href)).then(Boolean)", timeout=LOADED)
    visit.start()
    yield visit
    visit.context.close()


@pytest.fixture
def fresh(chromium, address):
    """A function: a visit with a storage of its own."""
    with ExitStack() as stack:

        def begin(where=address, **context):
            visit = Visit(chromium, where, **context)
            stack.callback(visit.context.close)
            return visit

        yield begin


def test_it_opens_at_notebook_00_of_the_learners_copies_asks_for_nothing_twice_and_no_other_host(fresh):
    visit = fresh()
    page = visit.open()
    assert page.evaluate(PATH) == "notebooks/00-start-here.ipynb"
    cells = page.evaluate("jupyterapp.shell.currentWidget.context.model.toJSON().cells")
    assert not any(cell.get("outputs") for cell in cells), "a copy tells nothing beforehand"
    assert not any("assertion" in cell["metadata"].get("tags", ()) for cell in cells)
    visit.run_all()
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    asked = visit.from_host()
    assert len([path for path in asked if path.startswith("course-")]) == 1
    assert [path for path in asked if path.endswith((".wasm", ".zip", ".mjs"))] == []
    assert len(asked) <= 8, asked
    assert visit.others() == set()
    assert visit.mistakes == []


def test_a_link_opens_the_notebook_and_cell_that_it_names(known):
    with known.another("index.html?notebook=05-2019-else-if&cell=cell-08") as page:
        page.wait_for_function(f"{PATH} === 'notebooks/05-2019-else-if.ipynb'", timeout=60_000)
        page.wait_for_function(
            "jupyterapp.shell.currentWidget.content.activeCell?.model.id === 'cell-08'", timeout=30_000
        )


@pytest.mark.parametrize("odd", ["../../etc", "99-nothing-such<script>", "%00"])
def test_a_link_that_names_no_notebook_opens_the_first(known, odd):
    page = known.context.new_page()
    page.goto(f"{known.address}/index.html?notebook={odd}&cell=nonsense", wait_until="commit")
    first = f"{known.address}/lab/index.html?path=notebooks/00-start-here.ipynb"
    page.wait_for_url(first, wait_until="commit", timeout=LOADED)
    page.close()


def test_a_notebooks_own_address_leads_through_the_first_page(fresh):
    visit = fresh()
    visit.page.goto(f"{visit.address}/lab/index.html?path=notebooks/02-patching-a-running-kernel.ipynb")
    visit.page.wait_for_url("**/index.html?notebook=02-patching-a-running-kernel", wait_until="commit")
    visit.page.wait_for_url(
        "**/lab/index.html?path=notebooks/02-patching-a-running-kernel.ipynb", wait_until="commit", timeout=LOADED
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


def test_progress_taken_along_is_read_by_the_desktop_and_back(known, tmp_path, monkeypatch):
    known.said("from vmenter.course.progress import record; record('05-1', passed=True, answer='an answer')")
    taken = known.page.evaluate(
        "jupyterapp.serviceManager.contents.get('progress.json', {content: true, format: 'text', type: 'file'}).then(one => one.content)"
    )
    taken = taken if isinstance(taken, str) else json.dumps(taken)
    (tmp_path / "progress.json").write_text(taken)
    monkeypatch.setenv("VMENTER_PROGRESS", str(tmp_path / "progress.json"))
    from vmenter.course import progress

    assert progress.load().exercises["05-1"] == progress.Attempt(passed=True, tries=1, answer="an answer")
    progress.record("05-2", passed=True, answer="from the desktop")
    back = (tmp_path / "progress.json").read_text()
    known.page.evaluate(
        "text => jupyterapp.serviceManager.contents.save('progress.json', {type: 'file', format: 'text', content: text})",
        back,
    )
    said = known.said("from vmenter.course.progress import load; print(sorted(load().exercises))")
    assert said == "['05-1', '05-2']\n"


# --- a reader's own files ----------------------------------------------------------------------------------------

INSPECT = """\
from vmenter.kernels import find, inspect, inspect_text
print("\\n".join(inspect_text.lines(inspect.of_kernels(find.find({name!r})))))"""
BROWSE = "from vmenter.views.kernel.widget import KernelBrowser; print(KernelBrowser.live({name!r}).text)"
EXPLAIN = "from vmenter.views.host.widget import HostView; print(HostView(pasted=open({name!r}).read()).text)"


def kernels_own(name):
    return needs.kernel_file("6.12.117", name).read_bytes()


def pasted(name):
    return (ROOT / "lib/vmenter/hosts/samples/rfds.txt").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("kvm-intel.ko.xz", kernels_own, INSPECT),
        ("vmlinuz", kernels_own, BROWSE),
        ("report.txt", pasted, EXPLAIN),
    ],
)
def test_a_readers_own_file_is_read_as_on_the_desktop_and_nothing_of_it_leaves_the_tab(
    known, name, content, code, tmp_path, monkeypatch, capsys
):
    content, page = content(name), known.page
    known.page.bring_to_front()
    reached, sent = len(known.from_host()), len(known.sent)
    upload = page.locator('[data-command="filebrowser:upload"], [title="Upload Files"]').first
    with page.expect_file_chooser() as chosen:
        upload.click()
    chosen.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})
    page.get_by_role("listitem", name=name).wait_for(timeout=60_000)
    page.wait_for_function(SIZE, arg=[f"notebooks/{name}", len(content)], timeout=60_000)
    written = len(known.written)
    there = known.said(code.format(name=name), seconds=240)
    assert known.written[written:] == [], "what is only read is written back, which takes seconds"
    known.said(f"with open({name + '.txt'!r}, 'w') as file: file.write('x')")
    assert [path for path in known.written[written:] if path.endswith(f"{name}.txt")], "that would be seen"
    (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    exec(code.format(name=name), {})
    assert there == capsys.readouterr().out
    assert len(there.splitlines()) > 10
    assert known.from_host()[reached:] == []
    assert [
        one for one in known.sent[sent:] if "/api/drive" not in one
    ] == []  # the page's own worker answers that
    assert known.others() == set()


# --- updates -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A host whose folder may be changed; a function puts another version there."""
    folder, whole = (tmp_path_factory.mktemp("host") / name for name in ("served", "whole"))
    shutil.copytree(OUTPUT, folder, ignore=shutil.ignore_patterns("pages"))

    def update(mark, changed=()):
        """Lay another version: its JupyterLite says so, and some notebooks have one cell more."""
        shutil.copytree(WORK / "whole", whole)
        text = (whole / "jupyter-lite.json").read_text(encoding="utf-8")
        (whole / "jupyter-lite.json").write_text(text.replace('"VM-Enter Lab"', f'"{mark}"'), encoding="utf-8")
        for name in changed:
            file = whole / "files" / "notebooks" / f"{name}.ipynb"
            book = json.loads(file.read_text(encoding="utf-8"))
            book["cells"].append({"cell_type": "markdown", "id": "added", "metadata": {}, "source": mark})
            file.write_text(json.dumps(book), encoding="utf-8")
        for old in folder.glob(PACK.format("*")):
            old.unlink()
        assemble(whole, folder)

    with serving(folder) as address:
        yield address, update


NAMED = "JSON.parse(document.getElementById('jupyter-config-data').textContent).appName"
OPEN = "async path => (await jupyterapp.commands.execute('docmanager:open', { path })).context.ready"
SAVE = "jupyterapp.commands.execute('docmanager:save')"
SOURCES = """path => jupyterapp.serviceManager.contents.get(path, { content: true }).then(
  one => one.content.cells.map(cell => Array.isArray(cell.source) ? cell.source.join("") : cell.source))"""
THERE = """jupyterapp.serviceManager.contents.get('notebooks', { content: true }).then(
  one => one.content.map(file => file.name))"""
STORED = """new Promise((done, fail) => {
  const asked = indexedDB.open("vmenter-lab");
  asked.onerror = fail;
  asked.onsuccess = () => {
    const keys = asked.result.transaction("files").objectStore("files").getAllKeys();
    keys.onsuccess = () => { asked.result.close(); done(keys.result); };
  };
})"""
UNANSWERED = """() => {
  const body = JSON.stringify({ browsingContextId: "nobody" });
  fetch(new URL("../api/stdin/kernel", location.href), { method: "POST", body, keepalive: true });
  return new Promise((done) => setTimeout(done, 500));
}"""
OPENED, CHANGED = "02-patching-a-running-kernel", "05-2019-else-if"


@pytest.fixture(scope="module")
def updated(chromium, host):
    """A visit that an update came to: two copies of the old version stored, one as it came and one changed."""
    address, update = host
    visit = Visit(chromium, address)
    page = visit.open()
    visit.start()
    visit.said("from vmenter.course.progress import record; record('02-1', passed=True, answer='mine')")
    for name in (OPENED, CHANGED):
        page.evaluate(OPEN, f"notebooks/{name}.ipynb")
        if name == CHANGED:
            page.evaluate(
                "jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel.setSource('my own')"
            )
        page.evaluate(SAVE)
    assert {f"notebooks/{name}.ipynb" for name in (OPENED, CHANGED)} <= set(page.evaluate(STORED))
    page.wait_for_function("caches.match(new URL('../whole', location.href)).then(Boolean)", timeout=LOADED)
    update("Newer", [OPENED, CHANGED])
    page.evaluate("navigator.serviceWorker.getRegistration().then(one => one.update())")
    page.wait_for_function(WAITING, timeout=LOADED)
    assert len(page.evaluate(KEPT)) == 2
    yield visit
    visit.context.close()


def test_while_a_page_of_the_old_version_is_open_a_second_is_of_the_old_version_too(updated):
    page = updated.page
    page.reload()
    page.wait_for_function("window.jupyterapp", timeout=LOADED)
    assert page.evaluate(NAMED) == "VM-Enter Lab"
    second = updated.context.new_page()
    second.goto(f"{updated.address}/index.html", wait_until="commit")
    second.wait_for_url("**/lab/index.html**", timeout=LOADED)
    second.wait_for_function("window.jupyterapp", timeout=LOADED)
    assert second.evaluate(NAMED) == "VM-Enter Lab"
    assert "Newer" not in second.evaluate(SOURCES, f"notebooks/{OPENED}.ipynb")
    second.close()


def test_an_update_comes_whole_when_the_old_one_is_closed_and_work_is_kept(updated):
    page = updated.page
    page.evaluate(UNANSWERED)  # as a kernel's input() is, when its page is closed
    page.goto("about:blank")
    updated.open(timeout=60_000)
    assert page.evaluate(NAMED) == "Newer"
    page.wait_for_function(f"{KEPT}.then(names => names.length === 1)")
    updated.start()
    said = updated.said("from vmenter.course.progress import load; print(load().exercises['02-1'].answer)")
    assert said == "mine\n"


def test_after_it_copies_are_new_but_those_that_were_changed_which_have_the_new_one_beside_them(updated):
    page = updated.page
    assert page.evaluate(SOURCES, f"notebooks/{OPENED}.ipynb")[-1] == "Newer"
    mine = page.evaluate(SOURCES, f"notebooks/{CHANGED}.ipynb")
    assert mine[1] == "my own"
    assert "Newer" not in mine
    (beside,) = (name for name in page.evaluate(THERE) if "-new-" in name)
    assert re.fullmatch(rf"{CHANGED}-new-\d{{4}}-\d\d-\d\d\.ipynb", beside)
    new = page.evaluate(SOURCES, f"notebooks/{beside}")
    assert new[-1] == "Newer"
    assert new[1] != "my own"
    for said in (
        f"Brought up to date: {OPENED}.ipynb.",
        f"{CHANGED}.ipynb is yours and stays; the new one is {beside}.",
    ):
        page.get_by_text(said, exact=True).first.wait_for(timeout=30_000)


def test_the_next_visit_changes_no_copy_and_says_nothing(updated):
    page = updated.page
    before = sorted(page.evaluate(THERE))
    updated.open()
    assert sorted(page.evaluate(THERE)) == before
    assert page.evaluate("sessionStorage.getItem('vmenter-lab-said')") is None
    assert page.evaluate(SOURCES, f"notebooks/{CHANGED}.ipynb")[1] == "my own"
    assert updated.mistakes == []


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


def test_opened_as_a_file_one_sentence_says_what_serves_it(fresh):
    page = fresh().page
    page.goto((OUTPUT / "index.html").as_uri())
    alert = page.get_by_role("alert")
    alert.wait_for(timeout=30_000)
    assert "python3 -m http.server --bind 127.0.0.1 8000" in alert.inner_text()


def test_while_it_is_loaded_the_page_says_how_far_it_is(fresh):
    visit = fresh()
    page = visit.page
    page.goto(f"{visit.address}/index.html", wait_until="commit")
    page.wait_for_function(
        "/of \\d+\\.\\d MB/.test(document.getElementById('amount')?.textContent)", timeout=30_000
    )
    assert page.get_by_role("progressbar", name="Loaded").count() == 1


# --- the readable site -------------------------------------------------------------------------------------------


def test_every_page_of_the_site_leads_here_and_every_exercise_to_its_cell(known):
    pages = sorted((OUTPUT / "pages").glob("[0-9i]*.html"))
    assert len(pages) >= 11
    for file in pages:
        text = file.read_text(encoding="utf-8")
        name = "00-start-here" if file.stem == "index" else file.stem
        assert f'<a class="run" href="../index.html?notebook={name}">Run this live</a>' in text
        answers = re.findall(r'href="\.\./index\.html\?notebook=[\w-]+&amp;cell=(cell-\d+)">Answer it live', text)
        assert len(answers) == text.count("Your answer goes here")
    page = known.context.new_page()
    page.goto(f"{known.address}/pages/05-2019-else-if.html")
    page.get_by_role("link", name="Answer it live").first.click()
    page.wait_for_url("**/lab/index.html**", timeout=LOADED)
    page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell", timeout=LOADED)
    page.wait_for_function(f"{PATH} === 'notebooks/05-2019-else-if.ipynb'", timeout=60_000)
    page.close()
