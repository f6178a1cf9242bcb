"""Everything that EntryExplorer shows, as one value: a pure function of a small state.

`frame(state)` returns plain dicts, lists and strings: what can be chosen, what is, and for each era shown its
panels (`panels`). Drawings are not in it: one serves every state of an era, and a frame only marks it. The
page draws frames and knows nothing of kernels; so it works in JupyterLab and, over frames made before, without a
kernel.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from vmenter import LabError, near
from vmenter.boot.host import ARCH_CAP_FACTS, BUGS, CPUID_FACTS, FACTS, Host
from vmenter.boot.processors import PRESETS
from vmenter.story.history import BACKPORT, ERAS, REJECTED_CURE, Era
from vmenter.story.promise import Reach, VCpuState
from vmenter.views.entry.panels import drawing, side
from vmenter.views.entry.recorded import panel
from vmenter.views.view import Frame

SHOW = ("selection", "flow", "events", "buffers", "verdict")
CONTROLS = ("era", "compare", "processor", "options", "ept", "bugs", "mmio", "entry", "flags")
ORDER = ("selection", "events", "verdict", "flow", "buffers")  # on the page and in the twin

ABOUT_BUGS = {
    "mds": "Microarchitectural Data Sampling",
    "msbds_only": "of MDS, the store buffer alone",
    "taa": "TSX Asynchronous Abort",
    "mmio_stale_data": "stale data in reach of MMIO",
    "mmio_unknown": "too old to be listed: not known whether it has MMIO Stale Data",
    "rfds": "Register File Data Sampling",
    "l1tf": "L1 Terminal Fault",
}
ABOUT_FACTS = {
    "rtm": "TSX is visible when the kernel starts",
    "md_clear": "VERW clears the CPU buffers (microcode)",
    "flush_l1d": "an MSR flushes the L1 data cache (microcode)",
    "mds_no": "the CPU says that it has no MDS",
    "tsx_ctrl_msr": "TSX can be switched off",
    "fb_clear": "VERW clears the fill buffers too",
    "fb_clear_ctrl": "the host may switch that off, by FB_CLEAR_DIS",
    "fbsdp_no": "the fill buffers do not pass stale data on",
    "rfds_clear": "VERW clears the register files too",
    "skip_vmentry_l1dflush": "no L1D flush is needed before VM-Enter",
}
REACHES = {
    Reach.NONE: ("none", "cannot reach host MMIO"),
    Reach.ASSIGNED: ("a device passed through", "reaches host MMIO, by a device passed through"),
    Reach.MAPPED: ("mapped, without a device", "reaches host MMIO, mapped without a device passed through"),
}


class State(TypedDict, total=False):
    """What the reader has chosen."""

    era: str
    compare: str | None  # a second era beside it
    preset: str | None  # a processor; None: `bugs` and `facts` count
    bugs: list[str]
    facts: list[str]
    cmdline: str
    ept: bool
    mmio: str
    flush_pending: bool
    resume: bool
    guest_fb_clear: bool
    host_rsp_changed: bool
    cr2_changed: bool
    show: list[str]
    controls: list[str]  # what the page lets the reader change; all of CONTROLS if not told
    recorded: str | None  # a VM-Enter of a booted kernel to show beside the lab's


def state_of(era: str, host: Host, vcpu: VCpuState) -> dict[str, Any]:
    """Return the state that shows one VM-Enter of a host, whole: how other views open an explorer."""
    return {
        "era": era,
        "compare": None,
        "preset": None,
        "bugs": list(host.bugs),
        "facts": list(host.facts),
        "cmdline": host.cmdline,
        "ept": host.ept,
        "mmio": str(vcpu.mmio),
        "flush_pending": vcpu.flush_pending,
        "resume": vcpu.resume,
        "guest_fb_clear": vcpu.guest_fb_clear,
        "host_rsp_changed": vcpu.host_rsp_changed,
        "cr2_changed": vcpu.cr2_changed,
        "show": list(SHOW),
    }


def frame(state: Mapping[str, Any], more: Iterable[Era] = ()) -> Frame:
    """Return what to show. `more` are eras of the reader's own, to choose from beside those of the story.

    Raises `LabError` for names that nothing has; a command line is never refused, its mistakes are decisions.
    """
    shown, eras = around(state, more), eras_of(more)
    host, vcpu = machine(state)
    sides = [side(eras[one], host, vcpu, shown["show"]) for one in (shown["era"], shown["compare"]) if one]
    shown |= {"sides": sides, "said": " ".join(one["said"] for one in sides)}
    return {**shown, "text": list(_text(shown))}


def around(state: Mapping[str, Any], more: Iterable[Era] = ()) -> Frame:
    """Return a frame without what the eras make of it: what was chosen, and what else there is to choose.

    Raises `LabError` as `frame` does.
    """
    eras = eras_of(more)
    era = _known("era", state.get("era") or "650b68a0622f", eras)
    compare = _known("compare", state["compare"], eras) if state.get("compare") else None
    show = [name for name in ORDER if name in _named("show", state.get("show") or SHOW, SHOW)]
    controls = state.get("controls")
    controls = [*CONTROLS] if controls is None else _named("controls", controls, CONTROLS)
    host, vcpu = machine(state)
    preset = state.get("preset")
    return {
        "show": show,
        "controls": controls,
        "presets": [{"id": one.name, "title": one.title} for one in PRESETS.values()],
        "preset": preset,
        "bugs": [{"name": name, "about": ABOUT_BUGS[name], "on": name in host.bugs} for name in BUGS],
        "facts": [{"name": name, "about": ABOUT_FACTS[name], "on": host.has(name)} for name in FACTS],
        "cmdline": host.cmdline,
        "ept": host.ept,
        "reaches": [
            {"id": reach.value, "text": text, "on": reach is vcpu.mmio} for reach, (text, _) in REACHES.items()
        ],
        "flush_pending": vcpu.flush_pending,
        "resume": vcpu.resume,
        "guest_fb_clear": vcpu.guest_fb_clear,
        "eras": [{"id": one.id, "text": f"{one.id}, {one.release}: {one.title}"} for one in eras.values()],
        "era": era.id,
        "compare": compare.id if compare else None,
        "head": _head(preset, host, vcpu if set(show) != {"selection"} else None),
        "recorded": panel(str(state["recorded"])) if state.get("recorded") else None,
        "error": None,
    }


def machine(state: Mapping[str, Any]) -> tuple[Host, VCpuState]:
    """Return the host and the vCPU of a state. Raises `LabError` for names that nothing has."""
    return _host(state), _vcpu(state)


def _text(shown: Frame) -> Iterator[str]:
    """Yield the lines of the text twin."""
    yield from shown["head"]
    for one in shown["sides"]:
        yield from side_text(one, shown["show"])
    if shown["recorded"]:
        yield from ("", *shown["recorded"]["text"])


def side_text(one: Frame, show: Iterable[str]) -> list[str]:
    """Return the lines of one era's panels."""
    return ["", one["heading"], *(line for name in show for line in one[name]["text"])]


