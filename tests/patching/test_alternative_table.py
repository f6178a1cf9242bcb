"""The table of alternatives: records, sites, which patcher, and tables that lie."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import DIRECT_CALL, NOT, REPLACEMENTS, STEP, TABLE, TEXT, Alt, Place, build

from vmenter import LabError
from vmenter.code.image import Image, Section
from vmenter.code.symbols import Symbols
from vmenter.patching.alternative_table import AltEntry, Engine, Nops, Rules, entries, read, rules, sites

EARLY, LAYERED, ONCE = Engine.EARLY, Engine.LAYERED, Engine.ONCE
TWO = Place(b"\xfa", (Alt(0x72, b"\xfb\xfb"), Alt(0x2AD, b"\xf4", NOT)))


def entry(feature: int = 5, flags: int = 0) -> AltEntry:
    return AltEntry(0, TABLE, TEXT, 1, REPLACEMENTS, 1, feature, flags)


def table_image(table: bytes, kernel: str | None = None) -> Image:
    """Return an image with 0x100 bytes of code at 0x1000 and this table at 0x2000."""
    text = Section(".text", 0x1000, 0x100, b"\xfa" * 0x100, executable=True, writable=False)
    alts = Section(".altinstructions", 0x2000, len(table), table, executable=False, writable=False)
    return Image("made", kernel, (text, alts) if table else (text,), Symbols())


def record(
    site: int = 0x1000,
    new: int = 0x1010,
    *,
    index: int = 0,
    feature: int = 1,
    flags: int = 0,
    length: int = 4,
    new_length: int = 2,
) -> bytes:
    at = 0x2000 + 14 * index
    return struct.pack("<iiHHBB", site - at, new - at - 4, feature, flags, length, new_length)


# --- records -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [12, 14])
def test_a_record_says_which_code_goes_where_and_when(size):
    first, second = entries(build(TWO, record_size=size), size)
    assert first == AltEntry(0, TABLE, TEXT, 2, REPLACEMENTS, 2, 0x72, 0)
    assert second == AltEntry(1, TABLE + size, TEXT, 2, REPLACEMENTS + 3, 1, 0x2AD, NOT)
    assert (first.negated, second.negated) == (False, True)


def test_the_top_bit_of_an_old_feature_means_not():
    table = struct.pack("<iiHBB", -0x1000, -0x1000, 0x8000 | 0x93, 4, 2)
    (found,) = entries(table_image(table), 12)
    assert (found.feature, found.negated, found.direct_call) == (0x93, True, False)


def test_the_second_flag_means_direct_call():
    assert entry(flags=DIRECT_CALL).direct_call
    assert entry(flags=DIRECT_CALL | NOT).direct_call
    assert not entry(flags=NOT).direct_call


@pytest.mark.parametrize(
    ("flags", "present", "absent"),
    [(0, True, False), (NOT, False, True), (DIRECT_CALL, True, False), (3, False, True)],
)
def test_an_entry_matches_by_its_feature_and_its_not(flags, present, absent):
    assert entry(5, flags).matches({5, 6}) is present
    assert entry(5, flags).matches({6}) is absent


def test_an_image_without_a_table_has_no_entries():
    image = table_image(b"")
    assert image.alternatives is None
    assert entries(image, 14) == ()
    assert sites(image, ()) == ()


def test_a_table_is_also_found_by_its_boundary_symbols():
    table = record() + record(0x1008, index=1)
    data = Section(".init.data", 0x2000, 0x100, table.ljust(0x100, b"\xff"), executable=False, writable=True)
    text = table_image(b"").sections[0]
    names = Symbols.of([(0x2000, "__alt_instructions", 0), (0x2000 + len(table), "__alt_instructions_end", 0)])
    found = entries(Image("made", None, (text, data), names), 14)
    assert [e.site for e in found] == [0x1000, 0x1008]


# --- sites -------------------------------------------------------------------------------------------------


def test_consecutive_entries_of_one_address_are_one_site():
    image = build(TWO, Place(b"\x90", (Alt(3, b""),)))
    first, second = sites(image, entries(image, 14))
    assert (first.address, first.length, first.original) == (TEXT, 2, b"\xfa\x90")
    assert [e.index for e in first.entries] == [0, 1]
    assert (second.address, [e.index for e in second.entries]) == (TEXT + STEP, [2])


def test_a_site_reaches_as_far_as_its_longest_entry():
    image = build(Place(b"\xfa" * 6, (Alt(1, b"", length=2), Alt(2, b"", length=6), Alt(3, b"", length=4))))
    (site,) = sites(image, entries(image, 14))
    assert (site.length, site.original) == (6, b"\xfa" * 6)


@pytest.mark.parametrize("distance", [4, 3])
def test_a_site_may_end_where_another_begins_and_no_later(distance):
    image = table_image(record() + record(0x1000 + distance, index=1))
    if distance == 4:
        assert [site.address for site in sites(image, entries(image, 14))] == [0x1000, 0x1004]
        return
    with pytest.raises(LabError, match=r"entry 1 at 0x200e: the site at 0x1003 begins within another, of 4 bytes"):
        sites(image, entries(image, 14))


def test_entries_of_one_address_must_stand_together():
    table = record() + record(0x1020, index=1) + record(index=2)
    image = table_image(table)
    with pytest.raises(LabError, match=r"entry 2 at 0x201c: the site at 0x1000 has entries elsewhere"):
        sites(image, entries(image, 14))


# --- tables that lie ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lie", "rule"),
    [
        ({"length": 0, "new_length": 0}, "the site at 0x1000 has length 0"),
        ({"length": 255}, "the site at 0x1000 has 255 bytes; kernels patch 254 at most"),
        ({"site": 0xFFF}, "the site at 0xfff lies outside the image"),
        ({"site": 0x10FD}, "the site at 0x10fd lies outside the image"),
        ({"site": -5}, "the site at -0x5 lies outside the image"),
        ({"new_length": 5}, "a replacement of 5 bytes is longer than its site of 4"),
        ({"new": 0x10FF}, "the replacement at 0x10ff lies outside the image"),
        ({"new": 0x5000_0000}, "the replacement at 0x50000000 lies outside the image"),
        ({"feature": 32 * 32}, "feature 1024 lies beyond the last of 32 feature words"),
        ({"feature": 0xFFFF}, "feature 65535 lies beyond the last of 32 feature words"),
        ({"flags": 4}, "flags 0x4 are none that are known"),
    ],
)
def test_a_lie_is_named_with_its_entry_address_and_rule(lie, rule):
    image = table_image(record() + record(index=1, **lie))
    with pytest.raises(LabError, match=f"alternative entry 1 at 0x200e: {rule}"):
        entries(image, 14)


@pytest.mark.parametrize(("kernel", "words"), [("7.3.4", 24), ("6.12.117", 24)])
def test_the_last_feature_word_is_the_kernels_own_where_its_words_were_counted(kernel, words):
    assert len(entries(table_image(record(feature=32 * words - 1), kernel), 14)) == 1
    with pytest.raises(LabError, match=f"feature {32 * words} lies beyond the last of {words} feature words"):
        entries(table_image(record(feature=32 * words), kernel), 14)


def test_the_largest_values_that_are_true_are_taken():
    table = record(length=254, new_length=0, new=0x7000_0000) + record(0x10FF, index=1, length=1, new_length=1)
    assert len(entries(table_image(table + record(index=2, feature=32 * 32 - 1, flags=3)), 14)) == 3


def test_a_table_must_hold_whole_records():
    with pytest.raises(LabError, match="a table of 15 bytes holds no whole number of 14-byte records"):
        entries(table_image(record() + b"\0"), 14)


def test_there_are_records_of_three_sizes():
    with pytest.raises(LabError, match=r"there are no records of 11 bytes, only of 12, 13 and 14"):
        entries(table_image(record()), 11)


def test_a_record_of_13_bytes_tells_its_padding():
    alt = Alt(0x8001, b"\xfb", padding=3)  # no NOT: that came with the records of 12 bytes
    image = build(Place(b"\xfa\x90\x90\x90", (alt,)), record_size=13, kernel=None)
    with pytest.raises(LabError, match="feature 32769 lies beyond"):
        entries(image, 13)
    (found,) = entries(build(Place(b"\xfa\x90\x90\x90", (Alt(1, b"\xfb", padding=3),)), record_size=13), 13)
    assert (found.feature, found.flags, found.length, found.replacement_length, found.padding) == (1, 0, 4, 1, 3)


def test_more_padding_than_its_site_has_bytes_is_an_error():
    with pytest.raises(LabError, match="5 bytes of padding are more than its site of 4"):
        entries(build(Place(b"\x90" * 4, (Alt(1, b"", padding=5),)), record_size=13), 13)


@given(st.binary(max_size=140), st.sampled_from([12, 13, 14]))
def test_a_table_of_any_bytes_is_read_or_refused(table, size):
    image = table_image(table)
    try:
        found = sites(image, entries(image, size))
    except LabError as error:
        assert "alternative entry" in str(error) or "records" in str(error)  # noqa: PT017
        return
    assert sum(len(site.entries) for site in found) == len(table) // size
    assert all(1 <= site.length <= 254 for site in found)


# --- which patcher -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("6.3.0", Rules(EARLY, 14, wide_nops=False)),
        ("6.4.16", Rules(EARLY, 14, wide_nops=False)),
        ("6.5.0", Rules(LAYERED, 14, wide_nops=False)),
        ("6.12.117+deb13-amd64", Rules(LAYERED, 14, wide_nops=False)),
        ("6.18.3", Rules(LAYERED, 14, wide_nops=False)),
        ("6.19.0", Rules(LAYERED, 14, wide_nops=True)),
        ("7.0.0-rc1", Rules(ONCE, 14, wide_nops=True)),
        ("7.3.4", Rules(ONCE, 14, wide_nops=True)),
        ("10.0", Rules(ONCE, 14, wide_nops=True)),
    ],
)
def test_the_version_tells_the_patcher(version, expected):
    assert rules(build(TWO, kernel=version)) == expected


@pytest.mark.parametrize(
    ("version", "size", "nops", "decoder"),
    [
        ("4.19.257", 13, "by cpu", "5.10.262"),
        ("5.10.132", 13, "by cpu", "5.10.262"),
        ("5.10.133", 12, "by cpu", "5.10.262"),
        ("5.10.0-46-amd64", 12, "by cpu", "5.10.262"),
        ("5.10.0-8-amd64", 13, "by cpu", "5.10.262"),
        ("5.11.0", 13, "by cpu", "5.10.262"),
        ("5.12.19", 13, "by cpu", "5.10.262"),
        ("5.13.0", 12, "p6", "5.10.262"),
        ("5.18.0-kali5-amd64", 12, "p6", ""),
        ("6.2.16", 12, "p6", ""),
    ],
)
def test_the_version_tells_an_early_patcher(version, size, nops, decoder):
    image = build(TWO, record_size=size, kernel=version)
    assert rules(image) == Rules(EARLY, size, wide_nops=False, nops=Nops(nops), decoder=decoder)


@pytest.mark.parametrize(
    "version", ["4.18.0", "5.10.0-46-amd64", "5.10.223", "5.14.0", "6.1.192", "6.2.0", "6.12.117", "7.3.4"]
)
@pytest.mark.parametrize("size", [12, 13, 14])
def test_the_records_tell_their_size_whatever_the_version(version, size):
    """Distributions take newer code into older kernels; the engine goes with its records."""
    found = read(build(TWO, record_size=size, kernel=version))
    assert found.rules.record_size == size
    assert len(found.entries) == 2
    assert (found.rules.engine is EARLY) == (size != 14)


def test_where_several_sizes_fit_the_version_decides():
    """156 bytes hold 13 records of 12 and 12 of 13; these read as both, since all offsets are those of one site."""
    empty = Image("made", "5.11.0", (), Symbols())
    assert [rules(replace(empty, kernel=v)).record_size for v in ("5.11.0", "6.1.0", "6.12.0")] == [13, 12, 14]


@pytest.mark.parametrize("size", [12, 13])
def test_records_of_twelve_or_thirteen_bytes_tell_the_patcher_without_a_version(size):
    assert rules(build(TWO, record_size=size)) == Rules(EARLY, size, wide_nops=False, nops=Nops.BY_CPU)


def test_which_nops_a_cpu_gets_can_be_said_where_it_decides_and_only_there():
    old, new = build(TWO, record_size=12, kernel="5.10.262"), build(TWO, kernel="6.12.117")
    assert [rules(old, nops=nops).nops for nops in ("p6", "k8", None)] == ["p6", "k8", "by cpu"]
    assert rules(new, nops="p6").nops is Nops.P6
    with pytest.raises(LabError, match=r"kernel 6.12.117 writes P6 NOPs on every CPU; only up to v5.12"):
        rules(new, nops="k8")


def test_records_of_fourteen_bytes_do_not():
    with pytest.raises(LabError, match="no kernel version: say which engine"):
        rules(build(TWO))


@pytest.mark.parametrize("engine", [LAYERED, ONCE])
def test_what_is_said_beats_what_is_found(engine):
    assert rules(build(TWO), engine).engine is engine
    assert rules(build(TWO, kernel="5.10"), engine, 14) == Rules(engine, 14, wide_nops=False)


def test_a_table_that_is_wrong_at_any_size_is_an_error_with_both_reasons():
    table = record(site=0)
    with pytest.raises(LabError, match=r"makes no sense \(as 14-byte records: .*as 12-byte records: .*\)"):
        rules(table_image(table))
