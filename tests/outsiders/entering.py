"""Answers to the exercises of notebooks 04 to 06, by one who has not seen the judges."""

from vmenter.course.exercises.nb04 import flush_branch

from .patching import changed


def jump(add: int = 0) -> str:
    """Return the five bytes that 04-1 asks for, or their like."""
    branch = flush_branch()[1]
    return "e9 " + (branch.target - branch.site - 5 + add).to_bytes(4, "little", signed=True).hex(" ")


DISTANCE = """
def answer(trace):
    if not trace.clears:
        return None
    clear = trace.clears[-1].step
    enter = len(trace.steps) - 1
    accesses = [access for access in trace.accesses if clear < access.step < enter]
    return enter - clear - 1, len(accesses)
"""
STUB = """
entry:
    movq (%rdi), %rax
    movq 8(%rdi), %rcx
    movq 16(%rdi), %rdi
    testl $4, 8(%rsp)
    jz 1f
    verw 16(%rsp)
1:
    testl $1, 8(%rsp)
    jz 2f
    vmresume
2:
    vmlaunch
"""
# What a stub may do beside: spoil registers, flags, the stack, memory, or the system; or look at what is not its own.
BESIDE = (
    "movq $0, 0", "hlt", "cli", "std", "movl $1, %ebx", "xorl %r12d, %r12d", "pushq %rax", "popq %rdx", "addq $8, %rsp", "int3", "ud2", "wbinvd", "verw 16(%rsp)",
    "movl $0, 8(%rsp)", "movw $0, 16(%rsp)", "movq $1, (%rdi)", "swapgs", "outb %al, $0x80", "movq %rax, %cr3", "incq 0x71000000", "jmp .", "vmlaunch", "vmresume", "ret", "movl %eax, %ds",
    "movq %rsp, %rbp", "xchgq %rsi, %rdx", "leaq -8(%rsp), %rsp", "movq %rsp, 0x71000018", "movq %rax, %cr2", "xorps %xmm0, %xmm0", "movl $0x10b, %r8d", "lidt (%rsp)",
)  # fmt: skip
READS = (
    "cmpq $0, (%rdi)", "testl $1, 8(%rdi)", "prefetcht0 16(%rsp)", "clflush (%rsp)", "movq (%rsp), %r8", "cmpb $0, 24(%rsp)", "lock addl $0, (%rsp)", "pushq (%rsp); popq (%rsp)",
    "vmwrite (%rsp), %rax", "bt $0, (%rsp)", "nopl (%rsp); testb $1, 32(%rsp)", "call 9f; 9: addq $8, %rsp", "testq $-1, (%rsp)", "cmpw $0x18, 16(%rsp)", "lfence; movb (%rsp), %al",
)  # fmt: skip


def at(text: str, line: str, what: tuple[str, ...], *, before: bool = False) -> list[str]:
    """Return texts with each of `what` behind a line, or before it."""
    lines = ["\n".join(f"    {part.strip()}" for part in one.split(";")) for one in what]
    return [changed(text, (line, f"{one}\n{line}" if before else f"{line}\n{one}")) for one in lines]


A_CHOICE = ("", "ab", "?", 3, None, ["b", "c"], "b d", "x", {"b": False}, "not b", True, b"b", "2")

