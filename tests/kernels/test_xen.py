"""Xen's table is read by its own record for the same engine, its ways into a guest are run, and what was recorded of
Debian's Xen is what its file holds."""

import dataclasses

import pytest
from needs import kernel_folders, missing

from vmenter import LabError
from vmenter.code.image import from_bytes, load
from vmenter.kernels import xen
from vmenter.patching.alternatives import patch
from vmenter.patching.lab import assemble

HOW = (
    "apt-get download xen-hypervisor-4.17-amd64-dbg (of bookworm), unpack it with dpkg-deb -x, and put its "
    "usr/lib/debug/boot/xen-syms-4.17-amd64 into $VMENTER_KERNELS/xen-4.17"
)

TABLE = """
.text
before: nop
site: jmp 1f; .skip 5, 0x90
1: ret
two: .skip 3, 0x90
    ret
far_away: ret
replacement: call far_away
other: lfence
__alt_instructions:
    .long site - ., replacement - .
    .short 623
    .byte 2, 5, 5, 0
    .long two - ., other - .
    .short 93
    .byte 0, 3, 3, 0
    .long two - ., other - .
    .short 94
    .byte 0, 0, 3, 0
__alt_instructions_end:
"""
# A way of ours in Xen's form: two answers in PF and SF over loads from the stack. %s: what the flags are made of.
WAY = """
.text
.globl vmx_asm_do_vmentry
vmx_asm_do_vmentry:
    movq 8(%rsp), %rbx
    call vmx_intr_assist
    movzbl 0x5ec(%rbx), %ecx
    shll $31, %ecx
    movzbl 0x104(%rsp), %eax
    andl $8, %eax
    orl %eax, %ecx
    popq %rax
    popq %rbx
    jp 1f
    verw 0x20(%rsp)
1:  jns 2f
    vmresume
2:  vmlaunch
vmx_intr_assist: ud2; .skip 8
"""


