"""Exercises of notebook 10: a boot option, a copy that knows its CPU, a report; Xen's record; carried flags."""

import re
from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any, NamedTuple

from vmenter import LabError
from vmenter.boot import tsa
from vmenter.boot.host import Host
from vmenter.boot.tsa import AmdHost
from vmenter.code.image import Image
from vmenter.course.judging import told
from vmenter.course.judging.calls import RFLAGS, USED, Call, breach, built, run, strangers, way
from vmenter.course.judging.flags import instructions, leaves
from vmenter.course.judging.limited import given as called_with
from vmenter.course.judging.limited_child import PAIR
from vmenter.emulator.machine import Budget, Machine
from vmenter.emulator.memory import GS_BASE, VCPU
from vmenter.emulator.trace import End, Trace
from vmenter.kernels import amd_stub, census, xen
from vmenter.patching.alternative_table import Engine, Rules, read
from vmenter.patching.alternatives import apply, patch_all
from vmenter.patching.features import number
from vmenter.story import eras, svm
from vmenter.story.promise import Reach, VCpuState

# --- 10-1: only before VMRUN ---------------------------------------------------------------------------------

SETTINGS = ("zen", "facts", "cmdline", "hypervisor")


def _judge_only_vm(answer: Any) -> str | None:
    given = told.settings(answer, SETTINGS)
    should = told.should_be("names, such as verw_clear, as a tuple or a list", "facts")
    facts_ = told.names(given.get("facts", ()), should)
    try:
        answer = {**answer, "facts": tuple(facts_)}
        host = AmdHost(**answer)
        selected = [tsa.select(host, kernel) for kernel in tsa.KERNELS]
    except (TypeError, AttributeError):
        raise LabError(
            "zen is a number, facts a tuple of names, cmdline a text, hypervisor True or False"
        ) from None
    for kernel, found in zip(tsa.KERNELS, selected, strict=True):
        why = "; ".join(f"{one.outcome}: {one.reason}" for one in found.why)
        if not found.affected:
            return f"{kernel}: this machine does not have TSA, by its generation or by what CPUID says of it"
        if svm.FEATURE not in found.features:
            return f"{kernel}: before VMRUN nothing is cleared; the file tsa says “{found.sysfs}” ({why})"
        if "CLEAR_CPU_BUF" in found.features:
            return f"{kernel}: the way to user space clears as well; the file tsa says “{found.sysfs}” ({why})"
    return None


# --- 10-2: a copy that knows its CPU ----------------------------------------------------------------------------

TO, FROM = VCPU + 0x2000, VCPU + 0x8000
SIZES = (0, 1, 7, 8, 9, 64, 129, 2, 3, 4, 15, 16, 17, 31, 33, 65, 128, 255, 256, 257, 513)
LONGER, ENDLESS = 0x1_0003, 0x5_0000_0003  # which a counter of 8, 16 or 32 bits would take for 3
ENOUGH = 4_000  # instructions: what still copies after these has no such counter
HALF = 0x1_1000  # bytes of room for either side of a long copy
TEXT = bytes((7 * index + 1) % 251 for index in range(HALF))
FSRM = number("FSRM", "7.3.4")
HOW = Rules(Engine.ONCE, 14, wide_nops=True)
ROOM = f'\n.section .bss..room, "aw", @nobits\n.balign 64\n.skip 64\n.Lroom_for_a_copy: .skip {2 * HALF}\n'


class Copy(NamedTuple):
    """One copy to be made: where from, where to, how many bytes."""

    to: int
    source: int
    size: int


def copier(answer: Any) -> Image:
    """Assemble an answer that must define ``entry``; behind it is room for the longest copy."""
    return built(answer, f"\nX86_FEATURE_FSRM = {FSRM}\n{ROOM}")


