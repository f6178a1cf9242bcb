"""Lengths: by the kernel's own decoder, run in an emulator, and beside two disassemblers."""

import re
import subprocess
from random import Random

import capstone
import pytest
from needs import objdump
from own_code import own
from sequences import sequence

from vmenter.code.lengths import LONGEST, decoder, decoders, length, lengths, shape, shapes

KERNELS = ("5.10.262", "6.1.192", "6.12.117", "7.3.4")
NUMBER = 5000


def bytes_of(text: str) -> bytes:
    return bytes.fromhex(text)


def test_the_tables_are_of_the_kernels_that_are_tested():
    assert [one.kernel for one in decoders()] == list(KERNELS)


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_sequence_has_the_length_that_the_kernels_own_decoder_gives_it(kernel, report):
    random, tables, real = Random(kernel), decoder(kernel), own(kernel)
    codes = [sequence(random) for _ in range(NUMBER)]
    found = [(code.hex(), length(code, tables), real.length(code)) for code in codes]
    assert [one for one in found if one[1] != one[2]] == []
    told = sum(size is not None for _, size, _ in found)
    assert NUMBER // 2 < told < NUMBER  # both kinds were compared
    report(
        f"lengths, kernel {kernel}: {NUMBER:,} of {NUMBER:,} as its own decoder has them, {NUMBER - told:,} of them none"
    )


def kernels_own_idea(code: bytes) -> bool:
    """Tell whether the kernel's decoder differs from the CPU here, by design or for lack of an entry."""
    found = re.match(rb"[\x26\x2e\x36\x3e\x64-\x67\xf0\xf2\xf3]*", code, re.DOTALL)
    rest = code[found.end() :]
    if len({*found[0]}) > 4:  # the fifth different prefix is taken for an opcode
        return True
    rex = 0x40 <= rest[0] <= 0x4F
    rest = rest[1:] if rex else rest
    if rex and (rest[:1] in (b"\xc4", b"\xc5", b"\x62") or 0x40 <= rest[0] <= 0x4F or rest[0] in PREFIX):
        return True  # REX counts only right before the opcode
    if rest[0] == 0xC4 and rest[1] & 31 == 3:  # four operands, never in a kernel
        return rest[3] in range(0x48, 0x80)
    if rest[0] != 0x0F:
        return False
    return (
        rest[1] in (0x20, 0x21, 0x22, 0x23)  # control and debug registers: the CPU takes no notice of the mode
        or 0x18 <= rest[1] <= 0x1D  # NOPs with an operand
        or (
            code[0] in (0xF2, 0xF3, 0x66) or b"\xf2" in found[0] or b"\xf3" in found[0]
        )  # which no instruction has
    )


PREFIX = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3")
SLOT = 32


def by_objdump(codes: list[bytes], folder) -> dict[int, int]:
    """Return the length of the first instruction in each code, where objdump knows it."""
    binary = folder / "codes.bin"
    binary.write_bytes(b"".join(code.ljust(SLOT, b"\x90") for code in codes))
    command = [objdump(), "-D", "-b", "binary", "-m", "i386:x86-64", "-z", "--insn-width=16", str(binary)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {}
    for line in re.finditer(r"^\s*([0-9a-f]+):\t([0-9a-f ]+?)\s*\t(.*)$", done.stdout, re.MULTILINE):
        if int(line[1], 16) % SLOT == 0 and "(bad)" not in line[3]:
            found[int(line[1], 16) // SLOT] = len(line[2].split())
    return found


def test_where_two_disassemblers_agree_the_newest_tables_agree_with_them(tmp_path, report):
    random = Random(11)
    codes = [sequence(random) for _ in range(NUMBER)]
    capstone_ = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    theirs = by_objdump(codes, tmp_path)
    compared, different = 0, []
    for index, code in enumerate(codes):
        first = next(capstone_.disasm(code, 0), None)
        if first is None or theirs.get(index) != first.size:
            continue
        compared += 1
        found = length(code, decoders()[-1])
        if found != first.size and not kernels_own_idea(code):
            different.append((code.hex(), found, first.size))
    assert different == []
    assert compared > NUMBER // 3
    report(f"lengths: {compared:,} sequences on which Capstone and objdump agree have the same one here")


@pytest.mark.parametrize(
    ("code", "size"),
    [
        ("0f01e8", 3),  # SERIALIZE: Capstone 5 stops here
        ("66f390", 3),  # and here
        ("2ee900000000", 6),
        ("66e800000000", 6),  # a near CALL has four bytes whatever a 66 says
        ("06", 1),  # PUSH ES: no 64-bit instruction, and yet of one byte
        ("0f04", 2),
        ("48b80000000000000000", 10),
        ("66b80000", 4),
        ("6648b80000000000000000", 11),  # REX.W is stronger than 66
        ("48a10000000000000000", 10),
        ("6748a100000000", 7),
        ("f6c012", 3),
        ("f6d0", 2),
        ("66f7c01234", 5),
        ("62f1fd486f0500000000", 10),
        ("c4e3fd000500000000aa", 10),
    ],
)
def test_known_lengths(code, size):
    assert length(bytes_of(code), decoder("6.12.117")) == size
    assert all(
        length(bytes_of(code)[:cut], decoder("6.12.117")) is None for cut in range(1, size) if code[:2] != "0f"
    )


def test_tables_know_what_their_kernel_knew():
    rex2, xop = bytes_of("d50090"), bytes_of("8fe878c0c110")
    assert [length(rex2, one) for one in decoders()] == [2, 2, 3, 3]  # to v6.10 AAD with its byte
    assert [length(xop, one) for one in decoders()] == [2, 2, 2, 6]


def test_what_has_no_length_ends_the_list():
    assert lengths(bytes_of("90 62909090909090 90")) == (1,)
    assert shape(bytes_of("c590909090"), decoders()[-1]) is not None or lengths(bytes_of("c590909090")) == ()
    assert shapes(b"", decoders()[-1]) == ()


def test_no_instruction_is_longer_than_fifteen_bytes():
    assert length(b"\x66" * 14 + b"\x90", decoders()[-1]) == LONGEST
    assert length(b"\x66" * 15 + b"\x90", decoders()[-1]) is None


def test_a_shape_tells_where_the_displacements_are():
    one = shape(bytes_of("662e0f8412345678"), decoders()[-1])
    assert (one.opcode, one.second, one.immediate, one.rip) == (0x0F, 0x84, (4, 4), None)
    one = shape(bytes_of("f3480fb8050000000090"), decoders()[-1])
    assert (one.length, one.rip, one.immediate, one.start, one.modrm) == (9, (5, 4), None, 2, 4)
