"""A kernel of one's own: the right module is found, and what was recorded of others is what they hold."""

import platform

import pytest
from needs import kernel_file, kernel_files

from vmenter import LabError
from vmenter.code.image import load
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels import census, module_era
from vmenter.kernels.inspect import inspect_image
from vmenter.kernels.inspect_text import report_lines, to_json
from vmenter.kernels.recorded import MODULE, inspected, module, recorded
from vmenter.story import audit_text
from vmenter.story.audit import audit
from vmenter.story.space import DEFAULT

HERE = {path.parent.name: path for path in kernel_files("kvm-intel.ko*")}
RELEASES = [one.release for one in inspected()]


def again(release):
    """Load a recorded kernel's module; two of them are at hand only where somebody fetched them."""
    if release not in HERE and release in ("5.10.262", "6.18.15"):
        pytest.skip(f"no kernel {release} here; vmenter fetch gets one like it")
    return load(HERE.get(release) or kernel_file(release, f"{MODULE}.xz"), base=LAB_BASE)


@pytest.mark.parametrize("release", RELEASES)
def test_what_was_recorded_is_what_the_module_holds(release):
    noted, image = recorded(release), again(release)
    report = inspect_image(image, MODULE)
    assert to_json(report) == noted.report
    assert "\n".join(report_lines(report)) == noted.text
    assert report.version == noted.version
    counted = census.take(image)
    assert (counted.entries, counted.sites) == (noted.entries, noted.sites)


@pytest.mark.parametrize("release", ["6.1.192", "7.3.4"])
def test_what_was_recorded_of_an_audit_is_what_the_audit_finds(release):
    era = module_era.of_module(again(release), MODULE)
    told = audit_text.to_json(DEFAULT, [audit(era, DEFAULT)])
    noted = recorded(release)
    assert told["eras"] == [noted.audit]
    assert told["configurations"] == noted.configurations


def test_five_kernels_are_recorded_the_oldest_first():
    assert RELEASES == ["5.10.262", "6.1.192", "6.12.117", "6.18.15", "7.3.4"]
    assert [one.has_form for one in inspected()] == [False] * 4 + [True]
    assert [one.audit["broken"] > 0 for one in inspected()] == [True] * 4 + [False]
    for one in inspected():
        assert one.package.startswith(one.release)
        assert one.version.split(".")[0] == one.release.split(".")[0]


@pytest.mark.parametrize("one", inspected(), ids=RELEASES)
def test_a_run_is_found_by_what_boot_selected(one):
    assert len(one.runs) == len({(*run.features, run.mmio, run.resume) for run in one.runs})
    for run in one.runs:
        found = one.run({*run.features, "L1TF_PTEINV"}, mmio=run.mmio, resume=run.resume)
        assert found == run
        assert run.vm_enter == ("VMRESUME" if run.resume else "VMLAUNCH")
    assert one.run(()).verw == 0
    assert one.run(one.report["features"], mmio=True).verw == 1


def test_a_kernel_that_was_not_recorded_is_one_clear_error():
    with pytest.raises(
        LabError, match=r"no inspection of kernel '4\.19' was recorded; there are 5\.10\.262, 6\.1"
    ):
        recorded("4.19")


def folder(tmp_path, *versions):
    """Make a folder with kernels; the modules are damaged, for they are not read."""
    for version in versions:
        place = tmp_path / "lib" / "modules" / version / "kernel"
        place.mkdir(parents=True)
        (place / MODULE).write_bytes(b"\x7fELF")
    return tmp_path


def test_of_several_kernels_the_newest_is_taken(tmp_path):
    assert "/6.12.9-amd64/" in module(folder(tmp_path, "6.12.9-amd64", "6.2.1-amd64", "6.12.9-rc1-amd64")).name


def test_the_running_kernel_goes_before_a_newer_one(tmp_path):
    assert f"/{platform.release()}/" in module(folder(tmp_path, platform.release(), "999.0-amd64")).name


def test_where_there_is_no_such_module_it_says_what_to_do(tmp_path):
    with pytest.raises(LabError, match=r"no kvm-amd\.ko in it; .*vmenter fetch"):
        module(folder(tmp_path, "6.12.9-amd64"), "kvm-amd.ko")
    with pytest.raises(LabError, match="no such file or folder"):
        module(tmp_path / "nowhere")
