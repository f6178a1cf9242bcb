"""EntryExplorer as a reader meets it: by mouse, by keyboard alone, in light and dark."""

import json
from functools import partial

import pytest

from vmenter.views.entry.frame import frame
from vmenter.views.entry.widget import EntryExplorer

from . import twins
from .looks import SMALLEST

CELL = """\
from vmenter.views.entry.widget import EntryExplorer
explorer = EntryExplorer()
explorer"""
TWO = CELL.replace("()", '(compare="e6ff1d61de51")')
TWIN = ".vm-explorer .vm-more pre"

twin = partial(twins.read, TWIN)
wait_for_twin = partial(twins.wait, TWIN)


def test_by_mouse(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "BROKEN: a clear owed here; nothing cleared")
    explorer = page.locator(".vm-explorer")
    assert explorer.locator(".vm-badge").inner_text() == "✗ BROKEN"
    assert explorer.locator(".vm-event").all_inner_texts()[0].split("\n")[1] == "no clear"
    explorer.get_by_role("checkbox", name="L1D flush pending").click()
    wait_for_twin(page, "the L1D was flushed")
    assert explorer.locator(".vm-badge").inner_text() == "✓ kept"
    assert explorer.get_by_role("status").inner_text().startswith("650b68a0622f: kept")
    ran = explorer.locator(".vm-canvas .ran.flush")
    assert ran.count() == 1
    assert ran.locator(".vm-order").count() == 1
    explorer.get_by_label("Code of", exact=True).select_option("43fb862de8f6")
    wait_for_twin(page, "VERW moves closer to the edge")
    explorer.get_by_label("Compare with", exact=True).select_option("650b68a0622f")
    wait_for_twin(page, "MDS: flush the L1D, else VERW")
    assert explorer.locator(".vm-side").count() == 2
    explorer.get_by_role("radio", name="a device passed through").click()
    wait_for_twin(page, "reaches host MMIO, by a device passed through")
    explorer.get_by_label("Processor", exact=True).select_option("ice-lake-server")
    wait_for_twin(page, "bugs          mmio_stale_data\n")
    assert not page.mistakes


def test_a_recorded_vm_enter_stands_below_and_stays_whatever_is_chosen_above(open_page):
    page = open_page([CELL.replace("()", "(recorded=\"5.10.46, 2019's flaw\", show=('events', 'verdict'))")])
    wait_for_twin(page, "Recorded: 5.10.46, 2019's flaw")
    below = page.locator(".vm-recorded")
    assert below.locator(".vm-badge").inner_text() == "✗ BROKEN"
    assert below.locator(".vm-missing b").all_inner_texts() == ["no clear", "no clear"]  # recorded, and the lab's
    assert below.locator("tbody tr").count() > 10
    page.get_by_role("checkbox", name="L1D flush pending").click()
    wait_for_twin(page, "the L1D was flushed")
    assert below.locator(".vm-badge").inner_text() == "✗ BROKEN"
    assert not page.mistakes


def test_an_event_is_found_in_the_drawing(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "BROKEN")
    canvas = page.locator(".vm-canvas")
    assert canvas.evaluate("canvas => canvas.scrollTop") == 0
    page.get_by_role("button", name="VM-Enter VMLAUNCH").click()
    sought = page.locator(".vm-sought")
    assert "vmlaunch" in sought.text_content()
    inside = "(canvas, box) => canvas.getBoundingClientRect().top <= box.y && canvas.getBoundingClientRect().bottom >= box.y"
    assert canvas.evaluate(inside, sought.bounding_box())
    page.get_by_role("radio", name="full height").click()
    assert canvas.evaluate("canvas => canvas.scrollHeight <= canvas.clientHeight + 1")
    page.get_by_role("radio", name="at a glance").click()
    assert canvas.evaluate(
        "canvas => canvas.scrollHeight <= canvas.clientHeight + 1 && canvas.scrollWidth <= canvas.clientWidth + 1",
    )


