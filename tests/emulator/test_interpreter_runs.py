"""Whole runs on the interpreter and on Unicorn: every era in every state, the code of real kernels, and what is rare.

Everything under CI; a sample of the longer ones elsewhere. Answers to exercises are compared where they are judged,
in tests/course/exercises/test_exercises.py.
"""

import subprocess
import sys
from itertools import islice, product

import pytest
from both_cpus import compared, same
from era_states import ALL
from fuzz import OFTEN
from lab_images import STUB, VM, code, lab, patched
from needs import kernel_files, missing
from places import TESTS

from vmenter import LabError
from vmenter.emulator.choice import NAMES, OVERRIDE, new_cpu
from vmenter.emulator.interpreter import moves, table
from vmenter.emulator.machine import Budget, Machine
from vmenter.emulator.memory import STACK_START, VCPU, Owner
from vmenter.kernels.inspect import inspect
from vmenter.story import eras
from vmenter.story.promise import Reach


@pytest.fixture
def both(monkeypatch):
    """Every machine runs on both CPUs."""
    with compared(monkeypatch.setattr) as done:
        yield done


def states(era):
    """Yield every state that the code of an era can be in."""
    switches = [*product((False, True), repeat=len(era.features) + len(era.keys) + 5)]
    for mmio, on in product(Reach, switches):
        names = [name for name, chosen in zip((*era.features, *era.keys), on, strict=False) if chosen]
        yield eras.State(frozenset(names) & set(era.features), frozenset(names) & set(era.keys), mmio, *on[-5:])


@pytest.mark.parametrize("era", ALL, ids=lambda era: era.id)
def test_an_era_runs_alike_in_every_state(both, era):
    eras.run.cache_clear()
    eras._runs.cache_clear()
    for state in islice(states(era), 0, None, 1 if OFTEN else 97):
        eras.run(era, state)
    assert len(both.runs) >= (40 if OFTEN else 5)  # what could not differ is not run again
    assert both.steps > 30 * len(both.runs)


def test_the_code_of_real_kernels_runs_alike(both, report):
    """Their stubs under all features and flags, and the C functions around them."""
    modules = kernel_files("*kvm-*.ko.xz")[:: 1 if OFTEN else 5]
    if not modules:
        missing("a kernel", "see tests/needs.py")
    for path in modules:
        inspect(path.read_bytes(), str(path))
    assert both.errors  # runs that lead nowhere are alike, too
    report(f"the interpreter ran {both.steps:,} steps of {len(modules)} real modules as Unicorn did")


# --- what no era and no kernel here comes to ---

LOOPS = "mov $0x71000000, %edi\nmov $5, %ecx\nrep stosb\n1: inc %eax\ncmp $9, %eax\njne 1b\nlfence\nvmlaunch"


@pytest.mark.parametrize("instructions", range(1, 45))
def test_a_budget_ends_a_run_at_the_same_place(instructions):
    one, two = (Machine(code(LOOPS), budget=Budget(instructions), cpu=name) for name in NAMES)
    same(one, two, "start")


