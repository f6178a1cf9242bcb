"""What a kernel does before VM-Enter: the lab's kernels, real ones, and changed ones that must not pass."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from elf import PACKERS, module
from needs import kernel_file, kernel_files
from packs import deb
from real_modules import inspected, module_file

from vmenter import LabError
from vmenter.course.judging.variants import changed, source
from vmenter.kernels import stub as stubs
from vmenter.kernels.form import HAS_FORM
from vmenter.kernels.inspect import Report, inspect
from vmenter.kernels.inspect_text import lines, to_json
from vmenter.patching.lab import lab_object
from vmenter.story.history import BACKPORT, ERAS, SVM

MMIO_ONLY = "but not for MMIO Stale Data alone"
LAB = {
    "before-mds": "clears for nothing",
    "650b68a0622f": "clears in C but not in the stub",
    "8cb861e9e3c9": "clears in C but not in the stub",
    "43fb862de8f6": f"clears for CLEAR_CPU_BUF {MMIO_ONLY}",
    BACKPORT.id: f"clears for CLEAR_CPU_BUF {MMIO_ONLY}",
    "83ebe7157483": f"clears for CLEAR_CPU_BUF {MMIO_ONLY}",
    "v4": "clears as 6.19 does, but not in its form",
    "e6ff1d61de51": HAS_FORM,
}


def of(era) -> Report:
    return inspect(era.object, era.id)


@pytest.mark.parametrize(("era", "verdict"), LAB.items())
def test_each_form_of_history_gets_its_verdict(era, verdict):
    report = inspect(lab_object(era), era)
    assert report.verdict == verdict
    assert report.has_form == (era == "e6ff1d61de51")
    assert report.c_level_clear == ("C" in report.reason and "none in C" not in report.reason)


REAL = [
    # version, module, engine, mechanism, features, VERW in C, FB_CLEAR_DIS, verdict
    ("6.1.192", "intel", "early", stubs.JMP_OVER, {"CLEAR_CPU_BUF": 370}, True, True, LAB["43fb862de8f6"]),
    ("6.12.117", "intel", "layered", stubs.ONE, {"CLEAR_CPU_BUF": 114}, True, True, LAB["43fb862de8f6"]),
    ("6.12.117", "amd", "layered", stubs.ONE, {"CLEAR_CPU_BUF_VM": 685}, False, False, HAS_FORM),
    (
        "7.3.4", "intel", "once", stubs.TWO_MMIO,
        {"CLEAR_CPU_BUF_VM": 685, "CLEAR_CPU_BUF_VM_MMIO": 691}, False, True, HAS_FORM,
    ),
    ("7.3.4", "amd", "once", stubs.ONE, {"CLEAR_CPU_BUF_VM": 685}, False, False, HAS_FORM),
]  # fmt: skip


@pytest.mark.parametrize(
    ("version", "vendor", "engine", "mechanism", "features", "in_c", "fb_clear_dis", "verdict"), REAL
)
def test_real_modules_are_told_right(version, vendor, engine, mechanism, features, in_c, fb_clear_dis, verdict):
    report = inspected(module_file(version, vendor))
    found = to_json(report)
    assert (found["engine"], found["mechanism"], found["features"]) == (engine, mechanism, features)
    assert (found["c_level_clear"], found["fb_clear_dis"], found["verdict"]) == (in_c, fb_clear_dis, verdict)
    assert found["mmio_alternative"] == (mechanism == stubs.TWO_MMIO)
    assert report.module == f"kvm-{vendor}"
    assert "version" in found["engine_known_by"]
    assert "records" in found["engine_known_by"]


def test_the_json_has_the_shape_that_was_agreed():
    path = kernel_file("7.3.4", "kvm-intel.ko.xz")
    found = json.loads(json.dumps(to_json(inspect(path.read_bytes(), "kvm-intel.ko.xz"))))
    agreed = {"file", "version", "engine", "stub", "mechanism", "features", "mmio_alternative", "c_level_clear"}
    assert agreed | {"runs", "verdict", "reason"} <= set(found)
    assert (found["file"], found["version"]) == ("kvm-intel.ko.xz", "7.3.4+deb13-amd64")
    assert found["stub"] == "__vmx_vcpu_run"
    assert len(found["runs"]) == 4 * 2 * 2
    for run in found["runs"]:
        clears = "CLEAR_CPU_BUF_VM" in run["features"] or (bool(run["features"]) and run["mmio"])
        assert run["vm_enter"] == ("VMRESUME" if run["resume"] else "VMLAUNCH")
        assert (run["verw"], run["accesses_after_clear"]) == ((1, 1) if clears else (0, None))


@pytest.mark.parametrize(
    "path", kernel_files("kvm-*.ko*") or [None], ids=lambda path: path and f"{path.parent.name} {path.name}"
)
def test_any_real_module_here_gets_an_answer(path: Path | None, report):
    """Whatever kernels there are: told, and what is told fits together."""
    path = path or kernel_file("6.12.117", "kvm-intel.ko.xz")
    found = inspected(path)
    assert not found.verdict.startswith("cannot tell"), found.reason
    assert found.c_level_clear is not None
    assert all(one.runs for one in found.stubs)
    version = tuple(map(int, re.match(r"(\d+)\.(\d+)", found.version or "").groups()))
    if found.module == "kvm-intel":
        assert found.has_form == (version >= (6, 19))
    report(f"inspect {found.version} {found.module}: {found.verdict}")


# --- changed kernels ---


SWAPPED = (
    "clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM",
    "clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM, clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO",
)


CLEAR = f'    ALTERNATIVE_2 "", {SWAPPED[0]}\n'
OTHER = "vcpu_run_function\nfunction other\n "
END = "end_function other\n"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (SWAPPED, "clears for CLEAR_CPU_BUF_VM and for CLEAR_CPU_BUF_VM_MMIO but not always for both together"),
        (("    clear_cpu_buffers\n.Lskip", ".Lskip"), f"clears for CLEAR_CPU_BUF_VM {MMIO_ONLY}"),
        (
            ("clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n", "nop, X86_FEATURE_CLEAR_CPU_BUF_VM\n"),
            "cannot tell because __vmx_vcpu_run: under CLEAR_CPU_BUF_VM_MMIO, one of its ways to VM-Enter goes around",
        ),
        (
            ("    call vmx_l1d_flush\n", "    call vmx_l1d_flush\n    clear_cpu_buffers\n"),
            "clears for CLEAR_CPU_BUF_VM and CLEAR_CPU_BUF_VM_MMIO but not in the stub alone",
        ),
        (
            ("    testl $RUN_MMIO, 8", "    testl $RUN_VMRESUME, 8"),
            "cannot tell because __vmx_vcpu_run clears under conditions that no known kernel has",
        ),
        (
            ("    push_host_registers\n", "    clear_cpu_buffers\n    push_host_registers\n"),
            "cannot tell because __vmx_vcpu_run clears with no feature set, and no known kernel does",
        ),
        (
            ("    jz .Lvmlaunch\n", ""),
            "cannot tell because __vmx_vcpu_run: no argument chooses between VMLAUNCH and VMRESUME",
        ),
        (
            ("function vmx_vcpu_enter_exit\n    enter_exit_begin\n", "function vmx_vcpu_enter_exit\n    ret\n    enter_exit_begin\n"),
            "cannot tell because vmx_vcpu_enter_exit: no way from its start to the call was found",
        ),
    ],
)  # fmt: skip
def test_a_changed_kernel_does_not_pass(change, verdict):
    report = of(changed("e6ff1d61de51", change))
    assert report.verdict.startswith(verdict)
    assert not report.has_form


@pytest.mark.parametrize(
    "change",
    [
        (CLEAR, f"    testb $1, VCPU_flush_l1d(%rdi)\n    jnz 9f\n{CLEAR}9:\n"),
        (CLEAR, f"    cmpb $0, cpu_l1tf_flush_l1d(%rip)\n    jne 9f\n{CLEAR}9:\n"),
        (CLEAR, f"    STATIC_JUMP_IF_ON 9f, vmx_l1d_should_flush\n{CLEAR}9:\n"),
    ],
    ids=["the vCPU", "a variable", "a static key"],
)
def test_a_way_around_verw_that_no_run_takes_is_seen(change):
    """The lab's vCPU and variables hold zeros, and its keys are off: a run alone would take VERW for certain."""
    report = of(
        changed(
            "e6ff1d61de51", ("    movq (%rsp), %rax\n", "    movq (%rsp), %rax\n    movq 16(%rsp), %rdi\n"), change
        )
    )
    assert report.verdict.endswith("under CLEAR_CPU_BUF_VM, one of its ways to VM-Enter goes around VERW")
    assert "that depends on" in report.reason


