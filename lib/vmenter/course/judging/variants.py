"""A lab kernel with other code in it: an era's source with some of its text replaced, assembled anew."""

import re
from dataclasses import replace

from vmenter import LabError
from vmenter.code.assembler import AssemblyError
from vmenter.code.x86 import ARITHMETIC_FLAGS, CALLER_SAVED
from vmenter.patching.lab import LAB, assemble
from vmenter.story.history import Era, era


def source(era_: Era | str) -> str:
    """Return the assembly source of an era's lab kernel."""
    era_ = era(era_) if isinstance(era_, str) else era_
    return (LAB / f"{era_.id}.S").read_text(encoding="utf-8")


def changed(era_: Era | str, *changes: tuple[str, str], after_a_call: str | None = None) -> Era:
    """Return the era with its source changed. Each change is (old text, new text), and must fit just once.

    `after_a_call`, of `AFTER_A_CALL`: how the functions that are called leave what they need not keep.

    Raises `LabError` where a text is not there or there twice, and for what the assembler refuses.
    """
    era_ = era(era_) if isinstance(era_, str) else era_
    text = source(era_)
    for old, new in changes:
        if text.count(old) != 1:
            raise LabError(f"{era_.id}: this text is in its source {text.count(old)} times, not once: {old!r}")
        text = text.replace(old, new)
    text = spoiling(text, after_a_call) if after_a_call else text
    try:
        return replace(era_, code=assemble(text))
    except AssemblyError as error:
        raise _placed(error, text, [new for _, new in changes]) from None


def _placed(error: AssemblyError, text: str, given: list[str]) -> AssemblyError:
    """Return the error with its line counted in the given text that it stands in, if it is in one."""
    for new in given:
        before, found, _ = text.partition(new)
        first = before.count("\n")
        if error.line is not None and found and 0 < error.line - first <= len(new.splitlines()):
            return AssemblyError(error.message, error.line - first, error.column)
    return error


def between(text: str, start: str, end: str) -> str:
    """Return what stands in `text` behind the line `start`, up to the line `end`."""
    return text.split(f"{start}\n", 1)[1].split(f"{end}\n", 1)[0]


AFTER_A_CALL = ("used one way", "used the other way")


def after_a_call(body: str, how: str, *, tells: bool = False, name: str = "flush") -> str:
    """Return a function that does what `body` does, and leaves flags and free registers `how` it likes.

    A caller may count on none of them (psABI, 3.2.1 and 3.4.1), but for what it `tells` in AL, the lowest byte.
    MSR_FLUSH_CMD in RCX and clear flags look like a flush that ran; set flags and ones look like none.
    """
    first = how == AFTER_A_CALL[0]
    free = [name for name in CALLER_SAVED if name != "rax" or not tells]
    values = dict.fromkeys(free, "$-1" if not first else "$1") | {"rcx": "$MSR_FLUSH_CMD" if first else "$-1"}
    moves = "".join(f"    movq {value}, %{name}\n" for name, value in values.items())
    if tells:
        moves += "    movzbl %al, %eax\n" if first else "    orl $-256, %eax\n"
    flags = f"    pushq ${2 if first else 2 | ARITHMETIC_FLAGS:#x}\n    popfq\n"
    return f"    call .L{name}_itself\n{moves}{flags}    ret\n.L{name}_itself:\n{body}"


def spoiling(text: str, how: str) -> str:
    """Return an era's source in which what its stub and its C part call leaves free registers and flags used."""
    macro = "update_host_rsp_function"
    body = re.search(
        rf"^\.macro {macro}\b.*?\n(.*?)^\.endm", (LAB / "kvm.inc").read_text(encoding="utf-8"), _LINES
    )
    text = text.replace(f"\n{macro}\n", f"\n{body[1] if body else ''}")
    for name in ("vmx_update_host_rsp", "vmx_l1d_flush"):
        before, line, rest = text.partition(f"function {name}\n")
        text = f"{before}{line}{after_a_call('', how, name=name)}{rest}" if line else before
    return text


_LINES = re.MULTILINE | re.DOTALL
