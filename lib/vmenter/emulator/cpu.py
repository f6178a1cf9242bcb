"""The seam between the machine and what executes instructions for it: a `Cpu`.

There are two, Unicorn (`unicorn_cpu`) and an interpreter of our own (`interpreter`); `choice` says which is used.
Both execute x86-64 in long mode at CPL 0, without paging, and know nothing of the course: what an instruction
means for it is the `Watcher`'s business.

A CPU of either kind tells its watcher everything in the same order:

1. The address of an instruction goes to `steps` before it runs, and before each round of a repeated string
   instruction, with one more round that finds nothing left to do.
2. If the address is not in `plain`, `arrived` is called with it. That may `stop` the CPU, and look at registers
   and memory as they are before the instruction.
3. Once `steps` is as long as `pause_at` says, `paused` is called.
4. The instruction runs, unless the CPU was stopped. Its accesses go to `accesses`, reads with the value 0, written
   values signed as 64 bits. What is wider than 8 bytes comes as several accesses. A write that fails is among
   them, a read is only if its first byte is there. An address has 52 bits.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vmenter.emulator.trace import RawAccess


class Trouble(StrEnum):
    """What keeps a CPU from going on."""

    READ = "read"  # from where nothing is mapped
    WRITE = "write"
    FETCH = "fetch"
    UNKNOWN = "unknown"  # an instruction that this CPU does not know, or one that is invalid on any
    EXCEPTION = "exception"  # any other that a CPU would raise


@dataclass
class Fault(Exception):  # noqa: N818  (the CPU's word)
    """An instruction could not be executed; RIP stays on it. `address` and `size` are those of the access."""

    trouble: Trouble
    address: int = 0
    size: int = 0

    @property
    def unmapped(self) -> bool:
        """Whether nothing is mapped where the CPU looked."""
        return self.trouble in (Trouble.READ, Trouble.WRITE, Trouble.FETCH)


class Saved(Protocol):
    """All registers of one moment, read when somebody asks."""

    def __getitem__(self, register: str) -> int:
        """Return a register as it was, unsigned."""


class Watcher(Protocol):
    """Who is told what a CPU does; see above."""

    steps: list[int]
    accesses: list["RawAccess"]
    plain: set[int]
    pause_at: int

    def arrived(self, address: int) -> None:
        """Look at the instruction that is about to run."""

    def paused(self) -> None:
        """Say in `pause_at` when to ask again, or stop the CPU."""


class Nobody:
    """A watcher that does not watch."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.accesses: list[RawAccess] = []
        self.plain: set[int] = set()
        self.pause_at = 1 << 60

    def arrived(self, address: int) -> None:
        """Want to hear no more of it."""
        self.plain.add(address)

    def paused(self) -> None:
        """Go on."""


class Cpu(Protocol):
    """Something that executes x86-64 instructions. Registers go by name: `x86.NUMBERED`, rip, rflags, gs_base."""

    name: str
    title: str  # the name with what a reader may want to know

    def map(self, address: int, size: int) -> None:
        """Give memory to whole pages; it holds zeros."""

    def read(self, address: int, size: int) -> bytes:
        """Return what memory holds. `Fault` where nothing is mapped."""

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into memory, whether code or data. `Fault` where nothing is mapped."""

    def get(self, register: str) -> int:
        """Return a register, unsigned."""

    def set(self, register: str, value: int) -> None:
        """Set a register; bits of rflags that do not exist stay as they are."""

    def set_gdt(self, base: int, size: int) -> None:
        """Tell where the table of segment descriptors is, and how many bytes it has."""

    def save(self) -> Saved:
        """Return all registers, MSRs and the like, but no memory."""

    def restore(self, saved: Any) -> None:
        """Bring all registers back to what `save` returned."""

    def forget_code(self) -> None:
        """Throw away what was made of the code that ran: it is another now."""

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher from now on. Once for each CPU, and its lists and its set stay the same objects."""

    def run(self, start: int, until: int) -> None:
        """Execute from `start` until RIP is `until`, or `stop` is called, or behind a HLT. Raises `Fault`."""

    def stop(self) -> None:
        """End `run` before the instruction at hand; for the watcher."""
