"""The audit: its arithmetic against configurations done one by one, and what it finds in each era."""

import shlex
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import product
from random import Random

import pytest
from era_states import mutated

from vmenter import LabError, cli
from vmenter.boot.generations import GENERATIONS
from vmenter.boot.host import BUGS, FACTS, Host
from vmenter.boot.options import read_options
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select
from vmenter.story import audit as audit_
from vmenter.story import eras
from vmenter.story.audit import audit, audits, outcomes
from vmenter.story.history import BACKPORT, ERAS, FORMS
from vmenter.story.promise import Reach, VCpuState, Verw, promise_of
from vmenter.story.replay import replay
from vmenter.story.space import DEFAULT, FULL, SPACES, Part, machine_of

ALL = [*FORMS.values()]
BEFORE, MDS, MMIO, MOVED, REACH, V4, MERGED = ERAS.values()
KERNELS = sorted({era.kernel for era in ALL})
each_era = pytest.mark.parametrize("era", ALL, ids=lambda era: era.id)
each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@cache
def full_audit(era):
    return audit(era, FULL)


# --- the space ------------------------------------------------------------------------------------------------


@each_space
def test_every_bug_fact_and_vcpu_field_that_matters_is_a_dimension(space):
    names = [dimension.name for dimension in space.dimensions]
    assert len(names) == len(set(names))
    assert set(BUGS) - {"mmio_unknown", "msbds_only"} <= set(names)
    assert set(FACTS) <= set(names)
    values = [value for dimension in space.dimensions for value in dimension.values]
    told = {field for value in values for field, _ in value.vcpu}
    assert told == set(VCpuState.__dataclass_fields__) - {"host_rsp_changed", "cr2_changed"}
    assert any("msbds_only" in value.bugs for value in values)


def test_the_number_of_configurations_is_the_product_of_the_dimensions():
    assert FULL.configurations == 7_610_145_177_600
    assert DEFAULT.configurations == 1_358_954_496
    small = DEFAULT
    for name in list(DEFAULT.counts)[3:]:
        dimension = next(d for d in small.dimensions if d.name == name)
        small = small.where(name, dimension.values[0].label)
    assert small.configurations == 12
    assert len({small.configuration(number) for number in range(12)}) == 12


@each_space
def test_the_default_machine_is_that_of_the_issue(space):
    host, vcpu = space.machine(())
    facts = ("fb_clear", "flush_l1d", "md_clear", "rfds_clear", "tsx_ctrl_msr")
    assert (host, vcpu) == (Host(facts=facts), VCpuState())
    assert all(d.values[0].settings == 0 for d in space.dimensions)
    assert all(value.settings > 0 for d in space.dimensions for value in d.values[1:])


@each_space
def test_every_word_of_an_option_changes_what_some_kernel_reads(space):
    host = Host(BUGS, ("tsx_ctrl_msr",))
    for dimension in space.dimensions:
        for value in dimension.values:
            if value.option:
                said = [read_options(replace(host, cmdline=value.option), g)[1] for g in GENERATIONS.values()]
                assert any(link.outcome != "no effect" for links in said for link in links), value


def test_hosts_with_and_without_the_flush_microcode_are_in_both_spaces():
    for space in SPACES.values():
        assert [value.label for value in next(d for d in space.dimensions if d.name == "flush_l1d").values] == [
            "present",
            "absent",
        ]


@each_era
def test_host_rsp_and_cr2_change_no_verdict_of_the_labs_code_and_so_are_no_dimensions(era):
    with_msr = DEFAULT.where("flush_l1d", "present")  # a flush by reading is the same before both
    for state, promise in audit_.reached(era, with_msr):
        assert state.variants == (state, replace(state, host_rsp_changed=False, cr2_changed=False))
        both = [set(audit_._faults(promise, state, eras.run(era, one))) for one in state.variants]
        assert both[0] == both[1]


def test_code_that_is_wrong_only_where_rsp_did_not_change_is_found_in_every_configuration():
    """ZF is 0 behind the VMWRITE, and 1 where the compare found RSP unchanged."""
    wrong = mutated(MERGED, ("    call vmx_update_host_rsp\n", "    call vmx_update_host_rsp\n    jz .Lvmfail\n"))
    assert audit(wrong).failed.count == DEFAULT.configurations
    state = next(iter(audit_.reached(MERGED)))[0]
    assert eras.run(wrong, state).vm_enter
    assert eras.run(wrong, state.variants[1]).vm_enter is None


