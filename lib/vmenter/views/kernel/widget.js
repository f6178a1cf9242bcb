// @ts-check
// KernelBrowser in the page: draws the frames that Python makes and sends back what the reader looks for.
// It knows nothing about kernels. The model needs get, set, save_changes and on; no kernel is assumed.

import {
  chip,
  drawChip,
  field,
  follow,
  keepKeys,
  list,
  make,
  makeRoom,
  makeTail,
  options,
  say,
  unique,
  waits,
} from "../common.js";

const TYPING = 200; // milliseconds of rest before what is typed is looked for

/** @param {View} view */
function render({ model, el, host }) {
  const id = unique("vm-kernel");
  const frame = () => model.get("frame");
  let active = 0; // of the page's rows: the one that Tab comes to
  /** @type {number | null} */
  let wanted = null; // the row to focus once its page is here
  /** @type {number | undefined} */
  let timer;

  function choose(change) {
    clearTimeout(timer);
    model.set("state", { ...model.get("state"), ...typed(), ...change });
    model.save_changes();
  }

  // --- what to show --------------------------------------------------------------------------------------

  const typed = () => ({ function: inFunction.value, text: inCode.value });
  const search = (event) => {
    if (event.key === "Enter") choose({ top: 0 });
  };
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => choose({ top: 0 }), TYPING);
  };
  const box = (name, hint) =>
    make("input", {
      type: "search",
      id: `${id}-${name}`,
      spellcheck: false,
      autocomplete: "off",
      placeholder: hint,
      oninput: later,
      onkeydown: search,
    });
  const inFunction = box("function", "part of a name");
  const inCode = box("text", "such as verw");
  const feature = make("select", { id: `${id}-feature`, onchange: () => choose({ feature: feature.value, top: 0 }) });
  const changed = make("input", { type: "checkbox", onchange: () => choose({ changed: changed.checked, top: 0 }) });
  const cpu = make("select", {
    id: `${id}-cpu`,
    onchange: () => choose({ cpu: cpu.value || null, features: cpu.value ? null : on(), top: 0 }),
  });
  const chips = make("div", { className: "vm-chips" });
  const chosen = make("summary");
  const taken = make("p", { className: "vm-soft" });
  const on = () =>
    frame()
      .features.filter((one) => one.on)
      .map((one) => one.name);

  function toggle(index) {
    const name = frame().features[index].name;
    const names = new Set(on());
    if (!names.delete(name)) names.add(name);
    choose({ cpu: null, features: [...names] });
  }

  function drawChoices() {
    const state = model.get("state");
    const { features, cpus } = frame();
    options(
      feature,
      [["", "any"], ...features.map((one) => [one.name, `${one.name} (${one.sites})`])],
      state.feature || "",
    );
    options(cpu, [["", "features chosen one by one"], ...cpus.map((one) => [one.id, one.title])], frame().cpu ?? "");
    changed.checked = Boolean(state.changed);
    for (const [control, value] of [
      [inFunction, state.function],
      [inCode, state.text],
    ]) {
      if (document.activeElement !== control && control.value !== (value ?? "")) control.value = value ?? "";
    }
    say(chosen, `Features that are on: ${on().length} of ${features.length}`);
    say(taken, frame().taken);
    taken.hidden = !frame().cpu;
    list(
      chips,
      features,
      (index) => chip("checkbox", { onchange: () => toggle(index) }),
      (label, one) => {
        drawChip(label, one.on, one.name);
        label.firstChild.disabled = one.fixed; // every CPU has it
      },
    );
  }

  // --- the rows ------------------------------------------------------------------------------------------

  const heads = make("tr", { role: "row", "aria-rowindex": 1 });
  const rows = make("tbody", { role: "rowgroup", onkeydown: onKey });
  const grid = make(
    "table",
    {
      role: "grid",
      className: "vm-sites",
      "aria-label":
        "Alternative sites. Arrow keys, Page Up and Down, Home and End move; Enter opens a site on the bench.",
    },
    make("thead", { role: "rowgroup" }, heads),
    rows,
  );
  const legend = make(
    "p",
    { className: "vm-soft" },
    "\u25cf this feature is on \u00a0 \u25cb it is off \u00a0 \u2192 this entry decides",
  );
  const first = pager("First", () => turn(0));
  const back = pager("\u2190 Previous", () => turn(frame().top - frame().page));
  const next = pager("Next \u2192", () => turn(frame().top + frame().page));
  const last = pager("Last", () => turn(frame().found - 1));

  const pages = make("div", { className: "vm-row", role: "group", "aria-label": "Pages" }, first, back, next, last);

  function pager(text, onclick) {
    return make(
      "button",
      {
        type: "button",
        className: "vm-button",
        onclick: (event) => {
          if (event.currentTarget.getAttribute("aria-disabled") !== "true") onclick();
        },
      },
      text,
    );
  }

  function turn(top) {
    choose({ top: Math.max(0, Math.min(top, frame().found - 1)) });
  }

  function sort(column) {
    const { sort: now } = frame().columns.find((one) => one.id === column);
    choose({ sort: column, descending: now === "ascending", top: 0 });
  }

  function focusRow(index) {
    active = Math.max(0, Math.min(index, frame().rows.length - 1));
    [...rows.children].forEach((row, at) => {
      row.tabIndex = at === active ? 0 : -1;
    });
    rows.children[active]?.focus();
  }

  // The row `to`, counted over all pages: on this page at once, on another once it is here.
  function go(to) {
    const { top, page, found } = frame();
    const row = Math.max(0, Math.min(to, found - 1));
    if (row >= top && row < top + frame().rows.length) return focusRow(row - top);
    wanted = row % page;
    turn(row);
  }

  function onKey(event) {
    const here = frame().top + active;
    const { page, found } = frame();
    const moves = {
      ArrowDown: here + 1,
      ArrowUp: here - 1,
      PageDown: here + page,
      PageUp: here - page,
      Home: 0,
      End: found - 1,
    };
    if (event.altKey || event.metaKey || (event.ctrlKey && !["Home", "End"].includes(event.key))) return;
    if (event.key in moves) go(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") show(active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function makeRow(index) {
    return make(
      "tr",
      {
        role: "row",
        onclick: () => {
          focusRow(index);
          show(index);
        },
        onfocus: () => {
          active = index;
        },
      },
      make("th", { role: "rowheader", scope: "row" }, make("code")),
      make("td", { role: "gridcell" }),
      make("td", { role: "gridcell", className: "vm-entries" }),
      make("td", { role: "gridcell", className: "vm-number" }),
      make("td", { role: "gridcell", className: "vm-becomes" }, make("code"), make("span"), make("code")),
    );
  }

  function drawRow(row, one, index) {
    const [site, where, entries, length, becomes] = row.children;
    row.tabIndex = index === active ? 0 : -1;
    row.setAttribute("aria-rowindex", frame().top + index + 2);
    row.setAttribute("aria-selected", String(model.get("opened").site === one.address));
    say(site.firstChild, one.label);
    say(where, one.function);
    list(
      entries,
      one.entries,
      () => make("span"),
      (item, entry) => {
        item.className = entry.chosen ? "vm-chosen" : "";
        say(item, `${entry.chosen ? "\u2192" : "\u00a0"} ${entry.on ? "\u25cf" : "\u25cb"} ${entry.text}`);
        item.setAttribute("aria-label", `${entry.text}, ${entry.on ? "on" : "off"}${entry.chosen ? ", decides" : ""}`);
        item.setAttribute("role", "img");
      },
    );
    say(length, String(one.length));
    const differs = one.outcome === "changed";
    say(becomes.children[0], one.original);
    say(becomes.children[1], differs ? " \u2192 " : ` (${one.patched})`);
    say(becomes.children[2], differs ? one.patched : "");
    row.dataset.outcome = one.outcome;
  }

  function drawRows() {
    const { columns, found, top, page } = frame();
    list(
      heads,
      columns,
      (index) =>
        make(
          "th",
          { role: "columnheader", scope: "col" },
          make(
            "button",
            { type: "button", onclick: () => sort(frame().columns[index].id) },
            make("span"),
            make("i", { "aria-hidden": "true" }),
          ),
        ),
      (head, one) => {
        head.setAttribute("aria-sort", one.sort);
        say(head.firstChild.firstChild, one.title);
        say(head.firstChild.lastChild, { ascending: " \u25b2", descending: " \u25bc", none: "" }[one.sort]);
      },
    );
    grid.setAttribute("aria-rowcount", found + 1);
    active = Math.max(0, Math.min(active, frame().rows.length - 1));
    list(rows, frame().rows, makeRow, drawRow);
    for (const [button, off] of [
      [first, !top],
      [back, !top],
      [next, top + page >= found],
      [last, top + page >= found],
    ]) {
      button.setAttribute("aria-disabled", String(off));
    }
    pages.hidden = found <= page;
    if (wanted === null) return;
    focusRow(wanted);
    wanted = null;
  }

  // --- the bench below -----------------------------------------------------------------------------------

  const room = makeRoom(
    { model, el, host },
    { label: "This site on the bench", close: "Close (Escape)", leave: () => focusRow(active) },
  );
  room.section.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      room.shut();
    },
    true,
  );

  function show(index) {
    const row = frame().rows[index];
    if (row) room.open({ ...frame().bench, site: row.address });
  }

  // --- the whole -----------------------------------------------------------------------------------------

  const title = make("h3");
  const about = make("p", { className: "vm-soft" });
  const note = make("p", { className: "vm-soft" });
  const tail = makeTail(model);
  tail.status.className = "vm-count";
  const root = make(
    "section",
    { className: "vm vm-view vm-heads vm-kernel", "aria-label": "Alternatives of an image", onkeydown: keepKeys },
    make("div", {}, title, about, note),
    make(
      "div",
      { className: "vm-filters", role: "search", "aria-label": "Which sites" },
      field("Feature", feature),
      field("Function", inFunction),
      field("In the code", inCode),
      make("label", { className: "vm-chip" }, changed, make("span", {}, "only what changes")),
    ),
    make("div", { className: "vm-filters" }, field("Patched for", cpu, "vm-wide")),
    make("details", { className: "vm-fine" }, chosen, chips),
    taken,
    tail.mistake,
    tail.status,
    grid,
    legend,
    pages,
    room.section,
    tail.details,
  );

  function drawAll() {
    say(title, frame().title);
    say(about, frame().about);
    say(note, frame().note);
    note.hidden = !frame().note;
    drawChoices();
    drawRows();
    tail.draw();
  }

  function drawOpened() {
    room.draw();
    drawRows();
    tail.draw();
  }

  drawAll();
  room.draw();
  el.append(root);
  return follow(model, { frame: drawAll, opened: drawOpened }, () => {
    clearTimeout(timer);
    room.stop();
  });
}

export default { render: waits(render) };
