"""The VM-Enter stubs of real kernels, run as they are: the same path that the lab's own code takes.

How each kernel's stub is called, and under which features it clears, is written down here by hand: what `stubs`
finds out by itself (test_stubs) is held against it.
"""

from collections.abc import Mapping
from functools import cache
from itertools import product

import pytest
from needs import kernel_file
from real_modules import read

from vmenter.code.image import Image
from vmenter.emulator.machine import Machine
from vmenter.emulator.memory import FLUSH_PAGES, GS_BASE, VCPU, VCPU_SIZE, Owner, VCpu
from vmenter.emulator.trace import End, EventKind, Trace
from vmenter.kernels import stub as stubs
from vmenter.patching import alternatives
from vmenter.patching.alternative_table import rules
from vmenter.patching.static_keys import flip

MSR_SPEC_CTRL = 7 * 32 + 16
VM, VM_MMIO = 21 * 32 + 13, 21 * 32 + 19
RESUME, MMIO = 1, 4  # run flags

# Per kernel: CLEAR_CPU_BUF or what took its place; the arguments' registers; where guest registers stand.
REGS = 0x400  # of our own choice: up to 6.18 the stub is told where they are


def old_arguments(flags: int) -> dict[str, int]:
    return {"rdi": VCPU, "rsi": VCPU + REGS, "rdx": flags}


def new_arguments(flags: int) -> dict[str, int]:
    return {"rdi": VCPU, "rsi": flags}


CLEAR_CPU_BUF = {"6.1.192": 11 * 32 + 18, "6.12.117": 3 * 32 + 18}
ARGUMENTS = {"6.1.192": old_arguments, "6.12.117": old_arguments, "7.3.4": new_arguments}
GUEST_RCX = {"6.1.192": REGS + 8, "6.12.117": REGS + 8, "7.3.4": 0x130}


def module(version: str, name: str = "kvm-intel.ko.xz") -> Image:
    return read(kernel_file(version, name))


@cache
def machine(version: str, features: tuple[int, ...], name: str = "kvm-intel.ko.xz") -> Machine:
    image = module(version, name)
    return Machine(alternatives.apply(image, alternatives.patch_all(image, set(features))))


def enter(version: str, features: tuple[int, ...], flags: int, **more) -> Trace:
    return machine(version, features).run("__vmx_vcpu_run", ARGUMENTS[version](flags), **more)


@pytest.mark.parametrize("flags", range(8))
@pytest.mark.parametrize(
    ("version", "features", "verw", "accesses"),
    [
        ("6.1.192", (), "never", None),
        ("6.1.192", (CLEAR_CPU_BUF["6.1.192"],), "always", 0),
        ("6.12.117", (), "never", None),
        ("6.12.117", (CLEAR_CPU_BUF["6.12.117"],), "always", 0),
        ("7.3.4", (), "never", None),
        ("7.3.4", (VM_MMIO,), "mmio", 1),
        ("7.3.4", (VM,), "always", 1),
        ("7.3.4", (VM, VM_MMIO), "always", 1),
    ],
)
def test_the_real_stub_clears_when_its_features_and_flags_say_so(version, features, verw, accesses, flags):
    trace = enter(version, features, flags)
    assert trace.vm_enter == ("VMRESUME" if flags & RESUME else "VMLAUNCH")
    clears = verw == "always" or (verw == "mmio" and bool(flags & MMIO))
    assert trace.verw == clears
    if clears:
        assert trace.distance is not None
        assert trace.distance.accesses == accesses
    else:
        assert trace.distance is None


@pytest.mark.parametrize(
    ("version", "features", "instructions"), [("6.1.192", (370,), 1), ("6.12.117", (114,), 1), ("7.3.4", (VM,), 3)]
)
def test_the_distance_in_instructions_counts_nops(version, features, instructions):
    trace = enter(version, features, RESUME)
    assert trace.distance.instructions == instructions


def test_the_one_access_the_merged_form_leaves_is_a_look_at_the_run_flags_on_the_stack():
    trace = enter("7.3.4", (VM,), MMIO | RESUME)
    last = trace.accesses[-1]
    assert trace.instructions[last.step].text == "testl $1, (%rsp)"
    assert (last.owner, last.value, last.write) == (Owner.FLAGS, MMIO | RESUME, False)


@pytest.mark.parametrize("version", ["6.1.192", "6.12.117", "7.3.4"])
def test_guest_registers_come_from_the_vcpu(version):
    guest = VCpu({GUEST_RCX[version]: 0x6E57})
    enter(version, (), RESUME, vcpu=guest)
    assert machine(version, ()).registers()["rcx"] == 0x6E57


@pytest.mark.parametrize("version", ["6.1.192", "6.12.117", "7.3.4"])
@pytest.mark.parametrize("same", [True, False])
def test_per_cpu_variables_are_read_and_decide(version, same):
    """The guest's SPEC_CTRL is written only where it differs from this CPU's."""
    offset = {"6.1.192": 0x1A78, "6.12.117": 0x1A30, "7.3.4": 0x1A88}[version]
    trace = enter(
        version,
        (MSR_SPEC_CTRL,),
        RESUME,
        vcpu=VCpu({offset: 5}),
        memory={"x86_spec_ctrl_current": 5 if same else 7},
    )
    assert trace.vm_enter == "VMRESUME"
    written = [event.value for event in trace.events if event.kind is EventKind.WRMSR]
    assert written == ([] if same else [0x48])


