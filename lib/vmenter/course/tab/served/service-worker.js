// Keeps a whole version of the tab in the browser: what is loaded once is there offline, and is never mixed with another.
// `FILES` is written in by the build: path → [SHA-256, bytes]. A file that is not what `FILES` says is not taken.
// Behind this stands JupyterLite's own service worker, which has the notebooks' drive; only that part of it is used.
const FILES = {};
const VERSION = "";

const NAME = `vmenter-lab-${VERSION}`;
const ROOT = new URL("./", location.href);
const AT_ONCE = 6; // downloads
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
const WHOLE = "whole"; // in the cache when all files are
const loading = new Map(); // path → what comes of it, while it is loaded

async function file(path) {
  const kept = await (await caches.open(NAME)).match(new URL(path, ROOT));
  if (kept) return kept;
  if (!loading.has(path)) loading.set(path, load(path).finally(() => loading.delete(path)));
  return (await loading.get(path)).clone();
}

async function load(path) {
  const url = new URL(path, ROOT);
  const answer = await fetch(url, { cache: "no-cache" });
  if (!answer.ok) throw new Error(`${path}: the server answers ${answer.status}`);
  const content = await answer.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== FILES[path][0]) throw new Error(`${path} is of another version`);
  const type = TYPES[path.split(".").at(-1)] ?? answer.headers.get("content-type") ?? "application/octet-stream";
  const whole = new Response(content, { headers: { "content-type": type } });
  await (await caches.open(NAME)).put(url, whole.clone());
  return whole;
}

async function isWhole() {
  return Boolean(await (await caches.open(NAME)).match(new URL(WHOLE, ROOT)));
}

// Load all files; `tell` hears of each: its path, and the bytes that are there by then.
async function all(tell = () => {}) {
  if (await isWhole()) return;
  const paths = Object.keys(FILES);
  let done = 0;
  async function next() {
    for (let path = paths.shift(); path !== undefined; path = paths.shift()) {
      await file(path);
      done += FILES[path][1];
      tell(path, done);
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  await (await caches.open(NAME)).put(new URL(WHOLE, ROOT), new Response(VERSION));
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

async function isAlone(asking) {
  const open = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  return open.every((one) => one.id === asking || !one.url.startsWith(ROOT.href));
}

self.addEventListener("message", (event) => {
  const [port] = event.ports;
  const answer = async () => {
    try {
      if (event.data === "load") {
        const total = Object.values(FILES).reduce((sum, [, bytes]) => sum + bytes, 0);
        await all((path, done) => port.postMessage({ path, done, total }));
        port.postMessage({ version: VERSION });
      }
      if (event.data === "begin") {
        const alone = await isAlone(event.source.id);
        if (alone) await self.skipWaiting();
        port.postMessage({ alone });
      }
    } catch (error) {
      port.postMessage({ wrong: error.message });
    }
  };
  event.waitUntil(answer());
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || !url.href.startsWith(ROOT.href) || url.pathname.includes("/api/drive")) return;
  const path = decodeURIComponent(url.href.split(/[?#]/)[0].slice(ROOT.href.length)).replace(/(^|\/)$/, "$1index.html");
  event.stopImmediatePropagation();
  event.respondWith(path in FILES ? file(path) : new Response("", { status: 404, statusText: "Not in the course" }));
});
