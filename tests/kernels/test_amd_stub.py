"""AMD's real stubs: what was recorded is what they do, and the lab's form agrees with them."""

import pytest
from real_modules import module_file, read

from vmenter import LabError
from vmenter.code.image import from_bytes
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels import amd_stub
from vmenter.kernels.census import record
from vmenter.patching.lab import lab_object
from vmenter.story import svm

STUBS = svm.STUBS
EITHER = (False, True)


@pytest.mark.parametrize("version", record())
def test_the_record_is_what_the_real_stubs_do(version):
    module = read(module_file(version, "amd"))
    assert amd_stub.stub_runs(module) == amd_stub.recorded_runs(version)


@pytest.mark.parametrize("version", record())
def test_the_lab_and_the_real_stubs_agree(version):
    runs = amd_stub.recorded_runs(version)
    assert [(run.stub, run.feature) for run in runs] == [(stub, f) for stub in STUBS for f in EITHER]
    for run in runs:
        ours = svm.run(feature=run.feature, sev_es=run.stub == STUBS[1])
        far = ours.distance or (None, None)
        assert (ours.vm_enter, ours.verw, *far) == (
            run.vm_enter, run.verw, run.instructions_after_clear, run.accesses_after_clear
        )  # fmt: skip


def test_a_module_without_the_stubs_is_one_clear_error():
    with pytest.raises(LabError, match="no __svm_vcpu_run in it"):
        amd_stub.stub_runs(from_bytes(lab_object("v4"), "v4", LAB_BASE))
    with pytest.raises(LabError, match=r"no runs of 6\.1\.192 were recorded"):
        amd_stub.recorded_runs("6.1.192")
