"""VM-Enters of booted kernels, recorded, held against the lab: order, verdict, distance, and what the boot said."""

import copy
import gzip
import json
from collections import Counter, defaultdict
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pytest
from tools import record_booted

from vmenter import LabError
from vmenter.emulator.trace import EventKind
from vmenter.kernels.booted import read
from vmenter.kernels.booted_match import BUG_OF_FILE, compare, situation
from vmenter.kernels.booted_record import RECORD, booted_enter, booted_enters
from vmenter.story import eras, history
from vmenter.story.history import SVM
from vmenter.story.promise import Reach, VCpuState
from vmenter.views.entry.widget import EntryExplorer

DATA = Path(__file__).parents[1] / "data" / "booted"
# recording: era of the code, VM-Enters, those owed a clear that got none
RECORDINGS = {
    "bochs-v2": ("e6ff1d61de51", 12, 0),
    "bochs-v8": ("43fb862de8f6", 9, 0),
    "bochs-v10": ("e6ff1d61de51", 9, 0),
    "bochs-v11": ("43fb862de8f6", 8, 0),
    "bochs-v12": ("43fb862de8f6", 30, 6),
    "bochs-v13": ("e6ff1d61de51", 57, 0),
    "bochs-v15": ("650b68a0622f", 30, 7),
    "svm-7.3.4-Milan-tsa": (SVM.id, 4, 0),
}
each = pytest.mark.parametrize("name", RECORDINGS)


@cache
def raw(name):
    return json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))


@cache
def compared(name):
    recording = read(DATA / f"{name}.json.gz")
    return recording, compare(recording)


def test_every_recording_is_here():
    assert {path.name for path in DATA.iterdir()} == {f"{name}.json.gz" for name in RECORDINGS}


# --- what is read ------------------------------------------------------------------------------------------------


@each
def test_what_is_read_is_what_the_recorder_itself_noted(name):
    recording, _ = compared(name)
    for one, noted in zip(recording.enters, raw(name).get("enters", ()), strict=bool("enters" in raw(name))):
        assert len(one.instructions) == noted["steps"] + 1
        assert (one.vm_enter, one.where(noted["steps"])) == (noted["enter"], noted["at"])
        verws = [one.where(event.step) for event in one.events if event.kind is EventKind.VERW]
        assert verws == [verw["at"] for verw in noted["verw"]]
        assert [one.where(step) for step, *_ in one.msrs] == [wrmsr[2] for wrmsr in noted["wrmsr"]]
        assert one.l1d_flushed == bool(noted["l1d_flush_msr"] or noted.get("l1d_flush_loop"))
        if "instructions_after_clear" in noted:
            assert one.distance == (noted["instructions_after_clear"], noted["accesses_after_clear"])
            assert one.cleared_in_stub == (noted["verw"][-1]["where"] == "stub")
        if noted["run"]:
            assert one.guest == noted["run"][2]
        assert sum(ran for _, ran, _ in one.path) == len(one.instructions)


# --- held against the lab ----------------------------------------------------------------------------------------


@each
def test_the_order_of_flush_fb_clear_dis_verw_and_vm_enter_is_the_labs(name):
    _, found = compared(name)
    era, enters, _ = RECORDINGS[name]
    assert len(found) == enters
    assert {one.entry.era.id if isinstance(one.entry, eras.Entry) else SVM.id for one in found} == {era}
    assert [(one.order, one.agree) for one in found] == [(one.lab_order, True) for one in found]


def owed_and_uncleared(one):
    """Tell whether this VM-Enter was owed a clear and the booted kernel ran none that counts."""
    promise = one.entry.promise
    vcpu = one.entry.vcpu if isinstance(one.entry, eras.Entry) else VCpuState()
    cleared = one.recorded.verw > 0 if promise.verw_alone else bool(one.recorded.clears)
    return promise.owes_clear(vcpu) and not cleared