def sent(shown: Frame) -> Frame:
    """Return a frame as the page gets it: the whole text once, and not each panel's again."""
    sides = [
        {
            name: {part: told for part, told in value.items() if part != "text"}
            if isinstance(value, dict)
            else value
            for name, value in one.items()
        }
        for one in shown.get("sides", ())
    ]
    return {**shown, "sides": sides}


def drawings(shown: Frame, more: Iterable[Era] = ()) -> dict[str, str]:
    """Return the drawings that a frame marks, by era."""
    if "flow" not in shown["show"]:
        return {}
    eras = eras_of(more)
    return {one["era"]: drawing(eras[one["era"]]) for one in shown["sides"]}


def eras_of(more: Iterable[Era] = ()) -> dict[str, Era]:
    """Return the eras to choose from, by their ids."""
    return {**ERAS, **{one.id: one for one in (BACKPORT, REJECTED_CURE, *more)}}


def _known(what: str, name: str, eras: Mapping[str, Era]) -> Era:
    found = eras.get(name)
    if found is None:
        raise LabError(f"{what}: unknown name {name!r}{near(name, eras)}; use one of: {' '.join(eras)}")
    return found


def _named(what: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return what is named, in the order of `known`. Raises `LabError` for what is not known."""
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in known:
            raise LabError(f"{what}: unknown name {name!r}{near(name, known)}; use some of: {' '.join(known)}")
    return [name for name in known if name in wanted]


def _host(state: Mapping[str, Any]) -> Host:
    preset = state.get("preset")
    if preset is None:
        host = Host(bugs=tuple(state.get("bugs") or ()), facts=tuple(state.get("facts") or ()))
    elif preset in PRESETS:
        host = PRESETS[preset].host
    else:
        raise LabError(f"preset: unknown name {preset!r}{near(preset, PRESETS)}; use one of: {' '.join(PRESETS)}")
    return replace(host, cmdline=str(state.get("cmdline") or ""), ept=bool(state.get("ept", True)))


def _vcpu(state: Mapping[str, Any]) -> VCpuState:
    try:
        mmio = Reach(state.get("mmio") or Reach.NONE)
    except ValueError:
        raise LabError(f"mmio: unknown name {state['mmio']!r}; use one of: {' '.join(Reach)}") from None
    return VCpuState(
        mmio=mmio,
        flush_pending=bool(state.get("flush_pending")),
        resume=bool(state.get("resume")),
        guest_fb_clear=bool(state.get("guest_fb_clear")),
        host_rsp_changed=bool(state.get("host_rsp_changed", True)),
        cr2_changed=bool(state.get("cr2_changed", True)),
    )


def _head(preset: str | None, host: Host, vcpu: VCpuState | None) -> list[str]:
    """Return what was chosen, as lines of the twin."""
    facts = [name for name in (*CPUID_FACTS, *ARCH_CAP_FACTS) if host.has(name)]
    lines = [
        *([f"processor     {PRESETS[preset].title}"] if preset else []),
        f"bugs          {' '.join(name for name in BUGS if name in host.bugs) or 'none'}",
        f"facts         {' '.join(facts) or 'none'}",
        f"command line  {host.cmdline or '(empty)'}",
        f"EPT           {'on' if host.ept else 'off'}",
    ]
    if vcpu is not None:
        said = (
            REACHES[vcpu.mmio][1],
            f"flush {'pending' if vcpu.flush_pending else 'not pending'}",
            "entered before" if vcpu.resume else "first entry",
            f"its guest has {'' if vcpu.guest_fb_clear else 'no '}FB_CLEAR",
            *(("host RSP unchanged",) if not vcpu.host_rsp_changed else ()),
            *(("CR2 unchanged",) if not vcpu.cr2_changed else ()),
        )
        lines.append(f"vCPU          {'; '.join(said)}")
    return lines
