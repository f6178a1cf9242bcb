"""TSA's selection against the code of two real kernels, run as it is, and against what their sources say."""

from itertools import combinations, product

import pytest
from real_tsa import VECTORS, kernel

from vmenter import LabError
from vmenter.boot import tsa
from vmenter.boot.tsa import FACTS, KERNELS, AmdHost, select

WORDS = ("off", "on", "user", "vm", "bogus")
OPTIONS = [(), *((word,) for word in WORDS), ("vm", "bogus"), ("user", "off"), ("off", "vm"), ("on", "user")]
IMMUNE = ("tsa_sq_no", "tsa_l1_no", "tsa_fill_no")


def cases():
    """Yield options, bug, facts, and what of mitigations= is set: off, and the vectors that are protected."""
    some = [left for size in range(5) for left in combinations(VECTORS, size)]
    common = [(True, ()), *((False, left) for left in some)]
    for words, bug, verw, guest, (off, left) in product(OPTIONS, *[(False, True)] * 3, common):
        yield words, bug, verw, guest, off, left


def host(words, *, bug, verw, guest, off, left):
    facts = (("verw_clear",) if verw else ()) + (() if bug else IMMUNE)
    common = (
        "mitigations=off" if off else "mitigations=auto" + "".join(f",no_{v}" for v in VECTORS if v not in left)
    )
    return AmdHost(3, facts, " ".join([common, *(f"tsa={word}" for word in words)]), hypervisor=guest)


@pytest.mark.parametrize("version", KERNELS)
def test_selection_agrees_with_the_real_kernels_code_in_every_case(version, report):
    real = kernel(version)
    number = 0
    for words, bug, verw, guest, off, left in cases():
        facts = [name for name, there in (("VERW_CLEAR", verw), ("HYPERVISOR", guest)) if there]
        expected = real.select(words, bug=bug, facts=facts, off=off, vectors=left)
        found = select(host(words, bug=bug, verw=verw, guest=guest, off=off, left=left), version)
        said = (words, bug, facts, off, left)
        assert found.affected == bug
        assert found.state == expected.state, said
        assert set(found.features) == expected.features, said
        assert found.sysfs == (expected.text if bug else "Not affected"), said
        number += 1
    report(f"TSA selection: {number:,} cases agree with the code of {version}")
    assert number == len(OPTIONS) * 8 * 17


def test_the_real_kernels_do_differ_and_say_attempted_where_nothing_is():
    """On bare metal without microcode 6.12 says "attempted" and sets nothing; 7.3 says so plainly."""
    for version in KERNELS:
        found = kernel(version).select()
        assert not found.features
        assert found.text == tsa.NO_MICROCODE_STATES[version]
    assert kernel("6.12.117").select(facts=["HYPERVISOR"]).features == {"CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM"}
    assert not kernel("7.3.4").select(facts=["HYPERVISOR"]).features


@pytest.mark.parametrize(
    ("zen", "facts", "hypervisor", "affected"),
    [
        # tsa_init: cores before Zen 3 are held for immune, Zen 3 and 4 for immune to the third form alone
        (1, (), False, False),
        (2, (), False, False),
        (3, (), False, True),
        (4, (), False, True),
        (5, (), False, True),
        (3, ("tsa_sq_no", "tsa_l1_no"), False, False),
        (3, ("tsa_sq_no", "tsa_fill_no"), False, True),
        (5, ("tsa_sq_no", "tsa_l1_no"), False, True),
        (5, IMMUNE, False, False),
        # as a guest: CPUID alone, and any Zen may be moved to
        (1, (), True, True),
        (3, ("tsa_sq_no", "tsa_l1_no"), True, True),
        (2, IMMUNE, True, False),
    ],
)
def test_who_is_affected_is_as_the_sources_say(zen, facts, hypervisor, affected):
    assert AmdHost(zen, facts, hypervisor=hypervisor).affected == affected


def test_idle_clearing_needs_smt_and_on_7_3_microcode_too():
    def keys(version, facts, smt):
        return select(AmdHost(3, facts, smt=smt), version).keys

    for version in KERNELS:
        assert keys(version, ("verw_clear",), smt=True) == ("cpu_buf_idle_clear",)
        assert not keys(version, ("verw_clear",), smt=False)
        assert not keys(version, ("verw_clear",), smt=None)
    assert keys("6.12.117", (), smt=True)
    assert not keys("7.3.4", (), smt=True)


def test_facts_may_be_given_in_any_order_and_case():
    assert AmdHost(3, ("VERW_CLEAR", "tsa_l1_no")) == AmdHost(3, ("tsa_l1_no", "verw_clear"))
    assert set(AmdHost(5, FACTS).facts) == set(FACTS)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AmdHost(6), "give 1 to 5"),
        (lambda: AmdHost(3, ("verw_clar",)), "did you mean verw_clear"),
        (lambda: select(AmdHost(), "5.10.223"), "6.12.117 and 7.3.4"),
    ],
)
def test_bad_input_is_one_clear_error(make, said):
    with pytest.raises(LabError, match=said):
        make()


def test_each_step_of_a_selection_has_a_reason():
    for version in KERNELS:
        for facts in ((), ("verw_clear",)):
            why = select(AmdHost(3, facts), version).why
            assert why
            assert all(one.subject == "TSA" and one.reason for one in why)
            assert len(why) == 2 - len(facts)
