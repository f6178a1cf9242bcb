"""What a translation still lacks: `translations.py de 03` prints each text that it has not, with its mark.

Texts whose original has changed since are among them. What is printed has the form of the files in translations/, to
be filled in: cells of a notebook for NN-….md, exercises and questions for exercises/NN.toml and predictions/NN.toml.
"""

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from vmenter.course import language

ROOT = Path(__file__).resolve().parents[2]
COURSE = ROOT / "lib" / "vmenter" / "course"


def cells(number: str) -> tuple[str, list[str]]:
    """Return a notebook's stem and its cells of text."""
    (path,) = (ROOT / "notebooks").glob(f"{number}-*.ipynb")
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return path.stem, ["".join(one["source"]) for one in found if one["cell_type"] == "markdown"]


def texts(kind: str, number: str) -> dict[str, list[dict[str, object]]]:
    """Return the texts of exercises or of predictions, each as a list: id → one, or one a question."""
    folder, parts = ("exercises", language.EXERCISE) if kind == "exercises" else ("prediction", language.QUESTION)
    path = COURSE / folder / f"{number}.toml"
    found = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {
        id_: [
            {part: one[part] for part in parts if part in one} for one in (own if isinstance(own, list) else [own])
        ]
        for id_, own in found.items()
    }


def translated(name: str, kind: str, number: str) -> dict[str, list[dict[str, object]]]:
    """Return what a translation has of them."""
    path = language.FOLDER / name / kind / f"{number}.toml"
    found = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {id_: own if isinstance(own, list) else [own] for id_, own in found.items()}


def lacking(name: str, number: str) -> Iterator[tuple[str, str]]:
    """Yield (file, text) for each text that a language has not, or not any more."""
    stem, own = cells(number)
    there = language.prose(name, stem)
    for text in own:
        if language.mark(text) not in there:
            yield f"{stem}.md", f"<!-- of {language.mark(text)} -->\n{text}\n"
    for kind in ("exercises", "predictions"):
        has = translated(name, kind, number)
        for id_, ones in texts(kind, number).items():
            for place, one in enumerate(ones):
                marks = [each.get("of") for each in has.get(id_, [])]
                if marks[place : place + 1] != [language.mark(one)]:
                    head = f"[{id_}]" if kind == "exercises" else f"[[{id_}]]"
                    body = json.dumps(one, indent=1, ensure_ascii=False)
                    yield f"{kind}/{number}.toml", f'{head}\nof = "{language.mark(one)}"\n{body}\n'


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: translations.py LANGUAGE NOTEBOOK, such as: translations.py de 03")
    for file, text in lacking(sys.argv[1], sys.argv[2]):
        print(f"# {file}\n{text}")
