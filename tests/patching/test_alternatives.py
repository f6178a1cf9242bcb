"""What one site becomes: the three generations of the patcher, case by case and as properties.

The cases were worked out from the kernel's sources: v5.10 and v6.1 (early), v6.12 (layered), v7.3 (once).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import (
    DATA,
    DIRECT_CALL,
    FEATURES,
    MODERN,
    NOT,
    PLAIN,
    REPLACEMENTS,
    STEP,
    TEXT,
    Alt,
    Place,
    addresses,
    build,
    inner,
    lay,
    one,
    patches,
    places,
    plain,
    pointing,
    replacement,
    rules,
    target,
)

from vmenter import LabError
from vmenter.code.instructions import decode, is_nop
from vmenter.patching.alternative_table import ALWAYS, Engine, Nops, Rules, entries, sites
from vmenter.patching.alternatives import NOPS, ORIGINS, apply, patch, patch_all

EARLY, LAYERED, ONCE = Engine.EARLY, Engine.LAYERED, Engine.ONCE
ENGINES = tuple(Engine)
EARLY_RULES = Rules(EARLY, 14, wide_nops=False)
CALL, JMP, JE = (bytes.fromhex(code) for code in ("e8", "e9", "0f84"))


def rel32(to: int, end: int) -> bytes:
    return (to - end).to_bytes(4, "little", signed=True)


def hexed(code: bytes | None) -> str:
    assert code is not None
    return code.hex(" ")


# --- which entry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("features", "chosen", "code"),
    [((), None, "fa 90"), ((1,), 0, "fb 90"), ((2,), 1, "f4 90"), ((1, 2), 1, "f4 90")],
)
def test_the_last_matching_entry_decides(engine, features, chosen, code):
    patched = one(Alt(1, b"\xfb\x90"), Alt(2, b"\xf4\x90"), original=b"\xfa", engine=engine, features=features)
    assert (patched.chosen, hexed(patched.code)) == (chosen, code)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_strictest_of_three_must_stand_last(engine):
    """Nothing / clear if the vCPU reaches MMIO / clear always: with both features on, order is all."""
    mmio, always = Alt(1, bytes.fromhex("f74424080400000074000f0000")), Alt(2, bytes.fromhex("0f01c2"))
    right = one(mmio, always, engine=engine, features=(1, 2))
    wrong = one(always, mmio, engine=engine, features=(1, 2))
    assert right.code is not None
    assert wrong.code is not None
    assert right.code.startswith(always.code)
    assert wrong.code.startswith(mmio.code)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("features", "code"), [((), "fb"), ((1,), "fa")])
def test_an_entry_with_not_applies_where_the_feature_is_absent(engine, features, code):
    assert hexed(one(Alt(1, b"\xfb", NOT), original=b"\xfa", engine=engine, features=features).code) == code


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_a_site_is_as_long_as_its_longest_entry(engine):
    """Nested alternatives leave entries of different length on one address."""
    patched = one(
        Alt(1, b"\xfb", length=1), Alt(2, b"\xf4", length=6), original=b"\xfa", engine=engine, features=(1,)
    )
    assert hexed(patched.code) == "fb 0f 1f 44 00 00"


def test_early_patches_no_further_than_the_entrys_own_length():
    alts = Alt(1, b"\xfb" * 6, length=6), Alt(2, b"\xf4", length=3)
    patched = one(*alts, original=b"\xfa" * 6, engine=EARLY, features=(1, 2))
    assert hexed(patched.code) == "f4 66 90 fb fb fb"


def test_early_merges_no_further_than_the_entrys_own_length():
    alts = Alt(1, b"", length=3), Alt(2, b"", length=6)
    patched = one(*alts, original=b"\x90" * 6, engine=EARLY, features=())
    assert hexed(patched.code) == "0f 1f 00 0f 1f 00"


@pytest.mark.parametrize("engine", [EARLY, LAYERED])
def test_before_v7_each_match_is_written_over_the_last_one(engine):
    patched = one(Alt(1, b"\xfb\xfb"), Alt(2, b"\xf4"), original=b"\xfa\xfa", engine=engine, features=(1, 2))
    assert [(s.name, s.entry, s.code.hex()) for s in patched.steps] == [
        ("choose", 1, "fafa"),
        ("copy", 0, "fbfb"),
        ("copy", 1, "f4fb"),
        ("pad", 1, "f490"),
    ]


def test_from_v7_on_only_the_last_match_is_ever_written():
    patched = one(Alt(1, b"\xfb\xfb"), Alt(2, b"\xf4"), original=b"\xfa\xfa", engine=ONCE, features=(1, 2))
    assert [(s.name, s.entry, s.code.hex()) for s in patched.steps] == [
        ("choose", 1, "fafa"),
        ("copy", 1, "f4fa"),
        ("pad", 1, "f490"),
    ]


# --- relocation, early -------------------------------------------------------------------------------------


def test_early_relocates_a_lone_call():
    patched = one(Alt(1, (pointing("call", DATA),)), engine=EARLY)
    assert patched.code == CALL + rel32(DATA, TEXT + 5)


@pytest.mark.parametrize("distance", [-0x8000, -129, -128, -1, 130, 131, 0x8000])
def test_early_keeps_a_jump_long_if_it_goes_back_or_far(distance):
    """`recompute_jump` counts from the site's start, and never takes a short jump backwards."""
    patched = one(Alt(1, (pointing("jmp", TEXT + distance),)), engine=EARLY)
    assert patched.code == JMP + rel32(TEXT + distance, TEXT + 5)


