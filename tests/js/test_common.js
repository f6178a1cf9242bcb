// The views' shared JavaScript, over a document without a browser.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Window } from "happy-dom";

const window = new Window();
globalThis.document = window.document;

const common = await import("../../lib/vmenter/views/common.js");
const { make, makeSvg, say, list, options, field, chip, drawChip, drawPairs, showDrawing, paint } = common;
const { follow, keepKeys, makeHead, makeTail, makeRoom, unique } = common;

afterEach(() => document.body.replaceChildren());

test("an element gets properties, attributes, listeners and children", () => {
  let clicked = 0;
  const button = make("button", { className: "one", "aria-label": "Go", onclick: () => clicked++ }, "text", make("b"));
  button.click();
  assert.equal(clicked, 1);
  assert.equal(button.className, "one");
  assert.equal(button.getAttribute("aria-label"), "Go");
  assert.equal(button.innerHTML, "text<b></b>");
  assert.equal(makeSvg("circle", { r: 3 }).getAttribute("r"), "3");
});

test("a text that is there already is not written again", () => {
  const place = make("p", {}, "same");
  const node = place.firstChild;
  say(place, "same");
  assert.equal(place.firstChild, node);
  say(place, "other");
  assert.equal(place.textContent, "other");
});

test("a list reuses its elements, grows and shrinks", () => {
  const place = make("ul");
  const show = (items) => list(place, items, () => make("li"), say);
  show(["a", "b"]);
  const [first] = place.children;
  show(["c"]);
  assert.deepEqual([...place.children], [first]);
  assert.equal(place.textContent, "c");
  show(["c", "d", "e"]);
  assert.equal(place.children[0], first);
  assert.equal(place.textContent, "cde");
  show([]);
  assert.equal(place.children.length, 0);
});

test("a menu offers pairs and shows what is chosen", () => {
  const menu = make("select");
  const pairs = [
    ["a", "first"],
    ["b", "second"],
  ];
  options(menu, pairs, "b");
  assert.equal(menu.value, "b");
  assert.deepEqual(
    [...menu.children].map((one) => one.textContent),
    ["first", "second"],
  );
  options(menu, pairs.slice(0, 1), "a");
  assert.equal(menu.children.length, 1);
  assert.equal(menu.value, "a");
});

test("a field's label names its control, with an id of its own unless it has one", () => {
  const [one, other] = [make("input"), make("input", { id: "mine" })];
  const row = field("Name", one, "vm-wide");
  assert.equal(row.className, "vm-field vm-wide");
  assert.equal(row.firstChild.htmlFor, one.id);
  assert.notEqual(one.id, "");
  assert.equal(field("Name", other).firstChild.htmlFor, "mine");
  assert.notEqual(unique("x"), unique("x"));
});

test("a chip is a box with its text", () => {
  const label = chip("radio", { name: "some" });
  drawChip(label, true, "words");
  assert.equal(label.firstChild.checked, true);
  assert.equal(label.textContent, "words");
  drawChip(label, false, "words");
  assert.equal(label.firstChild.checked, false);
});

test("pairs are terms and what is said of them, however many parts", () => {
  const place = make("dl");
  drawPairs(place, [
    ["bugs", "mds"],
    ["microcode", "md_clear", "from a line"],
  ]);
  const rows = [...place.children].map((row) => [...row.children].map((one) => one.textContent));
  assert.deepEqual(rows, [
    ["bugs", "mds"],
    ["microcode", "md_clear: from a line"],
  ]);
});

const DRAWING =
  '<svg><g data-key="a" class="block"><text>own</text><text>second</text></g><g data-key="a" class="edge"></g></svg>';

