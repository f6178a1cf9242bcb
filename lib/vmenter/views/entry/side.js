// @ts-check
// One era in EntryExplorer: its panels, and what stands in them.

import { chip, drawChip, drawPairs, list, make, makeSvg, say, sayName } from "../common.js";
import { begin, drawFlow, glance, resize, SIZES, seek } from "./drawing.js";

const FOLDED = ["selection", "events", "verdict", "flow", "buffers"];
const SHAPES = {
  V: "9,2 23,2 30,9 30,23 23,30 9,30 2,23 2,9",
  F: "9,2 23,2 30,9 30,23 23,30 9,30 2,23 2,9",
  E: "2,3 30,3 30,20 16,30 2,20",
  D: "16,2 31,29 1,29",
  L: "2,8 30,8 30,24 2,24",
  W: "2,8 30,8 30,24 2,24",
  "\u2205": "16,1 31,16 16,31 1,16",
};

function shape(letter) {
  return makeSvg(
    "svg",
    { viewBox: "0 0 32 32", class: "vm-shape", "aria-hidden": "true" },
    makeSvg("polygon", { points: SHAPES[letter] }),
    makeSvg("text", { x: 16, y: letter === "D" ? 25 : 21, "text-anchor": "middle" }, letter),
  );
}

// A sentence in which VM-Enter is never broken.
function tell(element, text) {
  if (element.dataset.told === text) return;
  element.dataset.told = text;
  element.replaceChildren(
    ...text.split(/(VM-Enter)/).map((part, at) => (at % 2 ? make("span", { className: "vm-whole" }, part) : part)),
  );
}

function plural(number, what, many = `${what}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? what : many}`;
}

function panel(title, className, ...content) {
  return make(
    "details",
    { className: `vm-panel ${className}`, open: true },
    make("summary", {}, make("h4", {}, title)),
    ...content,
  );
}

/**
 * Make the panels of one era.
 * @param {string} id of the view
 * @param {number} index
 * @param {(change: (parts: Record<string, Part>) => void) => void} inStep do the same in the panels of every era
 */
export function makeSide(id, index, inStep) {
  /** @type {Record<string, Part>} */
  const parts = { shown: {} };
  const node = (name, tag, properties = {}, ...children) => (parts[name] = make(tag, properties, ...children));
  node(
    "head",
    "header",
    { className: "vm-panel vm-sidehead" },
    node("badge", "span", { className: "vm-badge" }),
    make("div", {}, node("title", "h3"), node("about", "p"), node("also", "p")),
  );
  parts.selection = panel(
    "What boot selects, and why",
    "vm-selection",
    make(
      "div",
      { className: "vm-halves" },
      node("why", "ol", { className: "vm-why" }),
      make(
        "div",
        {},
        node("on", "dl", { className: "vm-pairs" }),
        make("h5", {}, "/sys/devices/system/cpu/vulnerabilities"),
        node("sysfs", "dl", { className: "vm-pairs vm-sysfs" }),
      ),
    ),
  );
  parts.events = panel(
    "On the way to VM-Enter",
    "vm-events",
    node("strip", "ol", { className: "vm-strip" }),
    node("nothing", "p", { className: "vm-soft" }),
  );
  parts.verdict = panel(
    "The promise",
    "vm-verdict",
    node("promise", "p"),
    node("reason", "p", { className: "vm-reason" }),
    node("facts", "dl", { className: "vm-pairs" }),
    node("notes", "ul", { className: "vm-notes" }),
  );
  node("way", "p", { className: "vm-hidden", id: `${id}-way-${index}` });
  node("canvas", "div", { className: "vm-canvas", role: "region", tabIndex: 0, "aria-describedby": parts.way.id });
  new ResizeObserver(() => {
    glance(parts);
    begin(parts);
  }).observe(parts.canvas);
  new ResizeObserver(() => turn(parts)).observe(parts.events);
  parts.flow = panel(
    "The way through the code",
    "vm-flow",
    node(
      "sizes",
      "div",
      { className: "vm-chips", role: "group", "aria-label": "Size of the drawing" },
      ...SIZES.map(([size, text], at) => {
        const label = chip("radio", {
          name: `${id}-size-${index}`,
          onchange: () => inStep((one) => resize(one, size)),
        });
        drawChip(label, at === 0, text);
        return label;
      }),
    ),
    parts.way,
    parts.canvas,
  );
  node("lines", "tbody", { role: "rowgroup" });
  parts.buffers = panel(
    "What may be left in the CPU\u2019s buffers: a model",
    "vm-buffers",
    node("left", "p"),
    make(
      "div",
      { className: "vm-halves" },
      make(
        "table",
        {
          role: "table",
          className: "vm-lines",
          "aria-label": "Entries of the model, one row a cache line of 64 bytes, one cell 8 bytes",
        },
        parts.lines,
      ),
      make(
        "div",
        {},
        node("letters", "ul", { className: "vm-letters", "aria-label": "Letters: whose value it is" }),
        node(
          "valuesMore",
          "details",
          { className: "vm-fine" },
          make("summary", {}, "Values, one by one"),
          node("values", "ul"),
        ),
        make(
          "details",
          { className: "vm-fine" },
          make("summary", {}, "What this model leaves out"),
          node("leaves", "ul"),
          make("p", {}, "It is no measurement, and no verdict rests on it."),
        ),
      ),
    ),
  );
  for (const name of FOLDED) {
    parts[name].firstChild.addEventListener("click", (/** @type {Event} */ event) => {
      event.preventDefault();
      const open = !parts[name].open;
      inStep((one) => {
        one[name].open = open;
      });
    });
  }
  return parts;
}

