"""Exercises of notebook 05: the VM-Enter that clears nothing: find it, foretell it, repair it, weigh it."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.course.judging import told
from vmenter.course.judging.audited import Counterexample, with_way
from vmenter.course.judging.choice import choice, holding
from vmenter.course.judging.entering import ENTER_EXIT, Around, Entered
from vmenter.course.judging.untouched import USUAL, entered_right, guest_loaded, wrong_around
from vmenter.course.judging.variants import AFTER_A_CALL, after_a_call, between, changed, source
from vmenter.emulator.trace import EventKind
from vmenter.story import eras, history
from vmenter.story.history import Era
from vmenter.story.promise import Promise, Reach, VCpuState, Verw, judge

MICROCODE = ("md_clear", "flush_l1d")
SETTINGS = {"bugs": ("mds", "l1tf"), "cmdline": "", "ept": True, "flush_pending": True}
KINDS: dict[str, tuple[type, ...]] = {
    "bugs": (list, tuple, set, frozenset),
    "cmdline": (str,),
    "ept": (bool,),
    "flush_pending": (bool,),
}


def entered(settings: Any) -> eras.Entry:
    """Enter a guest in 650b68a0622f under the settings of an answer. Raises `LabError` for what is none."""
    if not isinstance(settings, dict):
        raise LabError(f"answer should be a dict of settings; it is a {type(settings).__name__}")
    if unknown := set(map(str, settings)).difference(SETTINGS):
        raise LabError(f"there is no setting {min(unknown)!r}; there are {', '.join(SETTINGS)}")
    settings = {name: _truth(name, value) for name, value in settings.items()}
    for name, value in settings.items():
        if not isinstance(value, KINDS[name]):
            raise LabError(f"{name} should be like {SETTINGS[name]!r}, not {value!r}")
    bugs, cmdline, ept, pending = ({**SETTINGS, **settings}[name] for name in SETTINGS)
    host = Host(tuple(map(str, bugs)), MICROCODE, cmdline, ept=ept)
    return eras.enter("650b68a0622f", host, VCpuState(flush_pending=pending))


def _truth(name: str, value: Any) -> Any:
    """Return a setting as it is, but one that is True or False as that, also if it is given as 1 or 0."""
    found = told.truth(value) if KINDS[name] == (bool,) else None
    return value if found is None else found


def _judge_found(answer: Any) -> str | None:
    entry = entered(answer)
    if entry.promise.verw is Verw.ALWAYS and not entry.trace.cleared:
        return None
    mode = f"KVM's L1D flush is “{entry.selection.l1d_flush}”"
    if entry.verdict.l1d_flushed:
        why = "and the flush flag was set" if entry.selection.l1d_flush == "cond" else "so no flag is asked"
        return f"the L1D was flushed: {mode}, {why}. With microcode such a flush clears the CPU buffers too"
    if entry.verdict.verw:
        return f"VERW ran: {mode}, so its static key is off and the code gets to the else"
    return f"nothing cleared, but nothing had to. The promise here: {entry.promise.text}. {mode}"


# --- what is left in the buffers --------------------------------------------------------------------------------

SECRET = 0x5EC2E7DA7A


def reading_a_secret() -> Era:
    """Return the kernel of 2019 with one more load, right at the start: the host reads SECRET."""
    return changed(
        "650b68a0622f",
        ("    movq %rdi, %rbx\n\n", "    movq %rdi, %rbx\n    movq secret(%rip), %rax\n\n"),
        (
            "update_host_rsp_function\n",
            f"update_host_rsp_function\n.section .data..read_mostly\nsecret: .quad {SECRET:#x}\n",
        ),
    )


# --- the chain -----------------------------------------------------------------------------------------------

CHAIN_ERA = "8cb861e9e3c9"
MODES = ("never", "cond", "always")


def repaired(answer: Any, after_the_flush: str | None = None) -> Era:
    """Return the kernel of 2022 with the answer in place of its chain, and a flush that tells in AL if it did.

    `after_the_flush`: how it leaves what a caller may not count on, of `AFTER_A_CALL`; None: as it happens to.
    """
    if not isinstance(answer, str):
        raise LabError(f"answer should be text, the assembly of the chain; it is a {type(answer).__name__}")
    text = source(CHAIN_ERA)
    chain = between(text, "    enter_exit_begin", "end_function vmx_vcpu_enter_exit")
    flush = "    l1d_flush l1d_flush_if_either_flag\n"
    telling = flush.replace("flag\n", "flag, tells=1\n")
    return changed(
        CHAIN_ERA,
        (chain, f"{answer}\n    enter_exit_end\n"),
        (flush, after_a_call(telling, after_the_flush, tells=True) if after_the_flush else telling),
    )


def rows() -> Iterator[tuple[Verw, str, bool, Reach]]:
    """Yield what the chain of 2022 has to tell apart: who asks for VERW, flush mode, flush flag, device."""
    return product(Verw, MODES, (False, True), (Reach.NONE, Reach.ASSIGNED))


_ASKS = {
    Verw.NEVER: "no VERW selected",
    Verw.MMIO: "VERW selected for MMIO only",
    Verw.ALWAYS: "VERW selected for MDS",
}
_KEY = {Verw.MMIO: "mmio_stale_data_clear", Verw.ALWAYS: "mds_user_clear"}


MACHINES = ((False, True), (True, True), (False, False))  # entered before, FLUSH_L1D


def state_of(row: tuple[Verw, str, bool, Reach], *, resume: bool = False, microcode: bool = True) -> eras.State:
    """Return what the code sees of a configuration."""
    verw, mode, pending, reach = row
    wanted = {_KEY.get(verw), mode != "never" and "vmx_l1d_should_flush", mode == "cond" and "vmx_l1d_flush_cond"}
    return eras.State(
        features=frozenset({"FLUSH_L1D"} if microcode else ()),
        keys=frozenset(key for key in wanted if key),
        mmio=reach,
        flush_pending=pending,
        resume=resume,
    )


def worded(row: tuple[Verw, str, bool, Reach]) -> str:
    """Return a configuration in words."""
    verw, mode, pending, reach = row
    flag, device = "set" if pending else "clear", "a" if reach is Reach.ASSIGNED else "no"
    return f"{_ASKS[verw]}, L1D flush “{mode}”, flush flag {flag}, {device} device assigned"


AROUND = (
    *USUAL,
    Around(ENTER_EXIT, stale=True, bits=0x5A5A_5A52),  # run flags that other kernels know
    Around(ENTER_EXIT, known=True, bits=0xFFFF_FFF2),
    Around(own_flag=True),
    Around(devices=0x100),  # a count of 32 bits
    Around(devices=0x1_0000),
)


_OTHERWISE = "where the flush leaves flags and free registers otherwise, "


def _judge_chain(answer: Any) -> Counterexample | None:
    own = history.era(CHAIN_ERA)
    usual = (Around(),)
    for after, arounds in ((None, usual), (None, AROUND), *((how, usual) for how in AFTER_A_CALL)):
        if wrong := _wrong_somewhere(repaired(answer, after), own, arounds):
            return Counterexample(f"{_OTHERWISE if after else ''}{wrong}", wrong.trace)
    return None


def _wrong_somewhere(era: Era, own: Era, arounds: tuple[Around, ...]) -> Counterexample | None:
    for (resume, microcode), row in product(MACHINES, rows()):
        if arounds is AROUND and not microcode:
            continue  # the flush by reading is 5,000 instructions long; once is enough
        promise, reach = Promise(row[0], row[1]), row[3]

        def demand(entered: Entered, _: Around, promise: Promise = promise, reach: Reach = reach) -> str | None:
            vcpu = VCpuState(reach, entered.state.flush_pending, entered.state.resume)
            return _wrong_chain(entered, promise, vcpu)

        state = state_of(row, resume=resume, microcode=microcode)
        if wrong := wrong_around(era, own, state, demand, arounds):
            further = ", entered before" * resume + ", no microcode for the flush" * (not microcode)
            return with_way(f"with {worded(row)}{further}{',' if wrong.around else ':'} {wrong.text}", wrong.trace)
    return None


def _wrong_chain(entered: Entered, promise: Promise, vcpu: VCpuState) -> str | None:
    """Say what is wrong with one run of a chain."""
    verdict = judge(promise, vcpu, entered.trace)
    if not verdict.kept:
        return verdict.reason
    if verdict.verw and not promise.owes_clear(vcpu):
        return "VERW ran although no clear is owed; not every host should pay for it"
    if verdict.l1d_flushed and not promise.owes_flush(vcpu):
        return "the L1D was flushed although no flush is owed; that is the expensive one"
    if verdict.verw > 1:
        return f"VERW ran {verdict.verw} times; once is enough"
    flushes = sum(event.kind in (EventKind.L1D_FLUSH, EventKind.L1D_FLUSH_LOOP) for event in entered.trace.clears)
    if flushes > 1:
        return f"the L1D was flushed {flushes} times; once is enough"
    if "FLUSH_L1D" in entered.state.features and verdict.cleared_by is EventKind.L1D_FLUSH_LOOP:
        return "the flush went the way without microcode"
    return entered_right(entered) or guest_loaded(entered)


REASONS = {
    "a": """no. Print the keys: `mds_user_clear` is on in all six runs. Nobody switches VERW off where L1TF is
        there; the code just does not get to it.""",
    "b": """no. A static key is not a copy that can grow stale: while it is switched, the code itself is
        rewritten. In all six runs the key is what selection wanted.""",
    "d": """no. With microcode an L1D flush clears the CPU buffers in either mode: look at the run with cond
        and the flag set. What is missing in the bad run is the flush itself.""",
    "e": """no. With VERW first the chain would keep the promise of MDS and break that of L1TF: VERW does not
        flush the L1D. The order of the two arms is not what is wrong.""",
}


# --- 05-4: predict a trace --------------------------------------------------------------------------------------

BY_USER_SPACE = (True, False, False, True, False, True)  # else behind an exit that KVM answered on its own
GUESTS = {"never": "650b68a0622f", "cond": "650b68a0622f", "always": "650b68a0622f", "cond, 2018": "before-mds"}
LETTERS = {EventKind.VERW: "V", EventKind.L1D_FLUSH: "F"}
NOTHING = ("-", "\u2013", "\u2212", "\u2205", "none", "nothing")


def guest_of(row: str) -> list[str]:
    """Return what ran at each of a guest's VM-Enters, in letters: V for VERW, F for a flush, in order."""
    found, flag = [], False
    host = Host(("mds", "l1tf"), MICROCODE, f"kvm-intel.vmentry_l1d_flush={row.partition(',')[0]}")
    for number, started in enumerate(BY_USER_SPACE):
        flag = flag or started
        entry = eras.enter(GUESTS[row], host, VCpuState(flush_pending=flag, resume=number > 0))
        flag = flag and not entry.verdict.l1d_flushed
        found.append("".join(LETTERS.get(event.kind, "") for event in entry.trace.events))
    return found


