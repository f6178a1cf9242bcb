"""Slides and handouts as a browser shows and prints them: nothing overflows, one page a handout, keys that move on."""

import re

import pytest

from vmenter.course.slides import files
from vmenter.course.slides.files import build

STEMS = [path.stem for path in sorted(files.NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))]

OVERFLOW = """() => [...document.querySelectorAll(".slide")].filter(slide => {
  const body = slide.querySelector(".body"), heading = slide.querySelector("h1, h2");
  return body.scrollHeight > body.clientHeight + 1 || body.scrollWidth > body.clientWidth + 1
    || heading.scrollWidth > heading.clientWidth + 1;
}).map(slide => slide.id)"""
SMALL = """() => [...document.querySelectorAll(".sheet img")].filter(image => {
  const wide = image.getBoundingClientRect(), whole = image.naturalWidth;
  const fits = Math.min(wide.width / whole, wide.height / image.naturalHeight);
  return fits < 0.62;
}).map(image => `${image.closest(".slide").id}: ${image.alt.slice(0, 40)}`)"""
OUTSIDE = """() => {
  const sheet = document.querySelector(".a4"), edge = sheet.getBoundingClientRect();
  const foot = document.querySelector(".a4 footer").getBoundingClientRect();
  const parts = [...sheet.querySelectorAll("section, figure, figure table, header, .intro")];
  const over = parts.filter(part => part.getBoundingClientRect().bottom > foot.top + 1
    || part.getBoundingClientRect().right > edge.right || part.scrollWidth > part.clientWidth + 1);
  const squeezed = document.querySelector("figure").getBoundingClientRect().height < 190;
  const [text, sources] = [".text", ".sources"].map(one => sheet.querySelector(one).getBoundingClientRect());
  const covered = text.bottom > sources.top || [...sheet.querySelectorAll(".text > section")].some(
    part => part.getBoundingClientRect().bottom > sources.top);
  return [...over.map(part => part.className || part.tagName), ...(covered ? ["text on the sources"] : []),
    ...(squeezed ? ["no room for the picture"] : [])];
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("slides"))[0].parent


@pytest.fixture
def page(offline):
    page = offline.new_page()
    page.set_viewport_size({"width": 1280, "height": 720})
    yield page
    page.close()


def printed(page):
    """Return how many pages the browser prints, and the size of the first in points."""
    data = page.pdf(prefer_css_page_size=True, print_background=True)
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    return len(re.findall(rb"/Type /Page\b", data)), tuple(round(float(side)) for side in box.groups())


@pytest.mark.parametrize("stem", STEMS)
def test_every_slide_holds_what_stands_on_it(page, folder, stem):
    page.goto((folder / f"{stem}.html").as_uri())
    assert page.evaluate(OVERFLOW) == []
    page.set_viewport_size({"width": 1600, "height": 1000})
    assert page.evaluate(OVERFLOW) == [], "a slide is the same on every screen"
    assert (
        page.evaluate("parseFloat(getComputedStyle(document.querySelector('.body')).fontSize) / innerHeight")
        > 0.03
    )


@pytest.mark.parametrize("stem", STEMS)
def test_what_is_written_in_a_drawing_can_be_read(page, folder, stem):
    page.goto((folder / f"{stem}.html").as_uri())
    assert page.evaluate(SMALL) == []


def test_notes_are_hidden_until_asked_for_and_move_with_the_slides(page, folder):
    page.goto((folder / f"{STEMS[5]}.html").as_uri())
    assert page.locator(".notes:visible").count() == 0
    page.keyboard.press("ArrowRight")
    page.keyboard.press("n")
    shown = page.locator(".notes").nth(1)
    shown.wait_for(state="visible")
    box, slide = shown.bounding_box(), page.locator(".slide").nth(1).bounding_box()
    assert box["y"] + box["height"] <= slide["y"] + slide["height"] + 1
    sheet = page.locator(".sheet").nth(1).bounding_box()
    assert sheet["y"] + sheet["height"] <= box["y"] + 1, "the notes stand under the slide"
    page.keyboard.press("n")
    assert page.locator(".notes:visible").count() == 0


def test_the_speakers_window_follows_and_moves_the_slides(page, folder):
    page.goto((folder / f"{STEMS[5]}.html").as_uri())
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    speaker = opened.value
    assert speaker.locator("h1").inner_text().startswith("1 / ")
    page.keyboard.press("ArrowRight")
    speaker.wait_for_function("document.querySelector('h1').textContent.startsWith('2 / ')")
    assert "Say" in speaker.locator("#notes").inner_text()
    assert re.fullmatch(r"00:0\d", speaker.locator("#clock").inner_text())
    speaker.keyboard.press("ArrowRight")
    page.wait_for_function("here() === 2")
    assert speaker.locator("#next").inner_text().startswith("Next: ")


@pytest.mark.parametrize("stem", STEMS)
def test_a_handout_is_one_page_of_a4_with_all_of_it_on_the_sheet(page, folder, stem):
    page.goto((folder / f"{stem}-handout.html").as_uri())
    assert page.evaluate(OUTSIDE) == []
    assert printed(page) == (1, (595, 842))


def test_slides_print_one_on_a_page(page, folder):
    page.goto((folder / f"{STEMS[0]}.html").as_uri())
    count, size = printed(page)
    assert count == page.locator(".slide").count()
    assert size == (960, 540)


def test_keys_move_from_slide_to_slide(page, folder):
    page.goto((folder / f"{STEMS[2]}.html").as_uri())
    last = page.locator(".slide").count()
    here = "here() + 1"
    for key, number in (
        ("ArrowRight", 2),
        (" ", 3),
        ("PageDown", 4),
        ("ArrowLeft", 3),
        ("Shift+ ", 2),
        ("End", last),
        ("ArrowDown", last),
        ("Home", 1),
    ):
        page.keyboard.press(key)
        page.wait_for_function(f"{here} === {number}", timeout=3000)
        assert page.evaluate("location.hash") == f"#s{number}"
