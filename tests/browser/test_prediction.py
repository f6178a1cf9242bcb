"""Predictions as a reader meets them: in JupyterLab, by mouse, by keyboard alone, in light and dark, kept for later."""

import pytest

from vmenter.course import progress

from .looks import CONTRAST

FILE = "import os; os.environ['VMENTER_PROGRESS'] = {!r}"
ASK = """\
from vmenter.course.prediction.widget import predict, truth
predict("99-a", "How many of the six break it?", "Is `cond`, the default, among them?")"""
TELL = 'truth("99-a", 1, "yes")'
TOLD = ".vm-prediction tbody tr"


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """A notebook with a question and its truth, for a reader with a file of their own."""
    monkeypatch.setenv("VMENTER_PROGRESS", str(tmp_path / "progress.json"))
    return [FILE.format(str(tmp_path / "progress.json")), ASK, TELL]


def told(page):
    """Return what stands beside the truth: the guesses, row by row."""
    return page.locator(f"{TOLD} td:nth-child(2)").all_inner_texts()


def wait_until_told(page, *guesses):
    page.wait_for_function(
        "([rows, guesses]) => [...document.querySelectorAll(rows + ' td:nth-child(2)')].map(td => td.textContent).join() === guesses",
        arg=[TOLD, ",".join(guesses)],
        timeout=10_000,
    )


def run_all_anew(page):
    """Restart the kernel and run every cell, as a reader does who comes back."""
    page.evaluate("""async () => {
      const kernel = jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
      await kernel.restart();
      await kernel.requestKernelInfo();
    }""")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")


def test_by_mouse(open_notebook, cells):
    page = open_notebook(cells)
    wait_until_told(page, "(no guess)", "(no guess)")
    page.get_by_label("How many of the six").click()
    page.keyboard.type("two")
    page.get_by_label("among them").click()
    page.keyboard.type("no")
    page.get_by_role("button", name="Keep my guess").click()
    wait_until_told(page, "two", "no")
    page.get_by_role("status").get_by_text("Kept.", exact=True).wait_for()
    assert page.locator(f"{TOLD} td:nth-child(3)").all_inner_texts() == ["1", "yes"]
    assert page.locator(".vm-guess code").inner_text() == "cond"
    assert progress.load().predictions == {"99-a/1": "two", "99-a/2": "no"}
    assert not page.mistakes


def test_by_keyboard_alone(open_notebook, cells):
    page = open_notebook(cells)
    wait_until_told(page, "(no guess)", "(no guess)")
    page.get_by_label("How many of the six").focus()
    page.keyboard.type("dd 3 a")  # letters that are commands of JupyterLab's stay in the field
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.vm-guess input')")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.type("yes")
    page.keyboard.press("Enter")
    wait_until_told(page, "dd 3 a", "yes")
    page.get_by_role("status").get_by_text("Kept.", exact=True).wait_for()
    assert page.locator(".jp-CodeCell").count() == len(cells)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Keep my guess"
    assert not page.mistakes


def test_an_empty_guess_is_asked_for_again(open_notebook, cells):
    page = open_notebook(cells)
    wait_until_told(page, "(no guess)", "(no guess)")
    page.get_by_role("button", name="Keep my guess").click()
    page.get_by_role("status").get_by_text("Write a guess first").wait_for()
    assert page.evaluate("document.activeElement.matches('.vm-guess input')")
    assert progress.load().predictions == {}


def test_who_goes_on_without_the_button_loses_nothing(open_notebook, cells):
    page = open_notebook(cells)
    wait_until_told(page, "(no guess)", "(no guess)")
    page.get_by_label("How many of the six").fill("two")
    page.locator(".jp-CodeCell .cm-content").last.click()
    wait_until_told(page, "two", "(no guess)")
    assert progress.load().predictions["99-a/1"] == "two"


def test_a_guess_survives_a_reload_and_a_restarted_kernel(open_notebook, cells):
    page = open_notebook(cells)
    wait_until_told(page, "(no guess)", "(no guess)")
    page.get_by_label("How many of the six").fill("two")
    page.get_by_label("among them").fill("no")
    page.keyboard.press("Enter")
    wait_until_told(page, "two", "no")
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")
    page.reload()
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    page.wait_for_function("jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    run_all_anew(page)
    wait_until_told(page, "two", "no")
    assert page.get_by_label("How many of the six").input_value() == "two"
    assert [one for one in page.mistakes if "Canceled future" not in one] == []  # JupyterLab's own, at a restart


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 900, 600])
def test_looks(open_notebook, keep, cells, theme, width):
    page = open_notebook(cells, theme=theme, width=width)
    if width < 1000:
        page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
    wait_until_told(page, "(no guess)", "(no guess)")
    page.get_by_label("How many of the six").fill("two, I think: those without a pending flush, in either mode")
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("Kept.", exact=True).wait_for()
    for name, view in zip(("asked", "told"), page.locator(".vm-prediction").all(), strict=True):
        view.screenshot(path=keep / f"prediction-{name}-{theme}-{width}.png")
        ratio, text = view.evaluate(CONTRAST)
        assert ratio >= 4.5, f"{text!r} has a contrast of {ratio:.2f}"
        assert view.evaluate("root => root.scrollWidth <= root.clientWidth")
    assert not page.mistakes
