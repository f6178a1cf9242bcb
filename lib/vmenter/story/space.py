"""Everything that can influence a VM-Enter, as data: dimensions, their values, and the machines they make.

A space is a list of dimensions; a configuration takes one value of each. `DEFAULT` answers at once, `FULL` has
every word of every boot option. The default machine, from which settings are counted, has no bugs, the facts of
today's microcode, an empty command line, EPT, and a vCPU that is entered for the first time, reaches no MMIO and
has no flush pending.

A space holds more machines than were ever built (an MDS_NO CPU with MDS, say): what holds for all holds for those
that were. Left out: what `mitigations` leaves out, an option given twice, and what never reaches the code of
VM-Enter (mmio_unknown, RAM above the cache's reach, SMT, a hypervisor below).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.boot.options import VECTORS
from vmenter.story.promise import Reach, VCpuState

if TYPE_CHECKING:
    from collections.abc import Iterable


class Part(StrEnum):
    """Who reads a dimension."""

    SHARED = "shared"  # both of the next two
    VERW = "VERW family"
    L1TF = "L1TF and KVM"
    VCPU = "vCPU"
    TOLD = "told only"  # it decides what the kernel says in sysfs, or about SMT; nothing that VM-Enter sees
    INVENTED = "invented"  # a flaw of an exercise: no kernel reads it, so `audit` leaves it to the exercise


class Value(NamedTuple):
    """One value of a dimension: what it adds to a machine. `settings`: how far it is from the default machine."""

    label: str
    settings: int = 1
    bugs: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    option: str = ""
    vcpu: tuple[tuple[str, Any], ...] = ()
    ept: bool = True


class Dimension(NamedTuple):
    """One thing that can differ. The default machine's value, if it is there, comes first."""

    name: str
    part: Part
    values: tuple[Value, ...]


Picks = tuple[tuple[int, int], ...]
"""A configuration: (number of the dimension, number of the value) of each value not the default machine's."""


def _bug(name: str, part: Part, *more: str) -> Dimension:
    found = [Value("no", 0), Value("yes", 1, (name,)), *(Value(other, 2, (name, other)) for other in more)]
    return Dimension(name, part, tuple(found))


def _fact(name: str, part: Part, *, usual: bool = False) -> Dimension:
    present, absent = Value("present", int(not usual), facts=(name,)), Value("absent", int(usual))
    return Dimension(name, part, (present, absent) if usual else (absent, present))


def _option(name: str, part: Part, *words: str) -> Dimension:
    given = (Value(word, option=f"{name}={word}") for word in words)
    return Dimension(f"{name}=", part, (Value("not given", 0), *given))


def _flag(name: str, field: str) -> Dimension:
    return Dimension(name, Part.VCPU, (Value("no", 0), Value("yes", vcpu=((field, True),))))


_MACHINE = (
    _bug("mds", Part.VERW, "msbds_only"),
    _bug("taa", Part.VERW),
    _bug("mmio_stale_data", Part.VERW),
    _bug("rfds", Part.VERW),
    _bug("l1tf", Part.L1TF),
    _fact("rtm", Part.VERW),
    _fact("tsx_ctrl_msr", Part.VERW, usual=True),
    _fact("rfds_clear", Part.VERW, usual=True),
    _fact("flush_l1d", Part.L1TF, usual=True),
    _fact("skip_vmentry_l1dflush", Part.L1TF),
    _fact("fb_clear_ctrl", Part.VCPU),
    _fact("md_clear", Part.TOLD, usual=True),
    _fact("fb_clear", Part.TOLD, usual=True),
    _fact("mds_no", Part.TOLD),
    _fact("fbsdp_no", Part.TOLD),
    Dimension("EPT", Part.L1TF, (Value("on", 0), Value("off", ept=False))),
)
_ENTRY = (
    Dimension(
        "reaches host MMIO",
        Part.VCPU,
        tuple(Value(str(reach), int(reach is not Reach.NONE), vcpu=(("mmio", reach),)) for reach in Reach),
    ),
    _flag("flush pending", "flush_pending"),
    _flag("entered before", "resume"),
    _flag("guest has FB_CLEAR", "guest_fb_clear"),
)
_NO_VECTORS = tuple(
    ",".join(("auto", *(f"no_{vector}" for vector in left_out)))
    for count in range(1, len(VECTORS) + 1)
    for left_out in combinations(VECTORS, count)
)


