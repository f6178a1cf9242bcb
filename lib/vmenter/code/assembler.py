"""GNU syntax to an ELF object, by a real assembler, always in a child process or program apart.

The assembler of choice is LLVM's, as llvmlite carries it. On a syntax error LLVM ends the process it runs in,
which must not be a notebook's kernel; and text from a learner may loop or eat memory, so the child has limits.
Where llvmlite cannot assemble for x86 (its wheels for other machines), clang or GNU as does; in a browser's tab,
GNU as. What each says of a mistake is put into the same words.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache, lru_cache, partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vmenter import LabError, in_browser
from vmenter.code import gnu_as
from vmenter.code.assembler_words import opening, said

TIME_LIMIT = 10.0  # seconds for one text
_ENDLESS = "has it a .rept or a macro without an end?"
MAX_OBJECT = 16 << 20  # bytes
MEMORY = 1 << 30  # bytes of address space that an assembler may take
# What every assembler is started through where there is a shell: limits on its file (in blocks of 512 bytes, in
# some shells 1,024) and its memory (KiB). A limit that cannot be set is done without.
_LIMITED = f'ulimit -f {2 * MAX_OBJECT // 512} 2>/dev/null; ulimit -v {MEMORY >> 10} 2>/dev/null; exec "$0" "$@"'

# Each reads the text from standard input and writes the object to the file whose name comes last.
COMMANDS = {
    "llvmlite": (sys.executable, "-I", str(Path(__file__).with_name("_assemble.py"))),
    "clang": ("clang", "-target", "x86_64-linux-gnu", "-x", "assembler", "-c", "-", "-o"),
    "as": ("x86_64-linux-gnu-as", "--64", "-mx86-used-note=no", "-", "-o"),  # binutils 2.32
}

# "error: <inline asm>:3:5: message" (llvmlite), "<stdin>:3:5: error: message" (clang), and of GNU as
# "{standard input}:3: Error: message", perhaps followed by "{standard input}:3:  Info: macro invoked from here".
_DIAGNOSTICS = (
    re.compile(r"^error: (?P<file><[^>]+>|[^:\n]+):(?P<line>\d+):(?P<column>\d+): (?P<message>.+)$", re.MULTILINE),
    re.compile(
        r"""
        ^ (?P<file>[^:\n]+) : (?P<line>\d+) : (?: (?P<column>\d+) : )? [ ]
        (?: error:[ ] | Error:[ ] | Fatal[ ]error:[ ]
          | Warning:[ ] (?= .+[ ]truncated[ ]to[ ] | .+;[ ]using[ ]default[ ]for[ ] )
        )
        (?P<message>.+) $
        (?: \n [^:\n]+ : (?P<caller>\d+) : [ ]+ Info:[ ]macro[ ]invoked[ ]from[ ]here $ )*
        """,
        re.MULTILINE | re.VERBOSE,
    ),
)
_DOUBTFUL = re.compile(" truncated to |; using default for ")  # what GNU as warns of, and LLVM refuses
_ABSOLUTE = {1, 10, 11, 12, 14}  # R_X86_64_64, 32, 32S, 16, 8: the psABI's relocations that write a symbol's value
_REGISTER = r"r[abcd]x|r[sd]i|r[sb]p|r(?:8|9|1[0-5])[dwb]?|e[abcd]x|e[sd]i|e[sb]p|[abcd][hlx]|[sd]il?|[sb]pl?"
_INTEL = re.compile(
    rf"(?<![%\w.$@])(?:{_REGISTER})(?![\w:(.])|\[[^\]]*\b(?:{_REGISTER}|rip)\b|\b(?:byte|word|dword|qword) ptr\b",
    re.IGNORECASE,
)
_TO_ATT = (
    "this looks like Intel syntax, and the lab writes AT&T's: %rax for a register, $1 for a number, "
    "8(%rsp) for memory, the source before the destination"
)
_OWN = ("<inline asm>", "<stdin>", "{standard input}")


class AssemblyError(LabError):
    """The assembler refused a text.

    `line` and `column` count from 1 within the text that was given; `column` is None where the
    assembler names none, and both are None for a failure that belongs to no line (a time limit, say).
    """

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        self.message, self.line, self.column = message, line, column
        place = "" if line is None else f"line {line}" + ("" if column is None else f", column {column}")
        super().__init__(f"{place}: {message}" if place else message)


def assemble(text: str, backend: str | None = None, include: Path | None = None) -> bytes:
    """Assemble `text` for x86-64 Linux and return the ELF object; a text seen before costs no process.

    `include` is the folder in which ``.include`` looks. Raises `AssemblyError` for what the assembler
    refuses, and `LabError` where there is no assembler.
    """
    chosen = backend or available()
    if chosen is None:
        raise LabError("no assembler for x86-64 here: install clang, or GNU binutils for x86-64")
    return _assemble(text, chosen, include)


@cache
def available() -> str | None:
    """Return the first back end that works on this machine, or None. Costs a process, once."""
    return next((name for name in BACKENDS if works(name)), None)


def works(backend: str) -> bool:
    """Tell whether a back end is there and assembles x86-64."""
    try:
        return _assemble("nop\n", backend).startswith(b"\x7fELF")
    except LabError:
        return False


@lru_cache(maxsize=512)
def _assemble(text: str, backend: str, include: Path | None = None) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise AssemblyError("a character that is no Unicode text", line) from None
    status, output, messages = BACKENDS[backend](data, include)
    if status != 0 or not output.startswith(b"\x7fELF") or _DOUBTFUL.search(messages):
        raise _error(text, backend, include, status, messages)
    if name := _unknown_number(output):
        at = _line_of_name(text, name)
        if name.startswith(".L"):
            raise AssemblyError(f"there is no label {name} to go to", at)
        advice = f"; did you mean X86_FEATURE_{name}?" if name.startswith("CLEAR_") else ""
        raise AssemblyError(_hint(text, at) or f"{name} stands for a number here, and is not defined{advice}", at)
    return output


def _hint(text: str, line: int | None) -> str:
    """Return what is said of an error in a line that is written as Intel does it, else nothing."""
    lines = text.splitlines()
    if line is None or not 0 < line <= len(lines) or ".intel_syntax" in text:
        return ""
    code = re.sub(r"#.*|\"[^\"]*\"", "", lines[line - 1])
    return _TO_ATT if _INTEL.search(code) else ""


def _unknown_number(data: bytes) -> str | None:
    """Return a name used as a number that nothing defines: an assembler leaves it to a linker, and it would be 0.

    A call, a jump or a RIP-relative operand to a name elsewhere is another matter: a kernel has such places, but
    none that is called like a register (``jmp rax`` in Intel syntax), or like a label of this text alone (``.L``).
    """
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415  (import of this module stays free)
    from elftools.elf.relocation import RelocationSection  # noqa: PLC0415

    elf = ELFFile(BytesIO(data))
    for section in elf.iter_sections():
        if isinstance(section, RelocationSection):
            symbols: Any = elf.get_section(section["sh_link"])
            for relocation in section.iter_relocations():
                symbol = symbols.get_symbol(relocation["r_info_sym"])
                number = relocation["r_info_type"] in _ABSOLUTE or re.fullmatch(rf"{_REGISTER}|\.L.*", symbol.name)
                if number and symbol.name and symbol["st_shndx"] == "SHN_UNDEF":
                    return str(symbol.name)
    return None


def started(command: tuple[str, ...], data: bytes, include: Path | None) -> tuple[int, bytes, str]:
    """Run an assembler as a child process: its exit status, the object, and its messages."""
    program = shutil.which(command[0])
    if program is None:
        raise LabError(f"{command[0]} is not installed")
    with TemporaryDirectory(prefix="vmenter-") as folder:
        result = Path(folder, "out.o")
        try:
            done = subprocess.run(
                [*(("/bin/sh", "-c", _LIMITED) if os.name == "posix" else ()), program, *command[1:], str(result)],
                input=data,
                capture_output=True,
                cwd=include or folder,
                timeout=TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AssemblyError(f"the assembler was stopped after {TIME_LIMIT:.0f} s; {_ENDLESS}") from None
        size = result.stat().st_size if result.exists() else 0
        if size > MAX_OBJECT:
            raise AssemblyError(f"the object has {size:,} bytes; the lab takes {MAX_OBJECT:,}")
        output = result.read_bytes() if size else b""
    return done.returncode, output, done.stderr.decode(errors="replace")


def _in_tab(data: bytes, include: Path | None) -> tuple[int, bytes, str]:
    return gnu_as.run(data, include, MAX_OBJECT)


# A back end is a function: (text, folder of included files) to exit status, object and messages.
Backend = Callable[[bytes, Path | None], tuple[int, bytes, str]]
BACKENDS: dict[str, Backend] = (
    {"as": _in_tab} if in_browser() else {name: partial(started, command) for name, command in COMMANDS.items()}
)


def _error(text: str, backend: str, include: Path | None, status: int, messages: str) -> AssemblyError:
    """Turn an assembler's words into one error at the line of `text` that it is about."""
    if status < 0 or re.search(r"out of memory|memory exhausted|negative count for REPT", messages):
        return AssemblyError(f"the assembler ran out of memory or crashed; {_ENDLESS}")
    undefined = re.search(r"Undefined temporary symbol (\S+)", messages)
    if undefined and not undefined[1].startswith(".Ltmp"):  # .Ltmp0 and so on are what LLVM calls numeric labels
        return AssemblyError(f"there is no label {undefined[1]} to go to", _line_of_name(text, undefined[1]))
    if re.search(r"No space left|File too large", messages):
        return AssemblyError(f"the object would have more than {MAX_OBJECT:,} bytes; the lab takes no more")
    if undefined or re.search("fb label|directional label undefined|backward ref to unknown label", messages):
        return AssemblyError("a numeric label is used here that is not defined", _line_of_label(text))
    found = next(filter(None, (form.search(messages) for form in _DIAGNOSTICS)), None)
    if found is None:
        told = [line for line in messages.strip().splitlines() if not line.endswith(": Assembler messages:")]
        return AssemblyError(told[0] if told else "the assembler failed without a word")
    place, message = found.groupdict(), found["message"]
    if place["file"] == "<instantiation>" or place.get("caller"):
        line = int(place["caller"]) if place.get("caller") else _line_of_macro(text, backend, include, message)
        words, _ = said(message, "", None)
        return AssemblyError(_hint(text, line) or f"{words} (in a macro)", line)
    line, column = int(place["line"]), int(place["column"]) if place["column"] else None
    if place["file"] in _OWN:
        words, column = said(message, [*text.splitlines(), ""][min(line, text.count("\n") + 1) - 1], column)
        hint, opened = _hint(text, line), opening(words, text)
        return AssemblyError(hint or words, opened or line, None if hint or opened else column)
    words, _ = said(message, "", None)
    return AssemblyError(f"{words} ({place['file']}, line {line})")


def _line_of_label(text: str) -> int | None:
    """Return the first line that jumps to a numeric label (``1f``, ``1b``) which is not there."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        for label, way in re.findall(r"\b(\d+)([fb])\b", line):
            searched = lines[number - 1 :] if way == "f" else lines[:number]
            if not any(re.search(rf"(?:^|[\s;\"]){label}:", other) for other in searched):
                return number
    return None


def _line_of_name(text: str, name: str) -> int | None:
    """Return the first line that has `name`, whole; as an operand it may be written with a dollar sign."""
    wanted = re.compile(rf"(?<![\w.$])\$?{re.escape(name)}(?![\w.$])")
    return next((number for number, line in enumerate(text.splitlines(), 1) if wanted.search(line)), None)


def _line_of_macro(text: str, backend: str, include: Path | None, message: str) -> int:
    """Return the line whose macro call fails with `message`: the last one needed for the failure."""
    lines = text.splitlines(keepends=True)
    low, high = 0, len(lines)
    while high - low > 1:
        middle = (low + high) // 2
        if message in BACKENDS[backend]("".join(lines[:middle]).encode(), include)[2]:
            high = middle
        else:
            low = middle
    return high
