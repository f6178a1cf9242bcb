// Python in the tab: what JupyterLite's kernel imports in Pyodide's place. It loads Pyodide, and lays vmenter there.
import { loadPyodide as load } from "./pyodide.mjs";

const SITE = "/lib/python3.14/site-packages";

export async function loadPyodide({ packages: _there, ...options }) {
  const site = fetch(new URL("site.bin", import.meta.url)).then((answer) => answer.arrayBuffer());
  const env = { HOME: "/home/pyodide", VMENTER_PROGRESS: "/drive/progress.json" };
  const py = await load({ ...options, env });
  lay(py.FS, await site);
  // Looking for garbage is slow here; a view's objects are many, and next to none of them are garbage.
  py.runPython("import gc, importlib; gc.set_threshold(100_000); importlib.invalidate_caches()");
  return py;
}

// The length of a list of paths and sizes, the list, and all content, as the whole course is packed (build.py).
function lay(files, content) {
  const length = new DataView(content).getUint32(0, true);
  const made = new Set();
  let at = 4 + length;
  for (const [path, size] of JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, length)))) {
    const folder = `${SITE}/${path}`.replace(/\/[^/]*$/, "");
    if (!made.has(folder)) files.mkdirTree(folder);
    made.add(folder);
    files.writeFile(`${SITE}/${path}`, new Uint8Array(content, at, size), { canOwn: true });
    at += size;
  }
}
