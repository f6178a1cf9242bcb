"""The lab's own kernel code: its sources in assembly, the macros they share, and the objects made of them."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

LAB = Path(__file__).parent


def assemble(text: str, backend: str | None = None) -> bytes:
    """Assemble a text that may ``.include "alternative.inc"`` and its like. See `assembler.assemble`."""
    from vmenter.code import assembler  # noqa: PLC0415  (the objects are committed: who reads them needs none)

    return assembler.assemble(text, backend, LAB)


def source_hash(name: str) -> str:
    """Return the SHA-256 of a lab source together with the macros every source may include."""
    import hashlib  # noqa: PLC0415  (a library of its own, for whoever needs an object)

    files = [*sorted(LAB.glob("*.inc")), LAB / f"{name}.S"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def lab_object(name: str) -> bytes:
    """Return a lab object as committed; if its source has changed since, assemble it anew.

    Raises `LabError` where the committed object is stale and there is no assembler.
    """
    if recorded_hashes().get(name) == source_hash(name):
        return (LAB / f"{name}.o").read_bytes()
    return assemble((LAB / f"{name}.S").read_text())


def lab_names() -> list[str]:
    """Return the names of the lab's sources."""
    return sorted(file.stem for file in LAB.glob("*.S"))


def recorded_hashes() -> dict[str, str]:
    """Return the source hash each committed object was made from."""
    record = LAB / "sources.sha256"
    lines = record.read_text().splitlines() if record.exists() else []
    return {Path(name).stem: digest for digest, name in (line.split() for line in lines)}


def build_lab() -> None:
    """Assemble all lab sources and write objects and hashes beside them (`make objects`)."""
    for name in lab_names():
        (LAB / f"{name}.o").write_bytes(assemble((LAB / f"{name}.S").read_text()))
    record = "".join(f"{source_hash(name)}  {name}.S\n" for name in lab_names())
    (LAB / "sources.sha256").write_text(record)


@cache
def feature_numbers() -> Mapping[str, int]:
    """Return name -> number of the features the lab's code uses, from features.inc."""
    text = (LAB / "features.inc").read_text()
    found = re.findall(r"^X86_FEATURE_(\w+)\s*=\s*(\d+)\*32 \+ (\d+)", text, re.MULTILINE)
    return MappingProxyType({name: int(word) * 32 + int(bit) for name, word, bit in found})


@cache
def feature_names() -> Mapping[int, str]:
    """Return number -> name, the other way round."""
    return MappingProxyType({number: name for name, number in feature_numbers().items()})
