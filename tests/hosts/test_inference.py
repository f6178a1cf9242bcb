"""From a machine's words back to a host: the model, asked about that host, must say the machine's words again."""

import re
from dataclasses import replace

import golden_cases
import pytest

from vmenter.boot.host import Host, host_from_json
from vmenter.boot.selection import select
from vmenter.hosts.explain import explain
from vmenter.hosts.inference import HIDDEN, NO_LINE, fits, host_of
from vmenter.hosts.nearest import nearest_of
from vmenter.hosts.report import SAMPLES, Report, parse, sample, samples
from vmenter.hosts.texts import FLAWS
from vmenter.hosts.told import version

GOLDEN = golden_cases.golden()
each_golden = golden_cases.each(GOLDEN)


def report_of(kernel, case, *, guest):
    """Return what the machine of a golden case would print: its kernel's own lines, of a guest or with threads on."""
    full = case["out"]["sysfs_full_hypervisor" if guest else "sysfs_full_bare_smt_on"]
    return Report(
        release=kernel,
        cpu=(("vendor_id", "GenuineIntel"),),
        flags=(*(flag.lower() for flag in case["features"]), *(("hypervisor",) if guest else ())),
        bugs=tuple(bug.lower() for bug in case["bugs"]),
        lines=tuple((file, full[flaw]) for file, flaw in FLAWS.items()),
        options=case["cmdline"],
        smt=not guest,
    )


def test_golden_cases_are_here():
    assert len(GOLDEN) == 788


@each_golden
def test_a_kernels_lines_lead_to_a_host_of_which_the_model_says_the_same(kernel, case):
    report = parse(report_of(kernel, case, guest=True).text)
    found = explain(report)
    assert found.inference.nearest.exact
    assert [(line.file, line.kernel, line.agrees) for line in found.lines] == [
        (file, report.line(file), True) for file in FLAWS
    ]


@each_golden
def test_what_is_inferred_selects_as_the_real_host_did(kernel, case):
    # Not the same host: what no line depends on stays open. But the same features and keys.
    inference = host_of(parse(report_of(kernel, case, guest=True).text))
    real = select(host_from_json(case), kernel)
    idle = {"cpu_buf_idle_clear"}  # depends on FBSDP_NO, which no line shows
    assert inference.selection.features == real.features
    assert {*inference.selection.keys} - idle == {*real.keys} - idle


@each_golden
def test_a_bit_that_is_said_to_follow_from_a_line_does_follow(kernel, case):
    report = report_of(kernel, case, guest=True)
    inference = host_of(report)
    for name, file in inference.by_line:
        facts = {*inference.host.facts} ^ {name}
        other = select(replace(inference.host, facts=tuple(facts)), kernel)
        assert not fits(report, other, file), (name, file)


@each_golden
def test_a_bit_that_a_line_decided_is_the_real_hosts_where_it_reads_that_bit(kernel, case):
    inference, real = host_of(report_of(kernel, case, guest=True)), host_from_json(case)
    for name, _ in inference.by_line:
        # The other bits stand in for each other on hosts that were never built: MDS with MDS_NO, say.
        if name == "rfds_clear":
            assert inference.host.has(name) == real.has(name)


# The golden run turned threads on whatever had been selected; that is a machine where someone did so after boot.
OFF = [one.told["out"]["nosmt"] or "nosmt" in one.told["cmdline"].split() for one in GOLDEN]
BARE = [one for one, off in zip(GOLDEN, OFF, strict=True) if not off]


@golden_cases.each(BARE)
def test_the_same_with_threads_running(kernel, case):
    found = explain(report_of(kernel, case, guest=False))
    assert [line.agrees for line in found.lines] == [True] * len(FLAWS)


@golden_cases.each(one for one, off in zip(GOLDEN, OFF, strict=True) if off)
def test_threads_switched_on_again_after_boot_are_told_from_other_differences(kernel, case):
    found = explain(report_of(kernel, case, guest=False))
    assert all("sibling threads" in line.cause for line in found.disagreements)


@pytest.mark.parametrize("name", samples())
def test_a_sample_from_a_golden_case_is_that_case(name):
    text = (SAMPLES / f"{name}.txt").read_text()
    source = re.search(r"mitigations-([\d.]+)\.json\.gz,\n# case (\d+)", text)
    if source:
        cases = [one.told for one in GOLDEN if one.kernel == source[1]]
        assert sample(name) == parse(report_of(source[1], cases[int(source[2])], guest=False).text)
    else:
        assert "its owner published" in text or "read by `vmenter host`" in text


# --- bits that no file shows ---------------------------------------------------------------------------------------

MMIO_ONLY = (
    "mds: Not affected\nmmio_stale_data: {}\n/proc/cpuinfo:flags: vmx\n/proc/cpuinfo:bugs: mmio_stale_data\n"
)


def told(report, name):
    return next(one for one in host_of(report).known if one.subject == name)


def test_fb_clear_follows_from_the_line_that_needs_it():
    report = parse(MMIO_ONLY.format("Mitigation: Clear CPU buffers"))
    one = told(report, "fb_clear")
    assert (one.value, host_of(report).host.has("fb_clear")) == (True, True)
    assert "mmio_stale_data" in one.source
    assert (
        told(parse(MMIO_ONLY.format("Vulnerable: Clear CPU buffers attempted, no microcode")), "fb_clear").value
        is False
    )


