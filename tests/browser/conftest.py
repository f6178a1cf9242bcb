"""The system's Chromium, with a bare page for views and a real JupyterLab, for tests that look as a reader does."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from needs import missing

from vmenter.course.doctor import find_browser

from . import bare
from .looks import CONTRAST

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START = 60  # seconds that JupyterLab may take to answer
IDLE = "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}


@pytest.fixture(scope="session")
def chromium():
    """The browser, by Playwright."""
    program = find_browser()
    if program is None:
        missing("Chromium", "sudo apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def readers(chromium):
    """A function: the context of a reader without a network, who likes light or dark, with scripts or without.

    One for all tests; colours are measured as they come to rest.
    """
    contexts = {}

    def reader(theme="light", *, scripts=True):
        if (theme, scripts) not in contexts:
            contexts[theme, scripts] = chromium.new_context(
                color_scheme=theme, java_script_enabled=scripts, offline=True, reduced_motion="reduce"
            )
        return contexts[theme, scripts]

    yield reader
    for context in contexts.values():
        context.close()


@pytest.fixture(scope="session")
def offline(readers):
    """A context without a network, for pages that need nothing of one another."""
    return readers()


@pytest.fixture
def open_page(offline, monkeypatch):
    """A function: show what cells show in a page of their own, without JupyterLab (see `bare`); return the page."""
    yield from bare.opener(offline, monkeypatch)


class Lab:
    """A running JupyterLab over a folder of its own."""

    def __init__(self, root):
        self.root = root
        self.token = secrets.token_hex(16)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = root / "settings"
        self.notebooks = root / "notebooks"
        self.notebooks.mkdir()

    def start(self):
        own = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        environment = {**os.environ, **{name: str(self.root / folder) for name, folder in own.items()}}
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
            *(f"--port={self.port}", "--ServerApp.port_retries=0", "--ip=127.0.0.1"),
            *(f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.notebooks}"),
        ]
        self.log = (self.root / "log").open("wb")
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/api?token={self.token}", timeout=2)
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
            else:
                return
        self.stop()
        pytest.fail(f"JupyterLab did not start:\n{(self.root / 'log').read_text()[-2000:]}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def plain(self):
        """Give it the settings that a test begins with: the light theme, and nothing that asks for attention."""
        folder = self.settings / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "themes.jupyterlab-settings").write_text(json.dumps({"theme": THEMES["light"]}))
        quiet = {"fetchNews": "false", "checkForUpdates": False}
        (folder / "notification.jupyterlab-settings").write_text(json.dumps(quiet))


@pytest.fixture(scope="session")
def jupyterlab(tmp_path_factory):
    """One JupyterLab for the whole run."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.start()
    yield lab
    lab.stop()


@pytest.fixture(scope="session")
def online(chromium):
    """A context for JupyterLab, which is loaded once and then taken from what the browser keeps."""
    context = chromium.new_context()
    yield context
    context.close()


@pytest.fixture
def open_notebook(online, jupyterlab):
    """A function: write a notebook of these cells, open it, run all cells, return the page.

    The page raises nothing in the browser: `page.mistakes` lists what went wrong in it.
    """
    yield from opener(online, jupyterlab)


@pytest.fixture(scope="module")
def open_shared_notebook(online, jupyterlab):
    """The same for pages that all tests of a module look at."""
    yield from opener(online, jupyterlab)


def run_all(page, timeout):
    """Run all cells of the notebook that is in front, and wait for the last."""
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    # A prompt "[*]" is a cell that still runs. (A cell whose code is folded away shows no number.)
    page.wait_for_function(
        "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
        ".every(prompt => !prompt.textContent.includes('*'))",
        timeout=timeout,
    )


def opener(context, jupyterlab):
    pages = []

    def open_one(cells, *, height=1000, timeout=60_000):
        jupyterlab.plain()
        name = f"{secrets.token_hex(4)}.ipynb"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, jupyterlab.notebooks / name)
        page = context.new_page()
        pages.append(page)
        page.set_viewport_size({"width": 1400, "height": height})
        page.mistakes = []
        page.on("pageerror", lambda error: page.mistakes.append(str(error)))
        workspace = secrets.token_hex(4)
        page.goto(f"{jupyterlab.url}/lab/workspaces/{workspace}/tree/{name}?token={jupyterlab.token}")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=timeout)
        page.wait_for_function(IDLE, timeout=timeout)
        run_all(page, timeout)
        return page

    yield open_one
    for page in pages:
        page.close()


@pytest.fixture
def picture():
    """A function: keep a picture of a page, or of a part of it, in the folder that VMENTER_PICTURES names, if it does."""
    folder = os.environ.get("VMENTER_PICTURES")

    def take(shown, name):
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            shown.screenshot(path=Path(folder) / f"{name}.png")

    return take


@pytest.fixture
def look(picture):
    """A function: look at a view on a bare page of some width, light and dark; nothing is cut, nothing too faint."""

    def look(root, name, width, *, height=2600):
        page = root.page
        page.set_viewport_size({"width": width, "height": height})
        assert root.evaluate("root => root.scrollWidth <= root.clientWidth"), f"{name} is cut at {width}"
        for theme in THEMES:
            page.evaluate("name => bare.theme(name)", theme)
            picture(root, f"{name}-{theme}-{width}")
            ratio, text = root.evaluate(CONTRAST)
            assert ratio >= 4.5, f"{name}, {theme}: {text!r} has a contrast of {ratio:.2f}"
        assert not page.mistakes

    return look