def test_for_rfds_a_flush_stands_in_for_no_verw():
    """As nothing says that it clears register files: reg-file-data-sampling.rst names VERW alone."""
    flush_else_verw = mutated(
        MERGED,
        (
            "    call vmx_l1d_flush\n    enter_exit_end\n",
            "    call vmx_l1d_flush\n    orl $0x80, %ebp\n    enter_exit_end\n",
        ),
        (
            ", clear_cpu_buffers, X86_FEATURE_CLEAR_CPU_BUF_VM\n",
            ', "testb $0x80, 8(%rsp)\n jnz .Lskip_it\n clear_cpu_buffers\n.Lskip_it:", X86_FEATURE_CLEAR_CPU_BUF_VM\n',
        ),
    )
    always = DEFAULT.where("l1tf", "yes").where("kvm-intel.vmentry_l1d_flush=", "always")
    always = always.where("EPT", "on").where("skip_vmentry_l1dflush", "absent")  # so each VM-Enter flushes
    for bug, broken in (("mds", False), ("rfds", True)):
        host = Host((bug, "l1tf"), ("md_clear", "rfds_clear", "flush_l1d"), "kvm-intel.vmentry_l1d_flush=always")
        verdict = eras.enter(flush_else_verw, host).verdict
        assert (verdict.kept, verdict.verw, verdict.l1d_flushed) == (not broken, 0, True)
        assert ("for RFDS an L1D flush does not count" in verdict.promise) == broken
    assert verdict.reason == "VERW and an L1D flush owed here; the L1D was flushed"
    shared = audit(flush_else_verw, always).broken.shared
    assert {name: shared[name] for name in ("rfds", "rfds_clear")} == {
        "rfds": ("yes",),
        "rfds_clear": ("present",),
    }


def test_a_space_can_be_narrowed_and_says_what_it_has_when_it_cannot():
    assert FULL.where("mds", "no").configurations * 3 == FULL.configurations
    with pytest.raises(LabError, match="no dimension 'mdd'; there are: mds, taa"):
        FULL.where("mdd", "no")
    with pytest.raises(LabError, match="mds: no such value among perhaps; it has: no, yes, msbds_only"):
        FULL.where("mds", "perhaps")


# --- the arithmetic, against doing each one in full ----------------------------------------------------------------


def in_full(space, era, values):
    """Do one configuration with nothing left out: the whole host, the whole selection, one VM-Enter."""
    host, vcpu = machine_of(d.values[value] for d, value in zip(space.dimensions, values, strict=True))
    verdict = eras.enter(era, host, vcpu).verdict
    return not verdict.kept, verdict.neutralised


@cache
def verdict_by_outcome(era):
    """Return the audit's verdict for each outcome, from the one configuration that speaks for it."""
    found = {}
    for outcome, tally in outcomes(FULL, era.kernel).items():
        verdict = eras.enter(era, *FULL.machine(tally.smallest)).verdict
        found[outcome] = not verdict.kept, verdict.neutralised
    return found


def outcome_of(space, kernel, values):
    """Return the outcome that one configuration (as `Space.configuration` gives it) is counted under."""
    generation, found = GENERATIONS[kernel], []
    chosen = [d.values[value] for d, value in zip(space.dimensions, values, strict=True)]
    for part, outcome in audit_._OUTCOME.items():
        readers = (part,) if part is Part.VCPU else (part, Part.SHARED)
        read = (value for d, value in zip(space.dimensions, chosen, strict=True) if d.part in readers)
        host, vcpu = machine_of(read)
        found.append(outcome(host, read_options(host, generation)[0], generation, vcpu))
    return (found[0], found[1]), found[2]


SAMPLES = 2300  # for each of nine ways to VM-Enter


@each_era
def test_on_random_configurations_the_audit_and_doing_each_in_full_agree(era, monkeypatch):
    monkeypatch.setattr(eras, "run", cache(eras.run))
    random, seen = Random(era.id), Counter()
    # Half of them uniform, half where clears are asked for and left out: bugs there, options mostly not.
    telling = FULL.where("l1tf", "yes").where("skip_vmentry_l1dflush", "absent").where("EPT", "on")
    mds = "yes" if era in (MDS, MMIO) else "no"
    telling = telling.where("mds", mds).where("mmio_stale_data", "yes").where("fb_clear_ctrl", "present")
    for number in range(SAMPLES):
        space = telling if number % 2 else FULL
        values = space.configuration(random.randrange(space.configurations))
        verdict = in_full(space, era, values)
        assert verdict == verdict_by_outcome(era)[outcome_of(space, era.kernel, values)], values
        seen[verdict] += 1
    assert sum(seen.values()) == SAMPLES
    assert SAMPLES * len(ALL) >= 20_000
    assert (seen[True, False] > 20) == (full_audit(era).broken is not None)
    assert (seen[False, True] > 20) == (full_audit(era).neutralised is not None)


