"""Exercises of notebook 02: write an alternative, relocate by hand, live without relocation."""

from typing import Any

from vmenter import LabError
from vmenter.code.image import Image, from_bytes
from vmenter.code.instructions import decode
from vmenter.course.exercises.paths import clears, ways
from vmenter.patching.alternative_table import AltEntry, Engine, Rules, read
from vmenter.patching.alternatives import apply, patch, patch_all
from vmenter.patching.features import number
from vmenter.patching.lab import assemble, lab_object

CLEAR_CPU_BUF = number("CLEAR_CPU_BUF", "7.3.4")


def built(answer: Any) -> Image:
    """Assemble an answer that must define ``entry``; what is wrong with it is a `LabError`."""
    if not isinstance(answer, str):
        raise LabError(f"answer should be text, the assembly; it is a {type(answer).__name__}")
    image = from_bytes(assemble(answer), "answer")
    for name in image.undefined:
        raise LabError(f"nothing here defines {name}")
    if image.symbols.get("entry") is None:
        raise LabError("there is no label entry: where does the function begin?")
    return image


def patched(image: Image, features: set[int], engine: Engine) -> Image:
    """Return the image as an engine leaves it on a CPU with these features."""
    return apply(image, patch_all(image, features, Rules(engine, 14, wide_nops=engine is Engine.ONCE)))


def entry_of(image: Image) -> int:
    """Return where ``entry`` begins."""
    symbol = image.symbols.get("entry")
    return symbol.address if symbol else 0


def selector_kept(image: Image) -> str | None:
    """Check that every VERW on a way from ``entry`` reads the selector, and not what stands somewhere else."""
    selector = image.symbols.get("selector")
    for way in ways(image, entry_of(image)):
        for step in way:
            if step.mnemonic == "verw" and (selector is None or step.rip_target != selector.address):
                place = image.label(step.address)
                reads = image.label(step.rip_target) if step.rip_target else step.operands
                return f"at {place}, {step.code.hex(' ')} is a VERW that reads {reads}, not selector"
    return None


def _judge_clear(answer: Any, engine: Engine) -> str | None:
    image = built(answer)
    table = read(image, engine=Engine.ONCE).sites
    if not table:
        return "the table of alternatives is empty: the code is the same on every CPU"
    for features, wish in ((set[int](), "never"), ({CLEAR_CPU_BUF}, "always")):
        after = patched(image, features, engine)
        name = "with CLEAR_CPU_BUF" if features else "without features"
        got = clears(after, entry_of(after))
        if got != wish:
            should = "run" if features else "not run"
            way = "; ".join(step.text for step in next(ways(after, entry_of(after))))
            return f"{name} VERW should {should}, but it runs “{got}”. One way through: {way}"
        stray = selector_kept(after)
        if stray:
            return f"{name}, {stray}. The engine “{engine.value}” {_WHY_STRAY[engine]}"
    return None


_WHY_STRAY = {
    Engine.EARLY: "copies a replacement as it is unless it is one single CALL or JMP.",
    Engine.LAYERED: "relocates every RIP-relative operand: is the operand RIP-relative?",
    Engine.ONCE: "relocates every RIP-relative operand: is the operand RIP-relative?",
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
    try:
        given = bytes.fromhex(answer)
    except (TypeError, ValueError):
        return "answer should be four bytes as text, lowest first, such as '01 02 03 04'"
    if len(given) != 4:
        return f"a displacement has four bytes; these are {len(given)}"
    if given == right:
        return None
    index = next(i for i in range(4) if given[i] != right[i])
    address = decode(b"\x0f\x00\x2d" + given, entry.site + VERW_AT)[0].rip_target or 0
    reads = f"this VERW would read {address:#x} ({image.label(address)})"
    way = " Are the bytes in the wrong order? The lowest comes first." if given == right[::-1] else ""
    if given == image.read(entry.replacement + VERW_AT + 3, 4):
        way = " These are the replacement's bytes, unchanged; at the site they count from another place."
    return f"byte {index} should not be {given[index]:02x}: {reads}.{way}"


JUDGES = {
    "clears_when_asked": lambda answer: _judge_clear(answer, Engine.ONCE),
    "clears_when_asked_early": lambda answer: _judge_clear(answer, Engine.EARLY),
    "displacement": _judge_bytes,
}