def _judge_copy(answer: Any) -> str | None:
    image = copier(answer)
    if not any(entry.feature == FSRM for site in read(image, engine=Engine.ONCE).sites for entry in site.entries):
        return "no alternative here asks for X86_FEATURE_FSRM: the code is the same on every CPU"
    for others, more in strangers(image, FSRM).items():
        on = {True: {*others, FSRM}, False: {*others}}
        machines = {has: Machine(apply(image, patch_all(image, on[has], HOW))) for has in on}
        if wrong := _wrong_copies(image, machines):
            return f"{wrong}{more}"
    return None


def _wrong_copies(image: Image, machines: Mapping[bool, Machine]) -> str | None:
    """Make all copies; the first thing that is wrong, or None."""
    room = max(section.end for section in image.sections) - 2 * HALF
    for size in SIZES:
        for has, machine in machines.items():
            for number_, (name, flags) in enumerate(RFLAGS.items()):  # and from and to odd places
                copy = Copy(TO + number_, FROM + 5 * number_, size)
                if wrong := _wrong_copy(machine, copy, name, flags, has=has):
                    return wrong
    for has, machine in machines.items():
        high = GS_BASE + room  # the same room once more, where addresses have more than 32 bits
        copies = (Copy(high, high + HALF, LONGER), Copy(room, room + HALF, ENDLESS))
        for copy in copies:
            machine.budget = Budget(ENOUGH if copy.size == ENDLESS else 200 * ENOUGH, seconds=3.0)
            if wrong := _wrong_copy(machine, copy, "all flags clear", 2, has=has):
                return wrong
    return None


_UNMAPPED = re.compile(r"reads \d+ bytes at (0x[0-9a-f]+), where nothing is mapped")


def _wrong_copy(machine: Machine, copy: Copy, state: str, flags: int, *, has: bool) -> str | None:
    """Make one copy; what is wrong with it, with the state in front."""
    case = f"{'with' if has else 'without'} FSRM, {copy.size} bytes"
    case += "" if state == "all flags clear" else f", {state}"
    registers = {**USED, "rflags": flags, "rdi": copy.to, "rsi": copy.source, "rdx": copy.size}
    try:
        called = run(machine, Call(state, registers), {copy.source: TEXT[: copy.size]} if copy.size else None)
    except LabError as error:
        at = int(found[1], 16) if (found := _UNMAPPED.search(str(error))) else 0
        last = copy.source + copy.size
        if copy.size == ENDLESS and last - 8 <= at < last:
            return None  # it begins at the end, where there is no memory: so it knows how far that is
        return f"{case}: {error}"
    if copy.size >= LONGER and called.trace.end is End.BUDGET:
        furthest = max(called.trace.written, default=copy.to) - copy.to
        return None if furthest < copy.size else f"{case}: it goes on behind the last byte"
    room = [range(copy.to - 64, copy.to + copy.size + 64)]
    verw = "VERW runs, which nothing here asks for" if called.trace.verw else None
    wrong = breach(called, room) or verw or _wrong_bytes(called.trace, copy, has=has)
    return f"{case}: {wrong}. What ran: {way(called.trace)}" if wrong else None


def _wrong_bytes(trace: Trace, copy: Copy, *, has: bool) -> str | None:
    """Say what is wrong with what was written, and by what."""
    room = range(copy.to - 64, copy.to + copy.size + 64)
    got = {at: byte for at, byte in trace.written.items() if at in room}
    for index in range(copy.size):
        if got.get(copy.to + index) != TEXT[index]:
            return f"byte {index} is {'wrong' if copy.to + index in got else 'not copied'}"
    if stray := sorted(set(got) - set(range(copy.to, copy.to + copy.size))):
        beyond = stray[0] - copy.to - copy.size + 1
        return (
            f"a byte was written {beyond} beyond the end"
            if beyond > 0
            else "a byte was written before the beginning"
        )
    if over := _reads_beyond(trace, copy):
        return over
    bytewise = {at for at, one in trace.code.items() if one.mnemonic.startswith("rep") and "movsb" in one.mnemonic}
    by_rep = sum(write and trace.steps[step] in bytewise for step, _, _, write, _ in trace.raw_accesses)
    if has and by_rep < copy.size:
        return "REP MOVSB should do it, and did " + (f"{by_rep} of {copy.size} bytes" if by_rep else "not run")
    if not has and bytewise.intersection(trace.steps):
        return "REP MOVSB ran, on a CPU where it is slow for short copies"
    return None


