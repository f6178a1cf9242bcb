"""Which hosts' VM-Enters get no clear though it was promised: a module's meaning, where `form` tells its form.

On Intel that is the audit's answer, over every configuration of the default space, with the promise of the
module's version and what its code does. On AMD the promise is one feature (`svm`): a stub that does not always
clear under it leaves the hosts without a clear for which boot selects it.
"""

from dataclasses import dataclass
from typing import Any

from vmenter import LabError
from vmenter.kernels.inspect import Report
from vmenter.kernels.module_era import generation_of, of_report
from vmenter.kernels.stub_report import ALWAYS_NAME
from vmenter.story.audit import Audit, audit
from vmenter.story.audit_text import shared_words, smallest_json
from vmenter.story.space import DEFAULT, Space


@dataclass(frozen=True)
class Hole:
    """Hosts whose VM-Enters get no clear. Counts are configurations of the space; None where none were counted."""

    hosts: str
    count: int | None = None
    replay: str | None = None
    smallest: dict[str, Any] | None = None


@dataclass(frozen=True)
class Holes:
    """The holes of a module; `found` is None where that cannot be told, and `why` says why."""

    found: tuple[Hole, ...] | None
    promise: str = ""  # whose it is, and how that is known
    why: str | None = None
    without: str | None = None  # a configuration that the code shows to be off

    @property
    def is_finding(self) -> bool:
        """Whether there are holes, or it cannot be told."""
        return self.found is None or bool(self.found)


def of_inspected(report: Report, space: Space = DEFAULT) -> Holes:
    """Return the holes of an inspected module."""
    if not report.stubs or report.image is None:
        return Holes(None, why=report.reason)
    if report.stubs[0].stub.kind != "VMX":
        return _of_svm(report)
    try:
        found = audit(of_report(report.image, report), space)
    except LabError as error:
        return Holes(None, why=str(error).removeprefix(f"{report.file}: "))
    if found.failed:
        return Holes(None, why="not every VM-Enter comes to the right instruction")
    promised = generation_of(report.image, report)
    told = f"{promised.known_by}: selection of kernel {promised.kernel}"
    return Holes(_of_audit(found), told, without=promised.without)


def _of_audit(found: Audit) -> tuple[Hole, ...]:
    if found.broken is None:
        return ()
    words = "; ".join(f"{name} {values}" for name, values in shared_words(found.broken))
    return (Hole(words, found.broken.count, found.replay, smallest_json(found.broken)),)


def _of_svm(report: Report) -> Holes:
    """Return the holes of a kvm-amd.ko: the stubs that do not always clear under the feature boot selects."""
    problem = next((one.problem for one in report.stubs if one.problem), None)
    if problem:
        return Holes(None, why=problem)
    if not any(ALWAYS_NAME in one.expected or ALWAYS_NAME in one.always for one in report.stubs):
        return Holes((), f"version {report.version}: no {ALWAYS_NAME} is known of it")
    missing = [one.stub.name for one in report.stubs if ALWAYS_NAME not in one.always]
    hole = Hole(f"AMD's with TSA for which boot sets {ALWAYS_NAME}, in {' and '.join(missing)}")
    return Holes((hole,) if missing else (), f"version {report.version}: {ALWAYS_NAME}")
