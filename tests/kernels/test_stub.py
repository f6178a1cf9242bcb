"""VM-Enter stubs, lab and real: found, called as they want to be, and what makes them clear."""

import pytest
from lab_images import lab
from needs import kernel_file
from real_modules import read

from vmenter import LabError
from vmenter.code.image import Image, from_bytes
from vmenter.course.judging.variants import changed
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels import stub as stubs
from vmenter.kernels.stub import Runner
from vmenter.patching.alternative_table import rules
from vmenter.story.history import BACKPORT, ERAS

INTEL = ("6.1.192", "6.12.117", "7.3.4")
CLEAR = {"6.1.192": 11 * 32 + 18, "6.12.117": 3 * 32 + 18}
VM, VM_MMIO = 21 * 32 + 13, 21 * 32 + 19


def era_image(era) -> Image:
    return from_bytes(era.object, era.id, LAB_BASE)


def module(version: str, name: str = "kvm-intel.ko.xz") -> Image:
    return read(kernel_file(version, name))


def runner(image: Image, number: int = 0) -> Runner:
    return Runner(image, stubs.find(image)[number], rules(image))


@pytest.mark.parametrize(("version", "register"), [("6.1.192", "rdx"), ("6.12.117", "rdx"), ("7.3.4", "rsi")])
def test_the_argument_with_the_run_flags_is_found_by_trying(version, register):
    assert runner(module(version)).flags == register


@pytest.mark.parametrize("version", INTEL)
def test_the_flag_for_mmio_is_found_where_the_stub_reads_one(version):
    assert runner(module(version)).mmio == (4 if version == "7.3.4" else 0)


@pytest.mark.parametrize("version", INTEL)
def test_runs_of_a_real_stub_tell_when_it_clears(version):
    found = {(r.features, r.mmio, r.resume): r for r in runner(module(version)).runs()}
    features = {(), (CLEAR[version],)} if version in CLEAR else {(), (VM,), (VM_MMIO,), (VM, VM_MMIO)}
    assert set(found) == {(f, mmio, resume) for f in features for mmio in (0, 1) for resume in (0, 1)}
    for (on, mmio, resume), run in found.items():
        clears = bool(on) and (on != (VM_MMIO,) or mmio)
        assert run.vm_enter == ("VMRESUME" if resume else "VMLAUNCH")
        assert run.verw == clears
        assert (run.distance and run.distance[1]) == (None if not clears else int(version == "7.3.4"))


@pytest.mark.parametrize("version", ["6.12.117", "7.3.4"])
@pytest.mark.parametrize("number", [0, 1])
def test_both_of_amds_stubs_run_to_vmrun_and_clear_under_one_feature(version, number):
    image = module(version, "kvm-amd.ko.xz")
    assert [stub.name for stub in stubs.find(image)] == ["__svm_vcpu_run", "__svm_sev_es_vcpu_run"]
    runs = [*runner(image, number).runs()]
    assert [(r.features, r.vm_enter, r.verw) for r in runs] == [((), "VMRUN", 0), ((VM,), "VMRUN", 1)]
    assert stubs.callers(image, stubs.find(image)[number].start) == ("svm_vcpu_enter_exit",)


@pytest.mark.parametrize("era", ["before-mds", "650b68a0622f"])
def test_a_stub_that_is_told_only_whether_it_was_launched_is_given_no_mmio_flag(era):
    """Any bit of that argument chooses VMRESUME."""
    found = runner(era_image(ERAS[era]))
    assert found.reach == 0
    assert {(r.mmio, r.resume): r.vm_enter for r in found.runs()} == {
        (False, False): "VMLAUNCH", (True, False): "VMLAUNCH", (False, True): "VMRESUME", (True, True): "VMRESUME",
    }  # fmt: skip


MECHANISMS = {
    "before-mds": stubs.NONE,
    "650b68a0622f": stubs.NONE,
    "8cb861e9e3c9": stubs.NONE,
    "43fb862de8f6": stubs.ONE,
    "83ebe7157483": stubs.ONE,
    "v4": stubs.OTHER,
    "e6ff1d61de51": stubs.TWO_MMIO,
    BACKPORT.id: stubs.JMP_OVER,
}


@pytest.mark.parametrize(("era", "mechanism"), MECHANISMS.items())
def test_the_mechanism_is_told_from_the_bytes(era, mechanism):
    image = era_image(ERAS.get(era, BACKPORT))
    assert stubs.mechanism(image, stubs.find(image)[0], rules(image)) == mechanism


