"""Three states of a flaw: what says "not affected", and what does not."""

import pytest

from vmenter.hosts.report import Report, parse
from vmenter.hosts.told import BUG, State, knows, told


@pytest.mark.parametrize(
    ("release", "bugs", "bug", "known"),
    [
        ("5.2.0", (), "mds", True),
        ("5.1.9", (), "mds", False),
        ("6.8.0", (), "rfds", False),
        ("6.9.0", (), "rfds", True),
        ("5.10.262", (), "rfds", True),  # a stable kernel whose selection was read
        ("5.10.100", (), "rfds", False),
        (None, ("taa",), "mds", True),  # a kernel that knows what came later
        (None, ("mds",), "taa", False),
        (None, ("its",), "rfds", True),
        (None, ("its",), "tsa", False),
        (None, ("spectre_v1",), "l1tf", False),
        (None, (), "l1tf", False),
    ],
)
def test_a_kernel_knows_a_flaw_by_its_version_or_by_a_later_name(release, bugs, bug, known):
    assert knows(Report(release=release, bugs=bugs), bug) is known


@pytest.mark.parametrize("file", BUG)
def test_nothing_said_is_not_told(file):
    assert told(Report())[file].state is State.NOT_TOLD
    assert told(Report(bugs=()))[file].state is State.NOT_TOLD
    assert told(Report(flags=("rtm",), release="7.3.4"))[file].state is State.NOT_TOLD


@pytest.mark.parametrize("file", BUG)
def test_a_line_or_a_bugs_line_of_a_kernel_that_knows_it_tells(file):
    assert told(Report(lines=((file, "Not affected"),)))[file].state is State.NOT_AFFECTED
    assert told(Report(lines=((file, "Vulnerable"),)))[file].state is State.AFFECTED
    assert told(Report(bugs=(), release="7.3.4"))[file].state is State.NOT_AFFECTED
    one = told(Report(bugs=(BUG[file],)))[file]
    assert (one.state, one.line) == (State.AFFECTED, False)


def test_unknown_and_contradictions_are_not_told():
    assert (
        told(Report(lines=(("mmio_stale_data", "Unknown: No mitigations"),)))["mmio_stale_data"].state
        == "not told"
    )
    assert told(Report(bugs=("mmio_unknown",), release="6.1.0"))["mmio_stale_data"].state == "not told"
    twice = Report(lines=(("mds", "Not affected"),), unread=(("mds", "two different texts"),))
    assert told(twice)["mds"].state == "not told"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("bugs : spectre_v1 spectre_v2 spec_store_bypass swapgs\npower management:\n", "not affected"),
        ("bugs : spectre_v1 spectre_v2 spec_store_bypass swapgs", "not told"),  # the paste may end too early
        ("bugs : spectre_v1 spectre_v2 spec_store_bypass swapgs \u2026\npower management:\n", "not told"),
        ("bugs : spectre_v1 spectre_v2 spec_store_bypass mmio_st\npower management:\n", "not told"),
        ("bugs : spectre_v1 spectre_v2 spec_store_bypass a_new_one\npower management:\n", "not affected"),
        (
            "flags : fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36\n"
            "bugs  : spectre_v1 spectre_v2 spec_store_bypass swapgs eibrs_pbrsb gds\npower management:\n",
            "not told",  # lines are folded here, and one more name may not have fitted
        ),
    ],
)
def test_a_bugs_line_that_may_be_cut_off_says_nothing_of_what_it_lacks(text, state):
    assert told(parse(f"6.12.5-amd64\nvendor_id : GenuineIntel\n{text}"))["mds"].state == state