@pytest.mark.parametrize("flag", [2, 8])
def test_another_run_flag_than_mmio_is_not_the_form(flag):
    """Flag 2 stands for something else, and nobody raises 8."""
    report = of(changed("e6ff1d61de51", ("    testl $RUN_MMIO, 8", f"    testl ${flag}, 8")))
    assert report.verdict.endswith(f"run flag {flag} decides about clearing; known kernels ask 4")


def test_features_that_do_what_their_names_deny_are_not_the_form():
    exchanged = "clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO"
    report = of(changed("e6ff1d61de51", (SWAPPED[0], exchanged)))
    assert report.verdict == "cannot tell because __vmx_vcpu_run clears under conditions that no known kernel has"


def test_verw_of_a_register_is_no_clear():
    if_mmio = ("    clear_cpu_buffers\n.Lskip", "    verw %ax\n.Lskip")
    always = ("clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n", '"verw %ax", X86_FEATURE_CLEAR_CPU_BUF_VM\n')
    report = of(changed("e6ff1d61de51", if_mmio, always))
    assert report.verdict == "clears for nothing"


def test_a_verw_in_a_function_that_jumps_into_the_stub_is_one_in_c():
    change = ("vcpu_run_function\nrun", f"{OTHER}clear_cpu_buffers\n jmp __vmx_vcpu_run\n{END}run")
    report = of(changed("e6ff1d61de51", change))
    assert report.verdict == "clears for CLEAR_CPU_BUF_VM and CLEAR_CPU_BUF_VM_MMIO but not in the stub alone"
    assert report.reason.endswith("yet other has a VERW in C always")


