"""features.py: names and numbers as the kernels' headers have them, and nothing beyond what was read."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from feature_words import to_words
from hypothesis import given
from hypothesis import strategies as st
from places import TESTS

from vmenter import LabError
from vmenter.patching import features

TOOL = TESTS / "tools/read_cpufeatures.py"
numbers = st.integers(0, 24 * 32 - 1)
versions = st.sampled_from(features.checked_versions())


def refusal(call, *arguments):
    """The message of the library's own error, empty if there is none; any other error fails the test."""
    try:
        call(*arguments)
    except LabError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("read_cpufeatures", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Each line was looked up in that kernel's cpufeatures.h by eye.
KNOWN = [
    ("CLEAR_CPU_BUF", "5.10.223", 11, 19),
    ("CLEAR_CPU_BUF", "5.10.262", 11, 19),
    ("CLEAR_CPU_BUF", "6.1.192", 11, 18),
    ("CLEAR_CPU_BUF", "6.12.117", 3, 18),
    ("CLEAR_CPU_BUF", "7.3.4", 3, 18),
    ("CLEAR_CPU_BUF_VM", "5.10.262", 22, 13),
    ("CLEAR_CPU_BUF_VM", "6.1.192", 21, 13),
    ("CLEAR_CPU_BUF_VM", "6.12.117", 21, 13),
    ("CLEAR_CPU_BUF_VM", "7.3.4", 21, 13),
    ("CLEAR_CPU_BUF_VM_MMIO", "7.3.4", 21, 19),
    ("MD_CLEAR", "5.10.262", 18, 10),
    ("FLUSH_L1D", "7.3.4", 18, 28),
    ("SMAP", "5.10.262", 9, 20),
    ("SMAP", "7.3.4", 9, 20),
    ("RTM", "7.3.4", 9, 11),
    ("XENPV", "5.10.262", 8, 16),
    ("XENPV", "7.3.4", 8, 16),
    ("ALWAYS", "7.3.4", 3, 21),
    ("SME", "5.10.46", 7, 10),
    ("SME", "5.10.218", 19, 0),
    ("BUG_L1TF", "5.10.13", 19, 18),
    ("BUG_L1TF", "5.10.223", 22, 18),
    ("BUG_L1TF", "5.10.262", 23, 18),
    ("BUG_L1TF", "6.1.4", 20, 18),
    ("BUG_L1TF", "7.3.4", 22, 18),
    ("BUG_MDS", "7.3.4", 22, 19),
    ("BUG_TAA", "7.3.4", 22, 22),
    ("BUG_MMIO_STALE_DATA", "7.3.4", 22, 25),
    ("BUG_RFDS", "7.3.4", 23, 2),
]


@pytest.mark.parametrize(("name", "version", "word", "bit"), KNOWN)
def test_a_known_name_has_its_number_and_the_number_its_name(name, version, word, bit):
    assert features.number(name, version) == word * 32 + bit
    assert features.name(word * 32 + bit, version) == name


VERSIONS = [
    ("6.12.117+deb13-amd64", (6, 12, 117)),
    ("6.1.192", (6, 1, 192)),
    ("7.3-amd64", (7, 3, 0)),
    ("7.3.0-rc7+", (7, 3, 0)),
    ("5.10.0-30-amd64", (5, 10, 0)),
    ("6.6.87.2-microsoft-standard-WSL2", (6, 6, 87)),
    ("6.1.0-56-amd64 SMP preempt mod_unload modversions ", (6, 1, 0)),
    ("Linux version 7.3.4 (someone@host) #1 SMP", (7, 3, 4)),
    ("Linux version 6.1.0-47-amd64 (x@y) #1 SMP PREEMPT_DYNAMIC Debian 6.1.170-3 (2026-05-01)", (6, 1, 170)),
    ("6.1.0-47-amd64 Debian 5.10.3", (6, 1, 0)),
]


@pytest.mark.parametrize(("text", "point"), VERSIONS)
def test_a_version_is_read_from_a_release_a_vermagic_or_a_banner(text, point):
    assert features.parse_version(text) == point


@pytest.mark.parametrize(
    "text", ["", "linux", "6", "6.", "v6.1", "6.1x", "6.1.", "-6.1.2", "6..1", "\u0666.\u0661", "9999.1.2"]
)
def test_nonsense_is_no_version(text):
    with pytest.raises(LabError, match="no kernel version"):
        features.parse_version(text)


@given(st.text(max_size=40))
def test_any_text_is_a_version_or_one_clear_error(text):
    assert "\n" not in refusal(features.parse_version, text)


# (number, version, answer): the naming rule, case by case.
RULE = [
    ((21, 19), "7.3.4", "CLEAR_CPU_BUF_VM_MMIO"),  # read
    ((21, 19), "7.2.10", "CLEAR_CPU_BUF_VM_MMIO"),  # between two of one series that agree
    ((21, 19), "7.0.9", "CLEAR_CPU_BUF_VM_MMIO"),  # 6.19 and 7.1 agree
    ((21, 19), "7.3.5", "21*32+19"),  # above the newest
    ((21, 19), "7.4.0", "21*32+19"),
    ((9, 20), "7.4.0", "SMAP"),  # hardware's own word
    ((9, 20), "4.19.5", "SMAP"),
    ((18, 10), "4.19.5", "18*32+10"),  # so old that this word may have held bugs
    ((3, 21), "4.19.5", "3*32+21"),  # Linux's own word
    ((17, 0), "7.4.0", "17*32+0"),  # hardware's once, Linux's since 7.3
    ((11, 19), "5.10.100", "11*32+19"),  # the neighbours disagree: added in between
    ((3, 18), "6.6.10", "3*32+18"),  # 6.1 has LFENCE_RDTSC there, 6.12 CLEAR_CPU_BUF
    ((22, 18), "5.15.100", "22*32+18"),  # bugs began elsewhere in 6.1.4
    ((7, 12), "5.15.100", "7*32+12"),  # late 5.10 and 6.1 agree, early 5.10 does not
    ((22, 18), "6.12.30", "BUG_L1TF"),
    ((21, 13), "6.12.8", "21*32+13"),  # read, and free there
    ((18, 22), "5.10.13", "18*32+22"),  # hardware's word, but this kernel was read and does not use the slot
    ((18, 22), "5.10.100", "AMX_BF16"),
    ((4, 14), None, "XTPR"),
    ((3, 18), None, "3*32+18"),  # moved, no version
    ((8, 16), "6.6.10", "XENPV"),  # never moved in what was read
    ((1000, 1), "7.3.4", "1000*32+1"),
]


@pytest.mark.parametrize(("place", "version", "answer"), RULE)
def test_a_name_is_given_only_where_the_versions_around_were_checked(place, version, answer):
    assert features.name(place[0] * 32 + place[1], version) == answer


ABI = [
    ("5.10.0-30-amd64", (11, 19), "CLEAR_CPU_BUF"),  # a package of this name was read
    ("5.10.0-31-cloud-amd64", (11, 19), "CLEAR_CPU_BUF"),  # between two that agree
    ("5.10.0-20-amd64", (11, 19), "11*32+19"),  # 5.10.46 … 5.10.218: it was added in between
    ("5.10.0-20-amd64", (11, 12), "11*32+12"),
    ("6.1.0-0.deb11.50-amd64", (11, 18), "CLEAR_CPU_BUF"),
    ("6.1.0-99-amd64", (3, 21), "ALWAYS"),  # up to the next series, which agrees
    ("6.1.0-1033-oem", (11, 18), "11*32+18"),  # another distribution's count: any of 6.1.y
    ("5.14.0-427.el9.x86_64", (8, 16), "XENPV"),
]


@pytest.mark.parametrize(("version", "place", "answer"), ABI)
def test_a_name_without_point_release_is_held_to_what_its_abi_number_tells(version, place, answer):
    assert features.name(place[0] * 32 + place[1], version) == answer


SPELLINGS = [
    "CLEAR_CPU_BUF",
    "x86_feature_clear_cpu_buf",
    " Clear_Cpu_Buf ",
    "3*32+18",
    "( 3*32 + 18)".strip("()"),
    "114",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_feature_may_be_spelled_in_several_ways(text):
    assert features.number(text, "7.3.4") == 3 * 32 + 18


def test_a_bug_may_be_spelled_in_several_ways():
    assert {features.number(text, "7.3.4") for text in ("L1TF", "bug_l1tf", "X86_BUG_L1TF")} == {22 * 32 + 18}


def test_a_bare_name_that_is_both_is_the_feature():
    assert features.name(features.number("SRSO", "7.3.4"), "7.3.4") == "SRSO"
    assert features.number("BUG_SRSO", "7.3.4") == 23 * 32


def test_without_a_version_a_name_must_never_have_moved():
    assert features.number("SMAP") == 9 * 32 + 20
    for moved in ("CLEAR_CPU_BUF", "BUG_L1TF"):
        with pytest.raises(LabError, match="name a version"):
            features.number(moved)


REFUSED = [
    ("CLEAR_CPU_BUFF", "7.3.4", "did you mean CLEAR_CPU_BUF"),
    ("MMIO", "7.3.4", "BUG_MMIO_STALE_DATA"),
    ("X86_FEATURE_MDS", "7.3.4", "no feature or bug"),
    ("X86_BUG_SMAP", "7.3.4", "no feature or bug"),
    ("", "7.3.4", "no feature or bug"),
    ("APX", "6.12.8", r"6.12.8 has no APX.*21\*32\+9"),
    ("CLEAR_CPU_BUF", "7.4.0", "7.4.0 was not checked for CLEAR_CPU_BUF"),
    ("CLEAR_CPU_BUF", "5.10.100", "5.10.100 was not checked"),
    ("SMAP", "latest", "no kernel version"),
    ("3*32+32", None, "bits end at 31"),
    ("32768", None, "bits end at 31"),
]


@pytest.mark.parametrize(("text", "version", "why"), REFUSED)
def test_a_refused_name_says_why_in_one_line(text, version, why):
    with pytest.raises(LabError, match=why) as caught:
        features.number(text, version)
    assert "\n" not in str(caught.value)


def test_a_negative_number_is_refused():
    with pytest.raises(LabError, match="negative"):
        features.name(-1)


@given(numbers, versions)
def test_a_name_or_its_text_leads_back_to_the_number(number, version):
    assert features.number(features.name(number, version), version) == number
    assert features.number(features.slot(number)) == number


@given(numbers, st.tuples(st.integers(4, 8), st.integers(0, 20), st.integers(0, 300)))
def test_a_name_given_for_any_version_leads_back_to_the_number(number, point):
    version = ".".join(map(str, point))
    assert features.number(features.name(number, version), version) == number


@given(st.text(max_size=30), st.none() | versions)
def test_any_text_is_a_number_or_one_clear_error(text, version):
    assert "\n" not in refusal(features.number, text, version)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=30))