def narrowed(random, size):
    """Return a part of the full space with about so many configurations, every dimension cut at random."""
    space = FULL
    while space.configurations > size:
        dimension = random.choice([d for d in space.dimensions if len(d.values) > 1])
        labels = [value.label for value in dimension.values]
        space = space.where(dimension.name, *random.sample(labels, random.randint(1, len(labels) - 1)))
    return space


@each_era
def test_every_count_distance_and_shared_dimension_is_that_of_brute_force(era):
    random = Random(7)
    for _ in range(6):
        space = narrowed(random, 400)
        found = audit(era, space)
        broken, neutralised = [], []
        for values in product(*(range(len(d.values)) for d in space.dimensions)):
            is_broken, is_neutralised = in_full(space, era, values)
            broken += [values] * is_broken
            neutralised += [values] * is_neutralised
        for finding, each in ((found.broken, broken), (found.neutralised, neutralised)):
            assert (finding.count if finding else 0) == len(each)
            if finding:
                settings = [
                    sum(d.values[v].settings for d, v in zip(space.dimensions, values, strict=True))
                    for values in each
                ]
                assert finding.tally.settings == min(settings)
                assert finding.tally.seen == {at for values in each for at in enumerate(values)}


@pytest.mark.parametrize("kernel", KERNELS)
@each_space
def test_the_counts_of_all_outcomes_add_up_to_the_space(space, kernel):
    assert sum(tally.number for tally in outcomes(space, kernel).values()) == space.configurations


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_only_told_never_changes_what_vm_enter_sees(kernel):
    """Every combination of these, with any bugs, RTM and RFDS_CLEAR, no options; with options it is sampled."""
    told = [d for _, d in FULL.of(Part.TOLD)]
    bugs = [d for d in FULL.dimensions if d.values[-1].bugs] + [
        d for d in FULL.dimensions if d.name in ("rtm", "rfds_clear")
    ]
    for values in product(*(d.values for d in bugs)):
        seen = set()
        for more in product(*(d.values for d in told)):
            host, _ = machine_of((*values, *more))
            found = select(host, kernel)
            idle = GENERATIONS[kernel].idle_key
            seen.add((found.features, tuple(k for k in found.keys if k != idle), found.kvm_keys, found.l1d_flush))
        assert len(seen) == 1, values


# --- findings --------------------------------------------------------------------------------------------------

# Derived by hand from the story. What all broken configurations of an era have in common, and the smallest.
NOT_OFF = {"EPT": ("on",), "l1tf": ("yes",), "skip_vmentry_l1dflush": ("absent",), "flush pending": ("no",)}
MMIO_ONLY = {"mds": ("no",), "mmio_stale_data": ("yes",), "reaches host MMIO": ("assigned", "mapped")}
SMALLEST = {
    MDS: {"mds": "yes", "l1tf": "yes"},
    MMIO: {"mds": "yes", "l1tf": "yes"},
    MOVED: {"mmio_stale_data": "yes", "reaches host MMIO": "mapped"},
    BACKPORT: {"mmio_stale_data": "yes", "reaches host MMIO": "mapped"},
    REACH: {"mmio_stale_data": "yes", "l1tf": "yes", "reaches host MMIO": "assigned"},
}
SHARED = {MDS: NOT_OFF, MMIO: {}, MOVED: MMIO_ONLY, BACKPORT: MMIO_ONLY, REACH: NOT_OFF | MMIO_ONLY}


@each_era
@each_space
def test_an_era_breaks_its_promise_where_it_is_known_to_and_nowhere_else(space, era):
    found = full_audit(era) if space is FULL else audit(era, space)
    assert found.failed is None
    assert (found.broken.settings if found.broken else None) == SMALLEST.get(era)
    if found.broken:
        assert found.broken.shared.items() >= SHARED[era].items()
        assert found.broken.tally.settings == len(SMALLEST[era])


def expected(era, promise, vcpu):
    """Say in the issue's words whether an era breaks this promise for this vCPU."""
    cond_clear = promise.l1d_flush == "cond" and not vcpu.flush_pending
    flushes = promise.l1d_flush == "always" or (promise.l1d_flush == "cond" and vcpu.flush_pending)
    skipped = promise.verw is Verw.ALWAYS and cond_clear
    mmio_only = promise.verw is Verw.MMIO
    assigned_skipped = mmio_only and vcpu.mmio is Reach.ASSIGNED and cond_clear
    mapped_missed = mmio_only and vcpu.mmio is Reach.MAPPED and not flushes
    return {
        MDS: skipped,
        MMIO: skipped or assigned_skipped or mapped_missed,
        MOVED: assigned_skipped or mapped_missed,
        BACKPORT: assigned_skipped or mapped_missed,
        REACH: mmio_only and vcpu.mmio is not Reach.NONE and cond_clear,
    }.get(era, False)


