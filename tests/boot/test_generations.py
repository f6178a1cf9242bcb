"""The kernels whose selection was read, and which of them another kernel is like."""

import pytest

from vmenter import LabError
from vmenter.boot.generations import GENERATIONS, closest, generation, later


@pytest.mark.parametrize(
    ("release", "kernel"),
    [
        ("7.3.4-amd64", "7.3.4"),
        ("9.0", "7.3.4"),
        ("6.19.0", "7.3.4"),
        ("6.18.99", "6.17"),
        ("6.17", "6.17"),
        ("6.16.12", "6.12.117"),
        ("6.12.117+deb13-amd64", "6.12.117"),
        ("6.12.90+deb13-amd64", "6.12.117"),
        ("6.1.192", "6.1.192"),
        ("6.1.0-30-amd64", "6.12.117"),
        ("5.10.262", "5.10.262"),
        ("5.4.0", "6.12.117"),
    ],
)
def test_a_kernel_selects_as_the_closest_that_was_read(release, kernel):
    assert closest(release) == kernel
    assert generation(kernel) is GENERATIONS[kernel]


def test_the_number_alone_decides_from_6_17_on():
    assert [later(point) for point in ((6, 16, 12), (6, 17), (6, 18, 99), (6, 19))] == [
        None,
        "6.17",
        "6.17",
        "7.3.4",
    ]
    assert {later((6, 17)), later((6, 19))} <= GENERATIONS.keys()


def test_what_is_no_version_has_no_closest_kernel():
    with pytest.raises(LabError, match="no kernel version"):
        closest("newest")
