"""Exercises of notebook 01: switch VERW off, say why one option does not, build the host of the story."""

from dataclasses import replace
from typing import Any

from vmenter import LabError
from vmenter.boot.host import Host, host_from_json
from vmenter.boot.options import split_cmdline
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import Selection, select
from vmenter.course.exercises.choice import choice
from vmenter.story.promise import Verw, promise_of

KERNEL = "7.3.4"
FLUSH = "KVM's L1D flush"  # its name in the why-chain
CPU = PRESETS["skylake-server"]


def _judge_off(answer: Any) -> str | None:
    """Judge a command line that should switch VERW off and leave KVM's L1D flush alone."""
    if not isinstance(answer, str):
        raise LabError(f"answer should be text, the boot options; it is a {type(answer).__name__}")
    found = select(replace(CPU.host, cmdline=answer), KERNEL)
    unread = _unread(found, answer)
    if promise_of(found).verw is not Verw.NEVER:
        return f"VERW still runs at every VM-Enter: {_why(found, 'VERW')}.{unread}"
    if found.l1d_flush != "cond":
        reason = _why(found, FLUSH)
        changed = f"the L1D flush has changed, too: it is {found.l1d_flush!r} ({reason})"
        return f"VERW is off, but {changed}.{unread}"
    return None


def _why(found: Selection, subject: str) -> str:
    return next((link.reason for link in found.why if link.subject == subject), "nothing speaks of it")


def _unread(found: Selection, cmdline: str) -> str:
    """Say which options had no effect at all, and why."""
    notes = [f" {link.subject} had no effect: {link.reason}." for link in found.why if link.outcome == "no effect"]
    read = {link.subject for link in found.why}
    for name, value in split_cmdline(cmdline):
        word = name if value is None else f"{name}={value}"
        if word not in read:
            notes.append(f" {word} is no option that decides anything here.")
    return "".join(notes)


def _judge_host(answer: Any) -> str | None:
    """Judge a host that should get VERW for MMIO alone, beside a conditional L1D flush."""
    host = _host(answer)
    found = select(host, KERNEL)
    verw = promise_of(found).verw
    if verw is Verw.ALWAYS:
        return f"VERW runs for every guest: {_why(found, 'VERW')}"
    if verw is Verw.NEVER:
        return "VERW runs for nobody: no flaw of this host asks for it. Which one is about guests that reach MMIO?"
    if found.l1d_flush != "cond":
        return f"VERW is right, but KVM's L1D flush is {found.l1d_flush!r}: {_why(found, FLUSH)}"
    if found.sysfs.mmio != "Mitigation: Clear CPU buffers":
        return f"all is switched on as asked, but mmio_stale_data says “{found.sysfs.mmio}”: {_microcode(found)}"
    return None


def _host(answer: Any) -> Host:
    if not isinstance(answer, dict) or set(answer) != {"bugs", "facts"}:
        raise LabError("answer should have two lists: {'bugs': [...], 'facts': [...]}")
    lists = {key: list(value) if isinstance(value, (tuple, set)) else value for key, value in answer.items()}
    return host_from_json({"bugs": lists["bugs"], "features": lists["facts"]})


def _microcode(found: Selection) -> str:
    return next((link.reason for link in found.why if link.outcome == "no microcode"), "")


JUDGES = {
    "verw_off": _judge_off,
    "why_no_effect": choice(
        "c",
        {
            "a": """no. The kernel takes the option: its own chain says “MDS: not wanted”. Nothing about it is
                thought too dangerous; with mitigations=off the same kernel switches VERW off without a word.""",
            "b": """no. Microcode only makes VERW clear something. It never runs VERW; that is the kernel's choice,
                and the file reports the kernel's choice.""",
            "d": """no. Another word does change the file: with mitigations=off it says “Vulnerable”. It reports
                what this kernel does on this boot.""",
        },
    ),
    "host_of_the_story": _judge_host,
}