def _reads_beyond(trace: Trace, copy: Copy) -> str | None:
    source = range(copy.source, copy.source + copy.size)
    near = range(copy.source - 64, copy.source + copy.size + 64)
    for step, address, size, write, _ in trace.raw_accesses:
        last = address + size - 1
        if not write and (address in near or last in near) and not (address in source and last in source):
            return f"{trace.instructions[step].text} reads beyond the {copy.size} bytes; there may be no memory"
    return None


# --- 10-3: the facts of a report -----------------------------------------------------------------------------

REPORT = "6.12.117"
OPEN = ("nothing", "mds", "mmio")


def facts(version: str = REPORT) -> dict[str, Any]:
    """Return what the report on a recorded kernel must say."""
    kernel = census.recorded(version)
    intel = [clear.feature for clear in census.recorded(version, "kvm-intel.ko").clears]
    runs = amd_stub.recorded_runs(version)
    return {
        "sites": kernel.sites,
        "clears_to_user": len(kernel.clears),
        "intel": sorted(intel),
        "amd": sorted({clear.feature for clear in census.recorded(version, "kvm-amd.ko").clears}),
        "amd_accesses_after_clear": max(run.accesses_after_clear or 0 for run in runs),
        "form_of_6_19": "CLEAR_CPU_BUF_VM_MMIO" in intel,
        "left_open": _left_open("43fb862de8f6"),
    }


def _left_open(era: str) -> str:
    """Return for which flaw an era's VM-Enter may still clear nothing: one of `OPEN`."""
    skips = []
    for word, bug, known in (("mds", "mds", ("md_clear",)), ("mmio", "mmio_stale_data", ("mds_no", "fb_clear"))):
        host = Host((bug, "l1tf"), (*known, "flush_l1d"))
        if not eras.enter(era, host, VCpuState(Reach.ASSIGNED)).verdict.kept:
            skips.append(word)
    return skips[0] if skips else "nothing"


_WHERE = {
    "sites": f'census.recorded("{REPORT}").sites counts them',
    "clears_to_user": f'count census.recorded("{REPORT}").clears',
    "intel": 'the features of the clears of "kvm-intel.ko", as a list',
    "amd": 'the features of the clears of "kvm-amd.ko", each once, as a list',
    "amd_accesses_after_clear": f'amd_stub.recorded_runs("{REPORT}") has it for each run; the largest counts',
    "form_of_6_19": "that form has a feature of its own for guests that reach MMIO: has Intel's module got it?",
    "left_open": "this stub is that of 43fb862de8f6: which arm stayed in C, behind the else (notebook 06)?",
}


def _judge_report(answer: Any) -> str | None:
    right = facts()
    given = told.keyed(answer, tuple(right))
    for name, value in right.items():
        if _read(given[name], value, name) != value:
            return f"{name}: {given[name]!r} is not right; {_WHERE[name]}"
    return None


def _read(given: Any, like: Any, name: str) -> Any:
    """Return a fact of an answer as one of the kind that the right one is of."""
    if isinstance(like, bool):
        return told.truth(given)
    if isinstance(like, int):
        return told.number(given)
    if isinstance(like, str):
        return told.one(given)
    should = f"{name}: {given!r} is not right; {_WHERE[name]}"
    return sorted(one.upper().removeprefix(told.PREFIX) for one in told.names(given, should))


# --- 10-4: Xen's record ------------------------------------------------------------------------------------------

MADE = 200  # records
FAR = 1 << 31


def records() -> list[tuple[int, bytes]]:
    """Return (address, 14 bytes) of the recorded records of Debian's Xen, and of made ones."""
    random = Random(10)  # noqa: S311  (the same for everybody)
    found = [(one.address, bytes.fromhex(one.record)) for one in xen.recorded().samples]
    for _ in range(MADE):
        original = random.randrange(128)
        found.append(
            (
                random.randrange(1 << 40, 1 << 46) * 2,
                xen.RECORD.pack(
                    random.randrange(-FAR, FAR),
                    random.randrange(-FAR, FAR),
                    random.randrange(0x400),
                    original,
                    random.randrange(128),
                    random.randrange(128),
                    random.randrange(256),
                ),
            )
        )
    return found


