"""A run that is remembered is the run that would be made anew."""

from dataclasses import replace
from itertools import product
from random import Random

import pytest

from vmenter import LabError
from vmenter.course.judging import entering
from vmenter.course.judging.entering import ENTER_EXIT, RUN, STUB, Around, enter, word
from vmenter.course.judging.untouched import _asks, _effects, _frame
from vmenter.course.judging.variants import changed
from vmenter.emulator.memory import VCPU
from vmenter.story import eras
from vmenter.story.audit import reached
from vmenter.story.history import era
from vmenter.story.promise import Reach
from vmenter.story.space import DEFAULT

AROUNDS = [
    Around(start, known, stale, bits, again, fails)
    for start, known, stale, bits, again, fails in product(
        (RUN, ENTER_EXIT, STUB), (False, True), (False, True), (0, 0x5A5A_5A50), (False, True), (False, True)
    )
    if (start != RUN or not bits) and known + stale + again + fails <= 2
]
# Reads the first byte of a site that is patched, and takes another way by it, in front of the site.
CURIOUS = "    cmpb $0x0f, .Lread_me(%rip)\n    je 1f\n    nop\n1:\n.Lread_me:\n"
SITE = "    ALTERNATIVE_2 "


def forget():
    for one in (entering._runs, entering._machine):
        one.cache_clear()


def all_of(entered):
    trace = entered.trace
    ran = {at: trace.code[at].code for at in trace.steps}
    return (
        trace.end, trace.steps, trace.raw_accesses, trace.events, ran, trace.vm_enter, trace.distance,
        entered.registers, entered.state, entered.host_rsp,
        _effects(entered), _asks(trace), _frame(entered),
    )  # fmt: skip


def told(era_, state, around):
    try:
        return all_of(enter(era_, state, around))
    except LabError as error:
        return str(error)


@pytest.mark.parametrize("name", ["650b68a0622f", "83ebe7157483", "v4", "e6ff1d61de51", "curious"])
def test_what_is_remembered_is_what_a_machine_of_its_own_does(name):
    own = changed("e6ff1d61de51", (SITE, CURIOUS + SITE)) if name == "curious" else era(name)
    states = sorted({state for state, _ in reached(own, DEFAULT)}, key=repr)
    random = Random(4)
    pairs = []
    for around in random.sample(AROUNDS, 6):
        for state in random.sample(states, 5):  # each beside those that differ in one thing a run can look at
            others = ({"flush_pending": True}, {"resume": True}, {"mmio": Reach.ASSIGNED}, {"mmio": Reach.MAPPED})
            pairs += [(state, around), *((replace(state, **other), around) for other in others)]
    forget()
    remembered = [told(own, *pair) for pair in pairs]
    runs = sum(map(len, entering._runs(own).values()))
    assert 0 < runs < len(pairs) + sum(around.known + around.again for _, around in pairs)
    for pair, one in random.sample([*zip(pairs, remembered, strict=True)], 60):
        forget()
        assert told(own, *pair) == one, pair
    forget()


@pytest.mark.parametrize(("mmio", "counted"), [(Reach.NONE, 0), (Reach.MAPPED, 0), (Reach.ASSIGNED, 2)])
def test_devices_are_counted_only_where_one_is_passed_through(mmio, counted):
    state, _ = next(iter(reached(era("43fb862de8f6"), DEFAULT)))
    entered = enter(era("43fb862de8f6"), replace(state, mmio=mmio), Around(devices=2))
    assert word(entered.trace, VCPU + eras.VM + eras.ASSIGNED_DEVICES) == counted
