"""Words for control-flow graphs: readable lines for a block, long stretches folded, and the whole as text."""

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby

from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, ecx_after
from vmenter.code.x86 import MSRS
from vmenter.flow.graph import Alternative, Block, Edge, Flow, Kind, Leave, Mark

LEAST_FOLDED = 4  # lines
MOST_LINES = 12  # of a block; what is longer loses its middle
TITLES = {
    Mark.VERW: "V  clears the CPU buffers",
    Mark.FLUSH: "F  flushes the L1D",
    Mark.FLUSH_LOOP: "F  flushes the L1D, in software",
    Mark.VM_ENTER: "E  VM-Enter",
}
_OFFSET = r"(?:-?(?:0x)?[0-9a-f]+)?"
# What a line must be, and what four or more of them are called: {n} of them, {a} the first register and {z} the
# last, {m} the base register, which must be the same in all.
_FOLDS = (
    (re.compile(r"pushq? (?P<r>%\w+)"), "… {n} pushes, {a} to {z} …"),
    (re.compile(r"popq? (?P<r>%\w+)"), "… {n} pops, {a} to {z} …"),
    (re.compile(rf"movq? {_OFFSET}\((?P<m>%\w+)\), (?P<r>%\w+)"), "… {n} registers loaded from ({m}) …"),
    (re.compile(rf"movq? (?P<r>%\w+), {_OFFSET}\((?P<m>%\w+)\)"), "… {n} registers stored to ({m}) …"),
    (re.compile(r"xor[lq] (?P<r>%\w+), (?P=r)"), "… {n} registers set to 0, {a} to {z} …"),
)
_ABSOLUTE = re.compile(r"\b0xffffffff[0-9a-f]{8}\b")


def clean(text: str) -> str:
    """Return text without what neither DOT nor SVG can carry: a damaged file's names may be anything."""
    return "".join(c if c.isprintable() or c == "\n" else "·" for c in text)


# --- one block ---------------------------------------------------------------------------------------------


def lines(flow: Flow, block: Block, *, fold: bool = True) -> tuple[str, ...]:
    """Return a block's instructions as readable lines, without addresses: targets have names, NOPs are counted."""
    if block.instructions[0].branch_target and nothing(flow, block):
        return (f"{instruction_text(flow, block, block.instructions[0])}  # over NOPs",)
    ecx: int | None = None
    texts = []
    for instruction in block.instructions:
        msr = MSRS.get(ecx or 0) if instruction.mnemonic in ("wrmsr", "rdmsr") else None
        ecx = ecx_after(instruction, ecx)
        text = instruction_text(flow, block, instruction)
        texts.append((instruction, f"{text}  # {msr}" if msr else text))
    found = [*_fold_nops(texts)]
    if not fold:
        return tuple(found)
    found = [*_fold_runs(found)]
    if len(found) > MOST_LINES:
        left = len(found) - MOST_LINES + 1
        head = (MOST_LINES + 1) // 2
        found[head : head + left] = [f"… {left} more instructions …"]
    return tuple(found)


def nothing(flow: Flow, block: Block) -> bool:
    """Tell whether a block does nothing: NOPs, or the jump that the patcher puts over long padding."""
    if all(instruction.is_nop(wide=False) for instruction in block.instructions):
        return True
    if block.choice is None or len(block.instructions) > 1:
        return False
    jump, site = block.instructions[0], flow.alternatives[block.choice.site]
    code = site.variants[block.choice.variant].code[block.end - site.site.address :]
    end = site.site.address + site.site.length
    return jump.branch_target == end and bool(code) and not code.strip(b"\xcc")


def instruction_text(flow: Flow, block: Block, instruction: Instruction) -> str:
    """Return an instruction's text with names for what it points to; ``+0x3d`` is a place in the same function."""
    if instruction.points_to is None:
        return _ABSOLUTE.sub(lambda found: flow.image.label(int(found[0], 16)), instruction.text)
    return instruction.naming(lambda address: place(flow, block.function, address), flow.image.label)


def place(flow: Flow, function: str, address: int) -> str:
    """Return ``+0x3d`` for what the graph holds of this function, else the symbol's name."""
    start = _start(flow, function)
    return f"{address - start:+#x}" if (function, address) in flow.starts else flow.image.label(address)


def _start(flow: Flow, function: str) -> int:
    symbol = flow.image.symbols.get(function)
    return symbol.address if symbol else 0


def offset(flow: Flow, block: Block) -> str:
    """Return where a block begins, as ``+0x3d`` of its function."""
    return f"{block.address - _start(flow, block.function):+#x}"


def _fold_nops(texts: Iterable[tuple[Instruction, str]]) -> Iterator[str]:
    for nop, run in groupby(texts, key=lambda pair: pair[0].is_nop(wide=False)):
        if not nop:
            yield from (text for _, text in run)
            continue
        size = sum(instruction.length for instruction, _ in run)
        yield f"{size} byte{'s' * (size > 1)} of NOPs"


