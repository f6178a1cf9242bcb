// @ts-check
// PatchBench in the page: draws the frames that Python makes and sends back what the reader chooses.
// It knows nothing about patching. The model needs get, set, save_changes and on; no kernel is assumed.

import {
  chip,
  drawChip,
  follow,
  keepKeys,
  list,
  make,
  makeHead,
  makeTail,
  options,
  paint,
  say,
  showDrawing,
  unique,
  waits,
} from "../common.js";
import { makeEditor } from "./editor.js";

/** @param {View} view */
function render({ model, el }) {
  const id = unique("vm-bench");
  const state = () => model.get("state");
  const frame = () => model.get("frame");
  const steps = () => frame().steps;
  const shown = () => Math.min(state().step ?? Infinity, steps().length - 1);

  function choose(change) {
    model.set("state", { ...state(), ...change });
    model.save_changes();
  }

  function go(index) {
    const last = steps().length - 1;
    const step = Math.max(0, Math.min(index, last));
    choose({ step: step === last ? null : step });
    draw();
    if (tabs.contains(document.activeElement)) tabs.children[step].firstChild.focus();
  }

  function onStepKey(event) {
    const moves = { ArrowLeft: shown() - 1, ArrowRight: shown() + 1, Home: 0, End: Infinity };
    if (!(event.key in moves) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(moves[event.key]);
  }

  // --- what to patch -------------------------------------------------------------------------------------

  const select = make("select", {
    id: `${id}-sample`,
    onchange: () => {
      const value = select.value;
      if (value === "@typed") choose({ sample: null, typed: typed ?? editor.text() });
      else if (value === "@own") choose({ sample: null, typed: null });
      else choose({ sample: value, step: 0 });
    },
  });
  const about = make("p", { className: "vm-about" });
  const features = make("div", { className: "vm-chips" });
  const engines = make("div", { className: "vm-chips" });
  const nops = make("div", { className: "vm-chips" });
  const nopSet = make("fieldset", { className: "vm-set" }, make("legend", {}, "Its NOPs, by CPU up to v5.12"), nops);
  let typed = state().typed;

  function drawChoices() {
    const { samples, own } = frame();
    const pairs = samples.map((one) => [one.id, one.id]);
    if (own) pairs.unshift(["@own", own]);
    if (typed) pairs.push(["@typed", "your code"]);
    options(select, pairs, state().sample ?? (state().typed ? "@typed" : "@own"));
    say(about, `${frame().about} ${frame().where}${frame().also ? ` Also ${frame().also}.` : ""}`);
    list(
      features,
      frame().features,
      (index) => chip("checkbox", { onchange: () => toggle(index) }),
      (label, one) => {
        drawChip(label, one.on, one.name);
        label.firstChild.disabled = one.fixed; // every CPU has it
      },
    );
    nopSet.hidden = !frame().nops.length;
    list(
      nops,
      frame().nops,
      (index) => chip("radio", { name: `${id}-nops`, onchange: () => choose({ nops: frame().nops[index].id }) }),
      (label, one) => drawChip(label, one.on, one.id),
    );
    list(
      engines,
      frame().engines,
      (index) => chip("radio", { name: `${id}-engine`, onchange: () => choose({ engine: frame().engines[index].id }) }),
      (label, one) => {
        drawChip(label, one.on, `${one.id}, ${one.versions}`);
        label.title = one.rule;
      },
    );
  }

  function toggle(index) {
    const name = frame().features[index].name;
    const on = new Set(state().features);
    if (!on.delete(name)) on.add(name);
    choose({ features: [...on] });
  }

  // --- steps ---------------------------------------------------------------------------------------------

  const back = make(
    "button",
    { type: "button", className: "vm-button", onclick: () => go(shown() - 1) },
    "\u2190 Back",
  );
  const next = make(
    "button",
    { type: "button", className: "vm-button", onclick: () => go(shown() + 1) },
    "Next \u2192",
  );
  const tabs = make("ol", { className: "vm-steps" });
  const slider = make("input", {
    type: "range",
    min: 0,
    step: 1,
    className: "vm-slider",
    "aria-label": "Step",
    oninput: () => go(Number(slider.value)),
  });
  const heading = make("strong");
  const said = make("span");
  const status = make("p", { className: "vm-status", role: "status", "aria-live": "polite" }, heading, " ", said);
  const stepper = make(
    "div",
    {
      className: "vm-stepper",
      role: "group",
      "aria-label": "Steps of the patch. Arrow keys, Home and End move.",
      onkeydown: onStepKey,
    },
    make("div", { className: "vm-stepline" }, back, tabs, next),
    slider,
  );

  function drawSteps() {
    list(
      tabs,
      steps(),
      (index) =>
        make(
          "li",
          {},
          make("button", { type: "button", className: "vm-step", onclick: () => go(index) }, make("b"), make("span")),
        ),
      (item, one, index) => {
        const button = item.firstChild;
        say(button.firstChild, String(index + 1));
        say(button.lastChild, one.entry && twice() ? `${one.name} ${one.entry}` : one.name);
        if (index === shown()) button.setAttribute("aria-current", "step");
        else button.removeAttribute("aria-current");
      },
    );
    const last = steps().length - 1;
    slider.max = last;
    slider.value = shown();
    slider.setAttribute("aria-valuetext", steps()[shown()].heading);
    // Not `disabled`: a button that has the focus must not lose it at the end of the way.
    back.setAttribute("aria-disabled", String(shown() === 0));
    next.setAttribute("aria-disabled", String(shown() === last));
    const step = steps()[shown()];
    const [first, ...rest] = step.heading;
    say(heading, `${first.toUpperCase()}${rest.join("")}.`);
    say(said, step.said);
  }

  const twice = () =>
    new Set(
      steps()
        .map((one) => one.entry)
        .filter(Boolean),
    ).size > 1;

  // --- bytes ---------------------------------------------------------------------------------------------

  const site = make("tbody", { role: "rowgroup" });
  const after = make("tbody", { role: "rowgroup", className: "vm-after" });
  const columns = make("th", { role: "columnheader", scope: "col" }, "Bytes and their origin");
  const table = make(
    "table",
    { role: "table", className: "vm-bytes" },
    make("caption", { className: "vm-hidden" }, "The bytes of the site after this step, one row an instruction"),
    makeHead(["At", columns, "Instruction"]),
    site,
    after,
  );
  const region = make(
    "div",
    {
      className: "vm-scroll",
      role: "region",
      tabIndex: 0,
      "aria-label": "Bytes of the site",
      onkeydown: onStepKey,
    },
    table,
  );
  const legend = make("ul", { className: "vm-legend", "aria-label": "Letters: where a byte came from" });

  function drawRows(body, rows) {
    const meanings = Object.fromEntries(frame().legend.map((one) => [one.letter, one.text]));
    list(
      body,
      rows,
      () =>
        make(
          "tr",
          { role: "row" },
          make("th", { role: "rowheader", scope: "row" }),
          make("td", { role: "cell", className: "vm-text" }, make("code"), make("span", { className: "vm-note" })),
        ),
      (row, one) => {
        say(row.firstChild, `+${one.at}`);
        const text = row.lastChild;
        say(text.firstChild, one.text);
        say(text.lastChild, one.note);
        while (row.children.length - 2 > frame().columns) row.children[row.children.length - 2].remove();
        while (row.children.length - 2 < frame().columns) {
          text.before(make("td", { role: "cell" }, make("span", { className: "vm-at" }), make("b"), make("i")));
        }
        for (let column = 0; column < frame().columns; column++) {
          drawCell(row.children[column + 1], one.cells[column], meanings);
        }
      },
    );
  }

  function drawCell(cell, byte, meanings) {
    const name = !byte ? "vm-void" : `vm-byte vm-from-${byte.letter || "none"}${byte.new ? " vm-new" : ""}`;
    if (cell.className !== name) cell.className = name;
    cell.ariaHidden = byte ? null : "true";
    say(cell.children[0], byte ? String(byte.at) : "");
    say(cell.children[1], byte ? byte.hex : "");
    say(cell.children[2], byte ? byte.letter + byte.by : "");
    if (!byte) return cell.removeAttribute("aria-label");
    const origin = byte.letter
      ? `, ${meanings[byte.letter]}${byte.by ? `, entry ${byte.by}` : ""}`
      : ", behind the site";
    cell.setAttribute("aria-label", `byte ${byte.at}: ${byte.hex}${origin}${byte.new ? ", new" : ""}`);
  }

  function drawBytes() {
    columns.colSpan = frame().columns;
    region.style.setProperty("--rows", Math.min(frame().height, 9));
    drawRows(site, steps()[shown()].rows);
    drawRows(after, frame().after);
    const used = new Set(steps().flatMap((step) => step.rows.flatMap((row) => row.cells.map((cell) => cell.letter))));
    list(
      legend,
      frame().legend.filter((one) => used.has(one.letter)),
      () => make("li", {}, make("b"), make("span")),
      (item, one) => {
        item.firstChild.className = `vm-byte vm-from-${one.letter}`;
        say(item.firstChild, one.letter);
        say(item.lastChild, one.text);
      },
    );
  }

  // --- decision and engines ------------------------------------------------------------------------------

  const drawing = make("div", { className: "vm-drawing" });
  const verdict = make("figcaption");
  const figure = make("figure", { className: "vm-decision" }, verdict, drawing);
  const compared = make("tbody");
  let drawn = "";
  let groups = new Map();

  function drawDecision() {
    if (drawn !== frame().diagram) {
      drawn = frame().diagram;
      groups = showDrawing(drawing, drawn); // only when the site or the engine is another
    }
    const svg = drawing.firstElementChild;
    svg.removeAttribute("aria-labelledby");
    svg.setAttribute("aria-label", `The decision. ${frame().decision}`);
    paint(groups, frame().marks);
    say(verdict, frame().verdict);
    list(
      compared,
      frame().engines,
      () => make("tr", {}, make("th", { scope: "row" }), make("td"), make("td")),
      (row, one) => {
        row.className = one.on ? "vm-current" : "";
        say(row.children[0], one.id);
        say(row.children[1], one.versions);
        say(row.children[2], one.said);
      },
    );
  }

  const editor = makeEditor(() => frame().known, assemble);

  function assemble() {
    typed = editor.text();
    choose({ sample: null, typed, step: 0 });
  }

  // --- the whole -----------------------------------------------------------------------------------------

  const tail = makeTail(model);
  const root = make(
    "section",
    { className: "vm vm-view vm-bench", "aria-label": "Patch bench", onkeydown: keepKeys },
    make(
      "div",
      { className: "vm-head" },
      make("div", { className: "vm-what" }, make("label", { htmlFor: select.id }, "Site"), select, about),
      make("fieldset", { className: "vm-set" }, make("legend", {}, "Features of the CPU"), features),
      make("fieldset", { className: "vm-set" }, make("legend", {}, "The kernel\u2019s patcher"), engines),
      nopSet,
    ),
    stepper,
    status,
    region,
    legend,
    make(
      "div",
      { className: "vm-outcome" },
      figure,
      make(
        "details",
        { className: "vm-more vm-compared" },
        make("summary", {}, "The same site under each patcher"),
        make(
          "table",
          { className: "vm-compare" },
          make("caption", { className: "vm-hidden" }, "The same site under each patcher"),
          make(
            "thead",
            {},
            make("tr", {}, ...["Patcher", "Kernels", "Outcome"].map((text) => make("th", { scope: "col" }, text))),
          ),
          compared,
        ),
      ),
    ),
    editor.details,
    tail.details,
  );

  function draw() {
    drawSteps();
    drawBytes();
    verdict.hidden = shown() < steps().length - 1; // what the steps lead to comes after them
    tail.draw({ ...frame(), text: steps()[shown()].twin });
  }

  function drawAll() {
    drawChoices();
    draw();
    drawDecision();
    editor.draw(frame());
  }

  let filled = null;
  function onFrame() {
    drawAll();
    if (state().sample && filled !== state().sample) editor.fill(frame().source);
    filled = state().sample;
  }

  editor.fill(typed ?? frame().source);
  filled = state().sample;
  drawAll();
  el.append(root);
  return follow(model, { frame: onFrame, state: draw });
}

export default { render: waits(render) };
