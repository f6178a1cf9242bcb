"""Everything that FirstMinute shows: real runs of the lab's code, and the model's buffers at VM-Enter.

`frame()` returns plain dicts and lists: for an Intel server and for an AMD one, three VM-Enters each, with what
ran, what the eight entries hold, and a drawing. Nothing in it is typed that a run could say.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from vmenter.boot.processors import PRESETS
from vmenter.boot.tsa import AmdHost
from vmenter.emulator import buffers
from vmenter.emulator.buffers import Residue
from vmenter.emulator.memory import Owner
from vmenter.emulator.trace import Trace
from vmenter.story import eras, svm
from vmenter.views.first.picture import panel

Frame = dict[str, Any]

MERGED, QUIET = "e6ff1d61de51", "650b68a0622f"
GUEST = 0x6E57  # how the lab's guest registers begin
LEGEND = (
    ("S1 to S6", "a secret: what one of the host's registers held"),
    ("h", "other data of the host"),
    ("f", "a flag, no secret"),
    ("g", "the guest's own"),
)
QUESTION = "A host is about to let a guest in. Six of its registers hold secrets. What can the guest find?"
MODEL = (
    f"The code is the lab's, written after KVM's; each instruction ran in an emulator. The {buffers.ENTRIES} "
    "entries are a model, made to think with: what a CPU's buffers really look like, its maker alone knows."
)
ASKED = {
    "intel": "Why did the code of 2019 skip its VERW? That is what this course finds out.",
    "amd": "Without the microcode VERW would clear nothing, and this kernel does not run it. Who decides that, "
    "and how? That is what this course is about. Look at the Intel server, too: there the kernel had the cure and "
    "skipped it.",
}


@lru_cache(maxsize=1)
def frame() -> Frame:
    """Return what to show, the same each time."""
    return {
        "question": QUESTION,
        "model": MODEL,
        "legend": [{"mark": mark, "text": text} for mark, text in LEGEND],
        "machines": [_machine("intel", "Intel", _intel()), _machine("amd", "AMD", _amd())],
        "error": None,
    }


def _machine(name: str, title: str, runs: list[Frame]) -> Frame:
    """Return a machine with its runs, and the text twin of what is shown after each press, from none on."""
    twins = [_twin(title, runs, pressed, ASKED[name]) for pressed in range(len(runs) + 1)]
    return {"id": name, "title": title, "runs": runs, "asked": ASKED[name], "twins": twins}


def _twin(title: str, runs: list[Frame], pressed: int, asked: str) -> str:
    lines = [f"{QUESTION} ({title})"]
    for number, run in enumerate(runs[:pressed], 1):
        lines += [f"{number}. {run['title']}. {run['sentence']}", *(f"   {line}" for line in run["said"])]
    lines.append(asked if pressed == len(runs) else f"Next: {runs[pressed]['button']}")
    marks = "; ".join(f"{mark}: {text}" for mark, text in LEGEND)
    return "\n".join([*lines, *([f"The marks: {marks}."] if pressed else []), MODEL])


def twin(shown: Frame, state: Mapping[str, Any]) -> str:
    """Return the text twin: all that the page shows in a state, in words."""
    text: str = machine_of(shown, state)["twins"][state["pressed"]]
    return text


def machine_of(shown: Frame, state: Mapping[str, Any]) -> Frame:
    """Return the machine that a state names."""
    found: Frame = next(one for one in shown["machines"] if one["id"] == state["machine"])
    return found


def _intel() -> list[Frame]:
    host = PRESETS["skylake-server"].host
    bare = eras.enter(MERGED, replace(host, cmdline="mitigations=off")).trace
    cured = eras.enter(MERGED, host).trace
    skipped = eras.enter(QUIET, host).trace
    return [
        _run(
            bare,
            "Let the guest in",
            "No cure",
            "The host saved its registers, as it must, and let the guest in: VMLAUNCH does that. "
            "What it saved passed through small buffers in the CPU, and lies there still.",
        ),
        _run(
            cured,
            "Again, with VERW",
            "The cure of today",
            "This time VERW runs, shortly before the door. One instruction, and the buffers are wiped.",
        ),
        _run(
            skipped,
            "Again, with the code of 2019",
            "2019, the cure switched on",
            "The same machine, the same cure. On this way through the code VERW was not reached.",
        ),
    ]


def _amd() -> list[Frame]:
    host = AmdHost(zen=3, facts=("verw_clear",))
    return [
        _run(
            svm.enter(replace(host, cmdline="mitigations=off")).trace,
            "Let the guest in",
            "No cure",
            "A Zen 3 server, with the flaw TSA. The host saved its registers and let the guest in, by VMRUN. What "
            "it saved can still be in the core's queue of stores, or in its cache.",
        ),
        _run(
            svm.enter(host).trace,
            "Again, with VERW",
            "The cure of 2025",
            "VERW stands where a NOP was, right before VMRUN. With new microcode it wipes what TSA could read.",
        ),
        _run(
            svm.enter(replace(host, facts=())).trace,
            "Again, with the old microcode",
            "The same kernel, the old microcode",
            "The kernel asks the CPU whether VERW clears. This one does not say so, and VERW does not run.",
        ),
    ]


def _run(trace: Trace, button: str, title: str, sentence: str) -> Frame:
    left = buffers.left(trace)
    entries = [[_mark(residue) for residue in entry.residues] for entry in left.entries]
    secrets = len({residue.value for residue in left.secrets})
    ran = "VERW ran" if trace.verw else "no VERW ran"
    reach = f"{secrets or 'no'} secret{'s' * (secrets != 1)} in reach"
    said = [
        f"{len(trace.steps)} instructions up to {trace.vm_enter}; {ran}; {reach}.",
        f"Entries in use: {len(entries)} of {left.size}: {'; '.join(map(' '.join, entries)) or 'none'}.",
    ]
    return {
        "button": button,
        "title": title,
        "sentence": sentence,
        "secrets": secrets,
        "verw": trace.verw,
        "entries": entries,
        "said": said,
        "steps": f"{len(trace.steps)} instructions up to {trace.vm_enter}",
        "drawing": panel(entries, left.size, ran, str(trace.vm_enter), reach),
    }


def _mark(residue: Residue) -> str:
    """Return the letter of what is left; a secret has its number."""
    if residue.value >> 40 == buffers.SECRET:
        return f"S{residue.value & 0xFF}"
    if residue.owner is Owner.FLAGS:
        return "f"
    return "g" if residue.value >> 48 == GUEST else "h"
