"""Xen's alternatives and its two ways into a guest: the same ideas as Linux's, in another hypervisor's code.

Xen patches itself by a table between the symbols `__alt_instructions` and `__alt_instructions_end`. A record has
14 bytes, as Linux's has, but not the same: s32 offsets of site and replacement, each from its own field, u16
feature, u8 lengths of the original code, of the replacement and of the padding behind the original, and a byte for
the patcher's own use (`struct alt_instr`, xen/arch/x86/include/asm/alternative.h). Read in order, written in
order, so the last match stays; of what is copied only a lone 5-byte CALL or JMP is relocated
(xen/arch/x86/alternative.c).

`entries` reads such a table for the engine of `patching`; `ways` runs the two ways into a guest. What a booted Xen
makes of its table was not compared: the runs use the code as it stands in the file, no alternative chosen.
`recorded` has what Debian's xen-syms told (tests/tools/record_beyond.py).
"""

import json
import struct
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, decode
from vmenter.emulator.machine import Budget, Machine
from vmenter.emulator.memory import DATA_SELECTOR, LAB_BASE, STACK, STACK_SIZE, STACK_START, VCPU, VCpu
from vmenter.emulator.trace import End, EventKind, Trace
from vmenter.patching.alternative_table import AltEntry, Engine, Rules, Site, checked, sites

RECORD = struct.Struct("<iiHBBBB")
RULES = Rules(Engine.EARLY, RECORD.size, wide_nops=False)
RECORDED = Path(__file__).with_name("xen.json")
STARTS = {"VMX": "vmx_asm_do_vmentry", "SVM": "svm_asm_do_resume"}
# What the ways call in C, by name; here each returns 1, which tells the way to go on.
IN_C = (
    "vmx_intr_assist", "nvmx_switch_guest", "vmx_vmenter_helper",
    "svm_intr_assist", "nsvm_vcpu_switch", "svm_vmenter_helper",
)  # fmt: skip
RETURNS_1 = bytes.fromhex("b801000000c3")  # MOV $1 to EAX, RET
BUDGET = Budget(instructions=2_000, seconds=2.0)  # a way takes about 60
NO_VCPU = VCpu(fields={0: bytes(0x4000)})


# --- the table ---------------------------------------------------------------------------------------------------


def entries(image: Image) -> tuple[AltEntry, ...]:
    """Read Xen's table; the length of a site is that of its original code and its padding together.

    Raises `LabError` for an image without the two symbols, and for a table that lies.
    """
    found = image.alternatives
    if found is None:
        raise LabError(f"{image.name}: no __alt_instructions; give Xen's xen-syms, which has symbols")
    start, table = found
    if len(table) % RECORD.size:
        raise LabError(f"{image.name}: a table of {len(table)} bytes holds no whole number of Xen's records")
    records = (
        AltEntry(
            index=index,
            address=(address := start + index * RECORD.size),
            site=address + site,
            length=original + padding,
            replacement=address + 4 + replacement,
            replacement_length=length,
            feature=feature,
            flags=0,
        )
        for index, (site, replacement, feature, original, length, padding, _) in enumerate(
            RECORD.iter_unpack(table)
        )
    )
    return tuple(checked(image, records))


def all_sites(image: Image) -> tuple[Site, ...]:
    """Return the sites of Xen's table, for `alternatives.patch` with `RULES`."""
    return sites(image, entries(image))


# --- the ways into a guest ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """One run into a guest. `behind`: what ran strictly between VERW and VM-Enter (None: no VERW)."""

    kind: str  # "VMX" or "SVM"
    verw_asked: bool  # the flag for VERW is set
    entered_before: bool  # VMX: the flag for VMRESUME is set
    vm_enter: str
    verw: int
    instructions_after_clear: int | None
    accesses_after_clear: int | None
    carried: tuple[
        tuple[str, int], ...
    ]  # jumps on flags before VM-Enter: name, instructions since they were written
    tail: tuple[str, ...]  # the last instructions, in words

    @property
    def kept(self) -> str:
        """Where the answers are while the guest's registers are loaded."""
        return "in flags" if any(far for _, far in self.carried) else "on the stack"

    @property
    def text(self) -> str:
        """The last instructions, and how far each answer goes, in two lines."""
        goes = ", ".join(f"{flag} over {far} instructions" for flag, far in self.carried)
        return f"{'; '.join(self.tail)}\n{goes}"


