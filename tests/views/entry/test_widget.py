import json
import re

import pytest

from vmenter import LabError
from vmenter.boot.host import Host
from vmenter.boot.processors import PRESETS
from vmenter.story.eras import enter
from vmenter.story.history import ERAS, FORMS
from vmenter.views.entry.frame import CONTROLS, SHOW, drawings, frame, sent
from vmenter.views.entry.panels import flow_of
from vmenter.views.entry.widget import EntryExplorer
from vmenter.views.view import twin

SKIPPED = {"era": "650b68a0622f", "bugs": ["mds", "l1tf"], "facts": ["md_clear", "flush_l1d"]}
MMIO_ONLY = {"bugs": ["mmio_stale_data"], "facts": ["mds_no", "fb_clear", "fb_clear_ctrl"]}

TWIN = """\
bugs          mds l1tf
facts         md_clear flush_l1d
command line  (empty)
EPT           on
vCPU          cannot reach host MMIO; flush not pending; first entry; its guest has no FB_CLEAR

650b68a0622f: MDS: flush the L1D, else VERW (v5.2; selection of kernel 5.2)
Why:
  MDS              wanted        on unless switched off
  VERW             for everyone  asked for by MDS; once on, it serves every flaw
  L1TF             flush         the default
  KVM's L1D flush  cond          KVM was left to choose and follows l1tf=flush
Switched on:
  features     L1TF_PTEINV
  static keys  mds_user_clear vmx_l1d_flush_cond vmx_l1d_should_flush
  L1D flush    cond
Vulnerabilities (sysfs):
  mds   Mitigation: Clear CPU buffers
  l1tf  Mitigation: PTE Inversion; VMX: conditional cache flushes
  no file yet: taa mmio rfds
On the way to VM-Enter:
  vmx_vmenter+0x6  0xffffffffc0000129  VM-Enter by VMLAUNCH
  Nothing clears on this way: no VERW, no L1D flush.
Promise: every VM-Enter clears CPU buffers, by VERW or an L1D flush; every VM-Enter whose flush flag
         is set flushes the L1D
Verdict: BROKEN: a clear owed here; nothing cleared
Way through the code, numbers as in the drawing:
  vmx_vcpu_run    1 +0x0, 2 +0x4 S vmx_l1d_should_flush on, 3 +0x31
  vmx_l1d_flush   4 +0x0 S vmx_l1d_flush_cond on, 5 +0x5, 6 +0x34
  vmx_vcpu_run    7 +0x39, 8 +0xe, 9 +0x1a, 10 +0x1d
  __vmx_vcpu_run  11 +0x0
  vmx_vmenter     12 +0x0, 13 +0x6 E vmlaunch
  not on it: V vmx_vcpu_run+0x3b, F vmx_l1d_flush+0x32, F vmx_l1d_flush+0x56, E vmx_vmenter+0x2
Block by block, and where each leads:
   1 vmx_vcpu_run+0x0    pushq %rbx; movq %rdi, %rbx
                         taken: falls through to 2 vmx_vcpu_run+0x4
   2 vmx_vcpu_run+0x4    S vmx_l1d_should_flush; on: jmp +0x31
                         not taken: falls through to vmx_vcpu_run+0x9, key off
                         taken: jumps to 3 vmx_vcpu_run+0x31, key on
   3 vmx_vcpu_run+0x31   movq %rbx, %rdi; callq vmx_l1d_flush
                         taken: calls 4 vmx_l1d_flush+0x0
   4 vmx_l1d_flush+0x0   S vmx_l1d_flush_cond; on: 5 bytes of NOPs
                         taken: falls through to 5 vmx_l1d_flush+0x5, key on
                         not taken: jumps to vmx_l1d_flush+0x20, key off
   5 vmx_l1d_flush+0x5   movzbl 1(%rdi), %eax; movb $0, 1(%rdi); orb %gs:cpu_l1tf_flush_l1d, %al;
                         movb $0, %gs:cpu_l1tf_flush_l1d; testb %al, %al; je +0x34
                         not taken: falls through to vmx_l1d_flush+0x20
                         taken: jumps to 6 vmx_l1d_flush+0x34
   6 vmx_l1d_flush+0x34  retq
                         taken: returns to 7 vmx_vcpu_run+0x39
   7 vmx_vcpu_run+0x39   jmp +0xe
                         taken: jumps to 8 vmx_vcpu_run+0xe
   8 vmx_vcpu_run+0xe    movq %cr2, %rax; movq 0x20(%rbx), %rcx; cmpq %rax, %rcx; je +0x1d
                         taken: falls through to 9 vmx_vcpu_run+0x1a
                         not taken: jumps to 10 vmx_vcpu_run+0x1d
   9 vmx_vcpu_run+0x1a   movq %rcx, %cr2
                         taken: falls through to 10 vmx_vcpu_run+0x1d
  10 vmx_vcpu_run+0x1d   movq %rbx, %rdi; leaq 0x80(%rbx), %rsi; movzbl (%rbx), %edx;
                         callq __vmx_vcpu_run
                         taken: calls 11 __vmx_vcpu_run+0x0
  11 __vmx_vcpu_run+0x0  pushq %rbp; movq %rsp, %rbp; … 6 pushes, %r15 to %rsi …; movb %dl, %bl;
                         leaq -8(%rsp), %rsi; callq vmx_update_host_rsp; movq (%rsp), %rax;
                         cmpb $0, %bl; … 15 registers loaded from (%rax) …; callq vmx_vmenter
                         taken: calls 12 vmx_vmenter+0x0
  12 vmx_vmenter+0x0     je +0x6
                         not taken: falls through to vmx_vmenter+0x2
                         taken: jumps to 13 vmx_vmenter+0x6
  13 vmx_vmenter+0x6     vmlaunch
Left in the buffers at VM-Enter (a model of 8 entries; no measurement, no verdict):
  6 × a register value of the host, 4 × other data of the host's stack, 1 × other data of the host,
  2 × the vCPU's structure, 2 × a flag, 15 × a register value of the guest's own.
  R  0x5ec2e70000000001 stored by vmx_vcpu_run pushq %rbx
  R  0x5ec2e70000000002 stored by __vmx_vcpu_run pushq %rbp
  R  0x5ec2e70000000006 stored by __vmx_vcpu_run+0x4 pushq %r15
  R  0x5ec2e70000000005 stored by __vmx_vcpu_run+0x6 pushq %r14
  R  0x5ec2e70000000004 stored by __vmx_vcpu_run+0x8 pushq %r13
  R  0x5ec2e70000000003 stored by __vmx_vcpu_run+0xa pushq %r12"""


