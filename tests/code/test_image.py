"""An ELF as addresses: sections, symbols, relocations, tables; and files that are none."""

import struct
import tracemalloc
from itertools import pairwise

import pytest
from elf import (
    ABS,
    ALLOC,
    BANNER,
    DATA,
    EXEC,
    NEW,
    NOBITS,
    PACKERS,
    PC32,
    R64,
    REL,
    RODATA,
    S32,
    SHDR,
    SYMTAB,
    TABLE,
    TEXT,
    UNDEF,
    WRITE,
    Sec,
    Sym,
    elf,
    module,
    vmlinux,
    vmlinuz,
)
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.code.image import MODULE_BASE, Image, from_bytes, load
from vmenter.code.symbols import Symbols
from vmenter.patching.alternatives import apply, patch_all

KERNEL = from_bytes(vmlinux(), "vmlinux")
BASE = MODULE_BASE


def header_of(data: bytes, number: int) -> int:
    """Return where section header `number` stands."""
    return int.from_bytes(data[0x28:0x30], "little") + number * SHDR.size


# --- what is in it -----------------------------------------------------------------------------------------


def test_sections_stand_at_their_addresses():
    assert [(s.name, s.address, s.executable, s.writable) for s in KERNEL.sections] == [
        (".text", TEXT, True, False),
        (".altinstr_replacement", NEW, True, False),
        (".altinstructions", TABLE, False, False),
        (".rodata", RODATA, False, False),
        (".data", DATA, False, True),
        (".bss", 0x6000, False, True),
    ]


def test_reading_goes_by_address():
    assert KERNEL.read(TEXT, 8) == b"\x90" * 7 + b"\xc3"
    assert KERNEL.pointer(DATA) == TEXT + 0x20


def test_what_has_no_bytes_in_the_file_reads_as_zero():
    assert KERNEL.read(0x6FF0, 16) == bytes(16)


@pytest.mark.parametrize(
    ("address", "size"), [(TEXT - 1, 1), (TEXT + 0x2F, 2), (0x7000, 1), (-1, 1), (1 << 64, 1)]
)
def test_reading_outside_is_an_error_that_names_the_place(address, size):
    assert not KERNEL.holds(address, size)
    with pytest.raises(LabError, match=f"vmlinux: {size} bytes at {address:#x} lie outside the image"):
        KERNEL.read(address, size)


@pytest.mark.parametrize("address", [TEXT, TEXT + 0x2F, DATA, 0x6000, 0x6FFF])
def test_with_bytes_returns_another_image(address):
    changed = KERNEL.with_bytes({address: b"\xaa"})
    assert changed.read(address, 1) == b"\xaa"
    assert KERNEL.read(address, 1) != b"\xaa"
    assert changed.symbols is KERNEL.symbols


def test_with_bytes_must_stay_within_a_section():
    with pytest.raises(LabError, match="lie outside the image"):
        KERNEL.with_bytes({TEXT + 0x2F: b"\xaa\xaa"})


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        (BANNER, "6.12.117+lab"),
        (b"Linux version 7.3.4 (x)\0", "7.3.4"),
        (b"Linux version \0", None),
        (b"\0", None),
        (b"Linux version " + b"9" * 5000 + b".1 x", None),  # no version of that length, and no number either
    ],
)
def test_the_version_stands_in_the_banner(banner, version):
    assert from_bytes(vmlinux(banner), "x").kernel == version


def test_a_kernel_is_patched_from_its_file_to_its_bytes():
    patched = patch_all(KERNEL, {3 * 32 + 18, 3 * 32 + 21})
    verw = bytes.fromhex("0f002d") + struct.pack("<i", RODATA - (TEXT + 7))
    assert [p.code for p in patched] == [verw, bytes.fromhex("660f1f440000")]  # the pointer leads to nop_func
    assert apply(KERNEL, patched).read(TEXT, 8) == verw + b"\xc3"


@pytest.mark.parametrize("packer", PACKERS)
def test_a_file_may_be_packed(packer, tmp_path):
    path = tmp_path / "with spaces"
    path.write_bytes(PACKERS[packer](vmlinux()))
    assert [s.data for s in load(path).sections] == [s.data for s in KERNEL.sections]


@pytest.mark.parametrize("packer", [p for p in PACKERS if p != "lzma"])
def test_a_vmlinuz_holds_the_same_kernel(packer):
    found = from_bytes(vmlinuz(PACKERS[packer](vmlinux())), "vmlinuz")
    assert (found.kernel, found.alternatives) == (KERNEL.kernel, KERNEL.alternatives)


