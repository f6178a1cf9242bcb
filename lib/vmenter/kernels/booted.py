"""VM-Enters of booted kernels, as an emulator of the whole machine recorded them.

A recording is gzip'd JSON of one boot: the kernel's command line, lines that the machine printed (`info`: the
vulnerabilities files, KVM's mode of flushing, each guest that was run) and, for each VM-Enter, every instruction
from `vmx_vcpu_enter_exit` (AMD: `svm_vcpu_enter_exit`) to VMLAUNCH, VMRESUME or VMRUN. Two forms are read; each
file says its own in `fields`:

- Bochs, VMX: `enters`, with `trace` rows of instruction, memory access, WRMSR, exception and interrupt;
- QEMU, SVM: `runs`, rows of [address, bytes, registers]. Accesses to memory are not in it.

An emulator has no caches and no buffers: that a VERW or a flush was executed is seen, not what it did.
`booted_match` holds a recording against the lab.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from vmenter import LabError
from vmenter.code.instructions import Instruction, decode
from vmenter.code.x86 import FB_CLEAR_DIS, IA32_FLUSH_CMD, IA32_MCU_OPT_CTRL, MASK, VM_ENTERS
from vmenter.emulator.trace import CLEARS, Distance, Event, EventKind, RawAccess, flush_loops, l1d_flushed, verws

STUBS = ("__vmx_vcpu_run", "vmx_vmenter", "__svm_vcpu_run", "__svm_sev_es_vcpu_run")
READS, WRITES = "RU", "WU"  # kinds of row; U reads, changes and writes
MOST = 64 << 20  # bytes of JSON

Stretch = tuple[str, int, int]
"""What ran in a function up to a call or return: its name, instructions, accesses (0 where not recorded)."""


@dataclass(frozen=True)
class Recorded:
    """One VM-Enter of a booted kernel.

    `run` tells guests apart, `number` counts a guest's VM-Enters from 0. `option` is what kvm-intel was given and
    `guest` how the guest was described, both as the recorder wrote them. `accesses` is None where none were
    recorded.
    """

    run: int
    number: int
    option: str
    guest: str
    l1d: str | None  # KVM's mode of flushing, as its parameter file said
    said: tuple[str, ...] = field(repr=False)  # the lines about this guest
    instructions: tuple[Instruction, ...] = field(repr=False)
    accesses: tuple[RawAccess, ...] | None = field(repr=False)
    msrs: tuple[tuple[int, int, int], ...] = field(repr=False)  # of each WRMSR: step, number, value
    symbols: Mapping[int, str] = field(repr=False)

    @property
    def vm_enter(self) -> str:
        """VMLAUNCH, VMRESUME or VMRUN."""
        return self.instructions[-1].mnemonic.upper()

    @cached_property
    def functions(self) -> tuple[tuple[str, int], ...]:
        """For each step the function it ran in, and where that begins. One that nobody named has its address."""
        stack, found = [self._function(self.instructions[0].address)], []
        for at, instruction in enumerate(self.instructions):
            if instruction.address in self.symbols:  # also a jump from one function to another
                stack[-1] = self._function(instruction.address)
            found.append(stack[-1])
            following = self.instructions[at + 1].address if at + 1 < len(self.instructions) else None
            if instruction.mnemonic.startswith("call") and following not in (None, instruction.end):
                stack.append(self._function(following or 0))
            elif instruction.mnemonic.startswith("ret") and len(stack) > 1:
                stack.pop()
        return tuple(found)

    def _function(self, address: int) -> tuple[str, int]:
        return self.symbols.get(address) or f"{address:#x}", address

    def where(self, step: int) -> str:
        """Return ``symbol+0x1f`` for a step."""
        name, start = self.functions[step]
        return f"{name}+{self.instructions[step].address - start:#x}"

    @cached_property
    def path(self) -> tuple[Stretch, ...]:
        """The way by function, in order."""
        counts = Counter(access[0] for access in self.accesses or ())
        steps = range(len(self.instructions))
        runs = [(name, list(group)) for (name, _), group in groupby(steps, key=lambda step: self.functions[step])]
        return tuple((name, len(run), sum(counts[step] for step in run)) for name, run in runs)

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """VERW, flushes of the L1D, FB_CLEAR_DIS, other WRMSRs and the VM-Enter, in order."""
        found, disabled = [], False
        writes = {step: (number, value) for step, number, value in self.msrs}
        for step, instruction in enumerate(self.instructions):
            if instruction.is_clear:
                found.append(Event(EventKind.VERW, step, instruction.address, neutralised=disabled))
            elif step in writes:
                number, value = writes[step]
                kind = EventKind.WRMSR
                if number == IA32_FLUSH_CMD and value & 1:
                    kind = EventKind.L1D_FLUSH
                elif number == IA32_MCU_OPT_CTRL:
                    disabled = bool(value & FB_CLEAR_DIS)
                    kind = EventKind.FB_CLEAR_DIS_SET if disabled else EventKind.FB_CLEAR_DIS_CLEAR
                found.append(Event(kind, step, instruction.address, number))
        loops = flush_loops(self.accesses or ())
        found += [Event(EventKind.L1D_FLUSH_LOOP, step, self.instructions[step].address) for step in loops]
        last = len(self.instructions) - 1
        found.append(Event(EventKind.VM_ENTER, last, self.instructions[last].address))
        return tuple(sorted(found, key=lambda event: event.step))

    @cached_property
    def clears(self) -> tuple[Event, ...]:
        """Each VERW and flush, in order."""
        return tuple(event for event in self.events if event.kind in CLEARS)

    @property
    def verw(self) -> int:
        """How many VERWs ran."""
        return verws(self.events)

    @property
    def l1d_flushed(self) -> bool:
        """Whether the L1D was flushed, by MSR or by loop."""
        return l1d_flushed(self.events)

    @property
    def cleared_in_stub(self) -> bool:
        """Whether the last clear stands in the entry stub, and not in C before it."""
        return bool(self.clears) and self.functions[self.clears[-1].step][0] in STUBS

    @property
    def distance(self) -> Distance | None:
        """What ran between the last clear and the VM-Enter, counted as in a `Trace`; None without a clear."""
        if not self.clears:
            return None
        clear, enter = self.clears[-1].step, len(self.instructions) - 1
        between = sum(clear < access[0] < enter for access in self.accesses or ())
        return Distance(enter - clear - 1, between)

    def ran(self, mnemonic: str, operands: str = "", function: str | None = None) -> bool:
        """Tell whether an instruction ran: its mnemonic's beginning, its operands' end, and in which function."""
        return any(
            one.mnemonic.startswith(mnemonic)
            and one.operands.endswith(operands)
            and function in (None, self.functions[step][0])
            for step, one in enumerate(self.instructions)
        )


@dataclass(frozen=True)
class Recording:
    """One boot: what was booted on what, what it said, its VM-Enters. `kernel` is None where none is named."""

    kernel: str | None
    cpu: str
    cmdline: str
    lines: tuple[tuple[str, str], ...]  # vulnerabilities file, its text
    enters: tuple[Recorded, ...] = field(repr=False)

    def line(self, file: str) -> str | None:
        """Return what one vulnerabilities file said; None if the kernel had no such file."""
        return dict(self.lines).get(file)


def read(source: str | Path | Mapping[str, Any]) -> Recording:
    """Read a recording from a file, gzip'd or not, or from decoded JSON. Raises `LabError` for what is none."""
    name = "recording" if isinstance(source, Mapping) else Path(source).name
    data = source if isinstance(source, Mapping) else _load(Path(source))
    try:
        return _recording(data)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise LabError(f"{name}: not a recorded VM-Enter of a known form ({what})") from None


