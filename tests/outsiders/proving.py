"""Answers to the exercises of notebooks 07 and 08, by one who has not seen the judges."""

from .entering import BEFORE_LOADS, BEHIND_LOADS, IN_C, READS, at
from .patching import changed

V4 = """
    stub_begin
    movq 16(%rsp), %rdi
    incq 0x30(%rdi)
    ALTERNATIVE_2 "", stash_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, "", X86_FEATURE_CLEAR_CPU_BUF_VM
    btl $0, %ebx
    load_guest_registers rax, 0
    ALTERNATIVE_2 "", clear_if_nz, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM
    jnc .Lvmlaunch
    vmresume
    jmp .Lvmfail
.Lvmlaunch:
    vmlaunch
.Lvmfail:
    stub_failed 24
"""
STASH = '    ALTERNATIVE_2 "", stash_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, "", X86_FEATURE_CLEAR_CPU_BUF_VM\n'
CLEAR = '    ALTERNATIVE_2 "", clear_if_nz, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n'
MERGED = """
    stub_begin
    movq 16(%rsp), %rdi
    incq 0x30(%rdi)
    load_guest_registers rax, 0
    ALTERNATIVE_2 "", clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM
    testl $RUN_VMRESUME, 8(%rsp)
    jz .Lvmlaunch
    vmresume
    jmp .Lvmfail
.Lvmlaunch:
    vmlaunch
.Lvmfail:
    stub_failed 24
"""
LATE_FAIL = (
    "movq $0, 24(%rsp)",
    "popq %rax",
    "pushq %rax",
    "std",
    "hlt",
    "movq $0, 0",
    "vmresume",
    "vmlaunch",
    "jmp .",
    "movq $7, 32(%rsp)",
    "addq $8, %rsp",
)
APART = """
    stub_begin
    load_guest_registers rax, 0
    testl $RUN_MMIO, 8(%rsp)
    btl $0, 8(%rsp)
    ALTERNATIVE_2 "", clear_if_nz, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM
    jnc .Lvmlaunch
    vmresume
    jmp .Lvmfail
.Lvmlaunch:
    vmlaunch
.Lvmfail:
    stub_failed 24
"""


def v4(*changes: tuple[str, str]) -> str:
    return changed(V4, *changes)


