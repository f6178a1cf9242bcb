"""More altered modules, written without a look at what is recognised: each says beforehand what may be said of it.

`form` is "yes" (it behaves as it did), "no" (the form must be denied, or cannot be told) or "any" (it clears as it
did, in another form). `holes` is "none" (a promised clear is never lost: a hole told would be wrong), "some" (one
is lost: "none" would be wrong) or "any". "Cannot tell" is right for every one of them that changes something.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from struct import pack, unpack_from

from needs import kernel_file
from real_modules import read

from vmenter.code.assembler import assemble
from vmenter.code.image import Image, from_bytes

Edit = Callable[[Image], Mapping[int, bytes]]
STUB, ENTER, FLAGS, FLUSH = "__vmx_vcpu_run", "vmx_vcpu_enter_exit", "__vmx_vcpu_enter_flags", "vmx_l1d_flush"
SVM, SEV = "__svm_vcpu_run", "__svm_sev_es_vcpu_run"
ROOM = 0xD4  # in Intel's stub of 7.3.4: code behind the VM-Exit, which no run up to VM-Enter comes to
MMIO_ENTRY, VM_ENTRY = 96, 97  # records of 7.3.4's kvm-intel.ko
RAISE_ENTRY = 40  # the record by which C asks whether to look for MMIO
CAPABLE_ENTRY = 2  # the record by which C asks for the flush by MSR
SVM_ENTRY, SEV_ENTRY = 80, 92  # records of 7.3.4's kvm-amd.ko
RECORD = 14


@dataclass(frozen=True)
class Unseen:
    """One altered module."""

    name: str
    edit: Edit
    form: str
    holes: str
    module: str = "7.3.4/kvm-intel.ko.xz"


def altered(one: Unseen) -> Image:
    """Return the altered module."""
    version, name = one.module.split("/")
    image = read(kernel_file(version, name))
    return image.with_bytes(one.edit(image))


@cache
def code(text: str) -> bytes:
    """Return the bytes of a text in assembly that refers to nothing outside of it."""
    return from_bytes(assemble(text), "own").section(".text").data


def at(function: str, offset: int, data: bytes | str) -> Edit:
    """Write bytes into a function."""
    raw = code(data) if isinstance(data, str) else data
    return lambda image: {image.symbols.extent(function)[0] + offset: raw}


def entry(image: Image, number: int) -> tuple[int, int, int, int, int, int, int]:
    """Return a record's address and its six fields."""
    start, table = image.alternatives
    return start + RECORD * number, *unpack_from("<iiHHBB", table, RECORD * number)


def field(number: int, **new: int) -> Edit:
    """Change fields of a record: feature, flags, length, room (the replacement's length)."""

    def edit(image: Image) -> dict[int, bytes]:
        address, site, replacement, *rest = entry(image, number)
        names = dict(zip(("feature", "flags", "length", "room"), rest, strict=True)) | new
        return {address: pack("<iiHHBB", site, replacement, *names.values())}

    return edit


def replaced(number: int, change: Callable[[bytes], bytes]) -> Edit:
    """Change a replacement's bytes; as many as there were."""

    def edit(image: Image) -> dict[int, bytes]:
        address, _, replacement, _, _, _, length = entry(image, number)
        place = address + 4 + replacement
        new = change(image.read(place, length))
        assert len(new) == length
        return {place: new}

    return edit


def put(position: int, *data: int) -> Callable[[bytes], bytes]:
    """Write bytes at a position."""
    return lambda old: old[:position] + bytes(data) + old[position + len(data) :]


def both(*edits: Edit) -> Edit:
    """Make several changes."""
    return lambda image: {k: v for edit in edits for k, v in edit(image).items()}


def jump(origin: int, target: int, opcode: int = 0xE9) -> bytes:
    """Return a JMP or CALL rel32."""
    return bytes([opcode]) + (target - origin - 5).to_bytes(4, "little", signed=True)


