"""Kernels that do something else than what they were built to do: edits of real modules, a few bytes each.

Each mutant says which module it is made of, what is written where (by symbol and offset), and what must be said of
it. Code of our own is assembled; it goes where the module has room: into the padding in front of functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from real_modules import module_file
from real_modules import read as read_module

from vmenter.code.assembler import assemble
from vmenter.code.image import Image, from_bytes
from vmenter.code.instructions import decode
from vmenter.emulator.memory import LAB_BASE
from vmenter.patching import static_keys
from vmenter.patching.alternative_table import AltEntry, read

Edit = Callable[[Image], Mapping[int, bytes]]
VM, VM_MMIO, CPU_BUF, SPEC, RSB, RSB_LITE = 685, 691, 114, 240, 237, 369
ROOM = "__pfx_vmx_vcpu_enter_exit"  # 16 bytes of NOPs, in a section of its own kind
STUB, ENTER, FLUSH, FLAGS = "__vmx_vcpu_run", "vmx_vcpu_enter_exit", "vmx_l1d_flush", "__vmx_vcpu_enter_flags"
SVM, SEV = "__svm_vcpu_run", "__svm_sev_es_vcpu_run"


@dataclass(frozen=True)
class Mutant:
    """One altered module. `says`: what must stand in the verdict or reason of `inspect`; "" if it only must differ."""

    name: str
    version: str
    vendor: str
    edit: Edit
    says: str = ""

    @property
    def image(self) -> Image:
        """The altered module."""
        image = module(self.version, self.vendor)
        return image.with_bytes(self.edit(image))

    def __str__(self) -> str:
        return f"{self.version} {self.vendor}: {self.name}"


def module(version: str, vendor: str) -> Image:
    """Return a real module as it was built."""
    return read_module(module_file(version, vendor))


# --- how to say an edit ---


def at(image: Image, place: str) -> int:
    """Return the address of ``symbol+0x10``."""
    name, _, offset = place.partition("+")
    return image.symbols.extent(name)[0] + int(offset or "0", 16)


@cache
def asm(text: str) -> bytes:
    """Assemble code that needs no relocation."""
    return from_bytes(assemble(f".text\n{text}\n"), "own", LAB_BASE).section(".text").data


def put(place: str, code: str, size: int | None = None) -> Edit:
    """Write code at a place; ``size``: NOPs follow up to there."""

    def edit(image: Image) -> Mapping[int, bytes]:
        data = asm(code)
        assert size is None or len(data) <= size, (place, code, len(data))
        return {at(image, place): data.ljust(size or 0, b"\x90")}

    return edit


def raw(place: str, old: str, new: str) -> Edit:
    """Replace bytes at a place; those that stand there must be the ones expected."""

    def edit(image: Image) -> Mapping[int, bytes]:
        address, before = at(image, place), bytes.fromhex(old)
        assert image.read(address, len(before)) == before, image.read(address, len(before)).hex()
        return {address: bytes.fromhex(new)}

    return edit


def both(*edits: Edit) -> Edit:
    """Make several edits."""
    return lambda image: {k: v for edit in edits for k, v in edit(image).items()}


def entries(image: Image, stub: str, feature: int) -> list[AltEntry]:
    """Return the records of a stub for a feature."""
    start, end = image.symbols.extent(stub)
    found = read(image).entries
    return [one for one in found if start <= one.site < end and one.feature == feature]


def feature(stub: str, old: int, new: int, number: int = 0) -> Edit:
    """Let a record ask for another feature."""
    return lambda image: {entries(image, stub, old)[number].address + 8: new.to_bytes(2, "little")}


def negated(stub: str, number: int) -> Edit:
    """Let a record ask for a feature's absence."""
    return lambda image: {entries(image, stub, number)[0].address + 10: b"\1\0"}