@each
def test_broken_is_exactly_where_a_clear_was_owed_and_nothing_ran(name):
    _, found = compared(name)
    assert [one.entry.verdict.kept for one in found] == [not owed_and_uncleared(one) for one in found]
    assert sum(not one.entry.verdict.kept for one in found) == RECORDINGS[name][2]


@each
def test_the_lab_selects_what_the_booted_kernel_said_it_did(name):
    recording, found = compared(name)
    for one in found:
        if not isinstance(one.entry, eras.Entry):
            assert one.entry.selection.sysfs == recording.line("tsa")
            continue
        said = dict(zip(BUG_OF_FILE, ("mds", "taa", "mmio", "rfds", "l1tf"), strict=True))
        lines = asdict(one.entry.selection.lines)
        if one.recorded.l1d == found[0].recorded.l1d:  # the lines were read while that mode was on
            known = [(file, text) for file, text in recording.lines if lines.get(said.get(file)) is not None]
            assert len(known) >= 2
            assert [(file, lines[said[file]]) for file, _ in known] == known
        assert one.entry.selection.l1d_flush == one.recorded.l1d


@each
def test_the_distance_is_the_labs_where_the_stub_clears(name):
    _, found = compared(name)
    for one in found:
        if one.recorded.cleared_in_stub:
            real, lab = one.distances
            assert real.instructions == lab.instructions
            assert one.recorded.accesses is None or real.accesses == lab.accesses


MORE = {  # instructions and accesses that a kernel's own way has more, where C clears: ENDBR's NOPs, loaded_vmcs, …
    "bochs-v11": {(4, 1), (5, 1)},
    "bochs-v12": {(4, 1)},
    "bochs-v13": {(1, 0)},
    "bochs-v15": {(1, 2), (2, 2)},
}
CHECK = 2  # instructions that check VMWRITE's outcome, which the lab leaves out


@each
def test_where_c_clears_the_lab_falls_short_by_what_it_leaves_out_and_by_nothing_else(name):
    _, found = compared(name)
    short = set()
    for one in found:
        if one.distances and not one.recorded.cleared_in_stub:
            real, lab = one.distances
            check = CHECK * one.entry.vcpu.host_rsp_changed
            short.add((real.instructions - lab.instructions - check, real.accesses - lab.accesses))
    assert short == MORE.get(name, set())


def test_all_recordings_together(report):
    every = [one for name in RECORDINGS for one in compared(name)[1]]
    by_c = [one for one in every if one.distances and not one.recorded.cleared_in_stub]
    in_stub = sum(one.recorded.cleared_in_stub for one in every)
    broken = sum(not one.entry.verdict.kept for one in every)
    assert (len(every), sum(one.agree for one in every), broken, in_stub) == (159, 159, 13, 49)
    spread = defaultdict(list)
    for one in by_c:
        for who, distance in zip(("real", "lab"), one.distances, strict=True):
            spread[who].append(distance)
    apart = [(real.instructions - lab.instructions, real.accesses - lab.accesses) for real, lab in
             (one.distances for one in by_c)]  # fmt: skip
    assert all(0 <= instructions <= 7 and 0 <= accesses <= 2 for instructions, accesses in apart)
    said = {
        who: tuple(f"{min(row)} to {max(row)}" for row in zip(*distances, strict=True))
        for who, distances in spread.items()
    }
    report(
        f"booted kernels: {len(every)} VM-Enters of {len(RECORDINGS)} boots, the lab's order in all; BROKEN in {broken}; "
        f"distance equal in the {in_stub} that the stub clears; C clears in {len(by_c)}: instructions recorded "
        f"{said['real'][0]}, the lab's {said['lab'][0]}; accesses {said['real'][1]} and {said['lab'][1]}"
    )


