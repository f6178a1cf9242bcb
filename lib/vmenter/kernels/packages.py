"""Read a kernel's files out of a package: .deb, .rpm, or a tar package (.pkg.tar.zst and the like).

A package is read as a stream, and only as far as needed: one of modules holds some 100 MB, of which two files are
wanted. Nothing is written, and only names that match are kept, so a package's paths and links lead nowhere. Sizes
are bounded before memory is taken. Sources: deb(5); the newc format in cpio(5); “Package Format V4” and rpmtag.h
of RPM's own documentation.
"""

import io
import lzma
import re
import stat
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from vmenter import LabError
from vmenter.code.elf import ONLY
from vmenter.code.files import opened
from vmenter.code.unpack import CHUNK, MAX_RATIO, MEMORY, zstd_reader
from vmenter.code.visible import visible

MODULES = ("kvm-intel.ko", "kvm-amd.ko")
FILES = (*MODULES, "vmlinuz")  # what a kernel is to this library; the keys used everywhere

DEB, RPM = b"!<arch>\n", b"\xed\xab\xee\xdb"  # what such files begin with
PKGINFO = ".PKGINFO"  # what a pacman package says of itself: alpm-pkginfo(5)

MAX_PACKAGE = 2 << 30  # bytes unpacked; packages of modules stay below 1 GiB
MAX_FILE = 256 << 20  # bytes of one file
MAX_MEMBERS = 100_000
MAX_NAME = 4096  # bytes of a path, as in Linux
MAX_EXTRA = 2 << 20  # bytes of long names and extended headers in one tar
MAX_FIELDS = 1 << 20  # bytes of what a package says of itself
MAX_RPM_HEAD = 32 << 20
RPM_MACHINE, RPM_LAYOUT, RPM_STRING = 1022, 1124, 6  # RPMTAG_ARCH, RPMTAG_PAYLOADFORMAT, RPM_STRING_TYPE
TOO_MANY = "{}: more than " + f"{MAX_MEMBERS:,} files; no kernel's package has that many"

_MODULE = re.compile(r"(?:.*/)?(kvm-intel\.ko|kvm-amd\.ko)(?:\.(?:xz|gz|zst))?", re.DOTALL)
_VMLINUZ = re.compile(r"(?:.*/)?vmlinuz(?:-(?!0-rescue)[^/]*(?<!\.hmac)(?<!\.sig))?", re.DOTALL)


def key(name: str) -> str | None:
    """Return which of FILES a path is, as ``kvm-intel.ko`` for ``lib/modules/6.1/…/kvm-intel.ko.xz``; or None."""
    module = _MODULE.fullmatch(name)
    if module:
        return module[1]
    return "vmlinuz" if _VMLINUZ.fullmatch(name) else None


def is_package(start: bytes, name: str) -> bool:
    """Tell by a file's first bytes, or for a tar by its name, whether `files` can read it."""
    return start.startswith((DEB, RPM)) or ".tar" in Path(name).suffixes


class OtherMachineError(LabError):
    """A package for another machine than 64-bit x86."""


def files(path: Path, want: Collection[str] = FILES) -> Iterator[tuple[str, bytes]]:
    """Yield (path in the package, bytes, still packed) of the wanted files; stop when all of them were seen.

    Raises `LabError` for a damaged or hostile package, one in no known format, or one for another machine.
    """
    missing = set(want)
    with _opened(path) as file:
        stream, members = _open(file, str(path))
        for name, begin, size in members:
            if name == PKGINFO and size <= MAX_FIELDS:
                stream.skip_to(begin)
                told = re.search(rb"^arch = (.+)$", stream.exactly(size), re.MULTILINE)
                _demand_x86(told[1].decode("ascii", "replace").strip() if told else "", str(path))
            found = key(name)
            if found in missing and size:
                stream.skip_to(begin)
                yield name, stream.exactly(size)
                missing.discard(found)
                if not missing:
                    return


def leads_to(path: Path) -> list[str]:
    """Return the kernel packages that a Debian package depends on; none for other packages."""
    with _opened(path) as file:
        depends = _deb_fields(file, str(path)).get("Depends", "") if file.read(8) == DEB else ""
    return re.findall(r"(?:^|[,|]\s*)(linux-(?:image|binary|modules)-[a-z0-9+.-]+)", depends)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a package; whatever damage makes a library raise becomes a `LabError`."""
    try:
        with opened(path) as file:
            yield file
    except LabError:
        raise
    except MemoryError:
        raise LabError(f"{path}: damaged package: reading it asks for too much memory") from None
    except OSError as error:
        raise LabError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001  (each library has its own error for damaged data)
        raise LabError(f"{path}: a package damaged or cut short: {error or type(error).__name__}") from None


def _demand_x86(machine: str, name: str) -> None:
    """Raise an error for a package's word for its machine, unless it is 64-bit x86, any, or not told."""
    if machine not in ("", "amd64", "x86_64", "all", "any", "noarch", "(none)"):
        raise OtherMachineError(f"{name}: a package for {visible(machine)}; {ONLY}")


