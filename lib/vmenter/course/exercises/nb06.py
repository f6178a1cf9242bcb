"""Exercises of notebook 06: skipping and distance, VMRESUME across VERW, why MMIO stayed, which kernels skip."""

import re
from dataclasses import replace
from itertools import product
from typing import Any

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.code.image import from_bytes
from vmenter.code.x86 import vmx_enter
from vmenter.course.judging import told
from vmenter.course.judging.audited import Counterexample, with_way
from vmenter.course.judging.choice import choice
from vmenter.course.judging.edge import late
from vmenter.course.judging.entering import STUB, Around, Entered
from vmenter.course.judging.flags import flag_uses
from vmenter.course.judging.untouched import FAILS_IN_THE_STUB, USUAL, entered_right, guest_loaded, wrong_around
from vmenter.course.judging.variants import AFTER_A_CALL, between, changed, source
from vmenter.emulator.trace import Trace
from vmenter.patching import alternatives
from vmenter.patching.alternative_table import Engine, Rules, entries, rules, sites
from vmenter.patching.lab import lab_object
from vmenter.patching.text import listing
from vmenter.story import eras, history
from vmenter.story.enter_line import read_line
from vmenter.story.history import Era
from vmenter.story.promise import Promise, Reach, VCpuState, Verw, judge
from vmenter.story.stable import CHAIN, MERGED, MMIO_ARM, MOVE, has, skipped

NEAR = 1  # accesses up to which the course calls a clear near: the merged form has one, of a run flag

MDS = Host(("mds",), ("md_clear",))
MDS_L1TF = Host(("mds", "l1tf"), ("md_clear", "flush_l1d"))
MMIO = Host(("mmio_stale_data",), ("mds_no", "fb_clear"))
MMIO_L1TF = Host(("mmio_stale_data", "l1tf"), ("mds_no", "fb_clear", "flush_l1d"))
DEVICE = VCpuState(Reach.ASSIGNED)

CASES: dict[str, tuple[str, Host, VCpuState]] = {
    "A": ("650b68a0622f", MDS, VCpuState()),
    "B": ("650b68a0622f", MDS_L1TF, VCpuState()),
    "C": ("43fb862de8f6", MDS_L1TF, VCpuState()),
    "D": ("43fb862de8f6", MMIO, DEVICE),
    "E": ("43fb862de8f6", MMIO_L1TF, DEVICE),
    "F": ("43fb862de8f6", MDS_L1TF, VCpuState(flush_pending=True)),
}
"""Letter → era, host and vCPU: the VM-Enters to be told apart."""


def word_for(entry: eras.Entry) -> str:
    """Return the course's word for a VM-Enter: skipped, distant or near."""
    if not entry.verdict.kept:
        return "skipped"
    return "near" if (entry.verdict.accesses_after_clear or 0) <= NEAR else "distant"


def _judge_words(answer: Any) -> str | None:
    words = ("skipped", "distant", "near")
    by_letter = told.keyed(answer, tuple(CASES), "a word")
    for letter, case in CASES.items():
        given = told.word(by_letter[letter], words)
        if given is None:
            raise LabError(f"{letter}: {by_letter[letter]!r} is none of the words {', '.join(words)}")
        entry = eras.enter(*case)
        if given != (right := word_for(entry)):
            return f"{letter} is not {given}: {_facts(entry, right)}"
    return None


def _facts(entry: eras.Entry, right: str) -> str:
    """Return what the run of a case shows."""
    verdict = entry.verdict
    if right == "skipped":
        return f"{verdict.reason}. There is no clear whose distance could be measured"
    return (
        f"{verdict.reason}, and between the last clear and VM-Enter there are "
        f"{verdict.accesses_after_clear} memory accesses"
    )


# --- a stub that chooses across VERW --------------------------------------------------------------------------

STUB_ERA = "43fb862de8f6"


def stubbed(answer: Any, after_a_call: str | None = None) -> Era:
    """Return the kernel of 2024 with the answer in place of its stub's end.

    `after_a_call`: how the functions that are called leave what they need not keep, of `AFTER_A_CALL`.
    """
    told.text(answer, "the assembly of the stub")
    end = between(source(STUB_ERA), "    stub_begin", ".Lvmfail:")
    return changed(STUB_ERA, (end, f"{answer}\n"), after_a_call=after_a_call)


OTHERS = (2, 0xFFFF_FFFE, 0x5EC2_E700_0000_0000)  # run flags beside RUN_VMRESUME; RDX holds 64 bits, EDX the flags
AROUND = (
    *USUAL,
    FAILS_IN_THE_STUB,
    *(Around(STUB, bits=bits, stale=stale, known=not stale) for bits in (0, *OTHERS) for stale in (False, True)),
)


def _judge_stub(answer: Any) -> Counterexample | None:
    era, own = stubbed(answer), history.era(STUB_ERA)
    spoilt = stubbed(answer, AFTER_A_CALL[1])
    for arounds, clear, resume in product(((Around(),), AROUND), (False, True), (False, True)):
        case = f"with CLEAR_CPU_BUF {'on' if clear else 'off'}, {'entered before' if resume else 'first VM-Enter'}"
        promise = Promise(Verw.ALWAYS if clear else Verw.NEVER, "never")
        state = eras.State(features=frozenset({"CLEAR_CPU_BUF"} if clear else ()), resume=resume)

        def demand(entered: Entered, _: Around, promise: Promise = promise) -> str | None:
            return _wrong_stub(entered, promise)

        if wrong := wrong_around(era, own, state, demand, arounds, spoilt=spoilt):
            return with_way(f"{case}{',' if wrong.around else ':'} {wrong.text}", wrong.trace)
    return None


