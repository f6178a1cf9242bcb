"""Modules as booted kernels loaded them: at their addresses, their calls going where the kernel is."""

import gzip
import json
from functools import cache

import pytest
from needs import kernel_file
from own_code import FOLDERS, MAPS
from places import DATA

from vmenter.code.image import Image, load
from vmenter.code.symbols import Symbol, Symbols
from vmenter.patching import features
from vmenter.patching.alternative_table import read
from vmenter.patching.alternatives import patch, patch_all

FOLDER = DATA / "golden" / "modules"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))


@cache
def golden(name: str) -> dict:
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


@cache
def kernel(name: str) -> Image:
    """Return the kernel with the names that the engine asks for: nop_func, and of the golden file pv_ops."""
    data = golden(name)
    folder = FOLDERS[data["kernel"]]
    image = load(kernel_file(folder, "vmlinuz"))
    known = Symbols.from_text((MAPS / f"{folder}.map").read_bytes())
    pointers = data["undefined"].get("pv_ops")
    given = Symbols.of([Symbol(int(pointers, 16), "pv_ops")]) if pointers else Symbols()
    return image.with_symbols(known + given)


def module(name: str):
    return kernel_file(FOLDERS[golden(name)["kernel"]], golden(name)["module"].replace("_", "-") + ".ko.xz")


def present(name: str) -> frozenset[int]:
    return features.from_words(int(word, 16) for word in golden(name)["feature_words"])


def numbers(texts: dict[str, str]) -> dict[str, int]:
    return {key: int(value, 16) for key, value in texts.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_site_equals_the_module_as_it_was_loaded(name, report):
    data = golden(name)
    places = numbers(data["sections"])
    image = load(module(name), places=places, undefined=numbers(data["undefined"]), beside=kernel(name))
    nops = data.get("ideal_nops", "").removesuffix("_nops") or None
    how, _, sites = read(image, nops=nops)
    patches = {site.address: patch(image, site, present(name), how) for site in sites}
    assert len(patches) == len(data["sites"])
    kept = {  # code of .init sections is gone, or overwritten, once a module is loaded
        places[section] + offset: bytes.fromhex(code)
        for section, offset, _, code in data["sites"]
        if code and not section.startswith(".init")
    }
    assert len(kept) > len(patches) * 3 // 4
    different = [one for at, one in patches.items() if at in kept and one.code != kept[at]]
    assert different == []
    report(f"{name}: {len(kept)} of {len(kept)} sites equal the module as loaded")


@pytest.mark.parametrize("name", [name for name in NAMES if golden(name)["kernel"] in ("6.12.117", "7.3.4")])
def test_beside_its_kernel_no_call_through_pv_ops_is_undecided(name, report):
    data, on = golden(name), present(name)
    alone = [p for p in patch_all(load(module(name)), on) if p.undecided]
    assert len(alone) > 20
    beside = {p.site.address: p for p in patch_all(load(module(name), beside=kernel(name)), on)}
    assert all(one.code is not None for one in beside.values())
    targets = {beside[one.site.address].code[:1] for one in alone}
    assert targets <= {b"\xe8", b"\x0f", b"\x66"}  # a CALL, or NOPs
    report(f"{name}: {len(alone)} calls through pv_ops, all decided beside kernel {data['kernel']}")
