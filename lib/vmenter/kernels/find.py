"""Find kernels: those installed here, in a folder of any layout, in a package, or a single file.

A `Kernel` is a version and its files, KVM's modules and the vmlinuz, each a `Blob`: still packed as it was found,
which `image.from_bytes` takes. Nothing of a file is believed but its name; what it holds is for `image` to judge.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from vmenter import LabError
from vmenter.code.elf import HEAD, ONLY, foreign
from vmenter.code.files import opened
from vmenter.code.files import read as read_file
from vmenter.code.image import MODULE_BASE, Image, from_bytes
from vmenter.code.unpack import MAX_PACKED, unpack
from vmenter.code.visible import visible
from vmenter.kernels.packages import FILES, MODULES, OtherMachineError, files, is_package, key, leads_to

MAX_ENTRIES = 300_000  # files and folders looked at
INSTALLED = ("usr/lib/modules", "lib/modules", "usr/boot", "boot")
PACKAGE = re.compile(r"(?:linux|kernel)[-_].*\.(?:deb|rpm|pkg\.tar(?:\.\w+)?)")
NO_KERNEL = re.compile(r"dbg|debug|headers|devel|-docs?\b|source|libc|tools|kbuild")  # packages passed over
HOW = (
    "on Debian and its kin `vmenter fetch` gets one; else give a kernel package (.deb, .rpm) "
    "or a folder with kvm-intel.ko"
)
OTHER_ARCHITECTURES = re.compile(
    r"[-_.](arm64|aarch64|armhf|armel|armv7hl|i386|i686|ppc64el|ppc64le|riscv64|s390x|mips64el|loong64)[._]"
)
PARTS = " (Debian 7.x has it in linux-binary-… and linux-modules-…, others in kernel-core, kernel-modules-core)"


@dataclass(frozen=True)
class Blob:
    """One file of a kernel, as it was found: maybe packed."""

    name: str  # for messages; of a file in a package: "PACKAGE: PATH"
    size: int  # bytes
    content: bytes | Path = field(repr=False)

    def read(self) -> bytes:
        """Return the file's bytes; `LabError` if it cannot be read."""
        if isinstance(self.content, bytes):
            return self.content
        return read_file(self.content, MAX_PACKED, "kernel")

    def load(self, base: int = MODULE_BASE) -> Image:
        """Return what `image.load` returns for this file."""
        return from_bytes(self.read(), self.name, base)


@dataclass(frozen=True)
class Kernel:
    """A kernel: its version, such as "6.12.117+deb13-amd64" (None: nothing tells), and at least one of FILES."""

    version: str | None
    source: str  # the package, folder or file it was found in; of a split package " + " between the parts
    files: Mapping[str, Blob]

    @property
    def modules(self) -> Mapping[str, Blob]:
        """KVM's modules among the files."""
        return {name: blob for name, blob in self.files.items() if name in MODULES}


@dataclass(frozen=True)
class _Found:
    """A file, before it is known which others belong to it."""

    key: str
    version: str | None
    source: str
    blob: Blob


def find(
    path: str | Path | None = None, want: Collection[str] = FILES, damaged: list[LabError] | None = None
) -> tuple[Kernel, ...]:
    """Return the kernels in a package, folder or file (None: those installed here), the oldest version first.

    `want` holds the files looked for; a package is read until they were seen, so MODULES is much quicker.
    Raises `LabError` if there is no kernel, or a package is damaged; one among others in a folder is passed over
    if `damaged` is given, which takes its error.
    """
    if path is None:
        return installed(want=want)
    place = Path(path)
    if "\0" in str(path) or not str(path):
        raise LabError(f"{str(path)!r}: no such file or folder")
    try:
        if place.is_dir():
            return _kernels(_folder(place, want, place.resolve(), damaged), want, f"{path} holds no kernel")
        if not place.is_file():
            raise LabError(f"{path}: {'not a file or folder' if place.exists() else 'no such file or folder'}")
        with opened(place) as file:
            start = file.read(8)
    except OSError as error:
        raise LabError(f"{path}: {error.strerror or error}") from None
    if is_package(start, place.name):
        found = [*_package(place, want)]
        nothing = "" if found else _without_a_kernel(place)
        return _kernels(found, want, f"{path} is {nothing}")
    return _kernels(_file(place), FILES, f"{path} is no kernel")


def _without_a_kernel(package: Path) -> str:
    """Say what a package is in which no kernel was found."""
    others = leads_to(package)
    if others:
        return f"a metapackage: it holds no kernel and leads to {', '.join(others[:3])}; give that package"
    return f"a package without a kernel{_parts(package.name)}"


def _parts(package: str) -> str:
    """Say where else the files may be that a package does not have: by its own name, if that tells."""
    foreign = OTHER_ARCHITECTURES.search(package)
    if foreign:
        return f" for Intel or AMD: it is for {foreign[1]}, and their modules are in packages for amd64 or x86_64"
    if package.startswith("linux-binary-"):
        name = package.removeprefix("linux-binary-").partition("_")[0].removesuffix(".deb")
        return f" module: it has the kernel alone; its modules are in linux-modules-{name}"
    return PARTS


