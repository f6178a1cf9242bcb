"""Packages of every kind and packing give up the same files; bad ones give one clear error, and quickly."""

import io
import random
import subprocess
import tarfile
from pathlib import Path

import fuzz
import needs
import pytest
from elf import PACKERS
from mutate import damaged
from packs import SUFFIX, cpio, deb, kernel_files, ko, pack, rpm, rpm_header, tar
from work import calls

from vmenter import LabError
from vmenter.code import image
from vmenter.kernels import packages as kernelpacks
from vmenter.kernels.packages import FILES, MODULES, key

PACKINGS = list(SUFFIX)
WANTED = {name: data for name, data in kernel_files().items() if key(name)}


def read(path, want=FILES):
    return {name.removeprefix("./"): data for name, data in kernelpacks.files(path, want)}


def put(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("how", PACKINGS)
def test_a_deb_gives_its_kernel_whatever_it_is_packed_with(tmp_path, how):
    assert read(put(tmp_path, "x.deb", deb(kernel_files(), how))) == WANTED


@pytest.mark.parametrize("how", PACKINGS)
def test_an_rpm_gives_its_kernel_whatever_it_is_packed_with(tmp_path, how):
    assert read(put(tmp_path, "x.rpm", rpm(kernel_files(), how))) == WANTED


@pytest.mark.parametrize("how", PACKINGS)
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_package_gives_its_kernel_whatever_it_is_packed_with(tmp_path, how, form):
    data = pack(how, tar(kernel_files(), form=form))
    assert read(put(tmp_path, f"x.pkg.tar{SUFFIX[how]}", data)) == WANTED


@pytest.mark.parametrize("packing", ["w9.gzdio", "w9.bzdio", "w6.xzdio", "w6.lzdio", "w3.zstdio", "w.ufdio"])
def test_what_rpmbuild_builds_is_read(tmp_path, packing):
    needs.tool("rpmbuild", "apt install rpm")
    root = tmp_path / "root"
    for name, data in kernel_files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    spec = "Name: kernel-core\nVersion: 6.6.6\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n"
    spec += (
        "%install\ncp -a "
        + str(root)
        + "/. %{buildroot}\nln -s kvm %{buildroot}/lib/vmlinuz\n%files\n/boot\n/lib\n"
    )
    (tmp_path / "x.spec").write_text(spec)
    macros = {"_topdir": tmp_path, "_binary_payload": packing, "__os_install_post": "%{nil}"}
    options = [part for name, value in macros.items() for part in ("--define", f"{name} {value}")]
    subprocess.run(["rpmbuild", "-bb", *options, tmp_path / "x.spec"], check=True, capture_output=True)
    (built,) = tmp_path.glob("RPMS/*/*.rpm")
    assert read(built) == WANTED


def test_what_dpkg_deb_builds_is_read(tmp_path):
    needs.tool("dpkg-deb", "apt install dpkg")
    root = tmp_path / "root"
    for name, data in kernel_files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "DEBIAN").mkdir()
    text = (
        "Package: linux-image-x\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    (root / "DEBIAN" / "control").write_text(text)
    for how in ("none", "gzip", "xz", "zstd"):
        built = tmp_path / f"{how}.deb"
        subprocess.run(["dpkg-deb", f"-Z{how}", "--build", root, built], check=True, capture_output=True)
        assert read(built) == WANTED


def test_a_real_module_comes_out_as_it_went_in(tmp_path):
    path = needs.kernel_file("7.3.4", "kvm-intel.ko.xz")
    inside = f"usr/lib/modules/7.3.4/kernel/arch/x86/kvm/{path.name}"
    for package in (deb({inside: path.read_bytes()}), rpm({inside: path.read_bytes()})):
        (data,) = read(put(tmp_path, "x", package)).values()
        assert data == path.read_bytes()
        assert image.from_bytes(data, "x").kernel.startswith("7.3.4")


def test_reading_stops_when_all_wanted_files_were_seen(tmp_path):
    noise = random.Random(1).randbytes(1 << 20)
    many = {**kernel_files(), **{f"usr/share/doc/{number}": noise for number in range(30)}}
    for name, whole in (("x.deb", deb(many, "gz")), ("x.rpm", rpm(many, "gz"))):
        cut = whole[: 2 << 20]  # what lies behind the kernel is not even there
        if name == "x.deb":  # its archive tells the size of what is missing
            cut += bytes(len(whole) - len(cut))
        assert read(put(tmp_path, name, cut)) == WANTED


def test_only_what_is_wanted_is_taken(tmp_path):
    found = read(put(tmp_path, "x.deb", deb(kernel_files())), MODULES)
    assert {key(name) for name in found} == set(MODULES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kvm-intel.ko", "kvm-intel.ko"),
        ("lib/modules/6.1/kernel/arch/x86/kvm/kvm-amd.ko.zst", "kvm-amd.ko"),
        ("boot/vmlinuz-6.1.0-9-amd64", "vmlinuz"),
        ("usr/lib/modules/7.3.4/vmlinuz", "vmlinuz"),
        ("kvm-intel.ko.sig", None),
        ("xkvm-intel.ko", None),
        ("kvm-intel.ko/x", None),
        ("boot/vmlinuz-6.1.hmac", None),
        ("boot/.vmlinuz-6.1.hmac", None),
        ("boot/vmlinuz-0-rescue-0123", None),
        ("boot/System.map-6.1", None),
        ("kvm-intel.ko\n", None),
    ],
)
def test_files_are_known_by_their_whole_name(name, expected):
    assert key(name) == expected


