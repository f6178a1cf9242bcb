"""Views in one notebook: each looks as it does alone, whatever stands above or below it.

A page keeps one style for each kind of view, in the order in which they were first shown, and each of them begins with
all of common.css: what a view says otherwise must hold wherever its style stands. Each is looked at in its last state.
"""

from .test_accessibility import NAMES, VIEWS, wait

# Of every element of the view in a place: how it is drawn. `alone`: with no style but the view's own.
LOOKS = """([place, alone]) => {
  const sides = ["top", "right", "bottom", "left"];
  const names = [
    "font-family", "font-size", "font-style", "font-weight", "line-height", "letter-spacing", "color", "background-color",
    "opacity", "display", "position", "visibility", "flex-wrap", "row-gap", "column-gap", "align-items", "text-align",
    "justify-content", "text-decoration-line", "white-space-collapse", "text-wrap-mode", "overflow-wrap", "list-style-type",
    "outline-style", "cursor", "fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray",
    "border-top-left-radius", "border-bottom-right-radius", "min-height", "max-width", "object-fit",
    ...sides.flatMap((side) => [`margin-${side}`, `padding-${side}`, ...["width", "style", "color"].map((of) => `border-${side}-${of}`)]),
  ];
  const root = document.querySelector("main").children[place];
  const own = [root, ...root.querySelectorAll("[data-style]")].map((one) => one.dataset.style);
  const others = [...document.querySelectorAll("style")].filter((one) =>
    one.id.startsWith("vmenter") ? !own.includes(one.id) : one.closest("section") && !root.contains(one));
  for (const one of others) one.disabled = alone;
  const looks = [...root.querySelectorAll("*")].map((one) => {
    const style = getComputedStyle(one);
    return [`<${one.localName} class="${one.getAttribute("class")}">`, ...names.map((name) => `${name}: ${style[name]}`)];
  });
  for (const one of others) one.disabled = false;
  return looks;
}"""
REVERSED = "[...document.head.querySelectorAll('style[id^=vmenter]')].reverse().forEach((one) => document.head.append(one))"


def different(alone, together):
    """Return what is drawn otherwise: the element, how alone, how with others."""
    assert len(alone) == len(together) > 0
    return {
        f"{one[0]} {mine}; with others {theirs}"
        for one, other in zip(alone, together, strict=True)
        for mine, theirs in zip(one, other, strict=True)
        if mine != theirs
    }


def test_no_view_changes_the_looks_of_another(open_page):
    page = open_page([NAMES + view.code for view in VIEWS.values()])
    for place, view in enumerate(VIEWS.values()):
        root = page.locator("main > *").nth(place)
        wait(root, view.says)
        for _, act, words in view.states:
            act(root)
            wait(root, words)
    places = range(len(VIEWS))
    alone = [page.evaluate(LOOKS, [place, True]) for place in places]
    for order in ("as in the notebook", "the other way round"):
        for place, name in enumerate(VIEWS):
            found = different(alone[place], page.evaluate(LOOKS, [place, False]))
            assert not found, "\n".join((f"{name}, {order}:", *sorted(found)))
        page.evaluate(REVERSED)
    assert page.mistakes == []
