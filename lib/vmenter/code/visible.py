"""Text from elsewhere made fit to print: what a terminal would obey is shown, not sent.

Names of symbols, files and members, versions and pasted lines come from people one does not know. In them, escape
sequences could rewrite what the reader sees, and marks of direction could turn it round.
"""

import re

# Control characters (C0, DEL, C1), marks that join, hide or turn text round, separators of lines, lone surrogates:
# in Unicode's terms Cc, Cs, Zl, Zp, and those of Cf that change what stands around them.
_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""Return `text` with all that a terminal would obey written out: ESC as ``\x1b``, a line's end as ``\n``.

    A byte of a file's name that is no UTF-8 becomes ``\xff``, say; all other text stays as it is.
    """
    return text if text.isprintable() else _OBEYED.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is no text
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode("ascii")
