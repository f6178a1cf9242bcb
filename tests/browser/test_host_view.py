"""HostView as a reader meets it: by mouse, by keyboard alone, in light and dark."""

import json
from functools import partial

from vmenter.hosts.report import SAMPLES
from vmenter.views.host.frame import frame
from vmenter.views.host.widget import HostView

from . import twins
from .axe import STOPS
from .looks import SMALLEST

CELL = """\
from vmenter.views.host.widget import HostView
view = HostView()
view"""
TWIN = ".vm-host > .vm-more:last-child pre"
CASCADE = (SAMPLES / "cascade-lake.txt").read_text()

twin = partial(twins.read, TWIN)
wait_for_twin = partial(twins.wait, TWIN)


def test_by_mouse(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "Recorded sample four-flaws")
    view = page.locator(".vm-host")
    page.get_by_label("Report of").select_option("cascade-lake")
    wait_for_twin(page, "BROKEN for 8 of 24 kinds of vCPU")
    assert view.locator(".vm-badge").inner_text() == "✗ BROKEN"
    assert view.locator(".vm-files td:nth-child(2) .vm-says").all_inner_texts()[1].split() == ["M", "mitigated"]
    page.get_by_role("button", name="Open this host in the EntryExplorer").click()
    explorer = page.locator(".vm-explorer")
    explorer.wait_for()
    assert explorer.locator(".vm-badge").inner_text() == "✗ BROKEN"
    explorer.get_by_role("radio", name="a device passed through").click()
    page.wait_for_function("document.querySelector('.vm-explorer .vm-badge').textContent === '✓ kept'")
    page.locator(".vm-room").get_by_role("button", name="Close").click()
    explorer.wait_for(state="detached")
    assert not page.mistakes


def test_another_machines_words_are_pasted_by_keyboard_alone(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "Recorded sample four-flaws")
    page.get_by_label("Report of").focus()
    for _ in range(2):  # the button that reads this machine, then the fold
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for _ in range(2):  # the line to run, then the box
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    page.keyboard.insert_text("nothing of a machine")
    page.keyboard.press("Control+Enter")
    page.locator(".vm-mistake", has_text="no line here is one of a vulnerabilities file").wait_for()
    wait_for_twin(page, "Still shown: the last good report.")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(CASCADE)
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    wait_for_twin(page, "What you pasted")
    assert "fb_clear inferred from this line" in twin(page)
    assert page.locator(".vm-mistake").is_hidden()
    assert page.get_by_label("Report of").evaluate("select => select.value") == "@pasted"
    assert not page.mistakes


def test_the_explorer_is_opened_and_closed_by_keyboard_alone(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "Recorded sample four-flaws")
    page.get_by_label("Report of").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("document.querySelector('.vm-host select').value !== 'four-flaws'")
    page.keyboard.press("ArrowUp")
    wait_for_twin(page, "Recorded sample four-flaws")
    button = page.get_by_role("button", name="Open this host in the EntryExplorer")
    for _ in range(STOPS):
        if button.evaluate("one => one === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    explorer = page.locator(".vm-explorer")
    explorer.wait_for()
    wait_for_twin(page, "Opened: ")
    page.wait_for_function("document.activeElement.textContent === 'A VM-Enter of this host'")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # Close
    explorer.wait_for(state="detached")
    assert button.evaluate("one => one === document.activeElement")
    assert not page.mistakes


def test_the_machine_itself_is_read_on_request_only(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "Recorded sample four-flaws")
    page.get_by_role("button", name="Read the machine this notebook runs on").click()
    wait_for_twin(page, "The machine that this notebook's kernel runs on, read now")
    assert not page.mistakes


def test_looks(open_page, look):
    cell = CELL.replace("HostView()", f"HostView(pasted={CASCADE.replace('TSX disabled', 'Clear CPU buffers')!r})")
    page = open_page([cell])
    wait_for_twin(page, "What you pasted")
    assert "DISAGREES" in twin(page)
    view = page.locator(".vm-host")
    for width in (1400, 600):
        look(view, "host-view", width)
    for summary in view.locator("summary").all():
        if summary.is_visible():
            summary.click()
    for width in (1400, 900, 600):
        look(view, "host-view-open", width)
        assert view.evaluate(SMALLEST) >= 10.99


def test_works_in_a_page_without_a_kernel(chromium):
    """The module needs no more than a model over frames that were made before."""
    frames = {name: frame({"sample": name}) for name in ("four-flaws", "epyc-tsa")}
    page = chromium.new_page()
    page.set_content("<main></main>")
    page.add_style_tag(content=HostView._css)
    page.evaluate(
        """async ([module, frames]) => {
          const { default: view } = await import("data:text/javascript;base64," + btoa(unescape(encodeURIComponent(module))));
          const values = { state: { sample: "four-flaws" }, frame: frames["four-flaws"],
            inner: null, opened: {} };
          const heard = {};
          view.render({ el: document.querySelector("main"), model: {
            get: name => values[name],
            set: (name, value) => { values[name] = value; },
            save_changes: () => { values.frame = frames[values.state.sample]; heard["change:frame"](); },
            on: (name, hear) => { heard[name] = hear; },
          }});
        }""",
        [HostView._esm, json.loads(json.dumps(frames))],
    )
    assert "four-flaws" in twin(page)
    page.get_by_label("Report of").select_option("epyc-tsa")
    assert "VMRUN" in twin(page)
    assert page.get_by_role("button", name="Open this host").is_hidden()
    page.close()
