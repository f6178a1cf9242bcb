"""AMD's way to VM-Enter: the lab's code in every state, the audit of its space, and real stubs beside the record."""

import re
from dataclasses import replace

import pytest

from vmenter import LabError
from vmenter.boot import tsa
from vmenter.boot.tsa import AmdHost
from vmenter.code.image import from_bytes
from vmenter.emulator.memory import VCPU
from vmenter.emulator.trace import EventKind
from vmenter.patching.alternatives import patch_all
from vmenter.patching.lab import LAB, assemble, lab_object
from vmenter.story import eras, history, svm
from vmenter.story.history import ERAS, SVM
from vmenter.story.promise import Verw

EITHER = (False, True)
SOURCE = (LAB / "d8010d4ba43e.S").read_text()
CLEAR = '    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n'
ZEN3 = AmdHost(3, ("verw_clear",))
STUBS = ("__svm_vcpu_run", "__svm_sev_es_vcpu_run")


def changed(*changes):
    text = SOURCE
    for old, new, count in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, count)
    return replace(SVM, code=assemble(text))


# --- the lab's code --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sev_es", EITHER)
@pytest.mark.parametrize("feature", EITHER)
def test_verw_runs_if_and_only_if_the_feature_is_there_and_nothing_comes_behind_it(feature, sev_es):
    trace = svm.run(feature=feature, sev_es=sev_es)
    assert trace.vm_enter == "VMRUN"
    assert trace.verw == feature
    assert trace.distance == ((0, 0) if feature else None)
    assert trace.where(len(trace.steps) - 1).partition("+")[0] == STUBS[sev_es]
    assert all(event.kind is not EventKind.WRMSR for event in trace.events)


def test_at_vmrun_the_guests_registers_are_loaded_and_rax_points_to_its_block():
    machine = svm.machine(feature=True)
    machine.run(svm.START, {"rdi": VCPU}, svm.vcpu(sev_es=False))
    registers = machine.registers()
    names = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
    for number, name in enumerate(names):
        if name not in ("rax", "rsp"):
            assert registers[name] == eras.GUEST + number, name
    assert registers["rax"] == VCPU + svm.BLOCKS["vmcb_pa"]


def test_for_a_sev_es_guest_the_hosts_registers_are_in_its_save_area_before_verw():
    trace = svm.run(feature=True, sev_es=True)
    area = VCPU + svm.BLOCKS["host_save"]
    saved = [access for access in trace.accesses if access.write and access.address >= area]
    assert len(saved) == 6
    assert all(access.step < trace.clears[0].step for access in saved)


def test_the_offsets_here_are_those_of_the_source():
    kvm = (LAB / "kvm.inc").read_text()
    for name, offset in svm.OFFSETS.items():
        (found,) = re.findall(rf"^VCPU_{name} += (0x[0-9a-f]+)", SOURCE + kvm, re.MULTILINE)
        assert int(found, 16) == offset
    taken = {int(x, 16) for x in re.findall(r"^VCPU_\w+ += (0x[0-9a-f]+)", kvm, re.MULTILINE)}
    own = {offset for name, offset in svm.OFFSETS.items() if name != "regs"}
    assert not taken & own


def test_the_era_stands_beside_those_of_the_story_not_among_them():
    assert SVM.id not in ERAS
    with pytest.raises(LabError, match="unknown name 'd8010d4ba43e'"):
        history.era(SVM.id)
    assert (SVM.commit, SVM.date, SVM.release) == ("d8010d4ba43e", "2025-07-08", "v6.16")
    image = from_bytes(lab_object(SVM.id), SVM.id)
    assert len(patch_all(image, set())) == 2
    assert image.kernel.startswith(SVM.kernel)


# --- a host, and all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", tsa.KERNELS)
@pytest.mark.parametrize(
    ("cmdline", "verw", "user"),
    [("", 1, True), ("tsa=off", 0, False), ("tsa=user", 0, True), ("tsa=vm", 1, False), ("tsa=on", 1, True)],
)
def test_an_option_decides_for_vmrun_and_for_user_space_apart(cmdline, verw, user, kernel):
    for sev_es in EITHER:
        entry = svm.enter(replace(ZEN3, cmdline=cmdline), sev_es=sev_es, kernel=kernel)
        assert entry.verdict.verw == verw
        assert entry.verdict.kept
        assert entry.verdict.entered_right
        assert entry.promise.verw is (Verw.ALWAYS if verw else Verw.NEVER)
        assert ("CLEAR_CPU_BUF" in entry.selection.features) == user


def test_the_audit_walks_the_whole_space_and_finds_nothing_broken(report):
    found = svm.audit()
    assert found.configurations == 2 * 5 * 2**4 * (17 * 5) * 2 * 2
    assert (found.broken, found.smallest, found.states) == (0, None, 4)
    walked = [(one, tsa.select(one.host, one.kernel)) for one in svm.space()]
    assert len({(one.kernel, one.host, one.sev_es) for one, _ in walked}) == found.configurations
    asked = [selection for _, selection in walked if "CLEAR_CPU_BUF_VM" in selection.features]
    assert found.promised == len(asked)
    affected = sum(selection.affected for _, selection in walked)
    assert affected == found.promised + sum(found.uncleared.values())
    report(f"SVM audit: {found.configurations:,} configurations, {found.states} states, {found.broken} broken")


@pytest.mark.parametrize("stub", [0, 1])
def test_the_audit_finds_a_stub_that_does_not_clear(stub):
    first, second = SOURCE.split(CLEAR, 1)
    text = first + second if stub == 0 else first + CLEAR + second.replace(CLEAR, "")
    found = svm.audit(replace(SVM, code=assemble(text)))
    assert found.broken == found.promised // 2 > 0
    assert found.smallest.sev_es is bool(stub)


def test_the_audit_finds_an_inverted_alternative():
    found = svm.audit(changed((CLEAR, CLEAR.replace("BUF_VM", "BUF_VM + NOT"), 2)))
    assert found.broken == found.promised > 0


def test_verw_in_front_of_the_loads_keeps_the_promise_and_is_distant():
    load_registers = "    load_guest_registers_but_rax\n"
    distant = changed((load_registers + CLEAR, CLEAR + load_registers, 1))
    entry = svm.enter(ZEN3, era=distant)
    assert entry.verdict.kept
    assert (entry.verdict.instructions_after_clear, entry.verdict.accesses_after_clear) == (14, 14)


def test_an_audit_says_what_it_counted_in_words():
    lines = repr(svm.audit()).splitlines()
    assert lines[0] == "54,400 configurations, 4 distinct states run"
    assert any(line.endswith("Vulnerable: No microcode") for line in lines)
