"""What a report comes to: 0 needs everything told, and the worst case decides."""

import pytest

from vmenter.hosts.entering import NONE, SVM, VMX
from vmenter.hosts.texts import FLAWS, JUDGED
from vmenter.hosts.told import State, Told
from vmenter.hosts.verdict import outcome


def of(by=VMX, *, kept=True, opened=(), differing=(), **states):
    """Return the outcome where all is told to be absent but for `states`: file to (state, whether there is a line)."""
    told = {file: Told(file, State.NOT_AFFECTED, "", line=True) for file in JUDGED}
    told |= {file: Told(file, State(state), "", line=line) for file, (state, line) in states.items()}
    return outcome(by, told, kept=kept, open_lines=opened, differing=differing)


def test_all_told_and_kept_is_fine():
    assert (of().status, of().kept, of().reasons) == (0, True, ())
    assert of(SVM).status == 0
    assert of(None, kept=None).status == 0


@pytest.mark.parametrize("file", JUDGED)
def test_what_was_not_told_counts_where_guests_are_entered_so(file):
    missing = {file: ("not told", False)}
    for by, rests in ((VMX, file in FLAWS), (SVM, file == "tsa"), (None, True), (NONE, False)):
        found = of(by, **missing)
        assert found.status == rests
        assert found.not_told == ((file,) if rests else ())
    assert of(**{file: ("affected", False)}).status == (file in FLAWS)
    assert of(**{file: ("affected", True)}).status == 0


def test_a_finding_is_a_finding_wherever_it_comes_from():
    assert of(kept=False).status == 1
    assert of(opened=("mds",)).status == of(NONE, opened=("mds",)).status == 1
    assert of(differing=("mds",)).status == 1
    assert of(kept=True, differing=("mds",)).kept is None  # a promise that may be another host's


def test_nothing_told_at_all_is_no_answer():
    nothing = dict.fromkeys(JUDGED, ("not told", False))
    for by in (VMX, SVM, NONE, None):
        assert of(by, **nothing).status == 2
    assert of(**(nothing | {"mds": ("not told", True)})).status == 1  # a line that says Unknown is a line
