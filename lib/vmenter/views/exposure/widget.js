// @ts-check
// ExposureMap in the page: draws the frames that Python makes and sends back the changes that stand in them.
// It knows nothing about kernels. The model needs get, set, save_changes and on; no kernel is assumed.

import { drawPairs, field, follow, keepKeys, list, make, makeRoom, makeTail, say, unique, waits } from "../common.js";
import { mark } from "./mark.js";

/** @param {View} view */
function render({ model, el, host }) {
  const id = unique("vm-map");
  const frame = () => model.get("frame");

  function choose(change) {
    model.set("state", { ...model.get("state"), ...change });
    model.save_changes();
  }

  // A change that may take away what has the focus: then the grid has it.
  function go(change) {
    refocus = true;
    choose(change);
  }

  // --- what is looked at ---------------------------------------------------------------------------------

  const looks = make("div", { className: "vm-chips", role: "group", "aria-label": "Start with" });
  const first = make("select", { id: `${id}-first`, onchange: () => resplit(first.value, second.value) });
  const second = make("select", { id: `${id}-second`, onchange: () => resplit(first.value, second.value) });
  const crumbs = make("ul", { className: "vm-crumbs", "aria-label": "Zoomed in on" });
  const size = make("p", { className: "vm-size" });

  function resplit(one, two) {
    choose({ split: two && two !== one ? [one, two] : [one], cell: null });
  }

  function drawAxes() {
    const groups = new Map();
    for (const { name, group } of frame().axes) groups.set(group, [...(groups.get(group) ?? []), name]);
    const signature = JSON.stringify(frame().axes);
    for (const [select, empty, value] of [
      [first, [], frame().split[0]],
      [second, ["nothing more"], frame().split[1] ?? ""],
    ]) {
      if (select.dataset.axes !== signature) {
        select.dataset.axes = signature;
        select.replaceChildren(
          ...empty.map((text) => make("option", { value: "" }, text)),
          ...[...groups].map(([group, names]) =>
            make("optgroup", { label: group }, ...names.map((name) => make("option", { value: name }, name))),
          ),
        );
      }
      if (select.value !== value) select.value = value;
    }
  }

  function drawLooks() {
    list(
      looks,
      frame().looks,
      (index) =>
        make("button", {
          type: "button",
          className: "vm-button vm-look",
          onclick: () => choose(frame().looks[index].state),
        }),
      (button, one) => {
        say(button, one.text);
        button.setAttribute("aria-pressed", String(one.on));
      },
    );
  }

  function drawCrumbs() {
    const wide = { text: "everything", state: null };
    list(
      crumbs,
      [wide, ...frame().narrowed],
      () => make("li"),
      (item, one, index) => {
        const key = JSON.stringify(one);
        if (item.dataset.key === key) return;
        item.dataset.key = key;
        item.replaceChildren(
          index === 0
            ? make("span", { className: "vm-soft" }, one.text)
            : make(
                "button",
                {
                  type: "button",
                  className: "vm-button vm-crumb",
                  "aria-label": `${one.text}; widen again`,
                  onclick: () => go(one.state),
                },
                make("span", {}, one.text),
                make("span", { className: "vm-away", "aria-hidden": "true" }, "\u00d7"),
              ),
        );
      },
    );
    say(size, frame().size);
  }

  // --- the grid ------------------------------------------------------------------------------------------

  const head = make("thead", { role: "rowgroup" });
  const body = make("tbody", { role: "rowgroup" });
  const table = make(
    "table",
    {
      role: "grid",
      className: "vm-grid",
      "aria-label": "Eras and configurations",
      "aria-describedby": `${id}-keys`,
      onkeydown: press,
    },
    head,
    body,
  );
  /** @type {string | null} */
  let laid = null; // what the grid is made of: eras and columns
  /** @type {Part[][]} */
  let slots = []; // what can have the focus, row by row, heads first
  /** @type {Part} */
  let at = null; // [row, column] of the one in the tab order
  let refocus = false;
  let opening = false;

  function headButton(one, what) {
    return make(
      "button",
      {
        type: "button",
        className: "vm-zoom",
        tabIndex: -1,
        "aria-label": `${what}; zoom in`,
        onclick: () => go(one.state),
      },
      make("span", {}, one.text),
    );
  }

  function layOut() {
    const { groups, columns, rows, split } = frame();
    const starts = new Set();
    let start = 1;
    for (const group of groups) {
      starts.add(start);
      start += group.span;
    }
    const edge = (index) => (starts.has(index) || index === 1 ? " vm-edge" : "");
    const all = (span) => make("th", { scope: "col", role: "columnheader", rowSpan: span, className: "vm-all" }, "all");
    const corner = (text) => make("td", { role: "presentation", className: "vm-corner" }, text);
    const leaves = columns.slice(1).map((one) => headButton(one, one.name));
    const tops = groups.map((one) => headButton(one, `${split[0]}: ${one.text}`));
    head.replaceChildren(
      ...(groups.length
        ? [
            make(
              "tr",
              { role: "row" },
              corner(split[0]),
              all(2),
              ...groups.map((one, index) =>
                make(
                  "th",
                  { scope: "colgroup", role: "columnheader", colSpan: one.span, className: "vm-group-head vm-edge" },
                  tops[index],
                ),
              ),
            ),
          ]
        : []),
      make(
        "tr",
        { role: "row" },
        corner(split.at(-1)),
        ...(groups.length ? [] : [all(1)]),
        ...leaves.map((button, index) =>
          make("th", { scope: "col", role: "columnheader", className: `vm-leaf${edge(index + 1)}` }, button),
        ),
      ),
    );
    body.replaceChildren(
      ...rows.map((row) =>
        make(
          "tr",
          { role: "row" },
          make(
            "th",
            { scope: "row", role: "rowheader", title: row.title },
            make("code", {}, row.era),
            make("span", { className: "vm-soft" }, row.release),
          ),
          ...row.cells.map((_, index) =>
            make("td", {
              role: "gridcell",
              tabIndex: -1,
              onclick: (event) => focusOn(event.currentTarget),
              ondblclick: open,
              className: `vm-cell${index === 0 ? " vm-all" : edge(index)}`,
            }),
          ),
        ),
      ),
    );
    slots = [
      ...(groups.length ? [[null, ...groups.flatMap((one, index) => Array(one.span).fill(tops[index]))]] : []),
      [null, ...leaves],
      ...[...body.rows].map((row) => [...row.querySelectorAll("td")]),
    ];
    table.style.setProperty("--columns", columns.length);
    table.classList.toggle("vm-many", columns.length > 9);
  }

  const heads = () => slots.length - frame().rows.length;

  function drawGrid() {
    const { columns, rows, cell, groups, split } = frame();
    const signature = JSON.stringify([split, groups, columns, rows.map((row) => row.era)]);
    const had = refocus || table.contains(document.activeElement);
    if (laid !== signature) {
      laid = signature;
      layOut();
      at = null;
    }
    const row = rows.findIndex((one) => one.era === cell[0]);
    const column = columns.findIndex((one) => JSON.stringify(one.key) === JSON.stringify(cell[1]));
    for (const [r, one] of rows.entries()) {
      for (const [c, content] of one.cells.entries()) {
        const td = slots[heads() + r][c];
        const key = JSON.stringify(content);
        td.setAttribute("aria-selected", String(r === row && c === column));
        if (td.dataset.key === key) continue;
        td.dataset.key = key;
        td.dataset.kind = content.kind;
        td.style.setProperty("--part", content.part);
        td.setAttribute("aria-label", content.name);
        td.replaceChildren(
          ...(content.kind === "none"
            ? []
            : [
                make(
                  "div",
                  { className: "vm-marks" },
                  mark(content.kind, content.letter),
                  ...[...content.also].map((letter) => make("b", { className: "vm-also" }, letter)),
                ),
                make("span", { className: "vm-share" }, content.share),
              ]),
        );
      }
    }
    if (!at) rove([heads() + row, column], had);
    refocus = false;
  }

  function rove(to, focus) {
    if (at) slots[at[0]]?.[at[1]]?.setAttribute("tabindex", "-1");
    at = to;
    const element = slots[at[0]][at[1]];
    element.setAttribute("tabindex", "0");
    if (focus) element.focus({ preventScroll: false });
  }

  function place(element) {
    const row = slots.findIndex((one) => one.includes(element));
    return [row, slots[row].indexOf(element)];
  }

  function focusOn(element) {
    rove(place(element), true);
    select();
  }

  // What the cell in the tab order stands for; a head stands for nothing.
  function here() {
    const row = at[0] - heads();
    return row < 0 ? null : [frame().rows[row].era, frame().columns[at[1]].key];
  }

  function select() {
    const cell = here();
    if (cell && JSON.stringify(cell) !== JSON.stringify(model.get("state").cell)) choose({ cell });
  }

  function press(event) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const from = slots[at[0]][at[1]];
    /** @type {Part} */
    let to = null;
    if (event.key in steps) {
      const [down, right] = steps[event.key];
      to = [at[0] + down, at[1] + right];
      while (slots[to[0]]?.[to[1]] === from) to = [to[0] + down, to[1] + right]; // a head over several columns
    } else if (event.key === "Home") to = event.ctrlKey ? [heads(), 0] : [at[0], slots[at[0]][0] ? 0 : 1];
    else if (event.key === "End") to = [event.ctrlKey ? slots.length - 1 : at[0], slots[at[0]].length - 1];
    else if (event.key === "Enter" && here()) open();
    else if (event.key === "Escape" && frame().narrowed.length) go(frame().narrowed.at(-1).state);
    else return;
    event.preventDefault();
    if (!to || !slots[to[0]]?.[to[1]]) return;
    rove(to, true);
    select();
  }

  // --- the selected cell ---------------------------------------------------------------------------------

  const badge = make("div", { className: "vm-what-mark" });
  const title = make("h4");
  const column = make("p", { className: "vm-soft" });
  const said = make("p", { className: "vm-said" });
  const example = make("p");
  const verdict = make("p", { className: "vm-verdict-line" });
  const command = make("pre", { tabIndex: 0, "aria-label": "The same on the command line" });
  const button = make(
    "button",
    { type: "button", className: "vm-button vm-main", onclick: open },
    "Open it in the EntryExplorer",
  );
  const shared = make("dl", { className: "vm-pairs" });
  const sharing = make("div", {}, make("h5", {}, "All of them have"), shared);
  const detail = make(
    "section",
    { className: "vm-detail", "aria-label": "The selected cell" },
    make("div", {}, make("header", {}, badge, make("div", {}, title, column)), said, example, verdict, command, button),
    sharing,
  );

  function drawDetail() {
    const one = frame().detail;
    detail.dataset.kind = one.kind;
    badge.replaceChildren(...(one.kind === "none" ? [] : [mark(one.kind, one.letter)]));
    say(title, `${one.era}: ${one.title}`);
    say(column, one.where);
    say(said, one.said.join(" "));
    say(example, one.example ? `${one.example}: ${one.settings}.` : "");
    say(verdict, one.verdict ?? "");
    verdict.hidden = example.hidden = !one.example;
    const words = (one.replay ?? "").split(" ").flatMap((word, at) => [...(at ? [" "] : []), make("span", {}, word)]);
    if (command.textContent !== (one.replay ?? "")) command.replaceChildren(...words); // lines end between words only
    command.hidden = !one.replay;
    button.hidden = !one.explorer;
    drawPairs(shared, one.shared);
    sharing.hidden = !one.shared.length;
  }

  // --- the explorer below --------------------------------------------------------------------------------

  const room = makeRoom(
    { model, el, host },
    { label: "The opened configuration", close: "Close, back to the map", leave: () => rove(at, true) },
  );

  // The selected cell's frame may still be on its way.
  function open() {
    const cell = here() ?? frame().cell;
    opening = JSON.stringify(frame().cell) !== JSON.stringify(cell);
    if (opening || !frame().detail.explorer) return;
    room.open(frame().detail.explorer);
  }

  // --- the whole -----------------------------------------------------------------------------------------

  const legend = make("ul", { className: "vm-key", "aria-label": "What the marks mean" });
  const tail = makeTail(model);
  const root = make(
    "section",
    { className: "vm vm-view vm-map", "aria-label": "Exposure map", onkeydown: keepKeys },
    looks,
    make(
      "div",
      { className: "vm-cut" },
      field("Columns", first),
      field("divided by", second),
      make("div", { className: "vm-field vm-trail" }, make("span", {}, "Zoomed in on"), crumbs),
    ),
    size,
    tail.mistake,
    make("div", { className: "vm-scroll" }, table),
    legend,
    make(
      "p",
      { id: `${id}-keys`, className: "vm-fine" },
      "Click a column\u2019s head to zoom in, a cell for what is in it. Keys: arrows, Home, End; Enter zooms in or opens, Escape zooms out. A share counts configurations, not machines in use.",
    ),
    tail.status,
    detail,
    room.section,
    tail.details,
  );

  function drawLegend() {
    list(
      legend,
      frame().legend,
      () => make("li"),
      (item, one) => {
        if (item.dataset.kind === one.kind) return;
        item.dataset.kind = one.kind;
        item.replaceChildren(
          one.kind === "none"
            ? make("span", { className: "vm-blank", "aria-hidden": "true" })
            : mark(one.kind, one.letter),
          make("span", {}, one.text),
        );
      },
    );
  }

  function drawAll() {
    drawLooks();
    drawAxes();
    drawCrumbs();
    drawGrid();
    drawLegend();
    drawDetail();
    tail.draw();
    if (opening) open();
  }

  function drawOpened() {
    room.draw();
    tail.draw();
  }

  drawAll();
  room.draw();
  el.append(root);
  return follow(model, { frame: drawAll, opened: drawOpened }, room.stop);
}

export default { render: waits(render) };
