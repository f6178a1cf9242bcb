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
from pathlib import Path
from tempfile import TemporaryDirectory

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


@pytest.fixture
def tmp_path():
    """A folder that everybody may enter: for root, apt fetches as an account of its own."""
    with TemporaryDirectory(prefix="vmenter-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


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
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["kvm-amd.ko.xz", "kvm-intel.ko.xz", "suites", "vmlinuz"]
    (kernel,) = find.find(folder)
    assert kernel.version == "6.1.0-9-amd64"
    assert not list((machine / "cache" / "vmenter" / "apt" / "archives").glob("*/*.deb"))
    assert not (machine / "etc" / "state").exists()  # the machine's own apt state is left alone


@pytest.mark.parametrize("where", ["preferences", "preferencesparts"])
def test_what_the_machine_prefers_does_not_matter(machine, where):
    """A machine may refuse kernels, and an administrator pins; we only want to read one."""
    place = machine / "etc" / where
    file = place / "none.pref" if where == "preferencesparts" else place
    file.parent.mkdir(exist_ok=True)
    file.write_text("Package: *\nPin: release *\nPin-Priority: -1\n")
    with (machine / "etc" / "conf").open("a") as conf:
        conf.write(f'Dir::Etc::{where} "{place}";\n')
    asked = subprocess.run(
        ["apt-config", "dump", f"Dir::Etc::{where}"], capture_output=True, text=True, check=True
    )
    assert str(place) in asked.stdout
    assert kernelfetch.fetch().name == f"{OLD}_6.1.5-1"


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
        (["linux-image-6.1.0-8-amd64"], f"no package linux-image-6.1.0-8-amd64 .*did you mean {OLD}"),
        ([f"{OLD}=9"], "no package"),
        (["newest", "--suite", "none"], "suite none: "),
        (["newest", "--suite", "Lab-Backports"], "suite Lab-Backports; suites are written small: lab-backports"),
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


def served(machine, monkeypatch):
    """Serve the mirror over http on loopback. What was asked for goes into the dict returned, and by whose process.

    A port alone does not tell the process: connections to other servers may have the same one, and those that are
    over are listed with account 0. So both ends are looked for; a socket that nobody holds (inode 0) tells nothing.
    """
    asked = {}

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            ends = [f"0100007F:{port:04X}" for port in (self.client_address[1], server.server_port)]
            asked.update((self.path, int(row[7])) for row in rows if row[1:3] == ends and row[9] != "0")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=machine / "mirror"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for path in (machine / "etc" / "parts").iterdir():
        path.write_text(
            path.read_text().replace(f"file:{machine}/mirror", f"http://127.0.0.1:{server.server_port}")
        )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return asked


def test_over_a_network_the_fetch_shows_how_far_it_is(machine, monkeypatch):
    served(machine, monkeypatch)
    steps = []
    folder = kernelfetch.fetch(OLD, progress=lambda *step: steps.append(step))
    assert shown(folder)[0] == "6.1.0-9-amd64"
    assert [*dict.fromkeys(what for what, *_ in steps)] == ["package lists", "packages", "unpacking"]
    assert all(0 <= done <= total == 100 for _, done, total in steps)


def test_a_relative_place_for_the_cache_is_refused(machine, run, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.chdir(machine)
    status, out, err = run("fetch", OLD)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "XDG_CACHE_HOME is 'cache'" in err


def test_what_another_suite_gave_is_not_taken_for_this_ones(machine):
    folder = kernelfetch.fetch(NEW, "lab-backports")
    with pytest.raises(LabError, match=f"no package {NEW} in this machine's suites"):
        kernelfetch.fetch(NEW)
    with pytest.raises(LabError, match=f"no package {NEW}=7.3.1-1 in this machine's suites"):
        kernelfetch.fetch(f"{NEW}=7.3.1-1")
    (machine / "mirror").rename(machine / "gone")
    assert (
        kernelfetch.fetch(NEW, "lab-backports") == kernelfetch.fetch(f"{NEW}=7.3.1-1", "lab-backports") == folder
    )


def test_a_kernel_that_two_suites_have_is_fetched_once(machine):
    folder = kernelfetch.fetch(OLD)
    assert kernelfetch.fetch(OLD, "lab") == folder
    assert (folder / "suites").read_text().splitlines() == ["(this machine's)", "lab"]
    (folder / "suites").unlink()  # as older versions kept it
    (machine / "mirror").rename(machine / "gone")
    assert kernelfetch.fetch(OLD) == folder


@pytest.mark.parametrize("options", ["", "Acquire::AllowInsecureRepositories true;"])
def test_what_apt_does_not_trust_ends_it(machine, run, options):
    """The repository has no signature; without trusted=yes, apt wants one."""
    for path in (machine / "etc" / "parts").iterdir():
        path.write_text(path.read_text().replace("Trusted: yes\n", "").replace("trusted=yes", ""))
    with (machine / "etc" / "conf").open("a") as conf:
        conf.write(options)
    status, out, err = run("fetch", OLD)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "apt does not trust what it finds of this machine's suites" in err
    assert "is not signed" in err
    assert not list((machine / "cache").glob("vmenter/kernels/*"))


def test_a_signature_that_cannot_be_verified_ends_it_though_older_lists_are_there(machine, run):
    kernelfetch.fetch("linux-image-5.10.0-20-amd64")
    for path in (machine / "etc" / "parts").iterdir():
        path.write_text(path.read_text().replace("Trusted: yes\n", "").replace("trusted=yes", ""))
    release = machine / "mirror" / "dists" / "lab" / "Release"
    signed = (
        f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{release.read_text()}-----BEGIN PGP SIGNATURE-----\n"
    )
    (release.parent / "InRelease").write_text(f"{signed}\niQ==\n-----END PGP SIGNATURE-----\n")
    status, _, err = run("fetch", OLD)
    assert (status, err.count("\n")) == (2, 1)
    assert "apt does not trust" in err


@pytest.mark.parametrize(
    ("line", "trusted"),
    [
        ("GPG error: http://x trixie InRelease: The following signatures couldn't be verified because", False),
        (
            "OpenPGP signature verification failed: http://x sid InRelease: Sub-process /usr/bin/sqv returned",
            False,
        ),
        ("The repository 'http://x lab InRelease' is not signed.", False),
        ("Failed to fetch http://x/Packages  Hash Sum mismatch", False),
        ("Release file for http://x/InRelease is expired (invalid since 3d).", False),
        ("The repository 'http://x none Release' does not have a Release file.", True),
        ("Failed to fetch http://x/InRelease  Could not resolve 'x'", True),
        ("http://x/InRelease: Policy will reject signature within a year, see --audit for details", True),
        ("Some index files failed to download. They have been ignored, or old ones used instead.", True),
    ],
)
def test_what_counts_as_not_trusted(line, trusted):
    assert bool(kernelfetch.UNTRUSTED.search(line)) is not trusted


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="apt changes its account for root only"
)
def test_for_root_apt_fetches_as_its_own_account(machine, monkeypatch):
    import pwd

    asked = served(machine, monkeypatch)
    kernelfetch.fetch(OLD)
    assert [name for name in asked if name.endswith(".deb")]
    assert set(asked.values()) == {pwd.getpwnam("_apt").pw_uid}


def test_where_apts_account_may_not_go_its_folders_stand_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for account, mode, own in ((42, 0o700, False), (42, 0o755, True), (None, 0o700, True)):
        monkeypatch.setattr(kernelfetch, "_sandbox", lambda account=account: account)
        tmp_path.chmod(mode)
        assert (kernelfetch._home() == tmp_path / "cache" / "vmenter" / "apt") is own
        assert kernelfetch._home().name == "apt"


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