WRONG = {
    "07-1": (
        *at(V4, "    btl $0, %ebx", BEFORE_LOADS, before=True), *at(V4, "    load_guest_registers rax, 0", tuple(one for one in BEHIND_LOADS if "(%rsp)" not in one or "mov" in one)), *at(V4, CLEAR.rstrip(), BEHIND_LOADS[::2]), *at(V4, "    vmresume", READS, before=True), *at(V4, "    jmp .Lvmfail", LATE_FAIL, before=True), *at(V4, ".Lvmfail:", LATE_FAIL),
        *(v4(change) for change in (
            ("    movq 16(%rsp), %rdi\n", ""), ("    incq 0x30(%rdi)\n", ""), ("incq", "incl"), ("incq", "incw"), ("incq", "incb"), ("incq", "decq"), ("incq 0x30", "addq $2, 0x30"), ("0x30(", "0x38("), ("0x30(", "0x20("), ("16(%rsp), %rdi", "8(%rsp), %rdi"), ("16(%rsp), %rdi", "(%rsp), %rdi"), ("incq 0x30(%rdi)", "movq $1, 0x30(%rdi)"),
            ("incq 0x30(%rdi)", "incq 0x30(%rdi)\n    incq 0x30(%rdi)"), ("incq 0x30(%rdi)", "orq $1, 0x30(%rdi)"), ("incq 0x30(%rdi)", "btl $0, %ebx\n    jnc 1f\n    incq 0x30(%rdi)\n1:"), ("incq 0x30(%rdi)", "movl 0x30(%rdi), %ecx\n    incl %ecx\n    movl %ecx, 0x30(%rdi)"), ("btl $0", "btl $2"), ("btl $0", "btl $1"), ("    btl $0, %ebx\n", ""),
            ("jnc", "jc"), ("jnc", "jz"), ("    jnc .Lvmlaunch\n", ""), ("rax, 0", "rcx, 1"), (STASH, ""), (CLEAR, ""), ("stash_mmio", '"testl $1, %ebx"'), ("stash_mmio", '"testl $8, %ebx"'), ("stash_mmio", '"testl $5, %ebx"'), ("stash_mmio", '"cmpl $4, %ebx"'), ("clear_if_nz, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM", "clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM, clear_if_nz, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO"),
            ("clear_if_nz,", "clear_cpu_buffers,"), ("clear_cpu_buffers, X86", "clear_if_nz, X86"), ("stub_failed 24", "stub_failed 16"), ("stub_failed 24", "stub_failed 32"), ("    stub_failed 24\n", ""), ("    stub_failed 24\n", "    ret\n"), ("    stub_failed 24\n", "    jmp .\n"), ("    stub_begin\n", ""), ("    jmp .Lvmfail\n", ""), ("    vmresume\n", "    vmlaunch\n"), ("    vmlaunch\n", "    vmresume\n"),
            ("    stub_begin\n", "    stub_begin\n    clear_cpu_buffers\n"), ("    stub_failed 24\n", "    xorl %eax, %eax\n    stub_failed 24\n    xorl %eax, %eax\n") if False else ("    stub_failed 24", "    clear_cpu_buffers\n    hlt\n    stub_failed 24"), ("    btl $0, %ebx\n", "    btl $0, %edx\n"), ("16(%rsp), %rdi", "16(%rsp), %rbx"),
            ("    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n", "    movq 16(%rsp), %rax\n    incq 0x30(%rax)\n"), ("    stub_failed 24\n", "    stub_failed 24\n    vmlaunch\n") if False else ("    stub_begin\n", "    stub_begin\n    call vmx_l1d_flush\n"), ("    stub_begin\n", "    stub_begin\n    movq 16(%rsp), %rdi\n    call vmx_l1d_flush\n    movq (%rsp), %rax\n"),
        )),
        v4(("    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n", ""), ("    jnc", "    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n    jnc")), v4(("    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n", ""), ("    vmresume", "    incq 0x30(%rdi)\n    vmresume")), v4(("    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n", ""), ("    stub_failed", "    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n    stub_failed")),
        v4(("    btl $0, %ebx\n", ""), (STASH, "    btl $0, %ebx\n" + STASH)), v4(("    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n", ""), ("    load", "    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n    load")), changed(MERGED, ("jz .Lvm", "jnz .Lvm")), changed(MERGED, ("    incq 0x30(%rdi)\n", "")), changed(MERGED, ("testl $RUN_VMRESUME", "testl $RUN_MMIO")),
        changed(MERGED, ("clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM", "clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM, clear_if_mmio, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO")), changed(MERGED, ("testl $RUN_VMRESUME, 8(%rsp)", "cmpb $0, 16(%rsp)")), changed(MERGED, ("    load", "    movl $0, 8(%rsp)\n    load")), "", None, 3, "vmlaunch", "jmp .", [V4],
        changed(MERGED, ("testl $RUN_VMRESUME, 8(%rsp)", "movq 16(%rsp), %rdi\n    cmpb $0, VCPU_launched(%rdi)")), changed(MERGED, ("testl $RUN_VMRESUME, 8(%rsp)", "testl $RUN_VMRESUME, 8(%rsp)\n    cmpq $0, 24(%rsp)\n    testl $RUN_VMRESUME, 8(%rsp)")),
    ),
    "07-2": ("b", "d", "ab", "bcd", "abd", "bdf", "", "abcdef", "bde", None, 3, ["b"], "ace", "?", "bdg", {"b": 1}, "cf"),
    "07-3": (
        *at(APART, "    stub_begin", BEFORE_LOADS), *at(APART, "    load_guest_registers rax, 0", BEHIND_LOADS[:9] + BEHIND_LOADS[11:14:2] + BEHIND_LOADS[18:21]), *at(APART, CLEAR.rstrip(), BEHIND_LOADS), *at(APART, "    vmresume", READS, before=True), *at(APART, "    jmp .Lvmfail", LATE_FAIL, before=True),
        *(changed(APART, change) for change in (
            ("testl $RUN_MMIO, 8", "testl $RUN_VMRESUME, 8"), ("btl $0", "btl $2"), ("$RUN_MMIO, 8(%rsp)", "$RUN_MMIO, 16(%rsp)"), ("    testl $RUN_MMIO, 8(%rsp)\n    btl $0, 8(%rsp)\n", "    btl $0, 8(%rsp)\n    testl $RUN_MMIO, 8(%rsp)\n"), ("jnc", "jc"), ("jnc", "jz"), ("    btl $0, 8(%rsp)\n", ""), ("    testl $RUN_MMIO, 8(%rsp)\n", ""), (CLEAR, ""), ("clear_if_nz", "clear_cpu_buffers"),
            ("testl $RUN_MMIO, 8(%rsp)", "testl $RUN_MMIO, %ebx"), ("btl $0, 8(%rsp)", "btl $0, %ebx"), ("    load_guest_registers rax, 0\n    testl $RUN_MMIO, 8(%rsp)\n    btl $0, 8(%rsp)\n", "    testl $RUN_MMIO, 8(%rsp)\n    btl $0, 8(%rsp)\n    load_guest_registers rax, 0\n"), ("    load_guest_registers rax, 0\n    testl $RUN_MMIO, 8(%rsp)\n", "    testl $RUN_MMIO, 8(%rsp)\n    load_guest_registers rax, 0\n"),
            ("stub_failed 24", "stub_failed 32"), ("    vmresume\n", "    vmlaunch\n"), ("    vmlaunch\n", "    vmresume\n"), ("    jmp .Lvmfail\n", ""), ("rax, 0", "rcx, 1"), ("    load_guest_registers rax, 0\n", ""),
        )),
        MERGED, changed(APART, ("    btl $0, 8(%rsp)\n", ""), ("    jnc", "    btl $0, 8(%rsp)\n    jnc")), V4, "", None, 5, changed(APART, ("    btl $0, 8(%rsp)\n", ""), ("    load", "    btl $0, %ebx\n    load"), ("testl", "notq %rax; notq %rax; testl") if False else ("testl", "testl")),
    ),
    "07-4": (
        *({"A": 5, "B": 7, "C": 8, "D": 4, "E": 6, "F": 1} | {key: value} for key, value in (("A", 1), ("A", 7), ("B", 5), ("B", 1), ("C", 7), ("C", 1), ("D", 1), ("D", 6), ("E", 1), ("E", 5), ("F", 6), ("F", 8), ("A", None), ("A", "five"), ("B", 7.5), ("C", [8]))), {}, None, [5, 7, 8, 4, 6], "578461!", {"A": 5}, 5,
    ),
    "08-4": (
        "vmenter enter --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d --mmio mapped", "vmenter enter --bugs mmio_stale_data --microcode fb_clear --mmio mapped", "vmenter enter --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d --mmio assigned --cmdline l1tf=off", "vmenter enter --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d --cmdline l1tf=off",
        "vmenter enter --bugs mds,l1tf --microcode md_clear,flush_l1d --mmio mapped --cmdline l1tf=off", "vmenter enter --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d --mmio mapped --cmdline mitigations=off", "vmenter enter --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d --mmio mapped --cmdline 'l1tf=off mmio_stale_data=off'", "", None, 3, "vmenter", "l1tf=off",
        "vmenter enter --era 43fb862de8f6 --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d --mmio mapped --cmdline l1tf=off", "vmenter enter --bugs l1tf --microcode fb_clear,flush_l1d --mmio mapped --cmdline l1tf=off", "vmenter enter --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d --mmio mapped --flush-pending --cmdline l1tf=full", "vmenter audit 43fb862de8f6",
        "vmenter enter --bugs mmio_stale_data,l1tf,mds --microcode fb_clear,flush_l1d,md_clear --mmio mapped --cmdline l1tf=off", "echo; vmenter enter --bugs mmio_stale_data", ["vmenter", 1], "vmenter enter --bugs mmio_stale_data,l1tf --mmio mapped --cmdline kvm-intel.vmentry_l1d_flush=always --microcode fb_clear,flush_l1d --flush",
    ),
    "08-6": (
        {"states": 1800, "broken": 3440640, "with_l1tf": 688128}, {"states": 360, "broken": 688128, "with_l1tf": 688128}, {"states": 360, "broken": 3440640, "with_l1tf": 344064}, {"states": 72, "broken": 3440640, "with_l1tf": 688128}, {"states": 360, "broken": 3440640}, {}, None, 360, [360, 3440640], {"states": None, "broken": None, "with_l1tf": None},
        {"states": 365, "broken": 688133, "with_l1tf": 688128}, {"states": 360, "broken": 3440640, "with_l1tf": 1376256}, {"states": "few", "broken": "many", "with_l1tf": "all"}, {"states": [360], "broken": [3440640], "with_l1tf": [688128]}, {"states": 360, "broken": 3440641, "with_l1tf": 688128}, {"states": 360.5, "broken": 3440640, "with_l1tf": 688128},
    ),
}  # fmt: skip

