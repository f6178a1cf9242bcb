"""Selection against what booted kernels selected, against tables from their sources, and its invariants."""

from dataclasses import asdict, replace

import golden_cases
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.boot.generations import GENERATIONS, generation
from vmenter.boot.host import BUGS, FACTS, Host, host_from_json
from vmenter.boot.l1tf import select_l1tf
from vmenter.boot.options import VECTORS, read_options
from vmenter.boot.selection import select
from vmenter.boot.selection_text import decided_json
from vmenter.boot.verw import clear_before_idle, select_verw, verw_sysfs

FLAWS = ("mds", "taa", "mmio", "rfds", "l1tf")


golden = golden_cases.each(golden_cases.golden())


def test_the_golden_cases_are_all_here():
    assert len(golden_cases.golden()) == 390 + 398


@golden
def test_selection_is_what_the_kernel_itself_selected(kernel, case):
    out = case["out"]
    assert decided_json(select(host_from_json(case), kernel)) == {
        "features": out["features"],
        "keys": out["keys"],
        "states": {flaw: out[flaw] for flaw in FLAWS},
        "sysfs": out["sysfs"],
        "nosmt": out["nosmt"],
    }


@golden
def test_options_are_read_as_the_kernel_read_them(kernel, case):
    host, parsed = host_from_json(case), case["parsed"]
    wishes, said = read_options(host, generation(kernel))
    dropped = [one.subject for one in said if "dropped unread" in one.reason]
    assert sorted(dropped) == sorted(case["ignored_options"])
    assert {flaw for flaw in ("mds", "taa", "mmio") if parsed[f"{flaw}_nosmt"]} == set(wishes.nosmt)
    assert parsed["cpu_mitigations"] == "CPU_MITIGATIONS_" + wishes.mitigations.upper().replace(",", "_")
    if "attack_vectors" in parsed:
        assert parsed["attack_vectors"] == [int(vector in wishes.vectors) for vector in VECTORS]
        assert parsed["smt_mitigations"] == "SMT_MITIGATIONS_" + wishes.cross_thread.upper()


@golden
def test_whole_lines_as_a_guest_are_the_kernels(kernel, case):
    lines = asdict(select(replace(host_from_json(case), hypervisor=True, smt=False), kernel).lines)
    # The golden kernel had not loaded KVM, so its l1tf line ends before "; VMX".
    lines["l1tf"] = lines["l1tf"].split("; VMX")[0]
    assert lines == case["out"]["sysfs_full_hypervisor"]


@golden
def test_with_threads_running_lines_and_idle_clearing_are_the_kernels(kernel, case):
    # The golden run turned threads on whatever selection had said, so the parts are asked one by one.
    host, gen = host_from_json(case), generation(kernel)
    verw, _ = select_verw(host, read_options(host, gen)[0], gen)
    lines = verw_sysfs(host, verw, gen, smt_active=True)
    want = case["out"]["sysfs_full_bare_smt_on"]
    assert {flaw: texts[1] for flaw, texts in lines.items()} == {flaw: want[flaw] for flaw in lines}
    idle = clear_before_idle(host, verw, gen, smt_active=True) is not None
    assert idle == (gen.idle_key in case["out"]["keys_smt_active"])


# Tables for kernels no golden case exists of. Each row: bugs, facts, command line → the outcome.

# Source: mds_select_mitigation, update_mds_branch_idle and mds_show_state as merged for 5.2.
V5_2 = [
    ("", "md_clear", "", (), "OFF", "Not affected", False),
    ("mds", "md_clear", "", ("mds_user_clear",), "FULL", "Mitigation: Clear CPU buffers; SMT vulnerable", False),
    ("mds", "", "", ("mds_user_clear",), "VMWERV", "Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable", False),
    ("mds", "md_clear", "mds=off", (), "OFF", "Vulnerable; SMT vulnerable", False),
    ("mds", "md_clear", "mds=full mitigations=off", (), "OFF", "Vulnerable; SMT vulnerable", False),
    ("mds", "md_clear", "mitigations=off,no_user_kernel", ("mds_user_clear",), "FULL", "Mitigation: Clear CPU buffers; SMT vulnerable", False),
    ("mds", "md_clear", "mds=full,nosmt", ("mds_user_clear",), "FULL", "Mitigation: Clear CPU buffers; SMT disabled", True),
    ("mds", "md_clear", "mitigations=auto,nosmt", ("mds_user_clear",), "FULL", "Mitigation: Clear CPU buffers; SMT disabled", True),
    ("mds msbds_only", "md_clear", "mds=full,nosmt", ("mds_idle_clear", "mds_user_clear"), "FULL", "Mitigation: Clear CPU buffers; SMT mitigated", False),
    ("mds msbds_only", "md_clear", "mds=off", (), "OFF", "Vulnerable; SMT vulnerable", False),
    ("taa mmio_stale_data rfds", "rtm rfds_clear", "tsx_async_abort=full,nosmt", (), "OFF", "Not affected", False),
]  # fmt: skip


