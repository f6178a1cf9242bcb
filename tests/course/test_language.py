"""The course in another language: the same code, texts that are of the text as it is now, names and links kept."""

import json
import re
from collections import Counter

import nbformat
import pytest
from click.testing import CliRunner
from nbclient import NotebookClient
from places import ROOT
from tools import translations

from vmenter import LabError
from vmenter.cli.course import lab
from vmenter.course import copies, exercises, language
from vmenter.course.prediction import questions

NAMES = sorted(path.name for path in language.FOLDER.iterdir() if path.is_dir())
NOTEBOOKS = [(name, path.stem) for name in NAMES for path in sorted((language.FOLDER / name).glob("*.md"))]
KEPT = re.compile(r"`[^`]+`|\]\(([^)]+)\)")


def cells(name, stem):
    """The cells of a learner's copy in a language."""
    return json.loads(dict(copies.derived(ROOT, name))[f"notebooks/{stem}.ipynb"])["cells"]


@pytest.fixture
def afresh(monkeypatch):
    """A function: choose a language and forget what was read."""

    def choose(name):
        monkeypatch.setenv(language.VARIABLE, name)
        exercises.every.cache_clear()
        questions.every.cache_clear()

    yield choose
    exercises.every.cache_clear()
    questions.every.cache_clear()


def kept(text):
    """What a translation must keep: code in backquotes, and what links lead to."""
    return Counter(found[0] for found in KEPT.finditer(re.sub(r"`\[|\]`", "`", text)))


def test_there_is_a_translation_to_try():
    assert ("de", "03-two-features-one-place") in NOTEBOOKS


@pytest.mark.parametrize(("name", "stem"), NOTEBOOKS)
def test_a_translated_copy_has_the_same_code_and_the_same_cells(name, stem):
    own, other = cells(language.OWN, stem), cells(name, stem)
    assert [cell["cell_type"] for cell in own] == [cell["cell_type"] for cell in other]
    code = [
        ("".join(a["source"]), "".join(b["source"]))
        for a, b in zip(own, other, strict=True)
        if a["cell_type"] == "code"
    ]
    assert code
    assert all(a == b for a, b in code)
    texts = [(a, b) for a, b in zip(own, other, strict=True) if a["cell_type"] == "markdown"]
    assert sum(a["source"] != b["source"] for a, b in texts) >= 0.75 * len(texts), "most of it should be current"
    assert all(a["metadata"] == b["metadata"] for a, b in texts)


@pytest.mark.parametrize(("name", "stem"), NOTEBOOKS)
def test_code_and_links_in_a_text_are_kept(name, stem):
    there = language.prose(name, stem)
    for text in translations.cells(stem[:2])[1]:
        if translated := there.get(language.mark(text)):
            assert kept(translated) == kept(text), text[:80]
    text = (language.FOLDER / name / f"{stem}.md").read_text(encoding="utf-8")
    assert len(there) == text.count("<!-- of "), "two cells with one mark, or a mark that is none"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["exercises", "predictions"])
def test_exercises_and_predictions_keep_code_choices_and_letters(name, kind):
    for path in (language.FOLDER / name / kind).glob("*.toml"):
        own = translations.texts(kind, path.stem)
        for id_, ones in translations.translated(name, kind, path.stem).items():
            assert id_ in own, f"{path}: no {id_} is there"
            for place, one in enumerate(ones):
                original = own[id_][place]
                assert set(one) - {"of"} <= set(original), id_
                if one["of"] != language.mark(original):
                    continue
                assert kept(json.dumps(one)) == kept(json.dumps(original)), id_
                assert list(one.get("choices", {})) == list(original.get("choices", {}))
                letters = re.compile(r"^([a-h])  ", re.MULTILINE)
                assert letters.findall(str(one.get("task", ""))) == letters.findall(str(original.get("task", "")))
                assert len(one.get("hints", ())) == len(original.get("hints", ()))


