// @ts-check
// Code of one's own in PatchBench: what is typed, and where the assembler found a mistake in it.

import { field, list, make, options, say, unique } from "../common.js";

/**
 * @param {() => string[]} known the features that there are
 * @param {() => void} submit
 */
export function makeEditor(known, submit) {
  const area = (name, rows) => make("textarea", { rows, spellcheck: false, autocomplete: "off", "data-place": name });
  const original = area("original", 2);
  const behind = area("after", 1);
  const replacements = make("div", { className: "vm-replacements" });
  const add = make(
    "button",
    {
      type: "button",
      className: "vm-button",
      onclick: () => fillReplacements([...typedReplacements(), ["", known()[0]]]),
    },
    "Add a replacement",
  );
  const drop = make(
    "button",
    { type: "button", className: "vm-button", onclick: () => fillReplacements(typedReplacements().slice(0, -1)) },
    "Remove the last",
  );
  const mistake = make(
    "div",
    { className: "vm-mistake", id: unique("vm-mistake"), role: "alert" },
    make("p"),
    make("pre"),
  );
  const form = make(
    "form",
    {
      className: "vm-editor",
      onsubmit: (event) => {
        event.preventDefault();
        submit();
      },
      onkeydown: (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          event.stopPropagation();
          submit();
        }
      },
    },
    field("Original code at the site", original),
    replacements,
    field("Code behind the site (not patched)", behind),
    make(
      "div",
      { className: "vm-row" },
      make("button", { type: "submit", className: "vm-button vm-main" }, "Assemble and show"),
      add,
      drop,
      make(
        "span",
        { className: "vm-hint" },
        "Ctrl+Enter does the same. GNU assembler syntax; verw_selector and helper are there to use.",
      ),
    ),
    mistake,
  );
  const details = make("details", { className: "vm-more" }, make("summary", {}, "Type your own code"), form);

  function fillReplacements(pairs) {
    list(
      replacements,
      pairs,
      (index) =>
        make(
          "fieldset",
          { className: "vm-replacement" },
          make("legend", {}, `Replacement ${index + 1}`),
          field("Code", area(`replacement ${index + 1}`, 3)),
          make(
            "div",
            { className: "vm-row" },
            field("Feature", make("select")),
            make(
              "label",
              { className: "vm-check" },
              make("input", { type: "checkbox" }),
              make("span", {}, "where it is absent"),
            ),
          ),
        ),
      (set, [code, feature]) => {
        const [menu, absent] = [set.querySelector("select"), set.querySelector("input")];
        options(
          menu,
          known().map((name) => [name, name]),
          feature.replace(/^NOT /, ""),
        );
        const box = set.querySelector("textarea");
        if (box.value !== code) box.value = code;
        box.rows = Math.max(...pairs.map(([one]) => one.split("\n").length), 3);
        absent.checked = feature.startsWith("NOT ");
      },
    );
    add.disabled = pairs.length >= 3;
    drop.disabled = pairs.length <= 1;
  }

  function typedReplacements() {
    return [...replacements.children].map((set) => [
      set.querySelector("textarea").value,
      (set.querySelector("input").checked ? "NOT " : "") + set.querySelector("select").value,
    ]);
  }

  function text() {
    return { original: original.value, replacements: typedReplacements(), after: behind.value };
  }

  function fill(given) {
    const whole = given ?? { original: "", replacements: [["", known()[0]]], after: "" };
    original.value = whole.original;
    behind.value = whole.after;
    fillReplacements(whole.replacements);
  }

  /** @param {{ error: Part, mistake?: string }} frame */
  function draw({ error, mistake: said }) {
    form.classList.toggle("vm-wrong", Boolean(error));
    mistake.hidden = !error;
    say(mistake.firstChild, said ?? "");
    say(mistake.lastChild, error?.source ?? "");
    mistake.lastChild.hidden = !error?.source;
    for (const control of form.querySelectorAll("textarea")) {
      const here = Boolean(error) && control.dataset.place === error.place;
      if (here) {
        control.setAttribute("aria-invalid", "true");
        control.setAttribute("aria-describedby", mistake.id);
      } else {
        control.removeAttribute("aria-invalid");
        control.removeAttribute("aria-describedby");
      }
    }
    if (error) details.open = true;
  }

  return { details, fill, text, draw };
}
