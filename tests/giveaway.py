"""What a learner's copy must not tell, as rules. Each yields what is told too early, as (what, where).

A rule takes one notebook as `vmenter lab` hands it out: a list of cells (kind, text). `told` are the facts that its
truths tell, by the prediction's id, as they stand in the outputs of the notebook as it is committed.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vmenter.course.copies import ASSERTION, DEEPER, learners_copy
from vmenter.course.exercises import every

LONG = 20  # characters of a solution's line; shorter ones stand anywhere
IMPORT = re.compile(r"(from|import) \w")
VIEWS = "vmenter.views."
OWN = re.compile(r"^(LiveText\.of|KernelBrowser\.live)\(")  # what shows the reader's own machine, and no truth
FOLD = re.compile(r"<details>.*?</details>", re.DOTALL)


class Cell(NamedTuple):
    """One cell: "markdown" or "code", and its text."""

    kind: str
    text: str


def cells(notebook: dict[str, Any]) -> list[Cell]:
    """Return the cells of a learner's copy."""
    return [Cell(one["cell_type"], "".join(one["source"])) for one in learners_copy(notebook)["cells"]]


def told(notebook: dict[str, Any]) -> dict[str, list[str]]:
    """Return what the truths of a committed notebook tell, by the prediction's id."""
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            text = "".join(output.get("data", {}).get("text/plain", ""))
            if name := re.match(r"Prediction (\S+): the truth", text):
                found[name[1]] = re.findall(r"It is: (.*?)(?:\. |\.?$)", text, re.MULTILINE)
    return found