def shown(**state):
    return frame({**SKIPPED, **state})


def only(**state):
    """Return the one era's side."""
    return shown(**state)["sides"][0]


def kinds(side):
    return [item["kind"] for item in side["events"]["items"]]


def test_twin_says_all_that_is_shown():
    assert twin(shown()) == TWIN


def test_the_conditional_flush_skips_the_clear():
    side = only()
    assert side["verdict"]["word"] == "BROKEN"
    assert kinds(side) == ["vm_enter"]
    assert side["events"]["owed"]
    assert side["said"] == "650b68a0622f: BROKEN: a clear owed here; nothing cleared."
    assert any(one["letter"] == "R" for one in side["buffers"]["legend"])  # host registers are left


def test_a_pending_flush_keeps_the_promise():
    side = only(flush_pending=True)
    assert side["verdict"]["kept"]
    assert kinds(side) == ["l1d_flush", "vm_enter"]
    assert side["verdict"]["by"] == "an L1D flush by MSR"
    assert not side["events"]["owed"]


def test_two_eras_stand_side_by_side():
    made = shown(compare="e6ff1d61de51")
    assert [(side["era"], side["verdict"]["word"]) for side in made["sides"]] == [
        ("650b68a0622f", "BROKEN"),
        ("e6ff1d61de51", "kept"),
    ]
    assert made["said"].count("owed here") == 2
    assert made["sides"][0] == only()
    assert twin(made).startswith(TWIN)
    assert "Distance: 3 instructions and 1 memory access" in twin(made)


def test_command_line_mistakes_are_decisions():
    why = only(cmdline='mds=sideways l1tf kvm-intel.vmentry_l1d_flush=often "')["selection"]["why"]
    outcomes = {one["subject"]: one["outcome"] for one in why}
    assert outcomes["mds=sideways"] == "no effect"
    assert outcomes["kvm_intel.vmentry_l1d_flush=often"] == "no effect"
    assert all(one["reason"] for one in why)


def test_options_that_are_understood_change_what_happens():
    assert only(cmdline="mds=off l1tf=off")["verdict"]["promise"] == "nothing"
    assert only(cmdline="kvm-intel.vmentry_l1d_flush=always")["verdict"]["kept"]
    assert only(ept=False)["selection"]["on"]["l1d_flush"] == "EPT disabled"


def test_a_preset_stands_for_bugs_and_facts():
    made = shown(preset="ice-lake-server")
    assert [one["name"] for one in made["bugs"] if one["on"]] == ["mmio_stale_data"]
    assert made["head"][0] == "processor     Ice Lake server (06_6A), microcode of 2022 or later"
    assert {one["id"] for one in made["presets"]} == set(PRESETS)