Member = tuple[str, int, int]  # path; where it begins in the stream, and its size, in bytes


def _open(file: BinaryIO, name: str) -> "tuple[Stream, Iterator[Member]]":
    """Return the stream of a package's files, and what walks it."""
    start = file.read(8)
    if start.startswith(RPM):
        stream = _unpacked(_rpm_payload(file, name), name)
        return stream, _cpio(stream)
    if start == DEB:
        fields = _deb_fields(file, name)
        if not fields.get("Package", "").endswith("-amd64"):  # Debian had 64-bit kernels among its i386 packages
            _demand_x86(fields.get("Architecture", ""), name)
    part = _deb_member(file, name, b"data.tar") if start == DEB else _Part(file, 0, file.seek(0, io.SEEK_END))
    stream = _unpacked(part, name)
    return stream, _tar(stream)


class _Part(io.RawIOBase):
    """Some bytes of a file, as a file."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self.file, self.size, self.left = file, end - begin, end - begin
        file.seek(begin)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(min(len(buffer), self.left))
        buffer[: len(data)] = data
        self.left -= len(data)
        return len(data)


class _Xz(io.RawIOBase):
    """What `lzma.LZMAFile` does, with a bound on memory."""

    def __init__(self, source: Any) -> None:
        self.source, self.decoder = source, lzma.LZMADecompressor(memlimit=MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.decoder.eof:
            data = self.source.read(CHUNK) if self.decoder.needs_input else b""
            if self.decoder.needs_input and not data:
                raise EOFError("the packed data ends too early")
            out = self.decoder.decompress(data, len(buffer))
            if out:
                buffer[: len(out)] = out
                return len(out)
        return 0


class Stream:
    """Unpacked bytes, read forwards only, as far as a limit."""

    def __init__(self, source: Any, limit: int, name: str) -> None:
        self.source, self.limit, self.name, self.at = source, limit, name, 0

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        if self.at + size > self.limit:
            raise LabError(f"{self.name}: unpacks to more than {self.limit:,} bytes; no kernel's package does")
        chunks, left = [], size
        while left:
            chunk = self.source.read(min(left, CHUNK))
            if not chunk:
                break
            chunks.append(chunk)
            left -= len(chunk)
        self.at += size - left
        return b"".join(chunks)

    def exactly(self, size: int) -> bytes:
        """Return a file of `size` bytes; fewer are an error."""
        if size > MAX_FILE:
            raise LabError(f"{self.name}: a file of {size:,} bytes in it; no kernel is that large")
        data = self.read(size)
        if len(data) < size:
            raise EOFError("a file in it ends too early")
        return data

    def skip_to(self, position: int) -> None:
        """Pass over bytes; going back is an error."""
        if position < self.at:
            raise ValueError("its parts overlap")
        if position > self.limit:
            self.read(position - self.at)  # says that this is too much
        while self.at < position and self.read(min(CHUNK, position - self.at)):
            pass


def _unpacked(part: _Part, name: str) -> Stream:
    """Return the stream inside a packed part; the packing is told by its first bytes."""
    plain = io.BufferedReader(part, CHUNK)
    magic = plain.peek(6)
    source: Any = plain
    if magic.startswith(b"\x1f\x8b"):
        import gzip  # noqa: PLC0415  (each packing only where it is met)

        source = gzip.GzipFile(fileobj=plain)
    elif magic.startswith(b"BZh"):
        import bz2  # noqa: PLC0415

        source = bz2.BZ2File(plain)
    elif magic.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        source = io.BufferedReader(_Xz(plain), CHUNK)
    elif magic.startswith(b"\x28\xb5\x2f\xfd"):
        source = zstd_reader(plain)
    return Stream(source, min(MAX_PACKAGE, CHUNK + MAX_RATIO * part.size), name)


def _deb_member(file: BinaryIO, name: str, wanted: bytes) -> _Part:
    """Find control.tar or data.tar, in whatever packing, among a .deb's members."""
    end = file.seek(0, io.SEEK_END)
    at = 8
    for _ in range(16):  # three, by deb(5)
        file.seek(at)
        header = file.read(60)
        if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            break
        size = int(header[48:58])
        if header.startswith(wanted):
            if at + 60 + size > end:
                raise LabError(f"{name}: a package cut short: its files would end at byte {at + 60 + size:,}")
            return _Part(file, at + 60, at + 60 + size)
        at += 60 + size + size % 2
    raise LabError(f"{name}: not a Debian package, or a damaged one: no {wanted.decode()} in it")


