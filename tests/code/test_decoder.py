"""Capstone native and in a tab: the same bytes, texts and fields; and the names of its flags."""

import random
from dataclasses import astuple
from itertools import islice

import pytest
from in_tab import in_tab

from vmenter.code import decoder
from vmenter.code.decoder.detail import _BITS, CONSTANT, MEMORY, READ, REGISTER, SYSTEM
from vmenter.code.image import from_bytes
from vmenter.patching.lab import lab_names, lab_object

RANDOM = 6_000
THERE = """
from dataclasses import astuple
from vmenter.code import decoder

def told(code):
    code = bytes.fromhex(code)
    detail = decoder.detail(code)
    return [list(decoder.lite(code, 0xFFFFFFFF81000000)), decoder.encoding(code), detail and astuple(detail)]

result = [told(code) for code in given]
"""


def told(code):
    code = bytes.fromhex(code)
    detail = decoder.detail(code)
    return [[*decoder.lite(code, 0xFFFFFFFF81000000)], decoder.encoding(code), detail and astuple(detail)]


def lab_code():
    """Yield every executable section of the lab's objects, and each of its instructions."""
    for name in lab_names():
        for section in from_bytes(lab_object(name), name).sections:
            if section.executable:
                yield section.data.hex()
                at = 0
                for _, length, *_ in decoder.lite(section.data, 0):
                    yield section.data[at : at + length].hex()
                    at += length


def sequences():
    """Yield bytes at random, and with what instructions begin with in front."""
    chance = random.Random(15)
    starts = (
        "",
        "",
        "0f",
        "48",
        "66",
        "f3",
        "f2",
        "65",
        "0f38",
        "0f3a",
        "c5",
        "c4e2",
        "62",
        "67",
        "0f01",
        "0fc7",
        "4c0f",
    )
    while True:
        yield chance.choice(starts) + chance.randbytes(chance.randint(1, 15)).hex()


def plain(value):
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def test_both_capstones_tell_the_same_of_the_labs_code_and_of_bytes_at_random():
    codes = [*dict.fromkeys(lab_code()), *islice(sequences(), RANDOM), ""]
    found = in_tab(THERE, codes)
    ours = [plain(told(code)) for code in codes]
    assert sum(one[2] is not None for one in ours) > RANDOM // 3
    differing = [(code, one, other) for code, one, other in zip(codes, ours, found, strict=True) if one != other]
    assert not differing, f"{len(differing)} of {len(codes)} differ, first: {differing[:3]}"


def test_the_numbers_are_those_of_capstones_own_headers():
    capstone = pytest.importorskip("capstone")
    from capstone import x86_const

    known = {
        name.removeprefix("X86_EFLAGS_"): getattr(x86_const, name)
        for name in dir(x86_const)
        if name.startswith("X86_EFLAGS_")
    }
    assert known == _BITS
    assert (REGISTER, CONSTANT, MEMORY) == (capstone.CS_OP_REG, capstone.CS_OP_IMM, capstone.CS_OP_MEM)
    assert capstone.CS_AC_READ == READ
    groups = (x86_const.X86_GRP_INT, x86_const.X86_GRP_IRET, x86_const.X86_GRP_PRIVILEGE, x86_const.X86_GRP_VM)
    assert set(groups) == SYSTEM


def test_what_an_instruction_does_to_flags_is_told_by_name():
    jump, test, move = (decoder.detail(bytes.fromhex(code)) for code in ("7200", "85c0", "89c8"))
    assert (jump.tests("CF"), jump.tests("ZF"), jump.changes("CF")) == (True, False, False)
    assert all(test.changes(flag) for flag in ("CF", "ZF", "PF", "AF"))
    assert not any(move.changes(flag) or move.tests(flag) for flag in ("CF", "ZF", "PF", "AF", "nonsense"))
