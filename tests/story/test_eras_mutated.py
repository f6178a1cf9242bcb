"""Changes to the lab's code that must show: in the verdict, in the distance, or in which VM-Enter is taken."""

import pytest
from era_states import MDS, MERGED, MMIO, MOVED, REACH, V4, mutated, state_for

from vmenter import LabError
from vmenter.story import eras
from vmenter.story.eras import State
from vmenter.story.history import BACKPORT
from vmenter.story.promise import Promise, Reach, VCpuState, Verw, judge


def verdict(era, original, **row):
    """Run one state, its switches named as for the original era, and judge it."""
    row = {
        "verw": False,
        "mmio_only": False,
        "mode": "never",
        "flag": False,
        "reach": "none",
        "resume": False,
        **row,
    }
    promise = Promise(Verw.ALWAYS if row["verw"] else Verw.MMIO if row["mmio_only"] else Verw.NEVER, row["mode"])
    trace = eras.run(era, state_for(original, **row))
    return judge(promise, VCpuState(Reach(row["reach"]), row["flag"], row["resume"]), trace)


@pytest.mark.parametrize("era", [MDS, MMIO])
def test_verw_removed_from_c_breaks_the_promise(era):
    found = verdict(mutated(era, ("    clear_cpu_buffers\n", "")), era, verw=True)
    assert (found.kept, found.verw, found.cleared_by) == (False, 0, None)


def test_a_version_without_an_arm_can_be_run_and_breaks_the_promise():
    without = mutated(MDS, ("    STATIC_LONG_JUMP_IF_ON .Lverw, mds_user_clear\n", ""))
    assert not verdict(without, MDS, verw=True).kept
    assert verdict(without, MDS, mode="always", verw=True).kept


@pytest.mark.parametrize("era", [MOVED, REACH])
def test_verw_removed_from_the_replacement_breaks_the_promise(era):
    removed = mutated(
        era, ('"", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF', '"", nop, X86_FEATURE_CLEAR_CPU_BUF')
    )
    found = verdict(removed, era, verw=True)
    assert (found.kept, found.verw) == (False, 0)


def test_verw_removed_from_behind_the_jump_breaks_the_promise():
    removed = mutated(BACKPORT, ("    clear_cpu_buffers\n.Lskip_verw", ".Lskip_verw"))
    assert not verdict(removed, BACKPORT, verw=True).kept


@pytest.mark.parametrize("era", [V4, MERGED])
def test_verw_removed_from_the_weaker_choice_breaks_the_promise_for_mmio_only(era):
    removed = mutated(era, ("    clear_cpu_buffers\n.Lskip_verw", ".Lskip_verw"))
    assert not verdict(removed, era, mmio_only=True, reach="mapped").kept
    assert verdict(removed, era, verw=True, reach="mapped").kept


WEAK, STRONG = "X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO", "X86_FEATURE_CLEAR_CPU_BUF_VM"


def test_alternatives_swapped_lets_the_weaker_one_win_where_both_are_selected():
    old = f"clear_if_mmio, {WEAK}, clear_cpu_buffers, {STRONG}"
    swapped = mutated(MERGED, (old, f"clear_cpu_buffers, {STRONG}, clear_if_mmio, {WEAK}"))
    both = {"verw": True, "mmio_only": True}
    assert not verdict(swapped, MERGED, **both).kept
    assert verdict(swapped, MERGED, **both, reach="assigned").kept
    assert verdict(swapped, MERGED, verw=True).kept  # alone, either order will do
    assert verdict(MERGED, MERGED, **both).kept


def test_one_of_v4s_alternatives_swapped_tests_a_flag_that_nobody_stashed():
    old = f"clear_if_nz, {WEAK}, clear_cpu_buffers, {STRONG}"
    swapped = mutated(V4, (old, f"clear_cpu_buffers, {STRONG}, clear_if_nz, {WEAK}"))
    both = {"verw": True, "mmio_only": True}
    # ZF is then what the last instruction before left there: nothing that anybody meant.
    assert verdict(swapped, V4, **both, reach="assigned").kept is verdict(swapped, V4, **both).kept
    assert verdict(V4, V4, **both).kept


