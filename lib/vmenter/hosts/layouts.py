"""The layouts in which a machine's words come: which line names which file, and where its text begins and ends.

`read(text)` gives pairs of a key and a value, whatever the layout: `grep .` with or without `-n`, `tail` and `cat`
with headings, path and text with blanks between, lscpu in any language, its JSON and its one-line form, inxi, the
report of spectre-meltdown-checker, the kernel's log, YAML, tables. A text counts only if it is one of the kernel's
(`texts`); one that is cut off or unknown is noted, and nothing is taken from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from vmenter.hosts import fields, machines
from vmenter.hosts.structured import from_json
from vmenter.hosts.texts import BEGINNINGS, FILES, TEXTS, beginning, completed, is_open, key, whole
from vmenter.hosts.unwrapping import raw_lines, unwrapped

JOINED: Final = 6  # lines that a text may be folded over
_WORDS: Final = frozenset(
    {"affected", "not affected", "vulnerable", "disabled", "unknown", "status", "mitigation"}
)
SHORT: Final = 5  # letters that are too few to be the beginning of a text
_TITLES: Final = {
    "taa": "tsx_async_abort",
    "tsx asynchronous abort": "tsx_async_abort",
    "rfds": "reg_file_data_sampling",
    "register file data sampling": "reg_file_data_sampling",
    "transient scheduler attacks": "tsa",
    "speculative store bypass": "spec_store_bypass",
    "speculative return stack overflow": "spec_rstack_overflow",
    "gds": "gather_data_sampling",
    "its": "indirect_target_selection",
}
_CVES: Final = {
    **dict.fromkeys(("2018-12126", "2018-12127", "2018-12130", "2019-11091"), "mds"),
    "2019-11135": "tsx_async_abort",
    **dict.fromkeys(("2022-21123", "2022-21125", "2022-21166"), "mmio_stale_data"),
    "2023-28746": "reg_file_data_sampling",
    **dict.fromkeys(("2018-3615", "2018-3620", "2018-3646"), "l1tf"),
    **dict.fromkeys(("2024-36350", "2024-36357"), "tsa"),
    "2018-12207": "itlb_multihit",
    "2017-5754": "meltdown",
    "2022-29900": "retbleed",
    "2022-29901": "retbleed",
    "2023-20569": "spec_rstack_overflow",
}
"""The flaw of a heading in spectre-meltdown-checker's report → the file."""

