"""What selection looks at: one machine, and the kernel that boots on it.

A `Host` holds only what the kernel's own selection code asks about: bug flags, CPUID and
IA32_ARCH_CAPABILITIES facts, the command line, SMT, EPT, memory. A `Generation` holds only what sets
one kernel's selection apart from another's; the procedure they share is in `mitigations`.

Sources: arch/x86/kernel/cpu/bugs.c and kernel/cpu.c of 5.19, 5.10.262, 6.1.192, 6.12.117, 6.17, 7.2.13
and 7.3.4; for 5.2 the MDS part of bugs.c as merged in May 2019; arch/x86/include/asm/cpufeatures.h and
msr-index.h for the names. The selection logic of 5.10.262 and 6.1.192 is that of 6.12.117, line for line
apart from spelling. "6.0" and "6.8" are 5.19's and 6.12.117's with what 7df548840c49 and the time before RFDS
change: the bug mmio_unknown came in v6.0 (stable 5.19.6, 5.15.64, 5.10.140, 5.4.212, 4.19.257) and went with
dd86a1d013e0 in v6.16; RFDS came in v6.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from vmenter import LabError, near

if TYPE_CHECKING:
    from collections.abc import Iterable

BUGS = ("mds", "msbds_only", "taa", "mmio_stale_data", "mmio_unknown", "rfds", "l1tf")
"""The kernel's X86_BUG_* names, in lower case."""

CPUID_FACTS = ("rtm", "md_clear", "flush_l1d")
ARCH_CAP_FACTS = (
    "mds_no",
    "tsx_ctrl_msr",
    "fb_clear",
    "fb_clear_ctrl",
    "fbsdp_no",
    "rfds_clear",
    "skip_vmentry_l1dflush",
)
FACTS = CPUID_FACTS + ARCH_CAP_FACTS


def names(values: Iterable[str], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return names in lower case, sorted, each once; `LabError` for one that is not known."""
    found = {value.lower() for value in values}
    if unknown := sorted(found.difference(known)):
        first = unknown[0]
        raise LabError(f"{what}: unknown name {first!r}{near(first, known)}; use some of: {' '.join(known)}")
    return tuple(sorted(found))


@dataclass(frozen=True)
class Host:
    """One machine as selection sees it. Names may be given in any order and case; they are kept sorted.

    `rtm` means: TSX is visible when the kernel starts. `smt` is None when it does not matter or is not
    known; then nothing is said that depends on it. `cache_bits` is the width of a physical address in
    the L1 data cache, None meaning wide enough; RAM is one block from address 0.
    """

    bugs: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    cmdline: str = ""
    smt: bool | None = None
    ept: bool = True
    hypervisor: bool = False
    cache_bits: int | None = None
    ram_mib: int = 512

    def __post_init__(self) -> None:
        object.__setattr__(self, "bugs", names(self.bugs, BUGS, "bugs"))
        object.__setattr__(self, "facts", names(self.facts, FACTS, "microcode and CPU facts"))
        if self.cache_bits is not None and not 13 <= self.cache_bits <= 64:
            raise LabError(f"cache_bits: {self.cache_bits} is no address width; give 13 to 64, or leave it out")
        if self.ram_mib < 1:
            raise LabError(f"ram_mib: {self.ram_mib} MiB is no memory size; give 1 or more")

    def has(self, fact: str) -> bool:
        """Tell whether the CPU or its microcode says `fact`."""
        return fact in self.facts


_KEYS = ("cmdline", "bugs", "features", "arch_cap", "smt", "ept", "hypervisor", "cache_bits", "ram_mib")
# A golden case may be handed over whole; what it expects is not part of the host.
_NOT_THE_HOST = {"other_bugs_kept", "ignored_options", "parsed", "out"}
_JSON_NAMES: dict[type, str] = {
    str: "a string",
    list: "a list",
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    dict: "an object",
    type(None): "null",
}
_T = TypeVar("_T")


def host_from_json(value: object) -> Host:
    """Read a host from decoded JSON: `{"cmdline": "…", "bugs": […], "features": […], "arch_cap": […]}`.

    Everything may be left out. Also understood: smt, ept, hypervisor (true or false), cache_bits and
    ram_mib (numbers). Raises LabError for anything else.
    """
    if not isinstance(value, dict):
        raise LabError(f'host: a JSON object is needed, this is {_kind(value)}; write {{"bugs": ["mds"]}}')
    if unknown := set(map(str, value)).difference(_KEYS, _NOT_THE_HOST):
        raise LabError(f"host: unknown key {min(unknown)!r}; use some of: {' '.join(_KEYS)}")
    ept, ram_mib = _field(value, "ept", bool), _field(value, "ram_mib", int)
    return Host(
        bugs=_list(value, "bugs"),
        facts=_list(value, "features") + _list(value, "arch_cap"),
        cmdline=_field(value, "cmdline", str) or "",
        smt=_field(value, "smt", bool),
        ept=True if ept is None else ept,
        hypervisor=_field(value, "hypervisor", bool) or False,
        cache_bits=_field(value, "cache_bits", int),
        ram_mib=512 if ram_mib is None else ram_mib,
    )


def _field(value: dict[str, object], key: str, kind: type[_T]) -> _T | None:
    """Return one member, None if it is left out or null."""
    found = value.get(key)
    if found is None:
        return None
    # In Python true is also the number 1; in a host it is not.
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise LabError(f"host, {key!r}: this is {_kind(found)}; give {_JSON_NAMES[kind]}")
    return found


def _list(value: dict[str, object], key: str) -> tuple[str, ...]:
    found: list[object] = _field(value, key, list) or []
    names = tuple(item for item in found if isinstance(item, str))
    if len(names) != len(found):
        raise LabError(f"host, {key!r}: a member is no string; give a list of names")
    return names


def _kind(value: object) -> str:
    return _JSON_NAMES.get(type(value), type(value).__name__)
