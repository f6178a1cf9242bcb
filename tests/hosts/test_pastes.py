"""What people paste: a table of pastes by kind, read rightly, and the properties that any reading must have."""

import codecs
import json
import re
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import DATA, ROOT

from vmenter import LabError
from vmenter.hosts.explain import explain
from vmenter.hosts.report import SAMPLES, parse, samples
from vmenter.hosts.unwrapping import decode

TABLES = (DATA / "pastes.txt", DATA / "pastes-second.txt")


def cases():
    for part in (part for table in TABLES for part in table.read_text(encoding="utf-8").split("\n@@ ")[1:]):
        head, _, body = part.partition("\n")
        name, _, rest = head.partition(" {")
        want = json.loads("{" + rest)
        if want.get("escaped"):
            body = body.encode("ascii").decode("unicode_escape")
        if "encoding" in want:
            body = decode(body.encode(want["encoding"]))
        if want.get("unended"):
            body = body.rstrip("\n")
        yield pytest.param(want, body, id=name)


CASES = list(cases())
each = pytest.mark.parametrize(("want", "text"), CASES)
READABLE = [one.values[1] for one in CASES if not {"refused", "contradicts"} & one.values[0].keys()]


def told(text):
    """What is read of a text: all that a verdict can rest on."""
    try:
        report = parse(text)
    except LabError:
        return None
    facts = report.lines, report.bugs, report.flags, report.options, report.release, report.vendor, report.smt
    return *facts, report.parameters


def status(text):
    try:
        return explain(parse(text)).outcome.status
    except LabError:
        return 2


def test_the_table_is_large_and_has_both_sides():
    assert len(CASES) >= 60
    assert sum("untold" in one.values[0] or "refused" in one.values[0] for one in CASES) >= 20


@each
def test_each_paste_is_read_as_it_was_meant(want, text):
    if "refused" in want:
        with pytest.raises(LabError, match=re.escape(want["refused"])):
            parse(text)
        return
    report = parse(text)
    found = explain(report)
    lines = dict(report.lines)
    assert {file: lines.get(file) for file in want.get("lines", ())} == want.get("lines", {})
    assert not {*want.get("untold", ())} & {
        file for file, one in found.inference.told.items() if one.state != "not told"
    }
    read = {"release": report.release, "vendor": report.vendor, "options": report.options}
    read |= {"name": dict(report.cpu).get("model name"), "by": found.inference.entering.by}
    read |= {"status": found.outcome.status}
    assert {key: read[key] for key in read.keys() & want.keys()} == {
        key: want[key] for key in read.keys() & want.keys()
    }
    assert {*want.get("bugs_has", ())} <= {*found.inference.host.bugs}
    assert {*want.get("flags_has", ())} <= {*(report.flags or ())}
    assert {one.file for one in found.lines if one.agrees} >= {*want.get("agrees", ())}


# --- whatever is wrapped around it, the same is read ---------------------------------------------------------------

WRAPS = {
    "quoted": lambda line: f"> {line}",
    "quoted twice": lambda line: f">> {line}",
    "quoted by two people": lambda line: f"> > {line}",
    "indented": lambda line: f"    {line}",
    "in a list": lambda line: f"- {line}",
    "with bullets": lambda line: f"\u2022 {line}",
    "between bars": lambda line: f"| {line} |",
    "coloured": lambda line: f"\x1b[1;32m{line}\x1b[0m",
    "with the colours grep has": lambda line: line.replace("/sys", "\x1b[35m\x1b[K/sys", 1) + "\x1b[m\x1b[K",
    "with hard blanks": lambda line: line.replace(" ", "\u00a0"),
    "with invisible signs": lambda line: "\u200b" + line + "\u200e",
    "in quotation marks": lambda line: f'"{line}"',
    "in code marks": lambda line: f"`{line}`",
    "with blanks behind": lambda line: f"{line}   ",
}


def plain(name):
    text = (SAMPLES / f"{name}.txt").read_text()
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


PLAIN = {name: plain(name) for name in samples()}
each_sample = pytest.mark.parametrize("name", PLAIN)


@each_sample
@pytest.mark.parametrize("wrap", WRAPS)
def test_wrapping_a_paste_never_changes_what_is_read(name, wrap):
    text = PLAIN[name]
    assert told("\n".join(WRAPS[wrap](line) for line in text.splitlines())) == told(text)


