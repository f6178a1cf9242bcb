// The page that begins a visit: it sees to it that a whole version of the course is in the browser, and opens it.
import { copies } from "./copies.js";

const WORKER = "service-worker.js?enableCache=false"; // as JupyterLite itself asks for it
const FIRST = "00-start-here";
const NAME = /^\d\d-[\w-]+$/; // of a notebook
const CELL = /^cell-\d+$/;

const at = (id) => document.getElementById(id);

class Trouble extends Error {}

function stop(text) {
  at("loading").hidden = true;
  at("said").hidden = true;
  at("wrong").textContent = text;
  at("wrong").hidden = false;
  at("ways").hidden = false;
}

// --- what the course needs of a browser ----------------------------------------------------------------------

function keeps() {
  return new Promise((done) => {
    try {
      const asked = indexedDB.open("vmenter-lab-asked");
      asked.onsuccess = () => {
        asked.result.close();
        indexedDB.deleteDatabase("vmenter-lab-asked");
        done(true);
      };
      asked.onerror = () => done(false);
    } catch {
      done(false);
    }
  });
}

async function demandABrowser() {
  if (location.protocol === "file:")
    throw new Trouble(
      "A browser does not run the course from a file: in this folder type python3 -m http.server --bind 127.0.0.1 8000, and open http://127.0.0.1:8000/",
    );
  if (!isSecureContext)
    throw new Trouble("This address begins with http://, where a browser keeps nothing: open the same with https://.");
  const needed = ["WebAssembly", "BroadcastChannel", "DecompressionStream", "indexedDB", "caches"];
  if (needed.some((name) => !(name in globalThis)) || !("structuredClone" in globalThis))
    throw new Trouble(
      "This browser is too old to run the course: open it in a Chrome, Edge, Firefox or Safari of 2023 or newer.",
    );
  if (!("serviceWorker" in navigator) || !(await keeps()))
    throw new Trouble(
      "This window keeps nothing, as private windows do: open the course in a window that is not private.",
    );
}

// --- the version ---------------------------------------------------------------------------------------------

// Ask a service worker; what it answers last, or the trouble it has.
function ask(worker, question, tell = () => {}) {
  return new Promise((done, fail) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => {
      if (data.wrong) fail(new Trouble(`The course could not be loaded: ${data.wrong}.`));
      else if ("ready" in data) done(data.ready);
      else tell(data);
    };
    worker.postMessage(question, [port2]);
  });
}

// Where a newer version is there whole and no page of the old one is open but this, the newer one takes over.
async function newest(registration) {
  const { waiting } = registration;
  if (!waiting) return;
  const active = new Promise((done) => {
    waiting.addEventListener("statechange", () => done(), { once: true });
  });
  if (await ask(waiting, "take over")) await active;
}

async function keeper() {
  const workers = navigator.serviceWorker;
  try {
    await newest(await workers.register(WORKER));
  } catch (error) {
    if (!(await workers.getRegistration())?.active)
      // offline it may not be asked for anew, and is there all the same
      throw new Trouble(
        `This browser does not let the course keep itself here (${error.message}): allow this address to store data, or open it in another browser.`,
      );
  }
  return (await workers.ready).active;
}

function show({ arrived, total }) {
  at("loading").hidden = false;
  at("bar").value = arrived / total;
  at("amount").textContent =
    `${(arrived / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB: Python, JupyterLab, and the course`;
  at("step").textContent = arrived < total ? "" : "It is here, and is unpacked";
}

// --- where to ------------------------------------------------------------------------------------------------

function aim() {
  const asked = new URLSearchParams(location.search);
  const name = NAME.test(asked.get("notebook") ?? "") ? asked.get("notebook") : FIRST;
  const cell = CELL.test(asked.get("cell") ?? "") ? `&cell=${asked.get("cell")}` : "";
  return `lab/index.html?path=notebooks/${name}.ipynb${cell}`;
}

async function main() {
  await demandABrowser();
  const worker = await keeper();
  // JupyterLite takes a service worker of another version for an old one of its own; this one sees to versions itself.
  localStorage.setItem(`${worker.scriptURL}-version`, "1");
  await ask(worker, "begin", show);
  const said = await copies();
  if (said.length) sessionStorage.setItem("vmenter-lab-said", JSON.stringify(said));
  at("step").textContent = "The notebook opens";
  location.replace(aim());
}

main().catch((error) => {
  if (error instanceof Trouble) stop(error.message);
  else stop(`The course could not be loaded (${error.message}): try again, or in another browser.`);
  console.error(error);
});
