"""What looks meant on a command line and is none of the kernel's options is said."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter.boot.overlooked import overlooked

SAID = [
    ('GRUB_CMDLINE_LINUX_DEFAULT="quiet mds=off"', "GRUB_CMDLINE_LINUX_DEFAULT is a variable"),
    ("GRUB_CMDLINE_LINUX=mds=off", "GRUB_CMDLINE_LINUX is a variable"),
    ("mitigation=off", "mitigation=off: the kernel has no such option; is mitigations meant?"),
    ("quiet mitigatons=off", "mitigatons=off: the kernel has no such option; is mitigations meant?"),
    ("Mitigations=off", "names of options are in lower case: mitigations"),
    ("MDS=full", "names of options are in lower case: mds"),
    ("mds=Full", "its words are in lower case: full"),
    ("l1tf=FULL,force", "its words are in lower case: full,force"),
    ("mitigations:off", "no such option; is mitigations=off meant?"),
    ("quiet mds-off", "no such option; is mds=off meant?"),
    ("--l1tf=full,force", "no such option; is l1tf=full,force meant?"),
    ("mmio-stale-dat=off", "is mmio_stale_data meant?"),
    ("options kvm_intel vmentry_l1d_flush=always", "the same is kvm-intel.vmentry_l1d_flush=always"),
    ("options kvm-intel", "it names no parameter"),
    ("vmentry_l1d_flush=always", "on the command line it is kvm-intel.vmentry_l1d_flush"),
    ("kvm-intel.vmentry_l1d_flus=never", "is kvm-intel.vmentry_l1d_flush meant?"),
]
QUIET = [
    "",
    "quiet",
    "BOOT_IMAGE=/boot/vmlinuz-6.12 root=UUID=1-2 ro quiet splash",
    "mitigations=auto,nosmt mds=full tsx_async_abort=off mmio_stale_data=full,nosmt l1tf=flush nosmt=force tsx=on",
    "reg-file-data-sampling=off kvm-intel.vmentry_l1d_flush=cond kvm-intel.ept=Y",
    "spectre_v2=off nopti retbleed=off srbds=off gather_data_sampling=off nospectre_v1 spec_store_bypass_disable=on",
    "kvm.nx_huge_pages=off kvm_amd.sev=1 intel_iommu=on isolcpus=1-3 maxcpus=2",
    "-- mitigation=off",
    "mds_table=off l1tf_log=1 tsx.debug=1",
]


@pytest.mark.parametrize(("cmdline", "says"), SAID)
def test_what_looks_meant_is_said(cmdline, says):
    (sentence,) = overlooked(cmdline)
    assert says in sentence


@pytest.mark.parametrize("cmdline", QUIET)
def test_options_of_the_kernel_are_left_in_peace(cmdline):
    assert overlooked(cmdline) == ()


@given(st.text())
def test_any_text_has_an_answer(cmdline):
    assert all(isinstance(sentence, str) for sentence in overlooked(cmdline))


@pytest.mark.parametrize("command", ["select", "enter"])
def test_the_commands_say_it(run, command):
    status, out, err = run(command, "--era", "e6ff1d61de51", "--cmdline", "mitigation=off quiet")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("ignored: mitigation=off: ")
    assert "ignored" not in run(command, "--era", "e6ff1d61de51", "--cmdline", "quiet")[1]


def test_json_has_it_where_there_is_something(run):
    found = json.loads(run("select", "--era", "e6ff1d61de51", "--cmdline", "MDS=off", "--json")[1])
    assert len(found["ignored"]) == 1
    assert "ignored" not in json.loads(run("select", "--era", "e6ff1d61de51", "--json")[1])
