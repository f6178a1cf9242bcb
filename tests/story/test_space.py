"""Parts of a space: narrowed to a few dimensions, gone through one by one, drawn at random."""

import pytest

from vmenter import LabError
from vmenter.story.space import DEFAULT


def test_keeping_leaves_only_the_named_dimensions_open():
    small = DEFAULT.keeping("mds", "flush pending")
    assert {name for name, values in small.counts.items() if values > 1} == {"mds", "flush pending"}
    assert small.configurations == 3 * 2
    assert DEFAULT.keeping(*DEFAULT.counts) == DEFAULT
    assert DEFAULT.keeping().configurations == 1
    with pytest.raises(LabError, match="no dimension 'mdss'"):
        DEFAULT.keeping("mdss")


def test_machines_yields_each_configuration_once():
    small = DEFAULT.keeping("mds", "l1tf", "reaches host MMIO")
    machines = list(small.machines())
    assert len(machines) == len(set(machines)) == small.configurations == 18
    assert machines[0] == small.machine(())


def test_a_sample_is_the_same_for_the_same_seed_and_lies_in_the_space():
    one = DEFAULT.drawn(50, seed=8)
    assert one == DEFAULT.drawn(50, seed=8) != DEFAULT.drawn(50, seed=9)
    assert len(set(one)) > 40
    small = DEFAULT.keeping("l1tf")
    assert set(small.drawn(20, seed=1)) == set(small.machines())