_ALL = "|".join(sorted((re.sub("[_ ]", "[_ -]", name) for name in (*FILES, *_TITLES)), key=len, reverse=True))
_NAME = re.compile(rf"(?<![\w./~\\-])([\w./~\\-]*/)?({_ALL})(?![\w./\\]|-\w)", re.IGNORECASE)
_SEPARATOR = re.compile(
    r"""
    ["'`*\])]* \s*                                      # what closes the name
    (?: (?: [:=|,;\t] | => | -> | \u2192 ) \s*
      | CVE-\d{4}-\d+ [\s,/]* (?= [|,;\t] | CVE- )      # a column of numbers in between
    )*
    (?: \d{1,4} [:-] \s* )?                             # grep -n's
    ["'`*(]* \s*
    (?: (?: status | state | data | value | text ) ["'`]* \s* [:=] \s* ["'`]* )?
    (?: [>|] [-+]? \s* \Z )?                            # YAML's: the text stands in the next line
    """,
    re.IGNORECASE | re.VERBOSE,
)
_LABELS = re.compile(  # lscpu's in some languages, inxi's
    r"(?:vuln\w*|security(?: details)?|schwachstelle|podatno\u015b\u0107|zranitelnost|kwetsbaarheid|s\u00e5rbarhet"
    r"|\u0443\u044f\u0437\u0432\u0438\u043c\u043e\u0441\u0442\u044c|\u8106\u5f31\u6027|\u6f0f\u6d1e|.*\btype)\s*:?",
    re.IGNORECASE,
)
_LABEL = r"[^\W\d_]+(?: [^\W\d_]+)?"
_BEFORE = re.compile(rf"(?:^|\s)({_LABEL})\s*:?\s*\Z")
_BEHIND = re.compile(rf"\s+({_LABEL})\s*:")
_CELLS = re.compile(r"(?:[\w.@-]{1,64}[,;\t][\"']?)+\Z|(?:[^|:]{1,40}\|\s*)+\Z")  # of a table, before the name
_RULE = " \t-=#*~_+<>[]:`"
_NAMES_IT = re.compile(
    r"(?:name|file|vulnerability|type|flaw|key|id)\s*[:=]\s*[\"']?([\w./-]+)[\"',]*\Z", re.IGNORECASE
)
_ITS_TEXT = re.compile(r"(?:status|state|value|text|data)\s*[:=]\s*[\"']?", re.IGNORECASE)
_DOTS: Final = ("\u2026", "...", ">")  # the last is what less -S shows of a line that goes on
_TAIL = re.compile(r"==>\s*(\S+)\s*<==")
_CAT = re.compile(
    r"""
    (?: ^ | [\s$\#%>;&|('"\u276f\u279c] )               # a prompt, or what stands before a command
    (?: (?: cat | more | less | head | tail | type | bat ) \s+ (?: -\S+ \s+ (?: \d+ \s+ )? )*
      | grep \s+ (?: -\S+ \s+ )* ["']? [.^*$]* ["']? \s+
    )
    ( (?: \S*/\S+ | \w+ ) (?: \s+ \S+ )* ) \Z           # the files
    """,
    re.VERBOSE,
)
_PROMPT = re.compile(r"(?:[\w.@~:/\[\]() -]{0,80}[$#%>\u276f\u279c]|PS \S+>)\s+\S")
_CHECKED = re.compile(r".*/sys interface:\s*(?:(?:YES|NO|UNK\w*|N/A)\b)?\s*\(?", re.IGNORECASE)
_PRESENT = re.compile(r"(L1TF|MDS|TAA|MMIO Stale Data) CPU bug present and SMT on")
_LOOKS: Final = (
    ("lscpu", re.compile(r"^\W*(?:CPU op-mode|Byte Order|Socket\(s\)|On-line CPU|NUMA node\d)", re.MULTILINE)),
    ("/proc/cpuinfo", re.compile(r"^\W*(?:processor\s*:|bogomips\s*:|cpuid level)", re.MULTILINE)),
    ("inxi", re.compile(r"^\W*(?:System:|Machine:|CPU:\s|Info:.*cores?\b)", re.MULTILINE)),
    ("the kernel's log", re.compile(r"^.{0,60}\[\s*\d+\.\d{6}\]", re.MULTILINE)),
    ("boot options", re.compile(r"BOOT_IMAGE=|GRUB_CMDLINE|\b(?:mitigations|mds|l1tf)=\w", re.MULTILINE)),
    ("the report of spectre-meltdown-checker", re.compile(r"Spectre and Meltdown mitigation detection|> STATUS:")),
    ("a list of files", re.compile(r"^(?:[-dl](?:[r-][w-][xsS-]){3}|total \d+\s*$)", re.MULTILINE)),
)
_COMPLAINT = re.compile(r"(?:cat|[ef]?grep|head|tail|more|less|bat|ls|sudo|-?(?:ba|z|k|da)?sh): ")


