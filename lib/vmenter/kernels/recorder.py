"""A machine that notes what its registers hold at the places that matter, and ends without an error.

It is the machine of the lab in all else. Registers are noted whole and read when somebody asks.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.lengths import LONGEST
from vmenter.code.x86 import IA32_MCU_OPT_CTRL
from vmenter.emulator.machine import PLAIN, Machine
from vmenter.emulator.memory import PAGE, Layout, spread
from vmenter.emulator.trace import End, Trace
from vmenter.kernels.dataflow import MOST_ROUNDS

if TYPE_CHECKING:
    from vmenter.emulator.cpu import Saved

JUMPS = ("j", "loop")
CHUNK = 256  # bytes of code that are compared at a time


class Recorder(Machine):
    """A machine that notes all registers before each jump, call and WRMSR, and at the addresses in `watch`."""

    def __init__(self, image: Image, watch: frozenset[int] = frozenset(), **more: Any) -> None:
        self.watch = watch
        self.notes: dict[int, Saved] = {}
        self.noted: set[int] = set()
        self._times: dict[int, int] = {}
        super().__init__(image, **more)

    def _see(self, address: int) -> str:
        kind = super()._see(address)
        instruction = self._code[address]
        jump = instruction.mnemonic.startswith(JUMPS)
        if kind == PLAIN and (address in self.watch or jump):
            self._kinds[address] = kind = "note"
        return kind

    def _special(self, kind: str, address: int) -> None:
        if kind in ("note", "call", "wrmsr", "wrmsrns"):
            self.noted.add(address)
            times = self._times[address] = self._times.get(address, 0) + 1
            if times <= MOST_ROUNDS:
                self.notes[len(self.steps) - 1] = self._cpu.save()
        if kind != "note":
            super()._special(kind, address)

    def attempt(self, start: int, registers: Mapping[str, int], memory: Mapping[str | int, int | bytes]) -> Any:
        """Run; return the trace, the reason why it could not go on (or None), notes and the last registers."""
        self.notes, self._times = {}, {}
        why = None
        try:
            trace = self.run(start, registers, memory=memory, msrs={IA32_MCU_OPT_CTRL: 0})
        except LabError as error:
            if not self.steps:
                raise
            why = str(error)
            pokes = tuple(
                (at, data) for at, data in memory.items() if isinstance(at, int) and isinstance(data, bytes)
            )
            trace = Trace(
                layout=self.layout,
                end=End.BUDGET,
                steps=tuple(self.steps),
                raw_accesses=tuple(self.accesses),
                raw_events=tuple(self._events),
                code=self._code,
                first=self._first,
                pokes=pokes,
            )
        fault = self.fault if self.fault and self.fault.unmapped else None
        return trace, why, self.notes, self._cpu.save(), fault

    def take(self, stubs: Mapping[str, bytes]) -> None:
        """Take more stubs; quicker than another machine."""
        new = [name for name in stubs if self.stubs.get(name) != stubs[name]]
        self._reset(self._vcpu)
        self.stubs = dict(stubs)
        self.layout, first = Layout(self.image, self.stubs), dict(self._first)
        for address, data in (place for name in new for place in self.layout.undefined(name)):
            self._cpu.write(address, data)
            spread_over(first, address, data)
        self._first = first
        self._forget_code()

    def load(self, image: Image) -> None:
        """Take another image; quicker than the machine's own way where only code differs, as after patching."""
        old, new = self.image.sections, image.sections
        changed = [(one, other) for one, other in zip(old, new, strict=False) if one is not other]
        if len(old) != len(new) or any(
            (one.address, one.size) != (other.address, other.size) for one, other in changed
        ):
            super().load(image)
            return
        self._reset(self._vcpu)
        self.layout, first = Layout(image, self.stubs), dict(self._first)
        blocks: set[int] = set()
        for one, other in changed:
            for at in range(0, len(other.data), CHUNK):
                data = other.data[at : at + CHUNK]
                if data != one.data[at : at + CHUNK]:
                    self._cpu.write(other.address + at, data)
                    spread_over(first, other.address + at, data)
                    blocks |= {(other.address + at) // CHUNK, (other.address + at + CHUNK - 1) // CHUNK}
        self._first = first
        self._keep_code(blocks)

    def _keep_code(self, blocks: Collection[int]) -> None:
        """Throw away what was made of code, but for what was decoded outside of these blocks of CHUNK bytes."""
        code, kinds = self._code, self._kinds
        kept = [at for at in code if at // CHUNK not in blocks and (at + LONGEST) // CHUNK not in blocks]
        self._forget_code()
        self._code = {at: code[at] for at in kept}
        self._kinds = {at: kinds[at] for at in kept}
        self.plain.update(at for at in kept if kinds[at] == PLAIN)


def spread_over(first: dict[int, bytes], address: int, data: bytes) -> None:
    """Put bytes over pages that are there."""
    pages = {
        page: bytearray(first.get(page, bytes(PAGE)))
        for page in range(address // PAGE, (address + len(data) - 1) // PAGE + 1)
    }
    spread(pages, address, data)
    first |= {page: bytes(held) for page, held in pages.items()}
