"""What a machine says of itself: read from its files or from a paste, and nothing kept that names the machine."""

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.hosts.fields import FLAGS, OPTIONS
from vmenter.hosts.report import (
    HOW,
    MOST,
    SAMPLES,
    Report,
    gather,
    parse,
    read_machine,
    sample,
    samples,
)
from vmenter.hosts.texts import FILES

LINES = "sys/devices/system/cpu/vulnerabilities"
PRIVATE = "BOOT_IMAGE=/vmlinuz root=UUID=0c1e5b3a-2f44 ip=10.1.2.3 hostname=secret"
MACHINE = {
    f"{LINES}/mds": "Mitigation: Clear CPU buffers; SMT vulnerable\n",
    f"{LINES}/l1tf": "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable\n",
    "sys/devices/system/cpu/smt/active": "1\n",
    "sys/module/kvm_intel/parameters/ept": "Y\n",
    "sys/module/kvm_intel/parameters/vmentry_l1d_flush": "cond\n",
    "proc/sys/kernel/osrelease": "6.1.0-13-amd64\n",
    "proc/cmdline": f"{PRIVATE} mds=full quiet kvm-intel.ept=1 -- mds=off\n",
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n"
    "model name\t: Intel(R) Xeon(R)\nstepping\t: 4\nmicrocode\t: 0x1\n"
    "flags\t\t: fpu vmx rtm md_clear flush_l1d\nvmx flags\t: ept\nbugs\t\t: mds l1tf spectre_v1\n"
    "\nprocessor\t: 1\nvendor_id\t: OtherVendor\n",
}
READ = Report(
    release="6.1.0-13-amd64",
    cpu=(
        ("vendor_id", "GenuineIntel"),
        ("cpu family", "6"),
        ("model", "85"),
        ("model name", "Intel(R) Xeon(R)"),
        ("stepping", "4"),
        ("microcode", "0x1"),
    ),
    flags=("rtm", "md_clear", "flush_l1d", "vmx"),
    bugs=("mds", "l1tf", "spectre_v1"),
    lines=(
        ("mds", "Mitigation: Clear CPU buffers; SMT vulnerable"),
        ("l1tf", "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable"),
    ),
    options="mds=full kvm_intel.ept=1",
    parameters=(("ept", "Y"), ("vmentry_l1d_flush", "cond")),
    smt=True,
)


@pytest.fixture
def machine(tmp_path):
    """A machine in a folder; content None leaves a file out."""

    def machine(**changes):
        for path, content in {**MACHINE, **changes}.items():
            if content is not None:
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text(content)
        return tmp_path

    return machine


def test_a_machine_is_read_from_its_files(machine):
    assert read_machine(machine()) == READ


def test_a_reports_own_text_says_the_same():
    assert parse(READ.text) == READ


def test_the_suggested_line_prints_what_is_read(machine):
    # The line names files from the root on; here they stand elsewhere.
    root = machine()
    done = subprocess.run(
        ["sh", "-c", re.sub(r"(?<= )/(?=proc|sys)", f"{root}/", HOW)], capture_output=True, text=True, check=True
    )
    assert parse(done.stdout) == READ
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["", "quiet splash"])
def test_the_suggested_line_tells_an_empty_command_line_from_none(machine, shell):
    root = machine(**{"proc/cmdline": f"{shell}\n"})
    done = subprocess.run(
        ["sh", "-c", re.sub(r"(?<= )/(?=proc|sys)", f"{root}/", HOW)], capture_output=True, text=True, check=True
    )
    assert (parse(done.stdout).options, read_machine(root).options) == ("", "")
    assert parse(f"/{LINES}/mds:Not affected").options is None


def test_nothing_that_names_a_machine_or_its_owner_is_kept_or_printed(machine):
    root = machine()
    done = subprocess.run(["sh", "-c", HOW.replace(" /", f" {root}/")], capture_output=True, text=True, check=True)
    for text in (done.stdout.replace(str(root), ""), read_machine(root).text, repr(read_machine(root))):
        assert not re.search(r"UUID|10\.1\.2\.3|secret|BOOT_IMAGE|quiet", text)


def test_a_machine_without_any_file_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(LabError, match=r"no Linux on x86.*vmenter host --how"):
        read_machine(tmp_path)


def test_what_cannot_be_read_is_left_out(machine):
    root = machine(**{"proc/cmdline": None})
    (root / "proc" / "cmdline").mkdir()
    assert read_machine(root).options is None
    assert "cmdline" not in gather(root)


