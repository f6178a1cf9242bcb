"""ExposureMap as a reader meets it: by mouse, by keyboard alone, in light and dark."""

import json
from functools import partial

from vmenter.views.entry import frame as entry_frame
from vmenter.views.entry.widget import EntryExplorer
from vmenter.views.exposure.frame import frame
from vmenter.views.exposure.widget import ExposureMap

from . import twins

CELL = """\
from vmenter.views.exposure.widget import ExposureMap
view = ExposureMap()
view"""
TWIN = ".vm-map > .vm-more pre"

twin = partial(twins.read, TWIN)
wait_for_twin = partial(twins.wait, TWIN, timeout=20_000)


def focused(page):
    """Return the name of what has the focus."""
    return page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")


def test_by_mouse(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "1,358,954,496 configurations")
    view = page.locator(".vm-map")
    assert view.get_by_role("gridcell").count() == 7 * 13
    assert view.get_by_role("gridcell", selected=True).get_attribute("aria-label") == (
        "650b68a0622f; VERW asked: for every guest; L1D flush now: cond, none pending: "
        "Broken in all 7,864,320 configurations."
    )
    view.get_by_role(
        "gridcell", name="83ebe7157483; VERW asked: for guests that reach MMIO; L1D flush now: cond, none"
    ).click()
    wait_for_twin(page, "Selected     83ebe7157483")
    assert "Broken in 688,128 of 1,032,192" in view.locator(".vm-said").inner_text()
    view.get_by_role("button", name="VERW asked: for guests that reach MMIO; zoom in").click()
    wait_for_twin(page, "Narrowed to  VERW asked: for guests that reach MMIO")
    assert view.get_by_role("button", name="Who reaches MMIO").get_attribute("aria-pressed") == "true"
    view.get_by_label("Columns", exact=True).select_option("mds=")
    wait_for_twin(page, "Columns      mds=, then L1D flush now")
    view.get_by_label("divided by", exact=True).select_option("")
    wait_for_twin(page, "Columns      mds=\n")
    view.get_by_role("button", name="VERW asked: for guests that reach MMIO; widen again").click()
    wait_for_twin(page, "Narrowed to  nothing")
    assert not page.mistakes


def test_a_cell_opens_its_counterexample_below_and_closes_again(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "Selected     650b68a0622f")
    page.get_by_role("button", name="Open it in the EntryExplorer").click()
    wait_for_twin(page, "Opened       650b68a0622f: BROKEN: a clear owed here; nothing cleared.")
    explorer = page.locator(".vm-map .vm-explorer")
    assert explorer.locator(".vm-badge").inner_text() == "✗ BROKEN"
    assert explorer.locator(".vm-canvas .ran").count() > 5
    explorer.get_by_role("checkbox", name="L1D flush pending").click()
    wait_for_twin(page, "Opened       650b68a0622f: kept")
    page.get_by_role("gridcell", name="e6ff1d61de51; all columns").click()
    wait_for_twin(page, "Selected     e6ff1d61de51")
    assert explorer.locator(".vm-badge").inner_text() == "✓ kept"  # what was opened stays
    page.get_by_role("button", name="Open it in the EntryExplorer").click()
    wait_for_twin(page, "Opened       e6ff1d61de51: kept")
    assert "neutralised" in explorer.locator(".vm-sidehead").inner_text()
    page.get_by_role("button", name="Close, back to the map").click()
    explorer.wait_for(state="detached")
    assert focused(page).startswith("e6ff1d61de51; all columns")
    assert not page.mistakes


def test_by_keyboard_alone(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "Selected     650b68a0622f")
    page.get_by_label("divided by", exact=True).focus()
    page.keyboard.press("Tab")
    assert focused(page).startswith("650b68a0622f; VERW asked: for every guest; L1D flush now: cond, none")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowDown")
    wait_for_twin(page, "Selected     8cb861e9e3c9")
    page.keyboard.press("End")
    wait_for_twin(page, "VERW asked: for no guest; L1D flush now: always")
    page.keyboard.press("Home")
    wait_for_twin(page, "Selected     8cb861e9e3c9: MMIO Stale Data: a third arm on the chain\n  all columns")
    page.keyboard.press("Control+End")
    wait_for_twin(page, "Selected     e6ff1d61de51")
    page.keyboard.press("ArrowDown")  # there is nothing: the focus stays
    assert focused(page).startswith("e6ff1d61de51; VERW asked: for no guest; L1D flush now: always")
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowRight")
    for _ in range(2):
        page.keyboard.press("ArrowUp")
    assert focused(page) == "VERW asked: for every guest; zoom in"
    page.keyboard.press("ArrowRight")  # a head over four columns is one step
    assert focused(page) == "VERW asked: for guests that reach MMIO; zoom in"
    page.keyboard.press("Enter")
    wait_for_twin(page, "Narrowed to  VERW asked: for guests that reach MMIO")
    page.wait_for_function("document.activeElement.role === 'gridcell'")
    assert focused(page).startswith("8cb861e9e3c9; reaches host MMIO: assigned; L1D flush now: cond, none pending")
    page.keyboard.press("Enter")
    wait_for_twin(page, "Opened       8cb861e9e3c9: BROKEN")
    page.wait_for_function("document.activeElement.textContent === 'One of these configurations, run'")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".vm-map .vm-explorer").wait_for(state="detached")
    assert focused(page).startswith("8cb861e9e3c9; reaches host MMIO: assigned")
    page.keyboard.press("Escape")
    wait_for_twin(page, "Narrowed to  nothing")
    page.wait_for_function("document.activeElement.role === 'gridcell'")
    assert not page.mistakes


