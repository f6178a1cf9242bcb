"""What needs no widget: timeline and exercises by mouse and by keyboard alone, drawings in light and dark."""

import pytest

from vmenter.course.exercises import exercise
from vmenter.patching import alternatives
from vmenter.patching.alternative_table import Engine, Rules
from vmenter.story.history import ERAS
from vmenter.views.drawings import flowchart
from vmenter.views.drawings.bars import bars
from vmenter.views.drawings.decision import decision_diagram
from vmenter.views.drawings.timeline import timeline
from vmenter.views.drawings.ways import era_flow
from vmenter.views.patch.bench import sample

from .looks import CONTRAST

FOLDED = {"timeline": lambda: timeline().html, "exercise": lambda: exercise("02-1")._repr_html_()}
GROUND = {"light": "#ffffff", "dark": "#111111"}  # JupyterLab's own, behind an output


def decision():
    site = sample("three_way")
    on, rules = frozenset(site.features), Rules(Engine.ONCE, 14, wide_nops=True)
    return decision_diagram(alternatives.patch(site.image, site.site, on, rules), features=on)


DRAWINGS = {
    "decision": decision,
    "bars": lambda: bars([("CLEAR_CPU_BUF", (3, 4))], "Sites", ("6.12", "7.3")),
    **{f"road of {id_}": lambda era=era: flowchart.draw(era_flow(era)) for id_, era in ERAS.items()},
}


@pytest.fixture
def page(offline):
    page = offline.new_page()
    page.set_viewport_size({"width": 1000, "height": 800})
    yield page
    page.close()


@pytest.mark.parametrize("what", FOLDED)
def test_each_fold_opens_and_closes_by_mouse_and_by_keyboard(page, what):
    page.set_content(FOLDED[what]())
    folds = page.locator("details").all()
    assert len(folds) >= 4
    page.locator("body").focus()
    for fold in folds:
        inside = fold.locator(":scope > :not(summary)").first
        assert not inside.is_visible()
        fold.locator("summary").click()
        assert inside.is_visible()
        fold.locator("summary").click()
        assert not inside.is_visible()
    page.evaluate("document.activeElement.blur()")
    page.locator("body").click(position={"x": 1, "y": 1})
    for fold in folds:
        page.keyboard.press("Tab")
        assert fold.locator("summary").evaluate("one => one === document.activeElement")
        assert fold.locator("summary").evaluate("one => getComputedStyle(one).outlineStyle") != "none"
        for key in ("Enter", "Space"):
            page.keyboard.press(key)
            assert fold.locator(":scope > :not(summary)").first.is_visible() == (key == "Enter")


@pytest.mark.parametrize("theme", GROUND)
@pytest.mark.parametrize("what", DRAWINGS)
def test_a_drawing_can_be_read_and_says_what_it_shows(page, what, theme):
    drawing = DRAWINGS[what]()
    svg = drawing.file(dark=theme == "dark")
    page.set_content(f'<body style="background: {GROUND[theme]}">{svg}')
    ratio, text = page.locator("svg").evaluate(CONTRAST)
    assert text, "no text was looked at"
    assert ratio >= 4.5, f"{text!r} has a contrast of {ratio:.2f}"
    assert page.locator("svg").evaluate("svg => svg.querySelector('desc').textContent") == drawing.text