@pytest.mark.parametrize(("name", "stem"), NOTEBOOKS)
def test_a_translated_notebook_runs_and_speaks_its_language(name, stem, monkeypatch, tmp_path):
    monkeypatch.setenv(language.VARIABLE, name)
    monkeypatch.setenv("VMENTER_PROGRESS", "off")
    notebook = nbformat.reads(dict(copies.derived(ROOT, name))[f"notebooks/{stem}.ipynb"].decode(), as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    shown = json.dumps(notebook.cells, ensure_ascii=False)
    for kind, part in (("exercises", "title"), ("predictions", "question")):
        own = translations.texts(kind, stem[:2])
        told = [
            one[part]
            for id_, ones in translations.translated(name, kind, stem[:2]).items()
            for one, original in zip(ones, own[id_], strict=False)
            if one["of"] == language.mark(original)
        ]
        assert told
        assert all(text in shown for text in told)


def test_a_text_whose_original_has_changed_is_shown_as_the_course_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "FOLDER", tmp_path)
    monkeypatch.setenv(language.VARIABLE, "xx")
    (tmp_path / "xx" / "exercises").mkdir(parents=True)
    own = {"title": "Old", "task": "Do.", "minutes": 3}
    mark = language.mark({"title": "Old", "task": "Do."})
    (tmp_path / "xx" / "exercises" / "42.toml").write_text(
        f'[42-1]\nof = "{mark}"\ntitle = "Alt"\nminutes = 99\njudge = "x"\n', encoding="utf-8"
    )
    assert language.exercise("42", "42-1", own) == {"title": "Alt", "task": "Do.", "minutes": 3}
    changed = {**own, "task": "Do it."}
    assert language.exercise("42", "42-1", changed) == changed
    assert language.exercise("42", "42-2", own) == own
    (tmp_path / "xx" / "42-a.md").write_text(
        f"<!-- of {language.mark('One.')} -->\nEins.\n<!-- of {language.mark('Two.')} -->\nZwei.\n",
        encoding="utf-8",
    )
    assert language.prose("xx", "42-a") == {language.mark("One."): "Eins.", language.mark("Two."): "Zwei."}
    assert language.mark(" One.\n") == language.mark("One.")


def test_choices_that_were_renamed_get_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "FOLDER", tmp_path)
    monkeypatch.setenv(language.VARIABLE, "xx")
    (tmp_path / "xx" / "predictions").mkdir(parents=True)
    own = {"question": "Q?", "choices": {"yes": "So.", "no": "Not so."}}
    (tmp_path / "xx" / "predictions" / "43.toml").write_text(
        f'[[43-a]]\nof = "{language.mark(own)}"\nquestion = "F?"\n[43-a.choices]\nja = "So."\nno = "Nein."\n',
        encoding="utf-8",
    )
    with pytest.raises(LabError, match="keeps the names of choices"):
        language.question("43", "43-a", 0, own)
    assert language.question("43", "43-a", 1, own) == own


def test_the_course_s_own_language_reads_no_translation(afresh):
    afresh("")
    assert exercises.exercise("03-2").title == "What goes wrong in an early kernel?"
    afresh("de")
    assert exercises.exercise("03-2").title == "Was geht in einem frühen Kernel schief?"
    assert exercises.exercise("03-2").check("c").passed
    assert exercises.exercise("02-1").title == "Relocate by hand"


def test_a_language_that_is_not_there_is_refused(afresh):
    afresh("xx")
    with pytest.raises(LabError, match="language 'xx': the course has texts in en, de"):
        exercises.every()
    with pytest.raises(LabError, match="the course has texts in"):
        dict(copies.derived(ROOT, "../.."))


def test_the_lab_makes_copies_in_the_language(tmp_path, monkeypatch):
    monkeypatch.setenv(language.VARIABLE, "")
    done = CliRunner().invoke(lab, ["--folder", str(tmp_path), "--no-open", "--language", "de"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "notebooks" / "03-two-features-one-place.ipynb").read_text(encoding="utf-8")
    assert "Zwei Features, eine Stelle" in text
    assert "# 02 · Patching a running kernel" in (
        tmp_path / "notebooks" / "02-patching-a-running-kernel.ipynb"
    ).read_text(encoding="utf-8")


def test_what_is_lacking_is_printed_with_its_mark():
    lacking = dict.fromkeys(file for file, _ in translations.lacking("de", "02"))
    assert list(lacking) == ["02-patching-a-running-kernel.md", "exercises/02.toml", "predictions/02.toml"]
    current = [text for file, text in translations.lacking("de", "03") if file.endswith(".md")]
    assert len(current) <= 0.25 * len(translations.cells("03")[1])