def test_reach_of_mmio_decides_where_only_mmio_asks_for_a_clear():
    state = {**MMIO_ONLY, "era": "8cb861e9e3c9"}
    verdicts = {reach: only(**state, mmio=reach)["verdict"] for reach in ("none", "assigned", "mapped")}
    assert [one["kept"] for one in verdicts.values()] == [True, True, False]
    assert verdicts["none"]["by"] == "nothing"


def test_a_neutralised_clear_stands_beside_the_verdict():
    side = only(**MMIO_ONLY, era="e6ff1d61de51", mmio="assigned")
    assert (side["verdict"]["kept"], side["verdict"]["neutralised"]) == (True, True)
    assert [(item["letter"], item["neutralised"]) for item in side["events"]["items"]] == [
        ("D", False),
        ("V", True),
        ("E", False),
    ]
    assert side["verdict"]["notes"][0].startswith("neutralised: ")


def test_what_rests_on_the_software_flush_is_assumed():
    side = only(facts=["md_clear"], flush_pending=True)
    assert side["verdict"]["assumed"]
    assert side["events"]["items"][0]["detail"] == "by reading 64 KiB"


def test_gaps_between_events_add_up_to_the_run():
    for era in FORMS.values():
        for pending in (False, True):
            side = only(era=era.id, flush_pending=pending)
            items = side["events"]["items"]
            trace = enter(era, Host(("mds", "l1tf"), ("md_clear", "flush_l1d"))).trace
            if not pending:
                assert sum(item["instructions"] + 1 for item in items) == len(trace.steps)
            distant = [item for item in items if item["distant"]]
            if len(distant) == 1:
                counted = f"{distant[0]['instructions']} instruction"
                assert side["verdict"]["distance"].startswith(counted)


def test_a_drawing_is_the_same_for_every_state_and_has_all_that_is_marked():
    for era in FORMS:
        svg = drawings(shown(era=era))[era]
        for state in ({}, {"flush_pending": True}, {"facts": []}, {**MMIO_ONLY, "mmio": "assigned"}):
            made = shown(era=era, **state)
            assert drawings(made)[era] == svg
            flow = made["sides"][0]["flow"]
            keys = {*flow["marks"], *flow["order"]}
            escaped = {key.replace("&", "&amp;").replace(">", "&gt;") for key in keys}
            assert all(f'data-key="{key}"' in svg for key in escaped)


def test_the_way_is_numbered_in_the_order_of_the_run():
    flow = only()["flow"]
    assert list(flow["order"].values()) == list(range(1, 14))
    assert all(flow["marks"][key]["class"] == "ran" for key in flow["order"])
    assert only()["events"]["items"][-1]["key"] == [*flow["order"]][-1]


@pytest.mark.parametrize(
    "state", [{}, {"era": "e6ff1d61de51", "resume": True}, {"era": "v4", "flush_pending": True}]
)
def test_the_twin_tells_each_blocks_code_and_which_edge_was_taken(state):
    (one,) = frame(state)["sides"]
    told, graph = one["flow"], flow_of(ERAS[one["era"]])
    assert told["text"][: len(told["way"])] == told["way"]
    _, *parts = re.split(
        r"^ +(?=\d+ \S+\+0x\S+  )", "\n".join(told["text"][len(told["way"]) :]), flags=re.MULTILINE
    )
    assert [part.split()[:2] for part in parts] == [[str(number), key] for key, number in told["order"].items()]
    for key, part in zip(told["order"], parts, strict=True):
        block = graph.by_key[key]
        code = " ".join(part.split())
        first = block.branch.key if block.branch else block.instructions[0].mnemonic
        assert first in code or "NOPs" in code or "…" in code
        heads = [edge.head for edge in graph.edges if edge.tail == key]
        assert len(re.findall(r"taken: ", part)) == len(heads)
        if len(heads) == 2:
            assert re.findall(r"(not taken|taken): ", part).count("taken") == 1, "one of two ways"


def test_as_many_controls_as_the_question_needs():
    assert frame({})["controls"] == list(CONTROLS)
    assert EntryExplorer(controls=("flags", "mmio")).frame["controls"] == ["mmio", "flags"]
    assert EntryExplorer(controls=()).frame["controls"] == []
    assert EntryExplorer(controls="era").frame["controls"] == ["era"]
    with pytest.raises(LabError, match="controls: unknown name 'eras', did you mean era"):
        EntryExplorer(controls=("eras",))


def test_buffers_are_eight_lines_of_eight_words_whatever_is_left():
    for state in ({}, {"era": "43fb862de8f6"}):
        lines = only(**state)["buffers"]["lines"]
        assert [len(line["cells"]) for line in lines] == [8] * 8
    assert only(era="43fb862de8f6")["buffers"]["said"] == "Nothing is left."
    left = only(era="e6ff1d61de51")["buffers"]
    assert [one["letter"] for one in left["values"]] == ["F"]
    assert left["leaves_out"]


