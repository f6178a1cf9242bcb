"""Make the package vmenter_parts: what a browser's tab has in place of native libraries. `parts.py FOLDER`

Decoder and layout come from npm, pinned in .tab/package-lock.json and fetched once; the assembler is committed. The
same pins give the same bytes.
"""

import shutil
import sys
from pathlib import Path

from js import fetch, node

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".tab"
MODULES = HOME / "node_modules"
PACKAGE = "vmenter_parts"
ABOUT = '"""WebAssembly for VM-Enter Lab in a browser\'s tab; each part has its own licence, in `licences`."""\n'
CAPSTONE, GRAPHVIZ = MODULES / "@alexaltea" / "capstone-js", MODULES / "@hpcc-js" / "wasm-graphviz"
FILES = {
    "capstone.wasm": CAPSTONE / "dist" / "capstone.wasm",
    "as.wasm": HOME / "as" / "as.wasm",
    "as.js": HOME / "as" / "as.js",
    "licences/capstone.txt": HOME / "capstone-licence.txt",
    "licences/capstone-js.txt": CAPSTONE / "LICENSE",
    "licences/graphviz.txt": HOME / "graphviz-licence.txt",
    "licences/wasm-graphviz.txt": GRAPHVIZ / "LICENSE",
    "licences/as.txt": HOME / "as" / "COPYING3",
    "licences/as-source.md": HOME / "as" / "README.md",
}


def pyodide() -> Path:
    """Return the folder of the tab's Python, as npm has it."""
    fetch(HOME, "what a browser's tab is made of (once; some 20 MB)")
    return MODULES / "pyodide"


def make(folder: Path) -> Path:
    """Write the package into `folder`, anew, and return its place."""
    pyodide()
    package = folder / PACKAGE
    shutil.rmtree(package, ignore_errors=True)
    (package / "licences").mkdir(parents=True)
    (package / "__init__.py").write_text(ABOUT, encoding="utf-8")
    for name, source in FILES.items():
        shutil.copyfile(source, package / name)
    node(HOME / "take.mjs", package)
    return package


if __name__ == "__main__":
    print(make(Path(sys.argv[1]).resolve()))
