"""The eras: what is said about them, what their code does in every state, and what mutations of it do."""

import re
from dataclasses import replace
from itertools import product

import pytest
from era_states import ALL, BEFORE, MDS, MERGED, MMIO, MOVED, REACH, V4, mutated, state_for

from vmenter import LabError
from vmenter.boot.generations import GENERATIONS
from vmenter.boot.host import Host
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select
from vmenter.emulator.machine import HOST_REGISTERS
from vmenter.emulator.memory import GS_BASE, VCPU
from vmenter.emulator.trace import EventKind
from vmenter.patching import static_keys
from vmenter.patching.lab import LAB
from vmenter.story import eras, history
from vmenter.story.entry_text import to_text
from vmenter.story.eras import State
from vmenter.story.history import BACKPORT, ERAS, REJECTED_CURE
from vmenter.story.promise import Promise, Reach, VCpuState, Verw, judge, promise_of

MODES = ("never", "cond", "always")
EITHER = (False, True)

# --- what is said ----------------------------------------------------------------------------------------------


def test_the_eras_stand_in_the_order_of_the_story_with_their_kernels():
    assert [(id_, era.kernel) for id_, era in ERAS.items()] == list(
        {
            "before-mds": "5.0",
            "650b68a0622f": "5.2",
            "8cb861e9e3c9": "5.19",
            "43fb862de8f6": "6.12.117",
            "83ebe7157483": "6.17",
            "v4": "7.3.4",
            "e6ff1d61de51": "7.3.4",
        }.items()
    )
    assert {era.kernel for era in ALL} <= set(GENERATIONS)
    assert [era.date for era in ERAS.values()] == sorted(era.date for era in ERAS.values())


FORMS = {
    "commit": r"[0-9a-f]{12}",
    "mail": r"[^@\s<>]+@[a-z0-9._]+",
    "file": r"(arch|Documentation)/[\w./-]+\.(S|c|h|rst)",
}


@pytest.mark.parametrize("era", ALL, ids=lambda era: era.id)
def test_an_era_has_sources_of_a_known_form(era):
    assert era.sources
    for source in era.sources:
        assert re.fullmatch(FORMS[source.kind], source.ref), source
        assert source.what
    assert re.fullmatch(r"20\d\d-[01]\d-[0-3]\d", era.date)
    assert re.fullmatch(r"v\d+\.\d+(\.y)?|list only", era.release)
    assert era.commit is None or re.fullmatch(FORMS["commit"], era.commit)
    assert era.commit is None or any(source.ref == era.commit for source in era.sources) or era is BACKPORT
    assert era.title
    assert era.author
    assert len(era.reason) > 100


def test_the_hashes_dates_and_releases_are_those_that_were_checked():
    assert [(era.commit, era.date, era.release) for era in ALL] == [
        ("45b575c00d8e", "2018-08-14", "v4.19"),
        ("650b68a0622f", "2019-05-14", "v5.2"),
        ("8cb861e9e3c9", "2022-06-14", "v5.19"),
        ("43fb862de8f6", "2024-02-13", "v6.8"),
        ("83ebe7157483", "2025-05-22", "v6.17"),
        (None, "2025-10-30", "list only"),
        ("e6ff1d61de51", "2025-11-13", "v6.19"),
        ("43fb862de8f6", "2024-03-04", "v6.1.y"),
        (None, "2025-10-16", "list only"),
    ]


def test_an_unknown_era_is_an_error_that_names_the_nearest():
    with pytest.raises(
        LabError, match="unknown name '43fb862', did you mean 43fb862de8f6; use one of: before-mds"
    ):
        history.era("43fb862")


@pytest.mark.parametrize("era", ALL, ids=lambda era: era.id)
def test_a_lab_kernel_says_whose_numbers_it_uses_and_reads_the_keys_of_its_era(era):
    image = eras.patched(era, frozenset(), frozenset())
    assert image.kernel.removesuffix("-lab").removesuffix(".0") == era.kernel
    assert {branch.key for branch in static_keys.branches(image)} == set(era.keys)


