"""Text to ELF: what each assembler says of good and bad text, within bounds, and the lab's own objects."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from elf import EHDR
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import missing
from peak import peak

from vmenter import LabError
from vmenter.code import assembler
from vmenter.code.assembler import AssemblyError, works
from vmenter.code.image import from_bytes
from vmenter.patching import features, lab
from vmenter.patching.alternative_table import Engine, rules
from vmenter.patching.alternatives import patch_all
from vmenter.patching.lab import LAB, assemble, lab_names, lab_object, recorded_hashes, source_hash

HOW = {
    "llvmlite": "pip install llvmlite (its wheels for other machines cannot assemble for x86-64)",
    "clang": "apt install clang",
    "as": "apt install binutils-x86-64-linux-gnu",
}


@pytest.fixture(params=list(assembler.BACKENDS))
def backend(request) -> str:
    if not works(request.param):
        missing(f"the assembler {request.param}", HOW[request.param])
    return request.param


@pytest.fixture
def no_process(monkeypatch):
    """Fail the test if a process is started."""

    def refused(*_, **__):
        pytest.fail("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refused)
    monkeypatch.setattr(subprocess, "run", refused)


def code_of(data: bytes, section: str = ".text") -> bytes:
    found = from_bytes(data, "x").section(section)
    assert found is not None
    return found.data


def test_there_is_an_assembler_for_every_back_end_that_is_promised():
    assert set(HOW) == set(assembler.BACKENDS)
    assert assembler.available() in HOW


# --- good text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nop", "90"),
        ("verw 8(%rsp)", "0f006c2408"),
        ("1: jmp 1b", "ebfe"),
        (".intel_syntax noprefix\nmov rax, rbx", "4889d8"),
        ('.ascii "\\"\\\\ü%"', "225cc3bc25"),
        ("# a comment, \t and a tab\nnop\r\nnop", "9090"),
        (".macro twice what\n\\what\n\\what\n.endm\ntwice nop", "9090"),
    ],
)
def test_text_becomes_code(backend, text, code):
    assert code_of(assemble(text + "\n", backend)) == bytes.fromhex(code)


def test_the_labs_macros_can_be_included(backend):
    text = '.include "alternative.inc"\n.include "features.inc"\nALTERNATIVE "nop", "vmlaunch", X86_FEATURE_SMAP\nret\n'
    image = from_bytes(assemble(text, backend), "x")
    (on,) = patch_all(image, {9 * 32 + 20}, rules(image, Engine.ONCE, 14))
    (off,) = patch_all(image, set(), rules(image, Engine.ONCE, 14))
    assert (on.code, off.code) == (bytes.fromhex("0f01c2"), bytes.fromhex("0f1f00"))


def test_a_warm_call_starts_no_process(backend, monkeypatch):
    text = f"movl ${os.getpid()}, %ebx\n"
    first = assemble(text, backend)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert assemble(text, backend) == first
    with pytest.raises(pytest.fail.Exception, match="a process was started"):
        assemble(text + "nop\n", backend)


def test_assembling_leaves_nothing_behind(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assemble(f"movl ${os.getpid()}, %ecx\n", backend)
    with pytest.raises(AssemblyError):
        assemble(f"bogus ${os.getpid()}\n", backend)
    assert list(tmp_path.iterdir()) == []


# --- bad text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("nop\nbogus %rax\nnop\n", 2, "bogus"),
        ("nop\n\n  movq %rax\n", 3, "operand"),
        ('.include "nowhere.inc"\n', 1, "nowhere.inc"),
        ("nop\njmp 1f\n", 2, "label"),
        ("1: nop\njmp 2b\n", 2, "label"),
        (".text\n.long there - elsewhere\n", 2, "there|elsewhere"),
        (".macro broken\n  bogus\n.endm\nnop\nbroken\nnop\n", 5, "bogus.* .in a macro."),
        (".macro deep\n deep\n.endm\ndeep\n", None, "nested"),
        ('.include "alternative.inc"\nnop\nALTERNATIVE "nop", "bogus", 5\n', 3, "bogus.* .in a macro."),
        (".if\n", 1, "expression"),
        ("nop\nmov $1, %xyz\n", 2, "register|%xyz"),
    ],
)
def test_a_mistake_is_named_with_its_line(backend, text, line, message):
    with pytest.raises(AssemblyError, match=message) as caught:
        assemble(text, backend)
    assert line is None or caught.value.line == line
    assert "\n" not in str(caught.value)
    assert str(LAB) not in str(caught.value)
    if line is not None:
        assert str(caught.value).startswith(f"line {line}")


def test_a_label_that_is_not_there_is_named_with_its_line():
    with pytest.raises(AssemblyError, match=r"line 3: there is no label \.Lhere to go to"):
        assemble("nop\n.Lhere_too: nop\njmp .Lhere\n.Lthere: nop\n")


def test_a_mistake_is_named_with_its_column(backend):
    with pytest.raises(AssemblyError) as caught:
        assemble("nop\n    bogus %rax\n", backend)
    assert (caught.value.line, caught.value.column) == (2, 5)


def test_a_mistake_costs_only_the_text_it_is_in(backend):
    with pytest.raises(AssemblyError):
        assemble("bogus\n", backend)
    assert assemble("nop\n", backend).startswith(b"\x7fELF")


def test_text_that_is_no_unicode_is_an_error(backend):
    with pytest.raises(AssemblyError, match="line 2: a character that is no Unicode text"):
        assemble("nop\n\udcff\n", backend)


def test_text_without_an_end_is_stopped(backend, monkeypatch):
    monkeypatch.setattr(assembler, "TIME_LIMIT", 1.0)
    with pytest.raises(AssemblyError, match=r"has it a \.rept or a macro without an end"):
        assemble(".rept 4000000000\nnop\n.endr\n", backend)


@pytest.mark.parametrize("size", [40_000_000, 3_000_000_000])
def test_an_object_of_absurd_size_takes_neither_disk_nor_memory(backend, size, monkeypatch):
    before = peak()
    monkeypatch.setattr(assembler, "TIME_LIMIT", 5.0)
    with pytest.raises(AssemblyError):
        assemble(f".skip {size}, 0x90\n", backend)
    assert peak() - before < 64 << 20


def test_without_any_assembler_one_is_asked_for(monkeypatch):
    monkeypatch.setattr(assembler, "available", lambda: None)
    with pytest.raises(LabError, match="no assembler for x86-64 here: install clang"):
        assemble("nop # nowhere\n")


def test_an_assembler_that_is_not_installed_does_not_work(monkeypatch):
    none = partial(assembler.started, ("vmenter-no-such-program", "-o"))
    monkeypatch.setitem(assembler.BACKENDS, "none", none)
    assert not works("none")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
@settings(max_examples=25)
def test_any_text_is_assembled_or_refused(text):
    try:
        assert assemble(text).startswith(b"\x7fELF")
    except LabError as error:
        assert "\n" not in str(error)  # noqa: PT017


# --- the lab's own objects ---------------------------------------------------------------------------------


def test_the_lab_has_objects_to_be_tested():
    assert "patching" in lab_names()


@pytest.mark.parametrize("name", lab_names())
def test_a_committed_object_is_what_its_source_gives(name):
    if assembler.available() != "llvmlite":
        missing("the assembler llvmlite", HOW["llvmlite"])
    assert assemble((LAB / f"{name}.S").read_text(), "llvmlite") == (LAB / f"{name}.o").read_bytes()


def test_every_object_was_made_from_the_source_that_is_there():
    assert recorded_hashes() == {name: source_hash(name) for name in lab_names()}
    assert {path.stem for path in LAB.glob("*.o")} == set(lab_names())


@pytest.mark.parametrize("name", lab_names())
def test_a_committed_object_costs_no_process(name, no_process):
    assert lab_object(name)[: EHDR.size].startswith(b"\x7fELF")


def test_an_object_whose_source_changed_is_assembled_anew(tmp_path, monkeypatch):
    for path in LAB.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(lab, "LAB", tmp_path)
    with (tmp_path / "patching.S").open("a") as source:
        source.write("\nint3\n")
    assert lab_object("patching") != (LAB / "patching.o").read_bytes()
    assert code_of(lab_object("patching")).endswith(b"\xcc")


def test_the_feature_numbers_of_the_lab_are_those_of_the_kernel():
    lines = re.findall(
        r"^X86_FEATURE_(\w+)\s*=\s*(\d+)\*32 \+ (\d+)", (LAB / "features.inc").read_text(), re.MULTILINE
    )
    assert len(lines) >= 5
    for name, word, bit in lines:
        assert features.number(name, "7.3.4") == int(word) * 32 + int(bit), name


# --- all assemblers give the same ------------------------------------------------------------------------


@pytest.mark.parametrize("name", lab_names())
def test_all_assemblers_lead_to_the_same_patched_bytes(name, backend):
    text = (LAB / f"{name}.S").read_text()
    ours, theirs = from_bytes(lab_object(name), name), from_bytes(assemble(text, backend), name)
    how = rules(ours)
    features = sorted({e.feature for p in patch_all(ours, set(), how) for e in p.site.entries})
    assert features
    for chosen in (set(), set(features), *({feature} for feature in features)):
        ours_now, theirs_now = patch_all(ours, chosen, how), patch_all(theirs, chosen, how)
        assert [(ours.label(p.site.address), p.chosen, shape(p)) for p in ours_now] == [
            (theirs.label(p.site.address), p.chosen, shape(p)) for p in theirs_now
        ]


def shape(patch) -> list[tuple[str, str]]:
    """Return what a site became, with targets named and not numbered: layouts differ between assemblers."""
    from vmenter.code.instructions import decode

    return [
        (i.code.hex() if i.rip_target is None and i.branch_target is None else i.mnemonic, str(i.length))
        for i in decode(patch.code or b"", patch.site.address)
    ]


def test_the_child_imports_nothing_of_the_package():
    """The assembler's child runs isolated, so that no module of the reader's folder gets in its way."""
    assert assembler.COMMANDS["llvmlite"][:2] == (sys.executable, "-I")
    assert "import vmenter" not in Path(assembler.COMMANDS["llvmlite"][2]).read_text()


@pytest.mark.parametrize("text", ["testl $NOWHERE, %ebx\n", "cmpb $NOWHERE, (%rdi)\n", ".long NOWHERE\n"])
def test_a_name_that_stands_for_a_number_must_be_defined(text):
    with pytest.raises(AssemblyError, match="line 2: NOWHERE stands for a number here, and is not defined"):
        assemble("nop\n" + text)


@pytest.mark.parametrize("text", ["call elsewhere\n", "jmp elsewhere\n", "verw elsewhere(%rip)\n"])
def test_a_place_may_lie_elsewhere(text):
    assert assemble(text)


@pytest.mark.parametrize(
    "line",
    [
        "mov rax, rbx",
        "xor eax, eax",
        "mov eax, 1",
        "mov rax, [rsp+8]",
        "push rbx",
        "jmp rax",
        "test dword ptr [rsp], 1",
        "verw word ptr [rip + sel]",
        "mov $1, eax",
    ],
)
def test_a_mistake_in_intel_syntax_gets_a_hint_at_its_line(backend, line):
    with pytest.raises(AssemblyError, match="looks like Intel syntax, and the lab writes AT&T's") as found:
        assembler.assemble(f"nop\n{line}\n", backend)
    assert found.value.line == 2


@pytest.mark.parametrize("line", ["mov %rax", "frob %rax, %rbx", "mov $1, $2 # rax", "push $nothing", "jz"])
def test_a_mistake_in_the_labs_own_syntax_gets_none(backend, line):
    with pytest.raises(AssemblyError) as found:
        assembler.assemble(f"nop\n{line}\n", backend)
    assert "Intel" not in str(found.value)


@pytest.mark.parametrize("line", ["al: jmp al", "call rbxx", "jmp cl_else", "lea sp_sel(%rip), %rax"])
def test_names_that_only_resemble_registers_are_names(backend, line):
    assert assembler.assemble(f"{line}\n", backend).startswith(b"\x7fELF")