def test_a_verw_in_a_function_that_was_not_looked_at_is_no_form():
    change = ("vcpu_run_function\nrun", f'{OTHER}ALTERNATIVE "", clear_cpu_buffers, 3*32+18\n ret\n{END}run')
    report = of(changed("e6ff1d61de51", change))
    assert report.verdict.startswith("cannot tell because other has a VERW")
    assert "none in C" not in report.reason


def test_a_verw_farther_away_is_not_the_form():
    """Right before VM-Enter: nothing but the run flags is read in between."""
    pushed = "    pushq %rax\n    popq %rax\n    testl $RUN_VMRESUME, 8"
    near, far = of(ERAS["e6ff1d61de51"]), of(changed("e6ff1d61de51", ("    testl $RUN_VMRESUME, 8", pushed)))
    assert (near.stubs[0].accesses, far.stubs[0].accesses) == (1, 3)
    assert far.verdict == "clears as 6.19 does, but not right before VM-Enter"
    assert far.reason.startswith("VERW 3 accesses to memory before VM-Enter")


ONE_MORE = (
    "    testb $1, (%rsp)\n"  # one access to memory; the flags it writes are written again before they are read
)


TWICE = "    testl $RUN_VMRESUME, 8(%rsp)\n"  # the run flags are read a second time