def moved(image: Image) -> Image:
    """Return the image where the machine can run it; its code finds its data relative to itself."""
    if not image.sections:
        raise LabError(f"{image.name}: nothing in it to run")
    by = LAB_BASE - image.sections[0].address
    symbols = type(image.symbols).of(
        (address + by, name, size)
        for address, name, size in zip(
            image.symbols.addresses, image.symbols.names, image.symbols.sizes, strict=True
        )
        if address >= image.sections[0].address
    )
    there = tuple(replace(section, address=section.address + by) for section in image.sections)
    placed = replace(image, sections=there, symbols=symbols)
    return placed.with_bytes({one.address: RETURNS_1 for one in map(symbols.get, IN_C) if one})


class Runner:
    """Runs Xen's ways into a guest. What decides is found by trying: single bytes that are read on the way."""

    def __init__(self, image: Image) -> None:
        self.machine = Machine(moved(image), budget=BUDGET)

    def trace(self, kind: str, memory: dict[str | int, int | bytes] | None = None) -> Trace:
        """Run a way, "VMX" or "SVM", to its VM-Enter. Raises `LabError` where it does not get there."""
        start = STARTS.get(kind)
        if start is None or self.machine.image.symbols.get(start) is None:
            raise LabError(f"{self.machine.image.name}: no {start or kind}, where Xen's way into a guest begins")
        block: dict[str | int, int | bytes] = {
            STACK_START + at: VCPU for at in range(0, STACK + STACK_SIZE - STACK_START, 8)
        }
        found = self.machine.run(start, {"rsp": STACK_START}, NO_VCPU, {**block, **(memory or {})})
        if found.end is not End.VM_ENTER:
            raise LabError(f"{start}: no VM-Enter within {BUDGET.instructions:,} instructions")
        return found

    def levers(self, kind: str) -> dict[str, int]:
        """Return the bytes that decide, by what they decide: "verw" and, on VMX, "entered before"."""
        quiet, found = self.trace(kind), {}
        asked = {address for _, address, size, write, _ in quiet.raw_accesses if size == 1 and not write}
        for address in sorted(asked):
            try:
                other = self.trace(kind, {address: b"\x09"})
            except LabError:
                continue
            if other.verw != quiet.verw:
                found["verw"] = address
            elif other.vm_enter != quiet.vm_enter:
                found["entered before"] = address
        return found

    def way(self, kind: str, *, verw: bool, entered_before: bool) -> tuple[Trace, Way]:
        """Run one way with the bytes set as asked."""
        levers = self.levers(kind)
        if "verw" not in levers:
            raise LabError(f"{kind}: nothing that was tried makes this way execute VERW")
        memory: dict[str | int, int | bytes] = {levers["verw"]: b"\x08" if verw else b"\0"}
        if "entered before" in levers:
            memory[levers["entered before"]] = bytes([entered_before])
        trace = self.trace(kind, memory)
        for event in trace.events:
            if event.kind is EventKind.VERW:  # a selector where it looks for one: then it sets ZF, as for Xen
                place = next(address for step, address, *_ in trace.raw_accesses if step == event.step)
                trace = self.trace(kind, {**memory, place: DATA_SELECTOR.to_bytes(2, "little")})
                break
        far = trace.distance
        texts = tuple(_shown(trace, one) for one in trace.instructions[-TAIL:])
        return trace, Way(
            kind, verw, entered_before, trace.vm_enter or "", trace.verw,
            far and far.instructions, far and far.accesses, tuple(_carried(trace)), texts,
        )  # fmt: skip


TAIL = 6  # instructions
READS = {"jp": "PF", "jnp": "PF", "js": "SF", "jns": "SF", "je": "ZF", "jne": "ZF", "jb": "CF", "jae": "CF"}
KEEPS_FLAGS = ("mov", "pop", "push", "lea", "j", "verw", "nop", "sti", "cli", "vm", "clgi", "call", "ret")


def _writer(trace: Trace) -> int:
    """Return the last step that writes flags for a jump (VERW writes ZF, for nobody)."""
    return max(
        (at for at, one in enumerate(trace.instructions) if not one.mnemonic.startswith(KEEPS_FLAGS)), default=0
    )


