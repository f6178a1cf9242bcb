"""The census: what was recorded is what real kernels hold, and the lab's small kernel has the same forms."""

import re
from collections import Counter

import pytest
from needs import kernel_file
from places import DATA

from vmenter import LabError
from vmenter.code.image import from_bytes, load
from vmenter.code.symbols import Symbols
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import LAB_BASE, VCPU, VCpu
from vmenter.kernels import census
from vmenter.kernels.census import Census, record, recorded, take
from vmenter.patching import features
from vmenter.patching.alternative_table import Engine, entries, rules, sites
from vmenter.patching.alternatives import apply, patch_all
from vmenter.patching.lab import LAB, lab_object

MODULES = ("kvm-intel.ko", "kvm-amd.ko")
ALL = [(version, file) for version in record() for file in record()[version]["census"]]


def taken(version, file):
    if file == census.KERNEL:
        symbols = Symbols.from_text((DATA / f"census-{version}.map").read_bytes())
        return take(load(kernel_file(version, file)).with_symbols(symbols))
    return take(load(kernel_file(version, f"{file}.xz"), base=LAB_BASE))


# --- the record --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "file"), ALL)
def test_the_record_is_what_the_real_files_hold(version, file):
    found, noted = taken(version, file).to_json(), recorded(version, file).to_json()
    assert found.pop("file").removesuffix(".xz") == noted.pop("file")  # packed or not
    assert found == noted


def test_two_kernels_and_their_modules_are_recorded():
    assert set(ALL) == {(version, file) for version in ("6.12.117", "7.3.4") for file in (census.KERNEL, *MODULES)}


@pytest.mark.parametrize(("version", "file"), ALL)
def test_the_numbers_of_a_census_add_up(version, file):
    one = recorded(version, file)
    assert sum(count.entries for count in one.features) == one.entries == sum(n for _, n in one.flags)
    assert sum(n for _, n in one.per_site) == sum(n for _, n in one.lengths) == one.sites
    assert sum(number * n for number, n in one.per_site) == one.entries
    assert sum(n for _, n in one.purposes) == one.sites
    assert sum(n for _, n in one.places) in ((0,) if file in MODULES else (one.sites,))
    assert {what for what, _ in one.purposes} <= set(census.PURPOSES)
    assert {what for what, _ in one.places} <= set(census.PLACES)
    assert all(count.sites <= count.entries for count in one.features)


def test_a_census_survives_json():
    for version, file in ALL:
        one = recorded(version, file)
        assert Census.from_json(one.to_json()) == one


def test_what_was_not_recorded_is_one_clear_error():
    with pytest.raises(LabError, match=r"no census of 6\.1 vmlinuz was recorded; there are 6\.12\.117, 7\.3\.4"):
        recorded("6.1")
    with pytest.raises(LabError, match=r"each vmlinuz, kvm-intel\.ko, kvm-amd\.ko"):
        recorded("7.3.4", "kvm.ko")


@pytest.mark.parametrize("names", [census.PARAVIRT, census.USER_ACCESS, census.COPYING, census.FLAWS])
def test_the_features_that_decide_on_a_purpose_exist_in_one_of_the_kernels(names):
    for name in names:
        found = []
        for version in record():
            try:
                found.append(features.number(name, version))
            except LabError:
                continue
        assert found, name


# --- the lab's small kernel ------------------------------------------------------------------------------------


def lab():
    return from_bytes(lab_object("beyond"), "beyond", LAB_BASE)


def patched(*names):
    image = lab()
    return apply(image, patch_all(image, {features.number(name, image.kernel) for name in names}))


def at(name, *on):
    """Return the bytes at a function's site on a CPU with these features."""
    image = lab()
    numbers = {features.number(one, image.kernel) for one in on}
    return next(p.code for p in patch_all(image, numbers) if image.label(p.site.address) == name)


def test_the_small_kernel_has_one_of_each_purpose_but_the_rest():
    one = take(lab())
    assert {what for what, _ in one.purposes} == set(census.PURPOSES) - {"other"}
    assert [clear.function for clear in one.clears] == ["back_to_user"]
    assert dict(one.flags) == {"DIRECT_CALL": 2, "NOT": 2, "none": 6}
    assert not one.places


def test_its_feature_numbers_are_those_of_its_kernel():
    image = lab()
    found = re.findall(r"^X86_FEATURE_(\w+) +?= (\d+)\*32 \+ (\d+)", (LAB / "beyond.S").read_text(), re.MULTILINE)
    assert len(found) == 3
    for name, word, bit in found:
        assert features.number(name, image.kernel) == int(word) * 32 + int(bit)


@pytest.mark.parametrize("size", [0, 1, 8, 9, 100])
@pytest.mark.parametrize("names", [(), ("FSRM",), ("SMAP",), ("FSRM", "SMAP")])
@pytest.mark.parametrize("function", ["copy", "read_user"])
def test_its_copies_copy_on_every_cpu(function, names, size):
    text = bytes(range(1, 101))
    vcpu = VCpu(fields={0x800: text})
    count = "rdx" if function == "copy" else "rcx"
    trace = Machine(patched(*names)).run(function, {"rdi": VCPU + 0x400, "rsi": VCPU + 0x800, count: size}, vcpu)
    got = {}
    for access in trace.accesses:
        if access.write and access.address < VCPU + 0x800 and access.address >= VCPU:
            data = (access.value & (1 << 8 * access.size) - 1).to_bytes(access.size, "little")
            got |= {access.address - VCPU - 0x400 + n: byte for n, byte in enumerate(data)}
    assert got == dict(enumerate(text[:size]))
    ran = Counter(one.mnemonic for one in trace.instructions)
    bytewise = sum(n for name, n in ran.items() if "movsb" in name)
    assert bytewise == ("FSRM" in names)
    assert ran["stac"] == ran["clac"] == (function == "read_user" and "SMAP" in names)


def test_its_paravirtual_call_becomes_what_the_machine_wants():
    assert at("turn_interrupts_off")[0] == 0xFA  # CLI
    assert at("turn_interrupts_off", "ALWAYS")[0] == 0xFA  # the last match wins
    under_xen = at("turn_interrupts_off", "ALWAYS", "XENPV")
    assert under_xen[0] == 0xE8  # a straight call, its target read through the table
    image = lab()
    target = image.symbols.get("turn_interrupts_off").address + 5 + int.from_bytes(under_xen[1:5], "little")
    assert image.label(target) == "interrupts_off"
    assert at("do_nothing", "ALWAYS") == bytes.fromhex("660f1f440000")


def test_its_question_is_answered_in_every_case():
    for names, answer in (((), 0), (("ALWAYS",), 0), (("ALWAYS", "LA57"), 1)):
        machine = Machine(patched(*names))
        machine.run("five_levels", {"rax": 7})
        assert machine.registers()["rax"] == answer


@pytest.mark.parametrize("version", record())
def test_its_forms_are_those_of_a_real_kernel(version):
    """Features, flags, and how long the replacements are; the code is the lab's own."""
    image = load(kernel_file(version, census.KERNEL))
    how = rules(image)

    def forms(image, size):
        found = sites(image, entries(image, size))
        return {tuple((e.feature, e.flags, e.replacement_length) for e in site.entries) for site in found}

    ours = lab()
    real = forms(image, how.record_size)
    missing = [form for form in forms(ours, 14) if form not in real]
    # Two jumps are short in the lab and long in the kernel.
    assert {tuple(feature for feature, _, _ in form) for form in missing} <= {
        (features.number("ALWAYS", version), features.number("LA57", version))
    }
    assert how.engine in (Engine.LAYERED, Engine.ONCE)
