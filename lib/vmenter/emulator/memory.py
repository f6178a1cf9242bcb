"""The memory a machine starts with: where everything stands, what it holds, and whose it is.

Images stand in the lower half (the emulator cannot fetch from the upper one); the rest has fixed places above.
What code reads through GS (the kernel's per-CPU variables) has a copy of its own, GS_BASE further up: an image's
writable sections as they are, undefined symbols as zeros.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from vmenter import LabError
from vmenter.code.image import MODULE_BASE, STUB_SIZE, Image

PAGE = 4096
LAB_BASE = 0x1000_0000  # where images should be placed: `image.load(path, base=LAB_BASE)`
IMAGES_END = 0x5000_0000
RETURN = 0x6000_0000  # where a function returns to when the run is over; nothing is mapped there
STACK, STACK_SIZE = 0x7000_0000, 0x8000
STACK_START = STACK + STACK_SIZE - 0x108  # RSP at entry, 8 off a multiple of 16 as after a CALL
VCPU, VCPU_SIZE = 0x7100_0000, 0x1_0000
FLUSH_PAGES, FLUSH_SIZE = 0x7200_0000, 0x1_0000  # for the software flush: 64 KiB of nothing
TABLES = 0x7300_0000  # the GDT
GS_BASE = 0x1_0000_0000
MAX_IMAGE = 64 << 20  # bytes of addresses that an image may span

# The descriptors of a 64-bit kernel, at its own places (arch/x86/include/asm/segment.h): code at selector 0x10,
# writable data at 0x18. VERW of a writable data segment sets ZF, and that is what kernels give it.
GDT = bytes(16) + bytes.fromhex("ffff0000009baf00ffff00000093cf00")
DATA_SELECTOR = 0x18
SELECTOR_SYMBOLS = ("mds_verw_sel", "x86_verw_sel")  # the older and the newer name of what VERW looks at

Stub = str | int | bytes  # "ret", a value to return, or the bytes of a variable (at most 16)
DEFAULT_STUBS: Mapping[str, Stub] = dict.fromkeys(SELECTOR_SYMBOLS, DATA_SELECTOR.to_bytes(2, "little"))


class Owner(StrEnum):
    """What a piece of memory belongs to."""

    STACK = "stack"
    VCPU = "vCPU"
    HOST = "host data"
    FLAGS = "flags"
    CODE = "code"
    OTHER = "other"  # descriptor tables


@dataclass(frozen=True)
class VCpu:
    """What the code under test finds in the vCPU's structure, which stands at `VCPU` and has 64 KiB.

    `fields` gives contents by offset, an int standing for 8 bytes. `flags` gives single bytes that the trace
    will call flags. All other words hold the structure's own address, so that code which follows pointers in a
    structure it knows nothing about stays inside it.
    """

    fields: Mapping[int, int | bytes] = field(default_factory=dict)
    flags: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def data(self) -> bytes:
        """The structure's bytes."""
        buffer = bytearray(VCPU.to_bytes(8, "little") * (VCPU_SIZE // 8))
        written = [(offset, as_bytes(value)) for offset, value in self.fields.items()]
        written += [(offset, bytes([value])) for offset, value in self.flags.items()]
        for offset, value in written:
            if not 0 <= offset <= VCPU_SIZE - len(value):
                raise LabError(f"vCPU field at {offset:#x}: the structure has {VCPU_SIZE:#x} bytes")
            buffer[offset : offset + len(value)] = value
        return bytes(buffer)


def as_bytes(value: int | bytes) -> bytes:
    """Return a 64-bit word's bytes for an int; bytes as they are."""
    return (value & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little") if isinstance(value, int) else value


def kernel_address(address: int) -> int:
    """Return where a kernel would have what stands here at `address`, for an image placed at `LAB_BASE`."""
    return address - LAB_BASE + MODULE_BASE if LAB_BASE <= address < IMAGES_END else address


@dataclass(frozen=True, eq=False)
class Layout:
    """An image in the machine's memory: which ranges are mapped, what they hold, whose they are."""

    image: Image
    stubs: Mapping[str, Stub] = field(default_factory=dict)

    def __post_init__(self) -> None:
        start, end = self.image.sections[0].address if self.image.sections else 0, self._end
        if not PAGE <= start < end <= IMAGES_END:
            raise LabError(
                f"{self.image.name}: stands at {start:#x}; the machine needs code between {PAGE:#x} and "
                f"{IMAGES_END:#x}: load it with base={LAB_BASE:#x} (a linked vmlinux cannot be moved)",
            )
        if end - start > MAX_IMAGE:
            raise LabError(f"{self.image.name}: spans {end - start:,} bytes; the machine takes {MAX_IMAGE:,}")
        for name in self.stubs:
            if name not in self.image.undefined and name not in DEFAULT_STUBS:
                raise LabError(f"{self.image.name}: a stub for {name!r}, which is no undefined symbol of it")

    @property
    def _end(self) -> int:
        end = max((section.end for section in self.image.sections), default=0)
        stubs = max((address + STUB_SIZE for address in self.image.undefined.values()), default=0)
        return max(end, stubs)

    @cached_property
    def image_range(self) -> tuple[int, int]:
        """Start and end of the pages that hold the image and the stubs of its undefined symbols."""
        start = self.image.sections[0].address & -PAGE
        return start, self._end + -self._end % PAGE

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield (address, size) of all that is mapped, in whole pages."""
        start, end = self.image_range
        yield start, end - start
        yield GS_BASE, PAGE  # the stack protector's value stands at %gs:0x28 up to v6.14
        yield GS_BASE + start, end - start
        yield STACK, STACK_SIZE
        yield VCPU, VCPU_SIZE
        yield FLUSH_PAGES, FLUSH_SIZE
        yield TABLES, PAGE

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """Yield (address, bytes) of all that is not zero at first, the vCPU apart."""
        for section in self.image.sections:
            yield section.address, section.data
            if section.writable:
                yield GS_BASE + section.address, section.data
        for name in self.image.undefined:
            yield from self.undefined(name)
        yield STACK_START, as_bytes(RETURN)
        yield TABLES, GDT

    def undefined(self, name: str) -> Iterator[tuple[int, bytes]]:
        """Yield (address, bytes) of what stands for an undefined symbol."""
        address, stub = self.image.undefined[name], self.stubs.get(name, DEFAULT_STUBS.get(name, "ret"))
        yield address, _stub_bytes(name, stub)
        if isinstance(stub, bytes):
            yield GS_BASE + address, stub
        elif name == "this_cpu_off":  # what turns an address into this CPU's copy of it
            yield GS_BASE + address, as_bytes(GS_BASE)

    @cached_property
    def code_pages(self) -> frozenset[int]:
        """The numbers of the pages that hold code of the image."""
        return frozenset(
            page
            for section in self.image.sections
            if section.executable
            for page in range(section.address // PAGE, (section.end - 1) // PAGE + 1)
        )

    def places(self, where: str | int) -> tuple[int, ...]:
        """Return the addresses of a variable: a symbol also has its per-CPU copy. An address is itself."""
        if isinstance(where, int):
            return (where,)
        address = self.address(where)
        return address, GS_BASE + address

    def address(self, symbol: str) -> int:
        """Return a symbol's address, defined or not; `LabError` for a name the image does not know."""
        found = self.image.symbols.get(symbol)
        address = found.address if found else self.image.undefined.get(symbol)
        if address is None:
            raise LabError(f"{self.image.name}: no symbol named {symbol!r}")
        return address

    def owner(self, address: int) -> Owner:
        """Tell whose memory this is, by its place alone."""
        for start, size, owner in _FIXED:
            if start <= address < start + size:
                return owner
        section = self.image.section_at(address)
        return Owner.CODE if section is not None and section.executable else Owner.HOST


_FIXED = (
    (STACK, STACK_SIZE, Owner.STACK),
    (VCPU, VCPU_SIZE, Owner.VCPU),
    (TABLES, PAGE, Owner.OTHER),
)


def _stub_bytes(name: str, stub: Stub) -> bytes:
    """Return what stands at an undefined symbol: a function that returns (a value), or a variable."""
    if isinstance(stub, bytes):
        if len(stub) > STUB_SIZE:
            raise LabError(f"stub {name!r}: {len(stub)} bytes; there is room for {STUB_SIZE}")
        return stub
    if isinstance(stub, int):
        return b"\x48\xb8" + as_bytes(stub) + b"\xc3"  # MOV imm64 to RAX, RET
    if stub != "ret":
        raise LabError(f'stub {name!r}: {stub!r} is neither "ret" nor a value nor bytes')
    return b"\xc3"


def spread(pages: dict[int, bytearray], address: int, data: bytes) -> None:
    """Copy bytes into pages."""
    done = 0
    while done < len(data):
        page, offset = divmod(address + done, PAGE)
        part = data[done : done + PAGE - offset]
        pages.setdefault(page, bytearray(PAGE))[offset : offset + len(part)] = part
        done += len(part)
