"""The site as a reader opens it: from a folder, with the network cut, by mouse and by keyboard."""

import json
import random
import re
import time
from itertools import pairwise

import pytest
from bs4 import BeautifulSoup
from site_built import ALL_VIEWS

from vmenter.boot.processors import PRESETS
from vmenter.course.prediction.questions import answer
from vmenter.course.site.frames import COMMAND_LINES
from vmenter.story.history import ERAS
from vmenter.story.promise import Reach
from vmenter.views.entry import frame as entry_frame
from vmenter.views.exposure import frame as exposure_frame
from vmenter.views.host import frame as host_frame
from vmenter.views.patch import frame as patch_frame
from vmenter.views.patch.bench import SAMPLES
from vmenter.views.view import twin as text_twin

from .looks import CONTRAST

READY = "[...document.querySelectorAll('.live')].every(room => 'ready' in room.dataset)"
NO_KERNEL = "this page has no kernel"


@pytest.fixture
def visit(readers, site):
    """A function: open a page of the site from its folder. Whatever is not a file is refused, and told."""
    pages = []

    def open_one(name=ALL_VIEWS, *, theme="light", width=1400, scripts=True):
        page = readers(theme, scripts=scripts).new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 1000})
        page.mistakes = []
        page.on("pageerror", lambda error: page.mistakes.append(str(error)))
        page.on(
            "console", lambda one: page.mistakes.append(one.text) if one.type in ("error", "warning") else None
        )

        def refuse(route):
            page.mistakes.append(f"asked for {route.request.url}")
            route.abort()

        page.route(re.compile("^(?!file:|data:|blob:)"), refuse)
        page.goto((site / f"{name}.html").as_uri())
        if scripts:
            page.wait_for_function(READY, timeout=60_000)
        return page

    yield open_one
    for page in pages:
        if not page.is_closed():
            page.evaluate("localStorage.clear(); sessionStorage.clear()")  # the next reader is another one
            page.close()


# Of the headings in sight, in order: the level of each.
LEVELS = "all => all.filter((one) => one.checkVisibility()).map((one) => Number(one.localName.slice(1)))"


def room(page, kind, number=0):
    return page.locator(f'.live[data-view="{kind}"]').nth(number)


def value(page, view, name="frame"):
    """Return a value of the page's own model."""
    return page.evaluate("([id, name]) => vmSite.models[id].get(name)", [view.get_attribute("id"), name])


def inner(page, view, name="frame"):
    """Return a value of the model of the view that is open inside another."""
    id_ = view.get_attribute("id")
    return page.evaluate("([id, name]) => vmSite.models[vmSite.models[id].get('inner')].get(name)", [id_, name])


def choose(page, view, **change):
    """Choose as the view's own code does; return the frame that came."""
    return page.evaluate(
        """([id, change]) => {
          const model = vmSite.models[id];
          model.set("state", { ...model.get("state"), ...change });
          model.save_changes();
          return model.get("frame");
        }""",
        [view.get_attribute("id"), change],
    )


def twin(view):
    return view.locator(".vm-more pre").last.text_content()


def test_every_page_opens_from_its_folder_without_a_word_to_the_network(visit, site, report):
    times = {}
    for path in sorted(site.glob("*.html")):
        start = time.perf_counter()
        page = visit(path.stem)
        times[path.stem] = time.perf_counter() - start
        assert not page.mistakes, path.name
        for view in page.locator(".live").all():
            if view.get_attribute("data-view") != "Prediction":
                assert value(page, view)["error"] is None, f"{path.name}: {view.get_attribute('id')}"
        levels = page.locator("h1, h2, h3, h4, h5, h6").evaluate_all(LEVELS)
        assert page.locator("h1").count() == levels.count(1) == 1, path.name
        assert all(below <= above + 1 for above, below in pairwise(levels)), (
            f"{path.name} leaves a level out: {levels}"
        )
    slowest = max(times, key=times.get)
    report(f"site: the slowest page to open with its views is {slowest}, {times[slowest]:.2f} s")