def test_guests_without_fb_clear_get_fb_clear_dis_and_others_do_not():
    for name in ("bochs-v10", "bochs-v11"):
        _, found = compared(name)
        assert {(one.entry.vcpu.guest_fb_clear, "fb_clear_dis_set" in one.order) for one in found} <= {
            (False, True),
            (True, False),
        }
    _, found = compared("bochs-v11")
    assert Counter(one.entry.vcpu.guest_fb_clear for one in found) == {True: 4, False: 4}


def test_rsp_and_cr2_are_unchanged_in_most():
    states = Counter(
        (one.entry.vcpu.host_rsp_changed, one.entry.vcpu.cr2_changed)
        for name in RECORDINGS
        for one in compared(name)[1]
        if isinstance(one.entry, eras.Entry)
    )
    assert states[False, False] > sum(states.values()) / 2
    assert states[True, True] > 10


# --- where it must not agree, and what is not told ---------------------------------------------------------------


def without(name, index, kind, code=None):
    """Return a recording with one row less in one VM-Enter: a WRMSR, or the instruction with this code."""
    data = copy.deepcopy(raw(name))
    rows = data["enters"][index]["trace"]
    at = next(at for at, row in enumerate(rows) if row[0] == kind and (code is None or row[2].startswith(code)))
    del rows[at]
    return data


@pytest.mark.parametrize(
    ("name", "index", "kind", "code"),
    [("bochs-v2", 1, "I", "0f00"), ("bochs-v13", 2, "I", "0f00"), ("bochs-v10", 6, "M", None)],
    ids=["VERW for all", "VERW for MMIO", "FB_CLEAR_DIS"],
)
def test_a_recording_in_which_something_is_missing_does_not_agree(name, index, kind, code):
    recording = read(without(name, index, kind, code))
    assert [one.recorded for one in compare(recording) if not one.agree] == [recording.enters[index]]


@pytest.mark.parametrize("code", ["0f00e8", "0f00250000", "90"], ids=["VERW of AX", "VERR", "NOP"])
def test_a_recording_in_which_something_else_stands_for_verw_does_not_agree(code):
    data = copy.deepcopy(raw("bochs-v13"))
    rows = data["enters"][2]["trace"]
    row = next(row for row in rows if row[0] == "I" and row[2].startswith("0f00"))
    row[2] = (code + row[2][len(code) :]) if code.startswith("0f0025") else code
    recording = read(data)
    assert [one.recorded for one in compare(recording) if not one.agree] == [recording.enters[2]]


def test_an_era_that_is_not_the_kernels_does_not_agree():
    recording, _ = compared("bochs-v12")
    assert sum(not one.agree for one in compare(recording, era=history.era("e6ff1d61de51"))) > 0


def test_a_device_passed_through_is_not_told_where_kvm_never_asked():
    recording, _ = compared("bochs-v12")
    only_cond = replace(recording, enters=tuple(one for one in recording.enters if one.l1d == "cond"))
    with pytest.raises(LabError, match="assigned=True or assigned=False"):
        compare(only_cond)
    assert sum(not one.entry.verdict.kept for one in compare(only_cond, assigned=True)) == 6
    assert all(one.entry.verdict.kept for one in compare(only_cond, assigned=False))
    assert {situation(only_cond, one, assigned=True)[2].mmio for one in only_cond.enters} == {Reach.ASSIGNED}