@pytest.mark.parametrize(
    "text",
    [
        # code on the stack, written anew after it ran
        "movb $0xc3, (%rdi)\ncall *%rdi\nmovl $0x00c3c0ff, (%rdi)\ncall *%rdi\nmovb $0x90, (%rdi)\ncall *%rdi\nret",
        # an instruction that is on two pages
        "movl $0xc0ff4890, 0xffe(%rdi)\nmovb $0xc3, 0x1002(%rdi)\nlea 0xffe(%rdi), %rax\ncall *%rax\nret",
        # the GS base of another place, and both swapped
        "mov $0xc0000101, %ecx\nmov $0x71000000, %eax\nxor %edx, %edx\nwrmsr\nmov %gs:8, %rbx\nswapgs\nmov %gs:8, %rcx",
        "movq $1, 0xffc(%rdi)\nmov 0xffc(%rdi), %rax\nmov 0xfff(%rdi), %cx\nvmlaunch",
        "mov $0x10000, %eax\nmov %rax, -4(%rdi,%rax)",
        "mov -4(%rdi), %rax",
        "movups %xmm0, 0xfff8(%rdi)",
        "push %rax\nlea 0x8000(%rsp), %rsp\npop %rax\nvmlaunch",
        "call 1f\n1: pop %rax\nsub $0x4000000, %rax\njmp *%rax",
        "std\nlea 8(%rdi), %rsi\nmov $3, %ecx\nrepne cmpsb\nrep movsw\ncld\nvmlaunch",
        "mov $0x7ff0000071000008, %rax\nmov (%rax), %rcx\nvmlaunch",
        "jmp .+2\nlock addl $1, 4(%rdi)\nhlt",
        "int3",
        "ud2",
        "xor %eax, %eax\npush %rax\npop %gs\nmov %eax, %ds\nmov $0x18, %eax\nmov %eax, %es\nmov %es, %ebx\nret",
        "mov $0x18, %eax\nmov %eax, %gs\nmov %gs, %ebx\nmov %gs:8(%rdi), %rcx\nret",
        "mov $0x28, %eax\nmov %eax, %ds",
        "xor %edx, %edx\nmov $1, %eax\ncpuid\nmov $0x277, %ecx\nrdmsr\nret",
    ],
)
def test_what_is_rare_runs_alike(text):
    one, two = (Machine(code(text), cpu=name) for name in NAMES)
    for _ in range(2):
        same(one, two, "start", {"rdi": VCPU, "rsi": STACK_START})


def test_every_msr_that_nobody_wrote_and_every_leaf_of_cpuid_is_the_same():
    machines = [Machine(code("rdmsr\nshl $32, %rdx\nor %rdx, %rax\nret"), cpu=name) for name in NAMES]
    for number in (*range(0x800), *range(0xC000_0080, 0xC000_0104), *range(0xC001_0110, 0xC001_0118)):
        same(*machines, "start", {"rcx": number})
    machines = [Machine(code("cpuid\nret"), cpu=name) for name in NAMES]
    for leaf in (*range(0x20), *range(0x4000_0000, 0x4000_0003), *range(0x8000_0000, 0x8000_0020)):
        for subleaf in range(16):
            same(*machines, "start", {"rax": leaf, "rcx": subleaf})


def test_time_goes_on_and_chance_is_chance():
    machine = Machine(code("rdtsc\nshl $32, %rdx\nor %rdx, %rax\nret"), cpu="interpreter")
    times = [machine.run("start") and machine.registers()["rax"] for _ in range(3)]
    assert 0 < times[0] < times[1] < times[2]
    machine = Machine(code("mov $0xc0000103, %ecx\nmov $7, %eax\nwrmsr\nrdtscp\nret"), cpu="interpreter")
    assert machine.run("start")
    assert machine.registers()["rcx"] == 7
    for line in ("rdrand %rax", "rdseed %rax"):
        machine = Machine(code(f"{line}\nret"), cpu="interpreter")
        drawn = [machine.run("start") and machine.registers() for _ in range(3)]
        assert len({found["rax"] for found in drawn}) == 3
        assert {found["rflags"] & 0x8D5 for found in drawn} == {1}


def test_a_difference_is_told_with_what_ran(monkeypatch):
    monkeypatch.setitem(table.ONE, 0xF9, moves.nothing)  # an STC that does nothing
    wrong, right = (Machine(code("stc\nret"), cpu=name) for name in reversed(NAMES))
    with pytest.raises(AssertionError, match=r"registers: Unicorn .*rflags.*, after stc; retq"):
        same(right, wrong, "start")
    with pytest.raises(AssertionError, match="rflags"), compared(monkeypatch.setattr):
        right.run("start")


# --- which CPU, and what it refuses ---


def test_natively_the_cpu_is_unicorn_in_a_tab_the_interpreter_and_both_can_be_asked_for(monkeypatch):
    monkeypatch.delenv(OVERRIDE, raising=False)
    assert new_cpu().name == "unicorn"
    monkeypatch.setattr(sys, "platform", "emscripten")
    assert new_cpu().name == "interpreter"
    assert new_cpu("unicorn").name == "unicorn"
    monkeypatch.setenv(OVERRIDE, "unicorn")
    assert new_cpu().name == "unicorn"
    assert new_cpu("interpreter").name == "interpreter"