READ = """canvas => [...canvas.querySelectorAll("svg text")]
    .filter(text => getComputedStyle(text).visibility === "visible" && text.textContent.trim())
    .map(text => [text.textContent, parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a])"""


def test_no_text_of_the_drawing_is_too_small_to_read_at_any_size(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "BROKEN")
    canvas = page.locator(".vm-canvas")
    for width in (1400, 1000):
        page.set_viewport_size({"width": width, "height": 900})
        for size, least in (("readable", 30), ("full height", 30), ("at a glance", 3)):
            page.get_by_role("radio", name=size).click()
            shown = canvas.evaluate(READ)
            assert len(shown) >= least
            assert min(shown, key=lambda one: one[1])[1] > 10.9, (width, size)


def test_by_keyboard_alone(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "BROKEN")
    page.get_by_label("Code of", exact=True).focus()
    page.keyboard.press("ArrowDown")  # the next era
    wait_for_twin(page, "8cb861e9e3c9: MMIO Stale Data")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # processor
    page.keyboard.press("Tab")  # command line
    page.keyboard.type("l1tf=off mds=wrong")
    page.keyboard.press("Enter")
    wait_for_twin(page, "mds=wrong        no effect")
    assert page.evaluate("document.activeElement.value") == "l1tf=off mds=wrong"  # the focus stays
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait_for_twin(page, "EPT           off")
    page.keyboard.press("Tab")  # what is folded
    page.keyboard.press("Tab")  # the first bug
    page.keyboard.press("Space")
    wait_for_twin(page, "bugs          l1tf")
    assert page.evaluate("document.activeElement.type") == "checkbox"
    box = "getComputedStyle(document.activeElement.closest('.vm-chip')).outlineStyle"
    assert page.evaluate(box) == "solid"
    page.get_by_role("radio", name="none").focus()
    page.keyboard.press("ArrowRight")
    wait_for_twin(page, "by a device passed through")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    wait_for_twin(page, "entered before")
    page.locator(".vm-canvas").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("document.querySelector('.vm-canvas').scrollTop > 0")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert not page.mistakes


def test_every_control_has_a_name(open_page):
    page = open_page([TWO])
    wait_for_twin(page, "e6ff1d61de51")
    unnamed = """root => [...root.querySelectorAll("select, input, button, [tabindex], [role=region]")].filter(one =>
      !(one.getAttribute("aria-label") || one.labels?.[0]?.textContent.trim() || one.textContent.trim()))
      .map(one => one.outerHTML)"""
    assert page.locator(".vm-explorer").evaluate(unnamed) == []
    ids = page.locator(".vm-explorer").evaluate("root => [...root.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


def test_two_explorers_on_one_page_do_not_share_their_choices(open_page):
    page = open_page([CELL, CELL])
    page.wait_for_function("document.querySelectorAll('.vm-explorer').length === 2")
    assert page.locator(".vm-explorer fieldset input[type=radio]:checked").count() == 4


def test_looks(open_page, look):
    page = open_page([TWO])
    wait_for_twin(page, "e6ff1d61de51")
    explorer = page.locator(".vm-explorer")
    look(explorer, "entry-explorer", 1400, height=4200)
    for summary in explorer.locator("summary:visible").all():
        if summary.evaluate("one => !one.parentElement.open"):
            summary.click()
    for width in (1400, 900, 600):
        look(explorer, "entry-explorer-open", width, height=4200)


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (1000, 700)])
def test_the_verdict_is_in_sight_beside_all_controls_and_no_text_is_small(open_page, width, height):
    page = open_page([TWO], width=width, height=height)
    result = page.locator(".vm-result")
    result.wait_for()
    assert "BROKEN" in result.inner_text()
    assert "kept" in result.inner_text()
    box, view = result.bounding_box(), page.locator(".vm-explorer").bounding_box()
    assert box["y"] + box["height"] - view["y"] < 120, "above the controls"
    assert page.locator(".vm-explorer").evaluate(SMALLEST) >= 10.99
    assert not page.mistakes


