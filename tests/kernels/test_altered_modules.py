"""Altered modules: none that does something else may be said to have the form, or to keep what it kept."""

import pytest
from altered_modules import CHANGES_COUNT, KEEPS_FORM, LOSES_FORM, RED_TEAM, module
from fuzz import OFTEN

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.kernels.form import HAS_FORM
from vmenter.kernels.inspect import inspect_image
from vmenter.kernels.module_era import of_module
from vmenter.story.audit import audit

PARTS = 4  # so that they can run side by side


def counts(image: Image) -> tuple[int, ...]:
    found = audit(of_module(image, "altered"))
    return tuple(one.count if one else 0 for one in (found.broken, found.neutralised, found.failed))


EVERY = (*LOSES_FORM, *RED_TEAM)
EACH = 1 if OFTEN else 5  # CI tries all, a plain run every fifth


@pytest.mark.parametrize("part", range(PARTS))
def test_no_altered_module_is_said_to_have_the_form(part, report):
    fooled, said_else = [], []
    mutants = EVERY[part :: PARTS * EACH]
    for mutant in mutants:
        try:
            found = inspect_image(mutant.image, "altered")
        except LabError:  # what cannot be read at all has no form either
            continue
        if found.has_form or found.verdict == HAS_FORM:
            fooled.append(str(mutant))
        elif mutant.says not in f"{found.verdict}; {found.reason}":
            said_else.append(f"{mutant}: {found.verdict}; {found.reason}")
    report(f"altered modules, part {part + 1}: {len(mutants)}, of which {len(fooled)} pass for the 6.19 form")
    assert not fooled
    assert not said_else


def test_there_are_enough_altered_modules_of_both_vendors():
    assert len(EVERY) == len({str(one) for one in EVERY}) >= 100
    assert sum(one.vendor == "amd" for one in EVERY) >= 10


@pytest.mark.parametrize("mutant", KEEPS_FORM, ids=str)
def test_what_changes_nothing_about_clearing_keeps_the_form(mutant):
    found = inspect_image(mutant.image, "altered")
    assert found.verdict == HAS_FORM, found.reason


def test_each_change_in_c_or_stub_changes_the_audit_or_is_refused(report):
    before = {version: counts(module(version, "intel")) for version in ("6.12.117", "7.3.4")}
    same, refused = [], 0
    tried = CHANGES_COUNT[::EACH]
    for mutant in tried:
        try:
            if counts(mutant.image) == before[mutant.version]:
                same.append(str(mutant))
        except LabError:
            refused += 1
    changed = len(tried) - refused - len(same)
    report(f"altered modules under the audit: {changed} counted otherwise, {refused} refused, {len(same)} unseen")
    assert not same
    assert changed >= len(tried) // 2
