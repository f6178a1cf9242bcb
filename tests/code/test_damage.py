"""Damaged inputs of every format: only the library's own error may come out, in bounded memory.

The work is done in child processes whose address space is limited, so that a bomb ends there; what they met is
handed back. A hang is caught by the time limit of the test run.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import fuzz
import pytest
from elf import PACKERS, Sec, elf, module, vmlinux, vmlinuz
from mutate import WRONG, bombs, damaged
from places import TESTS

from vmenter import LabError
from vmenter.code.image import Image, from_bytes
from vmenter.code.instructions import decode
from vmenter.code.symbols import Symbols
from vmenter.patching.alternative_table import Engine, entries, sites
from vmenter.patching.alternative_table import rules as rules_of
from vmenter.patching.alternatives import patch_all
from vmenter.patching.lab import lab_names, lab_object

PARTS = 4
MEMORY = 2 << 30  # address space of a child, most of it the interpreter's and the decoder's own mappings
RESIDENT = 256 << 20  # what a child may really use

MAP = b"".join(f"{0xFFFFFFFF81000000 + n * 16:016x} T function_{n}\n".encode() for n in range(60))


def seeds() -> dict[str, tuple[str, bytes]]:
    """Return good inputs, name -> (format, bytes)."""
    found: dict[str, tuple[str, bytes]] = {
        "vmlinux": ("elf", vmlinux()),
        "made.ko": ("elf", module()),
        "System.map": ("text", MAP),
        "System.map.gz": ("packed", PACKERS["gz"](MAP)),
        "table": ("table", table_of(from_bytes(lab_object("patching"), "x"))),
    }
    for name in lab_names():
        found[f"{name}.o"] = "elf", lab_object(name)
    for packer, pack in PACKERS.items():
        found[f"made.ko.{packer}"] = "packed", pack(module())
        if packer != "lzma":
            found[f"vmlinuz of {packer}"] = "vmlinuz", vmlinuz(pack(vmlinux()))
    return found


def table_of(image: Image) -> bytes:
    assert image.alternatives is not None
    return image.alternatives[1]


def use(name: str, data: bytes) -> str:
    """Do with an input what the library's users do; return what came of it."""
    if "map" in name.lower():
        symbols = Symbols.from_text(data, name)
        symbols.at(0xFFFF_FFFF_8100_0008)
        return "read"
    if "table" in name:
        made = from_bytes(lab_object("patching"), "patching.o")
        (old,) = (s for s in made.sections if s.name == ".altinstructions")
        others = (s for s in made.sections if s is not old)
        table = replace(old, data=data, size=len(data))
        sections = tuple(sorted((*others, table), key=lambda section: section.address))
        image = replace(made, name="table", kernel="7.3.4", sections=sections)
    else:
        image = from_bytes(data, name)
    try:
        how = rules_of(image)
    except LabError:
        how = rules_of(image, Engine.ONCE, 14)
    result = "loaded"
    for features in ((), range(0, 2048, 2), range(2048)):
        for patch in patch_all(image, frozenset(features), how):
            result = "patched"
            decode(patch.code or b"", patch.site.address, strict=False)
            image.label(patch.site.address)
    if image.jump_table:
        result += ", with jump labels"
    return result


def run(part: int, count: int) -> dict[str, object]:
    """Use a part of the damaged inputs; return outcomes, and every one that is against the rules."""
    inputs = [*damaged(seeds(), count, part)]
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    for bad in inputs:
        try:
            outcomes[use(bad.seed, bad.data)] += 1
        except LabError as error:
            outcomes["refused"] += 1
            if "\n" in str(error) or not str(error):
                wrong.append(f"{bad}: a message that is not one line: {error!r}")
        except BaseException as error:  # noqa: BLE001
            wrong.append(f"{bad}: {type(error).__name__}: {error}")
    return {"inputs": len(inputs), "outcomes": dict(outcomes), "wrong": wrong}


def run_bombs(_part: int, _count: int) -> dict[str, object]:
    """Use bombs, as images and as symbols: all must be refused."""
    wrong: list[str] = []
    named = {**bombs(), **WRONG}
    named.update({f"vmlinuz of {name}": vmlinuz(data) for name, data in bombs(64 << 20).items()})
    for name, data in named.items():
        for take in (from_bytes, Symbols.from_text):
            try:
                take(data, name)
                wrong.append(f"{name}: taken by {take.__name__}")
            except LabError as error:
                if "\n" in str(error):
                    wrong.append(f"{name}: a message that is not one line: {error!r}")
            except BaseException as error:  # noqa: BLE001
                wrong.append(f"{name}: {type(error).__name__}: {error}")
    return {"inputs": len(named), "outcomes": {}, "wrong": wrong}


def in_a_child(work: str, part: int, count: int) -> dict[str, object]:
    """Run a function of this file in a child with limited memory."""
    done = subprocess.run(
        [sys.executable, __file__, work, str(part), str(count)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS, *sys.path)))},
    )
    assert done.returncode == 0, f"the child ended with {done.returncode}:\n{done.stderr[-3000:]}"
    return json.loads(done.stdout)


def child() -> None:
    """Be the child: limit, work, report."""
    import resource

    from peak import peak

    work, part, count = {"damage": run, "bombs": run_bombs}[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    result = work(part, count)
    result["resident"] = peak()
    json.dump(result, sys.stdout)


needs_limits = pytest.mark.skipif(sys.platform == "win32", reason="no memory limits for a process")


@needs_limits
@pytest.mark.parametrize("part", range(PARTS))
def test_damage_is_refused_by_the_librarys_own_error_or_survived(part, report):
    count = fuzz.count("images", PARTS)
    found = in_a_child("damage", part, count)
    assert found["wrong"] == []
    assert found["inputs"] == count
    outcomes = found["outcomes"]
    assert outcomes["refused"] > count // 4  # the damage is damage,
    assert outcomes["patched"] > count // 20  # and some of it gets deep
    assert found["resident"] < RESIDENT
    told = ", ".join(f"{number:,} {what}" for what, number in sorted(outcomes.items()))
    report(
        f"damaged inputs, part {part + 1} of {PARTS}: {count:,} ({told}), {found['resident'] >> 20} MiB at most"
    )


@needs_limits
def test_bombs_and_files_of_the_wrong_kind_are_refused():
    found = in_a_child("bombs", 0, 0)
    assert found["wrong"] == []
    assert found["inputs"] >= 20


def test_the_same_seed_damages_the_same_way():
    one, two, other = ([d.data for d in damaged(seeds(), 100, seed)] for seed in (7, 7, 8))
    assert one == two
    assert one != other


def test_undamaged_inputs_are_all_taken():
    for name, (_, data) in seeds().items():
        assert use(name, data).startswith(("read", "patched")), name


def test_a_section_table_without_end_does_not_hang():
    """e_shentsize 0 and a count of 2^60 in section 0: the same header, over and over."""
    data = bytearray(elf([Sec(".text", b"\xc3", address=0x1000)]))
    table = int.from_bytes(data[40:48], "little")
    data[58:62] = bytes(4)  # e_shentsize, e_shnum
    data[table + 32 : table + 40] = (1 << 60).to_bytes(8, "little")
    with pytest.raises(LabError):
        from_bytes(bytes(data), "x")
    assert sites(from_bytes(vmlinux(), "x"), entries(from_bytes(vmlinux(), "x"), 14))


if __name__ == "__main__":
    child()
