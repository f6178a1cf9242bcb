"""The C function around a stub: what it does before the call, held against runs of the lab's own."""

from itertools import product

import pytest
from real_modules import module_file, read

from vmenter.code.image import Image, from_bytes
from vmenter.course.judging.variants import changed
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels import stub as stubs
from vmenter.kernels.around import Around, Asks, Guarded, around
from vmenter.kernels.module_era import of_module
from vmenter.patching.alternative_table import rules
from vmenter.story import eras
from vmenter.story.eras import State
from vmenter.story.history import BACKPORT, ERAS
from vmenter.story.promise import Reach

FLUSH, COND, MDS, OLD_MMIO, NEW_MMIO = (
    "vmx_l1d_should_flush",
    "vmx_l1d_flush_cond",
    "mds_user_clear",
    "mmio_stale_data_clear",
    "cpu_buf_vm_clear",
)
KEYS = {FLUSH, COND, MDS, OLD_MMIO, NEW_MMIO}


def of(image: Image) -> Around:
    (found,) = around(image, stubs.find(image), rules(image))
    return found


def as_module(era):
    return of_module(from_bytes(era.object, era.id, LAB_BASE), era.id)


def of_era(era) -> Around:
    return of(from_bytes(era.object, era.id, LAB_BASE))


VERW = {
    "before-mds": None,
    "650b68a0622f": Guarded((MDS,), (FLUSH,)),
    "8cb861e9e3c9": Guarded((), (FLUSH,), (MDS, OLD_MMIO)),
    "43fb862de8f6": Guarded((OLD_MMIO,), (FLUSH,), (), Asks.OTHER),  # the lab asks the VM itself, without a call
    "83ebe7157483": Guarded((NEW_MMIO,), (FLUSH,), (), Asks.MMIO),
    "v4": None,
    "e6ff1d61de51": None,
}


@pytest.mark.parametrize(("era", "verw"), VERW.items())
def test_a_verw_in_c_is_found_with_the_keys_and_the_question_it_depends_on(era, verw):
    found = of_era(ERAS[era])
    assert (found.verw, found.clears) == (verw, verw is not None)
    assert found.flush == Guarded((FLUSH,))
    assert found.fb_clear_dis is ERAS[era].fb_clear_dis
    assert found.why_not is None


@pytest.mark.parametrize(
    ("version", "verw"),
    [
        ("6.1.192", Guarded((OLD_MMIO,), (FLUSH,), (), Asks.ASSIGNED)),
        ("6.12.117", Guarded((OLD_MMIO,), (FLUSH,), (), Asks.ASSIGNED)),
        ("7.3.4", None),
    ],
)
def test_the_same_of_real_kernels(version, verw):
    found = of(read(module_file(version)))
    assert found.function == "vmx_vcpu_enter_exit"
    assert (found.verw, found.clears, found.fb_clear_dis) == (verw, verw is not None, True)
    assert found.flush == Guarded((FLUSH,))
    assert KEYS.intersection(found.keys) == {FLUSH, COND, *(verw.under if verw else ())}


@pytest.mark.parametrize("era", [*ERAS.values(), BACKPORT], ids=lambda era: era.id)
def test_the_ways_of_the_c_function_agree_with_runs_of_all_of_it(era):
    """In every state: what the whole lab kernel clears, its stub's own VERW aside, is what the ways come to."""
    module = as_module(era).module
    for keys in (
        frozenset(k for k, on in zip(era.keys, states, strict=True) if on)
        for states in product((0, 1), repeat=len(era.keys))
    ):
        for reach, pending, disable in product(Reach, (False, True), (False, True)):
            state = State(
                frozenset({"FLUSH_L1D"}), keys, reach, pending, disable_fb_clear=disable and era.fb_clear_dis
            )
            ran = [(event.kind, event.neutralised) for event in eras.run(era, state).clears]
            found = [(event.kind, event.neutralised) for event in module.run(state).clears]
            assert found == ran


def test_a_verw_that_only_an_indirect_jump_leads_to_is_found():
    hidden = changed(
        "e6ff1d61de51",
        ("    call vmx_l1d_flush\n", "    call vmx_l1d_flush\n    testl %ebp, %ebp\n    js 8f\n9:\n"),
        (
            "    enter_exit_end\n",
            "    enter_exit_end\n7:  clear_cpu_buffers\n    jmp 9b\n8:  movq $7b, %rax\n    jmp *%rax\n",
        ),
    )
    found = of_era(hidden)
    assert (found.clears, found.why_not) == (True, None)
    assert [arm.questions for arm in found.arms] == [(("bit 31 of register rsi at the start", True),)]


def test_a_verw_that_nothing_leads_to_is_none():
    dead = changed("e6ff1d61de51", ("    enter_exit_end\n", "    enter_exit_end\n    clear_cpu_buffers\n"))
    assert of_era(dead).clears is False


def test_a_verw_in_a_function_that_is_called_on_the_way_counts():
    called = changed("e6ff1d61de51", ("    l1d_flush l1d_flush_if_cpu_flag\n", "    clear_cpu_buffers\n    ret\n"))
    found = of_era(called)
    assert (found.verw, found.flush) == (Guarded((FLUSH,)), None)


@pytest.mark.parametrize(("rounds", "clears"), [(9_000, True), (11_000, None)])
def test_c_may_take_20_000_instructions_to_the_call_and_no_more(rounds, clears):
    begin, loop = "    enter_exit_begin\n", f"    movl ${rounds}, %ecx\n1:  decl %ecx\n    jnz 1b\n"
    found = of_era(changed("83ebe7157483", (begin, begin + loop)))
    assert found.clears is clears
    assert (found.why_not or "").endswith("was found") == (clears is None)


@pytest.mark.parametrize("pointers", [12, 13])
def test_twelve_pointers_to_functions_elsewhere_are_followed_and_no_more(pointers):
    calls = "".join(f"    call *elsewhere_{number}(%rip)\n" for number in range(pointers))
    start = "\nfunction vmx_vcpu_run\n"
    found = of_era(changed("650b68a0622f", (start, start + calls)))
    if pointers == 12:
        assert found == of_era(ERAS["650b68a0622f"])
    else:
        assert found.why_not == "vmx_vcpu_run: no way from its start to the call was found"