def test_what_an_era_does_not_read_is_an_error():
    with pytest.raises(LabError, match="era v4 reads no feature 'CLEAR_CPU_BUF'"):
        eras.run(V4, State(frozenset({"CLEAR_CPU_BUF"})))
    with pytest.raises(LabError, match="era v4 reads no key 'mds_user_clear'"):
        eras.run(V4, State(keys=frozenset({"mds_user_clear"})))


def test_python_and_assembly_agree_where_the_fields_of_the_vcpu_are():
    text = (LAB / "kvm.inc").read_text()
    for name, offset in (*((f"VCPU_{k}", v) for k, v in eras.OFFSETS.items()), ("KVM_assigned_devices", 0x40)):
        assert int(re.search(rf"^{name} += (\w+)", text, re.MULTILINE)[1], 0) == offset
    assert eras.ASSIGNED_DEVICES == 0x40


# --- the truth table: every state, against rules written from the story and the promise alone -------------------


def flush_runs(row):
    return row["mode"] == "always" or (row["mode"] == "cond" and row["flag"])


def verw_runs(era, row):
    """Return whether a VERW runs, by the story of each era."""
    verw, mmio_only, configured = row["verw"], row["mmio_only"], row["mode"] != "never"
    assigned, reaches = row["reach"] == "assigned", row["reach"] != "none"
    if era is BEFORE:
        return False
    if era is MDS:
        return verw and not configured
    if era is MMIO:
        return (verw or (mmio_only and assigned)) and not configured
    if era in (MOVED, BACKPORT):
        return verw or (mmio_only and assigned and not configured)
    if era is REACH:
        return verw or (mmio_only and reaches and not configured)
    if era is REJECTED_CURE:
        return verw or (mmio_only and reaches and not flush_runs(row))
    return verw or (mmio_only and reaches)


def promise_is_kept(row, *, clears, flushes):
    """Return whether what ran is what was asked for, by the promise."""
    clear_owed = row["verw"] or (row["mmio_only"] and row["reach"] != "none")
    return (not clear_owed or clears or flushes) and (not flush_runs(row) or flushes)


def rows():
    """Yield every row of the table."""
    values = product(EITHER, EITHER, MODES, EITHER, ("none", "assigned", "mapped"), EITHER)
    names = ("verw", "mmio_only", "mode", "flag", "reach", "resume")
    return (dict(zip(names, row, strict=True)) for row in values)


def run_and_judge(era, row):
    """Run a row and judge it; (None, None) where the era lacks a switch."""
    state = state_for(era, **row)
    if state is None:
        return None, None
    promise = Promise(Verw.ALWAYS if row["verw"] else Verw.MMIO if row["mmio_only"] else Verw.NEVER, row["mode"])
    trace = eras.run(era, state)
    return trace, judge(promise, VCpuState(Reach(row["reach"]), row["flag"], row["resume"]), trace)


@pytest.mark.parametrize("era", ALL, ids=lambda era: era.id)
def test_every_state_runs_and_is_judged_as_the_table_says(era):
    judged = 0
    for row in rows():
        trace, verdict = run_and_judge(era, row)
        if verdict is None:
            continue
        judged += 1
        clears, flushes = verw_runs(era, row), flush_runs(row)
        assert trace.vm_enter == ("VMRESUME" if row["resume"] else "VMLAUNCH"), row
        assert (trace.verw > 0, trace.l1d_flushed) == (clears, flushes), row
        assert verdict.kept is promise_is_kept(row, clears=clears, flushes=flushes), row
        assert verdict.entered_right
        assert not verdict.neutralised
        assert not verdict.assumed
    assert judged == {BEFORE: 36, MDS: 72}.get(era, 144)


def possible(row):
    """Tell whether selection can produce this row: one kind of VERW at a time."""
    return not (row["verw"] and row["mmio_only"])


def skipped(row):
    return row["verw"] and row["mode"] == "cond" and not row["flag"]


def mmio_skipped(row):
    return row["mmio_only"] and row["reach"] != "none" and row["mode"] == "cond" and not row["flag"]


def mapped_missed(row):
    return row["mmio_only"] and row["reach"] == "mapped" and not flush_runs(row)


