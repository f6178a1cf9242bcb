"""What a trace says of a run: events, whose memory, values, distance, folded loops."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lab_images import STUB, VM, VM_MMIO, code, lab, patched

from vmenter.emulator.machine import Budget, Machine
from vmenter.emulator.memory import FLUSH_PAGES, STACK, STACK_START, VCPU, Owner, VCpu
from vmenter.emulator.trace import L1D_LINES, Distance, End, EventKind, Stretch, Trace, _fold

VERW = "verw x86_verw_sel(%rip)\n"
FLUSH = "mov $0x10b, %ecx\nmov $1, %eax\nxor %edx, %edx\nwrmsr\n"
FLUSH_LOOP = f"""
    mov ${FLUSH_PAGES:#x}, %edi
    xor %eax, %eax
1:  movzbl (%rdi, %rax), %ecx
    add $4096, %eax
    cmp $0x10000, %eax
    jne 1b
    xor %eax, %eax
2:  movzbl (%rdi, %rax), %ecx
    add ${{step}}, %eax
    cmp $0x10000, %eax
    jne 2b
    lfence
"""


def run(text: str, **arguments) -> Trace:
    return Machine(code(text)).run("start", **arguments)


def kinds(trace: Trace) -> list[EventKind]:
    return [event.kind for event in trace.events]


# --- events ---


def test_every_instruction_is_there_with_address_bytes_text_and_place():
    trace = run("push %rbp\nnop\nvmlaunch")
    assert [(i.address, i.code.hex(), i.text) for i in trace.instructions] == [
        (0x10000000, "55", "pushq %rbp"),
        (0x10000001, "90", "nop"),
        (0x10000002, "0f01c2", "vmlaunch"),
    ]
    assert [trace.where(step) for step in range(3)] == ["start", "start+0x1", "start+0x2"]


def test_events_come_in_order_with_step_address_and_value():
    trace = run(f"call helper\nlfence\n{FLUSH}{VERW}vmresume\nhelper: ret")
    assert kinds(trace) == ["call", "lfence", "l1d_flush", "verw", "vm_enter"]
    call, _, flush, *_ = trace.events
    assert call.value == trace.image.symbols.get("helper").address
    assert flush.value == 0x10B
    for event in trace.events:
        assert event.address == trace.steps[event.step]


@pytest.mark.parametrize(
    ("msr", "low", "kind"),
    [
        (0x10B, 1, "l1d_flush"),
        (0x10B, 0, "wrmsr"),
        (0x123, 8, "fb_clear_dis_set"),
        (0x123, 9, "fb_clear_dis_set"),
        (0x123, 1, "fb_clear_dis_clear"),
        (0x48, 1, "wrmsr"),
    ],
)
def test_a_wrmsr_is_known_by_its_number_and_its_bits(msr, low, kind):
    trace = run(f"mov ${msr}, %ecx\nmov ${low}, %eax\nxor %edx, %edx\nwrmsr\nvmlaunch")
    assert kinds(trace) == [kind, "vm_enter"]
    assert trace.cleared == (kind == "l1d_flush")


def test_a_verw_is_neutralised_only_while_fb_clear_dis_is_set():
    switch = "mov $0x123, %ecx\nmov ${}, %eax\nxor %edx, %edx\nwrmsr\n"
    trace = run(VERW + switch.format(8) + VERW + switch.format(0) + VERW + "vmlaunch")
    assert [event.neutralised for event in trace.clears] == [False, True, False]
    assert (trace.neutralised, trace.cleared, trace.verw) == (True, True, 3)


def test_the_software_flush_is_known_by_reading_64_kib_line_by_line():
    trace = run(FLUSH_LOOP.format(step=64) + "vmlaunch")
    assert kinds(trace) == ["l1d_flush_loop", "lfence", "vm_enter"]
    (flush,) = trace.clears
    assert trace.instructions[flush.step].mnemonic == "movzbl"
    assert (trace.cleared_by, trace.l1d_flushed, trace.verw) == (EventKind.L1D_FLUSH_LOOP, True, 0)
    assert trace.distance == Distance(4, 0)  # add, cmp, jne, lfence


@pytest.mark.parametrize(
    "text", [FLUSH_LOOP.format(step=128), FLUSH_LOOP.format(step=64).replace("0x10000", "0xf000")]
)
def test_reading_less_is_no_software_flush(text):
    trace = run(text + "vmlaunch")
    assert kinds(trace) == ["lfence", "vm_enter"]
    assert trace.distance is None


def test_two_software_flushes_are_two_clears():
    loop = FLUSH_LOOP.format(step=64)
    assert kinds(run(f"{loop}{loop}vmlaunch")) == ["l1d_flush_loop", "lfence"] * 2 + ["vm_enter"]


def test_a_flush_loop_may_read_other_things_on_the_way():
    loop = FLUSH_LOOP.format(step=64).replace("2:", "2: mov (%rsp), %rdx\nmov 0x71000000, %rdx\n")
    assert kinds(run(f"{loop}vmlaunch")) == ["l1d_flush_loop", "lfence", "vm_enter"]


# --- distance ---


@pytest.mark.parametrize(
    ("between", "expected"),
    [
        ("", (0, 0)),
        ("nop\n", (1, 0)),
        (".byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\n", (1, 0)),
        ("mov (%rsp), %rax\n", (1, 1)),
        ("push %rax\npop %rax\n", (2, 2)),
        ("incq (%rsp)\n", (1, 2)),
        ("movups (%rsp), %xmm0\n", (1, 2)),
        ("call 1f\nnop\n1: add $8, %rsp\n", (2, 1)),
        ("verr x86_verw_sel(%rip)\n", (1, 3)),
    ],
)
def test_distance_counts_what_runs_strictly_between_the_last_clear_and_vm_enter(between, expected):
    for clear in (VERW, FLUSH):
        assert run(clear + between + "vmlaunch").distance == Distance(*expected)
    assert run(FLUSH + "push %rax\n" + VERW + between + "vmlaunch").distance == Distance(*expected)


def test_there_is_no_distance_without_a_clear_or_without_a_vm_enter():
    assert run("vmlaunch").distance is None
    assert run(VERW + "ret").distance is None
    assert Machine(code(VERW + "1: jmp 1b"), budget=Budget(50)).run("start").distance is None


@pytest.mark.parametrize(
    ("features", "flags", "expected"),
    [
        ((), 5, None),
        ((VM_MMIO,), 1, None),
        ((VM_MMIO,), 5, (2, 1)),
        ((VM,), 1, (3, 1)),
        ((VM, VM_MMIO), 4, (3, 1)),
    ],
)
def test_the_merged_form_leaves_one_load_behind_its_verw(features, flags, expected):
    trace = Machine(patched(lab(STUB), *features)).run("enter", {"rdi": VCPU, "rsi": flags})
    assert trace.distance == (Distance(*expected) if expected else None)
    assert trace.cleared_by == (EventKind.VERW if expected else None)
    if expected:
        last = trace.accesses[-1]
        assert (last.owner, last.value, last.write) == (Owner.FLAGS, flags, False)


# --- accesses ---


def test_every_access_tells_whose_memory_it_was():
    trace = run(
        f"push %rax\nmov 0x40(%rdi), %rax\nmov variable(%rip), %rax\nmov %gs:variable, %rax\nmov elsewhere(%rip), %rax\n"
        f"mov start(%rip), %rax\n{VERW}vmlaunch\n.data\nvariable: .quad 0",
        registers={"rdi": VCPU},
    )
    owners = [access.owner for access in trace.accesses]
    assert owners[:6] == [Owner.STACK, Owner.VCPU, Owner.HOST, Owner.HOST, Owner.HOST, Owner.CODE]
    assert owners[6:] == [Owner.HOST, Owner.OTHER, Owner.OTHER]  # VERW: the selector, and its descriptor


def test_the_push_that_puts_run_flags_on_the_stack_and_the_looks_at_them_are_flags():
    trace = Machine(patched(lab(STUB), VM_MMIO)).run("enter", {"rdi": VCPU, "rsi": 5})
    flags = [access for access in trace.accesses if access.owner is Owner.FLAGS]
    assert [(trace.instructions[a.step].text, a.write) for a in flags] == [
        ("pushq %rsi", True),
        ("testl $4, (%rsp)", False),
        ("testl $1, (%rsp)", False),
    ]
    assert {access.value for access in flags} == {5}


def test_a_slot_of_the_stack_is_flags_only_from_the_write_before_the_look():
    trace = run("push %rbx\npop %rbx\npush %rsi\ntestl $1, (%rsp)\nvmlaunch", registers={"rsi": 1})
    assert [access.owner for access in trace.accesses] == ["stack", "stack", "flags", "flags"]


@pytest.mark.parametrize("look", ["testb $1, 0x40(%rdi)", "btl $0, 0x40(%rdi)", "cmpb $0, 0x40(%rdi)"])
def test_memory_held_against_a_constant_is_a_flag(look):
    trace = run(f"{look}\nmov 0x40(%rdi), %al\nvmlaunch", registers={"rdi": VCPU})
    assert [access.owner for access in trace.accesses] == ["flags", "vCPU"]


@pytest.mark.parametrize("look", ["testb $1, {}", "btl $0, {}", "cmpb $0, {}"])
def test_host_data_and_a_saved_register_stay_what_they_are_whoever_looks(look):
    trace = run(look.format("variable(%rip)") + "\nvmlaunch\n.data\nvariable: .quad 0")
    assert [access.owner for access in trace.accesses] == ["host data"]
    trace = run(f"push %rbx\n{look.format('(%rsp)')}\nvmlaunch")
    assert [access.owner for access in trace.accesses] == ["stack", "stack"]


def test_bytes_of_the_vcpu_that_are_declared_flags_are_flags():
    trace = run(
        "movzbl 0x40(%rdi), %eax\nmovb $0, 0x40(%rdi)\nmov 0x48(%rdi), %rax\nret",
        registers={"rdi": VCPU},
        vcpu=VCpu(flags={0x40: 1}),
    )
    assert [(a.owner, a.value) for a in trace.accesses[:3]] == [("flags", 1), ("flags", 0), ("vCPU", VCPU)]


def test_an_access_can_be_read_as_text():
    texts = [
        access.text
        for access in run("push %rax\nmovb 0x40(%rdi), %al\nvmlaunch", registers={"rdi": VCPU}).accesses
    ]
    assert texts == [f"writes 8 bytes of stack at {STACK_START - 8:#x}", "reads 1 byte of vCPU at 0x71000040"]


OFFSETS, SIZES = st.integers(0, 24), st.sampled_from(["b", "w", "l", "q"])


@settings(max_examples=50)  # each is assembled, by a process of its own
@given(st.lists(st.tuples(st.booleans(), OFFSETS, SIZES, st.integers(0, 3)), max_size=12))
def test_values_read_are_what_memory_held_at_that_moment(operations):
    """Reads of any size, over writes of any size: against a plain bytearray."""
    names = {"b": ("al", 1), "w": ("ax", 2), "l": ("eax", 4), "q": ("rax", 8)}
    words = [0x1111222233334444 * (n + 1) & (1 << 64) - 1 for n in range(4)]
    memory = bytearray(b"".join(word.to_bytes(8, "little") for word in words))
    lines, expected = [], []
    for write, offset, suffix, source in operations:
        register, size = names[suffix]
        if write:
            value = (words[source] * 7 & (1 << 64) - 1).to_bytes(8, "little")
            lines.append(f"movabs ${int.from_bytes(value, 'little'):#x}, %rax\nmov %{register}, {offset}(%rdi)")
            memory[offset : offset + size] = value[:size]
        else:
            lines.append(f"mov {offset}(%rdi), %{register}")
        expected.append(int.from_bytes(memory[offset : offset + size], "little"))
    fields = {8 * n: word for n, word in enumerate(words)}
    trace = run("\n".join([*lines, "vmlaunch"]), registers={"rdi": VCPU}, vcpu=VCpu(fields))
    assert [access.value for access in trace.accesses] == expected


# --- folding ---


def unfolded(steps: tuple[int, ...], stretches: list[Stretch]) -> list[int]:
    return [address for first, length, times in stretches for address in steps[first : first + length] * times]


@settings(deadline=None)  # a busy machine must not fail a test
@given(st.lists(st.tuples(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(1, 5)), max_size=6))
def test_folding_loses_nothing(rounds):
    steps = tuple(address for body, times in rounds for address in body * times)
    assert unfolded(steps, list(_fold(steps))) == list(steps)


def test_a_loop_is_folded_to_its_first_round_and_its_count():
    steps = (9, *(1, 2, 3) * 1000, 8, 7)
    assert list(_fold(steps)) == [Stretch(0, 1, 1), Stretch(1, 3, 1000), Stretch(3001, 2, 1)]


def test_the_software_flush_folds_to_a_few_lines():
    trace = run(FLUSH_LOOP.format(step=64) + "vmlaunch")
    assert len(trace.steps) > 4 * L1D_LINES
    assert unfolded(trace.steps, list(trace.folded)) == list(trace.steps)
    assert len(trace.text.splitlines()) < 30
    assert "the next 4 ran 1,02" in trace.text


def test_the_text_of_a_trace_marks_what_happened_and_how_it_ended():
    text = run(VERW + "nop\nvmlaunch").text
    assert "verw" in text.splitlines()[0]
    assert text.splitlines()[0].endswith("<- verw")
    assert text.splitlines()[-1] == "end: VMLAUNCH"
    assert run("ret").text.endswith(f"end: {End.RETURN}")
    assert "<- verw (neutralised)\n" in run(VERW + "vmlaunch", msrs={0x123: 8}).text


def test_the_stack_is_where_it_is_said_to_be():
    (access,) = run("push %rax\nvmlaunch").accesses
    assert STACK <= access.address < STACK_START


def test_values_are_those_of_the_run_even_if_they_are_asked_for_after_another_one():
    machine = Machine(code("mov 0x40(%rdi), %rax\nmov %rax, 0x48(%rdi)\nvmlaunch"))
    traces = [machine.run("start", {"rdi": VCPU}, VCpu({0x40: value})) for value in (1, 2, 3)]
    machine.load(code("nop\nvmlaunch"))
    assert [[access.value for access in trace.accesses] for trace in traces] == [[1, 1], [2, 2], [3, 3]]