@pytest.mark.parametrize(("more", "accesses", "form"), [("", 1, True), (ONE_MORE, 2, False), (TWICE, 2, False)])
def test_one_access_behind_verw_is_the_form_and_two_are_not(more, accesses, form):
    flags = "    testl $RUN_VMRESUME, 8"
    report = of(changed("e6ff1d61de51", (flags, more + flags)))
    assert (report.stubs[0].accesses, report.has_form) == (accesses, form)


@pytest.mark.parametrize(
    ("more", "accesses", "form"), [("", 0, True), (ONE_MORE, 1, False), (2 * ONE_MORE, 2, False)]
)
def test_the_same_on_amd(more, accesses, form):
    clear = '    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n'
    loaded = source(SVM).split(clear)[0].splitlines(keepends=True)[-1]  # what stands before it in the first stub
    report = of(changed(SVM, (loaded + clear, loaded + clear + more)))
    assert (max(one.accesses for one in report.stubs), report.has_form) == (accesses, form)


# VERW has a form for each way to name memory: without, with a short and with a long distance from a register, from RIP.
FORMS = (
    "(%rax)",
    "(%rax,%rcx)",
    "8(%rax)",
    "-8(%rax,%rcx,2)",
    "0x1000(%rax)",
    "0x1000(,%rcx,8)",
    "cpu_l1tf_flush_l1d(%rip)",
)


@pytest.mark.parametrize("operand", FORMS)
@pytest.mark.parametrize("code", ["verw {}", 'ALTERNATIVE "", "verw {}", 3*32+18'], ids=["code", "replacement"])
def test_every_form_of_verw_with_a_memory_operand_is_seen_in_another_function(operand, code):
    report = of(
        changed("e6ff1d61de51", ("vcpu_run_function\nrun", f"{OTHER}{code.format(operand)}\n ret\n{END}run"))
    )
    assert report.stubs[0].elsewhere == ("other",)


@pytest.mark.parametrize("code", ["verw %ax", "verr (%rax)", "sldt (%rax)"])
def test_what_only_looks_like_it_is_not(code):
    assert of(changed("e6ff1d61de51", ("vcpu_run_function\nrun", f"{OTHER}{code}\n ret\n{END}run"))).has_form


def test_an_amd_stub_that_always_clears_is_not_said_to_clear_nothing():
    clear = '    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n'
    loaded = source(SVM).split(clear)[0].splitlines(keepends=True)[-1]  # what stands before it in the first stub
    report = of(changed(SVM, (loaded + clear, f"{loaded}    clear_cpu_buffers\n")))
    assert "clears with no feature set" in report.verdict


def test_an_amd_stub_that_clears_before_it_loads_the_guests_registers_does_not_have_the_form():
    clear = '    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n'
    loads = "    load_guest_registers_but_rax\n"
    assert of(SVM).has_form
    report = of(changed(SVM, (loads + clear, clear + loads)))
    assert report.verdict == "clears for CLEAR_CPU_BUF_VM but not right before VMRUN"


# --- what is no such module ---


def test_what_is_no_module_with_a_stub_is_refused_with_a_reason():
    with pytest.raises(LabError, match="no VM-Enter stub found"):
        inspect(module(), "made.ko")
    with pytest.raises(LabError, match="neither an ELF file nor a vmlinuz"):
        inspect(b"#!/bin/sh\n", "x")
    arm = bytearray(lab_object("v4"))
    arm[18:20] = (183).to_bytes(2, "little")
    with pytest.raises(LabError, match="only 64-bit x86 is understood"):
        inspect(bytes(arm), "arm.ko")
    narrow = bytearray(lab_object("v4"))
    narrow[4] = 1
    with pytest.raises(LabError):
        inspect(bytes(narrow), "i386.ko")


@pytest.mark.parametrize("packer", PACKERS)
def test_a_packed_module_gets_the_same_answer(packer):
    plain, packed = inspect(lab_object("v4"), "v4"), inspect(PACKERS[packer](lab_object("v4")), "v4")
    assert to_json(packed) == to_json(plain)