def replacement(stub: str, number: int, offset: int, old: str, new: str) -> Edit:
    """Replace bytes of a replacement."""

    def edit(image: Image) -> Mapping[int, bytes]:
        address, before = entries(image, stub, number)[0].replacement + offset, bytes.fromhex(old)
        assert image.read(address, len(before)) == before, image.read(address, len(before)).hex()
        return {address: bytes.fromhex(new)}

    return edit


def selector(image: Image, stub: str, number: int) -> int:
    """Return where the selector stands that a stub's VERW looks at."""
    one = entries(image, stub, number)[0]
    code = decode(image.read(one.replacement, one.replacement_length), one.replacement)
    return next(i.rip_target for i in code if i.mnemonic == "verw")


def verw(image: Image, address: int, target: int) -> bytes:
    """Return VERW of a selector, for a place."""
    return b"\x0f\x00\x2d" + (target - address - 7).to_bytes(4, "little", signed=True)


def jump(address: int, target: int) -> bytes:
    """Return a long JMP."""
    return b"\xe9" + (target - address - 5).to_bytes(4, "little", signed=True)


def moved(stub: str, number: int, room: int, *, before: str = "", after: str = "") -> Edit:
    """Put a replacement over another one, of feature `room`: some code, VERW, some code."""

    def edit(image: Image) -> Mapping[int, bytes]:
        one = entries(image, stub, number)[0]
        place, first = entries(image, stub, room)[0].replacement, asm(before) if before else b""
        clear = verw(image, place + len(first), selector(image, stub, number))
        code = first + clear + (asm(after) if after else b"")
        assert len(code) <= min(16, one.length), len(code)
        return {
            place: code,
            one.address + 4: (place - one.address - 4).to_bytes(4, "little", signed=True),
            one.address + 13: bytes([len(code)]),
        }

    return edit


def exchanged(stub: str, first: int, second: int) -> Edit:
    """Exchange the order of two records of one site."""

    def edit(image: Image) -> Mapping[int, bytes]:
        a, b = entries(image, stub, first)[0], entries(image, stub, second)[0]
        new = {}
        for place, one in ((a, b), (b, a)):
            new[place.address + 4] = (one.replacement - place.address - 4).to_bytes(4, "little", signed=True)
            new[place.address + 8] = one.feature.to_bytes(2, "little")
            new[place.address + 13] = bytes([one.replacement_length])
        return new

    return edit


def goes(place: str, target: str) -> Edit:
    """Put a long JMP to another place."""
    return lambda image: {at(image, place): jump(at(image, place), at(image, target))}


def calls(place: str, target: str) -> Edit:
    """Let a CALL go to another function, of the module or undefined."""

    def edit(image: Image) -> Mapping[int, bytes]:
        address = at(image, place)
        assert image.read(address, 1) == b"\xe8"
        there = image.undefined.get(target) or at(image, target)
        return {address + 1: (there - address - 5).to_bytes(4, "little", signed=True)}

    return edit


def retargeted(stub: str, number: int, site: str, target: str, *, absent: bool = False) -> Edit:
    """Let a record of five bytes put a JMP to a place elsewhere, under its feature or without it."""

    def edit(image: Image) -> Mapping[int, bytes]:
        one, room = entries(image, stub, number)[0], at(image, ROOM)
        return {
            room: jump(room, at(image, target)),
            one.address: (at(image, site) - one.address).to_bytes(4, "little", signed=True),
            one.address + 4: (room - one.address - 4).to_bytes(4, "little", signed=True),
            one.address + 10: bytes([absent, 0, 5, 5]),
        }

    return edit


def site_at(stub: str, place: str, code: str, size: int) -> Edit:
    """Let VERW's site begin at another place, with code of our own there: seven bytes of nothing first."""

    def edit(image: Image) -> Mapping[int, bytes]:
        one, start = entries(image, stub, VM)[0], at(image, place)
        data = b"\x90" * 7 + asm(code)
        return {
            start: data.ljust(size, b"\x90"),
            one.address: (start - one.address).to_bytes(4, "little", signed=True),
        }

    return edit