@pytest.mark.parametrize("distance", [0, 1, 2, 5, 127, 128, 129])
def test_early_shortens_a_jump_forward_and_adds_one_three_byte_nop(distance):
    patched = one(Alt(1, (pointing("jmp", TEXT + distance),)), engine=EARLY)
    assert patched.code == bytes([0xEB, distance - 2 & 0xFF]) + bytes.fromhex("0f1f00")


@pytest.mark.parametrize("form", ["je", "jg", "verw (%rip)", "call *(%rip)", "cs call"])
def test_early_copies_all_else_as_it_is(form):
    """So it then points somewhere else: why VERW could not stand in a replacement before v6.5."""
    alt = Alt(1, (pointing(form, DATA),))
    patched = one(alt, engine=EARLY)
    assert patched.code == lay(alt.code, REPLACEMENTS)
    assert target(patched.code, TEXT) == DATA + TEXT - REPLACEMENTS


@pytest.mark.parametrize("form", ["call", "jmp"])
def test_early_does_not_relocate_a_branch_that_is_not_alone(form):
    alt = Alt(1, (plain("fa"), pointing(form, DATA)))
    assert one(alt, engine=EARLY).code == lay(alt.code, REPLACEMENTS)


def test_early_takes_five_bytes_that_begin_with_a_short_jump_for_a_long_one():
    """`is_jmp` knows both opcodes, `recompute_jump` only one form: the kernel garbles such a replacement."""
    code = bytes.fromhex("eb030f1f00")
    patched = one(Alt(1, code), engine=EARLY)
    led = REPLACEMENTS + 5 + int.from_bytes(code[1:], "little", signed=True)
    assert patched.code == JMP + rel32(led, TEXT + 5)


