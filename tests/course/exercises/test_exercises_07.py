"""Notebook 07's exercises: what they must refuse and what they must let pass, and the tools they share with it.

The table of wrong answers is gone through with those of the other notebooks, in test_exercises.
"""

import pytest

from vmenter.course.exercises.nb07 import SAYS, SHOWN, every_case, first_sketch, shown
from vmenter.course.judging.entering import STUB
from vmenter.course.judging.flags import flag_uses
from vmenter.story import eras, history
from vmenter.story.eras import State
from vmenter.story.promise import Reach


def test_before_and_after_the_patch_in_every_state():
    before, v4, merged = ([*every_case(id_)] for id_ in ("83ebe7157483", "v4", "e6ff1d61de51"))
    assert [len(cases) for cases in (before, v4, merged)] == [144] * 3
    assert not [case for case in (*v4, *merged) if case.missed or case.needless or case.wrong_entry]
    broken = [case for case in before if case.missed]
    assert len(broken) == 4
    assert {(case.selected, case.l1d_flush, case.vcpu.flush_pending) for case in broken} == {
        (("mmio",), "cond", False)
    }
    assert {case.vcpu.mmio for case in broken} == {Reach.ASSIGNED, Reach.MAPPED}
    assert not [case for case in before if case.needless or case.wrong_entry]


@pytest.mark.parametrize(
    ("era", "uses"),
    [
        ("v4", [("jz", "ZF", "testl $4, %ebx", 16), ("jnc", "CF", "btl $0, %ebx", 17)]),
        ("e6ff1d61de51", [("jz", "ZF", "testl $4, 8(%rsp)", 0), ("jz", "ZF", "testl $1, 8(%rsp)", 0)]),
    ],
)
def test_who_wrote_the_flag_that_a_jump_reads(era, uses):
    state = State(frozenset({"CLEAR_CPU_BUF_VM_MMIO"}), mmio=Reach.MAPPED, resume=True)
    trace = eras.run(history.era(era), state)
    found = [(u.jump, u.flag, trace.instructions[u.writer].text, u.between) for u in flag_uses(trace, STUB)]
    assert found == uses


def test_only_jumps_of_the_function_asked_for_are_told():
    trace = eras.run(history.era("v4"), State())
    uses = [*flag_uses(trace, "__vmx_vcpu_run_flags")]
    assert [(use.jump, use.flag) for use in uses] == [("jz", "ZF")]
    assert all(use.between == 0 for use in uses)


def test_the_first_sketch_loses_a_clear_only_where_both_features_are_on():
    lost = [case for case in every_case(first_sketch()) if case.missed]
    assert {(case.selected, case.vcpu.mmio) for case in lost} == {(("all", "mmio"), Reach.NONE)}
    assert not any(case.wrong_entry for case in every_case(first_sketch()))


@pytest.mark.parametrize(
    ("letter", "ran"),
    [
        ("A", "a clear owed here; nothing cleared"),
        ("B", "a clear owed here; nothing cleared"),
        ("C", "a clear owed here; VERW ran, accesses behind it: 0"),
        ("D", "VERW ran"),
        ("E", "nothing owed here; nothing cleared"),
        ("F", "a clear owed here; VERW ran, accesses behind it: 0"),
    ],
)
def test_what_ran_in_each_run_of_07_4(letter, ran):
    assert shown(letter) == ran
    assert SHOWN[letter] <= set(SAYS)
