"""What the exercises of notebooks 02 to 04 print as real or as theirs is held against its source."""

import re
from collections import Counter

import pytest
from places import DATA

from vmenter.code.x86 import vmx_enter
from vmenter.course.exercises import exercise, nb03_read, nb04_stubs
from vmenter.course.exercises.nb02_engine import lab_table, moves
from vmenter.kernels import booted
from vmenter.patching.alternatives import patch
from vmenter.views.patch import bench

# Each excerpt of 03-4: of which recording, and of how many of its VM-Enters it is the end, at least.
EXCERPTS = {"A": "v2", "B": "v12", "C": "v10", "D": "v8", "E": "v10"}
VERSIONS = {"v2": "7.3.4", "v8": "6.12.117", "v10": "7.3.4", "v12": "6.12.117"}  # the recordings do not name it


def excerpts():
    """The excerpts of 03-4: letter, heading, (bytes, text) of each instruction."""
    for part in re.split(r"\n(?=[A-E]  Debian)", exercise("03-4").task)[1:]:
        heading, *lines = part.splitlines()
        yield heading[0], heading[3:], [tuple(re.split(r" {2,}", line.strip(" `"), maxsplit=1)) for line in lines]


@pytest.mark.parametrize(("letter", "heading", "lines"), [*excerpts()], ids=EXCERPTS)
def test_what_is_printed_as_a_booted_kernels_code_was_recorded(letter, heading, lines):
    recording = booted.read(DATA / "booted" / f"bochs-{EXCERPTS[letter]}.json.gz")
    assert heading == f"Debian's {VERSIONS[EXCERPTS[letter]]}"
    ends = Counter(
        tuple(
            (one.code.hex(" "), one.mnemonic if one.mnemonic in ("je", "jae") else one.text.strip()) for one in end
        )
        for end in (enter.instructions[-len(lines) :] for enter in recording.enters)
    )
    assert ends[tuple(lines)] >= 1


def test_the_excerpts_are_all_that_the_answer_has_letters_for():
    assert [letter for letter, _, _ in excerpts()] == list(EXCERPTS) == list(nb03_read.STANDS)


@pytest.mark.parametrize("letter", nb03_read.MODULES)
def test_the_table_in_the_text_is_the_module_that_is_judged(letter):
    original, entries = nb03_read.MODULES[letter]
    (part,) = re.findall(rf"^{letter}  old: ((?:.+\n?)(?: .+\n?)*)", exercise("03-5").task, re.MULTILINE)
    words = {"": "nothing", bench.CLEAR: "VERW", bench.CLEAR_IF_MMIO: "TEST, JZ, VERW"}
    told = re.findall(r"\d\. ([A-Z_ ]+): (.+)", part)
    assert part.split()[0] == words[original]
    assert told == [(feature, words[code]) for code, feature in entries]


def test_of_the_three_modules_one_fails_and_with_one_set_of_features():
    sets = [frozenset(), frozenset({"CLEAR_CPU_BUF_VM"}), frozenset({"CLEAR_CPU_BUF_VM_MMIO"})]
    sets.append(sets[1] | sets[2])
    wrong = [
        (letter, one)
        for letter in nb03_read.MODULES
        for one in sets
        if nb03_read.behaves(letter, one) != nb03_read.wish(one)
    ]
    assert wrong == [("B", sets[3])]


def test_the_three_stubs_of_the_text_are_those_that_run_and_one_is_wrong_for_one_guest():
    for letter, lines in nb04_stubs.STUBS.items():
        assert f"{letter}  `" + ";  ".join(lines) + "`" in exercise("04-4").task
    wrong = [
        (letter, before)
        for letter in nb04_stubs.STUBS
        for before in (False, True)
        if nb04_stubs.enters(letter, before) != vmx_enter(before=before)
    ]
    assert wrong == [("B", False)]


def test_the_copies_of_02_5_are_as_the_engine_makes_them_and_have_both_kinds():
    assert 55 <= len(moves()) <= 70
    kept = changed = 0
    for move in moves():
        for field in move.fields:
            part = slice(field["at"], field["at"] + field["size"])
            kept += move.right[part] == move.code[part]
            changed += move.right[part] != move.code[part]
    assert kept >= 20
    assert changed >= 20
    image, table = lab_table()
    (site,) = (one for one in table.sites if image.label(one.address) == "call_helper")
    done = patch(image, site, {site.entries[0].feature}, table.rules)
    assert done.code in [move.right for move in moves()]
