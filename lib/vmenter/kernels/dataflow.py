"""What a run's values come from: which of the things it found and did not make reach each instruction.

A run of the machine gives every instruction and every access to memory. From these alone it can be followed what
was read before anything was written there (an `Input`), and which registers, flags and bytes hold something that
was made of it. Nothing is modelled an instruction at a time: what it writes comes from all that it reads, by the
decoder's lists of registers and the machine's list of accesses. That is more than true dependence, never less,
but for two things left out on purpose: a pointer is no part of an input that it points to (an index is, and so is
a pointer into a table, which holds what is known), and the selector that VERW looks at decides about nothing but
ZF, which is always the same. Where things stand (the vCPU, the stack, the code) is asked of the machine alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from vmenter.code.decoder import detail
from vmenter.code.decoder.detail import CONSTANT, MEMORY, REGISTER, Detail, Operand
from vmenter.code.instructions import Instruction, is_nop
from vmenter.emulator.memory import IMAGES_END, LAB_BASE, STACK_START
from vmenter.emulator.trace import RawAccess

FLAGS = "rflags"
CARRY = "cf"  # apart from the other flags: BT writes it alone, VERW leaves it alone
OF_CARRY = frozenset({"b", "ae", "c", "nc", "nae", "nb"})
OF_BOTH = frozenset({"a", "be", "na", "nbe"})
CONDITIONAL = re.compile(r"(?:j|set|cmov)(n?[a-z]{1,3}?)[lqw]?(?:,p[nt])?")
ASKS_CARRY = ("adc", "sbb", "rcl", "rcr", "cmc")
OF_THE_MACHINE = (
    "rdtsc", "rdmsr", "cpuid", "vmread", "rdrand", "rdseed", "rdpmc", "rdpid", "rdpkru", "rdfsbase", "rdgsbase",
    "rdssp", "xgetbv", "str", "sldt", "sgdt", "sidt", "smsw", "lar", "lsl", "pushf", "inb", "inw", "inl", "insb",
    "insw", "insl", "sysenter", "vmcall", "vmmcall",
)  # fmt: skip
HELD = re.compile(r"[cd]r\d+|[xyz]?mm\d+|st\(?\d\)?|k\d|[c-gs]s|tr\d?|bnd\d")  # registers that are not followed
LOW = ":low"  # the lowest byte of a register, which is a place of its own once it was written alone
STACK = ("push", "pop", "call", "ret", "lret")
ADDRESS = re.compile(r"\$(0x[0-9a-f]+),")
TOUCHES = ("prefetch", "clflush", "clwb", "cldemote", "invlpg", "cache", "clzero", "movnt")
"""Instructions that bring data near or away, which the machine tells as no access."""


class Input(NamedTuple):
    """Something that a run found: bytes of memory, a register at the start, or what only the machine knows."""

    kind: str  # "memory", "register" or "machine"
    where: int | str  # address, the register's name, or the instruction that asked
    size: int  # bytes

    @property
    def places(self) -> tuple["Place", ...]:
        """The bytes or the register that it stands in."""
        return tuple(range(self.where, self.where + self.size)) if isinstance(self.where, int) else (self.where,)


VCPU_PLACE = Input("machine", "the vCPU's address", 8)
STACK_PLACE = Input("machine", "the stack's address", 8)
CODE_PLACE = Input("machine", "the address at which the code is loaded", 8)
PLACES = frozenset({VCPU_PLACE, STACK_PLACE, CODE_PLACE})

Place = int | str  # a byte of memory, a register (its 64-bit name) or the flags
Taint = frozenset[Input]
NOTHING: Taint = frozenset()
NO_PLACES: frozenset["Place"] = frozenset()
MOST_ROUNDS = 32  # of a loop, of which each is followed


@dataclass(frozen=True, slots=True)
class Use:
    """What one instruction does to registers, whatever it finds in them."""

    reads: tuple[str, ...]  # whose values go on; the flags among them
    through: tuple[str, ...]  # that only say where in memory
    writes: tuple[tuple[str, bool], ...]  # and whether all of it is written
    asks: str | None = None  # what only the machine knows: a mnemonic whose answer, a register, an address
    to_itself: bool = False  # TEST of a register with itself


class State(NamedTuple):
    """What reaches what, right before a step."""

    taints: dict[Place, Taint]  # of registers, and of memory that was read or written
    written: dict[int, int]  # bytes of memory that were written


@dataclass
class Flow:
    """What reached each step of a run. Steps are the run's own."""

    before: dict[int, Any] = field(default_factory=dict)  # each step that was to be watched, and behind the last

    branches: dict[int, Taint] = field(default_factory=dict)  # at each step that was to be watched
    read: dict[Input, int] = field(default_factory=dict)  # the step at which each was first read
    reads: list[frozenset[Place]] = field(default_factory=list)  # of every step
    writes: list[frozenset[Place]] = field(default_factory=list)  # all of which it overwrites
    access: dict[int, Taint] = field(
        default_factory=dict
    )  # what reached the memory that each access (its index) reads

    def state(self, step: int) -> State:
        """Return what reaches what, right before a step that was watched, or behind the last."""
        return _state(*self.before[step])


