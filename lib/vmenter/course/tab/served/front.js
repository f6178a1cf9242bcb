// The page that begins a visit: it sees to it that a whole version of the course is in the browser, and opens it.
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
  if (!isSecureContext)
    throw new Trouble("This address begins with http://, where a browser keeps nothing: open the same with https://.");
  const needed = ["WebAssembly", "BroadcastChannel", "DecompressionStream", "indexedDB", "caches"];
  if (needed.some((name) => !(name in globalThis)) || !("structuredClone" in globalThis))
    throw new Trouble("This browser is too old to run the course: open it in a Chrome, Edge, Firefox or Safari of 2023 or newer.");
  if (!("serviceWorker" in navigator) || !(await keeps()))
    throw new Trouble("This window keeps nothing, as private windows do: open the course in a window that is not private.");
}

// --- the version ---------------------------------------------------------------------------------------------

function ask(worker, question, tell = () => {}) {
  return new Promise((done, fail) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => {
      if (data.wrong) fail(new Trouble(data.wrong));
      else if (data.path) tell(data);
      else done(data);
    };
    worker.postMessage(question, [port2]);
  });
}

function controlled() {
  const workers = navigator.serviceWorker;
  return new Promise((done) => {
    if (workers.controller) done(workers.controller);
    else workers.addEventListener("controllerchange", () => done(workers.controller), { once: true });
  });
}

// Where a newer version is there whole and no page of the old one is open but this, the newer one takes over.
async function newest(registration) {
  if (!registration.waiting || !navigator.serviceWorker.controller) return;
  const changed = new Promise((done) => {
    navigator.serviceWorker.addEventListener("controllerchange", done, { once: true });
  });
  const { alone } = await ask(registration.waiting, "begin");
  if (alone) await changed;
}

async function worker() {
  try {
    const registration = await navigator.serviceWorker.register(WORKER);
    await newest(registration);
    await navigator.serviceWorker.ready;
  } catch (error) {
    if (navigator.serviceWorker.controller) return navigator.serviceWorker.controller; // offline, as it may be
    throw new Trouble(
      `This browser does not let the course keep itself here (${error.message}): allow this address to store data, or open it in another browser.`,
    );
  }
  return controlled();
}

function show({ path, done, total }) {
  at("loading").hidden = false;
  at("bar").value = done / total;
  at("amount").textContent = `${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`;
  at("file").textContent = path;
}

// --- where to ------------------------------------------------------------------------------------------------

function aim() {
  const asked = new URLSearchParams(location.search);
  const name = NAME.test(asked.get("notebook") ?? "") ? asked.get("notebook") : FIRST;
  const cell = CELL.test(asked.get("cell") ?? "") ? `#${asked.get("cell")}` : "";
  return `lab/index.html?path=notebooks/${name}.ipynb${cell}`;
}

async function main() {
  await demandABrowser();
  const keeper = await worker();
  // JupyterLite takes a service worker of another version for an old one of its own; this one sees to versions itself.
  localStorage.setItem(`${keeper.scriptURL}-version`, "1");
  await ask(keeper, "load", show);
  at("file").textContent = "Opening the notebook";
  location.replace(aim());
}

main().catch((error) => {
  if (error instanceof Trouble) stop(error.message);
  else stop(`The course could not be loaded (${error.message}): try again, or in another browser.`);
  console.error(error);
});
