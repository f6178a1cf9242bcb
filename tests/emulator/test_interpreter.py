"""The interpreter's instructions, one at a time, against Unicorn: registers, flags, memory, accesses, faults."""

import re
from functools import cache
from itertools import pairwise
from random import Random

import pytest
from fuzz import OFTEN
from hypothesis import given, settings
from hypothesis import strategies as st
from lab_images import code

from vmenter.code.x86 import NUMBERED
from vmenter.emulator.choice import new_cpu
from vmenter.emulator.cpu import Fault, Trouble
from vmenter.emulator.interpreter import sse, system, table
from vmenter.emulator.interpreter.parts import Parts, Unknown
from vmenter.emulator.memory import GDT, PAGE

CODE, ROOM, DESCRIPTORS = 0x1000_0000, 0x7100_0000, 0x7300_0000
NOWHERE = 0x6000_0000
SIZE = 3 * PAGE  # of the room that registers point into
CF, PF, AF, ZF, SF, TF, DF, OF = 1, 4, 0x10, 0x40, 0x80, 0x100, 0x400, 0x800
ARITHMETIC = CF | PF | AF | ZF | SF | OF
ALL = (1 << 64) - 1
EDGES = (
    0, 1, 2, 0x18, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 63) - 1,
    ALL, ALL - 1,
)  # fmt: skip


class Watcher:
    """Lets a CPU execute one instruction."""

    def __init__(self, cpu):
        self.cpu, self.steps, self.accesses, self.plain, self.pause_at = cpu, [], [], set(), 2

    def arrived(self, address):
        self.plain.add(address)

    def paused(self):
        self.cpu.stop()


class Bench:
    """A CPU with a page of code and some room."""

    def __init__(self, name):
        self.cpu = new_cpu(name)
        for place, size in ((CODE, PAGE), (ROOM, SIZE), (DESCRIPTORS, PAGE)):
            self.cpu.map(place, size)
        self.cpu.write(DESCRIPTORS, GDT)
        self.cpu.set_gdt(DESCRIPTORS, len(GDT))
        self.cpu.set("gs_base", 0x40)
        self.watcher = Watcher(self.cpu)
        self.cpu.watch(self.watcher)
        self.start = self.cpu.save()

    def one(self, instruction, registers, flags, memory):
        """Execute one instruction; return everything that can be seen of it."""
        cpu, watcher = self.cpu, self.watcher
        cpu.restore(self.start)
        cpu.write(CODE, instruction.ljust(128, b"\x90"))
        cpu.write(ROOM, memory)
        cpu.forget_code()
        watcher.plain.clear()
        watcher.steps.clear()
        watcher.accesses.clear()
        for name, value in zip(NUMBERED, registers, strict=True):
            cpu.set(name, value)
        cpu.set("rflags", flags)
        fault = None
        try:
            cpu.run(CODE, NOWHERE)
        except Fault as found:
            fault = found
        seen = {name: cpu.get(name) for name in (*NUMBERED, "rip", "rflags", "gs_base")}
        return fault, seen, tuple(watcher.steps), tuple(watcher.accesses), cpu.read(ROOM, SIZE)


@cache
def bench(name):
    return Bench(name)


def undefined(instruction):
    """Return the flags that the SDM calls undefined behind an instruction, where QEMU keeps something of its own."""
    at = next(
        n for n, byte in enumerate(instruction) if byte not in b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3"
    )
    at += instruction[at] & 0xF0 == 0x40
    two = instruction[at : at + 2]
    if two[0] == 0x0F and two[1:2] and two[1] in (0xA3, 0xAB, 0xB3, 0xBB, 0xBA):
        return OF | SF | AF | PF
    if two[0] == 0x0F and two[1:2] and two[1] in (0xA4, 0xA5, 0xAC, 0xAD):
        return OF | AF
    return 0