def test_the_stub_calls_its_helper_and_steps_over_its_vmwrite():
    trace = enter("7.3.4", (), 0)
    (call,) = (event for event in trace.events if event.kind is EventKind.CALL)
    assert trace.image.label(call.value) == "vmx_update_host_rsp"
    assert sum(i.mnemonic.startswith("vmwrite") for i in trace.instructions) == 1


def test_code_patched_for_other_features_runs_in_the_same_machine():
    image = module("7.3.4")
    one = Machine(image)
    for features, expected in (((), 0), ((VM,), 1), ((), 0), ((VM, VM_MMIO), 1)):
        one.load(alternatives.apply(image, alternatives.patch_all(image, set(features))))
        trace = one.run("__vmx_vcpu_run", new_arguments(0))
        assert trace.verw == expected
        assert trace.steps == enter("7.3.4", features, 0).steps


@pytest.mark.parametrize("version", ["6.12.117", "7.3.4"])
def test_amds_stub_clears_right_before_vmrun(version):
    for features, verw in (((), 0), ((VM,), 1)):
        trace = machine(version, features, "kvm-amd.ko.xz").run("__svm_vcpu_run", {"rdi": VCPU, "rsi": 0})
        assert (trace.vm_enter, trace.verw) == ("VMRUN", verw)
        assert trace.distance == ((0, 0) if verw else None)


@pytest.mark.parametrize("version", ["6.1.192", "6.12.117", "7.3.4"])
def test_what_is_found_out_by_trying_is_what_is_written_here(version):
    image = module(version)
    (stub,) = stubs.find(image)
    found = stubs.Runner(image, stub, rules(image))
    assert {**found.arguments, found.flags: 7}.items() >= ARGUMENTS[version](7).items()
    assert found.clearing == ((CLEAR_CPU_BUF[version],) if version in CLEAR_CPU_BUF else (VM, VM_MMIO))


FLUSH_L1D = 18 * 32 + 28
KEYS = {"vmx_l1d_should_flush": True}  # looked at in the routine itself since 6.19, before by its caller


@cache
def flusher(version: str, *, cond: bool, by_msr: bool) -> Machine:
    """Return a machine whose keys and features are those of a host that flushes."""
    image = flip(module(version), {**KEYS, "vmx_l1d_flush_cond": cond})
    features = {FLUSH_L1D} if by_msr else set()
    return Machine(alternatives.apply(image, alternatives.patch_all(image, features)))


def flush(machine: Machine, flag: Mapping[str | int, int | bytes] | None = None) -> Trace:
    memory = {"vmx_l1d_flush_pages": FLUSH_PAGES, **(flag or {})}
    trace = machine.run("vmx_l1d_flush", {"rdi": VCPU}, VCpu({0: bytes(VCPU_SIZE)}), memory)
    assert trace.end is End.RETURN
    return trace


@pytest.mark.parametrize("version", ["6.1.192", "6.12.117", "7.3.4"])
@pytest.mark.parametrize("by_msr", [True, False])
def test_the_real_l1d_flush_is_recognised_by_msr_and_by_loop(version, by_msr):
    trace = flush(flusher(version, cond=False, by_msr=by_msr))
    assert trace.cleared_by == (EventKind.L1D_FLUSH if by_msr else EventKind.L1D_FLUSH_LOOP)
    assert len(trace.clears) == 1


@pytest.mark.parametrize("version", ["6.1.192", "6.12.117", "7.3.4"])
def test_the_real_flush_in_cond_mode_flushes_only_when_this_cpus_flag_is_set(version):
    """The flag is a byte of the kernel's irq_stat: where it is read tells where it stands."""
    machine = flusher(version, cond=True, by_msr=True)
    without = flush(machine)
    assert not without.cleared
    (flag,) = {access.address for access in without.accesses if access.address >= GS_BASE}
    with_flag = flush(machine, {flag: b"\1"})
    assert with_flag.cleared_by is EventKind.L1D_FLUSH
    assert (flag, True, 0) in {(access.address, access.write, access.value) for access in with_flag.accesses}


@pytest.mark.parametrize("version", ARGUMENTS)
def test_with_the_hosts_rsp_unchanged_a_stub_clears_and_enters_alike_and_writes_no_vmcs(version):
    """As at most VM-Enters of a booted kernel (tests/data/booted)."""
    image = module(version)
    runner = stubs.Runner(image, stubs.find(image)[0], rules(image))
    clears = frozenset({CLEAR_CPU_BUF.get(version, VM)})
    for chosen, flags in product((frozenset(), clears), (0, RESUME)):
        changed, same = (runner.trace(chosen, flags, host_rsp_changed=one) for one in (True, False))
        assert (same.vm_enter, same.verw, same.distance) == (changed.vm_enter, changed.verw, changed.distance)
        written = [any(i.mnemonic.startswith("vmwrite") for i in trace.instructions) for trace in (changed, same)]
        assert written == [True, False]
        assert len(changed.steps) - len(same.steps) == 5  # as in the recordings
