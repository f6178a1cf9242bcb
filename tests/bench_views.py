"""How long after a click a view's new picture is on the screen, beside a bare echo: `python tests/bench_views.py`.

The echo is a ToggleButton whose kernel-side handler writes an HTML widget: what any answer by way of the kernel costs
here. Both stand in one notebook of a real JupyterLab and are clicked in turns, so that whatever else the machine is
doing meets both. A click's time ends when the browser has painted the frame in which the answer is drawn.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from browser.conftest import FLAGS, Lab, opener

from vmenter.course.doctor import find_browser

ROUNDS = 60
ECHO = """\
import ipywidgets
button, answer = ipywidgets.ToggleButton(description="echo"), ipywidgets.HTML()
count = iter(range(1 << 30))
button.observe(lambda change: setattr(answer, "value", str(next(count))), "value")
ipywidgets.HBox([button, answer])"""
# Name: the cell, and the controls that are operated one after another.
VIEWS = {
    "PatchBench": (
        "from vmenter.views.patch.widget import PatchBench\nPatchBench()",
        ".vm-head input",
    ),
    "EntryExplorer": (
        "from vmenter.views.entry.widget import EntryExplorer\nEntryExplorer()",
        ".vm-controls input:not([type=text])",
    ),
    "EntryExplorer, two eras": (
        "from vmenter.views.entry.widget import EntryExplorer\nEntryExplorer(compare='e6ff1d61de51')",
        ".vm-controls input:not([type=text])",
    ),
    "HostView": (
        "from vmenter.views.host.widget import HostView\nHostView()",
        ".vm-which option:enabled",
    ),
    "ExposureMap, a cell": (
        "from vmenter.views.exposure.widget import ExposureMap\nExposureMap()",
        "[role=gridcell]",
    ),
    "KernelBrowser, a feature": (
        "from vmenter.views.kernel.widget import KernelBrowser\nKernelBrowser()",
        ".vm-chip input",
    ),
}
TURN = 7  # controls apart: neighbours are often alike
# Operate a control, wait until what is watched has changed and the frame with it is painted; the milliseconds.
CLICK = """async (root, [controls, watched, turn]) => {
  const all = [...root.querySelectorAll(controls)].filter(one => one.type !== "radio" || !one.checked);
  const control = all[turn % all.length];
  const changed = new Promise((done, fail) => {
    setTimeout(() => fail(new Error(`no answer to ${control.outerHTML}`)), 20000);
    const heard = new MutationObserver(() => { heard.disconnect(); done(); });
    heard.observe(root.querySelector(watched), { childList: true, characterData: true, subtree: true });
  });
  const start = performance.now();
  if (control.tagName === "OPTION") {
    control.parentElement.value = control.value;
    control.parentElement.dispatchEvent(new Event("change"));
  } else control.click();
  await changed;
  await new Promise(requestAnimationFrame);
  await new Promise(done => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = done;
    port2.postMessage(0);
  });
  return performance.now() - start;
}"""
TWIN = ".vm > .vm-more:last-child pre"


def measure(open_notebook, cell, controls):
    """Return the sorted times of the echo and of the view, in milliseconds."""
    page = open_notebook([ECHO, cell])
    echo, view = (page.locator(".jp-CodeCell").nth(n).locator(".jp-OutputArea-output") for n in (0, 1))
    view.locator(TWIN).wait_for(state="attached")
    times = [], []
    for turn in range(-3, ROUNDS):  # the first three warm up
        for root, arguments, found in (
            (echo, ["button", ".widget-html-content", 0], times[0]),
            (view, [controls, TWIN, TURN * (turn + 3)], times[1]),
        ):
            spent = root.evaluate(CLICK, arguments)
            if turn >= 0:
                found.append(spent)
            page.wait_for_timeout(30)
    page.close()
    return [sorted(one) for one in times]


def p95(times):
    return times[int(len(times) * 0.95)]


def main():
    """Print a line for each view, or for those whose names begin as the arguments do."""
    program = find_browser()
    if program is None:
        print("click to paint: no Chromium here; install it: sudo apt-get install chromium")
        return
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        lab.start()
        try:
            browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
            open_notebook = next(opener(browser.new_context(), lab))
            print(
                f"click to paint, ms, {ROUNDS} clicks   echo: median   p95   view: median   p95   times the echo"
            )
            for name, (cell, controls) in VIEWS.items():
                if len(sys.argv) > 1 and not name.startswith(tuple(sys.argv[1:])):
                    continue
                echo, view = measure(open_notebook, cell, controls)
                middles = [statistics.median(one) for one in (echo, view)]
                print(
                    f"{name:<30}{middles[0]:>16.0f}{p95(echo):>6.0f}{middles[1]:>15.0f}{p95(view):>6.0f}"
                    f"{middles[1] / middles[0]:>10.2f} {p95(view) / p95(echo):.2f}",
                    flush=True,
                )
            browser.close()
        finally:
            lab.stop()


if __name__ == "__main__":
    main()
