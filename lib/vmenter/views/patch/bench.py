"""What PatchBench works on: the lab's samples, code that a reader typed, or a site of a real kernel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType

from vmenter import LabError
from vmenter.code.assembler import AssemblyError
from vmenter.code.image import Image, from_bytes
from vmenter.patching.alternative_table import ALWAYS, Engine, Nops, Site, read
from vmenter.patching.features import slot
from vmenter.patching.lab import assemble, feature_names, feature_numbers, lab_object

MAX_REPLACEMENTS = 3
NOT = "NOT "  # before a feature's name: the entry applies where the feature is absent


@dataclass(frozen=True)
class Text:
    """The assembly of one site: what stands there, what may replace it and when, and the code behind it."""

    original: str = ""
    replacements: tuple[tuple[str, str], ...] = ()  # (assembly, feature)
    after: str = ""


@dataclass(frozen=True)
class Bench:
    """One site on the bench."""

    title: str
    about: str
    image: Image = field(repr=False)
    site: Site
    names: Mapping[int, str] = field(repr=False)  # of features
    text: Text | None = None  # what it was assembled from, where that is known
    nops: Nops = Nops.P6  # of its kernel, where the early patcher works on it

    def feature(self, number: int) -> str:
        """Return a feature's name, or its number as the kernel's headers write it."""
        return self.names.get(number) or slot(number)

    @property
    def features(self) -> tuple[int, ...]:
        """The features that decide about this site, in table order."""
        return tuple(dict.fromkeys(entry.feature for entry in self.site.entries))

    def numbers(self, names: Iterable[str]) -> frozenset[int]:
        """Return those of this site's features that are named, and ALWAYS, which every CPU has."""
        wanted = set(names)
        return frozenset(n for n in self.features if n == ALWAYS or self.feature(n) in wanted)


class TypedError(LabError):
    """A mistake in typed code: in which field (original, replacement 1, …, after), and where in it."""

    def __init__(self, message: str, place: str = "", line: int | None = None, column: int | None = None) -> None:
        self.message, self.place, self.line, self.column = message, place, line, column
        where = ", ".join(part for part in (place, line and f"line {line}", column and f"column {column}") if part)
        super().__init__(f"{where}: {message}" if where else message)


CLEAR = "verw verw_selector(%rip)"
CLEAR_IF_MMIO = f"testl $4, 8(%rsp)\njz 1f\n{CLEAR}\n1:"

# The sites of lab/patching.S: one line about each, and its text for the editor. A test holds both together.
SAMPLES: Mapping[str, tuple[str, Text]] = MappingProxyType({
    "clear_or_not": (
        "Nothing, or clear the CPU buffers.",
        Text("", ((CLEAR, "CLEAR_CPU_BUF"),)),
    ),
    "jump_over": (
        "The same choice in another form: to be looked at after exercise 02-3.",
        Text("jmp 1f", (("", "CLEAR_CPU_BUF"),), f"{CLEAR}\n1:"),
    ),
    "three_way": (
        "Nothing, clear if the vCPU can reach MMIO, or clear always.",
        Text("", ((CLEAR_IF_MMIO, "CLEAR_CPU_BUF_VM_MMIO"), (CLEAR, "CLEAR_CPU_BUF_VM"))),
    ),
    "three_way_swapped": (
        "The same two replacements in the other order.",
        Text("", ((CLEAR, "CLEAR_CPU_BUF_VM"), (CLEAR_IF_MMIO, "CLEAR_CPU_BUF_VM_MMIO"))),
    ),
    "call_helper": (
        "A call that leaves the replacement: its distance changes with its place.",
        Text("", (("call helper", "SMAP"),)),
    ),
    "jump_out": (
        "A jump that comes so close that a short one will do.",
        Text("", (("jmp near", "SMAP"),), "nop\nnear:"),
    ),
    "long_padding": (
        "Sixteen bytes of padding: more than the longest NOP.",
        Text("", ((f"mov %rax, %rbx\nmov %rbx, %rcx\nmov %rcx, %rdx\n{CLEAR}", "SMAP"),)),
    ),
    "unless_smap": (
        "An entry that applies where the feature is absent.",
        Text("stac", (("", NOT + "SMAP"),)),
    ),
})  # fmt: skip


