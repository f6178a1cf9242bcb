"""The VM-Enter stub of a real kernel, found in kvm-intel.ko or kvm-amd.ko and run alone.

A stub is the assembly function that loads the guest's registers and enters it (arch/x86/kvm/vmx/vmenter.S,
arch/x86/kvm/svm/vmenter.S). How it is called has changed (the run flags are its third argument up to v6.18, its
second in v7.2), so nothing is taken from the version: arguments are tried, and the one that chooses between
VMLAUNCH and VMRESUME carries the flags. Which features make it clear, and whether another flag has a say, is
found in the same way: by running it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Any

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.instructions import decode
from vmenter.emulator.machine import Budget, Machine
from vmenter.emulator.memory import VCPU
from vmenter.emulator.trace import End, Trace
from vmenter.kernels.recorder import Recorder
from vmenter.patching import alternatives, features
from vmenter.patching.alternative_table import Rules, Site, read

NAMES = {"__vmx_vcpu_run": "VMX", "__svm_vcpu_run": "SVM", "__svm_sev_es_vcpu_run": "SVM"}
RESUME = 1  # run flags, bit 0: VMRESUME
MMIO = 4  # bit 2: the vCPU can reach host MMIO; since v6.17, and read by the stub since v6.19
FLAG_BITS = range(1, 8)  # those that are tried in search of one that makes the stub clear
REGS = 0x400  # in the vCPU's structure: where stubs that are told so find the guest's registers
ROOM = 0x800  # another place in it, for a pointer to something else
BUDGET = Budget(instructions=20_000, seconds=2.0)  # a stub takes about 50
MOST_CLEARING = 4  # features; their subsets are all run
BRANCH = re.compile(rb"[\xe8\xe9](?=.{4})", re.DOTALL)
VM_ENTER_CODE = {b"\x0f\x01\xc2": "VMLAUNCH", b"\x0f\x01\xc3": "VMRESUME", b"\x0f\x01\xd8": "VMRUN"}


@dataclass(frozen=True)
class Stub:
    """A stub in an image."""

    name: str
    kind: str  # "VMX" or "SVM"
    start: int
    end: int


@dataclass(frozen=True)
class Run:
    """One run of a stub alone."""

    stub: str
    features: tuple[int, ...]  # of those that decide about clearing; all others are off
    mmio: bool
    resume: bool
    vm_enter: str
    verw: int
    distance: tuple[int, int] | None  # instructions and accesses from the last VERW to VM-Enter


def find(image: Image) -> tuple[Stub, ...]:
    """Return the stubs of an image, the ordinary one first. Raises `LabError`, saying what is there instead."""
    if not image.symbols.names:
        raise LabError(
            f"{image.name}: no symbols, so its functions cannot be found; take one that is not stripped"
        )
    found = []
    for name, kind in NAMES.items():
        if image.symbols.get(name) is None:
            continue
        start, end = image.symbols.extent(name)
        if not image.holds(start, end - start):
            raise LabError(f"{image.name}: damaged: {name} is said to end outside the image")
        found.append(Stub(name, kind, start, end))
    if not found:
        raise LabError(f"{image.name}: no VM-Enter stub found: no {' or '.join(NAMES)}{_elsewhere(image)}")
    return tuple(found)


def sites(image: Image, stub: Stub, how: Rules) -> tuple[Site, ...]:
    """Return the alternative sites of a stub. Raises `LabError` for a table that lies."""
    found = read(image, how).sites
    return tuple(site for site in found if stub.start <= site.address < stub.end)


def _elsewhere(image: Image) -> str:
    """Say where VM-Enter instructions stand, if anywhere."""
    places = {
        f"{name} in {image.label(section.address + at).split('+')[0]}"
        for section in image.sections
        if section.executable
        for code, name in VM_ENTER_CODE.items()
        if (at := section.data.find(code)) >= 0
    }
    return f"; there is {', '.join(sorted(places))}" if places else " and no VMLAUNCH, VMRESUME or VMRUN at all"


def callers(image: Image, target: int) -> tuple[str, ...]:
    """Return the functions of the image that call an address, by a direct CALL or JMP, in address order."""
    found = [_holder(image, place) for place, _ in _branches(image, target, target + 1)]
    names = dict.fromkeys(name for name in found if name and name not in NAMES)
    return tuple(name for name in names if image.symbols.get(name))


def intruders(image: Image, stub: Stub, how: Rules) -> tuple[str, ...]:
    """Return what else leads into a stub, behind its first instruction, by a direct CALL or JMP: label of each."""
    entries = read(image, how).entries
    own = {  # replacements that stand in the stub once it is patched
        place
        for entry in entries
        if stub.start <= entry.site < stub.end
        for place in range(entry.replacement, entry.replacement + entry.replacement_length)
    }
    return tuple(
        image.label(place)
        for place, target in _branches(image, stub.start, stub.end)
        if target != stub.start and not stub.start <= place < stub.end and place not in own
    )


def _holder(image: Image, address: int) -> str:
    name, _ = image.symbols.at(address) or ("", 0)
    return name.split(".cold")[0]


@lru_cache(maxsize=4)
def _branches(image: Image, start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Return (place, target) of each direct CALL and long JMP into [start, end), in address order."""
    found = []
    for section in image.sections:
        if not section.executable:
            continue
        data, base = section.data, section.address + 5
        for match in BRANCH.finditer(data):
            at = match.start()
            target = base + at + int.from_bytes(data[at + 1 : at + 5], "little", signed=True)
            if start <= target < end:
                found.append((base + at - 5, target))
    return tuple(sorted(found))