def _load(path: Path) -> Any:
    try:
        raw = path.read_bytes()
        if raw.startswith(b"\x1f\x8b"):
            unpacked = zlib.decompressobj(zlib.MAX_WBITS | 16)
            raw = unpacked.decompress(raw, MOST)
            if unpacked.unconsumed_tail:
                raise LabError(f"{path.name}: more than {MOST >> 20} MiB of JSON")
        return json.loads(raw)
    except (OSError, ValueError, RecursionError, gzip.BadGzipFile, zlib.error) as error:
        raise LabError(f"{path.name}: cannot be read as JSON ({error})") from None


def _recording(data: Mapping[str, Any]) -> Recording:
    info = [str(line) for line in data["info"]]
    vulnerabilities = [line.split(" ", 3) for line in info if line.startswith("A8 vuln ")]
    seen: Counter[int] = Counter()
    enters = []
    for one in data["enters"] if "enters" in data else [{"steps": run} for run in data["runs"]]:
        run = int(one.get("mark", 1))
        enters.append(_recorded(one, data, info, run, seen[run]))
        seen[run] += 1
    if not enters:
        raise ValueError("it has no VM-Enter")
    return Recording(
        kernel=data.get("kernel"),
        cpu=str(data["cpu"]),
        cmdline=str(data["cmdline"]),
        lines=tuple((row[2], row[3] if len(row) > 3 else "") for row in vulnerabilities),
        enters=tuple(enters),
    )


