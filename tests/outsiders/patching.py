"""Answers to the exercises of notebooks 02 and 03, by one who has not seen the judges."""

HEAD = '.include "alternative.inc"\n.include "features.inc"\n'
SELECTOR = HEAD + "selector: .short 0x18\n"
F = "X86_FEATURE_CLEAR_CPU_BUF"
VM, MMIO = f"{F}_VM", f"{F}_VM_MMIO"
VERW = "verw selector(%rip)"


def entry(body: str, head: str = SELECTOR) -> str:
    """Return a text with this body of `entry`, a line for each part between semicolons or line ends."""
    return f"{head}entry:\n    {body}\n"


def alt(old: str = "", new: str = VERW, feature: str = F) -> str:
    return f'ALTERNATIVE "{old}", "{new}", {feature}\n    '


JUMP = alt("jmp 1f", "")  # the inverse form: what follows runs where the feature is
EARLY = JUMP + VERW + "\n1:\n    "

# Whatever is done beside the one thing that is asked for; {0} has it where the feature is, or where it is not.
BESIDE = (
    "movq $0, 0", "movb $1, 0", "hlt", "cli", "std", "xorl %ebx, %ebx", "movq %rax, %r12", "incl %ebp", "pushq %rax", "popq %rax",
    "addq $8, %rsp", "movw $0x10, selector(%rip)", "int3", "ud2", "wbinvd", "jmp .", "verw %ax", "movl $1, %r15d", "swapgs",
    "movq %rbx, (%rsp)", "movl $3, %ecx; xorl %eax, %eax; xorl %edx, %edx; wrmsr", "int $0x80", "outb %al, $0x80", "movq %rax, %cr3",
    "iretq", "incq 0x71000000", "leaq -8(%rsp), %rsp", "andq $-16, %rsp", "vmlaunch", "movq %rdi, %gs:0", "xchgq %rbx, %rbp",
    "lgdt (%rsp)", "movl %eax, %ds", "enter $8, $0", "movb $0xc3, entry(%rip)",
)  # fmt: skip


def clears(form: str) -> list[str]:
    """Return texts that clear as they should and do something else as well, before or behind."""
    found = [entry(f"{one.replace('; ', chr(10))}\n    {form}ret") for one in BESIDE]
    return found + [entry(f"{form}{one.replace('; ', chr(10))}\n    ret") for one in BESIDE[::3]]