def _fold_runs(texts: list[str]) -> Iterator[str]:
    """Yield the lines with long stretches of one kind as one."""
    at = 0
    while at < len(texts):
        for pattern, words in _FOLDS:
            run = _run(pattern, texts, at)
            if len(run) >= LEAST_FOLDED:
                base = run[0].groupdict().get("m")
                yield words.format(n=len(run), a=run[0]["r"], z=run[-1]["r"], m=base)
                at += len(run)
                break
        else:
            yield texts[at]
            at += 1


def _run(pattern: re.Pattern[str], texts: list[str], at: int) -> list[re.Match[str]]:
    """Return the matches from `at` on that belong together: they name the same base register, if any."""
    run: list[re.Match[str]] = []
    for text in texts[at:]:
        found = pattern.fullmatch(text)
        if found is None or (run and found.groupdict().get("m") != run[0].groupdict().get("m")):
            break
        run.append(found)
    return run


# --- what decides ------------------------------------------------------------------------------------------


def branch_lines(flow: Flow, block: Block, image: Image | None = None) -> tuple[str, str]:
    """Return what a static branch asks, and how it stands in `image`."""
    if block.branch is None:
        raise ValueError(block.key)
    branch = block.branch
    on = branch.enabled(image or flow.image)
    jumps = on != branch.likely
    code = f"jmp {place(flow, block.function, branch.target)}" if jumps else f"{branch.length} bytes of NOPs"
    return f"S  {branch.key}", f"{'on' if on else 'off'}: {code}"


def site_lines(alternative: Alternative, standing: int, *, others: bool) -> tuple[str, ...]:
    """Return what an alternative site is: what stands there, and if asked, what else might."""
    names = [variant.condition for variant in alternative.variants]
    rest = [f"or: {name}" for index, name in enumerate(names) if index != standing] if others else []
    return f"{alternative.key}  patched at boot", f"now: {names[standing]}", *rest


def title(block: Block) -> str | None:
    """Return the heading of a block that the course is about."""
    return None if block.mark is None else TITLES[block.mark]


# --- the whole ---------------------------------------------------------------------------------------------


def flow_text(
    flow: Flow,
    ran: Collection[str] = (),
    passed: Collection[tuple[str, str]] = (),
    *,
    standing: tuple[int, ...] | None = None,
    image: Image | None = None,
) -> str:
    """Return the graph in words: blocks in order, where each leads, and arrows at what ran.

    `ran` are keys of blocks, `passed` are (tail, head) of edges.
    """
    stands = flow.standing(image) if standing is None else standing
    head = f"{flow.name}: {len(flow.blocks)} blocks"
    if len(flow.functions) > 1:
        head += f" in {len(flow.functions)} functions"
    rows = [head + ("; → ran" if ran else "")]
    ways: dict[str, list[Edge]] = {}
    for edge in flow.edges:
        ways.setdefault(edge.tail, []).append(edge)
    function, site = "", -1
    for block in flow.blocks:
        if block.function != function:
            function = block.function
            rows += ["", f"{function}:"]
        if block.choice is None:
            site = -1
        elif block.choice.site != site:
            site = block.choice.site
            some = len({b.choice for b in flow.blocks if b.choice and b.choice.site == site}) == 1
            words = site_lines(flow.alternatives[site], stands[site], others=some)
            rows.append(f"  {'; '.join(words)}")
        rows += _block_rows(flow, block, ways.get(block.key, []), ran, passed, stands, image)
    return clean("\n".join(row.rstrip() for row in rows))


def _block_rows(
    flow: Flow,
    block: Block,
    ways: list[Edge],
    ran: Collection[str],
    passed: Collection[tuple[str, str]],
    stands: tuple[int, ...],
    image: Image | None,
) -> Iterator[str]:
    """Yield the lines of one block: its place and heading, its code, where it leads."""
    where = block.key.removeprefix(block.function)
    heading = title(block) or ""
    code = lines(flow, block)
    if block.branch:
        heading, *code_lines = branch_lines(flow, block, image)
        code = tuple(code_lines)
    if block.choice:
        condition = flow.alternatives[block.choice.site].variants[block.choice.variant].condition
        state = "" if stands[block.choice.site] == block.choice.variant else ", not in place"
        heading = f"{flow.alternatives[block.choice.site].key} {condition}{state}{': ' * bool(heading)}{heading}"
    mark = "→" if block.key in ran else " "
    first, *others = [heading, *code] if heading else code
    yield f"{mark} {where:<10} {first}"
    yield from (f"{'':<13}{line}" for line in others)
    for edge in ways:
        arrow = "→" if (edge.tail, edge.head) in passed else " "
        note = f", {edge.note}" if edge.note else ""
        yield f"{'':<13}{arrow} {edge.kind}{_target(edge, block)}{note}"
    if block.leave not in (None, Leave.RETURN, Leave.VM_ENTER, Leave.TRAP):
        yield f"{'':<13}  leaves: {block.leave} {block.leads_to}"


def _target(edge: Edge, block: Block) -> str:
    to = edge.head.removeprefix(block.function) if edge.head.startswith(f"{block.function}+") else edge.head
    return f" {to}" if edge.kind is Kind.CALL else f" to {to}"