def clear_at(place: str, stub: str, number: int) -> Edit:
    """Write a VERW over seven bytes of C."""
    return lambda image: {at(image, place): verw(image, at(image, place), selector(image, stub, number))}


# --- what is not the form, though it is made of what has it ---


def intel(name: str, edit: Edit, says: str = "") -> Mutant:
    return Mutant(name, "7.3.4", "intel", edit, says)


def amd(name: str, edit: Edit, says: str = "") -> Mutant:
    return Mutant(name, "7.3.4", "amd", edit, says)


AROUND, RIGHT = "goes around VERW", "not right before VMRUN"
LOSES_FORM = (
    # the features
    intel("the strict choice asks for another feature", feature(STUB, VM, 686), "not the form's CLEAR_CPU_BUF_VM"),
    intel("the strict choice asks for the user's feature", feature(STUB, VM, CPU_BUF), "CLEAR_CPU_BUF"),
    intel("the MMIO choice asks for another feature", feature(STUB, VM_MMIO, 690), "CLEAR_CPU_BUF_VM_MMIO"),
    intel("both ask for the same feature", feature(STUB, VM_MMIO, VM), "not for MMIO"),
    intel("the features are exchanged", both(feature(STUB, VM, VM_MMIO), feature(STUB, VM_MMIO, VM)), "no known"),
    intel("the order is exchanged", exchanged(STUB, VM, VM_MMIO), "not always for both together"),
    intel("the strict choice asks for the absence", negated(STUB, VM)),
    intel("the MMIO choice asks for the absence", negated(STUB, VM_MMIO)),
    # the replacements
    intel("no VERW in the strict choice", replacement(STUB, VM, 0, "0f002d", "0f1f80")),
    intel("VERW of a register in the strict choice", replacement(STUB, VM, 0, "0f002d", "0f00e8 0f1f4000")),
    intel("no VERW in the MMIO choice", replacement(STUB, VM_MMIO, 9, "0f002d", "0f1f80"), "not for MMIO"),
    intel("JNZ for JZ", replacement(STUB, VM_MMIO, 7, "74", "75")),
    intel("JMP for JZ", replacement(STUB, VM_MMIO, 7, "74", "eb")),
    intel("nothing for JZ", replacement(STUB, VM_MMIO, 7, "7407", "9090")),
    intel("JS for JZ", replacement(STUB, VM_MMIO, 7, "74", "78")),
    intel("another flag is asked for", replacement(STUB, VM_MMIO, 3, "04", "08"), "run flag 8"),
    intel("the flag of VMRESUME is asked for", replacement(STUB, VM_MMIO, 3, "04", "01")),
    intel("either of two flags is asked for", replacement(STUB, VM_MMIO, 3, "04", "0c"), "flag"),
    intel("another place of the stack is asked", replacement(STUB, VM_MMIO, 0, "f7042404000000", "f644240804 6690")),
    intel("OR for TEST: the flags are written", replacement(STUB, VM_MMIO, 0, "f7042404000000", "830c24040f1f00")),
    # what is touched behind it
    intel("PREFETCH behind VERW", moved(STUB, VM, RSB, after="prefetcht0 (%rsp)"), "not right before"),
    intel("CLFLUSH behind VERW", moved(STUB, VM, RSB, after="clflush (%rsp)"), "not right before"),
    intel("PUSH and POP behind VERW", moved(STUB, VM, RSB, after="push %rax; pop %rax"), "not right before"),
    intel("a guest's register is stored behind VERW", moved(STUB, VM, RSB, after="mov %rcx, -8(%rsp)"), "not right"),
    intel("TEST of the vCPU's pointer behind VERW", moved(STUB, VM, RSB, after="testl $1, 8(%rsp)"), "not right"),
    intel("BT of host memory behind VERW", moved(STUB, VM, RSB, after="btl $0, 16(%rsp)"), "not right before"),
    intel("VERW, and then the flags are added to", moved(STUB, VM, RSB, after="orl $0, (%rsp)"), "not right before"),
    # which instruction enters
    intel("VMLAUNCH where VMRESUME is due", raw(f"{STUB}+0xbf", "0f01c3", "0f01c2")),
    intel("VMRESUME where VMLAUNCH is due", raw(f"{STUB}+0xc7", "0f01c2", "0f01c3")),
    intel("JNE chooses between them", raw(f"{STUB}+0xbd", "74", "75")),
    intel("another flag chooses between them", raw(f"{STUB}+0xb9", "01", "02")),
    # ways around it, on days that are not plain
    intel("around it where SPEC_CTRL is written", raw(f"{STUB}+0x3b", "0f30", "eb79"), AROUND),
    intel(
        "around it where host RSP has changed",
        both(put("vmx_update_host_rsp+0x1c", "pop %rdx; nop"), goes("vmx_update_host_rsp+0x1e", f"{STUB}+0xb6")),
    ),
    intel(
        "around it where host RSP has not changed",
        both(raw("vmx_update_host_rsp+0xf", "7505", "755f"), put("vmx_update_host_rsp+0x11", "pop %rdx"), goes("vmx_update_host_rsp+0x12", f"{STUB}+0xb6")),
    ),
    intel("around it where SPEC_CTRL is equal", raw(f"{STUB}+0x2e", "740d", "747d"), AROUND),
    intel("around it under a feature of another number", both(
        feature(STUB, SPEC, 229), raw(f"{STUB}+0x3b", "0f30", "eb79")), AROUND),
    intel("around it under two features together", retargeted(STUB, RSB_LITE, f"{STUB}+0x36", f"{STUB}+0xb6"), AROUND),
    intel("around it without a feature", retargeted(STUB, RSB_LITE, f"{STUB}+0x36", f"{STUB}+0xb6", absent=True), AROUND),
    # C
    intel("a VERW in C", clear_at(f"{ENTER}+0x11", STUB, VM), "not in the stub alone"),
    intel("a VERW in C behind a question", both(
        lambda image: {at(image, f"{ENTER}+0x29"): b"\x90" * 34},
        clear_at(f"{ENTER}+0x29", STUB, VM)), "not in the stub alone"),
    intel("C does not flush the L1D", put(f"{ENTER}+0x1b", "nop", 5), "does not flush the L1D"),
    intel("C flushes where the flag is not set", raw(f"{FLUSH}+0x11", "74", "75"), "does not flush the L1D"),
    intel("the flush writes another MSR", raw(f"{FLUSH}+0x28", "b90b010000", "b90a010000"), "not flush the L1D"),
    intel("the flush writes 0", raw(f"{FLUSH}+0x2d", "b801000000", "b800000000"), "does not flush the L1D"),
    intel("C does not hand on the run flags", raw(f"{ENTER}+0x5d", "89ee", "31f6")),
    intel("C hands on another register", raw(f"{ENTER}+0x5d", "89ee", "89c6")),
    intel("the run flags are not given to C", raw("vmx_vcpu_run+0x18f", "89c6", "31f6")),
    intel("the MMIO flag is raised as another", raw(f"{FLAGS}+0x76", "c1e002", "c1e003"), "not for MMIO"),
    intel("the MMIO flag is masked away", raw(f"{FLAGS}+0x79", "09c2", "21c2")),
    intel("the MMIO flag is raised under another feature", feature(FLAGS, VM_MMIO, 690)),
    intel("other flags are handed on", calls("vmx_vcpu_run+0x187", FLUSH)),
    # AMD
    amd("another feature in the ordinary stub", feature(SVM, VM, 686), "not the form's"),
    amd("another feature in the SEV-ES stub", feature(SEV, VM, 686), "not the form's"),
    amd("the user's feature in both", both(feature(SVM, VM, CPU_BUF), feature(SEV, VM, CPU_BUF)), "not the form's"),
    amd("asked for its absence in one", negated(SEV, VM)),
    amd("no VERW in the SEV-ES stub", replacement(SEV, VM, 0, "0f002d", "0f1f80"), f"not in {SEV}"),
    amd("no VERW in the ordinary stub", replacement(SVM, VM, 0, "0f002d", "0f1f80"), f"not in {SVM}"),
    amd("VERW of a register in both", both(
        replacement(SVM, VM, 0, "0f002d", "0f00e8 0f1f4000"),
        replacement(SEV, VM, 0, "0f002d", "0f00e8 0f1f4000")), "for nothing"),
    amd("around it where SPEC_CTRL is written", goes(f"{SVM}+0x1aa", f"{SVM}+0x99"), AROUND),
    amd("around it in the SEV-ES stub where SPEC_CTRL is written", raw(f"{SEV}+0xb9", "eb82", "eb94"), AROUND),
    amd("around it in the SEV-ES stub where SPEC_CTRL is equal", raw(f"{SEV}+0xaa", "7491", "74a3"), AROUND),
    amd("a load behind VERW", site_at(SVM, f"{SVM}+0x8b", "mov 0x160(%rdi), %rdi", 14), RIGHT),
    amd("loads behind VERW", site_at(
        SEV, f"{SEV}+0x3d", "mov 0x1960(%rdi), %rax; mov 8(%rax), %rax", 18), RIGHT),
    amd("PREFETCHW behind VERW", site_at(SVM, f"{SVM}+0x8b", "prefetchw (%rsp)", 14), RIGHT),
    amd("CLFLUSH behind VERW", site_at(SVM, f"{SVM}+0x8b", "clflush (%rsp)", 14), RIGHT),
)  # fmt: skip