WRONG = {
    "04-1": (
        jump()[3:], "e8" + jump()[2:], jump(5), jump(-5), jump(1), jump(2), "eb " + jump()[3:5], "0f 1f 44 00 00", "66 90", "", None, 5, "e9 00 00 00 00", jump() + " 90", jump()[:-3],
        "e9 " + " ".join(reversed(jump().split()[1:])), ["e9"], b"\xe9", "e9 zz 00 00 00", "90 90 90 90 90", "ff 25 00 00 00",
    ),
    "04-2": ("a", "c", "d", *A_CHOICE),
    "04-3": (
        *(changed(DISTANCE, change) for change in (
            ("[-1]", "[0]"), ("- 1, len", ", len"), ("- 1, len", "- 2, len"), ("clear < access", "clear <= access"), ("    if not trace.clears:\n        return None\n", ""),
            ("return None", "return 0, 0"), ("return None", "return (None, None)"), ("len(accesses)", "accesses"), ("enter - clear - 1, len(accesses)", "len(accesses), enter - clear - 1"),
            ("len(trace.steps) - 1", "len(trace.steps)"), ("- 1, len(accesses)", "- 1, len(set(accesses))"), ("clear < access.step < enter", "access.step > clear and not access.write"),
            ("clear < access.step < enter", "access.step > clear and access.write"), ("len(accesses)", "len({a.step for a in accesses})"), ("len(accesses)", "len({a.address for a in accesses})"),
            ("trace.clears:", "trace.clears or trace.clears[-1].step == 0:"), ("trace.clears[-1].step", "max(c.step for c in trace.clears if c.kind == 'verw')"), ("trace.clears[-1]", "trace.clears[-2:][0]"),
            ("return enter - clear - 1, len(accesses)", "return float(enter - clear - 1), len(accesses)"), ("return enter - clear - 1, len(accesses)", "return str((enter - clear - 1, len(accesses)))"),
            ("len(accesses)", "min(len(accesses), 9)"), ("access.step < enter", "access.step < enter and access.owner != 'flags'"), ("return enter - clear - 1, len(accesses)", "return enter - clear - 1"),
            ("trace.accesses if", "trace.accesses if access.size == 8 and"), ("enter - clear - 1,", "abs(enter - clear) - 1 if len(accesses) else 0,"),
        ) if changed(DISTANCE, change)),
        "def answer(trace):\n    while True: pass\n", "def answer(trace):\n    return None\n", "def answer(trace):\n    return (2, 2)\n", "def answer():\n    return None\n", "answer = 3", 5, None, (1, 2),
        "def answer(trace):\n    return answer(trace)\n", "def answer(trace):\n    raise SystemExit\n", "def answer(trace):\n    import os\n    os._exit(0)\n", "def answer(trace):\n    print('x' * 10**9)\n",
        "def answer(trace):\n    return trace.distance\n" if False else "def answer(trace):\n    return [1] * 10**10\n", lambda trace: None, print, "def answer(trace) return",
    ),
    "04-4": (
        {"stub": "A", "entered_before": False}, {"stub": "B", "entered_before": True}, {"stub": "C", "entered_before": False}, {"stub": "C", "entered_before": True}, {"stub": "B"}, {"stub": "B", "entered_before": None},
        {"stub": "AB", "entered_before": False}, "B", ["B", False], {}, None, {"stub": "", "entered_before": False}, {"entered_before": False}, {"stub": "B", "entered_before": "yes"}, {"stub": 1, "entered_before": 0.5},
        {"stub": "B", "entered_before": [False, True]}, {"stub": "B", "entered_before": 2}, {"stub": "B", "entered_before": "True"},
    ),
    "04-5": (
        *at(STUB, "entry:", BESIDE), *at(STUB, "1:", BESIDE), *at(STUB, "1:", READS), *at(STUB, "    verw 16(%rsp)", READS), *at(STUB, "2:", BESIDE[:20:3]), *at(STUB, "    vmresume", BESIDE[:20:4], before=True),
        *(changed(STUB, change) for change in (
            ("jz 1f", "jnz 1f"), ("jz 2f", "jnz 2f"), ("$4, 8", "$1, 8"), ("$1, 8", "$4, 8"), ("$4, 8", "$5, 8"), ("$1, 8", "$3, 8"), ("$1, 8", "$5, 8"), ("jz 1f", "jmp 1f"), ("    jz 1f\n", ""), ("    jz 2f\n", ""),
            ("jz 2f", "jmp 2f"), ("testl $4, 8", "cmpl $4, 8"), ("testl $1, 8", "cmpl $1, 8"), ("testl $1, 8", "cmpl $0, 8"), ("testl $4, 8", "cmpl $0, 8"), ("verw 16(%rsp)", "verw 8(%rsp)"), ("verw 16(%rsp)", "verw 18(%rsp)"), ("verw 16(%rsp)", "verr 16(%rsp)"),
            ("    verw 16(%rsp)\n", ""), ("verw 16(%rsp)", "verw 16(%rsp)\n    verw 16(%rsp)"), ("verw 16(%rsp)", "movw 16(%rsp), %ax\n    verw %ax"), ("verw 16(%rsp)", "verw %ax"), ("verw 16(%rsp)", "verw 24(%rsp)"), ("    movq (%rdi), %rax\n", ""),
            ("    movq 8(%rdi), %rcx\n", ""), ("    movq 16(%rdi), %rdi\n", ""), ("movq 8(%rdi), %rcx", "movl 8(%rdi), %ecx"), ("movq (%rdi), %rax", "movl (%rdi), %eax"), ("movq 16(%rdi), %rdi", "movl 16(%rdi), %edi"), ("(%rdi), %rax", "8(%rdi), %rax"),
            ("    movq (%rdi), %rax\n    movq 8(%rdi), %rcx\n    movq 16(%rdi), %rdi\n", "    movq 16(%rdi), %rdi\n    movq (%rdi), %rax\n    movq 8(%rdi), %rcx\n"), ("vmresume", "vmlaunch"), ("vmlaunch", "vmresume"), ("testl $1, 8", "testw $256, 8"),
            ("    vmresume\n2:\n    vmlaunch", "    vmlaunch\n2:\n    vmresume"), ("testl $1, 8(%rsp)", "movl 8(%rsp), %eax\n    testl $1, %eax"), ("testl $4, 8(%rsp)", "movl 8(%rsp), %ebx\n    testl $4, %ebx"), ("jz 1f", "js 1f"), ("jz 2f", "js 2f"),
            ("    movq 16(%rdi), %rdi\n", "    movq 24(%rdi), %rdi\n"), ("8(%rdi), %rcx", "8(%rdi), %rdx"), ("    testl $1, 8(%rsp)\n    jz 2f", "    jz 2f"), ("jz 1f", "jz 2f"), ("    verw 16(%rsp)\n1:", "    verw 16(%rsp)\n    vmresume\n1:"),
            ("testl $1, 8(%rsp)", "testl $1, 8(%rsp)\n    testl %esp, %esp"), ("    vmresume\n", "    vmresume\n    ret\n") if False else ("    vmlaunch\n", ""), ("    movq 8(%rdi), %rcx\n", "    movq 8(%rdi), %rcx\n    movq %rcx, %rdx\n"),
        )),
        STUB.replace("    movq (%rdi), %rax\n    movq 8(%rdi), %rcx\n    movq 16(%rdi), %rdi\n", "").replace("1:\n", "1:\n    movq (%rdi), %rax\n    movq 8(%rdi), %rcx\n    movq 16(%rdi), %rdi\n"),
        STUB.replace("    movq 16(%rdi), %rdi\n", "").replace("1:\n", "1:\n    movq 16(%rdi), %rdi\n"), "", "entry:", "entry: jmp entry", None, 4, ["entry:"],
        STUB.replace("    testl $4", "    jmp 7f\n7:\n    movq (%rdi), %rdi\n    testl $4"),
    ),
    "05-1": (
        {"cmdline": "mds=off"}, {"flush_pending": True}, {"bugs": ["mds"]}, {"bugs": ["l1tf"]}, {"bugs": []}, {"ept": False}, {"cmdline": "kvm-intel.vmentry_l1d_flush=always"}, {"cmdline": "kvm-intel.vmentry_l1d_flush=never"},
        {"cmdline": "mitigations=off"}, {"cmdline": "l1tf=off"}, {"cmdline": "l1tf=full"}, {"bugs": ["mds", "l1tf"], "ept": False, "flush_pending": False}, {"flush_pending": None}, {"bugs": None}, {"bugs": ["taa"]}, [], "cond", None,
        {"cmdline": "mds=off l1tf=off"}, {"nonsense": 1}, {"cmdline": 5}, {"bugs": ["mds", "l1tf"], "flush_pending": "no"}, {"microcode": []}, {"ept": "off"},
    ),
    "05-2": ("a", "b", "d", "e", "", "cd", "abcde", "?", 3, None, ["c", "d"], "c d", "с", "not c", b"c"),
    "05-5": ("bc", "be", "ce", "abce", "bcde", "bcef", "a", "", "abcdef", None, 3, ["b", "c"], "b c e f", "bcg", {"b": 1, "c": 1}, "?", "d", "f"),
}  # fmt: skip

