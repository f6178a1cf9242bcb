"""Every view of the course in every state: no serious finding of axe-core, focus visible, contrast, light and dark.

A new view is one more `View`: its cell, what it says at first, and what a reader may do with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from bench_views import TWIN
from playwright.sync_api import Locator

from . import axe
from .conftest import THEMES
from .looks import CONTRAST

TYPED = 'PatchBench.typed(original="", replacements=[("verw foo(%rip)", "CLEAR_CPU_BUF")])'


@dataclass(frozen=True)
class View:
    """A view and the states it is looked at in, one after another: (name, what the reader does, what it then says)."""

    code: str
    says: str
    states: tuple[tuple[str, Callable[[Locator], object], str], ...] = ()
    stops: int = 1  # of the Tab key, at least, in its last state


def press(role, name):
    return lambda root: root.get_by_role(role, name=name).click()


def fill(label, text, keys):
    def do(root):
        root.get_by_label(label, exact=True).fill(text)
        root.get_by_label(label, exact=True).press(keys)

    return do


def choose(label, value):
    return lambda root: root.get_by_label(label, exact=True).select_option(value)


def play(root, rounds):
    """Go on in a game, with nothing marked."""
    for number in range(rounds):
        press("button", "Next round")(root)
        if number + 1 < rounds:
            step = root.get_by_role("button", name="Next step")
            while step.is_enabled():
                step.click()
            press("button", "That is my answer")(root)


def guess(root):
    root.get_by_label("How many").fill("3")
    root.get_by_role("radio", name="yes").check()
    press("button", "Keep my guess")(root)


def unfold(root):
    for summary in root.locator("summary:visible").all():
        if summary.evaluate("one => !one.parentElement.open"):
            summary.click()


NAMES = """\
from vmenter.course.exercises import check, exercise
from vmenter.course.prediction import predict, truth
from vmenter.views.entry.widget import EntryExplorer
"""
VIEWS = {
    "a recorded VM-Enter": View(
        "EntryExplorer(recorded='7.3.4, FB_CLEAR_DIS, then VERW', show=('events', 'verdict'))",
        "Recorded: 7.3.4, FB_CLEAR_DIS, then VERW",
        (("without it the eras are as before", choose("Code of", "v4"), "Version 4, patch 4/8"),),
    ),
    "PatchBench": View(
        "from vmenter.views.patch.widget import PatchBench\nPatchBench(features=('CLEAR_CPU_BUF_VM',))",
        "step 1 of 5: choose",
        (
            ("stepped", press("button", "2 copy"), "step 2 of 5: copy"),
            ("at the end", press("button", "5 merge"), "step 5 of 5: merge"),
            ("layered", press("radio", "layered"), "engine: layered"),
            ("open", unfold, ""),
            ("mistaken", fill("Original code at the site", "verw foo(%rix)", "Control+Enter"), "there is no register %rix"),
        ),
        stops=20,
    ),
    "EntryExplorer": View(
        "EntryExplorer()",
        "BROKEN: a clear owed here",
        (
            ("kept", press("checkbox", "L1D flush pending"), "the L1D was flushed"),
            ("two eras", choose("Compare with", "e6ff1d61de51"), "e6ff1d61de51: As merged"),
            ("options", fill("Kernel command line", "l1tf=off mds=wrong", "Enter"), "no effect"),
            ("open", unfold, ""),
        ),
        stops=20,
    ),
    "EntryExplorer, two eras": View("EntryExplorer(compare='e6ff1d61de51')", "e6ff1d61de51: As merged"),
    "EntryExplorer, selection": View(
        "EntryExplorer(preset='skylake-server', show=('selection',))", "features", (("open", unfold, ""),)
    ),
    "FirstMinute": View(
        "from vmenter.views.first.widget import FirstMinute\nFirstMinute()",
        "Let the guest in",
        (
            ("pressed", press("button", "Let the guest in"), "1. No cure"),
            ("with VERW", press("button", "Again, with VERW"), "2. The cure of today"),
            ("all", press("button", "Again, with the code of 2019"), "3. 2019, the cure"),
            ("AMD", press("radio", "AMD"), "Let the guest in"),
            ("AMD, pressed", press("button", "Let the guest in"), "Zen 3"),
            ("open", unfold, ""),
        ),
        stops=3,
    ),
    "LeakGame": View(
        "from vmenter.views.leak.widget import LeakGame\nLeakGame()",
        "Round 1 of 8",
        (
            ("let in", lambda root: [press("button", "Next step")(root) for _ in range(3)], "Mark what you can get"),
            ("marked", press("checkbox", "K, a key"), "Mark"),
            ("answered", press("button", "That is my answer"), "2 of 3 points"),
            ("covered", lambda root: play(root, 3), "Covered until you have answered"),
            ("open", unfold, ""),
        ),
        stops=3,
    ),
    "HostView": View(
        "from vmenter.views.host.widget import HostView\nHostView()",
        "Recorded sample four-flaws",
        (
            ("AMD", choose("Report of", "epyc-tsa"), "VMRUN"),
            ("Intel", choose("Report of", "cascade-lake"), "BROKEN for 8 of 24"),
            ("handed on", press("button", "Open this host in the EntryExplorer"), "The way through the code"),
            ("open", unfold, ""),
            ("mistaken", fill("What it printed", "nothing", "Control+Enter"), "no line here is one of"),
        ),
        stops=20,
    ),
    "ExposureMap": View(
        "from vmenter.views.exposure.widget import ExposureMap\nExposureMap()",
        "1,358,954,496 configurations",
        (
            ("zoomed", press("button", "VERW asked: for guests that reach MMIO; zoom in"), "Narrowed to  VERW asked"),
            ("other columns", choose("Columns", "mds="), "Columns      mds="),
            ("open", unfold, ""),
        ),
        stops=10,
    ),
    "ExposureMap, narrowed": View(
        "from vmenter.views.exposure.widget import ExposureMap\nExposureMap('mds', narrowed=[('l1tf', 'yes')])",
        "Narrowed to  l1tf: yes",
    ),
    "KernelBrowser": View(
        "from vmenter.views.kernel.widget import KernelBrowser\nKernelBrowser()",
        "8 of 8 sites fit",
        (
            ("searched", fill("In the code", "verw", "Enter"), " of 8 sites fit"),
            ("on the bench", lambda root: root.locator("tbody tr").first.click(), "On the bench: "),
            ("open", unfold, ""),
        ),
        stops=10,
    ),
    "Prediction": View(
        "predict('05-a')",
        "Keep my guess",
        (("kept", guess, "Kept"),),
        stops=3,
    ),
    "Prediction, truth": View(
        "predict('06-b')\ntruth('06-b', 'those entered before', show='a table')",
        "The truth comes when",
        (("shown", press("button", "Show me without a guess"), "It is"),),
        stops=1,
    ),
    "LiveText": View("from vmenter.views.live import LiveText\nLiveText('What works', 'all of it')", "all of it", stops=0),
    "timeline": View(
        "from vmenter.views.drawings.timeline import timeline\ntimeline(here='650b68a0622f')",
        "MDS",
        (("open", unfold, ""),),
        stops=7,
    ),
    "exercise": View(
        "exercise('02-1')", "Hint 1", (("open", unfold, ""),), stops=4
    ),
    "feedback": View("check('02-1', '00 00 00 00')", "Not yet", stops=0),
    "progress": View("from vmenter.course.summary import summary\nsummary()", "exercises passed", stops=0),
    "diagram": View(
        "from vmenter.views.drawings.bars import bars\nbars([('CLEAR_CPU_BUF', (3, 4))], 'Sites', ('6.12', '7.3'))", "", stops=0
    ),
}  # fmt: skip


# Those that say all of their state as text, in the page and in the kernel.
AS_TEXT = (
    *("a recorded VM-Enter", "PatchBench", "EntryExplorer", "EntryExplorer, two eras", "EntryExplorer, selection"),
    *("FirstMinute", "LeakGame", "HostView", "ExposureMap", "ExposureMap, narrowed", "KernelBrowser"),
)


def wait(root, words):
    root.filter(has_text=words).wait_for(timeout=10_000)


def too_faint(root, where):
    """Return, in a list, the text of a view that has least contrast, if that is too little."""
    ratio, text = root.evaluate(CONTRAST)
    return [f"{where}: {text!r} has a contrast of {ratio:.2f}"] if ratio < 4.5 else []


@pytest.mark.parametrize("name", VIEWS)
def test_no_state_of_a_view_has_a_serious_finding(open_page, name):
    view = VIEWS[name]
    page = open_page([NAMES, view.code])
    root, found = page.locator("main > *").last, []
    states = [("fresh", None, view.says), *view.states]
    for state, act, words in states:
        if act:
            act(root)
        wait(root, words)
        for theme in THEMES:
            page.evaluate("name => bare.theme(name)", theme)
            found += [f"{state}, {theme}: {line}" for line in axe.findings(root)]
            found += too_faint(root, f"{state}, {theme}")
            if state in ("fresh", states[-1][0]):
                page.emulate_media(forced_colors="active")
                found += too_faint(root, f"{state}, {theme}, the system's colours")
                page.emulate_media(forced_colors="none")
    assert not found, "\n".join(found)
    for theme in THEMES:
        page.evaluate("name => bare.theme(name)", theme)
        stops, unseen = axe.unseen_focus(root)
        assert not unseen
        assert stops >= view.stops
    assert page.mistakes == []


@pytest.fixture(scope="module")
def page(open_shared_notebook):
    """A notebook with all views, in JupyterLab, and below each what its kernel says of it as text."""
    text = "print(getattr(_, 'text', ''), end='')"
    cells = [cell for view in VIEWS.values() for cell in (NAMES + view.code, text)]
    return open_shared_notebook(cells, height=2400, timeout=120_000)


def output(page, name, *, below=0):
    """Where a view is in that notebook, or what is printed below it."""
    cell = page.locator(".jp-CodeCell").nth(2 * list(VIEWS).index(name) + below)
    return cell.locator(".jp-OutputArea-output")


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_in_jupyterlab_has_no_serious_finding_and_the_kernels_text(page, name):
    root = output(page, name)
    root.scroll_into_view_if_needed()
    wait(root, VIEWS[name].says)
    assert not axe.findings(root)
    assert not too_faint(root, "light")
    assert root.locator(TWIN).count() == (name in AS_TEXT)
    if name in AS_TEXT:
        assert root.locator(TWIN).text_content() == output(page, name, below=1).locator("pre").text_content()


def test_the_views_can_be_read_in_jupyterlabs_dark_theme(page):
    page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", THEMES["dark"])
    page.wait_for_function("document.body.dataset.jpThemeLight === 'false'")
    found = []
    for name in VIEWS:
        output(page, name).scroll_into_view_if_needed()
        found += too_faint(output(page, name), name)
    assert not found, "\n".join(found)
    assert page.mistakes == []
