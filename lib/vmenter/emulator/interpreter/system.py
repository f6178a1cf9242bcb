"""What kernels and firmware use: MSRs, control registers, descriptors, CPUID, and the like.

There is no paging, no interrupt and no device: what would need one does nothing, or is not known. The values are
those of Unicorn's model (UC_CPU_X86_ICELAKE_SERVER), so that code finds the same CPU in both.
"""

import random
import time
from collections.abc import Callable

from vmenter.code.x86 import CF, MASK, TF, ZF
from vmenter.emulator.cpu import Fault, Trouble
from vmenter.emulator.interpreter.arithmetic import clear_flags
from vmenter.emulator.interpreter.bits import alignment
from vmenter.emulator.interpreter.core import ALL, FS_BASE, GS_BASE, KERNEL_GS_BASE, Core
from vmenter.emulator.interpreter.model import leaf
from vmenter.emulator.interpreter.moves import move, nothing, popper, pusher, stack_size
from vmenter.emulator.interpreter.operands import Get, address, register, rm
from vmenter.emulator.interpreter.parts import Op, Parts, Unknown

RAX, RCX, RDX, RBX = 0, 1, 2, 3
HALF = MASK[4]
TSC_AUX = 0xC000_0103
MODES = 1 | 1 << 31  # of CR0: protection and paging
POPPED = 0x24_7FD5  # the flags that POPF can change at CPL 0
UNPUSHED = 0x3_0000  # RF and VM, which PUSHF never shows
FS = 4  # the segment register, by number


def _time() -> int:
    """Return what RDTSC counts: nanoseconds of the machine this runs on."""
    return time.perf_counter_ns() & ALL


# --- MSRs ---


def rdmsr(core: Core, parts: Parts) -> Op:
    """Read the MSR that ECX names."""
    regs, after = core.registers, parts.after

    def op() -> int:
        number = regs[RCX] & HALF
        value = core.bases[number - FS_BASE] if number in (FS_BASE, GS_BASE) else core.special.msrs.get(number, 0)
        regs[RAX], regs[RDX] = value & HALF, value >> 32
        return after

    return op


def wrmsr(core: Core, parts: Parts) -> Op:
    """Write it. The bases of FS and GS take effect."""
    regs, after = core.registers, parts.after

    def op() -> int:
        number, value = regs[RCX] & HALF, regs[RAX] & HALF | (regs[RDX] & HALF) << 32
        if number in (FS_BASE, GS_BASE):
            core.bases[number - FS_BASE] = value
        else:
            core.special.msrs[number] = value
        return after

    return op


def bases(core: Core, parts: Parts) -> Op:
    """RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE: F3 0F AE /0 to /3 with a register."""
    number, place = parts.digit & 1, rm(core, parts, 8 if parts.rex & 8 else 4)

    def put(value: int) -> None:
        core.bases[number] = value

    if parts.digit & 2:
        return move(place.get, put, parts.after)
    mask = MASK[8 if parts.rex & 8 else 4]
    return move(lambda: core.bases[number] & mask, place.put, parts.after)


def swapgs(core: Core, after: int) -> Op:
    """Return SWAPGS."""

    def op() -> int:
        core.bases[1], core.special.msrs[KERNEL_GS_BASE] = core.special.msrs.get(KERNEL_GS_BASE, 0), core.bases[1]
        return after

    return op


# --- control and debug registers, flags ---


def control(core: Core, parts: Parts) -> Op:
    """0F 20 and 0F 22: from and to CR0, CR2, CR3, CR4, CR8. One that would leave long mode is not known."""
    number, place, after = parts.reg, register(core, parts.rm, 8, rex=1), parts.after
    if number not in core.special.control or parts.mode != 3:
        raise Unknown
    if parts.second == 0x20:
        return move(lambda: core.special.control[number], place.put, after)

    def put(value: int) -> None:
        if number == 0 and (value ^ core.special.control[0]) & MODES:
            raise Fault(Trouble.UNKNOWN)
        core.special.control[number] = value | 0x10 if number == 0 else value & 0xF if number == 8 else value

    return move(place.get, put, after)


def debug(core: Core, parts: Parts) -> Op:
    """0F 21: from a debug register."""
    if parts.reg > 7 or parts.mode != 3:
        raise Unknown
    number = parts.reg
    return move(lambda: core.special.debug[number], register(core, parts.rm, 8, rex=1).put, parts.after)


def push_flags(core: Core, parts: Parts) -> Op:
    """9C."""
    size = stack_size(parts)
    return move(lambda: core.flags & ~UNPUSHED & MASK[size], pusher(core, size), parts.after)