@each_era
def test_the_broken_are_as_many_as_the_expected_findings_count(era):
    count = 0
    for tally in outcomes(FULL, era.kernel).values():
        host, vcpu = FULL.machine(tally.smallest)
        count += tally.number * expected(era, promise_of(select(host, era.kernel)), vcpu)
    found = full_audit(era).broken
    assert count == (found.count if found else 0)


def test_only_v4_and_the_merged_form_run_a_neutralised_verw_and_only_on_mmio_only_hosts():
    assert [era for era in ALL if full_audit(era).neutralised] == [V4, MERGED]
    for era in (V4, MERGED):
        found = full_audit(era).neutralised
        assert found.count == 64_298_680_320
        assert found.shared.items() >= (MMIO_ONLY | {"taa": ("no",), "guest has FB_CLEAR": ("no",)}).items()
        assert found.settings == {
            "mmio_stale_data": "yes",
            "fb_clear_ctrl": "present",
            "reaches host MMIO": "assigned",
        }


def test_in_the_first_two_eras_every_preset_with_mds_and_l1tf_skips_by_default_and_later_none():
    def broken(era):
        return {
            n for n, p in PRESETS.items() if not eras.enter(era, p.host, VCpuState(Reach.ASSIGNED)).verdict.kept
        }

    both = {name for name, preset in PRESETS.items() if {"mds", "l1tf"} <= set(preset.host.bugs)}
    assert both
    assert [broken(era) for era in ERAS] == [set(), both, both, set(), set(), set(), set()]


def test_each_smallest_counterexample_replays_on_the_command_line_with_exit_status_1(capsys):
    lines = [found.replay for era in ALL if (found := full_audit(era)).broken]
    assert len(lines) == len(SMALLEST)
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "vmenter"
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments)
        assert stop.value.code == 1
        assert "BROKEN" in capsys.readouterr().out


def test_a_replay_gives_every_setting_of_a_machine():
    host = Host(("mds",), ("rtm",), "mds=full,nosmt", ept=False)
    line = replay(MDS, host, VCpuState(Reach.MAPPED, flush_pending=True, resume=True, guest_fb_clear=True))
    assert line == (
        "vmenter enter --era 650b68a0622f --bugs mds --microcode rtm --cmdline 'mds=full,nosmt kvm-intel.ept=0' "
        "--mmio mapped --flush-pending --resume --guest-fb-clear"
    )


# --- any code ----------------------------------------------------------------------------------------------------


def test_code_that_never_clears_for_mmio_is_found_by_its_smallest_counterexample():
    found = audit(
        mutated(MERGED, ("    jz .Lskip_verw\n    clear_cpu_buffers\n", "    jz .Lskip_verw\n    nop\n"))
    )
    assert found.broken.settings == {"mmio_stale_data": "yes", "reaches host MMIO": "assigned"}
    assert audit(MERGED).broken is None


def test_code_that_enters_by_the_wrong_instruction_fails_but_breaks_no_promise():
    found = audit(mutated(MERGED, ("    vmresume\n", "    vmlaunch\n")))
    assert found.broken is None
    assert found.failed.settings == {"entered before": "yes"}
    assert found.failed.count * 2 == DEFAULT.configurations


def test_code_that_never_enters_a_guest_fails_in_every_configuration():
    found = audit(mutated(BEFORE, ("\nfunction vmx_vcpu_run\n", "\nfunction vmx_vcpu_run\n    ud2\n")))
    assert found.failed.count == DEFAULT.configurations
    assert found.failed.settings == {}
    assert found.broken is None


# --- progress ----------------------------------------------------------------------------------------------------


def test_an_interrupted_audit_keeps_what_it_has_and_goes_on_later():
    told = []

    def progress(what, done, total):
        told.append((what, done, total))
        if what.startswith("8cb861e9e3c9"):
            raise KeyboardInterrupt

    done = []
    with pytest.raises(KeyboardInterrupt):
        done.extend(found for found in audits(progress=progress) if done.append(found))
    assert [found.era for found in done] == [BEFORE, MDS]
    assert all(0 <= at < of for _, at, of in told)
    assert {what for what, _, _ in told} >= {"selection of kernel 5.0", "before-mds: machine states"}
    assert [found.era for found in audits([MMIO, MOVED])] == [MMIO, MOVED]