def detour(function: str, offset: int, length: int, text: str, *, last: str = "back") -> Edit:
    """Put code in front of an instruction: a JMP to the room, the code, what stood there, and a JMP back.

    `last`: what follows the code: "back" (what stood there, then on), "on" (on alone).
    """

    def edit(image: Image) -> dict[int, bytes]:
        start, room = image.symbols.extent(function)[0] + offset, image.symbols.extent(STUB)[0] + ROOM
        body = code(text) + (image.read(start, length) if last == "back" else b"")
        body += jump(room + len(body), start + length)
        assert len(body) <= 0x90
        return {start: jump(start, room) + b"\x90" * (length - 5), room: body}

    return edit


def around(question: str, jcc: int, offset: int = 0x3D, length: int = 7) -> Edit:
    """Let a question lead around VERW, straight to the choice between VMLAUNCH and VMRESUME."""

    def edit(image: Image) -> dict[int, bytes]:
        stub = image.symbols.extent(STUB)[0]
        start, room = stub + offset, stub + ROOM
        body = code(question)
        target = stub + 0xB6
        body += bytes([0x0F, jcc]) + (target - (room + len(body) + 6)).to_bytes(4, "little", signed=True)
        body += image.read(start, length)
        body += jump(room + len(body), start + length)
        return {start: jump(start, room) + b"\x90" * (length - 5), room: body}

    return edit


def out_of_line(number: int, opcode: int, tail: str) -> Edit:
    """Let a replacement CALL or JMP to the room, where its VERW stands."""

    def edit(image: Image) -> dict[int, bytes]:
        address, site, replacement, *_ = entry(image, number)
        place, room = address + 4 + replacement, image.symbols.extent(STUB)[0] + ROOM
        old, here = image.read(place, 7), address + site
        selector = place + 7 + int.from_bytes(old[3:], "little", signed=True)
        body = b"\x0f\x00\x2d" + (selector - room - 7).to_bytes(4, "little", signed=True)
        body += code(tail) if opcode == 0xE8 else jump(room + 7, here + 16)
        return {place: jump(place, room, opcode) + b"\x66\x90", room: body}

    return edit


def swapped(one: int, other: int) -> Edit:
    """Let two records change places."""

    def edit(image: Image) -> dict[int, bytes]:
        (a, s1, r1, *f1), (b, s2, r2, *f2) = entry(image, one), entry(image, other)
        move = b - a
        first = pack("<iiHHBB", s2 + move, r2 + move, *f2)
        return {a: first, b: pack("<iiHHBB", s1 - move, r1 - move, *f1)}

    return edit


def moved(number: int, by: int) -> Edit:
    """Let a record name another site."""

    def edit(image: Image) -> dict[int, bytes]:
        address, site, *rest = entry(image, number)
        return {address: pack("<iiHHBB", site + by, *rest)}

    return edit


def elsewhere(number: int, symbol: str) -> Edit:
    """Let a VERW look at another variable."""

    def edit(image: Image) -> dict[int, bytes]:
        address, _, replacement, _, _, _, length = entry(image, number)
        end = address + 4 + replacement + length
        found = image.symbols.get(symbol)
        target = found.address if found else image.undefined[symbol]
        return {end - 4: (target - end).to_bytes(4, "little", signed=True)}

    return edit


def call_to(function: str, offset: int, name: str) -> Edit:
    """Let a CALL go to another function."""

    def edit(image: Image) -> dict[int, bytes]:
        start = image.symbols.extent(function)[0] + offset
        found = image.symbols.get(name)
        return {start: jump(start, found.address if found else image.undefined[name], 0xE8)}

    return edit


def named(section: str, size: int, offset: int) -> Edit:
    """Let the first record of another patcher's table name a place in the stub."""

    def edit(image: Image) -> dict[int, bytes]:
        place, address = image.symbols.extent(STUB)[0] + offset, image.section(section).address
        return {address: (place - (address if size == 4 else 0)).to_bytes(size, "little", signed=size == 4)}

    return edit