@pytest.mark.parametrize("show", [["selection"], ["flow", "events"], ["verdict"]])
def test_only_what_is_asked_for_is_in_the_frame(show):
    made = shown(show=show, compare="v4")
    assert set(made["show"]) == set(show)
    for side in made["sides"]:
        assert set(side).intersection(SHOW) == set(show)
    assert len(twin(made)) < len(twin(shown(compare="v4")))
    assert set(drawings(made)) == ({"650b68a0622f", "v4"} if "flow" in show else set())


def test_a_selection_alone_says_nothing_of_a_vcpu():
    assert "vCPU" not in "".join(shown(show=["selection"])["head"])
    assert "vCPU" in "".join(shown()["head"])


def test_a_frame_is_plain_small_json_and_the_same_each_time():
    for compare in (None, "v4"):
        first = json.dumps(shown(compare=compare))
        assert json.dumps(shown(compare=compare)) == first
        assert len(first) < 60_000
    assert len(twin(shown(compare="v4")).splitlines()) < 180
    assert max(map(len, twin(shown()).splitlines())) <= 100


# --- the widget --------------------------------------------------------------------------------------------


def test_the_page_gets_each_line_of_the_text_once():
    explorer = EntryExplorer(compare="v4")
    page = explorer.get_state("frame")["frame"]
    assert page == sent(explorer.frame)
    assert page["text"] == explorer.frame["text"]
    assert len(json.dumps(page)) < len(json.dumps(explorer.frame)) - sum(map(len, page["text"])) / 2
    assert "VM-Enter by VMLAUNCH" in json.dumps(page["text"])
    assert "VM-Enter by VMLAUNCH" not in json.dumps(page["sides"])


def test_representation_is_the_twin():
    explorer = EntryExplorer()
    assert repr(explorer) == TWIN
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == TWIN
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "BROKEN: a clear owed here" in data["text/html"]


def test_a_new_state_makes_a_new_frame_and_brings_its_drawing():
    explorer = EntryExplorer()
    explorer.state = {**explorer.state, "era": "43fb862de8f6"}
    assert "Verdict: kept: a clear owed here; VERW ran" in repr(explorer)
    assert list(explorer.drawings) == ["43fb862de8f6"]


def test_a_drawing_is_sent_once_an_era():
    explorer = EntryExplorer()
    seen = []
    explorer.observe(seen.append, "drawings")
    explorer.state = {**explorer.state, "flush_pending": True}
    assert seen == []


@pytest.mark.parametrize(
    "state",
    [{"era": "6.19"}, {"compare": 3}, {"preset": "my laptop"}, {"bugs": ["spectre"]}, {"bugs": 3}, {"mmio": "all"}, {"show": ["all"]}, {"preset": []}],
)  # fmt: skip
def test_no_state_breaks_the_widget(state):
    explorer = EntryExplorer()
    good = explorer.frame["sides"]
    explorer.state = {**explorer.state, **state}
    assert explorer.frame["error"]
    assert explorer.frame["sides"] == good
    assert "the last good state" in repr(explorer)


def test_an_era_of_ones_own_is_shown_as_those_of_the_story_are():
    from dataclasses import replace

    known = ERAS["43fb862de8f6"]
    own = replace(known, id="mine", title="Mine", code=known.object)
    explorer = EntryExplorer(era=own, compare="43fb862de8f6")
    mine, theirs = explorer.frame["sides"]
    assert mine["heading"].startswith("mine: Mine")
    assert mine["verdict"] == theirs["verdict"]
    assert "mine" in [one["id"] for one in explorer.frame["eras"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"era": "650b68a"}, "did you mean 650b68a0622f"),
        ({"compare": "v5"}, "compare: unknown name"),
        ({"preset": "skylake"}, "did you mean skylake-server"),
        ({"bugs": "mdz"}, "did you mean mds"),
        ({"show": ("select",)}, "did you mean selection"),
        ({"mmio": "some"}, "mmio: unknown name"),
    ],
)
def test_an_unknown_name_is_refused_at_once(options, message):
    with pytest.raises(LabError, match=message):
        EntryExplorer(**options)


def test_a_frame_is_the_same_whatever_was_shown_before_it():
    from vmenter.views.entry import panels

    states = [
        EntryExplorer("650b68a0622f", bugs=("mds", "l1tf"), cmdline=cmdline).state
        for cmdline in ("", "mds=off", "l1tf=off", "mds=off l1tf=off", "kvm-intel.vmentry_l1d_flush=always")
    ]
    panels._marked.cache_clear()
    once = [frame(state) for state in states]
    panels._marked.cache_clear()
    assert [frame(state) for state in reversed(states)] == once[::-1]