test("marks are painted on a drawing, and taken away again", () => {
  const place = make("div");
  const groups = showDrawing(place, DRAWING);
  const [block, edge] = groups.get("a");
  paint(groups, { a: { class: "ran", text: "\0\nchanged" } });
  assert.equal(block.getAttribute("class"), "block ran");
  assert.equal(edge.getAttribute("class"), "edge ran");
  const texts = () => [...block.querySelectorAll("text")].map((one) => one.textContent);
  assert.deepEqual(texts(), ["own", "changed"]);
  paint(groups, {});
  assert.equal(block.getAttribute("class"), "block");
  assert.deepEqual(texts(), ["own", "second"]);
});

test("keys stay in the view, but for those of the browser", () => {
  let stopped = 0;
  const press = (more) => keepKeys({ ctrlKey: false, metaKey: false, stopPropagation: () => stopped++, ...more });
  press({});
  assert.equal(stopped, 1);
  press({ ctrlKey: true });
  press({ metaKey: true });
  assert.equal(stopped, 1);
});

test("the tail tells what Python words: what is said, what is wrong, the twin, what is open", () => {
  const values = { frame: { said: "all well", text: ["one", "two"] } };
  const tail = makeTail({ get: (name) => values[name] });
  const twin = tail.details.querySelector("pre");
  tail.draw();
  assert.equal(tail.status.textContent, "all well");
  assert.equal(tail.mistake.hidden, true);
  assert.equal(twin.textContent, "one\ntwo");
  values.opened = { line: "Opened: it" };
  tail.draw({ text: ["one"], mistake: "no such thing", wrong: ["not shown", ""] });
  assert.equal(tail.mistake.textContent, "no such thing");
  assert.equal(tail.mistake.hidden, false);
  assert.equal(twin.textContent, "not shown\n\none\nOpened: it");
});

// A view's model whose Python opens what it is asked for; the host draws its name.
function opener() {
  const values = { inner: null, opened: {} };
  const seen = { asked: [], stopped: [], left: 0, waiting: null };
  const model = { get: (name) => values[name], send: (content) => seen.asked.push(content) };
  const host = {
    getWidget: async (name) => {
      await seen.waiting;
      return {
        render({ el, signal }) {
          el.append(name);
          signal.addEventListener("abort", () => seen.stopped.push(name));
        },
      };
    },
  };
  const room = makeRoom({ model, host }, { label: "Room", close: "Close", leave: () => seen.left++ });
  room.section.scrollIntoView = () => {};
  document.body.append(room.section);
  const tell = async (changes) => {
    Object.assign(values, changes);
    await room.draw();
  };
  return { room, seen, tell };
}

test("a room is hidden until Python has opened something; then it has the focus", async () => {
  const { room, seen, tell } = opener();
  await room.draw();
  assert.equal(room.section.hidden, true);
  room.open({ era: "v4" });
  assert.deepEqual(seen.asked, [{ open: { era: "v4" } }]);
  await tell({ inner: "w1", opened: { heading: "An era" } });
  assert.equal(room.section.hidden, false);
  assert.equal(room.section.querySelector("h4").textContent, "An era");
  assert.equal(room.section.lastChild.textContent, "w1");
  assert.equal(document.activeElement, room.section.querySelector("h4"));
});

test("a view that is open already is not drawn again, and gets the focus at once", async () => {
  const { room, seen, tell } = opener();
  await tell({ inner: "w1" });
  const drawn = room.section.lastChild.firstChild;
  assert.notEqual(document.activeElement, room.section.querySelector("h4"));
  room.open({});
  assert.equal(document.activeElement, room.section.querySelector("h4"));
  await tell({ opened: { heading: "Changed" } });
  assert.equal(room.section.lastChild.firstChild, drawn);
  assert.deepEqual(seen.stopped, []);
});

test("closing asks Python, and what is closed is taken away and told to stop", async () => {
  const { room, seen, tell } = opener();
  await tell({ inner: "w1" });
  room.section.querySelector("button").click();
  assert.deepEqual(seen.asked, [{ shut: true }]);
  assert.equal(seen.left, 1);
  await tell({ inner: null, opened: {} });
  assert.equal(room.section.hidden, true);
  assert.equal(room.section.lastChild.textContent, "");
  assert.deepEqual(seen.stopped, ["w1"]);
});

