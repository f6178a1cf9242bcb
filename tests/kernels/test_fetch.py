"""Fetching through the real apt, from a repository made here and reached over file: or loopback."""

import gzip
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
from functools import partial

import needs
import pytest
from packs import boot, deb, kernel_files, ko

from vmenter import LabError
from vmenter.kernels import fetch as kernelfetch
from vmenter.kernels import find

NEW = "linux-image-7.3.1-amd64"
OLD = "linux-image-6.1.0-9-amd64"


def packages() -> dict[str, dict[str, bytes]]:
    """Return suite -> package file name -> package."""
    tree = "usr/lib/modules/7.3.1-amd64"
    meta = {"Depends": f"{OLD} (= 6.1.5-1)", "Version": "6.1.5-1"}
    split = {
        "Depends": "linux-base | x, linux-binary-7.3.1-amd64 (= 7.3.1-1), linux-modules-7.3.1-amd64 (= 7.3.1-1)"
    }
    return {
        "lab": {
            OLD: deb(kernel_files("6.1.0-9-amd64"), Package=OLD, Version="6.1.5-1"),
            "linux-image-5.10.0-20-amd64": deb(
                kernel_files("5.10.0-20-amd64"), Package="linux-image-5.10.0-20-amd64"
            ),
            "linux-image-6.5.0-1-cloud-amd64": deb({}, Package="linux-image-6.5.0-1-cloud-amd64"),
            "linux-image-6.5.0-1-amd64-dbg": deb({}, Package="linux-image-6.5.0-1-amd64-dbg"),
            "linux-image-amd64": deb({}, Package="linux-image-amd64", **meta),
            "linux-doc": deb({}, Package="linux-doc"),
        },
        "lab-backports": {
            NEW: deb({"usr/share/doc/x": b"x"}, Package=NEW, Version="7.3.1-1", **split),
            "linux-binary-7.3.1-amd64": deb(
                {f"{tree}/vmlinuz": boot("7.3.1-amd64")}, Package="linux-binary-7.3.1-amd64", Version="7.3.1-1"
            ),
            "linux-modules-7.3.1-amd64": deb(
                {f"{tree}/kernel/arch/x86/kvm/kvm-{n}.ko": ko(n, "7.3.1-amd64") for n in ("amd", "intel")},
                Package="linux-modules-7.3.1-amd64",
                Version="7.3.1-1",
            ),
        },
    }


def control(package: bytes) -> str:
    """Return the fields of a package, as dpkg reads them."""
    done = subprocess.run(["dpkg-deb", "--field", "/dev/stdin"], input=package, capture_output=True, check=True)
    return done.stdout.decode()


def repository(root):
    """Write a repository of two suites in the layout that apt wants."""
    for suite, debs in packages().items():
        index = ""
        for name, data in debs.items():
            path = root / "pool" / f"{name}.deb"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            place = f"Filename: pool/{name}.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
            index += control(data) + place + "\n"
        folder = root / "dists" / suite / "main" / "binary-amd64"
        folder.mkdir(parents=True)
        sums = ""
        for name, data in (("Packages", index.encode()), ("Packages.gz", gzip.compress(index.encode(), mtime=0))):
            (folder / name).write_bytes(data)
            sums += f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/{name}\n"
        head = f"Origin: Lab\nSuite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n"
        head += "Date: Sat, 01 Jan 2022 00:00:00 UTC\n"
        (root / "dists" / suite / "Release").write_text(f"{head}SHA256:\n{sums}")
    return root


