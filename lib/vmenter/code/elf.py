"""Read an ELF file's headers and sections; every count and size is bounded before it costs. Tell others.

Only what is asked for is read, so debugging data costs nothing. Sources: the System V ABI (headers of files and
sections, special indexes); for the marks of other kernels arch/arm64/booting.rst and
arch/riscv/boot-image-header.rst in the kernel's Documentation, arch/arm/boot/compressed/head.S and
drivers/firmware/efi/libstub/zboot-header.S.
"""

import io
import struct
from typing import BinaryIO, NamedTuple

from vmenter import LabError
from vmenter.code.visible import visible

MAX_MEMORY = 288 << 20  # bytes that a file in memory and its sections may take together
MAX_SECTIONS = 50_000  # kernels and modules have some hundreds
MAX_NAME = 4096  # bytes of a symbol's name; kernels allow 512
MAX_NAMES = 64 << 20  # bytes of all names
HEAD = 4096  # bytes by which a file is told that is none of ours
SHT_NULL, SHT_SYMTAB, SHT_RELA, SHT_NOBITS = 0, 2, 4, 8
ET_REL, EM_X86_64 = 1, 62
SECTION = struct.Struct("<IIQQQQIIQQ")  # a section's header; the fields of Header
SHN_XINDEX = 0xFFFF

ONLY = "only 64-bit x86 is understood"
MACHINES = {
    "EM_386": "32-bit x86",
    "EM_AARCH64": "arm64",
    "EM_ARM": "32-bit arm",
    "EM_LOONGARCH": "LoongArch",
    "EM_PPC64": "POWER",
    "EM_RISCV": "RISC-V",
    "EM_S390": "s390x",
}
# Machine in the header of an EFI program; the Microsoft PE format, “Machine Types”.
PE_MACHINES = {0x14C: "32-bit x86", 0x1C2: "32-bit arm", 0xAA64: "arm64", 0x5064: "RISC-V", 0x6264: "LoongArch"}