@each_sample
@pytest.mark.parametrize("form", ["{}: {}", "{}:{}", "{}. {}", "{}) {}", "{:6d}\t{}", "{:4d}  {}", "{}|{}"])
def test_numbering_a_paste_never_changes_what_is_read(name, form):
    text = PLAIN[name]
    numbered = "\n".join(form.format(number, line) for number, line in enumerate(text.splitlines(), 1))
    assert told(numbered) == told(text)


@each_sample
@pytest.mark.parametrize("width", [66, 80, 100])
def test_folding_a_paste_never_changes_what_is_read(name, width):
    text = PLAIN[name]
    hard = "\n".join(
        line[at : at + width] for line in text.splitlines() for at in range(0, max(1, len(line)), width)
    )
    soft = "\n".join(
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    )
    wanted = judged(text)
    assert judged(hard) == wanted
    assert judged(soft) == wanted
    assert judged("\n".join(f"> {line}" for line in hard.splitlines())) == wanted


def judged(text):
    """The same without the lines of files that the course does not judge: a fold may shorten those."""
    lines, *rest = told(text)
    return [pair for pair in lines if pair[0] in explain(parse(text)).inference.told], *rest


@each_sample
@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: b"\xff\xfe\n" + text.encode(),
        lambda text: b"\xe9\n" + text.encode(),
    ],
)
def test_bytes_are_read_whatever_wrote_them(name, encode):
    assert told(decode(encode(PLAIN[name]))) == told(PLAIN[name])


# --- less said is never safer --------------------------------------------------------------------------------------


def entered(text):
    try:
        return explain(parse(text)).inference.entering.by != "none"
    except LabError:
        return False


LESS = {f"sample {name}": text for name, text in PLAIN.items()}
LESS |= {one.id: one.values[1] for one in CASES if not {"refused", "contradicts"} & one.values[0].keys()}


@pytest.mark.parametrize("name", LESS)
def test_taking_a_line_away_never_makes_a_verdict_safe(name):
    text = LESS[name]
    if status(text) == 0:
        return  # what is safe cannot become safer; the next test takes more away
    lines = text.splitlines()
    for number in range(len(lines)):
        left = "\n".join([*lines[:number], *lines[number + 1 :]])
        assert status(left) != 0 or not entered(left), lines[number]


@given(st.sampled_from(sorted(LESS.values())), st.data())
def test_taking_any_lines_away_never_makes_a_verdict_safe(text, data):
    lines = text.splitlines()
    kept = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    left = "\n".join(line for line, keep in zip(lines, kept, strict=True) if keep)
    if status(left) == 0 and entered(left):
        assert status(text) == 0


@given(st.sampled_from(READABLE), st.data())
def test_cutting_a_paste_off_anywhere_never_makes_a_verdict_safe(text, data):
    left = text[: data.draw(st.integers(0, len(text)))]
    if status(left) == 0 and entered(left):
        assert status(text) == 0


@given(st.lists(st.sampled_from([line for text in READABLE for line in text.splitlines()]), max_size=12))
def test_no_flaw_is_free_unless_a_line_or_a_bugs_line_says_so(lines):
    text = "\n".join(lines)
    try:
        found = explain(parse(text))
    except LabError:
        return
    for file, one in found.inference.told.items():
        if one.state == "not affected":
            assert found.report.line(file) == "Not affected" or found.report.bugs is not None
    if found.outcome.status == 0 and found.inference.entering.by in {"VMLAUNCH or VMRESUME", None}:
        assert not any(one.state == "not told" for file, one in found.inference.told.items() if file != "tsa")


PROSE = [
    line
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
    for line in (ROOT / name).open(encoding="utf-8")
]


@given(st.sampled_from(READABLE), st.integers(0, len(PROSE) - 1), st.integers(1, 40), st.data())
def test_prose_among_the_lines_never_makes_a_verdict_safe(text, first, many, data):
    lines = text.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines)))
    noisy = "".join([*lines[:at], *PROSE[first : first + many], *lines[at:]])
    if status(noisy) == 0:
        assert status(text) == 0 or not text.endswith("\n")
