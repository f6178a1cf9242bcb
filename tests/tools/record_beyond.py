"""Record what notebooks 09 and 10 show of real kernels: what inspection and audit tell of kvm-intel.ko; a census of
all their alternatives, and runs of AMD's stubs.

    python tests/tools/record_beyond.py FOLDER

FOLDER holds a folder for each kernel, named by its version: vmlinuz, kvm-intel.ko.xz, kvm-amd.ko.xz, System.map.gz.
The census needs the last one; inspection only vmlinuz and kvm-intel.ko. Written are lib/vmenter/kernels/recorded.json and, for the test that counts again without a System.map, the few symbols it
needs: tests/data/census-VERSION.map.
"""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vmenter.code.image import Image, load
from vmenter.code.symbols import Symbols
from vmenter.code.unpack import unpack
from vmenter.emulator.memory import LAB_BASE
from vmenter.kernels import amd_stub, census, module_era
from vmenter.kernels.inspect import inspect_image
from vmenter.kernels.inspect_text import report_lines, to_json
from vmenter.story import audit_text
from vmenter.story.audit import audit
from vmenter.story.space import DEFAULT

MODULES = ("kvm-intel.ko", "kvm-amd.ko")
DATA = Path(__file__).parents[1] / "data"
BANNER = re.compile(rb"Linux version [^\n]{1,400}? Debian (\S+) \((\d{4}-\d\d-\d\d)\)")
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


def inspected(folder: Path) -> dict[str, Any]:
    """Inspect and audit a kvm-intel.ko; its package and date come from the banner of the kernel beside it."""
    image = module(folder, "kvm-intel.ko")
    report = inspect_image(image, "kvm-intel.ko")
    era = module_era.of_module(image, "kvm-intel.ko")
    told = audit_text.to_json(DEFAULT, [audit(era, DEFAULT)])
    counted = census.take(image)
    package, built = banner(folder / "vmlinuz")
    return {
        "version": report.version,
        "package": package,
        "built": built,
        "entries": counted.entries,
        "sites": counted.sites,
        "configurations": told["configurations"],
        "report": to_json(report),
        "audit": told["eras"][0],
        "text": "\n".join(report_lines(report)),
    }


def banner(path: Path) -> tuple[str, str]:
    """Return package version and date, which Debian's kernels name: "… Debian 6.12.117-1 (2026-11-12)"."""
    found = BANNER.search(unpack(path.read_bytes(), str(path)))
    if found is None:
        sys.exit(f"{path}: no banner of a Debian kernel in it")
    return found[1].decode("ascii"), found[2].decode("ascii")


def main(root: Path) -> None:
    found: dict[str, Any] = {}
    for path in sorted(root.glob("*/kvm-intel.ko*")):
        if (path.parent / "vmlinuz").exists():
            found[path.parent.name] = {"kvm-intel": inspected(path.parent)}
    folders = sorted(path.parent for path in root.glob("*/System.map.gz"))
    if not folders:
        sys.exit(f"no kernels with a System.map.gz in {root}; say where they are: make records KERNELS=FOLDER")
    for folder in folders:
        image, symbols = kernel(folder)
        (DATA / f"census-{folder.name}.map").write_text(symbols, encoding="ascii")
        counted = {census.KERNEL: census.take(image)}
        counted |= {name: census.take(module(folder, name)) for name in MODULES}
        found.setdefault(folder.name, {}).update(
            {
                "census": {name: one.to_json() | {"file": name} for name, one in counted.items()},
                "stubs": [asdict(run) for run in amd_stub.stub_runs(module(folder, "kvm-amd.ko"))],
            }
        )
    text = json.dumps(found, indent=1)
    # One line for each small list or object: a change shows where it is.
    census.RECORD.write_text(_flat(text) + "\n", encoding="utf-8")


def _flat(text: str) -> str:
    """Put the innermost lists and objects on one line each."""
    return re.sub(r"([\[{])\s+([^\[\]{}]*?)\s+([\]}])", lambda m: m[1] + " ".join(m[2].split()) + m[3], text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
