"""Answers to the exercises of notebooks 09 and 10, by one who has not seen the judges."""

from .entering import A_CHOICE  # noqa: F401
from .patching import changed

WHERE = {
    "5.10.262": ("nowhere", "C"),
    "6.1.192": ("nowhere", "C"),
    "6.12.117": ("nowhere", "C"),
    "6.18.15": ("C", "C"),
    "7.3.4": ("stub", "stub"),
}
VERDICT = """
def clears_as_6_19(rows, in_c):
    if in_c or {features for features, _, _ in rows} != {"", "VM", "MMIO", "VM MMIO"}:
        return False
    for features, reaches_mmio, cleared in rows:
        owed = "VM" in features.split() or (features == "MMIO" and reaches_mmio)
        if cleared != owed:
            return False
    return True
"""
MUTANT = {"module": "b", "features": ["CLEAR_CPU_BUF_VM_MMIO"], "mmio": True, "resume": False}
TOLD = {"mds": "yes", "mapped": "yes", "cond": "no", "selected": "not told", "effective": "not told", "ran": "no"}
COPY = """
.include "alternative.inc"
.globl entry
entry:
    movq %rdx, %rcx
    ALTERNATIVE "jmp by_loop", "", X86_FEATURE_FSRM
    rep movsb
    ret
by_loop:
    jrcxz done
    movb (%rsi), %al
    movb %al, (%rdi)
    incq %rsi
    incq %rdi
    decq %rcx
    jmp by_loop
done:
    ret
"""
BESIDE = (
    "movl $1, %ebx", "xorl %ebp, %ebp", "incq %r12", "movq $0, %r15", "std", "pushq %rax", "popq %rax", "addq $8, %rsp", "movq $0, 0", "hlt", "cli", "int3", "movb $0, -1(%rdi)", "movb $0, (%rdi, %rdx)", "movb $0, (%rsi)", "incb -1(%rsi)", "ud2", "swapgs", "wbinvd", "jmp .", "verw %ax", "movq $0, 16(%rsp)", "ret $8", "ret", "outb %al, $0x80",
    "movb (%rdi), %bl", "movq %rax, %cr2", "vmlaunch", "movl %eax, %ds", "movq $1, (%rsp)",
)  # fmt: skip
COPY_DOWN = changed(
    COPY,
    (
        "    movb (%rsi), %al\n    movb %al, (%rdi)\n    incq %rsi\n    incq %rdi\n",
        "    movb -1(%rsi, %rcx), %al\n    movb %al, -1(%rdi, %rcx)\n",
    ),
)
SITE = """
def site_of(at, record):
    offset = int.from_bytes(bytes(record[0:4]), "little", signed=True)
    return at + offset, record[10] + record[12]
"""
FACTS = {"sites": None, "clears_to_user": None}


def facts() -> dict[str, object]:
    """Return the facts that 10-3 asks for, from what was recorded."""
    from vmenter.kernels import amd_stub, census

    kernel, intel, amd = (census.recorded("6.12.117", name) for name in ("vmlinuz", "kvm-intel.ko", "kvm-amd.ko"))
    return {
        "sites": kernel.sites, "clears_to_user": len(kernel.clears), "intel": [one.feature for one in intel.clears], "amd": sorted({one.feature for one in amd.clears}),
        "amd_accesses_after_clear": max(run.accesses_after_clear or 0 for run in amd_stub.recorded_runs("6.12.117")), "form_of_6_19": False, "left_open": "mmio",
    }  # fmt: skip


FACTS = facts()


def copies(line: str, but: str = "") -> list[str]:
    """Return the copy with each of `BESIDE` behind a line, but for one that makes no difference there."""
    return [changed(COPY, (line, f"{line}\n    {one}")) for one in BESIDE if one != but]


