"""The four flaws that one instruction, VERW, is used against: MDS, TAA, MMIO Stale Data, RFDS.

Their selection is one piece, because there is one VERW: once any of them turns it on for the host, it
runs for all. Older kernels (6.12 was read) find that out in two passes over the four, newer ones (6.17
and 7.3) in three steps, select, update, apply; the outcome has one shape, and only what a flaw decides
*by itself* differs. Source: arch/x86/kernel/cpu/bugs.c, its functions `*_select_mitigation`,
`*_update_mitigation`, `*_apply_mitigation` and `*_show_state`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmenter.boot.options import Decision, Wishes

if TYPE_CHECKING:
    from vmenter.boot.generations import Generation
    from vmenter.boot.host import Host


@dataclass(frozen=True)
class Verw:
    """What selection does about the four. States are the kernel's enum names, None where it has none."""

    clears_for_all: bool
    clears_for_mmio: bool
    nosmt: bool
    mds: str | None
    taa: str | None
    mmio: str | None
    rfds: str | None


_BUG = {"mds": "mds", "taa": "taa", "mmio": "mmio_stale_data", "rfds": "rfds"}
_TITLE = {"mds": "MDS", "taa": "TAA", "mmio": "MMIO Stale Data", "rfds": "RFDS"}
# The state's word while VERW is on: with the microcode for it, and without.
_ON = {
    "mds": ("FULL", "VMWERV"),
    "taa": ("VERW", "UCODE_NEEDED"),
    "mmio": ("VERW", "UCODE_NEEDED"),
    "rfds": ("VERW", "UCODE_NEEDED"),
}
_NO_MICROCODE = {
    "mds": "MD_CLEAR is missing: nothing says that VERW clears",
    "taa": "MD_CLEAR, or TSX_CTRL beside MDS_NO, is missing: nothing says that VERW clears",
    "mmio": "no FB_CLEAR, nor MD_CLEAR with FLUSH_L1D and without MDS_NO: nothing says that VERW clears",
    "rfds": "RFDS_CLEAR is missing: RFDS does not ask for VERW, and gains nothing from it",
}


def select_verw(host: Host, wishes: Wishes, kernel: Generation) -> tuple[Verw, list[Decision]]:
    """Decide for the four flaws together. Returns the outcome and its reasons, in order."""
    said: list[Decision] = []
    bugs = kernel.bugs.intersection(host.bugs)
    affected = {flaw: bug in bugs for flaw, bug in _BUG.items()}
    rtm = host.has("rtm") if wishes.tsx is None else wishes.tsx == "on"

    if affected["taa"] and not rtm:
        # The bug is there, but without TSX there is nothing left to abort asynchronously.
        affected["taa"] = False
        said.append(Decision("TAA", "TSX disabled", "TSX is not visible, so the flaw cannot be reached"))
    if affected["mmio"] and "mmio_unknown" in bugs:
        affected["mmio"] = False
        said.append(Decision("MMIO Stale Data", "off", "the kernel cannot tell whether this CPU has the flaw"))

    wanted: dict[str, bool] = {}
    for flaw in ("mds", "taa", "mmio", "rfds"):
        wanted[flaw] = False
        if affected[flaw]:
            wanted[flaw], reason = _on_its_own(flaw, wishes, kernel, mds_wanted=wanted["mds"])
            said.append(Decision(_TITLE[flaw], "wanted" if wanted[flaw] else "not wanted", reason))

    askers = [flaw for flaw in ("mds", "taa") if wanted[flaw]]
    if wanted["mmio"] and (affected["mds"] or affected["taa"]):
        askers.append("mmio")
    if wanted["rfds"] and host.has("rfds_clear"):
        askers.append("rfds")
    clears = bool(askers)
    if clears:
        titles = ", ".join(_TITLE[flaw] for flaw in askers)
        said.append(Decision("VERW", "for everyone", f"asked for by {titles}; once on, it serves every flaw"))
    mitigated = {flaw: affected[flaw] and (wanted[flaw] or clears) for flaw in affected}
    for_mmio = mitigated["mmio"] and not clears
    if for_mmio:
        reason = "no MDS and no live TAA: only a guest that reaches MMIO can get at stale data"
        said.append(Decision("VERW", "for guests with MMIO only", reason))

    ok = _microcode(host)
    for flaw, on in mitigated.items():
        if on and not wanted[flaw]:
            said.append(Decision(_TITLE[flaw], "on after all", "VERW is on for another flaw and helps here too"))
        if on and not ok[flaw]:
            said.append(Decision(_TITLE[flaw], "no microcode", _NO_MICROCODE[flaw]))

    nosmt = False
    # RFDS never asks: none of its CPUs has sibling threads.
    for flaw in ("mds", "taa", "mmio"):
        wish = flaw in wishes.nosmt or wishes.cross_thread == "on"
        if mitigated[flaw] and wish and not (flaw == "mds" and "msbds_only" in bugs):
            nosmt = True
            said.append(Decision("SMT", "off", f"nosmt was asked for and {_TITLE[flaw]} is on"))

    states: dict[str, str | None] = {}
    for flaw, bug in _BUG.items():
        full, attempted = _ON[flaw]
        word = (full if ok[flaw] else attempted) if mitigated[flaw] else "OFF"
        if flaw == "taa" and bug in bugs and not rtm:
            word = "TSX_DISABLED"
        states[flaw] = f"{flaw.upper()}_MITIGATION_{word}" if bug in kernel.bugs else None
    return Verw(clears, for_mmio, nosmt, **states), said