def _recorded(one: Mapping[str, Any], data: Mapping[str, Any], info: list[str], run: int, number: int) -> Recorded:
    symbols = {int(address, 16): name for name, address in one.get("symbols", data.get("symbols", {})).items()}
    id_, option, guest = one.get("run") or _described(str(data["cmdline"]), run)
    before, said = _about(info, id_)
    modes = [line.removeprefix("A8 l1d ") for line in before if line.startswith("A8 l1d ")]
    instructions, accesses, msrs = _rows(one["trace"]) if "trace" in one else _svm_rows(one["steps"])
    if not instructions or instructions[-1].mnemonic not in VM_ENTERS:
        raise ValueError("a way that does not end with a VM-Enter")
    if "+" in one.get("at", ""):  # the function of the VM-Enter, which the list of symbols may leave out
        name, _, offset = one["at"].partition("+")
        symbols[instructions[-1].address - int(offset, 16)] = name
    return Recorded(
        run=run,
        number=number,
        option="" if option == "none" else option,
        guest=guest,
        l1d=modes[-1] if modes else None,
        said=tuple(said),
        instructions=instructions,
        accesses=accesses,
        msrs=msrs,
        symbols=symbols,
    )


def _described(cmdline: str, mark: int) -> tuple[str, str, str]:
    """Return a run's number, option and guest where it was not written down with it.

    The recorder numbers runs 16 × (which option) + (which guest, from 1) and reads its own decimals as hexadecimal
    digits; options and guests stand on the command line.
    """
    words = dict(word.partition("=")[::2] for word in cmdline.split())
    guests = (words.get("a8.guests") or words.get("a8.guest") or "").split("/")
    options = (words.get("a8.opts") or words.get("a8.opt") or "none").split("/")
    id_ = int(f"{mark:x}") if f"{mark:x}".isdigit() else mark
    option, guest = divmod(max(id_ - 1, 0), 16)
    told = option < len(options) and guest < len(guests)
    return (str(id_), options[option], guests[guest].replace(",", " ")) if told else (str(id_), "none", "")


def _about(info: list[str], id_: str) -> tuple[list[str], list[str]]:
    """Return the lines before a guest was run, and those about it."""
    starts = [at for at, line in enumerate(info) if line.split()[:3] == ["A8RUN", "id", id_]]
    if not starts:
        said = [] if any(line.startswith("A8RUN") for line in info) else info
        return info, [line for line in said if line.startswith("guest:")]
    rest = info[starts[0] + 1 :]
    end = next((at for at, line in enumerate(rest) if line.startswith("A8")), len(rest))
    return info[: starts[0]], rest[:end]


def _rows(rows: list[list[str]]) -> tuple[tuple[Instruction, ...], tuple[RawAccess, ...], tuple[Any, ...]]:
    """Read Bochs' rows: [kind, address or MSR or vector, bytes / length | page << 16 / value], all hexadecimal."""
    instructions: list[Instruction] = []
    accesses: list[RawAccess] = []
    msrs = []
    for kind, where, *rest in rows:
        step = len(instructions) - 1
        if kind == "I":
            instructions.append(_instruction(int(where, 16), bytes.fromhex(rest[0])))
        elif kind == "M":
            msrs.append((step, int(where, 16), int(rest[0], 16)))
        elif kind in READS + WRITES:
            place, size = int(where, 16), int(rest[0], 16) & 0xFFFF
            accesses += [(step, place, size, False, 0)] * (kind in READS)
            accesses += [(step, place, size, True, 0)] * (kind in WRITES)
    return tuple(instructions), tuple(accesses), tuple(msrs)


RAX, RCX = 2, 4  # where a row of QEMU's has them: address, bytes, then RAX, RBX, RCX, …


def _svm_rows(rows: list[list[Any]]) -> tuple[tuple[Instruction, ...], None, tuple[Any, ...]]:
    """Read QEMU's rows: [address, 15 bytes there, RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP, R8 to R15]."""
    flat = [[row[0], row[1], *row[2]] if len(row) == 3 else row for row in rows]
    instructions = tuple(_instruction(int(row[0]), bytes.fromhex(row[1])) for row in flat)
    msrs = tuple(
        (step, int(row[RCX]) & MASK[4], int(row[RAX]) & MASK[4])
        for step, (row, one) in enumerate(zip(flat, instructions, strict=True))
        if one.mnemonic == "wrmsr"
    )
    return instructions, None, msrs


def _instruction(address: int, code: bytes) -> Instruction:
    return decode(code, address, strict=False)[0]