def site_of(at: int, record: bytes) -> tuple[int, int]:
    """Return a record's site: its address and its length."""
    site, _, _, original, _, padding, _ = xen.RECORD.unpack(record)
    return at + site, original + padding


def _judge_record(answer: Any) -> str | None:
    cases = records()
    inputs = [(at, list(record)) for at, record in cases]
    names = [f"the record {record.hex(' ')} at {at:#x}" for at, record in cases]
    for (at, record), name, got in zip(
        cases, names, called_with(answer, "site_of", inputs, PAIR, names), strict=True
    ):
        right = site_of(at, record)
        if got is None or tuple(got) != right:
            said = "nothing" if got is None else f"{got[0]:#x} and {got[1]}"
            own = f"{name}: its site is at {right[0]:#x} and has {right[1]} bytes"
            return f"{own}; you say {said}. {_off(at, record, got)}"
    return None


def _off(at: int, record: bytes, got: Any) -> str:
    """Say what a wrong reading looks like."""
    site, replacement, _, original, length, padding, _ = xen.RECORD.unpack(record)
    if got is None:
        return "Every record has a site."
    if got[0] != at + site:
        if got[0] in (at + replacement, at + replacement % (1 << 32), at + 4 + replacement):
            return "That is where the replacement leads."
        if got[0] == at + site % (1 << 32):
            return "The offset has a sign: sites stand before the table, too."
        return "The first field counts from its own place."
    if [original, length, padding].count(got[1]) == 1:
        if got[1] == original:
            return "The site is longer than its original code."
        if got[1] == length:
            return "That is the replacement's length."
    return "Which of the three lengths make the site?"


# --- 10-5: what may stand in between -----------------------------------------------------------------------------

BETWEEN = {
    "a": "popq %rax", "b": "verw 0x54(%rsp)", "c": "addq $8, %rsp", "d": "leaq 8(%rsp), %rsp",
    "e": "btl $0, %eax", "f": "notl %eax", "g": "incl %eax", "h": "movq 8(%rsp), %rax",
}  # fmt: skip
CARRIED = ("PF", "SF")


@cache
def may_stand() -> frozenset[str]:
    """Return the letters of the instructions that leave PF and SF as they are."""
    return frozenset(letter for letter, text in BETWEEN.items() if leaves(instructions(text)[0], *CARRIED))


_SPOILS = {
    "c": "ADD writes every arithmetic flag, though only RSP is wanted",
    "e": "of PF and SF the manual says that BT leaves them undefined: that is not “unchanged”",
    "g": "INC leaves CF alone, and writes PF and SF",
}
_KEEPS = {
    "a": "a POP is a load, and loads write no flags",
    "b": "VERW writes ZF, and no other flag",
    "d": "LEA computes an address and writes no flags: so RSP can move without ADD",
    "f": "NOT is the one among the logical instructions that writes no flags",
    "h": "MOV writes no flags",
}


def _judge_between(answer: Any) -> str | None:
    letters = told.letters(answer, "".join(BETWEEN), told.should_be('letters, such as "ac"'))
    if not letters:
        raise LabError("at least one of the eight may stand there: name it")
    for letter in sorted(letters - may_stand()):
        return f"{letter}, {BETWEEN[letter]}: no. {_SPOILS[letter]}"
    for letter in sorted(may_stand() - letters):
        name = BETWEEN[letter].partition(" ")[0]
        return f"right so far, and one more may stand there: think of {name}. {_KEEPS[letter]}"
    return None


JUDGES = {
    "only_vm": _judge_only_vm,
    "copy": _judge_copy,
    "report": _judge_report,
    "record": _judge_record,
    "between": _judge_between,
}
