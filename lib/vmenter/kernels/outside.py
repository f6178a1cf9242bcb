"""What a module calls and does not have: little stubs that return, whatever is chosen for them to return.

A function of another module or of the kernel, or what a pointer leads to that only the kernel fills in, becomes
code that reads every register a call may change, and the flags, from memory of its own. So what it returns, and
what it leaves behind, are contents like any other. Thunks that only return or jump on do just that.
"""

import re

from vmenter.code.x86 import CALLER_SAVED, NUMBERED
from vmenter.emulator.memory import TABLES

ROOM = 0x800  # where a stub keeps what its registers get, from its start
THUNKS, THUNK_SIZE, THUNK_DATA = TABLES + 0x400, 0xB0, 0x50  # for pointers, each with its data behind it
MOST_THUNKS = 12
RETURNS = re.compile(r".*return_thunk|__fentry__|mcount|__x86_return_skl")
INDIRECT = re.compile(r"__x86_indirect(?:_\w+)?_thunk_(r\w+)")


def function(name: str, address: int) -> bytes:
    """Return the code of an undefined function that stands at an address."""
    if RETURNS.fullmatch(name):
        return b"\xc3"
    thunk = INDIRECT.fullmatch(name)
    if thunk and thunk[1] in NUMBERED:
        number = NUMBERED.index(thunk[1])
        return bytes([0x41] * (number > 7)) + bytes([0xFF, 0xE0 | number & 7])
    return clobbering(address, address + ROOM)


def clobbering(code: int, data: int) -> bytes:
    """Return code for an address that reads every register a call may change, and the flags, from `data` on."""
    out = bytearray()
    for number, register in enumerate(CALLER_SAVED):
        index = NUMBERED.index(register)
        out += bytes([0x4C if index > 7 else 0x48, 0x8B, 0x05 | (index & 7) << 3])  # MOV disp(%rip), register
        out += (data + 8 * number - (code + len(out) + 4)).to_bytes(4, "little", signed=True)
    distance = data + 8 * len(CALLER_SAVED) - (code + len(out) + 7)
    return bytes(out) + b"\x80\x3d" + distance.to_bytes(4, "little", signed=True) + b"\0\xc3"  # CMPB $0, RET


def names(data: int, what: str) -> dict[int, str]:
    """Return in words what stands where a stub reads it: address → name."""
    told = (f"what {what} returns", *(f"{register} behind {what}" for register in (*CALLER_SAVED[1:], "flags")))
    return {data + 8 * number: text for number, text in enumerate(told)}
