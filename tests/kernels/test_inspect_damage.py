"""Damaged modules through `inspect` and the audit's loader: an answer or the library's own error, in bounded work.

Damage is aimed: at the stub's bytes, at the C function, at the tables that say what is patched there. The work is
done in child processes whose memory is limited, as in test_damage.
"""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from random import Random

import fuzz
import pytest
from elftools.elf.elffile import ELFFile
from mutate import BY_FORMAT
from needs import kernel_files
from places import TESTS
from work import emulated

from vmenter import LabError
from vmenter.code.image import from_bytes
from vmenter.code.unpack import unpack
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels.inspect import inspect
from vmenter.kernels.inspect_text import lines, to_json
from vmenter.kernels.module_era import of_module
from vmenter.patching.lab import lab_object
from vmenter.story.history import BACKPORT, ERAS

PARTS = 2
MEMORY = 32 << 30  # address space of a child: the emulator reserves one gigabyte for each machine, and uses little
RESIDENT = 400 << 20
INSTRUCTIONS = 1_000_000  # emulated for one input
STUBS = ("__vmx_vcpu_run", "__svm_vcpu_run", "__svm_sev_es_vcpu_run", "vmx_vcpu_enter_exit", "svm_vcpu_enter_exit")
TABLES = (".altinstructions", "__jump_table", ".rela.altinstructions", ".altinstr_replacement", ".symtab")


def seeds() -> dict[str, bytes]:
    """Return good modules: the lab's, and all real ones there are."""
    found = {era: lab_object(era) for era in (*ERAS, BACKPORT.id)}
    for path in (*kernel_files("kvm-intel.ko*"), *kernel_files("kvm-amd.ko*")):
        found[f"{path.parent.name}/{path.name}"] = unpack(path.read_bytes(), path.name)
    return found


def targets(data: bytes) -> list[tuple[int, int]]:
    """Return [start, end) in the file of the functions and tables that inspect looks at."""
    elf = ELFFile(io.BytesIO(data))
    tables = [s for s in elf.iter_sections() if s["sh_size"] and s.name in TABLES]
    found = [(table["sh_offset"], table["sh_offset"] + table["sh_size"]) for table in tables]
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        if symbol.name in STUBS and isinstance(symbol["st_shndx"], int):
            start = elf.get_section(symbol["st_shndx"])["sh_offset"] + symbol["st_value"]
            found.append((start, start + (symbol["st_size"] or 64)))
    return found


def aimed(data: bytes, places: list[tuple[int, int]], random: Random) -> bytes:
    """Damage one of the places: a few bits or bytes, or all of it replaced by NOPs, zeros or noise."""
    out = bytearray(data)
    start, end = random.choice(places)
    kind = random.randrange(4)
    for _ in range(random.choice((1, 1, 2, 6))):
        at = random.randrange(start, end)
        if kind < 2:
            out[at] ^= 1 << random.randrange(8)
        elif kind == 2:
            out[at] = random.randrange(256)
        else:
            size = min(random.choice((2, 5, 16)), end - at)
            out[at : at + size] = random.choice((b"\x90" * size, bytes(size), random.randbytes(size)))
    return bytes(out)


def use(data: bytes, name: str, *, audited: bool) -> str:
    """Do with a module what the command line does; return what came of it."""
    report = inspect(data, name)
    json.dumps(to_json(report))
    "\n".join(lines([report]))
    if audited:
        with suppress(LabError):
            of_module(from_bytes(data, name, LAB_BASE), name)
    return "cannot tell" if report.verdict.startswith("cannot tell") else report.verdict


def run(part: int, count: int) -> dict[str, object]:
    """Use a part of the damaged modules; return outcomes, and every one that is against the rules."""
    random = Random(part)
    good = seeds()
    places = {name: targets(data) for name, data in good.items()}
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    most = 0
    for number in range(count):
        name = sorted(good)[number % len(good)]
        data, what = good[name], f"#{number} of part {part}, {name}"
        bad = (
            random.choice(BY_FORMAT["elf"])(data, random) if number % 5 == 0 else aimed(data, places[name], random)
        )
        try:
            with emulated() as done:
                outcomes[use(bad, name, audited=number % 4 == 0)] += 1
        except LabError as error:
            outcomes["refused"] += 1
            if "\n" in str(error) or not str(error):
                wrong.append(f"{what}: a message that is not one line: {error!r}")
        except BaseException as error:  # noqa: BLE001
            wrong.append(f"{what}: {type(error).__name__}: {error}")
        most = max(most, done[0])
    return {"inputs": count, "outcomes": dict(outcomes), "wrong": wrong, "most": most}


def child() -> None:
    """Be the child: limit, work, report."""
    import resource

    from peak import peak

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    json.dump({**run(int(sys.argv[1]), int(sys.argv[2])), "resident": peak()}, sys.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="no memory limits for a process")
@pytest.mark.parametrize("part", range(PARTS))
def test_a_damaged_module_gets_an_answer_or_the_librarys_own_error(part, report):
    count = fuzz.count("modules", PARTS)
    done = subprocess.run(
        [sys.executable, __file__, str(part), str(count)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS, *sys.path)))},
    )
    assert done.returncode == 0, f"the child ended with {done.returncode}:\n{done.stderr[-3000:]}"
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["most"] < INSTRUCTIONS
    assert found["resident"] < RESIDENT
    outcomes = found["outcomes"]
    assert outcomes["cannot tell"] > count // 50  # the damage reaches what is looked at,
    assert len(outcomes) >= 5  # and other answers come out as well
    told = f"{outcomes.pop('refused', 0)} refused, {outcomes.pop('cannot tell')} that cannot be told"
    report(
        f"damaged modules inspected, part {part + 1} of {PARTS}: {count:,} ({told}, "
        f"{sum(outcomes.values())} with an answer), {found['most']:,} instructions and {found['resident'] >> 20} MiB at most"
    )


if __name__ == "__main__":
    child()