# --- relocation, layered and once --------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize(
    "form",
    ["call", "jmp", "je", "jg", "cs call", "verw (%rip)", "cmpl $1,(%rip)", "cmpw $1,(%rip)", "vmovdqa (%rip)"],
)
def test_a_displacement_follows_its_target(engine, form):
    patched = one(Alt(1, (plain("fa"), pointing(form, DATA), plain("fb"))), engine=engine)
    assert patched.code is not None
    assert target(patched.code[1:], TEXT + 1) == DATA


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize("distance", [-126, -1, 0, 2, 129])
def test_a_jump_that_has_become_short_leaves_int3s(engine, distance):
    patched = one(Alt(1, (pointing("jmp", TEXT + distance),)), engine=engine)
    assert patched.code == bytes([0xEB, distance - 2 & 0xFF]) + b"\xcc\xcc\xcc"


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize("distance", [-127, 130])
def test_a_jump_one_byte_too_far_stays_long(engine, distance):
    patched = one(Alt(1, (pointing("jmp", TEXT + distance),)), engine=engine)
    assert patched.code == JMP + rel32(TEXT + distance, TEXT + 5)


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_a_conditional_jump_is_never_shortened(engine):
    assert one(Alt(1, (pointing("je", TEXT + 50),)), engine=engine).code == JE + rel32(TEXT + 50, TEXT + 6)


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize("code", ["eb", "74", "7f", "e3", "e2"])
@pytest.mark.parametrize("piece", [0, 2, 3])  # 1, the next instruction: see the NOPs
def test_a_short_branch_inside_the_replacement_stays(engine, code, piece):
    """Its end included: that is where the seed's JZ goes."""
    alt = Alt(1, (inner(code, 1, piece), plain("fa"), plain("fb")))
    assert one(alt, engine=engine).code == lay(alt.code, 0)


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize(("offset", "moves"), [(-1, True), (0, False), (6, False), (7, True)])
def test_inside_means_from_the_first_byte_to_just_behind_the_last(engine, offset, moves):
    patched = one(Alt(1, (pointing("je", REPLACEMENTS + offset),)), engine=engine)
    assert target(patched.code, TEXT) == (REPLACEMENTS if moves else TEXT) + offset


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_a_short_branch_that_would_have_to_reach_too_far_is_an_error(engine):
    with pytest.raises(LabError, match=r"entry 0 at 0xc00000: .* does not fit 8 bits"):
        one(Alt(1, b"\x74\x10"), engine=engine)


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize("code", ["e210", "e310"])
def test_a_loop_that_leaves_the_replacement_is_copied_as_it_is_and_goes_astray(engine, code):
    """As by the kernel, which knows CALL, JMP and Jcc."""
    assert one(Alt(1, bytes.fromhex(code)), engine=engine).code == bytes.fromhex(code)


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize("prefixes", ["2e", "48", "662e"])
def test_a_jump_with_prefixes_is_shortened_prefixes_and_all_as_if_it_had_none(engine, prefixes):
    """The kernel counts five bytes for any JMP rel32, so what has a prefix lands as many bytes too early."""
    head = bytes.fromhex(prefixes)
    distance = TEXT + 50 - (REPLACEMENTS + len(head) + 5)
    code = head + b"\xe9" + distance.to_bytes(4, "little", signed=True)
    patched = one(Alt(1, code), engine=engine)
    assert patched.code == bytes([0xEB, 50 - 2 - len(head)]) + b"\xcc" * (len(head) + 3)


# --- NOPs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize("size", range(2, 12))
def test_up_to_eleven_bytes_of_padding_become_one_nop(engine, size):
    patched = one(Alt(1, b""), original=b"\x90" * size, engine=engine)
    assert patched.code == NOPS[size]
    assert [i.mnemonic.startswith("nop") or i.text == "nop" for i in decode(NOPS[size])] == [True]


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize(
    ("size", "jump"), [(12, "eb 0a"), (127, "eb 7d"), (128, "e9 7b 00 00 00"), (254, "e9 f9 00 00 00")]
)
def test_beyond_that_a_jump_leads_over_int3s(engine, size, jump):
    patched = one(Alt(1, b""), original=b"\x90" * size, engine=engine)
    head = bytes.fromhex(jump)
    assert patched.code == head + b"\xcc" * (size - len(head))


@pytest.mark.parametrize(
    ("size", "parts"),
    [(1, [1]), (2, [2]), (8, [8]), (9, [8, 1]), (16, [8, 8]), (23, [8, 8, 7]), (60, [8] * 7 + [4])],
)
def test_early_uses_nops_of_at_most_eight_bytes(size, parts):
    patched = one(Alt(1, b""), original=b"\x90" * size, engine=EARLY)
    assert patched.code == b"".join(NOPS[part] for part in parts)


def test_early_sees_only_one_byte_nops():
    code = bytes.fromhex("0f1f00 9090 0f1f00 90 fa 9090")
    patched = one(Alt(1, b""), original=code, engine=EARLY, features=())
    assert hexed(patched.code) == "0f 1f 00 66 90 0f 1f 00 90 fa 66 90"


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_later_engines_merge_nops_of_any_kind(engine):
    code = bytes.fromhex("0f1f00 9090 660f1f440000 fa 90 6690 fb")
    patched = one(Alt(1, b""), original=code, engine=engine, features=())
    assert patched.code == NOPS[11] + b"\xfa" + NOPS[3] + b"\xfb"


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize(
    "code", ["fa 0f1f00", "fa 0f1fc0", "fa f290", "fa 90", "90", "fa 48b80000000000000000 662e0f1f840000000000"]
)
def test_a_site_that_ends_in_one_nop_is_taken_for_done(engine, code):
    patched = one(Alt(1, b""), original=bytes.fromhex(code), engine=engine, features=())
    assert patched.code == bytes.fromhex(code)
    assert [step.name for step in patched.steps] == ["choose"]


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_bytes_in_the_middle_of_an_instruction_are_no_nops(engine):
    code = bytes.fromhex("b890909090 9090 fa")  # mov $0x90909090, %eax
    patched = one(Alt(1, b""), original=code, engine=engine, features=())
    assert hexed(patched.code) == "b8 90 90 90 90 66 90 fa"