@pytest.mark.parametrize(
    ("era", "rules", "count"),
    [
        (BEFORE, [], 0),
        (MDS, [skipped], 6),
        (MMIO, [skipped, mmio_skipped, mapped_missed], 14),
        (MOVED, [mmio_skipped, mapped_missed], 8),
        (BACKPORT, [mmio_skipped, mapped_missed], 8),
        (REACH, [mmio_skipped], 4),
        (V4, [], 0),
        (MERGED, [], 0),
        (REJECTED_CURE, [], 0),
    ],
    ids=lambda value: getattr(value, "id", None),
)
def test_an_era_breaks_its_promise_just_where_it_is_known_to(era, rules, count):
    broken = [row for row in rows() if possible(row) and (found := run_and_judge(era, row)[1]) and not found.kept]
    assert broken == [row for row in rows() if possible(row) and any(rule(row) for rule in rules)]
    assert len(broken) == count


@pytest.mark.parametrize("era", ALL, ids=lambda era: era.id)
def test_without_microcode_the_flush_reads_64_kib_and_what_rests_on_it_is_assumed(era):
    state = state_for(era, mode="always", resume=True, microcode=False)
    trace = eras.run(era, state)
    assert [event.kind for event in trace.clears] == [EventKind.L1D_FLUSH_LOOP]
    verdict = judge(Promise(Verw.ALWAYS, "always"), VCpuState(resume=True), trace)
    assert (verdict.kept, verdict.assumed) == (True, True)
    only_l1tf = judge(Promise(Verw.NEVER, "always"), VCpuState(resume=True), trace)
    assert (only_l1tf.kept, only_l1tf.assumed) == (True, False)


@pytest.mark.parametrize("era", [MOVED, V4, MERGED], ids=lambda era: era.id)
def test_where_verw_runs_beside_the_flush_by_reading_nothing_is_assumed(era):
    trace = eras.run(era, state_for(era, verw=True, mode="always", microcode=False))
    assert {event.kind for event in trace.clears} == {EventKind.L1D_FLUSH_LOOP, EventKind.VERW}
    verdict = judge(Promise(Verw.ALWAYS, "always"), VCpuState(), trace)
    assert (verdict.kept, verdict.assumed) == (True, False)


def test_a_vcpu_reaches_no_mmio_unless_it_is_said():
    assert State() == State(mmio=Reach.NONE)
    assert VCpuState() == VCpuState(mmio=Reach.NONE)
    only_mmio = Host(("mmio_stale_data",), ("fb_clear",))
    for era in (MMIO, MOVED, REACH, V4, MERGED):
        assert eras.enter(era, only_mmio).trace.verw == 0
        assert eras.enter(era, only_mmio, VCpuState(Reach.ASSIGNED)).trace.verw == 1


@pytest.mark.parametrize(("rounds", "enters"), [(9_000, True), (11_000, False)])
def test_a_readers_own_code_may_take_20_000_instructions_and_no_more(rounds, enters):
    loop = f"    movl ${rounds}, %ecx\n1:  decl %ecx\n    jnz 1b\n    push_host_registers\n"
    trace = eras.run(mutated(MERGED, ("    push_host_registers\n", loop)), State())
    assert (trace.vm_enter is not None) == enters


@pytest.mark.parametrize("era", ALL, ids=lambda era: era.id)
def test_up_to_v6_18_the_flag_of_the_vcpu_asks_for_a_flush_too(era):
    state = state_for(era, mode="cond")
    machine = eras._machine(era, state.features, state.keys)
    vcpu = eras.structure(Reach.NONE, resume=False, disable_fb_clear=False)
    vcpu = replace(vcpu, flags={**vcpu.flags, eras.OFFSETS["flush_l1d"]: 1})
    trace = machine.run(eras.START, {"rdi": VCPU}, vcpu)
    assert trace.l1d_flushed == (era is not MERGED)


@pytest.mark.parametrize("era", ALL, ids=lambda era: era.id)
def test_a_conditional_flush_takes_its_flag_back(era):
    trace = eras.run(era, state_for(era, mode="cond", flag=True))
    flag = trace.image.symbols.get(eras.FLUSH_FLAG).address + GS_BASE
    assert [a.value for a in trace.accesses if a.address == flag] == [1, 0]


# --- distance ------------------------------------------------------------------------------------------------


