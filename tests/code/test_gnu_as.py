"""The tab's assembler: what it makes of the lab's sources, and what it says of mistakes."""

from io import BytesIO

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from in_tab import in_tab

from vmenter import LabError
from vmenter.code import assembler
from vmenter.code.image import from_bytes
from vmenter.patching.lab import LAB, assemble, lab_names, lab_object

MISTAKES = (
    "nop\nbogus %rax\nnop\n",
    "nop\n  movq %rax\n",
    '.include "nowhere.inc"\n',
    "nop\njmp 1f\n",
    "1: nop\njmp 2b\n",
    "jmp .Lhere\n",
    ".macro broken\n  bogus\n.endm\nnop\nbroken\nnop\n",
    ".macro deep\n deep\n.endm\ndeep\n",
    '.include "alternative.inc"\nnop\nALTERNATIVE "nop", "bogus", 5\n',
    '.include "alternative.inc"\nALTERNATIVE nop, verw 8(%rsp), 5\n',
    'ALTERNATIVE "nop", "verw 8(%rsp)", X\n',
    ".if\n",
    "nop\nmov $1, %xyz\n",
    "testl $NOWHERE, %ebx\n",
    "mov rax, rbx\n",
    "mov $1, eax\n",
    "push rbx\n",
    "movb $1, %eax\n",
    "pushq %eax\n",
    "movl $1, 8(%rsp, %rsp)\n",
    "verw 8(%rsp\n",
    "verw\n",
    "mov $1, (%rax)\n",
    ".byte 300\n",
    "a: nop\na: nop\n",
    ".rept 3\nnop\n",
    ".macro x\nnop\n",
    "nop\n)\n",
    "nop\n\udcff\n",
)
THERE = """
from vmenter import LabError
from vmenter.code import assembler
from vmenter.patching.lab import LAB, assemble

def tried(text):
    try:
        return assemble(text).hex()
    except LabError as error:
        return str(error)

assembler._assemble.cache_clear()
result = {
    "backend": assembler.available(),
    "objects": [tried((LAB / f"{name}.S").read_text()) for name in given["names"]],
    "mistakes": [tried(text) for text in given["mistakes"]],
    "endless": [tried(text) for text in given["endless"]],
    "after": tried("nop"),
}
"""
ENDLESS = (
    ".rept 1000000000\nnop\n.endr\n",
    ".rept 4000000000\nnop\n.endr\n",
    ".skip 40000000, 0x90\n",
    ".skip 3000000000\n",
)


@pytest.fixture(scope="module")
def found():
    return in_tab(THERE, {"names": lab_names(), "mistakes": MISTAKES, "endless": ENDLESS})


ALIKE = {1: "64", 2: "PC32", 4: "PC32", 10: "32", 11: "32S"}


def sections(data):
    """Return what an object holds of code, data and tables, and what is to be filled in where: (type, name, addend).

    PLT32 (type 4 of the psABI) asks for a call's target as PC32 (2) does, where nothing is linked.
    """
    elf = ELFFile(BytesIO(data))
    found = {one.name: one.data() for one in elf.iter_sections() if one["sh_flags"] & 2 and one["sh_size"]}
    found = {name: data for name, data in found.items() if not name.startswith(".note")}
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection):
            symbols = elf.get_section(section["sh_link"])
            found[section.name] = sorted(
                (one["r_offset"], ALIKE.get(one["r_info_type"]), _name(elf, symbols, one), one["r_addend"])
                for one in section.iter_relocations()
            )
    return found


def loaded(data, name):
    """Return where everything lies, and what it is by then."""
    return [(one.name, one.address, one.data) for one in from_bytes(data, name).sections if one.size]


def _name(elf, symbols, relocation):
    symbol = symbols.get_symbol(relocation["r_info_sym"])
    return symbol.name or elf.get_section(symbol["st_shndx"]).name


def test_it_is_the_tabs_only_assembler(found):
    assert found["backend"] == "as"


@pytest.mark.parametrize("name", lab_names())
def test_it_makes_the_committed_code_of_every_lab_source(found, name):
    made = bytes.fromhex(found["objects"][lab_names().index(name)])
    assert sections(made) == sections(lab_object(name))
    assert loaded(made, name) == loaded(lab_object(name), name)
    assert {".text", ".altinstructions", ".rela.altinstructions"} <= sections(made).keys()


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_reads_as_it_does_on_a_desktop(found, text):
    with pytest.raises(LabError) as caught:
        assemble(text)
    assert found["mistakes"][MISTAKES.index(text)] == str(caught.value)


@pytest.mark.skipif(not assembler.works("as"), reason="GNU as is not here")
@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_reads_the_same_whichever_assembler_is_at_work(text):
    said = set()
    for backend in filter(assembler.works, assembler.BACKENDS):
        with pytest.raises(LabError) as caught:
            assembler.assemble(text, backend, LAB)
        said.add(str(caught.value))
    assert len(said) == 1, said


def test_a_text_that_asks_for_too_much_is_refused_and_the_next_one_assembled(found):
    for text, words in zip(ENDLESS, found["endless"], strict=True):
        assert "without an end" in words or "the lab takes" in words, (text, words)
    assert bytes.fromhex(found["after"]).startswith(b"\x7fELF")