def pop_flags(core: Core, parts: Parts) -> Op:
    """9D. Once TF is set, each instruction would raise an exception."""
    size = stack_size(parts)
    mask = POPPED & MASK[size]

    def put(value: int) -> None:
        if value & TF:
            raise Fault(Trouble.EXCEPTION)
        core.flags = core.flags & ~mask & ~(1 << 16) | value & mask

    return move(popper(core, size), put, parts.after)


# --- segments ---


def descriptor(core: Core) -> Callable[[int], int | None]:
    """Return what finds the upper half of a selector's descriptor; None where the table has none."""
    load = core.loader(4)

    def find(selector: int) -> int | None:
        base, limit = core.special.tables["gdt"]
        place = selector & 0xFFF8
        if not selector & 0xFFFC or selector & 4 or place + 7 > limit:
            return None
        load(base + place)
        return load(base + place + 4)

    return find


def verify(core: Core, parts: Parts) -> Op:
    """0F 00 /4 VERR, /5 VERW: may this segment be read, or written? ZF tells."""
    write, get, find, after = parts.digit == 5, rm(core, parts, 2).get, descriptor(core), parts.after

    def op() -> int:
        selector = get()
        found = find(selector)
        core.flags = core.flags & ~ZF | (ZF if found is not None and _may(found, selector, write=write) else 0)
        return after

    return op


def _may(found: int, selector: int, *, write: bool) -> bool:
    """Tell it by the descriptor: S, then the type's bits for code, conforming, and readable or writable."""
    kind, privilege = found >> 8 & 0x1F, found >> 13 & 3
    segment, code, conforming, allowed = kind & 0x10, kind & 8, kind & 4, kind & 2
    if not segment or (write and (code or not allowed)) or (not write and code and not allowed):
        return False
    return bool(code and conforming) or privilege >= selector & 3


def local(core: Core, parts: Parts) -> Op:
    """0F 00: SLDT and STR tell 0; VERR and VERW."""
    if parts.digit in (4, 5):
        return verify(core, parts)
    if parts.digit > 1:
        raise Unknown
    return _store_short(core, parts, lambda: 0)


def _store_short(core: Core, parts: Parts, get: Get) -> Op:
    """Return what stores two bytes in memory, or a register of the operand's size."""
    return move(get, rm(core, parts, 2 if parts.mode != 3 else parts.size).put, parts.after)


def from_segment(core: Core, parts: Parts) -> Op:
    """8C: the selector in a segment register."""
    number = parts.digit
    if number > 5:
        raise Unknown
    return _store_short(core, parts, lambda: core.special.segments[number])


def to_segment(core: Core, parts: Parts) -> Op:
    """8E: no segment, or one with writable data; others are not known."""
    if parts.digit in (1, 6, 7):
        raise Unknown
    return move(rm(core, parts, 2).get, segment_loader(core, parts.digit), parts.after)


def segment_loader(core: Core, number: int) -> Callable[[int], None]:
    """Return what loads a segment register. The base of FS and GS goes with it."""
    find = descriptor(core)

    def put(selector: int) -> None:
        found = find(selector)
        if selector & 0xFFFC:
            if found is None:
                raise Fault(Trouble.EXCEPTION)
            if found >> 8 & 0x9B != 0x93 or found & 0xFF or found >> 24:  # present, writable data, base 0
                raise Fault(Trouble.UNKNOWN)
        core.special.segments[number] = selector
        if number >= FS:
            core.bases[number - FS] = 0

    return put


def stack_segment(core: Core, parts: Parts) -> Op:
    """0F A0, A1, A8, A9: PUSH and POP of FS and GS."""
    number = FS + (parts.second >> 3 & 1)
    if parts.narrow:
        raise Unknown
    if not parts.second & 1:
        return move(lambda: core.special.segments[number], pusher(core), parts.after)
    load, pop = segment_loader(core, number), popper(core)
    return move(pop, lambda value: load(value & 0xFFFF), parts.after)


# --- 0F 01: tables, and instructions that ModRM names as a whole ---


def group_01(core: Core, parts: Parts) -> Op:
    """SGDT, SIDT, LGDT, LIDT, SMSW, INVLPG in memory; CLAC, STAC, SWAPGS, RDTSCP as registers."""
    after = parts.after
    if parts.mode != 3:
        return _table(core, parts)
    if parts.digit == 4:
        return _store_short(core, parts, lambda: core.special.control[0] & MASK[parts.size])
    if parts.repeat or parts.narrow:
        raise Unknown
    if parts.modrm in (0xCA, 0xCB):
        return alignment(core, after, on=parts.modrm == 0xCB)
    if parts.modrm == 0xF8:
        return swapgs(core, after)
    if parts.modrm == 0xF9:
        return counter(core, parts)
    if parts.modrm == 0xD0:
        return xgetbv(core, after)
    raise Unknown