test("a view that was closed before it came is not drawn", async () => {
  const { room, seen, tell } = opener();
  let come;
  seen.waiting = new Promise((done) => {
    come = done;
  });
  const drawing = tell({ inner: "w1" });
  await tell({ inner: null });
  come();
  await drawing;
  assert.equal(room.section.lastChild.textContent, "");
  await tell({ inner: "w2" });
  assert.equal(room.section.lastChild.textContent, "w2");
});

test("the view's end is the inner view's end", async () => {
  const { room, seen, tell } = opener();
  await tell({ inner: "w1" });
  room.stop();
  assert.deepEqual(seen.stopped, ["w1"]);
});

test("a view draws anew when its model changes, until it goes", () => {
  const heard = new Map();
  const model = { on: (name, draw) => heard.set(name, draw), off: (name) => heard.delete(name) };
  const drawn = [];
  const stop = follow(model, { frame: () => drawn.push("frame"), opened: () => drawn.push("opened") }, () =>
    drawn.push("left"),
  );
  heard.get("change:opened")();
  heard.get("change:frame")();
  assert.deepEqual(drawn, ["opened", "frame"]);
  stop();
  assert.deepEqual([...heard], []);
  assert.deepEqual(drawn.at(-1), "left");
  assert.doesNotThrow(follow({ on: () => {} }, { frame: () => {} }));
});

test("a table's head is one row of column headers, some of them the view's own", () => {
  const own = make("th", {}, "Own");
  const head = makeHead(["First", own]);
  assert.equal(head.getAttribute("role"), "rowgroup");
  const [row, ...more] = head.children;
  assert.equal(more.length, 0);
  assert.deepEqual([...row.children].map((cell) => cell.textContent), ["First", "Own"]);
  assert.equal(row.firstChild.getAttribute("scope"), "col");
  assert.equal(row.lastChild, own);
});

function fakeModel(values) {
  const hearers = {};
  return {
    values,
    sent: [],
    get: (name) => values[name],
    set(name, value) {
      values[name] = value;
      for (const hear of hearers[`change:${name}`] ?? []) hear();
    },
    save_changes() {
      this.sent.push({ ...values });
    },
    on: (event, hear) => {
      hearers[event] = [...(hearers[event] ?? []), hear];
    },
    off: (event, hear) => {
      hearers[event] = (hearers[event] ?? []).filter((one) => one !== hear);
    },
    heard: (event) => hearers[event]?.length ?? 0,
  };
}

test("what is shown is marked from a change on until its answer, and said once it takes long", async () => {
  const model = fakeModel({ state: { a: 1 }, asked: 0, answered: 0 });
  const el = make("div");
  let inner;
  const clean = common.waits((view) => {
    inner = view.model;
    view.el.append(make("section"));
    return () => inner.set("closed", true);
  })({ model, el });
  const note = el.querySelector(".vm-waits");
  const marks = () => [el.hasAttribute("data-waits"), el.getAttribute("aria-busy"), note.hidden];
  assert.deepEqual(marks(), [false, "false", true]);
  inner.set("state", { a: 2 });
  inner.save_changes();
  inner.set("state", { a: 3 });
  inner.save_changes();
  assert.deepEqual(
    model.sent.map((one) => one.asked),
    [1, 2],
  );
  assert.deepEqual(marks(), [true, "true", true]);
  model.set("answered", 1);
  assert.deepEqual(marks(), [true, "true", true]);
  await new Promise((done) => setTimeout(done, 400));
  assert.equal(note.hidden, false);
  model.set("answered", 2);
  assert.deepEqual(marks(), [false, "false", true]);
  inner.set("other", 1);
  inner.save_changes();
  assert.equal(model.values.asked, 2);
  clean();
  assert.equal(model.values.closed, true);
  assert.equal(model.heard("change:answered"), 0);
});
