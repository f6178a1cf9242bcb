"""What prose says of every guest and of none: each such sentence stands here once more, beside what must be so for it.

A sentence that is changed in the notebook is not found any more, and a fact that changes fails its check: so either
way somebody looks at both.
"""

from functools import cache
from itertools import product

import prose
import pytest

from vmenter.boot.processors import PRESETS
from vmenter.story.eras import enter
from vmenter.story.exposure import Cut, counts
from vmenter.story.history import ERAS, era
from vmenter.story.promise import Promise, Reach, VCpuState, Verw

EVERY, MMIO, HARMLESS = "for every guest", "for guests that reach MMIO", "cond, none pending"
VCPUS = [VCpuState(reach, pending, resume) for reach, pending, resume in product(Reach, *[(False, True)] * 2)]
FIRST, SECOND, THIRD = "650b68a0622f", "8cb861e9e3c9", "43fb862de8f6"
OVERLOOKED = {"ice-lake-server", "ice-lake-server-old-microcode", "cascade-lake-no-tsx"}


@cache
def columns(id_):
    """Return (VERW asked, L1D flush now) → the count, of an era over the whole space."""
    return counts(era(id_), Cut(), ("VERW asked", "L1D flush now"))


def holes(id_):
    return {column for column, count in columns(id_).items() if count.broken}


@cache
def broken(id_, preset):
    """Return the vCPUs of this processor, with default options, for which the era breaks its promise."""
    host = PRESETS[preset].host
    return tuple(vcpu for vcpu in VCPUS if not enter(id_, host, vcpu).verdict.kept)


def skips(id_, preset):
    """Tell whether what is owed is skipped for a vCPU that the era would otherwise see."""
    return any(vcpu.mmio is not Reach.MAPPED for vcpu in broken(id_, preset))


def promised(verw, flush="never"):
    """Return for which vCPUs a clear, and an L1D flush, is owed."""
    promise = Promise(verw, flush)
    return {v for v in VCPUS if promise.owes_clear(v)}, {v for v in VCPUS if promise.owes_flush(v)}


EVERYONE, REACHING = set(VCPUS), {vcpu for vcpu in VCPUS if vcpu.mmio is not Reach.NONE}
PENDING = {vcpu for vcpu in VCPUS if vcpu.flush_pending}

CLAIMS = {
    "| before-mds | nothing broken: nobody asks for VERW yet,": lambda: (
        holes("before-mds") == set() and {verw for verw, _ in columns("before-mds")} == {"for no guest"}
    ),
    f"| {FIRST} | one hole: VERW for every guest, `cond`, no flush pending |": lambda: holes(FIRST) == {(EVERY, HARMLESS)},
    f"| {SECOND} | the same hole, and two in the columns of MMIO:": lambda: (
        holes(SECOND) - holes(FIRST) == {(MMIO, HARMLESS), (MMIO, "not asked")} and holes(FIRST) < holes(SECOND)
    ),
    f"| {THIRD} | VERW for every guest is mended; in the columns of MMIO nothing has changed |": lambda: (
        holes(THIRD) == {hole for hole in holes(SECOND) if hole[0] == MMIO}
    ),
    "| 83ebe7157483 | the right question is asked: one hole is left, `cond` with no flush pending |": lambda: (
        holes("83ebe7157483") == {(MMIO, HARMLESS)}
    ),
    "| v4, e6ff1d61de51 | nothing broken;": lambda: holes("v4") == holes("e6ff1d61de51") == set(),
    "| VERW for every guest | every VM-Enter runs VERW, or an L1D flush |": lambda: (
        promised(Verw.ALWAYS) == (EVERYONE, set())
        and Promise(Verw.ALWAYS, "never").text == "every VM-Enter clears CPU buffers, by VERW or an L1D flush"
    ),
    "| VERW for MMIO only | the same, at every VM-Enter of a vCPU that reaches MMIO |": lambda: (
        promised(Verw.MMIO) == (REACHING, set())
        and Promise(Verw.MMIO, "never").text.startswith("every VM-Enter of a vCPU that can reach host MMIO clears")
    ),
    "| L1D flush `always` | every VM-Enter flushes the L1D |": lambda: (
        promised(Verw.NEVER, "always") == (set(), EVERYONE)
        and Promise(Verw.NEVER, "always").text == "every VM-Enter flushes the L1D"
    ),
    "| L1D flush `cond` | every VM-Enter with the flush flag set flushes the L1D |": lambda: (
        promised(Verw.NEVER, "cond") == (set(), PENDING)
        and Promise(Verw.NEVER, "cond").text == "every VM-Enter whose flush flag is set flushes the L1D"
    ),
    "None of the twelve processors skips from 43fb862de8f6 on; three stay overlooked until 83ebe7157483.": lambda: (
        len(PRESETS) == 12
        and not any(skips(id_, preset) for id_ in [*ERAS][3:] for preset in PRESETS)
        and {preset for preset in PRESETS if broken(THIRD, preset)} == OVERLOOKED
        and not any(broken(id_, preset) for id_ in [*ERAS][4:] for preset in PRESETS)
    ),
    "a kernel decides: VERW for every guest, for guests that reach MMIO, or for nobody.": lambda: (
        {promise.verw for name in PRESETS if (promise := enter(FIRST, PRESETS[name].host).promise)}
        | {enter("e6ff1d61de51", PRESETS[name].host).promise.verw for name in PRESETS}
        == set(Verw)
    ),
}  # fmt: skip


@cache
def said():
    return [" ".join(text.split()) for _, text in prose.texts()]


@pytest.mark.parametrize("sentence", CLAIMS)
def test_what_is_said_is_so(sentence):
    assert any(sentence in text for text in said()), "the prose says something else now: look at the fact again"
    assert CLAIMS[sentence]()
