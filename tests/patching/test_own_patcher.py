"""The engine beside real kernels' own patchers, run in an emulator: made-up sites of every kind, byte for byte."""

from collections.abc import Sequence
from random import Random

import pytest
from own_code import SITE, own, places
from sequences import NOPS, instruction

from vmenter import LabError
from vmenter.code.image import Image, Section
from vmenter.code.lengths import decoder
from vmenter.code.symbols import Symbols
from vmenter.patching.alternative_table import AltEntry, Engine, Nops, Rules, Site
from vmenter.patching.alternatives import patch

NUMBER = 1800  # sites a patcher; nine thousand in all
ON, OFF = 6, 5  # features
PATCHERS = {
    "5.10.262 p6": Rules(Engine.EARLY, 12, wide_nops=False, nops=Nops.P6, decoder="5.10.262"),
    "5.10.262 k8": Rules(Engine.EARLY, 12, wide_nops=False, nops=Nops.K8, decoder="5.10.262"),
    "6.1.192 p6": Rules(Engine.EARLY, 12, wide_nops=False),
    "6.12.117 p6": Rules(Engine.LAYERED, 14, wide_nops=False),
    "7.3.4 p6": Rules(Engine.ONCE, 14, wide_nops=True),
}
BRANCHES = (  # the bytes before a displacement, its size, how many bytes follow
    ("e8", 4, 0), ("e9", 4, 0), ("2ee9", 4, 0), ("48e9", 4, 0), ("662ee9", 4, 0), ("2ee8", 4, 0), ("0f84", 4, 0),
    ("2e0f85", 4, 0), ("74", 1, 0), ("eb", 1, 0), ("2eeb", 1, 0), ("e2", 1, 0), ("e3", 1, 0), ("0f002d", 4, 0),
    ("833d", 4, 1), ("66833d", 4, 1), ("48c705", 4, 4), ("c5fd6f05", 4, 0), ("c5f97005", 4, 1),
    ("62f1fd486f05", 4, 0), ("65488b05", 4, 0), ("ff15", 4, 0),
)  # fmt: skip

Entries = Sequence[tuple[int, int, bytes]]


def branch(random: Random, at: int, end: int) -> bytes:
    """Return a branch or a RIP-relative instruction that stands at `at` in a replacement up to `end`."""
    before, size, after = random.choice(BRANCHES)
    head, tail = bytes.fromhex(before), random.randbytes(after)
    behind = at + len(head) + size + len(tail)
    if size == 1:
        value = random.choice((0, 1, 2, 5, max(-behind, -128), random.randrange(-128, 128)))
    else:
        near, far = random.randrange(-150, 150), random.randrange(-0x10_0000, 0x10_0000)
        value = random.choice((SITE + near, SITE + far, end + near, behind + random.randrange(-8, 8))) - behind
    return head + value.to_bytes(size, "little", signed=True) + tail


def replacement(random: Random, at: int, tables) -> bytes:
    code = b""
    for _ in range(random.randrange(4)):
        kind = random.random()
        if kind < 0.5:
            code += branch(random, at + len(code), at)
        elif kind < 0.8:
            code += instruction(random, tables)
        else:
            code += random.choice(NOPS)
    return code


def original(random: Random, tables) -> bytes:
    code = b""
    for _ in range(random.randrange(4)):
        kind = random.random()
        one = b"\x90" * random.choice((1, 2, 3, 5, 9, 13)) if kind < 0.2 else random.choice(NOPS)
        code += instruction(random, tables) if kind > 0.5 else one
    return code


def made(random: Random, tables) -> tuple[bytes, Entries]:
    """Return a site, as long as its longest replacement, and its entries."""
    entries: list[tuple[int, int, bytes]] = []
    for _ in range(random.choice((1, 1, 2))):
        at = places([*entries, (0, 0, b"")])[-1]
        entries.append((random.choice((ON, OFF)), random.choice((0, 0, 1)), replacement(random, at, tables)))
    code = original(random, tables)
    length = max(len(code), 1, *(len(new) for _, _, new in entries))
    return code.ljust(length, b"\x90"), entries


def ours(site: bytes, entries: Entries, how: Rules) -> bytes | None:
    """Return what the engine makes of it; None where it says that the kernel would stop."""
    there = places(entries)
    sections = [Section("new", at, len(code), code, executable=True, writable=False)
                for at, (_, _, code) in zip(there, entries, strict=True) if code]  # fmt: skip
    image = Image("made", None, tuple(sections), Symbols())
    table = tuple(
        AltEntry(index, 0, SITE, len(site), at, len(code), feature, flags)
        for index, (at, (feature, flags, code)) in enumerate(zip(there, entries, strict=True))
    )
    try:
        return patch(image, Site(SITE, len(site), site, table), {ON}, how).code
    except LabError:
        return None


@pytest.mark.parametrize("patcher", PATCHERS)
def test_made_up_sites_become_what_the_kernels_own_patcher_makes_of_them(patcher, report):
    version, _, nops = patcher.partition(" ")
    random, how, real = Random(patcher), PATCHERS[patcher], own(version)
    tables = decoder(version)
    different, stopped, changed = [], 0, 0
    for _ in range(NUMBER):
        site, entries = made(random, tables)
        expected, found = real.patched(site, entries, {ON}, nops), ours(site, entries, how)
        stopped += expected is None
        changed += expected not in (None, site)
        if found != expected:
            different.append((site.hex(" "), [(f, n, c.hex(" ")) for f, n, c in entries], expected, found))
    assert different == []
    assert changed > NUMBER // 3
    report(f"made-up sites, kernel {patcher}: {NUMBER:,} of {NUMBER:,} as its own patcher makes them")
