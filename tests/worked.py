"""The worked examples of CONTRIBUTING, taken from its text."""

import re
import shutil
import sys
from types import ModuleType

from places import ROOT

from vmenter.views import view

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(first):
    """Return the block of code that begins so, as it stands there."""
    blocks = re.findall(r"^   ```\w*\n(.*?)^   ```$", CONTRIBUTING, re.DOTALL | re.MULTILINE)
    (found,) = [one for text in blocks if (one := re.sub(r"^   ", "", text, flags=re.MULTILINE)).startswith(first)]
    return found


def far_view(folder, monkeypatch):
    """Return the class of the example of a view, its files in a folder; until the test ends it can be imported."""
    views = folder / "views"
    (views / "far").mkdir(parents=True)
    for name in ("common.js", "common.css"):
        shutil.copy(view.HERE / "views" / name, views)
    (views / "far" / "widget.js").write_text(block("// @ts-check"), encoding="utf-8")
    style = re.search(r"`(\.vm-far \{.*?\})`", CONTRIBUTING)[1]
    (views / "far" / "widget.css").write_text(style, encoding="utf-8")
    monkeypatch.setattr(view, "HERE", folder)
    for name, first in (("frame", '"""The frame of FarView'), ("widget", '"""FarView')):
        made = ModuleType(f"vmenter.views.far.{name}")
        exec(block(first), vars(made))  # what a contributor's file would do
        monkeypatch.setitem(sys.modules, made.__name__, made)
    return made.FarView