RIGHT = {
    "04-1": (jump().upper(), jump().replace(" ", ""), f" {jump()}\n", " ".join(f"0x{one}" for one in jump().split()), jump().replace(" ", ",")),
    "04-2": ("B", " b\n", ["b"], "b.", "(b)", {"b"}),
    "04-3": (
        """
def answer(trace):
    last = None
    for clear in trace.clears:
        last = clear.step
    if last is None:
        return None
    between = range(last + 1, len(trace.steps) - 1)
    return [len(between), sum(access.step in between for access in trace.accesses)]
""",
        """
def between(trace, what, low, high):
    return sum(low < one < high for one in what)

def answer(trace):
    try:
        low = max(event.step for event in trace.clears)
    except ValueError:
        return None
    high = len(trace.steps) - 1
    return between(trace, range(high + 1), low, high), between(trace, [a.step for a in trace.accesses], low, high)
""",
        "def measure(trace):\n    low, high = ([*trace.clears] or [None])[-1], len(trace.steps) - 1\n    return low and (high - low.step - 1, len([1 for a in trace.accesses if low.step < a.step and a.step != high]))\n",
        "from itertools import dropwhile\n\ndef answer(trace):\n    if len(trace.clears) == 0: return\n    c = sorted(e.step for e in trace.clears)[-1]\n    return len(trace.steps[c + 1:-1]), len(list(dropwhile(lambda a: a.step <= c, trace.accesses)))\n",
    ),
    "04-4": ({"stub": "b", "entered_before": False}, {"stub": " B ", "entered_before": 0}, {"entered_before": False, "stub": "B"}),
    "04-5": (
        changed(STUB, ("testl $1, 8(%rsp)\n    jz", "btl $0, 8(%rsp)\n    jnc")), changed(STUB, ("testl $4, 8(%rsp)\n    jz", "btl $2, 8(%rsp)\n    jnc")),
        changed(STUB, ("    testl $1, 8(%rsp)\n", ""), ("    testl $4, 8(%rsp)\n    jz 1f\n    verw 16(%rsp)\n1:\n", "    testl $4, 8(%rsp)\n    jz 1f\n    testl $1, 8(%rsp)\n    jz 3f\n    verw 16(%rsp)\n    vmresume\n3:\n    verw 16(%rsp)\n    vmlaunch\n1:\n    testl $1, 8(%rsp)\n")),
        changed(STUB, ("    jz 2f\n    vmresume\n2:\n    vmlaunch", "    jnz 2f\n    vmlaunch\n2:\n    vmresume")), changed(STUB, ("testl $4, 8", "testb $4, 8"), ("testl $1, 8", "testb $1, 8")),
        changed(STUB, ("    movq (%rdi), %rax\n    movq 8(%rdi), %rcx\n", "    movq 8(%rdi), %rcx\n    movq 0(%rdi), %rax\n")), changed(STUB, ("    testl $1, 8(%rsp)\n", ""), ("    testl $4", "    btl $0, 8(%rsp)\n    testl $4"), ("    jz 2f", "    testl $1, 8(%rsp)\n    jz 2f")),
        changed(STUB, ("    testl $4", "    nop\n    nop\n    testl $4")), changed(STUB, ("    movq (%rdi), %rax\n", "    movq %rdi, %rax\n"), ("    movq 8(%rdi), %rcx\n", "    movq 8(%rax), %rcx\n"), ("    movq 16(%rdi), %rdi\n", "    movq 16(%rax), %rdi\n    movq (%rax), %rax\n")),
        "entry:\n    movq 8(%rdi), %rcx\n    movl 8(%rsp), %eax\n    testl $4, %eax\n    movq (%rdi), %rax\n    movq 16(%rdi), %rdi\n    jz 1f\n    verw 16(%rsp)\n1:  testl $1, 8(%rsp)\n    jnz 2f\n    vmlaunch\n2:  vmresume\n",
        "entry:\n    movq 8(%rdi), %rcx\n    movq (%rdi), %rax\n    movq 16(%rdi), %rdi\n    btl $0, 8(%rsp)\n    jc 5f\n    testl $4, 8(%rsp)\n    jz 1f\n    verw 16(%rsp)\n1:  vmlaunch\n5:  testl $4, 8(%rsp)\n    jz 6f\n    verw 16(%rsp)\n6:  vmresume\n",
    ),
    "05-1": ({"flush_pending": False}, {"bugs": ("l1tf", "mds"), "cmdline": "kvm-intel.vmentry_l1d_flush=cond", "ept": True, "flush_pending": False}, {"bugs": {"mds", "l1tf"}, "cmdline": "l1tf=flush", "flush_pending": False}, {"cmdline": "mds=full quiet", "flush_pending": 0}),
    "05-2": ("C", " c\n", ["c"], "c.", "(c)", {"c"}),
    "05-5": ("ECB", "e, b, c", ["b", "c", "e"], {"b", "c", "e"}, " b c e ", ("B", "c", "E")),
}  # fmt: skip

