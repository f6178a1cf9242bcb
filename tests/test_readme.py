"""README is held against the program: its examples run and give what stands there, its figures are computed.

A figure that a machine and a day decide is measured; then the text says when, and on what. There is no third kind: a
number that is neither is noticed.
"""

import gzip
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from altered_modules import CHANGES_COUNT, KEEPS_FORM
from era_states import ALL
from golden_cases import golden
from needs import HINT, KERNELS, kernel_file, kernel_files, missing
from places import DATA, NOTEBOOKS, ROOT, TESTS

from vmenter.cli import main
from vmenter.code import symbols, unpack
from vmenter.course import progress, room
from vmenter.story.space import DEFAULT, FULL

README = (ROOT / "README.md").read_text(encoding="utf-8")
FLAT = " ".join(README.split())


# --- examples ------------------------------------------------------------------------------------------------------

BLOCKS = re.findall(r"^```\n(\$ vmenter .*?)^```$", README, re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (command, wanted)
    for block in BLOCKS
    for command, wanted in re.findall(r"^\$ (vmenter .+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    if not command.startswith(
        "vmenter progress"
    )  # tests/course/test_room.py runs it, with the progress that it shows
]
# What an example needs beside the program: file → (version, name) of a real kernel's, or what another one printed.
FILES = {"kvm-intel.ko.xz": ("7.3.4", "kvm-intel.ko.xz")} | {
    f"{series}/kvm-{vendor}.ko.xz": (version, f"kvm-{vendor}.ko.xz")
    for series, version in (("5.10", "5.10.262"), ("6.1", "6.1.192"), ("6.12", "6.12.117"), ("7.3", "7.3.4"))
    for vendor in (("intel",) if series == "6.1" else ("amd", "intel"))
}


def fits(wanted, found):
    """Tell whether an output is the one that stands there; "…" stands for what is left out, in a line or of lines."""
    parts = (re.escape(part) for part in wanted.split("…"))
    return re.fullmatch(".*?".join(parts), found, re.DOTALL) is not None


