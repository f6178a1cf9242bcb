"""`vmenter report` as a user meets it: all is shown, nothing is sent, nothing is taken out silently."""

import base64
import hashlib
import json

import pytest
from needs import kernel_file

PASTE = "root@box:~# cat /sys/devices/system/cpu/vulnerabilities/mds\nNot affected\x1b[0m\r\nBlanks  stay \t\n"


@pytest.fixture
def paste(tmp_path):
    file = tmp_path / "paste.txt"
    file.write_bytes(PASTE.encode())
    return file


def test_a_paste_is_shown_whole_with_what_was_read_of_it(run, paste):
    status, out, err = run("report", "paste", str(paste), "--should", "mds: not told")
    found = json.loads(out)
    assert (status, "".join(found["paste"]), found["should"]) == (0, PASTE, "mds: not told")
    assert found["read"]["flaws"]["mds"]["state"] == "not affected"
    assert found["may name somebody"] == ["line 1: a mail address, or a user and a host"]
    assert "\x1b" not in out
    assert "nothing was taken out" in err
    assert "nothing was sent or written" in err


def test_a_paste_that_is_refused_is_reported_with_the_refusal(run, tmp_path):
    (tmp_path / "other.txt").write_text("nothing of a machine\n")
    found = json.loads(run("report", "paste", str(tmp_path / "other.txt"))[1])
    assert "vmenter host --how" in found["refused"]
    assert found["may name somebody"] == []
    assert "read" not in found


def test_bytes_that_are_no_text_are_kept_byte_by_byte(run, tmp_path):
    (tmp_path / "wide.txt").write_bytes(data := b"\xff\xfe" + "mds: Not affected\n".encode("utf-16-le"))
    found = json.loads(run("report", "paste", str(tmp_path / "wide.txt"))[1])
    assert base64.b64decode(found["paste in base64"]) == data
    assert found["read"]["flaws"]["mds"]["state"] == "not affected"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("inet 192.168.7.4/24", "an IP address"),
        ("link/ether 52:54:00:12:34:56", "a hardware address"),
        ("root=UUID=0b1f6a4e-1111-2222-3333-444455556666", "a disk's or a machine's identity"),
        ("Serial Number: ABC", "a serial number"),
        ("Linux box 6.1.0-1-amd64 #1 SMP", "a host's name"),
        ("/home/someone/kernels", "a home folder"),
        ("mds: Not affected", None),
        ("microcode : 0x5003605, version 10.2.0.1-1", None),
        ("Linux version 6.1.0-1-amd64", None),
    ],
)
def test_lines_that_may_name_somebody_are_listed(run, tmp_path, line, what):
    (tmp_path / "paste.txt").write_text(f"mds: Not affected\n{line}\n")
    found = json.loads(run("report", "paste", str(tmp_path / "paste.txt"))[1])
    assert found["may name somebody"] == ([f"line 2: {what}"] if what else [])


def test_what_is_written_is_what_was_shown_and_only_when_told_to(run, paste, tmp_path):
    target = tmp_path / "report.json"
    status, _, err = run("report", "paste", str(paste), "--write", str(target))
    assert (status, target.exists()) == (2, False)
    assert "add --yes" in err
    status, out, _ = run("report", "paste", str(paste), "--write", str(target), "--yes")
    assert (status, target.read_text()) == (0, out)
    status, _, err = run("report", "paste", str(paste), "--write", str(target), "--yes")
    assert (status, target.read_text()) == (2, out)
    assert "not overwritten" in err


def test_a_kernel_is_named_by_its_hash_and_what_was_said_of_it(run):
    module = kernel_file("6.12.117", "kvm-intel.ko.xz")
    found = json.loads(run("report", "kernel", str(module))[1])
    assert found["sha256"] == hashlib.sha256(module.read_bytes()).hexdigest()
    assert (found["bytes"], found["left out"]) == (module.stat().st_size, "the bytes of the file")
    assert len(found["read"]["kernels"]) == 1


def test_what_is_no_kernel_is_reported_with_the_refusal(run, paste):
    found = json.loads(run("report", "kernel", str(paste))[1])
    assert (found["read"], len(found["refused"])) == ({"kernels": []}, 1)


def test_a_fooled_judge_is_reported_with_its_exercise_and_the_answer(run, tmp_path):
    (tmp_path / "answer.py").write_text("answer = 17\n")
    found = json.loads(run("report", "judge", str(tmp_path / "answer.py"), "--exercise", "03-5")[1])
    assert (found["exercise"], found["answer"]) == ("03-5", ["answer = 17\n"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("judge", "FILE"), "--exercise ID says which judge"),
        (("paste", "FILE", "--exercise", "03-5"), "--exercise ID says which judge"),
        (("judge", "FILE", "--exercise", "99-9"), "there is no exercise '99-9'"),
        (("paste", "FILE", "--yes"), "without --write nothing is written"),
        (("paste", "/nowhere/at/all"), "No such file"),
        (("paste", "/dev/zero"), "a device, not a file"),
        (("kernel", "/dev/zero"), "a device, not a file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, paste, arguments, message):
    status, out, err = run("report", *(str(paste) if one == "FILE" else one for one in arguments))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