@pytest.mark.parametrize(("bugs", "facts", "cmdline", "keys", "state", "line", "nosmt"), V5_2)
def test_kernel_5_2_selects_as_its_source_says(bugs, facts, cmdline, keys, state, line, nosmt):
    got = select(Host(bugs.split(), facts.split(), cmdline, smt=True), "5.2")
    assert (got.features, got.keys, got.nosmt) == ((), keys, nosmt)
    assert (got.states.mds, got.lines.mds) == (f"MDS_MITIGATION_{state}", line)
    assert (got.states.taa, got.sysfs.mmio, got.lines.rfds) == (None, None, None)


# Source: arch/x86/kernel/cpu/bugs.c right after 8cb861e9e3c9 and its companions (001415e4e626).
CLEAR, MMIO, IDLE = "mds_user_clear", "mmio_stale_data_clear", "mds_idle_clear"
V5_19 = [
    ("taa", "rtm md_clear", "", (CLEAR,), "OFF", "VERW", "OFF"),
    ("taa", "rtm", "", (CLEAR,), "OFF", "UCODE_NEEDED", "OFF"),
    ("taa", "rtm md_clear mds_no", "", (CLEAR,), "OFF", "UCODE_NEEDED", "OFF"),
    ("taa", "rtm md_clear mds_no tsx_ctrl_msr", "", (CLEAR,), "OFF", "VERW", "OFF"),
    ("taa", "rtm md_clear mds_no tsx_ctrl_msr", "tsx=off", (), "OFF", "TSX_DISABLED", "OFF"),
    ("taa", "md_clear", "mitigations=off", (), "OFF", "TSX_DISABLED", "OFF"),
    ("taa", "rtm md_clear", "tsx_async_abort=off", (), "OFF", "OFF", "OFF"),
    ("mds taa", "rtm md_clear", "tsx_async_abort=off", (CLEAR,), "FULL", "VERW", "OFF"),
    ("mds taa", "rtm md_clear", "mds=off", (CLEAR,), "FULL", "VERW", "OFF"),
    ("mds taa", "rtm md_clear", "mds=off tsx_async_abort=off", (), "OFF", "OFF", "OFF"),
    ("mmio_stale_data", "fb_clear", "", (IDLE, MMIO), "OFF", "OFF", "VERW"),
    ("mmio_stale_data", "fb_clear fbsdp_no", "", (MMIO,), "OFF", "OFF", "VERW"),
    ("mmio_stale_data", "md_clear", "", (IDLE, MMIO), "OFF", "OFF", "UCODE_NEEDED"),
    ("mmio_stale_data", "md_clear flush_l1d", "", (IDLE, MMIO), "OFF", "OFF", "VERW"),
    ("mmio_stale_data", "md_clear flush_l1d mds_no", "", (IDLE, MMIO), "OFF", "OFF", "UCODE_NEEDED"),
    ("mmio_stale_data", "fb_clear", "mmio_stale_data=off", (), "OFF", "OFF", "OFF"),
    ("mmio_stale_data mmio_unknown", "fb_clear", "", (IDLE, MMIO), "OFF", "OFF", "VERW"),
    ("mds mmio_stale_data", "md_clear flush_l1d", "mds=off", (IDLE, CLEAR), "FULL", "OFF", "VERW"),
    ("mds mmio_stale_data", "md_clear flush_l1d", "mmio_stale_data=off", (IDLE, CLEAR), "FULL", "OFF", "VERW"),
    ("taa mmio_stale_data", "rtm md_clear fb_clear", "tsx_async_abort=off", (IDLE, CLEAR), "OFF", "VERW", "VERW"),
    ("taa mmio_stale_data", "md_clear fb_clear", "", (IDLE, MMIO), "OFF", "TSX_DISABLED", "VERW"),
    ("rfds mmio_stale_data", "rfds_clear fb_clear", "", (IDLE, MMIO), "OFF", "OFF", "VERW"),
]  # fmt: skip