def differences(instruction, registers, flags, memory):
    """Execute one instruction on both CPUs; return what differs, and whether the interpreter knows it.

    Nothing else is given to Unicorn, which translates what follows, too: there are bytes at which it aborts.
    """
    try:
        instruction = Parts(instruction, CODE).code
    except Unknown:
        return [], False
    two = bench("interpreter").one(instruction, registers, flags, memory)
    if two[0] is not None and two[0].trouble is Trouble.UNKNOWN:
        return [], False
    one = bench("unicorn").one(instruction, registers, flags, memory)
    if one[0] != two[0]:
        return [("fault", one[0], two[0])], True
    if one[0] is not None:
        return [("steps", one[2], two[2])] if one[2] != two[2] else [], True
    mask = undefined(instruction)
    one[1]["rflags"] |= mask
    two[1]["rflags"] |= mask
    found = [(name, hex(value), hex(two[1][name])) for name, value in one[1].items() if value != two[1][name]]
    found += [(what, one[n], two[n]) for n, what in ((2, "steps"), (3, "accesses")) if one[n] != two[n]]
    if one[4] != two[4]:
        found.append(("memory", None, None))
    return found, True


# --- lines that are known, each with random registers, flags and memory ---

KNOWN = """
mov %rbx, %rcx; mov %ebx, %ecx; mov %bx, %cx; mov %bl, %ch; mov %r9b, %sil; mov 8(%rdi), %rax; mov %rax, -8(%rdi)
mov 8(%rdi), %eax; mov %al, 3(%rdi); movb $-1, (%rdi); movw $-2, (%rdi); movl $-3, (%rdi); movq $-4, (%rdi)
mov $0x123456789abcdef0, %rax; mov $7, %r9d; mov (%rdi,%rcx), %rax; mov 4(%rdi,%rcx,8), %ax; mov (,%rdi), %rax
movabs 0x71000010, %rax; movabs %al, 0x71000011; mov %gs:0x71000000, %rdx; mov %gs:8(%rdi), %edx; mov %ds:(%rdi), %ecx
addr32 mov (%edi), %rax; mov 0x71000100, %rax; xchg %rax, (%rdi); xchg %cl, %ah; xchg %rax, %r8; xchg %ax, %bx; nop; pause
movzbl (%rdi), %eax; movzwq %cx, %rdx; movsbw %ah, %cx; movslq %ecx, %rdx; movsbq (%rdi), %r10; movswl (%rdi), %ecx
cbtw; cwtl; cltq; cwtd; cltd; cqto; lea 5(%rax,%rcx,4), %rdx; lea (%rdi), %cx; lea 7(%rip), %rax; lea %gs:(%rdi), %rax
bswap %eax; bswap %r10; movnti %rax, (%rdi); nopw 0(%rax,%rax); nopl (%rdi); endbr64; prefetcht0 (%rdi); prefetchw (%rdi)
push %rax; push %r12; pushw %cx; push $-5; push $0x12345; push (%rdi); pop %rcx; pop %r13; popw %cx; pop (%rdi); pop 8(%rsp)
push %rsp; pop %rsp; enter $32, $0; leave; xlat; push %gs; pushf; pushfw; lahf; sahf
add %rcx, %rdx; add %cl, %dl; add (%rdi), %ecx; add %ecx, (%rdi); adc $-1, %rdx; adc %cx, (%rdi); sbb %rcx, %rdx; sbb $5, %al
sub $0x1000, %rsp; sub %r8w, %r9w; and $0xf0, %eax; and %rcx, (%rdi); or (%rdi), %bl; or $1, %ax; xor %eax, %eax; xor %rdx, %rcx
cmp %rcx, %rdx; cmpb $0, (%rdi); cmp (%rdi), %rax; cmp $-1, %r15; test %rax, %rcx; testb $4, (%rdi); test $0x80, %al; test %ecx, (%rdi); test %cl, %dl; test $7, %eax
inc %rcx; incb (%rdi); dec %r9d; decw (%rdi); not %rcx; notb (%rdi); neg %rcx; negl (%rdi); mul %rcx; mulb %cl; mull (%rdi)
imul %rcx; imulw (%rdi); imul %cl; imul %rcx, %rdx; imul $7, %rcx, %rdx; imul $-1000, (%rdi), %ecx; imul $3, %cx, %dx
div %rcx; divb %cl; divl (%rdi); divw %cx; idiv %rcx; idivb %cl; idivl %ecx; idivw (%rdi)
shl %rax; shl $3, %ecx; shl %cl, %rdx; shlb %cl, (%rdi); shr %rax; shr $63, %rdx; shr %cl, %dx; sar %cl, %rdx; sar $1, %al
sarl $31, (%rdi); rol $4, %rdx; rol %cl, %dl; ror %cl, %edx; ror $1, %dx; rcl $1, %rdx; rcl %cl, %dl; rcr %cl, %rdx; rcrw (%rdi)
shld $5, %rcx, %rdx; shld %cl, %edx, (%rdi); shrd $1, %ecx, %edx; shrd %cl, %rdx, (%rdi); xadd %rcx, %rdx; xadd %cl, (%rdi)
xadd %rcx, %rcx; cmpxchg %rcx, %rdx; cmpxchg %ecx, (%rdi); cmpxchg %cl, %dl; cmpxchg8b (%rdi); cmpxchg16b (%rdi)
lock incq (%rdi); lock addl $1, (%rdi); lock xadd %rax, (%rdi); lock cmpxchg %rcx, (%rdi); lock btsl $3, (%rdi); lock orb $1, (%rdi)
bt %rcx, %rdx; bt $5, %eax; btl %ecx, (%rdi); bts $9, %rdx; btr %cx, %dx; btc %ecx, %edx; btsq $60, (%rdi); btrl $1, (%rdi)
btcw $15, (%rdi); bsf %rcx, %rdx; bsr (%rdi), %ecx; bsf %cx, %dx; tzcnt %rcx, %rdx; lzcnt %ecx, %edx; popcnt (%rdi), %rcx
sete %al; setnz (%rdi); setl %ah; setg %r9b; seto %cl; setp (%rdi); seta %dl; setns %dl; cmc; clc; stc; cld; std; cli; sti
cmove %rcx, %rdx; cmovne (%rdi), %ecx; cmovl %ecx, %edx; cmovg %cx, %dx; cmovbe %rcx, %rdx; cmovs %ecx, %ecx; cmovp (%rdi), %rax
movsb; movsw; movsl; movsq; rep movsb; rep movsq; cmpsb; repe cmpsb; repne cmpsl; cmpsq; stosb; stosw; rep stosq; rep stosl
lodsb; lodsw; lodsl; lodsq; rep lodsb; scasb; repne scasb; repe scasw; scasl; scasq; gs movsq
jmp .+2; jmp .+0x1000; je .+8; jne .+8; ja .+8; jbe .+8; jl .+8; jge .+8; jle .+8; jg .+8; jo .+8; jns .+8; jp .+8; jc .+0x200
jrcxz .+8; jecxz .+8; loop .+8; loope .+8; loopne .+8; call .+0x20; call *%rax; call *(%rdi); jmp *%rcx; jmp *8(%rdi); ret; ret $16
int3; int $0x80; hlt; ud2; in $0x10, %al; in %dx, %eax; out %al, $0x10; out %eax, %dx; wait
rdmsr; mov %cr0, %rax; mov %cr2, %rcx; mov %cr3, %r9; mov %cr4, %rax; mov %cr8, %rax; mov %rax, %cr2; mov %rax, %cr3
mov %dr7, %rax; mov %dr6, %rcx; mov %ds, %eax; mov %gs, %rcx; mov %ss, (%rdi); sldt %eax; str %ax; sldt (%rdi); smsw %rax; smsw (%rdi)
verw (%rdi); verr (%rdi); verw %ax; verr %cx; lgdt (%rdi); lidt (%rdi); sgdt (%rdi); sidt (%rdi); invlpg (%rdi); clts; wbinvd; invd
stac; clac; swapgs; cpuid; rdfsbase %rax; rdgsbase %ecx; wrgsbase %rdi; wrfsbase %eax; lfence; mfence; sfence; clflush (%rdi)
clflushopt (%rdi); clwb (%rdi); ldmxcsr (%rdi); stmxcsr (%rdi); fxsave (%rdi)
movups (%rdi), %xmm0; movaps %xmm0, (%rdi); movdqu (%rdi), %xmm9; movdqa %xmm1, %xmm2; movq %xmm0, %r8; movd %xmm0, %eax
movq %rax, %xmm3; movd (%rdi), %xmm1; movq (%rdi), %xmm1; movq %xmm1, (%rdi); movss (%rdi), %xmm4; movsd %xmm4, (%rdi)
movss %xmm1, %xmm2; movsd %xmm1, %xmm2; pxor %xmm0, %xmm0; xorps %xmm1, %xmm1; pcmpeqd %xmm0, %xmm0; pcmpeqb (%rdi), %xmm1
pcmpeqw %xmm1, %xmm2; andps %xmm1, %xmm2; andnps (%rdi), %xmm1; orps (%rdi), %xmm3; pand (%rdi), %xmm1; pandn %xmm1, %xmm2
por (%rdi), %xmm5; movaps (%rdi), %xmm1; movups %xmm7, (%rdi); movdqa %xmm1, (%rdi); movdqu %xmm1, 3(%rdi); movdqa (%rdi), %xmm1
movupd %xmm1, (%rdi); movsd %xmm1, 8(%rdi); movss %xmm1, 4(%rdi); movsd 8(%rdi), %xmm1; movd %xmm1, (%rdi); movq %xmm1, %xmm2
 movntdq %xmm1, (%rdi); movntps %xmm1, (%rdi)
"""
LINES = [line.strip() for line in re.split(r"[;\n]", KNOWN) if line.strip()]


