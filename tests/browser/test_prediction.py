"""Predictions as a reader meets them: by mouse, by keyboard alone, in light and dark, kept for later."""

import pytest

from vmenter.course import progress

FILE = "import os; os.environ['VMENTER_PROGRESS'] = {!r}; os.environ.pop('VMENTER_REVEAL', None)"
ASK = """\
from vmenter.course.prediction import ask, truth
from vmenter.course.prediction.questions import question
ask("99-a",
    question("99-a", {"question": "How many of the six break it?", "number": "of six", "near": 1, "right": "Just one.",
                      "misconceptions": [{"at": 3, "answer": "You counted both flags."}]}),
    question("99-a", {"question": "Is `cond`, the default, among them?", "because": "It is the default.",
                      "choices": {"yes": "Indeed.", "no": "Look again."}}),
    question("99-a", {"question": "Which modes clear?", "several": True, "right": "Both.",
                      "choices": {"never": "VERW does.", "always": "The flush does.", "cond": "Not always."}}))"""
TELL = 'truth("99-a", 1, True, ["never", "always"], show="mode   flag\\nnever  clear")'
TOLD = ".vm-prediction tbody tr"
COUNT = "How many of the six"


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """A notebook with a question and its truth, for a reader with a file of their own."""
    monkeypatch.setenv("VMENTER_PROGRESS", str(tmp_path / "progress.json"))
    return [FILE.format(str(tmp_path / "progress.json")), ASK, TELL]


def folded(page):
    """Wait until the box of the truth is there; return whether it tells nothing."""
    box = page.locator(".vm-prediction").nth(1)
    box.wait_for()
    return page.locator(".vm-prediction table").is_hidden() and "Just one" not in box.inner_text()


def wait_until_told(page, *words):
    for row, some in enumerate(words):
        page.locator(f"{TOLD}:nth-child({row + 1}) td:nth-child(3)").filter(has_text=some).wait_for(timeout=10_000)


def keep_it(page):
    page.get_by_role("button", name="Keep my guess").click()


def run_all_anew(page):
    """Restart the kernel and run every cell, as a reader does who comes back."""
    page.evaluate("""async () => {
      const kernel = jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
      await kernel.restart();
      await kernel.requestKernelInfo();
    }""")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")


def test_by_mouse_a_guess_unfolds_the_truth_and_is_answered(open_page, cells):
    page = open_page(cells)
    assert folded(page)
    page.get_by_label(COUNT).click()
    page.keyboard.type("3")
    page.get_by_role("radio", name="yes").check()
    page.get_by_role("checkbox", name="never").check()
    keep_it(page)
    wait_until_told(page, "Not so. You counted both flags.", "Right. Indeed.", "Near. The flush does.")
    page.get_by_role("status").get_by_text("Kept.", exact=True).wait_for()
    facts = page.locator(f"{TOLD} .vm-fact").all_inner_texts()
    assert facts == ["1 of six", "yes", "never; always"]
    assert page.locator(f"{TOLD} td:nth-child(2)").all_inner_texts() == ["3", "yes", "never"]
    assert page.locator(".vm-extra pre").inner_text().startswith("mode   flag")
    assert page.get_by_role("button", name="Show me without").is_hidden()
    assert progress.load().predictions == {"99-a/1": "3", "99-a/2": "yes", "99-a/3": "never"}
    assert not page.mistakes


def test_by_keyboard_alone(open_notebook, cells):
    page = open_notebook(cells)
    assert folded(page)
    page.get_by_label(COUNT).focus()
    page.keyboard.type("1")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # the first choice, and JupyterLab does not scroll
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    wait_until_told(page, "Right. Just one.", "Not so. Look again.", "Near.")
    page.get_by_role("status").get_by_text("Kept.", exact=True).wait_for()
    assert page.locator(".jp-CodeCell").count() == len(cells)
    assert not page.mistakes


def test_by_keyboard_the_truth_is_asked_for(open_page, cells):
    page = open_page(cells)
    assert folded(page)
    page.get_by_role("button", name="Show me without a guess").focus()
    page.keyboard.press("Enter")
    wait_until_told(page, "Just one.", "It is the default.", "Both.")
    assert page.locator(f"{TOLD} td:nth-child(2)").all_inner_texts() == ["(no guess)"] * 3
    assert page.evaluate("document.activeElement.matches('.vm-prediction')")
    assert progress.load().predictions == {"99-a/shown": "shown"}
    assert not page.mistakes


def test_an_empty_guess_is_asked_for_again(open_page, cells):
    page = open_page(cells)
    assert folded(page)
    keep_it(page)
    page.get_by_role("status").get_by_text("A guess is missing").wait_for()
    assert page.evaluate("document.activeElement.matches('.vm-guess input')")
    assert folded(page)
    assert progress.load().predictions == {}


def test_who_goes_on_without_the_button_loses_no_number(open_notebook, cells):
    page = open_notebook(cells)
    assert folded(page)
    page.get_by_label(COUNT).fill("2")
    page.locator(".jp-CodeCell .cm-content").last.click()
    wait_until_told(page, "Near.", "…", "…")
    assert progress.load().predictions["99-a/1"] == "2"
    assert page.locator(".vm-extra pre").count() == 0


def test_a_guess_survives_a_reload_and_a_restarted_kernel(open_notebook, cells):
    page = open_notebook(cells)
    assert folded(page)
    page.get_by_label(COUNT).fill("3")
    page.get_by_role("radio", name="no", exact=True).check()
    page.get_by_role("checkbox", name="always").check()
    keep_it(page)
    wait_until_told(page, "You counted", "Look again", "Near")
    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")
    page.reload()
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    page.wait_for_function("jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    run_all_anew(page)
    wait_until_told(page, "You counted", "Look again", "Near")
    assert page.get_by_label(COUNT).input_value() == "3"
    assert page.get_by_role("radio", name="no", exact=True).is_checked()
    assert page.get_by_role("checkbox", name="always").is_checked()
    assert [one for one in page.mistakes if "Canceled future" not in one] == []  # JupyterLab's own, at a restart


def test_looks(open_page, look, cells):
    page = open_page(cells)
    assert folded(page)
    asked, told = page.locator(".vm-prediction").all()
    for width in (1400, 600):
        look(told, "prediction-folded", width)
    page.get_by_label(COUNT).fill("3")
    page.get_by_role("radio", name="yes").check()
    page.get_by_role("checkbox", name="cond").check()
    page.get_by_label(COUNT).press("Enter")
    page.get_by_role("status").get_by_text("Kept.", exact=True).wait_for()
    wait_until_told(page, "You counted", "Indeed", "Not so")
    for width in (1400, 900, 600):
        look(asked, "prediction-asked", width)
        look(told, "prediction-told", width)