/**
 * Fold the panels of one era, and size its drawing, as those of another.
 * @param {Record<string, Part>} parts
 * @param {Record<string, Part>} like
 */
export function align(parts, like) {
  for (const name of FOLDED) parts[name].open = like[name].open;
  if (like.canvas.dataset.size) resize(parts, like.canvas.dataset.size);
}

function drawSelection(parts, { why, on: chosen, sysfs }) {
  list(
    parts.why,
    why,
    () =>
      make("li", {}, make("b"), make("span", { className: "vm-outcome-word" }), make("span", { className: "vm-soft" })),
    (item, one) => {
      sayName(item.children[0], one.subject);
      say(item.children[1], one.outcome);
      say(item.children[2], one.reason);
    },
  );
  drawPairs(parts.on, [
    ["features", chosen.features.join(" ") || "none"],
    ["static keys", chosen.keys.join(" ") || "none"],
    ["L1D flush", chosen.l1d_flush],
    ...(chosen.smt_off ? [["SMT", "switched off"]] : []),
  ]);
  drawPairs(
    parts.sysfs,
    sysfs.map((one) => [one.flaw, one.line ?? "(no such file yet)"]),
  );
}

function drawEvents(parts, { start, items, nothing, owed }, seeks) {
  const all = items.flatMap((item) => [{ gap: item }, item]);
  if (owed) all.splice(1, 0, { missing: true }, { gap: null });
  parts.many = items.length > 3;
  parts.strip.replaceChildren(
    make("li", { className: "vm-start" }, make("code", {}, start)),
    ...all.map((one) => (one.missing ? missing() : "gap" in one ? gap(one.gap) : happened(parts, one, seeks))),
  );
  parts.turning = true;
  say(parts.nothing, nothing ?? "");
  parts.nothing.hidden = !nothing || owed;
}

/**
 * Let the strips that are new read from top to bottom where they have many events, or are wider than their panels.
 * All are measured at once, so that the page is laid out once.
 * @param {Record<string, Part>[]} sides
 */
export function settle(sides) {
  const turning = sides.filter((parts) => parts.turning);
  for (const { strip } of turning) strip.classList.remove("vm-many");
  const wide = turning.map(({ many, strip, events }) => many || strip.offsetWidth > events.clientWidth);
  turning.forEach((parts, at) => {
    parts.strip.classList.toggle("vm-many", wide[at]);
    parts.turning = false;
  });
}

function turn(parts) {
  parts.turning = true;
  settle([parts]);
}

/** Whether what a panel shall show is not what it shows; it is noted that it does from now on. */
function other(parts, name, shown) {
  const key = JSON.stringify(shown);
  if (parts.shown[name] === key) return false;
  parts.shown[name] = key;
  return true;
}

function gap(to) {
  const counts = to ? [plural(to.instructions, "instruction"), plural(to.accesses, "access", "accesses")] : [];
  return make(
    "li",
    { className: `vm-gap${to?.distant ? " vm-distant" : ""}` },
    ...counts.map((text) => make("span", {}, text)),
  );
}

function missing() {
  return make(
    "li",
    { className: "vm-event vm-missing" },
    shape("\u2205"),
    make("b", {}, "no clear"),
    make("span", { className: "vm-soft" }, "no VERW, no L1D flush"),
  );
}