def follow(
    steps: Sequence[int],
    code: Mapping[int, Instruction],
    accesses: Sequence[RawAccess],
    start: Mapping[str, Taint],
    constant: Any,
    watched: frozenset[int],
) -> Flow:
    """Follow a run. `start` has the inputs in registers; `constant(address)`: memory never changes there."""
    found = Flow()
    registers: dict[Place, Taint] = dict(start.items())
    memory: dict[int, Taint] = {}
    written: dict[int, int] = {}
    rounds: dict[int, int] = {}
    at, total = 0, len(accesses)
    for step, address in enumerate(steps):
        rounds[address] = rounds.get(address, 0) + 1
        if rounds[address] > MOST_ROUNDS:  # of a loop: the registers are those of the rounds before
            while at < total and accesses[at][0] == step:
                at += 1
            found.reads.append(NO_PLACES)
            found.writes.append(NO_PLACES)
            continue
        instruction = code[address]
        use = _use(instruction.code, instruction.mnemonic, instruction.operands)
        taint: Taint = NOTHING
        before = (dict(registers), dict(memory), dict(written)) if address in watched else None
        reads: set[Place] = set(use.through)
        reads.update(name.removesuffix(LOW) for name in use.reads)
        writes: set[Place] = set()
        for name in use.reads:
            taint |= _of_register(registers, name)
        pointed = frozenset().union(*(_of_register(registers, name) for name in use.through)) - PLACES
        first = at
        while at < total and accesses[at][0] == step:
            _, where, size, write, _ = accesses[at]
            if not write and instruction.mnemonic != "verw":
                reads.update(range(where, where + size))
                held = _from_memory(found, memory, where, size, step, constant)
                known = not any(one.kind == "memory" and where in one.places for one in held)
                taint |= held | pointed if known else held
                if where >> 3 == STACK_START >> 3:  # where the function returns to
                    taint |= {CODE_PLACE}
                found.access[at] = taint
            at += 1
        if use.asks:
            taint |= {Input("machine", use.asks, 8)}
        if use.to_itself:  # is it 0? No address is
            taint -= PLACES
        for index in range(first, at):
            _, where, size, write, value = accesses[index]
            if write:
                written.update(enumerate((value & (1 << 8 * size) - 1).to_bytes(size, "little"), where))
                memory.update(dict.fromkeys(range(where, where + size), taint))
                writes.update(range(where, where + size))
        for name, whole in use.writes:
            registers[name] = taint if whole or name.endswith(LOW) else taint | registers.get(name, NOTHING)
            if whole:
                writes.add(name)
                registers.pop(name + LOW, None)
        if before is not None:
            found.branches[step] = taint
            found.before[step] = before
        found.reads.append(frozenset(reads))
        found.writes.append(frozenset(writes))
    found.before[len(steps)] = registers, memory, written
    return found


def _state(registers: dict[Place, Taint], memory: dict[int, Taint], written: dict[int, int]) -> State:
    names = [name for name in registers if isinstance(name, str) and not name.endswith(LOW)]
    taints: dict[Place, Taint] = {name: _of_register(registers, name) for name in names}
    taints.update(memory.items())
    return State(taints, written)


def _of_register(registers: dict[Place, Taint], name: str) -> Taint:
    """Return what reached a register, or its lowest byte where that was written alone."""
    low = registers.get(name.removesuffix(LOW) + LOW)
    if name.endswith(LOW):
        return registers.get(name.removesuffix(LOW), NOTHING) if low is None else low
    return registers.get(name, NOTHING) | (low or NOTHING)


def _from_memory(found: Flow, memory: dict[int, Taint], where: int, size: int, step: int, constant: Any) -> Taint:
    """Return what reaches bytes of memory; those that nothing was written to are inputs, read in one piece."""
    taint: Taint = NOTHING
    fresh = [at for at in range(where, where + size) if at not in memory]
    if fresh and not constant(where):
        known = found.read
        for first, length in _stretches(fresh):
            one = Input("memory", first, length)
            known.setdefault(one, step)
            memory.update(dict.fromkeys(range(first, first + length), frozenset({one})))
    for at in range(where, where + size):
        taint |= memory.get(at, NOTHING)
    return taint


