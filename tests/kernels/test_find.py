"""Kernels are found wherever people have them, whole, once each, and in order; what is none is told in a line."""

import os
import shutil

import fuzz
import needs
import pytest
from elf import PACKERS, Sec, elf
from hypothesis import given
from hypothesis import strategies as st
from mutate import damaged
from packs import VERSION, boot, deb, kernel_files, ko, rpm

from vmenter import LabError
from vmenter.kernels.find import find, installed, version_key
from vmenter.kernels.packages import FILES, MODULES


def write(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def shown(found):
    return [(kernel.version, list(kernel.files)) for kernel in found]


WHOLE = [(VERSION, list(FILES))]


@pytest.mark.parametrize("prefix", ["", "usr/", "deep/er/usr/"])
def test_an_unpacked_package_is_one_kernel(tmp_path, prefix):
    found = find(write(tmp_path, {prefix + name: data for name, data in kernel_files().items()}))
    assert shown(found) == WHOLE
    assert found[0].source == str(tmp_path / prefix / "lib" / "modules" / VERSION)
    assert found[0].files["vmlinuz"].read() == boot()


def test_a_vmlinuz_beside_the_modules_belongs_to_them(tmp_path):
    files = {"lib/modules/7.1/vmlinuz": boot("7.1"), "lib/modules/7.1/x/kvm-amd.ko": ko("amd", "7.1")}
    assert shown(find(write(tmp_path, files))) == [("7.1", ["kvm-amd.ko", "vmlinuz"])]


def test_folders_named_as_one_likes_are_told_apart_by_what_the_files_say(tmp_path):
    for folder, version in (("b", "6.1.9-x"), ("a", "6.12.1"), ("c", "6.1.10-x")):
        files = {"kvm-intel.ko.gz": PACKERS["gz"](ko("intel", version)), "vmlinuz": boot(version)}
        write(tmp_path / folder, files)
    found = find(tmp_path)
    assert shown(found) == [
        (version, ["kvm-intel.ko", "vmlinuz"]) for version in ("6.1.9-x", "6.1.10-x", "6.12.1")
    ]
    assert [kernel.source for kernel in found] == [str(tmp_path / name) for name in "bca"]


def test_a_split_package_is_joined_and_each_part_is_accepted_alone(tmp_path):
    binary = {"usr/lib/modules/7.3/vmlinuz": boot("7.3")}
    modules = {"usr/lib/modules/7.3/kernel/arch/x86/kvm/kvm-intel.ko.xz": PACKERS["xz"](ko("intel", "7.3"))}
    write(tmp_path, {"linux-binary-7.3_1_amd64.deb": deb(binary), "linux-modules-7.3_1_amd64.deb": deb(modules)})
    (both,) = find(tmp_path)
    assert shown([both]) == [("7.3", ["kvm-intel.ko", "vmlinuz"])]
    assert both.source == str(tmp_path / "linux-modules-7.3_1_amd64.deb")
    assert shown(find(tmp_path / "linux-modules-7.3_1_amd64.deb")) == [("7.3", ["kvm-intel.ko"])]
    assert shown(find(tmp_path / "linux-binary-7.3_1_amd64.deb")) == [("7.3", ["vmlinuz"])]


def test_a_folder_of_packages_gives_each_ones_kernel_and_passes_others_over(tmp_path):
    write(
        tmp_path,
        {
            "linux-image-5.10_1_amd64.deb": deb(kernel_files("5.10")),
            "linux-image-5.10_2_amd64.deb": deb(kernel_files("5.10")),  # built twice: two kernels
            "kernel-core-6.5.rpm": rpm(kernel_files("6.5")),
            "linux-headers-5.10_1_amd64.deb": b"not even read",
            "linux-image-5.10-dbg_1_amd64.deb": b"nor this",
            "firefox_1_amd64.deb": b"nor this",
            "README": b"text",
        },
    )
    assert shown(find(tmp_path)) == [(version, list(FILES)) for version in ("5.10", "5.10", "6.5")]


@pytest.mark.parametrize("name", ["kvm-intel.ko", "kvm-intel.ko.xz", "a copy", "module.bin"])
def test_a_single_module_may_have_any_name(tmp_path, name):
    (tmp_path / name).write_bytes(PACKERS["xz"](ko()) if name != "kvm-intel.ko" else ko())
    assert shown(find(tmp_path / name)) == [(VERSION, ["kvm-intel.ko"])]


@pytest.mark.parametrize("make", [deb, rpm])
def test_a_package_may_have_any_name(tmp_path, make):
    (tmp_path / "x").write_bytes(make(kernel_files()))
    assert shown(find(tmp_path / "x")) == WHOLE
    assert shown(find(tmp_path / "x", MODULES)) == [(VERSION, list(MODULES))]


@pytest.mark.parametrize("merged", [False, True])
def test_installed_kernels_are_found_once_with_usr_merged_or_not(tmp_path, merged):
    write(
        tmp_path / "usr" if merged else tmp_path, {k: d for k, d in kernel_files().items() if k.startswith("lib")}
    )
    write(tmp_path, {f"boot/vmlinuz-{VERSION}": boot(), "boot/vmlinuz-0-rescue-1": boot("1.1")})
    (tmp_path / "boot" / "vmlinuz").symlink_to(f"vmlinuz-{VERSION}")
    if merged:
        (tmp_path / "lib").symlink_to("usr/lib")
    found = installed(tmp_path)
    assert [kernel.version for kernel in found] == [VERSION]
    assert list(found[0].files) == list(FILES)


def test_real_kernels_are_found_and_load():
    path = needs.kernel_file("7.3.4", "kvm-intel.ko.xz")
    (kernel,) = find(path.parent)
    assert kernel.version.startswith("7.3.4")
    assert kernel.modules.keys() <= set(MODULES)
    loaded = kernel.files["kvm-intel.ko"].load()
    assert loaded.kernel == kernel.version
    assert loaded.symbols.get("vmx_vcpu_enter_exit")


def test_links_are_followed_within_the_folder_only(tmp_path):
    write(tmp_path, {"outside/kvm-amd.ko": ko("amd"), "in/real": ko()})
    (tmp_path / "in" / "kvm-intel.ko").symlink_to("real")
    (tmp_path / "in" / "kvm-amd.ko").symlink_to("../outside/kvm-amd.ko")
    (tmp_path / "in" / "kvm-amd.ko.xz").symlink_to("kvm-amd.ko.xz")  # a circle
    (tmp_path / "in" / "kvm-amd.ko.gz").symlink_to("/dev/zero")
    (tmp_path / "in" / "sub").symlink_to(".")
    os.mkfifo(tmp_path / "in" / "vmlinuz")
    assert shown(find(tmp_path / "in")) == [(VERSION, ["kvm-intel.ko"])]


def test_deep_and_wide_folders_have_an_end(tmp_path, monkeypatch):
    (tmp_path / "/".join("d" * 200)).mkdir(parents=True)
    write(tmp_path, {"z/kvm-intel.ko": ko()})
    assert shown(find(tmp_path)) == [(VERSION, ["kvm-intel.ko"])]
    monkeypatch.setattr("vmenter.kernels.find.MAX_ENTRIES", 100)
    with pytest.raises(LabError, match="more than 100 files"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: p / "none", "no such file"),
        (lambda p: p, "holds no kernel"),
        (lambda p: write(p, {"x": b"hello"}) / "x", "no package, no module of KVM and no kernel"),
        (lambda p: write(p, {"x": b""}) / "x", "no package"),
        (lambda p: write(p, {"x.deb": deb({"usr/x": b"x"})}) / "x.deb", "linux-modules"),
        (lambda p: write(p, {"x.deb": deb(kernel_files())[:-40]}) / "x.deb", "cut short"),
        (lambda p: f"{p}/a\0b", "no such file"),
        (lambda p: "/dev/null", "not a file"),
        (lambda p: p / ("x" * 5000), "too long"),
    ],
)
def test_what_is_no_kernel_is_told_in_one_line(tmp_path, make, says):
    with pytest.raises(LabError, match=says) as told:
        find(make(tmp_path))
    assert "\n" not in str(told.value)


