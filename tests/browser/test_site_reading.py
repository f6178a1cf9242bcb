"""The site for who reads: search, the glossary beside the text, narrow and wide windows, forced colours."""

import re

import pytest

from .axe import findings
from .looks import CONTRAST
from .test_site import room, value, visit  # noqa: F401  (visit is a fixture)

WIDTHS = (320, 375, 768, 1024, 1400)


@pytest.fixture
def read(visit):  # noqa: F811
    """A function: open a page of the course."""
    return lambda name="05-2019-else-if", **how: visit(name, **how)


def ask(page, words):
    page.keyboard.press("Control+k")
    page.locator("#search-words").fill(words)
    page.wait_for_function("document.querySelector('.search-said').textContent !== ''")
    return page.locator(".search-found li a")


# --- search ------------------------------------------------------------------------------------------------------


def test_search_by_keyboard_finds_the_glossary_first_shows_where_and_goes_there(read):
    page = read()
    found = ask(page, "verw")
    assert found.first.get_attribute("href") == "glossary.html#VERW"
    assert found.first.locator("strong").inner_text() == "VERW"
    assert all("verw" in one.inner_text().lower() for one in found.all())
    assert all(one.lower().startswith("verw") for one in page.locator(".search-found mark").all_inner_texts())
    assert re.match(r"\d+ places", page.locator(".search-said").inner_text())
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement === document.querySelectorAll('.search-found a')[1]")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "search-words"
    page.keyboard.press("Enter")
    page.wait_for_url("**/glossary.html#VERW")
    assert not page.mistakes


def test_several_words_must_all_be_there_and_escape_gives_the_page_back(read):
    page = read()
    page.locator("button.find").click()
    page.locator("#search-words").fill("else if 2019")
    page.wait_for_function("document.querySelector('.search-found a')")
    assert any("05-2019" in one.get_attribute("href") for one in page.locator(".search-found a").all())
    page.locator("#search-words").fill("verw zzzzz")
    page.wait_for_function("document.querySelector('.search-said').textContent === 'Nothing is found.'")
    assert page.locator(".search-found a").count() == 0
    page.keyboard.press("Escape")
    assert not page.locator("dialog.search").is_visible()
    assert page.evaluate("document.activeElement.className") == "find"


@pytest.mark.parametrize("words", ["(", "[a-z", "*", "\\", "<b>", "&amp;", "ALTERNATIVE_2", "VM-Enter", "%ax"])
def test_any_sign_may_be_searched(read, words):
    page = read("index")
    ask(page, words)
    assert page.locator(".search-found b").count() == 0
    assert not page.mistakes


@pytest.mark.parametrize("forced", ["active", "none"])
def test_the_open_search_can_be_read_by_all(read, forced):
    page = read()
    page.emulate_media(forced_colors=forced)
    ask(page, "flush")
    dialog = page.locator("dialog.search")
    assert findings(dialog) == []
    ratio, text = dialog.evaluate(CONTRAST)
    assert ratio >= 4.5, text


# --- the glossary beside the text ----------------------------------------------------------------------------------


def tips(page):
    return page.locator(".tip:visible")


def test_a_definition_comes_under_the_mouse_stays_while_read_and_goes(read):
    page = read()
    term = page.locator("a.term", has_text="MDS").first
    term.scroll_into_view_if_needed()
    term.hover()
    tips(page).wait_for()
    assert "Microarchitectural" in tips(page).inner_text()
    tips(page).hover()
    page.wait_for_timeout(600)
    assert tips(page).count() == 1
    page.keyboard.press("Escape")
    assert tips(page).count() == 0
    term.hover(position={"x": 2, "y": 8})
    page.mouse.move(2, 400)
    page.wait_for_timeout(600)
    assert tips(page).count() == 0
    assert not page.mistakes


def test_a_definition_comes_at_the_focus_and_escape_takes_it_away(read):
    page = read()
    term = page.locator("a.term").first
    term.focus()
    assert tips(page).count() == 1
    assert tips(page).get_attribute("id") == term.get_attribute("aria-describedby")
    assert findings(page.locator("main .text").first) == []
    assert findings(tips(page)) == []
    page.keyboard.press("Escape")
    assert tips(page).count() == 0
    assert page.evaluate("document.activeElement.className") == "term"
    page.locator("a.term").nth(1).focus()
    assert tips(page).count() == 1
    page.keyboard.press("Enter")
    page.wait_for_url("**/glossary.html#*")


