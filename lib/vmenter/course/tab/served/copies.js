// The learner's copies in the browser's storage, brought up to date as `vmenter lab` does it on a desktop (copies.py):
// what was not touched is replaced, what was is kept with the new one beside it. What a copy was when the learner began
// with it stands as a hash in localStorage; the build writes those of a version into static/copies.json.
const KEPT_AS = "vmenter-lab-copies";
const STORAGE = "vmenter-lab"; // JupyterLite's database, and in it its table of notebooks and files
const FILES = "files";

// JupyterLite's table, or null where nothing was ever kept. Asking must not make a database: it would lack its tables.
function storage() {
  return new Promise((done, fail) => {
    const asked = indexedDB.open(STORAGE);
    asked.onupgradeneeded = () => asked.transaction.abort();
    asked.onerror = () => (asked.error?.name === "AbortError" ? done(null) : fail(asked.error));
    asked.onsuccess = () => done(asked.result);
  });
}

function answered(request) {
  return new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}

// A hash of what a learner can change. Opening a notebook changes bytes of it, but no cell.
async function markOf({ format, content }) {
  let bytes;
  if (content?.cells) {
    const whole = (source) => (Array.isArray(source) ? source.join("") : source);
    const cells = content.cells.map((one) => [one.cell_type, whole(one.source), one.outputs?.length ?? 0]);
    bytes = new TextEncoder().encode(JSON.stringify(cells));
  } else if (format === "base64") bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  else bytes = new TextEncoder().encode(typeof content === "string" ? content : JSON.stringify(content));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The course's own file as JupyterLite keeps one, under another name.
async function asKept(path, name, old) {
  const answer = await fetch(`files/${path}`);
  const notebook = path.endsWith(".ipynb");
  const content = notebook ? await answer.json() : await answer.text();
  const now = new Date().toISOString();
  const fresh = { name: name.split("/").at(-1), path: name, created: now, last_modified: now };
  return { ...old, ...fresh, content, size: JSON.stringify(content).length };
}

function beside(path, taken) {
  const [, start, ending] = /^(.*?)(\.[^./]*)?$/.exec(path);
  const today = new Date();
  const day = [today.getFullYear(), today.getMonth() + 1, today.getDate()].map((one) => String(one).padStart(2, "0"));
  for (let number = 1; ; number++) {
    const name = `${start}-new-${day.join("-")}${number > 1 ? `-${number}` : ""}${ending ?? ""}`;
    if (!taken.has(name)) return name;
  }
}

// Bring the copies up to date, if this version has not done so; what is to be said of it, each short enough for a toast.
export async function copies() {
  const { version, marks } = await (await fetch("static/copies.json")).json();
  const known = JSON.parse(localStorage.getItem(KEPT_AS) ?? "{}");
  if (known.version === version) return [];
  const began = known.marks ?? {};
  const database = await storage();
  const said = database ? await renewed(database, marks, began) : [];
  database?.close();
  localStorage.setItem(KEPT_AS, JSON.stringify({ version, marks }));
  return said;
}

async function renewed(database, marks, began) {
  if (!database.objectStoreNames.contains(FILES)) return [];
  const table = (mode) => database.transaction(FILES, mode).objectStore(FILES);
  const taken = new Set(await answered(table("readonly").getAllKeys()));
  const said = [];
  const replaced = [];
  for (const path of new Set([...Object.keys(marks), ...Object.keys(began)])) {
    if (!taken.has(path)) continue;
    const own = await answered(table("readonly").get(path));
    const mark = await markOf(own);
    const name = path.split("/").at(-1);
    if (mark === marks[path]) continue;
    if (mark === began[path]) {
      await answered(table("readwrite").delete(path)); // the course's own then stands there
      replaced.push(name);
    } else if (!marks[path]) said.push(`${name} is yours and stays; the course has it no longer.`);
    else if (marks[path] !== began[path] && typeof own.content !== "undefined" && own.format !== "base64") {
      const fresh = await asKept(path, beside(path, taken), own);
      await answered(table("readwrite").put(fresh, fresh.path));
      said.push(`${name} is yours and stays; the new one is ${fresh.name}.`);
    }
  }
  const some = replaced.length > 2 ? `${replaced.length} notebooks` : replaced.join(" and ");
  return some ? [`Brought up to date: ${some}.`, ...said] : said;
}
