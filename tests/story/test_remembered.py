"""What is remembered of a run is what a new run would give."""

from dataclasses import replace

import pytest

from vmenter.story import eras, remembered
from vmenter.story.audit import reached
from vmenter.story.history import ERAS
from vmenter.story.remembered import Remembered
from vmenter.story.space import DEFAULT


def states(era):
    return sorted({state for state, _ in reached(era, DEFAULT)}, key=repr)


@pytest.mark.parametrize("era", ERAS.values(), ids=ERAS)
def test_an_eras_code_differs_at_its_sites_alone(era):
    plain = eras.patched(era, frozenset(), frozenset())
    places = {at for site in remembered.sites(plain) for at in site}
    for state in states(era):
        image = eras.patched(era, state.features, state.keys)
        for one, other in zip(plain.sections, image.sections, strict=True):
            pairs = enumerate(zip(one.data, other.data, strict=True), one.address)
            assert {at for at, (a, b) in pairs if a != b} <= places


@pytest.mark.parametrize("era", ERAS.values(), ids=ERAS)
def test_a_run_like_it_went_the_same_way(era):
    eras.run.cache_clear()  # what other tests ran may be shown with code that has been made anew since
    for state in (variant for one in states(era)[::9] for variant in one.variants):
        like, kept = eras.run_like(era, state), {}
        if not state.host_rsp_changed:
            kept = eras._run(era, replace(state, host_rsp_changed=True), {})[0].kept_stack_pointers
        anew, registers = eras._run(era, state, kept)
        for name in ("end", "steps", "raw_accesses", "events", "vm_enter", "accesses", "distance", "instructions"):
            assert getattr(like, name) == getattr(anew, name), name
        assert eras.registers(era, state) == registers
        assert eras.run(era, state).image is anew.image


def test_what_was_not_touched_may_differ_and_what_was_may_not():
    known = Remembered()
    assert known.find((1, 2, 3)) is None
    known.keep((1, 2, 3), (0, 2), "a run")
    known.keep((4, 2, 3), (0,), "another")
    assert known.find((1, 9, 3)) == "a run"
    assert known.find((1, 2, 4)) is None
    assert known.find((4, 0, 0)) == "another"
    assert len(known) == 2
