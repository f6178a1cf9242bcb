"""Processors: every fact has a source, and the telling ones select what the course says they do."""

from dataclasses import replace

import pytest

from vmenter.boot.generations import GENERATIONS
from vmenter.boot.processors import PRESETS
from vmenter.boot.selection import select


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_fact_has_a_source(preset):
    present = {fact for fact, source in preset.sources if not source.startswith("absent")}
    assert present == {*preset.host.bugs, *preset.host.facts}
    assert all(source.removeprefix("absent: ") for _, source in preset.sources)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_processor_has_the_facts_its_bugs_allow(preset):
    bugs, host = preset.host.bugs, preset.host
    assert not ("mds" in bugs and host.has("mds_no"))
    assert "taa" not in bugs or host.has("rtm") or host.has("tsx_ctrl_msr")
    assert not ("rfds" in bugs and host.smt)


@pytest.mark.parametrize("kernel", GENERATIONS)
def test_no_processor_has_l1tf_and_clears_for_mmio_guests_only(kernel):
    # On the list it is said that no CPU is affected by L1TF and by MMIO Stale Data alone.
    gen = GENERATIONS[kernel]
    for preset in PRESETS.values():
        got = select(preset.host, kernel)
        only = {*gen.mmio_only_features, *gen.mmio_only_keys} & {*got.features, *got.keys}
        assert not (only and "l1tf" in preset.host.bugs)


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("broadwell-server", {"CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM", "L1TF_PTEINV"}),
        ("cascade-lake-tsx", {"CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM"}),
        ("cascade-lake-no-tsx", {"CLEAR_CPU_BUF_VM_MMIO"}),
        ("ice-lake-server", {"CLEAR_CPU_BUF_VM_MMIO"}),
        ("sapphire-rapids", set()),
        ("goldmont-server", {"CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM"}),
        ("goldmont-server-old-microcode", set()),
    ],
)
def test_the_merged_form_selects_by_processor(name, features):
    assert set(select(PRESETS[name].host, "7.3.4").features) == features


def test_a_log_of_a_real_skylake_says_what_selection_says():
    # The log this preset cites names the three with just these words.
    got = select(PRESETS["skylake-server"].host, "6.1.192").sysfs
    assert {got.mds, got.taa, got.mmio} == {"Mitigation: Clear CPU buffers"}


def test_switching_tsx_off_leaves_cascade_lake_with_mmio_only():
    host = replace(PRESETS["cascade-lake-tsx"].host, cmdline="tsx=off")
    assert select(host, "7.3.4") == select(PRESETS["cascade-lake-no-tsx"].host, "7.3.4")