@cache
def assembled():
    """Return the bytes of every line, all assembled at once."""
    labels = "".join(f".globl l{number}\nl{number}: {line}\n" for number, line in enumerate(LINES))
    image = code(labels + f".globl l{len(LINES)}\nl{len(LINES)}: nop")
    places = [image.symbols.get(f"l{number}").address for number in range(len(LINES) + 1)]
    return [image.read(start, end - start) for start, end in pairwise(places)]


@pytest.mark.parametrize("number", range(len(LINES)), ids=LINES)
def test_a_line_does_what_it_does_in_unicorn(number):
    random = Random(number)
    for _ in range(20 if OFTEN else 5):
        registers = [chance(random) for _ in NUMBERED]
        registers[1] = random.choice([0, 1, 5, 63, 64, random.getrandbits(64)])
        for number_ in (4, 6, 7):  # RSP, RSI, RDI
            registers[number_] = random.randrange(ROOM + PAGE, ROOM + 2 * PAGE) & -random.choice([1, 8, 16, 64])
        flags = random.getrandbits(16) & (ARITHMETIC | DF)
        found, is_known = differences(assembled()[number], registers, flags, random.randbytes(SIZE))
        assert not found, (LINES[number], found)
        assert is_known or LINES[number] == "ud2"


def chance(random):
    """Return a value: an edge, an address in the room, anything."""
    return random.choice(
        [
            random.choice(EDGES),
            random.randrange(ROOM, ROOM + SIZE - 64),
            random.getrandbits(64),
            random.randrange(64),
        ]
    )