# --- relocatable files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [BASE, 0x10_0000, 0x1234])
def test_a_module_is_laid_out_and_relocated(base):
    image = from_bytes(module(), "lab.ko", base)
    text, new, table, rodata = (
        image.section(n) for n in (".text", ".altinstr_replacement", ".altinstructions", ".rodata")
    )
    assert text is not None
    assert new is not None
    assert table is not None
    assert rodata is not None
    assert base <= text.address < base + 16
    assert text.address % 16 == rodata.address % 8 == 0
    assert image.section(".comment") is None
    helper = image.undefined["helper"]
    assert struct.unpack("<i", image.read(text.address + 8, 4))[0] == helper - (text.address + 12)
    assert struct.unpack("<i", image.read(new.address + 3, 4))[0] == rodata.address - (new.address + 7)
    assert struct.unpack("<ii", image.read(table.address, 8)) == (
        text.address - table.address,
        new.address - (table.address + 4),
    )
    (patched,) = patch_all(image, {3 * 32 + 18})
    assert patched.code is not None
    assert struct.unpack("<i", patched.code[3:])[0] == rodata.address - (text.address + 7)


def test_undefined_symbols_have_room_of_their_own_outside_the_sections():
    image = from_bytes(module(), "lab.ko")
    assert set(image.undefined) == {"helper"}
    address = image.undefined["helper"]
    assert image.section_at(address) is None
    assert [image.label(address + n) for n in (0, 8, 0x100)] == ["helper", "helper+0x8", "helper+0x100"]
    assert image.symbols.get("helper") is None


def test_no_undefined_symbol_stands_within_another():
    """pv_ops + 0x10 must not be taken for whatever comes next."""
    symbols = [Sym(f"outside{n}", UNDEF) for n in range(20)]
    undefined = from_bytes(elf([Sec(".text", b"\xc3")], symbols, kind=REL), "x").undefined
    addresses = sorted(undefined.values())
    assert len(addresses) == 20
    assert all(b - a >= 2048 for a, b in pairwise(addresses))


def test_a_module_names_the_kernel_it_was_built_for():
    assert from_bytes(module(), "lab.ko").kernel == "6.12.117+lab"


def reloc(kind: int, *, symbol: Sym | None = None, addend: int = 0, offset: int = 0, size: int = 8) -> bytes:
    data = Sec(".data", bytes(size), flags=ALLOC | WRITE)
    return elf(
        [data],
        [symbol or Sym("here", ".data")],
        [(".data", offset, kind, (symbol or Sym("here", 0)).name, addend)],
        kind=REL,
    )


@pytest.mark.parametrize(
    ("kind", "width", "value"),
    [
        (R64, 8, 0x1000 + 5),
        (PC32, 4, 5),
        (4, 4, 5),  # PLT32
        (10, 4, 0x1005),
        (S32, 4, 0x1005),
        (12, 2, 0x1005),
        (13, 2, 5),
        (15, 1, 5),
        (24, 8, 5),
    ],
)
def test_each_kind_of_relocation_writes_its_own_width(kind, width, value):
    image = from_bytes(reloc(kind, addend=5), "x", 0x1000)
    assert image.read(0x1000, 8) == value.to_bytes(width, "little").ljust(8, b"\0")


def test_absolute_symbols_are_not_moved():
    image = from_bytes(reloc(R64, symbol=Sym("abs", ABS, 0x1234)), "x", 0x1000)
    assert image.pointer(0x1000) == 0x1234


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (reloc(9), "relocation type 9 at 0x1000 is not supported"),  # GOTPCREL
        (reloc(14), "relocation at 0x1000 does not fit 1 bytes"),
        (reloc(15, addend=128), "does not fit 1 bytes"),
        (reloc(12, addend=1 << 16), "does not fit 2 bytes"),
        (reloc(PC32, addend=1 << 31), "does not fit 4 bytes"),
        (reloc(PC32, offset=5), "relocation at 0x1005 leads nowhere"),
        (reloc(PC32, offset=1 << 40), "leads nowhere"),
    ],
)
def test_a_relocation_that_cannot_be_is_an_error(data, message):
    with pytest.raises(LabError, match=message):
        from_bytes(data, "x", 0x1000)


def test_a_module_does_not_fit_below_its_addresses():
    with pytest.raises(LabError, match="does not fit 4 bytes"):
        from_bytes(reloc(S32), "x", 0x8000_0000)
    assert from_bytes(reloc(10), "x", 0x8000_0000).read(0x8000_0000, 4) == b"\0\0\0\x80"


# --- symbols -----------------------------------------------------------------------------------------------


def test_symbols_go_both_ways():
    symbols = KERNEL.symbols
    start = symbols.get("start")
    assert start is not None
    assert (start.address, start.size) == (TEXT, 8)
    assert symbols.at(TEXT + 7) == ("start", 7)
    assert symbols.at(TEXT + 8) is None  # its size is known
    assert symbols.at(TEXT - 1) is None
    assert symbols.get("nowhere") is None


def test_a_label_is_a_name_and_an_offset():
    assert [KERNEL.label(a) for a in (TEXT, TEXT + 5, TEXT + 9, 0x9999)] == [
        "start",
        "start+0x5",
        "0x1009",
        "0x9999",
    ]