WRONG = {
    "02-1": (
        "00 00 00 1d", "ad ff ff ff", "1d", "1d 00 00", "0f 00 2d 1d", "29", 29, "1d 00 00 00 00", "c3 ff ff ff", "3d ff ff ff",
        "1e 00 00 00", "1c 00 00 00", "e3 ff ff ff", "xx 00 00 00", "", None, ["1d"], b"\x1d\0\0", "1d 00 00 0", "8d ff ff ff", -83,
        "24 00 00 00", "16 00 00 00",
    ),
    "02-2": (
        *clears(alt()),
        entry("nop\n    ret"), entry(VERW + "\n    ret"), entry(alt(feature=VM) + "ret"), entry(alt(feature=F + " + NOT") + "ret"),
        entry(alt(VERW, "") + "ret"), entry(alt() + alt() + "ret"), entry(alt(new=VERW + "; " + VERW) + "ret"),
        entry(alt(new=VERW + "; hlt") + "ret"), entry(alt(new=VERW + "; movq $0, 0") + "ret"), entry(alt("movq $0, 0") + "ret"),
        entry(alt("hlt") + "ret"), entry(alt("xorl %ebx, %ebx") + "ret"), entry(alt("pushq %rbx") + "ret"),
        entry(alt(new=VERW + "; ret") + "jmp ."), entry(alt()), entry(alt() + "jmp entry"), entry(alt(feature="X86_FEATURE_ALWAYS") + "ret"),
        entry(alt(new="verw selector+2(%rip)") + "ret"), entry(alt(new="verr selector(%rip)") + "ret"),
        entry("xorl %eax, %eax\n    movl $5, %ecx\n    " + alt() + "stc\n    ret"), entry("xorps %xmm0, %xmm0\n    " + alt() + "ret"), entry("fninit\n    " + alt() + "ret"), entry(alt() + "ret", HEAD), entry(alt(new="verw %ax") + "ret"),
        entry(alt() + "ret $8"), entry(alt(new="movl $0x18, %eax; verw %ax") + "ret"), entry(alt(new="movl $0x18, %ebx; verw %bx") + "ret"),
        SELECTOR + "start:\n    " + alt() + "ret\n", alt() + "ret", "", '.include "/etc/passwd"\n', entry('.incbin "/etc/passwd"'),
        entry(".rept 100000000\n nop\n .endr\n ret"), entry("1: jmp 1b"), entry(alt() + alt(new="hlt", feature=VM) + "ret"),
        entry(alt() + alt("", VERW, VM) + "ret"), entry(f'ALTERNATIVE_2 "", "{VERW}", {F}, "", {VM}\n    ret'),
        entry(f'ALTERNATIVE_2 "", "{VERW}", {F}, "", {F}\n    ret'), entry(f'ALTERNATIVE_2 "", "", {F}, "{VERW}", {VM}\n    ret'),
        entry("pushq %rbx\n    movl $1, %ebx\n    popq %rax\n    " + alt() + "ret"), None, 5, ["verw"], VERW,
        entry("cmpq $0, 8(%rsp)\n    je 1f\n    " + alt() + "1: ret"), entry("testl %edi, %edi\n    jnz 1f\n    " + alt() + "1: ret"),
        entry("jc 1f\n    " + alt() + "1: ret"), entry("jz 1f\n    " + alt() + "1: ret"), entry("btl $0, %ebx\n    jc 1f\n    " + alt() + "1: ret"),
        entry("movw selector(%rip), %bx\n    " + alt() + "ret"),
    ),
    "02-3": (
        *clears(EARLY),
        entry(alt() + "ret"), entry(alt(new="call clear; nop") + "ret\nclear: " + VERW + "\n    ret"),
        entry(alt(new="nop; call clear") + "ret\nclear: " + VERW + "\n    ret"), entry(VERW + "\n    ret"), entry("ret"),
        entry(alt(new="leaq selector(%rip), %rax; verw (%rax)") + "ret"), entry(alt("jmp 1f", "nop; jmp 2f") + "1: ret\n2: " + VERW + "\n    ret"),
        entry(alt("", "jmp 1f") + VERW + "\n1:  ret"), entry(alt("jmp 1f", "", VM) + VERW + "\n1:  ret"),
        entry(EARLY + EARLY.replace("1", "2") + "ret"), entry(JUMP + VERW + "\n    " + VERW + "\n1:  ret"),
        entry(JUMP + VERW + "\n    hlt\n1:  ret"), entry(JUMP + VERW + "\n    movq $0, 0\n1:  ret"), entry(JUMP + "verw selector+2(%rip)\n1:  ret"),
        entry(alt("jmp *where(%rip)", "") + VERW + "\n1:  ret\nwhere: .quad 1b+1"), entry(JUMP + "1:  ret"),
        entry(alt("jmp 1f", "") + "1:  " + VERW + "\n    ret"), entry(JUMP + VERW + "\n1:"), entry(JUMP + VERW + "\n1:  ret $16"),
        entry(alt("jmp entry", "") + VERW + "\n    ret"), entry(alt(new="call clear") + "ret\nclear: " + VERW), "", None, entry(JUMP + "verw %ax\n1:  ret"),
        entry(alt("xorl %eax, %eax", "movl $1, %eax") + "testl %eax, %eax\n    jz 1f\n    " + VERW + "\n1:  ret"), entry("leaq selector(%rip), %rax\n    " + alt(new="verw (%rax)") + "ret"),
        entry(alt(new="jmp clear") + "clear: " + VERW + "\n    ret"),
        entry("jmp 1f\n    " + VERW + "\n1:  ret"), entry(alt("jmp 1f", "", F + " + NOT") + VERW + "\n1:  ret"),
        entry(JUMP + VERW + "\n    movl $1, %ebx\n1:  ret"), entry(alt("jmp 1f", "") + VERW + "\n    ret\n1:  movl $1, %ebp\n    ret"),
        entry(alt("jmp 1f", "") + VERW + "\n    ret\n1:  movq $0, 0\n    ret"),
    ),
    "02-4": (*tuple({"site": 18446744072635809876, "replacement": 18446744072635809987, "feature": 308, "flags": 1, "site_length": 3, "replacement_length": 0} | change for change in ({"site": 18446744072635809875}, {"site": 18446744072635809880}, {"site": 84}, {"site": -237}, {"site": "C0000054"}, {"replacement": 18446744072635809983}, {"replacement": 18446744072635809991}, {"feature": 13313}, {"feature": 52}, {"feature": 65844}, {"flags": 0}, {"flags": 256}, {"site_length": 0, "replacement_length": 3}, {"site_length": 14}, {"replacement_length": 1}, {"flags": "NOT"}, {"site": None}, {"site": 1.5}, {"feature": [308]})), {}, None, [18446744072635809876], 308, "13 ff ff ff", {"site": 18446744072635809876}),
    "02-6": (
        {"with": "0f 01 cb", "without": "90 " * 14}, {"with": "0f 01 cb" + " 90" * 11, "without": "eb 0c" + " cc" * 12},
        {"with": "0f 01 cb 66 66 2e 0f 1f 84 00 00 00 00 00", "without": "eb 0e" + " cc" * 12},
        {"with": "0f 01 cb 66 66 2e 0f 1f 84 00 00 00 00 00", "without": "eb 0c" + " 90" * 12},
        {"with": "0f 01 cb 66 66 2e 0f 1f 84 00 00 00 00 00", "without": "eb 0c" + " cc" * 11},
        {"with": "66 66 2e 0f 1f 84 00 00 00 00 00 0f 01 cb", "without": "eb 0c" + " cc" * 12},
        {"without": "0f 01 cb 66 66 2e 0f 1f 84 00 00 00 00 00", "with": "eb 0c" + " cc" * 12},
        {"with": "0f 01 cb 66 66 2e 0f 1f 84 00 00 00 00 00"}, ["0f 01 cb", "90"], "eb 0c", {}, None,
        {"with": "0f 01 cb eb 09" + " cc" * 9, "without": "eb 0c" + " cc" * 12},
        {"with": "0f 01 cb 66 66 2e 0f 1f 84 00 00 00 00 00", "without": "eb 0c zz" + " cc" * 11},
        {"with": "0f 01 ca 66 66 2e 0f 1f 84 00 00 00 00 00", "without": "eb 0c" + " cc" * 12}, {"with": 5, "without": 6},
    ),
}  # fmt: skip

