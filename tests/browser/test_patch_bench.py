"""PatchBench as a reader meets it: by mouse, by keyboard alone, in light and dark."""

import json

from vmenter.views.patch import widget
from vmenter.views.patch.frame import frame

from .looks import SMALLEST

CELL = """\
from vmenter.views.patch.widget import PatchBench
bench = PatchBench(sample="three_way", features=("CLEAR_CPU_BUF_VM",), step=None)
bench"""


def twin(page):
    """Return the text twin that the page itself shows."""
    return page.locator(".vm-bench .vm-more pre").last.text_content()


def wait_for_twin(page, words):
    page.wait_for_function(
        "words => [...document.querySelectorAll('.vm-bench .vm-more pre')].pop()?.textContent.includes(words)",
        arg=words,
        timeout=10_000,
    )


def test_by_mouse(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "step 5 of 5: merge")
    page.get_by_role("button", name="2 copy").click()
    wait_for_twin(page, "step 2 of 5: copy (entry 2)")
    assert page.locator(".vm-status").inner_text().startswith("Step 2 of 5: copy (entry 2).")
    page.get_by_role("button", name="Next").click()
    wait_for_twin(page, "step 3 of 5: relocate")
    assert page.locator("td.vm-new b").all_inner_texts() == ["57", "00", "00", "00"]
    assert page.locator("td.vm-new i").all_inner_texts() == ["R2"] * 4
    page.get_by_role("checkbox", name="CLEAR_CPU_BUF_VM_MMIO").click()
    page.get_by_role("radio", name="layered").click()
    wait_for_twin(page, "entry 1  CLEAR_CPU_BUF_VM_MMIO  matches -> written, then written over")
    assert "decides" in page.locator('.vm-decision [data-key="e2"]').get_attribute("class")
    page.get_by_label("Site", exact=True).select_option("unless_smap")
    wait_for_twin(page, "entry 1  NOT SMAP  matches, decides")
    assert not page.mistakes


def test_it_opens_on_its_first_step_and_compares_the_patchers_only_when_asked(open_page):
    page = open_page([CELL.replace(", step=None", "")])
    wait_for_twin(page, "step 1 of 5: choose")
    compared, verdict = page.locator(".vm-compare"), page.locator(".vm-decision figcaption")
    assert compared.is_hidden()
    assert verdict.is_hidden()
    page.get_by_text("The same site under each patcher").first.click()
    assert compared.is_visible()
    page.get_by_role("slider", name="Step").press("End")
    wait_for_twin(page, "step 5 of 5: merge")
    assert verdict.is_visible()
    assert not page.mistakes


def test_by_keyboard_alone(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "step 5 of 5: merge")
    page.get_by_label("Site", exact=True).focus()
    page.keyboard.press("Tab")  # the first feature
    page.keyboard.press("Space")
    wait_for_twin(page, "features on: CLEAR_CPU_BUF_VM_MMIO, CLEAR_CPU_BUF_VM")
    assert page.evaluate("document.activeElement.type") == "checkbox"  # the focus stays
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # the engine
    page.keyboard.press("ArrowLeft")
    wait_for_twin(page, "engine: layered")
    page.keyboard.press("Tab")  # the steps
    page.keyboard.press("Home")
    wait_for_twin(page, "step 1 of 7: choose")
    page.keyboard.press("ArrowRight")
    wait_for_twin(page, "step 2 of 7: copy (entry 1)")
    page.keyboard.press("End")
    wait_for_twin(page, "step 7 of 7: merge")
    page.keyboard.press("ArrowLeft")
    wait_for_twin(page, "step 6 of 7: pad")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    slider = page.get_by_role("slider", name="Step")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    wait_for_twin(page, "step 5 of 7: relocate (entry 2)")
    assert page.evaluate("document.activeElement.type") == "range"
    assert not page.mistakes


def test_a_mistake_is_shown_in_place_and_the_kernel_lives(open_page):
    page = open_page([CELL])
    wait_for_twin(page, "step 5 of 5: merge")
    page.get_by_text("Type your own code").click()
    code = page.get_by_role("group", name="Replacement 2").get_by_label("Code")
    code.fill("nop\nverw foo(%rix)")
    code.press("Control+Enter")
    mistake = page.locator(".vm-mistake")
    mistake.wait_for()
    assert "replacement 2, line 2, column 10: there is no register" in mistake.inner_text()
    assert mistake.locator("pre").text_content() == "verw foo(%rix)\n         ^"
    assert code.get_attribute("aria-invalid") == "true"
    assert "Still shown: the last good state." in twin(page)
    code.fill("call helper")
    code.press("Control+Enter")
    wait_for_twin(page, "step 1 of ")
    page.get_by_role("slider", name="Step").press("End")
    wait_for_twin(page, "callq helper")
    assert mistake.is_hidden()
    assert code.input_value() == "call helper"
    assert not page.mistakes


def test_looks(open_page, look):
    page = open_page([CELL])
    wait_for_twin(page, "step 5 of 5: merge")
    for summary in page.locator(".vm-bench summary").all():
        summary.click()
    bench = page.locator(".vm-bench")
    for width in (1400, 900, 600):
        look(bench, "patch-bench", width, height=2900)
        assert bench.evaluate(SMALLEST) >= 10.99


def test_works_in_a_page_without_a_kernel(chromium):
    """The module needs no more than a model over frames that were made before."""
    frames = {
        name: frame({"sample": "three_way", "features": features, "engine": "once"})
        for name, features in (("on", ["CLEAR_CPU_BUF_VM"]), ("off", []))
    }
    page = chromium.new_page()
    page.set_content("<style>body{}</style><main></main>")
    page.add_style_tag(content=widget.PatchBench._css)
    page.evaluate(
        """async ([module, frames]) => {
          const { default: view } = await import("data:text/javascript;base64," + btoa(unescape(encodeURIComponent(module))));
          const values = { frame: frames["on"],
            state: { sample: "three_way", typed: null, features: ["CLEAR_CPU_BUF_VM"], engine: "once", step: null } };
          const heard = {};
          view.render({ el: document.querySelector("main"), model: {
            get: name => values[name],
            set: (name, value) => { values[name] = value; },
            save_changes: () => {
              values.frame = frames[values.state.features.length ? "on" : "off"];
              heard["change:frame"]();
            },
            on: (name, hear) => { heard[name] = hear; },
          }});
        }""",
        [widget.PatchBench._esm, json.loads(json.dumps(frames))],
    )
    page.get_by_role("button", name="3 relocate").click()
    assert "step 3 of 5: relocate" in twin(page)
    page.get_by_role("checkbox", name="CLEAR_CPU_BUF_VM", exact=True).click()
    assert "No entry matches" in twin(page)
    page.close()


def test_two_benches_on_one_page_do_not_share_their_choices(open_page):
    page = open_page([CELL, CELL.replace("bench =", "other =").replace("\nbench", "\nother")])
    page.wait_for_function("document.querySelectorAll('.vm-bench').length === 2")
    assert page.locator(".vm-bench input[type=radio]:checked").count() == 2