def test_a_functions_extent_is_its_size_or_reaches_to_the_next_symbol():
    assert KERNEL.symbols.extent("start") == (TEXT, TEXT + 8)
    symbols = Symbols.from_text(b"1000 T a\n1000 T alias\n1010 T b\n")
    assert symbols.extent("a") == symbols.extent("alias") == (0x1000, 0x1010)
    assert symbols.extent("b") == (0x1010, 0xFFFF_FFFF_FFFF_FFFF)
    with pytest.raises(LabError, match="no symbol named 'c'"):
        symbols.extent("c")


@pytest.mark.parametrize("packer", [None, *PACKERS])
def test_symbols_come_from_a_system_map_also_packed(packer):
    text = b"ffffffff81000000 T _text\nffffffff81000040 t local\t[module]\n"
    symbols = Symbols.from_text(PACKERS[packer](text) if packer else text)
    assert symbols.at(0xFFFF_FFFF_8100_0041) == ("local", 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1000 T a\nsomething else\n", r"map, line 2: b'something else' is not .address type name."),
        (b"1000 T\n", "line 1"),
        (b"1000 T \xff\xfe\n", "line 1"),
        (b"-5 T a\n", "line 1"),
        (b"1" * 17 + b" T a\n", "line 1"),
        (b"0 T a\n0 T b\n", "no address but 0; /proc/kallsyms shows addresses only to root"),
        (b"", "no address but 0"),
        (b"\n", "line 1"),
    ],
)
def test_what_is_no_system_map_is_an_error_with_its_line(text, message):
    with pytest.raises(LabError, match=message):
        Symbols.from_text(text, "map")


@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from("abcdefg"), st.just(0)), max_size=20),
    st.integers(-1, 60),
)
def test_the_nearest_symbol_below_is_found_in_any_list(entries, address):
    symbols = Symbols.of(entries)
    below = [a for a, _, _ in entries if a <= address]
    found = symbols.at(address)
    if not below:
        assert found is None
    else:
        assert found is not None
        assert found[1] == address - max(below)
        assert (max(below), found[0], 0) in entries


# --- files that are none -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither an ELF file nor a vmlinuz"),
        (b"#!/bin/sh\n", r"neither an ELF file nor a vmlinuz, packed or not \(starts 23 21 2f 62"),
        (b"\x7fELF", "damaged ELF file"),
        (
            elf([Sec(".text", b"\xc3")], machine=183),
            r"a 64-bit ELF for arm64 \(EM_AARCH64\); only 64-bit x86 is understood",
        ),
        (vmlinux()[:-30], "damaged ELF file"),
        (vmlinux()[:0x200], "damaged ELF file"),
    ],
)
def test_what_is_no_such_file_is_an_error_that_says_so(data, message):
    with pytest.raises(LabError, match=f"^some file: {message}"):
        from_bytes(data, "some file")


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(LabError, match="No such file"):
        load(tmp_path / "nothing")
    with pytest.raises(LabError, match="a folder, not a file"):
        load(tmp_path)


def test_an_elf_without_section_headers_is_an_error():
    data = bytearray(vmlinux())
    struct.pack_into("<Q", data, 0x28, 0)
    struct.pack_into("<HHH", data, 0x3A, 0, 0, 0)
    with pytest.raises(LabError, match="x: the ELF has no section headers"):
        from_bytes(bytes(data), "x")


ABSURD = [
    pytest.param([Sec(".altinstructions", kind=NOBITS, address=0x1000, size=size)], kind, id=f"{size:#x} {name}")
    for size in (1 << 29, 1 << 40, (1 << 64) - 1)
    for kind, name in ((2, "exec"), (REL, "rel"))
]


@pytest.mark.parametrize(("sections", "kind"), ABSURD)
def test_a_table_of_absurd_size_takes_no_memory(sections, kind):
    """A section without bytes in the file costs its maker nothing."""
    data = elf([*sections, Sec(".rodata", BANNER, address=0x10)], kind=kind)
    tracemalloc.start()
    try:
        with pytest.raises(LabError):
            patch_all(from_bytes(data, "x"), set())
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_name_without_an_end_takes_no_memory():
    """Each of many symbols could claim the rest of a long string table for its name."""
    names = Sec(".names", b"a" * 2_000_000, kind=3, flags=0)
    symbols = Sec(".symtab", struct.pack("<IBBHQQ", 0, 0, 0, ABS, 1, 0) * 5000, SYMTAB, 0, link=1, entry=24)
    undefined = Sec(".symtab", struct.pack("<IBBHQQ", 0, 0, 0, UNDEF, 1, 0) * 5000, SYMTAB, 0, link=1, entry=24)
    text = Sec(".text", b"\xc3", flags=ALLOC | EXEC, address=0x1000)
    for table in (symbols, undefined):
        tracemalloc.start()
        try:
            with pytest.raises(LabError, match="damaged ELF file"):
                from_bytes(elf([names, table, text]), "x")
            assert tracemalloc.get_traced_memory()[1] < 64 << 20
        finally:
            tracemalloc.stop()


def test_an_image_is_a_value():
    assert isinstance(KERNEL, Image)
    with pytest.raises(AttributeError):
        KERNEL.name = "another"