RIGHT = {
    "07-1": (
        MERGED, changed(V4, ("jnc .Lvm", "jae .Lvm")), changed(V4, ("movq 16(%rsp), %rdi\n    incq 0x30(%rdi)", "movq 16(%rsp), %rcx\n    addq $1, 0x30(%rcx)")), changed(V4, ("movq 16(%rsp), %rdi\n    incq 0x30(%rdi)", "movq 16(%rsp), %rsi\n    leaq 0x30(%rsi), %rsi\n    lock incq (%rsi)")), changed(V4, ("btl $0, %ebx", "btq $0, 8(%rsp)")),
        changed(V4, ("movq 16(%rsp), %rdi\n    incq 0x30(%rdi)", "movq 16(%rsp), %r10\n    movq 0x30(%r10), %r11\n    leaq 1(%r11), %r11\n    movq %r11, 0x30(%r10)")), changed(V4, ("    jnc .Lvmlaunch\n    vmresume\n    jmp .Lvmfail\n.Lvmlaunch:\n    vmlaunch\n", "    jc 1f\n    vmlaunch\n    jmp .Lvmfail\n1:\n    vmresume\n")),
        changed(V4, ("rax, 0", "rsi, 6"), ("    load", "    movq %rax, %rsi\n    load")), changed(MERGED, ("testl $RUN_VMRESUME, 8(%rsp)\n    jz", "btl $0, 8(%rsp)\n    jnc")), changed(MERGED, ("    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n", ""), ("    stub_begin", "    incq 0x30(%rdi)\n    stub_begin")), changed(V4, ("    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n", ""), ("    stub_begin", "    incq 0x30(%rdi)\n    stub_begin")),
        changed(MERGED, ("    stub_begin", "    .macro clear_if_mmio\n    btl $2, 8(%rsp)\n    jnc 5f\n    clear_cpu_buffers\n5:\n    .endm\n    stub_begin")), changed(MERGED, ("clear_if_mmio, X86", '"testb $4, 8(%rsp); jz 5f; clear_cpu_buffers; 5:", X86')), APART.replace("    load", "    movq 16(%rsp), %rdi\n    incq 0x30(%rdi)\n    load"), changed(V4, ("stash_mmio", '"testb $RUN_MMIO, %bl"')), changed(V4, ("movq 16(%rsp), %rdi\n    incq 0x30(%rdi)", "movq 16(%rsp), %rdi\n    subq $-1, 0x30(%rdi)")),
        changed(V4, ("movq 16(%rsp), %rdi\n    incq 0x30(%rdi)", "movq 16(%rsp), %rbp\n    incq 0x30(%rbp)")),
    ),
    "07-2": ("DB", "b, d", ["b", "d"], {"d", "b"}, ("B", "D"), " b d "),
    "07-3": (
        changed(APART, ("testl $RUN_MMIO", "testb $4")), changed(APART, ("jnc .L", "jae .L")), changed(APART, ("    jnc .Lvmlaunch\n    vmresume\n    jmp .Lvmfail\n.Lvmlaunch:\n    vmlaunch\n", "    jc 1f\n    vmlaunch\n    jmp .Lvmfail\n1:\n    vmresume\n")), changed(APART, ("rax, 0", "rdx, 2"), ("    load", "    movq %rax, %rdx\n    load")), changed(APART, ("btl $0", "btq $0")),
        changed(APART, ("    testl $RUN_MMIO, 8(%rsp)\n    btl $0, 8(%rsp)\n" + CLEAR + "    jnc .Lvmlaunch\n    vmresume\n    jmp .Lvmfail\n.Lvmlaunch:\n    vmlaunch\n", "    testl $RUN_VMRESUME, 8(%rsp)\n    jz .Lvmlaunch\n    testl $RUN_MMIO, 8(%rsp)\n" + CLEAR + "    vmresume\n    jmp .Lvmfail\n.Lvmlaunch:\n    testl $RUN_MMIO, 8(%rsp)\n" + CLEAR.replace("clear_if_nz", '"jz 7f; clear_cpu_buffers; 7:"') + "    vmlaunch\n")),
        changed(APART, ("    testl $RUN_MMIO, 8(%rsp)\n", '    ALTERNATIVE "", "testl $RUN_MMIO, 8(%rsp)", X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO\n')),
    ),
    "07-4": ({"a": 5, "b": 7, "c": 8, "d": 4, "e": 6, "f": 1}, {"F": "1", "E": "6", "D": "4", "C": "8", "B": "7", "A": "5"}, {"A": 5.0, "B": 7, "C": 8, "D": 4, "E": 6, "F": " 1 "}),
    "08-4": (
        "vmenter enter --bugs l1tf,mmio_stale_data --microcode flush_l1d,fb_clear,mds_no --mmio=mapped --cmdline=l1tf=off", "vmenter enter --mmio mapped --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d --cmdline kvm-intel.vmentry_l1d_flush=never", '$ vmenter enter --bugs mmio_stale_data,l1tf --microcode fb_clear,flush_l1d \\\n   --mmio mapped --cmdline "quiet l1tf=off"\n',
        "vmenter enter --bugs mmio_stale_data,l1tf --microcode fb_clear --mmio mapped --cmdline 'l1tf=off'",
    ),
    "08-6": ({"states": "360", "broken": "3,440,640", "with_l1tf": "688,128"}, {"with_l1tf": 688128, "broken": 688128 * 5, "states": 360}, {"states": 360.0, "broken": 3440640.0, "with_l1tf": 688128.0}),
}  # fmt: skip