class Runner:
    """Runs one stub of an image, patched for whatever features. Raises `LabError` where it enters no guest.

    `flags` is the register that carries the run flags, None for AMD's; `mmio` the flag that makes the stub clear,
    0 where none does; `clearing` are the features that decide about VERW, `others` those that do not.
    """

    def __init__(self, image: Image, stub: Stub, how: Rules, machine: Machine | None = None) -> None:
        self.image, self.stub, self.how = image, stub, how
        self.sites = sites(image, stub, how)
        self.machine = machine or Recorder(image, budget=BUDGET)
        self._patched: dict[frozenset[int], Image] = {}
        self._traces: dict[Any, Trace] = {}
        self.candidates = tuple(sorted({entry.feature for site in self.sites for entry in site.entries}))
        self.arguments, self.flags = self._convention()

    def patched(self, chosen: frozenset[int]) -> Image:
        """Return the image with the stub's sites, and those of no other function, patched for these features."""
        if chosen not in self._patched:
            patches = [alternatives.patch(self.image, site, chosen, self.how) for site in self.sites]
            if undecided := next((patch.undecided for patch in patches if patch.undecided), None):
                raise LabError(f"{self.stub.name}: {undecided}")
            self._patched[chosen] = alternatives.apply(self.image, patches)
        return self._patched[chosen]

    def trace(
        self,
        chosen: frozenset[int],
        flags: int = 0,
        msrs: Mapping[int, int] | None = None,
        *,
        host_rsp_changed: bool = True,
    ) -> Trace:
        """Run the stub, patched for these features, with these run flags; `msrs` as in `Machine.run`.

        `host_rsp_changed`: RSP is not what the VMCS holds since the last VM-Enter, so that it is written there.
        """
        key = chosen, flags, tuple((msrs or {}).items()), host_rsp_changed
        if key not in self._traces:
            arguments = {**self.arguments, **({self.flags: flags} if self.flags else {})}
            memory = None if host_rsp_changed else self.trace(chosen, flags, msrs).kept_stack_pointers
            self._traces[key] = self._run(chosen, arguments, msrs, memory)
        return self._traces[key]

    def _run(
        self,
        chosen: frozenset[int],
        arguments: Mapping[str, int],
        msrs: Mapping[int, int] | None = None,
        memory: Mapping[str | int, int | bytes] | None = None,
    ) -> Trace:
        image = self.patched(chosen)
        if self.machine.image is not image:
            self.machine.load(image)
        trace = self.machine.run(self.stub.start, arguments, memory=memory, msrs=msrs)
        if trace.end is End.BUDGET:
            raise LabError(f"{self.stub.name}: no VM-Enter within {BUDGET.instructions:,} instructions")
        if trace.vm_enter is None:
            raise LabError(f"{self.stub.name}: returns without entering a guest")
        return trace

    # --- finding out ---

    def _convention(self) -> tuple[dict[str, int], str | None]:
        """Find out by trying how the stub is called: its arguments, and the register with the run flags."""
        reasons = []
        pointers = {"rdi": VCPU, "rsi": VCPU + REGS, "rdx": VCPU + ROOM}
        if self.stub.kind == "SVM":  # no flags that matter; a pointer only where the second argument must be one
            for arguments in ({**pointers, "rsi": 0}, pointers):
                try:
                    if self._run(frozenset(), arguments).vm_enter == "VMRUN":
                        return arguments, None
                except LabError as error:
                    reasons.append(str(error))
            raise LabError(reasons[0] if reasons else f"{self.stub.name}: does not come to VMRUN")
        for register in ("rdx", "rsi", "rcx"):
            try:
                first, then = (
                    self._run(frozenset(), {**pointers, register: flags}).vm_enter for flags in (0, RESUME)
                )
            except LabError as error:
                reasons.append(str(error))
                continue
            if (first, then) == ("VMLAUNCH", "VMRESUME"):
                return pointers, register
        detail = f" ({reasons[0]})" if reasons else ""
        raise LabError(f"{self.stub.name}: no argument chooses between VMLAUNCH and VMRESUME{detail}")

    @cached_property
    def mmio(self) -> int:
        """The run flag that makes a difference to clearing: MMIO, or 0 if none. `LabError` for another one."""
        if self.flags is None:
            return 0
        found = set()
        for chosen in (frozenset({feature}) for feature in self.candidates):
            without = self.trace(chosen).verw
            found |= {1 << bit for bit in FLAG_BITS if self.trace(chosen, 1 << bit).verw != without}
        if len(found) > 1:
            raise LabError(f"{self.stub.name}: several run flags decide about clearing: {sorted(found)}")
        if found - {MMIO}:
            raise LabError(
                f"{self.stub.name}: run flag {min(found)} decides about clearing; known kernels ask {MMIO}"
            )
        return next(iter(found), 0)

    @cached_property
    def reach(self) -> int:
        """The run flag that says that the vCPU reaches host MMIO, if the stub can be given one, else 0.

        Before v5.18 the argument is no set of flags but "was it launched": any bit of it chooses VMRESUME.
        """
        takes = self.flags is not None and self.trace(frozenset(), MMIO).vm_enter == "VMLAUNCH"
        return self.mmio or MMIO * takes

    @cached_property
    def clearing(self) -> tuple[int, ...]:
        """The features that, alone, make the stub execute VERW for some run flags, or stop it from doing so."""
        flags = (0, self.reach, RESUME, self.reach | RESUME) if self.flags else (0,)

        def verw(*features: int) -> list[int]:
            return [self.trace(frozenset(features), flag).verw for flag in flags]

        found = [feature for feature in self.candidates if verw(feature) != verw()]
        if len(found) > MOST_CLEARING:
            raise LabError(
                f"{self.stub.name}: {len(found)} features decide about clearing; no known kernel has so many"
            )
        return tuple(found)

    def runs(self) -> Iterator[Run]:
        """Run the stub for every set of the clearing features, MMIO flag, and launch or resume; others are off."""
        both = (False, True) if self.flags else (False,)
        for size in range(len(self.clearing) + 1):
            for chosen in combinations(self.clearing, size):
                for mmio in both:
                    for resume in both:
                        flags = self.reach * mmio | RESUME * resume
                        trace = self.trace(frozenset(chosen), flags)
                        yield Run(
                            self.stub.name, chosen, mmio, resume, trace.vm_enter or "", trace.verw, trace.distance
                        )


