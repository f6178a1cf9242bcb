"""What people and programs wrap around a line before it is pasted, taken off again.

Bytes become text (UTF-16, byte order marks, line ends), a text becomes lines without colours, odd blanks and
markup, and a line loses numbers, quotes, bullets, bars and the time a log puts before it. What is left is what the
machine printed, or nothing that it did.
"""

from __future__ import annotations

import codecs
import re
from html import unescape
from typing import Final

from vmenter.hosts.structured import from_metric

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ESCAPES = re.compile(  # what terminals obey: colours, cursor, titles; the last also where ESC itself was lost
    r"""
    \x1b \[ [0-?]* [ -/]* [@-~]                         # CSI
    | \x1b \] [^\x07\x1b\n]* (?: \x07 | \x1b\\ )?       # OSC: a title
    | \x1b [@-Z\\^_()] [0-9A-B]?
    | \x9b [0-?]* [@-~]
    | \^\[ \[ [0-9;]* [mK]                              # as cat -v prints it
    | (?<! [\w\]] ) \[ (?: \d{1,2} ; )* \d{0,2} [mK] (?= \S )
    """,
    re.VERBOSE,
)
_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\x0b\x0c]")
_NOTHING = re.compile(  # controls and signs without a width; the C1 control CSI is among the escapes
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9a\x9c-\x9f]"
)
_TAGS = re.compile(
    r"</?(?:pre|code|span|td|th|tr|tbody|thead|table|li|ul|p|b|i|em|strong|div|br|font|details|summary)\b[^<>]*>",
    re.IGNORECASE,
)
_ROWS = re.compile(r"<(?:br|/tr|/li|/p|/div|/pre)\b[^<>]*>", re.IGNORECASE)
_NAMED_TAG = re.compile(
    r"<[\w:-]{1,40}\s[^<>]{0,80}?\b(?:name|id|key|file)=[\"']([\w./ -]{1,80})[\"'][^<>]{0,80}>"
)
_FORUM = re.compile(  # BBCode and its kin
    r"\[/?(?:code|icode|quote|[biusp]|tt|pre|mono|spoiler|colou?r|size|font|list|table|t[drh])"
    r"(?:=[^\[\]\n]{0,80})?\]|\{(?:code|noformat)(?::\w{1,20})?\}",
    re.IGNORECASE,
)
_PRINTED_NEWLINE = re.compile(r"\\{1,3}n(?=[/\"'\\]|\Z|\n|(?:l1tf|mds|mmio|reg|srbds|ts[ax]|spec|itlb)\w*:)")
_QUOTES = str.maketrans(
    {"\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2018": "'", "\u2019": "'", "\uff1a": ":", "\uff1b": ";"}
)

_LOG = re.compile(
    r"""
    (?: kern \s* : \w+ \s* : \s* )?                                     # dmesg -x
    (?: <\d{1,3}> )?
    (?: (?: \w{2,6}\.? \s+ \d{1,2} \s+ \d\d:[\d:.]+                       # the journal, its month in any language
          | \d{4}-\d\d-\d\d [T\ ] [\d:.,]+ (?: Z | [+-]\d\d:?\d\d )? )
        \s+ (?: \S+ \s+ )? (?: kernel | unknown ) (?: \[\d+\] )? : \s*
      | \d{4}-\d\d-\d\d T [\d:.,]+ (?: Z | [+-]\d\d:?\d\d ) \s+ )?           # what collects logs
    (?: \[ \s* (?: \d+\.\d+ | \w{2,6}\.?\ \w{2,6}\.?\ +\d+\ [\d:]+\ \d{4}
               | \d{4}-\d\d-\d\d [T\ ] [\d:.,]+ ) \] \s*
        (?: \S+\ kernel: \s* )? )?
    """,
    re.VERBOSE,
)
_FRONT = re.compile(
    r"""
    \s+ | >+ \s? | \|+ \s* | ["'`]+ | \*\* | __ | [*+-]\s+
    | [\u2022\u00b7\u2023\u25e6\u25aa\u2013\u2014\u2502\u251c\u2514\u2500\u2570\u256d\u2551]+ \s*  # bullets
    | ["']? (?: field | data | stdout | log | message | msg | output ) ["'] \s* : \s* | \{ \s* (?=["':])  # JSON
    | : (?= [a-z]\w+ \s? => )                                                                       # Ruby
    | \d{1,6} [.):|] \s* (?=[^\d\s.])                                                               # numbers
    | \d{1,6} \s+ (?= / | [A-Z][a-z] | [a-z_]{3,}[:0-9\ ] )
    | (?!cat:|e?grep:|head:|tail:|ls:|\w*sh:|exp|should|must|want|if\b|eg\b)[\w.@-]{1,64}  # who says so
      (?: \s?:\s+ | \s+\|\s+ ) (?= /sys/devices/system/cpu/vulnerabilities/ )
    """,
    re.VERBOSE,
)
DEEPEST: Final = 40  # marks before a line that are taken off
_BACK: Final = " \t|\u2502\u2551`\"',\\*_"


