// @ts-check
// LeakGame: host, CPU and guest, step by step. All answers are in the frame; the page keeps where the learner is.

import { follow, keepKeys, list, make, say } from "../common.js";

/** @param {View} view */
function render({ model, el }) {
  const frame = model.get("frame");
  const state = () => model.get("state");
  const now = () => frame.rounds[state().round];

  function become(changes) {
    model.set("state", { ...state(), ...changes });
    model.save_changes();
  }

  // --- the host ------------------------------------------------------------------------------------------

  const deeds = make("ol", { className: "vm-leak-deeds" });
  const next = make(
    "button",
    {
      type: "button",
      className: "vm-button vm-main",
      onclick: () => {
        become({ step: state().step + 1 });
        if (state().step > now().deeds.length) values.querySelector("input")?.focus({ preventScroll: true });
      },
    },
    "Next step",
  );

  function drawHost() {
    const { step } = state();
    const texts = [...now().deeds.map((text) => `The host ${text}`), frame.enter];
    list(
      deeds,
      texts,
      () => make("li", {}, make("span", { className: "vm-hidden" }), make("span")),
      (item, text, at) => {
        item.dataset.now = at < step ? "done" : at === step ? "next" : "then";
        say(item.firstChild, `${item.dataset.now}: `);
        say(item.lastChild, text);
      },
    );
    next.disabled = step > now().deeds.length;
  }

  // --- the CPU -------------------------------------------------------------------------------------------

  const buffers = make("ol", { className: "vm-leak-slots", "aria-label": "Buffers" });
  const cache = make("ol", { className: "vm-leak-slots", "aria-label": "L1 data cache" });
  const cover = make("p", { className: "vm-soft" }, "Covered until you have answered: now from your head.");

  function drawSlots(place, held, least, covered) {
    const slots = covered ? Array(least).fill("?") : [...held, ...Array(Math.max(0, least - held.length)).fill("")];
    list(
      place,
      slots,
      () => make("li"),
      (slot, name) => {
        slot.dataset.held = name && !covered ? "yes" : "no";
        say(slot, name);
        slot.setAttribute("aria-label", covered ? "covered" : name || "empty");
      },
    );
  }

  function drawCpu() {
    const { step, checked } = state();
    const covered = now().covered && !checked;
    const moment = now().moments[Math.min(step, now().deeds.length)];
    drawSlots(buffers, moment.buffers, frame.entries, covered);
    drawSlots(cache, moment.cache, 8, covered);
    cover.hidden = !covered;
  }

  // --- the guest -----------------------------------------------------------------------------------------

  const tells = make("p");
  const question = make("p", { className: "vm-leak-lesson" });
  const values = make("ol", { className: "vm-leak-values" });
  const lesson = make("p", { className: "vm-leak-lesson" });
  const read = make("button", { type: "button", className: "vm-button vm-main", onclick: answer }, "That is my answer");
  const on = make("button", {
    type: "button",
    className: "vm-button vm-main",
    onclick: () => {
      const { round } = state();
      const over = round + 1 === frame.rounds.length;
      become({
        round: over ? 0 : round + 1,
        step: 0,
        marked: [],
        checked: false,
        ...(over ? { points: 0, asked: 0 } : {}),
      });
      next.focus({ preventScroll: true });
    },
  });

  function answer() {
    const { points, asked, marked } = state();
    const right = now().values.filter((one) => one.readable === marked.includes(one.name)).length;
    become({ checked: true, points: points + right, asked: asked + now().values.length });
    on.focus({ preventScroll: true });
  }

  function mark(name, yes) {
    become({ marked: [...state().marked.filter((one) => one !== name), ...(yes ? [name] : [])] });
  }

  function makeValue() {
    const box = make("input", { type: "checkbox" });
    box.addEventListener("change", () => mark(box.value, box.checked));
    return make(
      "li",
      {},
      make("label", { className: "vm-chip" }, box, make("span")),
      make("p", { className: "vm-leak-why" }),
    );
  }

  function told(value, marked) {
    const right = value.readable === marked;
    return `${right ? "✓ right" : "✗ wrong"}: ${value.readable ? "you can get it" : "out of reach"}: ${value.why}`;
  }

  function drawGuest() {
    const { step, checked, marked, round } = state();
    const entered = step > now().deeds.length;
    say(tells, now().tells);
    say(
      question,
      entered ? "Mark what you can get. Nothing at all is an answer, too." : "First let the host work: Next step.",
    );
    question.hidden = checked;
    list(values, now().values, makeValue, (item, value) => {
      const [label, why] = item.children;
      label.firstChild.value = value.name;
      label.firstChild.checked = marked.includes(value.name);
      label.firstChild.disabled = !entered || checked;
      say(label.lastChild, `${value.name}, ${value.what}`);
      why.hidden = !checked;
      say(why, checked ? told(value, marked.includes(value.name)) : "");
      why.dataset.right = value.readable === marked.includes(value.name) ? "yes" : "no";
    });
    read.hidden = checked;
    read.disabled = !entered;
    say(lesson, checked ? now().lesson : "");
    lesson.hidden = on.hidden = !checked;
    say(on, round + 1 === frame.rounds.length ? "Play again" : "Next round");
  }

  // --- the whole -----------------------------------------------------------------------------------------

  const title = make("h3");
  const points = make("p", { className: "vm-leak-points" });
  const status = make("p", { className: "vm-hidden", role: "status", "aria-live": "polite" });
  const twin = make("pre", { tabIndex: 0, role: "group", "aria-label": "The view as text" });
  const root = make(
    "section",
    { className: "vm vm-view vm-leak", "aria-label": "You are the guest: a game", onkeydown: keepKeys },
    make("div", { className: "vm-leak-top" }, title, points),
    status,
    make(
      "div",
      { className: "vm-leak-three" },
      make("section", { "aria-label": "Host" }, make("h4", {}, "Host: what it touches passes on \u2192"), deeds, next),
      make(
        "section",
        { "aria-label": "CPU, a model" },
        make("h4", {}, "\u2192 CPU, a model: the buffers (MDS reads here \u2192)"),
        buffers,
        make("h4", {}, "and the L1 data cache (L1TF reads here \u2192)"),
        cache,
        cover,
      ),
      make(
        "section",
        { "aria-label": "Guest" },
        make("h4", {}, "\u2192 Guest: you"),
        tells,
        question,
        values,
        read,
        lesson,
        on,
      ),
    ),
    make("p", { className: "vm-leak-model" }, frame.model),
    make("details", { className: "vm-more" }, make("summary", {}, "As text"), twin),
  );

  function text() {
    const { round, step, checked, marked, points: won, asked } = state();
    const total = now().deeds.length;
    const word = (at) => (at < step ? "done" : at === step ? "next" : "then");
    const moment = now().moments[Math.min(step, total)];
    const held =
      now().covered && !checked
        ? "Buffers and cache are covered until you have answered."
        : `Buffers: ${moment.buffers.join(" ") || "empty"}. L1 data cache: ${moment.cache.join(" ") || "empty"}.`;
    const last = checked
      ? [
          ...now().values.map((one) => told(one, marked.includes(one.name)).replace(": ", `: ${one.name}: `)),
          now().lesson,
        ]
      : [
          `Which of these can you get? ${now()
            .values.map((one) => `${one.name} (${one.what})`)
            .join(", ")}`,
        ];
    return [
      `You are the guest. Round ${round + 1} of ${frame.rounds.length}: ${now().title}. Points: ${won} of ${asked}.`,
      now().tells,
      ...now().deeds.map((one, at) => `${word(at)}: the host ${one}`),
      `${word(total)}: ${frame.enter}`,
      held,
      ...last,
      frame.model,
    ].join("\n");
  }

  function draw() {
    const { round, points: won, asked, checked } = state();
    const over = checked && round + 1 === frame.rounds.length;
    say(title, `You are the guest. Round ${round + 1} of ${frame.rounds.length}: ${now().title}`);
    say(points, `${over ? "The end: " : ""}${won} of ${asked} points${over ? "" : `, ${frame.total - asked} to come`}`);
    drawHost();
    drawCpu();
    drawGuest();
    say(status, checked ? `${points.textContent}. ${now().lesson}` : title.textContent);
    say(twin, text());
  }

  draw();
  el.append(root);
  return follow(model, { state: draw });
}

export default { render };
