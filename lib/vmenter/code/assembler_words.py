"""What assemblers say of a mistake, in one wording: LLVM's where that is plain, else ours.

So a text of the course and a learner's mistake read the same whichever assembler is at work. What is not in the
table stays as the assembler said it.
"""

import re
from typing import NamedTuple

EXPRESSION = "unknown token in expression"
OPERANDS = "the operands do not fit the instruction: their number, kind or size"
SIZE = "the operands do not tell their size: the instruction needs a suffix (b, w, l or q)"
MEMORY = "an operand in memory is not understood; it is written as in 8(%rsp,%rax,4)"
TRUNCATED = "a number is too large for its place"
UNKNOWN = "this is not understood"
ANYWHERE = (EXPRESSION, MEMORY, TRUNCATED, UNKNOWN)  # somewhere in the line; not every assembler says where


class Form(NamedTuple):
    """Forms of one mistake, and its words. `{name}` is what the forms name; it is where the column points."""

    words: str
    forms: re.Pattern[str]


def _form(words: str, *forms: str) -> Form:
    return Form(words, re.compile("|".join(f"(?:{form})" for form in forms)))


# LLVM's forms first, then those of GNU as.
FORMS = (
    _form(
        "invalid instruction mnemonic '{name}'",
        "invalid instruction mnemonic '(.+)'",
        r"no such instruction: `([^\s']+).*",
    ),
    _form(
        OPERANDS,
        "too (?:few|many) operands for instruction|invalid operand for instruction|invalid number of operands",
        "unknown use of instruction mnemonic without a size suffix",
        "(?:number of operands|operand size|operand type) mismatch for `.+'|too many memory references for `.+'",
        "`.+' not allowed with `.+'|invalid instruction suffix for `.+'|junk `.+' after register",
        "incorrect register `.+' used with `.' suffix|unsupported instruction `.+'",
    ),
    _form(
        SIZE,
        "ambiguous instructions require an explicit suffix.*",
        "no instruction mnemonic suffix given and no register operands.*|ambiguous operand size for `.+'",
    ),
    _form("there is no register {name}", "bad register name `(.+)'"),
    _form("there is no register {name}", "invalid register name"),
    _form(
        "there is no file {name} to include",
        "Could not find include file '(.+)'",
        "can't open (.+) for reading: .+",
    ),
    _form("there is no file {name} to include", "Could not find incbin file '(.+)'", "file not found: (.+)"),
    _form("symbol '{name}' is already defined", "symbol ['`](.+)' is already defined"),
    _form("macros are nested too deeply", "macros cannot be nested more than .*|macros nested too deeply"),
    _form(
        MEMORY,
        r"unexpected token in memory operand|invalid base\+index expression|scale factor in address must be .*",
        r"unbalanced parenthesis in operand \d+\.?|`.+' is not a valid base/index expression",
        "expecting scale factor.*",
    ),
    _form(
        "a value for '{name}' is missing, which the macro needs",
        "missing value for required parameter '(.+)' in macro '.+'",
        "Missing value for required parameter `(.+)' of macro `.+'",
    ),
    _form(
        "too many positional arguments; an argument with blanks in it needs quotes",
        "too many positional arguments",
    ),
    _form(
        "a .macro has no .endm",
        "no matching '.endmacro' in definition",
        "unexpected end of file in macro `.*' definition",
    ),
    _form("a .rept has no .endr", "no matching '.endr' in definition", "(?:REPT|IRPC?) without ENDR"),
    _form(
        "an .if has no .endif",
        "unmatched .ifs or .elses",
        "end of file inside conditional|here is the start of the .*",
    ),
    _form(
        TRUNCATED,
        "out of range literal value|value '.+' out of range",
        "value 0x[0-9a-f]+ truncated to 0x[0-9a-f]+",
    ),
    _form(
        EXPRESSION,
        "unknown token in expression",
        '.*non-constant expression in ".+" statement|bad or irreducible .*',
    ),
    _form("alignment must be a power of 2", "alignment must be a power of 2", "alignment not a power of 2"),
    _form("unknown directive", "unknown directive", "unknown pseudo-op: `.+'"),
    _form(
        UNKNOWN,
        "unexpected token.*|unterminated string constant|expected (?:string|identifier).*",
        "junk at end of line, first unrecognized character is `.+'|invalid character '.+' in mnemonic",
        "missing name",
    ),
)
_OPENING = {"a .macro": r"\.macro\b", "a .rept": r"\.(?:rept|irpc?)\b", "an .if": r"\.if"}


def said(message: str, line: str, column: int | None) -> tuple[str, int | None]:
    """Return a mistake's words, and the column (from 1) in `line` that it is about; None if there is none."""
    for words, forms in FORMS:
        found = forms.fullmatch(message)
        if found:
            name = next(filter(None, found.groups()), None)
            if "{name}" in words and name is None:
                name = _word(line, column)
            if words in ANYWHERE:
                return words, None
            at = line.find(name) if name else -1
            return words.format(name=name), at + 1 if at >= 0 else _statement(line, column)
    return message, column or _statement(line, None)


def opening(words: str, text: str) -> int | None:
    """Return the line of what is opened and never closed; None for other mistakes."""
    form = next((form for start, form in _OPENING.items() if words.startswith(f"{start} has no")), None)
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if re.match(rf"\s*{form}", line)), None) if form else None


def _word(line: str, column: int | None) -> str:
    """Return the register that stands at a column, or the line's first."""
    found = re.search(r"%\w*", line[(column or 1) - 1 :]) or re.search(r"%\w*", line)
    return found[0] if found else "of that name"


def _statement(line: str, column: int | None) -> int | None:
    """Return where a statement begins, behind its labels: the one at a column, or the line's first."""
    for found in re.finditer(r"[^;]+", line):
        if column is None or found.start() < column <= found.end() + 1:
            labels = re.match(r"\s*(?:[\w.$]+:\s*)*", found[0])
            return found.start() + (labels.end() if labels else 0) + 1
    return None
