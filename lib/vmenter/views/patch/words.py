"""What happens at each step of a patch, in plain words, computed from the bytes.

Every sentence that PatchBench shows about a step is made here.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, decode
from vmenter.patching.alternative_table import AltEntry, Engine
from vmenter.patching.alternatives import NOPS, Patch, Step
from vmenter.views.patch.bench import Bench

ENGINES = {
    Engine.EARLY: ("to v6.4", "of replacements, only a lone 5-byte CALL or JMP is relocated"),
    Engine.LAYERED: ("v6.5 to v6.19", "every displacement that leads out of a replacement is relocated"),
    Engine.ONCE: ("from v7.0", "relocates as v6.5 to v6.19 do; notebook 03 asks how they differ"),
}
NEAR = 16  # bytes behind the site that are still counted from its start


@dataclass(frozen=True)
class Reference:
    """An instruction of a replacement that counts a distance to a place outside it, before and after the move."""

    instruction: Instruction  # as it stands in the replacement
    target: int  # what it must reach
    old: int  # its displacement in the replacement
    new: int  # the displacement that is right at the site, for an instruction of the same length
    offset: int  # where the instruction starts in the replacement

    def reached(self, site: int, code: bytes) -> int | None:
        """Return what it reaches when `code` stands at `site`; None where another instruction stands there."""
        for found in decode(code[self.offset :][:15], site + self.offset, strict=False)[:1]:
            return found.branch_target if found.rip_target is None else found.rip_target
        return None


def signed(value: int) -> str:
    """Return a displacement as people write it: 0x47, -0x21."""
    return f"{value:#x}"


def count(number: int, thing: str) -> str:
    """Return "1 byte", "2 bytes"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def written(entries: int) -> str:
    """Return how many entries were written: what is merged afterwards is not counted."""
    return f"{entries or 'no'} entr{'y' if entries < 2 else 'ies'} written"


def place(bench: Bench, address: int) -> str:
    """Name an address for a reader: a byte of the site, a replacement, a symbol, or the bare number."""
    site, image = bench.site, bench.image
    offset, named = address - site.address, name(image, address)
    near = image.section_at(address) is image.section_at(site.address) and "+" in named
    if 0 <= offset <= site.length or (near and 0 <= offset <= site.length + NEAR):
        return f"+{offset}"
    for number, entry in enumerate(site.entries, 1):
        if entry.replacement <= address < entry.replacement + entry.replacement_length:
            return f"replacement {number}, +{address - entry.replacement}"
    return named


def name(image: Image, address: int) -> str:
    """Return a symbol that really covers the address, or the number and that nothing is there."""
    section = image.section_at(address)
    found = image.symbols.at(address) if section else None
    if found and section and address - found[1] >= section.address:
        return image.label(address)
    label = image.label(address)
    if section is None and not label.startswith("0x"):
        return label  # an undefined symbol's place
    return f"{address:#x}" if section else f"{address:#x}, outside this code"


def references(image: Image, entry: AltEntry, site: int) -> Iterator[Reference]:
    """Yield what in a replacement points out of it."""
    if not entry.replacement_length:
        return
    code = image.read(entry.replacement, entry.replacement_length)
    end = entry.replacement + entry.replacement_length
    for one in decode(code, entry.replacement, strict=False):
        target = one.branch_target if one.rip_target is None else one.rip_target
        if target is None or entry.replacement <= target <= end:
            continue
        offset = one.address - entry.replacement
        yield Reference(one, target, target - one.end, target - (site + offset + one.length), offset)


def verdict(bench: Bench, patch: Patch, features: Collection[int]) -> str:
    """Say in one line which entry decided and what now stands at the site."""
    if patch.undecided:
        return f"Undecided: {patch.undecided}."
    total = len(patch.site.entries)
    if patch.chosen is None:
        return "No entry matches: the original code stays" + ("; its NOPs are merged." if patch.steps[1:] else ".")
    entry = patch.site.entries[patch.chosen]
    number = patch.chosen + 1
    matching = sum(entry.matches(features) for entry in patch.site.entries)
    why = "the only match" if matching == 1 else "the last match"
    size = count(entry.replacement_length, "byte")
    body = f"its {size} stand at the site" if entry.replacement_length else "the site is emptied"
    wrong = broken(bench, patch)
    return f"Entry {number} of {total} is {why}: {body}." + (f" {wrong}" if wrong else "")


def broken(bench: Bench, patch: Patch) -> str:
    """Say which instruction lost its target on the way, or return ""."""
    if patch.chosen is None or patch.code is None:
        return ""
    entry = patch.site.entries[patch.chosen]
    if entry.direct_call:
        return ""
    for one in references(bench.image, entry, patch.site.address):
        got = one.reached(patch.site.address, patch.code)
        if got != one.target and got is not None:
            return (
                f"It is broken: {one.instruction.mnemonic} should reach {place(bench, one.target)}, "
                f"but reaches {place(bench, got)}."
            )
    return ""


