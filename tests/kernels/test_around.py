"""The C function around a stub: what it does before the call, held against runs of the lab's own."""

from itertools import product

import pytest
from needs import kernel_file

from vmenter.code.image import Image, from_bytes, load
from vmenter.course.exercises.variants import changed
from vmenter.emulator.memory import LAB_BASE
from vmenter.emulator.trace import EventKind
from vmenter.kernels import stub as stubs
from vmenter.kernels.around import Around, Asks, Guarded, around
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
    (found,) = around(image, stubs.find(image)[0], rules(image))
    return found


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
    found = of(load(kernel_file(version, "kvm-intel.ko.xz"), LAB_BASE))
    assert found.function == "vmx_vcpu_enter_exit"
    assert (found.verw, found.clears, found.fb_clear_dis) == (verw, verw is not None, True)
    assert found.flush == Guarded((FLUSH,))
    assert KEYS.intersection(found.keys) == {FLUSH, COND, *(verw.under if verw else ())}


@pytest.mark.parametrize("era", [*ERAS.values(), BACKPORT], ids=lambda era: era.id)
def test_the_model_of_the_c_function_agrees_with_runs_of_all_of_it(era):
    """In every state: what the whole lab kernel clears, its stub's own VERW aside, is what the model says."""
    image = from_bytes(era.object, era.id, LAB_BASE)
    stub = stubs.find(image)[0]
    (found,) = around(image, stub, rules(image))
    model = Model(image, found.function, stub, rules(image))
    for keys in (
        frozenset(k for k, on in zip(era.keys, states, strict=True) if on)
        for states in product((0, 1), repeat=len(era.keys))
    ):
        for reach, pending in product(Reach, (False, True)):
            trace = eras.run(era, State(frozenset({"FLUSH_L1D"}), keys, reach, pending))
            ran = {event.kind for event in trace.clears}
            on = {key: key in keys for key in era.keys}
            assigned = reach is Reach.ASSIGNED
            verw = model.verw(on, {Asks.OTHER: assigned, Asks.MMIO: reach is not Reach.NONE})
            assert verw is (Does.ALWAYS if EventKind.VERW in ran else Does.NEVER)
            flush = {Does.ALWAYS: True, Does.NEVER: False, Does.DEPENDS: pending}[model.flush(on)]
            assert flush == (EventKind.L1D_FLUSH in ran)


def test_a_verw_that_only_an_indirect_jump_may_lead_to_cannot_be_told():
    hidden = changed(
        "e6ff1d61de51",
        ("    call vmx_l1d_flush\n", "    call vmx_l1d_flush\n    testl %ebp, %ebp\n    js 8f\n"),
        (
            "    enter_exit_end\n",
            "    enter_exit_end\n7:  clear_cpu_buffers\n    ret\n8:  movq $7b, %rax\n    jmp *%rax\n",
        ),
    )
    found = of_era(hidden)
    assert (found.clears, found.verw) == (None, None)
    assert found.why_not == "an indirect jump hides which ways lead to VERW"


def test_a_verw_that_nothing_leads_to_is_none():
    dead = changed("e6ff1d61de51", ("    enter_exit_end\n", "    enter_exit_end\n    clear_cpu_buffers\n"))
    assert of_era(dead).clears is False


def test_a_verw_in_a_function_that_is_called_on_the_way_counts():
    called = changed("e6ff1d61de51", ("    l1d_flush l1d_flush_if_cpu_flag\n", "    clear_cpu_buffers\n    ret\n"))
    found = of_era(called)
    assert (found.verw, found.flush) == (Guarded((FLUSH,)), None)