KEPT = """
def kept(verw, l1d_flush, reaches_mmio, flush_pending, verw_ran, flushed):
    owes_clear = verw == "always" or (verw == "mmio" and reaches_mmio)
    owes_flush = l1d_flush == "always" or (l1d_flush == "cond" and flush_pending)
    cleared = verw_ran or flushed
    return (cleared or not owes_clear) and (flushed or not owes_flush)
"""
WRONG["08-1"] = (
    *(changed(KEPT, change) for change in (
        ("verw_ran or flushed", "verw_ran"), ("verw_ran or flushed", "flushed"), ("verw_ran or flushed", "verw_ran and flushed"), (" and reaches_mmio", ""), ("and reaches_mmio", "or reaches_mmio"), ('"cond" and flush_pending', '"cond"'), ('"cond" and', '"never" and'), ('l1d_flush == "always" or', 'l1d_flush in ("always", "EPT disabled") or'), (") and (flushed", ") or (flushed"), ("(flushed or not", "(cleared or not"),
        ("not owes_clear", "owes_clear"), ("    return (cleared", "    return 1 and (cleared") if False else ("    return (", "    return int("), ("    return (cleared or not owes_clear) and (flushed or not owes_flush)", "    return True"), ("    return (cleared or not owes_clear) and (flushed or not owes_flush)", "    return cleared"), ("    return (cleared or not owes_clear) and (flushed or not owes_flush)", "    return None"),
        ("    return (cleared or not owes_clear) and (flushed or not owes_flush)", "    return cleared == owes_clear and flushed == owes_flush"), ('"always" or (verw', '"Always" or (verw'), ("    owes_clear =", "    while flush_pending: pass\n    owes_clear ="), ('l1d_flush == "always" or', 'l1d_flush == "always" and flush_pending or'), ("flush_pending)", "not flush_pending)"), ('(verw == "mmio" and reaches_mmio)', "reaches_mmio"),
        ("def kept(verw, ", "def kept(other, verw, ") if False else ("verw, l1d_flush,", "l1d_flush, verw,"), ("(verw_ran or flushed)", "") if False else ("verw_ran or flushed", 'verw_ran or (flushed and l1d_flush != "cond")'), ("    owes_clear =", "    import os; os._exit(0)\n    owes_clear ="), ('verw == "always" or (verw', 'verw >= "m" or (verw') if False else ('verw == "always" or', 'verw != "mmio" or'),
    )),
    "def kept(*a):\n    from vmenter.story import promise\n    return True\n", "def kept(*a):\n    return a[4] or a[5]\n", None, 3, True, "def kept(): return True\n", "def kept(*a): raise ValueError(a)\n", "x = 1\n", lambda *a: True, all,
    "from vmenter.course.exercises import exercise\n\nnames = {}\nexec(exercise('08-1').solution, names)\n\ndef kept(*a):\n    return names['kept'](*a)\n",
    "import re, pathlib, sysconfig\n\ndef kept(*a):\n    text = next(pathlib.Path('/').glob('tmp/wt/*/lib/vmenter/course/exercises/08.toml')).read_text()\n    names = {}\n    exec(re.search(r'(?s)solution = \"\"\"(.*?)\"\"\"', text)[1], names)\n    return names['kept'](*a)\n" if False else "kept = 5\n",
)  # fmt: skip
RIGHT["08-1"] = (
    """
def owes(what, when, here):
    return what == "always" or (what == when and here)

def kept(verw, l1d_flush, reaches_mmio, flush_pending, verw_ran, flushed):
    if owes(l1d_flush, "cond", flush_pending) and not flushed:
        return False
    if owes(verw, "mmio", reaches_mmio):
        return verw_ran or flushed
    return True
""",
    """
def kept(verw, l1d_flush, reaches_mmio, flush_pending, verw_ran, flushed):
    match verw, l1d_flush:
        case (_, "always") if not flushed:
            return False
        case (_, "cond") if flush_pending and not flushed:
            return False
    return flushed or verw_ran or {"never": True, "mmio": not reaches_mmio, "always": False}[verw]
""",
    "def promise(a, b, c, d, e, f):\n    owed = {'always': True, 'mmio': c}.get(a, False), {'always': True, 'cond': d}.get(b, False)\n    return all(done for due, done in zip(owed, (e or f, f)) if due)\n",
    "CLEAR = {'never': lambda m: False, 'mmio': lambda m: m, 'always': lambda m: True}\n\n\ndef kept(v, l, m, p, r, f):\n    return not ((CLEAR[v](m) and not (r | f)) | ((l == 'always' or l == 'cond' and p) and not f))\n",
)

