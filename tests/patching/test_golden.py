"""The engine against booted kernels: what alternatives left in memory, byte for byte.

Each golden file is one boot of one kernel on one CPU model; see its fields in `Golden`.
"""

import gzip
import json
from dataclasses import dataclass
from functools import cache

import pytest
from needs import kernel_file
from places import DATA

from vmenter.code.image import Image, load
from vmenter.code.symbols import Symbols
from vmenter.patching.alternative_table import Engine, entries, rules, sites
from vmenter.patching.alternatives import Patch, patch_all

FOLDER = DATA / "golden"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))

# From the sources and from counting: entries, sites, flags none / NOT / DIRECT_CALL.
TABLES = {
    "6.12.117": (9224, 5808, (2432, 2638, 4154), Engine.LAYERED),
    "7.3.4": (10038, 6219, (3076, 2796, 4166), Engine.ONCE),
}


@dataclass(frozen=True)
class Golden:
    """One boot: the features the kernel had set, and the bytes it then held at each site."""

    kernel: str
    features: frozenset[int]
    sites: dict[int, bytes]
    others: frozenset[int]  # sites that another boot-time patcher writes, too


@cache
def golden(name: str) -> Golden:
    data = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    words = [int(word, 16) for word in data["feature_words"]]
    return Golden(
        kernel=data["kernel"],
        features=frozenset(w * 32 + bit for w, word in enumerate(words) for bit in range(32) if word >> bit & 1),
        sites={int(address, 16): bytes.fromhex(code) for address, _, code in data["sites"]},
        others=frozenset(int(address, 16) for address in data["other_patchers"]),
    )


@cache
def kernel(version: str) -> Image:
    return load(kernel_file(version, "vmlinuz"))


def with_nop_func(image: Image, version: str) -> Image:
    """Return the image with the one symbol that the engine asks for."""
    return image.with_symbols(Symbols.from_text((FOLDER / f"{version}.map").read_bytes()))


def story(patch: Patch, booted: bytes) -> str:
    """Tell how a site came to differ: the way to the first wrong byte."""
    lines = [f"{patch.site.address:#x}: {patch.undecided or 'differs from the booted kernel'}"]
    lines += [f"  {e.feature // 32}*32+{e.feature % 32} flags {e.flags}" for e in patch.site.entries]
    lines += [f"  {step.name:12} {step.entry!s:5} {step.code.hex(' ')}" for step in patch.steps]
    return "\n".join([*lines, f"  {'booted':18} {booted.hex(' ')}"])


def test_there_are_booted_kernels_to_compare_with():
    assert len(NAMES) >= 4
    assert {golden(name).kernel for name in NAMES} == set(TABLES)


@pytest.mark.parametrize("name", NAMES)
def test_every_site_equals_the_booted_kernel(name, report):
    booted = golden(name)
    image = with_nop_func(kernel(booted.kernel), booted.kernel)
    patches = {p.site.address: p for p in patch_all(image, booted.features)}
    assert patches.keys() == booted.sites.keys()
    compared = [address for address in booted.sites if address not in booted.others]
    different = [address for address in compared if patches[address].code != booted.sites[address]]
    equal = len(compared) - len(different)
    report(f"{name.replace('-', ' ', 1)}: {equal:,} of {len(compared):,} sites equal the booted kernel")
    assert not different, f"{len(different)} sites differ, first\n" + story(
        patches[different[0]], booted.sites[different[0]]
    )
    assert len(compared) == len(booted.sites) - 19  # what may be left out is counted, too


@pytest.mark.parametrize("name", NAMES)
def test_without_symbols_a_direct_call_is_undecided_and_all_else_is_still_right(name):
    booted = golden(name)
    patches = patch_all(kernel(booted.kernel), booted.features)
    undecided = {p.site.address for p in patches if p.undecided}
    expected = {p.site.address for p in patches if p.chosen is not None and p.site.entries[p.chosen].direct_call}
    assert undecided == expected
    assert len(undecided) > 1000
    assert all(p.code is None for p in patches if p.undecided)
    for patch in patches:
        address = patch.site.address
        if not patch.undecided and address not in booted.others:
            assert patch.code == booted.sites[address], story(patch, booted.sites[address])


@pytest.mark.parametrize("version", TABLES)
def test_the_tables_of_real_kernels_have_the_known_sizes(version):
    image = kernel(version)
    how = rules(image)
    table = entries(image, how.record_size)
    number, places, flags, engine = TABLES[version]
    assert image.kernel is not None
    assert image.kernel.startswith(version.rsplit(".", 1)[0])
    assert (how.engine, how.record_size, len(table)) == (engine, 14, number)
    assert tuple(sum(e.flags == flag for e in table) for flag in range(3)) == flags
    found = sites(image, table)
    assert len(found) == places
    assert (min(s.length for s in found), max(s.length for s in found)) == (2, 43)


@pytest.mark.parametrize("name", NAMES)
def test_the_wrong_generation_does_not_pass_for_the_right_one(name):
    """A match of 100 % says something only if another engine does not reach it."""
    booted = golden(name)
    image = with_nop_func(kernel(booted.kernel), booted.kernel)
    how = rules(image, engine=Engine.EARLY, record_size=14)
    patches = patch_all(image, booted.features, how)
    different = sum(p.code != booted.sites[p.site.address] for p in patches)
    assert different > 100
