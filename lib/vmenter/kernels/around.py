"""The C function around a VM-Enter stub (vmx_vcpu_enter_exit, as a rule): what it does before the call.

It is run, up to the call, in every way it can take (`explore`): each static key off and on, each question
answered with no and yes. What decides about VERW, the L1D flush and FB_CLEAR_DIS comes from these ways, whatever
the code looks like; a static key is named by the kernel's symbol, a question by the function that answers it.
What could not be followed is told as such. Functions that the module does not have are taken to do nothing but
return something.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from vmenter import LabError
from vmenter.boot.l1tf import COND_KEY, FLUSH_KEY
from vmenter.code.image import Image
from vmenter.code.instructions import decode
from vmenter.emulator.machine import Budget
from vmenter.emulator.memory import VCPU
from vmenter.emulator.trace import EventKind
from vmenter.kernels.decisions import (
    Arm,
    Deciding,
    Decision,
    Item,
    Question,
    Way,
    answered,
    arms,
    deciding,
    entering,
    nodes,
    open_to,
    outcomes,
    questions,
)
from vmenter.kernels.explore import Explorer
from vmenter.kernels.runs import Runs
from vmenter.kernels.stub import MMIO, Stub, callers
from vmenter.patching.alternative_table import Rules, read

ASSIGNED = "what kvm_arch_has_assigned_device returns"
MMIO_BIT = f"bit {MMIO.bit_length() - 1} of register"
VERW = re.compile(rb"\x0f\x00[\x28-\x2f\x68-\x6f\xa8-\xaf]")  # with a memory operand; or bytes that look so
BUDGET = Budget(instructions=20_000, seconds=2.0)  # the loop over 64 KiB takes 5,000
BACK = 12  # instructions: how far before a call that which makes its argument is looked for
FLUSHES = frozenset({EventKind.L1D_FLUSH, EventKind.L1D_FLUSH_LOOP})


class Asks(StrEnum):
    """What of a vCPU decides about VERW in C."""

    NOTHING = "nothing"
    ASSIGNED = "assigned device"  # up to v6.16
    MMIO = "MMIO run flag"  # v6.17 and v6.18
    OTHER = "something else"


@dataclass(frozen=True)
class Guarded:
    """Something the function can do before it calls the stub, and what that depends on."""

    under: tuple[str, ...] = ()  # static keys that must all be on
    unless: tuple[str, ...] = ()  # static keys that must be off
    either: tuple[str, ...] = ()  # static keys of which one must be on
    asks: Asks = Asks.NOTHING  # if a question must be answered with yes, whatever the keys


@dataclass(frozen=True)
class Told:
    """One way to VERW in C: which keys are on and off there, and what else must be answered, and how."""

    under: tuple[str, ...]
    unless: tuple[str, ...]
    asks: Asks
    questions: tuple[tuple[str, bool], ...] = ()  # all that are no static keys, with the answers


@dataclass(frozen=True)
class Around:
    """What a C function does before it calls the stub. None: cannot be told."""

    function: str
    verw: Guarded | None  # a VERW of its own; None where there is none, see `clears`
    clears: bool | None
    flush: Guarded | None  # the L1D flush; None where there is none
    fb_clear_dis: bool | None  # FB_CLEAR_DIS may be set before the call
    keys: tuple[str, ...] = ()  # static keys that are looked at before the call
    features: tuple[int, ...] = ()  # of the alternatives on the way
    why_not: str | None = None  # why something cannot be told
    arms: tuple[Told, ...] = ()  # the ways to its VERW
    flushes_rightly: bool | None = (
        None  # exactly where KVM's keys and flags ask for it; None: the module knows no such key
    )
    flags_from: str | None = None  # the register whose bit for MMIO is handed on to the stub, and nothing else
    ways: Way | None = field(default=None, repr=False, compare=False)


def around(image: Image, found: Iterable[Stub], how: Rules, register: str | None = None) -> tuple[Around, ...]:
    """Return what each C function that calls a stub does before; nested checks, which run no guest, left out.

    `register`: in which the stub is given run flags, if it is.
    """
    found = tuple(found)
    names = dict.fromkeys(name for stub in found[:1] for name in callers(image, stub.start))
    starts = [stub.start for stub in found]
    wanted = [name for name in names if not name.startswith("nested_")]
    return tuple(_around(image, name, starts, how, register) for name in wanted)


def elsewhere(image: Image, stub: Stub, how: Rules) -> tuple[str, ...]:
    """Return the functions of the image, the stub apart, in which a VERW stands or can be patched in."""
    found = []
    for section in image.sections:
        if section.executable and section.name != ".altinstr_replacement":
            for match in VERW.finditer(section.data):
                address = section.address + match.start()
                name, _ = image.symbols.at(address) or (stub.name, 0)
                if not stub.start <= address < stub.end and any(
                    i.address == address and i.is_clear
                    for i in decode(_bytes(image, name), image.symbols.extent(name)[0], strict=False)
                ):
                    found.append(name)
    for site in read(image, how).sites:
        for entry in () if stub.start <= site.address < stub.end else site.entries:
            code = image.read(entry.replacement, entry.replacement_length) if entry.replacement_length else b""
            if VERW.search(code) and any(i.is_clear for i in decode(code, strict=False)):
                found.append(image.label(site.address).split("+")[0])
    return tuple(name for name in dict.fromkeys(found) if name != stub.name)


def _bytes(image: Image, name: str) -> bytes:
    start, end = image.symbols.extent(name)
    return image.read(start, end - start)


# --- what it comes to --------------------------------------------------------------------------------------------


def clears(item: Item) -> bool:
    """Tell whether this is a VERW."""
    return item.kind == EventKind.VERW


def flushes(item: Item) -> bool:
    """Tell whether this is an L1D flush, by MSR or by loop."""
    return item.kind in FLUSHES


def disables(item: Item) -> bool:
    """Tell whether this sets FB_CLEAR_DIS."""
    return item.kind == EventKind.FB_CLEAR_DIS_SET


def _around(image: Image, name: str, starts: list[int], how: Rules, register: str | None) -> Around:
    try:
        start, _ = image.symbols.extent(name)
        probe = (register, MMIO) if register else None
        explorer = Explorer(Runs(image, start, how, {"rdi": VCPU}, starts, BUDGET), probe=probe)
        found = _read(name, explorer.explore(), explorer)
        known = FLUSH_KEY in image.undefined or image.symbols.get(FLUSH_KEY) is not None
        return found if known else replace(found, flushes_rightly=None)
    except LabError as error:
        return Around(name, None, None, None, None, why_not=f"{name}: {error}")


def _read(name: str, ways: Way, explorer: Explorer) -> Around:
    """Answer the questions from all its ways."""
    if not entering(outcomes(ways, open_to, lambda _: False)):
        return Around(name, None, None, None, None, why_not=f"{name}: no way from its start to the call was found")
    ends = {end for _, end in entering(outcomes(ways, open_to, lambda _: False))}
    unsure = explorer.unsure[0] if explorer.unsure else None
    if ends != {"call"}:
        unsure = f"{name} comes to {' and '.join(sorted(ends - {'call'}))} without a call of the stub"
    asked = [question.ask for question in questions(ways)]
    verw, flush, disabled = (deciding(ways, wanted) for wanted in (clears, flushes, disables))
    perhaps = deciding(ways, lambda item: item.kind == "perhaps") is not False
    found = tuple(_told(arm) for arm in arms(verw))
    return Around(
        function=name,
        verw=_guarded(found) if found else None,
        clears=True if found else None if unsure else False,
        flush=_guarded(tuple(_told(arm) for arm in arms(flush))) if flush else None,
        fb_clear_dis=True if disabled else None if unsure or perhaps else False,
        keys=tuple(sorted({str(ask.what) for ask in asked if ask.kind == "key"})),
        features=tuple(sorted({int(str(ask.what)) for ask in asked if ask.kind == "feature"})),
        why_not=unsure,
        arms=found,
        flushes_rightly=_rightly(flush),
        flags_from=_handed_on(deciding(ways, lambda item: item.kind == "raised")),
        ways=ways,
    )


def _rightly(flush: Decision) -> bool:
    """Tell whether the L1D is flushed as KVM means it: never, always, or where a flag is set, by its two keys."""
    flags = {one.ask.name for one in nodes(flush) if one.ask.kind == "input" and one.values[0] == 0}
    others = {one.ask.name for one in nodes(flush)} - flags - {FLUSH_KEY, COND_KEY}
    off = {FLUSH_KEY: False}
    always = {FLUSH_KEY: True, COND_KEY: False}
    cond = {FLUSH_KEY: True, COND_KEY: True}
    told = [
        answered(flush, off) == {False},
        answered(flush, always) == {True},
        answered(flush, cond | dict.fromkeys(flags, False)) == {False},
        bool(flags) and all(answered(flush, cond | {flag: True}) <= {True, False} for flag in flags),
        answered(flush, cond | dict.fromkeys(flags, True)) == {True},
    ]
    return all(told) and not others


def _handed_on(found: Decision) -> str | None:
    """Return the register that alone decides, by its own bit and in every way, what the stub is given."""
    for register in {str(_asked_of(one)) for one in nodes(found)} - {"None"}:
        if _given(found, register, raised_=False) == {False} and _given(found, register, raised_=True) == {True}:
            return register
    return None


def _asked_of(one: Deciding) -> int | str | None:
    """Return the register whose bit for MMIO alone a question is about; None for another question."""
    alone = one.ask.inputs[0] if len(one.ask.inputs) == 1 else None
    return alone.where if alone and alone.kind == "register" and one.values == (0, MMIO) else None


def _given(found: Decision, register: str, *, raised_: bool) -> set[bool]:
    """Return what it can come to where a register has the bit for MMIO, or has it not."""
    if not isinstance(found, Deciding):
        return set() if found is None else {found}
    if _asked_of(found) == register:
        return _given(found.yes if raised_ else found.no, register, raised_=raised_)
    return _given(found.no, register, raised_=raised_) | _given(found.yes, register, raised_=raised_)


def _told(arm: Arm) -> Told:
    """Put one way in words."""
    keys = [(one.ask.name, answer) for one, answer in arm.conditions if one.ask.kind == "key"]
    rest = tuple((one.ask.name, answer) for one, answer in arm.conditions if one.ask.kind == "input")
    kinds = [asks(one) for one, _ in arm.conditions if one.ask.kind == "input"]
    return Told(
        tuple(sorted(name for name, answer in keys if answer)),
        tuple(sorted(name for name, answer in keys if not answer)),
        next((kind for kind in (Asks.OTHER, Asks.ASSIGNED, Asks.MMIO) if kind in kinds), Asks.NOTHING),
        rest,
    )


def asks(one: Deciding | Question) -> Asks:
    """Tell what of a vCPU a question is about. What is no plain no and yes (0 and 1) is something else."""
    if one.ask.name == ASSIGNED and one.values == (0, 1):
        return Asks.ASSIGNED
    return Asks.MMIO if one.ask.name.startswith(MMIO_BIT) and one.values == (0, MMIO) else Asks.OTHER


def contrary(found: Around) -> str | None:
    """Return the question that VERW asks the wrong way round: it runs where the answer is no, and only there."""
    if found.ways is None:
        return None
    for one in nodes(deciding(found.ways, clears)):
        if one.no is True and one.yes is False and asks(one) in (Asks.ASSIGNED, Asks.MMIO):
            return one.ask.name
    return None


def _guarded(found: tuple[Told, ...]) -> Guarded:
    """Return what all ways have in common."""
    under = set.intersection(*(set(one.under) for one in found))
    unless = set.intersection(*(set(one.unless) for one in found))
    either = set() if under or not all(one.under for one in found) else {key for one in found for key in one.under}
    kinds = {one.asks for one in found}
    return Guarded(
        tuple(sorted(under)),
        tuple(sorted(unless)),
        tuple(sorted(either)),
        kinds.pop() if len(kinds) == 1 else Asks.NOTHING,
    )


# --- who raises the run flag for MMIO ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Raised:
    """Whether C raises the MMIO run flag (None: not followed), and what was seen."""

    rightly: bool | None
    told: str


def raised(image: Image, one: Around, how: Rules, feature: int | None) -> Raised:
    """Follow the run flags of a C function that calls the stub back to what makes them.

    Run is, in each caller, the code from the last function called to the call of the C function. The flag is
    raised rightly if it is raised in some way and not in all, only where what is asked is true, and with
    `feature` on if any; and if the C function hands it on to the stub.
    """
    name = one.function
    if one.flags_from is None:
        return Raised(rightly=False, told=f"{name} does not hand it on to the stub, or not always")
    try:
        target = image.symbols.extent(name)[0]
        found = [_raise(image, caller, target, how, feature, one.flags_from) for caller in callers(image, target)]
    except LabError as error:
        return Raised(rightly=None, told=str(error))
    if not found:
        return Raised(rightly=None, told=f"no function that calls {name} was found")
    return next((one for one in found if not one.rightly), found[0])


def _raise(image: Image, caller: str, target: int, how: Rules, feature: int | None, register: str) -> Raised:
    """Follow the run flags in one caller."""
    start, maker = _maker(image, caller, target)
    if start is None:
        return Raised(rightly=None, told=f"what makes the run flags was not found in {caller}")
    explorer = Explorer(Runs(image, start, how, {}, [target], BUDGET), probe=(register, MMIO))
    whole = deciding(explorer.explore(), lambda item: item.kind == "raised")
    if explorer.unsure:
        return Raised(rightly=None, told=f"{maker}: {explorer.unsure[0]}")
    if whole is None:
        return Raised(rightly=None, told=f"{maker}: no way to the call was found")
    if isinstance(whole, Deciding) and _left_over(whole):
        return Raised(rightly=None, told=f"the run flags are not made by {maker}")
    if not isinstance(whole, Deciding):
        return Raised(rightly=None if whole else False, told=f"{maker} {'always' if whole else 'never'} raises it")
    last = _last(whole)
    if not last or any(True in (one.no, one.yes) and one not in last for one in nodes(whole)):
        return Raised(rightly=None, told=f"{maker} raises it in some way without asking anything")
    if not all(_true(one) for one in last):
        return Raised(rightly=False, told=f"{maker} raises it where {last[0].ask.name} says no")
    if feature is not None and True not in answered(whole, {str(feature): True}):
        return Raised(rightly=False, told=f"{maker} does not raise it under the feature that asks for it")
    others = {one.ask.name for one in nodes(whole) if one.ask.kind == "feature"} - {str(feature)}
    if others:
        return Raised(
            rightly=False, told=f"{maker} raises it under feature {min(others)}, which does not ask for it"
        )
    return Raised(
        rightly=True, told=f"{maker} raises it by {' or '.join(dict.fromkeys(one.ask.name for one in last))}"
    )


def _maker(image: Image, caller: str, target: int) -> tuple[int | None, str]:
    """Return where the code begins that calls the last function before the call of `target`, and that function."""
    start, end = image.symbols.extent(caller)
    code = decode(image.read(start, end - start), start, strict=False)
    at = next((n for n, i in enumerate(code) if i.branch_target == target), None)
    if at is None:
        return None, ""
    for back in range(at - 1, max(-1, at - BACK), -1):
        one = code[back]
        if one.mnemonic.startswith("call") and one.branch_target and image.section_at(one.branch_target):
            first = back
            while first > 0 and not code[first - 1].mnemonic.startswith(("call", "j", "ret")):
                first -= 1
            return code[first].address, image.label(one.branch_target)
        if one.mnemonic.startswith(("call", "j", "ret")):
            break
    return None, ""


def _left_over(found: Deciding) -> bool:
    """Tell whether it depends on what registers held before."""
    return any(one.kind == "register" for node in nodes(found) for one in node.ask.inputs)


def _last(found: Deciding) -> list[Deciding]:
    """Return the questions behind which nothing more is asked."""
    return [
        one
        for one in nodes(found)
        if one.ask.kind == "input" and not isinstance(one.no, Deciding) and not isinstance(one.yes, Deciding)
    ]


def _true(one: Deciding) -> bool:
    return one.yes is True and one.no is False and one.values[0] == 0
