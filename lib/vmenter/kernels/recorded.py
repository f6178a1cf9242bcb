"""A kernel of the reader's own: its KVM module, found or given; and what was recorded of others.

`inspected` has what `inspect`, the audit and `census` told of kvm-intel.ko in several of Debian's kernels, for
readers without one at hand (tests/tools/record_beyond.py recorded it; a test asks the kernels again wherever they
are).
"""

import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.kernels.census import all_records
from vmenter.kernels.find import HOW, Blob, Kernel, find, version_key
from vmenter.kernels.packages import FILES, MODULES

MODULE = "kvm-intel.ko"


def module(path: str | Path | None = None, *names: str) -> Blob:
    """Return a kernel's file, by default KVM's module: out of `path` (as for `find`), or of those installed here.

    Of several `names` the first that any kernel has is taken; of several kernels the running one's, or else the
    newest's. Raises `LabError`, saying what to do, where there is none.
    """
    for name in names or (MODULE,):
        found = [one for one in find(path, MODULES if name in MODULES else FILES) if name in one.files]
        if found:
            return _best(found).files[name]
    raise LabError(
        f"{path or 'the kernels installed here'}: no {' and no '.join(names or (MODULE,))} in it; {HOW}"
    )


def _best(found: Collection[Kernel]) -> Kernel:
    """Return the running kernel, or the newest."""
    *_, newest = found
    return next((one for one in found if one.version == platform.release()), newest)


@dataclass(frozen=True)
class Run:
    """One recorded run of a stub alone, as `stubs.Run` has it, features by name."""

    features: tuple[str, ...]
    mmio: bool
    resume: bool
    vm_enter: str
    verw: int
    instructions_after_clear: int | None
    accesses_after_clear: int | None


@dataclass(frozen=True)
class Inspected:
    """What was recorded of one kvm-intel.ko.

    `report`: what `vmenter inspect --json` tells of it; `text`: what it prints without.
    `audit`: this module's part of `vmenter audit --json`. `built`: the package's date, from the kernel's banner.
    """

    release: str  # such as "6.12.117", Debian's package version without its own part
    version: str  # such as "6.12.117+deb13-amd64"
    package: str
    built: str
    entries: int  # in the module
    sites: int
    configurations: int  # audited
    report: Mapping[str, Any] = field(repr=False)
    audit: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)

    @property
    def has_form(self) -> bool:
        """Whether the verdict is that it has the 6.19 form."""
        return bool(self.report["verdict"] == "has the 6.19 form")

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of `__vmx_vcpu_run`."""
        wanted = ("mmio", "resume", "vm_enter", "verw", "instructions_after_clear", "accesses_after_clear")
        return tuple(
            Run(tuple(run["features"]), **{name: run[name] for name in wanted}) for run in self.report["runs"]
        )

    def run(self, features: Collection[str], *, mmio: bool = False, resume: bool = False) -> Run:
        """Return the run for features that boot selected; those that the stub does not ask for change nothing."""
        asked = set(self.report["features"]).intersection(features)
        return next(run for run in self.runs if (set(run.features), run.mmio, run.resume) == (asked, mmio, resume))


def inspected() -> tuple[Inspected, ...]:
    """Return all that was recorded, the oldest release first."""
    found = {name: one["kvm-intel"] for name, one in all_records().items() if "kvm-intel" in one}
    ordered = sorted(found, key=version_key)
    return tuple(Inspected(release=name, **found[name]) for name in ordered)


def recorded(release: str) -> Inspected:
    """Return what was recorded of one kernel. `LabError` for another one."""
    found = {one.release: one for one in inspected()}
    if release not in found:
        raise LabError(f"no inspection of kernel {release!r} was recorded; there are {', '.join(found)}")
    return found[release]