@pytest.mark.parametrize(
    ("version", "name", "mechanism"),
    [
        ("6.1.192", "kvm-intel.ko.xz", stubs.JMP_OVER),
        ("6.12.117", "kvm-intel.ko.xz", stubs.ONE),
        ("7.3.4", "kvm-intel.ko.xz", stubs.TWO_MMIO),
        ("7.3.4", "kvm-amd.ko.xz", stubs.ONE),
    ],
)
def test_the_mechanism_of_a_real_stub(version, name, mechanism):
    image = module(version, name)
    assert stubs.mechanism(image, stubs.find(image)[0], rules(image)) == mechanism


def test_a_verw_outside_any_alternative_is_another_form():
    image = era_image(
        changed(
            "e6ff1d61de51", ("    testl $RUN_VMRESUME, 8", "    clear_cpu_buffers\n    testl $RUN_VMRESUME, 8")
        )
    )
    assert stubs.mechanism(image, stubs.find(image)[0], rules(image)) == stubs.OTHER


def test_what_cannot_be_run_is_an_error_that_says_why():
    with pytest.raises(LabError, match="no argument chooses between VMLAUNCH and VMRESUME"):
        runner(era_image(changed("e6ff1d61de51", ("    jz .Lvmlaunch\n", ""))))
    with pytest.raises(LabError, match="no VM-Enter within"):
        runner(era_image(changed("e6ff1d61de51", ("    jz .Lvmlaunch\n", "1:  jmp 1b\n"))))
    with pytest.raises(LabError, match="returns without entering a guest"):
        runner(era_image(changed("e6ff1d61de51", ("    vmresume\n", ""))))


@pytest.mark.parametrize(("rounds", "enters"), [(9_000, True), (11_000, False)])
def test_a_stub_may_take_20_000_instructions_and_no_more(rounds, enters):
    loop = f"    movl ${rounds}, %ecx\n1:  decl %ecx\n    jnz 1b\n    pushq %rdi "
    image = era_image(changed("e6ff1d61de51", ("    pushq %rdi ", loop)))
    if enters:
        assert runner(image).reach == 4
    else:
        with pytest.raises(LabError, match="no VM-Enter within 20,000 instructions"):
            runner(image)


@pytest.mark.parametrize("more", [2, 3])
def test_four_features_may_decide_about_clearing_and_no_more(more):
    sites = "".join(f'    ALTERNATIVE "", "verw x86_verw_sel(%rip)", 5*32+{number}\n' for number in range(more))
    image = era_image(
        changed("e6ff1d61de51", ("    testl $RUN_VMRESUME, 8", f"{sites}    testl $RUN_VMRESUME, 8"))
    )
    if more == 2:
        assert len({run.features for run in runner(image).runs()}) == 16
    else:
        with pytest.raises(LabError, match="5 features decide about clearing"):
            list(runner(image).runs())


def test_no_stub_and_no_symbols_are_errors_that_say_what_is_there():
    with pytest.raises(LabError, match=r"no VM-Enter stub found: .*; there is VMRESUME in other"):
        stubs.find(lab(".globl other\nother: vmresume\n"))
    with pytest.raises(LabError, match="and no VMLAUNCH, VMRESUME or VMRUN at all"):
        stubs.find(lab(".globl other\nother: ret\n"))
    image = lab(".globl other\nother: ret\n")
    with pytest.raises(LabError, match="no symbols"):
        stubs.find(image.with_symbols(type(image.symbols)()))


@pytest.mark.parametrize(
    ("number", "kernel", "always", "with_mmio", "expected"),
    [
        (VM, "7.3.4", True, False, "CLEAR_CPU_BUF_VM"),  # read
        (VM, "9.9.9", True, False, "CLEAR_CPU_BUF_VM"),  # not read, and it does what the name says
        (VM, "9.9.9", False, True, "21*32+13"),  # it does something else
        (VM_MMIO, "9.9.9", False, True, "CLEAR_CPU_BUF_VM_MMIO"),
        (VM_MMIO, "9.9.9", True, False, "21*32+19"),
        (21 * 32 + 20, "9.9.9", True, False, "21*32+20"),
        (11 * 32 + 18, "6.8.0-45-generic", True, False, "CLEAR_CPU_BUF"),  # 6.1 has it there, 6.12 something else
        (
            3 * 32 + 18,
            "5.14.0",
            True,
            False,
            "CLEAR_CPU_BUF",
        ),  # by its version LFENCE_RDTSC: the code knows better
        (3 * 32 + 18, "5.14.0", False, True, "3*32+18"),
        (11 * 32 + 18, "6.8.0-45-generic", False, False, "11*32+18"),
    ],
)
def test_a_feature_is_named_only_where_it_was_checked_or_the_code_confirms_it(
    number, kernel, always, with_mmio, expected
):
    assert stubs.name(number, kernel, always=always, with_mmio=with_mmio) == expected
