"""Bad input to every command: one line on standard error and status 2, or an answer; nothing that a terminal obeys.

The commands run in this process, as their users call them; files and names are made from good ones.
"""

import gzip
import io
import json
import lzma
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import fuzz
import pytest
import zstandard
from elf import PACKERS, Sec, Sym, elf
from mutate import BY_FORMAT
from packs import deb, kernel_files, ko, rpm, tar
from work import calls

from vmenter.code.visible import visible
from vmenter.course import progress
from vmenter.course.summary import summary
from vmenter.hosts.report import SAMPLES
from vmenter.patching.lab import lab_object

EVIL = (
    b"\x1b[2J",
    b"\x1b]0;x\x07",
    b"\x9b31m",
    b"\r\x08",
    b"\x7f",
    b"\n",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"\xc2\x85",
)
BOMB = 1 << 29  # bytes


def checked(run, *arguments):
    """Run a command; what it prints is fit for a terminal, and an error is one line."""
    status, out, err = run(*arguments)
    assert status in {0, 1, 2}
    for text in (out, err):
        assert all(visible(line) == line for line in text.split("\n")), arguments
    if status == 2 and not out:
        assert err.count("\n") == 1
        assert err.startswith("vmenter: ")
        assert "Traceback" not in err
    return status, out, err


def test_vmenter_alone_prints_its_help(run):
    status, out, err = run()
    assert (status, err) == (0, "")
    assert out == run("--help")[1]
    assert all(command in out for command in ("sites", "select", "enter", "audit", "fetch", "host", "inspect"))


# --- what never ends, or is too large -----------------------------------------------------------------------------


@pytest.fixture
def endless(tmp_path):
    """Files that never end, give nothing, or are far too large."""
    os.mkfifo(tmp_path / "fifo")
    for name, start in (("sparse", b""), ("sparse.o", b"\x7fELF"), ("sparse.gz", b"\x1f\x8b")):
        with (tmp_path / name).open("wb") as file:
            file.write(start)
            file.truncate(10 << 30)
    (tmp_path / "long").write_bytes(b"a" * 60_000_000)
    return [str(tmp_path / name) for name in ("fifo", "sparse", "sparse.o", "sparse.gz", "long")] + ["/dev/zero"]