def _wrong_stub(entered: Entered, promise: Promise) -> str | None:
    """Say what is wrong with one run of a stub."""
    trace = entered.trace
    verdict = judge(promise, VCpuState(resume=entered.state.resume), trace)
    if entered_right(entered):
        right = vmx_enter(before=entered.state.resume)
        return f"{trace.vm_enter} was chosen, {right} is the right one. {_last_test(trace)}"
    if not verdict.kept:
        return verdict.reason
    if verdict.verw and promise.verw is Verw.NEVER:
        return "VERW ran although nothing asks for it"
    if verdict.verw > 1:
        return f"VERW ran {verdict.verw} times; once is enough"
    if accesses := late(entered, run_flags_too=True):
        number = f"{len(accesses)} access{'es' * (len(accesses) > 1)}"
        return f"the right one, but VERW is {number} to memory away from it; the first: {accesses[0]}"
    return guest_loaded(entered)


def _last_test(trace: Trace) -> str:
    """Name the last conditional jump of the stub, the flag that it reads, and who wrote it last."""
    uses = list(flag_uses(trace, STUB))
    if not uses:
        return "No conditional jump on ZF or CF chooses"
    use = uses[-1]
    if use.writer is None:
        return f"{use.jump} reads {use.flag}, which nobody has written"
    writer = trace.instructions[use.writer].text
    loaded = any(one.text.endswith("), %rbx") for one in trace.instructions[: use.writer])
    gone = ". By then RBX holds the guest's value" if loaded and re.search(r"%([er]?bx|bl)\b", writer) else ""
    return f"{use.jump} reads {use.flag}, last written by {writer}{gone}"


REASONS = {
    "a": """no. The flush stands in front of MMIO's arm exactly as it did in front of MDS's. Case E shows it
        skip.""",
    "c": """no. Since v6.5 a replacement may hold a jump and a VERW; notebook 03 has such a one, and this fix is
        of v6.8. What was missing was a place where the jump could look at a flag.""",
    "d": """no. It is the same instruction with the same operand; in the lab's source both arms are the macro
        `clear_cpu_buffers`.""",
    "e": """no. Distance is the same for both: what lies between C and VM-Enter puts host data into the fill
        buffers, whichever flaw reads them. Case D measures it.""",
}


# --- 06-4: the lines that show what v6.8 left --------------------------------------------------------------------

LEFT = "43fb862de8f6"
NEVER = "kvm-intel.vmentry_l1d_flush=never"


def _judge_lines(answer: Any) -> str | None:
    lines = told.keyed(answer, ("else", "question"), "a line")
    return next((f"{name}: {wrong}" for name, line in lines.items() if (wrong := _wrong_line(name, line))), None)


def _wrong_line(name: str, text: Any) -> str | None:
    """Say what is wrong with a line; what it shows is told by what takes the hole away."""
    try:
        line = read_line(text)
    except LabError as error:
        return str(error)
    if line.era is None or line.era.id != LEFT:
        return f"it runs {line.era.id if line.era else 'no era'}; asked for is v6.8, --era {LEFT}"
    entry = line.enter()
    if entry.verdict.kept:
        return f"kept: {entry.verdict.reason}. The promise here: {entry.promise.text}"
    no_flush = replace(line.host, cmdline=f"{line.host.cmdline} {NEVER}".strip())
    by_else = eras.enter(line.era, no_flush, line.vcpu).verdict.kept
    by_question = eras.enter(line.era, line.host, replace(line.vcpu, mmio=Reach.ASSIGNED)).verdict.kept
    if name == "else":
        return (
            None if by_else else "BROKEN, but with the L1D flush off it still is: the else is not to blame alone"
        )
    if by_question:
        return None
    return "BROKEN, but with a device passed through it still is: not the question that is asked is to blame alone"


# --- 06-5: what a kernel's version tells ------------------------------------------------------------------------

VERSIONS = ("5.10.46", "5.15.153", "5.15.154", "6.1.80", "v6.7", "6.7.9", "6.12.117", "v6.18", "v6.19")
WORDS = {"MDS": ("MDS",), "MMIO": ("MMIO",), "both": ("MDS", "MMIO"), "neither": ()}


def _judge_versions(answer: Any) -> str | None:
    given = told.keyed(answer, VERSIONS, "a word")
    for kernel in VERSIONS:
        word = told.word(given[kernel], WORDS)
        if word is None:
            raise LabError(f"{kernel}: {given[kernel]!r} is none of the words {', '.join(WORDS)}")
        if WORDS[word] != skipped(kernel):
            return f"{kernel}: not {word}. {_tells(kernel)}"
    return None


def _tells(kernel: str) -> str:
    """Return what the table has for a kernel: which commits it has."""
    parts = [f"{commit} {'is' if has(commit, kernel) else 'is not'} in it" for commit in (CHAIN, MMIO_ARM, MOVE)]
    return "; ".join((*parts, f"{MERGED} {'is' if has(MERGED, kernel) else 'is not'}"))


def site_lines(name: str, engine: Engine, *, features: bool) -> list[str]:
    """Return the first site of a lab kernel's stub as lines, patched by an engine, with its features on or off."""
    image = from_bytes(lab_object(name), name)
    how = Rules(engine, rules(image).record_size, wide_nops=False)
    found = sites(image, entries(image, how.record_size))
    site = next(one for one in found if image.label(one.address).startswith(STUB))
    wanted = {entry.feature for entry in site.entries} if features else set()
    code = alternatives.patch(image, site, wanted, how).code
    return listing(image, code or b"", site.address)


JUDGES = {
    "words": _judge_words,
    "stub": _judge_stub,
    "mmio_stayed": choice("b", REASONS),
    "lines": _judge_lines,
    "versions": _judge_versions,
}
OWN = {"06-1": stubbed}
