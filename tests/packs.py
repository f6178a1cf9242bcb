"""Packages made here, small and to the letter of their formats: .deb, .rpm, tar; and a module to put into them."""

import io
import struct
import tarfile
from collections.abc import Mapping

from elf import PACKERS

VERSION = "6.6.6-test"
TREE = f"lib/modules/{VERSION}"
NONE = {"none": lambda data: data}


def ko(name: str = "intel", version: str = VERSION) -> bytes:
    """Return what finding a kernel reads of a module: the strings of its .modinfo."""
    return b"\x7fELF" + bytes(60) + f"\0name=kvm_{name}\0vermagic={version} SMP preempt\0".encode() + bytes(200)


def boot(version: str = VERSION) -> bytes:
    """Return what finding a kernel reads of a vmlinuz: a header that points to the version."""
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x100).to_bytes(2, "little")
    return bytes(head[:0x300]) + f"{version} (builder) #1 SMP\0".encode() + bytes(100)


def kernel_files(version: str = VERSION) -> dict[str, bytes]:
    """Return a kernel as a package holds it, with other files around it."""
    tree = f"lib/modules/{version}"
    return {
        f"boot/vmlinuz-{version}": boot(version),
        f"{tree}/kernel/arch/x86/kvm/kvm-amd.ko.xz": PACKERS["xz"](ko("amd", version)),
        f"{tree}/kernel/arch/x86/kvm/kvm-intel.ko.xz": PACKERS["xz"](ko("intel", version)),
        f"{tree}/kernel/arch/x86/kvm/kvm.ko.xz": PACKERS["xz"](bytes(3000)),
        f"{tree}/kernel/drivers/long/{'x' * 120}.ko.xz": bytes(range(256)) * 40,
    }


def tar(
    files: Mapping[str, bytes], extra: tuple[tarfile.TarInfo, ...] = (), form: int = tarfile.GNU_FORMAT
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info in extra:
            archive.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def ar(members: Mapping[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        out += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
            + data
            + b"\n" * (len(data) % 2)
        )
    return out


SUFFIX = {"none": "", "gz": ".gz", "xz": ".xz", "lzma": ".lzma", "bz2": ".bz2", "zst": ".zst"}


def pack(how: str, data: bytes) -> bytes:
    return data if how == "none" else PACKERS[how](data)


def deb(files: Mapping[str, bytes], how: str = "xz", inner: bytes | None = None, **control: str) -> bytes:
    """Return a .deb of files, or of the tar given; `control` holds fields such as Depends."""
    fields = {"Package": "linux-image-test", "Version": "1", "Architecture": "amd64", **control}
    fields |= {"Maintainer": "Nobody <nobody@example.org>", "Description": "made by a test"}
    text = "".join(f"{name}: {value}\n" for name, value in fields.items()).encode()
    return ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.gz": PACKERS["gz"](tar({"control": text})),
            f"data.tar{SUFFIX[how]}": pack(how, tar(files) if inner is None else inner),
        }
    )


def cpio(files: Mapping[str, bytes], mode: int = 0o100644) -> bytes:
    out = b""
    for number, (name, data) in enumerate([*((f"./{n}", d) for n, d in files.items()), ("TRAILER!!!", b"")]):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return out


def rpm_header(tags: Mapping[int, tuple[int, int, bytes]]) -> bytes:
    """Return a header of tags: number -> (type, count, bytes)."""
    index, store = b"", b""
    for tag, (kind, count, data) in tags.items():
        store += bytes(-len(store) % 4)
        index += struct.pack(">4I", tag, kind, len(store), count)
        store += data
    return b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">2I", len(tags), len(store)) + index + store


NAMES = {"none": b"", "gz": b"gzip", "bz2": b"bzip2", "lzma": b"lzma", "xz": b"xz", "zst": b"zstd"}


def rpm(files: Mapping[str, bytes], how: str = "zst", payload: bytes | None = None, **extra: tuple) -> bytes:
    """Return an .rpm of files, or of the cpio archive given; `extra` replaces whole headers."""
    lead = struct.pack(">4sBBhh66shh16s", b"\xed\xab\xee\xdb", 3, 0, 0, 1, b"kernel-core-6.6.6", 1, 5, b"")
    packed = pack(how, cpio(files) if payload is None else payload)
    signature = extra.get("signature") or rpm_header({1000: (4, 1, len(packed).to_bytes(4, "big"))})
    texts = {1000: b"kernel-core", 1001: b"6.6.6", 1002: b"1", 1022: b"x86_64", 1124: b"cpio", 1125: NAMES[how]}
    header = extra.get("header") or rpm_header({tag: (6, 1, text + b"\0") for tag, text in texts.items()})
    return lead + signature + bytes(-len(signature) % 8) + header + packed