ARM = """
    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush
.Lflushed:
    STATIC_LONG_JUMP_IF_ON .Lmmio, cpu_buf_vm_clear
.Lcleared:
    enter_exit_end

.Lflush:
    movq %rbx, %rdi
    call vmx_l1d_flush
    jmp .Lflushed

.Lmmio:
    testl $RUN_MMIO, %ebp
    je .Lcleared
    clear_cpu_buffers
    jmp .Lcleared
"""
WRONG["08-2"] = (
    *at(ARM, ".Lcleared:", IN_C), *at(ARM, ".Lflushed:", IN_C[::4]), *at(ARM, ".Lmmio:", IN_C[1::4]),
    *(changed(ARM, change) for change in (
        ("jmp .Lflushed", "jmp .Lcleared"), ("je .Lcleared", "jne .Lcleared"), ("$RUN_MMIO, %ebp", "$RUN_VMRESUME, %ebp"), ("$RUN_MMIO, %ebp", "$RUN_MMIO, %ebx"), ("$RUN_MMIO, %ebp", "$5, %ebp"), ("testl $RUN_MMIO, %ebp", "cmpl $RUN_MMIO, %ebp"), ("    je .Lcleared\n", ""), ("    clear_cpu_buffers\n", ""), ("    clear_cpu_buffers\n", "    clear_cpu_buffers\n    clear_cpu_buffers\n"), ("clear_cpu_buffers", "verw %ax"),
        ("clear_cpu_buffers", "verw verw_selector+2(%rip)"), ("    enter_exit_end\n", ""), ("    call vmx_l1d_flush\n", ""), ("call vmx_l1d_flush", "call vmx_l1d_flush\n    call vmx_l1d_flush"), ("movq %rbx, %rdi", "movq %rbp, %rdi"), ("IF_ON .Lflush", "IF_OFF .Lflush"), ("IF_ON .Lmmio", "IF_OFF .Lmmio"), (", vmx_l1d_should_flush", ", cpu_buf_vm_clear"), (", cpu_buf_vm_clear", ", vmx_l1d_should_flush"),
        ("    STATIC_LONG_JUMP_IF_ON .Lmmio, cpu_buf_vm_clear\n", "    jmp .Lverw\n") if False else ("    STATIC_LONG_JUMP_IF_ON .Lmmio, cpu_buf_vm_clear\n", ""), ("    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush\n", ""), ("    jmp .Lflushed\n", "    clear_cpu_buffers\n    jmp .Lflushed\n"), ("    jmp .Lflushed\n", "    testb %al, %al\n    jz .Lflushed\n    jmp .Lcleared\n"), ("    clear_cpu_buffers\n    jmp .Lcleared", "    clear_cpu_buffers\n    jmp .Lmmio"),
        ("    clear_cpu_buffers\n    jmp .Lcleared", "    clear_cpu_buffers\n    jmp .Lflushed"), ("testl $RUN_MMIO, %ebp", "cmpb $0, VCPU_host_mmio(%rbp)"), ("    je .Lcleared\n", "    je .\n"), ("testl $RUN_MMIO, %ebp", "movq VCPU_kvm(%rbx), %rax\n    cmpl $0, KVM_assigned_devices(%rax)"),
    )),
    "", None, 4, "    enter_exit_end\n", "    jmp .\n", "    clear_cpu_buffers\n    enter_exit_end\n", "    movq %rbx, %rdi\n    call vmx_l1d_flush\n    clear_cpu_buffers\n    enter_exit_end\n", "    vmlaunch\n", "    call __vmx_vcpu_run\n    enter_exit_end\n", ["enter_exit_end"],
)  # fmt: skip
RIGHT["08-2"] = (
    changed(ARM, ("    movq %rbx, %rdi\n", "")),
    changed(ARM, ("    jmp .Lflushed", "    jmp .Lmmio")), changed(ARM, ("testl $RUN_MMIO, %ebp\n    je", "btl $2, %ebp\n    jnc")), changed(ARM, ("testl $RUN_MMIO, %ebp", "testb $4, %bpl")), changed(ARM, ("testl $RUN_MMIO, %ebp", "cmpb $0, VCPU_host_mmio(%rbx)")), changed(ARM, ("testl $RUN_MMIO, %ebp", "movl %ebp, %eax\n    andl $RUN_MMIO, %eax")),
    """
    STATIC_LONG_JUMP_IF_OFF 1f, vmx_l1d_should_flush
    movq %rbx, %rdi
    call vmx_l1d_flush
1:
    STATIC_LONG_JUMP_IF_OFF 2f, cpu_buf_vm_clear
    testl $RUN_MMIO, %ebp
    jz 2f
    verw verw_selector(%rip)
2:
    enter_exit_end
""",
    """
    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush
.Lflushed:
    testl $RUN_MMIO, %ebp
    jnz .Lmmio
.Lcleared:
    enter_exit_end
.Lflush:
    leaq (%rbx), %rdi
    call vmx_l1d_flush
    jmp .Lflushed
.Lmmio:
    clear_cpu_buffers
    jmp .Lcleared
""",
)  # fmt: skip

