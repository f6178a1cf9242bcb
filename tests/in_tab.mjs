// node in_tab.mjs PYODIDE SCRIPT RESULT FOLDER=PLACE…: run Python in the tab's Python, with folders of this machine put
// there. The script's `given` is the JSON beside it, and what it leaves in `result` goes to RESULT as JSON.
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const [pyodide, script, result, ...folders] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`).href);
const py = await loadPyodide({ indexURL: `${pyodide}/` });
for (const one of folders) {
  const [from, place] = one.split("=");
  py.FS.mkdirTree(place);
  py.mountNodeFS(place, from);
}
py.globals.set("text", fs.readFileSync(`${script}.json`, "utf8"));
py.runPython("import json, sys; sys.path[:0] = ['/here/lib', '/here/parts', '/here/site']; given = json.loads(text)");
py.runPython(fs.readFileSync(script, "utf8"));
fs.writeFileSync(result, py.runPython("json.dumps(result)"));
