"""A machine's own words explained: each line beside the model's, and what a VM-Enter does there.

`explain(report)` is all of it, as values; `explain_text` puts it into words. What the model says comes from
`boot.selection.select` for the inferred host, on AMD from `amd`; what VM-Enter does from `story.eras.enter`, over
every vCPU there can be. `verdict` says what all that comes to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from vmenter.boot.selection import select
from vmenter.hosts.amd import Tsa, tsa_of
from vmenter.hosts.entering import NONE, SVM, VMX
from vmenter.hosts.inference import Inference, fits, host_of, model_line, other_kernels, without_smt
from vmenter.hosts.texts import FLAWS, JUDGED, plain
from vmenter.hosts.told import State, Told
from vmenter.hosts.verdict import TITLES, Outcome, outcome
from vmenter.story.eras import Entry, enter
from vmenter.story.promise import Reach, VCpuState
from vmenter.story.replay import replay

if TYPE_CHECKING:
    from vmenter.boot.options import Decision
    from vmenter.hosts.report import Report

_SUBJECTS = {
    "mds": ("MDS", "VERW", "mds", "mitigations"),
    "tsx_async_abort": ("TAA", "VERW", "tsx_async_abort", "tsx", "mitigations"),
    "mmio_stale_data": ("MMIO Stale Data", "VERW", "mmio_stale_data", "mitigations"),
    "reg_file_data_sampling": ("RFDS", "VERW", "reg_file_data_sampling", "mitigations"),
    "l1tf": (
        *("L1TF", "PTE inversion", "KVM's L1D flush"),
        *("l1tf", "mitigations", "kvm_intel.ept", "kvm_intel.vmentry_l1d_flush"),
    ),
}
MITIGATED, VULNERABLE, NOT_AFFECTED, UNKNOWN = "mitigated", "vulnerable", "not affected", "unknown"
_CLEAR = "Mitigation: Clear CPU buffers"
_WORDS = (  # how a text begins, what it comes to, in plain words; the first that fits
    ("Not affected", NOT_AFFECTED, "The kernel holds this CPU for free of the flaw."),
    (f"{_CLEAR}: VM", MITIGATED, "VERW runs before guests are entered, not on the way to user space."),
    (f"{_CLEAR}: user", VULNERABLE, "VERW runs on the way to user space, not before guests are entered."),
    (_CLEAR, MITIGATED, "VERW runs where the flaw asks for it, and the microcode makes it clear."),
    (
        "Mitigation: Clear Register",
        MITIGATED,
        "VERW runs, and the microcode makes it clear the register files too.",
    ),
    ("Mitigation: TSX disabled", MITIGATED, "The flaw is reached through TSX, and TSX is off."),
    (
        "Mitigation: PTE Inversion",
        MITIGATED,
        "No page table entry of the host leaves an address a guest could use.",
    ),
    ("Vulnerable: Clear", VULNERABLE, "VERW runs, but no microcode says that it clears."),
    ("Vulnerable: No microcode", VULNERABLE, "The microcode that makes VERW clear is missing."),
    ("Vulnerable", VULNERABLE, "Nothing is done about the flaw."),
    ("Unknown", UNKNOWN, "The kernel cannot tell whether this CPU has the flaw, and does nothing."),
)
_PARTS = (
    ("VMX: conditional", "Guests are entered with the L1D flushed if something worth reading was handled since."),
    ("VMX: cache flushes", "Every guest is entered with the L1D flushed."),
    ("VMX: vulnerable", "Guests are entered without an L1D flush."),
    ("VMX: EPT disabled", "Guests run on shadow page tables, which leave no such entry to them."),
    ("VMX: flush not necessary", "The hypervisor below flushes."),
    ("SMT vulnerable", "Sibling threads run, and clearing does not help against one's sibling."),
    ("SMT mitigated", "Sibling threads run; buffers change owner, and are cleared, when one goes idle."),
    ("SMT disabled", "No sibling thread runs."),
    ("SMT Host state unknown", "This is a guest: whether another guest runs on its sibling, it cannot know."),
)


@dataclass(frozen=True)
class Line:
    """One vulnerabilities file: what the kernel says and what the model says.

    `agrees` is None where one of them says nothing. `decided`: bits of the host that were inferred from this very
    line, so that its agreement proves less. `why` are the model's reasons, `cause` a likely one for disagreement.
    """

    file: str
    title: str
    kernel: str | None
    model: str | None
    status: str
    words: str
    agrees: bool | None
    decided: tuple[str, ...]
    why: tuple[Decision, ...]
    cause: str | None

    @property
    def finding(self) -> bool:
        """Tell whether the kernel itself says that this is open."""
        return self.status in {VULNERABLE, UNKNOWN} and self.kernel is not None

    @property
    def threads_only(self) -> bool:
        """Tell whether kernel and model differ about sibling threads and nothing else."""
        both = self.kernel is not None and self.model is not None
        return both and without_smt(plain(self.file, str(self.kernel))) == without_smt(str(self.model))


@dataclass(frozen=True)
class Entries:
    """What the nearest form of VM-Enter does on the host, over every vCPU. `broken`, the fewest settings first."""

    entry: Entry  # of the plainest vCPU
    runs: int
    broken: tuple[Entry, ...]
    neutralised: int
    neutralised_with_ctrl: int  # were FB_CLEAR_CTRL there, which no file tells
    assumed: int

    @property
    def replay(self) -> str | None:
        """The command that shows the first one that breaks the promise."""
        first = self.broken[0] if self.broken else None
        return replay(first.era, first.host, first.vcpu) if first else None


@dataclass(frozen=True)
class Explanation:
    """A report, what was inferred from it, its lines explained, and what VM-Enter does there.

    `entries`: Intel's VM-Enter, None where no guest is entered so, or no flaw was told. `tsa`: the same for AMD's.
    """

    report: Report
    inference: Inference
    lines: tuple[Line, ...]
    entries: Entries | None
    tsa: Tsa | None
    outcome: Outcome

    @property
    def finding(self) -> bool:
        """Tell whether a line says Vulnerable, the promise is broken, or it rests on what was not told."""
        return self.outcome.status == 1

    @property
    def disagreements(self) -> tuple[Line, ...]:
        """The lines on which kernel and model do not agree."""
        return tuple(line for line in self.lines if line.agrees is False)


def explain(report: Report) -> Explanation:
    """Explain what a machine says of itself."""
    inference = host_of(report)
    by = inference.entering.by
    some = any(one.state is not State.NOT_TOLD or one.line for one in inference.told.values())
    tsa = tsa_of(report) if by == SVM and some else None
    lines = [_line(report, inference, file) for file in FLAWS]
    if tsa is not None or report.line("tsa") is not None:
        lines.append(_tsa_line(report, inference.told["tsa"], tsa))
    entries = _entries(inference) if by in {VMX, None} and some else None
    if by is None and not inference.host.bugs:
        entries = None  # nothing tells by what a guest is entered
    kept = None if entries is None else not entries.broken
    if tsa is not None and tsa.entries:
        kept = all(entry.verdict.kept for entry in tsa.entries)
    found = outcome(
        by,
        inference.told,
        kept=kept,
        open_lines=tuple(
            file for file in JUDGED if file in {*report.open, *(one.file for one in lines if one.finding)}
        ),
        differing=tuple(line.file for line in lines if line.agrees is False and not line.threads_only),
        mixed=(*report.mixed, *((inference.entering.against,) if inference.entering.against else ())),
    )
    return Explanation(report, inference, tuple(lines), entries, tsa, found)


def _tsa_line(report: Report, told: Told, tsa: Tsa | None) -> Line:
    """Explain the line of AMD's flaw; without a model where the CPU is not AMD's."""
    kernel = report.line("tsa")
    status, words = _not_told(told) if kernel is None else meaning(kernel)
    if kernel is not None and kernel.startswith(
        "Vulnerable: Clear"
    ):  # the same text, but here it may be all there is
        words = "No microcode says that VERW clears; whether it runs all the same depends on the kernel."
    agrees = None if tsa is None else tsa.agrees
    causes = {
        True: "This is a guest: the hypervisor below decides what CPU and microcode seem to be.",
        False: "Perhaps microcode was loaded after boot, or the kernel was built without the mitigation.",
    }
    return Line(
        file="tsa",
        title=TITLES["tsa"],
        kernel=kernel,
        model=None if tsa is None else tsa.line,
        status=status,
        words=words,
        agrees=agrees,
        decided=tsa.decided if tsa is not None and agrees else (),
        why=tsa.why if tsa is not None and status != NOT_AFFECTED else (),
        cause=causes[report.has("hypervisor")] if agrees is False else None,
    )


def _not_told(told: Told) -> tuple[str, str]:
    """Return status and words for a flaw of which there is no line."""
    if told.state is State.NOT_AFFECTED:
        return NOT_AFFECTED, f"No line in the report; {told.source}."
    if told.state is State.AFFECTED:
        return UNKNOWN, f"No line in the report; {told.source} says that the CPU has the flaw, not what is done."
    return UNKNOWN, f"Not told: {told.source}."


def meaning(text: str) -> tuple[str, str]:
    """Return what a vulnerabilities line comes to, and that in plain words."""
    status, words = next(
        ((status, words) for start, status, words in _WORDS if text.startswith(start)),
        (UNKNOWN, "The course does not know this wording."),
    )
    if "VMX: vulnerable" in text:
        status = VULNERABLE
    return status, " ".join((words, *(more for part, more in _PARTS if part in text)))


def _line(report: Report, inference: Inference, file: str) -> Line:
    kernel, selection = report.line(file), inference.selection
    told = inference.told[file]
    silent = kernel is None and told.state is State.NOT_TOLD
    model = None if silent or inference.entering.by in {SVM, NONE} else model_line(report, selection, file)
    status, words = _not_told(told) if kernel is None else meaning(plain(file, kernel))
    agrees = fits(report, selection, file) if kernel is not None and model is not None else None
    why = tuple(one for one in selection.why if one.subject.partition("=")[0] in _SUBJECTS[file])
    return Line(
        file=file,
        title=TITLES[file],
        kernel=kernel,
        model=model,
        status=status,
        words=words,
        agrees=agrees,
        decided=tuple(bit for bit, by in inference.by_line if by == file) if agrees else (),
        why=why if status != NOT_AFFECTED and model is not None else (),
        cause=_cause(report, inference, file, kernel or "", model or "") if agrees is False else None,
    )


def _cause(report: Report, inference: Inference, file: str, kernel: str, model: str) -> str:
    """Guess why kernel and model differ; the likeliest cause first."""
    host, nearest = inference.host, inference.nearest
    if without_smt(plain(file, kernel)) == without_smt(model):
        return "They differ about sibling threads only, and those can be switched on and off after boot."
    if others := other_kernels(report, host, file):
        return (
            f"Selection as in {' or '.join(others)} says what this kernel says: a backport, or a vendor's change."
        )
    if fits(report, select(replace(host, cmdline="mitigations=off"), nearest.kernel), file):
        return "With mitigations=off it would be this line; perhaps the kernel was built without the mitigation."
    if host.hypervisor:
        return "This is a guest: the hypervisor below decides what CPU and microcode seem to be."
    if not nearest.exact:
        return f"This kernel was not read; the nearest that was is {nearest.kernel}, and vendors change theirs."
    return "Perhaps microcode was loaded after boot, or the kernel was built without the mitigation."


def _entries(inference: Inference) -> Entries:
    """Run every VM-Enter that the host can have: 24 of them, the plainest first."""
    flags = product((False, True), repeat=3)
    states = [VCpuState(mmio, *three) for three in flags for mmio in Reach]
    states.sort(key=lambda one: (one.mmio is not Reach.NONE) + one.flush_pending + one.resume + one.guest_fb_clear)
    form, host = inference.nearest.era, inference.host
    entries = [enter(form, host, state) for state in states]
    ctrl = replace(host, facts=(*host.facts, "fb_clear_ctrl"))
    return Entries(
        entry=entries[0],
        runs=len(entries),
        broken=tuple(entry for entry in entries if not entry.verdict.kept),
        neutralised=sum(entry.verdict.neutralised for entry in entries),
        neutralised_with_ctrl=sum(enter(form, ctrl, state).verdict.neutralised for state in states),
        assumed=sum(entry.verdict.assumed for entry in entries),
    )
