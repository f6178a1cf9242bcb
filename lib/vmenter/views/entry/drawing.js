// @ts-check
// The drawing of one era's code in EntryExplorer: the way taken, its size, and where it is looked at.

import { makeSvg, paint, say, showDrawing } from "../common.js";

export const SIZES = [
  ["window", "readable"],
  ["whole", "at a glance"],
  ["full", "full height"],
];
const LETTERS = 12; // how high a drawing's letters are, and what is the least on a screen, in pixels
const SMALLEST = 11;

// Where a block's outline is furthest to the left, from its own numbers: nothing need be on the screen yet.
function leftmost(group) {
  const outline = group.querySelector(".shape");
  const numbers = (outline.getAttribute("points") ?? outline.getAttribute("d")).match(/-?[\d.]+/g).map(Number);
  const points = numbers.flatMap((x, at) => (at % 2 ? [] : [[x, numbers[at + 1]]]));
  const left = Math.min(...points.map(([x]) => x));
  return [left, Math.min(...points.filter(([x]) => x < left + 1).map(([, y]) => y))];
}

export function drawFlow(parts, flow, drawing) {
  if (drawing === undefined) return;
  const anew = parts.drawn !== drawing;
  if (anew) {
    parts.drawn = drawing;
    parts.groups = showDrawing(parts.canvas, drawing);
    const svg = parts.canvas.firstElementChild;
    svg.querySelector("desc")?.remove();
    svg.removeAttribute("aria-labelledby");
    svg.style.setProperty("--width", `${svg.getAttribute("width")}px`);
    parts.begun = false;
    parts.canvas.setAttribute("aria-label", `Drawing of the code of ${flow.era}`);
    svg.setAttribute("aria-label", `The code of ${flow.era} and the way taken`);
    parts.numbers = new Map();
  }
  say(parts.way, flow.way.join(" "));
  paint(parts.groups, flow.marks);
  if (anew) glance(parts);
  number(parts, flow.order);
  parts.first = parts.groups.get(Object.keys(flow.order)[0])?.[0];
  begin(parts);
}

// Number the blocks in the order of the way; the numbers that are right stay.
function number({ groups, numbers }, order) {
  for (const [group, mark] of numbers) {
    if (mark.textContent === String(order[group.dataset.key])) continue;
    mark.remove();
    numbers.delete(group);
  }
  for (const [key, number] of Object.entries(order)) {
    for (const group of groups.get(key) ?? []) {
      if (numbers.has(group)) continue;
      numbers.set(group, numbered(group, number));
      group.append(numbers.get(group));
    }
  }
}

// Show where the code begins, as soon as the drawing has a place on the screen.
export function begin(parts) {
  if (parts.begun || !parts.first || !parts.canvas.clientWidth) return;
  parts.begun = true;
  const [box, here] = [parts.first.getBoundingClientRect(), parts.canvas.getBoundingClientRect()];
  parts.canvas.scrollLeft += box.x + box.width / 2 - here.x - here.width / 2;
  parts.canvas.scrollTop = 0;
}

// Where the whole drawing is so small that code could not be read, shapes and the names of functions stay.
export function glance(parts) {
  const { canvas } = parts;
  const drawing = canvas.querySelector(".vm-diagram");
  if (!drawing) return;
  const scale = drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width;
  canvas.toggleAttribute("data-glance", canvas.dataset.size === "whole" && scale < SMALLEST / LETTERS);
  canvas.style.setProperty("--vm-glance", `${SMALLEST / scale}px`);
}

export function resize(parts, size) {
  SIZES.forEach(([name], at) => {
    parts.sizes.children[at].firstChild.checked = name === size;
  });
  parts.canvas.dataset.size = size;
  glance(parts);
  parts.begun = false;
  begin(parts);
}

function numbered(group, number) {
  const [x, y] = leftmost(group);
  return makeSvg(
    "g",
    { class: "vm-order", "aria-hidden": "true" },
    makeSvg("circle", { cx: x - 3, cy: y - 2, r: 10 }),
    makeSvg("text", { x: x - 3, y: y + 2, "text-anchor": "middle" }, String(number)),
  );
}

export function seek(parts, key) {
  const [group] = parts.groups?.get(key) ?? [];
  if (!group) return;
  for (const old of parts.canvas.querySelectorAll(".vm-sought")) old.classList.remove("vm-sought");
  group.classList.add("vm-sought");
  const { canvas } = parts;
  const [box, here] = [group.getBoundingClientRect(), canvas.getBoundingClientRect()];
  canvas.scrollBy(box.x + box.width / 2 - here.x - here.width / 2, box.y + box.height / 2 - here.y - here.height / 2);
  canvas.focus({ preventScroll: true });
  if (here.top < 0 || here.bottom > window.innerHeight) canvas.scrollIntoView({ block: "nearest" });
}