@cache
def sample(name: str) -> Bench:
    """Return a sample of the lab. Raises `LabError` for a name that is none."""
    if name not in SAMPLES:
        raise LabError(f"no sample is called {name!r}; there are {', '.join(SAMPLES)}")
    image = _lab_image()
    symbol = image.symbols.get(name)
    found = read(image, engine=Engine.ONCE).sites
    site = next(site for site in found if symbol and site.address == symbol.address)
    about, text = SAMPLES[name]
    return Bench(name, about, image, site, feature_names(), text)


@cache
def _lab_image() -> Image:
    return from_bytes(lab_object("patching"), "patching.o")


def typed(original: str, replacements: Sequence[tuple[str, str]], after: str = "") -> Bench:
    """Assemble one site. Raises `TypedError` for what the assembler or the table's rules refuse."""
    text = Text(original, tuple((code, feature) for code, feature in replacements), after)
    if not 1 <= len(text.replacements) <= MAX_REPLACEMENTS:
        raise TypedError(f"a site here has 1 to {MAX_REPLACEMENTS} replacements, not {len(text.replacements)}")
    program = _program(text)
    try:
        image = from_bytes(assemble("\n".join(line for line, _, _ in program) + "\n"), "your code")
    except AssemblyError as error:
        at = (error.line or 0) - 1
        _, place, line = program[at] if 0 <= at < len(program) else ("", "", None)
        raise TypedError(error.message, place, line, error.column if place else None) from None
    found = read(image, engine=Engine.ONCE).sites
    site = next((site for site in found if site.address == image.symbols.extent("typed")[0]), None)
    if site is None:
        raise TypedError("no alternative was made of this")
    return Bench("your code", "Typed here, assembled for real.", image, site, feature_names(), text)


def _program(text: Text) -> list[tuple[str, str, int | None]]:
    """Return the lines to assemble, each with the field and the line in it that it came from."""
    lines: list[tuple[str, str, int | None]] = []

    def ours(*code: str) -> None:
        lines.extend((line, "", None) for line in code)

    def theirs(code: str, place: str) -> None:
        lines.extend((line, place, number) for number, line in enumerate(code.split("\n"), 1))

    ours('.include "alternative.inc"', ".section .rodata", "verw_selector: .short 0x18")
    ours(".text", ".globl typed", "typed:", ".Lvm_site:")
    theirs(text.original, "original")
    numbers = range(1, len(text.replacements) + 1)
    ours(*(f"alt_pad .Lvm_site, .Lvm_new{n}, .Lvm_end{n}" for n in numbers), ".Lvm_end:")
    theirs(text.after, "after")
    ours("ret", ".globl helper", "helper:", "ret")
    for number, (code, feature) in zip(numbers, text.replacements, strict=True):
        ours('.pushsection .altinstr_replacement, "ax", @progbits', f".Lvm_new{number}:")
        theirs(code, f"replacement {number}")
        ours(f".Lvm_end{number}:", ".popsection")
        record = f".Lvm_site, .Lvm_end, .Lvm_new{number}, .Lvm_end{number}, {_feature(feature, number)}"
        ours(f"alt_record {record}")
    return lines


def _feature(name: str, number: int) -> str:
    """Return the value that the table holds for ``SMAP`` or ``NOT SMAP``."""
    plain = name.removeprefix(NOT).strip()
    if plain not in feature_numbers():
        known = ", ".join(feature_numbers())
        raise TypedError(f"no feature is called {plain!r}; there are {known}", f"replacement {number}")
    return f"{feature_numbers()[plain]}{' + NOT' if name.startswith(NOT) else ''}"