RIGHT = {
    "02-1": ("1D 00 00 00", "1d000000", " 1d 00  00 00\n", "0x1d 0x00 0x00 0x00", "1d,00,00,00"),
    "02-2": (
        entry(alt(new="call clear") + "ret\nclear: " + VERW + "\n    ret"), entry(alt(new="verw selector") + "ret"), entry(EARLY + "ret"),
        entry(alt(VERW, "", F + " + NOT") + "ret"), entry(alt(new="leaq selector(%rip), %rax; verw (%rax)") + "ret"),
        entry(alt() + "ret", HEAD + ".pushsection .rodata\nselector: .short 0x18\n.popsection\n"),
        entry(alt(new="pushq %rbx; leaq selector(%rip), %rbx; verw (%rbx); popq %rbx") + "ret"),
        HEAD + "entry:\n    " + alt() + "ret\n.balign 2\nselector:\n    .short 0x18\n",
        entry(f'ALTERNATIVE_2 "", "nop", {VM}, "{VERW}", {F}\n    ret'), entry("nop\n    nop\n    " + alt() + "ret"),
        entry(alt("jmp 1f", "") + "jmp 2f\n1:  ret\n2:  " + VERW + "\n    jmp 1b"),
        HEAD + f".macro clear\n    {VERW}\n.endm\nselector: .short 0x18\n.globl entry\nentry:\n    {alt(new='clear')}ret\n",
        SELECTOR + 'entry:\n770: .skip 7, 0x90\n771:\n.pushsection .altinstr_replacement, "ax", @progbits\n772: verw selector(%rip)\n'
        f'773: .popsection\n alt_record 770b, 771b, 772b, 773b, {F}\n ret\n',
        entry(alt() + "stc\n    ret"), entry("pushq %rbx\n    movl $7, %ebx\n    " + alt() + "popq %rbx\n    ret"),
        entry("std\n    cld\n    " + alt() + "ret"),
    ),
    "02-3": (
        entry(alt(new="call clear") + "ret\nclear: " + VERW + "\n    ret"), entry(alt(new="verw selector") + "ret"),
        entry(alt("jmp done", "jmp clear") + "nop\ndone: ret\nclear: " + VERW + "\n    ret"), entry(alt(new="jmp clear") + "ret\nclear: " + VERW + "\n    ret"),
        entry(JUMP + "leaq selector(%rip), %rcx\n    verw (%rcx)\n1:  ret"), entry(alt("ret", "nop") + VERW + "\n    ret"),
        entry(alt("jmp 1f", "nop") + VERW + "\n1:  ret"),
        entry(alt("clc", "stc") + "jnc 1f\n    " + VERW + "\n1:  ret"), entry(alt(new="call clear") + "ret\nclear: " + VERW + "\n    popq %rax\n    ret"),
    ),
    "02-4": (
        {"site": 18446744072635809876, "replacement": 18446744072635809987, "feature": 308, "flags": 1, "site_length": 3, "replacement_length": 0},
        {"site": "0xffffffffc0000054", "replacement": "0xffffffffc00000c3", "feature": "0x134", "flags": "1", "site_length": "3", "replacement_length": "0"},
        {"replacement_length": 0, "site_length": 0x3, "flags": 0x1, "feature": 0x134, "replacement": 0xFFFFFFFFC00000C3, "site": 0xFFFFFFFFC0000054},
    ),
    "02-6": (
        {"with": "0f01cb66662e0f1f840000000000", "without": "EB0C" + "CC" * 12},
        {"without": "eb 0c" + " cc" * 12, "with": "0F 01 CB 66 66 2E 0F 1F 84 00 00 00 00 00"},
        {"without": "eb,0c" + ",cc" * 12, "with": "0F 01 CB\n66 66 2E 0F 1F 84 00 00 00 00 00"},
    ),
}  # fmt: skip

