"""The tab beside JupyterLab, in one run: `python tests/bench_tab.py` (make tab first). Part of `make bench`.

What comes over the wire, the time from opening to the first cell's answer with nothing kept and with all kept, click to
paint of each view beside the same view in JupyterLab, the audits of all eras, and the memory that notebooks 00 to 08 take.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from bench import machine
from bench_views import CLICK, ROUNDS, TURN, TWIN, VIEWS, measure, p95
from browser.conftest import FLAGS, Lab, opener
from places import ROOT
from tab.visit import Visit, serving

from vmenter.course.doctor import find_browser
from vmenter.course.tab.build import OUTPUT

OPENINGS = 3
AUDIT = """\
import time
from vmenter.story.audit import audits
start = time.perf_counter()
found = list(audits())
print(f"{time.perf_counter() - start:.2f}")
"""
OPEN = "async path => { await jupyterapp.commands.execute('docmanager:open', { path }); }"


def memory():
    """Return MB of memory of the browser's processes; a page that some share counts in parts."""
    found = psutil.Process().children(recursive=True)
    return sum(one.memory_full_info().pss for one in found if one.is_running()) / 1e6


def wire():
    """Print what a first visit loads."""
    for path in sorted(one for one in OUTPUT.iterdir() if one.is_file()):
        print(f"{path.name:<34}{path.stat().st_size / 1e6:8.2f} MB")


def openings(browser, address):
    """Print the seconds from opening to the first answer: nothing kept, then all kept."""
    cold, warm = [], []
    for _ in range(OPENINGS):
        visit = Visit(browser, address)
        for times in (cold, warm):
            start = time.perf_counter()
            page = visit.open()
            page.evaluate("jupyterapp.commands.execute('notebook:run-cell')")
            page.evaluate(
                "jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code: '1 + 1'}).done"
            )
            times.append(time.perf_counter() - start)
            page.wait_for_function("caches.match(new URL('../whole', location.href)).then(Boolean)")
        visit.context.close()
    for name, times in (("nothing kept", cold), ("all kept", warm)):
        print(
            f"opening to the first answer, {name:<13}{statistics.median(times):6.1f} s  (of {OPENINGS}; best {min(times):.1f})"
        )


def clicks(visit, open_notebook):
    """Print click to paint of each view, in the tab and in JupyterLab."""
    print(
        f"click to paint, ms, {ROUNDS} clicks    tab: median   p95   JupyterLab: median   p95   its echo: median   p95"
    )
    for number, (name, (cell, controls)) in enumerate(VIEWS.items()):
        visit.notebook([cell], f"view-{number}")
        view = visit.output(0)
        view.locator(TWIN).wait_for(state="attached")
        here = []
        for turn in range(-3, ROUNDS):
            spent = view.evaluate(CLICK, [controls, TWIN, TURN * (turn + 3)])
            if turn >= 0:
                here.append(spent)
            visit.page.wait_for_timeout(30)
        echo, there = measure(open_notebook, cell, controls)
        figures = [
            figure for times in (sorted(here), there, echo) for figure in (statistics.median(times), p95(times))
        ]
        print("{:<30}{:>13.0f}{:>6.0f}{:>21.0f}{:>6.0f}{:>19.0f}{:>6.0f}".format(name, *figures), flush=True)


def notebooks(browser, address):
    """Print the browser's memory before a visit, and with 00 to 08 run, each closed when it is done, and all open."""
    before = memory()
    visit = Visit(browser, address)
    page = visit.open()
    print(f"memory of the tab at its opening    {memory() - before:8.0f} MB")
    books = sorted((ROOT / "notebooks").glob("0[0-8]-*.ipynb"))
    for path in books:
        page.evaluate(OPEN, f"notebooks/{path.name}")
        page.wait_for_function(f"jupyterapp.shell.currentWidget?.title.label === '{path.name}'")
        page.wait_for_function(
            "jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.status === 'idle'", timeout=120_000
        )
        visit.run_all()
        print(f"  {path.stem:<34}{memory() - before:8.0f} MB", flush=True)
        page.evaluate(
            "jupyterapp.commands.execute('docmanager:save').then(() => { jupyterapp.shell.currentWidget.close(); })"
        )
        page.wait_for_timeout(1500)
    print(f"after 00 to 08, each closed         {memory() - before:8.0f} MB")
    visit.context.close()


def main():
    """Print the figures; those named in the arguments, or all."""
    program = find_browser()
    if program is None or not (OUTPUT / "index.html").is_file():
        print("the tab is not measured: it needs `make tab` and Chromium")
        return
    from playwright.sync_api import sync_playwright

    chosen = set(sys.argv[1:]) or {"wire", "openings", "audits", "clicks", "memory"}
    print(machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder, serving() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        if "wire" in chosen:
            wire()
        if "openings" in chosen:
            openings(browser, address)
        visit = Visit(browser, address)
        if {"audits", "clicks"} & chosen:
            visit.open()
            visit.start()
        if "audits" in chosen:
            print(f"audits of all eras in the tab       {visit.said(AUDIT).strip():>8} s", flush=True)
        if "clicks" in chosen:
            lab = Lab(Path(folder))
            lab.start()
            try:
                clicks(visit, next(opener(browser.new_context(), lab)))
            finally:
                lab.stop()
        visit.context.close()
        if "memory" in chosen:
            notebooks(browser, address)
        browser.close()


if __name__ == "__main__":
    main()
