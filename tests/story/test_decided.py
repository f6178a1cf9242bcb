"""One line for what a kernel decides for a processor of the lab."""

from dataclasses import replace

import pytest

from vmenter import LabError
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select
from vmenter.story.decided import WHO, decided
from vmenter.story.promise import Verw


@pytest.mark.parametrize(
    ("processor", "options", "who"),
    [
        ("skylake-server", "mds=off", "every guest"),
        ("skylake-server", "mitigations=off", "nobody"),
        ("ice-lake-server", "", "guests that reach MMIO"),
        ("sapphire-rapids", "", "nobody"),
    ],
)
def test_it_says_for_whom_verw_runs(processor, options, who):
    found = decided(processor, options)
    assert (found.who, found.runs) == (who, who != "nobody")
    assert str(found).split("VERW for ") == [f"{processor:<30}{options:<26} ", who]
    assert found.selection == select(replace(PRESETS[processor].host, cmdline=options), "7.3.4")


def test_every_answer_of_the_promise_has_its_words():
    assert set(WHO) == set(Verw)


def test_the_reasons_are_those_that_were_asked_for():
    why = decided("skylake-server", "mds=off").why("MDS", "VERW")
    assert [line.split()[0] for line in why.splitlines()] == ["MDS", "VERW", "MDS"]
    assert decided("skylake-server").why("nothing") == ""


def test_another_kernel_may_decide_otherwise_and_unknown_names_are_told():
    assert decided("skylake-server", "mitigations=off mds=full", "6.12.117").who == "nobody"
    assert decided("skylake-server", "mitigations=off mds=full", "7.3.4").who == "every guest"
    with pytest.raises(LabError, match="no processor is called 'skylake'; there are broadwell-server"):
        decided("skylake")
