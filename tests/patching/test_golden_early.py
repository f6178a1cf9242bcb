"""Early kernels, booted: NOPs by CPU, and sites that other patchers write, too.

A site is [address, length, bytes, bytes when booted or null, bytes before alternatives or null, who else names it].
"""

import gzip
import json
from dataclasses import dataclass
from functools import cache

import pytest
from needs import kernel_file
from own_code import FOLDERS
from places import DATA

from vmenter.code.image import Image, load
from vmenter.patching import features
from vmenter.patching.alternative_table import Nops, Site, read
from vmenter.patching.alternatives import Patch, patch
from vmenter.patching.other_patchers import marked

FOLDER = DATA / "golden" / "early"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))
BY_CPU = [name for name in NAMES if name.startswith("5.10")]
SITES = {"5.10.262": (1052, 750), "6.1.192": (4667, 3890)}  # entries, sites


@dataclass(frozen=True)
class Golden:
    """One boot: the CPU's features, which NOPs it got, and the bytes right after alternatives."""

    kernel: str
    features: frozenset[int]
    nops: Nops | None
    sites: dict[int, bytes]


@cache
def golden(name: str) -> Golden:
    data = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    nops = data.get("ideal_nops")
    return Golden(
        kernel=data["kernel"],
        features=features.from_words(int(word, 16) for word in data["feature_words"]),
        nops=Nops(nops.removesuffix("_nops")) if nops else None,
        sites={address: bytes.fromhex(code) for address, _, code, *_ in data["sites"]},
    )


@cache
def kernel(version: str) -> tuple[Image, tuple[Site, ...]]:
    image = load(kernel_file(FOLDERS[version], "vmlinuz"))
    return image, marked(image, read(image).sites)


def patched(name: str, nops: Nops | None) -> list[Patch]:
    booted = golden(name)
    image, sites = kernel(booted.kernel)
    how = read(image, nops=nops).rules
    return [patch(image, site, booted.features, how) for site in sites]


def test_there_are_boots_with_either_kind_of_nops():
    assert {golden(name).nops for name in NAMES} == {Nops.P6, Nops.K8, None}


@pytest.mark.parametrize("version", SITES)
def test_the_tables_have_the_known_sizes(version):
    image, sites = kernel(version)
    assert (len(read(image).entries), len(sites)) == SITES[version]


@pytest.mark.parametrize("name", NAMES)
def test_every_site_that_no_other_patcher_writes_equals_the_booted_kernel(name, report):
    booted = golden(name)
    found = patched(name, booted.nops)
    assert {p.site.address for p in found} == booted.sites.keys()
    assert all(p.code is not None for p in found)
    own = [p for p in found if not p.site.also]
    different = [p for p in found if p.code != booted.sites[p.site.address]]
    assert [p.site for p in different if not p.site.also] == []
    assert different  # so naming them is of use
    assert len(own) > len(found) // 3
    equal = len(found) - len(different)
    report(
        f"{name.replace('-', ' ', 1)}: {len(own):,} of {len(own):,} sites that are alternatives' own equal the booted "
        f"kernel, and {equal - len(own):,} of {len(found) - len(own):,} that another patcher names"
    )


@pytest.mark.parametrize("name", BY_CPU)
def test_the_other_cpus_nops_do_not_pass(name):
    booted = golden(name)
    other = Nops.P6 if booted.nops is Nops.K8 else Nops.K8
    different = [p for p in patched(name, other) if p.code != booted.sites[p.site.address]]
    assert len(different) > 100


@pytest.mark.parametrize("name", BY_CPU)
def test_without_a_cpu_what_is_decided_is_right_and_the_rest_says_why(name, report):
    booted, found = golden(name), patched(name, None)
    undecided = [p for p in found if p.undecided]
    assert 100 < len(undecided) < len(found) - 100
    assert all("p6 or k8" in p.undecided for p in undecided)
    for one in found:
        assert one.undecided or one.site.also or one.code == booted.sites[one.site.address]
    report(
        f"{name.replace('-', ' ', 1)}, CPU not told: {len(undecided)} of {len(found)} undecided, the rest right"
    )
