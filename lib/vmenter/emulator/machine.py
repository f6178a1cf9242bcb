"""Run kernel code up to VM-Enter, on an emulated CPU, and say what happened: a `Trace`.

A `Machine` holds one image, lab or real, already patched; it is made once and run many times, each run from the
same beginning. Which CPU executes it does not matter here (`cpu`, `choice`). What a CPU does not know or gets
wrong is put right here:

- VMLAUNCH, VMRESUME and VMRUN end a run before they execute. VMREAD, VMWRITE, VMLOAD, VMSAVE, CLGI and STGI are
  stepped over; VMREAD and VMWRITE then leave the flags of success. Any other instruction that the emulator
  rejects is an error.
- VERW gets a real GDT to look at, so that it sets ZF as hardware does.
- Sizes come from our own decoder, never from the CPU.
- What a CPU made of code is thrown away whenever an image is loaded.
- Page 0 is not mapped, and images stand in the lower half; see `memory`.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, decode
from vmenter.code.x86 import (
    ARITHMETIC_FLAGS,
    CALLEE_SAVED,
    FB_CLEAR_DIS,
    IA32_FLUSH_CMD,
    IA32_MCU_OPT_CTRL,
    MASK,
    NUMBERED,
    VM_ENTERS,
)
from vmenter.emulator.choice import new_cpu
from vmenter.emulator.cpu import Cpu, Fault, Trouble
from vmenter.emulator.memory import (
    GDT,
    GS_BASE,
    PAGE,
    RETURN,
    STACK_START,
    TABLES,
    VCPU,
    Layout,
    Owner,
    Stub,
    VCpu,
    as_bytes,
    spread,
)
from vmenter.emulator.trace import End, Event, EventKind, RawAccess, Trace

STEPPED_OVER = frozenset({"vmread", "vmreadq", "vmwrite", "vmwriteq", "vmload", "vmsave", "clgi", "stgi"})
OF_INTEREST = frozenset({"lfence", "rdmsr", "wrmsr", "wrmsrns"})

REGISTERS = (*NUMBERED, "rip", "rflags")
# What a caller keeps across a call, here a host's data: easy to tell from anything else when it turns up again.
HOST_REGISTERS = {name: 0x5EC2_E700_0000_0000 + number for number, name in enumerate(CALLEE_SAVED, 1)}

EMPTY_VCPU = VCpu()
PLAIN = ""
TICKS = 1024  # instructions between two looks at the clock
ACCESSES_PER_INSTRUCTION = 4  # on average, over a run; beyond it the run ends as over budget


@dataclass(frozen=True, slots=True)
class Budget:
    """What one run may use."""

    instructions: int = 100_000  # each round of a repeated string instruction counts
    seconds: float = 5.0  # of the CPU; on a busy machine a run may wait, and is the same run


class Machine:
    """An emulated CPU with one image in memory; towards its CPU, it is the `Watcher`.

    `stubs` says what undefined symbols are: ``"ret"`` (the default), a value that the function returns, or the
    bytes of a variable. `cpu` names the CPU, for whoever does not want the platform's. Not for use by several
    threads at once.
    """

    def __init__(
        self,
        image: Image,
        *,
        stubs: Mapping[str, Stub] | None = None,
        budget: Budget | None = None,
        cpu: str = "",
    ) -> None:
        self.budget = budget or Budget()
        self.stubs = dict(stubs or {})
        self.steps: list[int] = []  # these four are what a CPU wants of its watcher
        self.accesses: list[RawAccess] = []
        self.plain: set[int] = set()
        self.pause_at = 0
        self._name = cpu
        self._events: list[Event] = []
        self._boot(Layout(image, self.stubs))

    @property
    def image(self) -> Image:
        """The image that is loaded."""
        return self.layout.image

    # --- memory ---

    def _boot(self, layout: Layout) -> None:
        """Make the CPU and its memory, and watch it."""
        self._cpu: Cpu = new_cpu(self._name)
        for address, size in layout.ranges():
            self._cpu.map(address, size)
        self._cpu.set_gdt(TABLES, len(GDT))
        self._cpu.set("gs_base", GS_BASE)
        for name, value in {"rsp": STACK_START, **HOST_REGISTERS}.items():
            self._cpu.set(name, value)
        self._start = self._cpu.save()
        self._cpu.watch(self)
        self._first: dict[int, bytes] = {}  # page number -> what it holds when a run begins; zeros if not here
        self._dirty: set[int] = set()  # pages that may hold something else by now
        self._vcpu = EMPTY_VCPU
        self._fill(layout)

    def _fill(self, layout: Layout) -> None:
        """Put an image and all around it into memory that is already mapped."""
        self.layout = layout
        pages = {page: bytearray(PAGE) for page in self._first}
        for address, data in (*layout.contents(), (VCPU, EMPTY_VCPU.data)):
            spread(pages, address, data)
        first = {page: bytes(data) for page, data in pages.items()}
        for page, data in first.items():
            if self._first.get(page) != data:
                self._cpu.write(page * PAGE, data)
        self._first, self._vcpu = first, EMPTY_VCPU
        self._forget_code()

    def _forget_code(self) -> None:
        """Throw away what was decoded and translated. Traces keep theirs: it is replaced, not cleared."""
        self._wrote_code: tuple[int, int] | None = None  # step and address of a run's first write to code
        self._code: dict[int, Instruction] = {}
        self._kinds: dict[int, str] = {}
        self.plain.clear()
        self._cpu.forget_code()

    def load(self, image: Image) -> None:
        """Take another image: quick where only bytes differ, as after patching for other features."""
        layout = Layout(image, self.stubs)
        if list(layout.ranges()) == list(self.layout.ranges()):
            self._reset(self._vcpu)
            self._fill(layout)
        else:
            self._boot(layout)

    def _reset(self, vcpu: VCpu) -> None:
        """Bring memory and registers back to the beginning, with this vCPU."""
        if vcpu is not self._vcpu and vcpu != self._vcpu:
            data = vcpu.data
            self._first = dict(self._first)  # traces of earlier runs keep theirs
            for offset in range(0, len(data), PAGE):
                page = (VCPU + offset) // PAGE
                if self._first.get(page) != data[offset : offset + PAGE]:
                    self._first[page] = data[offset : offset + PAGE]
                    self._dirty.add(page)
        self._vcpu = vcpu
        for page in self._dirty:
            with suppress(Fault):  # a write that failed went where nothing is mapped
                self._cpu.write(page * PAGE, self._first.get(page, bytes(PAGE)))
        if self._wrote_code is not None:
            self._forget_code()
        self._dirty.clear()
        self._cpu.restore(self._start)
        self._stop: End | str | None = None  # why the CPU was stopped; a mnemonic: to be stepped over
        self.fault: Fault | None = None  # what the last run could not go on with

    def _poke(self, where: str | int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Write a variable before a run, and tell what was written where."""
        for address in self.layout.places(where):
            if self.layout.owner(address) is Owner.CODE:
                raise LabError(f"{self.image.label(address)} is code; patch the image and load it instead")
            try:
                self._cpu.write(address, data)
            except Fault:
                raise LabError(f"{len(data)} bytes at {address:#x} lie outside the machine's memory") from None
            self._dirty.update(range(address // PAGE, (address + len(data) - 1) // PAGE + 1))
            yield address, data

    # --- running ---

    def run(
        self,
        start: str | int,
        registers: Mapping[str, int] | None = None,
        vcpu: VCpu | None = None,
        memory: Mapping[str | int, int | bytes] | None = None,
        msrs: Mapping[int, int] | None = None,
    ) -> Trace:
        """Run from a symbol or an address until VM-Enter, return, or the end of the budget.

        `registers` are the arguments, by the caller's own convention (``{"rdi": VCPU, "rsi": 1}``); others hold
        0, or `HOST_REGISTERS`. `memory` sets variables, by symbol (its per-CPU copy too) or address, an int
        standing for 8 bytes. `msrs` are what RDMSR finds; what the code itself writes, it finds again.
        Raises `LabError` where a real CPU would fault, naming the place.
        """
        address = self.layout.address(start) if isinstance(start, str) else start
        for name in registers or {}:
            if name not in REGISTERS or name == "rip":
                raise LabError(f"no register named {name!r}; there are {', '.join(REGISTERS[:-2])}, rflags")
        vcpu = vcpu or EMPTY_VCPU
        self._reset(vcpu)
        pokes = [poke for where, value in (memory or {}).items() for poke in self._poke(where, as_bytes(value))]
        for name, value in (registers or {}).items():
            self._cpu.set(name, value & (1 << 64) - 1)
        self._msrs = dict(msrs or {})
        self.steps.clear()
        self.accesses.clear()
        self._events.clear()
        self._rounds = 0
        self.pause_at = min(TICKS, self.budget.instructions)
        self._deadline = time.process_time() + self.budget.seconds
        try:
            end = self._execute(address)
        finally:
            self._note_writes()
        if self._wrote_code is not None:
            place, target = self._place(self._wrote_code[0]), self._wrote_code[1]
            raise LabError(f"{place}: writes to {target:#x}, which is code; a kernel's code is read-only")
        return Trace(
            layout=self.layout,
            end=end,
            steps=tuple(self.steps),
            raw_accesses=tuple(self.accesses),
            raw_events=tuple(self._events),
            code=self._code,
            first=self._first,
            pokes=tuple(pokes),
            flag_offsets=frozenset(vcpu.flags),
        )

    def registers(self) -> dict[str, int]:
        """Return all registers as the last run left them."""
        return {name: self._cpu.get(name) for name in REGISTERS}

    def _execute(self, address: int) -> End:
        """Run until something ends it, stepping over what the CPU must not or cannot execute."""
        while True:
            try:
                self._cpu.run(address, RETURN)
            except Fault as fault:
                self.fault = fault
                raise self._failure(fault) from None
            stop, self._stop = self._stop, None
            if isinstance(stop, End):
                return stop
            if stop is not None:
                last = self._code[self.steps[-1]]
                self._step_over(last)
                address = last.end
            elif self._cpu.get("rip") == RETURN:
                return End.RETURN
            else:  # HLT is the one instruction that ends a run without a word
                raise LabError(f"{self._place()}: the CPU halts, and nothing here would wake it")

    def _step_over(self, instruction: Instruction) -> None:
        """Do by hand what matters of an instruction that the CPU does not execute."""
        if instruction.mnemonic.startswith(("vmread", "vmwrite")):
            self._cpu.set("rflags", self._cpu.get("rflags") & ~ARITHMETIC_FLAGS)
        elif instruction.mnemonic == "rdmsr":
            value = self._msrs[self._low("rcx")]
            self._cpu.set("rax", value & MASK[4])
            self._cpu.set("rdx", value >> 32)

    def _low(self, register: str) -> int:
        """Return a register's low half."""
        return self._cpu.get(register) & MASK[4]

    # --- what the CPU calls ---

    def arrived(self, address: int) -> None:
        """Do what an instruction that is not known to be plain asks for, before it runs."""
        kind = self._kinds.get(address)
        if kind is None:
            kind = self._see(address)
        if kind == PLAIN:
            self.plain.add(address)
        else:
            self._special(kind, address)

    def paused(self) -> None:
        """End the run if it has used up what it may; else say when to look again."""
        done = len(self.steps) + self._rounds
        limit = self.budget.instructions
        many = len(self.accesses) > ACCESSES_PER_INSTRUCTION * limit
        if self._stop is None and (done >= limit or many or time.process_time() > self._deadline):
            self._halt(End.BUDGET)
        self.pause_at = min(done + TICKS, limit) - self._rounds

    def _see(self, address: int) -> str:
        """Decode an instruction that runs for the first time, and remember what is special about it."""
        instruction = self._decode(address)
        self._code[address] = instruction
        mnemonic = instruction.mnemonic
        kind = PLAIN
        if instruction.is_clear or mnemonic in VM_ENTERS | STEPPED_OVER | OF_INTEREST:
            kind = mnemonic
        elif mnemonic.startswith(("call", "lcall")):
            kind = "call"
        elif _repeats(instruction):
            kind = "rep"
        self._kinds[address] = kind
        return kind

    def _decode(self, address: int) -> Instruction:
        """Return the instruction in memory at an address; 15 bytes are enough for any."""
        for size in (15, min(15, -address % PAGE or PAGE)):  # the latter on the last page of what is mapped
            with suppress(Fault):
                return _first_instruction(self._cpu.read(address, size), address)
        self.steps.pop()  # a CPU may take an address of more than 52 bits for another, but none has code there
        raise Fault(Trouble.FETCH, address, 1)

    def _special(self, kind: str, address: int) -> None:
        """Note what it means that this instruction is about to run, and stop the CPU where it must not."""
        step = len(self.steps) - 1
        if kind == "rep":  # the CPU tells of each round, and of one more
            if step and self.steps[-2] == address:
                self.steps.pop()
                self._rounds += 1
                self.pause_at -= 1
        elif kind == "call":
            self._events.append(Event(EventKind.CALL, step, address))
        elif kind == "verw":
            disabled = bool(self._msrs.get(IA32_MCU_OPT_CTRL, 0) & FB_CLEAR_DIS)
            self._events.append(Event(EventKind.VERW, step, address, neutralised=disabled))
        elif kind == "lfence":
            self._events.append(Event(EventKind.LFENCE, step, address))
        elif kind in VM_ENTERS:
            self._events.append(Event(EventKind.VM_ENTER, step, address))
            self._halt(End.VM_ENTER)
        elif kind in ("wrmsr", "wrmsrns"):
            self._write_msr(step, address)
            if kind == "wrmsrns":
                self._halt(kind)
        elif kind in STEPPED_OVER or self._low("rcx") in self._msrs:
            self._halt(kind)

    def _write_msr(self, step: int, address: int) -> None:
        """Note a WRMSR and what it means."""
        msr, low = self._low("rcx"), self._low("rax")
        self._msrs[msr] = low | self._low("rdx") << 32
        kind = EventKind.WRMSR
        if msr == IA32_FLUSH_CMD and low & 1:
            kind = EventKind.L1D_FLUSH
        elif msr == IA32_MCU_OPT_CTRL:
            kind = EventKind.FB_CLEAR_DIS_SET if low & FB_CLEAR_DIS else EventKind.FB_CLEAR_DIS_CLEAR
        self._events.append(Event(kind, step, address, msr))

    def _halt(self, why: End | str) -> None:
        """Stop the CPU before the instruction at hand."""
        self._stop = why
        self._cpu.stop()

    # --- afterwards ---

    def _place(self, step: int = -1) -> str:
        """Return where the run was at a step, or where it is: ``symbol+0x1f, verw 0x10(%rip)``."""
        if not self.steps:
            return "at the start"
        address = self.steps[step]
        return f"{self.image.label(address)}, {self._code[address].text}"

    def _failure(self, fault: Fault) -> LabError:
        """Return the error for a run that a CPU could not go on with."""
        place = self._place()
        if fault.trouble is Trouble.FETCH:
            return LabError(
                f"after {place}: the code goes on at {self._cpu.get('rip'):#x}, where nothing is mapped"
            )
        if fault.trouble in (Trouble.READ, Trouble.WRITE):
            null = " (a null pointer?)" if fault.address < PAGE else ""
            what = f"{fault.trouble}s {fault.size} bytes at {fault.address:#x}"
            return LabError(f"{place}: {what}, where nothing is mapped{null}")
        if fault.trouble is Trouble.UNKNOWN:
            return LabError(f"{place}: an instruction that the machine does not know, or UD2")
        return LabError(f"{place}: the CPU raises an exception")

    def _note_writes(self) -> None:
        """Note which pages a run wrote to, and whether one of its writes went to code."""
        text = self.layout.code_pages
        for step, address, size, write, _ in self.accesses:
            if write:
                first, last = address // PAGE, (address + size - 1) // PAGE
                self._dirty |= {first, last}
                if first in text and self.layout.owner(address) is Owner.CODE:
                    self._wrote_code = self._wrote_code or (step, address)


@lru_cache(maxsize=1 << 14)
def _first_instruction(code: bytes, address: int) -> Instruction:
    """Decode what `code` begins with; the same code comes back with every image that is loaded."""
    return decode(code, address, strict=False)[0]


def _repeats(instruction: Instruction) -> bool:
    """Tell whether this is a string instruction with a REP prefix; REP before RET means nothing."""
    return instruction.mnemonic.startswith("rep") and "ret" not in instruction.mnemonic