@dataclass
class Reading:
    """What was read: pairs in the paste's order, notes on what was not, and the layouts that were recognised."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    cut: dict[str, str] = field(default_factory=dict)  # file → what was there of its text
    strange: dict[str, str] = field(default_factory=dict)  # file → a text that no kernel prints
    completed: dict[str, str] = field(default_factory=dict)  # file → the text taken for one that was cut off
    layouts: list[str] = field(default_factory=list)
    machines: tuple[str, ...] = ()  # signs that more than one speaks
    nameless: int = 0  # texts of a kernel that stand without a name

    @property
    def seen(self) -> str:
        """What the paste looks like, in words; "" for nothing that is known."""
        return " and ".join(self.layouts)


def read(text: str) -> Reading:
    """Read a paste."""
    found = from_json(text)
    reader = _Reader(text if found is None else found.text)
    if found is not None:
        reader.found.layouts.append("JSON")
    reader.run()
    reader.found.machines = machines.of_lines(reader.raw)
    if found is not None and found.tellers > 1:
        reader.found.machines += (f"{found.tellers} objects of JSON that name files",)
    reader.found.layouts += [
        name for name, sign in _LOOKS if sign.search(text) and name not in reader.found.layouts
    ]
    return reader.found


class _Reader:
    """Goes through the lines once; what a heading announces is remembered for the lines below it."""

    def __init__(self, text: str) -> None:
        self.raw = raw_lines(text)
        self.lines = [unwrapped(line) for line in self.raw]
        self.found = Reading()
        self.labels, self.behind = _labels(self.lines)
        self.expected: list[str] = []  # keys whose texts come next
        self.cve: str | None = None  # the file of the checker's heading

    def run(self) -> None:
        """Read all lines."""
        at = 0
        while at < len(self.lines):
            line = self.lines[at]
            at += max(1, self._line(at, line)) if line else 1

    def _line(self, at: int, line: str) -> int:
        """Read what begins at a line; returns how many lines it took."""
        if self._heading(at, line):
            return 1
        if line.startswith("#"):
            return 1
        if self.cve and (checked := _CHECKED.match(line)):
            self._layout("the report of spectre-meltdown-checker")
            return self._text(at, self.cve, line[checked.end() :].rstrip(")"), sure=True)
        if _COMPLAINT.match(line):  # of a file that is not there, in any language
            self.expected = self.expected[1:]
            return 1
        if taken := self._records(at, line):
            self.expected = []
            return taken
        if self.expected and (taken := self._below_heading(at, line)):
            return taken
        value = fields.read(fields.Place(self.raw, self.lines, at))
        if present := _PRESENT.match(line):
            self.found.pairs.append(("present", _file(present[1])))
            return 1
        if value:
            self.found.pairs += value.pairs
            return value.lines
        self.found.nameless += line.startswith(("Not affected", "Mitigation:", "Vulnerable", "KVM: "))
        return 1

    def _layout(self, name: str) -> None:
        if name not in self.found.layouts:
            self.found.layouts.append(name)

    # --- headings ----------------------------------------------------------------------------------------------

    def _heading(self, at: int, line: str) -> bool:
        """Note what a heading announces; tell whether the line is one."""
        if found := re.match(r"CVE-(\d{4}-\d+)\b", line):
            self.cve = _CVES.get(found[1])
            return True
        if found := _TAIL.match(line):
            self._layout("tail's or head's headings")
            self.expected = _targets(found[1])
            return True
        raw = self.raw[at].strip()
        if not _NAME_AND_TEXT.match(raw):
            commands = [found for part in re.split(r";|&&", raw) if (found := _CAT.search(part.strip()))]
            if commands:
                self._layout("cat")
                several = [_targets(found[1]) for found in commands]
                self.expected = [key for keys in several for key in keys] if all(several) else []
                return bool(self.expected) or any("/" in found[1] for found in commands)
        named = _NAMES_IT.match(line)
        path = named[1] if named else raw.strip(_RULE)
        if path.startswith("/") or path in FILES:
            keys = _targets(path)
            if len(keys) == 1 and (keys != ["cmdline"] or not line.endswith(":")):  # that colon: nothing follows
                self._layout("a name, and its text on the next line")
                self.expected = keys
                return True
        if _PROMPT.match(raw) and not _NAME.search(line):
            self.expected = []
        return False

    def _below_heading(self, at: int, line: str) -> int:
        """Read what a heading announced. 0 if this is something else; then the texts' order is lost."""
        key, *rest = self.expected
        if key in FILES:
            line = _ITS_TEXT.sub("", line, count=1) if _ITS_TEXT.match(line) else line
            taken = self._text(at, key, line, sure=line.startswith(BEGINNINGS))
            self.expected = rest if taken else []
            return taken
        self.expected = rest
        value = fields.below(key, fields.Place(self.raw, self.lines, at))
        self.found.pairs += value.pairs
        return value.lines

    # --- a name and its text -----------------------------------------------------------------------------------

    def _records(self, at: int, line: str) -> int:
        """Read the names in a line with their texts, the last of which may go on below. 0 if there is none."""
        joined = line
        names = _names(line)
        lines = 1
        if not names and "vulnerabilities/" in line and at + 1 < len(self.lines):  # cut within the name
            joined = line + self.lines[at + 1]
            names, lines = _names(joined), 2
        if not names or not self._may_begin(joined[: names[0].start()]):
            return 0
        label = " ".join(joined[: names[0].start()].split())
        for name, after in pairwise(names):
            begin = self._text_begins(joined, name)
            text = _without(label, joined[begin : after.start()])
            self._text(at, _file(name[2]), text, sure=False, alone=True)
        name = names[-1]
        begin = self._text_begins(joined, name)
        between = joined[name.end() : begin]
        strong = any(sign in between for sign in ":=|,\t")
        sure = bool(name[1]) or (strong and "=" not in between)
        took = self._text(at + lines - 1, _file(name[2]), joined[begin:], sure=sure, strong=strong)
        return took + lines - 1 if took else lines * (len(names) > 1)

    def _text_begins(self, line: str, name: re.Match[str]) -> int:
        """Return where the text of a name begins: behind all that may stand between."""
        end = name.end()
        if (label := _BEHIND.match(line, end)) and label[1] in self.behind:
            end = label.end(1)
        found = _SEPARATOR.match(line, end)
        return found.end() if found else end

    def _may_begin(self, before: str) -> bool:
        """Tell whether what stands before the first name is a label, such as lscpu's in its language."""
        before = before.strip()
        label = bool(_LABELS.fullmatch(before)) or before.rstrip(": ") in self.labels
        return not before or label or bool(_CELLS.match(before))

    def _text(self, at: int, file: str, text: str, *, sure: bool, strong: bool = True, alone: bool = False) -> int:
        """Take a file's text, which may go on below. Returns the lines it took, 0 if it is no text of a kernel.

        `sure`: the name alone says that a text must follow, so what is none is noted; `strong`: a sign stands
        between the two; `alone`: nothing of it stands below.
        """
        text = text.rstrip(" []")
        dots = text.endswith(_DOTS)
        best, lines, begun, seen = (None, 1, text, 1) if dots else self._longest(at, file, text, alone=alone)
        if best is None and not dots:
            best = _cell(file, text)
        if best is not None:
            self.found.pairs.append((file, best))
            return lines
        if not key(begun):
            return 0
        if beginning(file, begun.rstrip(". >\u2026")) and (sure or (strong and len(begun) > SHORT)):
            if only := completed(file, begun.rstrip(". >\u2026")):
                self.found.completed[file] = only
                self.found.pairs.append((file, only))
            else:
                self.found.cut.setdefault(file, begun)
            return seen
        if sure:
            if file not in self.found.strange or is_open(text):
                self.found.strange[file] = text
            return 1
        return 0

    def _longest(self, at: int, file: str, text: str, *, alone: bool) -> tuple[str | None, int, str, int]:
        """Return the longest text of the kernel that begins here and its lines, and how far it goes at all."""
        best, lines, begun, seen = whole(file, text), 1, text, 1
        below = [] if alone or file not in TEXTS else self.lines[at + 1 : at + JOINED]
        for number, more in enumerate(below, 1):
            if not more or not beginning(file, begun + more) or self._starts(at + number):
                break
            begun, seen = begun + more, number + 1
            if longer := whole(file, begun):
                best, lines = longer, seen
        return best, lines, begun, seen

    def _starts(self, at: int) -> bool:
        """Tell whether something new begins at a line."""
        line = self.lines[at]
        if line.startswith(("#", "CVE-")) or _TAIL.match(line) or _CAT.search(self.raw[at].strip()):
            return True
        names = _names(line)
        return bool(names) and self._may_begin(line[: names[0].start()])


