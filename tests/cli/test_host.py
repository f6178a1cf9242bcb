"""`vmenter host` as a user meets it."""

import io
import json
import sys

import pytest

from vmenter.hosts.report import HOW, SAMPLES, samples


@pytest.mark.parametrize(("name", "status"), [("four-flaws", 0), ("skylake-no-microcode", 1), ("cascade-lake", 1)])
def test_a_machines_paste_is_explained_with_a_status_that_tells(run, name, status):
    got, out, err = run("host", "--from", str(SAMPLES / f"{name}.txt"))
    assert (got, err) == (status, "")
    assert "The model agrees." in out
    assert "vmenter inspect" in out


def test_json_has_all_of_it(run):
    _, out, _ = run("host", "--from", str(SAMPLES / "cascade-lake.txt"), "--json")
    found = json.loads(out)
    assert list(found) == [
        *("cpu", "kernel", "vm_enter_by", "vm_enter_by_why", "lines", "flaws", "host", "inferred", "unknown"),
        *("nearest", "vm_enter", "notes", "not_told", "reasons", "status", "finding"),
    ]
    assert found["host"]["bugs"] == ["mmio_stale_data", "taa"]
    assert found["vm_enter"]["kept"] is False
    assert [one["agrees"] for one in found["lines"]] == [True] * 5 + [None]
    assert found["vm_enter_by"] == "VMLAUNCH or VMRESUME"
    assert found["flaws"]["mds"] == {"state": "not affected", "source": "the kernel's line"}
    assert (found["status"], found["not_told"]) == (1, [])


def test_without_a_word_on_flaws_it_says_so_and_still_prints_what_it_read(run, tmp_path):
    paste = tmp_path / "cpu.txt"
    paste.write_text("vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx\n")
    status, out, err = run("host", "--from", str(paste), "--json")
    found = json.loads(out)
    assert (status, err.count("\n")) == (2, 1)
    assert "cannot tell" in err
    assert (found["status"], found["finding"], found["vm_enter"]) == (2, False, None)
    assert {one["state"] for one in found["flaws"].values()} == {"not told"}
    status, out, _ = run("host", "--from", str(paste))
    assert status == 2
    assert "Cannot tell" in out


def test_amds_side_is_told_by_the_model(run):
    status, out, _ = run("host", "--from", str(SAMPLES / "epyc-tsa.txt"), "--json")
    found = json.loads(out)
    assert (status, found["vm_enter_by"]) == (0, "VMRUN")
    assert found["vm_enter"]["verw"] == [1, 1]
    tsa = found["lines"][-1]
    assert (tsa["file"], tsa["agrees"], tsa["model"]) == ("tsa", True, "Mitigation: Clear CPU buffers")
    assert [one["subject"] for one in tsa["why"]] == ["TSA"]
    text = run("host", "--from", str(SAMPLES / "epyc-tsa.txt"))[1]
    assert "MDS, TAA, MMIO Stale Data, RFDS, L1TF: Not affected. These are flaws of other CPUs." in text
    assert "VERW runs, then 0 instructions, then VMRUN" in text


def test_standard_input_is_read_too_whatever_bytes_it_has(run, monkeypatch):
    data = b"\xff\xfe\n" + (SAMPLES / "rfds.txt").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    status, out, _ = run("host", "--from", "-")
    assert (status, "Clear Register File" in out) == (0, True)


def test_how_prints_the_line_alone_and_its_privacy_beside_it(run):
    status, out, err = run("host", "--how")
    assert (status, out) == (0, HOW + "\n")
    assert "No host name" in err
    assert json.loads(run("host", "--how", "--json")[1])["line"] == HOW


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "/nowhere/at/all"), "/nowhere/at/all: No such file"),
        (("--from", __file__), "no line here is one of a vulnerabilities file"),
        (("--how", "--from", "-"), "leave --from out"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, tmp_path, arguments, message):
    if arguments[-1] == __file__:
        (tmp_path / "other.txt").write_text("nothing of a machine\n")
        arguments = ("--from", str(tmp_path / "other.txt"))
    status, out, err = run("host", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_this_machine_is_read_without_options(run):
    status, out, err = run("host", "--json")
    if status == 2:  # no Linux on x86, or hidden
        assert err.count("\n") == 1
        assert "vmenter host --how" in err
    else:
        assert json.loads(out)["finding"] is bool(status)


def test_every_sample_can_be_given(run):
    for name in samples():
        assert run("host", "--from", str(SAMPLES / f"{name}.txt"))[0] in {0, 1}


def test_a_file_without_an_end_is_refused(run):
    status, out, err = run("host", "--from", "/dev/zero")
    assert (status, out) == (2, "")
    assert "a device, not a file" in err