def _overlaid(image: Image) -> Mapping[int, bytes]:
    """Let a record of another site put NOPs over VERW under the same feature."""
    one, site = entries(image, STUB, RSB_LITE)[0], entries(image, STUB, VM)[0].site + 2
    room = at(image, ROOM)
    return {
        room: b"\x90" * 5,
        one.address: (site - one.address).to_bytes(4, "little", signed=True),
        one.address + 4: (room - one.address - 4).to_bytes(4, "little", signed=True),
        one.address + 8: VM.to_bytes(2, "little") + bytes([0, 0, 5, 5]),
    }


def skips(name: str, code: str, says: str = "") -> Mutant:
    """A VERW of the strict choice that is jumped over by what some code asks, in at most nine bytes."""
    return intel(f"skipped by {name}", moved(STUB, VM, RSB, before=code), says)


OVER = "; .byte 0x75, 7"  # JNE over VERW
RED_TEAM = (
    skips("the carry flag", ".byte 0x72, 7"),
    skips("the time", f"rdtsc; test $1, %al{OVER}"),
    skips("CR3", f"mov %cr3, %rax; test $1, %al{OVER}"),
    skips("the machine status word", f"smsw %eax; test $8, %al{OVER}"),
    skips("an SSE register", f"movd %xmm0, %eax; test %al, %al{OVER}"),
    skips("XCR0", f"xgetbv; test $4, %al{OVER}"),
    skips("the interrupt flag", f"pushf; pop %rax; test $2, %ah{OVER}"),
    skips("the task register", f"str %eax; test %al, %al{OVER}"),
    skips("a segment register", f"mov %ds, %eax; test %al, %al{OVER}"),
    skips("a debug register", f"mov %dr7, %rax; test %al, %al{OVER}"),
    skips("CPUID", f"cpuid; test $1, %al{OVER}"),
    skips("the GS base", f"rdgsbase %rax; test %al, %al{OVER}"),
    skips("chance", "rdrand %eax; .byte 0x72, 7"),
    skips("an I/O port", f"in $0x80, %al; test %al, %al{OVER}"),
    skips("one value of the run flags", "cmpb $0x5a, (%rsp); .byte 0x74, 7"),
    skips("a host register on the stack", "cmpw $0x1234, 0x30(%rsp); .byte 0x74, 7"),
    skips("the caller's stack", f"testb $1, 0x70(%rsp){OVER}"),
    skips("a guest's register", "cmp $0x1234, %ax; .byte 0x74, 7"),
    skips("a guest's register that is zero", ".byte 0xe3, 7"),
    skips("a count of a guest's register", ".byte 0xe2, 7"),
    skips("a product of a guest's register", "imul $77, %eax, %eax; cmp $1, %al; .byte 0x74, 7"),
    intel("a guest's register decides about a load behind VERW", moved(
        STUB, VM, RSB, after="cmp $0x55, %al; .byte 0x75, 1; push %rax")),
    intel("VERW, LFENCE and a load", moved(STUB, VM, RSB, after="lfence; mov (%rsp), %al")),
    intel("VERW and a string load", moved(STUB, VM, RSB, after="lodsb")),
    intel("the MMIO choice clears at VMLAUNCH alone", replacement(
        STUB, VM_MMIO, 0, "f7042404000000 74", "833c2404 0f1f00 75")),
    intel("the strict choice is a direct call", lambda image: {entries(image, STUB, VM)[0].address + 10: b"\2\0"}),
    intel("around it under a static key", lambda image: _keyed(image, "context_tracking_key")),
    intel("two sites lie over each other", _overlaid),
    intel("C calls the stub behind VERW", calls(f"{ENTER}+0x62", f"{STUB}+0xb6")),
    intel("the stub is called past C", calls("vmx_vcpu_run+0x191", STUB)),
    intel("the MMIO flag is raised where the answer is no", raw(f"{FLAGS}+0x76", "c1e002", "83e801")),
    intel("the MMIO flag is raised always", raw(f"{FLAGS}+0x76", "c1e002", "83f004")),
    intel("the MMIO flag is raised by another field", raw(f"{FLAGS}+0x85", "0fb680ac180000", "b801000000 6690")),
    intel("the software flush reads half", lambda image: _after(image, FLUSH, "", "bf00000100", "bf00800000")),
    amd("skipped by a guest's register", lambda image: {
        at(image, f"{SVM}+0x8b"): asm("cmp $0x1234, %ax; .byte 0x74, 8; nop")}),
)  # fmt: skip


