"""The control-flow graph of code: what is in it, exactly, and that what runs stays inside it."""

import re
from itertools import pairwise, product

import needs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.code import image
from vmenter.emulator.memory import LAB_BASE
from vmenter.flow import recover
from vmenter.flow.graph import Kind, Leave, Mark
from vmenter.patching import alternatives, features, static_keys
from vmenter.patching.lab import assemble, lab_object
from vmenter.story import eras, history
from vmenter.story.history import ERAS, FORMS
from vmenter.story.promise import Reach
from vmenter.views.drawings import flowchart
from vmenter.views.drawings.flowchart import draw

NAMES = {eras.FLUSH_L1D: "FLUSH_L1D"}


def lab(text=None, name="patching"):
    code = lab_object(name) if text is None else assemble(text)
    return image.from_bytes(code, name, LAB_BASE)


def blocks(graph):
    return {block.key: [re.sub(r"0x1\w{7}", "…", i.text) for i in block.instructions] for block in graph.blocks}


def edges(graph):
    return [(edge.tail, edge.head, edge.kind, edge.live) for edge in graph.edges]


# --- what is in a graph ------------------------------------------------------------------------------------


def test_three_way_with_all_that_can_stand_at_its_site():
    graph = recover.graph(lab(), "three_way", variants=True)
    assert blocks(graph) == {
        "three_way+0x0/0": ["jmp …"],  # over 15 bytes of INT3: so long NOPs are left by the patcher
        "three_way+0x0/1": ["testl $4, 8(%rsp)", "je …"],
        "three_way+0x0/2": ["verw 0x57(%rip)", "nopw %cs:(%rax, %rax)"],
        "three_way+0xa/1": ["verw 0x4d(%rip)"],
        "three_way+0x11": ["retq"],
    }
    assert edges(graph) == [
        ("three_way+0x0/0", "three_way+0x11", Kind.JUMP, True),
        ("three_way+0x0/1", "three_way+0xa/1", Kind.FALL, False),
        ("three_way+0x0/1", "three_way+0x11", Kind.JUMP, False),
        ("three_way+0x0/2", "three_way+0x11", Kind.FALL, False),
        ("three_way+0xa/1", "three_way+0x11", Kind.FALL, False),
    ]
    (site,) = graph.alternatives
    assert [variant.condition for variant in site.variants] == [
        "original",
        "CLEAR_CPU_BUF_VM_MMIO",
        "CLEAR_CPU_BUF_VM",
    ]
    assert site.in_place == 0
    assert {block.key for block in graph.blocks if block.mark is Mark.VERW} == {
        "three_way+0x0/2",
        "three_way+0xa/1",
    }


def test_without_variants_a_site_holds_what_stands_there():
    graph = recover.graph(lab(), "jump_over")
    assert blocks(graph) == {"jump_over+0x0/0": ["jmp …"], "jump_over+0x9": ["retq"]}
    patched = lab()
    patched = alternatives.apply(
        patched, alternatives.patch_all(patched, {features.number("CLEAR_CPU_BUF", "7.3.4")})
    )
    graph = recover.graph(patched, "jump_over")
    assert list(blocks(graph)) == ["jump_over+0x0/1", "jump_over+0x2", "jump_over+0x9"]
    assert graph.alternatives[0].variants[graph.alternatives[0].in_place].condition == "CLEAR_CPU_BUF"


def test_a_followed_call_leads_into_its_function_and_back():
    graph = recover.graph(lab(), "call_helper", follow=True, variants=True)
    assert graph.functions == ("call_helper", "helper")
    assert ("call_helper+0x0/1", "helper+0x0", Kind.CALL, False) in edges(graph)
    assert ("helper+0x0", "call_helper+0x5", Kind.RETURN, True) in edges(graph)


def test_a_call_that_is_not_followed_is_a_line_of_its_block():
    graph = recover.graph(lab(), "call_helper", variants=True)
    assert graph.functions == ("call_helper",)
    assert "callq helper" in draw(graph).text


def test_patches_tell_which_of_two_equal_variants_stands():
    code = lab()
    number = features.number("SMAP", code.kernel)
    for wanted in ((), {number}):
        patches = alternatives.patch_all(code, wanted)
        graph = recover.graph(alternatives.apply(code, patches), "call_helper", patches=patches, variants=True)
        (site,) = graph.alternatives
        assert [variant.condition for variant in site.variants] == ["original", "SMAP"]
        assert site.in_place == bool(wanted)
        assert recover.graph(code, "call_helper", variants=True).standing(features=wanted) == (int(bool(wanted)),)


CODE = """
.include "alternative.inc"
.include "features.inc"
.include "static_key.inc"
.data
.balign 8
key: .quad 0
.text
.globl start
.type start, @function
start:
    STATIC_JUMP_IF_ON 2f, key
    nop
1:  vmlaunch
    ud2
2:  jmp other
.size start, . - start
.globl other
.type other, @function
other:
    test %eax, %eax
    jz 3f
    jmp *%rax
3:  int3
.size other, . - other
"""


