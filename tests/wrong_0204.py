"""Answers, wrong and right, to the newer exercises of notebooks 02 to 04; the wrong ones with words of the reply."""

from answers import altered, cell
from wrong_0203 import CALLED, HEAD, clearing

from vmenter.course.exercises import every
from vmenter.course.exercises.nb02_engine import a_record

TASKS = every()
ADDRESS, RAW = a_record()
FIELDS = cell(TASKS["02-4"].solution)
OFFSETS = [int.from_bytes(RAW[at : at + 4], "little", signed=True) for at in (0, 4)]
BYTES = cell(TASKS["02-6"].solution)
STANDS = cell(TASKS["03-4"].solution)
VM, MMIO = "CLEAR_CPU_BUF_VM", "CLEAR_CPU_BUF_VM_MMIO"


def tail(*pairs):
    """The solution of 04-5 with lines replaced."""
    return altered("04-5", *pairs)


def relocates(*pairs):
    """The text of 02-5's solution with parts replaced."""
    text = TASKS["02-5"].solution
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def jumps(first="", second="jmp 8f", old="jmp 9f", order=(MMIO, VM), body="testl $4, 8(%rsp)\n jz 9f"):
    """03-3's site and what stands behind it."""
    one, two = (f"X86_FEATURE_{name}" for name in order)
    return (
        f'{HEAD}entry:\n ALTERNATIVE_2 "{old}", "{first}", {one}, "{second}", {two}\n {body}\n'
        "8: verw selector(%rip)\n9: ret\n"
    )


CHANGE = "        if not 0 <= field.end + old <= len(code):\n    "
LOAD_RDI = "    movq 16(%rdi), %rdi\n"