def test_a_kernel_that_is_not_in_the_table_of_features_is_told_by_its_code():
    data = lab_object("e6ff1d61de51")
    old = next(v for v in re.findall(rb"vermagic=(\S+)", data))
    report = inspect(data.replace(b"vermagic=" + old, b"vermagic=9.9.9" + old[5:]), "new.ko")
    assert report.version.startswith("9.9.9")
    assert report.has_form
    assert set(to_json(report)["features"]) == {"CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"}


def test_an_old_version_with_newer_records_is_patched_as_its_records_say():
    """Enterprise kernels of v5.14 have much newer code."""
    data = lab_object("43fb862de8f6")
    old = next(v for v in re.findall(rb"vermagic=([^ \0]+)", data))
    report = inspect(data.replace(b"vermagic=" + old, b"vermagic=5.14." + b"1" * (len(old) - 5)), "old.ko")
    assert (str(report.engine), report.stubs[0].mechanism) == ("layered", stubs.ONE)
    assert report.verdict == LAB["43fb862de8f6"]
    assert report.known_by.startswith("records of 14 bytes")


# --- the command line ---


def folder(tmp_path: Path, **eras: str) -> Path:
    """Lay lab kernels out as a distribution does."""
    for version, era in eras.items():
        place = tmp_path / "lib" / "modules" / version / "kernel" / "arch" / "x86" / "kvm"
        place.mkdir(parents=True)
        (place / "kvm-intel.ko").write_bytes(lab_object(era))
    return tmp_path


def test_inspect_of_a_good_module_ends_with_0(run, tmp_path):
    (tmp_path / "kvm-intel.ko").write_bytes(lab_object("e6ff1d61de51"))
    status, out, err = run("inspect", str(tmp_path / "kvm-intel.ko"))
    assert (status, err) == (0, "")
    assert "Verdict: has the 6.19 form" in out
    assert "mechanism: ALTERNATIVE_2 with MMIO test" in out
    assert re.search(r"CLEAR_CPU_BUF_VM_MMIO +yes +VMLAUNCH or VMRESUME +1", out)


def test_a_hole_is_a_finding_of_its_own(run, tmp_path):
    place = tmp_path / "kvm-intel.ko"
    for era, form, hole in (("e6ff1d61de51", 0, 0), ("83ebe7157483", 1, 1), ("v4", 1, 0)):
        place.write_bytes(lab_object(era))
        assert run("inspect", str(place), "--fail-on", "form")[0] == form
        status, out, _ = run("inspect", str(place), "--fail-on", "hole", "--json")
        (found,) = json.loads(out)["kernels"]
        assert (status, found["form"], bool(found["holes"])) == (hole, form == 0, hole == 1)
        assert found["holes_why"] is None


def test_what_else_stands_in_a_stub_is_told_by_name():
    (one,) = to_json(inspected(module_file("7.3.4")))["stubs"]
    told = {(each["what"], each["when"]) for each in one["beside"]}
    assert {("SPEC_CTRL", "before VM-Enter"), ("RSB", "behind the VM-Exit"), ("BHB", "behind the VM-Exit")} <= told
    assert ("IBPB", "before VM-Enter") not in told
    both = to_json(inspected(module_file("7.3.4", "amd")))["stubs"]
    assert all("IBPB" in {each["what"] for each in one["beside"]} for one in both)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("linux-binary-7.3.4+deb13-amd64_7.3.4-1_amd64.deb", "its modules are in linux-modules-7.3.4+deb13-amd64"),
        ("linux-image-6.1.0-48-arm64_6.1.172-1_arm64.deb", "it is for arm64"),
        ("something.deb", "linux-modules-"),
    ],
)
def test_a_package_without_the_modules_says_where_they_are(run, tmp_path, name, told):
    (tmp_path / name).write_bytes(deb({"boot/config": b"nothing"}))
    status, out, err = run("inspect", str(tmp_path / name))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert told in err