def run(command, folder):
    """Run a line of a shell as it stands there, in a folder, with this program first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "VMENTER_PROGRESS": str(folder / "progress.json"), "HOME": str(folder)}
    done = subprocess.run(
        ["sh", "-c", command], check=False, cwd=folder, env={**os.environ, **own}, capture_output=True, text=True
    )
    assert not done.stderr
    return done.stdout


def test_there_are_examples_to_run():
    assert len(EXAMPLES) >= 3
    assert len(EXAMPLES) == len(re.findall(r"^\$ vmenter (?!progress)", README, re.MULTILINE))


@pytest.mark.parametrize(("command", "wanted"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_an_example_gives_what_stands_there(command, wanted, tmp_path):
    for name, (version, real) in FILES.items():
        if name.partition("/")[0] in command.split():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(kernel_file(version, real), tmp_path / name)
    assert fits(wanted, run(command, tmp_path))


@pytest.mark.parametrize(
    ("wanted", "found", "fit"),
    [
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a … c\n", "a b c\n", True),
        ("a\n", "a\nb\n", False),
        ("a.\n", "ab\n", False),
    ],
)
def test_what_is_left_out_is_all_that_may_differ(wanted, found, fit):
    assert fits(wanted, found) is fit


# --- figures -------------------------------------------------------------------------------------------------------


@cache
def of(name):
    """Return a module of tests, by its file's name from tests on."""
    spec = importlib.util.spec_from_file_location(f"readme_{name.replace('/', '_')}", TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def boot(name):
    return json.loads(gzip.decompress((DATA / "golden" / f"{name}.json.gz").read_bytes()))


def own_sites(version):
    """Return the number of sites that are compared with each boot of a kernel; it is the same for all."""
    found = {
        len(data["sites"]) - len(data["other_patchers"])
        for data in (boot(name) for name in of("patching/test_golden").NAMES)
        if data["kernel"] == version
    }
    (number,) = found
    return number


def early_sites(version):
    _, sites = of("patching/test_golden_early").kernel(version)
    return sum(not one.also for one in sites)


def module_sites():
    names = [f"modules/{name}" for name in of("patching/test_golden_modules").NAMES]
    kept = [[s for s in boot(name)["sites"] if s[3] and not s[0].startswith(".init")] for name in names]
    return sum(map(len, kept)), {5: "five"}[len(names)]


def recordings():
    return of("kernels/test_booted").RECORDINGS


def distances():
    """Return, of VM-Enters where C clears: how far the lab falls short, and what both kinds of distance are."""
    found = [one for name in recordings() for one in of("kernels/test_booted").compared(name)[1]]
    by_c = [one.distances for one in found if one.distances and not one.recorded.cleared_in_stub]
    short = [(real.instructions - lab.instructions, real.accesses - lab.accesses) for real, lab in by_c]
    real = [(one.instructions, one.accesses) for one, _ in by_c]
    return [edge for row in (*zip(*short, strict=True), *zip(*real, strict=True)) for edge in (min(row), max(row))]


def states():
    return sum(3 * 2 ** (len(era.features) + len(era.keys) + 5) for era in ALL)


def learners():
    """Return how many learners memory holds, by the rule in INSTRUCTOR."""
    leader = (NOTEBOOKS / "INSTRUCTOR.md").read_text(encoding="utf-8")
    rule = r"\(memory − ([\d.]+) GiB for system and hub\) / \((\d+) MiB \+ (\d+) MiB × open notebooks\)"
    spare, alone, each = re.search(rule, leader).groups()
    hold = [
        math.floor((memory - float(spare)) * 1024 / (int(alone) + 2 * int(each))) for memory in (8, 16, 32, 64)
    ]
    return alone, each, *hold


def real_modules():
    found = kernel_files("*kvm-*.ko.xz")
    if len({path.parent for path in found}) < len(KERNELS):
        missing("a kernel", HINT)
    return found


def made(variable):
    return int(
        re.search(rf"^{variable}\s*\?= (\d+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    )


FIGURES = {
    r"VMRUN and TSA, ([\d,]+) alternatives counted": lambda: (
        of("patching/test_golden").TABLES["7.3.4"][0] // 1000 * 1000,
    ),
    r"\(packed ones to (\d+) MiB, a (\w+) symbols, reports of (\d+) MiB\)": lambda: (
        unpack.MAX_UNPACKED >> 20,
        {10**6: "million"}[symbols.MAX_SYMBOLS],
        sys.modules[main.__module__ + ".host"].MAX_REPORT >> 20,
    ),
    r"vCPU \(([\d,]+) million in the default space\)": lambda: (round(DEFAULT.configurations / 1e6),),
    r"in the full one \(([\d.]+) million million": lambda: (f"{FULL.configurations / 1e12:.1f}",),
    r"At most ([\d,]+) learners, ([\d,]+) folders, (\d+) MiB a file, (\d+) MiB a chat": lambda: (
        room.MOST_LEARNERS,
        room.MOST_FOLDERS,
        progress.LARGEST >> 20,
        room.LONGEST_TEXT >> 20,
    ),
    r"booted machine: ([\d,]+) sites of Linux 6\.12\.117 and ([\d,]+) of 7\.3\.4": lambda: (
        own_sites("6.12.117"),
        own_sites("7.3.4"),
    ),
    r"so are ([\d,]+) of 5\.10\.262 on either kind of CPU, ([\d,]+) of 6\.1\.192": lambda: (
        early_sites("5.10.262"),
        early_sites("6.1.192"),
    ),
    r"and ([\d,]+) of (\w+) modules as they were loaded": module_sites,
    r"`insn_decode` of (\w+) kernels gives ([\d,]+) byte sequences": lambda: (
        {4: "four"}[len(of("code/test_lengths").KERNELS)],
        of("code/test_lengths").NUMBER * len(of("code/test_lengths").KERNELS),
    ),
    r"`apply_alternatives` makes the same of ([\d,]+) sites": lambda: (
        of("patching/test_own_patcher").NUMBER * len(of("patching/test_own_patcher").PATCHERS),
    ),
    r"in all ([\d,]+) recorded cases": lambda: (len(golden()),),
    r"judge, too\.\*\* ([\d,]+) of them, traced in emulators of the whole machine \((\d+) boots": lambda: (
        sum(enters for _, enters, _ in recordings().values()),
        len(recordings()),
    ),
    r"falls short by (\d+) to (\d+) instructions and (\d+) to (\d+) accesses of (\d+) to (\d+) and (\d+) to (\d+),": distances,
    r"at (\d+) of 10 VM-Enters \(2019's": lambda: (recordings()["bochs-v15"][2],),
    r"a device forced, at (\d+) of 10": lambda: (recordings()["bochs-v12"][2],),
    r"every era in all its ([\d,]+) states": lambda: (states(),),
    r"exercise, (\d+) modules of real kernels with": lambda: (len(real_modules()),),
    r"counts instead of trying: ([\d,]+) random configurations": lambda: (
        of("story/test_audit").SAMPLES * len(ALL),
    ),
    r"agree in all ([\d,]+) cases": lambda: (
        len([*of("boot/test_tsa").cases()]) * len(of("boot/test_tsa").KERNELS),
    ),
    r"- (\d+) altered modules": lambda: (len(of("kernels/test_altered_modules").EVERY),),
    r"6\.19 form\. (\d+) more change the audit's count or are refused; (\d+) that": lambda: (
        len(CHANGES_COUNT),
        len(KEEPS_FORM),
    ),
    r"- ([\d,]+) bad inputs \(`make fuzz`; `make test` tries ([\d,]+) of them\)": lambda: (made("FUZZ"), 2000),
    r"A learner takes (\d+) MiB of memory, and (\d+) MiB for each open notebook: with two open, 8 GiB hold (\d+) "
    r"learners, 16 GiB (\d+), 32 GiB (\d+), 64 GiB (\d+)": learners,
    r"patching all its sites \| ([\d,]+) in [\d.]+ s \| ([\d,]+) in": lambda: (
        *(of("patching/test_golden").TABLES[version][1] for version in ("6.12.117", "7.3.4")),
    ),
}


def shown(value):
    return f"{value:,}" if isinstance(value, int) else str(value)


@pytest.mark.parametrize("pattern", FIGURES)
def test_a_figure_is_what_is_computed(pattern):
    (found,) = [one.groups() for one in re.finditer(pattern, FLAT)]
    assert found == tuple(map(shown, FIGURES[pattern]()))


def test_what_make_test_tries_is_the_default():
    program = "import fuzz; print(fuzz.ALL)"
    clean = {name: value for name, value in os.environ.items() if name != "VMENTER_FUZZ"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TESTS, env=clean, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == 2000


# --- measured, or no figure at all -----------------------------------------------------------------------------------

# What a machine and a day decide. The paragraph says when it was measured, and what kind of machine it was.
MEASURED = (
    r"wait for \d+ MB",
    r"took five minutes on a busy machine of \d+ cores, `\.venv` included, [\d.]+ minutes",
    r"takes \d+ MB and, with pip's cache filled, \d+ s of CPU time \(Python 3\.11; the clock showed \d+ s on \d+ cores at load \d+;"
    r" measured on 2026-11-28 under Linux\); `make test` adds \d+ MB",
    r"With \d+ learners at once on \d+ busy cores",
    r"after \d+ accidents",
    r"and run over \d+ kernels of Debian",
)
ELSEWHERE = (r"a folder of pages \(\d+ MB\)",)  # computed, too: tests/course/test_site.py
DATE = re.compile(r"[Mm]easured on \d{4}-\d\d-\d\d|on \d{4}-\d\d-\d\d")
# Numbers that are no figures: names of notebooks, versions, exit statuses, what a kernel or a CPU calls something.
NAMES = (
    r"\| \d\d \| \[[^\]]*\]\([^)]*\) \| \d+ \||(?:whole course|short way): \d+ minutes",  # tests/tools/minutes.py has them
    r"<!--.*?-->|```.*?```|`[^`]*`|\]\([^)]*\)",
    r"\b\d\d-\d\b|notebooks? \d\d|\(AMD: \d\d\)|\b0\d\b|\b(?:notebook|button of|to) \d\d\b(?!-)",
    r"\bv?\d+\.\d+(?:\.\d+)*(?:-\d+)?(?:\+\w+)?(?:-\w+)*(?![\d.]* (?:s|ms|MB|GB|minutes|times)\b)",
    r"\d{4}-\d\d-\d\d|\b(?:19|20)\d\d\b",
    r"x86-64|arm64|64-bit|x86|UTF-16|L1TF|L1D|CR2|ALTERNATIVE_2|Python 3|\b0x[0-9a-f]+",
    r"Exit status(?:es)?:? \d|exit status \d|exits with \d|never \d\b|\b\d (?:fine|a finding|bad input|is a finding|means|if)\b",
    r"family \d|Records of 12, 13 and 14 bytes|CC BY 4\.0|of 10 VM-Enters|of 10 \(the flaw|\d+ minutes, half a day",
)


def left(text):
    """Return the numbers of a text that are neither computed, nor measured, nor names."""
    flat = " ".join(text.split())
    fast = re.search(r"## How fast(.*?)## ", flat)
    if fast and DATE.search(fast[1]):
        flat = flat.replace(fast[1], " ")
    for pattern in (*FIGURES, *MEASURED, *ELSEWHERE, *NAMES):
        flat = re.sub(pattern, " ", flat)
    return [flat[max(0, one.start() - 40) : one.end() + 20] for one in re.finditer(r"\d[\d,.]*", flat)]


def test_every_number_is_computed_measured_or_a_name():
    assert left(README) == []


@pytest.mark.parametrize("more", ["It has 17 parts.", "It takes 3.5 s.", "All 1,234 of them.", "5 GiB will do."])
def test_a_number_that_nothing_holds_is_noticed(more):
    assert len(left(f"{README}\n\n{more}\n")) == 1


@pytest.mark.parametrize("pattern", MEASURED)
def test_what_was_measured_says_when(pattern):
    paragraphs = [" ".join(one.split()) for one in re.split(r"\n\s*\n|\n- ", README)]
    (paragraph,) = [one for one in paragraphs if re.search(pattern, one)]
    assert DATE.search(paragraph), paragraph


def test_the_speeds_say_when_and_on_what():
    section = " ".join(re.search(r"## How fast\n(.*?)\n## ", README, re.DOTALL)[1].split())
    assert DATE.search(section)
    assert re.search(r"\d cores of an? [\w ]+ under Linux, Python 3\.\d+", section)