WRONG = {
    "02-4": [
        ({**FIELDS, "site": OFFSETS[0]}, "the offset alone"),
        ({**FIELDS, "site": OFFSETS[0] + (1 << 32)}, "the offset alone"),
        ({**FIELDS, "site": ADDRESS + OFFSETS[0] + (1 << 32)}, "signed"),
        ({**FIELDS, "site": ADDRESS + int.from_bytes(RAW[:4], "big", signed=True)}, "lowest byte comes first"),
        ({**FIELDS, "replacement": ADDRESS + OFFSETS[1]}, "begins four bytes into the record"),
        ({**FIELDS, "feature": FIELDS["feature"] | 1 << 16}, "feature and flags in one"),
        ({**FIELDS, "feature": int.from_bytes(RAW[8:10], "big")}, "lowest byte comes first"),
        ({**FIELDS, "feature": 9}, "lowest first"),
        ({**FIELDS, "flags": 0}, "bit 0 is NOT"),
        ({**FIELDS, "flags": True}, "a whole number"),
        ({**FIELDS, "site_length": 0, "replacement_length": 3}, "swapped"),
        ({**FIELDS, "replacement_length": 7}, "One byte each"),
        ({**FIELDS, "site": "here"}, "a whole number"),
        ({"site": FIELDS["site"]}, "a dict with the keys '"),
        (RAW.hex(), "a dict with the keys '"),
    ],
    "02-5": [
        (relocates((CHANGE, "")), "it stays"),
        (relocates((", signed=True)\n        if", ")\n        if")), "OverflowError"),
        (relocates(("if not 0 <=", "if 0 <=")), "it stays"),
        (relocates(("<= len(code)", "< len(code)")), "its end included"),
        (relocates(("not 0 <= field.end + old", "not 0 < field.end + old")), "it stays"),
        (relocates(("not 0 <= field.end + old", "not 0 <= field.at + old")), "bytes"),
        (relocates(("old + moved", "old - moved")), "should become"),
        (relocates(("old + moved", "moved")), "should become"),
        (relocates(("return code.hex()", "return code")), "it should return a text of bytes"),
        (relocates(("return code.hex()", "pass")), "Is a return missing"),
        (relocates(("return code.hex()", "return code.hex()[2:]")), "keeps them"),
        (relocates(('"little", signed=True)\n        if', '"big", signed=True)\n        if')), "bytes"),
        ("def answer(code, fields, moved):\n    return code", "should become"),
        ("def answer(code, fields, moved):\n    return 'xyz'", "no text of bytes"),
        ("def answer(code, fields, moved):\n    while True: pass", "a loop without an end"),
        ("def answer(code, fields, moved):\n    return '90' * 9000", "it should return a text of bytes"),
        ("def answer(code):\n    return code", "TypeError"),
        (None, "should be the function"),
    ],
    "02-6": [
        ({**BYTES, "with": "0f 01 cb" + " 90" * 11}, "the padding is merged"),
        ({**BYTES, "with": "0f 01 cb"}, "has 14 bytes"),
        ({**BYTES, "with": "90 " * 14}, "before patching"),
        ({**BYTES, "with": BYTES["without"]}, "byte 0"),
        ({**BYTES, "without": "90 " * 14}, "runs of NOPs are merged"),
        ({**BYTES, "without": "66 66 2e 0f 1f 84 00 00 00 00 00 0f 1f 00"}, "no single NOP"),
        ({**BYTES, "without": "eb 0e" + " cc" * 12}, "from its own end"),
        ({**BYTES, "without": "eb 0c" + " 90" * 12}, "byte 2 is not 90: nobody comes behind the JMP"),
        ({**BYTES, "without": "eb 0c"}, "these are 2"),
        ({**BYTES, "without": 14}, "two hexadecimal digits"),
        ({"with": BYTES["with"]}, "a text of bytes for each of"),
        ("0f 01 cb", "a text of bytes for each of"),
    ],
    "03-3": [
        (cell(TASKS["03-1"].solution), "not selector"),
        (jumps("jmp 8f", "", order=(VM, MMIO)), "with both features"),
        (jumps(old=""), "with no feature"),
        (jumps(second=""), "with CLEAR_CPU_BUF_VM alone"),
        (jumps(first="jmp 8f"), "CLEAR_CPU_BUF_VM_MMIO alone"),
        (jumps(second="jmp 9f"), "CLEAR_CPU_BUF_VM alone"),
        (jumps(body="testl $4, 8(%rsp)\n jnz 9f"), "is it inverted"),
        (jumps(body="testl $1, 8(%rsp)\n jz 9f"), "something else than bit 2"),
        (jumps(body="pushq %rax\n testl $4, 16(%rsp)\n popq %rax\n jnz 9f"), "is it inverted"),
        (jumps(second="nop; jmp 8f"), "with CLEAR_CPU_BUF_VM alone"),
        (jumps(second="verw selector(%rip); jmp 9f"), "not selector"),
        (jumps(order=(MMIO, MMIO)), "CLEAR_CPU_BUF_VM_MMIO alone"),
        (CALLED, "CLEAR_CPU_BUF_VM_MMIO alone"),
        (HEAD + "entry: ret\n", "table of alternatives is empty"),
        (None, "should be text"),
    ],
    "03-4": [
        ({**STANDS, "A": MMIO}, "A is not"),
        ({**STANDS, "A": "CLEAR_CPU_BUF"}, "A is not"),
        ({**STANDS, "B": "CLEAR_CPU_BUF"}, "B is not"),
        ({**STANDS, "C": VM}, "C is not"),
        ({**STANDS, "D": VM}, "6.12"),
        ({**STANDS, "E": "none"}, "VERW did not run"),
        ({**STANDS, "E": VM}, "E is not"),
        ({**STANDS, "E": "VERW"}, "none of the words"),
        ({"A": VM}, "a word for each of 'A'"),
        ("none", "a word for each of 'A'"),
        ({**STANDS, "F": "none"}, "a word for each of 'A'"),
    ],
    "03-5": [
        ({"module": "A", "features": [VM, MMIO]}, "as it should"),
        ({"module": "C", "features": [VM, MMIO]}, "as it should"),
        ({"module": "B", "features": []}, "as it should"),
        ({"module": "B", "features": [VM]}, "as it should"),
        ({"module": "B", "features": MMIO}, "as it should"),
        ({"module": "D", "features": [VM]}, "none of the letters"),
        ({"module": "B", "features": ["SMAP"]}, "features: a list"),
        ({"module": "B", "features": 7}, "features: a list"),
        ({"module": "B"}, "a dict with the keys"),
        ("B", "a dict with the keys"),
    ],
    "04-4": [
        ({"stub": "A", "entered_before": True}, "that is right"),
        ({"stub": "A", "entered_before": False}, "that is right"),
        ({"stub": "B", "entered_before": True}, "that is right"),
        ({"stub": "C", "entered_before": False}, "that is right"),
        ({"stub": "C", "entered_before": True}, "that is right"),
        ({"stub": "D", "entered_before": True}, "none of the letters"),
        ({"stub": "B", "entered_before": None}, "True or False"),
        ({"stub": "B", "entered_before": "no"}, "True or False"),
        ({"stub": "B"}, "a dict with the keys"),
        ("B", "a dict with the keys"),
    ],
    "04-5": [
        (tail(("    jz 1f", "    jnz 1f")), "VERW should"),
        (tail(("    jz 2f", "    jnz 2f")), "it enters by"),
        (tail(("testl $4", "testl $2")), "VERW should"),
        (tail(("testl $4", "cmpl $4")), "VERW should"),
        (tail(("testl $1", "testl $3")), "it enters by"),
        (tail(("    testl $1, 8(%rsp)\n", "")), "it enters by"),
        (
            tail(("    testl $4, 8(%rsp)\n    jz 1f\n", ""), ("1:\n", "")),
            "VERW should not run",
        ),
        (tail(("    verw 16(%rsp)\n", "")), "VERW should run, once"),
        (tail(("verw 16(%rsp)", "verw 8(%rsp)")), "not the selector"),
        (tail(("verw 16(%rsp)", "verw 16(%rsp); verw 16(%rsp)")), "2 times"),
        (tail(("verw 16(%rsp)", "movw 16(%rsp), %r11w; verw %r11w")), "held the guest's value"),
        (tail((LOAD_RDI, ""), ("1:\n", f"1:\n{LOAD_RDI}")), "behind VERW"),
        (tail(("1:\n", "1:\n    prefetcht0 (%rsp)\n")), "touches a line"),
        (tail((LOAD_RDI, "")), "RDI does not hold"),
        (tail(("movq 8(%rdi), %rcx", "movq 16(%rdi), %rcx")), "RCX does not hold"),
        (tail((LOAD_RDI, LOAD_RDI + "    xorl %ebx, %ebx\n")), "RBX held"),
        (tail((LOAD_RDI, LOAD_RDI + "    pushq %rax\n    popq %rdx\n")), "RDX held"),
        (tail((LOAD_RDI, LOAD_RDI + "    pushq %rax\n    addq $8, %rsp\n")), "writes to memory"),
        (tail(("    vmresume\n", "    vmlaunch\n")), "should by VMRESUME"),
        (tail(("    vmlaunch\n", "    ret\n")), "not with a VM-Enter"),
        (tail(("    vmlaunch\n", "    vmrun\n")), "AMD's way"),
        (tail(("    vmlaunch\n", "3: jmp 3b\n")), "ended with budget"),
        (tail(("1:\n", "1:\n    cli\n")), "CLI"),
        (None, "should be text"),
    ],
}
RIGHT = {
    "02-4": [
        {name: hex(value) for name, value in FIELDS.items()},
        {name: str(value) for name, value in reversed(FIELDS.items())},
    ],
    "02-5": [
        """
def relocated(code, fields, moved):
    parts = bytes.fromhex(code)
    for one in fields:
        value = sum(byte << 8 * n for n, byte in enumerate(parts[one.at : one.at + one.size]))
        value -= (value >> (8 * one.size - 1)) << 8 * one.size
        inside = one.end + value in range(len(parts) + 1)
        new = value if inside else value + moved
        parts = parts[: one.at] + (new & 256**one.size - 1).to_bytes(one.size, "little") + parts[one.at + one.size :]
    return parts.hex(" ").upper()
""",
        relocates(("not 0 <= field.end + old <= len(code)", "field.end + old < 0 or field.end + old > len(code)")),
    ],
    "02-6": [
        {name: text.replace(" ", "") for name, text in BYTES.items()},
        {name: text.upper() for name, text in reversed(BYTES.items())},
    ],
    "03-3": [
        jumps(body="btl $2, 8(%rsp)\n jnc 9f"),
        jumps(old="jmp 9f; nop; nop"),
        jumps("jmp 7f", body="7: testb $4, 8(%rsp)\n jz 9f"),
        # VERW in a function that is called: the other thing that is relocated
        clearing(
            f'ALTERNATIVE_2 "", "call asks", X86_FEATURE_{MMIO}, "call clears", X86_FEATURE_{VM}',
            "asks: testl $4, 16(%rsp)\n jz 9f\nclears: verw selector(%rip)\n9: ret\n",
        ),
    ],
    "03-4": [
        {letter: word.lower() for letter, word in STANDS.items()},
        {letter: word if word == "none" else f"X86_FEATURE_{word}" for letter, word in reversed(STANDS.items())},
    ],
    "03-5": [
        {"module": "b", "features": (MMIO, VM)},
        {"features": f"{VM}, {MMIO}", "module": "B"},
        {"module": "B", "features": {f"X86_FEATURE_{VM}", MMIO}},
    ],
    "04-4": [{"stub": "b", "entered_before": False}, {"entered_before": 0, "stub": " B"}],
    "04-5": [
        tail(("    testl $4, 8(%rsp)\n    jz 1f", "    btl $2, 8(%rsp)\n    jnc 1f")),
        tail(("movq (%rdi), %rax\n    movq 8(%rdi), %rcx", "movq 8(%rdi), %rcx\n    movq (%rdi), %rax")),
        """
entry:
    testb $4, 8(%rsp)
    movq 8(%rdi), %rcx
    movq (%rdi), %rax
    movq 16(%rdi), %rdi
    jz 3f
    verw 16(%rsp)
3:  btl $0, 8(%rsp)
    jc 4f
    vmlaunch
4:  vmresume
""",
    ],
}
