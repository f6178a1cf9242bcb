"""Real processors as hosts, each fact with the place it was read.

Which model has which bug is in the kernel's own tables (arch/x86/kernel/cpu/common.c of 7.3.4, and
Documentation/admin-guide/hw-vuln); what its CPUID and IA32_ARCH_CAPABILITIES say comes from the model
definitions of QEMU 10 (target/i386/cpu.c) and from public logs of such machines. A processor of which a
telling fact could not be sourced is not here: no Alder Lake and no Tremont, because nothing at hand says
which of MDS_NO, TAA_NO and RDCL_NO they set. For the same reason none has FB_CLEAR_CTRL. "Old microcode"
is the same processor before the update that brought the facts marked absent.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmenter.boot.host import BUGS, FACTS, Host


@dataclass(frozen=True)
class Preset:
    """A processor to choose from. `sources`: each fact, present or absent, and where it was read."""

    name: str
    title: str
    host: Host
    sources: tuple[tuple[str, str], ...]


_LISTED = "common.c, cpu_vuln_blacklist: listed with MMIO"
_MDS = "common.c, cpu_set_bug_bits: set, because the model is not listed as free and has no MDS_NO"
_TAA = "common.c, cpu_set_bug_bits: set, because TSX is there and TAA_NO is not"
_L1TF = "common.c, cpu_set_bug_bits: set, because the model is not listed as free and has no RDCL_NO"
_NO_L1TF = "absent: RDCL_NO is set"
_MMIO_RST = "processor_mmio_stale_data.rst"
_BROADWELL = "/proc/cpuinfo of a Xeon E5-2686 v4, github.com/smxi/inxi/issues/210"
_SKYLAKE = "boot log of a Xeon Gold 6126, github.com/utcs-scea/LAKE/issues/10"
_ICE_LAKE = "/proc/cpuinfo of a Xeon Gold 6326, github.com/data61/MP-SPDZ/issues/1466"
_QEMU_CLX = "QEMU, Cascadelake-Server v2"
_QEMU_ICX = "QEMU, Icelake-Server v3 and v7"
_QEMU_SPR = "QEMU, SapphireRapids v2"
_FB_CLEAR = "QEMU commit 00001a22d183: Cascade Lake and Ice Lake have it, Sapphire Rapids and later do not"
_TSX_CTRL = "bugs.c, taa_update_mitigation: on MDS_NO CPUs the microcode that cures TAA brings it"
_MD_CLEAR_CLX = "bugs.c, taa_update_mitigation: MDS_NO CPUs announce it, before their cure for TAA too"


def _preset(name: str, title: str, *, smt: bool, **sources: str) -> Preset:
    """Build a preset from its sources, so that there is no fact without one."""
    present = {fact for fact, source in sources.items() if not source.startswith("absent")}
    host = Host(
        bugs=tuple(present.intersection(BUGS)),
        facts=tuple(present.intersection(FACTS)),
        smt=smt,
    )
    return Preset(name, title, host, tuple(sources.items()))


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        _preset(
            "broadwell-server",
            "Broadwell server (06_4F), microcode of 2019 or later",
            smt=True,
            mds=f"{_BROADWELL}; {_MDS}",
            taa=f"{_BROADWELL}; {_TAA}",
            mmio_stale_data=_LISTED,
            l1tf=f"{_BROADWELL}; {_L1TF}",
            rtm=_BROADWELL,
            md_clear=_BROADWELL,
            flush_l1d=_BROADWELL,
        ),
        _preset(
            "skylake-server",
            "Skylake server (06_55 stepping 4), microcode of 2019 or later",
            smt=True,
            mds=f"{_SKYLAKE}; {_MDS}",
            taa=f"{_SKYLAKE}; {_TAA}",
            mmio_stale_data=f"{_SKYLAKE}; {_LISTED}",
            l1tf=_L1TF,
            rtm="QEMU, Skylake-Server v1",
            md_clear=f"{_SKYLAKE}: it clears CPU buffers against MDS",
            flush_l1d=f"{_SKYLAKE} and {_MMIO_RST}: it clears against MMIO, which without MDS_NO takes this",
        ),
        _preset(
            "skylake-server-old-microcode",
            "Skylake server (06_55 stepping 4), microcode before August 2018",
            smt=True,
            mds=_MDS,
            taa=_TAA,
            mmio_stale_data=_LISTED,
            l1tf=_L1TF,
            rtm="QEMU, Skylake-Server v1",
            md_clear="absent: mds.rst, it comes with a microcode update",
            flush_l1d="absent: l1tf.rst, it comes with a microcode update",
        ),
        _preset(
            "cascade-lake-tsx",
            "Cascade Lake server (06_55 stepping 7), TSX on, microcode of 2022 or later",
            smt=True,
            mds=f"absent: {_QEMU_CLX}, MDS_NO is set",
            taa=f"{_TAA}; tsx_async_abort.rst",
            mmio_stale_data=f"{_LISTED}; {_MMIO_RST}, stepping 7",
            l1tf=f"{_NO_L1TF}, {_QEMU_CLX}",
            rtm="QEMU, Cascadelake-Server v2",
            md_clear=_MD_CLEAR_CLX,
            mds_no=_QEMU_CLX,
            tsx_ctrl_msr=_TSX_CTRL,
            fb_clear=_FB_CLEAR,
            skip_vmentry_l1dflush=_QEMU_CLX,
        ),
        _preset(
            "cascade-lake-no-tsx",
            "Cascade Lake server (06_55 stepping 7), TSX off, microcode of 2022 or later",
            smt=True,
            mds=f"absent: {_QEMU_CLX}, MDS_NO is set",
            taa="common.c, cpu_set_bug_bits: set for TSX_CTRL alone, TSX may have been on before a kexec",
            mmio_stale_data=f"{_LISTED}; {_MMIO_RST}, stepping 7",
            l1tf=f"{_NO_L1TF}, {_QEMU_CLX}",
            rtm="absent: tsx.c, tsx=off (or a kernel built so) hides TSX through TSX_CTRL",
            md_clear=_MD_CLEAR_CLX,
            mds_no=_QEMU_CLX,
            tsx_ctrl_msr=_TSX_CTRL,
            fb_clear=_FB_CLEAR,
            skip_vmentry_l1dflush=_QEMU_CLX,
        ),
        _preset(
            "cascade-lake-old-microcode",
            "Cascade Lake server (06_55 stepping 7), TSX on, microcode before November 2019",
            smt=True,
            mds=f"absent: {_QEMU_CLX}, MDS_NO is set",
            taa=f"{_TAA}; tsx_async_abort.rst",
            mmio_stale_data=f"{_LISTED}; {_MMIO_RST}, stepping 7",
            l1tf=f"{_NO_L1TF}, {_QEMU_CLX}",
            rtm="QEMU, Cascadelake-Server v2",
            md_clear=_MD_CLEAR_CLX,
            mds_no=_QEMU_CLX,
            tsx_ctrl_msr=f"absent: {_TSX_CTRL}",
            fb_clear=f"absent: {_MMIO_RST}, on CPUs already sold it comes with a microcode update",
            skip_vmentry_l1dflush=_QEMU_CLX,
        ),
        _preset(
            "ice-lake-server",
            "Ice Lake server (06_6A), microcode of 2022 or later",
            smt=True,
            mds=f"absent: {_ICE_LAKE}; {_QEMU_ICX}, MDS_NO is set",
            taa=f"absent: {_ICE_LAKE}; {_QEMU_ICX}, TAA_NO is set",
            mmio_stale_data=f"{_ICE_LAKE}; {_LISTED}",
            l1tf=f"{_NO_L1TF}, {_ICE_LAKE}",
            rtm=f"{_QEMU_ICX}; with TAA_NO it decides nothing",
            mds_no=_QEMU_ICX,
            fb_clear=_FB_CLEAR,
            skip_vmentry_l1dflush=_QEMU_ICX,
        ),
        _preset(
            "ice-lake-server-old-microcode",
            "Ice Lake server (06_6A), microcode before 2022",
            smt=True,
            mds=f"absent: {_ICE_LAKE}; {_QEMU_ICX}, MDS_NO is set",
            taa=f"absent: {_ICE_LAKE}; {_QEMU_ICX}, TAA_NO is set",
            mmio_stale_data=f"{_ICE_LAKE}; {_LISTED}",
            l1tf=f"{_NO_L1TF}, {_ICE_LAKE}",
            rtm=f"{_QEMU_ICX}; with TAA_NO it decides nothing",
            mds_no=_QEMU_ICX,
            fb_clear=f"absent: {_MMIO_RST}, on CPUs already sold it comes with a microcode update",
            skip_vmentry_l1dflush=_QEMU_ICX,
        ),
        _preset(
            "sapphire-rapids",
            "Sapphire Rapids server (06_8F)",
            smt=True,
            mds=f"absent: {_QEMU_SPR}, MDS_NO is set",
            taa=f"absent: {_QEMU_SPR}, TAA_NO is set",
            mmio_stale_data=f"absent: common.c does not list it; {_QEMU_SPR}, immune",
            rfds="absent: common.c, not among the listed Atoms",
            l1tf=f"{_NO_L1TF}, {_QEMU_SPR}",
            rtm=f"{_QEMU_SPR}; with TAA_NO it decides nothing",
            mds_no=_QEMU_SPR,
            fbsdp_no=_QEMU_SPR,
            fb_clear=f"absent: {_FB_CLEAR}",
            skip_vmentry_l1dflush=_QEMU_SPR,
        ),
        _preset(
            "goldmont-server",
            "Goldmont server Atom (06_5F, Denverton), microcode of 2024 or later",
            smt=False,
            mds="absent: common.c, cpu_vuln_whitelist: NO_MDS",
            mmio_stale_data="absent: common.c, cpu_vuln_whitelist: NO_MMIO",
            l1tf="absent: common.c, cpu_vuln_whitelist: NO_L1TF",
            rfds="common.c, cpu_vuln_blacklist; reg-file-data-sampling.rst: ATOM_GOLDMONT_D",
            rfds_clear="reg-file-data-sampling.rst: comes with the microcode update for affected CPUs",
        ),
        _preset(
            "goldmont-server-old-microcode",
            "Goldmont server Atom (06_5F, Denverton), microcode before 2024",
            smt=False,
            mds="absent: common.c, cpu_vuln_whitelist: NO_MDS",
            mmio_stale_data="absent: common.c, cpu_vuln_whitelist: NO_MMIO",
            l1tf="absent: common.c, cpu_vuln_whitelist: NO_L1TF",
            rfds="common.c, cpu_vuln_blacklist; reg-file-data-sampling.rst: ATOM_GOLDMONT_D",
            rfds_clear="absent: reg-file-data-sampling.rst, it comes with a microcode update",
        ),
        _preset(
            "knights-landing-old-microcode",
            "Xeon Phi (06_57, Knights Landing), microcode before 2019",
            smt=True,
            mds="mds.rst, XEON PHI specific considerations; common.c, no NO_MDS",
            msbds_only="common.c, cpu_vuln_whitelist: MSBDS_ONLY; mds.rst",
            mmio_unknown="common.c of 6.12.117: neither listed as affected nor as free",
            l1tf="absent: common.c, cpu_vuln_whitelist: NO_L1TF; l1tf.rst",
            md_clear="absent: mds.rst, it comes with a microcode update",
        ),
    )
}
"""Name → processor. SMT is as shipped: on where the core has threads to share."""
