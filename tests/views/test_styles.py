"""The views' style sheets: a page may hold all of them at once, so none may restyle what is another's."""

import re
from collections import defaultdict
from pathlib import Path

import vmenter.views

SHARED = {"common", "diagram"}
SHEETS = sorted(path for path in Path(vmenter.views.__file__).parent.rglob("*.css") if path.stem not in SHARED)


def bare_rules(css: str) -> dict[str, str]:
    """Return the rules of `css` whose selector is one class alone, which is true of every view on the page."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    found = re.findall(r"^(\.vm-[\w-]+)\s*\{([^}]*)\}", css, flags=re.MULTILINE)
    return {name: " ".join(body.split()) for name, body in found}


def test_a_class_that_two_views_style_looks_the_same_in_both():
    bodies = defaultdict(set)
    for sheet in SHEETS:
        for name, body in bare_rules(sheet.read_text("utf-8")).items():
            bodies[name].add(body)
    assert len(bodies) > 20
    assert not {name: sorted(several) for name, several in bodies.items() if len(several) > 1}