def test_words_become_a_set_and_the_same_words_again(words):
    assert to_words(features.from_words(words), len(words)) == tuple(words)


@given(st.sets(numbers))
def test_a_set_becomes_words_and_the_same_set_again(chosen):
    assert features.from_words(to_words(chosen, 24)) == chosen


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1), st.sampled_from(["{:08x}", "0x{:X}", " {:x} "]))
def test_words_written_in_hexadecimal_are_read_back(words, form):
    assert features.parse_words(",".join(map(form.format, words))) == tuple(words)


BAD_WORDS = [("", "word 0 is empty"), ("1,,2", "word 1 is empty"), ("1,2,", "word 2 is empty")] + [
    (f"0,{bad}", "word 1 is .*8 hexadecimal digits")
    for bad in ("g", "100000000", "1_0", "-1", "+1", "0x", "\uff11")
]


@pytest.mark.parametrize(("text", "why"), BAD_WORDS)
def test_a_bad_word_is_named(text, why):
    with pytest.raises(LabError, match=why):
        features.parse_words(text)


@pytest.mark.parametrize("word", [-1, 1 << 32])
def test_a_word_holds_32_bits(word):
    with pytest.raises(LabError, match="feature word 1"):
        features.from_words([0, word])


def test_words_of_a_booted_7_3_4_read_as_the_cpu_it_had():
    # Words 0, 3, 9, 21 and 22 of a Skylake server model, read from the kernel's memory.
    words = [0] * 24
    words[0], words[3], words[9], words[21], words[22] = (
        0x078BFBFD,
        0x02758000,
        0x019803A9,
        0x00002100,
        0x4AAFC000,
    )
    names = {features.name(number, "7.3.4") for number in features.from_words(words)}
    assert {"FPU", "XMM2", "ALWAYS", "CPUID", "SMAP", "SMEP", "PREFER_YMM", "CLEAR_CPU_BUF_VM"} <= names
    assert {"BUG_L1TF", "BUG_MDS", "BUG_MMIO_STALE_DATA", "BUG_CPU_MELTDOWN"} <= names
    assert not [name for name in names if "*" in name]


