"""The audit of real modules, and of the lab's kernels taken as modules: there it must come to what the era's does."""

import json
import shlex
from functools import cache

import pytest
from real_modules import inspected, module_file, read

from vmenter import LabError
from vmenter.code.image import from_bytes
from vmenter.course.judging.variants import changed
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels.around import Asks
from vmenter.kernels.module_era import of_module, of_report
from vmenter.patching.lab import lab_object
from vmenter.story.audit import Audit, audit
from vmenter.story.history import BACKPORT, ERAS, REJECTED_CURE, Era


def as_module(era):
    return of_module(from_bytes(era.object, era.id, LAB_BASE), era.id)


def real(version: str):
    path = module_file(version)
    return of_report(read(path), inspected(path))


@cache
def of_era(era: str | Era) -> Audit:
    return audit(era)


def counts(found: Audit) -> tuple[int, ...]:
    return tuple(f.count if f else 0 for f in (found.broken, found.neutralised, found.failed))


@pytest.mark.parametrize("era", [*ERAS.values(), BACKPORT], ids=lambda era: era.id)
def test_a_lab_kernel_audited_as_a_module_has_the_findings_of_its_era(era):
    found, expected = audit(as_module(era)), of_era(era)
    assert counts(found) == counts(expected)
    if expected.broken:
        assert found.broken.settings == expected.broken.settings
        assert found.broken.shared == expected.broken.shared


@pytest.mark.parametrize(
    ("version", "like"), [("6.1.192", "43fb862de8f6"), ("6.12.117", "43fb862de8f6"), ("7.3.4", "e6ff1d61de51")]
)
def test_a_real_module_has_the_findings_of_the_era_of_its_form(version, like, report):
    era = real(version)
    found, expected = audit(era), of_era(like)
    assert era.module.like == like
    assert counts(found) == counts(expected)
    assert found.replay == expected.replay
    assert bool(found.neutralised) == (version == "7.3.4")
    report(
        f"audit of {era.id}: {counts(found)[0]:,} broken, {counts(found)[1]:,} neutralised, {found.states} states run"
    )


def test_a_removed_verw_in_a_module_is_found():
    without = as_module(changed("e6ff1d61de51", ("    clear_cpu_buffers\n.Lskip", ".Lskip")))
    assert counts(audit(without))[0] > 0


def test_a_flush_that_is_left_out_in_a_module_is_found():
    without = as_module(changed("e6ff1d61de51", ("    call vmx_l1d_flush\n", "")))
    found = audit(without)
    assert found.broken.shared["kvm-intel.vmentry_l1d_flush="]


def test_what_the_model_does_not_know_is_refused_not_guessed():
    with pytest.raises(LabError, match=r"no argument chooses"):
        as_module(changed("e6ff1d61de51", ("    jz .Lvmlaunch\n", "")))
    amd = module_file("7.3.4", "amd")
    with pytest.raises(LabError, match=r"only a kvm-intel\.ko can be audited"):
        of_report(read(amd), inspected(amd))


def test_a_cure_in_c_that_was_not_taken_is_audited_as_it_runs():
    """The flush says whether it flushed, and VERW depends on that: no pattern of KVM's, and run all the same."""
    assert counts(audit(as_module(REJECTED_CURE))) == counts(audit(REJECTED_CURE))


def test_the_promise_is_the_versions_whatever_the_code_does():
    never = as_module(
        changed(
            "e6ff1d61de51",
            ("    clear_cpu_buffers\n.Lskip", ".Lskip"),
            ("clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n", "nop, X86_FEATURE_CLEAR_CPU_BUF_VM\n"),
        )
    )
    assert never.module.promised.kernel == "7.3.4"
    assert counts(audit(never))[0] > counts(audit(as_module(changed("e6ff1d61de51"))))[0] == 0


def test_a_module_in_a_folder_is_audited(run, tmp_path):
    place = tmp_path / "lib" / "modules" / "6.17.0-lab" / "kernel"
    place.mkdir(parents=True)
    (place / "kvm-intel.ko").write_bytes(lab_object("83ebe7157483"))
    status, out, err = run("audit", "--module", str(tmp_path), "--json")
    assert (status, err) == (1, "")
    assert json.loads(out)["eras"][0]["broken"] == of_era("83ebe7157483").broken.count
    (place / "kvm-intel.ko").unlink()
    assert run("audit", "--module", str(tmp_path))[0] == 2


def test_the_question_for_an_assigned_device_is_not_that_for_mmio():
    asked = {one.verw.asks for one in real("6.12.117").module.report.stubs[0].around}
    assert asked == {Asks.ASSIGNED}


def test_the_command_line_audits_a_module_and_its_replay_breaks_too(run, tmp_path):
    path = tmp_path / "kvm-intel.ko"
    path.write_bytes(lab_object("83ebe7157483"))
    status, out, err = run("audit", "--module", str(path), "--json")
    (found,) = json.loads(out)["eras"]
    assert (status, err) == (1, "")
    assert found["broken"] == of_era("83ebe7157483").broken.count
    status, _, _ = run(*shlex.split(found["replay"])[1:])
    assert status == 1
    path.write_bytes(lab_object("e6ff1d61de51"))
    status, out, _ = run("audit", "--module", str(path), "--era", "before-mds")
    assert status == 0
    assert out.count("The promise is kept in every configuration.") == 2
    path.write_bytes(b"no module")
    status, out, err = run("audit", "--module", str(path))
    assert (status, out, err.count("\n")) == (2, "", 1)
