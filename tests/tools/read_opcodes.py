"""Write lib/vmenter/opcodes.json: what the decoders of real kernels know, read from their tables in memory.

    python tests/tools/read_opcodes.py FOLDER...

Each folder holds a kernel's vmlinuz and System.map.gz and is named for its version. The layout of an entry is that
of arch/x86/include/asm/inat.h: to v6.10 four bits for prefixes, since then five.
"""

import json
import struct
import sys
from pathlib import Path

from vmenter.code.image import Image, load
from vmenter.code.symbols import Symbols
from vmenter.patching.features import parse_version

OUT = Path(__file__).parents[2] / "lib" / "vmenter" / "code" / "opcodes.json"
IMMEDIATES = ("", "b", "w", "d", "q", "p", "z", "v")
FLAGS = "mlso~VXERrSn"  # r: a variant behind REX2, which changes no length
NAMES = ("", "0f", "0f38", "0f3a")


class Tables:
    """The tables of one kernel, as text."""

    def __init__(self, folder: Path) -> None:
        self.kernel = folder.name.partition("-")[0]
        self.image: Image = load(folder / "vmlinuz")
        self.symbols = Symbols.from_text((folder / "System.map.gz").read_bytes(), "System.map.gz")
        version = parse_version(self.kernel)
        self.prefix_bits = 5 if version >= (6, 11) else 4
        self.evex_maps = 7 if version >= (5, 18) else 3
        self.rex2 = version >= (6, 11)
        self.xop = self.symbols.get("inat_xop_tables") is not None

    def entry(self, value: int) -> str:
        """Return one entry in letters."""
        at = self.prefix_bits + 2  # behind the prefix and the escape
        group, immediate, flags = value >> at & 31, value >> at + 5 & 7, value >> at + 8
        letters = IMMEDIATES[immediate] + "".join(
            c for bit, c in enumerate(FLAGS) if flags >> bit & 1 and c != "r"
        )
        return (letters or "-") + (f"G{group}" if group else "")

    def table(self, address: int, size: int = 256) -> str | None:
        """Return a table in letters, equal entries in a row counted; None where there is none."""
        if not address:
            return None
        entries = [self.entry(value) for value in struct.unpack(f"<{size}I", self.image.read(address, 4 * size))]
        runs: list[list] = []
        for one in entries:
            if runs and runs[-1][0] == one:
                runs[-1][1] += 1
            else:
                runs.append([one, 1])
        return " ".join(one if times == 1 else f"{one}*{times}" for one, times in runs)

    def tables(self, symbol: str, row: int, count: int = 4, size: int = 256) -> list[str | None]:
        """Return a row of an array of pointers to tables."""
        start = self.symbols.get(symbol).address + 8 * row * count
        return [self.table(self.image.pointer(start + 8 * column), size) for column in range(count)]

    def maps(self) -> dict[str, list[str | None]]:
        """Return all maps of opcodes."""
        found = {"": [self.table(self.symbols.get("inat_primary_table").address)]}
        found |= {name: self.tables("inat_escape_tables", row) for row, name in enumerate(NAMES) if name}
        for row, name in enumerate(NAMES):
            if name and self.tables("inat_avx_tables", row) != found[name]:
                sys.exit(f"{self.kernel}: VEX and escapes differ in map {name}")
        found |= {str(row): self.tables("inat_avx_tables", row) for row in range(4, 8)}
        if self.xop:
            found |= {f"xop{row + 8}": self.tables("inat_xop_tables", row, 1) for row in range(3)}
        return {name: tables for name, tables in found.items() if any(tables)}

    def groups(self) -> dict[str, list[str | None]]:
        """Return all groups."""
        found = {str(row): self.tables("inat_group_tables", row, size=8) for row in range(32)}
        return {name: tables for name, tables in found.items() if any(tables)}


def changed(now: dict, before: dict) -> dict:
    """Return what is new or other."""
    return {key: value for key, value in now.items() if before.get(key) != value}


def main(folders: list[str]) -> None:
    """Read, oldest kernel first, and write."""
    kernels, maps, groups = [], {}, {}
    for one in sorted((Tables(Path(folder)) for folder in folders), key=lambda t: parse_version(t.kernel)):
        new_maps, new_groups = one.maps(), one.groups()
        kernels.append(
            {
                "kernel": one.kernel, "evex_maps": one.evex_maps, "rex2": one.rex2, "xop": one.xop,
                "maps": changed(new_maps, maps), "groups": changed(new_groups, groups),
            }
        )  # fmt: skip
        maps, groups = maps | new_maps, groups | new_groups
    OUT.write_text(json.dumps({"kernels": kernels}, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1:])
