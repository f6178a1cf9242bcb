"""Real modules: every site parses, patches under any features, and decodes, also by objdump's reading."""

import re
import subprocess
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from needs import HINT, kernel_files, kernel_version, missing, objdump

from vmenter.code.image import Image, load
from vmenter.code.instructions import decode
from vmenter.patching.alternative_table import Engine, Nops, entries, rules, sites
from vmenter.patching.alternatives import apply, patch_all

MODULES = [path for name in ("kvm-intel.ko*", "kvm-amd.ko*") for path in kernel_files(name)]
SLOT = 512  # each patched site gets its own, so that a wrong length cannot spoil the next one


def name_of(path: Path) -> str:
    return f"{kernel_version(path)} {path.name.split('.')[0]}"


each_module = pytest.mark.parametrize("path", MODULES or [None], ids=name_of if MODULES else str)


@cache
def module(path: Path | None) -> Image:
    if path is None:
        missing("kvm-intel.ko and kvm-amd.ko of a real kernel", HINT)
    return load(path)


def all_features(image: Image) -> list[int]:
    return sorted({entry.feature for entry in entries(image, rules(image).record_size)})


@each_module
def test_every_site_of_a_module_parses(path, report):
    image = module(path)
    how = rules(image)
    found = sites(image, entries(image, how.record_size))
    assert len(found) >= 10  # 5.10's kvm-intel has 11
    assert all(decode(site.original, site.address) for site in found)
    in_text = [s for s in found if (section := image.section_at(s.address)) and section.executable]
    assert in_text == list(found)
    direct = [p for p in patch_all(image, all_features(image)) if p.undecided]
    by_cpu = how.nops is Nops.BY_CPU
    assert all(("p6 or k8" if by_cpu else "read from pv_ops") in (p.undecided or "") for p in direct)
    report(f"{name_of(path)}: {len(found)} sites, {how.engine} engine")


@each_module
@settings(max_examples=40)
@given(data=st.data())
def test_a_module_patched_under_any_features_decodes_cleanly(path, data):
    image = module(path)
    features = data.draw(st.sets(st.sampled_from(all_features(image))))
    patches = patch_all(image, features)
    for patch in patches:
        if patch.code is not None:
            assert len(patch.code) == patch.site.length
            found = decode(patch.code, patch.site.address)
            assert sum(i.length for i in found) == patch.site.length
            for instruction in found:  # what it points to is in the module, or has a name
                for target in (instruction.branch_target, instruction.rip_target):
                    inside = target is None or image.section_at(target) is not None
                    assert inside or not image.label(target).startswith("0x"), instruction
    after = apply(image, patches)
    decided = {p.site.address: p.code for p in patches if p.code is not None}
    assert all(after.read(address, len(code)) == code for address, code in decided.items())


@each_module
def test_objdump_agrees_on_where_instructions_begin(path, tmp_path):
    image, random = module(path), Random(1)
    features = all_features(image)
    sets = [set(), set(features), *({f for f in features if random.random() < 0.5} for _ in range(4))]
    how = rules(image, nops=Nops.P6)
    codes = sorted({p.code for chosen in sets for p in patch_all(image, chosen, how) if p.code is not None})
    assert len(codes) > len({p.site.original for p in patch_all(image, set(), how) if p.code is not None}) // 2
    assert len(codes) >= 10
    assert agreed_by_objdump(codes, tmp_path) == [[i.length for i in decode(code)] for code in codes]


def agreed_by_objdump(codes: list[bytes], folder: Path) -> list[list[int]]:
    """Return the instruction lengths that objdump sees in each code, by one call for all."""
    binary = folder / "sites.bin"
    binary.write_bytes(b"".join(code.ljust(SLOT, b"\x90") for code in codes))
    done = subprocess.run(
        [objdump(), "-D", "-b", "binary", "-m", "i386:x86-64", "--no-show-raw-insn", "-z", str(binary)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "(bad)" not in done.stdout
    starts = [int(found[1], 16) for found in re.finditer(r"^\s*([0-9a-f]+):\t", done.stdout, re.MULTILINE)]
    ends = [*starts[1:], len(codes) * SLOT]
    lengths: list[list[int]] = [[] for _ in codes]
    for start, end in zip(starts, ends, strict=True):
        number, offset = divmod(start, SLOT)
        if offset < len(codes[number]):
            lengths[number].append(end - start)
    return lengths


@each_module
def test_the_early_engine_is_that_of_old_modules_only(path):
    image = module(path)
    old = tuple(map(int, kernel_version(path).split(".")[:2])) < (6, 3)
    assert (rules(image).engine is Engine.EARLY) == old
    assert (rules(image).record_size == 12) == old


VERW = re.compile(r"verw (-?0x[0-9a-f]+|-?\d+)?\(%rip\)")


@each_module
def test_the_feature_that_clears_the_buffers_makes_the_vm_enter_execute_verw(path):
    """Before v6.5 as a jump over VERW that becomes nothing, later as VERW in the replacement."""
    image = module(path)
    symbol = "__vmx_vcpu_run" if "intel" in path.name else "__svm_vcpu_run"
    start, end = image.symbols.extent(symbol)
    how = rules(image)
    inside = [s for s in sites(image, entries(image, how.record_size)) if start <= s.address < end]
    assert inside
    if how.engine is Engine.EARLY:
        jumps = [
            s for s in inside if s.original[:1] == b"\xeb" and not any(e.replacement_length for e in s.entries)
        ]
        texts = [decode(image.read(s.address + s.length, 7), strict=False)[0].text for s in jumps]
        assert any(VERW.fullmatch(text) for text in texts)
        return
    feature = {
        e.feature
        for s in inside
        for e in s.entries
        if b"\x0f\x00" in image.read(e.replacement, e.replacement_length)
    }
    assert feature  # CLEAR_CPU_BUF, or from v6.19 CLEAR_CPU_BUF_VM and CLEAR_CPU_BUF_VM_MMIO
    off, on = ({p.site.address: p for p in patch_all(image, chosen)} for chosen in (set(), feature))
    cleared = [
        a for a in on if start <= a < end and any(VERW.fullmatch(i.text) for i in decode(on[a].code or b"", a))
    ]
    assert cleared
    assert not any("verw" in i.text for a in cleared for i in decode(off[a].code or b"", a))
    selectors = {i.rip_target for a in cleared for i in decode(on[a].code or b"", a) if i.mnemonic == "verw"}
    assert len(selectors) == 1
    assert image.label(selectors.pop()) in ("mds_verw_sel", "x86_verw_sel")