def _deb_fields(file: BinaryIO, name: str) -> dict[str, str]:
    """Return what a .deb says of itself, such as Architecture and Depends; nothing where that is damaged."""
    try:
        stream = _unpacked(_deb_member(file, name, b"control.tar"), name)
        for member, begin, size in _tar(stream):
            if member in ("control", "./control") and size <= MAX_FIELDS:
                stream.skip_to(begin)
                text = stream.exactly(size).decode("utf-8", "replace")
                return dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", text, re.MULTILINE))
    except Exception:  # noqa: BLE001  (each library has its own error; the files are what matters)
        return {}
    return {}


class _ForTarfile:
    """A stream as tarfile wants it: it reads headers only, and those must be small."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.extra, self.last = stream, 0, b""

    def tell(self) -> int:
        return self.stream.at

    def seek(self, position: int) -> None:
        self.stream.skip_to(position)

    def read(self, size: int) -> bytes:
        self.extra += size - 512 if size > 512 else 0
        if size > MAX_NAME + 512 or self.extra > MAX_EXTRA:
            raise LabError(f"{self.stream.name}: headers of {size:,} bytes in it; no kernel's package has that")
        self.last = self.stream.read(size)
        return self.last


def _tar(stream: Stream) -> Iterator[Member]:
    """Walk a tar archive."""
    import tarfile  # noqa: PLC0415  (only for packages)

    view: Any = _ForTarfile(stream)
    with tarfile.open(fileobj=view, mode="r:", errorlevel=2) as tar:
        for count, member in enumerate(iter(tar.next, None)):
            if count == MAX_MEMBERS:
                raise LabError(TOO_MANY.format(stream.name))
            tar.members = []  # type: ignore[attr-defined]  # or it would remember them all
            if member.isreg() and not member.issparse():
                yield member.name, member.offset_data, member.size
    if len(view.last) < 512 or view.last.strip(b"\0"):  # tarfile takes damage for the end
        raise EOFError("its list of files is damaged or ends too early")


def _rpm_payload(file: BinaryIO, name: str) -> _Part:
    """Find the packed cpio archive behind an RPM's two headers: signatures, and what it says of itself."""
    file.seek(0)
    head = file.read(MAX_RPM_HEAD)
    at, texts = 96, {}  # behind the lead
    for align in (8, 1):
        entries, size = struct.unpack_from(">2I", head, at + 8)
        start = at + 16 + 16 * entries
        end = start + size
        if not head.startswith(b"\x8e\xad\xe8", at) or end > len(head):
            raise LabError(f"{name}: a damaged RPM package, or one cut short: a header of {size:,} bytes in it")
        texts = {
            tag: head[start + offset : end].partition(b"\0")[0]
            for tag, kind, offset, count in struct.iter_unpack(">4I", head[at + 16 : start])
            if tag in (RPM_MACHINE, RPM_LAYOUT) and (kind, count) == (RPM_STRING, 1)
        }
        at = end + -end % align
        if head[end:at].strip(b"\0"):
            raise LabError(f"{name}: a damaged RPM package: something stands between its headers")
    _demand_x86(texts.get(RPM_MACHINE, b"")[:40].decode("ascii", "replace"), name)
    layout = texts.get(RPM_LAYOUT, b"cpio")
    if layout != b"cpio":
        raise LabError(f"{name}: an RPM package with a payload of kind {layout[:40]!r}; only cpio is understood")
    return _Part(file, at, file.seek(0, io.SEEK_END))


def _cpio(stream: Stream) -> Iterator[Member]:
    """Walk a cpio archive."""
    for _ in range(MAX_MEMBERS):
        header = stream.exactly(110)
        if header.startswith(b"07070X"):
            raise LabError(f"{stream.name}: an RPM package in the layout for huge files, which is not understood")
        if not header.startswith((b"070701", b"070702")):
            raise ValueError("no file where one should begin")
        mode, size, length = (int(header[at : at + 8], 16) for at in (14, 54, 94))
        if not 0 < length <= MAX_NAME or size < 0:
            raise ValueError("a file's name or size is impossible")
        member = stream.exactly(length)[:-1].decode("utf-8", "replace")
        if member == "TRAILER!!!":
            return
        begin = stream.at + -stream.at % 4
        if stat.S_ISREG(mode):
            yield member, begin, size
        end = begin + size
        stream.skip_to(end + -end % 4)
    raise LabError(TOO_MANY.format(stream.name))