def xgetbv(core: Core, after: int) -> Op:
    """Return XGETBV: XCR0 says that the state of the x87 alone is in use; there is no other such register."""
    regs = core.registers

    def op() -> int:
        if regs[RCX] & HALF:
            raise Fault(Trouble.EXCEPTION)
        regs[RAX], regs[RDX] = 1, 0
        return after

    return op


def _table(core: Core, parts: Parts) -> Op:
    """Return what loads or stores the place of a table: two bytes of limit, eight of address."""
    where, after = address(core, parts), parts.after
    if parts.digit == 4:
        return _store_short(core, parts, lambda: core.special.control[0] & 0xFFFF)
    if parts.digit == 7:
        return lambda: after
    if parts.digit > 3:
        raise Unknown
    table = "idt" if parts.digit & 1 else "gdt"
    if parts.digit < 2:
        store_limit, store_base = core.storer(2), core.storer(8)

        def store() -> int:
            at, (base, limit) = where(), core.special.tables[table]
            store_limit(at, limit)
            store_base(at + 2 & ALL, base)
            return after

        return store
    load_limit, load_base = core.loader(2), core.loader(8)

    def load() -> int:
        at = where()
        limit = load_limit(at)
        core.special.tables[table] = load_base(at + 2 & ALL), limit
        return after

    return load


# --- what tells about the CPU, and chance ---


def counter(core: Core, parts: Parts) -> Op:
    """RDTSC, and RDTSCP, which tells TSC_AUX as well."""
    regs, after = core.registers, parts.after

    def op() -> int:
        now = _time()
        regs[RAX], regs[RDX] = now & HALF, now >> 32
        if parts.second == 0x01:
            regs[RCX] = core.special.msrs.get(TSC_AUX, 0) & HALF
        return after

    return op


def cpuid(core: Core, parts: Parts) -> Op:
    """Tell the model's features; beyond the last leaf, what the last one tells."""
    regs, after = core.registers, parts.after

    def op() -> int:
        regs[RAX], regs[RBX], regs[RCX], regs[RDX] = leaf(regs[RAX] & HALF, regs[RCX] & HALF)
        return after

    return op


def group_c7(core: Core, parts: Parts) -> Op:
    """CMPXCHG8B and CMPXCHG16B; RDRAND and RDSEED."""
    if parts.mode == 3:
        if parts.digit not in (6, 7) or parts.repeat:
            raise Unknown
        size, put, after = parts.size, rm(core, parts, parts.size).put, parts.after

        def chance() -> int:
            put(random.getrandbits(8 * size))
            clear_flags(core)
            core.flags |= CF
            return after

        return chance
    if parts.digit != 1:
        raise Unknown
    return _compare_pair(core, parts)


def _compare_pair(core: Core, parts: Parts) -> Op:
    """Return CMPXCHG8B, or with REX.W CMPXCHG16B: RDX:RAX against memory, RCX:RBX to it. Written either way."""
    wide, where, after = bool(parts.rex & 8), address(core, parts), parts.after
    load, store, regs = core.loader(8), core.storer(8), core.registers

    def pair(high: int, low: int) -> int:
        return regs[high] << 64 | regs[low] if wide else (regs[high] & HALF) << 32 | regs[low] & HALF

    def op() -> int:
        at = where()
        if wide and at & 15:
            raise Fault(Trouble.EXCEPTION)
        value = load(at) | (load(at + 8 & ALL) << 64 if wide else 0)
        equal = value == pair(RDX, RAX)
        new = pair(RCX, RBX) if equal else value
        store(at, new & ALL)
        if wide:
            store(at + 8 & ALL, new >> 64)
        if not equal:
            bits, mask = (64, ALL) if wide else (32, HALF)
            regs[RAX], regs[RDX] = value & mask, value >> bits
        core.flags = core.flags & ~ZF | (ZF if equal else 0)
        return after

    return op


def port(core: Core, parts: Parts) -> Op:
    """E4 to E7 and EC to EF: no device answers; IN reads zeros."""
    if parts.opcode & 2:
        return nothing(core, parts)
    size = min(parts.width(parts.opcode), 4)
    return move(lambda: 0, register(core, RAX, size, rex=1).put, parts.after)


ONE = {
    0x8C: from_segment,
    0x8E: to_segment,
    0x9C: push_flags,
    0x9D: pop_flags,
    **dict.fromkeys((*range(0xE4, 0xE8), *range(0xEC, 0xF0)), port),
    0x9B: nothing,
}
TWO = {
    0x00: local,
    0x01: group_01,
    **dict.fromkeys((0x06, 0x08, 0x09), nothing),  # CLTS, INVD, WBINVD
    **dict.fromkeys((0x20, 0x22), control),
    0x21: debug,
    0x30: wrmsr,
    0x31: counter,
    0x32: rdmsr,
    **dict.fromkeys((0xA0, 0xA1, 0xA8, 0xA9), stack_segment),
    0xA2: cpuid,
    0xC7: group_c7,
}