def installed(root: str | Path = "/", want: Collection[str] = FILES) -> tuple[Kernel, ...]:
    """Return the kernels installed on a system; the running one has the version `platform.release()`."""
    top = Path(root).resolve()
    places = {(top / name).resolve() for name in INSTALLED if (top / name).is_dir()}
    found = (one for place in sorted(places) for one in _folder(place, want, top))
    return _kernels(found, want, f"{' and '.join(str(top / name) for name in INSTALLED)} hold no kernel")


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return what versions sort by: numbers as numbers, a release candidate before its release."""
    parts = re.findall(r"[-~.]?rc|\d+|[^\d~]|~", version.lower())
    keys = [
        (-1, 0, p) if p.endswith("rc") or p == "~" else (2, int(p), "") if p.isdecimal() else (1, 0, p)
        for p in parts
    ]
    return (*keys, (0, 0, ""))


def _kernels(found: Iterable[_Found], want: Collection[str], nothing: str) -> tuple[Kernel, ...]:
    """Join files of one version; a file that a kernel has already belongs to the next of that version."""
    groups: dict[str | None, list[dict[str, _Found]]] = {}
    for one in found:
        same = groups.setdefault(one.version, [])
        group = next((g for g in same if one.key not in g and (one.version or not g)), None)
        if group is None:
            group = {}
            same.append(group)
        group[one.key] = one
    kernels = []
    for version, same in groups.items():
        for group in same:
            parts = [group[name] for name in FILES if name in group]
            sources = dict.fromkeys(part.source for part in parts if part.key in MODULES or len(parts) == 1)
            kernels.append(Kernel(version, " + ".join(sources), {part.key: part.blob for part in parts}))
    if not kernels:
        raise LabError(f"{nothing} (looked for {', '.join(name for name in FILES if name in want)}); {HOW}")
    kernels.sort(key=lambda kernel: (kernel.version is not None, version_key(kernel.version or ""), kernel.source))
    return tuple(kernels)


def _folder(
    top: Path, want: Collection[str], inside: Path, damaged: list[LabError] | None = None
) -> Iterator[_Found]:
    """Walk a folder in the order of names; links are followed to files within `inside`, never to folders."""
    seen: set[Path] = set()
    for path in _walk(top):
        name = key(path.name)
        package = PACKAGE.fullmatch(path.name) and not NO_KERNEL.search(path.name)
        if name not in want and not package:
            continue
        try:
            real = path.resolve()
            if not real.is_file() or not real.is_relative_to(inside) or real in seen:
                continue
        except (OSError, RuntimeError):  # links in a circle
            continue
        seen.add(real)
        if package:
            try:
                yield from _package(path, want)
            except LabError as error:
                if damaged is not None:
                    damaged.append(error)
                elif not isinstance(error, OtherMachineError):
                    raise
        elif name:
            version, home = _place(path)
            blob = Blob(visible(str(path)), real.stat().st_size, path)
            yield _Found(name, version or _asked(name, blob), visible(str(home)), blob)


def _walk(top: Path) -> Iterator[Path]:
    folders, count = [top], 0
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder == top:
                raise LabError(f"{top}: {error.strerror or error}") from None
            continue  # what may not be read, or is gone, holds nothing for us
        count += len(here)
        if count > MAX_ENTRIES:
            raise LabError(f"{top}: more than {MAX_ENTRIES:,} files in it; give a folder nearer to the kernel")
        yield from (folder / entry.name for entry in here if not entry.is_dir(follow_symlinks=False))
        folders += [folder / entry.name for entry in reversed(here) if entry.is_dir(follow_symlinks=False)]


def _package(path: Path, want: Collection[str]) -> Iterator[_Found]:
    for inside, data in files(path, want):
        name = key(inside)
        if name:
            blob = Blob(visible(f"{path}: {inside.removeprefix('./')}"), len(data), data)
            yield _Found(name, _place(Path(inside))[0] or _asked(name, blob), visible(str(path)), blob)


def _file(path: Path) -> Iterator[_Found]:
    """Take a single file for what its name says, or else its content: a copy may have any name."""
    blob = Blob(visible(str(path)), path.stat().st_size, path)
    name = key(path.name)
    if name in MODULES:
        with suppress(LabError):  # damaged: whoever loads it is told so
            blob = replace(blob, content=unpack(blob.read(), blob.name))  # once, and not again to load it
        yield _Found(name, _place(path)[0] or _asked(name, blob), visible(str(path)), blob)
        return
    data = blob.read()
    if name is None or data[0x202:0x206] != b"HdrS":
        plain = unpack(data, blob.name)
        told = re.search(rb"\0name=kvm_(intel|amd)\0", plain)
        if told:
            name, blob = f"kvm-{told[1].decode()}.ko", replace(blob, content=plain)
        elif ONLY in foreign(plain[:HEAD]):
            raise LabError(f"{path}: {foreign(plain[:HEAD])}")
        elif re.search(rb"Linux version \d", plain):
            name = "vmlinuz"
        elif name is None:
            raise LabError(f"{path} is no package, no module of KVM and no kernel; {HOW}")
    yield _Found(name, _place(path)[0] or _asked(name, blob), visible(str(path)), blob)


def _place(path: Path) -> tuple[str | None, Path]:
    """Return what a path says of the version, and the folder that is the kernel's own."""
    parts = path.parts
    for index in range(len(parts) - 2):
        if parts[index] == "modules" and parts[index + 1][:1].isdigit():
            return visible(parts[index + 1]), Path(*parts[: index + 2])
    if path.name.startswith("vmlinuz-") and path.name[8:9].isdigit():
        return visible(path.name[8:]), path.parent
    return None, path.parent


def _asked(name: str, blob: Blob) -> str | None:
    """Return the version a file names itself: a module its vermagic, a vmlinuz what its header points to."""
    try:
        data = blob.read()
        if name in MODULES:
            found = re.search(rb"\0vermagic=([!-~]{1,64})[ \0]", unpack(data, blob.name))
        else:
            at = int.from_bytes(data[0x20E:0x210], "little") + 0x200
            found = re.match(rb"([!-~]{1,64})[ \0]", data[at : at + 65]) if data[0x202:0x206] == b"HdrS" else None
    except LabError:  # damaged: whoever loads it is told so
        return None
    return found[1].decode("ascii") if found else None
