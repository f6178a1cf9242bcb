"""Which kernel has which commit: releases, stable series, and what is not told."""

import pytest
from needs import kernel_file

from vmenter import LabError
from vmenter.code.image import load
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels.module_era import of_module
from vmenter.story import stable
from vmenter.story.history import BACKPORT, ERAS


@pytest.mark.parametrize(
    ("commit", "name", "first"),
    [(commit, name, first) for commit, one in stable.ARRIVALS.items() for name, first in one.series.items()],
)
def test_a_series_has_a_commit_from_its_first_number_on(commit, name, first):
    found = [stable.has(commit, f"{name}.{number}") for number in (first - 1, first, first + 1)]
    assert found == [False, True, True]


@pytest.mark.parametrize(("commit", "arrival"), stable.ARRIVALS.items())
def test_a_release_has_a_commit_from_its_first_on(commit, arrival):
    assert stable.has(commit, f"v{arrival.release}")
    assert stable.has(commit, f"{arrival.release}.1")
    assert stable.has(commit, "7.3.4")
    assert ERAS[commit].release == f"v{arrival.release}"


def test_what_was_seen_to_lack_a_commit_and_all_before_it_in_its_series_lack_it():
    assert [stable.has(stable.MERGED, f"6.12.{number}") for number in (0, 117, 118)] == [False, False, None]


def test_a_release_before_the_first_one_lacks_a_commit():
    assert stable.has(stable.MERGED, "v6.18") is False
    assert stable.has(stable.CHAIN, "4.19") is False


def test_what_nobody_read_is_not_told():
    assert stable.has(stable.MERGED, "6.18.3") is None
    assert stable.has(stable.MOVE, "4.19.300") is None
    assert stable.skipped("5.4.200") is None


@pytest.mark.parametrize(
    ("kernel", "flaws"),
    [
        ("v5.1", ()),
        ("4.14.119", ("MDS",)),
        ("5.10.46", ("MDS",)),
        ("5.15.47", ("MDS",)),
        ("5.15.100", ("MDS", "MMIO")),
        ("5.15.154", ("MMIO",)),
        ("5.15.155", None),
        ("5.18.5", ("MDS", "MMIO")),
        ("v6.7", ("MDS", "MMIO")),
        ("6.1.81", ("MMIO",)),
        ("6.12.117", ("MMIO",)),
        ("v6.18", ("MMIO",)),
        ("v6.19", ()),
        ("7.3.4", ()),
    ],
)
def test_what_a_kernel_can_leave_out(kernel, flaws):
    assert stable.skipped(kernel) == flaws


@pytest.mark.parametrize("text", ["", "six", "6", "6.1.", "6.1.81-rc1", "6.1.81.2", None, 6.1, "1" * 99])
def test_what_is_no_version_is_one_clear_error(text):
    with pytest.raises(LabError, match="no version of a kernel"):
        stable.version(text)


@pytest.mark.parametrize(("name", "number"), sorted(stable.ARRIVALS[stable.MERGED].lacks.items()))
def test_what_is_said_to_lack_the_merged_form_is_seen_to_lack_it(name, number):
    """Debian's module of that very number goes the way of 2024."""
    module = load(kernel_file(f"{name}.{number}", "kvm-intel.ko.xz"), LAB_BASE)
    assert of_module(module, name).module.like in (stable.MOVE, BACKPORT.id)


def test_an_unknown_commit_is_one_clear_error():
    with pytest.raises(LabError, match="nothing is known of"):
        stable.has("abc", "6.1")
