"""FirstMinute and LeakGame as a reader meets them: by mouse, by keyboard alone, in light and dark, without a kernel."""

import pytest

from vmenter.views.first.frame import frame as first_frame
from vmenter.views.first.frame import twin as first_twin
from vmenter.views.leak.frame import START
from vmenter.views.leak.frame import frame as game_frame
from vmenter.views.leak.frame import twin as game_twin

from . import twins

FIRST = "from vmenter.views.first.widget import FirstMinute\nview = FirstMinute()\nview"
GAME = "from vmenter.views.leak.widget import LeakGame\ngame = LeakGame()\ngame"
FIRST_TWIN, GAME_TWIN = ".vm-first .vm-more pre", ".vm-leak .vm-more pre"


def test_one_button_three_times(open_page):
    page = open_page([FIRST])
    view = page.locator(".vm-first")
    view.wait_for()
    assert view.locator("svg").count() == 0, "it opens on its question"
    go = view.locator(".vm-first-go")
    for pressed in range(3):
        go.click()
        twins.wait(FIRST_TWIN, page, f"{pressed + 1}. ")
        assert view.locator("li svg").count() == pressed + 1
    assert view.locator("svg").nth(0).locator(".f-secret").count() == 12
    assert view.locator("svg").nth(1).locator(".f-secret").count() == 6
    assert view.locator("svg").nth(2).locator(".f-secret").count() == 12
    assert "Why did the code of 2019" in view.inner_text()
    shown = first_frame()
    assert twins.read(FIRST_TWIN, page) == first_twin(shown, {"machine": "intel", "pressed": 3})
    view.get_by_role("radio", name="AMD").check()
    twins.wait(FIRST_TWIN, page, "(AMD)")
    go.click()
    twins.wait(FIRST_TWIN, page, "VMRUN")
    assert twins.read(FIRST_TWIN, page) == first_twin(shown, {"machine": "amd", "pressed": 1})
    assert not page.mistakes


def test_a_round_by_keyboard_alone(open_notebook):
    page = open_notebook([GAME, "print(game.text, end='')"])
    page.locator(".vm-leak").wait_for()
    page.get_by_role("button", name="Next step").focus()
    for _ in range(3):
        page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.type === 'checkbox'")  # the first value: the guest is in
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # That is my answer
    page.locator(".vm-leak-points", has_text="3 of 3 points, 21 to come").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Next round"
    state = {**START, "step": 3, "marked": ["K", "M"], "checked": True, "points": 3, "asked": 3}
    assert twins.read(GAME_TWIN, page) == game_twin(game_frame(), state)
    page.keyboard.press("Enter")
    page.locator(".vm-leak h3", has_text="Round 2 of 8").wait_for()
    assert page.evaluate("document.activeElement.textContent") == "Next step"
    assert twins.read(GAME_TWIN, page) == game_twin(game_frame(), {**START, "round": 1, "points": 3, "asked": 3})
    assert not page.mistakes


def test_the_whole_game_all_right_and_all_wrong(open_page):
    for right in (True, False):
        page = open_page([GAME])
        for one in game_frame()["rounds"]:
            covered = page.get_by_text("Covered until you have answered: now")
            assert covered.is_visible() == one["covered"]
            while page.get_by_role("button", name="Next step").is_enabled():
                page.get_by_role("button", name="Next step").click()
            for value in one["values"]:
                if value["readable"] == right:
                    page.get_by_role("checkbox", name=f"{value['name']}, ").check()
            page.get_by_role("button", name="That is my answer").click()
            assert one["lesson"] in page.locator(".vm-leak-lesson:visible").inner_text()
            onward = page.get_by_role("button", name="Next round")
            if onward.is_visible():
                onward.click()
        assert page.locator(".vm-leak-points").inner_text() == f"The end: {24 if right else 0} of 24 points"
        page.get_by_role("button", name="Play again").click()
        assert page.locator(".vm-leak-points").inner_text() == "0 of 0 points, 24 to come"
        assert not page.mistakes


@pytest.mark.parametrize(("name", "cell"), [("first-minute", FIRST), ("leak-game", GAME)], ids=["first", "game"])
def test_looks(open_page, look, name, cell):
    page = open_page([cell])
    for _ in range(3):
        page.locator(".vm-main").first.click()
    page.get_by_text("As text").click()
    root = page.locator(".vm")
    for width in (1100, 650):
        look(root, name, width, height=900)
        twin = root.locator(".vm-more pre")
        assert twin.evaluate("twin => twin.scrollWidth <= twin.clientWidth"), "its text is cut"
        sizes = root.evaluate(
            "root => [...root.querySelectorAll('*')].map(one => parseFloat(getComputedStyle(one).fontSize))"
        )
        assert min(sizes) >= 11
