"""The decision at a site as a diagram: entries in table order, which match, which one decides, what is written.

The drawing of a site is laid out once; features change only classes and words on it (`marks`). So a page can
switch between them without a new layout, and nothing jumps.
"""

from collections.abc import Callable, Collection, Mapping

from vmenter.patching.alternative_table import AltEntry, Engine, Site
from vmenter.patching.alternatives import Patch
from vmenter.patching.features import slot
from vmenter.patching.lab import feature_names
from vmenter.views.drawings.diagram import KEPT, Diagram, Mark, layout, mark, text_size

Name = Callable[[int], str]
WIDEST = "matches, decides"


def namer(names: Mapping[int, str] | None = None) -> Name:
    """Return a function that names features; a number without a name is written as ``word*32+bit``."""
    known = feature_names() if names is None else names
    return lambda number: known.get(number) or slot(number)


def decision_diagram(
    patch: Patch,
    names: Mapping[int, str] | None = None,
    *,
    features: Collection[int] | None = None,
    engine: Engine | str = Engine.ONCE,
) -> Diagram:
    """Return the decision at one site, drawn and in words.

    `features` are those that the site was patched under. Where they are not given, only the deciding
    entry is known to match.
    """
    name, engine = namer(names), Engine(engine)
    matching = matches(patch, features)
    twin = decision_text(patch, name, matching, engine)
    svg = skeleton(patch.site, name, engine, twin)
    return Diagram(mark(svg, marks(patch, matching, engine)), twin)


def matches(patch: Patch, features: Collection[int] | None) -> tuple[bool, ...]:
    """Tell for each entry whether it matches."""
    if features is None:
        return tuple(index == patch.chosen for index in range(len(patch.site.entries)))
    return tuple(entry.matches(features) for entry in patch.site.entries)


def condition(entry: AltEntry, name: Name) -> str:
    """Return ``SMAP`` or ``NOT SMAP``."""
    return f"{'NOT ' if entry.negated else ''}{name(entry.feature)}"


def result(patch: Patch) -> str:
    """Return what stands at the site in the end, in a few words."""
    if patch.undecided:
        return "not known from this file alone"
    return "original code" if patch.chosen is None else f"replacement {patch.chosen + 1}"


def decision_text(patch: Patch, name: Name, matching: tuple[bool, ...], engine: Engine) -> str:
    """Return the twin of the drawing."""
    width = max((len(condition(entry, name)) for entry in patch.site.entries), default=0)
    lines = [f"site: {patch.site.length} bytes"]
    for index, entry in enumerate(patch.site.entries):
        said = _said(matching[index], index == patch.chosen)
        written = ""
        if matching[index]:
            written = f" -> {_written(patch, index, engine)}"
        lines.append(f"entry {index + 1}  {condition(entry, name):<{width}}  {said}{written}")
    lines.append(f"at the site: {result(patch)}")
    return "\n".join(lines)


def _said(match: bool, decides: bool) -> str:  # noqa: FBT001
    return WIDEST if decides else "matches" if match else "no match"


def _written(patch: Patch, index: int, engine: Engine) -> str:
    if index == patch.chosen:
        return "written last, stays" if engine is not Engine.ONCE and _several(patch) else "written"
    return "not written" if engine is Engine.ONCE else "written, then written over"


def _several(patch: Patch) -> bool:
    return len({step.entry for step in patch.steps if step.name == "copy"}) > 1


def skeleton(site: Site, name: Name, engine: Engine, description: str = "") -> str:
    """Return the drawing before anything is decided."""
    last = len(site.entries)
    labels = [f"{number}   {condition(entry, name)}" for number, entry in enumerate(site.entries, 1)]
    wide = max(text_size(label)[0] for label in [*labels, "at the site: replacement 3"]) / 72 + 0.25  # inches
    lines = [
        "digraph {",
        f"nodesep=0.45; ranksep=0.32; node [shape=box, style=rounded, height=0.34, width={wide:.2f}]",
        f'site [label="site, {site.length} bytes"]',
        'end [label="at the site: replacement 3"]',
    ]
    for number, (entry, label) in enumerate(zip(site.entries, labels, strict=True), 1):
        size = f"{entry.replacement_length} bytes" if entry.replacement_length else "empty"
        lines += [
            f'e{number} [label="{label}\\n{WIDEST}"]',
            f'r{number} [label="replacement {number}\\n{size}", width=1.75]',
            f"{{rank=same; e{number} -> r{number}}}",
            f"{f'e{number - 1}' if number > 1 else 'site'} -> e{number} [weight=9]",
        ]
        if number > 1:  # keeps the replacements in a column
            lines.append(f"r{number - 1} -> r{number} [style=invis, weight=5]")
        if number == last:
            lines.append(f"r{number} -> end [tailport=s, headport=e]")
        elif engine is Engine.ONCE:
            lines.append(f"r{number} -> end [tailport=e, headport=e]")
        else:
            lines.append(f"r{number} -> e{number + 1} [tailport=s, headport=ne]")
    lines += [f"{f'e{last}' if last else 'site'} -> end [weight=9]", "}"]
    return layout("\n".join(lines), "Which alternative is written", description)


def marks(patch: Patch, matching: tuple[bool, ...], engine: Engine) -> dict[str, Mark]:
    """Return what the decision changes on the drawing."""
    changes = {"site": Mark("on"), "end": Mark("decides", f"at the site: {result(patch)}")}
    last = len(matching)
    for index, match in enumerate(matching):
        number = index + 1
        decides = index == patch.chosen
        shown = "decides" if decides else "on" if match else "off"
        changes[f"e{number}"] = Mark(shown, f"{KEPT}\n{_said(match, decides)}")
        used = match and (decides or engine is not Engine.ONCE)
        changes[f"r{number}"] = Mark(shown if used else "off")
        changes[f"e{number}->r{number}"] = Mark(shown)
        after = f"r{number}->e{number + 1}" if engine is not Engine.ONCE and number < last else f"r{number}->end"
        changes[after] = Mark(shown if used else "off")
        source = f"e{number - 1}" if index else "site"
        # Where entries are written one by one, a match goes on from its replacement.
        passed = index == 0 or engine is Engine.ONCE or not matching[index - 1]
        changes[f"{source}->e{number}"] = Mark("on" if passed else "off")
    stays = patch.chosen is None or (engine is not Engine.ONCE and not matching[-1])
    changes[f"{f'e{last}' if last else 'site'}->end"] = Mark("on" if stays else "off")
    return changes
