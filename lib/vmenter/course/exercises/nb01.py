"""Exercises of notebook 01: what a guest can read, what boot options and a host select, what no model covers."""

from dataclasses import asdict, replace
from typing import Any

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.boot.options import split_cmdline
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import Selection, select
from vmenter.course.judging import told
from vmenter.course.judging.choice import choice
from vmenter.emulator.leftovers import Deed, Fate, Flaw, Kind, fate
from vmenter.story.promise import Verw, promise_of

KERNEL = "7.3.4"
FLUSH = "KVM's L1D flush"  # its name in the why-chain
CPU = PRESETS["skylake-server"]


def _judge_off(answer: Any) -> str | None:
    """Judge a command line that should switch VERW off and leave KVM's L1D flush alone."""
    told.text(answer, "the boot options")
    found = select(replace(CPU.host, cmdline=answer), KERNEL)
    unread = _unread(found, answer)
    if promise_of(found).verw is not Verw.NEVER:
        return f"VERW still runs at every VM-Enter: {_why(found, 'VERW')}.{unread}"
    if found.l1d_flush != "cond":
        reason = _why(found, FLUSH)
        changed = f"the L1D flush has changed, too: it is {found.l1d_flush!r} ({reason})"
        return f"VERW is off, but {changed}.{unread}"
    return None


def _why(found: Selection, subject: str) -> str:
    return next((link.reason for link in found.why if link.subject == subject), "nothing speaks of it")


def _unread(found: Selection, cmdline: str) -> str:
    """Say which options had no effect at all, and why."""
    notes = [f" {link.subject} had no effect: {link.reason}." for link in found.why if link.outcome == "no effect"]
    read = {link.subject for link in found.why}
    for name, value in split_cmdline(cmdline):
        word = name if value is None else f"{name}={value}"
        if word not in read:
            notes.append(f" {word} is no option that decides anything here.")
    return "".join(notes)


def _judge_host(answer: Any) -> str | None:
    """Judge a host that should get VERW for MMIO alone, beside a conditional L1D flush."""
    host = _host(answer)
    found = select(host, KERNEL)
    verw = promise_of(found).verw
    if verw is Verw.ALWAYS:
        return f"VERW runs for every guest: {_why(found, 'VERW')}"
    if verw is Verw.NEVER:
        return "VERW runs for nobody: no flaw of this host asks for it. Which one is about guests that reach MMIO?"
    if found.l1d_flush != "cond":
        return f"VERW is right, but KVM's L1D flush is {found.l1d_flush!r}: {_why(found, FLUSH)}"
    if found.sysfs.mmio != "Mitigation: Clear CPU buffers":
        return f"all is switched on as asked, but mmio_stale_data says “{found.sysfs.mmio}”: {_microcode(found)}"
    return None


def _host(answer: Any) -> Host:
    lists = told.keyed(answer, ("bugs", "facts"), "a list")
    found = {key: told.names(value, f"{key}: give a list of names") for key, value in lists.items()}
    return Host(tuple(found["bugs"]), tuple(found["facts"]))


def _microcode(found: Selection) -> str:
    return next((link.reason for link in found.why if link.outcome == "no microcode"), "")


# --- 01-4: what is left ---

SCENE = (
    Deed(Kind.LOAD, "K"), Deed(Kind.STORE, "M"), Deed(Kind.FLUSH), Deed(Kind.STORE, "R"), Deed(Kind.VERW),
    Deed(Kind.LOAD, "N"),
)  # fmt: skip
ABOUT = {
    Fate.BUFFERED: "it passed after VERW, and nothing emptied the buffers since",
    Fate.CACHED: "it came behind the flush, and VERW does not touch the cache",
    Fate.PUSHED_OUT: "later ones pushed it out",
    Fate.UNTOUCHED: "the host never touched it",
    Fate.VERW: "VERW came after it and emptied the buffers",
    Fate.FLUSHED: "the flush came after it and emptied both",
}


def _judge_left(answer: Any) -> str | None:
    """Judge what a guest can read of `SCENE`, by each of two flaws."""
    should = told.should_be('a dict with letters for each of two flaws: {"MDS": "…", "L1TF": "…"}')
    by_flaw = told.keyed(answer, tuple(Flaw), should=should)
    values = [deed.value for deed in SCENE if deed.value]
    for flaw in Flaw:
        given = _letters(by_flaw[flaw], "".join(values))
        for value in values:
            found = fate(value, SCENE, flaw)
            there = found in (Fate.BUFFERED, Fate.CACHED)
            if there and value not in given:
                return f"with {flaw} you get more than that. Of one value that you left out: {ABOUT[found]}."
            if value in given and not there:
                return f"with {flaw} you do not get {value}: {ABOUT[found]}."
    return None