RELOCATE = """
def answer(code, fields, moved):
    code = bytearray.fromhex(code)
    for field in fields:
        place = slice(field.at, field.at + field.size)
        old = int.from_bytes(code[place], "little", signed=True)
        if not 0 <= field.end + old <= len(code):
            code[place] = (old + moved).to_bytes(field.size, "little", signed=True)
    return code.hex()
"""


def changed(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new)
    return text


WRONG["02-5"] = (
    *(
        changed(RELOCATE, change)
        for change in (
            ('"little", signed=True)\n        if', '"little")\n        if'), ("<= len(code)", "< len(code)"), ("not 0 <=", "not 0 <"), ("old + moved", "old - moved"),
            ("field.end + old", "field.at + old"), ("if not 0 <= field.end + old <= len(code)", "if True"), ("not 0", "0"), ("for field in fields:", "for field in fields[:1]:"),
            ('"little"', '"big"'), ("return code.hex()", "return bytes(code)"), ("return code.hex()", "return None"), ("return code.hex()", "code.hex()"),
            ("field.at + field.size", "field.at + 4"), ("if not", "if field.size == 4 and not"), ("0 <=", "-moved <="), ("field.end + old <=", "field.end + old + moved <="),
            ("return code.hex()", "return code.hex()[2:]"), ("return code.hex()", "return code.hex() + '90'"), ("old + moved", "moved"), ("len(code)", "5"),
            ("if not 0 <= field.end + old <= len(code)", "if old < 0"), ("if not 0 <= field.end + old <= len(code)", "if field.size == 4"),
            ("if not 0 <= field.end + old <= len(code)", "if abs(old) > 20"), ("for field in fields:", "for field in reversed(fields[1:]):"),
        )
    ),
    "def answer(code, fields, moved):\n    while True:\n        pass\n", "def answer(code, fields, moved):\n    return code\n", "def answer(code, fields):\n    return code\n",
    "def answer(code, fields, moved):\n    from vmenter.course.exercises.nb02_engine import moves\n    return next(m.right.hex() for m in moves() if m.code.hex() == code)\n",
    "def answer(code, fields, moved):\n    import gc\n    return next(o for o in gc.get_objects() if isinstance(o, dict) and 'right' in o)['right']\n",
)  # fmt: skip
RIGHT["02-5"] = (
    changed(RELOCATE, ("return code.hex()", "return code.hex(' ').upper()")),
    """
def inside(field, old, length):
    return field.end + old in range(length + 1)

def answer(code, fields, moved):
    raw = bytes.fromhex(code)
    for at, size, end in ((f.at, f.size, f.end) for f in fields):
        old = int.from_bytes(raw[at:at + size], "little")
        old -= (old >> (8 * size - 1)) << (8 * size)
        if end + old < 0 or end + old > len(raw):
            raw = raw[:at] + ((old + moved) % (1 << 8 * size)).to_bytes(size, "little") + raw[at + size:]
    return "".join(f"{b:02x}" for b in raw)
""",
    """
import struct

def answer(code, fields, moved):
    code = bytearray.fromhex(code)
    for field in sorted(fields, key=lambda one: -one.at):
        form = {1: "<b", 4: "<i"}[field.size]
        (old,) = struct.unpack_from(form, code, field.at)
        if field.end + old < 0 or len(code) < field.end + old:
            struct.pack_into(form, code, field.at, old + moved)
    return code.hex(" ")
""",
)