def test_word_counts_follow_the_version():
    assert features.word_counts("5.10.13") == (19, 1)
    assert features.word_counts("5.10.0-43-amd64") == (23, 2)
    assert features.word_counts("7.3.4") == (22, 2)
    assert features.word_counts("5.10.100") is None
    assert features.word_counts("7.4.0") is None


def test_every_row_lies_in_a_word_its_kernels_have():
    kernels, rows = features._table()
    assert len(kernels) > 60
    for row in rows:
        assert 0 <= row.bit < 32
        assert row.first <= row.last
        for kernel in kernels[row.first : row.last + 1]:
            assert row.word < (kernel.bug_words if row.name.startswith("BUG_") else kernel.words)


def test_no_two_names_claim_one_number_and_no_name_two_numbers_in_one_kernel():
    kernels, rows = features._table()
    for index, kernel in enumerate(kernels):
        here = [row for row in rows if row.first <= index <= row.last]
        assert len(here) > 300
        assert len({row.number(kernel) for row in here}) == len({row.name for row in here}) == len(here)


def test_kernels_stand_in_order():
    points = [kernel.point for kernel in features._table()[0]]
    assert points == sorted(set(points))


def test_words_called_hardware_never_held_two_names_at_one_bit_nor_a_bug():
    kernels, rows = features._table()
    assert max(features.HARDWARE_WORDS) < min(kernel.words for kernel in kernels)
    places = {(row.word, row.bit, row.name) for row in rows if not row.name.startswith("BUG_")}
    fixed = [place[:2] for place in places if place[0] in features.HARDWARE_WORDS]
    assert len(fixed) == len(set(fixed))