def _judge_trace(answer: Any) -> str | None:
    given = told.keyed(answer, tuple(GUESTS), f"answer should be a dict with the rows {'; '.join(GUESTS)}")
    rows = {row: _letters(row, value) for row, value in given.items()}
    for row in GUESTS:
        for number, (said, ran) in enumerate(zip(rows[row], guest_of(row), strict=True), 1):
            if said != ran:
                how = "from user space" if BY_USER_SPACE[number - 1] else "behind a CPUID"
                return f"{row}: at VM-Enter {number}, {how}, not {_worded(said)} ran but {_worded(ran)}"
    return None


def _letters(row: str, value: Any) -> list[str]:
    parts = re.split(r"[\s,;]+", value.strip()) if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or len(parts) != len(BY_USER_SPACE):
        raise LabError(
            f"{row}: {len(BY_USER_SPACE)} VM-Enters are asked for, with spaces between, as in “V - FV …”"
        )
    words = [str(part).strip() for part in parts]
    found = ["" if word.lower() in NOTHING else word.upper() for word in words]
    odd = next((word for word, letters in zip(words, found, strict=True) if set(letters) - {"V", "F"}), None)
    if odd is not None or "" in words:
        raise LabError(f"{row}: {odd or ''!r} is none of V, F, FV and - for nothing")
    return found