def test_a_metapackage_is_told_as_one_and_where_it_leads(tmp_path):
    fields = {"Package": "linux-image-amd64", "Depends": "linux-base, linux-image-6.12.9-amd64 (= 6.12.9-1)"}
    path = write(tmp_path, {"meta.deb": deb({"usr/share/doc/x": b"x"}, **fields)}) / "meta.deb"
    with pytest.raises(LabError, match=r"meta\.deb is a metapackage.*leads to linux-image-6\.12\.9-amd64; give"):
        find(path)


def test_among_others_a_metapackage_and_one_for_another_machine_are_passed_over_or_said(tmp_path):
    write(
        tmp_path,
        {
            "linux-image-amd64.deb": deb({}, Depends="linux-image-6.12.9-amd64"),
            "linux-image-6.12.9-arm64.deb": deb(kernel_files(), Architecture="arm64"),
            "linux-image-6.12.9-amd64.deb": deb(kernel_files()),
        },
    )
    assert shown(find(tmp_path)) == WHOLE
    damaged_ones = []
    assert shown(find(tmp_path, damaged=damaged_ones)) == WHOLE
    assert ["for arm64" in str(error) for error in damaged_ones] == [True]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (elf([Sec(".text", b"\xc3")], machine=183), r"a 64-bit ELF for arm64 \(EM_AARCH64\); only"),
        (elf([Sec(".text", b"\xc3")], machine=3), r"ELF for 32-bit x86 \(EM_386\); only"),
        (bytes(56) + b"ARM\x64" + bytes(4000) + b"Linux version 6.1", "a kernel for arm64; only"),
        (b"MZ" + bytes(2) + b"zimg" + bytes(52) + b"\x40\0\0\0PE\0\0\x64\xaa", "packed for EFI for arm64; only"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0\x4c\x01", "an EFI program for 32-bit x86; only"),
        (bytes(36) + b"\x18\x28\x6f\x01", "a kernel for 32-bit arm; only"),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("name", ["vmlinuz", "vmlinuz-6.1.0-9-arm64", "copy"])
@pytest.mark.parametrize("packer", [None, "gz"])
def test_a_kernel_for_another_machine_is_told_as_one(tmp_path, data, says, name, packer):
    (tmp_path / name).write_bytes(PACKERS[packer](data) if packer else data)
    with pytest.raises(LabError, match=f"{name}: .*{says}"):
        find(tmp_path / name)


def test_a_system_without_kernels_says_where_it_looked_and_how_to_get_one(tmp_path):
    with pytest.raises(LabError, match=r"boot hold no kernel.*vmenter fetch"):
        installed(tmp_path)


def test_a_file_that_cannot_be_read_is_told_when_it_is_read(tmp_path):
    (kernel,) = find(write(tmp_path, {f"lib/modules/{VERSION}/kvm-intel.ko": ko()}))
    shutil.rmtree(tmp_path / "lib")
    with pytest.raises(LabError, match=r"kvm-intel\.ko: No such file"):
        kernel.files["kvm-intel.ko"].read()


def test_a_damaged_folder_is_read_or_refused(tmp_path, report):
    seeds = {"kvm-intel.ko.xz": ("packed", PACKERS["xz"](ko())), "vmlinuz": ("vmlinuz", boot() + bytes(400))}
    seeds["linux-x.deb"] = "packed", deb(kernel_files())
    versions = set()
    for bad in damaged(seeds, fuzz.count("folders"), 3):
        path = write(tmp_path, {bad.seed: bad.data}) / bad.seed
        try:
            versions |= {kernel.version for kernel in find(tmp_path)}
        except LabError:
            versions.add("refused")
        path.unlink()
    assert {"refused", None, VERSION} <= versions
    report(f"damaged folders: {fuzz.count('folders'):,}")


@pytest.mark.parametrize(
    "order",
    [
        ["6.1.0-9-amd64", "6.1.0-56-amd64", "6.12.9", "6.12.117+deb13-amd64", "7.3"],
        ["7.3-rc1", "7.3-rc10", "7.3", "7.3.1"],
        ["7.3~rc2", "7.3", "7.3.0"],
        ["5.14.0-70.el9.x86_64", "5.14.0-503.el9.x86_64"],
        ["6.8.0-31-generic", "6.8.0-101-generic"],
    ],
)
def test_versions_are_in_the_order_people_expect(order):
    backwards = order[::-1]
    assert sorted(backwards, key=version_key) == order


ORDERED = ["", "x", "6.99", "7-rc1", "7", "7.1~rc1", "7.1", "7.1-x", "7.1.9", "7.1.10"]


@given(st.permutations(ORDERED))
def test_the_order_of_versions_does_not_depend_on_where_they_come_from(versions):
    assert sorted(versions, key=version_key) == ORDERED
