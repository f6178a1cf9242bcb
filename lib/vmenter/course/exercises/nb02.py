"""Exercises of notebook 02: write an alternative, relocate by hand, live without relocation."""

import re
from itertools import product
from typing import Any

from vmenter import LabError
from vmenter.code.image import Image, from_bytes
from vmenter.code.instructions import decode
from vmenter.course.exercises.nb02_engine import JUDGES as ENGINE
from vmenter.course.judging import told
from vmenter.course.judging.calls import (
    BUDGET,
    RFLAGS,
    Called,
    breach,
    built,
    run,
    states,
    strangers,
    stray_selector,
    way,
)
from vmenter.emulator.machine import Machine
from vmenter.patching.alternative_table import AltEntry, Engine, Rules, read
from vmenter.patching.alternatives import apply, patch, patch_all
from vmenter.patching.features import number
from vmenter.patching.lab import lab_object

CLEAR_CPU_BUF = number("CLEAR_CPU_BUF", "7.3.4")


def patched(image: Image, features: set[int], engine: Engine) -> Image:
    """Return the image as an engine leaves it on a CPU with these features."""
    return apply(image, patch_all(image, features, Rules(engine, 14, wide_nops=engine is Engine.ONCE)))


def _judge_clear(answer: Any, engine: Engine) -> str | None:
    image = built(answer)
    if not read(image, engine=Engine.ONCE).sites:
        return "the table of alternatives is empty: the code is the same on every CPU"
    for (others, more), wanted in product(strangers(image, CLEAR_CPU_BUF).items(), (False, True)):
        features = {*others, CLEAR_CPU_BUF} if wanted else {*others}
        machine = Machine(patched(image, features, engine), budget=BUDGET)
        for call in states():
            name = f"{'with CLEAR_CPU_BUF' if wanted else f'without {_WHAT[bool(others)]}'}{more}"
            try:
                wrong = _wrong_clear(run(machine, call), engine, wanted=wanted)
            except LabError as error:
                wrong = lost_selector(error, engine) or f": {error}"
            if wrong:
                return name + wrong if call.state == FIRST else f"{name}, {call.state}: {wrong.lstrip(':, ')}"
    return None


_WHAT = {False: "features", True: "CLEAR_CPU_BUF"}
FIRST = next(iter(RFLAGS))
_LOST = re.compile(r"(\S+), (verw .*): reads 2 bytes at (0x[0-9a-f]+), where nothing is mapped")


def lost_selector(error: LabError, engine: Engine) -> str | None:
    """Say that a VERW read where nothing is, to stand behind a state; None for any other mistake."""
    lost = _LOST.match(str(error))
    return lost and f", at {lost[1]}, {lost[2]} is a VERW that reads {lost[3]}, not selector. {_WHY_STRAY[engine]}"


def _wrong_clear(called: Called, engine: Engine, *, wanted: bool) -> str | None:
    """Say what is wrong with one call, to stand behind its state."""
    trace = called.trace
    if wrong := breach(called, idle=not wanted):
        return f": {wrong}. What ran: {way(trace)}"
    if stray := stray_selector(trace):
        return f", {stray}. {_WHY_STRAY[engine]}"
    if trace.verw == wanted:
        return None
    ran = f"{trace.verw} times" if trace.verw > 1 else "once" if trace.verw else "“never”"
    return f" VERW should {'run, once' if wanted else 'not run'}, but it runs {ran}. What ran: {way(trace)}"


_WHY_STRAY = {
    Engine.EARLY: "The engine “early” copies a replacement as it is unless it is one single CALL or JMP.",
    Engine.LAYERED: "The engine “layered” relocates every RIP-relative operand: is the operand RIP-relative?",
    Engine.ONCE: "The engine “once” relocates every RIP-relative operand: is the operand RIP-relative?",
}


VERW_AT = 9  # where VERW begins in the replacement of ``long_padding``, behind three moves


def moved_verw() -> tuple[Image, AltEntry, bytes]:
    """Return the lab's image, the one entry of ``long_padding``, and its VERW's four bytes after patching."""
    image = from_bytes(lab_object("patching"), "patching.o")
    how = Rules(Engine.ONCE, 14, wide_nops=True)
    place = image.symbols.get("long_padding")
    site = next(s for s in read(image, engine=Engine.ONCE).sites if place and s.address == place.address)
    code = patch(image, site, {site.entries[0].feature}, how).code or b""
    return image, site.entries[0], code[VERW_AT + 3 : VERW_AT + 7]


def _judge_bytes(answer: Any) -> str | None:
    image, entry, right = moved_verw()
    given = told.code(answer)
    if given is None:
        return told.should_be("four bytes as text, lowest first, such as '01 02 03 04'")
    if len(given) != 4:
        return f"a displacement has four bytes; these are {len(given)}"
    if given == right:
        return None
    index = next(i for i in range(4) if given[i] != right[i])
    address = decode(b"\x0f\x00\x2d" + given, entry.site + VERW_AT)[0].rip_target or 0
    reads = f"this VERW would read {told.place(image, address)}"
    way = " Are the bytes in the wrong order? The lowest comes first." if given == right[::-1] else ""
    if given == image.read(entry.replacement + VERW_AT + 3, 4):
        way = " These are the replacement's bytes, unchanged; at the site they count from another place."
    return f"byte {index} should not be {given[index]:02x}: {reads}.{way}"


JUDGES = {
    "clears_when_asked": lambda answer: _judge_clear(answer, Engine.ONCE),
    "clears_when_asked_early": lambda answer: _judge_clear(answer, Engine.EARLY),
    "displacement": _judge_bytes,
    **ENGINE,
}
