// A visit to the tab in Firefox, by WebDriver BiDi: node firefox.mjs FIREFOX ADDRESS < WORK.json
// WORK: { path, cells: [[id, code], …] }. Prints what happened as JSON: the outputs of each cell, and what was asked of whom.
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const [firefox, address, modules] = process.argv.slice(2);
const { default: puppeteer } = await import(pathToFileURL(`${modules}/puppeteer-core/lib/puppeteer/puppeteer-core.js`).href);
const work = JSON.parse(fs.readFileSync(0, "utf8"));
const browser = await puppeteer.launch({ browser: "firefox", executablePath: firefox, headless: true, protocolTimeout: 400_000 });
const page = await browser.newPage();
const hosts = new Set();
const mistakes = [];
page.on("request", (request) => /^https?:/.test(request.url()) && hosts.add(new URL(request.url()).host));
page.on("pageerror", (error) => mistakes.push(String(error)));

async function open(path) {
  const start = performance.now();
  await page.goto(`${address}/${path}`, { waitUntil: "domcontentloaded" });
  await page.waitForFunction("window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel", { timeout: 300_000 });
  await page.evaluate(`(${work.start})()`);
  await run("1 + 1");
  return (performance.now() - start) / 1000;
}

function run(code) {
  return page.evaluate(`(${work.execute})(${JSON.stringify([code, 240])})`);
}

const found = { version: await browser.version(), cells: {} };
try {
  found.first = await open(work.path);
  for (const [id, code] of work.cells) found.cells[id] = await run(code);
  found.again = await open(work.path);
  found.kept = await run(work.kept);
  found.words = await page.evaluate("document.body.innerText.slice(0, 400)");
} catch (error) {
  found.wrong = `${error.message}; the page says: ${await page.evaluate("document.body?.innerText.slice(0, 400)").catch(() => "nothing")}`;
}
found.hosts = [...hosts];
found.mistakes = mistakes;
process.stdout.write(JSON.stringify(found));
await browser.close();
