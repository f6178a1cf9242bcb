// A visit to the tab in Firefox, by WebDriver BiDi: node firefox.mjs FIREFOX ADDRESS MODULES WORK.json
// WORK: { path, start, execute, cells: [[id, code], …], kept, write, done, axe, twin, views: [[name, code, control, index, keys], …] }.
// Prints what happened as JSON: the outputs of each cell, what each view answered, and what was asked of whom.
import fs from "node:fs";
import { pathToFileURL } from "node:url";

const [firefox, address, modules, file] = process.argv.slice(2);
const { default: puppeteer } = await import(pathToFileURL(`${modules}/puppeteer-core/lib/puppeteer/puppeteer-core.js`).href);
const work = JSON.parse(fs.readFileSync(file, "utf8"));
const browser = await puppeteer.launch({ browser: "firefox", executablePath: firefox, headless: true, protocolTimeout: 400_000 });
const page = await browser.newPage();
await page.setViewport({ width: 1400, height: 1000 });
const hosts = new Set();
const mistakes = [];
page.on("request", (request) => /^https?:/.test(request.url()) && hosts.add(new URL(request.url()).host));
page.on("pageerror", (error) => mistakes.push(String(error)));
const begun = performance.now();
const found = { version: await browser.version(), cells: {}, views: {}, took: {} };
const took = (what) => (found.took[what] = Math.round(performance.now() - begun) / 1000);

async function open(path) {
  await page.goto(`${address}/${path}`, { waitUntil: "domcontentloaded" });
  await page.waitForFunction("window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel", { timeout: 300_000 });
  await page.evaluate(`(${work.start})()`);
  await run("1 + 1");
}

function run(code) {
  return page.evaluate(`(${work.execute})(${JSON.stringify([code, 240])})`);
}

// Operate a view; whether its words are others afterwards.
async function changed(twin, act) {
  const words = () => twin.evaluate((one) => one.textContent);
  const before = await words();
  await act();
  for (const end = performance.now() + 20_000; performance.now() < end; await new Promise((done) => setTimeout(done, 20)))
    if ((await words()) !== before) return true;
  return false;
}

async function views() {
  const name = "views";
  await page.evaluate(`(${work.write})(${JSON.stringify([`notebooks/${name}.ipynb`, work.views.map((one) => one[1])])})`);
  await page.waitForFunction(
    `(() => { const at = jupyterapp.shell.currentWidget; return at.title.label === "${name}.ipynb" && at.sessionContext?.session?.kernel?.status === "idle"; })()`,
    { timeout: 120_000 },
  );
  await page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')");
  await page.waitForFunction(`(${work.done})()`, { timeout: 120_000 });
  took("views drawn");
  await page.evaluate(work.axe);
  const cells = await page.$$(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell");
  for (const [number, [view, , control, index, keys]] of work.views.entries()) {
    const cell = cells[number];
    await cell.scrollIntoView();
    const twin = await cell.waitForSelector(work.twin);
    const controls = await cell.$$(control);
    const select = await controls[0].evaluate((one) => one.tagName === "SELECT");
    const mouse = () => (select ? controls[0].select(work.chosen[view]) : controls[index].click());
    const result = (found.views[view] = { mouse: await changed(twin, mouse) });
    const first = (await cell.$$(control))[0];
    await first.focus();
    result.keyboard = await changed(twin, async () => {
      for (const key of keys.split(" ")) await page.keyboard.press(key === "Space" ? " " : key);
    });
    result.axe = await (await cell.$(".vm")).evaluate(
      async (one, tags) =>
        (await globalThis.axe.run(one, { runOnly: tags, resultTypes: ["violations"] })).violations.map((rule) => `${rule.id}: ${rule.help}: ${rule.nodes[0].html.slice(0, 160)}`),
      work.tags,
    );
  }
}

try {
  await open(work.path);
  took("first answer");
  for (const [id, code] of work.cells) found.cells[id] = await run(code);
  took("cells");
  await views();
  took("views");
  await open(work.path);
  found.kept = await run(work.kept);
  took("reload");
} catch (error) {
  found.wrong = `${error.stack}; the page says: ${await page.evaluate("document.body?.innerText.slice(0, 400)").catch(() => "nothing")}`;
}
found.hosts = [...hosts];
found.mistakes = mistakes;
process.stdout.write(JSON.stringify(found));
await browser.close();
