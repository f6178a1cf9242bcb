"""A machine explained: its lines in plain words, why the model may differ, and what a VM-Enter does there."""

import json

import pytest

from vmenter.hosts import explain_text
from vmenter.hosts.explain import explain, meaning
from vmenter.hosts.report import Report, parse, sample, samples
from vmenter.hosts.verdict import TITLES
from vmenter.story.eras import enter
from vmenter.story.promise import Reach, VCpuState


def explained(name):
    return explain(sample(name))


def line(found, file):
    return next(one for one in found.lines if one.file == file)


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("Not affected", "not affected", "free of the flaw"),
        ("Mitigation: Clear CPU buffers; SMT vulnerable", "mitigated", "Sibling threads run"),
        ("Mitigation: Clear CPU buffers: VM", "mitigated", "before guests are entered"),
        ("Mitigation: Clear CPU buffers: user/kernel boundary", "vulnerable", "not before guests"),
        ("Vulnerable: Clear CPU buffers attempted, no microcode; SMT Host state unknown", "vulnerable", "a guest"),
        ("Vulnerable; SMT disabled", "vulnerable", "Nothing is done"),
        ("Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT disabled", "mitigated", "L1D flushed if"),
        ("Mitigation: PTE Inversion; VMX: vulnerable", "vulnerable", "without an L1D flush"),
        ("Unknown: No mitigations", "unknown", "cannot tell whether"),
        ("Mitigation: Something new", "unknown", "does not know this wording"),
    ],
)
def test_a_line_is_put_into_plain_words(text, status, words):
    found = meaning(text)
    assert found[0] == status
    assert words in found[1]


@pytest.mark.parametrize("name", samples())
def test_every_sample_is_explained_and_the_model_agrees_with_it(name):
    found = explained(name)
    assert [one.title for one in found.lines][:5] == list(TITLES.values())[:5]
    assert found.disagreements == ()
    text = "\n".join(explain_text.text_lines(found))
    assert found.report.title in text
    assert all(one.kernel in text for one in found.lines)
    assert json.loads(json.dumps(explain_text.to_json(found)))["nearest"]["era"] == found.inference.nearest.era.id


def test_only_open_lines_and_a_broken_promise_are_findings():
    findings = {name: explained(name).finding for name in samples()}
    assert findings == {
        "all-off": True,
        "cascade-lake": True,  # its nearest form of VM-Enter overlooks MMIO without a device passed through
        "epyc-tsa": False,
        "four-flaws": False,
        "guest-without-flaws": False,
        "guest-without-mitigations": True,
        "mds-off-in-vain": False,
        "mmio-only": True,
        "rfds": False,
        "skylake-no-microcode": True,
    }


def test_reasons_are_the_models_and_only_those_of_the_line():
    found = explained("mds-off-in-vain")
    why = [(one.subject, one.outcome) for one in line(found, "mds").why]
    assert why == [
        ("mds=off", "mds: off"),
        ("MDS", "not wanted"),
        ("VERW", "for everyone"),
        ("MDS", "on after all"),
    ]
    assert {one.subject for one in line(found, "l1tf").why} == {"L1TF", "KVM's L1D flush"}
    assert set(line(found, "mds").why) <= set(found.inference.selection.why)


def test_agreement_that_rests_on_the_line_itself_says_so():
    one = line(explained("cascade-lake"), "mmio_stale_data")
    assert one.decided == ("fb_clear",)
    assert explain_text.agreement(one) == "The model agrees, with fb_clear inferred from this line."


def test_the_replay_shows_the_broken_promise(run):
    entries = explained("cascade-lake").entries
    assert (len(entries.broken), entries.runs) == (8, 24)
    status, out, _ = run(*entries.replay.split()[1:])
    assert (status, "BROKEN" in out) == (1, True)


def test_every_kind_of_vcpu_is_tried_once_and_the_plainest_first():
    found = explained("mmio-only")
    kinds = {str(one.vcpu) for one in found.entries.broken}
    assert len(kinds) == len(found.entries.broken)
    assert found.entries.entry == enter(found.inference.nearest.era, found.inference.host)
    assert found.entries.broken[0].vcpu.mmio == "mapped"
    assert not found.entries.broken[0].vcpu.resume


