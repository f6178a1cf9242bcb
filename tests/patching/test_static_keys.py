"""Static branches: read from the table, flipped by key."""

import struct

import pytest
from lab_images import lab
from needs import kernel_file

from vmenter import LabError
from vmenter.code.image import Image, load
from vmenter.code.instructions import decode
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import LAB_BASE
from vmenter.patching.static_keys import RECORD, StaticBranch, branches, flip, flips, states

# For each form: the branch, whether the key is on, and whether the code then goes to .Lthere.
TEXT = """
.globl start
start:
    xor %eax, %eax
    {macro} .Lthere, my_key
    ret
    {gap}
.Lthere:
    inc %eax
    ret
.data
.balign 8
my_key: .quad 0, 0
other_key: .quad 0, 0
"""
FORMS = {
    "STATIC_JUMP_IF_ON": (2, False),
    "STATIC_JUMP_IF_OFF": (2, True),
    "STATIC_LONG_JUMP_IF_ON": (5, False),
    "STATIC_LONG_JUMP_IF_OFF": (5, True),
}


def image_of(macro: str, gap: str = "nop") -> Image:
    return lab(TEXT.format(macro=macro, gap=gap))


@pytest.mark.parametrize(("macro", "length", "likely"), [(name, *form) for name, form in FORMS.items()])
@pytest.mark.parametrize("enabled", [False, True])
def test_a_branch_goes_where_its_key_sends_it(macro, length, likely, enabled):
    image = flip(image_of(macro), {"my_key": enabled})
    (branch,) = branches(image)
    assert (branch.key, branch.length, branch.likely) == ("my_key", length, likely)
    assert states(image) == {"my_key": enabled}
    (instruction,) = decode(image.read(branch.site, length), branch.site)
    jumps = enabled != likely
    assert instruction.is_nop() != jumps
    assert not jumps or instruction.branch_target == branch.target
    machine = Machine(image)
    machine.run("start")
    assert machine.registers()["rax"] == jumps


def test_the_lab_writes_branches_for_keys_that_are_off():
    for macro in FORMS:
        assert states(image_of(macro)) == {"my_key": False}


def test_flipping_there_and_back_changes_nothing():
    for macro in FORMS:
        image = image_of(macro)
        back = flip(flip(image, {"my_key": True}), {"my_key": False})
        assert [section.data for section in back.sections] == [section.data for section in image.sections]


def test_flipping_leaves_the_image_it_was_given_as_it_was():
    image = image_of("STATIC_JUMP_IF_ON")
    before = [section.data for section in image.sections]
    flip(image, {"my_key": True})
    assert [section.data for section in image.sections] == before


def test_only_the_named_key_is_flipped():
    text = "start: STATIC_JUMP_IF_ON 1f, a\n STATIC_JUMP_IF_ON 1f, b\n1: ret\n.data\n.balign 8\na: .quad 0\nb: .quad 0\n"
    image = flip(lab(text), {"b": True})
    assert states(image) == {"a": False, "b": True}


def test_a_key_that_the_image_leaves_undefined_has_its_name_and_offset():
    image = lab("start: STATIC_JUMP_IF_ON 1f, elsewhere\n STATIC_JUMP_IF_ON 1f, elsewhere+8\n1: ret\n")
    assert [branch.key for branch in branches(image)] == ["elsewhere", "elsewhere+0x8"]


def test_sites_of_one_key_that_disagree_have_no_state():
    text = "start: STATIC_JUMP_IF_ON 1f, a\n STATIC_JUMP_IF_ON 1f, a\n1: ret\n.data\n.balign 8\na: .quad 0\n"
    image = lab(text)
    first, _ = branches(image)
    assert states(image.with_bytes({first.site: first.code(enabled=True)})) == {"a": None}


def test_an_image_without_a_table_has_no_branches():
    assert branches(lab("start: ret")) == ()


def test_a_key_that_nobody_knows_is_refused_and_a_near_name_is_offered():
    with pytest.raises(LabError, match="'my_kez', did you mean my_key"):
        flip(image_of("STATIC_JUMP_IF_ON"), {"my_kez": True})


def damaged(change) -> Image:
    """Return an image whose only record was changed: (site, target, key) relative to their fields."""
    image = image_of("STATIC_JUMP_IF_ON")
    address, table = image.jump_table
    return image.with_bytes({address: RECORD.pack(*change(*RECORD.unpack(table)))})


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda s, t, k: (s + 0x100000, t, k), "site at .* outside the image"),
        (lambda s, t, k: (s - 0x100000, t, k), "site at .* outside the image"),
        (lambda s, t, k: (s, t + 0x100000, k), "target at .* outside the image"),
        (lambda s, t, k: (s + 2, t, k), "1 bytes; only 2 or 5"),
        (lambda s, t, k: (s - 2, t, k), "31 c0 at .* neither a NOP nor a JMP"),
    ],
)
def test_a_record_that_lies_is_an_error_that_names_it(change, rule):
    with pytest.raises(LabError, match=rf"static branch 0 at 0x\w+ \(key my_key\): .*{rule}"):
        branches(damaged(change))


def test_a_jump_to_another_place_than_the_record_says_is_an_error():
    image = image_of("STATIC_JUMP_IF_OFF")
    (branch,) = branches(image)
    with pytest.raises(LabError, match="neither a NOP nor a JMP to"):
        branches(image.with_bytes({branch.site: b"\xeb\x00"}))


def test_a_short_branch_with_a_far_target_is_an_error():
    with pytest.raises(LabError, match="too far for 2 bytes"):
        branches(image_of("STATIC_JUMP_IF_ON", gap=".skip 200, 0x90"))


def test_a_table_with_a_part_of_a_record_is_an_error():
    with pytest.raises(LabError, match="24 bytes holds no whole number"):
        branches(lab('start: ret\n.section __jump_table, "aw"\n.quad 0, 0, 0\n'))


def test_bit_1_of_a_key_is_no_part_of_its_address():
    image = damaged(lambda s, t, k: (s, t, k + 2))
    (branch,) = branches(image)
    assert (branch.key, branch.likely) == ("my_key", False)


def test_the_bytes_of_a_long_branch_are_a_jump_to_its_target():
    branch = StaticBranch(0, 0, 0x1000, 5, 0x900, "k", likely=False)
    assert branch.code(enabled=True) == b"\xe9" + struct.pack("<i", 0x900 - 0x1005)
    assert flips([branch], {"k": True}) == {0x1000: branch.code(enabled=True)}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("6.1.192", {"vmx_l1d_should_flush", "vmx_l1d_flush_cond", "mmio_stale_data_clear"}),
        ("6.12.117", {"vmx_l1d_should_flush", "vmx_l1d_flush_cond", "mmio_stale_data_clear"}),
        ("7.3.4", {"vmx_l1d_should_flush", "vmx_l1d_flush_cond"}),
    ],
)
def test_a_real_module_has_the_keys_of_its_time_all_off_and_all_can_be_flipped(version, expected):
    image = load(kernel_file(version, "kvm-intel.ko.xz"), base=LAB_BASE)
    before = states(image)
    assert expected == {key for key in before if "l1d" in key or "stale_data" in key or "buf_vm_clear" in key}
    assert all(before[key] is False for key in expected)
    flipped = flip(image, {key: not state for key, state in before.items()})
    assert states(flipped) == {key: not state for key, state in before.items()}
    again = flip(flipped, {key: bool(state) for key, state in before.items()})
    assert [section.data for section in again.sections] == [section.data for section in image.sections]