def literal_truths(copy: Sequence[Cell], _told: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """A truth is given what was computed, not what is written in the copy."""
    fixed = set()
    for tree in (ast.parse(cell.text) for cell in copy if cell.kind == "code"):
        for node in tree.body:
            if isinstance(node, ast.Assign) and _only_one(node.value):
                fixed |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for call in calls(copy, "truth"):
        name = ast.unparse(call.args[0]) if call.args else "?"
        for fact in call.args[1:]:
            if _only_one(fact) or (isinstance(fact, ast.Name) and fact.id in fixed):
                yield name.strip("'"), f"typed: {ast.unparse(fact)}"


def _only_one(node: ast.expr) -> bool:
    """Tell whether an expression can give one value alone, that stands in it. `"a" if x else "b"` gives two."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return not names and not any(isinstance(part, ast.Call | ast.Attribute) for part in ast.walk(node))


def told_numbers(copy: Sequence[Cell], told: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """No text outside a fold has the number that a truth tells (those of one digit stand anywhere)."""
    for name, facts in told.items():
        for fact in facts:
            number = re.fullmatch(r"([\d,]+(?:\.\d+)?)(?: [a-z]+)?", fact)
            if number is None or len(number[1]) < 2:
                continue
            for at, cell in enumerate(copy):
                text = FOLD.sub("", cell.text) if cell.kind == "markdown" else ""
                if re.search(rf"(?<![\w.,-]){re.escape(number[1])}(?![\w,-]|\.\d)", text):
                    yield name, f"{number[1]} in cell {at}"


def open_prose(copy: Sequence[Cell], _told: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """The text right behind a truth is folded, unless a new section begins."""
    for at, cell in enumerate(copy[:-1]):
        found = list(calls([cell], "truth"))
        behind = copy[at + 1]
        if found and behind.kind == "markdown" and not re.match(r"<details>|#", behind.text):
            yield ast.literal_eval(found[0].args[0]), f"unfolded: {behind.text[:40]!r}"


def views_behind(copy: Sequence[Cell], _told: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """A view that stands behind a truth, in its section, waits for the guess: `once_told`. One's own machine need not."""
    views, name = set(), ""
    for at, cell in enumerate(copy):
        if cell.kind == "markdown":
            name = "" if re.match(r"#{1,2} ", cell.text) else name
            continue
        body = ast.parse(cell.text).body
        imports = [one for one in body if isinstance(one, ast.ImportFrom) and (one.module or "").startswith(VIEWS)]
        views |= {alias.asname or alias.name for one in imports for alias in one.names}
        shown = body[-1].value if body and isinstance(body[-1], ast.Expr) else None
        used = {part.id for part in ast.walk(shown) if isinstance(part, ast.Name)} if shown else set()
        views |= {
            target.id
            for one in body
            if isinstance(one, ast.Assign) and _made_by(one.value) in views
            for target in one.targets
            if isinstance(target, ast.Name)
        }
        waits = isinstance(shown, ast.Call) and ast.unparse(shown.func) in {"once_told", "truth"}
        own = shown is not None and OWN.search(ast.unparse(shown))
        if name and used & views and not waits and not own:
            yield name, f"cell {at} shows a view that does not wait"
        for call in calls([cell], "truth"):
            name = ast.literal_eval(call.args[0])


def _made_by(value: ast.expr) -> str:
    """Return whose call gives a value, by its first name."""
    return ast.unparse(value.func).partition(".")[0] if isinstance(value, ast.Call) else ""


def solutions_above(copy: Sequence[Cell], _told: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """No cell above an exercise holds a line of its solution, but for what its own starter gives, and imports."""
    for at, cell in enumerate(copy):
        for call in calls([cell], "exercise"):
            task = every()[ast.literal_eval(call.args[0])]
            given = {line.strip() for line in task.starter.splitlines()}
            lines = {line.strip() for line in task.solution.splitlines()} - given
            for line in sorted(line for line in lines if len(line) > LONG and not IMPORT.match(line)):
                yield from ((task.id, line) for above in copy[:at] if line in above.text)


def calls(copy: Sequence[Cell], name: str) -> Iterator[ast.Call]:
    """Yield the calls of a function by its plain name, in order."""
    for cell in copy:
        if cell.kind == "code":
            for node in ast.walk(ast.parse(cell.text)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                    yield node


def printed_early(notebook: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what cells between a question and its truth print in a committed notebook; `later` holds that back."""
    waiting: list[str] = []
    for at, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or ASSERTION in cell["metadata"].get("tags", ()):
            continue
        here = [Cell("code", source)]
        for call in calls(here, "truth"):
            waiting = [name for name in waiting if name != ast.literal_eval(call.args[0])]
        text = "".join("".join(one["text"]) for one in cell["outputs"] if one["output_type"] == "stream")
        left = [
            line for line in text.splitlines() if not line.startswith("(What this prints comes with the truth of")
        ]
        if left and not any(calls(here, "check")):
            yield from ((name, f"cell {at} prints {left[0]!r}") for name in waiting)
        waiting += [ast.literal_eval(call.args[0]) for call in calls(here, "predict")]


RULES = (literal_truths, told_numbers, open_prose, views_behind, solutions_above)


def borrowed(notebook: dict[str, Any]) -> Iterator[str]:
    """Yield names that a learner's cells use and that only cells of the tag `assertion` have bound before."""
    yield from _borrowed(notebook, [ASSERTION in cell["metadata"].get("tags", ()) for cell in notebook["cells"]])


def borrowed_from_deeper(notebook: dict[str, Any]) -> Iterator[str]:
    """Yield names that cells use and that only cells of a section marked *deeper* have bound before."""
    deeper, lends = False, []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and "".join(cell["source"]).startswith("#"):
            deeper = bool(DEEPER.match("".join(cell["source"])))
        lends.append(deeper)
    yield from _borrowed(notebook, lends)


def _borrowed(notebook: dict[str, Any], lends: Sequence[bool]) -> Iterator[str]:
    own: set[str] = set(dir(__builtins__) if not isinstance(__builtins__, dict) else __builtins__)
    lent: set[str] = set()
    for cell, lending in zip(notebook["cells"], lends, strict=True):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        if lending:
            lent |= _bound(tree) - own
            continue
        own |= _bound(tree)
        used = {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        yield from sorted(used & (lent - own))


def _bound(tree: ast.AST) -> set[str]:
    """Return the names that code binds, at any depth."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found