@pytest.mark.parametrize("engine", ENGINES)
def test_pause_is_no_nop(engine):
    code = bytes.fromhex("f390 f390 fa")
    assert one(Alt(1, b""), original=code, engine=engine, wide=engine is ONCE, features=()).code == code


@pytest.mark.parametrize("code", ["4889c0 4889c0 fa", "488d4000 90 fa", "eb00 90 fa", "e900000000 90 fa"])
def test_only_wide_rules_take_moves_and_jumps_to_themselves_for_nops(code):
    original = bytes.fromhex(code)
    narrow = one(Alt(1, b""), original=original, engine=LAYERED, wide=False, features=())
    wide = one(Alt(1, b""), original=original, engine=LAYERED, wide=True, features=())
    assert narrow.code == original
    assert wide.code == NOPS[len(original) - 1] + b"\xfa"


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize("other", ["06", "0f01e8", "66f30f01f9", "0f04"])
def test_merging_goes_on_behind_what_a_disassembler_does_not_know(engine, other):
    code = bytes.fromhex(f"9090 {other} 9090 fa")
    patched = one(Alt(1, b""), original=code, engine=engine, features=())
    assert hexed(patched.code) == f"66 90 {bytes.fromhex(other).hex(' ')} 66 90 fa"


@pytest.mark.parametrize("engine", ENGINES)
def test_what_has_no_length_before_nops_is_an_error(engine):
    code = bytes.fromhex("9090 62909090 909090 9090 fa")
    with pytest.raises(LabError, match=r"site at 0x[0-9a-f]+: the kernel's decoder has no length for 62 90 90"):
        one(Alt(1, b""), original=code, engine=engine, features=())


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_what_has_no_length_in_a_replacement_is_an_error(engine):
    with pytest.raises(LabError, match=r"entry 0 at .*has no length for 62 06 .*of its replacement"):
        one(Alt(1, bytes.fromhex("fa 620600000000")), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("flags", "chosen"), [(0, 0), (NOT, None)])
def test_every_cpu_has_always(engine, flags, chosen):
    assert one(Alt(ALWAYS, b"\xfb", flags), original=b"\xfa", engine=engine, features=()).chosen == chosen


# --- NOPs by CPU, and padding that a record tells ----------------------------------------------------------

BY_CPU, K8 = Rules(EARLY, 12, wide_nops=False, nops=Nops.BY_CPU), Rules(EARLY, 12, wide_nops=False, nops=Nops.K8)


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (2, "66 90"),
        (3, "66 66 90"),
        (5, "66 66 90 66 90"),
        (8, "66 66 66 90 66 66 66 90"),
        (9, "66 66 66 90 66 66 66 90 90"),
    ],
)
def test_k8_nops_are_prefixes_on_one_byte_nops(size, code):
    image = build(Place(b"\x90" * size, (Alt(1, b""),)), record_size=12)
    assert hexed(patches(image, set(), K8)[0].code) == code


def test_a_shortened_jump_is_followed_by_the_cpus_own_nop():
    image = build(Place(b"", (Alt(1, (pointing("jmp", TEXT + 50),)),)), record_size=12)
    assert hexed(patches(image, {1}, K8)[0].code) == "eb 30 66 66 90"


@pytest.mark.parametrize(("padding", "decided"), [(0, True), (1, True), (2, True), (3, False), (12, False)])
def test_without_a_cpu_only_sites_whose_bytes_depend_on_it_are_undecided(padding, decided):
    image = build(Place(b"\xfa" + b"\x90" * padding, (Alt(1, b""),)), record_size=12)
    (found,) = patches(image, set(), BY_CPU)
    assert (found.code is not None) == decided
    assert decided or "NOPs by CPU (p6 or k8)" in found.undecided


