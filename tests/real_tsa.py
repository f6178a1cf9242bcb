"""The TSA part of real kernels' boot-time selection, run as it is: what `vmenter.boot.tsa` is held against.

No CPU of AMD's is needed: the code asks only variables, and they are set here. It stands inlined in
`cpu_select_mitigations`, so a run goes from one address of it to another. The kernel is mapped twice over the same
memory: low, where the emulator can fetch code, and at its own addresses, for operands that are absolute.
"""

import ctypes
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from feature_words import to_words
from needs import kernel_file

from vmenter.code.image import load
from vmenter.patching import features

TEXT = 0xFFFFFFFF_81000000  # where the kernels below begin
HIGH = TEXT & (1 << 52) - 1  # as the emulator, without paging, sees it
LOW, SIZE = 0x1000_0000, 0x480_0000
STACK, RETURN = 0x7000_0000, 0x6000_0000
CAPABILITIES = 0x30  # in boot_cpu_data: the words of features and bugs
VECTORS = ("user_kernel", "user_user", "guest_host", "guest_guest")  # the kernel's order
NAMES = {
    "6.12.117": ("NONE", "UCODE_NEEDED", "USER_KERNEL", "VM", "FULL"),
    "7.3.4": ("NONE", "AUTO", "UCODE_NEEDED", "USER_KERNEL", "VM", "FULL"),
}


class Places(NamedTuple):
    """Addresses in one kernel, the first four digits (ffffffff) left off: from System.map and a disassembly."""

    printk: int
    strings: int
    state: int
    mitigations: int
    vectors: int | None
    cpu: int
    parse: int
    parts: tuple[tuple[int, int], ...]  # [from, to) of what selects and what applies


PLACES = {
    "6.12.117": Places(
        printk=0x81CC5470,
        strings=0x82003AA0,
        state=0x825EDC8C,
        mitigations=0x8260D540,
        vectors=None,
        cpu=0x82E63F20,
        parse=0x8336E9C0,
        parts=((0x83370684, 0x833707C0),),
    ),
    "7.3.4": Places(
        printk=0x81213CE0,
        strings=0x822044A0,
        state=0x829CBE80,
        mitigations=0x829EB840,
        vectors=0x829EB848,
        cpu=0x8354BEA0,
        parse=0x83AFC900,
        parts=((0x83AFDC3F, 0x83AFDD20), (0x83AFF176, 0x83AFF227)),
    ),
}


@dataclass(frozen=True)
class Selected:
    """What the kernel's code left behind: its state's name, the text for sysfs, and the features it set."""

    state: str
    text: str
    features: frozenset[str]


class Kernel:
    """One kernel's selection, ready to run many times."""

    def __init__(self, version: str) -> None:
        import unicorn
        from unicorn import x86_const

        self.version, self.at = version, PLACES[version]
        image = load(kernel_file(version, "vmlinuz"))
        self.memory = ctypes.create_string_buffer(SIZE)
        for section in image.sections:
            if TEXT <= section.address < TEXT + SIZE:
                self.write(section.address & 0xFFFF_FFFF, section.data)
        self.write(self.at.printk, b"\xc3")  # it only tells
        self.uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        for base in (LOW, HIGH):
            self.uc.mem_map_ptr(base, SIZE, unicorn.UC_PROT_ALL, ctypes.addressof(self.memory))
        self.uc.mem_map(STACK, 0x4000)
        self.registers = x86_const
        self.first_state = self.read(self.at.state, 4)
        self.numbers = {name: features.number(name, version) for name in ("CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM")}

    def write(self, address: int, data: bytes) -> None:
        offset = address - (TEXT & 0xFFFF_FFFF)
        ctypes.memmove(ctypes.addressof(self.memory) + offset, bytes(data), len(data))

    def read(self, address: int, size: int) -> bytes:
        offset = address - (TEXT & 0xFFFF_FFFF)
        return bytes(self.memory[offset : offset + size])

    def run(self, start: int, end: int | None = None, argument: int = 0) -> None:
        """Run from an address to another, or as a function."""
        self.uc.mem_write(STACK + 0x2000, RETURN.to_bytes(8, "little"))
        self.uc.reg_write(self.registers.UC_X86_REG_RSP, STACK + 0x2000)
        self.uc.reg_write(self.registers.UC_X86_REG_RDI, argument)
        shift = LOW - (TEXT & 0xFFFF_FFFF)
        self.uc.emu_start(start + shift, RETURN if end is None else end + shift, count=5000)
        stopped = self.uc.reg_read(self.registers.UC_X86_REG_RIP)
        assert stopped == (RETURN if end is None else end + shift), hex(stopped)

    def select(
        self,
        words: Iterable[str] = (),
        *,
        bug: bool = True,
        facts: Collection[str] = (),
        off: bool = False,
        vectors: Collection[str] = VECTORS,
    ) -> Selected:
        """Run the option's handler for each word, then selection. `off`: mitigations=off."""
        self.write(self.at.state, self.first_state)
        for word in words:
            self.uc.mem_write(STACK, word.encode() + b"\0")
            self.run(self.at.parse, argument=STACK)
        numbers = {features.number(name, self.version) for name in facts}
        numbers |= {features.number("BUG_TSA", self.version)} if bug else set()
        count = sum(features.word_counts(self.version) or ())
        capabilities = b"".join(word.to_bytes(4, "little") for word in to_words(numbers, count))
        self.write(self.at.cpu + CAPABILITIES, capabilities)
        self.write(self.at.mitigations, (0 if off else 1).to_bytes(4, "little"))
        if self.at.vectors is not None:
            self.write(self.at.vectors, bytes(vector in vectors and not off for vector in VECTORS))
        for start, end in self.at.parts:
            self.run(start, end)
        return self.selected()

    def selected(self) -> Selected:
        state = int.from_bytes(self.read(self.at.state, 4), "little")
        pointer = int.from_bytes(self.read(self.at.strings + 8 * state, 8), "little") & 0xFFFF_FFFF
        text = self.read(pointer, 64).split(b"\0")[0].decode()
        found = set()
        for name, number in self.numbers.items():
            byte = self.read(self.at.cpu + CAPABILITIES + number // 8, 1)[0]
            found |= {name} if byte >> number % 8 & 1 else set()
        return Selected(NAMES[self.version][state], text, frozenset(found))


@cache
def kernel(version: str) -> Kernel:
    return Kernel(version)
