// Keeps a whole version of the course in the browser: it comes as one file, is unpacked here, and answers from then on,
// with or without a network. No file of one version is ever given beside a file of another.
// Behind this stands JupyterLite's own service worker, which has the notebooks' drive; only that part of it is used.
const PACK = { file: "", sha256: "", bytes: 0 }; // the build writes it in

const NAME = `vmenter-lab-${PACK.sha256}`;
const ROOT = new URL("./", location.href);
const WHOLE = new URL("whole", ROOT); // in the cache when all files are
const OWN = ["pages/", "service-worker.js", PACK.file]; // of the host: what no version holds
const TYPES = {
  css: "text/css",
  html: "text/html; charset=utf-8",
  ipynb: "application/json",
  js: "text/javascript",
  json: "application/json",
  md: "text/markdown; charset=utf-8",
  mjs: "text/javascript",
  svg: "image/svg+xml",
  wasm: "application/wasm",
};
let coming = null; // path → bytes, or what will be that, from the first question until all is in the cache
let arrived = 0; // bytes of the pack

function response(path, bytes) {
  return new Response(bytes, {
    headers: { "content-type": TYPES[path.split(".").at(-1)] ?? "application/octet-stream" },
  });
}

async function received() {
  const answer = await fetch(new URL(PACK.file, ROOT), { cache: "no-store" });
  if (answer.status === 404) throw new Error("a newer version has just been put in its place; load this page anew");
  if (!answer.ok) throw new Error(`the server answers ${answer.status}; try again later`);
  const parts = [];
  arrived = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    arrived += value.length;
  }
  const pack = new Blob(parts);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await pack.arrayBuffer()));
  const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== PACK.sha256) throw new Error("not all of it arrived, or not unchanged; load this page anew");
  return pack;
}

// The pack, unpacked, begins with the length of a list of names and sizes, and that list; all content follows.
async function unpacked(pack) {
  const stream = pack.stream().pipeThrough(new DecompressionStream("gzip"));
  const content = await new Response(stream).arrayBuffer();
  const length = new DataView(content).getUint32(0, true);
  let at = 4 + length;
  const files = new Map();
  for (const [path, size] of JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, length)))) {
    files.set(path, new Uint8Array(content, at, size));
    at += size;
  }
  return files;
}

async function keep(files) {
  const cache = await caches.open(NAME);
  await Promise.all([...files].map(([path, bytes]) => cache.put(new URL(path, ROOT), response(path, bytes))));
  await cache.put(WHOLE, new Response(""));
}

// All files: in memory at once, in the cache as soon as may be.
function files() {
  coming ??= received()
    .then(unpacked)
    .catch((error) => {
      coming = null;
      throw error;
    });
  return coming;
}

async function isWhole() {
  return Boolean(await (await caches.open(NAME)).match(WHOLE));
}

async function file(path) {
  const kept = await (await caches.open(NAME)).match(new URL(path, ROOT));
  if (kept) return kept;
  const bytes = (await isWhole()) ? undefined : (await files()).get(path);
  return bytes ? response(path, bytes) : new Response("", { status: 404, statusText: "Not in the course" });
}

// Have all of it kept here. `ready` is told when there is enough to begin.
async function all(ready = () => {}) {
  if (!(await isWhole())) {
    const found = await files();
    ready();
    await keep(found);
    coming = null;
  }
  ready();
}

async function forgetOthers() {
  const old = (await caches.keys()).filter((name) => name.startsWith("vmenter-lab-") && name !== NAME);
  await Promise.all(old.map((name) => caches.delete(name)));
}

// A first version starts at once, and is loaded while the visitor looks on. A later one waits until it is whole, and
// then until no page of the course is open but the one that begins it.
self.addEventListener("install", (event) => {
  event.stopImmediatePropagation();
  event.waitUntil(self.registration.active ? all() : self.skipWaiting());
});

self.addEventListener("activate", (event) => {
  event.stopImmediatePropagation();
  event.waitUntil(Promise.all([forgetOthers(), self.clients.claim()]));
});

async function begin(port) {
  const telling = setInterval(() => port.postMessage({ arrived, total: PACK.bytes }), 100);
  try {
    await self.clients.claim();
    await all(() => port.postMessage({ ready: PACK.sha256 }));
  } catch (error) {
    port.postMessage({ wrong: error.message });
  }
  clearInterval(telling);
}

const pages = () => self.clients.matchAll({ type: "window", includeUncontrolled: true });

async function takeOver(port, asking) {
  const alone = (await pages()).every(
    (one) => one.id === asking || !one.url.startsWith(ROOT.href) || one.url.startsWith(`${ROOT}pages/`),
  );
  if (alone) await self.skipWaiting();
  port.postMessage({ ready: alone });
}

self.addEventListener("message", (event) => {
  const [port] = event.ports;
  if (event.data === "begin") event.waitUntil(begin(port));
  if (event.data === "take over") event.waitUntil(takeOver(port, event.source.id));
});

// What a kernel is told whose page is closed while it asks for a file, or for input.
async function closed(waits) {
  do await new Promise((done) => setTimeout(done, 1000));
  while (waits() && (await pages()).some((one) => one.url.startsWith(`${ROOT}lab/`)));
  return new Response("", { status: 503, statusText: "The page is closed" });
}

// JupyterLite waits for a page's answer for ever, and a worker that waits keeps a newer version out for minutes.
function respondWhileOpen(event) {
  const respond = event.respondWith.bind(event);
  event.respondWith = (answer) => {
    let waits = true;
    const given = Promise.resolve(answer).finally(() => {
      waits = false;
    });
    respond(Promise.race([given, closed(() => waits)]));
  };
}

self.addEventListener("fetch", (event) => {
  const { href, pathname } = new URL(event.request.url);
  if (!href.startsWith(ROOT.href)) return;
  if (/\/api\/(drive|stdin)/.test(pathname)) return respondWhileOpen(event);
  if (event.request.method !== "GET") return;
  event.stopImmediatePropagation();
  const path = decodeURIComponent(href.split(/[?#]/)[0].slice(ROOT.href.length)).replace(/(^|\/)$/, "$1index.html");
  if (!OWN.some((own) => path.startsWith(own))) event.respondWith(file(path));
});