def _keyed(image: Image, name: str) -> Mapping[int, bytes]:
    """Put a static branch into the stub that jumps past VERW where its key is on."""
    one = next(branch for branch in static_keys.branches(image) if branch.key == name and not branch.likely)
    word = int.from_bytes(image.read(one.address + 8, 8), "little", signed=True)
    site, target = at(image, f"{STUB}+0x3d"), at(image, f"{STUB}+0xb6")
    return {
        site: bytes.fromhex("0f1f440000 6690"),
        one.address: (site - one.address).to_bytes(4, "little", signed=True)
        + (target - one.address - 4).to_bytes(4, "little", signed=True)
        + word.to_bytes(8, "little", signed=True),
    }


# --- what keeps the form: the other side ---

KEEPS_FORM = (
    intel("another way to ask for VMRESUME", raw(f"{STUB}+0xb6", "f7042401000000", "f60424010f1f00")),
    intel("other NOPs in the padding", raw(ROOM, "9090", "6690")),
    intel("what stands behind the VM-Exit", replacement(STUB, RSB_LITE, 2, "e801000000", "0f1f440000")),
    intel("the guest's SPEC_CTRL is written where it is equal", raw(f"{STUB}+0x2e", "740d", "750d")),
    intel("another MSR is written for SPEC_CTRL", raw(f"{STUB}+0x36", "b948000000", "b949000000")),
    intel("CR2 is loaded always", raw(f"{ENTER}+0x58", "7403", "6690")),
    amd("the guest's SPEC_CTRL is written where it is equal", raw(f"{SEV}+0xaa", "7491", "7591")),
)  # fmt: skip


