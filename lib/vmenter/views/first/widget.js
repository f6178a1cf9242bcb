// @ts-check
// FirstMinute: one button. Everything is in the frame; a press shows the next VM-Enter of the machine chosen.

import { follow, keepKeys, list, make, say, unique } from "../common.js";

/** @param {View} view */
function render({ model, el }) {
  const id = unique("vm-first");
  const frame = model.get("frame");
  const machine = () => frame.machines.find((one) => one.id === model.get("state").machine);

  function become(state) {
    model.set("state", { ...model.get("state"), ...state });
    model.save_changes();
  }

  const go = make("button", {
    type: "button",
    className: "vm-button vm-main vm-first-go",
    onclick: () => {
      const { pressed } = model.get("state");
      become({ pressed: pressed < machine().runs.length ? pressed + 1 : 0 });
    },
  });
  const machines = make(
    "fieldset",
    { className: "vm-chips" },
    make("legend", { className: "vm-hidden" }, "Which machine"),
    ...frame.machines.map((one) =>
      make(
        "label",
        { className: "vm-chip" },
        make("input", {
          type: "radio",
          name: id,
          value: one.id,
          onchange: () => become({ machine: one.id, pressed: 0 }),
        }),
        make("span", {}, one.title),
      ),
    ),
  );
  const runs = make("ol", { className: "vm-first-runs" });
  const asked = make("p", { className: "vm-first-asked" });
  const key = make(
    "ul",
    { className: "vm-first-key", "aria-label": "What the marks mean" },
    ...frame.legend.map((one) => make("li", {}, make("b", {}, one.mark), ` ${one.text}`)),
  );
  const status = make("p", { className: "vm-hidden", role: "status", "aria-live": "polite" });
  const twin = make("pre", { tabIndex: 0, role: "group", "aria-label": "The view as text" });
  const root = make(
    "section",
    { className: "vm vm-view vm-first", "aria-label": "One VM-Enter, three times", onkeydown: keepKeys },
    make("h2", {}, frame.question),
    make("div", { className: "vm-first-row" }, go, machines),
    status,
    runs,
    asked,
    key,
    make("p", { className: "vm-first-model" }, frame.model),
    make("details", { className: "vm-more" }, make("summary", {}, "As text"), twin),
  );

  function makeRun() {
    return make("li", {}, make("h3"), make("p"), make("div"), make("p", { className: "vm-first-steps" }));
  }

  function drawRun(item, run, index) {
    const [title, sentence, drawing, steps] = item.children;
    say(title, `${index + 1}. ${run.title}`);
    say(sentence, run.sentence);
    if (drawing.dataset.shown !== run.drawing) {
      drawing.dataset.shown = run.drawing;
      drawing.innerHTML = run.drawing; // made by the library, of its own letters and numbers
    }
    say(steps, run.steps);
  }

  function draw() {
    const { pressed } = model.get("state");
    const all = machine().runs;
    const shown = all.slice(0, pressed);
    const done = shown.length === all.length;
    for (const input of machines.querySelectorAll("input")) input.checked = input.value === machine().id;
    say(go, done ? "Once more from the start" : all[pressed].button);
    list(runs, shown, makeRun, drawRun);
    runs.hidden = key.hidden = !shown.length;
    say(asked, done ? machine().asked : "");
    asked.hidden = !done;
    const last = shown[shown.length - 1];
    say(status, last ? `${last.title}. ${last.sentence} ${last.said.join(" ")}` : "");
    say(twin, machine().twins[pressed]);
  }

  draw();
  el.append(root);
  return follow(model, { state: draw });
}

export default { render };