def test_the_button_and_the_game_work_without_a_kernel(visit):
    page = visit("index")
    view = room(page, "FirstMinute")
    for pressed in range(3):
        view.locator(".vm-first-go").click()
        assert view.locator("li svg").count() == pressed + 1
    assert value(page, view, "state") == {"machine": "intel", "pressed": 3}
    assert not page.mistakes
    page = visit("01-what-leaks")
    view = room(page, "LeakGame")
    for _ in range(3):
        view.get_by_role("button", name="Next step").click()
    view.get_by_role("checkbox", name="K, ").check()
    view.get_by_role("button", name="That is my answer").click()
    assert "2 of 3 points" in view.locator(".vm-leak-points").inner_text()
    assert not page.mistakes


def test_patch_bench_by_mouse(visit):
    page = visit()
    view = room(page, "PatchBench")
    view.get_by_label("Site", exact=True).select_option("three_way")
    view.get_by_role("checkbox", name="CLEAR_CPU_BUF_VM_MMIO").click()
    view.get_by_role("radio", name="layered").click()
    view.get_by_role("button", name="2 copy").click()
    state = value(page, view, "state")
    assert (state["features"], state["engine"], state["step"]) == (["CLEAR_CPU_BUF_VM_MMIO"], "layered", 1)
    expected = patch_frame.frame(state)
    assert value(page, view) == expected
    assert twin(view) == patch_frame.twin(expected, 1)
    assert "decides" in view.locator('.vm-decision [data-key="e1"]').get_attribute("class")
    assert not page.mistakes


