"""Mutants of the reference solutions: one instruction or one piece of an expression changed, dropped or moved.

``python tests/mutants.py 05-3 …`` judges all mutants of an exercise and prints those that pass and that `EQUIVALENT`
does not explain: each is either right, and then the reason belongs there, or a hole in a judge.
"""

import ast
import re
import sys
from collections.abc import Iterator

from answers import cell

from vmenter.course.exercises import exercise

# What stands for what, both ways: instructions of one form, or conditions that are each other's opposite.
INSTEAD = (
    ("jz", "jnz"), ("je", "jne"), ("jc", "jnc"), ("jz", "jmp"), ("je", "jmp"), ("jnc", "jmp"), ("jnc", "jz"), ("jz", "js"),
    ("testl", "cmpl"), ("testb", "cmpb"), ("cmpl", "testl"), ("btl", "testl"), ("testl", "btl"), ("orl", "andl"),
    ("orl", "xorl"), ("incq", "incl"), ("incq", "decq"), ("decq", "decb"), ("movq", "movl"), ("movq", "leaq"),
    ("vmlaunch", "vmresume"), ("verw", "verr"), ("call", "jmp"), ("movb", "movw"), ("jrcxz", "jecxz"),
    ("clear_cpu_buffers", "nop"), ("STATIC_LONG_JUMP_IF_ON", "STATIC_LONG_JUMP_IF_OFF"), ("rep movsb", "movsb"),
)  # fmt: skip
REGISTERS = ("ebx", "ebp", "rbx", "rdi", "rax", "eax", "al", "rsi", "rcx", "rdx")
EXTRA = (
    "nop", "xorl %ebx, %ebx", "pushq %rax", "std", "testl %esp, %esp", "cmpl %eax, %eax", "stc", "movq $0, 0", "hlt",
    "verw 8(%rsp)", "movq $7, %r12", "movq $0, 16(%rsp)", "vmlaunch", "ret", "clc", "movl $1, %eax", "xorl %ecx, %ecx",
)  # fmt: skip
# Why a mutant may pass: what was done to it, and the reason.
EQUIVALENT = {
    r"nop before": "does nothing",
    r"(testl %esp, %esp|cmpl %eax, %eax|stc|clc) before": "writes flags that nobody asks about behind it",
    r"ret before ret": "the second one is never reached",
    r"twice (ALTERNATIVE|STATIC_LONG_JUMP|testl|btl|movq|cmpl|nop|jz|rep movsb)": "says the same again",
    r"rep movsb -> rep rep movsb": "a prefix said twice",
    r"twice (jrcxz done|movb|jnc)": "says the same again",
    r"swap ALTERNATIVE_2 \"jmp 9f\".* / testl": "the site of 03-3 holds jumps alone, which write no flags",
    r"twice jmp": "the second one is never reached",
    r"swap (movb %al, \(%rdi\) / incq %rsi|incq %rsi / incq %rdi|incq %rdi / decq %rcx)": "neither needs the other",
    # 05-3
    r"movq %rbx, %rdi -> mov": "the vCPU is in RDI still: it is the function's own argument, and nothing was called before",
    r"jz .Lno_flush -> jnc .Lno_flush": "the else left away altogether: VERW runs behind a flush as well, as the solution says",
    r"jmp .Lcleared -> jnc .Lcleared": "TEST leaves CF clear; where it has not run, CF may be set, and the judge sets it",
    r"ret before \.Lno_mmio": "it returns from there, where the next instruction would",
    r"(movl \$1, %eax|xorl %ecx, %ecx) before": "a function may use RAX and RCX (psABI, 3.2.1), where something is done",
    r"(.*) -> \1$": "the same, written otherwise",
    r"(\w+) == '(\w+)' -> \1 (<=|>=|in) '\2'": "of the words that can come, no other is below it, or part of it",
    r"\{features for .* < \{": "no kernel is asked about that has other features",
    # 06-1, behind a VMRESUME that failed, and before the guest's registers are loaded
    r"(xorl %ebx, %ebx|movq \$7, %r12|verw 8\(%rsp\)) before (jmp .Lvmfail|stub_failed)": "the host's registers are popped behind it",
    r"movq \$7, %r12 before (btl|incq 0x30|ALTERNATIVE_2 \"\", stash_mmio)": "the host's R12 is on the stack by then, the guest's is loaded behind it",
    r"(xorl %ebx, %ebx|movq \$7, %r12) before load_guest_registers": "the host's are on the stack, the guest's come",
    r"movq \$0, 16\(%rsp\) before jmp .Lvmfail": "the lab does nothing with the vCPU once a VM-Enter has failed",
    r"swap STATIC_LONG_JUMP_IF_ON .Lverw, .* / STATIC_LONG_JUMP_IF_ON .Lmmio": "only one of the two keys is ever on",
}
TOGETHER = re.compile(r"^(\.include|\.globl|selector:|\.macro|\.endm|function |end_function |\.?\w+:$|$|#)")