@dataclass(frozen=True)
class Space:
    """Dimensions, and with them every configuration that takes one value of each."""

    name: str
    dimensions: tuple[Dimension, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many values each dimension has."""
        return {dimension.name: len(dimension.values) for dimension in self.dimensions}

    @property
    def configurations(self) -> int:
        """Return how many configurations there are."""
        return prod(len(dimension.values) for dimension in self.dimensions)

    def where(self, name: str, *labels: str) -> Space:
        """Return the part of the space in which one dimension has only these values: zooming in."""
        for number, dimension in enumerate(self.dimensions):
            if dimension.name == name:
                kept = tuple(value for value in dimension.values if value.label in labels)
                if len(kept) < len(set(labels)) or not kept:
                    known = ", ".join(value.label for value in dimension.values)
                    raise LabError(f"{name}: no such value among {', '.join(labels) or 'none'}; it has: {known}")
                narrowed = dimension._replace(values=kept)
                return replace(
                    self, dimensions=(*self.dimensions[:number], narrowed, *self.dimensions[number + 1 :])
                )
        raise LabError(f"no dimension {name!r}; there are: {', '.join(self.counts)}")

    def beside(self, name: str, dimension: Dimension) -> Space:
        """Return the space with one more dimension, under a name of its own."""
        return replace(self, name=name, dimensions=(*self.dimensions, dimension))

    def configuration(self, number: int) -> tuple[int, ...]:
        """Return the configuration of that number, from 0: for each dimension the number of its value."""
        found = []
        for dimension in reversed(self.dimensions):
            number, value = divmod(number, len(dimension.values))
            found.append(value)
        return tuple(reversed(found))

    def machine(self, picks: Picks) -> tuple[Host, VCpuState]:
        """Return the host and the vCPU of a configuration; what was not picked has its first value."""
        chosen = dict(picks)
        return machine_of(d.values[chosen.get(number, 0)] for number, d in enumerate(self.dimensions))

    def of(self, part: Part) -> tuple[tuple[int, Dimension], ...]:
        """Return the dimensions that one part reads, each with its number."""
        return tuple((number, d) for number, d in enumerate(self.dimensions) if d.part is part)


def machine_of(values: Iterable[Value]) -> tuple[Host, VCpuState]:
    """Put values together."""
    values = tuple(values)
    host = Host(
        bugs=tuple(name for value in values for name in value.bugs),
        facts=tuple(name for value in values for name in value.facts),
        cmdline=" ".join(value.option for value in values if value.option),
        ept=all(value.ept for value in values),
    )
    return host, VCpuState(**{field: content for value in values for field, content in value.vcpu})


_FULL = ("off", "full", "full,nosmt")
DEFAULT = Space(
    "default",
    (
        *_MACHINE,
        _option("mitigations", Part.SHARED, "off", "auto,nosmt"),
        _option("mds", Part.VERW, "off"),
        _option("tsx_async_abort", Part.VERW, "off"),
        _option("mmio_stale_data", Part.VERW, "off"),
        _option("reg_file_data_sampling", Part.VERW, "off"),
        _option("l1tf", Part.L1TF, "off", "full"),
        _option("kvm-intel.vmentry_l1d_flush", Part.L1TF, "never", "cond", "always"),
        *_ENTRY,
    ),
)
FULL = Space(
    "full",
    (
        *_MACHINE,
        _option("mitigations", Part.SHARED, "off", "auto", "auto,nosmt", "auto,no_cross_thread", *_NO_VECTORS),
        _option("mds", Part.VERW, *_FULL),
        _option("tsx_async_abort", Part.VERW, *_FULL),
        _option("mmio_stale_data", Part.VERW, *_FULL),
        _option("reg_file_data_sampling", Part.VERW, "off", "on"),
        _option("tsx", Part.VERW, "off", "on", "auto"),
        _option("l1tf", Part.L1TF, "off", "flush,nowarn", "flush", "flush,nosmt", "full", "full,force"),
        _option("kvm-intel.vmentry_l1d_flush", Part.L1TF, "auto", "never", "cond", "always"),
        _option("kvm-intel.ept", Part.L1TF, "0", "1"),
        Dimension("nosmt", Part.TOLD, (Value("not given", 0), Value("given", option="nosmt"))),
        *_ENTRY,
    ),
)
SPACES = {space.name: space for space in (DEFAULT, FULL)}
