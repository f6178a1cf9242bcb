"""L1TF and KVM's L1D-flush mode, against l1tf_select_mitigation and vmx_setup_l1d_flush."""

import pytest

from vmenter.boot.host import Host
from vmenter.boot.selection import select

SKIP = "skip_vmentry_l1dflush"
KVM = "kvm-intel.vmentry_l1d_flush"
EVERY_KERNEL = ["5.0", "5.2", "5.19", "5.10.262", "6.1.192", "6.12.117", "6.17", "7.3.4"]

# Source: the order of questions in vmx_setup_l1d_flush, the same in every kernel read.
MODES = [
    ("", "l1tf=full", "", "not required"),
    ("l1tf", "", "", "cond"),
    ("l1tf", "l1tf=off", "", "never"),
    ("l1tf", "l1tf=flush,nowarn", "", "cond"),
    ("l1tf", "l1tf=flush", "", "cond"),
    ("l1tf", "l1tf=flush,nosmt", "", "cond"),
    ("l1tf", "l1tf=full", "", "always"),
    ("l1tf", "l1tf=full,force", "", "always"),
    ("l1tf", f"l1tf=full,force {KVM}=never", "", "always"),
    ("l1tf", f"l1tf=full,force {KVM}=cond", "", "always"),
    ("l1tf", f"l1tf=full {KVM}=never", "", "never"),
    ("l1tf", f"l1tf=off {KVM}=always", "", "always"),
    ("l1tf", f"{KVM}=never {KVM}=cond", "", "cond"),
    ("l1tf", f"l1tf=off {KVM}=always {KVM}=auto", "", "never"),
    ("l1tf", f"{KVM}=always {KVM}=bogus {KVM}", "", "always"),
    ("l1tf", f"{KVM}=always kvm-intel.ept=0", "", "EPT disabled"),
    ("l1tf", "kvm_intel.ept=N l1tf=full,force", SKIP, "EPT disabled"),
    ("l1tf", "kvm_intel.ept=0 kvm_intel.ept", "", "cond"),
    ("l1tf", f"{KVM}=always", SKIP, "not required"),
    ("l1tf", "l1tf=full,force", SKIP, "not required"),
]


@pytest.mark.parametrize("kernel", EVERY_KERNEL)
@pytest.mark.parametrize(("bugs", "cmdline", "facts", "mode"), MODES)
def test_kvm_asks_its_questions_in_its_order(kernel, bugs, cmdline, facts, mode):
    got = select(Host(bugs.split(), facts.split(), cmdline), kernel)
    assert got.l1d_flush == mode
    assert ("vmx_l1d_should_flush" in got.kvm_keys) == (mode in {"cond", "always"})
    assert ("vmx_l1d_flush_cond" in got.kvm_keys) == (mode == "cond")


def test_a_machine_without_ept_does_not_flush_whatever_the_parameter_says():
    assert select(Host(("l1tf",), cmdline="kvm_intel.ept=1", ept=False), "7.3.4").l1d_flush == "EPT disabled"


# What mitigations= does to l1tf=: older kernels let it win, newer ones the option.
GLOBAL = [
    ("5.0", "l1tf=full mitigations=off", "FULL", True),
    ("5.2", "l1tf=full mitigations=off", "OFF", False),
    ("6.12.117", "l1tf=off mitigations=auto,nosmt", "FLUSH_NOSMT", True),
    ("6.17", "l1tf=full mitigations=off", "FULL", True),
    ("7.3.4", "l1tf=off mitigations=auto,nosmt", "OFF", False),
    ("7.3.4", "mitigations=auto,nosmt", "FLUSH_NOSMT", True),
    ("7.3.4", "mitigations=auto,nosmt,no_cross_thread", "FLUSH", False),
    ("7.3.4", "mitigations=auto,no_user_kernel,no_guest_host", "OFF", False),
    ("7.3.4", "mitigations=auto,no_user_kernel", "FLUSH", False),
    ("7.3.4", "l1tf=flush,nosmt l1tf=flush", "FLUSH", False),
]


@pytest.mark.parametrize(("kernel", "cmdline", "state", "nosmt"), GLOBAL)
def test_the_global_option_and_the_own_one_meet_as_in_that_kernel(kernel, cmdline, state, nosmt):
    got = select(Host(("l1tf",), cmdline=cmdline), kernel)
    assert (got.states.l1tf, got.nosmt) == (f"L1TF_MITIGATION_{state}", nosmt)


@pytest.mark.parametrize("kernel", EVERY_KERNEL)
@pytest.mark.parametrize(
    ("bits", "cmdline", "inverted"),
    [
        (30, "", True),
        (29, "", False),
        (29, "l1tf=off", True),
        (28, "", False),
        (28, "l1tf=full", False),
        (64, "", True),
    ],
)
def test_ram_above_half_the_address_space_prevents_inversion_unless_l1tf_is_off(kernel, bits, cmdline, inverted):
    got = select(Host(("l1tf",), cmdline=cmdline, cache_bits=bits), kernel)
    assert ("L1TF_PTEINV" in got.features) == inverted
    assert got.sysfs.l1tf == ("Mitigation: PTE Inversion" if inverted else "Vulnerable")


LINES = [
    ("", True, "VMX: conditional cache flushes, SMT vulnerable"),
    ("", False, "VMX: conditional cache flushes, SMT disabled"),
    ("nosmt", True, "VMX: conditional cache flushes, SMT disabled"),
    ("l1tf=full", True, "VMX: cache flushes, SMT disabled"),
    ("l1tf=off", True, "VMX: vulnerable"),
    ("l1tf=off", False, "VMX: vulnerable, SMT disabled"),
    ("kvm_intel.ept=off", True, "VMX: EPT disabled"),
    ("", None, "VMX: conditional cache flushes"),
]


@pytest.mark.parametrize(("cmdline", "smt", "tail"), LINES)
def test_the_whole_line_is_put_together_as_l1tf_show_state_does(cmdline, smt, tail):
    got = select(Host(("l1tf",), cmdline=cmdline, smt=smt), "6.12.117")
    assert got.lines.l1tf == f"Mitigation: PTE Inversion; {tail}"