_NAME_AND_TEXT = re.compile(rf"\S*?(?:{_ALL})\S?\s*:", re.IGNORECASE)


def _names(line: str) -> list[re.Match[str]]:
    """Return the names in a line; behind the first, only those that a sign follows."""
    found: list[re.Match[str]] = []
    for name in _NAME.finditer(line):
        path = name[1] or ""
        if path not in {"", "./"} and (path[0] in "-~" or not path.endswith("vulnerabilities/")):
            continue
        if found and not re.match(
            r"""["'`*]*\s*(?:[:=|]|\s(?:status|mitigation)\s*:)""", line[name.end() : name.end() + 20]
        ):
            continue
        found.append(name)
    return found


def _cell(file: str, text: str) -> str | None:
    """Return the text in the first cell of a row; None if a further one has another: before and after, say."""
    first, *others = re.split(r"[|\t\u2502]", text)
    best = whole(file, first)
    return best if all(whole(file, other) in {None, best} for other in others) else None


def _file(name: str) -> str:
    """Return the file of a name as it is written anywhere."""
    words = re.sub("[_ -]", " ", name).lower()
    return _TITLES.get(words, words.replace(" ", "_"))


def _without(label: str, text: str) -> str:
    """Return a text without the label of the next one behind it, and what else separates them."""
    text = " ".join(text.split()).rstrip("\"',{}[]; |+")
    for one in (label, label.rpartition(" ")[2]):
        if one and text.endswith(one):
            return text.removesuffix(one).rstrip("\"',{}[]; |")
    return text