def test_panels_fold_in_both_eras_at_once_and_an_era_that_comes_later_follows(open_page):
    page = open_page([TWO])
    page.locator(".vm-flow").first.wait_for()
    page.locator(".vm-flow > summary").nth(1).click()
    assert page.locator(".vm-flow").evaluate_all("all => all.map(one => one.open)") == [False, False]
    page.get_by_label("Compare with").select_option("@none")
    page.wait_for_function("document.querySelectorAll('.vm-side').length === 1")
    page.get_by_label("Compare with").select_option("v4")
    page.wait_for_function("document.querySelectorAll('.vm-side').length === 2")
    assert page.locator(".vm-flow").evaluate_all("all => all.map(one => one.open)") == [False, False]
    page.locator(".vm-flow > summary").first.press("Enter")
    assert page.locator(".vm-flow").evaluate_all("all => all.map(one => one.open)") == [True, True]
    assert not page.mistakes


def test_the_drawings_of_two_eras_have_one_size(open_page):
    page = open_page([TWO])
    page.get_by_role("radio", name="full height").nth(1).click()
    sizes = page.locator(".vm-canvas").evaluate_all("all => all.map(one => one.dataset.size)")
    assert sizes == ["full", "full"]
    assert page.get_by_role("radio", name="full height").first.is_checked()
    assert not page.mistakes


def test_only_the_controls_that_were_asked_for_are_there(open_page):
    page = open_page([CELL.replace("EntryExplorer(", "EntryExplorer(controls=('flags',), ", 1)])
    page.get_by_role("checkbox", name="L1D flush pending").click()
    wait_for_twin(page, "the L1D was flushed")
    shown = page.locator(".vm-controls :is(input, select)")
    assert sum(one.is_visible() for one in shown.all()) == 2
    assert page.get_by_role("group", name="Host", exact=True).count() == 0
    assert not page.mistakes


def test_where_the_system_chooses_the_colours_everything_is_told_by_lines_and_words(open_page, picture):
    page = open_page([TWO])
    page.emulate_media(forced_colors="active")
    view = page.locator(".vm-explorer")
    picture(view, "entry-explorer-forced-colours")
    chosen = view.locator(".vm-chip:has(:checked)").first
    assert chosen.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    ink, paper = view.evaluate(
        """root => ["--vm-ink", "--vm-paper"].map(name => getComputedStyle(root).getPropertyValue(name).trim())"""
    )
    assert (ink, paper) == ("CanvasText", "Canvas")
    assert not page.mistakes


def test_works_in_a_page_without_a_kernel(chromium):
    """The module needs no more than a model over frames and drawings that were made before."""
    widget = EntryExplorer()
    frames = {
        name: frame({**widget.state, "flush_pending": pending}) for name, pending in (("off", False), ("on", True))
    }
    page = chromium.new_page()
    page.set_content("<style>body{}</style><main></main>")
    page.add_style_tag(content=EntryExplorer._css)
    page.evaluate(
        """async ([module, state, frames, drawings]) => {
          const { default: view } = await import("data:text/javascript;base64," + btoa(unescape(encodeURIComponent(module))));
          const values = { state, drawings, frame: frames["off"] };
          const heard = {};
          view.render({ el: document.querySelector("main"), model: {
            get: name => values[name],
            set: (name, value) => { values[name] = value; },
            save_changes: () => {
              values.frame = frames[values.state.flush_pending ? "on" : "off"];
              heard["change:frame"]();
            },
            on: (name, hear) => { heard[name] = hear; },
          }});
        }""",
        [EntryExplorer._esm, *(json.loads(json.dumps(one)) for one in (widget.state, frames, widget.drawings))],
    )
    assert "BROKEN" in twin(page)
    page.get_by_role("checkbox", name="L1D flush pending").click()
    assert "the L1D was flushed" in twin(page)
    assert page.locator(".vm-canvas .ran.flush").count() == 1
    page.close()