def test_a_static_branch_leads_both_ways_and_one_of_them_is_live():
    code = lab(CODE, "start")
    for on in (False, True):
        graph = recover.graph(static_keys.flip(code, {"key": on}), "start")
        ways = {edge.note: (edge.head, edge.live) for edge in graph.edges if edge.tail == "start+0x0"}
        assert ways == {"key off": ("start+0x2", not on), "key on": ("start+0x8", on)}
        assert f"S  key\n             {'on' if on else 'off'}: " in draw(graph).text


def test_code_is_followed_until_it_leaves():
    graph = recover.graph(lab(CODE, "start"), "start")
    leaves = {block.key: (block.leave, block.leads_to) for block in graph.blocks if block.leave}
    assert leaves == {"start+0x3": (Leave.VM_ENTER, ""), "start+0x8": (Leave.TAIL, "other")}
    graph = recover.graph(lab(CODE, "start"), "start", follow={"other"})
    assert ("start+0x8", "other+0x0", Kind.TAIL, True) in edges(graph)
    leaves = [block.leave for block in graph.blocks if block.function == "other"]
    assert sorted(filter(None, leaves)) == [Leave.INDIRECT, Leave.TRAP]


def test_the_registers_number_decides_whether_wrmsr_flushes():
    text = """
    .globl start
    start: test %eax, %eax
        jz 1f
        mov $0x10b, %ecx
        jmp 2f
    1:  mov ${number}, %ecx
    2:  test %ebx, %ebx
        jz 3f
        nop
    3:  wrmsr
        ret
    """
    marks = {
        number: [b.mark for b in recover.graph(lab(text.format(number=number), "start"), "start").blocks if b.mark]
        for number in ("0x10b", "0x48")
    }
    assert marks == {"0x10b": [Mark.FLUSH], "0x48": []}


# --- what runs stays inside it -----------------------------------------------------------------------------


def states(era):
    """Every combination of an era's features and keys, VMLAUNCH and VMRESUME, with and without a flush pending."""
    switches = [*era.features, *era.keys]
    for on in product((False, True), repeat=len(switches)):
        chosen = {name for name, is_on in zip(switches, on, strict=True) if is_on}
        for resume, pending, reach in ((True, False, Reach.ASSIGNED), (False, True, Reach.NONE)):
            yield eras.State(
                features=frozenset(chosen.intersection(era.features)),
                keys=frozenset(chosen.intersection(era.keys)),
                mmio=reach,
                flush_pending=pending,
                resume=resume,
                disable_fb_clear=resume and era.fb_clear_dis,
            )


@pytest.mark.parametrize("era", FORMS.values(), ids=lambda era: era.id)
def test_every_executed_address_lies_in_a_block_and_every_step_on_an_edge(era):
    code = image.from_bytes(era.object, era.id, LAB_BASE)
    graph = recover.graph(code, eras.START, follow=True, variants=True, names=NAMES)
    known = {(edge.tail, edge.head): edge for edge in graph.edges}
    for state in states(era):
        trace = eras.run(era, state)
        drawn = flowchart.state_of(graph, trace, features=state.features)
        assert drawn.standing == graph.standing(features=state.features)
        for before, after in pairwise(trace.steps):
            tail, head = graph.block_at(before, drawn.standing), graph.block_at(after, drawn.standing)
            assert tail is not None
            assert head is not None, hex(after)
            inside = {(a.address, b.address) for a, b in pairwise(tail.instructions)}
            if tail is head and (before, after) in inside:
                continue
            assert before == tail.instructions[-1].address
            assert after == head.address
            edge = known[tail.key, head.key]
            assert flowchart.possible(drawn, tail, edge), edge
            assert (tail.key, head.key) in drawn.passed


@pytest.mark.parametrize("name", ["e6ff1d61de51", "43fb862de8f6", "43fb862de8f6-backport"])
def test_a_trace_tells_by_its_bytes_what_stood_at_the_sites(name):
    era = history.era(name)
    graph = recover.graph(
        image.from_bytes(era.object, era.id, LAB_BASE), eras.START, follow=True, variants=True, names=NAMES
    )
    for state in states(era):
        assert flowchart.state_of(graph, eras.run(era, state)).standing == graph.standing(features=state.features)


def test_plain_addresses_are_a_path_too():
    graph = recover.graph(lab(), "jump_over")
    start = graph.blocks[0].address
    assert graph.walk([start, start + 9, 0x1234]) == ("jump_over+0x0/0", "jump_over+0x9")
    assert "→ jumps to +0x9" in draw(graph, [start, start + 9]).text