AMD = "7.3.4/kvm-amd.ko.xz"
VERR, NOP7 = put(1, 0x00, 0x25), lambda _: bytes.fromhex("0f1f8000000000")
in_vm = lambda change: replaced(VM_ENTRY, change)  # noqa: E731
in_mmio = lambda change: replaced(MMIO_ENTRY, change)  # noqa: E731

UNSEEN = (
    # --- the instruction that clears ---
    Unseen("VERR under VM", in_vm(VERR), "no", "some"),
    Unseen("VERR under MMIO", in_mmio(put(11, 0x25)), "no", "some"),
    Unseen("LAR under VM", in_vm(put(0, 0x0F, 0x02, 0x05)), "no", "some"),
    Unseen("SLDT under VM", in_vm(put(2, 0x05)), "no", "some"),
    Unseen("VERW of AX under VM", in_vm(lambda _: bytes.fromhex("0f00e80f1f4000")), "no", "some"),
    Unseen("VERW of a register under MMIO", in_mmio(put(9, 0x0F, 0x00, 0xEB, 0x0F, 0x1F, 0x40, 0)), "no", "some"),
    Unseen("VERW on the stack under VM", in_vm(lambda _: bytes.fromhex("0f002c24662e90")[:7]), "any", "none"),
    Unseen(
        "VERW of 8 bits' displacement", in_vm(lambda _: bytes.fromhex("0f006c2408") + b"\x66\x90"), "any", "none"
    ),
    Unseen("VERW of another variable", elsewhere(VM_ENTRY, "x86_spec_ctrl_current"), "any", "none"),
    Unseen("a NOP in place of VERW", in_vm(NOP7), "no", "some"),
    Unseen("LSL under MMIO", in_mmio(put(9, 0x0F, 0x03, 0x05)), "no", "some"),
    Unseen("VERW behind a jump over it", in_vm(lambda _: bytes.fromhex("eb05") + bytes(5)), "no", "some"),
    Unseen("out of line by CALL", out_of_line(VM_ENTRY, 0xE8, "ret"), "no", "none"),
    Unseen("out of line by JMP", out_of_line(VM_ENTRY, 0xE9, ""), "any", "none"),
    # --- the test in front of it ---
    Unseen("JNE for JE", in_mmio(put(7, 0x75)), "no", "some"),
    Unseen("JS for JE", in_mmio(put(7, 0x78)), "no", "none"),
    Unseen("JNS for JE", in_mmio(put(7, 0x79)), "no", "some"),
    Unseen("JBE for JE", in_mmio(put(7, 0x76)), "any", "none"),
    Unseen("JP for JE", in_mmio(put(7, 0x7A)), "any", "none"),
    Unseen("JC for JE", in_mmio(put(7, 0x72)), "no", "none"),
    Unseen("JG for JE", in_mmio(put(7, 0x7F)), "no", "some"),
    Unseen("JMP for JE", in_mmio(put(7, 0xEB)), "no", "some"),
    Unseen("mask 5", in_mmio(put(3, 5)), "no", "none"),
    Unseen("mask 6", in_mmio(put(3, 6)), "no", "none"),
    Unseen("mask 8", in_mmio(put(3, 8)), "no", "some"),
    Unseen("mask 2", in_mmio(put(3, 2)), "no", "some"),
    Unseen("mask 0x400", in_mmio(put(3, 0, 4)), "no", "some"),
    Unseen("mask 0x404", in_mmio(put(3, 4, 4)), "no", "none"),
    Unseen("TESTB", in_mmio(put(0, *bytes.fromhex("f60424040f1f00"))), "any", "none"),
    Unseen("TESTB of the next byte", in_mmio(put(0, *bytes.fromhex("f64424010466 90"))), "no", "some"),
    Unseen("TESTB of the pointer", in_mmio(put(0, *bytes.fromhex("f64424080466 90"))), "no", "some"),
    Unseen("CMP for TEST", in_mmio(put(0, *bytes.fromhex("813c2404000000"))), "no", "some"),
    Unseen("AND for TEST", in_mmio(put(0, *bytes.fromhex("8124240400 0000"))), "no", "any"),
    Unseen("JE to VERW itself", in_mmio(put(8, 0)), "no", "none"),
    Unseen("JE into VERW", in_mmio(put(8, 3)), "no", "any"),
    Unseen("JE beyond the site", in_mmio(put(8, 0x10)), "no", "any"),
    # --- records ---
    *(
        Unseen(f"VM's feature is {n}", field(VM_ENTRY, feature=n), "no", "any")
        for n in (686, 684, 717, 653, 691, 114)
    ),
    *(
        Unseen(f"MMIO's feature is {n}", field(MMIO_ENTRY, feature=n), "no", "any")
        for n in (692, 690, 723, 659, 685)
    ),
    Unseen("features swapped", both(field(VM_ENTRY, feature=691), field(MMIO_ENTRY, feature=685)), "no", "some"),
    Unseen("records swapped", swapped(MMIO_ENTRY, VM_ENTRY), "no", "none"),
    Unseen("VM by NOT", field(VM_ENTRY, flags=1), "no", "some"),
    Unseen("MMIO by NOT", field(MMIO_ENTRY, flags=1), "no", "some"),
    Unseen("VM as a DIRECT_CALL", field(VM_ENTRY, flags=2), "no", "any"),
    Unseen("flags that are not known", field(VM_ENTRY, flags=4), "no", "any"),
    Unseen("VM's replacement is empty", field(VM_ENTRY, room=0), "no", "some"),
    Unseen("VM's replacement is cut", field(VM_ENTRY, room=3), "no", "any"),
    Unseen("MMIO's replacement is cut", field(MMIO_ENTRY, room=9), "no", "some"),
    Unseen("VM's replacement is longer than its site", field(VM_ENTRY, room=17), "no", "any"),
    Unseen("VM's site is shorter", field(VM_ENTRY, length=7), "any", "none"),
    Unseen("VM's site begins later", moved(VM_ENTRY, 1), "no", "any"),
    Unseen("VM's site lies behind VM-Enter", moved(VM_ENTRY, 0x2E), "no", "any"),
    Unseen(
        "the table ends before",
        both(field(VM_ENTRY, feature=3 * 32 + 10), field(MMIO_ENTRY, room=0)),
        "no",
        "some",
    ),
    # --- other ways through the stub ---
    Unseen("around by run flag 4", around("testl $0x10, (%rsp)", 0x85), "no", "any"),
    Unseen("around by run flag 9", around("testl $0x200, (%rsp)", 0x85), "no", "any"),
    Unseen("around by run flag 31", around("testl $0x80000000, (%rsp)", 0x85), "no", "any"),
    Unseen("around by a field of the vCPU", around("cmpl $0x1234, 0x2010(%rdi)", 0x84), "no", "any"),
    Unseen("around by a byte of the vCPU", around("cmpb $7, 0x19c1(%rdi)", 0x84), "no", "any"),
    Unseen("around by the clock", around("rdtsc\ntestb $1, %al", 0x85), "no", "any"),
    Unseen("around by two registers", around("movq 0x128(%rdi), %rax\ncmpq 0x130(%rdi), %rax", 0x84), "no", "any"),
    Unseen(
        "around by two bytes",
        around("movb 0x2010(%rdi), %al\nandb 0x2011(%rdi), %al\ncmpb $0x81, %al", 0x84),
        "no",
        "any",
    ),
    Unseen(
        "around by a product",
        around("movl 0x2010(%rdi), %eax\nimull 0x2014(%rdi), %eax\ncmpl $0x7fff, %eax", 0x84),
        "no",
        "any",
    ),
    Unseen("around by overflow", around("movl 0x2010(%rdi), %eax\naddl $0x7fffffff, %eax", 0x80), "no", "any"),
    Unseen("around by parity", around("movl 0x2010(%rdi), %eax\ntestl %eax, %eax", 0x8B), "no", "any"),
    Unseen("a loop that ends", detour(STUB, 0x3D, 7, "movl $3, %ecx\n1: decl %ecx\njne 1b"), "any", "none"),
    Unseen(
        "a loop of the vCPU's own length",
        detour(STUB, 0x3D, 7, "movzbl 0x2010(%rdi), %ecx\n1: decl %ecx\njg 1b"),
        "any",
        "none",
    ),
    Unseen("a loop without an end", detour(STUB, 0x3D, 7, "1: jmp 1b"), "no", "any"),
    Unseen("the flag is raised on the stack", detour(STUB, 0x3D, 7, "orl $4, (%rsp)"), "no", "none"),
    Unseen("the flag is masked on the stack", detour(STUB, 0x3D, 7, "andl $~4, (%rsp)"), "no", "some"),
    Unseen("the flag is inverted on the stack", detour(STUB, 0x3D, 7, "xorl $4, (%rsp)"), "no", "some"),
    Unseen(
        "the flag is masked if flag 3",
        detour(STUB, 0x3D, 7, "testl $8, (%rsp)\nje 1f\nandl $~4, (%rsp)\n1:"),
        "no",
        "any",
    ),
    Unseen(
        "CMOV chooses the flags",
        detour(
            STUB, 0x3D, 7, "movl (%rsp), %ecx\nmovl $1, %edx\ntestl $8, %ecx\ncmovne %edx, %ecx\nmovl %ecx, (%rsp)"
        ),
        "no",
        "any",
    ),
    Unseen(
        "SETcc makes the flag",
        detour(
            STUB,
            0x3D,
            7,
            "movl (%rsp), %ecx\nandl $1, (%rsp)\ntestl $4, %ecx\nsete %cl\nmovzbl %cl, %ecx\nshll $2, %ecx\norl %ecx, (%rsp)",
        ),
        "no",
        "some",
    ),
    Unseen(
        "SETcc makes the flag as it was",
        detour(
            STUB,
            0x3D,
            7,
            "movl (%rsp), %ecx\nandl $~4, (%rsp)\ntestl $4, %ecx\nsetne %cl\nmovzbl %cl, %ecx\nshll $2, %ecx\norl %ecx, (%rsp)",
        ),
        "any",
        "none",
    ),
    Unseen("a push shifts the flags' place", detour(STUB, 0x9F, 7, "pushq 0x2010(%rdi)"), "no", "any"),
    Unseen("VMLAUNCH always", at(STUB, 0xBD, b"\xeb"), "no", "any"),
    Unseen("VMLAUNCH for VMRESUME", at(STUB, 0xBD, b"\x75"), "no", "any"),
    Unseen("the flags' other bit chooses VMRESUME", at(STUB, 0xB9, b"\x02"), "no", "any"),
    Unseen("MMIO's bit chooses VMRESUME", at(STUB, 0xB9, b"\x04"), "no", "any"),
    Unseen("a load behind VERW", at(STUB, 0xB6, bytes.fromhex("f644240801 9090")), "no", "any"),
    # --- what does not look like a question ---
    Unseen("around by the vCPU's address", around("testl $0x1000, %edi", 0x85), "no", "any"),
    Unseen("around by the stack's address", around("testl $0x40, %esp", 0x85), "no", "any"),
    Unseen("around by where it is loaded", around("leaq 0(%rip), %rax\ntestl $0x1000, %eax", 0x85), "no", "any"),
    Unseen("around by the return address", around("testb $0x10, 0x40(%rsp)", 0x85), "no", "any"),
    Unseen(
        "around by a table",
        around(
            "leaq 1f(%rip), %rcx\nmovzbl 0x2010(%rdi), %eax\nandl $1, %eax\n"
            "addq %rcx, %rax\ncmpb $0, (%rax)\njmp 2f\n1: .byte 0, 1\n2:",
            0x85,
        ),
        "no",
        "any",
    ),
    Unseen(
        "around by a table with an index",
        around(
            "leaq 1f(%rip), %rcx\nmovzbl 0x2010(%rdi), %eax\n"
            "andl $1, %eax\ncmpb $0, (%rcx,%rax)\njmp 2f\n1: .byte 0, 1\n2:",
            0x85,
        ),
        "no",
        "any",
    ),
    Unseen(
        "around by a table on the stack",
        around(
            "movw $0x0100, -16(%rsp)\nmovzbl 0x2010(%rdi), %eax\n"
            "andl $1, %eax\nleaq -16(%rsp,%rax), %rax\ncmpb $0, (%rax)",
            0x85,
        ),
        "no",
        "any",
    ),
    Unseen(
        "around by a jump through a table",
        detour(
            STUB,
            0x3D,
            7,
            "movzbl 0x2010(%rdi), %eax\nandl $1, %eax\n"
            "leaq 1f(%rip), %rcx\nleaq (%rcx,%rax,8), %rcx\njmp *%rcx\n.p2align 3\n1: jmp 2f\n.p2align 3\n"
            "andl $~4, (%rsp)\n2:",
        ),
        "no",
        "any",
    ),
    Unseen(
        "the stub sets FB_CLEAR_DIS",
        detour(STUB, 0x3D, 7, "movl $0x123, %ecx\nmovl $8, %eax\nxorl %edx, %edx\nwrmsr"),
        "no",
        "any",
    ),
    Unseen(
        "C calls behind VERW",
        lambda image: {
            image.symbols.extent(ENTER)[0] + 0x62: jump(
                image.symbols.extent(ENTER)[0] + 0x62, image.symbols.extent(STUB)[0] + 0xB6, 0xE8
            )
        },
        "no",
        "any",
    ),
    Unseen(
        "C calls behind the host's RSP",
        lambda image: {
            image.symbols.extent(ENTER)[0] + 0x62: jump(
                image.symbols.extent(ENTER)[0] + 0x62, image.symbols.extent(STUB)[0] + 0x3D, 0xE8
            )
        },
        "no",
        "any",
    ),
    Unseen("another function enters, too", call_to("handle_pause", 0x4, STUB), "no", "any"),
    Unseen(
        "another function enters behind VERW",
        lambda image: {
            image.symbols.extent("handle_pause")[0] + 0x4: jump(
                image.symbols.extent("handle_pause")[0] + 0x4, image.symbols.extent(STUB)[0] + 0xB6, 0xE8
            )
        },
        "no",
        "any",
    ),
    *(
        Unseen(f"{section} names {what}", named(section, size, offset), "no", "any")
        for section, size, offset, what in (
            ("__mcount_loc", 8, 0x13, "a CALL in the stub"),
            (".static_call_sites", 4, 0x13, "a CALL in the stub"),
            (".retpoline_sites", 4, 0xA6, "VERW's site"),
            ("__mcount_loc", 8, 0xB6, "what follows on VERW"),
        )
    ),
    # --- C ---
    Unseen("C hands on the vCPU", at(ENTER, 0x5D, b"\x89\xde"), "no", "any"),
    Unseen("C hands on nothing", at(ENTER, 0x5D, b"\x31\xf6"), "no", "some"),
    Unseen("C keeps the vCPU for the flags", at(ENTER, 0x1, b"\x89\xfd"), "no", "any"),
    Unseen("C asks for no flush", at(ENTER, 0x1B, "nopl 0(%rax,%rax)"), "no", "some"),
    Unseen("C calls another function for the flush", call_to(ENTER, 0x1B, "vmx_handle_nmi"), "no", "any"),
    Unseen("FB_CLEAR_DIS asked the wrong way", at(ENTER, 0x27, b"\x75"), "any", "none"),
    Unseen("another bit of the MSR", at(ENTER, 0x41, b"\x04"), "any", "none"),
    Unseen("another MSR", at(ENTER, 0x2A, b"\x24"), "any", "none"),
    Unseen("the MSR is not written", at(ENTER, 0x42, b"\x66\x90"), "any", "none"),
    Unseen("C raises the next flag", at(FLAGS, 0x78, b"\x03"), "no", "some"),
    Unseen("C ANDs the flag", at(FLAGS, 0x79, b"\x21\xc2"), "no", "some"),
    Unseen(
        "C raises the flag the wrong way",
        at(FLAGS, 0x72, "cmpb $1, 0x44(%rax)\nsbbl %eax, %eax\nandb $4, %al\norl %edx, %eax\nnop"),
        "no",
        "some",
    ),
    Unseen("C raises the flag under VM", field(RAISE_ENTRY, feature=685), "no", "some"),
    Unseen("C raises the flag without MMIO", field(RAISE_ENTRY, flags=1), "no", "some"),
    Unseen("C returns other flags", at(FLAGS, 0x7B, b"\x31\xc0"), "no", "some"),
    Unseen("C masks the flag at last", at(FLAGS, 0x79, bytes.fromhex("31c089d0")), "no", "some"),
    Unseen("cond by the flag not set", at(FLUSH, 0x11, b"\x75"), "no", "some"),
    Unseen("cond always", at(FLUSH, 0x11, b"\x66\x90"), "no", "any"),
    Unseen("cond never", at(FLUSH, 0x11, b"\xeb"), "no", "some"),
    Unseen("the flush's MSR is another", at(FLUSH, 0x29, b"\x0c"), "no", "some"),
    Unseen("the flush's bit is not set", at(FLUSH, 0x2E, b"\x00"), "no", "some"),
    Unseen("the flush's feature is another", field(CAPABLE_ENTRY, feature=605), "any", "any"),
    Unseen("the software flush reads half", at(FLUSH, 0x49, bytes.fromhex("0080 0000")), "no", "any"),
    # --- AMD ---
    Unseen("SVM's feature is 686", field(SVM_ENTRY, feature=686), "no", "any", AMD),
    Unseen("SEV's feature is 691", field(SEV_ENTRY, feature=691), "no", "any", AMD),
    Unseen("VERR before VMRUN", replaced(SVM_ENTRY, VERR), "no", "some", AMD),
    Unseen("a NOP before SEV's VMRUN", replaced(SEV_ENTRY, NOP7), "no", "some", AMD),
    Unseen("SEV's replacement is empty", field(SEV_ENTRY, room=0), "no", "some", AMD),
    Unseen("SVM by NOT", field(SVM_ENTRY, flags=1), "no", "some", AMD),
    Unseen(
        "VERW of a register before VMRUN",
        replaced(SVM_ENTRY, lambda _: bytes.fromhex("0f00e80f1f4000")),
        "no",
        "some",
        AMD,
    ),
    Unseen("SVM goes around", at(SVM, 0x16, bytes.fromhex("e97e000000")), "no", "some", AMD),
    Unseen("SVM goes around under 240", replaced(78, lambda _: bytes.fromhex("e97e000000")), "no", "any", AMD),
    Unseen(
        "SVM goes around by a field",
        at(SVM, 0x30, bytes.fromhex("80bf00200000 07") + b"\x74\x60"),
        "no",
        "any",
        AMD,
    ),
    Unseen("VERW before the guest's last register", at(SVM, 0x8B, b""), "yes", "none", AMD),
    Unseen("records of two sites swapped", swapped(81, 83), "any", "any", AMD),
)