def test_there_is_a_line_for_each_builder_and_for_each_sse_instruction():
    tried, moves, logic = set(), set(), set()
    for instruction in assembled():
        parts = Parts(instruction, CODE)
        tried.add(table.ONE.get(parts.opcode) if parts.second < 0 else table.TWO.get(parts.second))
        if parts.second >= 0 and table.TWO.get(parts.second) is sse.sse:
            moves.add((sse.prefix(parts), parts.second))
            logic.add(parts.second)
    not_alone = {system.pop_flags, system.wrmsr, system.counter, system.to_segment}  # tried in other tests
    assert {*table.ONE.values(), *table.TWO.values()} - not_alone <= tried
    assert {opcode for _, opcode in sse.MOVES} <= logic
    assert sse.LOGIC.keys() <= logic
    assert sse.MOVES.keys() - moves <= {(0x66, 0x10), (0x66, 0x11), (0x66, 0x28), (0x66, 0x29)}  # as without 66


@pytest.mark.parametrize("instruction", ["popfq", "popfw"])
def test_popf_takes_what_it_may_and_the_trap_flag_is_an_exception(instruction):
    code_ = b"\x9d" if instruction == "popfq" else b"\x66\x9d"
    random = Random(1)
    for _ in range(60):
        popped, before = random.getrandbits(64), random.getrandbits(12) & (ARITHMETIC | DF)
        registers = [ROOM + PAGE] * 16
        for value in (popped & ~TF, popped | TF):
            memory = bytes(PAGE) + value.to_bytes(8, "little") + bytes(SIZE - PAGE - 8)
            if not value & TF:
                assert differences(code_, registers, before, memory) == ([], True)
            else:
                assert bench("interpreter").one(code_, registers, before, memory)[0].trouble is Trouble.EXCEPTION


