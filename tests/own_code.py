"""Kernels' own code, run in an emulator: their decoder and their patcher, on bytes that a test puts before them.

It needs a kernel's vmlinuz; where in it the two functions are, the small maps in data/own tell.
"""

import struct
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from pathlib import Path

from needs import kernel_file
from unicorn import UC_ARCH_X86, UC_HOOK_CODE, UC_MODE_64, Uc, UcError
from unicorn import x86_const as x86

from vmenter.code.image import load
from vmenter.code.symbols import Symbols

MAPS = Path(__file__).parent / "data" / "own"
FOLDERS = {"5.10.262": "5.10.262", "6.1.192": "6.1.192-3", "6.12.117": "6.12.117", "7.3.4": "7.3.4"}
CAPABILITIES = {"5.10.262": 0x20, "6.1.192": 0x28, "6.12.117": 0x30, "7.3.4": 0x30}  # in boot_cpu_data
LENGTH = 82  # where struct insn keeps it
KERNEL = 0xFFFF_FFFF_8000_0000
ROOM, ROOM_SIZE = 0xFFFF_FFFF_A800_0000, 0x20_0000  # table, sites and replacements are put here
TABLE, SITE, REPLACEMENTS = ROOM + 0x1000, ROOM + 0x10_0000, ROOM + 0x18_0000
STACK, PER_CPU = 0xFFFF_FFFF_B000_0000, 0xFFFF_FFFF_B800_0000
RETURN = STACK + 0x8000
ARGUMENTS = (x86.UC_X86_REG_RDI, x86.UC_X86_REG_RSI, x86.UC_X86_REG_RDX, x86.UC_X86_REG_RCX)


class OwnKernel:
    """One kernel, laid out as it is linked, of which single functions are called."""

    def __init__(self, version: str) -> None:
        self.version = version
        image = load(kernel_file(FOLDERS[version], "vmlinuz"))
        self.symbols = Symbols.from_text((MAPS / f"{FOLDERS[version]}.map").read_bytes())
        sections = [section for section in image.sections if section.address >= KERNEL]
        start, end = sections[0].address & ~0xFFF, max(section.end for section in sections)
        self.cpu = Uc(UC_ARCH_X86, UC_MODE_64)
        self.cpu.ctl_set_tlb_mode(1)  # UC_TLB_VIRTUAL: addresses as they are, the upper half, too
        self.cpu.mem_map(start, (end - start + 0x1F_FFFF) & ~0xFFF)
        for section in sections:
            self.cpu.mem_write(section.address, section.data)
        for place, size in ((ROOM, ROOM_SIZE), (STACK - 0x10_0000, 0x11_0000), (PER_CPU, 0x1000)):
            self.cpu.mem_map(place, size)
        # Up to v6.12 the stack's guard is at %gs:0x28, later per CPU at its link address.
        self.cpu.reg_write(x86.UC_X86_REG_GS_BASE, 0 if version == "7.3.4" else PER_CPU)
        poke = self.address("text_poke_early")
        self.cpu.hook_add(UC_HOOK_CODE, self._poke, begin=poke, end=poke)

    def address(self, name: str) -> int:
        """Return where a function or variable is."""
        symbol = self.symbols.get(name)
        assert symbol is not None, name
        return symbol.address

    def _poke(self, cpu: Uc, *_: object) -> None:
        """Copy, in place of text_poke_early, which would also stop interrupts and serialise."""
        to, new, size = (cpu.reg_read(register) for register in ARGUMENTS[:3])
        cpu.mem_write(to, bytes(cpu.mem_read(new, size)))
        stack = cpu.reg_read(x86.UC_X86_REG_RSP)
        cpu.reg_write(x86.UC_X86_REG_RIP, struct.unpack("<Q", cpu.mem_read(stack, 8))[0])
        cpu.reg_write(x86.UC_X86_REG_RSP, stack + 8)

    def call(self, name: str, *arguments: int) -> int:
        """Call a function and return what it returns, 32 bits."""
        self.cpu.mem_write(STACK, struct.pack("<Q", RETURN))
        self.cpu.reg_write(x86.UC_X86_REG_RSP, STACK)
        for register, value in zip(ARGUMENTS, arguments, strict=False):
            self.cpu.reg_write(register, value)
        self.cpu.emu_start(self.address(name), RETURN)
        return self.cpu.reg_read(x86.UC_X86_REG_RAX) & 0xFFFF_FFFF

    def length(self, code: bytes) -> int | None:
        """Return what insn_decode says of up to 15 bytes."""
        self.cpu.mem_write(ROOM, code[:15].ljust(32, b"\0"))
        failed = self.call("insn_decode", ROOM + 0x800, ROOM, 15, 1)  # 1: 64-bit code
        return None if failed else self.cpu.mem_read(ROOM + 0x800 + LENGTH, 1)[0]

    def patched(
        self,
        site: bytes,
        entries: Sequence[tuple[int, int, bytes]],
        features: Collection[int],
        nops: str = "p6",
    ) -> bytes | None:
        """Return what apply_alternatives leaves of a site; entries: feature, flags, replacement. None: BUG()."""
        if self.version == "5.10.262":
            self.cpu.mem_write(self.address("ideal_nops"), struct.pack("<Q", self.address(f"{nops}_nops")))
        words = bytearray(100)
        for feature in features:
            words[feature // 8] |= 1 << feature % 8
        self.cpu.mem_write(self.address("boot_cpu_data") + CAPABILITIES[self.version], bytes(words))
        table = b"".join(self._records(len(site), entries))
        self.cpu.mem_write(SITE, site + b"\xcc" * 32)
        self.cpu.mem_write(TABLE, table)
        for (_, _, code), place in zip(entries, places(entries), strict=True):
            self.cpu.mem_write(place, code)
        self.cpu.ctl_flush_tb()
        try:
            self.call("apply_alternatives", TABLE, TABLE + len(table))
        except UcError:
            return None
        return bytes(self.cpu.mem_read(SITE, len(site)))

    def _records(self, length: int, entries: Sequence[tuple[int, int, bytes]]) -> Iterable[bytes]:
        size = 12 if self.version in ("5.10.262", "6.1.192") else 14
        for index, ((feature, flags, code), place) in enumerate(zip(entries, places(entries), strict=True)):
            record = TABLE + index * size
            kind = (feature | flags << 15,) if size == 12 else (feature, flags)
            layout = "<iiHBB" if size == 12 else "<iiHHBB"
            yield struct.pack(layout, SITE - record, place - record - 4, *kind, length, len(code))


def places(entries: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Return where the replacements stand."""
    found = [REPLACEMENTS]
    for _, _, code in entries:
        found.append(found[-1] + len(code))
    return found[:-1]


@cache
def own(version: str) -> OwnKernel:
    """Return a kernel, loaded once."""
    return OwnKernel(version)
