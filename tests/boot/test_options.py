"""The command line is read as kernel/params.c and the option handlers read it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter.boot.generations import GENERATIONS, generation
from vmenter.boot.host import Host
from vmenter.boot.options import read_options, split_cmdline

EVERYTHING = ("mds", "taa", "mmio_stale_data", "rfds", "l1tf")

# Source: next_arg and parse_args in kernel/params.c (lib/cmdline.c).
SPLIT = [
    ("", []),
    ("  quiet\tmds=off\n", [("quiet", None), ("mds", "off")]),
    ("mds=", [("mds", "")]),
    ("mds=a=b", [("mds", "a=b")]),
    ('mds="full,nosmt"', [("mds", "full,nosmt")]),
    ('"mds=full,nosmt"', [("mds", "full,nosmt")]),
    ('root="a b" mds=off', [("root", "a b"), ("mds", "off")]),
    ('mds="off', [("mds", "off")]),
    ('mds=of"f"', [("mds", 'of"f"')]),
    ("=x mds=off", [("=x", None), ("mds", "off")]),
    ("tsx-async-abort=off", [("tsx_async_abort", "off")]),
    ("kvm-intel.vmentry-l1d-flush=cond", [("kvm_intel.vmentry_l1d_flush", "cond")]),
    ("mds=off -- mds=full", [("mds", "off")]),
    ("--=1 mds=off", [("__", "1"), ("mds", "off")]),
]


@pytest.mark.parametrize(("cmdline", "words"), SPLIT)
def test_a_command_line_is_cut_where_the_kernel_cuts_it(cmdline, words):
    assert split_cmdline(cmdline) == words


@given(st.text(alphabet='ab= "-,\t', max_size=30))
def test_no_command_line_is_too_odd_to_be_cut(cmdline):
    for name, value in split_cmdline(cmdline):
        assert " " not in name or '"' in cmdline
        assert value is None or "=" in cmdline


def wishes(cmdline, kernel="7.3.4", bugs=EVERYTHING, facts=()):
    return read_options(Host(bugs, facts, cmdline), generation(kernel))[0]


def reason(cmdline, kernel="7.3.4", bugs=EVERYTHING, facts=()):
    (said,) = read_options(Host(bugs, facts, cmdline), generation(kernel))[1]
    return said.outcome, said.reason


def test_the_last_option_wins():
    assert wishes("mds=off mds=full l1tf=full l1tf=off").own == (("mds", "full"), ("l1tf", "off"))


def test_a_wish_for_nosmt_is_never_taken_back():
    assert wishes("mds=full,nosmt mds=off").nosmt == {"mds"}
    assert wishes("mds=full,nosmt mds=off").of("mds") == "off"


@pytest.mark.parametrize(
    ("cmdline", "text"),
    [
        ("mds=bogus", "not one of 'off', 'full', 'full,nosmt'"),
        ("mds=FULL", "without a message"),
        ("mds=", "without a message"),
        ("mds", "malformed"),
        ("l1tf=flush,bogus", "'full,force'"),
        ("kvm-intel.vmentry_l1d_flush=bogus", "refuses"),
        ("kvm-intel.vmentry_l1d_flush", "refuses"),
        ("kvm-intel.ept=maybe", "refuses"),
        ("tsx=off", "TSX_CTRL"),
        ("mitigations", "needs a value"),
    ],
)
def test_what_cannot_be_used_has_no_effect_and_says_so(cmdline, text):
    outcome, why = reason(cmdline)
    assert outcome == "no effect"
    assert text in why
    assert wishes(cmdline) == wishes("")


@pytest.mark.parametrize(
    "option",
    ["mds=off", "tsx_async_abort=off", "mmio_stale_data=off", "reg_file_data_sampling=off", "l1tf=off"],
)
def test_an_option_is_dropped_when_its_bug_is_absent(option):
    assert wishes(option, bugs=()) == wishes("")
    assert "does not have that bug" in reason(option, bugs=())[1]


@pytest.mark.parametrize(
    ("kernel", "option"),
    [
        ("5.0", "mds=off"),
        ("5.0", "mitigations=off"),
        ("5.2", "tsx_async_abort=off"),
        ("5.2", "mmio_stale_data=off"),
        ("5.2", "tsx=off"),
        ("5.19", "reg_file_data_sampling=off"),
    ],
)
def test_a_kernel_leaves_options_it_does_not_know_to_init(kernel, option):
    assert wishes(option, kernel) == wishes("", kernel)
    assert "no option of that name" in reason(option, kernel)[1]


# Source: mitigations_parse_cmdline in kernel/cpu.c. Each: command line → word, vectors left, SMT.
PREFIX = [
    ("auto", "auto", 4, "auto"),
    ("auto,nosmt", "auto,nosmt", 4, "on"),
    ("off", "off", 0, "off"),
    ("off,no_cross_thread", "off", 0, "off"),
    ("bogus", "auto", 4, "auto"),
    ("", "auto", 4, "auto"),
    ("autobogus", "auto", 4, "auto"),
    ("offbogus", "off", 0, "off"),
    (",no_user_user", "auto", 3, "auto"),
    ("auto;no_user_kernel", "auto", 4, "auto"),
    ("auto,no_user_kernel,bogus,no_user_user", "auto", 3, "auto"),
    ("auto,no_user_kernel,", "auto", 3, "auto"),
    ("auto,user_kernel", "auto", 4, "auto"),
    ("auto,nosmtx", "auto,nosmt", 4, "on"),
    ("auto,nosmt,no_cross_thread", "auto,nosmt", 4, "off"),
    ("off mitigations=auto", "auto", 0, "off"),
    ("off mitigations=auto,nosmt", "auto,nosmt", 0, "on"),
    ("off mitigations=bogus", "off", 0, "off"),
]


@pytest.mark.parametrize("kernel", ["6.17", "7.3.4"])
@pytest.mark.parametrize(("value", "word", "vectors", "smt"), PREFIX)
def test_newer_kernels_match_a_prefix_and_then_vectors(kernel, value, word, vectors, smt):
    got = wishes(f"mitigations={value}", kernel)
    assert (got.mitigations, len(got.vectors), got.cross_thread) == (word, vectors, smt)


EXACT = [
    ("off", "off", "auto"),
    ("auto,nosmt", "auto,nosmt", "on"),
    ("auto,nosmt mitigations=auto", "auto", "auto"),
    ("off mitigations=bogus", "off", "auto"),
    ("auto,nosmt,no_cross_thread", "auto", "auto"),
    ("offbogus", "auto", "auto"),
]


@pytest.mark.parametrize("kernel", ["5.2", "5.19", "5.10.262", "6.1.192", "6.12.117"])
@pytest.mark.parametrize(("value", "word", "smt"), EXACT)
def test_older_kernels_match_whole_words(kernel, value, word, smt):
    got = wishes(f"mitigations={value}", kernel)
    assert (got.mitigations, got.cross_thread) == (word, smt)


@pytest.mark.parametrize(
    ("value", "kernel", "ept"),
    [
        ("0", "5.0", False),
        ("N", "5.0", False),
        ("off", "5.0", False),
        ("no", "7.3.4", False),
        ("1", "5.0", True),
        ("false", "5.2", True),
        ("false", "5.19", False),
        ("disable", "6.12.117", True),
        ("disable", "6.17", False),
    ],
)
def test_yes_and_no_are_spelt_as_that_kernel_spells_them(value, kernel, ept):
    assert wishes(f"kvm_intel.ept={value}", kernel).ept is ept


@pytest.mark.parametrize(
    ("value", "bugs", "tsx"),
    [
        ("on", (), "on"),
        ("off", (), "off"),
        ("auto", ("taa",), "off"),
        ("auto", (), "on"),
        ("bogus", (), "off"),
    ],
)
def test_tsx_is_switched_where_there_is_a_register_for_it(value, bugs, tsx):
    assert wishes(f"tsx={value}", "6.12.117", bugs, ("tsx_ctrl_msr",)).tsx == tsx


@given(st.sampled_from(sorted(GENERATIONS)), st.text(max_size=40))
def test_no_text_makes_reading_fail(kernel, cmdline):
    read_options(Host(EVERYTHING, cmdline=cmdline), generation(kernel))