LSCPU_NEW = """\
Vendor ID:                   GenuineIntel
  Model name:                Intel(R) Xeon(R) Gold 6136 CPU @ 3.00GHz
    CPU family:              6
    Model:                   85
    Stepping:                4
    Flags:                   fpu vmx hle rt
                             m md_clear
                              flush_l1d
Vulnerabilities:
  L1tf:                      Mitigation; PTE Inversion; VMX conditional cache flushe
                             s, SMT vulnerable
  Mds:                       Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable
  Tsx async abort:           Vulnerable; SMT Host state unknown
"""


def test_lscpu_is_understood_wrapped_lines_and_changed_colons_included():
    report = parse(LSCPU_NEW)
    assert report.flags == ("rtm", "md_clear", "flush_l1d", "vmx")
    assert dict(report.cpu)["model"] == "85"
    assert dict(report.lines) == {
        "l1tf": "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable",
        "mds": "Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable",
        "tsx_async_abort": "Vulnerable; SMT Host state unknown",
    }
    older = "Vulnerability Tsx async abort:           Mitigation; TSX disabled\nFlags:     fpu rtm\n"
    assert dict(parse(older).lines) == {"tsx_async_abort": "Mitigation: TSX disabled"}
    assert parse(older).flags == ("rtm",)


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("6.1.0-13-amd64", "6.1.0-13-amd64"),
        ("Linux host 6.8.0-100-generic #100-Ubuntu SMP x86_64", "6.8.0-100-generic"),
        ("Linux version 7.3.4 (builder@host) #1 SMP", "7.3.4"),
        ("/proc/sys/kernel/osrelease:5.10.262", "5.10.262"),
        ("2600.123", None),
        ("osrelease: none", None),
    ],
)
def test_a_release_is_found_in_any_of_its_forms(text, release):
    assert parse(f"mds: Not affected\n{text}\n").release == release


def test_files_may_be_named_by_path_or_alone():
    for prefix in ("", "vulnerabilities/", f"/{LINES}/", "  ./"):
        assert parse(f"{prefix}mds:Not affected").lines == (("mds", "Not affected"),)


def test_two_machines_in_one_paste_are_noticed():
    report = parse("mds: Not affected\nmds: Vulnerable\nmds: Not affected")
    assert report.line("mds") == "Not affected"
    assert "two machines" in report.notes[0]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "hello world", "active:1", "# mds: Not affected", "{}", "cmdline: mds=off"]
)
def test_a_paste_without_a_machine_is_refused_in_one_line(text):
    with pytest.raises(LabError, match="vmenter host --how") as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_a_paste_that_is_far_too_long_is_refused():
    with pytest.raises(LabError, match="no report of one machine"):
        parse("x" * (MOST + 1))


pieces = st.sampled_from(
    [*READ.text.splitlines(), *LSCPU_NEW.splitlines(), "/proc/cpuinfo:", "mds:", 'cmdline:"', "::", "\0", "Flags:"]
) | st.text(max_size=40)


@given(st.lists(pieces, max_size=25).map("\n".join))
def test_whatever_is_pasted_gives_a_report_or_one_clear_line(text):
    try:
        report = parse(text)
    except LabError:
        return  # one line, as another test holds
    assert set(report.flags or ()) <= set(FLAGS)
    assert {file for file, _ in report.lines} <= set(FILES)
    if not (report.lines or report.flags is not None or report.bugs is not None or report.cpu):
        return  # nothing but cut lines: they are noted, and not in the report's own text
    again = parse(report.text)
    assert (again.lines, again.flags, again.bugs, again.smt) == (
        report.lines,
        report.flags,
        report.bugs,
        report.smt,
    )


words = st.lists(st.sampled_from([*OPTIONS, "root", "ip"]).map("{}=x".format), max_size=6)


@given(words)
def test_of_a_command_line_only_the_options_that_matter_are_kept(given_words):
    kept = parse(f"mds: Vulnerable\n/proc/cmdline:{' '.join(given_words)}").options
    assert kept == " ".join(word for word in given_words if word.partition("=")[0] in OPTIONS)


def test_samples_are_there_each_with_a_title_and_where_it_is_from():
    assert len(samples()) >= 5
    for name, title in samples().items():
        text = (SAMPLES / f"{name}.txt").read_text()
        assert title
        assert re.search(r"^# Source: ", text, re.MULTILINE), name
        assert sample(name).lines
        body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
        assert body == sample(name).text, f"{name} is not in the form that HOW prints"


def test_an_unknown_sample_is_refused_with_the_known_ones():
    with pytest.raises(LabError, match="no sample is called 'moon'; there are: "):
        sample("moon")