def _worded(letters: str) -> str:
    names = {"V": "VERW", "F": "a flush"}
    return " and then ".join(names[letter] for letter in letters) or "nothing"


# --- 05-5: how bad was it? ---------------------------------------------------------------------------------------

BENIGN = {
    "a": (
        False,
        """no real CPU is known with L1TF and MMIO Stale Data alone. For MDS before v6.8 that is no help:
        the servers of section 10 have L1TF and MDS, and their default skips.""",
    ),
    "b": (True, "it is one engineer's statement on the list; no line of the kernel checks it."),
    "c": (True, "a virtual CPU may be given MDS_NO without RDCL_NO; to the kernel in it that is a CPU like any."),
    "d": (
        False,
        "the mail calls it mostly benign and gives no reason; those of section 10 are from elsewhere.",
    ),
    "e": (
        True,
        "the audit of those exits was made for L1TF; if it is good enough here was asked, and left open.",
    ),
    "f": (False, "in always every VM-Enter flushes: no state of that mode was broken in section 4."),
}
NEAR = {
    "b": "who said that there is no such CPU, and what enforces it",
    "c": "what a hypervisor may show its guest",
    "e": "what the exits that leave the flag clear were audited for",
}

JUDGES = {
    "finds_the_skip": _judge_found,
    "chain": _judge_chain,
    "key": choice("c", REASONS),
    "trace": _judge_trace,
    "benign": holding(BENIGN, NEAR),
}
OWN = {"05-3": repaired}
