"""Bytes to instructions: lengths, targets, NOPs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import LONG, NARROW_NOPS, PLAIN, POINTING, SHORT, WIDE_NOPS, addresses, inner, lay, pointing, target

from vmenter import LabError
from vmenter.code.instructions import branch_field, decode, is_nop, opcode_offset, rip_field
from vmenter.code.lengths import Field, lengths

HERE = 0xFFFF_FFFF_8100_0000


def bytes_of(text: str) -> bytes:
    return bytes.fromhex(text)


# --- decoding ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("0f002dc31f0000", "verw 0x1fc3(%rip)"),
        ("0f01c2", "vmlaunch"),
        ("0f01c3", "vmresume"),
        ("0f01d8", "vmrun %rax"),
        ("f644240804", "testb $4, 8(%rsp)"),
        ("480fa3c8", "btq %rcx, %rax"),
        ("90", "nop"),
        ("0f01c6", "wrmsrns"),
        ("f20f01ca", "erets"),
        ("f30f01ca", "eretu"),
    ],
)
def test_text_is_what_objdumps_reader_expects(code, text):
    (instruction,) = decode(bytes_of(code))
    assert instruction.text == text
    assert instruction.length == len(bytes_of(code))


def test_instructions_newer_than_the_decoder_do_not_end_the_decoding():
    code = bytes_of("90 0f01c6 0f01c6 f20f01ca fa")
    assert [i.mnemonic for i in decode(code, HERE)] == ["nop", "wrmsrns", "wrmsrns", "erets", "cli"]
    assert [i.address - HERE for i in decode(code, HERE)] == [0, 1, 4, 7, 11]
    assert lengths(code) == (1, 3, 3, 4, 1)


def test_branch_targets_are_absolute_and_wrap_at_64_bits():
    assert decode(bytes_of("e8fbffffff"), HERE)[0].branch_target == HERE
    assert decode(bytes_of("ebfe"), 0)[0].branch_target == 0
    assert decode(bytes_of("eb00"), (1 << 64) - 2)[0].branch_target == 0


def test_an_operand_that_is_not_rip_relative_has_no_target():
    for code in ("ff2425d0070000", "8b442408", "c3", "ffe0"):
        (instruction,) = decode(bytes_of(code), HERE)
        assert (instruction.branch_target, instruction.rip_target) == (None, None)


def test_what_is_no_instruction_is_an_error_that_names_the_address():
    with pytest.raises(LabError, match=r"0xffffffff81000001: 06 c3 is no x86-64 instruction"):
        decode(bytes_of("90 06 c3"), HERE)


def test_leniently_what_is_no_instruction_is_one_byte():
    found = decode(bytes_of("90 06 c3"), HERE, strict=False)
    assert [i.text for i in found] == ["nop", ".byte 0x06", "retq"]
    assert lengths(bytes_of("90 06 c3")) == (1, 1, 1)  # the kernel's own decoder takes it for one byte


def test_leniently_what_only_the_kernels_decoder_knows_stays_in_one_piece():
    found = decode(bytes_of("90 0f04 0f01e8 c3"), HERE, strict=False)
    assert [i.text for i in found] == ["nop", ".byte 0x0f, 0x04", "serialize", "retq"]


@pytest.mark.parametrize("code", ["e8", "eb", "e9", "0f", "74", "8d", "48"])
def test_a_byte_that_is_no_instruction_leads_nowhere_and_is_no_nop(code):
    (instruction,) = decode(bytes_of(code), HERE, strict=False)
    assert instruction.text == f".byte 0x{code}"
    assert (instruction.branch_target, instruction.rip_target) == (None, None)
    assert not instruction.is_nop(wide=False)
    assert not instruction.is_nop(wide=True)


def test_no_bytes_are_no_instructions():
    assert decode(b"") == ()
    assert lengths(b"") == ()


@given(st.binary(max_size=60), st.integers(0, (1 << 64) - 1))
def test_lenient_decoding_takes_any_bytes_and_loses_none(code, address):
    found = decode(code, address, strict=False)
    assert b"".join(i.code for i in found) == code
    assert [i.address for i in found] == [
        (address + sum(j.length for j in found[:n])) % (1 << 64) for n in range(len(found))
    ]
    assert all(1 <= i.length <= 15 for i in found)
    for instruction in found:  # none of the facts may fail on any instruction
        assert instruction.branch_target is None or 0 <= instruction.branch_target < 1 << 64
        assert instruction.rip_target is None or 0 <= instruction.rip_target < 1 << 64
        assert instruction.is_nop(wide=False) in (True, False)
        assert instruction.is_nop(wide=True) in (True, False)


# --- displacements -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", POINTING)
@given(to=addresses())
def test_the_displacement_is_found_where_it_stands(form, to):
    piece = pointing(form, to)
    code = lay((piece,), 0x10_0000)
    field = branch_field(code) or rip_field(code)
    assert field == Field(*piece.field)
    assert target(code, 0x10_0000) == to
    (instruction,) = decode(code, 0x10_0000)
    assert (instruction.branch_target or instruction.rip_target) == to


@pytest.mark.parametrize(
    ("code", "offset"),
    [
        ("66 83 3d 00000000 01", 3),  # cmpw $1, x(%rip): a 66 prefix changes the operand, not the displacement
        ("66 c7 05 00000000 3412", 3),  # movw
        ("66 0f6f 05 00000000", 4),  # movdqa
        ("66 0f3a0f 05 00000000 01", 5),  # palignr
        ("c5fd 6f 05 00000000", 4),  # vmovdqa
        ("c4e3fd 00 05 00000000 aa", 5),  # vpermq
        ("62f1fd48 6f 05 00000000", 6),  # vmovdqa64
        ("65 48 8b 05 00000000", 4),  # mov %gs:x(%rip)
        ("48 c7 05 00000000 78563412", 3),
        ("f3 0fc7 35 00000000", 4),  # vmxon
    ],
)
def test_a_rip_relative_operand_is_found_behind_any_prefix(code, offset):
    assert rip_field(bytes_of(code)) == Field(offset, 4)


@pytest.mark.parametrize(
    "code",
    [p.code.hex() for p in PLAIN]
    + ["0f20c5", "0f2005", "c5f877", "e800000000", "48b80500000000000000", "8b042505000000"],
)
def test_what_points_nowhere_has_no_rip_relative_operand(code):
    assert rip_field(bytes_of(code)) is None


@pytest.mark.parametrize(
    ("code", "field"),
    [(c, (len(bytes_of(c)), 1)) for c in SHORT.values()]
    + [(c, (len(bytes_of(c)), 4)) for c in LONG.values()]
    + [("2ee8", (2, 4)), ("f2e9", (2, 4)), ("3e74", (2, 1)), ("e0", (1, 1)), ("e1", (1, 1))],
)
def test_every_direct_branch_has_a_displacement(code, field):
    assert branch_field(lay((inner(code, field[1], 0),), 0)) == Field(*field)


@pytest.mark.parametrize(
    "code", ["c3", "ffe0", "ff15 00000000", "0f05", "0fa2", "c5f877", "cc", "90", "48b8" + "e8" * 8]
)
def test_all_else_is_no_direct_branch(code):
    assert branch_field(bytes_of(code)) is None


@pytest.mark.parametrize(
    ("code", "offset"),
    [("90", 0), ("6690", 1), ("f3480fb8c7", 2), ("662e0f1f840000000000", 2), ("66", 0), ("48", 0)],
)
def test_the_opcode_stands_behind_the_prefixes(code, offset):
    assert opcode_offset(bytes_of(code)) == offset


# --- NOPs --------------------------------------------------------------------------------------------------

ALWAYS = [*(p.code.hex() for p in NARROW_NOPS), "66660f1f840000000000", "0f1fc0", "f290", "4090"]
ONLY_WIDE = [
    *(p.code.hex() for p in WIDE_NOPS),
    "eb00",
    "e900000000",
    "664889c0",  # REX.W wins over the 66
    "3e488d4000",  # a DS prefix is allowed
    "4d89c0",
]
ONLY_NARROW = [
    "4190",  # xchg %r8, %rax
    "66f390",  # the first prefix is not F3: PAUSE slips through
    "0f1fc8",  # 0F 1F /1
    "440f1f00",  # with REX.R, /8
]
NEVER = [
    "f390",
    "87db",
    "89c0",  # clears the upper half
    "6689c0",
    "4889c3",
    "4c89c0",
    "488b00",
    "488900",
    "488d00",  # no displacement
    "488d4001",
    "488d4300",
    "678d4000",
    "67488d4000",  # only a DS prefix is allowed
    "66488d4000",
    "488d440000",  # %rax + %rax
    "488d642401",
    "4a8d642400",  # index %r12
    "488d646400",  # scaled
    "eb01",
    "e901000000",
    "7400",
    "e800000000",
    "fa",
    "cc",
]


@pytest.mark.parametrize("code", ALWAYS)
def test_a_nop_by_both_rules(code):
    assert is_nop(bytes_of(code), wide=False)
    assert is_nop(bytes_of(code), wide=True)


@pytest.mark.parametrize("code", ONLY_WIDE)
def test_a_nop_only_since_v6_19(code):
    assert not is_nop(bytes_of(code), wide=False)
    assert is_nop(bytes_of(code), wide=True)


@pytest.mark.parametrize("code", ONLY_NARROW)
def test_a_nop_only_until_v6_18(code):
    assert is_nop(bytes_of(code), wide=False)
    assert not is_nop(bytes_of(code), wide=True)


@pytest.mark.parametrize("code", NEVER)
def test_no_nop_by_any_rule(code):
    assert not is_nop(bytes_of(code), wide=False)
    assert not is_nop(bytes_of(code), wide=True)


@pytest.mark.parametrize(
    ("code", "branch", "both"),
    [
        ("e8fbffffff", "callq start", "callq start"),
        ("74fe", "je start", "je start"),
        ("0f002d1f000000", "verw 0x1f(%rip)", "verw <start+0x26>"),
        ("488b0500000000", "movq (%rip), %rax", "movq <start+0x7>, %rax"),
        ("488d05f9ffffff", "leaq -7(%rip), %rax", "leaq <start>, %rax"),
        ("ff2500000000", "jmpq *(%rip)", "jmpq *<start+0x6>"),
        ("90", "nop", "nop"),
    ],
)
def test_a_text_names_what_the_instruction_points_to(code, branch, both):
    def place(address):
        return f"start{address - HERE:+#x}".removesuffix("+0x0")

    one = decode(bytes_of(code), HERE)[0]
    assert (one.naming(place), one.naming(place, lambda address: f"<{place(address)}>")) == (branch, both)
    assert one.points_to == (one.branch_target if one.rip_target is None else one.rip_target)
    assert (one.points_to is None) == (code == "90")


def test_a_name_with_a_backslash_stays_as_it_is():
    assert decode(bytes_of("488b0500000000"), HERE)[0].naming(str, lambda _: r"\1g<0>") == r"movq \1g<0>, %rax"


@pytest.mark.parametrize(
    ("code", "text", "clears"),
    [
        ("0f0028", "verw (%rax)", True),
        ("0f006b10", "verw 0x10(%rbx)", True),
        ("0f006c2408", "verw 8(%rsp)", True),
        ("0f002c24", "verw (%rsp)", True),
        ("0f002c25efbeadde", "verw 0xffffffffdeadbeef", True),
        ("0f00abefbe0000", "verw 0xbeef(%rbx)", True),
        ("0f002d1f000000", "verw 0x1f(%rip)", True),
        ("410f006c2408", "verw 8(%r12)", True),
        ("3e0f002c08", "verw %ds:(%rax, %rcx)", True),
        ("0f00e8", "verw %ax", False),
        ("410f00eb", "verw %r11w", False),
        ("0f0020", "verr (%rax)", False),
    ],
)
def test_verw_clears_with_memory_of_any_form_and_with_no_register(code, text, clears):
    (one,) = decode(bytes_of(code), HERE)
    assert (one.text.replace(", ", ","), one.is_clear) == (text.replace(", ", ","), clears)