PADDED = Rules(EARLY, 13, wide_nops=False)


@pytest.mark.parametrize(
    ("original", "padding", "features", "code"),
    [
        ("90 90 90 90 90", 5, (), "0f 1f 44 00 00"),
        ("fa 90 90 90 90", 4, (), "fa 90 90 90 90"),  # v5.10 looks at the first four bytes, not the last
        ("90 90 fa 90 90", 2, (), "90 90 fa 66 90"),
        ("90 90 90 90 90", 2, (), "90 90 90 66 90"),  # padding is what the record says
        ("fa fa 90 90 90", 1, (), "fa fa 90 90 90"),
        ("fa fa fa fa fa", 0, (1,), "fb 90 fb 66 90"),  # behind a replacement all, inside it nothing
    ],
)
def test_padding_is_what_a_record_of_13_bytes_says(original, padding, features, code):
    alt = Alt(1, bytes.fromhex("fb 90 fb"), padding=padding)
    image = build(Place(bytes.fromhex(original), (alt,)), record_size=13)
    assert hexed(patches(image, set(features), PADDED)[0].code) == code


# --- direct calls ------------------------------------------------------------------------------------------

HELPER, NOP_FUNC = TEXT + 0x8000, TEXT + 0x9000


def indirect(pointer: int = DATA) -> bytes:
    return b"\xff\x15" + rel32(pointer, TEXT + 6)


def direct(*others: Alt, pointer: int = HELPER, engine: Engine = ONCE, nop_func: int | None = NOP_FUNC, **more):
    alt = Alt(1, (pointing("call", DATA + 0x100),), DIRECT_CALL)
    more.setdefault("original", indirect())
    return one(*others, alt, engine=engine, pointers=[pointer], nop_func=nop_func, **more)


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_a_direct_call_goes_where_the_pointer_points(engine):
    assert direct(engine=engine).code == CALL + rel32(HELPER, TEXT + 5) + b"\x90"


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_a_direct_call_of_the_no_op_function_is_no_call(engine):
    assert direct(pointer=NOP_FUNC, engine=engine).code == NOPS[6]


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_a_direct_call_through_a_null_pointer_goes_to_bug_func(engine):
    """The replacement's own target."""
    assert direct(pointer=0, engine=engine).code == CALL + rel32(DATA + 0x100, TEXT + 5) + b"\x90"


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_without_symbols_a_direct_call_is_undecided(engine):
    patched = direct(engine=engine, nop_func=None)
    assert patched.code is None
    assert "nop_func" in (patched.undecided or "")


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_a_pointer_that_is_not_in_the_image_leaves_the_site_undecided(engine):
    patched = direct(engine=engine, original=indirect(0x10))
    assert patched.code is None
    assert "not in this image" in (patched.undecided or "")


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_an_undecided_entry_does_not_matter_if_a_later_one_decides(engine):
    alts = Alt(1, (pointing("call", DATA),), DIRECT_CALL), Alt(2, b"\xfa")
    patched = one(*alts, original=indirect(), engine=engine, features=(1, 2))
    assert patched.undecided is None
    assert hexed(patched.code) == "fa 0f 1f 44 00 00"


def test_once_lets_a_direct_call_stand_behind_another_match():
    assert direct(Alt(2, b"\xfa"), features=(1, 2)).code == CALL + rel32(HELPER, TEXT + 5) + b"\x90"


def test_layered_finds_no_indirect_call_where_another_match_was_written():
    with pytest.raises(LabError, match="DIRECT_CALL needs a 6-byte indirect call"):
        direct(Alt(2, b"\xfa"), engine=LAYERED, features=(1, 2))


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize("original", ["ff25 00000000", "e800000000 90", "ff15 00000000 90"])
def test_a_direct_call_needs_an_indirect_call_of_six_bytes(engine, original):
    with pytest.raises(LabError, match="entry 0 at 0xc00000: DIRECT_CALL needs"):
        direct(engine=engine, original=bytes.fromhex(original))


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
@pytest.mark.parametrize("code", ["e900000000", "e8000000", "fa"])
def test_a_direct_call_needs_a_call_of_five_bytes(engine, code):
    with pytest.raises(LabError, match="DIRECT_CALL needs"):
        one(Alt(1, bytes.fromhex(code), DIRECT_CALL), original=indirect(), engine=engine, pointers=[HELPER])