def test_only_one_cell_of_the_grid_is_in_the_tab_order(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "Selected")
    assert page.locator(".vm-grid [tabindex='0']").count() == 1
    page.locator(".vm-grid [tabindex='0']").focus()
    for key in ("ArrowDown", "ArrowLeft", "ArrowUp", "Home", "Control+Home", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
        assert page.locator(".vm-grid [tabindex='0']").count() == 1
        assert page.evaluate("document.activeElement.tabIndex") == 0


def test_a_state_that_makes_no_sense_leaves_the_last_good_one(open_page):
    page = open_page([CELL, "view.state = {**view.state, 'split': ['mdss']}"])
    wait_for_twin(page, "not shown: no dimension 'mdss', did you mean mds")
    assert "did you mean mds" in page.get_by_role("alert").first.inner_text()
    assert page.get_by_role("gridcell").count() == 7 * 13
    page.get_by_role("button", name="The CPU's bugs").click()
    wait_for_twin(page, "Columns      mds, then l1tf")


def test_every_control_and_every_cell_has_a_name(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "Selected")
    page.get_by_role("button", name="Open it in the EntryExplorer").click()
    wait_for_twin(page, "Opened")
    unnamed = """root => [...root.querySelectorAll("select, input, button, [tabindex], [role=region], [role=gridcell]")].filter(one =>
      !(one.getAttribute("aria-label") || one.labels?.[0]?.textContent.trim() || one.textContent.trim()))
      .map(one => one.outerHTML)"""
    assert page.locator(".vm-map").evaluate(unnamed) == []
    ids = page.locator(".vm-map").evaluate("root => [...root.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


def test_looks(open_page, look):
    page = open_page([CELL])
    wait_for_twin(page, "Selected")
    view = page.locator(".vm-map")
    for name in ("What selection asks for", "Who reaches MMIO", "VERW switched off", "The CPU's bugs"):
        view.get_by_role("button", name=name).click()
        page.wait_for_timeout(300)
        for width in (1400, 800):
            look(view, f"exposure-map-{name.split()[-1]}", width)
            assert view.locator(".vm-scroll").evaluate("one => one.scrollWidth <= one.clientWidth")


def test_works_in_a_page_without_a_kernel(chromium):
    """The module needs no more than a model over frames that were made before, the explorer's among them."""
    widget = ExposureMap()
    zoom = widget.frame["groups"][1]["state"]
    asked = widget.frame["detail"]["explorer"]
    opened = entry_frame.frame(asked)
    values = {"state": widget.state, "frame": widget.frame, "inner": None, "opened": {}}
    inner = {"state": asked, "frame": opened, "drawings": entry_frame.drawings(opened)}
    made = {"zoomed": frame(zoom), "inner": inner}
    page = chromium.new_page()
    page.set_content("<style>body{}</style><main></main>")
    page.add_style_tag(content=ExposureMap._css)
    page.evaluate(
        """async ([modules, values, made]) => {
          const [view, explorer] = await Promise.all(modules.map(async (module) =>
            (await import("data:text/javascript;base64," + btoa(unescape(encodeURIComponent(module))))).default));
          const heard = {};
          const host = { getWidget: async () => ({ render: ({ el }) =>
            explorer.render({ el, host, model: { get: name => made.inner[name], on: () => {} } }) }) };
          view.render({ el: document.querySelector("main"), host, model: {
            get: name => values[name],
            set: (name, value) => { values[name] = value; },
            save_changes: () => {
              if (values.state.narrowed.length) values.frame = made.zoomed;
              for (const hear of Object.values(heard)) hear();
            },
            send: () => {
              Object.assign(values, { inner: "the explorer", opened: { heading: "Opened", line: "Opened" } });
              heard["change:opened"]();
            },
            on: (name, hear) => { heard[name] = hear; },
          }});
        }""",
        [[ExposureMap._esm, EntryExplorer._esm], json.loads(json.dumps(values)), json.loads(json.dumps(made))],
    )
    page.get_by_role("button", name="Open it in the EntryExplorer").click()
    assert page.locator(".vm-explorer .vm-badge").inner_text() == "✗ BROKEN"
    page.get_by_role("button", name="VERW asked: for guests that reach MMIO; zoom in").click()
    assert "Narrowed to  VERW asked: for guests that reach MMIO" in twin(page)
    page.close()