function happened(parts, one, seeks) {
  const content = [
    shape(one.letter),
    make("b", {}, one.name),
    make("span", {}, one.detail),
    make("code", {}, one.where),
  ];
  const name = `vm-event vm-kind-${one.letter}${one.neutralised ? " vm-neutralised" : ""}`;
  return make(
    "li",
    { className: name },
    seeks && one.key
      ? make(
          "button",
          {
            type: "button",
            className: "vm-seek",
            title: "Show it in the drawing",
            onclick: () => seek(parts, one.key),
          },
          ...content,
        )
      : make("div", { className: "vm-seek" }, ...content),
  );
}

function drawVerdict(parts, verdict) {
  parts.verdict.classList.toggle("vm-bad", !verdict.kept);
  tell(parts.promise, `The kernel promises: ${verdict.promise}.`);
  tell(parts.reason, `${verdict.word}: ${verdict.reason}.`);
  drawPairs(parts.facts, [
    ["last cleared by", verdict.by],
    ["distance", verdict.distance ?? "none: there is no clear to count from"],
  ]);
  list(
    parts.notes,
    verdict.notes,
    () => make("li"),
    (item, text) => say(item, text),
  );
  parts.notes.hidden = !verdict.notes.length;
}

function drawBadge(parts, verdict) {
  parts.badge.hidden = parts.also.hidden = !verdict;
  if (!verdict) return;
  parts.badge.className = `vm-badge ${verdict.kept ? "vm-good" : "vm-bad"}`;
  const also = [
    ...(verdict.neutralised ? ["a VERW was neutralised"] : []),
    ...(verdict.assumed ? ["assumed: rests on the software flush"] : []),
  ];
  say(parts.also, also.join("; "));
  parts.also.hidden = !also.length;
  say(parts.badge, `${verdict.kept ? "\u2713" : "\u2717"} ${verdict.word}`);
}

function drawBuffers(parts, { lines, said, legend, values, leaves_out }) {
  say(parts.left, said);
  parts.left.hidden = Boolean(legend.length); // its letters say the same
  list(
    parts.lines,
    lines,
    () =>
      make(
        "tr",
        { role: "row" },
        make("th", { scope: "row", role: "rowheader" }),
        ...Array.from({ length: 8 }, () => make("td", { role: "cell" })),
      ),
    (row, line) => {
      say(row.firstChild, line.owner);
      row.firstChild.title = line.line && `the line at ${line.line}`;
      line.cells.forEach((cell, index) => {
        const td = row.children[index + 1];
        const name = cell ? `vm-word vm-value-${cell.letter}${cell.written ? " vm-written" : ""}` : "vm-word";
        if (td.className !== name) td.className = name;
        say(td, cell?.letter ?? "");
        td.title = cell?.text ?? "";
        if (cell) td.setAttribute("aria-label", cell.text);
        else td.removeAttribute("aria-label");
      });
    },
  );
  list(
    parts.letters,
    legend,
    () => make("li", {}, make("b"), make("span")),
    (item, one) => {
      item.firstChild.className = `vm-word vm-value-${one.letter}`;
      say(item.firstChild, one.letter);
      say(item.lastChild, `${one.count} \u00d7 ${one.text}`);
    },
  );
  parts.valuesMore.hidden = !values.length;
  list(
    parts.values,
    values,
    () => make("li", {}, make("b"), " ", make("code")),
    (item, one) => {
      say(item.firstChild, one.letter);
      say(item.lastChild, one.text);
    },
  );
  list(
    parts.leaves,
    leaves_out,
    () => make("li"),
    (item, text) => say(item, text),
  );
}

/**
 * Show one era in its panels.
 * @param {Record<string, Part>} parts
 * @param {Part} one the frame's part for it
 * @param {Record<string, string>} drawings by era
 * @param {boolean} seeks whether what happened can be shown in the drawing
 */
export function drawSide(parts, one, drawings, seeks) {
  say(parts.title, one.title);
  say(parts.about, `${one.era}, ${one.release}; selection of kernel ${one.kernel}`);
  drawBadge(parts, one.verdict);
  if (one.selection && other(parts, "selection", one.selection)) drawSelection(parts, one.selection);
  if (one.events && other(parts, "events", [one.events, seeks])) drawEvents(parts, one.events, seeks);
  if (one.verdict && other(parts, "verdict", one.verdict)) drawVerdict(parts, one.verdict);
  if (one.flow) drawFlow(parts, one.flow, drawings[one.flow.era]);
  if (one.buffers && other(parts, "buffers", one.buffers)) drawBuffers(parts, one.buffers);
}