# Instructions and accesses between the clear and VM-Enter. In C: register pushes, guest registers, CR2, VMCS. At the
# edge: what chooses between VMLAUNCH and VMRESUME (and in v4 the padding of the longer replacement).
DISTANCES = [
    (MDS, "verw", 46, 31),
    (MMIO, "verw", 49, 32),
    (MMIO, "mmio", 49, 32),
    (MOVED, "verw", 1, 0),
    (MOVED, "mmio", 50, 32),
    (BACKPORT, "verw", 1, 0),
    (REACH, "verw", 1, 0),
    (REACH, "mmio", 50, 32),
    (REJECTED_CURE, "verw", 1, 0),
    (REJECTED_CURE, "mmio", 50, 32),
    (V4, "verw", 2, 0),
    (V4, "mmio", 1, 0),
    (MERGED, "verw", 3, 1),
    (MERGED, "mmio", 2, 1),
]


@pytest.mark.parametrize(("era", "which", "instructions", "accesses"), DISTANCES)
@pytest.mark.parametrize("resume", EITHER)
def test_distance_is_what_stands_between_verw_and_vm_enter(era, which, instructions, accesses, resume):
    trace = eras.run(
        era, state_for(era, **{"mmio_only" if which == "mmio" else which: True}, reach="assigned", resume=resume)
    )
    assert trace.distance == (instructions, accesses)


def test_the_one_access_of_the_merged_form_is_a_run_flag():
    trace = eras.run(MERGED, state_for(MERGED, verw=True, resume=True))
    after = [access for access in trace.accesses if access.step > trace.clears[-1].step]
    assert [(access.owner, access.write, access.value) for access in after] == [("flags", False, 1)]


def test_behind_verw_in_c_host_registers_are_pushed():
    trace = eras.run(MDS, state_for(MDS, verw=True, resume=True))
    after = [access for access in trace.accesses if access.step > trace.clears[-1].step]
    in_use = {HOST_REGISTERS["rbx"]}  # holds the vCPU by then; the caller's value was pushed before
    assert {*HOST_REGISTERS.values()} - in_use <= {access.value for access in after}


# --- from hosts ----------------------------------------------------------------------------------------------

SKYLAKE = Host(("mds", "taa", "l1tf", "mmio_stale_data"), ("rtm", "md_clear", "flush_l1d"))
MMIO_ONLY = Host(("mmio_stale_data",), ("fb_clear", "mds_no"))
MMIO_L1TF = Host(("mmio_stale_data", "l1tf"), ("fb_clear", "mds_no", "flush_l1d"))
CONTROLLED = Host(("mmio_stale_data",), ("fb_clear", "mds_no", "fb_clear_ctrl"))


def kept(host, vcpu=None, which=ERAS):
    return {era: eras.enter(era, host, vcpu).verdict.kept for era in which}


def test_the_flaw_shows_by_default_on_a_host_with_mds_and_l1tf_until_verw_moves():
    assert [era for era, ok in kept(SKYLAKE).items() if not ok] == ["650b68a0622f", "8cb861e9e3c9"]
    assert all(kept(SKYLAKE, VCpuState(flush_pending=True)).values())


@pytest.mark.parametrize("name", [n for n, p in PRESETS.items() if {"mds", "l1tf"} <= set(p.host.bugs)])
def test_every_preset_with_mds_and_l1tf_skips_by_default_in_the_first_two_eras(name):
    assert [era for era, ok in kept(PRESETS[name].host).items() if not ok] == ["650b68a0622f", "8cb861e9e3c9"]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("reach", Reach)
def test_no_preset_skips_from_43fb862de8f6_on(name, reach):
    later = ("43fb862de8f6", "83ebe7157483", "v4", "e6ff1d61de51")
    broken = {era for era, ok in kept(PRESETS[name].host, VCpuState(reach), later).items() if not ok}
    # What is left there is no skip: a vCPU that the era does not take for one that reaches MMIO.
    overlooked = reach is Reach.MAPPED and promise(name).verw is Verw.MMIO
    assert broken == ({"43fb862de8f6"} if overlooked else set())


def promise(name):
    return promise_of(select(PRESETS[name].host, "6.12.117"))


