"""AMD's flaw that VERW is used against: Transient Scheduler Attacks (TSA), and how the kernel selects for it.

The smaller sister of `mitigations`: one flaw, four facts, one option. Read in arch/x86/kernel/cpu/bugs.c
(`tsa_select_mitigation` and, in newer kernels, `tsa_apply_mitigation`), amd.c (`tsa_init`) and common.c of
6.12.117, which stands for kernels up to v6.16, and 7.3.4. TSA never asks for the VERW of the four Intel flaws:
it is the only one on AMD, and sets the same two features by itself.

Left out: the kernel's table of microcode revisions (the fact `verw_clear` stands for "new enough"), kernels built
without this mitigation, and CPUs made after Zen 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from vmenter import LabError
from vmenter.boot.generations import generation
from vmenter.boot.host import Host, names
from vmenter.boot.options import Decision, Wishes, read_options, split_cmdline

FACTS = ("tsa_sq_no", "tsa_l1_no", "tsa_fill_no", "verw_clear")
"""CPUID says: not affected by a form of TSA (three of them), VERW with a memory operand clears."""

FAMILIES = {1: 0x17, 2: 0x17, 3: 0x19, 4: 0x19, 5: 0x1A}
"""Zen generation → CPU family."""

LISTED = (0x19, 0x1A)  # the families that the kernel's list of flaws has TSA for
KERNELS = ("6.12.117", "7.3.4")

NONE, NO_MICROCODE, USER, VM, FULL = "NONE", "UCODE_NEEDED", "USER_KERNEL", "VM", "FULL"
WORDS = {"off": NONE, "on": FULL, "user": USER, "vm": VM}
CLEARS = {USER: ("CLEAR_CPU_BUF",), VM: ("CLEAR_CPU_BUF_VM",), FULL: ("CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM")}
STATES = {
    NONE: "Vulnerable",
    USER: "Mitigation: Clear CPU buffers: user/kernel boundary",
    VM: "Mitigation: Clear CPU buffers: VM",
    FULL: "Mitigation: Clear CPU buffers",
}
NO_MICROCODE_STATES = {
    "6.12.117": "Vulnerable: Clear CPU buffers attempted, no microcode",
    "7.3.4": "Vulnerable: No microcode",
}


@dataclass(frozen=True)
class AmdHost:
    """One AMD machine as selection sees it.

    `zen` is the generation of its cores, 1 to 5; `facts` some of `FACTS`, as CPUID has them or microcode adds
    them. `hypervisor`: this kernel is itself a guest. `smt` is None when it does not matter or is not known.
    """

    zen: int = 3
    facts: tuple[str, ...] = ()
    cmdline: str = ""
    hypervisor: bool = False
    smt: bool | None = None

    def __post_init__(self) -> None:
        if self.zen not in FAMILIES:
            raise LabError(f"zen: {self.zen!r} is no generation known here; give 1 to {max(FAMILIES)}")
        object.__setattr__(self, "facts", names(self.facts, FACTS, "microcode and CPU facts"))

    @property
    def affected(self) -> bool:
        """Whether the kernel sets X86_BUG_TSA.

        On bare metal it knows better than CPUID for cores it holds for immune. A guest believes CPUID alone,
        and takes any Zen for affected: it may be moved to another machine.
        """
        immune = set(self.facts)
        if not self.hypervisor:
            if self.zen not in (3, 4, 5):
                immune |= {"tsa_sq_no", "tsa_l1_no"}
            if self.zen != 5:
                immune.add("tsa_fill_no")
        spared = immune.issuperset({"tsa_sq_no", "tsa_l1_no", "tsa_fill_no"})
        return not spared and (FAMILIES[self.zen] in LISTED or self.hypervisor)


@dataclass(frozen=True)
class TsaSelection:
    """What a kernel selects against TSA. `state` is the kernel's enum name without TSA_MITIGATION_."""

    kernel: str
    affected: bool
    state: str
    features: tuple[str, ...]
    keys: tuple[str, ...]
    sysfs: str
    why: tuple[Decision, ...] = field(compare=False)


def select(host: AmdHost, kernel: str = KERNELS[0]) -> TsaSelection:
    """Select as `kernel` does, one of `KERNELS`. Raises `LabError` for another one."""
    if kernel not in KERNELS:
        raise LabError(f"kernel: TSA was read in {' and '.join(KERNELS)}, not in {kernel!r}")
    why: list[Decision] = []
    state = _wanted(host, kernel, why)
    features = CLEARS.get(state, ())
    if state != NONE and "verw_clear" not in host.facts:
        state, features = NO_MICROCODE, ()
        reason = "nothing says that VERW clears, so nothing is done"
        if kernel == KERNELS[0] and host.hypervisor:
            features = CLEARS[FULL]
            reason = "nothing says that VERW clears; the machine below may know better, so all is done"
        why.append(Decision("TSA", "no microcode", reason))
    idle = host.smt and state != NONE and (state != NO_MICROCODE or kernel == KERNELS[0])
    sysfs = NO_MICROCODE_STATES[kernel] if state == NO_MICROCODE else STATES[state]
    return TsaSelection(
        kernel=kernel,
        affected=host.affected,
        state=state,
        features=features,
        keys=("cpu_buf_idle_clear",) if idle else (),
        sysfs=sysfs if host.affected else "Not affected",
        why=tuple(why),
    )


def _wanted(host: AmdHost, kernel: str, why: list[Decision]) -> str:
    """Return what is to be done if the microcode allows it, and note why."""
    if not host.affected:
        why.append(Decision("TSA", "not affected", "the CPU does not have the flaw"))
        return NONE
    own, wishes = _options(host.cmdline, kernel)
    if kernel == KERNELS[0]:
        if wishes.mitigations == "off":
            why.append(Decision("TSA", "off", "mitigations=off, and here that beats tsa="))
            return NONE
        why.append(Decision("TSA", own or FULL, f"tsa= says {own}" if own else "on unless switched off"))
        return own or FULL
    if own is not None:
        why.append(Decision("TSA", own, f"tsa= says {own}, and here that beats mitigations="))
        return own
    user = not {"user_kernel", "user_user"}.isdisjoint(wishes.vectors)
    guest = not {"guest_host", "guest_guest"}.isdisjoint(wishes.vectors)
    state = {(True, True): FULL, (True, False): USER, (False, True): VM, (False, False): NONE}[user, guest]
    why.append(Decision("TSA", state, f"attack vectors protected: {', '.join(wishes.vectors) or 'none'}"))
    return state


@lru_cache(maxsize=256)
def _options(cmdline: str, kernel: str) -> tuple[str | None, Wishes]:
    """Return the state that the last known tsa= word asks for, and what mitigations= says."""
    words = [WORDS[value] for name, value in split_cmdline(cmdline) if name == "tsa" and value in WORDS]
    wishes, _ = read_options(Host(cmdline=cmdline), generation(kernel))
    return words[-1] if words else None, wishes