COMMANDS = {
    "sites": ["sites"],
    "symbols": ["sites", "OBJECT", "--symbols"],
    "audit": ["audit", "--module"],
    "host": ["host", "--from"],
    "inspect": ["inspect"],
    "progress": ["progress"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_never_ends_is_refused_at_once(run, tmp_path, endless, command):
    (tmp_path / "x.o").write_bytes(lab_object("patching"))
    words = [str(tmp_path / "x.o") if word == "OBJECT" else word for word in COMMANDS[command]]
    for path in endless:
        with calls(1_000_000):
            assert checked(run, *words, path)[:2] == (2, "")


@pytest.mark.parametrize(
    "command", [["host", "--from", "-"], ["select", "--era", "650b68a0622f", "--stdin"], ["progress", "-"]]
)
def test_standard_input_without_an_end_is_refused(run, monkeypatch, command):
    with open("/dev/zero", "rb") as zero:  # noqa: PTH123
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(zero))
        assert "standard input: " in checked(run, *command)[2]


def test_a_full_disk_is_one_line(run, tmp_path):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "vmenter", "--help"], stdout=full, stderr=subprocess.PIPE, check=False
        )
        assert b"Traceback" not in done.stderr
        command = [sys.executable, "-m", "vmenter", "select", "--era", "v4"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr == b"vmenter: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize(("closed", "status"), [("<&-", 2), (">&-", 2), ("2>&-", 2), (">&- 2>&- <&-", 2)])
def test_streams_that_are_closed_do_no_harm(closed, status):
    command = f"{shlex.quote(sys.executable)} -m vmenter host --from - {closed}"
    done = subprocess.run(
        ["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("symbols", [1_000_001, 3_000_000])
def test_a_table_of_too_many_symbols_is_refused(run, tmp_path, symbols):
    (tmp_path / "map").write_bytes(b"".join(b"%x T f\n" % (number + 1) for number in range(symbols)))
    (tmp_path / "x.o").write_bytes(lab_object("patching"))
    with calls(5_000_000):
        _, _, err = checked(run, "sites", str(tmp_path / "x.o"), "--symbols", str(tmp_path / "map"))
    assert "no kernel has that many symbols" in err


# --- refusals name the true reason ----------------------------------------------------------------------------------


def old(version):
    """Return a module of an old kernel, whose records have another size."""
    table = bytes(13)
    return elf(
        [
            Sec(".text", b"\x0f\x01\xc2\xc3"),
            Sec(".altinstructions", table),
            Sec(".modinfo", f"name=kvm_intel\0vermagic={version} SMP\0".encode()),
        ],
        [Sym("vmx_vcpu_run", 0, 1)],
    )


@pytest.mark.parametrize("version", ["4.19.0-27-amd64", "5.4.0", "2.6.32"])
@pytest.mark.parametrize("command", [["sites"], ["inspect"], ["audit", "--module"]])
def test_a_kernel_older_than_any_known_is_told_as_one(run, tmp_path, version, command):
    (tmp_path / "kvm-intel.ko").write_bytes(old(version))
    status, out, err = checked(run, *command, str(tmp_path / "kvm-intel.ko"))
    assert status
    assert f"kernel {version} is older than 5.10" in out + err


# --- names and texts that a terminal would obey ---------------------------------------------------------------------


def renamed(random):
    """Return an object in which names of symbols and the version hold what a terminal obeys."""
    data = lab_object("patching")
    for name in (b"three_way", b"clear_or_not", b"verw_selector", b"7.3.4-lab"):
        evil = random.choice(EVIL)
        data = data.replace(
            name, (evil + name)[: len(name)] if name[:1] != b"7" else (b"7.3.4" + evil)[:9].ljust(9, b"x")
        )
    return data


def test_hostile_names_are_written_out(run, tmp_path, report):
    random, seen = Random(1), set()
    files = kernel_files()
    for number in range(fuzz.count("names")):
        evil = random.choice(EVIL) + random.choice(EVIL)
        odd = os.fsdecode(evil)
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / f"k{odd}m"
        inside = {f"lib/modules/6{evil.decode('latin-1')}/kvm-intel.ko.xz": PACKERS["xz"](ko())}
        made = (
            renamed(random),
            ko(version=f"6{evil.decode('latin-1')}"),
            deb(inside),
            rpm(files),
            b"",
            tar(inside),
        )
        if made[number % 6]:
            path.write_bytes(made[number % 6])
        else:
            path = folder
            (folder / "lib" / "modules" / f"6{odd}" / odd).mkdir(parents=True)
            (folder / "lib" / "modules" / f"6{odd}" / odd / "kvm-intel.ko").write_bytes(lab_object("v4"))
        for command in (["inspect"], ["sites"], ["sites", "--json"], ["audit", "--module"])[
            : 4 if number < 12 else 3
        ]:
            seen.add(checked(run, *command, str(path))[0])
        shutil.rmtree(folder)
    assert seen == {0, 1, 2} or fuzz.ALL < 500
    report(f"hostile names: {fuzz.count('names'):,}")


@pytest.mark.parametrize("command", [["inspect"], ["sites"], ["audit", "--module"], ["sites", "--json"]])
def test_a_good_module_may_have_any_name(run, tmp_path, command):
    import needs

    good = needs.kernel_file("7.3.4", "kvm-intel.ko.xz").read_bytes()
    path = tmp_path / os.fsdecode(b"\x1b]0;t\x07\n\xff.xz")
    path.write_bytes(good)
    assert checked(run, *command, str(path))[0] == 0


def spoilt(data, random):
    """Put what a terminal obeys, and other damage, into a text."""
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(data) + 1)
        data = data[:at] + random.choice(EVIL) + data[at:]
    return random.choice(BY_FORMAT["text"])(data, random) if random.random() < 0.5 else data


def test_damaged_texts_get_an_answer_or_one_line(run, tmp_path, report):
    random, seen = Random(2), {}
    reports = [path.read_bytes() for path in sorted(SAMPLES.glob("*.txt"))]
    symbols = b"".join(b"%x T function_%d\n" % (0xFFFF_FFFF_C000_0000 + 16 * n, n) for n in range(40))
    (tmp_path / "x.o").write_bytes(lab_object("patching"))
    for number in range(fuzz.count("texts")):
        text = tmp_path / "text"
        if number % 3:
            text.write_bytes(spoilt(random.choice(reports), random))
            command = ["host", "--from", str(text), *(["--json"] if number % 2 else [])]
        else:
            text.write_bytes(spoilt(symbols, random))
            command = ["sites", str(tmp_path / "x.o"), "--symbols", str(text)]
        status = checked(run, *command)[0]
        seen[status] = seen.get(status, 0) + 1
    assert set(seen) == {0, 1, 2}
    report(f"damaged texts: {fuzz.count('texts'):,}, with status 0, 1, 2: {seen[0]:,}, {seen[1]:,}, {seen[2]:,}")


WORDS = (
    *(
        "mitigations=off",
        "mds=full,nosmt",
        "l1tf=flush",
        "tsx=auto",
        "nosmt",
        "--",
        '"',
        "=",
        "quiet",
        "\x1b[2J",
        "\n",
    ),
    *(
        'GRUB_CMDLINE_LINUX="',
        "options kvm_intel ept=0",
        "kvm-intel.ept=",
        "\udcff",
        "MDS=",
        "\u202e",
        "mitigation=x",
    ),
)
HOST = {"bugs": ["mds", "taa"], "microcode": ["md_clear"], "cmdline": "mds=full"}


def test_any_command_line_and_any_host_get_an_answer_or_one_line(run, monkeypatch, report):
    random, seen = Random(3), set()
    good = json.dumps(HOST).encode()
    for number in range(fuzz.count("lines")):
        if number % 2:
            line = " ".join(random.choices(WORDS, k=random.randrange(1, 8)))
            command = ["enter" if number % 20 == 1 else "select", "--era", "e6ff1d61de51", "--bugs", "mds,l1tf"]
            seen.add(checked(run, *command, f"--cmdline={line}")[0])
        else:
            data = (
                spoilt(good, random)
                if number % 4
                else random.choice([b"[]", b"{}", b"[" * 9000, b"null", b'{"bugs": [null]}'])
            )
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
            seen.add(checked(run, "select", "--era", "650b68a0622f", "--stdin")[0])
    assert seen == {0, 2} or fuzz.ALL < 500
    report(f"command lines and hosts: {fuzz.count('lines'):,}")


def test_a_damaged_file_of_progress_is_read_or_put_aside(run, tmp_path, monkeypatch, report, capsys):
    random, aside = Random(4), 0
    good = json.dumps(
        {"exercises": {"05-1": {"passed": True, "tries": 2, "answer": "x"}}, "predictions": {"a": "b"}}
    )
    for number in range(fuzz.count("progress")):
        file = tmp_path / str(number) / "p.json"
        file.parent.mkdir()
        file.write_bytes(spoilt(good.encode(), random))
        capsys.readouterr()  # what was said of the one before
        checked(run, "progress", str(file))
        checked(run, "progress", str(file.parent), "--json")
        monkeypatch.setenv("VMENTER_PROGRESS", str(file))
        monkeypatch.setattr(progress, "_said", set())
        progress.record("06-1", passed=True, answer="y")
        found = progress.load()
        assert found.exercises["06-1"].passed
        repr(summary())
        left = {path.name for path in file.parent.iterdir()}
        assert left <= {"p.json", "p.damaged-1.json"}
        aside += len(left) == 2
    assert aside
    report(f"damaged files of progress: {fuzz.count('progress'):,}, {aside:,} put aside")


# --- bombs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every_bomb():
    zeroes = bytes(BOMB)
    return {
        "gz": gzip.compress(zeroes, 1, mtime=0),
        "xz": lzma.compress(zeroes, preset=0),
        "zst": zstandard.ZstdCompressor().compress(zeroes),
    }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process has held is read from /proc")
@pytest.mark.parametrize("command", ["sites", "symbols", "audit", "inspect"])
def test_bombs_stay_within_512_mib_and_a_million_calls(tmp_path, every_bomb, command):
    code = (
        "import sys; from peak import peak; from work import calls; from vmenter.cli import main\n"
        "try:\n"
        "    with calls(1_000_000): main(sys.argv[1:])\n"
        "except SystemExit as stop: print(stop.code, peak() >> 20)"
    )
    (tmp_path / "x.o").write_bytes(lab_object("patching"))
    words = [str(tmp_path / "x.o") if word == "OBJECT" else word for word in COMMANDS[command]]
    for name in every_bomb:
        (tmp_path / name).write_bytes(every_bomb[name])
        done = subprocess.run(
            [sys.executable, "-c", code, *words, str(tmp_path / name)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        status, held = map(int, done.stdout.split())
        assert (status, done.stderr.count("\n")) == (2, 1), name
        assert held < 512, name