@pytest.mark.parametrize("width", [320, 1400])
def test_a_touch_shows_the_definition_and_a_second_one_leads_to_the_glossary(chromium, site, width):
    context = chromium.new_context(viewport={"width": width, "height": 800}, has_touch=True, offline=True)
    page = context.new_page()
    page.goto((site / "05-2019-else-if.html").as_uri())
    for number in range(4):
        term = page.locator("main a.term:visible").nth(number)
        term.scroll_into_view_if_needed()
        term.tap()
        assert tips(page).count() == 1
        box = tips(page).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.touchscreen.tap(2, 2)
        assert tips(page).count() == 0
    term.tap()
    assert page.url.endswith("05-2019-else-if.html")
    term.tap()
    page.wait_for_url("**/glossary.html#*")
    context.close()


def test_a_term_is_told_by_more_than_its_colour(read):
    page = read()
    line = page.locator("a.term").first.evaluate("term => getComputedStyle(term).textDecoration")
    assert {"underline", "dotted"} <= set(line.split())


# --- windows -------------------------------------------------------------------------------------------------------

UNSCROLLED = """() => {
  const wide = document.documentElement.clientWidth;
  const boxes = [...document.querySelectorAll("main pre, main table, main img, main svg")];
  return boxes.filter(one => one.checkVisibility() && one.getBoundingClientRect().right > wide + 1).filter(one => {
    for (let at = one; at; at = at.parentElement) {
      if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(at).overflowX)) return false;
    }
    return true;
  }).map(one => one.outerHTML.slice(0, 100));
}"""
UNMARKED = """() => [...document.querySelectorAll("main pre, main .wide-table, main .output, main .vm-scroll")].filter(one =>
  one.checkVisibility() && one.scrollWidth > one.clientWidth + 1
  && ["auto", "scroll"].includes(getComputedStyle(one).overflowX)
  && !(one.dataset.more && one.tabIndex === 0)).map(one => one.outerHTML.slice(0, 100))"""


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_but_in_a_box_of_its_own_that_says_so(read, site, width):
    marked = 0
    for path in sorted(site.glob("*.html")):
        page = read(path.stem, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        assert page.evaluate(UNSCROLLED) == [], path.name
        page.wait_for_timeout(50)  # boxes are measured as they come
        assert page.evaluate(UNMARKED) == [], path.name
        marked += page.locator("[data-more]").count()
        page.close()
    assert marked or width > 1000


def test_the_sign_of_more_goes_where_there_is_no_more(read):
    page = read(width=320)
    box = page.locator('main pre[data-more="right"]:visible').first
    box.evaluate("box => { box.id = 'box'; box.scrollLeft = box.scrollWidth; }")
    page.wait_for_function("document.getElementById('box').dataset.more === 'left'")
    box = page.locator("#box")
    assert box.evaluate("box => getComputedStyle(box).boxShadow") != "none"
    page.emulate_media(forced_colors="active")
    assert box.evaluate("box => getComputedStyle(box).borderLeftStyle") == "dotted"


# --- forced colours --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "03-two-features-one-place", "glossary"])
def test_a_page_can_be_read_where_the_system_chooses_the_colours(read, name, theme, picture):
    page = read(name, theme=theme)
    page.emulate_media(forced_colors="active", color_scheme=theme)
    ratio, text = page.locator("body").evaluate(CONTRAST)
    assert ratio >= 4.5, text
    picture(page, f"site-forced-{name}-{theme}")
    here = page.locator(".contents .here > a").first
    assert here.evaluate("link => getComputedStyle(link).borderLeftStyle") == "solid"
    for _ in range(6):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")


# --- verdicts ----------------------------------------------------------------------------------------------------------


def test_the_explorer_that_the_map_opened_follows_to_another_cell_or_closes(read):
    page = read("98-every-view")
    view = room(page, "ExposureMap")
    view.get_by_role("button", name="Open it in the EntryExplorer").click()
    view.locator(".vm-explorer").wait_for()
    for number in range(view.locator("td[role=gridcell]").count()):
        view.locator("td[role=gridcell]").nth(number).click()
        wanted = value(page, view)["detail"]["explorer"]
        inner = value(page, view, "inner")
        shown = page.evaluate("name => name && vmSite.models[name].get('state')", inner)
        assert shown in (None, wanted)
        assert view.locator(".vm-explorer").count() == (1 if inner else 0)
        if not inner and wanted:
            view.get_by_role("button", name="Open it in the EntryExplorer").click()
    assert not page.mistakes


def test_a_guess_that_is_changed_is_not_called_kept(read):
    page = read("98-every-view")
    asks = room(page, "Prediction")
    asks.get_by_label("How many?").fill("12")
    asks.get_by_role("radio", name="b", exact=True).check()
    asks.get_by_role("checkbox", name="x", exact=True).check()
    asks.get_by_role("button", name="Keep my guess").click()
    assert "Kept in this browser" in asks.inner_text()
    asks.get_by_label("How many?").press_sequentially("3")
    assert "Kept in this browser" not in asks.inner_text()
    assert "not kept yet" in asks.inner_text()
    asks.get_by_role("button", name="Keep my guess").click()
    assert "Kept in this browser" in asks.inner_text()
