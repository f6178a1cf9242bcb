// @ts-check
// EntryExplorer in the page: draws the frames that Python makes and sends back what the reader chooses.
// It knows nothing about kernels. The model needs get, set, save_changes and on; no kernel is assumed.

import {
  chip,
  drawChip,
  field,
  follow,
  keepKeys,
  list,
  make,
  makeTail,
  options,
  say,
  unique,
  waits,
} from "../common.js";
import { align, drawSide, makeSide, settle } from "./side.js";

const OWN = "@own";
const NONE = "@none";
/** @param {View} view */
function render({ model, el }) {
  const id = unique("vm-explorer");
  const frame = () => model.get("frame");
  const shows = (panel) => frame().show.includes(panel);
  const enters = () => frame().show.some((panel) => panel !== "selection");

  function choose(change) {
    model.set("state", { ...model.get("state"), ...change });
    model.save_changes();
  }

  function set(legend, ...content) {
    return make("fieldset", { className: "vm-set" }, make("legend", {}, legend), ...content);
  }

  // --- the eras ------------------------------------------------------------------------------------------

  const era = make("select", { onchange: () => choose({ era: era.value }) });
  const compare = make("select", {
    onchange: () => choose({ compare: compare.value === NONE ? null : compare.value }),
  });

  function drawEras() {
    const pairs = frame().eras.map((one) => [one.id, one.text]);
    options(era, pairs, frame().era);
    options(compare, [[NONE, "nothing"], ...pairs], frame().compare ?? NONE);
  }

  // --- the host ------------------------------------------------------------------------------------------

  const preset = make("select", {
    onchange: () => (preset.value === OWN ? choose(own()) : choose({ preset: preset.value })),
  });
  const cmdline = make("input", {
    type: "text",
    spellcheck: false,
    autocomplete: "off",
    placeholder: "mds=full l1tf=off kvm-intel.vmentry_l1d_flush=always",
    onchange: () => choose({ cmdline: cmdline.value }),
  });
  const ept = chip("checkbox", { onchange: () => choose({ ept: ept.firstChild.checked }) });
  const bugs = make("div", { className: "vm-chips" });
  const facts = make("div", { className: "vm-chips" });
  const present = make("span", { className: "vm-present" });
  const names = make(
    "details",
    { className: "vm-names", open: !frame().preset },
    make("summary", {}, "Bugs and microcode ", present),
    set("Bugs of the CPU", bugs),
    set("What CPU and microcode say", facts),
  );

  const on = (group) =>
    frame()
      [group].filter((one) => one.on)
      .map((one) => one.name);

  function own() {
    return { preset: null, bugs: on("bugs"), facts: on("facts") };
  }

  function toggle(group, index) {
    const { name } = frame()[group][index];
    const changed = on(group).includes(name) ? on(group).filter((one) => one !== name) : [...on(group), name];
    choose({ ...own(), [group]: changed });
  }

  function drawHost() {
    options(
      preset,
      [[OWN, "my own choice of bugs and microcode"], ...frame().presets.map((one) => [one.id, one.title])],
      frame().preset ?? OWN,
    );
    if (document.activeElement !== cmdline) cmdline.value = frame().cmdline;
    drawChip(ept, frame().ept, "EPT");
    for (const [group, parent] of [
      ["bugs", bugs],
      ["facts", facts],
    ]) {
      list(
        parent,
        frame()[group],
        (index) => chip("checkbox", { onchange: () => toggle(group, index) }),
        (label, one) => {
          label.title = one.about;
          drawChip(label, one.on, one.name);
        },
      );
    }
    say(present, [...on("bugs"), ...on("facts")].join(" ") || "none");
  }

  // --- the vCPU ------------------------------------------------------------------------------------------

  const reaches = make("div", { className: "vm-chips" });
  const launch = make(
    "div",
    { className: "vm-chips" },
    ...[false, true].map((value) => chip("radio", { name: `${id}-enter`, onchange: () => choose({ resume: value }) })),
  );
  const flags = make(
    "div",
    { className: "vm-chips" },
    ...["flush_pending", "guest_fb_clear"].map((name) =>
      chip("checkbox", { onchange: (event) => choose({ [name]: event.target.checked }) }),
    ),
  );

  function drawVcpu() {
    list(
      reaches,
      frame().reaches,
      (index) => chip("radio", { name: `${id}-reach`, onchange: () => choose({ mmio: frame().reaches[index].id }) }),
      (label, one) => drawChip(label, one.on, one.text),
    );
    drawChip(launch.children[0], !frame().resume, "first entry");
    drawChip(launch.children[1], frame().resume, "entered before");
    drawChip(flags.children[0], frame().flush_pending, "L1D flush pending");
    drawChip(flags.children[1], frame().guest_fb_clear, "guest has FB_CLEAR");
  }

  // --- the whole -----------------------------------------------------------------------------------------

  const sides = [];
  const grid = make("div", { className: "vm-sides" });
  const booted = make("section", { className: "vm-panel vm-recorded", "aria-label": "A booted kernel's own VM-Enter" });

  function drawRecorded() {
    const { name, html } = frame().recorded ?? {};
    booted.hidden = !name;
    if (booted.dataset.name === name) return;
    booted.dataset.name = name;
    booted.innerHTML = html ?? ""; // made by our own Python
  }

  // What is done to one era's panels is done to the other's, so that they can be compared.
  function inStep(change) {
    for (const parts of sides) change(parts);
  }

  function drawSides() {
    const shown = frame().sides;
    while (sides.length > shown.length) sides.pop();
    while (sides.length < shown.length) {
      sides.push(makeSide(id, sides.length, inStep));
      align(sides[sides.length - 1], sides[0]);
    }
    const rows = ["head", ...frame().show];
    grid.style.setProperty("--rows", rows.length);
    grid.classList.toggle("vm-two", shown.length > 1);
    list(
      grid,
      shown,
      () => make("section", { className: "vm-side" }),
      (section, one, index) => {
        const parts = sides[index];
        section.setAttribute("aria-label", one.heading);
        const wanted = rows.map((name) => parts[name]);
        if (wanted.some((part, at) => section.children[at] !== part) || section.children.length > wanted.length) {
          section.replaceChildren(...wanted);
        }
        drawSide(parts, one, model.get("drawings"), shows("flow"));
      },
    );
    settle(sides);
  }

  const tail = makeTail(model);
  tail.status.className = "vm-result";
  const controls = {
    era: field("Code of", era),
    compare: field("Compare with", compare),
    processor: field("Processor", preset),
    options: field("Kernel command line", cmdline),
    ept: make("div", { className: "vm-chips vm-ept" }, ept),
    bugs: names,
    mmio: set("Reach of host MMIO", reaches),
    entry: set("Entry", launch),
    flags: set("State", flags),
  };
  const groups = [
    make("div", { className: "vm-eras" }, controls.era, controls.compare),
    make(
      "fieldset",
      { className: "vm-group" },
      make("legend", {}, "Host"),
      make("div", { className: "vm-fields" }, controls.processor, controls.options, controls.ept),
      names,
    ),
    make(
      "fieldset",
      { className: "vm-group" },
      make("legend", {}, "vCPU"),
      make("div", { className: "vm-fields" }, controls.mmio, controls.entry, controls.flags),
    ),
  ];
  const MEMBERS = [
    ["era", "compare"],
    ["processor", "options", "ept", "bugs"],
    ["mmio", "entry", "flags"],
  ];

  // As many controls as the question needs; a group without any is not there at all.
  function drawControls() {
    const wanted = frame().controls;
    for (const [name, control] of Object.entries(controls)) control.hidden = !wanted.includes(name);
    groups.forEach((group, at) => {
      group.hidden = !MEMBERS[at].some((name) => wanted.includes(name));
    });
    groups[2].hidden ||= !enters();
  }

  const root = make(
    "section",
    { className: "vm vm-view vm-heads vm-explorer", "aria-label": "Entry explorer", onkeydown: keepKeys },
    tail.status,
    make("div", { className: "vm-controls" }, ...groups),
    tail.mistake,
    grid,
    booted,
    tail.details,
  );

  function drawAll() {
    drawControls();
    drawEras();
    drawHost();
    drawVcpu();
    drawSides();
    drawRecorded();
    tail.draw();
  }

  drawAll();
  el.append(root);
  return follow(model, { frame: drawAll, drawings: drawSides });
}

export default { render: waits(render) };