def test_the_path_is_drawn_on_blocks_and_edges():
    era = ERAS["650b68a0622f"]
    code = image.from_bytes(era.object, era.id, LAB_BASE)
    graph = recover.graph(code, eras.START, follow=True, variants=True, names=NAMES)
    keys = frozenset({"vmx_l1d_should_flush", "vmx_l1d_flush_cond", "mds_user_clear"})
    diagram = draw(graph, eras.run(era, eras.State(keys=keys, resume=True)), features=())
    ran = {
        key
        for classes, key in re.findall(r'class="([^"]*)" data-key="([^"]*)"', diagram.svg)
        if "ran" in classes.split()
    }
    clears = {block.key for block in graph.blocks if block.mark in (Mark.VERW, Mark.FLUSH, Mark.FLUSH_LOOP)}
    enters = {block.key: block.instructions[0].mnemonic for block in graph.blocks if block.mark is Mark.VM_ENTER}
    assert not clears & ran, "with no flush pending, nothing clears"
    assert [enters[key] for key in enters if key in ran] == ["vmresume"]
    assert "→ +0x2       E  VM-Enter" in diagram.text


def test_one_layout_serves_all_states():
    era = ERAS["e6ff1d61de51"]
    code = image.from_bytes(era.object, era.id, LAB_BASE)
    graph = recover.graph(code, eras.START, follow=True, variants=True, names=NAMES)
    assert graph is recover.graph(
        image.from_bytes(era.object, era.id, LAB_BASE), eras.START, follow=True, variants=True, names=NAMES
    )
    shapes = {
        re.sub(
            r'class="[^"]*"|<text.*?</text>|<desc.*?</desc>',
            "",
            draw(graph, eras.run(era, state), features=state.features).svg,
            flags=re.DOTALL,
        )
        for state in states(era)
    }
    assert len(shapes) == 1


def test_every_node_has_a_letter_or_words_beside_its_colour():
    svg = draw(recover.graph(lab(), "three_way", variants=True)).svg
    for letter in ("A1  patched at boot", "V  clears the CPU buffers"):
        assert letter in svg
    assert svg.count("octagon") == 0, "shapes are polygons, not words"
    assert 'role="img"' in svg
    assert "<desc" in svg


# --- real kernels ------------------------------------------------------------------------------------------

VERSIONS = {
    "6.1.192": ["MSR_SPEC_CTRL", "CLEAR_CPU_BUF"],
    "6.12.117": ["MSR_SPEC_CTRL", "CLEAR_CPU_BUF"],
    "7.3.4": ["MSR_SPEC_CTRL", "CLEAR_CPU_BUF_VM_MMIO", "CLEAR_CPU_BUF_VM"],
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_entry_stub_ends_in_both_ways_to_enter_and_shows_its_sites(version):
    code = image.load(needs.kernel_file(version, "kvm-intel.ko.xz"))
    graph = recover.graph(code, "__vmx_vcpu_run", variants=True)
    enters = [block.instructions[0].mnemonic for block in graph.blocks if block.leave is Leave.VM_ENTER]
    assert sorted(enters) == ["vmlaunch", "vmresume"]
    conditions = [v.condition for site in graph.alternatives for v in site.variants if v.condition != "original"]
    assert conditions == VERSIONS[version]
    assert any(block.mark is Mark.VERW for block in graph.blocks)
    assert "VM-Enter" in draw(graph).text


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_way_from_c_to_the_guest(version):
    code = image.load(needs.kernel_file(version, "kvm-intel.ko.xz"))
    graph = recover.graph(code, "vmx_vcpu_enter_exit", follow={"__vmx_vcpu_run", "vmx_l1d_flush"}, variants=True)
    keys = {block.branch.key for block in graph.blocks if block.branch}
    assert "vmx_l1d_should_flush" in keys
    marks = {block.mark for block in graph.blocks}
    assert {Mark.VERW, Mark.FLUSH, Mark.FLUSH_LOOP, Mark.VM_ENTER} <= marks or version == "6.1.192"


# --- what cannot be drawn ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "options", "words"),
    [
        ("nowhere", {}, "no symbol named 'nowhere'"),
        ("three_way", {"follow": {"nobody"}}, "no symbol named 'nobody'"),
        ("three_way", {"variants": True, "most": 2}, "more than 2 blocks"),
        ("verw_selector", {}, "is no code"),
    ],
)
def test_a_wrong_question_is_answered_in_words(start, options, words):
    with pytest.raises(LabError, match=re.escape(words)):
        recover.graph(lab(), start, **options)


def test_code_that_is_none_is_named_by_its_address():
    code = lab(".globl start\nstart: nop\n.byte 0x06\n", "start")
    with pytest.raises(LabError, match=r"06 at 0x10000001 \(start\+0x1\) begins no x86-64 instruction"):
        recover.graph(code, "start")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_code_raises_nothing_but_lab_errors(data):
    name = data.draw(st.sampled_from(["patching", "e6ff1d61de51", "v4"]))
    code = bytearray(lab_object(name))
    for at, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(code) - 1), st.integers(0, 255)), max_size=12)
    ):
        code[at] = byte
    try:
        damaged = image.from_bytes(bytes(code), name, LAB_BASE)
        for start in damaged.symbols.names[:40]:
            try:
                draw(recover.graph(damaged, start, follow=True, variants=True, most=60))
            except LabError:
                continue
    except LabError:
        return
