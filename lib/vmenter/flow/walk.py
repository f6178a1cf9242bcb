"""Following code from a symbol: which instructions can be reached, and where each of them leads.

The walk works on places: an address and, inside an alternative site, the variant of the code there. `flow` cuts
what it finds into blocks.
"""

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from vmenter import LabError
from vmenter.code.image import Image
from vmenter.code.instructions import Instruction, decode
from vmenter.code.x86 import VM_ENTERS
from vmenter.flow.graph import Alternative, Kind, Leave, Mark, Variant
from vmenter.patching import alternatives, features, static_keys
from vmenter.patching.alternative_table import Nops, Rules, Site, read
from vmenter.patching.alternatives import Patch
from vmenter.patching.static_keys import StaticBranch

WINDOW = 256  # bytes decoded at a time
TRAPS = frozenset({"ud0", "ud1", "ud2", "int3", "hlt"})
RETURNS = frozenset({"ret", "retq", "lret", "lretq", "iretq", "sysretq", "sysexitq", "eretu", "erets"})
RETURNING = frozenset({Leave.RETURN, Leave.TAIL, Leave.INDIRECT})  # tail calls come back to the caller


class Plan(NamedTuple):
    """What the reader wants to see; `flow.graph` explains it."""

    start: str
    follow: bool | frozenset[str]
    variants: bool
    names: tuple[tuple[int, str], ...]
    how: Rules | None
    most: int


# --- what stands at the sites ------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _tables(image: Image, how: Rules | None) -> tuple[Rules | None, dict[int, Site], dict[int, StaticBranch]]:
    """Return how an image is patched, and its alternative sites and static branches by address."""
    branches = {branch.site: branch for branch in static_keys.branches(image)}
    if image.alternatives is None or not image.alternatives[1]:
        return how, {}, branches
    table = read(image, how, nops=Nops.P6)  # which NOPs is all the same to a graph
    return table.rules, {site.address: site for site in table.sites}, branches


def _alternative(
    image: Image,
    site: Site,
    how: Rules,
    told: Patch | None,
    plan: Plan,
) -> Alternative:
    here = site.original  # of this image: perhaps patched already
    before = told.site if told else site
    found = []
    for index, entry in enumerate(site.entries):
        alone = replace(before, entries=(entry,))
        wanted = frozenset() if entry.negated else frozenset({entry.feature})
        name = dict(plan.names).get(entry.feature) or features.name(entry.feature, image.kernel)
        condition = f"not {name}" if entry.negated else name
        try:
            code = alternatives.patch(image, alone, wanted, how).code
        except LabError:  # a direct call whose site is patched already
            code = None
        if code is not None:
            found.append(Variant(index, condition, code, code))
    if told:
        stands = next((i for i, variant in enumerate(found, 1) if variant.entry == told.chosen), 0)
    else:
        stands = next((i for i, variant in enumerate(found, 1) if variant.code == here), 0)
    # NOPs are padding that nobody filled, or an empty entry: if every entry is empty, that.
    unfilled = _nothing(here) and not all(_nothing(variant.code) for variant in found)
    if told or stands == 0 or unfilled:
        untouched = _untouched(image, before, how)
        found.insert(0, Variant(None, "original", untouched, untouched))
        stands = stands if told else 0
    else:
        stands -= 1
    if not plan.variants:  # the code as it stands: in an image before patching, NOPs are not merged yet
        found[stands] = found[stands]._replace(code=here)
    return Alternative("", site, tuple(found), stands)


def _untouched(image: Image, site: Site, how: Rules) -> bytes:
    """Return a site's original code as the patcher leaves it: with its NOPs merged."""
    code = alternatives.patch(image, replace(site, entries=site.entries[:1]), _none_of(site), how).code
    return site.original if code is None else code


def _none_of(site: Site) -> frozenset[int]:
    """Return features under which the first entry does not match."""
    return frozenset({site.entries[0].feature} if site.entries[0].negated else ())