@pytest.fixture(params=["sources", "list"])
def machine(request, tmp_path, monkeypatch):
    """Give apt a machine of its own, whose only mirror is the repository made here."""
    for name in ("apt-get", "dpkg-deb"):
        needs.tool(name, "a machine with apt: Debian, Ubuntu or their kin")
    mirror = repository(tmp_path / "mirror")
    etc = tmp_path / "etc"
    (etc / "parts").mkdir(parents=True)
    if request.param == "sources":
        text = (
            f"# ours\nTypes: deb deb-src\nURIs:\n file:{mirror}\nSuites: lab\nComponents: main\nTrusted: yes\n\n"
        )
        text += "Types: deb\nEnabled: no\nURIs: file:/none\nSuites: lab\nComponents: main\n"
    else:
        text = f"# ours\ndeb [arch=amd64 trusted=yes] file:{mirror} lab main # it\ndeb-src [trusted=yes] file:{mirror} lab main\n"
    (etc / "parts" / f"x.{request.param}").write_text(text)
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": etc / "parts",
        "Dir::State": etc / "state",
    }
    (etc / "conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    monkeypatch.setenv("APT_CONFIG", str(etc / "conf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VMENTER_KERNELS", raising=False)
    return tmp_path


def test_the_newest_plain_kernel_is_fetched_and_found(machine):
    folder = kernelfetch.fetch()
    assert folder == machine / "cache" / "vmenter" / "kernels" / f"{OLD}_6.1.5-1"
    assert sorted(path.name for path in folder.iterdir()) == ["kvm-amd.ko.xz", "kvm-intel.ko.xz", "vmlinuz"]
    (kernel,) = find.find(folder)
    assert kernel.version == "6.1.0-9-amd64"
    assert not list((machine / "cache" / "vmenter" / "apt" / "archives").glob("*/*.deb"))
    assert not (machine / "etc" / "state").exists()  # the machine's own apt state is left alone


def test_a_split_kernel_of_another_suite_comes_whole(machine):
    folder = kernelfetch.fetch(NEW, "lab-backports")
    assert shown(folder) == ("7.3.1-amd64", ["kvm-intel.ko", "kvm-amd.ko", "vmlinuz"])
    alone = kernelfetch.fetch("linux-modules-7.3.1-amd64=7.3.1-1", "lab-backports")
    assert shown(alone) == ("7.3.1-amd64", ["kvm-intel.ko", "kvm-amd.ko"])


def shown(folder):
    (kernel,) = find.find(folder)
    return kernel.version, list(kernel.files)


def test_a_metapackage_leads_to_the_kernels_own_folder(machine):
    assert kernelfetch.fetch("linux-image-amd64").name == f"{OLD}_6.1.5-1"


def test_what_is_in_the_cache_needs_no_mirror(machine):
    first = kernelfetch.fetch(f"{OLD}=6.1.5-1")
    (machine / "mirror").rename(machine / "gone")
    with pytest.raises(LabError, match=r"apt could not fetch .*5\.10"):
        kernelfetch.fetch("linux-image-5.10.0-20-amd64")
    shutil.rmtree(machine / "cache" / "vmenter" / "apt")
    assert kernelfetch.fetch(f"{OLD}=6.1.5-1") == first
    assert kernelfetch.fetch(OLD) == first


def test_the_list_holds_kernels_oldest_first(machine):
    names = ["linux-image-5.10.0-20-amd64", OLD, "linux-image-6.5.0-1-cloud-amd64"]
    assert kernelfetch.available() == names
    assert kernelfetch.available("lab-backports") == [NEW]


def test_the_command_prints_the_folder(machine, run):
    status, out, err = run("fetch", OLD)
    assert (status, err) == (0, "")
    assert out == f"{machine}/cache/vmenter/kernels/{OLD}_6.1.5-1\n"
    assert run("fetch", "--list", "--suite", "lab-backports") == (0, f"{NEW}\n", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["linux-image-6.1.0-8-amd64"], f"no package linux-image-6.1.0-8-amd64 .*near to it: {OLD}"),
        ([f"{OLD}=9"], "no package"),
        (["newest", "--suite", "none"], "suite none"),
        (["linux-doc"], "holds none of kvm-intel.ko"),
        (["--", "-o"], "no package's name"),
        (["x y"], "no package's name"),
        (["newest", "--suite", "a b"], "no suite's name"),
        (["../../etc/passwd"], "no package's name"),
    ],
)
def test_what_cannot_be_fetched_is_told_in_one_line(machine, run, arguments, says):
    status, out, err = run("fetch", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    import re

    assert re.search(says, err)
    assert not list((machine / "cache").glob("vmenter/kernels/*"))


def test_offline_is_told_in_one_line(machine, run):
    (machine / "mirror").rename(machine / "gone")
    status, out, err = run("fetch")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "apt finds no packages" in err


def test_without_apt_it_says_what_to_do(machine, run, monkeypatch):
    monkeypatch.setenv("PATH", str(machine))
    status, _, err = run("fetch")
    assert status == 2
    assert "needs apt" in err


def test_a_damaged_download_is_not_kept(machine, run):
    path = machine / "mirror" / "pool" / f"{OLD}.deb"
    path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    status, _, err = run("fetch", OLD)
    assert (status, err.count("\n")) == (2, 1)
    assert not list((machine / "cache").glob("vmenter/kernels/*"))


def test_over_a_network_the_fetch_shows_how_far_it_is(machine, monkeypatch):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=machine / "mirror"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    parts = machine / "etc" / "parts"
    for path in parts.iterdir():
        path.write_text(
            path.read_text().replace(f"file:{machine}/mirror", f"http://127.0.0.1:{server.server_port}")
        )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    steps = []
    try:
        folder = kernelfetch.fetch(OLD, progress=lambda *step: steps.append(step))
    finally:
        server.shutdown()
        server.server_close()
    assert shown(folder)[0] == "6.1.0-9-amd64"
    assert steps
    assert all(0 <= done <= total == 100 for _, done, total in steps)


@pytest.mark.skipif(os.name == "nt", reason="apt is for Linux")
def test_two_fetches_at_once_do_no_harm(machine):
    command = [sys.executable, "-m", "vmenter", "fetch", OLD]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    results = [(*process.communicate(), process.returncode) for process in running]
    assert any(status == 0 for *_, status in results)
    assert not [err for _, err, _ in results if err.count("\n") > 1]
    assert shown(kernelfetch.fetch(OLD))[0] == "6.1.0-9-amd64"
