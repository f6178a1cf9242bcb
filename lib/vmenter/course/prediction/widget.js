// @ts-check
// A prediction in the page: boxes for guesses, or what is so and what is said to the guess. Guesses go to the model, which
// keeps them and unfolds the truth.

import { keepKeys, list, make, say, unique } from "../../views/common.js";

const SIGNS = { right: ["✔", "Right."], near: ["≈", "Near."], wrong: ["✘", "Not so."], open: ["", ""] };
const BETWEEN = "; ";

// A text whose code stands between backquotes.
function rich(text) {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

// A box for one question: what it shows, and how its guess is read and set.
function box(question, id, changed) {
  const keys = { onkeydown: keepKeys, onchange: changed };
  if (question.kind === "choice" || question.kind === "several") {
    const type = question.kind === "choice" ? "radio" : "checkbox";
    const boxes = question.choices.map((value) => make("input", { type, name: id, value, ...keys }));
    const rows = boxes.map((box, index) => make("label", {}, box, make("span", {}, ...rich(question.choices[index]))));
    const several =
      question.kind === "several" ? [make("span", { className: "vm-soft" }, " Choose all that hold.")] : [];
    return {
      row: make(
        "fieldset",
        { className: "vm-guess vm-choices" },
        make("legend", {}, ...rich(question.text), ...several),
        ...rows,
      ),
      read: () =>
        boxes
          .filter((box) => box.checked)
          .map((box) => box.value)
          .join(BETWEEN),
      write: (guess) =>
        boxes.forEach((box) => {
          box.checked = guess.split(BETWEEN).includes(box.value);
        }),
      focus: () => boxes[0].focus(),
      waits: question.kind === "several", // a single box says little: only the button keeps those
    };
  }
  const number = question.kind === "number";
  const input = make("input", {
    id,
    autocomplete: "off",
    type: number ? "number" : "text",
    ...(number ? { step: "any" } : {}),
    ...keys,
  });
  const unit = question.unit ? [make("span", { className: "vm-soft" }, question.unit)] : [];
  return {
    row: make(
      "div",
      { className: "vm-guess vm-written" },
      make("label", { htmlFor: id }, ...rich(question.text)),
      make("span", { className: "vm-entry" }, input, ...unit),
    ),
    read: () => input.value.trim(),
    write: (guess) => {
      if (input !== document.activeElement) input.value = guess;
    },
    focus: () => input.focus(),
    waits: false,
  };
}

/** @param {View} view */
function render({ model, el }) {
  const id = unique("vm-prediction");
  const questions = model.get("questions");
  const section = make("section", {
    className: "vm vm-prediction",
    "aria-label": `${model.get("tells") ? "Truth of prediction" : "Prediction"} ${model.get("name")}`,
  });
  el.append(section);
  if (model.get("tells")) drawTruth();
  else drawFields();

  function drawFields() {
    const status = make("span", { className: "vm-soft", role: "status", "aria-live": "polite" });
    const fields = questions.map((question, index) => box(question, `${id}-${index}`, keepOne));
    section.append(
      make(
        "form",
        { onsubmit: keep, noValidate: true },
        make("h3", {}, "Predict"),
        ...fields.map(({ row }) => row),
        make(
          "div",
          { className: "vm-row" },
          make("button", { type: "submit", className: "vm-button vm-main" }, "Keep my guess"),
          status,
        ),
      ),
    );

    // Leaving a box keeps it, too: who goes on by mouse must not lose a guess. Choices wait for the button: a click is soon made.
    function keepOne(event) {
      if (event.target.matches("[type=text], [type=number]")) keep(event);
    }

    function keep(event) {
      event.preventDefault();
      const before = model.get("guesses");
      const submitted = event.type === "submit";
      const guesses = fields.map(({ read, row }, index) =>
        submitted || row.contains(event.target) ? read() : (before[index] ?? ""),
      );
      if (submitted && guesses.some((guess) => !guess)) {
        say(status, "A guess is missing; a wrong one is worth more than none.");
        fields[guesses.findIndex((guess) => !guess)].focus();
        if (guesses.every((guess) => !guess)) return;
      }
      if (guesses.every((guess, index) => guess === (before[index] ?? ""))) return;
      model.set("said", "");
      model.set("guesses", guesses);
      model.save_changes();
    }

    // A guess that is changed is another one: what was said of the last does not stand beside it.
    section.addEventListener("input", () => {
      const before = model.get("guesses");
      const same = fields.every(({ read }, index) => read() === (before[index] ?? ""));
      say(status, same ? model.get("said") : "Changed, and not kept yet.");
    });

    const show = () => {
      for (const [index, { write }] of fields.entries()) write(model.get("guesses")[index] ?? "");
    };
    model.on("change:guesses", show);
    model.on("change:said", () => {
      if (model.get("said")) say(status, model.get("said"));
    });
    show();
    say(status, model.get("said"));
  }

  function drawTruth() {
    const body = make("tbody");
    const head = make(
      "tr",
      {},
      ...["Question", "You guessed", "It is"].map((text) => make("th", { scope: "col" }, text)),
    );
    const table = make("table", {}, make("thead", {}, head), body);
    const ask = make("span", { className: "vm-soft" });
    const button = make(
      "button",
      { type: "button", className: "vm-button", onclick: giveUp },
      "Show me without a guess",
    );
    const folded = make("div", { className: "vm-row vm-folded" }, button, ask);
    const status = make("div", { role: "status", "aria-live": "polite" }, table);
    const extra = make("div", { className: "vm-extra" });
    section.append(folded, status, extra);

    function giveUp() {
      model.set("given_up", true);
      model.save_changes();
      section.tabIndex = -1;
      section.focus();
    }

    const show = () => {
      const rows = model.get("rows");
      const open = rows.filter((row) => !row.told).length;
      table.hidden = open === rows.length;
      folded.hidden = open === 0;
      say(
        ask,
        open === rows.length
          ? "The truth comes when you have kept a guess in the box above."
          : "The rest comes with the rest of your guess.",
      );
      list(
        body,
        questions,
        () => make("tr", {}, make("th", { scope: "row" }), make("td"), make("td")),
        (row, question, index) => drawRow(row, question, rows[index], model.get("guesses")[index]),
      );
      const { text, html } = model.get("shown") ?? {};
      if (html)
        extra.innerHTML = html; // made by the notebook itself, as its other outputs
      else
        extra.replaceChildren(
          ...(text ? [make("pre", { tabIndex: 0, role: "group", "aria-label": "What came out" }, text)] : []),
        );
    };
    for (const name of ["rows", "shown", "guesses"]) model.on(`change:${name}`, show);
    show();
  }

  function drawRow(row, question, told, guess) {
    const [about, mine, fact] = row.children;
    if (!about.firstChild) about.append(...rich(question.text));
    mine.replaceChildren(...rich(guess || "(no guess)"));
    mine.classList.toggle("vm-none", !guess);
    if (!told.told) {
      fact.replaceChildren("…");
      return;
    }
    const [sign, word] = SIGNS[told.verdict] ?? ["", ""];
    const verdict = word
      ? [
          make(
            "strong",
            { className: `vm-verdict vm-${told.verdict}` },
            make("span", { ariaHidden: "true" }, `${sign} `),
            word,
          ),
          " ",
        ]
      : [];
    fact.replaceChildren(
      make("div", { className: "vm-fact" }, ...rich(told.told)),
      ...[[...verdict, ...rich(told.text)], rich(told.because)]
        .filter((parts) => parts.some(Boolean))
        .map((parts) => make("p", {}, ...parts)),
    );
  }
}

export default { render };
