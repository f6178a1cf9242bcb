// @ts-check
// HostView in the page: draws the frames that Python makes and sends back which report the reader wants.
// It knows nothing about kernels. The model needs get, set, save_changes and on; no kernel is assumed.

import {
  drawPairs,
  field,
  follow,
  keepKeys,
  list,
  make,
  makeHead,
  makeRoom,
  makeSvg,
  makeTail,
  options,
  say,
  unique,
  waits,
} from "../common.js";

const LIVE = "@live";
const OWN = "@pasted";
const OUTLINES = {
  M: "9,2 23,2 30,9 30,23 23,30 9,30 2,23 2,9",
  V: "16,2 31,29 1,29",
  N: "2,8 30,8 30,24 2,24",
  "?": "16,1 31,16 16,31 1,16",
  D: "2,2 22,2 30,16 22,30 2,30 10,16",
};

function outline(letter) {
  const text = makeSvg(
    "text",
    { x: letter === "D" ? 18 : 16, y: letter === "V" ? 26 : 21, "text-anchor": "middle" },
    letter,
  );
  return makeSvg(
    "svg",
    { viewBox: "0 0 32 32", class: "vm-shape", "aria-hidden": "true" },
    makeSvg("polygon", { points: OUTLINES[letter] }),
    text,
  );
}

function badge(letter, text) {
  return make("span", { className: "vm-says", "data-letter": letter }, outline(letter), make("span", {}, text));
}

