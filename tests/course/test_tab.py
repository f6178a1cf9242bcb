"""The tab's builder, as far as it needs no building: pins, packing, Python's parts, the server. The rest: tests/tab."""

import gzip
import importlib.util
import json
import re
import threading
import urllib.request

import pytest
from awaited import awaited
from places import ROOT

from vmenter import LabError
from vmenter.course.tab import lite, parts, python
from vmenter.course.tab.build import SERVED, assemble, pack
from vmenter.course.tab.serve import server

PINS = ROOT / ".tab"


@pytest.mark.parametrize("name", ["wheels", "tools"])
def test_every_pin_has_its_hashes_and_no_host(name):
    text = (PINS / f"{name}.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"==", text)) > 3
    assert "://" not in text
    asked = {line for line in (PINS / f"{name}.in").read_text().split("\n") if line and not line.startswith("#")}
    assert {re.split("==", line)[0] for line in asked} <= {pin for pin, _ in pins}


def test_what_the_tab_shares_with_the_desktop_has_the_desktops_version():
    ours = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    tabs = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (PINS / "wheels.txt").read_text(), re.MULTILINE))
    shared = ours.keys() & tabs.keys()
    assert {"anywidget", "ipython", "pyelftools"} <= shared
    assert {name: tabs[name] for name in shared} == {name: ours[name] for name in shared}


def test_a_pack_holds_every_file_but_the_worker(tmp_path):
    files = {
        "a.html": b"first",
        "deep/er/b.bin": bytes(range(256)),
        "empty": b"",
        "service-worker.js": b"not in it",
    }
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    packed = pack(tmp_path)
    assert pack(tmp_path) == packed
    whole = gzip.decompress(packed)
    end = 4 + int.from_bytes(whole[:4], "little")
    found, at = {}, end
    for path, size in json.loads(whole[4:end]):
        found[path] = whole[at : at + size]
        at += size
    assert at == len(whole)
    assert found == {path: content for path, content in files.items() if path != "service-worker.js"}


def test_a_copys_mark_tells_what_a_learner_can_change_and_nothing_else(tmp_path):
    file = tmp_path / "notebooks" / "00-x.ipynb"
    file.parent.mkdir()
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "source": ["x = '\u2713'\n", "x"]}

    def mark(**change):
        book = {"cells": [{**cell, **change}], "metadata": change, "nbformat": 4, "nbformat_minor": 5}
        file.write_text(json.dumps(book), encoding="utf-8")
        found = lite.marks(tmp_path)
        assert list(found["marks"]) == ["notebooks/00-x.ipynb"]
        return found

    first = mark()
    assert mark(metadata={"opened": True}, id="b", source="x = '\u2713'\nx") == first
    for change in ({"source": "x = 1"}, {"cell_type": "markdown"}, {"outputs": [{"output_type": "stream"}]}):
        assert mark(**change)["marks"] != first["marks"]
        assert mark(**change)["version"] != first["version"]


def test_the_page_that_begins_has_its_scripts_as_one_without_imports(tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "served"
    for path, text in (
        ("lab/index.html", "<html><head><title>JupyterLite</title></head></html>"),
        ("service-worker.js", "// JupyterLite's own"),
        ("static/python/x", ""),
        ("files/notebooks/00-x.ipynb", '{"cells": []}'),
    ):
        (whole / path).parent.mkdir(parents=True, exist_ok=True)
        (whole / path).write_text(text, encoding="utf-8")
    for _ in range(2):  # a folder that was assembled before is assembled alike
        assemble(whole, folder)
        page = (folder / "index.html").read_text(encoding="utf-8")
        assert not re.search(r"^(import|export) |/\* \w+\.js \*/", page, re.MULTILINE)
        lab = (folder / "lab" / "index.html").read_text(encoding="utf-8")
        version = json.loads((whole / "static" / "copies.json").read_text())["version"]
        assert lab.count(f'const COPIES = "{version}";') == lab.count("<script") == 1


def test_the_worker_has_the_place_that_the_build_writes_into():
    assert (SERVED / "service-worker.js").read_text().count(
        '{ file: "", sha256: "", bytes: 0 }; // the build writes'
    ) == 1
    page = (SERVED / "index.html").read_text()
    assert page.count("/* front.css */") == page.count("/* front.js */") == 1


@pytest.mark.parametrize(
    ("path", "unused"),
    [
        ("pygments/lexers/python.py", False),
        ("pygments/lexers/lisp.py", True),
        ("pygments/styles/default.py", False),
        ("pygments/styles/monokai.py", True),
        ("idlelib/run.py", True),
        ("json/decoder.py", False),
        ("IPython/core/tests/test_x.py", True),
        ("click-8.5.1.dist-info/METADATA", False),
        ("click-8.5.1.dist-info/RECORD", True),
    ],
)
def test_what_is_left_out_of_python(path, unused):
    assert python._unused(path) is unused


def test_vmenter_comes_whole_but_for_what_only_builds(tmp_path):
    own = dict(python._own(tmp_path))
    assert {"vmenter/__init__.py", "vmenter/patching/lab/v4.o", "vmenter/views/entry/widget.js"} <= own.keys()
    assert not [path for path in own if re.match(r"vmenter/course/(site|slides|tab)/", path)]


def test_storage_has_one_name_for_all_versions_and_no_address_is_another_hosts():
    config = lite.config()["jupyter-config-data"]
    assert {config[f"{kind}StorageName"] for kind in ("contents", "settings", "workspaces")} == {"vmenter-lab"}
    assert "://" not in json.dumps([config, lite.SETTINGS])


def test_pip_in_a_cell_says_that_it_has_nothing_to_do(capsys):
    spec = importlib.util.spec_from_file_location("cli", ROOT / "lib/vmenter/course/tab/python/piplite/cli.py")
    cli = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cli)
    exec(awaited(cli.get_transformed_code(["install", "numpy"])))
    assert "the tab installs nothing" in capsys.readouterr().out


def test_a_program_that_fails_is_one_clear_error():
    with pytest.raises(LabError, match=r"this failed: .*\n.*no such thing"):
        parts.run(parts.sys.executable, "-c", "import sys; sys.exit('no such thing')")


def test_the_server_packs_what_gains_by_it_and_serves_a_folders_page(tmp_path):
    (tmp_path / "index.html").write_text("<p>" + "word " * 500)
    (tmp_path / "x.bin").write_bytes(bytes(1000))
    with server(tmp_path) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_address[1]}"
        for path, packed in (("/", True), ("/index.html?x=1", True), ("/x.bin", False)):
            asked = urllib.request.Request(address + path, headers={"Accept-Encoding": "gzip"})
            with urllib.request.urlopen(asked) as answer:
                assert (answer.headers["Content-Encoding"] == "gzip") is packed
                assert answer.headers["Cache-Control"] == "no-cache"
                content = answer.read()
        assert content == bytes(1000)
        running.shutdown()