def _carried(trace: Trace) -> list[tuple[str, int]]:
    """Return the jumps behind the last write of flags: the flag that is read, the instructions between."""
    writer = _writer(trace)
    jumps = ((at, READS.get(one.mnemonic)) for at, one in enumerate(trace.instructions) if at > writer)
    return [(flag, at - writer - 1) for at, flag in jumps if flag]


def _shown(trace: Trace, one: Instruction) -> str:
    """Return an instruction in words; where a jump goes is told by name."""
    return one.naming(lambda address: trace.image.label(address).partition("+")[2])


def ways(image: Image) -> tuple[Way, ...]:
    """Run all ways: VMX with VERW asked for or not, entered before or not; SVM with VERW asked for or not."""
    runner = Runner(image)
    asked = [("VMX", verw, before) for verw in (False, True) for before in (False, True)]
    asked += [("SVM", verw, False) for verw in (False, True)]
    return tuple(runner.way(kind, verw=verw, entered_before=before)[1] for kind, verw, before in asked)


# --- what was recorded -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One record: where it stands, its 14 bytes, and what it names."""

    address: int
    record: str  # hexadecimal
    site: int
    label: str  # of the site
    length: int  # of the site
    replacement_length: int


@dataclass(frozen=True)
class Xen:
    """What was recorded of one xen-syms.

    `samples`: some records as they stand in the table, no two with the same three lengths. `features`: number and
    entries, the most common first. `sites_with_verw`: how many may become VERW. `deciding`: how many sites stand
    on a way between the last instruction that writes flags and its VM-Enter, by kind.
    """

    file: str
    package: str
    entries: int
    sites: int
    features: tuple[tuple[int, int], ...]
    samples: tuple[Sample, ...]
    sites_with_verw: int
    deciding: tuple[tuple[str, int], ...]
    ways: tuple[Way, ...]


def take(image: Image, package: str) -> Xen:
    """Look at an xen-syms: its table, and its ways into a guest."""
    found = entries(image)
    table = image.alternatives
    assert table is not None  # `entries` has asked
    start, raw = table
    size = RECORD.size
    shapes = {
        raw[one.address - start + 10 :][:3]: one for one in reversed(found)
    }  # the first of each three lengths
    few = sorted(shapes.values(), key=lambda one: one.address)[:SAMPLES]
    return Xen(
        file=Path(image.name).name,
        package=package,
        entries=len(found),
        sites=len({entry.site for entry in found}),
        features=tuple(Counter(entry.feature for entry in found).most_common(MOST)),
        samples=tuple(
            Sample(
                one.address,
                raw[one.address - start : one.address - start + size].hex(),
                one.site,
                image.label(one.site),
                one.length,
                one.replacement_length,
            )
            for one in few
        ),
        sites_with_verw=len({one.site for one in found if _has_verw(image, one)}),
        deciding=tuple((kind, deciding(image, kind)) for kind in STARTS),
        ways=ways(image),
    )


SAMPLES, MOST = 12, 6


def deciding(image: Image, kind: str) -> int:
    """Count the sites of alternatives that ran between the last write of flags and VM-Enter."""
    runner = Runner(image)
    trace, _ = runner.way(kind, verw=True, entered_before=True)
    by = LAB_BASE - image.sections[0].address
    ran = set(trace.steps[_writer(trace) :])
    return sum(site.address + by in ran for site in all_sites(image))


def _has_verw(image: Image, entry: AltEntry) -> bool:
    code = image.read(entry.replacement, entry.replacement_length) if entry.replacement_length else b""
    return any(one.is_clear for one in decode(code, entry.replacement, strict=False))


def to_json(one: Xen) -> dict[str, Any]:
    """Return what was taken as plain data."""
    return json.loads(json.dumps(asdict(one)))  # type: ignore[no-any-return]


@cache
def recorded() -> Xen:
    """Return what was recorded of Debian's Xen 4.17."""
    data = json.loads(RECORDED.read_text(encoding="utf-8"))
    way = (
        {**one, "carried": tuple(map(tuple, one["carried"])), "tail": tuple(one["tail"])} for one in data["ways"]
    )
    pairs = {name: tuple(map(tuple, data[name])) for name in ("features", "deciding")}
    samples = tuple(Sample(**one) for one in data["samples"])
    return Xen(**{**data, **pairs, "samples": samples, "ways": tuple(Way(**one) for one in way)})
