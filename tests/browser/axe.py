"""axe-core over what a view has drawn, and whether each focus can be seen.

axe-core comes in axe-playwright-python's wheel, so nothing is fetched and no Node is needed. Rules about whole pages
(landmarks, one main heading) never apply: only the view is handed to it.
"""

from axe_playwright_python.base import AXE_SCRIPT

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

# Where the focus is: whether an outline shows it, and on what it is. Null outside the view.
_STOP = """root => {
  const at = document.activeElement;
  if (!root.contains(at)) return null;
  const shown = [at, at.closest(".vm-chip")].filter(Boolean).some(one => {
    const { outlineStyle, outlineWidth } = getComputedStyle(one);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
  });
  return [shown, at.outerHTML.slice(0, 120)];
}"""
STOPS = 200  # more than any view has


def findings(root):
    """Return one line for each finding in an element, of any weight: its weight, the rule, the place."""
    page = root.page
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE_SCRIPT)
    run = "(root, tags) => axe.run(root, { runOnly: tags, resultTypes: ['violations'], preload: false })"
    result = root.evaluate(run, TAGS)
    assert result["passes"], "axe-core found nothing to check"
    return [
        f"{one['impact']} {one['id']}: {one['help']}: {node['html'][:160]}"
        for one in result["violations"]
        for node in one["nodes"]
    ]


def unseen_focus(root):
    """Go through a view by the Tab key; return how many stops there are and those that show no focus."""
    page, stops, unseen = root.page, 0, []
    root.evaluate("root => { root.tabIndex = -1; root.focus(); root.removeAttribute('tabindex'); }")
    for _ in range(STOPS):
        page.keyboard.press("Tab")
        stop = root.evaluate(_STOP)
        if stop is None:
            break
        shown, html = stop
        stops += 1
        if not shown:
            unseen.append(html)
    else:
        raise AssertionError(f"the Tab key does not leave the view after {STOPS} stops")
    return stops, unseen