/** @param {View} view */
function render({ model, el, host: page }) {
  const id = unique("vm-host");
  const frame = () => model.get("frame");

  function choose(state) {
    model.set("state", state);
    model.save_changes();
  }

  // --- which report --------------------------------------------------------------------------------------

  const which = make("select", {
    id: `${id}-which`,
    onchange: () => choose({ sample: which.value, pasted: null, live: false }),
  });
  const here = make(
    "button",
    {
      type: "button",
      className: "vm-button",
      onclick: () => choose({ sample: null, pasted: null, live: true }),
    },
    "Read the machine this notebook runs on",
  );
  const how = make("pre", { tabIndex: 0, role: "group", "aria-label": "The line to run on the other machine" });
  const about = make("p", { className: "vm-soft" });
  const paste = make("textarea", {
    id: `${id}-paste`,
    rows: 6,
    spellcheck: false,
    autocomplete: "off",
    onkeydown: (event) => {
      if (event.key === "Enter" && event.ctrlKey) explain(event);
    },
  });
  const other = make(
    "details",
    { className: "vm-more" },
    make("summary", {}, "Another machine"),
    make("p", {}, "Run this line there and paste what it prints. The output of lscpu will do, but tells less."),
    how,
    about,
    field("What it printed", paste),
    make("button", { type: "button", className: "vm-button vm-main", onclick: explain }, "Explain it"),
  );

  function explain(event) {
    event.preventDefault();
    event.stopPropagation();
    choose({ sample: null, pasted: paste.value, live: false });
  }

  function drawWhich() {
    const { samples, sample, source } = frame();
    const live = Boolean(model.get("state").live);
    const own = sample === null ? [[live ? LIVE : OWN, source]] : [];
    const pairs = [...own, ...samples.map((one) => [one.id, `Recorded: ${one.title}`])];
    options(which, pairs, sample ?? own[0][0]);
    for (const option of which.children) option.disabled = option.value.startsWith("@");
    say(how, frame().how);
    say(about, frame().about_how);
  }

  // --- the lines -----------------------------------------------------------------------------------------

  const title = make("h3");
  const notes = make("ul", { className: "vm-notes" });
  const rows = make("tbody", { role: "rowgroup" });
  const table = make(
    "table",
    {
      className: "vm-files",
      role: "table",
      "aria-label": "Vulnerabilities files: what the kernel says and what the model says",
    },
    makeHead(["Flaw", "The kernel says", "The model says"]),
    rows,
  );
  const legend = make("ul", { className: "vm-says-key", "aria-label": "What the marks mean" });

  function makeRow() {
    return make(
      "tr",
      { role: "row" },
      make("th", { scope: "row", role: "rowheader" }, make("div"), make("code")),
      make("td", { role: "cell" }, make("div"), make("code"), make("p", { className: "vm-soft" })),
      make(
        "td",
        { role: "cell" },
        make("div"),
        make("p"),
        make("p", { className: "vm-cause" }),
        make("details", { className: "vm-fine" }, make("summary", {}, "Why"), make("dl", { className: "vm-reasons" })),
      ),
    );
  }

  function mark(place, letter, text) {
    if (place.dataset.shown === `${letter} ${text}`) return;
    place.dataset.shown = `${letter} ${text}`;
    place.replaceChildren(...(letter ? [badge(letter, text)] : []));
  }

  function drawRow(row, one) {
    const [head, said, model_] = row.children;
    say(head.children[0], one.title);
    say(head.children[1], one.file);
    mark(said.children[0], one.letter, one.status);
    say(said.children[1], one.kernel);
    say(said.children[2], one.words);
    mark(model_.children[0], one.differs ? "D" : "", "differs");
    say(model_.children[1], one.agreement);
    say(model_.children[2], one.cause);
    model_.children[2].hidden = !one.cause;
    const more = model_.children[3];
    more.hidden = !one.why.length;
    list(
      more.lastChild,
      one.why,
      () => make("div", {}, make("dt"), make("dd")),
      (pair, [subject, outcome, reason]) => {
        say(pair.firstChild, `${subject}: ${outcome}`);
        say(pair.lastChild, reason);
      },
    );
  }

  function drawLines() {
    say(title, frame().title);
    list(
      notes,
      frame().notes,
      () => make("li"),
      (item, text) => say(item, text),
    );
    notes.hidden = !frame().notes.length;
    list(rows, frame().rows, makeRow, drawRow);
    list(
      legend,
      frame().legend,
      () => make("li"),
      (item, one) => {
        if (!item.firstChild) item.append(badge(one.letter, one.text));
      },
    );
  }

  // --- the host ------------------------------------------------------------------------------------------

  const host = make("dl", { className: "vm-pairs" });
  const known = make("dl", { className: "vm-pairs vm-sources" });
  const unknown = make("dl", { className: "vm-pairs vm-sources" });

  // --- VM-Enter ------------------------------------------------------------------------------------------

  const word = make("span", { className: "vm-badge" });
  const sentences = make("div", { className: "vm-sentences" });
  const next = make("dl", { className: "vm-commands" });
  const open = make(
    "button",
    { type: "button", className: "vm-button vm-main", onclick: () => room.open(frame().explorer) },
    "Open this host in the EntryExplorer",
  );

  function drawEntry() {
    const { kept, mark, word: verdict } = frame();
    word.className = `vm-badge ${kept === null ? "" : kept ? "vm-good" : "vm-bad"}`;
    say(word, `${mark} ${verdict}`);
    list(
      sentences,
      frame().sentences,
      () => make("p"),
      (item, text) => say(item, text),
    );
    list(
      next,
      frame().commands,
      () => make("div", {}, make("dt"), make("dd", {}, make("code"))),
      (row, [name, command]) => {
        say(row.firstChild, name);
        say(row.lastChild.firstChild, command);
      },
    );
    open.hidden = !frame().explorer;
  }

  // --- the explorer below --------------------------------------------------------------------------------

  const room = makeRoom(
    { model, el, host: page },
    { label: "EntryExplorer of this host", close: "Close", leave: () => open.focus() },
  );

  // --- the whole -----------------------------------------------------------------------------------------

  const tail = makeTail(model);
  const root = make(
    "section",
    { className: "vm vm-view vm-heads vm-host", "aria-label": "A machine explained", onkeydown: keepKeys },
    make("div", { className: "vm-which" }, field("Report of", which), here),
    other,
    tail.status,
    tail.mistake,
    title,
    notes,
    table,
    legend,
    make(
      "div",
      { className: "vm-both" },
      make(
        "section",
        { "aria-label": "The host" },
        make("h4", {}, "The host, as far as it can be inferred"),
        host,
        make("details", { className: "vm-fine" }, make("summary", {}, "Inferred from what"), known),
        make("details", { className: "vm-fine" }, make("summary", {}, "What nothing here tells"), unknown),
      ),
      make(
        "section",
        { "aria-label": "VM-Enter" },
        make("h4", {}, "What a VM-Enter does here"),
        word,
        sentences,
        next,
        open,
      ),
    ),
    room.section,
    tail.details,
  );

  function drawAll() {
    drawWhich();
    drawLines();
    drawPairs(host, frame().host);
    drawPairs(known, frame().known);
    drawPairs(unknown, frame().unknown);
    drawEntry();
    tail.draw();
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
