"""What booted kernels selected, case by case; and tests over all cases that are one test with a subtest for each."""

import gzip
import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

import pytest
from places import DATA


class Case(NamedTuple):
    """One host and what a kernel made of it."""

    kernel: str
    number: int
    told: dict[str, Any]


@cache
def golden() -> tuple[Case, ...]:
    """Return all cases, kernel by kernel."""
    found = []
    for file in sorted(DATA.glob("mitigations-*.json.gz")):
        data = json.loads(gzip.decompress(file.read_bytes()))
        found += [Case(data["kernel"], number, case) for number, case in enumerate(data["cases"])]
    return tuple(found)


def each(cases: Iterable[Case]) -> Callable[[Callable[[str, Any], None]], Callable[[pytest.Subtests], None]]:
    """Make of a test of (kernel, case) one test over these cases; each has its own report, and all are tried."""
    cases = tuple(cases)
    assert cases, "there are no cases to try"

    def decorate(test: Callable[[str, Any], None]) -> Callable[[pytest.Subtests], None]:
        def over_all_cases(subtests: pytest.Subtests) -> None:
            for one in cases:
                with subtests.test(f"{one.kernel}-{one.number}"):
                    test(one.kernel, one.told)

        over_all_cases.__doc__ = test.__doc__
        return over_all_cases

    return decorate
