"""Altered modules: none that does something else may be said to have the form, or to keep what it kept."""

import pytest
from mutants import CHANGES_COUNT, KEEPS_FORM, LOSES_FORM, module

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.kernels.form import HAS_FORM
from vmenter.kernels.inspect import inspect_image
from vmenter.kernels.module_era import of_module
from vmenter.story.audit import audit


def counts(image: Image) -> tuple[int, ...]:
    found = audit(of_module(image, "altered"))
    return tuple(one.count if one else 0 for one in (found.broken, found.neutralised, found.failed))


def test_no_altered_module_is_said_to_have_the_form(report):
    fooled, said_else = [], []
    for mutant in LOSES_FORM:
        found = inspect_image(mutant.image, "altered")
        if found.has_form or found.verdict == HAS_FORM:
            fooled.append(str(mutant))
        elif mutant.says not in f"{found.verdict}; {found.reason}":
            said_else.append(f"{mutant}: {found.verdict}; {found.reason}")
    report(f"altered modules: {len(LOSES_FORM)}, of which {len(fooled)} pass for the 6.19 form")
    assert not fooled
    assert not said_else
    assert len(LOSES_FORM) >= 40


@pytest.mark.parametrize("mutant", KEEPS_FORM, ids=str)
def test_what_changes_nothing_about_clearing_keeps_the_form(mutant):
    found = inspect_image(mutant.image, "altered")
    assert found.verdict == HAS_FORM, found.reason


def test_each_change_in_c_or_stub_changes_the_audit_or_is_refused(report):
    before = {version: counts(module(version, "intel")) for version in ("6.12.117", "7.3.4")}
    same, refused = [], 0
    for mutant in CHANGES_COUNT:
        try:
            if counts(mutant.image) == before[mutant.version]:
                same.append(str(mutant))
        except LabError:
            refused += 1
    changed = len(CHANGES_COUNT) - refused - len(same)
    report(f"altered modules under the audit: {changed} counted otherwise, {refused} refused, {len(same)} unseen")
    assert not same
    assert changed >= 10
