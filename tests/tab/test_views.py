"""Every view in the tab answers the mouse and the keyboard, and axe-core finds nothing."""

import pytest
from bench_views import TWIN
from browser.axe import findings, unseen_focus

from .visit import Visit

# Name: the cell, what is operated, and the keys that operate it.
VIEWS = {
    "FirstMinute": ("from vmenter.views.first.widget import FirstMinute\nFirstMinute()", ".vm-first-go", "Enter"),
    "LeakGame": (
        "from vmenter.views.leak.widget import LeakGame\nLeakGame()",
        "button.vm-button:enabled",
        "Enter",
    ),
    "PatchBench": (
        "from vmenter.views.patch.widget import PatchBench\nPatchBench()",
        ".vm-head input[type=checkbox]",
        "Space",
    ),
    "EntryExplorer": (
        "from vmenter.views.entry.widget import EntryExplorer\nEntryExplorer()",
        ".vm-controls input[type=checkbox]",
        "Space",
    ),
    "HostView": ("from vmenter.views.host.widget import HostView\nHostView()", ".vm-which select", "ArrowDown"),
    "ExposureMap": (
        "from vmenter.views.exposure.widget import ExposureMap\nExposureMap()",
        "[role=gridcell]",
        "ArrowRight Enter",
    ),
    "KernelBrowser": (
        "from vmenter.views.kernel.widget import KernelBrowser\nKernelBrowser()",
        ".vm-chip input",
        "Space",
    ),
}
CLICKED = {"ExposureMap": 20}  # of those that can be operated, where it is not the first


@pytest.fixture(scope="module")
def views(chromium, address):
    """One notebook with all views; the place of each by its name."""
    here = Visit(chromium, address)
    here.open()
    here.notebook([cell for cell, _, _ in VIEWS.values()])
    yield {name: here.output(number) for number, name in enumerate(VIEWS)}
    assert here.mistakes == []
    assert here.others() == set()
    here.context.close()


def changed(view, act):
    """Do something; whether the view's words are others afterwards."""
    twin = view.locator(TWIN)
    before = twin.text_content()
    act()
    view.page.wait_for_function(
        "([one, before]) => one.textContent !== before", arg=[twin.element_handle(), before], timeout=20_000
    )
    return twin.text_content() != before


@pytest.mark.parametrize("name", VIEWS)
def test_it_answers_the_mouse_and_the_keyboard(views, name):
    _, operated, keys = VIEWS[name]
    view = views[name]
    view.locator(TWIN).wait_for(state="attached", timeout=60_000)
    control = view.locator(operated).first
    if control.evaluate("one => one.tagName") == "SELECT":
        assert changed(view, lambda: control.select_option(index=1))
    else:
        assert changed(view, view.locator(operated).nth(CLICKED.get(name, 0)).click)
    view.locator(operated).first.focus()
    assert changed(view, lambda: [view.page.keyboard.press(key) for key in keys.split()])
    stops, unseen = unseen_focus(view.locator(".vm").first)
    assert stops > 0
    assert unseen == []


@pytest.mark.parametrize("name", VIEWS)
def test_axe_finds_nothing(views, name):
    assert findings(views[name].locator(".vm").first) == []
