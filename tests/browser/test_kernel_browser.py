"""KernelBrowser as a reader meets it: by mouse, by keyboard alone, in light and dark."""

import json
from functools import partial

from needs import kernel_file

from vmenter.views.kernel.frame import frame
from vmenter.views.kernel.widget import KernelBrowser, lab_table

from . import twins

CELL = """\
from vmenter.views.kernel.widget import KernelBrowser
view = KernelBrowser()
view"""
TWIN = ".vm-kernel > .vm-more:last-child pre"
FOCUSED = "document.activeElement.querySelector('th code')?.textContent ?? document.activeElement.textContent"


def module_cell():
    return CELL.replace("KernelBrowser()", f"KernelBrowser.live({str(kernel_file('7.3.4', 'kvm-intel.ko.xz'))!r})")


twin = partial(twins.read, TWIN)
wait_for_twin = partial(twins.wait, TWIN)


def test_by_mouse(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "8 of 8 sites fit")
    view = page.locator(".vm-kernel")
    rows = view.get_by_role("grid").locator("tbody tr")
    page.get_by_label("Feature", exact=True).select_option("CLEAR_CPU_BUF_VM")
    wait_for_twin(page, "2 of 8 sites fit")
    assert rows.count() == 2
    page.get_by_label("Function").fill("swapped")
    wait_for_twin(page, "1 of 8 sites fit")
    page.get_by_label("Function").fill("")
    page.get_by_label("Patched for").select_option("ice-lake-server")
    wait_for_twin(page, "features on: CLEAR_CPU_BUF_VM_MMIO")
    chosen = rows.nth(0).locator(".vm-chosen")
    assert chosen.inner_text().split() == ["→", "●", "CLEAR_CPU_BUF_VM_MMIO"]
    view.get_by_role("button", name="Bytes").click()
    wait_for_twin(page, "sorted by Bytes, ascending")
    view.get_by_role("button", name="Bytes").click()
    wait_for_twin(page, "sorted by Bytes, descending")
    rows.nth(0).click()
    bench = view.locator(".vm-bench")
    bench.wait_for()
    assert view.locator(".vm-room h4").inner_text() == "On the bench: three_way"
    assert bench.get_by_role("checkbox", name="CLEAR_CPU_BUF_VM_MMIO").is_checked()
    bench.get_by_text("CLEAR_CPU_BUF_VM", exact=True).first.click()
    page.wait_for_function(
        "document.querySelector('.vm-bench .vm-decision figcaption').textContent.includes('Entry 2')"
    )
    view.get_by_role("button", name="Close").click()
    bench.wait_for(state="detached")
    assert not page.mistakes


def test_by_keyboard_alone_over_the_pages_of_a_real_module(open_page):
    page = open_page([module_cell()])
    wait_for_twin(page, "117 of 117 sites fit")
    page.get_by_role("button", name="Site").focus()
    for _ in range(5):  # four more columns, then the rows: one stop for all of them
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-rowindex')") == "2"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"

    def focused_row(index):
        page.wait_for_function(
            f"document.activeElement.getAttribute('aria-rowindex') === '{index + 1}'", timeout=10_000
        )

    for key, index in (
        ("ArrowDown", 2), ("PageDown", 22), ("ArrowUp", 21), ("ArrowUp", 20), ("ArrowDown", 21),
        ("End", 117), ("ArrowDown", 117), ("PageUp", 97), ("Home", 1), ("ArrowUp", 1), ("ArrowDown", 2),
    ):  # fmt: skip
        page.keyboard.press(key)
        focused_row(index)
    label = page.evaluate(FOCUSED)
    page.keyboard.press("Enter")
    page.locator(".vm-bench").wait_for()
    page.wait_for_function("document.activeElement.tagName === 'H4'")
    assert page.evaluate(FOCUSED) == f"On the bench: {label}"
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.locator(".vm-bench").wait_for(state="detached")
    assert page.evaluate(FOCUSED) == label
    page.get_by_label("In the code").focus()
    page.keyboard.type("verw")
    wait_for_twin(page, "1 of 117 sites fit")
    assert not page.mistakes


def test_features_are_chosen_by_keyboard(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "8 of 8 sites fit")
    page.locator(".vm-kernel summary").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait_for_twin(page, "features on: SMAP")
    page.wait_for_function("document.activeElement.checked")
    page.get_by_label("Patched for").select_option("skylake-server")
    wait_for_twin(page, "features on: CLEAR_CPU_BUF, CLEAR_CPU_BUF_VM")
    page.get_by_label("Patched for").select_option("")
    page.wait_for_function("document.querySelector('.vm-kernel .vm-fine + p').hidden")
    wait_for_twin(page, "features on: CLEAR_CPU_BUF, CLEAR_CPU_BUF_VM")  # they stay, and can be changed
    assert not page.mistakes


def test_names_and_roles_are_there(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "8 of 8 sites fit")
    grid = page.get_by_role("grid", name="Alternative sites.")
    assert grid.get_attribute("aria-rowcount") == "9"
    assert grid.get_by_role("row").count() == 9
    assert grid.get_by_role("columnheader", name="Site").get_attribute("aria-sort") == "ascending"
    assert grid.locator("tbody tr[tabindex='0']").count() == 1
    assert page.get_by_role("search", name="Which sites").count() == 1
    assert page.locator(".vm-count").get_attribute("aria-live") == "polite"
    assert page.get_by_role("img", name="CLEAR_CPU_BUF, off").count() == 2


def test_looks(open_page, look):
    page = open_page([module_cell()])
    wait_for_twin(page, "117 of 117 sites fit")
    page.get_by_label("Patched for").select_option("skylake-server")
    wait_for_twin(page, "features on: ALWAYS, CLEAR_CPU_BUF, CLEAR_CPU_BUF_VM")
    view = page.locator(".vm-kernel")
    for width in (1400, 700):
        look(view, "kernel-browser", width)
    for summary in view.locator("summary").all():
        summary.click()
    view.locator("tbody tr").nth(3).click()
    view.locator(".vm-bench").wait_for()
    for width in (1400, 900, 700):
        look(view, "kernel-browser-open", width)


def test_works_in_a_page_without_a_kernel(chromium):
    """The module needs no more than a model over frames that were made before."""
    frames = {text: frame(lab_table(), {"text": text}) for text in ("", "verw")}
    page = chromium.new_page()
    page.set_content("<main></main>")
    page.add_style_tag(content=KernelBrowser._css)
    page.evaluate(
        """async ([module, frames]) => {
          const { default: view } = await import("data:text/javascript;base64," + btoa(unescape(encodeURIComponent(module))));
          const values = { state: { text: "" }, frame: frames[""], inner: null, opened: {} };
          const heard = {};
          view.render({ el: document.querySelector("main"), model: {
            get: name => values[name],
            set: (name, value) => { values[name] = value; },
            save_changes: () => { values.frame = frames[values.state.text]; heard["change:frame"](); },
            on: (name, hear) => { heard[name] = hear; },
          }});
        }""",
        [KernelBrowser._esm, json.loads(json.dumps(frames))],
    )
    assert "8 of 8 sites fit" in twin(page)
    page.get_by_label("In the code").fill("verw")
    wait_for_twin(page, "4 of 8 sites fit")
    page.close()
