// @ts-check
// What the views share. A view's own module imports it; for anywidget, Python makes one text of both (view.py).

/**
 * Make an element. Names that begin with "on" are listeners; the others are properties, or else attributes.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string)} children
 * @returns {Part}
 */
export function make(tag, properties = {}, ...children) {
  const element = /** @type {Part} */ (document.createElement(tag));
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/**
 * The same for SVG.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 * @returns {Part}
 */
export function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * Let an element say a text; nothing happens if it does already.
 * @param {Part} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * The same for what may be a long name: a line may end behind its `.`, `_` and `=`, before a word is cut in two.
 * @param {Part} element
 * @param {string} text
 */
export function sayName(element, text) {
  if (element.textContent === text) return;
  const parts = text.split(/(?<=[._=])/);
  element.replaceChildren(...parts.flatMap((part, at) => (at ? [make("wbr"), part] : [part])));
}

/**
 * Make `parent` show `items`: elements are reused in place, so focus stays and nothing flickers.
 * @param {Part} parent
 * @param {Part[]} items
 * @param {(index: number) => Part} create
 * @param {(element: Part, item: Part, index: number) => void} update
 */
export function list(parent, items, create, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  items.forEach((item, index) => {
    const element = parent.children[index] ?? parent.appendChild(create(index));
    update(element, item, index);
  });
}

/**
 * JupyterLab's command mode would take arrows, and letters typed at a select, for commands of its own.
 * @param {KeyboardEvent} event
 */
export function keepKeys(event) {
  if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
}

/**
 * An id of its own for each widget: each one loads its module anew, so no counter would do.
 * @param {string} prefix
 */
export function unique(prefix) {
  return `${prefix}-${Math.random().toString(36).slice(2)}`;
}

/**
 * What a menu offers, as pairs of value and text, and what is chosen.
 * @param {Part} select
 * @param {string[][]} pairs
 * @param {string} value
 */
export function options(select, pairs, value) {
  list(
    select,
    pairs,
    () => make("option"),
    (option, [name, text]) => {
      option.value = name;
      say(option, text);
    },
  );
  if (select.value !== value) select.value = value;
}

/**
 * A control under its label.
 * @param {string} label
 * @param {Part} control
 * @param {string} [className] one more
 */
export function field(label, control, className = "") {
  control.id ||= unique("vm-field");
  return make(
    "div",
    { className: `vm-field ${className}`.trim() },
    make("label", { htmlFor: control.id }, label),
    control,
  );
}

/**
 * A box to tick, or one of several to choose, with its text behind it.
 * @param {"checkbox" | "radio"} type
 * @param {Record<string, any>} attributes of the input
 */
export function chip(type, attributes) {
  return make("label", { className: "vm-chip" }, make("input", { type, ...attributes }), make("span"));
}

/**
 * @param {Part} label a chip
 * @param {boolean} on
 * @param {string} text
 */
export function drawChip(label, on, text) {
  label.firstChild.checked = on;
  say(label.lastChild, text);
}

/**
 * Names and what is said of each.
 * @param {Part} parent a list of terms
 * @param {string[][]} pairs
 */
export function drawPairs(parent, pairs) {
  list(
    parent,
    pairs,
    () => make("div", {}, make("dt"), make("dd")),
    (row, [name, ...values]) => {
      sayName(row.firstChild, name);
      say(row.lastChild, values.join(": "));
    },
  );
}

/**
 * Show a drawing that our own Python laid out, and remember how it looks without marks.
 * @param {Part} place
 * @param {string} drawing an SVG
 * @returns {Map<string, Part[]>} its groups by key
 */
export function showDrawing(place, drawing) {
  place.innerHTML = drawing;
  const groups = new Map();
  for (const group of place.querySelectorAll("[data-key]")) {
    group.dataset.base = group.getAttribute("class");
    for (const text of group.querySelectorAll("text")) text.dataset.base = text.textContent;
    groups.set(group.dataset.key, [...(groups.get(group.dataset.key) ?? []), group]);
  }
  return groups;
}

/**
 * Paint marks on a drawing: what a group is, and lines in place of its own; "\0" stands for its own line.
 * @param {Map<string, Part[]>} groups
 * @param {Record<string, { class: string, text?: string }>} marks by key
 */
export function paint(groups, marks) {
  for (const [key, same] of groups) {
    const mark = marks[key];
    const lines = mark?.text?.split("\n") ?? [];
    for (const group of same) {
      const name = `${group.dataset.base} ${mark?.class ?? ""}`.trim();
      if (group.getAttribute("class") !== name) group.setAttribute("class", name);
      [...group.querySelectorAll("text[data-base]")].forEach((text, index) => {
        say(text, lines[index] === undefined || lines[index] === "\0" ? text.dataset.base : lines[index]);
      });
    }
  }
}

const PATIENCE = 300; // ms that an answer may take before the page speaks of it

/**
 * Let a view say when what it shows belongs to a setting that has changed since: an answer may take its time, as from
 * a kernel that is busy, or never come. A state that is sent has a number, and the answer says up to which it goes.
 * @param {(view: View) => unknown} render
 */
export function waits(render) {
  /** @param {View} view */
  return (view) => {
    const { model, el } = view;
    const note = make(
      "p",
      { className: "vm-waits", role: "status", hidden: true },
      "Not answered yet: what stands below belongs to the setting before.",
    );
    let changed = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;

    function look() {
      const waiting = (model.get("asked") ?? 0) !== (model.get("answered") ?? 0);
      el.toggleAttribute("data-waits", waiting);
      el.setAttribute("aria-busy", String(waiting));
      clearTimeout(timer);
      if (waiting) timer = setTimeout(() => tell(true), PATIENCE);
      else tell(false);
    }

    /** @param {boolean} late */
    function tell(late) {
      note.hidden = !late;
      el.toggleAttribute("data-late", late);
    }

    /** @type {Model} */
    const asking = {
      get: (name) => model.get(name),
      set(name, value) {
        changed ||= name === "state";
        model.set(name, value);
      },
      save_changes() {
        if (changed) model.set("asked", (model.get("asked") ?? 0) + 1);
        changed = false;
        look();
        model.save_changes();
      },
      on: (event, hear) => model.on(event, hear),
      off: (event, hear) => model.off?.(event, hear),
      send: (content) => model.send?.(content),
    };
    el.append(note);
    const clean = render({ ...view, model: asking });
    model.on("change:answered", look);
    look();
    return () => {
      clearTimeout(timer);
      model.off?.("change:answered", look);
      if (typeof clean === "function") clean();
    };
  };
}

/**
 * The end of every view: what is said aloud, what went wrong, and the text twin, all as Python words them.
 * @param {View["model"]} model
 */
export function makeTail(model) {
  const status = make("p", { className: "vm-hidden", role: "status", "aria-live": "polite" });
  const mistake = make("p", { className: "vm-mistake", role: "alert" });
  const twin = make("pre", { tabIndex: 0, role: "group", "aria-label": "The view as text" });
  const details = make("details", { className: "vm-more" }, make("summary", {}, "As text"), twin);
  return {
    status,
    mistake,
    details,
    /** @param {Told} told */
    draw(told = model.get("frame")) {
      const { said = "", mistake: wrong = "", wrong: lines = [], text } = told;
      const opened = model.get("opened")?.line; // of the view that is open inside
      say(status, said);
      say(mistake, wrong);
      mistake.hidden = !wrong;
      say(twin, [...lines, ...text, ...(opened ? [opened] : [])].join("\n"));
    },
  };
}

/**
 * The room in which a view opens another inside itself: the other's own model and module, drawn by the host.
 * Python says in `inner` which it is, and in `opened` what is said of it.
 * @param {View} view
 * @param {{ label: string, close: string, leave: () => void }} words `leave` puts the focus back
 */
export function makeRoom({ model, host }, { label, close, leave }) {
  const place = make("div");
  const heading = make("h4", { tabIndex: -1 });
  const button = make("button", { type: "button", className: "vm-button", onclick: shut }, close);
  const section = make(
    "section",
    { className: "vm-room", "aria-label": label, hidden: true },
    make("div", { className: "vm-row" }, heading, button),
    place,
  );
  /** @type {string | null} */
  let drawn = null;
  let stop = new AbortController();
  let arriving = false;

  /** @param {object} asked what Python shall open */
  function open(asked) {
    arriving = true;
    model.send?.({ open: asked });
    if (drawn) arrive();
  }

  function shut() {
    model.send?.({ shut: true });
    leave();
  }

  function arrive() {
    if (!arriving) return;
    arriving = false;
    heading.focus({ preventScroll: true });
    section.scrollIntoView({ block: "nearest", behavior: "auto" });
  }

  async function draw() {
    const inner = model.get("inner") ?? null;
    say(heading, model.get("opened").heading ?? "");
    section.hidden = !inner;
    if (inner === drawn) return;
    drawn = inner;
    stop.abort();
    stop = new AbortController();
    const { signal } = stop;
    const el = make("div");
    place.replaceChildren(el);
    if (!inner) return;
    const widget = await host?.getWidget(inner);
    if (signal.aborted) return;
    await widget?.render({ el, signal });
    if (!signal.aborted) arrive();
  }

  return { section, open, shut, draw, stop: () => stop.abort() };
}

/**
 * Draw anew whenever what is drawn changes.
 * @param {View["model"]} model
 * @param {Record<string, () => void>} draws by what of the model changes
 * @param {() => void} [leave] what else is to be done when the view goes
 * @returns {() => void} what ends it
 */
export function follow(model, draws, leave = () => {}) {
  for (const [name, draw] of Object.entries(draws)) model.on(`change:${name}`, draw);
  return () => {
    for (const [name, draw] of Object.entries(draws)) model.off?.(`change:${name}`, draw);
    leave();
  };
}

/**
 * The head of a table, one row; the roles are for pages in which a table is not laid out as one.
 * @param {(string | Element)[]} titles a text, or a cell that the view changes
 */
export function makeHead(titles) {
  const cells = titles.map((title) =>
    typeof title === "string" ? make("th", { role: "columnheader", scope: "col" }, title) : title,
  );
  return make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...cells));
}