def _letters(answer: Any, known: str) -> set[str]:
    return told.letters(answer, known, told.should_be(f"text, some of {', '.join(known)}", "the letters"))


# --- 01-5: VERW for guests that reach MMIO alone, and nothing vulnerable ---

WITH_TSX = PRESETS["cascade-lake-tsx"]


def _judge_mmio(answer: Any) -> str | None:
    """Judge a command line that should leave VERW to guests that reach MMIO, with no flaw open."""
    told.text(answer, "the boot options")
    found = select(replace(WITH_TSX.host, cmdline=answer), KERNEL)
    unread, verw = _unread(found, answer), promise_of(found).verw
    if verw is Verw.ALWAYS:
        return f"VERW still runs at every VM-Enter: {_why(found, 'VERW')}.{unread}"
    if verw is Verw.NEVER:
        return f"now VERW runs for nobody, not even for guests that reach MMIO.{unread}"
    lines = asdict(found.sysfs)
    open_ = [f"{name}: {line}" for name, line in lines.items() if str(line).startswith("Vulnerable")]
    if open_:
        return f"VERW runs for guests that reach MMIO alone, but a flaw is left open: {open_[0]}.{unread}"
    return None


# --- 01-6: outside of the model ---

OUTSIDE = "abd"
BECAUSE = {
    "a": "could: the handler's key comes behind the clear, and nothing clears again before the guest",
    "b": "could: both threads share buffers, and the guest is already running",
    "c": "could not: with mitigations=off no clear runs, so the answer to the question was no",
    "d": "could: VERW ran, every time, and without the microcode it clears nothing",
    "e": "could not: what passed before VERW is just what VERW takes away",
}


def _judge_outside(answer: Any) -> str | None:
    """Judge which of five events no clear before VM-Enter helps against."""
    given = _letters(answer, "".join(BECAUSE))
    for letter, reason in BECAUSE.items():
        if letter in given and letter not in OUTSIDE:
            return f"{letter} {reason}."
        if letter in OUTSIDE and letter not in given:
            return f"one is missing. It {reason}."
    return None


# --- 01-7: which flaw it was ---

DOING = {
    "a": ("l1tf", "one flaw alone lets a guest choose an address"),
    "b": (
        "mmio_stale_data",
        "MDS is fixed and TSX is off, so it was neither MDS nor TAA; what has the guest for itself?",
    ),
    "c": ("rfds", "one flaw is about registers, and on Atoms alone"),
    "d": ("mds", "nobody chose an address, no transaction was there to abort, and no device"),
    "e": ("taa", "MDS is fixed, and there is no device; what had the guest begun?"),
}


def _judge_doing(answer: Any) -> str | None:
    """Judge which of five flaws five guests used."""
    should = told.should_be('a dict with a flaw for each of five letters: {"a": "…", "b": "…", …}')
    by_letter = told.keyed(answer, tuple(DOING), should=should)
    flaws = {flaw for flaw, _ in DOING.values()}
    for letter, (flaw, reason) in DOING.items():
        given = told.one(by_letter[letter]) or ""
        given = {"mmio": "mmio_stale_data", "mmio stale data": "mmio_stale_data"}.get(given, given)
        if given not in flaws:
            raise LabError(told.should_be(f"one of {', '.join(sorted(flaws))}", letter))
        if given != flaw:
            return f"{letter} was not {given}: {reason}."
    return None


JUDGES = {
    "whose_doing": _judge_doing,
    "what_is_left": _judge_left,
    "for_mmio_alone": _judge_mmio,
    "outside": _judge_outside,
    "verw_off": _judge_off,
    "why_no_effect": choice(
        "c",
        {
            "a": """no. The kernel takes the option: its own chain says “MDS: not wanted”. Nothing about it is
                thought too dangerous; with mitigations=off the same kernel switches VERW off without a word.""",
            "b": """no. Microcode only makes VERW clear something. It never runs VERW; that is the kernel's choice,
                and the file reports the kernel's choice.""",
            "d": """no. Another word does change the file: with mitigations=off it says “Vulnerable”. It reports
                what this kernel does on this boot.""",
        },
    ),
    "host_of_the_story": _judge_host,
}