def test_patch_bench_by_keyboard_alone(visit):
    page = visit()
    view = room(page, "PatchBench")
    view.get_by_label("Site", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert value(page, view, "state")["features"] == ["CLEAR_CPU_BUF_VM_MMIO"]
    view.locator(".vm-step").first.focus()
    page.keyboard.press("Home")
    assert view.locator(".vm-status").inner_text().startswith("Step 1 of")
    page.keyboard.press("ArrowRight")
    assert twin(view) == patch_frame.twin(patch_frame.frame(value(page, view, "state")), 1)
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_state_of_a_sample_is_what_python_makes_of_it(visit, sample):
    page = visit()
    view = room(page, "PatchBench")
    names = [one["name"] for one in patch_frame.frame({"sample": sample})["features"]]
    for engine in ("early", "layered", "once"):
        for on in ([], names[:1], names[1:], names, ["not of this site", *names]):
            state = {"sample": sample, "features": on, "engine": engine, "step": None}
            assert choose(page, view, **state) == patch_frame.frame({**state, "typed": None}), state


def test_typed_code_of_the_course_can_be_left_and_found_again(visit):
    page = visit()
    view = room(page, "PatchBench", 1)
    first = value(page, view)
    assert first == patch_frame.frame(value(page, view, "state"))
    view.get_by_label("Site", exact=True).select_option("jump_over")
    assert value(page, view)["title"] == "jump_over"
    view.get_by_label("Site", exact=True).select_option("@typed")
    assert value(page, view) == first


def test_entry_explorer_by_mouse_and_keyboard(visit):
    page = visit()
    view = room(page, "EntryExplorer")
    view.get_by_label("Processor", exact=True).select_option("skylake-server")
    view.get_by_label("Code of", exact=True).select_option("e6ff1d61de51")
    view.get_by_label("Compare with").select_option("8cb861e9e3c9")
    view.get_by_role("checkbox", name="L1D flush pending").focus()
    page.keyboard.press("Space")
    line = view.get_by_label("Kernel command line")
    line.fill("kvm-intel.vmentry_l1d_flush=always")
    page.keyboard.press("Tab")
    state = value(page, view, "state")
    assert (state["preset"], state["compare"], state["flush_pending"]) == ("skylake-server", "8cb861e9e3c9", True)
    expected = entry_frame.frame(state)
    assert value(page, view) == expected
    assert twin(view) == text_twin(expected)
    assert view.locator(".vm-flow svg .ran").count() > 4
    assert not page.mistakes


def test_entry_explorer_in_many_states_is_what_python_makes_of_it(visit):
    page = visit()
    draw = random.Random(6)
    era = [*ERAS]
    for number in range(2):  # one with all panels, one with selection alone
        view = room(page, "EntryExplorer", number)
        for _ in range(40):
            change = {
                "era": draw.choice(era),
                "compare": draw.choice([None, *era]),
                "preset": draw.choice([*PRESETS]),
                "cmdline": draw.choice(COMMAND_LINES),
            }
            if number == 0:
                change["mmio"] = draw.choice([str(reach) for reach in Reach])
                change |= {flag: draw.random() < 0.5 for flag in ("flush_pending", "resume", "guest_fb_clear")}
            shown = choose(page, view, **change)
            expected = entry_frame.frame(value(page, view, "state"))
            assert {**shown, "sides": None} == {**expected, "sides": None}, change
            for mine, theirs in zip(shown["sides"], expected["sides"], strict=True):
                assert {name: mine[name] for name in theirs} == theirs, change
            assert twin(view) == text_twin(expected)


def test_an_era_of_the_notebooks_own_can_be_explored(visit):
    page = visit()
    view = room(page, "EntryExplorer", 2)
    assert view.get_by_label("Code of", exact=True).input_value() == "mine"
    view.get_by_label("Code of", exact=True).select_option("v4")
    assert value(page, view)["sides"][0]["era"] == "v4"
    assert value(page, view)["error"] is None


def test_what_was_not_made_beforehand_is_said_and_nothing_breaks(visit):
    page = visit()
    view = room(page, "EntryExplorer")
    before = value(page, view)
    line = view.get_by_label("Kernel command line")
    line.fill("l1tf=nonsense")
    line.press("Enter")
    assert NO_KERNEL in view.locator(".vm-mistake").inner_text()
    assert value(page, view)["sides"] == before["sides"]
    view.get_by_role("radio", name="entered before").click()
    assert value(page, view)["error"] is None
    assert value(page, view)["cmdline"] == before["cmdline"]
    for control in view.locator(".vm-names input, .vm-ept input").all():
        assert control.is_disabled()
    bench = room(page, "PatchBench")
    bench.get_by_text("Type your own code").click()
    assert bench.get_by_role("button", name="Assemble and show").is_disabled()
    assert not page.mistakes


def test_host_view_shows_every_recorded_machine_and_opens_it(visit):
    page = visit()
    view = room(page, "HostView")
    for sample in ("cascade-lake", "mmio-only"):
        view.get_by_label("Report of").select_option(sample)
        assert value(page, view) == host_frame.frame({"sample": sample, "pasted": None, "live": False})
    view.get_by_role("button", name="Open this host in the EntryExplorer").click()
    opened, state = inner(page, view), inner(page, view, "state")
    assert opened["sides"][0]["verdict"] == entry_frame.frame(state)["sides"][0]["verdict"]
    assert f"Opened: {opened['said']}" in twin(view)
    view.get_by_label("Report of").select_option("cascade-lake")
    page.wait_for_function("document.querySelector('.vm-host .vm-explorer')")
    assert inner(page, view, "state") == value(page, view)["explorer"]
    view.locator(".vm-explorer").wait_for()
    view.get_by_role("button", name="Close").click()
    assert view.locator(".vm-explorer").count() == 0
    assert not page.mistakes


def test_the_map_by_mouse_and_keyboard(visit):
    page = visit()
    view = room(page, "ExposureMap")
    view.get_by_role("button", name="Who reaches MMIO").click()
    assert value(page, view) == exposure_frame.frame(value(page, view, "state"))
    cell = view.locator("td[role=gridcell]").nth(3)
    cell.click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expected = exposure_frame.frame(value(page, view, "state"))
    assert expected["cell"][0] == list(ERAS)[2]
    assert value(page, view) == expected
    assert twin(view) == text_twin(expected)
    view.get_by_role("button", name="Open it in the EntryExplorer").click()
    view.locator(".vm-explorer").wait_for()
    state = inner(page, view, "state")
    assert inner(page, view)["sides"][0] == entry_frame.frame(state)["sides"][0]
    assert not page.mistakes


def fill_in(page, many, which, *some):
    asks = room(page, "Prediction")
    asks.get_by_label("How many?").fill(many)
    asks.get_by_role("radio", name=which, exact=True).check()
    for one in some:
        asks.get_by_role("checkbox", name=one, exact=True).check()
    asks.get_by_role("button", name="Keep my guess").click()


def test_a_truth_is_folded_until_the_guess_is_kept_and_answers_it(visit):
    page = visit()
    tells = room(page, "Prediction", 1)
    assert tells.locator("table").is_hidden()
    assert not any(secret in tells.inner_text() for secret in ("7", "Just so", "the table"))
    fill_in(page, "12", "b", "x", "z")
    rows = tells.locator("tbody tr").all_inner_texts()
    assert ["Not so. Twice counted." in rows[0], "7" in rows[0]] == [True, True]
    assert "Not so. B it is not." in rows[1]
    assert "Not so. Y holds. Z does not." in rows[2]
    assert tells.locator(".vm-extra").inner_text() == "the table"
    page.reload()
    page.wait_for_function(READY)
    assert room(page, "Prediction").get_by_label("How many?").input_value() == "12"
    assert "Twice counted" in room(page, "Prediction", 1).inner_text()
    assert not page.mistakes


def test_who_asks_to_be_shown_a_truth_is_shown_it_and_again_later(visit):
    page = visit()
    tells = room(page, "Prediction", 1)
    tells.get_by_role("button", name="Show me without a guess").press("Enter")
    assert "Just so." in tells.inner_text()
    assert "(no guess)" in tells.inner_text()
    page.reload()
    page.wait_for_function(READY)
    assert "Just so." in room(page, "Prediction", 1).inner_text()
    assert not page.mistakes


GUESSES = [
    *("7", "7.0", " 7 ", "6", "8", "5.99", "8.01", "12", "1,000", "-3", "10 %", "many", "1e3"),
    *("a", "b", "c", "x", "x; y", "y; x", "x; y; z", "z", "x; z", "y; none"),
]


def test_the_page_answers_every_guess_as_the_library_does(visit, site):
    page = visit()
    rooms = BeautifulSoup((site / f"{ALL_VIEWS}.html").read_text(encoding="utf-8"), "html.parser")
    start = json.loads(rooms.select('[data-view="Prediction"] script')[1].string)
    for guess in GUESSES:
        rows = page.evaluate(
            """([id, guess]) => {
              const model = vmSite.models[id];
              model.set("guesses", [guess, guess, guess]);
              model.save_changes();
              return model.get("rows").map(({ verdict, text }) => [verdict, text]);
            }""",
            [room(page, "Prediction", 1).get_attribute("id"), guess],
        )
        assert rows == [list(answer(key, guess)) for key in start["answers"]], guess


def test_what_comes_out_between_question_and_truth_is_folded_with_it(visit):
    page = visit("03-two-features-one-place")
    folds = page.locator('details[data-prediction="03-a"]')
    assert folds.count() >= 2
    assert not any(fold.get_attribute("open") is not None for fold in folds.all())
    asks = room(page, "Prediction")
    for question, guess in zip(asks.locator("fieldset").all(), ("depends", "always"), strict=True):
        question.get_by_role("radio", name=guess, exact=True).check()
    asks.get_by_role("button", name="Keep my guess").click()
    assert all(fold.get_attribute("open") is not None for fold in folds.all())
    other = page.locator('details[data-prediction="03-b"]')
    assert not any(fold.get_attribute("open") is not None for fold in other.all())
    assert not page.mistakes


def test_without_scripts_the_twins_are_there(visit):
    page = visit(scripts=False)
    first = room(page, "PatchBench").locator("pre")
    assert first.is_visible()
    assert "engine: once" in first.inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_and_the_choice_of_colours_is_kept(visit, site, picture, theme):
    page = visit("05-2019-else-if", theme=theme)
    ratio, text = page.locator("main").evaluate(CONTRAST)
    assert ratio >= 4.5, text
    picture(page, f"site-05-{theme}")
    page.locator("button.theme").click()
    other = {"light": "dark", "dark": "light"}[theme]
    assert page.evaluate("document.documentElement.dataset.theme") == other
    ratio, text = page.locator("main").evaluate(CONTRAST)
    assert ratio >= 4.5, text
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == other


NAMELESS = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, img")].filter(
  element => element.checkVisibility() && !(element.textContent.trim() || element.ariaLabel || element.alt
    || element.labels?.length || element.title)).map(element => element.outerHTML)"""


def test_everything_has_a_name_a_language_and_a_way_past_the_contents(visit, site):
    for path in sorted(site.glob("*.html")):
        page = visit(path.stem)
        assert page.evaluate(NAMELESS) == [], path.name
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.locator("body > header, main, nav.contents").count() == 3
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the text"
        page.close()