def _labels(lines: list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return what stands before, and what behind, at least two of lscpu's names: its label in some language."""
    before: dict[str, set[str]] = {}
    behind: dict[str, set[str]] = {}
    for line in lines:
        for name in _NAME.finditer(line):
            if name[1] or not name[2][0].isupper():
                continue
            rest = line[name.end() : name.end() + 40]
            if rest.lstrip().startswith(":") and (
                found := _BEFORE.search(line, max(0, name.start() - 40), name.start())
            ):
                for label in {found[1], found[1].rpartition(" ")[2]}:
                    before.setdefault(label, set()).add(_file(name[2]))
            elif found := _BEHIND.match(rest):
                behind.setdefault(found[1], set()).add(_file(name[2]))
    first, second = (
        frozenset(label for label, files in seen.items() if len(files) > 1 and label.lower() not in _WORDS)
        for seen in (before, behind)
    )
    return first, second


def _targets(words: str) -> list[str]:
    """Return the keys of the files that a command or a heading names, in order; [] if one cannot be told."""
    keys = []
    for word in words.split():
        if word.startswith(("2>", "|", ">", ";", "&")):
            break
        for path in _expanded(word):
            key = _target(path)
            if key is None:
                return []
            keys.append(key)
    return keys


def _expanded(word: str) -> list[str]:
    """Expand a shell's braces: a/{b,c} is a/b and a/c."""
    found = re.fullmatch(r"([^{}]*)\{([^{}]*)\}([^{}]*)", word)
    return [f"{found[1]}{one}{found[3]}" for one in found[2].split(",")] if found else [word]


def _target(path: str) -> str | None:
    folder, _, name = path.strip("\"'").rpartition("/")
    if name in FILES and (not folder or folder.endswith(("vulnerabilities", "."))):
        return name
    return fields.target(folder, name)