# --- the way, and where each byte came from ----------------------------------------------------------------


def test_steps_tell_the_way_of_the_seeds_replacement():
    """TEST the flag, JZ over VERW: the branch stays, VERW's operand moves, the rest is padding."""
    seed = (plain("f744240804000000"), inner("74", 1, 3), pointing("verw (%rip)", DATA))
    patched = one(Alt(1, seed), original=b"\x90" * 20, engine=ONCE)
    copied = lay(seed, REPLACEMENTS)
    moved = copied[:13] + rel32(DATA, TEXT + 17)
    assert [(step.name, step.code) for step in patched.steps] == [
        ("choose", b"\x90" * 20),
        ("copy", copied + b"\x90" * 3),
        ("relocate", moved + b"\x90" * 3),
        ("pad", moved + b"\x90" * 3),
        ("merge", moved + NOPS[3]),
    ]
    assert "".join(origin.letter for origin in patched.origins) == "C" * 13 + "RRRR" + "NNN"


def test_a_direct_call_shows_which_bytes_came_through_the_pointer():
    letters = ["".join(origin.letter for origin in step.origins) for step in direct().steps]
    assert letters == ["OOOOOO", "CCCCCO", "CDDDDO", "CRRRRO", "CRRRRP"]


@given(places(), st.sets(FEATURES), rules())
def test_every_byte_has_an_origin_that_is_true(place, features, how):
    image = build(place, record_size=how.record_size)
    (patched,) = patches(image, features, how)
    for step in patched.steps:
        assert len(step.code) == len(step.origins) == place.length
        for index, (byte, origin) in enumerate(zip(step.code, step.origins, strict=True)):
            assert origin.letter in ORIGINS
            if origin.letter == "O":
                assert byte == patched.site.original[index]
            if origin.letter == "C":
                entry = patched.site.entries[origin.entry]
                assert byte == image.read(entry.replacement, entry.replacement_length)[index]
            if origin.letter == "P":
                assert byte == 0x90


# --- properties --------------------------------------------------------------------------------------------


@given(st.lists(places(), min_size=1, max_size=3), st.sets(FEATURES), rules())
def test_patching_keeps_the_sites_length(made, features, how):
    found = patches(build(*made, record_size=how.record_size), features, how)
    assert [len(p.code) for p in found] == [place.length for place in made]
    assert all(len(step.code) == place.length for p, place in zip(found, made, strict=True) for step in p.steps)


@given(places(), st.sets(FEATURES), rules())
def test_the_last_match_alone_gives_the_same_bytes(place, features, how):
    (patched,) = patches(build(place, record_size=how.record_size), features, how)
    matching = [i for i, alt in enumerate(place.alts) if (alt.feature in features) != bool(alt.flags & NOT)]
    assert patched.chosen == (matching[-1] if matching else None)
    image = build(place, record_size=how.record_size)
    (site,) = sites(image, entries(image, how.record_size))
    kept = site.entries[matching[-1] :][:1] if matching else ()
    if kept:
        alone = patch(image, type(site)(site.address, site.length, site.original, kept), features, how)
        assert patched.code == alone.code


@given(places(), st.sets(FEATURES), rules())
def test_not_inverts(place, features, how):
    turned = Place(place.original, tuple(Alt(a.feature, a.code, a.flags ^ NOT) for a in place.alts))
    (there,) = patches(build(place, record_size=how.record_size), features, how)
    (back,) = patches(build(turned, record_size=how.record_size), set(range(6)) - features, how)
    assert (there.chosen, there.code) == (back.chosen, back.code)


@given(st.lists(places(), min_size=1, max_size=3), st.sets(FEATURES), rules())
def test_bytes_outside_the_sites_never_change(made, features, how):
    image = build(*made, record_size=how.record_size)
    before = [section.data for section in image.sections]
    after = apply(image, patch_all(image, features, how))
    assert [section.data for section in image.sections] == before  # nor does the image itself
    inside = {TEXT + n * STEP + i for n, place in enumerate(made) for i in range(place.length)}
    for old, new in zip(image.sections, after.sections, strict=True):
        assert (old.name, old.address, old.size) == (new.name, new.address, new.size)
        changed = {old.address + i for i, (a, b) in enumerate(zip(old.data, new.data, strict=True)) if a != b}
        assert changed <= inside