def test_bt_before_test_loses_the_choice_of_vmresume():
    stash = f'    ALTERNATIVE_2 "", stash_mmio, {WEAK}, "", {STRONG}\n'
    bt = "    btl $0, %ebx                        # CF: RUN_VMRESUME\n"
    late = mutated(V4, (stash + bt, bt + stash))
    found = verdict(late, V4, mmio_only=True, reach="assigned", resume=True)
    assert (found.kept, found.entered_right) == (True, False)  # TEST has cleared CF: VMLAUNCH, which fails
    assert verdict(late, V4, mmio_only=True, reach="assigned").entered_right
    assert verdict(late, V4, verw=True, resume=True).entered_right  # no TEST there


def test_verw_before_the_jump_on_zf_loses_the_choice_of_vmresume():
    moved = mutated(MMIO, ("    jz .Lvmlaunch\n", "    clear_cpu_buffers\n    jz .Lvmlaunch\n"))
    found = verdict(moved, MMIO, verw=True, resume=True)
    assert (found.kept, found.entered_right) == (True, False)


@pytest.mark.parametrize("era", [V4, MERGED])
def test_jz_inverted_clears_for_the_wrong_vcpus(era):
    inverted = mutated(era, ("    jz .Lskip_verw", "    jnz .Lskip_verw"))
    assert not verdict(inverted, era, mmio_only=True, reach="assigned").kept
    needless = verdict(inverted, era, mmio_only=True)
    assert (needless.kept, needless.verw) == (True, 1)


def test_a_store_after_verw_shows_in_the_distance_and_only_there():
    late = mutated(MOVED, ("    jnc .Lvmlaunch\n", "    movq %rax, (%rsp)\n    jnc .Lvmlaunch\n"))
    found = verdict(late, MOVED, verw=True)
    assert (found.kept, found.instructions_after_clear, found.accesses_after_clear) == (True, 2, 1)


CHAIN = "    STATIC_LONG_JUMP_IF_ON .L{}, {}\n"
FLUSHED = "    call vmx_l1d_flush\n    jmp .Lcleared\n"


@pytest.mark.parametrize(
    ("era", "first"),
    [
        (MDS, CHAIN.format("verw", "mds_user_clear")),
        (MMIO, CHAIN.format("verw", "mds_user_clear")),
        (MOVED, CHAIN.format("mmio", "mmio_stale_data_clear")),
        (REACH, CHAIN.format("mmio", "cpu_buf_vm_clear")),
    ],
)
def test_the_else_removed_mends_what_it_skipped(era, first):
    mended = mutated(era, (first, ".Lno_else:\n" + first), (FLUSHED, FLUSHED.replace("cleared", "no_else")))
    verw = era in (MDS, MMIO)
    case = {"verw": verw, "mmio_only": not verw, "mode": "cond", "reach": "assigned"}
    assert not verdict(era, era, **case).kept
    assert verdict(mended, era, **case).kept
    assert verdict(mended, era, **{**case, "flag": True}).verw == 1


def test_a_flush_that_never_comes_breaks_the_promise_of_l1tf():
    lame = mutated(MERGED, ("    call vmx_l1d_flush\n", ""))
    assert not verdict(lame, MERGED, mode="always").kept
    assert not verdict(lame, MERGED, verw=True, mode="cond", flag=True).kept  # VERW is no L1D flush
    assert verdict(lame, MERGED, mode="cond").kept


def test_code_that_returns_without_a_vm_enter_cannot_be_judged():
    turned_back = mutated(MERGED, ("    call vmx_l1d_flush\n", "    popq %rbx\n    popq %rbp\n    ret\n"))
    with pytest.raises(LabError, match="no VM-Enter: the run ended with return"):
        judge(Promise(Verw.NEVER, "never"), VCpuState(), eras.run(turned_back, State()))
