// Python in the tab: what JupyterLite's kernel imports in Pyodide's place. It loads Pyodide, and lays vmenter there.
import { loadPyodide as load } from "./pyodide.mjs";

export async function loadPyodide({ packages: _there, ...options }) {
  const site = fetch(new URL("site.zip", import.meta.url)).then((answer) => answer.arrayBuffer());
  const env = { HOME: "/home/pyodide", VMENTER_PROGRESS: "/drive/progress.json" };
  const py = await load({ ...options, env });
  py.unpackArchive(await site, "zip", { extractDir: "/lib/python3.14/site-packages" });
  return py;
}