WRONG = {
    "09-1": (
        *(WHERE | change for change in ({"5.10.262": ("C", "C")}, {"5.10.262": ("nowhere", "nowhere")}, {"6.1.192": ("stub", "C")}, {"6.12.117": ("C", "C")}, {"6.12.117": ("nowhere", "stub")}, {"6.18.15": ("nowhere", "C")}, {"6.18.15": ("stub", "stub")}, {"7.3.4": ("C", "C")}, {"7.3.4": ("nowhere", "stub")}, {"7.3.4": "stub"}, {"7.3.4": None}, {"7.3.4": ("stub", "stub", "stub")}, {"6.1.192": ("C", "nowhere")}, {"7.3.4": ("stub",)}, {"6.1.192": {"C", "nowhere", "x"}})),
        {}, None, "C", list(WHERE.values())[:4], {key: WHERE[key] for key in list(WHERE)[1:]}, dict.fromkeys(WHERE, ("C", "C")),
    ),
    "09-2": (
        *(changed(VERDICT, change) for change in (
            ("in_c or {", "{"), ("if in_c or", "if not in_c or"), ('{"", "VM", "MMIO", "VM MMIO"}', '{"", "VM", "MMIO"}'), ('{"", "VM", "MMIO", "VM MMIO"}', '{"VM", "MMIO", "VM MMIO"}'), ('!= {"", "VM", "MMIO", "VM MMIO"}', "== set()"), (" and reaches_mmio", ""), ('"VM" in features.split() or ', ""), ('"VM" in features.split()', '"VM MMIO" == features'), ('"VM" in features.split()', '"VM" == features'),
            ("cleared != owed", "owed and not cleared"), ("cleared != owed", "cleared and not owed"), ("cleared != owed", "cleared == owed"), ("            return False\n    return True", "            return True\n    return False"), ("            return False\n", "            return 0\n"), ("    return True\n", "    return 1\n"), ("    return True\n", "    return None\n"), ("    return True\n", "    return False\n"), ('features == "MMIO" and', '"MMIO" in features and'.replace("in features", "== features.split()[-1:]")),
            ('(features == "MMIO" and reaches_mmio)', "reaches_mmio"), ("        if cleared != owed:\n            return False\n", "        return cleared == owed\n"), ("    for", "    while True: pass\n    for"), ("in_c or", "rows[0][2] or in_c or") if False else ('"VM" in features.split()', '"M" in features'), ("if in_c or {features for features, _, _ in rows} !=", "if in_c or not {features for features, _, _ in rows} &"), ("for features, reaches_mmio, cleared in rows:", "for features, reaches_mmio, cleared in rows[:-1]:"), ("for features, reaches_mmio, cleared in rows:", "for features, reaches_mmio, cleared in rows[1:]:"),
        )),
        None, 3, True, "def f(rows): return True\n", "def f(rows, in_c): return 'VM MMIO' in [r[0] for r in rows] and not in_c\n", lambda rows, in_c: False, "def f(rows, in_c): return len(rows) == 8\n", "def f(rows, in_c): return in_c\n", "def f(rows, in_c): return rows.append(1)\n", "def f(rows, in_c): return hash(rows) % 7 == 3\n", any,
    ),
    "09-3": (
        *(MUTANT | change for change in ({"module": "a"}, {"module": "c"}, {"module": "a", "mmio": False, "resume": True}, {"mmio": False}, {"resume": True}, {"features": []}, {"features": ["CLEAR_CPU_BUF_VM"]}, {"features": ["CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"]}, {"features": ["CLEAR_CPU_BUF"]}, {"features": ["MMIO"]}, {"module": "d"}, {"module": "abc"}, {"module": None}, {"features": None}, {"mmio": None}, {"resume": "no idea"}, {"module": ["a", "b", "c"]}, {"mmio": 2}, {"features": "x"})),
        {}, None, "b", [MUTANT], {"module": "b"}, {"module": "b", "features": ["CLEAR_CPU_BUF_VM_MMIO"]}, list(MUTANT.values()),
    ),
    "09-4": (
        *(TOLD | {key: other} for key in TOLD for other in ("yes", "no", "not told") if other != TOLD[key]), {}, None, "yes", TOLD | {"mds": True}, TOLD | {"mds": None}, TOLD | {"ran": "maybe"}, {key: TOLD[key] for key in list(TOLD)[:5]}, TOLD | {"mds": ["yes", "no"]}, list(TOLD.values())[:5],
    ),
    "10-1": (
        {"zen": 2, "facts": ("verw_clear",), "cmdline": "tsa=vm"}, {"zen": 3, "facts": (), "cmdline": "tsa=vm"}, {"zen": 3, "facts": ("verw_clear",), "cmdline": ""}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "tsa=user"}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "tsa=on"}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "tsa=off"}, {"zen": 5, "facts": ("verw_clear", "tsa_sq_no", "tsa_l1_no", "tsa_fill_no"), "cmdline": "tsa=vm"}, {"zen": 1, "facts": ("verw_clear",), "cmdline": "tsa=vm"},
        {"zen": 3, "facts": ("verw_clear", "tsa_sq_no", "tsa_l1_no"), "cmdline": "tsa=vm"}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "mitigations=auto,no_user_kernel,no_user_user"}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "tsa=vm mitigations=off"}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "tsa=vm tsa=on"}, {"zen": 9, "facts": ("verw_clear",), "cmdline": "tsa=vm"}, {"zen": "x"}, {}, None, "tsa=vm", [3, "tsa=vm"],
        {"zen": 3, "facts": None, "cmdline": None}, {"zen": 3, "facts": ("verw",), "cmdline": "tsa=vm"}, {"zen": 3.5, "facts": ("verw_clear",), "cmdline": "tsa=vm"}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "TSA=vm"}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "tsa=vm", "nonsense": 1}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "-- tsa=vm"}, {"zen": 3, "facts": ("verw_clear",), "cmdline": "tsa=vm,user"},
    ),
    "10-2": (
        *copies("    movq %rdx, %rcx"), *copies("    rep movsb", but="ret"), *copies("done:", but="ret"), *copies("by_loop:")[::2],
        *(changed(COPY, change) for change in (
            ('"jmp by_loop", ""', '"", "jmp by_loop"'), ("_FSRM\n", "_FSRM + NOT\n"), ("rep movsb", "movsb"), ("rep movsb", "rep movsq"), ("rep movsb", "std\n    rep movsb"), ("rep movsb", "std\n    rep movsb\n    cld"), ("    rep movsb\n", ""), ("movq %rdx, %rcx", "movl %edx, %ecx"), ("movq %rdx, %rcx", "movzwl %dx, %ecx"), ("movq %rdx, %rcx", "movzbl %dl, %ecx"), ("    jrcxz done\n", ""), ("jrcxz done", "jecxz done"), ("decq %rcx", "decb %cl"), ("decq %rcx", "decw %cx"),
            ("decq %rcx", "subq $2, %rcx"), ("incq %rsi", "incb %sil"), ("incq %rdi", "incw %di"), ("    incq %rsi\n", ""), ("movb %al, (%rdi)", "movw %ax, (%rdi)"), ("movb (%rsi), %al", "movb (%rdi), %al"), ("movb (%rsi), %al\n    movb %al", "movb (%rsi), %bl\n    movb %bl"), ("jmp by_loop\ndone", "jmp entry\ndone"), ("done:\n    ret", "done:\n    ret $8"), ("movb %al, (%rdi)\n", "movb %al, 1(%rdi)\n"), ("by_loop:\n", "by_loop:\n    rep movsb\n"), ("by_loop:\n", "by_loop:\n    cld\n    movsb\n    jmp done\n"),
            ("by_loop:\n", "by_loop:\n    decq %rcx\n"), ("by_loop:\n", "by_loop:\n    incq %rcx\n"), ("by_loop:\n", "by_loop:\n    shrq $3, %rcx\n    rep movsq\n    ret\n"), ("by_loop:\n", "by_loop:\n    cmpq $100, %rcx\n    ja done\n"), ("by_loop:\n    jrcxz done\n", "by_loop:\n    testb %cl, %cl\n    jz done\n"), ("movb (%rsi), %al\n    movb %al, (%rdi)\n    incq %rsi\n    incq %rdi\n    decq %rcx", "movb -1(%rsi,%rcx), %al\n    movb %al, (%rdi,%rcx)\n    decq %rcx"),
            (".globl entry\nentry:", ".globl start\nstart:"), ('"jmp by_loop", ""', '"", ""'), ("movb %al, (%rdi)", "orb %al, (%rdi)"), ("movb %al, (%rdi)", "xchgb %al, (%rdi)\n    movb %al, (%rsi)"), ("movb (%rsi), %al", "movq (%rsi), %rax"), ("incq %rdi", "incl %edi"), ("incq %rsi", "incl %esi"), ("movq %rdx, %rcx", "movslq %edx, %rcx"),
        )),
        '.include "alternative.inc"\n.globl entry\nentry:\n    movq %rdx, %rcx\n    rep movsb\n    ret\n', "", None, 3, "entry: ret", "entry: jmp entry", '.include "alternative.inc"\nentry:\n    ALTERNATIVE "call slow", "rep movsb", X86_FEATURE_FSRM\n    ret\nslow:\n    ret\n',
        '.include "alternative.inc"\nentry:\n    movq %rdx, %rcx\n    ALTERNATIVE "ret", "rep movsb; ret", X86_FEATURE_FSRM\n', '.include "alternative.inc"\nentry:\n    movq %rdx, %rcx\n    jmp 2f\n1:  movb (%rsi), %al\n    movb %al, (%rdi)\n    incq %rsi\n    incq %rdi\n    decq %rcx\n2:  testq %rcx, %rcx\n    jnz 1b\n    ret\n',
    ),
    "10-3": (
        *(FACTS | change for change in ({"sites": FACTS["sites"] + 1}, {"sites": 0}, {"clears_to_user": 0}, {"clears_to_user": FACTS["clears_to_user"] + 1}, {"intel": []}, {"intel": ["CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM"]}, {"amd": []}, {"amd": ["CLEAR_CPU_BUF"]}, {"amd_accesses_after_clear": 99}, {"amd_accesses_after_clear": None}, {"form_of_6_19": True}, {"form_of_6_19": None}, {"left_open": "mds"}, {"left_open": "nothing"}, {"left_open": None}, {"sites": "many"}, {"form_of_6_19": 0.5}, {"intel": None}, {"amd": 5})),
        {}, None, "mmio", {key: FACTS[key] for key in list(FACTS)[:6]}, list(FACTS.values()),
    ),
    "10-4": (
        *(changed(SITE, change) for change in (
            (", signed=True", ""), ('"little"', '"big"'), ("[0:4]", "[4:8]"), ("at + offset", "offset"), ("at + offset", "at + 4 + offset"), ("at + offset", "at - offset"), ("record[10] + record[12]", "record[10]"), ("record[10] + record[12]", "record[12]"), ("record[10] + record[12]", "record[11] + record[12]"), ("record[10] + record[12]", "record[10] + record[11]"), ("record[10] + record[12]", "max(record[10], record[11])"), ("record[10] + record[12]", "record[10] + record[12] + record[13]"),
            ("record[10] + record[12]", "(record[10] + record[12]) & 127"), ("record[10] + record[12]", "record[10] | record[12]"), ("return at + offset, record[10] + record[12]", "return record[10] + record[12], at + offset"), ("return at + offset, record[10] + record[12]", "return at + offset"), ("return at + offset, record[10] + record[12]", "return str(at + offset), record[10] + record[12]"), ("return at + offset, record[10] + record[12]", "return"), ("[0:4]", "[0:3]"), ("[0:4]", "[0:2]"),
            ("return at + offset, record[10] + record[12]", "return {at + offset, record[10] + record[12]}"), ("return at + offset, record[10] + record[12]", "return float(at + offset), record[10] + record[12]"), ("at + offset", "(at + offset) & 0xffffffff"), ("record[10] + record[12]", "len(record)"), ("    offset =", "    record = sorted(record)\n    offset ="), ("record[10] + record[12]", "True + record[10] + record[12] - 1 - 1") , ("at + offset,", "at + abs(offset),"), ("at + offset,", "at - abs(offset),"), ("    return", "    import sys; sys.exit(0)\n    return"), ("    return", "    while 1: pass\n    return"),
        )),
        None, 3, "def site_of(at): return at, 1\n", max, lambda at, record: (at, 1), (1, 2),
    ),
    "10-5": ("abdf", "abdh", "abfh", "adfh", "bdfh", "abcdfh", "abdefh", "abdfgh", "", "abcdefgh", None, 3, "ceg", ["a", "b"], "?", "abdfhz", {"a": 1, "b": 2}),
}  # fmt: skip

