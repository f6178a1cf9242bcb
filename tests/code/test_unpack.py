"""Wrappings: told by their first bytes, taken off within bounds."""

import random
import struct
import tracemalloc

import pytest
import zstandard
from elf import PACKERS, vmlinux, vmlinuz
from hypothesis import given
from hypothesis import strategies as st

from vmenter import LabError
from vmenter.code.unpack import MAX_RATIO, unpack

KERNEL = vmlinux()


@pytest.mark.parametrize("packer", PACKERS)
@given(data=st.binary(min_size=1, max_size=5000).map(lambda data: b"\x7f" + data))
def test_what_was_packed_comes_back(packer, data):
    assert unpack(PACKERS[packer](data), "x") == data


@given(st.binary(max_size=300))
def test_data_in_no_wrapping_is_left_alone(data):
    assert unpack(b"\x7f" + data, "x") == b"\x7f" + data


def test_nothing_is_nothing():
    assert unpack(b"", "x") == b""


@pytest.mark.parametrize("packer", PACKERS)
def test_the_kernel_comes_out_of_a_vmlinuz(packer):
    assert unpack(vmlinuz(PACKERS[packer](KERNEL)), "x") == KERNEL


def test_a_vmlinuz_may_hold_its_kernel_unpacked():
    assert unpack(vmlinuz(KERNEL), "x") == KERNEL


@pytest.mark.parametrize("packer", ["gz", "xz", "zst", "lz4"])
def test_a_vmlinuz_may_be_packed_itself(packer):
    assert unpack(PACKERS[packer](vmlinuz(PACKERS["zst"](KERNEL))), "x") == KERNEL


def test_no_setup_sectors_stand_for_four():
    """Documentation/arch/x86/boot.rst, field setup_sects."""
    assert unpack(vmlinuz(PACKERS["gz"](KERNEL), setup_sects=0), "x") == KERNEL


@pytest.mark.parametrize("packer", PACKERS)
def test_the_kernel_build_appends_the_unpacked_size_to_the_payload(packer):
    assert unpack(vmlinuz(PACKERS[packer](KERNEL) + struct.pack("<I", len(KERNEL))), "x") == KERNEL


def test_lz4_blocks_follow_one_another():
    data = random.Random(1).randbytes(1 << 20) * 17
    assert unpack(PACKERS["lz4"](data), "x") == data


@pytest.mark.parametrize("packer", PACKERS)
def test_packed_data_that_ends_too_early_is_an_error(packer):
    data = random.Random(2).randbytes(4000)
    packed = PACKERS[packer](data)
    for cut in (8, len(packed) // 2, len(packed) - 1):
        with pytest.raises(LabError, match=r"^some\.file: damaged or cut short"):
            unpack(packed[:cut], "some.file")


@pytest.mark.parametrize("packer", PACKERS)
def test_a_flipped_bit_in_packed_data_never_goes_unnoticed_as_another_error(packer):
    packed = PACKERS[packer](KERNEL)
    for at in range(0, len(packed), max(1, len(packed) // 50)):
        damaged = bytearray(packed)
        damaged[at] ^= 0x10
        try:
            unpack(bytes(damaged), "x")
        except LabError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (vmlinuz(b"\x1f\x8b", protocol=0x207), "boot protocol 2.07, older than 2.08"),
        (vmlinuz(PACKERS["gz"](KERNEL))[:2200], "cut short: its kernel would end at byte"),
        (vmlinuz(b""), "cut short"),
        (vmlinuz(b"\x89LZO\0\r\n"), "packed in a way not supported .starts 89 4c 5a 4f"),
    ],
)
def test_a_vmlinuz_that_cannot_be_opened_says_why(image, message):
    with pytest.raises(LabError, match=message):
        unpack(image, "x")


# --- bombs -------------------------------------------------------------------------------------------------


def peak_of_refusing(bomb: bytes) -> int:
    """Return how many bytes Python took to refuse a bomb."""
    tracemalloc.start()
    try:
        with pytest.raises(LabError, match=r"unpacks to more than|damaged"):
            unpack(bomb, "bomb")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packer", PACKERS)
def test_a_bomb_is_refused_before_it_has_grown(packer):
    bomb = PACKERS[packer](bytes(150 << 20))
    assert peak_of_refusing(bomb) < (48 << 20) + 3 * MAX_RATIO * len(bomb)


def test_a_zstd_bomb_of_empty_blocks_is_refused_before_it_has_grown():
    """One block of four bytes stands for 128 KiB: a ratio of 32,768."""
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"  # RLE
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(b"")[:4] + b"\x00\x88" + block * 4000
    assert peak_of_refusing(frame) < 48 << 20


def test_bombs_in_bombs_share_one_limit():
    bomb = bytes(200 << 20)
    for _ in range(3):
        bomb = PACKERS["gz"](bomb)
    assert peak_of_refusing(bomb) < 4 << 20
