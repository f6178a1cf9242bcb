"""Make lib/vmenter/booted.json, the VM-Enters of booted kernels that EntryExplorer shows, from tests/data/booted.

    python tests/tools/record_booted.py

Of each recording only what a few VM-Enters did is kept: events, way by function, what stood around them.
"""

import json
from pathlib import Path

from vmenter.kernels.booted import read
from vmenter.kernels.booted_match import compare
from vmenter.kernels.booted_record import RECORD, BootedEnter, of_comparison, to_json

DATA = Path(__file__).parents[1] / "data" / "booted"
DEBIAN = "as Debian ships it"
REBUILT = "rebuilt from Debian's original source with gcc 12 and a small configuration; nothing changed in it"
DEVICE = "the emulator lets kvm_arch_has_assigned_device say that a device is passed through"
MMIO_ALONE = "with MMIO Stale Data alone and FB_CLEAR_CTRL; the guest has no FB_CLEAR"
NO_SUCH = "with L1TF and MMIO Stale Data alone (MDS_NO, no TSX); no such real CPU is known"
ALL = "with MDS, L1TF and MMIO Stale Data"

# name, recording, which VM-Enter of it, kernel, how that came to be, what the CPU was set up with, what is forced
KEPT = (
    ("5.10.46, 2019's flaw", "bochs-v15", 1, "5.10.46", REBUILT, "with MDS and L1TF", ""),
    ("5.10.46, flushed", "bochs-v15", 5, "5.10.46", REBUILT, "with MDS and L1TF", ""),
    ("5.10.46, never flushing", "bochs-v15", 21, "5.10.46", REBUILT, "with MDS and L1TF", ""),
    ("6.12.117, MMIO's flaw", "bochs-v12", 2, "6.12.117", DEBIAN, NO_SUCH, DEVICE),
    ("6.12.117, flushed", "bochs-v12", 5, "6.12.117", DEBIAN, NO_SUCH, DEVICE),
    ("6.12.117, never flushing", "bochs-v12", 21, "6.12.117", DEBIAN, NO_SUCH, DEVICE),
    ("7.3.4, mended", "bochs-v13", 2, "7.3.4", DEBIAN, NO_SUCH, ""),
    ("7.3.4, a guest without MMIO", "bochs-v13", 10, "7.3.4", DEBIAN, NO_SUCH, ""),
    ("6.12.117, VERW, then FB_CLEAR_DIS", "bochs-v11", 5, "6.12.117", DEBIAN, MMIO_ALONE, DEVICE),
    ("7.3.4, FB_CLEAR_DIS, then VERW", "bochs-v10", 6, "7.3.4", DEBIAN, MMIO_ALONE, ""),
    ("6.12.117, VERW in the stub", "bochs-v8", 1, "6.12.117", DEBIAN, ALL, ""),
    ("7.3.4, VERW in the stub", "bochs-v2", 1, "7.3.4", DEBIAN, ALL, ""),
)


def kept() -> list[BootedEnter]:
    """Return all that are kept, made anew."""
    found = []
    for name, file, index, version, how, setup, forced in KEPT:
        recording = read(DATA / f"{file}.json.gz")
        every = compare(recording)
        emulator, _, model = recording.cpu.partition(" corei7")
        found.append(
            of_comparison(
                name,
                recording,
                every[index],
                every,
                kernel=f"{version}, {how}",
                cpu=f"corei7{model.partition(';')[0]}, set up {setup}",
                emulator=emulator,
                forced=forced,
            )
        )
    return found


def text() -> str:
    """Return what belongs into booted.json, one VM-Enter a line."""
    lines = (json.dumps(to_json(one), ensure_ascii=False, separators=(",", ":")) for one in kept())
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    RECORD.write_text(text(), encoding="utf-8")
    print(f"{RECORD}: {RECORD.stat().st_size:,} bytes")
