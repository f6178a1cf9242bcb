"""Record what notebook 10 shows of real kernels: a census of their alternatives, and runs of AMD's stubs.

    python tests/tools/record_beyond.py FOLDER

FOLDER holds a folder for each kernel, named by its version: vmlinuz, System.map.gz, kvm-intel.ko.xz, kvm-amd.ko.xz.
Written are lib/vmenter/recorded.json and, for the test that counts again without a System.map, the few symbols it
needs: tests/data/census-VERSION.map.
"""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

from vmenter import census, svm
from vmenter.image import Image, Symbols, load
from vmenter.memory import LAB_BASE

MODULES = ("kvm-intel.ko", "kvm-amd.ko")
DATA = Path(__file__).parents[1] / "data"
BOUNDS = {name for pair in census._BOUNDS.values() for name in pair}


def module(folder: Path, name: str) -> Image:
    """Load a module, packed or not."""
    path = next(path for path in (folder / f"{name}.xz", folder / name) if path.exists())
    return load(path, base=LAB_BASE)


def kernel(folder: Path) -> tuple[Image, str]:
    """Load a kernel with all its symbols; return it and the lines of its map that the test needs."""
    symbols = Symbols.from_text((folder / "System.map.gz").read_bytes())
    image = load(folder / "vmlinuz").with_symbols(symbols)
    wanted = BOUNDS | {clear.function for clear in census.take(image).clears}
    rows = [
        f"{address:016x} T {name}\n"
        for address, name in zip(symbols.addresses, symbols.names, strict=True)
        if name in wanted
    ]
    return image, "".join(rows)


def main(root: Path) -> None:
    found = {}
    folders = sorted(path.parent for path in root.glob("*/System.map.gz"))
    if not folders:
        sys.exit(f"no kernels with a System.map.gz in {root}; say where they are: make records KERNELS=FOLDER")
    for folder in folders:
        image, symbols = kernel(folder)
        (DATA / f"census-{folder.name}.map").write_text(symbols, encoding="ascii")
        counted = {census.KERNEL: census.take(image)}
        counted |= {name: census.take(module(folder, name)) for name in MODULES}
        found[folder.name] = {
            "census": {name: one.to_json() | {"file": name} for name, one in counted.items()},
            "stubs": [asdict(run) for run in svm.stub_runs(module(folder, "kvm-amd.ko"))],
        }
    text = json.dumps(found, indent=1)
    # One line for each small list or object: a change shows where it is.
    census.RECORD.write_text(_flat(text) + "\n", encoding="utf-8")


def _flat(text: str) -> str:
    """Put the innermost lists and objects on one line each."""
    return re.sub(r"([\[{])\s+([^\[\]{}]*?)\s+([\]}])", lambda m: m[1] + " ".join(m[2].split()) + m[3], text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