def decode(data: bytes) -> str:
    """Return what bytes say: UTF-8, UTF-16 or UTF-32, with or without its mark; what is none becomes U+FFFD."""
    some = data[:4096]
    for mark, name in _MARKS:
        # Bytes may begin like a mark by chance: wide text has zeros, a machine's words are mostly ASCII.
        if data.startswith(mark) and (name == "utf-8" or 10 * some.count(0) > len(some)):
            return data[len(mark) :].decode(name, errors="replace")
    if len(some) >= 4 and 0 in some:  # plain text in UTF-16: every other byte is zero
        halves = {"utf-16-be": some[0::2], "utf-16-le": some[1::2]}
        for name, half in halves.items():
            if 10 * half.count(0) > 9 * len(half):
                return data.decode(name, errors="replace")
    return data.decode("utf-8", errors="replace")


def raw_lines(text: str) -> list[str]:
    """Return a text's lines without what only a terminal, a page or an editor understands; their indent stays."""
    text = re.sub("\r+\n|[\r\u2028\u2029]|\x00(?=/sys/|/proc/)", "\n", text)
    text = _typed(_ESCAPES.sub("", text))
    if re.search("=\n", text) and re.search("=(?:20|3D|C2=A0)", text):  # quoted-printable
        text = re.sub("=C2=A0", " ", text.replace("=\n", ""))
        text = re.sub("=([0-7][0-9A-F])", lambda found: chr(int(found[1], 16)), text)
    if "\\n" in text:
        text = _PRINTED_NEWLINE.sub("\n", text)
    if "&" in text and ";" in text:
        text = unescape(text)
    if "<" in text:
        text = _TAGS.sub(" ", _ROWS.sub("\n", text))
        text = re.sub(r"</[\w:-]{1,40}>", "\n", _NAMED_TAG.sub(r"\n\1: ", text))
    if "[/" in text or "{" in text:
        text = _FORUM.sub("", text)
    text = _NOTHING.sub("", _BLANKS.sub(" ", text)).translate(_QUOTES)
    return [from_metric(line.rstrip()) for line in text.split("\n")]


def _typed(text: str) -> str:
    """Return a text as a terminal shows it where a key or a printer went back over a letter."""
    if "\b" not in text:
        return text
    shown: list[str] = []
    for letter in text:
        if letter != "\b":
            shown.append(letter)
        elif shown and shown[-1] != "\n":
            shown.pop()
    return "".join(shown)


def unwrapped(line: str) -> str:
    """Return a line without what was put before and behind it."""
    start = 0
    for _ in range(DEEPEST):
        before = start
        for wrap in (_FRONT, _LOG):
            if found := wrap.match(line, start):
                start = found.end()
        if start == before:
            break
    return line[start:].rstrip(_BACK)