@pytest.mark.parametrize(("bugs", "facts", "cmdline", "keys", "mds", "taa", "mmio"), V5_19)
def test_kernel_5_19_selects_as_its_source_says(bugs, facts, cmdline, keys, mds, taa, mmio):
    got = select(Host(bugs.split(), facts.split(), cmdline), "5.19")
    assert (got.features, got.keys) == ((), keys)
    want = (f"MDS_MITIGATION_{mds}", f"TAA_MITIGATION_{taa}", f"MMIO_MITIGATION_{mmio}", None)
    assert (got.states.mds, got.states.taa, got.states.mmio, got.states.rfds) == want


# Source: arch/x86/kernel/cpu/bugs.c and kernel/cpu.c as they were around 83ebe7157483, attack vectors included.
ALL_OFF = "mitigations=auto,no_user_kernel,no_user_user,no_guest_host,no_guest_guest"
BUF, ONLY = ("CLEAR_CPU_BUF",), ("cpu_buf_idle_clear", "cpu_buf_vm_clear")
V6_17 = [
    ("mds", "", "", BUF, (), "VMWERV", "OFF", "OFF"),
    ("mds", "md_clear", "mitigations=off", (), (), "OFF", "OFF", "OFF"),
    ("mds", "md_clear", "mitigations=off mds=full", BUF, (), "FULL", "OFF", "OFF"),
    ("mds", "md_clear", ALL_OFF, (), (), "OFF", "OFF", "OFF"),
    ("mds", "md_clear", "mitigations=auto,no_user_kernel", BUF, (), "FULL", "OFF", "OFF"),
    # A semicolon was in the proposed patches only; the merged code wants a comma.
    ("mds", "md_clear", ALL_OFF.replace(",", ";", 1), BUF, (), "FULL", "OFF", "OFF"),
    # What off took away, a later auto does not give back.
    ("mds", "md_clear", "mitigations=off mitigations=auto", (), (), "OFF", "OFF", "OFF"),
    ("mmio_stale_data", "fb_clear", "", (), ONLY, "OFF", "VERW", "OFF"),
    ("mmio_stale_data", "fb_clear fbsdp_no", "", (), ONLY[1:], "OFF", "VERW", "OFF"),
    ("mmio_stale_data mmio_unknown", "fb_clear", "", (), ONLY, "OFF", "VERW", "OFF"),
    ("mds mmio_stale_data", "md_clear fb_clear", "mds=off", BUF, ONLY[:1], "FULL", "VERW", "OFF"),
    ("rfds", "rfds_clear", "", BUF, (), "OFF", "OFF", "VERW"),
    ("rfds", "", "reg_file_data_sampling=on", (), (), "OFF", "OFF", "UCODE_NEEDED"),
    ("rfds mmio_stale_data", "rfds_clear fb_clear", "", BUF, ONLY[:1], "OFF", "VERW", "VERW"),
    ("rfds mmio_stale_data", "fb_clear", "", (), ONLY, "OFF", "VERW", "UCODE_NEEDED"),
]  # fmt: skip


@pytest.mark.parametrize(("bugs", "facts", "cmdline", "features", "keys", "mds", "mmio", "rfds"), V6_17)
def test_kernel_6_17_selects_as_its_source_says(bugs, facts, cmdline, features, keys, mds, mmio, rfds):
    got = select(Host(bugs.split(), facts.split(), cmdline), "6.17")
    assert (got.features, got.keys) == (features, keys)
    want = (f"MDS_MITIGATION_{mds}", f"MMIO_MITIGATION_{mmio}", f"RFDS_MITIGATION_{rfds}")
    assert (got.states.mds, got.states.mmio, got.states.rfds) == want


def test_a_kernel_whose_selection_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(LabError, match=r"5\.0 .*7\.3\.4"):
        select(Host(), "4.4")


# Invariants.

hosts = st.builds(
    Host,
    bugs=st.sets(st.sampled_from(BUGS)),
    facts=st.sets(st.sampled_from(FACTS)),
    cmdline=st.lists(
        st.sampled_from(
            [
                *(f"{name}={word}" for name in ("mds", "tsx_async_abort", "mmio_stale_data") for word in ("off", "full", "full,nosmt")),
                "reg_file_data_sampling=off", "reg_file_data_sampling=on", "l1tf=off", "l1tf=full", "l1tf=full,force",
                "mitigations=off", "mitigations=auto", "mitigations=auto,nosmt", ALL_OFF, "nosmt", "tsx=on", "tsx=off",
                "kvm-intel.vmentry_l1d_flush=always", "kvm-intel.vmentry_l1d_flush=never", "kvm_intel.ept=0",
            ]
        ),
        max_size=5,
    ).map(" ".join),
    smt=st.sampled_from([None, True, False]),
    ept=st.booleans(),
    cache_bits=st.none() | st.integers(28, 46),
)  # fmt: skip
kernels = st.sampled_from(sorted(GENERATIONS))


