"""Take the wrapping off: .xz .gz .zst files, and the kernel inside a vmlinuz.

Formats are told by their first bytes, never by a file's name. Sizes are bounded before memory is taken, so a
small file that would unpack to gigabytes is an error, not a full machine. Source for vmlinuz:
Documentation/arch/x86/boot.rst in the kernel tree (fields setup_sects, payload_offset, payload_length).
"""

import bz2
import io
import lzma
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

from vmenter import LabError

MAX_PACKED = 128 << 20  # bytes; a vmlinuz has some 15 MB
MAX_UNPACKED = 192 << 20  # bytes; the ELF inside a vmlinuz has some 64 MB
MAX_RATIO = 200  # kernels and modules pack at most about 10 to 1
MEMORY = 256 << 20  # what a decompressor may ask for, in bytes
WINDOW = MEMORY.bit_length() - 1  # the same, as zstd counts it
CHUNK = 1 << 20


def is_wrapped(start: bytes) -> bool:
    """Tell by a file's first 0x206 bytes whether `unpack` takes something off."""
    return start[0x202:0x206] == b"HdrS" or any(start.startswith(magic) for magic in UNPACKERS)


def unpack(data: bytes, name: str, most: int = MAX_UNPACKED) -> bytes:
    """Return what is inside `data`: unpacked, and if that is a vmlinuz, its kernel, unpacked too.

    Data in no known wrapping comes back as it is. Raises `LabError` for damaged or oversized wrapping.
    """
    limit = min(most, CHUNK + MAX_RATIO * len(data))  # for each layer
    for _ in range(3):  # vmlinuz.gz -> vmlinuz -> payload
        if data[0x202:0x206] == b"HdrS":
            data = _payload(data, name)
        unpacker = next((u for magic, u in UNPACKERS.items() if data.startswith(magic)), None)
        if unpacker is None:
            break
        data = _bounded(unpacker, data, limit, name)
    return data


def _payload(data: bytes, name: str) -> bytes:
    """Return the packed kernel inside a vmlinuz."""
    protocol = int.from_bytes(data[0x206:0x208], "little")
    if protocol < 0x208 or len(data) < 0x250:
        raise LabError(f"{name}: a vmlinuz of boot protocol {protocol >> 8}.{protocol & 255:02}, older than 2.08")
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1F1] or 4) + 1) * 512 + offset
    payload = data[start : start + length]
    if len(payload) < length or not payload:
        raise LabError(f"{name}: a vmlinuz cut short: its kernel would end at byte {start + length:,}")
    if payload.startswith(b"\x7fELF") or any(payload.startswith(magic) for magic in UNPACKERS):
        return payload
    raise LabError(f"{name}: a vmlinuz packed in a way not supported (starts {payload[:6].hex(' ')})")


def _bounded(unpacker: Callable[[bytes, int], bytes], data: bytes, limit: int, name: str) -> bytes:
    """Unpack, with a limit on the result; every failure is a `LabError`."""
    try:
        result = unpacker(data, limit)
    except LabError:
        raise
    except ModuleNotFoundError as error:  # a browser's tab has no lz4
        raise LabError(f"{name}: unpacking it needs {error.name}, which is not here: unpack it first") from None
    except MemoryError:
        raise LabError(f"{name}: damaged: unpacking it asks for too much memory") from None
    except Exception as error:  # noqa: BLE001  (each library has its own error for damaged data)
        raise LabError(f"{name}: damaged or cut short: {error or type(error).__name__}") from None
    if len(result) > limit:
        raise LabError(
            f"{name}: unpacks to more than {limit:,} bytes; no kernel packs that well, so it is refused"
        )
    return result


# What is unpacked grows in a BytesIO, which hands it over at the end without a copy.


def _stream(decompressor: Any, data: bytes, limit: int) -> bytes:
    """Run a decompressor of bz2, lzma or Python's zstd; stop just above the limit."""
    out = io.BytesIO(decompressor.decompress(data, CHUNK))
    out.seek(0, io.SEEK_END)
    while not decompressor.eof and out.tell() <= limit:
        if decompressor.needs_input:
            raise EOFError("the packed data ends too early")
        out.write(decompressor.decompress(b"", CHUNK))
    return out.getvalue()


def _gzip(data: bytes, limit: int) -> bytes:
    out, decompressor = io.BytesIO(), zlib.decompressobj(wbits=31)
    for start in range(0, len(data), CHUNK):
        left = data[start : start + CHUNK]
        while left and not decompressor.eof and out.tell() <= limit:
            out.write(decompressor.decompress(left, CHUNK))
            left = decompressor.unconsumed_tail
    out.write(decompressor.flush() if not decompressor.eof and out.tell() <= limit else b"")
    if not decompressor.eof and out.tell() <= limit:
        raise EOFError("the packed data ends too early")
    return out.getvalue()


def _xz(data: bytes, limit: int) -> bytes:
    return _stream(lzma.LZMADecompressor(memlimit=MEMORY), data, limit)


def _bzip2(data: bytes, limit: int) -> bytes:
    return _stream(bz2.BZ2Decompressor(), data, limit)


def zstd_reader(source: Any) -> Any:
    """Return a file object that unpacks another, frame by frame, with a window of at most `MEMORY`."""
    if sys.version_info >= (3, 14):  # Python's own, as in a browser's tab
        from compression import zstd  # noqa: PLC0415  (only where it is needed)

        return zstd.ZstdFile(source, options={zstd.DecompressionParameter.window_log_max: WINDOW})
    import zstandard  # noqa: PLC0415

    return zstandard.ZstdDecompressor(max_window_size=MEMORY).stream_reader(source, read_across_frames=True)


def _zstd(data: bytes, limit: int) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415  (only where it is needed)

        options = {zstd.DecompressionParameter.window_log_max: WINDOW}
        return _stream(zstd.ZstdDecompressor(options=options), data, limit)
    import zstandard  # noqa: PLC0415

    out = io.BytesIO()
    decompressor = zstandard.ZstdDecompressor(max_window_size=MEMORY).decompressobj()
    bite = max(1, limit >> 17)  # four bytes may stand for 128 KiB: one bite takes a quarter of the limit
    for start in range(0, len(data), bite):
        out.write(decompressor.decompress(data[start : start + bite]))
        if decompressor.eof or out.tell() > limit:
            return out.getvalue()
    raise EOFError("the packed data ends too early")


def _lz4_legacy(data: bytes, limit: int) -> bytes:
    """Unpack the kernel build's frame: a magic number, then blocks of at most 8 MiB, each with its size."""
    import lz4.block  # noqa: PLC0415  (only where it is needed)

    out, at = io.BytesIO(), 4
    while at < len(data) and out.tell() <= limit:
        size = int.from_bytes(data[at : at + 4], "little")
        if at + 4 == len(data) and out.tell():  # what may follow the last block is the unpacked size
            break
        if at + 4 + size > len(data):
            raise EOFError("the packed data ends too early")
        out.write(lz4.block.decompress(data[at + 4 : at + 4 + size], uncompressed_size=8 << 20))
        at += 4 + size
    return out.getvalue()


UNPACKERS: dict[bytes, Callable[[bytes, int], bytes]] = {
    b"\x1f\x8b": _gzip,
    b"\xfd7zXZ\0": _xz,
    b"\x5d\0\0": _xz,  # the older lzma format, which the same library reads
    b"BZh": _bzip2,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x02\x21\x4c\x18": _lz4_legacy,
}
