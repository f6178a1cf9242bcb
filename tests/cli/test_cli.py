"""The command line as a user meets it: what it prints, where, and with which exit status."""

import json
import os
import struct
import subprocess
import sys

import pytest
from elf import ALLOC, EXEC, Sec, elf
from feature_words import to_words

from vmenter.patching.lab import LAB

OBJECT = str(LAB / "patching.o")


def listed(run, *arguments):
    status, out, err = run("sites", OBJECT, "--json", *arguments)
    assert (status, err) == (0, "")
    return json.loads(out)


def test_sites_tells_the_file_the_kernel_and_how_it_is_patched(run):
    found = listed(run)
    assert {key: found[key] for key in ("file", "kernel", "engine", "record_size", "entries")} == {
        "file": OBJECT,
        "kernel": "7.3.4-lab",
        "engine": "once",
        "record_size": 14,
        "entries": 10,
    }
    assert len(found["sites"]) == 8


def test_a_site_is_told_with_its_entries_and_what_becomes_of_it(run):
    (site,) = listed(run, "--feature", "CLEAR_CPU_BUF_VM", "--function", "three_way")["sites"]
    assert site["symbol"] == "three_way"
    assert site["length"] == 17
    assert site["original"] == "90" * 17
    assert [(e["feature"], e["number"], e["not"], e["direct_call"], e["length"]) for e in site["entries"]] == [
        ("CLEAR_CPU_BUF_VM_MMIO", 21 * 32 + 19, False, False, 17),
        ("CLEAR_CPU_BUF_VM", 21 * 32 + 13, False, False, 7),
    ]
    assert site["chosen"] == 1
    assert site["patched"].startswith("0f002d")
    assert len(site["patched"]) == 34
    assert "undecided" not in site


def test_without_features_the_set_is_empty(run):
    assert [site["chosen"] for site in listed(run)["sites"]].count(None) == 7  # all but the negated one


def test_features_may_be_given_by_name_by_number_or_as_words(run):
    words = ",".join(f"{word:x}" for word in to_words({21 * 32 + 13}, 24))
    named = listed(run, "--feature", "x86_feature_clear_cpu_buf_vm")
    assert named == listed(run, "--feature", "21*32+13") == listed(run, "--feature-words", words)


def code(feature: int, new: bytes, original: bytes, *more: Sec) -> bytes:
    """Return an ELF file with one site, of records of 12 bytes."""
    table = struct.pack("<iiHBB", 0x1000 - 0x2000, 0x1800 - 0x2004, feature, len(original), len(new))
    return elf(
        [
            Sec(".text", original, flags=ALLOC | EXEC, address=0x1000),
            Sec(".altinstr_replacement", new + b"\xcc", flags=ALLOC | EXEC, address=0x1800),
            Sec(".altinstructions", table, address=0x2000),
            *more,
        ]
    )


def test_the_nops_of_a_cpu_can_be_given_where_the_cpu_decides(run, tmp_path):
    """Records of 12 bytes and no version: up to v5.12 the CPU decides, and this may be such a kernel."""
    file = tmp_path / "old"
    file.write_bytes(code(5, b"", b"\xfa\x90\x90\x90"))
    told = {}
    for nops in (None, "p6", "k8"):
        status, out, err = run("sites", str(file), "--json", *(("--nops", nops) if nops else ()))
        assert (status, err) == (0, "")
        (told[nops],) = json.loads(out)["sites"]
    assert [told[nops]["patched"] for nops in (None, "p6", "k8")] == [None, "fa0f1f00", "fa666690"]
    assert "p6 or k8" in told[None]["undecided"]
    assert run("sites", OBJECT, "--nops", "k8")[0] == 2


def test_every_cpu_has_always(run, tmp_path):
    file = tmp_path / "always"
    file.write_bytes(code(3 * 32 + 21, b"\xfb", b"\xfa"))
    assert [site["chosen"] for site in json.loads(run("sites", str(file), "--json")[1])["sites"]] == [0]


