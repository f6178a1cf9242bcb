// A prediction in the page: fields for guesses, or the guesses beside the truth. Guesses go to the model, which keeps them.
// make, say, list, keepKeys and unique come from lab.js.

function render({ model, el }) {
  const id = unique("vm-prediction");
  const questions = model.get("questions");
  const truths = model.get("truths");
  const section = make("section", { className: "vm vm-prediction", "aria-label": `Prediction ${model.get("name")}` });
  el.append(section);
  if (truths.length) drawTruth();
  else drawFields();

  function drawFields() {
    const fields = questions.map((question, index) => {
      const input = make("input", { type: "text", id: `${id}-${index}`, autocomplete: "off", onkeydown: keepKeys });
      return { input, row: make("div", { className: "vm-guess" }, make("label", { htmlFor: input.id }, question), input) };
    });
    const status = make("span", { className: "vm-about", role: "status", "aria-live": "polite" });
    const form = make("form", {
      onsubmit: (event) => {
        event.preventDefault();
        model.set("guesses", fields.map(({ input }) => input.value.trim()));
        model.save_changes();
        say(status, model.get("said") || "Kept.");
      },
    }, ...fields.map(({ row }) => row),
    make("div", { className: "vm-row" }, make("button", { type: "submit", className: "vm-button vm-main" }, "Keep my guess"), status));
    section.append(form);
    const show = () => fields.forEach(({ input }, index) => {
      if (input !== document.activeElement) input.value = model.get("guesses")[index] ?? "";
    });
    model.on("change:guesses", show);
    model.on("change:said", () => say(status, model.get("said")));
    show();
  }

  function drawTruth() {
    const body = make("tbody");
    section.append(make("table", {},
      make("thead", {}, make("tr", {}, ...["Question", "You guessed", "It is"].map((text) => make("th", { scope: "col" }, text)))), body));
    const show = () => list(
      body, questions,
      () => make("tr", {}, make("th", { scope: "row" }), make("td"), make("td")),
      (row, question, index) => {
        const [about, guess, fact] = row.children;
        const said = model.get("guesses")[index];
        say(about, question);
        say(guess, said || "(no guess)");
        guess.classList.toggle("vm-none", !said);
        say(fact, truths[index]);
      },
    );
    model.on("change:guesses", show);
    show();
  }
}

export default { render };