# --- what changes the audit's count, or must be refused ---


def older(name: str, edit: Edit) -> Mutant:
    return Mutant(name, "6.12.117", "intel", edit)


ASKS, TESTS, JUMPS, CLEARS = (f"{ENTER}+{offset}" for offset in ("0x1a4", "0x1a9", "0x1ab", "0x1b1"))
OLD_FLUSH, OLD_FB = f"{ENTER}+0xe6", f"{ENTER}+0x29"


def key(place: str, other: str) -> Edit:
    """Let a static branch go by another key."""

    def edit(image: Image) -> Mapping[int, bytes]:
        found = {branch.site: branch for branch in static_keys.branches(image)}
        one = found[at(image, place)]
        there = next(branch for branch in found.values() if branch.key == other)
        word = int.from_bytes(image.read(there.address + 8, 8), "little", signed=True)
        moved_by = there.address - one.address
        return {one.address + 8: (word + moved_by).to_bytes(8, "little", signed=True)}

    return edit


CHANGES_COUNT = (
    older("JNE for JE behind the question", raw(JUMPS, "0f84", "0f85")),
    older("XOR for TEST", raw(TESTS, "84c0", "30c0")),
    older("OR of 1 for TEST", raw(TESTS, "84c0", "0c01")),
    older("TEST of BL", raw(TESTS, "84c0", "84db")),
    older("TEST of CL", raw(TESTS, "84c0", "84c9")),
    older("TEST of DL", raw(TESTS, "84c0", "84d2")),
    older("TEST of AH", raw(TESTS, "84c0", "84e4")),
    older("another function is asked", calls(ASKS, "rcu_note_context_switch")),
    older("the flush is called in place of the question", calls(ASKS, FLUSH)),
    older("nobody is asked: no", put(ASKS, "xor %eax, %eax", 5)),
    older("nobody is asked: yes", put(ASKS, "mov $1, %eax", 5)),
    older("no VERW in C", put(CLEARS, "nop", 7)),
    older("VERW of a register in C", put(CLEARS, "verw %ax", 7)),
    older("VERW stands behind another key", key(f"{ENTER}+0x1d", "context_tracking_key")),
    older("the flush stands behind another key", key(f"{ENTER}+0x18", "mmio_stale_data_clear")),
    older("the flush is not called", put(OLD_FLUSH, "nop", 5)),
    older("the flush writes 0", lambda image: _after(image, FLUSH, "b90b010000", "b801000000", "b800000000")),
    older("the flush writes another MSR", lambda image: _after(image, FLUSH, "", "b90b010000", "b90a010000")),
    older("the stub's VERW asks for another feature", feature(STUB, CPU_BUF, VM)),
    older("the stub's VERW asks for an unknown feature", feature(STUB, CPU_BUF, 700)),
    older("no VERW in the stub", replacement(STUB, CPU_BUF, 0, "0f002d", "0f1f80")),
    intel("the stub never clears", both(
        replacement(STUB, VM, 0, "0f002d", "0f1f80"), replacement(STUB, VM_MMIO, 9, "0f002d", "0f1f80"))),
    intel("no flush in C", put(f"{ENTER}+0x1b", "nop", 5)),
    intel("FB_CLEAR_DIS the other way round", raw(f"{ENTER}+0x27", "7422", "7522")),
    intel("FB_CLEAR_DIS is never set", raw(f"{ENTER}+0x3e", "4883c808", "4883c804")),
    intel("the flags do not come to the stub", raw(f"{ENTER}+0x5d", "89ee", "31f6")),
    intel("the MMIO flag is never raised", raw(f"{FLAGS}+0x76", "c1e002", "c1e003")),
)  # fmt: skip


def _after(image: Image, symbol: str, first: str, old: str, new: str) -> Mapping[int, bytes]:
    """Replace bytes of a function where they stand behind others."""
    start, end = image.symbols.extent(symbol)
    code, found = image.read(start, end - start), bytes.fromhex(first) + bytes.fromhex(old)
    assert code.count(found) == 1, (symbol, first, old)
    return {start + code.index(found) + len(bytes.fromhex(first)): bytes.fromhex(new)}