RIGHT = {
    "09-1": ({key: list(value) for key, value in WHERE.items()}, {key: tuple(one.upper() for one in value) for key, value in reversed(WHERE.items())}, {key: " ".join(value) for key, value in WHERE.items()}, {key: ", ".join(value) for key, value in WHERE.items()}, {key: {"mapped": value[0], "assigned": value[1]} for key, value in WHERE.items()}),
    "09-2": (
        "ALL = ['', 'VM', 'MMIO', 'VM MMIO']\n\ndef owed(features, mmio):\n    return 'VM' in features.split(' ') or bool(features and mmio)\n\ndef judge(rows, in_c):\n    seen = [r[0] for r in rows]\n    return not in_c and all(f in seen for f in ALL) and all(owed(f, m) is c for f, m, c in rows)\n",
        "def f(rows, in_c):\n    want = {('', m, False) for m in (0, 1)} | {('VM', m, True) for m in (0, 1)} | {('VM MMIO', m, True) for m in (0, 1)} | {('MMIO', m, bool(m)) for m in (0, 1)}\n    return set(rows) == want and not in_c\n",
        "def f(rows, in_c):\n    table = {}\n    for row in rows:\n        table[row[0], row[1]] = row[2]\n    if in_c:\n        return False\n    try:\n        return all(table[f, m] == (f.startswith('VM') or (f == 'MMIO' and m)) for f in ('', 'VM', 'MMIO', 'VM MMIO') for m in (False, True))\n    except KeyError:\n        return False\n",
        "def f(rows, in_c):\n    return bool(len(rows) == 8 and not in_c and not [1 for a, b, c in rows if c != ((a[:2] == 'VM') | ((a == 'MMIO') & b))])\n",
    ),
    "09-3": (MUTANT | {"module": "B"}, {"resume": 0, "mmio": 1, "features": ("clear_cpu_buf_vm_mmio",), "module": "b"}, MUTANT | {"mmio": False, "resume": True}, MUTANT | {"features": {"CLEAR_CPU_BUF_VM_MMIO"}}, MUTANT | {"features": "CLEAR_CPU_BUF_VM_MMIO"}, MUTANT | {"features": ["X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO"]}),
    "09-4": ({key: value.upper() for key, value in TOLD.items()}, dict(reversed(TOLD.items())), {key: f" {value.replace(' ', '  ')} " for key, value in TOLD.items()}),
    "10-1": ({"zen": 4, "facts": ["verw_clear"], "cmdline": "tsa=vm"}, {"zen": 3, "facts": {"verw_clear", "tsa_fill_no"}, "cmdline": "quiet tsa=vm"}, {"zen": 3, "facts": ("verw_clear", "tsa_sq_no"), "cmdline": "tsa=off tsa=vm"}, {"cmdline": "tsa=vm", "facts": "verw_clear", "zen": 3}, {"zen": 4, "facts": ("verw_clear", "tsa_l1_no"), "cmdline": "tsa=vm", "hypervisor": True}, {"zen": 3, "facts": ["VERW_CLEAR"], "cmdline": "tsa=vm"}),
    "10-2": (
        COPY_DOWN,
        '.include "alternative.inc"\nentry:\n    movq %rdx, %rcx\n    ALTERNATIVE "call slow", "rep movsb", X86_FEATURE_FSRM\n    ret\nslow:\n    xorl %eax, %eax\n1:  cmpq %rdx, %rax\n    je 2f\n    movb (%rsi, %rax), %r8b\n    movb %r8b, (%rdi, %rax)\n    incq %rax\n    jmp 1b\n2:  ret\n',
        '.include "alternative.inc"\n.globl entry\nentry:\n    ALTERNATIVE "", "jmp fast", X86_FEATURE_FSRM\n    pushq %rbx\n    testq %rdx, %rdx\n    jz 2f\n1:  movb (%rsi), %bl\n    movb %bl, (%rdi)\n    addq $1, %rsi\n    addq $1, %rdi\n    subq $1, %rdx\n    jnz 1b\n2:  popq %rbx\n    ret\nfast:\n    movq %rdx, %rcx\n    rep movsb\n    ret\n',
        '.include "alternative.inc"\nentry:\n    movq %rdx, %rcx\n    ALTERNATIVE "jmp fast", "jmp slow", X86_FEATURE_FSRM + NOT\nfast:\n    rep movsb\n    ret\nslow:\n    shrq $3, %rcx\n    rep movsq\n    movl %edx, %ecx\n    andl $7, %ecx\n1:  jrcxz 2f\n    movb (%rsi), %al\n    movb %al, (%rdi)\n    incq %rsi\n    incq %rdi\n    decq %rcx\n    jmp 1b\n2:  ret\n',
        '.include "alternative.inc"\nentry:\n    cld\n    movq %rdx, %rcx\n    ALTERNATIVE "jmp 3f", "rep movsb; ret", X86_FEATURE_FSRM\n3:  jrcxz 2f\n1:  lodsb\n    stosb\n    loop 1b\n2:  ret\n',
        changed(COPY, ("    rep movsb\n    ret\n", "    rep movsb\n")), changed(COPY, ("jmp by_loop\ndone", "jmp by_loop\n    .balign 16, 0x90\ndone"), ("decq %rcx", "leaq -1(%rcx), %rcx")), changed(COPY, ("    movb (%rsi), %al\n    movb %al, (%rdi)\n    incq %rsi\n    incq %rdi\n", "    movsb\n")), changed(COPY, ("    movq %rdx, %rcx", "    movq %rdi, %rax\n    movq %rdx, %rcx"), ("%al", "%r9b")),
    ),
    "10-3": (dict(reversed(FACTS.items())), FACTS | {"intel": tuple(FACTS["intel"]), "amd": set(FACTS["amd"])}, FACTS | {"left_open": "MMIO", "sites": f"{FACTS['sites']:,}"}, FACTS | {"intel": " ".join(FACTS["intel"]), "form_of_6_19": 0}, FACTS | {"amd": [one.lower() for one in FACTS["amd"]]}),
    "10-4": (
        "import struct\n\ndef f(at, record):\n    site, _, _, a, b, c, d = struct.unpack('<iiHBBBB', bytes(record))\n    return at + site, a + c\n", "def number(b):\n    n = sum(x << 8 * i for i, x in enumerate(b))\n    return n - (1 << 32) if b[-1] & 128 else n\n\ndef site_of(at, record):\n    return [at + number(record[:4]), sum(record[10:13:2])]\n",
        "def site_of(a, r):\n    n = r[0] | r[1] << 8 | r[2] << 16 | r[3] << 24\n    return (a + n - (n >> 31 << 32), r[10] + r[-2])\n", "def site_of(at, record, field=slice(0, 4)):\n    raw = bytearray(record)\n    return (at + int.from_bytes(raw[field], byteorder='little', signed=True), raw[10] + raw[12])\n",
    ),
    "10-5": ("HFDBA", "a, b, d, f, h", ["a", "b", "d", "f", "h"], {"a", "b", "d", "f", "h"}, "A B D F H", ("h", "f", "d", "b", "a")),
}  # fmt: skip