def test_what_no_line_needs_stays_unknown():
    inference = host_of(parse("mds: Not affected\n/proc/cpuinfo:bugs: none\n/proc/cpuinfo:flags: rtm\n"))
    assert {*HIDDEN, *NO_LINE} <= set(inference.unknown)
    assert inference.by_line == ()


def test_no_mds_on_intel_is_taken_for_mds_no_and_said_to_be_taken():
    one = told(parse(MMIO_ONLY.format("Mitigation: Clear CPU buffers")), "mds_no")
    assert one.value is None
    assert "taken as present" in one.source


def test_bugs_are_read_from_the_files_where_the_bugs_line_is_missing():
    text = (
        "mds: Mitigation: Clear CPU buffers; SMT mitigated\ntsx_async_abort: Mitigation: TSX disabled\n"
        "mmio_stale_data: Unknown: No mitigations\nreg_file_data_sampling: Not affected\nl1tf: Vulnerable\n"
    )
    host = host_of(parse(text)).host
    assert host.bugs == ("l1tf", "mds", "mmio_unknown", "msbds_only", "taa")
    assert (host.has("rtm"), host.has("md_clear"), host.smt) == (False, True, True)
    assert all(line.agrees for line in explain(parse(text)).lines if line.kernel)


# --- KVM's parameters ----------------------------------------------------------------------------------------------

L1TF = "l1tf: Mitigation: PTE Inversion; VMX: {}\n/proc/cpuinfo:bugs: l1tf\n/proc/cpuinfo:flags: flush_l1d\n/x/smt/active:0\n"


@pytest.mark.parametrize(
    ("words", "flush"),
    [
        ("conditional cache flushes, SMT disabled", "cond"),
        ("cache flushes, SMT disabled", "always"),
        ("vulnerable, SMT disabled", "never"),
        ("EPT disabled", "EPT disabled"),
        ("flush not necessary, SMT disabled", "not required"),
    ],
)
def test_kvms_flush_mode_is_taken_from_the_line_where_its_parameter_is_not_given(words, flush):
    inference = host_of(parse(L1TF.format(words)))
    assert inference.selection.l1d_flush == flush
    assert next(line for line in explain(parse(L1TF.format(words))).lines if line.file == "l1tf").agrees


def test_a_modules_parameter_counts_though_the_command_line_does_not_say_it():
    text = (
        L1TF.format("cache flushes, SMT disabled") + "/sys/module/kvm_intel/parameters/vmentry_l1d_flush:always\n"
    )
    inference = host_of(parse(text + "/proc/cmdline:\n"))
    assert inference.host.cmdline == "kvm-intel.vmentry_l1d_flush=always"
    assert inference.selection.l1d_flush == "always"
    off = text.replace("always\n", "EPT disabled\n") + "/sys/module/kvm_intel/parameters/ept:N\n"
    assert host_of(parse(off)).host == Host(("l1tf",), ("flush_l1d",), smt=False, ept=False)


# --- which kernel --------------------------------------------------------------------------------------------------

ALL = tuple(FLAWS)


@pytest.mark.parametrize(
    ("release", "files", "kernel", "era", "exact"),
    [
        ("7.3.4", ALL, "7.3.4", "e6ff1d61de51", True),
        ("7.3.4-amd64", ALL, "7.3.4", "e6ff1d61de51", True),
        ("6.19.0", ALL, "7.3.4", "e6ff1d61de51", False),
        ("6.18.1-arch1", ALL, "6.17", "83ebe7157483", False),
        ("6.12.117+deb13", ALL, "6.12.117", "43fb862de8f6", True),
        ("6.8.0-100-generic", ALL, "6.12.117", "43fb862de8f6", False),
        ("6.6.105+", ALL, "6.12.117", "43fb862de8f6", False),
        ("6.1.192", ALL, "6.1.192", "43fb862de8f6-backport", True),
        ("6.1.0-13-amd64", ALL, "6.1.192", "43fb862de8f6-backport", False),
        ("5.15.0-130-generic", ALL, "6.12.117", "43fb862de8f6-backport", False),
        ("6.1.50", ("mds", "tsx_async_abort", "mmio_stale_data", "l1tf"), "6.0", "8cb861e9e3c9", False),
        ("5.15.0-94-generic", ("mds", "l1tf"), "5.19", "8cb861e9e3c9", False),
        ("6.8.0", ("mds", "tsx_async_abort", "mmio_stale_data", "l1tf"), "6.8", "43fb862de8f6", False),
        ("5.4.0-90-generic", ("mds", "tsx_async_abort", "l1tf"), "5.19", "8cb861e9e3c9", False),
        ("4.15.0-50-generic", ("mds", "l1tf"), "5.2", "650b68a0622f", False),
        ("4.18.20", ("l1tf",), "5.0", "before-mds", False),
        (None, ALL, "6.12.117", "43fb862de8f6", False),
        (None, ("mds",), "5.2", "650b68a0622f", False),
    ],
)
def test_the_files_there_are_count_for_more_than_the_version(release, files, kernel, era, exact):
    found = nearest_of(Report(release=release, lines=tuple((file, "Not affected") for file in files)))
    assert (found.kernel, found.era.id, found.exact) == (kernel, era, exact)


def test_a_version_is_its_leading_numbers():
    assert version("6.1.0-13-amd64") == (6, 1, 0)
    assert version("5.10.262.4") == (5, 10, 262)
    assert version(None) == version("next") == ()
