"""How many bad inputs a run tries, and of which kind: 2,000 in all, or as many as $VMENTER_FUZZ says."""

import os

ALL = int(os.environ.get("VMENTER_FUZZ", "2000"))
EVERYTHING = ALL >= 10_000  # `make fuzz`: what is dear, and elsewhere sampled, is gone through as well
OFTEN = EVERYTHING or bool(os.environ.get("CI"))  # .ci/run: kernels and CPUs whole
SHARES = {  # of a hundred
    "images": 40,  # ELF files, vmlinuz, tables, lists of symbols, packed and not: code/test_damage
    "modules": 4,  # aimed at what is inspected: kernels/test_inspect_damage
    "packages": 14,  # kernels/test_packages
    "folders": 6,  # kernels/test_find
    "names": 8,  # of symbols, versions, files and members: cli/test_bad_input
    "texts": 10,  # pasted reports and lists of symbols
    "lines": 8,  # command lines and hosts
    "progress": 4,  # files of progress
    "answers": 6,  # to the exercises: course/exercises/test_any_answer
}
assert sum(SHARES.values()) == 100


def count(kind: str, parts: int = 1) -> int:
    """Return how many of a kind a test tries, if it is done in equal parts."""
    return max(1, ALL * SHARES[kind] // 100 // parts)