CHAIN = """
    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush
.Lno_flush:
    STATIC_LONG_JUMP_IF_ON .Lverw, mds_user_clear
    STATIC_LONG_JUMP_IF_ON .Lmmio, mmio_stale_data_clear
    jmp .Lcleared
.Lflush:
    movq %rbx, %rdi
    call vmx_l1d_flush
    testb %al, %al
    jz .Lno_flush
    jmp .Lcleared
.Lmmio:
    movq VCPU_kvm(%rbx), %rax
    cmpl $0, KVM_assigned_devices(%rax)
    je .Lcleared
.Lverw:
    clear_cpu_buffers
.Lcleared:
"""
IN_C = (
    "movq $0, 0", "hlt", "cli", "std", "xorl %ebx, %ebx", "xorl %ebp, %ebp", "movl $1, %r12d", "incq %r15", "pushq %rax", "popq %rax", "addq $8, %rsp", "int3", "clear_cpu_buffers", "movb $0, VCPU_launched(%rbx)",
    "movb $1, VCPU_launched(%rbx)", "movb $0, VCPU_flush_l1d(%rbx)", "movb $1, VCPU_flush_l1d(%rbx)", "movq $0, VCPU_kvm(%rbx)", "incq VCPU_stat_l1d_flush(%rbx)", "movq $0, VCPU_regs(%rbx)", "movq $0, VCPU_host_rsp(%rbx)", "movq $5, VCPU_cr2(%rbx)", "swapgs",
    "movq $1, 8(%rsp)", "movb $1, %gs:cpu_l1tf_flush_l1d(%rip)", "vmlaunch", "ret", "jmp .", "movl $0x123, %ecx; movl $8, %eax; xorl %edx, %edx; wrmsr", "movq VCPU_kvm(%rbx), %rax; movl $1, KVM_assigned_devices(%rax)", "xorl $1, %ebp", "verw %ax", "movq %rax, %cr2",
    "movl $0x10b, %ecx; movl $1, %eax; xorl %edx, %edx; wrmsr", "movb $1, VCPU_disable_fb_clear(%rbx)", "call vmx_vcpu_run", "movl $0x10b, %ecx; xorl %eax, %eax; xorl %edx, %edx; wrmsr", "movq %rsp, VCPU_mcu_opt_ctrl(%rbx)", "movl $1, VCPU_regs+32(%rbx)", "movb $0, VCPU_host_mmio(%rbx)",
)  # fmt: skip
WRONG["05-3"] = (
    *at(CHAIN, ".Lcleared:", IN_C), *at(CHAIN, ".Lno_flush:", IN_C[::2]), *at(CHAIN, ".Lflush:", IN_C[1::2]), *at(CHAIN, ".Lmmio:", IN_C[::3]),
    *(changed(CHAIN, change) for change in (
        ("jz .Lno_flush", "jnz .Lno_flush"), ("jz .Lno_flush", "jmp .Lno_flush\n    nop") if False else ("jz .Lno_flush", "jz .Lverw"), ("jz .Lno_flush", "jz .Lcleared"), ("jz .Lno_flush", "jz .Lmmio"), ("    testb %al, %al\n", ""),
        ("testb %al, %al", "testb %cl, %cl"), ("testb %al, %al", "cmpb $1, %dl"), ("movq %rbx, %rdi", "movq %rbp, %rdi"), ("    call vmx_l1d_flush\n", ""), ("call vmx_l1d_flush", "call vmx_l1d_flush\n    call vmx_l1d_flush"), ("je .Lcleared", "jne .Lcleared"), ("    je .Lcleared\n", ""),
        ("cmpl $0, KVM", "cmpl $1, KVM"), ("cmpl $0, KVM", "cmpb $0, KVM"), ("je .Lcleared", "jmp .Lcleared"), ("    clear_cpu_buffers\n", ""), ("    clear_cpu_buffers\n", "    verw %ax\n"), (".Lverw, mds_user_clear", ".Lmmio, mds_user_clear"), (".Lmmio, mmio", ".Lverw, mmio"), ("jmp .Lcleared\n.Lflush", "jmp .Lverw\n.Lflush"),
        ("    STATIC_LONG_JUMP_IF_ON .Lflush, vmx_l1d_should_flush\n", ""), ("    STATIC_LONG_JUMP_IF_ON .Lverw, mds_user_clear\n", ""), ("    STATIC_LONG_JUMP_IF_ON .Lmmio, mmio_stale_data_clear\n", ""), ("cmpl $0, KVM_assigned_devices(%rax)", "cmpl $0, KVM_assigned_devices+4(%rax)"),
        ("    jmp .Lcleared\n.Lflush", ".Lflush"), ("testb %al, %al\n    jz", "cmpb $1, %al\n    jb") if False else ("testb %al, %al\n    jz", "cmpb $2, %al\n    ja"), ("VCPU_kvm(%rbx), %rax", "VCPU_kvm(%rbx), %rbx"), ("VCPU_kvm(%rbx), %rax", "VCPU_kvm(%rdi), %rax"), ("call vmx_l1d_flush", "jmp vmx_l1d_flush"),
        ("testb %al, %al\n    jz .Lno_flush", "testl %eax, %eax\n    js .Lno_flush"), ("IF_ON .Lflush", "IF_OFF .Lflush"), ("IF_ON .Lmmio", "IF_OFF .Lmmio"), ("clear_cpu_buffers", "clear_cpu_buffers\n    clear_cpu_buffers"), ("clear_cpu_buffers", "verw verw_selector+2(%rip)"),
        ("testb %al, %al", "testl %eax, %eax"),
    )),
    "", ".Lcleared:", "jmp .", CHAIN.replace("vmx_l1d_should_flush", "mds_user_clear"), None, 7, [CHAIN, CHAIN], "    clear_cpu_buffers\n", "    movq %rbx, %rdi\n    call vmx_l1d_flush\n    clear_cpu_buffers\n", "    vmlaunch\n", "    call __vmx_vcpu_run\n", '.include "/etc/passwd"',
)  # fmt: skip
RIGHT["05-3"] = (
    changed(CHAIN, ("testb %al, %al\n    jz", "cmpb $0, %al\n    je")), changed(CHAIN, ("testb %al, %al\n    jz .Lno_flush\n    jmp .Lcleared", "cmpb $1, %al\n    jne .Lno_flush\n    jmp .Lcleared")),
    changed(CHAIN, ("    testb %al, %al\n    jz .Lno_flush\n    jmp .Lcleared\n", "    jmp .Lno_flush\n")), changed(CHAIN, ("    movq %rbx, %rdi\n", "")), changed(CHAIN, ("    testb %al, %al\n    jz .Lno_flush\n", "    testb $1, %al\n    jz .Lno_flush\n")), changed(CHAIN, ("VCPU_kvm(%rbx), %rax\n    cmpl $0, KVM_assigned_devices(%rax)", "VCPU_kvm(%rbx), %rcx\n    movl KVM_assigned_devices(%rcx), %edx\n    testl %edx, %edx")),
    changed(CHAIN, ("    STATIC_LONG_JUMP_IF_ON .Lverw, mds_user_clear\n    STATIC_LONG_JUMP_IF_ON .Lmmio, mmio_stale_data_clear\n", "    STATIC_LONG_JUMP_IF_ON .Lmmio, mmio_stale_data_clear\n    STATIC_LONG_JUMP_IF_ON .Lverw, mds_user_clear\n")),
    changed(CHAIN, ("    testb %al, %al\n    jz .Lno_flush\n    jmp .Lcleared\n", "    decb %al\n    jnz .Lno_flush\n    jmp .Lcleared\n")),
    """
    STATIC_LONG_JUMP_IF_OFF .Lelse, vmx_l1d_should_flush
    movq %rbx, %rdi
    call vmx_l1d_flush
    testb %al, %al
    jnz .Lend
.Lelse:
    STATIC_LONG_JUMP_IF_ON .Lclear, mds_user_clear
    STATIC_LONG_JUMP_IF_OFF .Lend, mmio_stale_data_clear
    movq VCPU_kvm(%rbx), %r11
    cmpl $0, KVM_assigned_devices(%r11)
    jz .Lend
.Lclear:
    verw verw_selector(%rip)
.Lend:
""",
)  # fmt: skip
TRACE = {"never": "V V V V V V", "cond": "F - - F - F", "always": "F F F F F F", "cond, 2018": "F - - F - F"}
WRONG["05-4"] = (
    *(TRACE | change for change in (
        {"never": "- - - - - -"}, {"cond": "F V V F V F"}, {"cond": "F - - F - -"}, {"cond": "F F F F F F"}, {"always": "F - - F - F"}, {"cond, 2018": "FV V V FV V FV"}, {"cond, 2018": "F V V F V F"}, {"cond, 2018": "V V V V V V"}, {"never": "V V V V V"}, {"never": "V V V V V V V"},
        {"always": "FV FV FV FV FV FV"}, {"cond": ""}, {"cond": None}, {"cond": 6}, {"never": "VV V V V V V"}, {"cond": "F"}, {"never": "F V V V V V"},
    )),
    {}, None, "V", [TRACE], {key: TRACE[key] for key in list(TRACE)[:3]}, list(TRACE.values()),
)  # fmt: skip
RIGHT["05-4"] = (
    {key: value.lower() for key, value in TRACE.items()},
    {key: value.split() for key, value in TRACE.items()},
    {key: f"  {value.replace(' ', '   ')} " for key, value in TRACE.items()},
    {key: tuple(value.split()) for key, value in reversed(TRACE.items())},
    TRACE | {"cond": "F – – F – F"},
)