@pytest.mark.parametrize(
    ("name", "as_recorded"),
    [
        ("bochs-v11", {Reach.ASSIGNED}),  # 6.12: its VERW in C tells
        ("bochs-v13", {Reach.NONE, Reach.MAPPED}),  # 7.3.4 asks for MMIO itself, and the guest maps it
        ("bochs-v2", {Reach.NONE}),  # VERW is selected for all: reach decides nothing
    ],
)
def test_how_a_guest_reaches_mmio_is_told_where_it_decides(name, as_recorded):
    recording, _ = compared(name)
    assert {situation(recording, one)[2].mmio for one in recording.enters} == as_recorded
    told = {situation(recording, one, assigned=True)[2].mmio for one in recording.enters}
    assert told == ({Reach.NONE} if name == "bochs-v2" else {Reach.ASSIGNED})


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("enters"),
        lambda data: data.update(enters=[]),
        lambda data: data["enters"][0]["trace"].pop(),
        lambda data: data["enters"][0]["trace"].insert(0, ["I", "zz", "90"]),
        lambda data: data["enters"][0]["trace"].insert(0, ["I"]),
        lambda data: data.update(info=7),
        lambda data: data.pop("cpu"),
        lambda data: data["enters"][0].update(symbols=[]),
    ],
    ids=range(8),
)
def test_what_is_no_recording_is_one_clear_error(change):
    data = copy.deepcopy(raw("bochs-v8"))
    change(data)
    with pytest.raises(LabError, match="recording: not a recorded VM-Enter of a known form"):
        read(data)


def test_a_file_that_is_no_json_is_one_clear_error(tmp_path):
    for content in (b"", b"\x1f\x8bno", b"no JSON", gzip.compress(b"[")[:-4]):
        (tmp_path / "some.gz").write_bytes(content)
        with pytest.raises(LabError, match=r"some\.gz: cannot be read as JSON"):
            read(tmp_path / "some.gz")


# --- what the explorer shows -------------------------------------------------------------------------------------


def test_what_is_kept_is_what_the_recordings_say_and_small():
    assert RECORD.read_text(encoding="utf-8") == record_booted.text()
    assert RECORD.stat().st_size < 60_000


@pytest.mark.parametrize("name", booted_enters())
def test_each_that_is_kept_stands_beside_the_same_in_the_lab(name):
    one = booted_enter(name)
    kinds = [[happened.kind for happened in way.happened] for way in (one.way, one.lab)]
    assert kinds[0] == kinds[1]
    assert one.promise_kept == one.entry.verdict.kept == ("flaw" not in name)
    assert one.lab.distance == (one.entry.trace.distance and tuple(one.entry.trace.distance))
    for words in (
        one.kernel,
        one.cpu,
        "Bochs 3.0",
        one.forced or "nothing",
        "Way by function",
        "Distance: recorded",
    ):
        assert words in one.text


def test_the_flaws_are_the_same_as_counted_in_their_guests():
    for name, nothing in (("5.10.46, 2019's flaw", 7), ("6.12.117, MMIO's flaw", 6)):
        assert Counter(booted_enter(name).guest)["\u2205"] == nothing
        assert len(booted_enter(name).guest) == 10
    assert "forced         the emulator lets kvm_arch_has_assigned_device" in booted_enter(
        "6.12.117, MMIO's flaw"
    ).text.replace("forced                 ", "forced         ")


def test_the_explorer_opens_on_a_recorded_vm_enter_and_shows_it_below():
    shown = EntryExplorer(recorded="7.3.4, FB_CLEAR_DIS, then VERW")
    one = booted_enter("7.3.4, FB_CLEAR_DIS, then VERW")
    assert shown.text.endswith(one.text)
    assert shown.frame["era"] == one.era == "e6ff1d61de51"
    assert shown.frame["sides"][0]["verdict"]["neutralised"]
    assert "host RSP unchanged" in shown.text
    html = shown.frame["recorded"]["html"]
    assert html.count("VERW, while FB_CLEAR_DIS is set") == 2  # recorded, and the lab's
    for tag in ("div", "table", "ol", "dl", "header"):
        assert html.count(f"<{tag}") == html.count(f"</{tag}>")
    assert EntryExplorer().frame["recorded"] is None


def test_a_name_that_is_not_kept_is_one_clear_error():
    with pytest.raises(LabError, match=r"recorded: unknown name '5\.10'; use one of: 5\.10\.46, 2019's flaw; "):
        EntryExplorer(recorded="5.10")