# --- 03 ---------------------------------------------------------------------------------------------------------

MACROS = (
    SELECTOR
    + r"""
.macro clear
    verw selector(%rip)
.endm
.macro clear_if_mmio
    testl $4, 8(%rsp)
    jz .Lno_mmio\@
    verw selector(%rip)
.Lno_mmio\@:
.endm
entry:
    ALTERNATIVE_2 "", clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear, X86_FEATURE_CLEAR_CPU_BUF_VM
    ret
"""
)
JUMPS = (
    SELECTOR
    + """entry:
    ALTERNATIVE_2 "jmp 9f", "", X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, "jmp 8f", X86_FEATURE_CLEAR_CPU_BUF_VM
    testl $4, 8(%rsp)
    jz 9f
8:
    verw selector(%rip)
9:
    ret
"""
)


def beside(text: str) -> list[str]:
    found = [changed(text, ("entry:\n", f"entry:\n    {one.replace('; ', chr(10))}\n")) for one in BESIDE]
    return found + [
        changed(text, ("    ret\n", f"    {one.replace('; ', chr(10))}\n    ret\n")) for one in BESIDE[1::3]
    ]


WRONG["03-1"] = (
    *beside(MACROS),
    *(
        changed(MACROS, change)
        for change in (
            ("    testl $4, 8(%rsp)\n", ""), ("    testl $4, 8(%rsp)\n", "    xorl %eax, %eax\n"), ("jz .L", "jnz .L"), ("jz .L", "jmp .L"), ("jz .L", "js .L"), ("$4, 8", "$2, 8"), ("$4, 8", "$5, 8"),
            ("$4, 8", "$8, 8"), ("$4, 8", "$0, 8"), ("$4, 8", "$-1, 8"), ("8(%rsp)", "(%rsp)"), ("8(%rsp)", "16(%rsp)"), ("testl $4, 8(%rsp)", "cmpl $4, 8(%rsp)"),
            ("testl $4, 8(%rsp)", "andl $4, 8(%rsp)"), ("testl $4, 8(%rsp)", "testl $4, %edi"), ("testl $4, 8(%rsp)", "btl $2, 8(%rsp)"), ("testl $4, 8(%rsp)", "cmpl $0, 8(%rsp)"),
            ("testl $4, 8(%rsp)", "testl $4, 8(%rsp)\n    orl $1, %eax"), ("testl $4, 8(%rsp)", "testl $4, 8(%rsp)\n    cmpl %eax, %eax"), ("testl $4, 8(%rsp)", "movl 8(%rsp), %ebx\n    testl $4, %ebx"),
            ("testl $4, 8(%rsp)", "pushq %rax\n    testl $4, 8(%rsp)"), ("testl $4, 8(%rsp)", "pushq %rax\n    testl $4, 16(%rsp)"), ("testl $4, 8(%rsp)", "shrl $3, 8(%rsp)"),
            ('"", clear_if', '"verw selector(%rip)", clear_if'), ('"", clear_if', '"hlt", clear_if'), (".macro clear\n", ".macro clear\n    verw selector(%rip)\n"),
            (".macro clear\n", ".macro clear\n    testl $4, 8(%rsp)\n    jz 1f\n1:\n    movq $0, 0\n"), ("_VM\n    ret", "\n    ret"), ("    ret", "    ret $8"),
            ("testl $4, 8(%rsp)\n    jz", "btl $3, 8(%rsp)\n    jnc"), ("testl $4, 8(%rsp)\n    jz", "btl $2, 8(%rsp)\n    jc"), ("testl $4, 8(%rsp)\n    jz", "cmpl $4, 8(%rsp)\n    jb"),
            ("testl $4, 8(%rsp)\n    jz", "cmpl $4, 8(%rsp)\n    jne"), ("testl $4", "testw $1024"), ("testl $4, 8", "testl $4, 9"), ("testl $4, 8(%rsp)\n    jz", "testl $4, 8(%rsp)\n    jg"),
            ("clear_if_mmio, X86", "clear, X86"), ("clear, X86_FEATURE_CLEAR_CPU_BUF_VM\n", "clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM\n"),
        )
    ),
    entry(f'ALTERNATIVE_2 "", "{VERW}", {VM}, "testl $4, 8(%rsp); jz 1f; {VERW}; 1:", {MMIO}\n    ret'), entry(alt(feature=VM) + alt(new=f"testl $4, 8(%rsp); jz 1f; {VERW}; 1:", feature=MMIO) + "ret"),
    entry(alt(feature=VM) + "ret"), entry(alt(new=f"testl $4, 8(%rsp); jz 1f; {VERW}; 1:", feature=MMIO) + "ret"), entry("testl $4, 8(%rsp)\n    jz 1f\n    " + VERW + "\n1:  ret"), entry("ret"),
    entry(alt(feature=VM) + alt(feature=MMIO) + "ret"), entry(alt(f"testl $4, 8(%rsp); jz 1f; {VERW}; 1:", VERW, VM) + "ret"),
)  # fmt: skip
SWITCH = (
    'ALTERNATIVE_2 "xorl %eax, %eax", "movl 8(%rsp), %eax", X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, "movl $4, %eax", X86_FEATURE_CLEAR_CPU_BUF_VM\n'
    "    testb $4, %al\n    jz 1f\n    verw selector(%rip)\n1:  ret"
)
RIGHT["03-1"] = (
    changed(MACROS, ("testl $4, 8(%rsp)\n    jz", "btl $2, 8(%rsp)\n    jnc")), changed(MACROS, ("testl $4, 8(%rsp)", "movq 8(%rsp), %rax\n    andl $4, %eax")),
    changed(MACROS, ("testl $4, 8(%rsp)", "testb $4, 8(%rsp)")), changed(MACROS, ("testl $4, 8(%rsp)\n    jz", "movl 8(%rsp), %ecx\n    shrl $3, %ecx\n    jnc")),
    JUMPS, entry(SWITCH), changed(MACROS, ("testl $4, 8(%rsp)", "pushq %rax\n    testl $4, 16(%rsp)\n    leaq 8(%rsp), %rsp")), changed(MACROS, ("selector(%rip)", "selector")),
    changed(MACROS, ("testl $4, 8(%rsp)", "pushq %rbx\n    movl 16(%rsp), %ebx\n    testb $4, %bl\n    popq %rbx")),
    entry(f'ALTERNATIVE_2 "", "call ask", {MMIO}, "call always", {VM}\n    ret\nask:\n    testl $4, 16(%rsp)\n    jz 1f\nalways:\n    {VERW}\n1:  ret'),
    changed(MACROS, ("testl $4, 8(%rsp)\n    jz .Lno_mmio\\@\n    verw selector(%rip)\n.Lno_mmio\\@:", "testl $4, 8(%rsp)\n    jnz 1f\n    jmp .Lno_mmio\\@\n1:  verw selector(%rip)\n.Lno_mmio\\@:")),
)  # fmt: skip
WRONG["03-3"] = (
    *beside(JUMPS),
    *(
        changed(JUMPS, change)
        for change in (
            ("    testl $4, 8(%rsp)\n", ""), ("jz 9f", "jnz 9f"), ("$4, 8", "$2, 8"), ("$4, 8", "$5, 8"), ("8(%rsp)", "16(%rsp)"), ("testl", "cmpl"), ("testl $4", "btl $2"), ("jz 9f", "jmp 9f"), ("    jz 9f\n", ""),
            ('"jmp 8f"', '""'), ('"jmp 8f"', '"jmp 9f"'), ('"jmp 9f"', '""'), ('"jmp 9f"', '"jmp 8f"'), ('"jmp 8f"', '"jmp 8f; nop"'), ('"jmp 8f"', '"nop; jmp 8f"'), ('"jmp 8f"', '"verw selector(%rip); jmp 9f"'),
            ('"jmp 8f"', '"verw selector(%rip); ret"'), ("9:\n    ret", "9:\n    ret $8"), ("8:\n", "8:\n    verw selector(%rip)\n"), ("8:\n", "8:\n    hlt\n"), ("9:\n", "9:\n    movq $0, 0\n"), ("9:\n", "9:\n    movl $1, %ebx\n"),
            ("VM_MMIO", "VM_XXX"), ("testl $4, 8(%rsp)", "testl $4, 8(%rsp)\n    testl %esp, %esp"), ("testl $4, 8(%rsp)", "movl 8(%rsp), %ebx\n    testl $4, %ebx"), ("testl $4, 8(%rsp)", "andl $4, 8(%rsp)"),
        )
    ),
    MACROS, entry(f'ALTERNATIVE_2 "jmp 9f", "jmp 8f", {VM}, "", {MMIO}\n    testl $4, 8(%rsp)\n    jz 9f\n8:  {VERW}\n9:  ret'), entry("ret"),
    entry(f'ALTERNATIVE_2 "", "call ask", {MMIO}, "call always", {VM}\n    ret\nask:\n    testl $4, 8(%rsp)\n    jz 1f\nalways:\n    {VERW}\n1:  ret'),
)  # fmt: skip
RIGHT["03-3"] = (
    entry(f'ALTERNATIVE_2 "", "call ask", {MMIO}, "call always", {VM}\n    ret\nask:\n    testl $4, 16(%rsp)\n    jz 1f\nalways:\n    {VERW}\n1:  ret'),
    entry(f'ALTERNATIVE_2 "", "jmp ask", {MMIO}, "jmp always", {VM}\n    ret\nask:\n    btl $2, 8(%rsp)\n    jnc 1f\nalways:\n    {VERW}\n1:  ret'),
    entry(SWITCH), changed(MACROS, ("selector(%rip)", "selector")),
    changed(JUMPS, ("testl $4, 8(%rsp)", "movl 8(%rsp), %ecx\n    andl $4, %ecx")),
    entry(alt("jmp 7f", "jmp 8f", VM) + "7:\n    " + alt("jmp 9f", "", MMIO) + f"testb $4, 8(%rsp)\n    jz 9f\n8:  {VERW}\n9:  ret"),
)  # fmt: skip
WRONG["03-2"] = (
    "a",
    "b",
    "d",
    "",
    "cd",
    "abcd",
    "?",
    3,
    None,
    ["c", "d"],
    "c d",
    "с",
    {"c": False},
    "not c",
    True,
    b"c",
)
RIGHT["03-2"] = ("C", " c\n", ["c"], "c.", "(c)", ("C",), {"c"})
STANDS = {"A": VM[12:], "B": "none", "C": MMIO[12:], "D": F[12:], "E": MMIO[12:]}
WRONG["03-4"] = (
    *(STANDS | change for change in (
        {"A": F[12:]}, {"A": "none"}, {"B": F[12:]}, {"C": VM[12:]}, {"D": VM[12:]}, {"E": "none"}, {"E": VM[12:]}, {"B": None}, {"A": "X"}, {"A": ""}, {"A": [VM[12:], MMIO[12:]]}, {"C": "none", "E": "none"},
    )),
    {}, None, "none", list(STANDS.values())[:4], dict.fromkeys("ABCDE", MMIO[12:]), {k: v for k, v in STANDS.items() if k != "E"},
)  # fmt: skip
RIGHT["03-4"] = (
    {key.lower(): value.lower() for key, value in STANDS.items()},
    dict(reversed(STANDS.items())),
    {key: f" X86_FEATURE_{value} " if value != "none" else "None" for key, value in STANDS.items()},
)
BOTH = ["CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"]
WRONG["03-5"] = (
    {"module": "A", "features": BOTH}, {"module": "C", "features": BOTH}, {"module": "B", "features": []}, {"module": "B", "features": BOTH[:1]}, {"module": "B", "features": BOTH[1:]}, {"module": "B"},
    {"features": BOTH}, {"module": "ABC", "features": BOTH}, {"module": "B", "features": None}, {"module": None, "features": BOTH}, ["B", BOTH], "B", {"module": "B", "features": ["CLEAR_CPU_BUF"]},
    {"module": "B", "features": [*BOTH, "CLEAR_CPU_BUF"]}, {"module": "B", "features": ["VM", "VM_MMIO", "x"]}, {"module": "D", "features": BOTH}, {"module": "B", "features": {"CLEAR_CPU_BUF_VM": True, "CLEAR_CPU_BUF_VM_MMIO": False}},
)  # fmt: skip
RIGHT["03-5"] = (
    {"module": "b", "features": BOTH[::-1]}, {"module": " B ", "features": set(BOTH)}, {"features": tuple(BOTH), "module": "B"}, {"module": "B", "features": " ".join(BOTH)}, {"module": "B", "features": [one.lower() for one in BOTH]},
)  # fmt: skip