class Header(NamedTuple):
    """A section's header: its name as an offset, and the rest as the ABI has it."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


class ElfFile:
    """What is read from one ELF file on the way to an Image. Every count and size is bounded before it costs."""

    def __init__(self, file: BinaryIO, name: str, held: int = 0, *, strict: bool = True) -> None:
        self.file, self.name = file, name
        self.size = file.seek(0, io.SEEK_END)
        self.budget = MAX_MEMORY - held  # bytes that may still be taken
        self.headers: list[tuple[str, Header]] = []
        head = self.at(0, 64)
        order = "<" if head[5:6] == b"\1" else ">"
        bits = {1: 32, 2: 64}.get(head[4] if len(head) > 4 else 0)
        kind, machine = struct.unpack(f"{order}HH", head[16:20]) if len(head) >= 20 else (0, 0)
        self.foreign = "" if (bits, order, machine) == (64, "<", EM_X86_64) else other_machine(bits, machine)
        if not strict:
            return
        if len(head) < 64 or bits is None or head[5] not in (1, 2):
            raise LabError(f"{name}: damaged ELF file: its header is cut short or makes no sense")
        if self.foreign:
            raise LabError(f"{name}: {self.foreign}")
        self.relocatable = kind == ET_REL
        self.headers = self.sections(head)
        if not self.headers:
            raise LabError(f"{name}: the ELF has no section headers, so its tables cannot be found")

    def damaged(self, what: str) -> LabError:
        """Return the error to raise."""
        return LabError(f"{self.name}: damaged ELF file: {what}")

    def at(self, offset: int, size: int) -> bytes:
        """Return bytes of the file, fewer at its end."""
        if offset >= self.size:
            return b""
        self.file.seek(offset)
        return self.file.read(min(size, self.size - offset))

    def sections(self, head: bytes) -> "list[tuple[str, Header]]":
        """Return (name, header) of each section."""
        (table,) = struct.unpack_from("<Q", head, 40)
        entry, count, strings = struct.unpack_from("<HHH", head, 58)
        if not table:
            return []
        if entry != SECTION.size:
            raise self.damaged(f"section headers of {entry} bytes, not {SECTION.size}")
        first = self.at(table, SECTION.size)
        if len(first) == SECTION.size:  # counts that do not fit the file's header stand in section 0
            zero = Header(*SECTION.unpack(first))
            count, strings = count or zero.size, zero.link if strings == SHN_XINDEX else strings
        if count > MAX_SECTIONS:
            raise self.damaged(f"{count:,} sections; no kernel has more than {MAX_SECTIONS:,}")
        raw = self.at(table, count * SECTION.size)
        if len(raw) < count * SECTION.size:
            raise self.damaged("its section headers reach beyond the end of the file")
        headers = [Header(*fields) for fields in SECTION.iter_unpack(raw)]
        names = b""
        if strings < count:
            if headers[strings].size > MAX_NAMES:
                raise self.damaged(f"{headers[strings].size:,} bytes of section names")
            names = self.content(headers[strings])
        return [(string(names, header.name) or "", header) for header in headers]

    def content(self, header: "Header") -> bytes:
        """Return a section's bytes in the file, checked against the file's end."""
        if header.kind in (SHT_NULL, SHT_NOBITS):
            return b""
        if header.offset + header.size > self.size:
            raise self.damaged("a section reaches beyond the end of the file")
        self.budget -= header.size
        if self.budget < 0:
            raise LabError(
                f"{self.name}: its sections take more than {MAX_MEMORY:,} bytes; no kernel is that large"
            )
        return self.at(header.offset, header.size)


def foreign(start: bytes) -> str:
    """Say what a file is that is no x86-64 kernel and no module, by its first HEAD bytes."""
    if start.startswith(b"\x7fELF"):
        return ElfFile(io.BytesIO(start), "", 0, strict=False).foreign or "a damaged ELF file"
    if start.startswith((b"!<arch>\n", b"\xed\xab\xee\xdb")):
        return "a package; `vmenter inspect` reads packages, other commands want a file out of one"
    if start[0x38:0x3C] == b"ARM\x64":
        return f"a kernel for arm64; {ONLY}"
    if start[0x38:0x3C] == b"RSC\5":
        return f"a kernel for RISC-V; {ONLY}"
    if start[0x24:0x28] == b"\x18\x28\x6f\x01":
        return f"a kernel for 32-bit arm; {ONLY}"
    at = int.from_bytes(start[0x3C:0x40], "little")
    if start.startswith(b"MZ") and start[at : at + 4] == b"PE\0\0":
        number = int.from_bytes(start[at + 4 : at + 6], "little")
        what = "a kernel packed for EFI" if start[4:8] == b"zimg" else "an EFI program"
        if number != 0x8664:
            return f"{what} for {PE_MACHINES.get(number, f'machine {number:#x}')}; {ONLY}"
        return f"{what} for x86-64 without a Linux boot header; give the vmlinuz that it was made from"
    return f"neither an ELF file nor a vmlinuz, packed or not (starts {start[:8].hex(' ')})"


def other_machine(bits: int | None, machine: int) -> str:
    """Say whom an ELF is for that is not for x86-64."""
    from elftools.elf.enums import ENUM_E_MACHINE  # noqa: PLC0415  (only where it is needed)

    names = {number: name for name, number in ENUM_E_MACHINE.items() if isinstance(number, int)}
    name = names.get(machine, f"machine {machine}")
    known = f"{MACHINES[name]} ({name})" if name in MACHINES else name
    return f"a {bits or '?'}-bit ELF for {known}; {ONLY}"


def string(strings: bytes, at: int) -> str | None:
    """Return the name at an offset in a string table, fit to print; None if it has no end."""
    stop = strings.find(b"\0", at, at + MAX_NAME)
    return None if stop < 0 else visible(strings[at:stop].decode("ascii", "replace"))