def _stretches(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, length) of numbers that follow on one another."""
    first = previous = places[0]
    for place in places[1:]:
        if place != previous + 1:
            yield first, previous - first + 1
            first = place
        previous = place
    yield first, previous - first + 1


@lru_cache(maxsize=1 << 14)
def _use(code: bytes, mnemonic: str, text: str) -> Use:
    """Return what an instruction does to registers."""
    if mnemonic.startswith(("vmread", "vmwrite")):  # the decoder has their operands the wrong way round
        flags = ((CARRY, True), (FLAGS, True))  # the machine lets them succeed
        if "write" in mnemonic:
            return Use((), (), flags)
        return Use((), (), (*((name, True) for name in _written(code)), *flags), "vmread")
    one = detail(code)
    if one is None or is_nop(code):
        return Use((), (), ())
    read = [_part(name) for name in one.reads]
    written = list(one.writes)
    operands = [operand for operand in one.operands if operand.kind != CONSTANT]
    two = len(operands) == 2 and operands[0].kind == operands[1].kind == REGISTER
    if two and mnemonic.startswith(("xor", "sub")) and operands[0].register == operands[1].register:
        read = []
    through: list[str] = []
    if not mnemonic.startswith("lea"):
        values = {_part(o.register) for o in operands if o.kind == REGISTER and o.read}
        values |= {family(o.index) for o in operands if o.index}
        bases = {family(o.base) for o in operands if o.base}
        through = [name for name in read if name in bases - values]
    if mnemonic.startswith(STACK):  # RSP moves by what is pushed, but not to where that says
        through += [name for name in read if name == "rsp"]
        written = [name for name in written if name != "rsp"]
    keeps = mnemonic.startswith("cmov")
    reading = tuple(name for name in read if name and name not in through)
    if FLAGS in reading:
        reading = (*(name for name in reading if name != FLAGS), *_flags_read(mnemonic))
    writing = tuple(
        (_part(name), not keeps and name in WHOLE) for name in written if _part(name) and name != FLAGS
    )
    return Use(
        reading,
        tuple(name for name in through if name),
        writing + (_flags_written(mnemonic) if FLAGS in written or mnemonic == "verw" else ()),
        next((asked for asked in OF_THE_MACHINE if mnemonic.startswith(asked)), None)
        or _held(one, operands)
        or _place(mnemonic, text),
        two and mnemonic.startswith("test") and operands[0].register == operands[1].register,
    )


def _place(mnemonic: str, text: str) -> str | None:
    """Return what an instruction learns by an address of the image, by LEA or as a constant."""
    constant = ADDRESS.match(text) if mnemonic.startswith("mov") else None
    relative = mnemonic.startswith("lea") and "(%rip)" in text
    if relative or mnemonic.startswith("call") or (constant and LAB_BASE <= int(constant[1], 16) < IMAGES_END):
        return str(CODE_PLACE.where)
    return None


def _held(one: Detail, operands: Sequence[Operand]) -> str | None:
    """Return the register whose content is asked for and is not followed: control, debug, SIMD, segment."""
    segments = {o.segment for o in operands if o.kind == MEMORY}
    return next((name for name in one.reads if HELD.fullmatch(name) and name not in segments), None)


def _flags_read(mnemonic: str) -> tuple[str, ...]:
    """Return which flags an instruction asks for."""
    if mnemonic.startswith(ASKS_CARRY):
        return (CARRY,)
    condition = CONDITIONAL.fullmatch(mnemonic)
    word = condition[1] if condition else ""
    return (CARRY,) if word in OF_CARRY else (CARRY, FLAGS) if word in OF_BOTH or not condition else (FLAGS,)


def _flags_written(mnemonic: str) -> tuple[tuple[str, bool], ...]:
    """Return which flags an instruction writes, and whether nothing is left of what was there."""
    if mnemonic.startswith(("bt", "clc", "stc", "cmc")):
        return ((CARRY, True),)
    if mnemonic.startswith(("inc", "dec")):
        return ((FLAGS, True),)
    if mnemonic.startswith(("verw", "verr", "lar", "lsl")):
        return ((FLAGS, False),)
    whole = not mnemonic.startswith(("ro", "rc", "sh", "sa", "cld", "std"))
    return ((CARRY, whole), (FLAGS, whole))


def _written(code: bytes) -> tuple[str, ...]:
    """Return the register that VMREAD writes to: ModRM's r/m, if that is one."""
    at = code.find(b"\x78")
    if at < 0 or at + 1 >= len(code) or code[at + 1] >> 6 != 3:
        return ()
    number = code[at + 1] & 7 | (8 if code[0] & 0xF0 == 0x40 and code[0] & 1 else 0)
    return (_ORDER[number],)


_ORDER = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))
_FAMILIES: dict[str, str] = {name: name for name in (*_ORDER, FLAGS)}
for _letter in "abcd":
    _FAMILIES |= dict.fromkeys((f"e{_letter}x", f"{_letter}x", f"{_letter}l", f"{_letter}h"), f"r{_letter}x")
for _name in ("sp", "bp", "si", "di"):
    _FAMILIES |= dict.fromkeys((f"e{_name}", _name, f"{_name}l"), f"r{_name}")
for _number in range(8, 16):
    _FAMILIES |= dict.fromkeys((f"r{_number}d", f"r{_number}w", f"r{_number}b"), f"r{_number}")
WHOLE = frozenset(
    {*_ORDER, FLAGS, *(f"r{number}d" for number in range(8, 16)), *(f"e{name[1:]}" for name in _ORDER[:8])}
)


LOWEST = frozenset(
    {*(f"{letter}l" for letter in "abcd"), "spl", "bpl", "sil", "dil", *(f"r{n}b" for n in range(8, 16))}
)


def family(name: str) -> str:
    """Return the 64-bit name of a general register; "" for any other."""
    return _FAMILIES.get(name, "")


def _part(name: str) -> str:
    """Return the 64-bit name, marked where only the lowest byte is meant."""
    return family(name) + LOW * (name in LOWEST)