def _on_its_own(flaw: str, wishes: Wishes, kernel: Generation, *, mds_wanted: bool) -> tuple[bool, str]:
    """Tell whether a flaw the CPU has asks for its mitigation, before it looks at the others."""
    own = wishes.of(flaw)
    if kernel.word_match != "prefix":
        if wishes.mitigations == "off":
            return False, "mitigations=off, and here that beats the flaw's own option"
        if own == "off" and flaw == "taa" and mds_wanted:
            return True, "its own option says off, but that counts only if MDS is off as well"
        return own != "off", "its own option says off" if own == "off" else "on unless switched off"
    if own is not None:
        return own != "off", f"its own option says {own}, and here that beats mitigations="
    if wishes.vectors:
        return True, "at least one attack vector is to be protected"
    return False, "no attack vector is to be protected"


def _microcode(host: Host) -> dict[str, bool]:
    """Tell for each flaw whether VERW is known to clear what it leaks."""
    md_clear, mds_no = host.has("md_clear"), host.has("mds_no")
    return {
        "mds": md_clear,
        # With MDS_NO an older microcode announces MD_CLEAR without clearing; TSX_CTRL came with the cure.
        "taa": md_clear and (host.has("tsx_ctrl_msr") or not mds_no),
        "mmio": host.has("fb_clear") or (md_clear and host.has("flush_l1d") and not mds_no),
        "rfds": host.has("rfds_clear"),
    }


def clear_before_idle(host: Host, verw: Verw, kernel: Generation, *, smt_active: bool | None) -> Decision | None:
    """Tell why VERW also runs before a thread goes idle, None if it does not."""
    if verw.mmio not in {None, "MMIO_MITIGATION_OFF"} and not host.has("fbsdp_no"):
        return Decision("idle", "VERW", "going idle can carry fill buffers into the uncore")
    only_store_buffers = "msbds_only" in kernel.bugs.intersection(host.bugs)
    if verw.mds not in {None, "MDS_MITIGATION_OFF"} and only_store_buffers and smt_active:
        return Decision("idle", "VERW", "only store buffers leak here, and they change owner when a thread idles")
    return None


_CLEAR = "Mitigation: Clear CPU buffers"
_ATTEMPTED = "Vulnerable: Clear CPU buffers attempted, no microcode"
_TEXT = {
    "MDS_MITIGATION_FULL": _CLEAR,
    "MDS_MITIGATION_VMWERV": _ATTEMPTED,
    "TAA_MITIGATION_VERW": _CLEAR,
    "TAA_MITIGATION_UCODE_NEEDED": _ATTEMPTED,
    "TAA_MITIGATION_TSX_DISABLED": "Mitigation: TSX disabled",
    "MMIO_MITIGATION_VERW": _CLEAR,
    "MMIO_MITIGATION_UCODE_NEEDED": _ATTEMPTED,
    "RFDS_MITIGATION_VERW": "Mitigation: Clear Register File",
    "RFDS_MITIGATION_UCODE_NEEDED": "Vulnerable: No microcode",
}


def verw_sysfs(
    host: Host, verw: Verw, kernel: Generation, *, smt_active: bool | None
) -> dict[str, tuple[str, str] | None]:
    """Return the short text and the whole line of each vulnerabilities file, None where there is none."""
    bugs = kernel.bugs.intersection(host.bugs)
    lines: dict[str, tuple[str, str] | None] = {}
    for flaw, bug in _BUG.items():
        state = getattr(verw, flaw)
        if state is None:
            lines[flaw] = None
        elif flaw == "mmio" and "mmio_unknown" in bugs:
            lines[flaw] = ("Unknown: No mitigations",) * 2
        elif bug not in bugs:
            lines[flaw] = ("Not affected",) * 2
        else:
            short = _TEXT.get(state, "Vulnerable")
            off = state.endswith(("OFF", "TSX_DISABLED"))
            only = flaw == "mds" and "msbds_only" in bugs
            # RFDS has no word on SMT; TAA and MMIO have one only while VERW is on.
            silent = flaw == "rfds" or (off and flaw != "mds")
            suffix = "" if silent else _smt_suffix(host, smt_active=smt_active, off=off, only=only)
            lines[flaw] = (short, short + suffix)
    return lines


def _smt_suffix(host: Host, *, smt_active: bool | None, off: bool, only: bool) -> str:
    if host.hypervisor:
        return "; SMT Host state unknown"
    if only and off:
        return "; SMT vulnerable"
    if smt_active is None:
        return ""
    if not smt_active:
        return "; SMT disabled"
    return "; SMT mitigated" if only else "; SMT vulnerable"
