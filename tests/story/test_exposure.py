"""Counting by column: against the audit, which counts the whole, and against configurations done one by one."""

from collections import Counter
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.story import eras, history
from vmenter.story.audit import audit
from vmenter.story.exposure import SITUATIONS, Count, Cut, counts, finding
from vmenter.story.space import DEFAULT, machine_of

ERAS = list(history.ERAS.values())
NAMES = (*SITUATIONS, *DEFAULT.counts)
MMIO_ONLY = ("VERW asked", "for guests that reach MMIO")
SKIPPED = ("L1D flush now", "cond, none pending")
each_era = pytest.mark.parametrize("era", ERAS, ids=lambda era: era.id)


def total(columns):
    return Count(*map(sum, zip(*columns.values(), strict=True)))


@each_era
def test_the_whole_is_what_the_audit_counts(era):
    found, count = audit(era), counts(era, Cut())[()]
    assert count.configurations == DEFAULT.configurations
    for fault in ("broken", "neutralised", "failed"):
        known = getattr(found, fault)
        assert getattr(count, fault) == (known.count if known else 0)
        mine = finding(era, Cut(), fault)
        assert (mine.tally if mine else None) == (known.tally if known else None)


@st.composite
def parts(draw):
    """A part of the space, and a split of it."""
    cut = Cut()
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True)):
        cut = cut.to((name, draw(st.sampled_from(cut.values(name)))))
    return cut, tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True)))


@given(era=st.sampled_from(ERAS), part=parts())
def test_the_columns_of_a_split_add_up_to_the_part(era, part):
    cut, split = part
    columns = counts(era, cut, split)
    whole = counts(era, cut).get((), Count())
    assert (total(columns) if columns else Count()) == whole
    for column, count in columns.items():
        assert counts(era, cut.to(*zip(split, column, strict=True)))[()] == count
        assert count.owing <= count.configurations
        assert max(count.broken, count.failed) <= count.configurations
        assert count.broken <= count.owing


@each_era
def test_where_only_dimensions_of_the_space_are_narrowed_it_is_an_audit_of_that_space(era):
    cut = Cut().to(("l1tf", "yes"), ("mds", "no"), ("fb_clear_ctrl", "present"))
    for (reach,), count in counts(era, cut, ("reaches host MMIO",)).items():
        found = audit(era, cut.part.where("reaches host MMIO", reach))
        assert count.configurations == found.space.configurations
        assert count.broken == (found.broken.count if found.broken else 0)
        assert count.neutralised == (found.neutralised.count if found.neutralised else 0)


def situation(entry):
    """Say in which situations one VM-Enter is, from what it was given and what selection made of it."""
    mode, pending = entry.selection.l1d_flush, entry.vcpu.flush_pending
    flush = {"always": "always", "cond": "cond, pending" if pending else "cond, none pending"}.get(
        mode, "not asked"
    )
    asked = {"always": "for every guest", "mmio": "for guests that reach MMIO", "never": "for no guest"}
    return asked[str(entry.promise.verw)], flush


@each_era
def test_counts_by_situation_are_those_of_brute_force(era):
    random, space = Random(era.id), DEFAULT
    while space.configurations > 1500:
        dimension = random.choice([d for d in space.dimensions if len(d.values) > 1])
        labels = [value.label for value in dimension.values]
        space = space.where(dimension.name, *random.sample(labels, random.randint(1, len(labels) - 1)))
    found, broken, owing = Counter(), Counter(), Counter()
    for values in product(*(d.values for d in space.dimensions)):
        entry = eras.enter(era, *machine_of(values))
        column = situation(entry)
        found[column] += 1
        broken[column] += not entry.verdict.kept
        owing[column] += entry.promise.owes_clear(entry.vcpu) or entry.promise.owes_flush(entry.vcpu)
    columns = counts(era, Cut(space), tuple(SITUATIONS))
    assert {column: count.configurations for column, count in columns.items()} == found
    assert {column: count.broken for column, count in columns.items()} == {
        column: broken[column] for column in found
    }
    assert {column: count.owing for column, count in columns.items()} == {
        column: owing[column] for column in found
    }


def test_each_era_has_its_holes_where_the_story_says():
    def holes(era, fault):
        columns = counts(era, Cut(), tuple(SITUATIONS))
        return {column for column, count in columns.items() if getattr(count, fault)}

    every, mmio = "for every guest", "for guests that reach MMIO"
    skipped, none = "cond, none pending", "not asked"
    flushes = SITUATIONS["L1D flush now"].values
    assert [holes(era, "broken") for era in ERAS] == [
        set(),
        {(every, skipped)},
        {(every, skipped), (mmio, skipped), (mmio, none)},
        {(mmio, skipped), (mmio, none)},
        {(mmio, skipped)},
        set(),
        set(),
    ]
    neutralised = {(mmio, flush) for flush in flushes}
    assert [holes(era, "neutralised") for era in ERAS] == [set()] * 5 + [neutralised] * 2
    assert not any(holes(era, "failed") for era in ERAS)


def test_zooming_ends_at_one_configuration():
    era, cut = history.era("650b68a0622f"), Cut()
    one = finding(era, cut, "broken")
    picks = dict(one.tally.smallest)
    for number, dimension in enumerate(DEFAULT.dimensions):
        cut = cut.to((dimension.name, dimension.values[picks.get(number, 0)].label))
        assert counts(era, cut)[()].broken >= 1
    assert counts(era, cut)[()] == Count(1, 1, 1, 0, 0)
    assert cut.part.machine(()) == one.machine


def test_an_example_without_fault_owes_something_where_there_is_such():
    era = history.era("650b68a0622f")
    kept = eras.enter(era, *finding(era, Cut(), None).machine)
    assert kept.verdict.kept
    assert kept.promise.owes_clear(kept.vcpu) or kept.promise.owes_flush(kept.vcpu)
    assert finding(era, Cut().to(("VERW asked", "for no guest"), SKIPPED), None) is not None
    assert finding(era, Cut().to(MMIO_ONLY), None) is None


@pytest.mark.parametrize(
    ("narrowed", "message"),
    [
        ((("mdss", "yes"),), "no dimension 'mdss', did you mean mds"),
        ((("mds", "yess"),), "mds: no such value: 'yess', did you mean yes; it has: no; yes; msbds_only"),
        ((("VERW asked", "for all"),), "VERW asked: no such value: 'for all'"),
        ((("mds", "yes"), ("mds", "no")), "mds: no such value: 'no'; it has: yes"),
    ],
)
def test_a_name_that_the_space_has_not_is_refused(narrowed, message):
    with pytest.raises(LabError, match=message):
        Cut(DEFAULT, narrowed)
