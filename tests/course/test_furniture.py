"""The rules of the furniture find what they are there for: each is shown a notebook that breaks it."""

import re
from dataclasses import replace

import furniture
import pytest
from furniture import Cell

COURSE = furniture.read()
FIVE = next(one for one in COURSE.notebooks if one.number == "05")
MINUTES = FIVE.minutes


def damaged(old, new, kind="markdown"):
    """Return the course, and notebook 05 of it, with one text replaced in the first cell that has it."""
    at = next(n for n, cell in enumerate(FIVE.cells) if cell.kind == kind and old in cell.text)
    cells = list(FIVE.cells)
    cells[at] = Cell(kind, cells[at].text.replace(old, new, 1))
    five = replace(FIVE, cells=tuple(cells))
    return five, replace(COURSE, notebooks=tuple(five if one is FIVE else one for one in COURSE.notebooks))


def faults(rule, *damage):
    """Return what a rule says of the damaged notebook."""
    return "\n".join(rule(*damaged(*damage)))


DAMAGES = [
    (furniture.opening, "# 05 · 2019", "# 5 · 2019", "the title is not"),
    (furniture.opening, "*You will be able to*", "*You will learn*", "two to four things"),
    (furniture.opening, "*Before:* [04", "*Before:* [06", "no earlier notebook"),
    (furniture.opening, "*Time:*", "*Minutes:*", "do not stand in their form"),
    (furniture.navigation, "**Previous:**", "**Before:**", "the first cell does not end with"),
    (
        furniture.navigation,
        "06-2024-closer-to-the-edge.ipynb) ·\n[G",
        "07.ipynb) ·\n[G",
        "the first cell does not end",
    ),
    (
        furniture.minutes,
        f"*Time:* {MINUTES}",
        "*Time:* 26",
        f"the map in 00 says {MINUTES} minutes, the notebook 26",
    ),
    (furniture.minutes, f"*Time:* {MINUTES}", "*Time:* 26", f"README.md says {MINUTES} minutes"),
    (furniture.minutes, f"*Time:* {MINUTES} minutes", "*Time:* long", "does not say how many minutes"),
    (furniture.minutes, "· 2019: else if", "· Else if", "calls it '2019: else if'"),
    (furniture.review, "1. (From 01.)", "1. (From 05.)", "no question from an earlier notebook"),
    (furniture.review, "1. (From 01.)", "1.", "no question from an earlier notebook"),
    (furniture.review, "</details>\n\n<details>", "</details>\n\n<p>", "1 review questions"),
    (furniture.review, "## Review", "## Questions", "not one cell “Review”"),
    (furniture.closing, "## Summary", "## In short", "no summary"),
    (furniture.closing, "**Primary sources**\n\n- ", "**Primary sources.** ", "are no list"),
    (furniture.inner_links, "glossary.md#VM-Enter", "glossary.md#VM-Entry", "nothing is at glossary.md#VM-Entry"),
    (
        furniture.inner_links,
        "(04-the-road-to-the-guest.ipynb)",
        "(04-the-road.ipynb)",
        "nothing is at 04-the-road.ipynb",
    ),
    (
        furniture.inner_links,
        "(04-the-road-to-the-guest.ipynb)",
        "(04-the-road-to-the-guest.ipynb#x)",
        "guest.ipynb#x",
    ),
    (furniture.cited_links, "https://lore", "http://lore", "no whole https address"),
    (furniture.cited_links, "seanjc@google.com/)", "seanjc@google.com/.)", "no whole https address"),
    (furniture.cited_links, "https://lore.kernel.org", "https://lore.example.org", "nobody has looked at"),
    (furniture.cited_links, "all/2025", "all/2024", "is not the mail it leads to"),
    (furniture.cited_links, "linus/650b68a0622f", "linus/650b68a0622e", "is not the commit it leads to"),
    (
        furniture.cited_links,
        "## Summary",
        "## Summary of https://example.org",
        "a bare address: https://example.org",
    ),
    (furniture.cited_links, "## Summary", "## Summary of `20251029-verw@linux.intel.com`", "that leads nowhere"),
]


@pytest.mark.parametrize(("rule", "old", "new", "words"), DAMAGES, ids=lambda one: getattr(one, "__name__", None))
def test_a_damaged_text_is_found_out(rule, old, new, words):
    assert words in faults(rule, old, new)


CODE = [
    ('truth("05-a", len(broken)', 'truth("05-b", len(broken)', "no question in front of it"),
    ('truth("05-a", len(broken)', 'str("05-a", len(broken)', "no truth is told for 05-a"),
    ('truth("05-a", len(broken)', 'truth("05-a", 1', "a truth of 05-a is typed"),
    ('truth("05-a", len(broken), ', 'truth("05-a", ', "asks 2 questions, truth tells 1"),
    ('predict("05-a"', 'predict("05-b"', "does not have the next letter"),
    ('predict("05-a"', 'predict("05-z"', "has no questions in its file"),
    ('predict("05-a"', 'predict("05-a", "How many?"', "more than its name in the cell"),
    ('predict("05-a")', '"05-a"', "has questions that nobody asks: 05-a"),
    ("broken = []", "broken = []\nyour_guess = None", "without a box"),
]


@pytest.mark.parametrize(("old", "new", "words"), CODE)
def test_damaged_predictions_are_found_out(old, new, words):
    assert words in faults(furniture.predictions, old, new, "code")


def test_a_notebook_without_predictions_is_found_out():
    five = replace(FIVE, cells=tuple(cell for cell in FIVE.cells if not re.search(r'"05-[a-d]"', cell.text)))
    assert "nothing is to be predicted" in list(furniture.predictions(five, COURSE))


def test_a_missing_notebook_breaks_the_chain_on_both_sides():
    course = replace(COURSE, notebooks=tuple(one for one in COURSE.notebooks if one.number != "05"))
    four, six = (next(one for one in course.notebooks if one.number == number) for number in ("04", "06"))
    assert len(list(furniture.navigation(four, course))) == len(list(furniture.navigation(six, course))) == 2
    assert any("05-2019" in fault for fault in furniture.inner_links(six, course))


def test_an_instructors_page_is_held_to_the_same_minutes():
    course = replace(
        COURSE, pages={**COURSE.pages, "INSTRUCTOR.md": "| 05 | 2019: else if | 27 | what they get wrong |"}
    )
    assert list(furniture.minutes(FIVE, course)) == [f"INSTRUCTOR.md says 27 minutes, the notebook {MINUTES}"]


def test_a_notebook_that_leads_to_no_term_is_found_out():
    five = replace(FIVE, cells=tuple(Cell(kind, text.replace("glossary.md#", "x#")) for kind, text in FIVE.cells))
    assert "no term leads to the glossary" in list(furniture.inner_links(five, COURSE))


def test_every_rule_is_proven():
    proven = {rule for rule, *_ in DAMAGES} | {furniture.predictions}
    assert proven == set(furniture.RULES)