def test_importing_reads_no_table():
    code = "import vmenter.patching.features as f; print(f._table.cache_info().currsize)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"


HEADER = """#define NCAPINTS\t\t22\t/* x */
#define NBUGINTS 2
#define X86_FEATURE_ONE\t( 3*32+ 1) /* one */
/* free: was #define X86_FEATURE_GONE ( 3*32+ 9) */
#define X86_FEATURE_TWO (21*32+19) /*
 * more
 */
#define X86_BUG(x)\t(NCAPINTS*32 + (x))
#define X86_BUG_A X86_BUG(5)
#define X86_BUG_B X86_BUG( 1*32+ 2)
"""


def test_the_reader_takes_definitions_and_leaves_comments(tool):
    kernel = tool.read_header("1.2.3", HEADER)
    assert kernel.slots == {"ONE": (3, 1), "TWO": (21, 19), "BUG_A": (0, 5), "BUG_B": (1, 2)}
    assert (kernel.words, kernel.bug_words) == (22, 2)


@pytest.mark.parametrize(
    "text", ["", "#define NCAPINTS 22\n", HEADER + "#define X86_FEATURE_ODD X86_FEATURE_ONE\n"]
)
def test_the_reader_refuses_what_it_does_not_know(tool, text):
    with pytest.raises(ValueError, match=r"^1\.2\.3: "):
        tool.read_header("1.2.3", text)


def test_the_table_is_exactly_what_its_tool_writes(tool):
    assert tool.dump(tool.load()) == tool.TABLE.read_text()


def test_a_gap_makes_two_rows_and_a_kernel_cannot_change(tool):
    with_two = tool.read_header("1.0.1", HEADER, [7])
    without = tool.read_header("1.0.2", re.sub("(?m)^#define X86_FEATURE_TWO.*$", "", HEADER))
    table = tool.merge({}, [with_two._replace(version="1.0.10"), without, with_two])
    assert list(table) == ["1.0.1", "1.0.2", "1.0.10"]
    rows = [row for row in json.loads(tool.dump(table))["rows"] if row[0] == "TWO"]
    assert rows == [["TWO", 21, 19, "1.0.1", "1.0.1"], ["TWO", 21, 19, "1.0.10", "1.0.10"]]
    with pytest.raises(ValueError, match=r"1\.0\.2: read differently before \(TWO\)"):
        tool.merge(table, [with_two._replace(version="1.0.2")])


def test_a_headers_folder_tells_its_version_and_abi(tool, tmp_path):
    root = tmp_path / "linux-headers-6.1.0-0.deb11.50-common"
    (root / tool.HEADER).parent.mkdir(parents=True)
    (root / tool.HEADER).write_text(HEADER)
    (root / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 176\nEXTRAVERSION =\n")
    kernel = tool.read_tree(str(root))
    assert (kernel.version, kernel.abis) == ("6.1.176", (50,))


def test_installed_kernel_headers_agree_with_the_table(tool):
    found = [path.parents[4] for path in Path("/usr/src").glob(f"*/{tool.HEADER}")]
    kernels = [tool.read_tree(str(root)) for root in found if "rc" not in (root / "Makefile").read_text()[:200]]
    if not kernels:
        pytest.skip("no kernel headers are installed in /usr/src")
    tool.merge(tool.load(), kernels)