def test_fb_clear_ctrl_which_no_file_tells_is_named_where_it_would_matter():
    text = sample("mmio-only").text.replace("6.12.117", "7.3.4")
    found = explain(parse(text))
    assert found.entries.broken == ()
    assert found.entries.neutralised == 0
    assert found.entries.neutralised_with_ctrl == 8  # reaches MMIO two ways, and its guest has no FB_CLEAR
    assert "If the CPU has FB_CLEAR_CTRL" in " ".join(explain_text.entry_sentences(found))


def test_amd_is_told_what_applies_and_given_no_intel_verdict():
    found = explained("epyc-tsa")
    assert found.entries is None
    assert line(found, "tsa").status == "mitigated"
    assert line(found, "tsa").agrees
    assert [entry.verdict.kept for entry in found.tsa.entries] == [True, True]
    assert "VMRUN" in " ".join(explain_text.entry_sentences(found))
    assert found.inference.host.has("mds_no") is False
    assert "era" not in " ".join(explain_text.entry_sentences(found))


MDS = "/proc/cpuinfo:flags: md_clear{}\n/proc/cpuinfo:bugs: mds\n/x/smt/active:1\n/proc/cmdline:{}\nosrelease:{}\nmds:{}\n"
CLEAR = "Mitigation: Clear CPU buffers; SMT {}"


@pytest.mark.parametrize(
    ("flags", "cmdline", "release", "text", "cause"),
    [
        ("", "", "7.3.4", CLEAR.format("disabled"), "sibling threads only"),
        ("", "mds=full mitigations=off", "7.3.4", "Vulnerable; SMT vulnerable", "as in 5.2 or 5.19 or 6.0"),
        ("", "", "7.3.4", "Vulnerable; SMT vulnerable", "With mitigations=off it would be this line"),
        (" hypervisor", "", "7.3.4", "Vulnerable: Clear CPU buffers attempted, no microcode", "hypervisor below"),
        ("", "", "6.10.1", "Vulnerable: Clear CPU buffers attempted, no microcode", "This kernel was not read"),
        ("", "", "7.3.4", "Vulnerable: Clear CPU buffers attempted, no microcode", "loaded after boot"),
    ],
)
def test_where_the_model_differs_a_likely_cause_is_given(flags, cmdline, release, text, cause):
    found = explain(parse(MDS.format(flags, cmdline, release, text)))
    one = line(found, "mds")
    assert one.agrees is False
    assert cause in one.cause
    assert "DISAGREES" in explain_text.agreement(one)
    assert "do not agree about MDS" in " ".join(explain_text.entry_sentences(found))


def test_boot_options_that_were_not_given_are_taken_for_off_where_only_that_fits():
    found = explained("guest-without-mitigations")
    assert found.report.options is None
    assert found.inference.host.cmdline == "mitigations=off"
    assert "built without mitigations" in "\n".join(explain_text.text_lines(found))


def test_a_report_of_nothing_but_flags_cannot_tell():
    found = explain(Report(flags=("rtm",)))
    assert all(one.kernel is None and one.agrees is None and not one.finding for one in found.lines)
    assert (found.outcome.status, found.finding, found.entries) == (2, False, None)
    text = "\n".join(explain_text.text_lines(found))
    assert "Cannot tell" in text
    assert "bugs          not told" in text


def test_a_wording_that_no_kernel_has_is_not_told():
    found = explain(parse(MDS.format("", "", "7.3.4", "Mitigation: Other")))
    one = line(found, "mds")
    assert (one.kernel, one.agrees, one.status) == (None, None, "unknown")
    assert found.report.notes == ("mds: no kernel prints 'Mitigation: Other'; it counts as not told",)
    assert found.outcome.status == 1


OF_2019 = """\
Linux host 5.2.21 x86_64 GNU/Linux
/sys/devices/system/cpu/vulnerabilities/mds:Mitigation: Clear CPU buffers; SMT vulnerable
/sys/devices/system/cpu/vulnerabilities/l1tf:Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable
"""


def test_the_plainest_vm_enter_comes_first():
    entries = explain(parse(OF_2019)).entries
    settings = [
        sum((one.vcpu.mmio is not Reach.NONE, one.vcpu.flush_pending, one.vcpu.resume, one.vcpu.guest_fb_clear))
        for one in entries.broken
    ]
    assert settings == [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]
    assert entries.entry.vcpu == VCpuState()