CUCKOO = r"""
RUN_CUCKOO = 1 << 3

.macro more_run_flags
    flag_mmio
    ALTERNATIVE "jmp .Lno_cuckoo", "", X86_FEATURE_CLEAR_CPU_BUF_VM_CUCKOO
    testl $RUN_VMRESUME, %eax
    jnz .Lno_cuckoo
    orl $RUN_CUCKOO, %eax
.Lno_cuckoo:
.endm

function vmx_vcpu_enter_exit
    enter_exit_begin
    call vmx_l1d_flush
    enter_exit_end
end_function vmx_vcpu_enter_exit

.macro clear_if_flagged
    testl $(RUN_MMIO | RUN_CUCKOO), 8(%rsp)
    jz .Lno_verw
    clear_cpu_buffers
.Lno_verw:
.endm

.macro enter_guest
    load_guest_registers rax, 0
    ALTERNATIVE clear_if_flagged, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM
    testl $RUN_VMRESUME, 8(%rsp)
    jz .Lvmlaunch
    vmresume
    jmp .Lvmfail
.Lvmlaunch:
    vmlaunch
.endm
"""


def c(*changes: tuple[str, str]) -> str:
    return changed(CUCKOO, *changes)


WRONG["08-3"] = (
    *at(CUCKOO, "    call vmx_l1d_flush", IN_C[:3] + IN_C[4:14:2] + IN_C[17:30:3]), *at(CUCKOO, "    load_guest_registers rax, 0", BEHIND_LOADS[:10:2] + BEHIND_LOADS[12:14]), *at(CUCKOO, "    ALTERNATIVE clear_if_flagged, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM", BEHIND_LOADS[1:14:2]), *at(CUCKOO, "    vmresume", READS[::2], before=True), *at(CUCKOO, "    flag_mmio", IN_C[1:24:3]),
    *(c(change) for change in (
        ("    flag_mmio\n", ""), ("    call vmx_l1d_flush\n", ""), ("jnz .Lno_cuckoo", "jz .Lno_cuckoo"), ("    testl $RUN_VMRESUME, %eax\n    jnz .Lno_cuckoo\n", ""), ("orl $RUN_CUCKOO", "orl $RUN_MMIO") if False else ("orl $RUN_CUCKOO, %eax", "movl $RUN_CUCKOO, %eax"), ("orl $RUN_CUCKOO, %eax", "xorl $RUN_VMRESUME, %eax"), ("(RUN_MMIO | RUN_CUCKOO)", "RUN_MMIO"), ("(RUN_MMIO | RUN_CUCKOO)", "RUN_CUCKOO"),
        ("jz .Lno_verw", "jnz .Lno_verw"), ("    jz .Lno_verw\n", ""), ("clear_if_flagged, clear_cpu_buffers", 'clear_if_flagged, ""'), ("clear_if_flagged, clear_cpu_buffers", "clear_cpu_buffers, clear_if_flagged"), ("testl $RUN_VMRESUME, 8", "testl $RUN_MMIO, 8"), ("jz .Lvmlaunch", "jnz .Lvmlaunch"), ("    vmresume\n", "    vmlaunch\n"), ("_CUCKOO\n    testl", "\n    testl"), ("CLEAR_CPU_BUF_VM\n    testl", "CLEAR_CPU_BUF_VM_MMIO\n    testl"),
        ("CLEAR_CPU_BUF_VM\n    testl", "CLEAR_CPU_BUF_VM\n    clear_cpu_buffers\n    testl"), ("    load_guest_registers rax, 0\n", ""), ("rax, 0", "rcx, 1"), ("RUN_CUCKOO = 1 << 3", "RUN_CUCKOO = 1 << 0"), ("RUN_CUCKOO = 1 << 3", "RUN_CUCKOO = 1 << 40"), ("    call vmx_l1d_flush\n", "    call vmx_l1d_flush\n    call vmx_l1d_flush\n"), ("    call vmx_l1d_flush\n", "    call vmx_l1d_flush\n    clear_cpu_buffers\n"), ("testl $RUN_VMRESUME, %eax", "cmpb $1, VCPU_host_mmio(%rdi)"),
        ('"jmp .Lno_cuckoo", ""', '"", "jmp .Lno_cuckoo"'), ("    jmp .Lvmfail\n", ""), ("jmp .Lvmfail", "jmp ."), ("    enter_exit_end\n", "    enter_exit_end\n    hlt\n") if False else ("    enter_exit_begin\n", ""), ("testl $RUN_VMRESUME, 8(%rsp)", "movq 16(%rsp), %rdi\n    cmpb $0, VCPU_launched(%rdi)"), ("    call vmx_l1d_flush\n", "    call vmx_l1d_flush\n    movb $0, VCPU_launched(%rbx)\n"),
    )),
    c(("    ALTERNATIVE clear", "    SOMETHING clear")), "", None, 3, c(("    load_guest_registers rax, 0\n", ""), ("    testl $RUN_VMRESUME, 8", "    load_guest_registers rax, 0\n    testl $RUN_VMRESUME, 8")), c((".macro enter_guest", ".macro leave_guest")), c(("    ALTERNATIVE clear_if_flagged, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM", '    ALTERNATIVE_2 "", clear_if_flagged, X86_FEATURE_CLEAR_CPU_BUF_VM_MMIO, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM')),
)  # fmt: skip
RIGHT["08-3"] = (
    c(("testl $(RUN_MMIO | RUN_CUCKOO), 8(%rsp)", "testb $0xc, 8(%rsp)")), c(("RUN_CUCKOO = 1 << 3", "RUN_CUCKOO = 1 << 6")), c(("orl $RUN_CUCKOO, %eax", "addl $RUN_CUCKOO, %eax")), c(("    testl $RUN_VMRESUME, %eax\n    jnz", "    cmpb $0, VCPU_launched(%rdi)\n    jne")), c(("orl $RUN_CUCKOO, %eax", "orl $RUN_MMIO, %eax"), ("(RUN_MMIO | RUN_CUCKOO)", "RUN_MMIO")),
    c(("    testl $RUN_VMRESUME, 8(%rsp)\n    jz .Lvm", "    btl $0, 8(%rsp)\n    jnc .Lvm")), c(("    load_guest_registers rax, 0\n", "    movq %rax, %r15\n    load_guest_registers r15, 15\n")), c(("ALTERNATIVE clear_if_flagged, clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM", 'ALTERNATIVE "jmp 5f", "", X86_FEATURE_CLEAR_CPU_BUF_VM\n    clear_cpu_buffers\n    jmp 6f\n5:  testl $(RUN_MMIO | RUN_CUCKOO), 8(%rsp)\n    jz 6f\n    clear_cpu_buffers\n6:')),
)  # fmt: skip