def test_an_unknown_cpu_is_one_clear_error(monkeypatch):
    monkeypatch.setenv(OVERRIDE, "qemu")
    with pytest.raises(LabError, match=r"no CPU named 'qemu'; there are unicorn and interpreter \(\$VMENTER_CPU"):
        Machine(code("ret"))


def test_in_a_tab_no_unicorn_is_needed():
    script = """
import sys
sys.modules["unicorn"] = None  # an import of it fails
from vmenter.code.instructions import decode
from lab_images import STUB, VM, lab, patched
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import VCPU
from vmenter.story import eras
image = patched(lab(STUB), VM)
decode(image.sections[0].data[:1], strict=False)  # its package wants to know the real platform
sys.platform = "emscripten"
print(Machine(image).run("enter", {"rdi": VCPU, "rsi": 1}).vm_enter, eras.run(eras.era("v4"), eras.State()).vm_enter)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=TESTS, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "VMRESUME VMLAUNCH"), done.stderr


REFUSED = """
andn %rax, %rcx, %rdx; crc32b %cl, %eax; movbe (%rdi), %eax; adcx %rax, %rcx; fninit; fldz; syscall; vpxor %xmm0, %xmm1, %xmm2
xsave (%rdi); fxrstor (%rdi); insb; outsb; rdpmc; addps %xmm0, %xmm1; paddd %xmm1, %xmm2; emms; movq %mm0, %mm1; lret; iretq
mov %ax, %fs; enter $8, $1; ltr %ax; lar %ax, %ax; lsl %ax, %ax; ud2; data16 ret; addr32 lodsb; shld $3, %cx, %dx
monitor; mwait; lcall *(%rdi); ljmp *(%rdi); mov %rax, %dr7; mov %rax, %cr0
"""
LINES = [line.strip() for line in REFUSED.replace("\n", ";").split(";") if line.strip()]


@pytest.mark.parametrize("line", LINES)
def test_what_the_interpreter_does_not_know_is_one_error_that_names_the_instruction(line):
    machine = Machine(code(f"nop\n{line}\nvmlaunch"), cpu="interpreter")
    with pytest.raises(LabError) as raised:
        machine.run("start", {"rax": 0x10, "rdi": VCPU})
    said = str(raised.value)
    assert "\n" not in said
    assert said.startswith("start+0x1, ")
    assert said.endswith(": an instruction that the machine does not know, or UD2")
    name = line.removeprefix("data16 ").removeprefix("addr32 ").split()[0]
    assert name.rstrip("bwlq")[:3] in said


@pytest.mark.parametrize(
    "prefixed", [b"\xf0\x48\x89\x07", b"\xf0\x48\x01\xc8", b"\xf0\x48\x39\x07", b"\xf0\x90", b"\xf0\xf7\x1f"]
)
def test_lock_before_what_cannot_be_locked_is_refused(prefixed):
    text = f".byte {', '.join(map(str, prefixed))}\nret"
    with pytest.raises(LabError, match=r"start, .*does not know"):
        Machine(code(text), cpu="interpreter").run("start", {"rdi": VCPU})


def test_memory_that_is_mapped_costs_nothing_until_it_is_used():
    one = new_cpu("interpreter")
    one.map(0x1000_0000, 64 << 20)
    assert one.read(0x1000_0000 + (63 << 20), 8) == bytes(8)
    assert len(one._core.pages) == 1


def test_a_machine_says_whose_memory_it_was_alike():
    image = patched(lab(STUB), VM)
    one, two = (Machine(image, cpu=name).run("enter", {"rdi": VCPU, "rsi": 5}) for name in NAMES)
    assert one == two
    assert one.accesses == two.accesses
    assert Owner.FLAGS in {access.owner for access in two.accesses}
