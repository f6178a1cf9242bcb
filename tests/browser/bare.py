"""A page with views and nothing else, and the real Python widgets behind it: for all that needs no JupyterLab.

Cells run in this process. What they show is drawn by the widgets' own modules and styles, in JupyterLab's colours.
Both sides speak the widget protocol: each message that ipywidgets sends goes to the page, and each change in the page
comes back as the message that JupyterLab would have sent. So Python's own traits decide what the page then shows.
"""

import json
import logging
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import comm
from comm.base_comm import BaseComm
from IPython.core.formatters import DisplayFormatter

from vmenter.course.site.run import run_cell

HERE = Path(__file__).parent
PAGE = """
body { background: var(--jp-layout-color0); color: var(--jp-content-font-color1); }
main { padding: 10px; }
.jp-RenderedHTMLCommon { line-height: var(--jp-content-line-height); }
"""
THEMES = Path(sys.prefix) / "share" / "jupyter" / "lab" / "themes" / "@jupyterlab"


class Bridge(logging.Handler):
    """What Python has told the page and the page has not yet heard; and the way back.

    An exception in a widget's Python is logged by ipywidgets and goes no further: here it is one of `mistakes`.
    """

    def __init__(self):
        super().__init__(logging.WARNING)
        self.told, self.mistakes, self.comms = [], [], {}
        logging.getLogger("traitlets").addHandler(self)

    def emit(self, record):
        self.mistakes.append(self.format(record))

    def create_comm(self, **options):
        return Line(self, **options)

    def waiting(self):
        """Return what the page has not yet heard, as JSON: [model, kind, state] each, in order."""
        told, self.told[:] = json.dumps(self.told), []
        return told

    def hear(self, model, said, method):
        """Hand a page's change, or its message, to its widget, as a kernel does; return what Python says to it."""
        what = {"update": "state", "custom": "content"}[method]
        data = {"method": method, what: json.loads(said), "buffer_paths": []}
        self.comms[model].handle_msg({"content": {"data": data}, "buffers": []})
        return self.waiting()

    def close(self):
        logging.getLogger("traitlets").removeHandler(self)
        super().close()
        for line in list(self.comms.values()):
            line.close()


class Line(BaseComm):
    """The line of one widget to the page, in place of the kernel's socket."""

    def __init__(self, bridge, **options):
        self.bridge = bridge
        super().__init__(**options)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        assert not buffers, "the page has no way to take buffers"
        if msg_type == "comm_open":
            self.bridge.comms[self.comm_id] = self
            self.bridge.told.append([self.comm_id, "open", data["state"]])
        elif msg_type == "comm_close":
            del self.bridge.comms[self.comm_id]
        elif data["method"] == "update":
            self.bridge.told.append([self.comm_id, "update", data["state"]])


def opener(context, monkeypatch):
    """Yield a function: show what these cells show, one below the other; return the page.

    The page raises nothing in the browser: `page.mistakes` lists what went wrong in it, in a widget's Python too.
    """
    pages, bridge, formatted = [], Bridge(), DisplayFormatter().format
    monkeypatch.setattr(comm, "create_comm", bridge.create_comm)

    def open_one(cells, *, width=1400, height=1000):
        page = context.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.mistakes = bridge.mistakes
        page.on("pageerror", lambda error: page.mistakes.append(str(error)))
        page.expose_function("toPython", bridge.hear)
        page.set_content('<!DOCTYPE html><html lang="en"><body><main></main>')
        for name in ("light", "dark"):
            style = page.add_style_tag(path=THEMES / f"theme-{name}-extension" / "index.css")
            style.evaluate("(style, name) => { style.id = name; }", name)
        page.add_style_tag(content=PAGE)
        page.add_script_tag(path=HERE / "bare.js")
        page.evaluate("bare.theme('light')")
        names = {"__name__": "__main__"}
        for number, cell in enumerate(cells):
            said = StringIO()
            with redirect_stdout(said):
                value = run_cell(cell, f"cell {number}", names)
            model = getattr(value, "model_id", None)
            shown = {} if model or value is None else formatted(value)[0]
            markup = shown.get("text/html") or shown.get("image/svg+xml") or ""
            page.evaluate(
                "([told, model, markup, said]) => bare.cell(told, model, markup, said)",
                [bridge.waiting(), model, markup, said.getvalue()],
            )
        return page

    yield open_one
    bridge.close()
    for page in pages:
        page.close()
