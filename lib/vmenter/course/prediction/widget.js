// A prediction in the page: fields for guesses, or the guesses beside the truth. Guesses go to the model, which keeps them.
// make, say, list, keepKeys and unique come from common.js.

// A text whose code stands between backquotes.
function rich(text) {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

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
      const input = make("input", { type: "text", id: `${id}-${index}`, autocomplete: "off", onkeydown: keepKeys, onchange: keep });
      return { input, row: make("div", { className: "vm-guess" }, make("label", { htmlFor: input.id }, ...rich(question)), input) };
    });
    const status = make("span", { className: "vm-soft", role: "status", "aria-live": "polite" });
    section.append(make("form", { onsubmit: keep }, make("h4", {}, "Predict"), ...fields.map(({ row }) => row),
      make("div", { className: "vm-row" }, make("button", { type: "submit", className: "vm-button vm-main" }, "Keep my guess"), status)));

    // Leaving a field keeps it, too: who goes on by mouse must not lose a guess.
    function keep(event) {
      event.preventDefault();
      const guesses = fields.map(({ input }) => input.value.trim());
      if (event.type === "submit" && guesses.every((guess) => !guess)) {
        say(status, "Write a guess first; a wrong one is worth more than none.");
        fields[0].input.focus();
        return;
      }
      if (guesses.every((guess, index) => guess === model.get("guesses")[index])) return;
      model.set("said", "");
      model.set("guesses", guesses);
      model.save_changes();
    }

    const show = () => fields.forEach(({ input }, index) => {
      if (input !== document.activeElement) input.value = model.get("guesses")[index] ?? "";
    });
    model.on("change:guesses", show);
    model.on("change:said", () => say(status, model.get("said")));
    show();
    say(status, model.get("said"));
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
        if (!about.firstChild) about.append(...rich(question));
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
