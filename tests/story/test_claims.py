"""What prose says of every guest and of none: each such sentence stands here once more, beside what must be so for it.

A sentence that is changed in the notebook is not found any more, and a fact that changes fails its check: so either
way somebody looks at both.
"""

import re
import tomllib
from dataclasses import replace
from functools import cache
from itertools import product

import prose
import pytest
from places import ROOT

from vmenter.boot.host import Host
from vmenter.boot.processors import PRESETS
from vmenter.course.judging.variants import changed
from vmenter.story.eras import State, enter, run
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
    "For whom does VERW run: for *every guest*, for *guests that reach MMIO*, or for *nobody*?": lambda: len(Verw) == 3,
    "without options VERW runs for every guest.": lambda: verw("cascade-lake-tsx") is Verw.ALWAYS,
    "The second VM-Enter of every guest would fail.": lambda: {
        enter(code, Host(), replace(vcpu, resume=True)).verdict.entered_right for code in (JZ_BEHIND_VERW,) for vcpu in VCPUS
    } == {False} and all(enter(JZ_BEHIND_VERW, Host(), replace(vcpu, resume=False)).verdict.entered_right for vcpu in VCPUS),
    "`: nothing is broken! VERW runs for every guest of such a host.": lambda: all(
        enter(changed(MERGED, ("jz .Lskip_verw", "nop")), PRESETS["ice-lake-server"].host, vcpu).trace.verw == 1
        for vcpu in VCPUS
    ),
    "a clear runs, for every guest or for those that reach host MMIO, and that the L1D is flushed.": lambda: (
        (promised(Verw.ALWAYS)[0], promised(Verw.MMIO)[0], promised(Verw.NEVER, "always")[1]) == (EVERYONE, REACHING, EVERYONE)
    ),
    "With VM on, every guest is owed a clear. With MMIO alone, those that reach MMIO and no others.": lambda: (
        (promised(Verw.ALWAYS)[0], promised(Verw.MMIO)[0], promised(Verw.NEVER)[0]) == (EVERYONE, REACHING, set())
    ),
    "No flaw of this CPU can be used by every guest.": lambda: verw("ice-lake-server") is Verw.MMIO,
    "RFDS is cured by VERW, and it gives no guest a reason to be left out.": lambda: verw("goldmont-server") is Verw.ALWAYS,
    "where every guest gets VERW, another one stands there.": lambda: {0} == VERW_FOR_ALL,
    "Where every guest gets VERW, the changed alternative does not stand.": lambda: {0} == VERW_FOR_ALL,
}  # fmt: skip

JZ_BEHIND_VERW = changed(SECOND, ("    jz .Lvmlaunch\n", "    clear_cpu_buffers\n    jz .Lvmlaunch\n"))
MERGED = "e6ff1d61de51"
SPOILT = changed(MERGED, ("jz .Lskip_verw", "jnz .Lskip_verw"))
VERW_FOR_ALL = {  # states in which the alternative for MMIO, spoilt, makes a difference although all get VERW
    run(SPOILT, state).verw - run(era(MERGED), state).verw
    for reach, resume in product(Reach, (False, True))
    for state in [
        State(features=frozenset({"CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"}), mmio=reach, resume=resume)
    ]
}

# What has these words and claims nothing of the kind.
NO_CLAIM = (
    "The emulator knows no guests.",
    "KVM enters no guest:",  # what a report may say
    "no kernel was booted, and no guest entered.",  # what was done, of one table
    "the one register that holds no guest's value.",  # the listing beside it is judged
    "VERW is useless in 6.19 and every guest can read all memory!!!",  # the mail that is to be written anew
)
EVERY_OR_NONE = re.compile(r"\b(?:[Ee]very|[Nn]o) guests?\b")


def verw(preset):
    """Return for whom today's kernel asks VERW on a processor without options."""
    return enter(MERGED, PRESETS[preset].host).promise.verw


@cache
def said():
    """Return what the course says: prose, predictions' words, decks; white space folded, Python's quotes as they are read."""
    course = ROOT / "lib/vmenter/course"
    told = [text for _, text in prose.texts()]
    told += [path.read_text(encoding="utf-8") for path in sorted(course.glob("slides/decks/*.md"))]
    for path in sorted(course.glob("prediction/*.toml")):
        told += strings(tomllib.loads(path.read_text(encoding="utf-8")))
    return [" ".join(text.split()) for text in told]


def strings(value):
    """Yield the texts in a table, its keys apart: they are choices."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


@pytest.mark.parametrize("sentence", CLAIMS)
def test_what_is_said_is_so(sentence):
    assert any(sentence in text for text in said()), "the prose says something else now: look at the fact again"
    assert CLAIMS[sentence]()


def test_whatever_is_said_of_every_guest_or_of_none_stands_here():
    unknown = []
    for text in said():
        spans = [(at, at + len(one)) for one in (*CLAIMS, *NO_CLAIM) for at in places(text, one)]
        unknown += [
            text[max(0, found.start() - 60) : found.end() + 60]
            for found in EVERY_OR_NONE.finditer(text)
            if not any(start <= found.start() < end for start, end in spans)
        ]
    assert unknown == []
    for words in NO_CLAIM:
        assert any(words in text for text in said()), words


def places(text, words):
    """Yield where words stand in a text."""
    at = text.find(words)
    while at >= 0:
        yield at
        at = text.find(words, at + 1)


def test_a_claim_that_is_turned_round_is_noticed():
    for claim in CLAIMS:
        for found in EVERY_OR_NONE.finditer(claim):
            turned = "no" if found[0].lower().startswith("every") else "every"
            other = f"{claim[: found.start()]}{turned} guest{claim[found.end() :]}"
            assert not any(other in text for text in said()), other
