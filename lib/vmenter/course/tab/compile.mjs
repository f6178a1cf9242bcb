// Byte-compile Python for the tab, by the tab's own Python: node compile.mjs PYODIDE IN.zip OUT.zip
// Each `.py` in IN.zip becomes a `.pyc` in OUT.zip that never asks for its source; both are stored, not packed.
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const [pyodide, from, to] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`).href);
const py = await loadPyodide({ indexURL: `${pyodide}/` });
py.FS.writeFile("/from.zip", fs.readFileSync(from));
py.runPython(`
from importlib._bootstrap_external import _code_to_hash_pyc
from zipfile import ZipFile, ZipInfo

with ZipFile("/from.zip") as sources, ZipFile("/to.zip", "w") as compiled:
    for name in sources.namelist():
        code = compile(sources.read(name), "/" + name, "exec", dont_inherit=True, optimize=0)
        compiled.writestr(ZipInfo(name + "c"), _code_to_hash_pyc(code, bytes(8), False))
`);
fs.writeFileSync(to, py.FS.readFile("/to.zip"));
