"""The closed set of texts: what the selection model prints is in it, and what is not in it is not read."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter.boot import tsa
from vmenter.boot.generations import GENERATIONS
from vmenter.boot.host import BUGS, FACTS, Host
from vmenter.boot.selection import select
from vmenter.boot.tsa import AmdHost
from vmenter.hosts.texts import FLAWS, NOT_AFFECTED, TEXTS, beginning, completed, plain, whole

EVERY = [(file, text) for file, texts in TEXTS.items() for text in (NOT_AFFECTED, *texts)]
each_text = pytest.mark.parametrize(("file", "text"), EVERY)

hosts = st.builds(
    Host,
    bugs=st.sets(st.sampled_from(BUGS)).map(tuple),
    facts=st.sets(st.sampled_from(FACTS)).map(tuple),
    cmdline=st.sampled_from(["", "mitigations=off", "l1tf=full", "kvm-intel.vmentry_l1d_flush=never", "nosmt"]),
    smt=st.sampled_from([None, True, False]),
    ept=st.booleans(),
    hypervisor=st.booleans(),
)


@given(hosts, st.sampled_from(sorted(GENERATIONS)))
def test_every_line_that_the_model_can_print_is_in_the_set(host, kernel):
    lines = select(host, kernel).lines
    for file, flaw in FLAWS.items():
        text = getattr(lines, flaw)
        assert text is None or whole(file, text) == text


def test_every_line_of_tsa_is_in_the_set():
    for kernel, clear, word in product(tsa.KERNELS, ((), ("verw_clear",)), ("", "off", "user", "vm", "on")):
        text = tsa.select(AmdHost(3, clear, f"tsa={word}"), kernel).sysfs
        assert whole("tsa", text) == text


@each_text
def test_a_text_is_known_as_lscpu_prints_it(file, text):
    # lscpu puts ";" for the first sign after Mitigation and drops every other colon.
    changed = "Mitigation;" + text.removeprefix("Mitigation:").replace(":", "")
    assert whole(file, changed if text.startswith("Mitigation:") else text) == text


@each_text
def test_a_text_with_a_word_more_or_of_another_file_is_none(file, text):
    for more in (f"{text} today", f"{text}?", f"was {text}", f"{text}; and more"):
        assert whole(file, more) is None
    for other, texts in TEXTS.items():
        if text not in (NOT_AFFECTED, *texts):
            assert whole(other, text) is None


@each_text
def test_a_beginning_is_completed_only_if_one_text_begins_so(file, text):
    for end in range(1, len(text)):
        cut = text[:end]
        assert beginning(file, cut)
        found = completed(file, cut)
        if found is not None:
            assert [one for one in (NOT_AFFECTED, *TEXTS[file]) if one.startswith(cut.rstrip(" ;:,"))] == [found]
            assert 2 * end >= len(found)
    assert completed(file, text[:1]) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "Mitigation: PTE Inversion; VMX: SMT vulnerable, L1D conditional cache flushes",
            "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable",
        ),
        (
            "Mitigation: PTE Inversion; VMX: SMT disabled, L1D vulnerable",
            "Mitigation: PTE Inversion; VMX: vulnerable, SMT disabled",
        ),
        (
            "Mitigation: PTE Inversion; VMX: SMT vulnerable, L1D vulnerable",
            "Mitigation: PTE Inversion; VMX: vulnerable",
        ),
        (
            "Mitigation: PTE Inversion; VMX: SMT vulnerable, L1D EPT disabled",
            "Mitigation: PTE Inversion; VMX: EPT disabled",
        ),
        ("Mitigation: Page Table Inversion", "Mitigation: PTE Inversion"),
        ("Vulnerable", "Vulnerable"),
    ],
)
def test_the_old_words_of_l1tf_say_the_same_in_new_ones(old, new):
    assert plain("l1tf", old) == new
    assert whole("l1tf", old) == old
    assert plain("mds", old) == old