@pytest.mark.parametrize(
    ("section", "record", "also"),
    [
        (".return_sites", struct.pack("<i", 0x1001 - 0x3000), True),
        (".return_sites", struct.pack("<i", 0x1002 - 0x3000), False),  # the first byte behind the site
        (".retpoline_sites", struct.pack("<i", 0x1800 - 0x3000), True),  # in a replacement
        (".call_sites", struct.pack("<i", 0x1000 - 0x3000), True),
        (".smp_locks", struct.pack("<i", 0x0FFF - 0x3000), False),
        (".smp_locks", struct.pack("<i", 0x1000 - 0x3000), True),
        (".ibt_endbr_seal", struct.pack("<i", 0x1000 - 0x3000), True),
        (".parainstructions", struct.pack("<QBB6x", 0x1000, 1, 2), True),
        (".static_call_sites", struct.pack("<ii", 0x1001 - 0x3000, 0), True),
        ("__jump_table", struct.pack("<iiq", 0x1000 - 0x3000, 0, 0), True),
        ("__mcount_loc", struct.pack("<Q", 0x1000), True),
    ],
)
def test_a_site_that_another_patcher_names_says_so(run, tmp_path, section, record, also):
    file = tmp_path / "others"
    file.write_bytes(code(5, b"\xfb", b"\xfa\xc3", Sec(section, record, address=0x3000)))
    (site,) = json.loads(run("sites", str(file), "--json", "--nops", "p6")[1])["sites"]
    assert site.get("also") == ([section.removeprefix(".")] if also else None)
    assert site["patched"] == "fac3"  # what alternatives alone give
    text = run("sites", str(file), "--nops", "p6")[1]
    assert (f"also in {section.removeprefix('.')}: another patcher" in text) == also
    assert ("at 1 another patcher writes, too" in text) == also


def test_a_module_beside_the_wrong_file_is_refused(run):
    status, _, err = run("sites", OBJECT, "--vmlinux", str(LAB / "nothing"))
    assert (status, err.count("\n")) == (2, 1)


def test_the_engine_can_be_given(run):
    assert listed(run, "--engine", "early")["engine"] == "early"


def test_text_shows_each_site_before_and_after(run):
    status, out, _ = run("sites", OBJECT, "--feature", "CLEAR_CPU_BUF")
    assert status == 0
    assert "clear_or_not  (7 bytes at 0xffffffffc0000000)" in out
    assert "→ CLEAR_CPU_BUF: 7 bytes" in out
    assert "90 ×7  nop │ 0f 00 2d" in out
    assert "# verw_selector" in out
    assert out.rstrip().splitlines()[-1].startswith("8 sites, ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["sites"], "Missing argument"),
        (["sites", "nowhere.ko"], "No such file"),
        (["sites", __file__], "neither an ELF file nor a vmlinuz"),
        (["sites", OBJECT, "--feature", "CLEAR_CPU_BUFF"], "did you mean CLEAR_CPU_BUF"),
        (["sites", OBJECT, "--feature", "1*32+40"], "bits end at 31"),
        (["sites", OBJECT, "--feature-words", "0,xyz"], "word 1"),
        (["sites", OBJECT, "--feature-words", ""], "word 0"),
        (["sites", OBJECT, "--feature", "SMAP", "--feature-words", "0"], "not both"),
        (["sites", OBJECT, "--engine", "late"], "late"),
        (["sites", OBJECT, "--function", "nothing"], "no symbol"),
        (["sites", OBJECT, "--symbols", OBJECT], "line 1"),
        (["sites", OBJECT, "--symbols", "nowhere"], "No such file"),
        (["frobnicate"], "No such command"),
        (["--frobnicate"], "No such option"),
    ],
)
def test_bad_input_is_one_line_on_standard_error_and_status_2(run, arguments, reason):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("vmenter: ")
    assert err.count("\n") == 1
    assert reason in err


def test_doctor_tells_how_far_it_is_check_by_check():
    from vmenter.course import doctor

    heard = []
    checks = doctor.examine(heard.append)
    assert [text.splitlines()[-1] for text in heard] == [
        f"… trying {n} of {len(checks)}" for n in range(1, len(checks) + 1)
    ]
    assert heard[-1].startswith(doctor.report(checks[:-1]))


def test_doctor_tries_out_what_the_course_needs(run):
    status, out, _ = run("doctor")
    assert status == 0
    for name in ("Python", "assembler", "decoder", "emulator", "layout", "JupyterLab"):
        assert any(line.startswith(name) and "works" in line for line in out.splitlines()), name
    status, out, _ = run("doctor", "--json")
    assert all(check["works"] for check in json.loads(out) if check["needed"])


def test_what_is_missing_comes_with_the_line_that_installs_it(monkeypatch):
    from vmenter.course import doctor

    monkeypatch.setenv("PATH", "/nowhere")
    checks = {check.name: check for check in doctor.examine()}
    assert not checks["Chromium"].works
    assert not checks["Chromium"].needed
    assert "chromium" in checks["Chromium"].remedy
    assert "to install it" in doctor.report(tuple(checks.values()))


def test_python_m_vmenter_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "vmenter", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("vmenter ")


def test_a_reader_that_stops_early_is_no_error():
    command = [sys.executable, "-m", "vmenter", "sites", OBJECT]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_leaves_no_traceback(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("vmenter.code.image.load", interrupted)
    status, _, err = run("sites", OBJECT)
    assert status == 130
    assert err.strip() == "vmenter: interrupted"


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"capstone", "unicorn", "elftools", "pygraphviz", "llvmlite", "ipywidgets", "anywidget", "rich"}
    code = (
        f"import sys, vmenter, vmenter.patching.alternatives, vmenter.cli; print(*({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