def explain(bench: Bench, patch: Patch, index: int, features: Collection[int], engine: Engine) -> str:
    """Explain one step in a few plain sentences."""
    step = patch.steps[index]
    before = patch.steps[index - 1] if index else step
    said = {
        "choose": lambda: _choose(bench, patch, features, engine),
        "copy": lambda: _copy(bench, step, features, engine),
        "direct call": lambda: _direct(bench, step),
        "relocate": lambda: _relocate(bench, step),
        "pad": lambda: _pad(step),
        "merge": lambda: _merge(before, step),
    }[step.name]()
    if index == len(patch.steps) - 1 and index:
        wrong = broken(bench, patch)
        said += f" {wrong}" if wrong else ""
    return said


def _choose(bench: Bench, patch: Patch, features: Collection[int], engine: Engine) -> str:
    matching = [number for number, entry in enumerate(patch.site.entries, 1) if entry.matches(features)]
    start = f"The site holds its {count(patch.site.length, 'original byte')}. "
    if not matching:
        return start + "No entry matches these features, so the original code stays."
    last = bench.feature(patch.site.entries[matching[-1] - 1].feature)
    if len(matching) == 1:
        return f"{start}Only entry {matching[0]} ({last}) matches, so it decides."
    numbers = " and ".join([", ".join(map(str, matching[:-1])), str(matching[-1])])
    how = (
        "Only the last match is written."
        if engine is Engine.ONCE
        else "They are written one after another, so the last one stays."
    )
    return f"{start}Entries {numbers} match. {how} Entry {matching[-1]} ({last}) decides."


def _copy(bench: Bench, step: Step, features: Collection[int], engine: Engine) -> str:
    index = step.entry or 0
    entry = bench.site.entries[index]
    later = [n for n, e in enumerate(bench.site.entries[index + 1 :], index + 2) if e.matches(features)]
    over = later and engine is not Engine.ONCE
    more = f" It will be written over: entry {later[-1]} matches too." if over else ""
    if not entry.replacement_length:
        return f"Replacement {index + 1} is empty, so nothing is copied.{more}"
    text = f"The {count(entry.replacement_length, 'byte')} of replacement {index + 1} are copied to the site."
    outside = [] if entry.direct_call else list(references(bench.image, entry, bench.site.address))
    if outside:
        one = outside[0]
        reached = one.reached(bench.site.address, step.code)
        text += f" {one.instruction.mnemonic} still counts from its old place"
        text += f": here it would reach {place(bench, reached)}." if reached is not None else "."
    return text + more


def _direct(bench: Bench, step: Step) -> str:
    code = step.code[: len([o for o in step.origins if o.letter in "CD"])]
    if not any(o.letter == "D" for o in step.origins):
        return "The pointer of the original call leads to a function that does nothing. No call is needed."
    entry = bench.site.entries[step.entry or 0]
    target = entry.replacement + 5 + int.from_bytes(code[1:5], "little", signed=True)
    goes = place(bench, target)
    return f"The target is read through the pointer of the original call: {goes}. The call can be direct."


def _relocate(bench: Bench, step: Step) -> str:
    entry = bench.site.entries[step.entry or 0]
    site = bench.site.address
    sentences = []
    for one in () if entry.direct_call else references(bench.image, entry, site):
        target = place(bench, one.target)
        what = one.instruction.mnemonic
        now = decode(step.code[one.offset :][:15], site + one.offset, strict=False)[0]
        if now.length != one.instruction.length:
            sentences.append(
                f"{what} goes to {target}: {signed(one.old)} away from the end of the instruction in the "
                f"replacement, {signed(one.target - now.end)} here. "
                f"So near, {count(now.length, 'byte')} will do; the rest can never run.",
            )
        elif one.reached(site, step.code) == one.target:
            sentences.append(
                f"{what} counts its target from the end of the instruction. To {target} that is {signed(one.old)} "
                f"from the replacement and {signed(one.new)} from the site. Same target, new distance.",
            )
    if entry.direct_call:
        sentences.append("The call counts its target from its own end; from the site the distance is another.")
    return " ".join(sentences[:2])


def _pad(step: Step) -> str:
    length = sum(origin.letter == "P" for origin in step.origins)
    return f"{count(length, 'byte')} are left at the end. They become one-byte NOPs (90)."


def _merge(before: Step, step: Step) -> str:
    parts = []
    at = 0
    for one in decode(step.code, 0, strict=False):
        if one.address < at or step.code[one.address : one.end] == before.code[one.address : one.end]:
            continue
        if step.origins[one.address].letter != "N":
            continue
        if one.mnemonic.startswith("jmp"):
            at = one.branch_target or one.end
            kind = "one jump over them" if at > one.end else "one jump"
            parts.append(f"{at - one.address} bytes of NOPs at +{one.address} become {kind}")
        else:
            at = one.end
            whole = before.code[one.address : one.end] == NOPS[1] * one.length
            kind = f"{one.length} NOPs of one byte" if whole else f"{one.length} bytes of NOPs"
            parts.append(f"{kind} at +{one.address} become one NOP")
    return "; ".join(parts) + ". Fewer instructions, same length."
