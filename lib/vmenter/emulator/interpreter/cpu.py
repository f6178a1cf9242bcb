"""The interpreter's loop, and its face towards the machine: a `Cpu`."""

from collections.abc import Callable
from dataclasses import dataclass

from vmenter.code.lengths import LONGEST
from vmenter.code.x86 import MASK, NUMBERED
from vmenter.emulator.cpu import Fault, Nobody, Trouble, Watcher
from vmenter.emulator.interpreter.core import ALL, INSIDE, PHYSICAL, Core, Special
from vmenter.emulator.interpreter.jumps import Halted
from vmenter.emulator.interpreter.parts import Op, cut_off
from vmenter.emulator.interpreter.table import build
from vmenter.emulator.memory import PAGE

REMEMBERED = 1 << 14  # instructions, by address and bytes
FLAGS = MASK[4]
NUMBERS = {name: number for number, name in enumerate(NUMBERED)}


@dataclass(frozen=True, slots=True)
class Held:
    """All registers of one moment."""

    registers: tuple[int, ...]
    flags: int
    rip: int
    bases: tuple[int, ...]
    special: Special

    def __getitem__(self, register: str) -> int:
        """Return a register as it was."""
        if register in NUMBERS:
            return self.registers[NUMBERS[register]]
        return {"rip": self.rip, "rflags": self.flags, "gs_base": self.bases[1]}[register]


class Done(Exception):  # noqa: N818  (no error)
    """The run ends before the instruction at hand."""


class Ready(dict[int, Op]):
    """What executes the instruction at an address. One that is not here yet is made when it is asked for."""

    def __init__(self, make: Callable[[int], Op]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, address: int) -> Op:
        """Make it."""
        self[address] = op = self.make(address)
        return op


class Interpreter:
    """A `Cpu` in Python."""

    name = "interpreter"
    title = "the lab's own interpreter"

    def __init__(self) -> None:
        self._core = Core()
        self._core.writable.changed = self.forget_code
        self._ready = Ready(self._arrive)
        self._bare: dict[int, Op] = {}  # of what tells the watcher first: the instruction itself
        self._built: dict[tuple[int, bytes], Op] = {}
        self._stopped = False
        self._until = 0
        self.watch(Nobody())

    # --- memory and registers ---

    def map(self, address: int, size: int) -> None:
        """Give memory to whole pages."""
        self._core.pages.mapped.append(range(address // PAGE, (address + size) // PAGE))

    def read(self, address: int, size: int) -> bytes:
        """Return what memory holds."""
        try:
            return self._core.peek(address, size)
        except KeyError:
            raise Fault(Trouble.READ, address, size) from None

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into memory."""
        try:
            self._core.poke(address, data)
        except KeyError:
            raise Fault(Trouble.WRITE, address, len(data)) from None

    def get(self, register: str) -> int:
        """Return a register, unsigned."""
        return self._core.registers[NUMBERS[register]] if register in NUMBERS else self.save()[register]

    def set(self, register: str, value: int) -> None:
        """Set a register."""
        core = self._core
        if register in NUMBERS:
            core.registers[NUMBERS[register]] = value & ALL
        elif register == "rip":
            core.rip = value
        elif register == "rflags":
            core.flags = value & FLAGS | 2
        else:
            core.bases[1] = value

    def set_gdt(self, base: int, size: int) -> None:
        """Tell where the descriptors are."""
        self._core.special.tables["gdt"] = base, size - 1

    def save(self) -> Held:
        """Return all registers."""
        core = self._core
        return Held(tuple(core.registers), core.flags, core.rip, tuple(core.bases), core.special.copy())

    def restore(self, saved: Held) -> None:
        """Bring all registers back."""
        core = self._core
        core.registers[:], core.bases[:] = saved.registers, saved.bases
        core.flags, core.rip, core.special = saved.flags, saved.rip, saved.special.copy()

    # --- running ---

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher from now on."""
        self._watcher: Watcher = watcher
        self._core.steps, self._core.accesses = watcher.steps, watcher.accesses
        self._built.clear()  # they hold on to the lists of the last one
        self.forget_code()

    def forget_code(self) -> None:
        """Have every instruction looked at again. What was built of the same bytes serves again."""
        self._ready.clear()
        self._bare.clear()
        self._core.writable.forget()

    def stop(self) -> None:
        """End the run before the instruction at hand."""
        self._stopped = True

    def run(self, start: int, until: int) -> None:
        """Execute. Most of the time nothing is asked but where to go on."""
        core, ready, watcher = self._core, self._ready, self._watcher
        steps = watcher.steps
        note = steps.append
        self._stopped, self._until, rip = False, until, start
        ready.pop(until, None)
        try:
            while True:
                for _ in range(watcher.pause_at - len(steps) - 1):
                    op = ready[rip]
                    note(rip)
                    rip = op()
                op = ready[rip]
                note(rip)
                if rip in self._bare:
                    watcher.arrived(rip)
                    op = self._bare[rip]
                if len(steps) >= watcher.pause_at:
                    watcher.paused()
                if self._stopped:
                    break
                rip = op()
        except Done:
            pass
        except Halted:
            rip = core.rip
        finally:
            core.rip = rip

    def _arrive(self, address: int) -> Op:
        """Return what executes the instruction at an address, having told the watcher."""
        if address == self._until:
            raise Done
        op, watcher = self._build(address), self._watcher
        self._bare[address] = op

        def told() -> int:
            watcher.arrived(address)
            if self._stopped:
                raise Done
            if address in watcher.plain:  # from now on, no more words about it
                self._ready[address] = op
                del self._bare[address]
            return op()

        return told

    def _build(self, address: int) -> Op:
        """Return what executes the instruction itself."""
        code = self._fetch(address)
        if len(code) < LONGEST and cut_off(code):
            raise Fault(Trouble.FETCH, address + len(code), 1)
        op = self._built.get((address, code))
        if op is None:
            if len(self._built) >= REMEMBERED:
                self._built.clear()
            op = self._built[address, code] = build(self._core, code, address)
        return op

    def _fetch(self, address: int) -> bytes:
        """Return the bytes at an address, as many as an instruction can have and are mapped."""
        core, inside = self._core, PAGE - (address & INSIDE)
        if address > PHYSICAL:
            raise Fault(Trouble.FETCH, address & PHYSICAL, 1)
        try:
            code = core.peek(address, min(LONGEST, inside))
        except KeyError:
            raise Fault(Trouble.FETCH, address, 1) from None
        core.writable.has_code(address >> 12)
        if inside < LONGEST:
            try:
                code += core.peek(address + inside, LONGEST - inside)
                core.writable.has_code((address >> 12) + 1)
            except KeyError:
                return code
        return code