def test_one_long_path_does_not_stretch_the_table(tmp_path):
    short, long = "a.ko", "/".join(["a-long-folder"] * 12) + "/kvm-intel.ko"
    reports = [replace(inspect(lab_object("v4"), "v4", file=name), version=None) for name in (short, long)]
    reports.append(inspect(lab_object("e6ff1d61de51"), "e"))
    assert max(line.index("kvm-intel") for line in list(lines(reports))[1:4]) < 50


def test_inspect_of_a_folder_compares_and_ends_with_1(run, tmp_path):
    found = folder(tmp_path, **{"6.17.0-lab": "83ebe7157483", "6.19.0-lab": "e6ff1d61de51"})
    status, out, err = run("inspect", str(found))
    assert (status, err) == (1, "")
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["version", "6.17.0-lab", "7.3.4-lab"]
    status, out, _ = run("inspect", str(found), "--json")
    assert status == 1
    assert [one["verdict"] for one in json.loads(out)["kernels"]] == [LAB["83ebe7157483"], HAS_FORM]


def test_what_cannot_be_told_is_a_finding_with_json(run, tmp_path):
    (tmp_path / "kvm-intel.ko").write_bytes(changed("e6ff1d61de51", ("    jz .Lvmlaunch\n", "")).object)
    status, out, err = run("inspect", str(tmp_path / "kvm-intel.ko"), "--json")
    assert (status, err) == (1, "")
    (one,) = json.loads(out)["kernels"]
    assert one["verdict"].startswith("cannot tell because")
    assert one["runs"] == []


def test_bad_input_ends_with_2_behind_what_could_be_told(run, tmp_path):
    (tmp_path / "kvm-intel.ko").write_bytes(lab_object("e6ff1d61de51"))
    (tmp_path / "kvm-amd.ko").write_bytes(module())
    status, out, err = run("inspect", str(tmp_path / "kvm-amd.ko"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "no VM-Enter stub found" in err
    status, out, err = run("inspect", str(tmp_path / "kvm-intel.ko"), str(tmp_path / "none"), "--json")
    assert (status, err.count("\n")) == (2, 1)
    assert len(json.loads(out)["kernels"]) == 1


def test_in_a_folder_a_module_that_cannot_be_read_stands_beside_the_others(run, tmp_path):
    (tmp_path / "kvm-intel.ko").write_bytes(lab_object("e6ff1d61de51"))
    (tmp_path / "kvm-amd.ko").write_bytes(lab_object("e6ff1d61de51")[:3000])
    status, out, _ = run("inspect", str(tmp_path), "--json")
    assert status == 1
    verdicts = [one["verdict"] for one in json.loads(out)["kernels"]]
    assert HAS_FORM in verdicts
    assert any(verdict.startswith("cannot tell because damaged ELF file") for verdict in verdicts)


def test_a_damaged_package_in_a_folder_is_told_behind_the_kernels_beside_it(run, tmp_path):
    (tmp_path / "kvm-intel.ko").write_bytes(lab_object("e6ff1d61de51"))
    (tmp_path / "linux-image-6.1.0-amd64.deb").write_bytes(b"!<arch>\n")
    status, out, err = run("inspect", str(tmp_path), "--json")
    assert (status, err.count("\n")) == (2, 1)
    assert "linux-image-6.1.0-amd64.deb: not a Debian package" in err
    assert [one["verdict"] for one in json.loads(out)["kernels"]] == [HAS_FORM]


def test_an_empty_path_is_not_this_folder(run, tmp_path, monkeypatch):
    (tmp_path / "kvm-intel.ko").write_bytes(lab_object("e6ff1d61de51"))
    monkeypatch.chdir(tmp_path)
    status, out, err = run("inspect", "")
    assert (status, out) == (2, "")
    assert "no such file or folder" in err