def test_mmio_only_hosts_with_l1tf_skip_up_to_v6_18():
    assigned, mapped = VCpuState(Reach.ASSIGNED), VCpuState(Reach.MAPPED)
    upto = ["8cb861e9e3c9", "43fb862de8f6", "83ebe7157483"]
    assert [era for era, ok in kept(MMIO_L1TF, assigned).items() if not ok] == upto
    assert [era for era, ok in kept(MMIO_L1TF, mapped).items() if not ok] == upto
    assert [era for era, ok in kept(MMIO_ONLY, mapped).items() if not ok] == upto[:2]
    assert all(kept(MMIO_ONLY, assigned).values())
    assert all(kept(MMIO_L1TF).values())


def test_only_v4_and_the_merged_form_run_verw_after_fb_clear_dis_is_set():
    entries = {era: eras.enter(era, CONTROLLED, VCpuState(Reach.ASSIGNED)) for era in ERAS}
    assert [era for era, entry in entries.items() if entry.verdict.neutralised] == ["v4", "e6ff1d61de51"]
    assert all(entry.verdict.kept for entry in entries.values())
    wrote = [
        e for e, x in entries.items() if EventKind.FB_CLEAR_DIS_SET in {event.kind for event in x.trace.events}
    ]
    assert wrote == [*ERAS][2:]


@pytest.mark.parametrize(
    ("host", "vcpu"),
    [
        (CONTROLLED, VCpuState(Reach.ASSIGNED, guest_fb_clear=True)),
        (MMIO_ONLY, VCpuState(Reach.ASSIGNED)),
        (replace(CONTROLLED, bugs=("mmio_stale_data", "taa")), VCpuState(Reach.ASSIGNED)),
        (replace(CONTROLLED, bugs=("mmio_stale_data", "mds")), VCpuState(Reach.ASSIGNED)),
        (Host(("rfds",), ("rfds_clear", "fb_clear_ctrl")), VCpuState(Reach.ASSIGNED)),  # CLEAR_CPU_BUF is on
    ],
)
def test_fb_clear_dis_is_left_alone_where_kvm_has_no_reason_to_set_it(host, vcpu):
    assert not eras.enter("e6ff1d61de51", host, vcpu).state.disable_fb_clear


@pytest.mark.parametrize(
    ("host", "era", "text"),
    [
        (Host(), "v4", "nothing"),
        (SKYLAKE, "before-mds", "every VM-Enter whose flush flag is set flushes the L1D"),
        (
            MMIO_ONLY,
            "v4",
            "every VM-Enter of a vCPU that can reach host MMIO clears CPU buffers, by VERW or an L1D flush",
        ),
        (MMIO_ONLY, "650b68a0622f", "nothing"),
    ],
)
def test_the_promise_says_what_the_era_asks_for(host, era, text):
    assert eras.enter(era, host).verdict.promise == text


def test_an_entry_says_all_of_it_as_text():
    text = to_text(eras.enter("e6ff1d61de51", CONTROLLED, VCpuState(Reach.MAPPED, resume=True)))
    for part in (
        "selection of kernel 7.3.4",
        "mmio  Mitigation: Clear CPU buffers",
        "FB_CLEAR_DIS set",
        "VERW, while FB_CLEAR_DIS is set",
        "VM-Enter by VMRESUME",
        "Verdict: kept: a clear owed here; VERW ran",
        "neutralised: ",
        "2 instructions and 1 memory access between",
    ):
        assert part in text


@pytest.mark.parametrize("era", ALL, ids=lambda era: era.id)
def test_at_vm_enter_the_registers_are_the_guests(era):
    found = eras.registers(era, State(resume=True))
    names = ("rax", "rcx", "rdx", "rbx", None, "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
    assert {name: found[name] - eras.GUEST for name in names if name} == {n: i for i, n in enumerate(names) if n}


@pytest.mark.parametrize(
    ("keys", "pending", "due"),
    [
        ((), True, False),
        (("vmx_l1d_flush_cond",), True, False),
        (("vmx_l1d_should_flush",), False, True),
        (("vmx_l1d_should_flush", "vmx_l1d_flush_cond"), False, False),
        (("vmx_l1d_should_flush", "vmx_l1d_flush_cond"), True, True),
    ],
)
def test_a_flush_is_due_by_keys_and_flag(keys, pending, due):
    assert eras.State(keys=frozenset(keys), flush_pending=pending).flush_due is due