def assembly(text: str) -> Iterator[tuple[str, str]]:
    """Yield (what was done, mutant) of an assembly text."""
    lines = text.split("\n")
    places = [n for n, line in enumerate(lines) if not TOGETHER.match(line.strip())]
    for n in places:
        line = lines[n]

        def put(*new: str, at: int = n) -> str:
            return "\n".join([*lines[:at], *new, *lines[at + 1 :]])

        yield f"drop {line.strip()}", put()
        yield f"twice {line.strip()}", put(line, line)
        if n + 1 in places:
            swapped = [*lines[:n], lines[n + 1], line, *lines[n + 2 :]]
            yield f"swap {line.strip()} / {lines[n + 1].strip()}", "\n".join(swapped)
        for pair in INSTEAD:
            for old, new in (pair, pair[::-1]):
                changed = re.sub(rf"\b{re.escape(old)}\b", new, line)
                if changed != line:
                    yield f"{line.strip()} -> {changed.strip()}", put(changed)
        for number in re.finditer(r"(?<=\$)\d+|\b\d+(?=\()|(?<=<< )\d+", line):
            for value in {int(number[0]) + 1, int(number[0]) - 1, int(number[0]) * 2, int(number[0]) ^ 8, 0} - {
                int(number[0])
            }:
                changed = f"{line[: number.start()]}{value}{line[number.end() :]}"
                yield f"{line.strip()} -> {changed.strip()}", put(changed)
        for name in re.finditer(r"(?<=%)\w+", line):
            for other in REGISTERS:
                if other != name[0] and len(other) == len(name[0]) and other[0] == name[0][0]:
                    changed = f"{line[: name.start()]}{other}{line[name.end() :]}"
                    yield f"{line.strip()} -> {changed.strip()}", put(changed)
        for word in re.finditer(
            r"X86_FEATURE_\w+|RUN_\w+|\.L\w+|\"[^\"]*\"|\b(?:mds_user|mmio_stale_data|cpu_buf_vm)_clear\b", line
        ):
            for other in sorted(set(re.findall(word.re, text)) - {word[0]}):
                if other[:3] == word[0][:3]:
                    changed = f"{line[: word.start()]}{other}{line[word.end() :]}"
                    yield f"{line.strip()} -> {changed.strip()}", put(changed)
        for more in EXTRA:
            yield f"{more} before {line.strip()}", put(f"    {more}", line)


class _Change(ast.NodeTransformer):
    """Change the nth place of a tree that can be changed in the mth way."""

    def __init__(self, place: int, way: int) -> None:
        self.place, self.way, self.seen, self.done = place, way, -1, ""

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        ways = list(_ways(node))
        if ways:
            self.seen += 1
            if self.seen == self.place and self.way < len(ways):
                new = ast.copy_location(ways[self.way], node)
                self.done = f"{ast.unparse(node)} -> {ast.unparse(new)}"
                return new
        return node


def _ways(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
        yield from node.values
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for op in (ast.Eq(), ast.NotEq(), ast.Lt(), ast.LtE(), ast.Gt(), ast.GtE(), ast.In()):
            if type(op) is not type(node.ops[0]):
                yield ast.Compare(node.left, [op], node.comparators)
        yield ast.Constant(value=True)
        yield ast.Constant(value=False)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from (ast.Constant(word) for word in ("", "VM", "always", "cond", "mmio") if word != node.value)
    elif isinstance(node, ast.BinOp):
        yield from (node.left, node.right, ast.BinOp(node.left, ast.Add(), node.right))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield from (ast.Return(ast.Constant(value)) for value in (None, True, False))
    elif isinstance(node, ast.If | ast.For):
        yield ast.Pass()


def python(text: str) -> Iterator[tuple[str, str]]:
    """Yield (what was done, mutant) of a function's text."""
    for place in range(200):
        for way in range(12):
            change = _Change(place, way)
            tree = ast.fix_missing_locations(change.visit(ast.parse(text)))
            if not change.done:
                break
            yield change.done, ast.unparse(tree)


def mutants(id_: str) -> dict[str, str]:
    """Return what was done → mutant, of an exercise's reference solution; those that are the same text once."""
    solution = exercise(id_).solution
    code = solution.lstrip().startswith("def ")
    text = solution.partition("\n\n\nanswer")[0] if code else cell(solution)
    found = {mutant: done for done, mutant in (python if code else assembly)(text) if mutant != text}
    return {done: mutant for mutant, done in found.items()}


def survivors(id_: str) -> Iterator[str]:
    """Yield what was done to each mutant that passes."""
    for done, mutant in mutants(id_).items():
        if exercise(id_).check(mutant).passed:
            yield done


def explained(done: str) -> bool:
    """Tell whether `EQUIVALENT` says why a mutant is right."""
    return any(re.match(pattern, done) for pattern in EQUIVALENT)


def main() -> None:
    """Judge the mutants of the exercises that are named, and print those that pass without a reason."""
    for id_ in sys.argv[1:]:
        passed = list(survivors(id_))
        for done in passed:
            if not explained(done):
                print(f"{id_} passes: {done}", flush=True)
        print(f"{id_}: {len(mutants(id_))} mutants, {len(passed)} pass", flush=True)


if __name__ == "__main__":
    main()