LATE = """
    btl $0, %ebx
    load_guest_registers rax, 0
    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF
    jnc .Lvmlaunch
    vmresume
    jmp .Lvmfail
.Lvmlaunch:
    vmlaunch
"""
BEFORE_LOADS = (
    "movq $0, 0", "hlt", "cli", "std", "pushq %rbx", "popq %rcx", "addq $8, %rsp", "int3", "clear_cpu_buffers", "movq $0, 8(%rsp)", "movl $0, (%rsp)", "movq $0, 16(%rsp)", "movq $0, 24(%rsp)", "movq $0, 40(%rsp)", "movq $7, (%rax)", "incq 8(%rax)", "movb $0, VCPU_launched(%rdi)", "swapgs",
    "jmp .", "vmlaunch", "vmresume", "ret", "leaq 8(%rax), %rax", "xorl %eax, %eax", "movq %rsp, %rax", "movq %rax, %cr2", "movl $0x6c14, %ecx; vmwrite %rax, %rcx", "movq $1, 56(%rsp)", "outb %al, $0x80", "wbinvd", "movq $1, %rsp", "movb $1, 0x71000001", "movq $0, 0x71000018", "movb $0, 0x71000000",
)  # fmt: skip
BEHIND_LOADS = (
    "movq $0, %rbx", "xorl %eax, %eax", "movl $1, %r8d", "incq %rbp", "movq %rsi, %rdi", "std", "pushq %rax", "movq $0, (%rsp)", "movq (%rsp), %rax", "cmpq $0, (%rsp)", "testl $1, 8(%rsp)", "movq %rsp, %r9", "hlt", "movq $0, 0", "clc", "stc", "testl %eax, %eax", "cmpq %rax, %rax", "xchgq %rax, %rcx", "vmlaunch", "vmresume",
    "prefetcht0 (%rsp)", "clflush (%rsp)", "popq %rdi", "jmp .", "movb $1, %al", "shlq $1, %rdx", "bswap %r15", "notq %r10", "lfence; clc", "cmc", "verw verw_selector(%rip)",
)  # fmt: skip
WRONG["06-1"] = (
    *at(LATE, "    btl $0, %ebx", BEFORE_LOADS, before=True), *at(LATE, "    load_guest_registers rax, 0", tuple(one for one in BEHIND_LOADS if "(%rsp)" not in one or "mov" in one)), *at(LATE, '    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF', BEHIND_LOADS), *at(LATE, ".Lvmlaunch:", (*BEHIND_LOADS[:6], *READS)), *at(LATE, "    vmresume", READS, before=True),
    *(changed(LATE, change) for change in (
        ("btl $0", "btl $1"), ("btl $0", "btl $2"), ("btl $0, %ebx", "testb $1, %bl"), ("btl $0, %ebx", "cmpl $1, %ebx"), ("btl $0, %ebx", "cmpb $1, %bl"), ("btl $0, %ebx", "cmpl $0, %ebx"), ("btl $0, %ebx", "btl $0, %ecx"), ("btl $0, %ebx", "shrl $2, %ebx"), ("    btl $0, %ebx\n", ""), ("jnc", "jc"), ("jnc", "jz"), ("jnc", "jnz"), ("jnc .Lvmlaunch", "jmp .Lvmlaunch"),
        ("    jnc .Lvmlaunch\n", ""), ("rax, 0", "rcx, 1"), ("rax, 0", "rax, 1"), ("    load_guest_registers rax, 0\n", ""), ("load_guest_registers rax, 0", "load_guest_registers rax, 0, 8"), ('"", clear_cpu_buffers', "clear_cpu_buffers, clear_cpu_buffers"), ('"", clear_cpu_buffers', 'clear_cpu_buffers, ""'), ('    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF\n', ""),
        ('    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF\n', "    clear_cpu_buffers\n"), ("CLEAR_CPU_BUF\n", "CLEAR_CPU_BUF_VM\n"), ("CLEAR_CPU_BUF\n", "CLEAR_CPU_BUF + NOT\n"), ("    vmresume\n", "    vmlaunch\n"), ("    vmlaunch\n", "    vmresume\n"), ("    jmp .Lvmfail\n", ""), ("jmp .Lvmfail", "jmp ."), ("jmp .Lvmfail", "hlt"), ("jmp .Lvmfail", "ret"), ("jmp .Lvmfail", "jmp .Lvmlaunch"),
        (".Lvmlaunch:\n    vmlaunch", ".Lvmlaunch:\n    vmlaunch\n    hlt"), (".Lvmlaunch:\n    vmlaunch", ".Lvmlaunch:\n    vmlaunch\n    jmp ."), (".Lvmlaunch:\n    vmlaunch", ".Lvmlaunch:\n    vmlaunch\n    ret"), ("jmp .Lvmfail", "addq $8, %rsp\n    jmp .Lvmfail"), (".Lvmlaunch:\n    vmlaunch", ".Lvmlaunch:\n    vmlaunch\n    pushq %rax"),
        ("    jmp .Lvmfail", "    movq $0, 24(%rsp)\n    jmp .Lvmfail"), (".Lvmlaunch:\n    vmlaunch", ".Lvmlaunch:\n    vmlaunch\n    movq $7, 32(%rsp)"), ("    jmp .Lvmfail", "    std\n    jmp .Lvmfail"), ("    jmp .Lvmfail", "    vmresume\n    jmp .Lvmfail"), (".Lvmlaunch:\n    vmlaunch", ".Lvmlaunch:\n    vmlaunch\n    vmresume"),
    )),
    changed(LATE, ('    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF\n', ""), ("    load_guest", '    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF\n    load_guest')), changed(LATE, ("    load_guest_registers rax, 0\n", ""), ("    vmresume", "    load_guest_registers rax, 0\n    vmresume")),
    changed(LATE, ("    btl $0, %ebx\n", ""), ("    jnc", "    btl $0, %ebx\n    jnc")), changed(LATE, ("    btl $0, %ebx\n", ""), ("    jnc", "    btl $0, 8(%rsp)\n    jnc")), changed(LATE, ("    vmresume", "    clear_cpu_buffers\n    vmresume")), "", None, 5, "vmlaunch", "jmp .", changed(LATE, ("btl", "foo")),
)  # fmt: skip
CLEAR = '    ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF\n'
RIGHT["06-1"] = (
    changed(LATE, (CLEAR, ""), ("    vmresume", CLEAR + "    vmresume"), ("    vmlaunch", CLEAR + "    vmlaunch")), changed(LATE, ("btl $0, %ebx", "testb $1, %bl"), (CLEAR, ""), ("jnc", "jz"), ("    vmresume", CLEAR + "    vmresume"), ("    vmlaunch", CLEAR + "    vmlaunch")),
    changed(LATE, ("btl $0, %ebx", "shrl $1, %ebx")), changed(LATE, ("    btl $0, %ebx\n    load_guest_registers rax, 0\n", "    load_guest_registers rax, 0\n    btl $0, 8(%rsp)\n")), changed(LATE, ("    jnc .Lvmlaunch\n    vmresume\n    jmp .Lvmfail\n.Lvmlaunch:\n    vmlaunch\n", "    jc 1f\n    vmlaunch\n    jmp .Lvmfail\n1:\n    vmresume\n")),
    changed(LATE, ("    btl $0, %ebx\n", "    movl %ebx, %ecx\n    rorl $1, %ecx\n")), changed(LATE, ('ALTERNATIVE "", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF', 'ALTERNATIVE "jmp 1f", "", X86_FEATURE_CLEAR_CPU_BUF\n    clear_cpu_buffers\n1:')), changed(LATE, ("rax, 0", "rdi, 7"), ("    load", "    movq %rax, %rdi\n    load")),
    changed(LATE, ("btl $0, %ebx", "notl %ebx\n    andl $1, %ebx\n    subl $1, %ebx")), changed(LATE, ("btl $0, %ebx", "testb $RUN_VMRESUME, %bl\n    jz 3f\n    stc\n    jmp 4f\n3:  clc\n4:")), changed(LATE, ("jnc .L", "jae .L")), changed(LATE, ("btl $0, %ebx", "andl $1, %ebx\n    negl %ebx")),
)  # fmt: skip
WORDS = {"A": "distant", "B": "skipped", "C": "near", "D": "distant", "E": "skipped", "F": "near"}
WRONG["06-2"] = (
    *(WORDS | {key: other} for key in WORDS for other in ("near", "distant", "skipped") if other != WORDS[key]), {}, None, list(WORDS.values())[:5], "near", WORDS | {"A": None}, WORDS | {"A": "far"}, {key: WORDS[key] for key in "ABCDE"}, WORDS | {"A": ["distant", "near"]},
)  # fmt: skip
RIGHT["06-2"] = (
    {key.lower(): value.upper() for key, value in WORDS.items()},
    dict(reversed(WORDS.items())),
    {key: f" {value} " for key, value in WORDS.items()},
)
WRONG["06-3"] = ("a", "c", "d", "e", *A_CHOICE)
RIGHT["06-3"] = ("B", " b\n", ["b"], "b.", "(b)", {"b"})
ELSE = "vmenter enter --era 43fb862de8f6 --bugs mmio_stale_data,l1tf --microcode mds_no,fb_clear,flush_l1d --mmio=assigned"
QUESTION = "vmenter enter --era 43fb862de8f6 --bugs mmio_stale_data --microcode mds_no,fb_clear --mmio=mapped"
LINES = {"else": ELSE, "question": QUESTION}
WRONG["06-4"] = (
    {"else": QUESTION, "question": ELSE}, {"else": ELSE, "question": ELSE}, {"else": QUESTION, "question": QUESTION}, LINES | {"else": ELSE.replace("assigned", "mapped")}, LINES | {"question": QUESTION.replace("mapped", "assigned")}, LINES | {"question": QUESTION.replace("mapped", "none")},
    LINES | {"else": ELSE + " --flush-pending"}, LINES | {"else": ELSE + " --cmdline l1tf=off"}, LINES | {"else": ELSE.replace("43fb862de8f6", "83ebe7157483")}, LINES | {"else": ELSE.replace("43fb862de8f6", "8cb861e9e3c9")}, LINES | {"question": QUESTION.replace("43fb862de8f6", "650b68a0622f")}, LINES | {"question": QUESTION + " --cmdline mmio_stale_data=off"},
    LINES | {"else": ""}, {"else": ELSE}, {}, None, ELSE, LINES | {"else": "rm -rf /"}, LINES | {"else": ELSE + "; touch /tmp/judges-was-here"}, LINES | {"else": ELSE + " > /tmp/judges-was-here"}, LINES | {"question": "vmenter enter --help"}, LINES | {"question": "vmenter audit 43fb862de8f6"}, LINES | {"else": ["vmenter", "enter", 5]}, LINES | {"else": ELSE + " --no-such-option"},
    LINES | {"question": QUESTION.replace("mmio_stale_data ", "mmio_stale_data,l1tf ")}, LINES | {"else": ELSE.replace("--bugs mmio_stale_data,l1tf", "--bugs l1tf")}, LINES | {"else": ELSE.replace("enter ", "enter enter ")}, LINES | {"question": QUESTION.replace("--bugs mmio_stale_data", "--bugs mds")},
)  # fmt: skip
RIGHT["06-4"] = (
    {"else": ELSE.replace("vmenter enter --era", "enter --era").replace("enter ", "vmenter enter ", 1), "question": QUESTION.replace("=", " ")}, {"question": QUESTION + "  --cmdline 'quiet'", "else": ELSE.replace("--mmio=assigned", "--mmio assigned").replace(" --microcode", "  --microcode")},
    {"else": "$ " + ELSE, "question": QUESTION + "\n"}, {"else": ELSE.replace(" --microcode", " \\\n    --microcode"), "question": QUESTION.replace("mds_no,fb_clear", "fb_clear,mds_no")}, {"else": ELSE.replace("mmio_stale_data,l1tf", "l1tf,mmio_stale_data") + " --cmdline kvm-intel.vmentry_l1d_flush=cond", "question": QUESTION.replace("--bugs mmio_stale_data", "--bugs=mmio_stale_data,l1tf") + " --cmdline=l1tf=off"},
)  # fmt: skip
VERSIONS = {
    "5.10.46": "MDS",
    "5.15.153": "both",
    "5.15.154": "MMIO",
    "6.1.80": "both",
    "v6.7": "both",
    "6.7.9": "MMIO",
    "6.12.117": "MMIO",
    "v6.18": "MMIO",
    "v6.19": "neither",
}
WRONG["06-5"] = (
    *(VERSIONS | {key: "neither" if value != "neither" else "MMIO"} for key, value in VERSIONS.items()), {}, None, "both", VERSIONS | {"v6.7": "MMIO"}, VERSIONS | {"6.7.9": "both"}, VERSIONS | {"5.15.154": "both"}, VERSIONS | {"5.10.46": ["MDS", "MMIO"]}, VERSIONS | {"5.10.46": "mds and mmio"}, {key: VERSIONS[key] for key in list(VERSIONS)[:8]}, VERSIONS | {"v6.18": None},
)  # fmt: skip
RIGHT["06-5"] = (
    {key: value.lower() for key, value in VERSIONS.items()},
    dict(reversed(VERSIONS.items())),
    {key: f" {value.title()} " for key, value in VERSIONS.items()},
)
