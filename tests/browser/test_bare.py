"""The bare page of the other tests: what it shows comes from Python, and a mistake on either side is told."""

COUNTER = '''
import anywidget, traitlets
class Counter(anywidget.AnyWidget):
    _esm = """
      function render({ model, el }) {
        const button = document.createElement("button");
        const draw = () => { button.textContent = `${model.get("asked")} asked, ${model.get("told")} told`; };
        button.onclick = () => { model.set("asked", model.get("asked") + 1); model.save_changes(); };
        model.on("change:asked", draw);
        model.on("change:told", draw);
        draw();
        el.append(button);
      }
      export default { render };
    """
    _css = "button { color: rgb(1, 2, 3); }"
    asked = traitlets.Int(0).tag(sync=True)
    told = traitlets.Int(0).tag(sync=True)
    @traitlets.observe("asked")
    def _answer(self, change):
        self.told = 100 // (3 - change["new"])
one = Counter()
one'''


def button(page, text):
    page.get_by_role("button", name=text, exact=True).wait_for(timeout=5_000)


def test_a_change_in_the_page_reaches_python_and_the_answer_the_page(open_page):
    page = open_page([COUNTER])
    button(page, "0 asked, 0 told")
    page.get_by_role("button").click()
    button(page, "1 asked, 50 told")
    page.get_by_role("button").click()
    button(page, "2 asked, 100 told")
    assert page.get_by_role("button").evaluate("one => getComputedStyle(one).color") == "rgb(1, 2, 3)"
    assert page.mistakes == []


def test_what_a_later_cell_changes_is_shown_and_what_it_prints(open_page):
    page = open_page([COUNTER, "one.told = 7\nprint(one.told, 'it is')"])
    button(page, "0 asked, 7 told")
    assert page.locator("pre").inner_text() == "7 it is\n"


def test_a_mistake_in_python_is_one_of_the_pages(open_page):
    page = open_page([COUNTER])
    for _ in range(3):
        page.get_by_role("button").click()
    page.wait_for_function("document.querySelector('button').textContent.startsWith('3 asked')")
    page.wait_for_timeout(200)
    assert "division" in " ".join(page.mistakes)


def test_two_widgets_do_not_hear_one_another(open_page):
    page = open_page([COUNTER, "Counter()"])
    page.get_by_role("button").first.click()
    button(page, "1 asked, 50 told")
    button(page, "0 asked, 0 told")