# --- hostile packages -----------------------------------------------------------------------------------------


def links() -> tuple[tarfile.TarInfo, ...]:
    found = []
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
        info = tarfile.TarInfo(f"lib/modules/6/{len(found)}/kvm-intel.ko")
        info.type, info.linkname, info.size = kind, "/etc/passwd", 0 if kind == tarfile.DIRTYPE else 9
        found.append(info)
    return tuple(found)


def test_links_devices_and_folders_with_a_modules_name_are_passed_over(tmp_path):
    package = deb({}, inner=tar(kernel_files(), links()))
    assert read(put(tmp_path, "x.deb", package)) == WANTED
    for mode in (0o120777, 0o020600, 0o040755):
        assert read(put(tmp_path, "x.rpm", rpm({}, payload=cpio(kernel_files(), mode)))) == {}


def test_paths_that_lead_out_write_nothing(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    evil = {"../../../kvm-intel.ko": ko(), "/../kvm-amd.ko": ko("amd"), "../vmlinuz-1": b"x"}
    before = sorted(tmp_path.rglob("*"))
    for package in (deb(evil), rpm(evil)):
        assert len(read(put(inside, "x", package))) == 3
        (inside / "x").unlink()
        assert sorted(tmp_path.rglob("*")) == before


def huge_member() -> bytes:
    info = tarfile.TarInfo("kvm-intel.ko")
    info.size = 1 << 40
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(5000)


def long_header(size: int) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, size
    return info.tobuf(tarfile.GNU_FORMAT) + b"x" * min(size, 1 << 20)


def rpm_of(count: int, size: int, store: int) -> bytes:
    """Return an RPM whose first header announces more than it has."""
    header = b"\x8e\xad\xe8\x01" + bytes(4) + count.to_bytes(4, "big") + size.to_bytes(4, "big") + bytes(store)
    return rpm(kernel_files(), signature=header)


STRINGS = rpm_header({tag: (8, 1 << 20, bytes(1 << 16)) for tag in range(2000, 2040)})
WORK = rpm_header(dict.fromkeys(range(2000, 3099), (6, 0, b"")) | {3099: (6, 1, bytes(1 << 20))})
SAYS = {
    "long name": "headers of",
    "many files": "more than 100,000",
    "huge member": "a file of",
    "bomb": "unpacks to more",
    "rpm bomb": "unpacks to more",
    "data cut": "cut short",
    "no end": "ends too early",
}
# Made when asked for: several are large, and each worker of a run reads this file.
EVIL = {
    "not a package": lambda: b"!<arch>\n",
    "no data": lambda: b"!<arch>\n" + deb({})[8:72],
    "size no number": lambda: deb({}).replace(b"4         `\n", b"-4        `\n"),
    "data cut": lambda: deb(kernel_files())[:-40],
    "huge member": lambda: deb({}, inner=huge_member()),
    "huge name": lambda: deb({}, inner=long_header(1 << 30)),
    "long name": lambda: deb({}, inner=long_header(9000)),
    "many long names": lambda: deb({}, inner=(long_header(4000) + bytes(96)) * 5000),
    "bomb": lambda: deb({}, "zst", inner=tar({"doc": bytes(300 << 20)})),
    "bomb, xz": lambda: deb({}, "xz", inner=tar({"doc": bytes(100 << 20)})),
    "bomb in a module": lambda: deb({}, "zst", inner=tar({"kvm-intel.ko": bytes(200 << 20)})),
    "no end": lambda: deb({}, inner=tar(kernel_files())[: 512 * 9]),
    "many files": lambda: deb({}, "none", inner=tarfile.TarInfo("a").tobuf() * 100_001),
    "rpm bomb": lambda: rpm({}, payload=cpio({"kvm-intel.ko": bytes(200 << 20)})),
    "rpm of many entries": lambda: rpm_of(0x7FFFFFFF, 10, 10),
    "rpm of a large store": lambda: rpm_of(1, 0x7FFFFFFF, 10),
    "rpm of negative sizes": lambda: rpm_of(0xFFFFFFFF, 0xFFFFFFFF, 10),
    "rpm with something between": lambda: rpm(
        kernel_files(), signature=rpm_header({1000: (4, 1, bytes(9))}) + b"\x8e" * 7
    ),
    "rpm of drpm": lambda: rpm({}, header=rpm_header({1124: (6, 1, b"drpm\0")})),
    "rpm for huge files": lambda: rpm({}, payload=b"07070X" + bytes(300)),
    "rpm with a bad name": lambda: rpm({}, payload=cpio({})[:94] + b"ffffffff" + cpio({})[102:]),
    "rpm with a bad number": lambda: rpm({}, payload=cpio({}).replace(b"070701", b"070701zz")),
    "rpm without an end": lambda: rpm({}, payload=cpio(kernel_files())[:-200]),
    "window": lambda: deb({}, "none", inner=b"\x28\xb5\x2f\xfd\x00\xf8" + bytes(100)),
    "empty": lambda: b"",
}


@pytest.mark.parametrize("header", [STRINGS, WORK], ids=["many strings", "many entries"])
def test_a_header_that_promises_much_costs_nothing(tmp_path, header):
    path = put(tmp_path, "x.rpm", rpm(kernel_files(), header=header))
    with calls(5_000):
        assert read(path) == WANTED


def pacman(machine: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in {".PKGINFO": f"arch = {machine}\n".encode(), **kernel_files()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return PACKERS["zst"](out.getvalue())


def rpm_for(machine: bytes) -> bytes:
    return rpm(kernel_files(), header=rpm_header({1022: (6, 1, machine + b"\0"), 1124: (6, 1, b"cpio\0")}))


MACHINES = {
    "arm64 deb": (deb(kernel_files(), Architecture="arm64"), "a package for arm64; only 64-bit x86"),
    "i386 deb": (deb(kernel_files(), Architecture="i386"), "a package for i386; only 64-bit x86"),
    "aarch64 rpm": (rpm_for(b"aarch64"), "a package for aarch64; only 64-bit x86"),
    "i686 rpm": (rpm_for(b"i686"), "a package for i686; only 64-bit x86"),
    "hostile rpm": (rpm_for(b"\x1b[2J"), r"a package for \\x1b\[2J; only 64-bit x86"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_a_package_for_another_machine_is_refused_for_that_reason_before_it_is_unpacked(tmp_path, name):
    data, says = MACHINES[name]
    path = put(tmp_path, "x", data)
    with calls(5_000), pytest.raises(kernelpacks.OtherMachineError, match=says):
        read(path)


def test_of_a_pacman_package_too(tmp_path):
    with pytest.raises(kernelpacks.OtherMachineError, match=r"x\.pkg\.tar\.zst: a package for aarch64"):
        read(put(tmp_path, "x.pkg.tar.zst", pacman("aarch64")))
    assert read(put(tmp_path, "x.pkg.tar.zst", pacman("x86_64"))) == WANTED


@pytest.mark.parametrize("machine", [b"x86_64", b"noarch", b""])
def test_a_package_for_this_machine_or_any_is_read(tmp_path, machine):
    assert read(put(tmp_path, "x.rpm", rpm_for(machine))) == WANTED


def test_a_64_bit_kernel_among_32_bit_packages_is_read(tmp_path):
    data = deb(kernel_files(), Package="linux-image-3.2.0-4-amd64", Architecture="i386")
    assert read(put(tmp_path, "x.deb", data)) == WANTED


@pytest.mark.parametrize("name", EVIL)
def test_a_hostile_package_is_one_clear_error(tmp_path, name):
    path = put(tmp_path, "x.tar", EVIL[name]())
    with pytest.raises(LabError) as told:
        dict(kernelpacks.files(path, {*FILES, "none such"}))
    assert "x.tar" in str(told.value)
    assert SAYS.get(name, "") in str(told.value)
    assert "\n" not in str(told.value)


def test_dictionaries_larger_than_any_kernels_are_refused(tmp_path):
    import lzma

    data = bytearray(lzma.compress(tar(kernel_files()), lzma.FORMAT_ALONE))
    data[1:5] = (1 << 31).to_bytes(4, "little")  # bytes
    with pytest.raises(LabError, match="Memory usage limit"):
        read(put(tmp_path, "x.tar", bytes(data)))


COUNT = fuzz.count("packages")


def test_damaged_packages_are_read_or_refused(tmp_path, report):
    good = {f"deb.{how}": deb(kernel_files(), how) for how in PACKINGS}
    good |= {f"rpm.{how}": rpm(kernel_files(), how) for how in PACKINGS}
    good["tar"] = tar(kernel_files())
    good["pax"] = tar(kernel_files(), form=tarfile.PAX_FORMAT)
    path, whole, refused = tmp_path / "x.tar", 0, []
    for bad in damaged({name: ("packed", data) for name, data in good.items()}, COUNT, 5):
        path.write_bytes(bad.data)
        try:
            with calls(200_000):
                read(path)
            whole += 1
        except LabError as error:
            refused.append(str(error))
    assert whole + len(refused) == COUNT
    assert len(refused) > COUNT // 4
    assert not [message for message in refused if "\n" in message]
    report(f"damaged packages: {COUNT:,}, {len(refused):,} refused")


def test_cut_anywhere_a_package_is_refused_or_gives_whole_files(tmp_path):
    for data in (
        deb(kernel_files(), "none"),
        rpm(kernel_files(), "none"),
        deb(kernel_files()),
        rpm(kernel_files()),
    ):
        for end in range(0, len(data), 97):
            path = put(tmp_path, "x.deb", data[:end])
            found = {}
            try:
                for name, content in kernelpacks.files(path):
                    found[name.removeprefix("./")] = content
            except LabError:
                pass
            assert found.items() <= WANTED.items()


def test_streams_go_forwards_only():
    stream = kernelpacks.Stream(io.BytesIO(bytes(100)), 1000, "x")
    stream.skip_to(50)
    assert stream.at == 50
    with pytest.raises(ValueError, match="overlap"):
        stream.skip_to(49)
    with pytest.raises(EOFError):
        stream.exactly(51)


def test_xz_is_what_the_kernels_modules_here_are_packed_with():
    assert Path(needs.kernel_file("7.3.4", "kvm-intel.ko.xz")).read_bytes().startswith(PACKERS["xz"](b"")[:6])
