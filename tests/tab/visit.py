"""A visit to the tab: its server, a browser that notes every request, and a kernel in the page."""

import collections
import json
import re
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

from vmenter.course.tab import OUTPUT
from vmenter.course.tab.serve import Handler, server

LOADED = 240_000  # ms that a first visit may take on a busy machine
KERNEL = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
# A kernel of the page's own, in the notebooks' folder, with the drive: as a notebook gets it.
START = """async () => {
  await jupyterapp.started;
  const { sessions, kernelspecs } = jupyterapp.serviceManager;
  await kernelspecs.ready;
  const session = await sessions.startNew({ name: "test", path: "notebooks/test.ipynb", type: "notebook", kernel: { name: "python" } });
  session.kernel.handleComms = false;
  window.vmKernel = session.kernel;
}"""
# Run code; give the messages as nbformat has outputs. What does not end in time is an error.
EXECUTE = """([code, seconds]) => new Promise((done, fail) => {
  const outputs = [];
  const late = setTimeout(() => fail(new Error(`still running after ${seconds} s: ${code.slice(0, 200)}`)), seconds * 1000);
  const future = vmKernel.requestExecute({ code, stop_on_error: true });
  future.onIOPub = ({ header, content }) => {
    const kind = header.msg_type;
    if (kind === "stream") {
      const last = outputs.at(-1);
      if (last?.output_type === kind && last.name === content.name) last.text += content.text;
      else outputs.push({ output_type: kind, name: content.name, text: content.text });
    } else if (kind === "execute_result" || kind === "display_data")
      outputs.push({ output_type: kind, data: content.data });
    else if (kind === "error") outputs.push({ output_type: kind, ...content });
  };
  future.done.then(() => { clearTimeout(late); done(outputs); }, fail);
})"""
WRITE = """async ([path, cells]) => {
  const { contents } = jupyterapp.serviceManager;
  const content = {
    metadata: { kernelspec: { name: "python", display_name: "Python", language: "python" } },
    nbformat: 4, nbformat_minor: 5,
    cells: cells.map((source, n) => ({ cell_type: "code", id: `cell-${n}`, metadata: {}, outputs: [], execution_count: null, source })),
  };
  await contents.save(path, { type: "notebook", format: "json", content });
  await jupyterapp.commands.execute("docmanager:open", { path });
}"""
DONE = """() => {
  const prompts = [...document.querySelectorAll(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .jp-InputPrompt")];
  return prompts.length && prompts.every(one => !one.textContent.includes("*") && one.textContent.trim() !== "[ ]:");
}"""


class Noting(Handler):
    """Notes what is asked for, by address of the server."""

    asked = collections.defaultdict(list)  # noqa: RUF012

    def log_request(self, code="-", size="-"):
        self.asked[self.server.server_address[1]].append(self.path.lstrip("/"))


@contextmanager
def serving(folder=OUTPUT):
    """A running server of the tab; gives its address."""
    with server(folder, handler=Noting) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


class Visit:
    """A browser's window with storage of its own: `page`, all requests and mistakes, and what a kernel wrote."""

    def __init__(self, browser, address, **context):
        self.address = address
        self.context = browser.new_context(viewport={"width": 1400, "height": 1000}, **context)
        self.requests, self.sent, self.written, self.mistakes = [], [], [], []
        self.begun = len(self.from_host())
        self.context.on("request", self._note)
        self.page = self._page()

    def _page(self):
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        return page

    def _note(self, request):
        self.requests.append(request.url)
        if request.method != "GET":
            self.sent.append(request.url)
            if "/api/drive" in request.url and '"put"' in (request.post_data or ""):
                self.written.append(json.loads(request.post_data)["data"]["path"])

    def from_host(self):
        """Return the paths that reached the server since this visit began."""
        return Noting.asked[urlsplit(self.address).port][getattr(self, "begun", 0) :]

    def open(self, path="", timeout=LOADED):
        """Go to an address of the tab's, and wait until its notebook stands there with a kernel."""
        return self._opened(self.page, path, timeout)

    @contextmanager
    def another(self, path, timeout=LOADED):
        """Do the same in a second page, which is closed afterwards."""
        page = self._page()
        yield self._opened(page, path, timeout)
        page.close()

    def _opened(self, page, path, timeout):
        page.goto(f"{self.address}/{path}", wait_until="commit")
        page.wait_for_url("**/lab/index.html**", timeout=timeout)
        page.wait_for_function(KERNEL, timeout=timeout)
        page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell", timeout=timeout)
        return page

    def others(self):
        """Return the hosts that were asked for anything, but the tab's own."""
        own = urlsplit(self.address).netloc
        return {urlsplit(url).netloc for url in self.requests if url.startswith("http")} - {own}

    def start(self):
        """Start a kernel that is no notebook's."""
        self.page.evaluate(START)

    def run(self, code, seconds=120):
        """Run code in that kernel; return its outputs as nbformat has them."""
        return self.page.evaluate(EXECUTE, [code, seconds])

    def said(self, code, seconds=120):
        """Run code; return what it printed. What it raises fails the test."""
        outputs = self.run(code, seconds)
        wrong = [plain("\n".join(one["traceback"])) for one in outputs if one["output_type"] == "error"]
        assert not wrong, wrong[0]
        return "".join(one["text"] for one in outputs if one["output_type"] == "stream")

    def notebook(self, cells, name="test"):
        """Write a notebook of these cells, open it, and run them all."""
        self.page.evaluate(WRITE, [f"notebooks/{name}.ipynb", cells])
        self.page.wait_for_function(
            f"{KERNEL}?.status === 'idle' && jupyterapp.shell.currentWidget.title.label === '{name}.ipynb'",
            timeout=LOADED,
        )
        self.run_all()

    def run_all(self):
        """Run all cells of the notebook that is open, and wait until the last is done."""
        self.page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(DONE, timeout=LOADED)

    def output(self, number):
        """Return the output of a code cell of the notebook that is open."""
        shown = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell"
        return self.page.locator(shown).nth(number).locator(".jp-OutputArea-output")


def plain(text):
    """Return text without a terminal's colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