def made(text, *changes):
    """Assemble an image that stands in for Xen's."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return from_bytes(assemble(text), "own", 0xFFFF_8000_0020_0000)


def test_a_record_names_site_replacement_feature_and_three_lengths():
    image = made(TABLE)
    one, two, three = xen.entries(image)
    at = {name: image.symbols.get(name).address for name in ("site", "two", "replacement", "other")}
    assert (one.site, one.length, one.feature) == (at["site"], 2 + 5, 623)
    assert (one.replacement, one.replacement_length) == (at["replacement"], 5)
    assert (two.site, two.length, two.replacement, two.feature) == (at["two"], 3, at["other"], 93)
    assert (three.replacement_length, three.length) == (0, 3)
    assert [len(site.entries) for site in xen.all_sites(image)] == [1, 2]


def test_the_engine_patches_what_was_read():
    image = made(TABLE)
    site, two = xen.all_sites(image)
    code = patch(image, site, {623}, xen.RULES).code
    target = image.symbols.get("far_away").address
    assert code[0] == 0xE8
    assert int.from_bytes(code[1:5], "little", signed=True) == target - (site.address + 5)
    assert patch(image, two, {93}, xen.RULES).code == bytes.fromhex("0faee8")
    assert patch(image, two, {93, 94}, xen.RULES).code == bytes.fromhex("0f1f00")  # the last match stays
    assert patch(image, site, set(), xen.RULES).code[:2] == site.original[:2]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([("__alt_instructions:", "elsewhere:")], "give Xen's xen-syms"),
        ([(".byte 2, 5, 5, 0", ".byte 2, 5, 5, 0, 0")], "no whole number of Xen's records"),
        ([(".byte 2, 5, 5, 0", ".byte 2, 8, 5, 0")], "a replacement of 8 bytes is longer than its site of 7"),
        ([(".byte 2, 5, 5, 0", ".byte 0, 0, 0, 0")], "has length 0"),
        ([(".byte 2, 5, 5, 0", ".byte 200, 5, 55, 0")], "kernels patch 254 at most"),
        ([(".short 623", ".short 1024")], "feature 1024"),
        ([(".long site - .", ".long site - . + 0x100000")], "outside the image"),
    ],
)
def test_a_table_that_lies_is_one_clear_error(changes, reason):
    with pytest.raises(LabError, match=reason):
        xen.entries(made(TABLE, *changes))


def test_two_hundred_and_fifty_four_bytes_are_still_patched():
    image = made(
        TABLE,
        (".byte 2, 5, 5, 0", ".byte 199, 5, 55, 0"),
        ("before: nop", "before: nop"),
        ("far_away: ret", "far_away: ret; .skip 300"),
    )
    assert xen.entries(image)[0].length == 254


@pytest.mark.parametrize("verw", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_way_is_run_with_both_answers_in_all_four_states(verw, before):
    trace, way = xen.Runner(made(WAY)).way("VMX", verw=verw, entered_before=before)
    assert (way.vm_enter, way.verw) == ("VMRESUME" if before else "VMLAUNCH", int(verw))
    assert way.carried == (("PF", 2), ("SF", 3 + verw))
    assert way.kept == "in flags"
    assert way.text.endswith(f"PF over 2 instructions, SF over {3 + verw} instructions")
    assert (way.instructions_after_clear, way.accesses_after_clear) == ((1, 0) if verw else (None, None))
    assert trace.instructions[-1].mnemonic.upper() == way.vm_enter


def test_what_decides_is_found_by_trying():
    found = xen.Runner(made(WAY)).levers("VMX")
    assert set(found) == {"verw", "entered before"}
    assert set(xen.Runner(made(WAY, ("jp 1f", "nop"))).levers("VMX")) == {"entered before"}


@pytest.mark.parametrize(
    ("changes", "kind", "reason"),
    [
        ([("jp 1f", "nop")], "VMX", "nothing that was tried makes this way execute VERW"),
        ([], "SVM", "no svm_asm_do_resume"),
        ([], "TDX", "no TDX"),
        ([("    popq %rax\n", "3: jmp 3b\n")], "VMX", "no VM-Enter within"),
    ],
)
def test_a_way_that_cannot_be_run_is_one_clear_error(changes, kind, reason):
    with pytest.raises(LabError, match=reason):
        xen.Runner(made(WAY, *changes)).way(kind, verw=True, entered_before=False)


def test_what_was_recorded_is_what_debians_xen_holds():
    name = xen.recorded().file
    found = [path for folder in kernel_folders() for path in sorted(folder.glob(f"*/{name}"))]
    if not found:
        missing(name, HOW)
    assert xen.take(load(found[0]), xen.recorded().package) == dataclasses.replace(xen.recorded(), file=name)


def test_what_was_recorded_of_xen_tells_what_notebook_10_says():
    one = xen.recorded()
    assert (one.entries, one.sites, dict(one.deciding)) == (4525, 4500, {"VMX": 0, "SVM": 0})
    assert {(way.kind, way.verw_asked, way.entered_before): (way.vm_enter, way.verw) for way in one.ways} == {
        **{
            ("VMX", asked, before): ("VMRESUME" if before else "VMLAUNCH", int(asked))
            for asked in (False, True)
            for before in (False, True)
        },
        **{("SVM", asked, False): ("VMRUN", int(asked)) for asked in (False, True)},
    }
    for way in one.ways:
        assert way.accesses_after_clear == (0 if way.verw else None)
        assert way.instructions_after_clear == ((1 if way.kind == "VMX" else 0) if way.verw else None)
    for sample in one.samples:
        site, _, _, original, length, padding, _ = xen.RECORD.unpack(bytes.fromhex(sample.record))
        assert (sample.address + site, original + padding, length) == (
            sample.site,
            sample.length,
            sample.replacement_length,
        )


@pytest.mark.parametrize(("rounds", "enters"), [(900, True), (1_100, False)])
def test_a_way_may_take_2_000_instructions_and_no_more(rounds, enters):
    text = f".globl vmx_asm_do_vmentry\nvmx_asm_do_vmentry: movl ${rounds}, %ecx\n1: decl %ecx\njnz 1b\nvmlaunch\n"
    runner = xen.Runner(from_bytes(assemble(text), "own", 0xFFFF_8000_0020_0000))
    if enters:
        assert runner.trace("VMX").vm_enter == "VMLAUNCH"
    else:
        with pytest.raises(LabError, match="no VM-Enter within 2,000 instructions"):
            runner.trace("VMX")