CLEARS_ALWAYS = frozenset({"CLEAR_CPU_BUF", "CLEAR_CPU_BUF_VM"})
CLEARS_WITH_MMIO = frozenset({"CLEAR_CPU_BUF_VM_MMIO"})


# --- what the clear looks like -----------------------------------------------------------------------------------

JMP_OVER = "JMP over VERW"
ONE = "one alternative"
TWO_MMIO = "ALTERNATIVE_2 with MMIO test"
NONE = "none"
OTHER = "another form"


def mechanism(image: Image, stub: Stub, how: Rules) -> str:
    """Tell how the stub's VERW is switched, from its bytes: one of the five names above."""
    found = sites(image, stub, how)
    with_verw = [site for site in found if any("verw" in names for names in _replacements(image, site))]
    inside = [(site.address, site.address + site.length) for site in found]
    plain = [
        instruction
        for instruction in decode(image.read(stub.start, stub.end - stub.start), stub.start, strict=False)
        if instruction.is_clear and not any(a <= instruction.address < b for a, b in inside)
    ]
    if not with_verw and not plain:
        return NONE
    if len(with_verw) == 1 and not plain:
        return _of_site(image, with_verw[0])
    if len(plain) == 1 and not with_verw:
        for site in found:
            jump = decode(site.original, site.address, strict=False)[0]
            empty = len(site.entries) == 1 and not site.entries[0].replacement_length
            over = jump.mnemonic == "jmp" and jump.branch_target == plain[0].end
            if empty and over and site.address + site.length == plain[0].address:
                return JMP_OVER
    return OTHER


def _of_site(image: Image, site: Site) -> str:
    """Tell what a site with VERW in a replacement is."""
    names = [*_replacements(image, site)]
    if names == [["verw"]]:
        return ONE
    return (
        TWO_MMIO
        if len(names) == 2 and names[0][:1] + names[0][2:] == ["test", "verw"] and names[1] == ["verw"]
        else OTHER
    )


def _replacements(image: Image, site: Site) -> Iterator[list[str]]:
    """Yield the mnemonics of each replacement, any test as "test"."""
    for entry in site.entries:
        code = image.read(entry.replacement, entry.replacement_length) if entry.replacement_length else b""
        names = [instruction.mnemonic for instruction in decode(code, entry.replacement, strict=False)]
        yield ["test" if name.startswith(("test", "bt")) else name for name in names]


def name(number: int, kernel: str | None, *, always: bool, with_mmio: bool) -> str:
    """Name a feature that was seen to clear. Where its kernel was not read, the code must confirm the name.

    A name that kernels which were read have for this number holds if the feature does here what the name says, and
    if there is no other such name. Else "word*32+bit": also where the version stands for a name that has nothing
    to do with clearing, for then the kernel has newer code than its version says.
    """
    found = features.name(number, kernel)
    if found in CLEARS_ALWAYS | CLEARS_WITH_MMIO:
        return found
    known = {features.name(number, version) for version in features.checked_versions()}
    fitting = known.intersection(CLEARS_ALWAYS if always else CLEARS_WITH_MMIO if with_mmio else ())
    return fitting.pop() if len(fitting) == 1 else features.slot(number)