@given(replacement(points=False, nops=False).filter(len), st.lists(FEATURES, max_size=3), rules())
def test_where_there_is_nothing_to_do_nothing_is_done(pieces, asked, how):
    place = Place(lay(pieces, TEXT), tuple(Alt(f, b"\xfa"[: len(pieces)]) for f in asked) or (Alt(0, b""),))
    (patched,) = patches(build(place, record_size=how.record_size), set(), how)
    assert patched.chosen is None
    assert patched.code == place.original
    assert [step.name for step in patched.steps] == ["choose"]


@given(places(), st.sets(FEATURES), rules())
def test_a_patched_site_is_left_as_it_is(place, features, how):
    (patched,) = patches(build(place, record_size=how.record_size), features, how)
    again = Place(patched.code, (Alt(0, b""),))
    (second,) = patches(build(again, record_size=how.record_size), set(), how)
    assert second.code == patched.code


@given(places(), st.sets(FEATURES), st.booleans())
def test_layered_and_once_agree_on_all_but_direct_calls(place, features, wide):
    """With the same NOPs in mind, and as long as no DIRECT_CALL stands behind another match."""
    image = build(place)
    (layered,) = patches(image, features, Rules(LAYERED, 14, wide))
    (once,) = patches(image, features, Rules(ONCE, 14, wide))
    assert (layered.chosen, layered.code) == (once.chosen, once.code)


@given(replacement(), st.sampled_from(MODERN))
def test_what_points_inside_is_kept_and_what_points_outside_still_gets_there(pieces, how):
    (patched,) = patches(build(Place(b"", (Alt(1, pieces),))), {1}, how)
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + len(piece.code))
    for piece, start in zip(pieces, starts, strict=False):
        found = patched.code[start : start + len(piece.code)]
        if piece.piece is not None:
            assert found == lay(pieces, TEXT)[start : start + len(piece.code)]
            assert target(found, TEXT + start) == TEXT + starts[min(piece.piece, len(pieces))]
        elif piece.address is not None:
            assert target(found, TEXT + start) == piece.address


@given(replacement(nops=False))
def test_early_relocates_a_lone_call_or_jump_and_nothing_else(pieces):
    laid = lay(pieces, REPLACEMENTS)
    (patched,) = patches(build(Place(b"", (Alt(1, pieces),))), {1}, EARLY_RULES)
    if len(laid) == 5 and laid[0] in (0xE8, 0xE9):
        assert target(patched.code, TEXT) == target(laid, REPLACEMENTS)
    elif not (len(laid) == 5 and laid[0] == 0xEB):  # that one is garbled, see above
        assert patched.code[: len(laid)] == laid


@given(addresses(), st.sampled_from(["call", "jmp"]), st.integers(0, 20))
def test_an_early_lone_branch_gets_where_it_should(to, form, padding):
    alt = Alt(1, (pointing(form, to),))
    (patched,) = patches(build(Place(b"\xfa" * (5 + padding), (alt,))), {1}, EARLY_RULES)
    assert target(patched.code, TEXT) == to
    assert all(is_nop(i.code, wide=False) for i in decode(patched.code)[1:])


@given(st.lists(st.sampled_from(PLAIN), max_size=3), st.integers(2, 200), rules())
def test_merged_nops_are_nops_or_a_jump_over(around, size, how):
    head = lay(around, TEXT)
    (patched,) = patches(
        build(Place(head + b"\x90" * size + b"\xfa", (Alt(0, b""),)), record_size=how.record_size), set(), how
    )
    assert patched.code[: len(head)] == head
    assert patched.code[-1:] == b"\xfa"
    middle = patched.code[len(head) : -1]
    found = decode(middle, TEXT)
    if found[0].branch_target is not None:
        assert found[0].branch_target == TEXT + size
        assert set(middle[found[0].length :]) == {0xCC}
    else:
        assert all(is_nop(i.code, wide=False) for i in found)
        assert how.engine is EARLY or len(found) == 1


@given(st.lists(st.sampled_from(PLAIN), min_size=1, max_size=8), st.sampled_from(MODERN))
def test_code_that_points_nowhere_is_copied_as_it_is(pieces, how):
    (patched,) = patches(build(Place(b"", (Alt(1, tuple(pieces)),))), {1}, how)
    assert patched.code == lay(pieces, 0)