# --- any bytes that the tables know ---

OPCODES = [bytes([opcode]) for opcode in table.ONE] + [bytes([0x0F, opcode]) for opcode in table.TWO]
BY_CHANCE = {b"\x0f\x31", b"\x0f\xc7", b"\x0f\x01"}  # the time, chance
OWN_WAY = {b"\x0f\x22", b"\x0f\x30", b"\x9d"}  # what changes the CPU's mode
TRIED = [opcode for opcode in OPCODES if opcode not in BY_CHANCE | OWN_WAY]

values = st.one_of(st.sampled_from(EDGES), st.integers(0, ALL), st.integers(ROOM, ROOM + SIZE - 64))
pointers = st.integers(ROOM + PAGE, ROOM + 2 * PAGE)
prefixes = st.sampled_from([b"", b"", b"", b"\x66", b"\xf3", b"\xf2", b"\xf0", b"\x65", b"\x67", b"\x66\xf3"])
rexes = st.sampled_from([b"", b"\x48", b"\x48", b"\x40", b"\x41", b"\x44", b"\x4c", b"\x4f", b"\x42"])


@st.composite
def instructions(draw):
    """Draw prefixes, an opcode of the tables, ModRM and what follows; mostly a displacement that stays near."""
    prefix, rex, opcode = draw(prefixes), draw(rexes), draw(st.sampled_from(TRIED))
    modrm, rest = draw(st.integers(0, 255)), draw(st.binary(min_size=9, max_size=9))
    if opcode in (b"\x9e", b"\x9f"):
        rex = b""  # with REX, QEMU takes SPL for AH
    if opcode in (b"\xc6", b"\xc7"):
        rex = (
            rex.replace(b"\x44", b"\x40").replace(b"\x4c", b"\x48").replace(b"\x4f", b"\x4b")
        )  # REX.R is /8 to QEMU
    if opcode == b"\x0f\xb8":
        prefix = prefix.replace(b"\x66", b"")  # QEMU lets 66 win over REX.W in POPCNT
    if modrm & 0xC7 == 5:
        modrm |= 0x40  # no writes to the code itself, which Unicorn executes again
    if modrm < 0xC0 and draw(st.booleans()):
        rest = rest[:1] + bytes(4) + rest[5:] if modrm & 7 == 4 else b"\x10\0\0\0" + rest[4:]
    return prefix + rex + opcode + bytes([modrm]) + rest


@st.composite
def states(draw):
    """Draw registers, most of them pointers, flags, and memory."""
    registers = [draw(pointers if draw(st.booleans()) else values) for _ in NUMBERED]
    registers[4] = draw(pointers) & -8
    flags = draw(st.integers(0, 0xFFFF)) & (ARITHMETIC | DF)
    return registers, flags, Random(draw(st.integers(0, 1 << 32))).randbytes(SIZE)


@settings(max_examples=3000 if OFTEN else 300)
@given(instructions(), states())
def test_any_instruction_that_is_known_does_what_it_does_in_unicorn(instruction, state):
    found, _ = differences(instruction, *state)
    assert not found, (instruction.hex(" "), found)