def _nothing(code: bytes) -> bool:
    return all(instruction.is_nop() for instruction in decode(code, strict=False))


# --- following the code ------------------------------------------------------------------------------------


class Place(NamedTuple):
    """An address, and for one inside an alternative site, which variant of the code there."""

    address: int
    site: int = 0  # its address; 0: outside sites
    variant: int = 0


class Way(NamedTuple):
    """Where control may go from an instruction."""

    to: Place
    kind: Kind
    live: bool = True
    note: str = ""


@dataclass
class Function:
    """A function that belongs to the graph."""

    name: str
    start: int
    end: int
    returns: bool = False
    tails: set[int] = field(default_factory=set)  # starts of followed functions that it ends in


@dataclass
class Step:
    """One instruction on the walk."""

    instruction: Instruction
    function: Function
    ways: list[Way] | None = None  # None: on to the next instruction
    leave: Leave | None = None
    leads_to: str = ""
    branch: StaticBranch | None = None
    calls: int = 0  # start of the followed function it calls
    mark: Mark | None = None


class Walk:
    """Follows code from the start of a function."""

    def __init__(self, image: Image, plan: Plan, patches: tuple[Patch, ...]) -> None:
        self.image, self.plan = image, plan
        follow = plan.follow
        self.follow = follow if isinstance(follow, bool) else frozenset(self._address(name) for name in follow)
        self.how, self.all_sites, self.branches = _tables(image, plan.how)
        self.site_starts = sorted(self.all_sites)
        self.told = {patch.site.address: patch for patch in patches}
        self.sites: dict[int, Alternative] = {}  # those that were met
        self.decoded: dict[int, Instruction] = {}
        self.inside: dict[Place, Instruction] = {}
        self.steps: dict[Place, Step] = {}
        self.leaders: set[Place] = set()
        self.functions: dict[int, Function] = {}
        self.calls: dict[Place, Step] = {}
        self.function(self._address(plan.start), plan.start)
        self.run()

    def _address(self, name: str) -> int:
        """Return where a function stands."""
        symbol = self.image.symbols.get(name)
        if symbol is None:
            raise LabError(
                f"{self.image.name}: no symbol named {name!r}; is the spelling right, and are symbols loaded?",
            )
        if not self._code(symbol.address):
            raise LabError(f"{self.image.name}: {name} at {symbol.address:#x} is no code")
        return symbol.address

    # --- the walk ---

    def run(self) -> None:
        """Follow everything; then go on behind each call whose function turned out to return."""
        done: set[Place] = set()
        waiting = [
            (place, function) for function in self.functions.values() for place in self.enter(function.start)
        ]
        while waiting:
            while waiting:
                waiting += self.straight(*waiting.pop())
            self._spread_returns()
            for place, step in self.calls.items():
                if place not in done and self.functions[step.calls].returns:
                    done.add(place)
                    after = self.after(place, step.instruction)
                    waiting += [(to, step.function) for to in after]

    def function(self, start: int, name: str) -> bool:
        """Take a function into the graph; tell whether it is new."""
        if start in self.functions:
            return False
        end = self.image.symbols.extent(name)[1]
        self.functions[start] = Function(name, start, end)
        return True

    def straight(self, place: Place, function: Function) -> list[tuple[Place, Function]]:
        """Follow one straight run; return where to go on."""
        self.leaders.add(place)
        if len(self.leaders) > self.plan.most:
            raise LabError(
                f"{self.image.name}: the graph of {self.plan.start} has more than {self.plan.most} blocks; "
                "follow fewer calls, or allow more",
            )
        while place not in self.steps:
            step = self.steps[place] = self.step(place, function)
            if step.calls:
                self.calls[place] = step
                callee = self.functions[step.calls]
                return [(to, callee) for to in self.enter(step.calls)]
            if step.ways is not None:
                return [(way.to, self._owner(way, function)) for way in step.ways]
            if step.leave is not None:
                return []
            if self._ends(step.instruction.end, function):
                step.leave = Leave.OPEN
                return []
            after = self.after(place, step.instruction)
            if len(after) > 1 or after[0].site != place.site:
                step.ways = self._ways(after, Kind.FALL)
                return [(to, function) for to in after]
            place = after[0]
        self.leaders.add(place)  # another run came here before
        return []

    def _owner(self, way: Way, function: Function) -> Function:
        return self.functions[way.to.address] if way.kind is Kind.TAIL else function

    def _ends(self, address: int, function: Function) -> bool:
        """Tell whether nothing of the function stands here: it ended in a call that does not return."""
        if not self._code(address):
            return True
        known = self.image.symbols.get(function.name)
        return address == function.end and known is not None and known.size > 0

    def step(self, place: Place, function: Function) -> Step:
        """Look at one instruction."""
        instruction = self.instruction(place)
        step = Step(instruction, function)
        branch = self.branches.get(instruction.address)
        mnemonic, target = instruction.mnemonic, instruction.branch_target
        if mnemonic in VM_ENTERS:
            step.leave, step.mark = Leave.VM_ENTER, Mark.VM_ENTER
        elif instruction.is_clear:
            step.mark = Mark.VERW
        elif mnemonic in TRAPS:
            step.leave = Leave.TRAP
        elif mnemonic.split()[-1] in RETURNS:
            step.leave = Leave.RETURN
        elif branch is not None and not place.site:
            step.branch, step.ways = branch, self._both(branch)
        elif target is not None and mnemonic.startswith("call"):
            if self._taken_in(target):
                step.calls = target
        elif target is not None:
            self._jump(step, place, target)
        elif mnemonic.startswith("jmp"):
            step.leave = Leave.INDIRECT
        return step

    def _both(self, branch: StaticBranch) -> list[Way]:
        """Return both ways of a static branch; the one that the code takes is live."""
        jumps = branch.enabled(self.image) != branch.likely
        taken, passed = ("off", "on") if branch.likely else ("on", "off")
        after = self.enter(branch.site + branch.length)
        ways = self._ways(after, Kind.FALL, f"key {passed}", live=not jumps)
        return ways + self._ways(self.enter(branch.target), Kind.JUMP, f"key {taken}", live=jumps)

    def _jump(self, step: Step, place: Place, target: int) -> None:
        """Say where a direct jump goes, conditional or not."""
        conditional = not step.instruction.mnemonic.startswith("jmp")
        name, step.ways = self.image.label(target), []
        if conditional:
            step.ways += self._ways(self.after(place, step.instruction), Kind.FALL)
        stays = place.site and place.site <= target < place.site + self.sites[place.site].site.length
        if stays:
            step.ways += [Way(Place(target, place.site, place.variant), Kind.JUMP)]
        elif not self._leaves(target, step.function):
            step.ways += self._ways(self.enter(target), Kind.JUMP)
        elif self._taken_in(target):
            step.function.tails.add(target)
            step.ways += self._ways(self.enter(target), Kind.TAIL)
        else:
            step.leads_to = name
            if not conditional:
                step.ways = None
            step.leave = (
                Leave.RETURN if name.endswith("return_thunk")
                else Leave.INDIRECT if name.startswith("__x86_indirect_thunk")
                else Leave.TAIL
            )  # fmt: skip

    def _leaves(self, target: int, function: Function) -> bool:
        """Tell whether a jump leaves the function: to the very start of another one, or out of the image.

        Hand-written code has symbols in its middle (vmx_vmexit), and compilers move cold parts away.
        """
        if function.start <= target < function.end:
            return False
        if not self._code(target):
            if self.image.section_at(target) is None and target not in self.image.undefined.values():
                raise LabError(f"{self.image.name}: {function.name} jumps to {target:#x}, outside the image")
            return True
        name, offset = self.image.symbols.at(target) or ("", 1)
        return offset == 0 and not name.startswith(f"{function.name}.")

    def _taken_in(self, target: int) -> bool:
        """Tell whether a called function belongs to the graph, and take it in."""
        if not self.follow or not self._code(target):
            return False
        name, offset = self.image.symbols.at(target) or ("", 1)
        if offset or name.endswith("_thunk") or (self.follow is not True and target not in self.follow):
            return False
        self.function(target, name)
        return True

    def _spread_returns(self) -> None:
        """Find out which functions return: by themselves, or through one that they end in."""
        for step in self.steps.values():
            if step.leave in RETURNING:
                step.function.returns = True
        ending = {start for start, function in self.functions.items() if function.returns}
        for start, function in self.functions.items():
            function.returns |= not ending.isdisjoint(self.with_tails(start))

    def with_tails(self, start: int) -> set[int]:
        """Return a function and all that it ends in."""
        found, waiting = set[int](), {start}
        while waiting:
            found |= waiting
            waiting = {tail for one in waiting for tail in self.functions[one].tails} - found
        return found

    # --- places ---

    def _code(self, address: int) -> bool:
        section = self.image.section_at(address)
        return section is not None and section.executable

    def _site(self, address: int) -> Alternative:
        """Return what can stand at a site."""
        if address not in self.sites:
            if self.how is None:
                raise LabError(f"{self.image.name}: how this image is patched is not known")
            told = self.told.get(address)
            self.sites[address] = _alternative(self.image, self.all_sites[address], self.how, told, self.plan)
        return self.sites[address]

    def enter(self, address: int) -> list[Place]:
        """Return the places for an address that is come to from elsewhere: several at an alternative site."""
        if address in self.all_sites:
            found = self._site(address)
            some = range(len(found.variants)) if self.plan.variants else [found.in_place]
            return [Place(address, address, index) for index in some]
        index = bisect_right(self.site_starts, address) - 1
        if index >= 0:
            site = self.all_sites[self.site_starts[index]]
            if address < site.address + site.length:  # into the middle of a site
                return [Place(address, site.address, self._site(site.address).in_place)]
        return [Place(address)]

    def after(self, place: Place, instruction: Instruction) -> list[Place]:
        """Return the places behind an instruction."""
        if place.site and instruction.end < place.site + self.sites[place.site].site.length:
            return [Place(instruction.end, place.site, place.variant)]
        return self.enter(instruction.end)

    def _ways(self, places: list[Place], kind: Kind, note: str = "", *, live: bool = True) -> list[Way]:
        return [Way(to, kind, live and self.stands(to), note) for to in places]

    def stands(self, place: Place) -> bool:
        """Tell whether a place is in the code as it stands, not in a variant that is not in place."""
        return not place.site or self.sites[place.site].in_place == place.variant

    def instruction(self, place: Place) -> Instruction:
        """Return the instruction at a place."""
        if place.site:
            if place not in self.inside:
                site = self.sites[place.site]
                code = site.variants[place.variant].code[place.address - place.site :]
                for one in decode(code, place.address, strict=False):
                    self.inside[place._replace(address=one.address)] = one
            found = self.inside.get(place)
        else:
            if place.address not in self.decoded:
                self._decode(place.address)
            found = self.decoded.get(place.address)
        if found is None or found.mnemonic == ".byte":
            code, where = self.image.read(place.address, 1), self.image.label(place.address)
            raise LabError(
                f"{self.image.name}: {code.hex()} at {place.address:#x} ({where}) begins no x86-64 instruction; "
                "is the code damaged, or does a jump lead into the middle of one?",
            )
        return found

    def _decode(self, address: int) -> None:
        """Decode from here on; what the window's end may have cut is left for the next time."""
        section = self.image.section_at(address)
        if section is None or not section.executable:
            raise LabError(f"{self.image.name}: the code leads to {address:#x}, where no code is")
        size = min(WINDOW, section.end - address)
        for one in decode(self.image.read(address, size), address, strict=False):
            if one.address > address and one.address + 15 > address + size < section.end:
                return
            self.decoded.setdefault(one.address, one)
