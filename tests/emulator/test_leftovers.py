"""What a guest could sample of a short scene, by the model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter.emulator.leftovers import ENTRIES, Deed, Fate, Flaw, Kind, buffered, cached, fate, readable

VERW, FLUSH = Deed(Kind.VERW), Deed(Kind.FLUSH)


def loads(names):
    return [Deed(Kind.LOAD, name) for name in names]


DEEDS = st.lists(
    st.one_of(
        st.builds(Deed, st.sampled_from([Kind.LOAD, Kind.STORE]), st.sampled_from("abcdef")),
        st.sampled_from([VERW, FLUSH]),
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("deeds", "buffers", "cache"),
    [
        ([], "", ""),
        (loads("ab"), "ab", "ab"),
        (loads("aba"), "ba", "ab"),
        (loads("abcd"), "abcd", "abcd"),
        (loads("abcde"), "bcde", "abcde"),
        ([*loads("ab"), VERW], "", "ab"),
        ([*loads("ab"), FLUSH], "", ""),
        ([*loads("ab"), VERW, Deed(Kind.STORE, "c")], "c", "abc"),
        ([*loads("ab"), FLUSH, Deed(Kind.STORE, "c")], "c", "c"),
    ],
)
def test_what_is_where(deeds, buffers, cache):
    assert buffered(deeds) == tuple(buffers) == readable(deeds, Flaw.MDS)
    assert cached(deeds) == tuple(cache) == readable(deeds, Flaw.L1TF)


@pytest.mark.parametrize(
    ("value", "deeds", "mds", "l1tf"),
    [
        ("a", [], Fate.UNTOUCHED, Fate.UNTOUCHED),
        ("a", loads("a"), Fate.BUFFERED, Fate.CACHED),
        ("a", loads("abcd"), Fate.BUFFERED, Fate.CACHED),
        ("a", loads("abcde"), Fate.PUSHED_OUT, Fate.CACHED),
        ("a", [*loads("a"), VERW], Fate.VERW, Fate.CACHED),
        ("a", [*loads("a"), FLUSH], Fate.FLUSHED, Fate.FLUSHED),
        ("a", [*loads("a"), FLUSH, VERW], Fate.FLUSHED, Fate.FLUSHED),
        ("a", [*loads("a"), VERW, FLUSH], Fate.VERW, Fate.FLUSHED),
        ("a", [*loads("abcde"), VERW], Fate.PUSHED_OUT, Fate.CACHED),
        ("a", [VERW, FLUSH, *loads("a")], Fate.BUFFERED, Fate.CACHED),
        ("a", [*loads("a"), VERW, *loads("a")], Fate.BUFFERED, Fate.CACHED),
    ],
)
def test_what_became_of_a_value(value, deeds, mds, l1tf):
    assert fate(value, deeds, Flaw.MDS) is mds
    assert fate(value, deeds, Flaw.L1TF) is l1tf


@given(DEEDS)
def test_what_is_in_the_buffers_passed_last_and_is_in_the_cache(deeds):
    held = buffered(deeds)
    assert len(held) <= ENTRIES
    assert set(held) <= set(cached(deeds))
    passed = [deed.value for deed in deeds if deed.value]
    assert not passed or not held or held[-1] == passed[-1]


@given(DEEDS, st.sampled_from("abcdef"), st.sampled_from(Flaw))
def test_a_fate_says_readable_exactly_where_it_is(deeds, value, flaw):
    assert (fate(value, deeds, flaw) in (Fate.BUFFERED, Fate.CACHED)) == (value in readable(deeds, flaw))


@given(DEEDS)
def test_verw_leaves_the_cache_and_a_flush_leaves_nothing(deeds):
    assert (buffered([*deeds, VERW]), cached([*deeds, VERW])) == ((), cached(deeds))
    assert (buffered([*deeds, FLUSH]), cached([*deeds, FLUSH])) == ((), ())
