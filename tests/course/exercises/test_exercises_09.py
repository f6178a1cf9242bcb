"""Exercises of notebook 09: what their judges know is what the lab's kernels and `inspect` say."""

import pytest

from vmenter.boot.generations import closest
from vmenter.boot.processors import PRESETS
from vmenter.course.exercises.nb09 import CPU, clears_as_6_19, kernels_that_could_be, rows_of, where
from vmenter.emulator.trace import EventKind
from vmenter.kernels.form import HAS_FORM
from vmenter.kernels.inspect import inspect
from vmenter.kernels.recorded import inspected, recorded
from vmenter.patching.lab import lab_object
from vmenter.story import eras, history
from vmenter.story.promise import Reach, VCpuState

LIKE = {"6.12.117": "43fb862de8f6", "6.18.15": "83ebe7157483", "7.3.4": "e6ff1d61de51"}


@pytest.mark.parametrize(("release", "era"), LIKE.items())
@pytest.mark.parametrize("vcpu", ["mapped", "assigned"])
@pytest.mark.parametrize("cpu", [CPU, "cascade-lake-no-tsx", "sapphire-rapids", "goldmont-server"])
def test_where_a_recorded_kernel_clears_is_where_the_labs_kernel_of_its_form_does(release, era, vcpu, cpu):
    entry = eras.enter(era, PRESETS[cpu].host, VCpuState(Reach(vcpu)))
    clears = [event.address for event in entry.trace.events if event.kind is EventKind.VERW]
    image = eras.patched(history.era(era), entry.state.features, entry.state.keys)
    places = {"stub" if image.label(address).startswith("__vmx_vcpu_run") else "C" for address in clears}
    assert {where(recorded(release), vcpu, cpu)[0]} == (places or {"nowhere"})


def test_all_recorded_kernels_select_as_themselves_but_for_6_18_which_selects_as_6_17():
    selects = {one.release: closest(one.release) for one in inspected()}
    assert {release: other for release, other in selects.items() if other != release} == {"6.18.15": "6.17"}


def test_one_of_all_kernels_clears_as_6_19_does():
    cases = [*kernels_that_could_be()]
    assert len(cases) == len(set(cases)) == 544
    assert sum(clears_as_6_19(*case) for case in cases) == 1


@pytest.mark.parametrize("one", inspected(), ids=lambda one: one.release)
def test_the_recorded_kernels_are_among_them_and_judged_as_inspect_judges(one):
    case = rows_of(one), one.report["c_level_clear"]
    assert case in set(kernels_that_could_be())
    assert clears_as_6_19(*case) == one.has_form


@pytest.mark.parametrize("era", ["43fb862de8f6", "83ebe7157483", "e6ff1d61de51", "v4"])
def test_the_labs_kernels_are_judged_as_inspect_judges_but_for_the_form(era):
    report = inspect(lab_object(era), era)
    names = report.stubs[0].names
    short = {"CLEAR_CPU_BUF": "VM", "CLEAR_CPU_BUF_VM": "VM", "CLEAR_CPU_BUF_VM_MMIO": "MMIO"}
    rows = tuple(
        (" ".join(short[names[number]] for number in run.features), run.mmio, run.verw > 0)
        for run in report.stubs[0].runs
        if not run.resume
    )
    assert clears_as_6_19(rows, report.c_level_clear) == (
        report.verdict in (HAS_FORM, "clears as 6.19 does, but not in its form")
    )