@given(hosts, kernels)
def test_without_bugs_nothing_is_selected(host, kernel):
    got = select(replace(host, bugs=()), kernel)
    assert (got.features, got.keys, got.kvm_keys, got.nosmt) == ((), (), (), False)
    assert set(asdict(got.sysfs).values()) <= {"Not affected", None}


@given(
    hosts,
    kernels,
    st.sampled_from(["mds", "tsx_async_abort", "mmio_stale_data", "reg_file_data_sampling", "l1tf"]),
    st.integers(0, 5),
)
def test_an_unknown_value_changes_nothing(host, kernel, option, place):
    words = host.cmdline.split()
    words.insert(place, f"{option}=bogus")
    assert select(replace(host, cmdline=" ".join(words)), kernel) == select(host, kernel)


@given(hosts, kernels)
def test_a_bug_the_kernel_does_not_know_changes_nothing(host, kernel):
    known = set(host.bugs) & GENERATIONS[kernel].bugs
    assert select(replace(host, bugs=tuple(known)), kernel) == select(host, kernel)


@given(hosts, kernels)
def test_clearing_for_mmio_guests_only_never_comes_with_clearing_for_everyone(host, kernel):
    got, gen = select(host, kernel), generation(kernel)
    everyone = {*gen.clear_features, *gen.clear_keys}
    only = {*gen.mmio_only_features, *gen.mmio_only_keys}
    chosen = {*got.features, *got.keys}
    assert not (chosen & everyone and chosen & only)
    assert chosen & everyone in (set(), everyone)


@given(hosts, kernels)
def test_microcode_never_decides_whether_verw_runs_but_for_rfds(host, kernel):
    facts = set(host.facts) - {"md_clear", "flush_l1d", "fb_clear", "mds_no"}
    bare = select(replace(host, facts=tuple(facts)), kernel)
    assert (bare.features, bare.keys) == (select(host, kernel).features, select(host, kernel).keys)


@given(hosts, kernels)
def test_a_vulnerable_line_is_about_a_bug_the_cpu_has(host, kernel):
    bug = {"mds": "mds", "taa": "taa", "mmio": "mmio_stale_data", "rfds": "rfds", "l1tf": "l1tf"}
    for flaw, text in asdict(select(host, kernel).sysfs).items():
        if text and text.startswith(("Vulnerable", "Mitigation")):
            assert bug[flaw] in host.bugs


@given(hosts, kernels)
def test_the_short_text_begins_the_whole_line(host, kernel):
    got = select(host, kernel)
    for flaw in FLAWS:
        short, line = getattr(got.sysfs, flaw), getattr(got.lines, flaw)
        assert short == (line and line.split("; ")[0])


@given(hosts, kernels)
def test_the_two_parts_of_selection_do_not_look_at_each_others_bugs_and_facts(host, kernel):
    gen = generation(kernel)
    wishes, _ = read_options(host, gen)
    without_l1tf = replace(host, bugs=tuple(set(host.bugs) - {"l1tf"}), ept=True, cache_bits=None)
    assert select_verw(without_l1tf, wishes, gen) == select_verw(host, wishes, gen)
    facts = tuple(set(host.facts) & {"skip_vmentry_l1dflush"})
    only_l1tf = replace(host, bugs=tuple(set(host.bugs) & {"l1tf"}), facts=facts)
    assert select_l1tf(only_l1tf, wishes, gen) == select_l1tf(host, wishes, gen)


@given(hosts, kernels)
def test_selection_is_a_value(host, kernel):
    assert len({select(host, kernel), select(host, generation(kernel))}) == 1


@given(hosts, kernels)
def test_every_mitigated_flaw_and_every_option_has_its_reason(host, kernel):
    got = select(host, kernel)
    assert all(one.subject and one.outcome and one.reason for one in got.why)
    assert len([one for one in got.why if "=" in one.subject or one.subject == "nosmt"]) == len(
        host.cmdline.split()
    )
    if got.nosmt:
        assert any(one.subject == "SMT" and one.outcome == "off" for one in got.why)


def test_a_selected_l1tf_is_told_in_kernel_words_once_kvm_is_loaded():
    got = select(Host(("l1tf",), smt=True), "7.3.4")
    assert got.lines.l1tf == "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable"
    assert (got.kvm_keys, got.keys) == (("vmx_l1d_flush_cond", "vmx_l1d_should_flush"), ())
